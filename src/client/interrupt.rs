//! Ctrl-C as a question to be asked: it ends what is under way, and not the program.
//!
//! Whoever waits asks often enough. A second Ctrl-C that comes before the first was noticed ends the
//! process, so nothing that forgets to ask can hold a person.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// The longest that anything waits without asking.
pub(crate) const ATTENTION: Duration = Duration::from_millis(50);
/// What a shell expects of a program that Ctrl-C ended.
const KILLED_BY_INTERRUPT: i32 = 130;

/// Whether Ctrl-C was pressed. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C is noticed here, and does not end the process.
    pub(crate) fn catch(&self) -> io::Result<()> {
        flag::register_conditional_shutdown(SIGINT, KILLED_BY_INTERRUPT, Arc::clone(&self.0))?;
        flag::register(SIGINT, Arc::clone(&self.0)).map(|_| ())
    }

    /// Whether it was pressed since the last [`Self::clear`].
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Forgets that it was pressed.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Sleeps, unless and until it is pressed.
    pub(crate) fn sleep(&self, duration: Duration) {
        let start = Instant::now();
        while !self.is_set() {
            let Some(left) = duration.checked_sub(start.elapsed()) else { return };
            thread::sleep(left.min(ATTENTION));
        }
    }
}

/// An output that drops what is written while Ctrl-C is pressed and not forgotten: the rest of a long
/// reply. Whoever prints need not ask.
pub(crate) struct Stoppable<W> {
    out: W,
    interrupt: Interrupt,
}

impl<W: Write> Stoppable<W> {
    pub(crate) fn new(out: W, interrupt: &Interrupt) -> Self {
        Self { out, interrupt: interrupt.clone() }
    }
}

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interrupt.is_set() { Ok(bytes.len()) } else { self.out.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
impl Interrupt {
    /// As Ctrl-C does.
    pub(crate) fn press(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_drops_the_rest_of_what_is_written() {
        let interrupt = Interrupt::default();
        let mut shown = Vec::new();
        let mut out = io::BufWriter::new(Stoppable::new(&mut shown, &interrupt));
        out.write_all(b"first\n").unwrap();
        out.flush().unwrap();
        out.write_all(b"second\n").unwrap();
        interrupt.press();
        out.write_all(b"third\n").unwrap();
        out.flush().unwrap();
        interrupt.clear();
        out.write_all(b"prompt").unwrap();
        drop(out);
        assert_eq!(shown, b"first\nprompt");
    }
}
