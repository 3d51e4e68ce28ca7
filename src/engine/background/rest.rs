//! What a memtable keeps from being given back, and the flush at rest that ends that.
//!
//! A memtable is flushed when it is full. One that holds a range delete over most of the database may
//! never be: the tables that it covers would stay, and so would the tombstones of what was deleted
//! and the log segments behind a memtable of garbage. So once nothing was written for a while, a
//! memtable is flushed early if that gives room back, in an amount that is worth a table: the merges
//! that its deletes want happen by themselves then. One that would only become a small table waits:
//! a write a minute must not make a table a minute.
//!
//! All figures are estimates from memory, of a few looks each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::db::Inner;
use super::super::key::Seq;
use super::super::memory::Memory;
use super::super::ranges::RangeDeletes;
use super::super::sync::{lock, read, write};
use super::super::version::Version;

/// Without a write for this long the engine is at rest.
const REST_AFTER: Duration = Duration::from_secs(2);
/// What a flush gives back is worth it from 1 in this many bytes of a merge's output table on.
const WORTH_SHARE: u64 = 64;
/// And if it is 1 in this many bytes of the tables that have to be merged for it.
const MERGE_SHARE: u64 = 10;

/// The last look at the memtable.
pub(super) struct Look {
    seq: Seq,
    since: Instant,
    /// Whether it was found not to be worth a flush as it is.
    is_settled: bool,
}

impl Default for Look {
    fn default() -> Self {
        Look { seq: 0, since: Instant::now(), is_settled: false }
    }
}

/// Bytes that a flush gives back, and those of tables that are merged for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gain {
    freed: u64,
    merged: u64,
}

impl Gain {
    fn is_worth(self, table_bytes: u64) -> bool {
        self.freed > table_bytes / WORTH_SHARE && self.freed >= self.merged / MERGE_SHARE
    }
}

impl Inner {
    /// Freezes the memtable if the engine is at rest and its flush is worth it.
    pub(super) fn freeze_at_rest(&self) -> bool {
        let seq = {
            let memory = read(&self.memory);
            if !memory.active.has_garbage() || memory.closed {
                return false;
            }
            memory.last_seq
        };
        let mut look = lock(&self.background.look);
        if look.seq != seq {
            *look = Look { seq, since: Instant::now(), is_settled: false };
        }
        if look.is_settled || look.since.elapsed() < REST_AFTER {
            return false;
        }
        look.is_settled = true;
        drop(look);
        self.freeze_if_worth_it()
    }

    /// How long the flushing thread waits at most before it looks again.
    pub(super) fn rest_pause(&self) -> Option<Duration> {
        read(&self.memory).active.has_garbage().then_some(REST_AFTER)
    }

    /// Freezes the memtable if its flush gives back enough.
    pub(super) fn freeze_if_worth_it(&self) -> bool {
        let held = {
            let memory = read(&self.memory);
            if !memory.immutables.is_empty() || !memory.active.has_garbage() {
                return false;
            }
            Held::of(&memory)
        };
        let table_bytes = self.options.table_bytes as u64;
        let mut gains = vec![held.covered(), held.buried()];
        if self.commit.has_complete_segments() {
            gains.push(held.logged());
        }
        let is_worth_it = gains.into_iter().any(|gain| gain.is_worth(table_bytes));
        if is_worth_it {
            write(&self.memory).freeze_at_rest();
        }
        is_worth_it
    }
}

/// The active memtable, as far as it keeps room from being given back, and the tables.
struct Held {
    version: Arc<Version>,
    ranges: Arc<RangeDeletes>,
    tombstones: u64,
    bytes: u64,
    live_bytes: u64,
}

impl Held {
    fn of(memory: &Memory) -> Self {
        let active = &memory.active;
        Held {
            version: Arc::clone(&memory.version),
            ranges: Arc::clone(active.ranges()),
            tombstones: active.tombstones() as u64,
            bytes: active.bytes() as u64,
            live_bytes: active.live_bytes(),
        }
    }

    /// What is in the log for the memtable's sake and would not be in its table.
    fn logged(&self) -> Gain {
        Gain { freed: self.bytes.saturating_sub(self.live_bytes), merged: self.live_bytes }
    }

    /// What its range deletes cover in tables, and older ones do not.
    fn covered(&self) -> Gain {
        let mut gain = Gain::default();
        for (_, table) in self.version.tables() {
            let meta = table.meta();
            let mut older = self.version.ranges().iter();
            if older.any(|range| range.covers_all(&meta.smallest, &meta.largest)) {
                continue;
            }
            let stretches = self.ranges.stretches(&meta.smallest, &meta.largest);
            let bytes: u64 = stretches.map(|(start, end)| table.bytes_between(start, end)).sum();
            if bytes > 0 {
                gain.freed += bytes;
                gain.merged += meta.bytes.saturating_sub(bytes);
            }
        }
        gain
    }

    /// What its tombstones hide in tables, if each hides something.
    fn buried(&self) -> Gain {
        let metas = || self.version.tables().map(|(_, table)| table.meta());
        let merged = metas().map(|meta| meta.bytes).sum();
        let entries = metas().map(|meta| meta.entries).sum::<u64>().max(1);
        let freed = u128::from(merged) * u128::from(self.tombstones) / u128::from(entries);
        Gain { freed: u64::try_from(freed).unwrap_or(u64::MAX).min(merged), merged }
    }
}
