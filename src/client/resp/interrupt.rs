//! Ctrl-C as a question to be asked: it ends what is under way, and not the program.
//!
//! Whoever waits asks often enough. A second Ctrl-C that comes before the first was noticed ends the
//! process, so nothing that forgets to ask can hold a person.

use std::io;
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
    /// From now on Ctrl-C is noticed here.
    pub(crate) fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        flag::register_conditional_shutdown(SIGINT, KILLED_BY_INTERRUPT, Arc::clone(&interrupt.0))?;
        flag::register(SIGINT, Arc::clone(&interrupt.0))?;
        Ok(interrupt)
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
