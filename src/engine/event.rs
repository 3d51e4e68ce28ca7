//! Events: what the engine does in the background, told to whoever wants to know, and to the log:
//! what happens all the time at level `debug`, a long recovery at `info`. Faults have log lines of their
//! own, with what they mean, where they are met.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::stalls::StallCause;

/// What a recovery is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Opening tables.
    Tables,
    /// Reading segments of the log.
    Log,
    /// Writing what the log held as tables: memtables.
    Flush,
}

impl RecoveryStep {
    /// It as words, for logs.
    pub fn name(self) -> &'static str {
        match self {
            RecoveryStep::Tables => "opening tables",
            RecoveryStep::Log => "reading log segments",
            RecoveryStep::Flush => "writing tables",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A recovery takes a while: told every few seconds.
    Recovering {
        /// What it is at.
        step: RecoveryStep,
        /// How many of those are done.
        done: usize,
        /// Of how many.
        total: usize,
    },
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

impl Event {
    /// Writes it to the log.
    pub(crate) fn log(&self) {
        match self {
            Event::Recovering { step, done, total } => {
                tracing::info!(done, total, "recovering: {}", step.name());
            }
            Event::Flushed { entries, bytes, elapsed } => {
                tracing::debug!(entries, bytes, ?elapsed, "flushed a memtable");
            }
            Event::Compacted { inputs, input_bytes, outputs, output_bytes, level, elapsed } => {
                tracing::debug!(
                    inputs,
                    input_bytes,
                    outputs,
                    output_bytes,
                    level,
                    ?elapsed,
                    "merged tables"
                );
            }
            Event::StallBegan { cause } => {
                tracing::debug!(cause = cause.name(), "writers have to wait");
            }
            Event::StallEnded { cause, elapsed } => {
                tracing::debug!(cause = cause.name(), ?elapsed, "writers go on");
            }
            // Where they are met, more is known.
            Event::Fault { .. } | Event::RoomAgain => {}
        }
    }
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
