//! A clock for several clients: of two events on different connections it tells which came first.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that every event advances.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicU64);

impl Ticks {
    /// The next time; no other event has it.
    pub(crate) fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}
