//! What the server counts. Plain numbers: only the reactor touches them.

use std::time::Instant;

/// Counters since the start, except where a field says otherwise.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) started: Instant,
    /// Open right now.
    pub(crate) connections: usize,
    /// The most that may be open.
    pub(crate) max_connections: usize,
    pub(crate) accepted: u64,
    /// Turned away because too many were open.
    pub(crate) refused: u64,
    pub(crate) commands: u64,
    /// Replies that were errors.
    pub(crate) errors: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Lookups that had to wait for a worker.
    pub(crate) deferred: u64,
    /// Times that a connection was parked because the engine was behind.
    pub(crate) parked: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    /// Connections closed because their output was not read.
    pub(crate) slow_readers: u64,
    /// Connections closed because they spoke HTTP.
    pub(crate) attacks: u64,
}

impl Stats {
    pub(crate) fn new(max_connections: usize) -> Self {
        Stats {
            started: Instant::now(),
            connections: 0,
            max_connections,
            accepted: 0,
            refused: 0,
            commands: 0,
            errors: 0,
            hits: 0,
            misses: 0,
            deferred: 0,
            parked: 0,
            read_bytes: 0,
            written_bytes: 0,
            slow_readers: 0,
            attacks: 0,
        }
    }
}
