//! Runs commands from a pipe or a file: pipelined, replies in order, errors by line number.
//!
//! One thread feeds lines to the server while the caller's thread reads replies, so neither direction
//! ever waits for the other: a server that stops reading until its replies are taken is served, and so
//! is one that answers late. What is under way is bounded by the channel between the two.
//!
//! Invariant of the feeder: it never blocks (on its input, on the channel, on the socket) while it
//! holds back a line that the other thread may already be waiting for.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::app::{Exit, Output};
use super::connection::Connection;
use super::error::{Error, Result};
use super::request::{self, Expectation, MAX_REQUEST_BYTES};
use super::state::{Outcome, State};
use super::wire::Stream;

/// Lines that are sent before the reply to the first of them is read.
const WINDOW_LINES: usize = 4096;
/// Lines are gathered into writes of about this size.
const WRITE_BYTES: usize = 64 << 10;

/// What the feeder tells about one line of the script.
enum Event {
    /// It was sent, or is about to be.
    Sent { line: u64, expectation: Expectation },
    /// It was sent and may close the connection. The feeder goes on when told to. `more`: other lines
    /// are known to follow.
    Last { line: u64, expectation: Expectation, more: bool },
    /// It was sent, and from now on the server sends messages. The feeder goes on when told to.
    Watching { line: u64 },
    /// It cannot be sent.
    Refused { line: u64, error: Error },
    /// The script cannot be read on.
    Unreadable(io::Error),
}

/// Runs `input` to its end, or to the command that closes the connection.
pub(crate) fn run(
    connection: Connection,
    input: impl Read + Send + 'static,
    output: &mut Output<'_>,
) -> io::Result<Exit> {
    let stream = match connection.writer() {
        Ok(stream) => stream,
        Err(error) => return output.fail(&error, Exit::Unusable),
    };
    let (events, told) = sync_channel(WINDOW_LINES);
    let (go_on, going) = channel();
    let feeder = Feeder {
        input: BufReader::with_capacity(WRITE_BYTES, input),
        line: 0,
        stream,
        unsent: Vec::new(),
        events,
        going,
        state: State::default(),
    };
    // Not joined: it may be blocked in its input, and the process ends without it.
    thread::spawn(move || feeder.run());
    Reader { connection, told, go_on, output, failed: false }.run()
}

/// The side that reads replies and prints them.
struct Reader<'a, 'o> {
    connection: Connection,
    told: Receiver<Event>,
    go_on: Sender<()>,
    output: &'a mut Output<'o>,
    failed: bool,
}

impl Reader<'_, '_> {
    fn run(mut self) -> io::Result<Exit> {
        while let Some(event) = self.next()? {
            if let ControlFlow::Break(exit) = self.step(event)? {
                return Ok(exit);
            }
        }
        self.finish()
    }

    fn finish(&mut self) -> io::Result<Exit> {
        self.output.out.flush()?;
        Ok(if self.failed { Exit::Refused } else { Exit::Fine })
    }

    fn step(&mut self, event: Event) -> io::Result<ControlFlow<Exit>> {
        match event {
            Event::Sent { line, expectation } => {
                if let Err(error) = self.reply(line, expectation)? {
                    return self.lost(line, &error).map(ControlFlow::Break);
                }
            }
            Event::Last { line, expectation, more } => return self.last(line, expectation, more),
            Event::Watching { line } => return self.watch(line),
            Event::Refused { line, error } => self.complain(line, &error)?,
            Event::Unreadable(error) => {
                let message = format!("cannot read the commands: {error}");
                return self.output.fail(&message, Exit::Unusable).map(ControlFlow::Break);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn last(
        &mut self,
        line: u64,
        expectation: Expectation,
        more: bool,
    ) -> io::Result<ControlFlow<Exit>> {
        match self.reply(line, expectation)? {
            // Refused, e.g. for an argument too many: the connection is still there.
            Ok(false) => {
                let _ = self.go_on.send(());
                return Ok(ControlFlow::Continue(()));
            }
            Err(error) if !error.is_disconnect() => {
                return self.lost(line, &error).map(ControlFlow::Break);
            }
            Ok(true) | Err(_) => {}
        }
        if more {
            self.output.notice(&format!("the lines after line {line} were not run"))?;
        }
        self.finish().map(ControlFlow::Break)
    }

    /// Prints messages until the connection ends, or the server refuses to send any.
    fn watch(&mut self, line: u64) -> io::Result<ControlFlow<Exit>> {
        loop {
            match self.connection.receive_message() {
                Ok(super::Reply::Error(message)) => {
                    self.complain(line, &String::from_utf8_lossy(&message))?;
                    let _ = self.go_on.send(());
                    return Ok(ControlFlow::Continue(()));
                }
                Ok(message) => self.output.out_paint.reply(self.output.out, &message)?,
                Err(error) => return self.lost(line, &error).map(ControlFlow::Break),
            }
            if self.connection.is_drained() {
                self.output.out.flush()?;
            }
        }
    }

    /// The next event. Before it waits, everything that is known is shown.
    fn next(&mut self) -> io::Result<Option<Event>> {
        match self.told.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(TryRecvError::Disconnected) => Ok(None),
            Err(TryRecvError::Empty) => {
                self.output.out.flush()?;
                Ok(self.told.recv().ok())
            }
        }
    }

    /// Waits for one reply and prints it. Tells whether the server did as it was asked.
    fn reply(&mut self, line: u64, expectation: Expectation) -> io::Result<Result<bool>> {
        if self.connection.is_drained() {
            self.output.out.flush()?;
        }
        self.connection.expect(expectation);
        let reply = match self.connection.receive() {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        if let super::Reply::Error(message) = &reply {
            self.complain(line, &String::from_utf8_lossy(message))?;
            return Ok(Ok(false));
        }
        self.output.out_paint.reply(self.output.out, &reply)?;
        Ok(Ok(true))
    }

    fn complain(&mut self, line: u64, message: &dyn Display) -> io::Result<()> {
        self.failed = true;
        self.output.complain(&format!("line {line}: {message}"))
    }

    /// The connection is gone while `line` waited for its reply; later ones may have been sent too.
    fn lost(&mut self, line: u64, error: &Error) -> io::Result<Exit> {
        let message = format!(
            "line {line}: {error}; whether this line and those after it were carried out is unknown"
        );
        self.output.fail(&message, Exit::Unusable)
    }
}

/// The side that reads the script and sends it.
struct Feeder<R> {
    input: BufReader<R>,
    /// The number of the line read last, from 1.
    line: u64,
    stream: Stream,
    unsent: Vec<u8>,
    events: SyncSender<Event>,
    going: Receiver<()>,
    /// Which lines are answered, taking it that each is carried out.
    state: State,
}

/// The other thread needs no more, or will find out by itself: the feeder just ends.
struct Done;

impl<R: Read> Feeder<R> {
    fn run(mut self) {
        let mut line = Vec::new();
        let result = loop {
            match self.next_line(&mut line) {
                Ok(true) => {}
                Ok(false) => break self.flush(),
                Err(done) => break Err(done),
            }
            if let Err(done) = self.feed(&line) {
                break Err(done);
            }
        };
        // A failed write shows on the other side as replies that do not come.
        drop(result);
    }

    fn feed(&mut self, line: &[u8]) -> Result<(), Done> {
        if request::is_blank(line) || request::is_comment(line) {
            return Ok(());
        }
        let number = self.line;
        if let Err(error) = request::check_session(line) {
            return self.tell(Event::Refused { line: number, error });
        }
        self.unsent.extend_from_slice(line);
        self.unsent.push(b'\n');
        let expectation = request::expectation_of(line);
        let words = request::words_followed(line);
        let is_answered = self.state.is_answered(&words);
        let is_watching = request::is_watching(line) && !self.state.in_transaction();
        self.state.note(&words, &Outcome::Done);
        if is_watching {
            self.tell(Event::Watching { line: number })?;
            self.flush()?;
            return self.going.recv().map_err(|_| Done);
        }
        if !is_answered {
            return if self.unsent.len() >= WRITE_BYTES { self.flush() } else { Ok(()) };
        }
        if request::is_last(line) {
            let more = !self.input.buffer().iter().all(u8::is_ascii_whitespace);
            self.tell(Event::Last { line: number, expectation, more })?;
            self.flush()?;
            return self.going.recv().map_err(|_| Done);
        }
        self.tell(Event::Sent { line: number, expectation })?;
        if self.unsent.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Reads one line without its LF; false at the end. Of a line that is too long, just enough is
    /// kept for it to be refused.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Done> {
        if memchr::memchr(b'\n', self.input.buffer()).is_none() {
            self.flush()?;
        }
        line.clear();
        self.line += 1;
        let read = self.read_line(line);
        match read {
            Ok(count) => Ok(count > 0),
            Err(error) => {
                self.tell(Event::Unreadable(error))?;
                Err(Done)
            }
        }
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        let limit = MAX_REQUEST_BYTES as u64 + 1;
        let count = (&mut self.input).take(limit).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > MAX_REQUEST_BYTES {
            self.input.skip_until(b'\n')?;
        }
        Ok(count)
    }

    fn tell(&mut self, event: Event) -> Result<(), Done> {
        match self.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(Done),
            Err(TrySendError::Full(event)) => {
                self.flush()?;
                self.events.send(event).map_err(|_| Done)
            }
        }
    }

    fn flush(&mut self) -> Result<(), Done> {
        let written = self.stream.write_all(&self.unsent);
        self.unsent.clear();
        written.map_err(|_| Done)
    }
}

#[cfg(test)]
mod tests;
