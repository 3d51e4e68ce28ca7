//! A walk over everything that expires, on a worker, a slice at a time.
//!
//! Each slice goes back to the reactor with what it has found, so that this is never held in quantity, and
//! the reactor says when it goes on. The state that it walks over is taken anew every second: it pins no
//! files for long. A slice that meets damage is tried again later; the walk then passes over the damaged
//! table.

use std::time::{Duration, Instant};

use crate::engine::{Engine, KeyRange, Scan};

use super::super::keyspace::MAX_DATABASES;
use super::super::limits::{EXPIRIES_PER_SLICE, WORK_SLICE};

/// How long a slice may go on with the state that one before it has taken.
const STATE_AGE: Duration = Duration::from_secs(1);

/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: usize = 32;

/// What a slice came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slice {
    /// There is more.
    Unfinished,
    /// That was all.
    Finished,
    /// Something could not be read.
    Failed,
}

/// See the module.
pub(crate) struct Sweep {
    engine: Engine,
    /// Whose sweep it is.
    pub(super) owner: u64,
    /// Only what expires before is looked for, in milliseconds since the Unix epoch.
    pub(super) limit_ms: u64,
    /// What is still to be walked over begins with this key.
    next: Vec<u8>,
    state: Option<(Scan, Instant)>,
    /// What the last slice has found: keys and their expiries.
    pub(super) found: Vec<(Vec<u8>, u64)>,
    pub(super) slice: Slice,
    /// How long the last slice took.
    pub(super) took: Duration,
}

impl Sweep {
    pub(super) fn new(engine: Engine, owner: u64) -> Self {
        Sweep {
            engine,
            owner,
            limit_ms: u64::MAX,
            next: Vec::new(),
            state: None,
            found: Vec::new(),
            slice: Slice::Unfinished,
            took: Duration::ZERO,
        }
    }

    /// Walks on for a few milliseconds at most.
    pub(crate) fn run(&mut self) {
        let begun = Instant::now();
        self.slice = self.walk(begun).unwrap_or(Slice::Failed);
        if self.slice != Slice::Unfinished {
            self.state = None;
        }
        self.took = begun.elapsed();
    }

    fn walk(&mut self, begun: Instant) -> crate::engine::Result<Slice> {
        let old = self.state.take().filter(|(_, taken)| taken.elapsed() < STATE_AGE);
        let behind = vec![MAX_DATABASES as u8];
        let range = KeyRange::from(self.next.clone()..behind);
        let (scan, _) =
            self.state.insert(old.unwrap_or_else(|| (self.engine.scan_expiring(range), begun)));
        loop {
            for _ in 0..ENTRIES_PER_LOOK {
                if !scan.advance()? {
                    return Ok(Slice::Finished);
                }
                // The key that follows this one.
                self.next.clear();
                self.next.extend_from_slice(scan.key());
                self.next.push(0);
                let expiry = scan.expires_ms().filter(|&expires_ms| expires_ms < self.limit_ms);
                if let Some(expires_ms) = expiry {
                    self.found.push((scan.key().to_vec(), expires_ms));
                }
            }
            if begun.elapsed() >= WORK_SLICE || self.found.len() >= EXPIRIES_PER_SLICE {
                return Ok(Slice::Unfinished);
            }
        }
    }
}
