//! The log, and what the program says on stdout: lines that a thread of its own writes.
//!
//! A line must never hold up or end what it tells of. So whoever logs puts the line into a queue of
//! bounded size and goes on; the thread may block on it for as long as nobody reads: a full pipe, a
//! stopped terminal, a disk that does not answer. A line that cannot be written, for the disk is full,
//! the pipe closed or the terminal gone, is dropped and counted, as is one for which the queue has no
//! room, and the next one that can be written comes behind one that says how many were lost. A panic
//! takes the same way. What ends the program waits for the queue, but only for a moment.
//!
//! Rejected: a descriptor that does not block, for that would change it for all processes that share
//! it, and a file on a full or slow disk would block all the same.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::limits::{LOG_FLUSH, LOG_LINE_BYTES, LOG_QUEUE_BYTES};

/// How long to wait where a descriptor that somebody set not to block takes nothing.
const BLOCKED_PAUSE: Duration = Duration::from_millis(10);

/// The process has one stderr and one stdout, and so one of each of these.
static STDERR: OnceLock<Sink> = OnceLock::new();
static STDOUT: OnceLock<Sink> = OnceLock::new();

/// Starts logging to stderr, panics as well.
///
/// # Errors
/// The system's, if a thread cannot be had.
pub fn start(level: LevelFilter) -> io::Result<()> {
    let log = Sink::start("chronos-log", io::stderr(), Losses::Tell)?;
    let log = STDERR.get_or_init(|| log);
    let _ = STDOUT.set(Sink::start("chronos-out", io::stdout(), Losses::Count)?);
    std::panic::set_hook(Box::new(tell_panic));
    tracing_subscriber::fmt()
        .with_writer(|| log.clone())
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level)
        .init();
    Ok(())
}

/// Says the last words of a program that could not do its work, as they are.
pub fn complain(sentence: &str) {
    if STDERR.get().is_none() {
        // Nothing goes on that it could hold up; and who cannot be told sees the exit code.
        let _ = writeln!(io::stderr(), "chronos: {sentence}");
    }
    write_to(&STDERR, &format!("chronos: {sentence}"));
}

/// Says something on stdout, for people and programs that wait for it.
pub(crate) fn announce(line: impl Display) {
    write_to(&STDOUT, &line);
}

/// Waits until everything is written, or for a moment: for the end of the program.
pub fn finish() {
    let deadline = Instant::now() + LOG_FLUSH;
    for sink in [&STDOUT, &STDERR].into_iter().filter_map(OnceLock::get) {
        sink.wait(deadline);
    }
}

/// How many lines of the log were lost so far.
pub(crate) fn lost_lines() -> u64 {
    STDERR.get().map_or(0, |sink| sink.shared.lost.load(Ordering::Relaxed))
}

fn write_to(sink: &OnceLock<Sink>, line: &dyn Display) {
    if let Some(sink) = sink.get() {
        sink.push(format!("{line}\n").into_bytes());
    }
}

/// Panics end the program: what it says of them must come out first, unless nobody takes it.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let trace = std::backtrace::Backtrace::capture();
    complain(&format!("thread '{name}' {panic}\n{trace}"));
    finish();
}

/// Whether what is written again after losses begins with their number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Losses {
    Tell,
    Count,
}

/// What waits to be written.
enum Entry {
    Line(Vec<u8>),
    /// So many lines for which there was no room.
    Lost(u64),
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Of the lines in it, and of the one that is being written.
    bytes: usize,
    is_writing: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
    /// Lines lost since the start.
    lost: AtomicU64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here leaves a queue that is not whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A way to a thread that writes lines.
#[derive(Clone)]
struct Sink {
    shared: Arc<Shared>,
}

impl Sink {
    fn start(name: &str, out: impl Write + Send + 'static, losses: Losses) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut tap = Tap { out, losses, untold: 0, is_in_line: false };
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name(name.into()).spawn(move || tap.run(&of_thread))?;
        Ok(Sink { shared })
    }

    /// Has a line written, or counts it as lost.
    fn push(&self, mut line: Vec<u8>) {
        cut(&mut line);
        let mut queue = self.shared.queue();
        if queue.bytes + line.len() <= LOG_QUEUE_BYTES {
            queue.bytes += line.len();
            queue.entries.push_back(Entry::Line(line));
        } else {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            match queue.entries.back_mut() {
                Some(Entry::Lost(count)) => *count += 1,
                _ => queue.entries.push_back(Entry::Lost(1)),
            }
        }
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Waits until nothing is left to write.
    fn wait(&self, deadline: Instant) {
        let mut queue = self.shared.queue();
        while queue.is_writing || !queue.entries.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.emptied.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Takes lines, each in one piece.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shortens a line that is longer than any should be.
fn cut(line: &mut Vec<u8>) {
    let left_out = line.len().saturating_sub(LOG_LINE_BYTES);
    if left_out > 0 {
        line.truncate(LOG_LINE_BYTES);
        line.extend_from_slice(format!("... and {left_out} bytes more\n").as_bytes());
    }
}

/// The end where lines come out.
struct Tap<W> {
    out: W,
    losses: Losses,
    /// Lines lost since the last that was written.
    untold: u64,
    /// Whether a line was broken off within.
    is_in_line: bool,
}

impl<W: Write> Tap<W> {
    fn run(&mut self, shared: &Shared) {
        let mut queue = shared.queue();
        loop {
            let Some(entry) = queue.entries.pop_front() else {
                queue.is_writing = false;
                shared.emptied.notify_all();
                let woken = shared.filled.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.is_writing = true;
            drop(queue);
            let bytes = self.take(entry, shared);
            queue = shared.queue();
            queue.bytes -= bytes;
        }
    }

    /// Writes an entry; returns its bytes.
    fn take(&mut self, entry: Entry, shared: &Shared) -> usize {
        match entry {
            Entry::Line(line) => {
                if !self.tell_losses() || !self.put(&line) {
                    self.untold += 1;
                    shared.lost.fetch_add(1, Ordering::Relaxed);
                }
                line.len()
            }
            Entry::Lost(count) => {
                self.untold += count;
                self.tell_losses();
                0
            }
        }
    }

    /// Says how many lines are missing here; false if not even that can be written.
    fn tell_losses(&mut self) -> bool {
        if self.untold == 0 || self.losses == Losses::Count {
            return true;
        }
        let mut time = String::new();
        // A line without its time is better than none.
        let _ = SystemTime.format_time(&mut format::Writer::new(&mut time));
        let line = format!("{time}  WARN {} lines of the log were lost here\n", self.untold);
        let is_told = self.put(line.as_bytes());
        if is_told {
            self.untold = 0;
        }
        is_told
    }

    /// Writes a line; false if it is lost, wholly or in part.
    fn put(&mut self, line: &[u8]) -> bool {
        if self.is_in_line && self.write(b"\n") == 0 {
            return false;
        }
        let written = self.write(line);
        self.is_in_line = (1..line.len()).contains(&written);
        written == line.len()
    }

    /// Writes as much as is taken.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(BLOCKED_PAUSE),
                Err(_) => break,
            }
        }
        // stdout keeps what does not end a line; nothing is lost with it here.
        let _ = self.out.flush();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// What a writer is to do next: take so many bytes, or fail.
    type Step = io::Result<usize>;

    /// Takes what it is told to take, then everything.
    #[derive(Default)]
    struct Script {
        steps: VecDeque<Step>,
        taken: Vec<u8>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.steps.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn full() -> Step {
        Err(ErrorKind::StorageFull.into())
    }

    /// What comes out of a tap with these steps if it is given these lines, and how many were lost.
    fn taken(steps: Vec<Step>, losses: Losses, lines: &[&str]) -> (String, u64) {
        let out = Script { steps: steps.into(), taken: Vec::new() };
        let mut tap = Tap { out, losses, untold: 0, is_in_line: false };
        let shared = Shared::default();
        for line in lines {
            tap.take(Entry::Line(format!("{line}\n").into_bytes()), &shared);
        }
        (String::from_utf8(tap.out.taken).unwrap(), shared.lost.into_inner())
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_told_of_later() {
        let (text, lost) = taken(vec![full(), full()], Losses::Tell, &["one", "two", "three"]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[1], lost), (2, "three", 2), "{text}");
        assert!(lines[0].ends_with("WARN 2 lines of the log were lost here"), "{text}");
        let (text, lost) = taken(vec![full()], Losses::Count, &["one", "two"]);
        assert_eq!((text.as_str(), lost), ("two\n", 1));
    }

    #[test]
    fn what_follows_a_line_that_was_broken_off_begins_a_line() {
        let (text, lost) = taken(vec![Ok(2), full()], Losses::Tell, &["one", "two"]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2], lost), (3, "on", "two", 1), "{text}");
    }

    #[test]
    fn short_and_interrupted_writes_go_on() {
        let steps = vec![Ok(1), Err(ErrorKind::Interrupted.into()), Ok(1)];
        let steps = steps.into_iter().chain([Err(ErrorKind::WouldBlock.into())]).collect();
        assert_eq!(taken(steps, Losses::Tell, &["one", "two"]), ("one\ntwo\n".into(), 0));
    }

    /// Says when it begins to write, and writes when it is told to.
    struct Gate {
        begun: Sender<()>,
        open: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).unwrap();
            // Once the other end is gone, it is open for good.
            let _ = self.open.recv();
            self.taken.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_blocked_and_memory_is_bounded() {
        let ((begun, has_begun), (key, open)) = (channel(), channel());
        let taken = Arc::default();
        let gate = Gate { begun, open, taken: Arc::clone(&taken) };
        let sink = Sink::start("gate", gate, Losses::Tell).unwrap();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        sink.push(b"first\n".to_vec());
        has_begun.recv().unwrap();
        let room = LOG_QUEUE_BYTES / line.len() - 1;
        (0..room + 3).for_each(|_| sink.push(line.clone()));
        assert_eq!(sink.shared.lost.load(Ordering::Relaxed), 3);
        // The end does not wait for it either.
        sink.wait(Instant::now() + Duration::from_millis(10));
        drop(key);
        sink.wait(Instant::now() + Duration::from_secs(20));
        sink.push(b"last\n".to_vec());
        sink.wait(Instant::now() + Duration::from_secs(20));
        let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1 + room + 1 + 1, "all that had room, and their end");
        assert!(text.ends_with("WARN 3 lines of the log were lost here\nlast\n"));
    }

    #[test]
    fn a_line_has_an_end() {
        let mut line = vec![b'x'; LOG_LINE_BYTES + 5];
        cut(&mut line);
        assert!(line.ends_with(b"x... and 5 bytes more\n"));
        let mut line = b"short\n".to_vec();
        cut(&mut line);
        assert_eq!(line, b"short\n");
    }
}
