//! Events: what the engine does in the background, told to whoever wants to know.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::stalls::StallCause;

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A memtable was written as a table.
    Flushed {
        /// Entries written, and the table's size in bytes; both 0 if nothing was left to write.
        entries: u64,
        /// Bytes of the table.
        bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// Tables were merged.
    Compacted {
        /// Tables merged.
        inputs: usize,
        /// Their bytes.
        input_bytes: u64,
        /// Tables written.
        outputs: usize,
        /// Their bytes.
        output_bytes: u64,
        /// The level that they went to.
        level: usize,
        /// How long it took, flushes in between not left out.
        elapsed: Duration,
    },
    /// Writers have to wait from now on.
    StallBegan {
        /// For what.
        cause: StallCause,
    },
    /// They go on.
    StallEnded {
        /// What they waited for at first.
        cause: StallCause,
        /// How long.
        elapsed: Duration,
    },
    /// The engine entered a failure state; see [`super::Health`].
    Fault {
        /// What happened.
        cause: Error,
    },
    /// There is room on the device again: writes are accepted.
    RoomAgain,
}

/// Is called for each event, on any thread, often with locks held: it must be quick, and must not
/// call the engine.
#[derive(Clone)]
pub struct EventListener(Arc<dyn Fn(&Event) + Send + Sync>);

impl EventListener {
    /// Calls `listener`.
    ///
    /// ```
    /// use chronos::engine::{Event, EventListener, Options};
    ///
    /// let listener = EventListener::new(|event| {
    ///     if let Event::StallEnded { cause, elapsed } = event {
    ///         eprintln!("writers waited {elapsed:?} for {}", cause.name());
    ///     }
    /// });
    /// let options = Options { listener: Some(listener), ..Options::default() };
    /// # drop(options);
    /// ```
    pub fn new(listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        EventListener(Arc::new(listener))
    }

    pub(crate) fn call(&self, event: &Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for EventListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventListener")
    }
}
