//! Figures about a running engine.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::CacheStats;
use super::db::Inner;
use super::health::Health;
use super::key::Seq;
use super::memtable::Memtable;
use super::stalls::{StallCause, StallStats};
use super::sync::read;
use super::version::LEVELS;

/// A count that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        if amount > 0 {
            self.0.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts since the database was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) gets: Counter,
    pub(crate) scans: Counter,
    pub(crate) dead_steps: Counter,
    pub(crate) flushes: Counter,
    pub(crate) compactions: Counter,
    pub(crate) moves: Counter,
    pub(crate) drops: Counter,
    pub(crate) expired: Counter,
    pub(crate) compacted_bytes: Counter,
    pub(crate) ingested_bytes: Counter,
    /// Bytes of tables written, by their level.
    pub(crate) written_bytes: [Counter; LEVELS],
    pub(crate) stalled_writes: Counter,
}

/// The tables of a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// Number of tables.
    pub tables: usize,
    /// Their size on disk.
    pub bytes: u64,
    /// Entries in them, overwritten ones and tombstones included.
    pub entries: u64,
    /// Bytes of tables that flushes (level 0) and merges wrote to it since the database was opened.
    pub written_bytes: u64,
}

/// Figures about an engine at one moment; counts are since it was opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats {
    /// The last sequence number given out.
    pub last_seq: Seq,
    /// The last one that is committed.
    pub durable_seq: Seq,
    /// Bytes in the active memtable.
    pub memtable_bytes: usize,
    /// Entries in the active memtable.
    pub memtable_entries: usize,
    /// Frozen memtables that wait for their flush.
    pub immutable_memtables: usize,
    /// Bytes of memory that all memtables take, the active one and the frozen ones, with their indexes.
    pub memtables_bytes: usize,
    /// The tables, level by level.
    pub levels: Vec<LevelStats>,
    /// In how many tables of level 0 a key may have to be looked for, at most.
    pub level0_sublevels: usize,
    /// Tables whose files are open.
    pub open_tables: usize,
    /// Range deletes that some table still needs.
    pub range_deletes: usize,
    /// Snapshots of different moments that are held.
    pub snapshots: usize,
    /// The block cache.
    pub cache: CacheStats,
    /// Bytes of memory for the filters of all tables.
    pub filter_bytes: usize,
    /// Bytes of memory for the top levels of all tables' indexes.
    pub index_bytes: usize,
    /// Log segments, the spare one included.
    pub wal_segments: usize,
    /// What they take up on disk, in bytes.
    pub wal_disk_bytes: u64,
    /// Groups committed.
    pub wal_groups: u64,
    /// Bytes of their payloads.
    pub wal_bytes: u64,
    /// Bytes of whole groups, as they were written.
    pub wal_written_bytes: u64,
    /// Point lookups.
    pub gets: u64,
    /// Scans that made a first step.
    pub scans: u64,
    /// About how many deleted, expired and overwritten versions scans stepped over, in long runs.
    pub dead_steps: u64,
    /// Bytes of keys and values written.
    pub user_bytes: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Merges done.
    pub compactions: u64,
    /// Tables that changed their level without being rewritten.
    pub moves: u64,
    /// Tables that were dropped whole, for a range delete covers them.
    pub drops: u64,
    /// Values that flushes and merges dropped for they had expired.
    pub expired: u64,
    /// Bytes of tables read by merges.
    pub compacted_bytes: u64,
    /// Bytes of tables that were ingested.
    pub ingested_bytes: u64,
    /// How often a write was told to wait.
    pub stalled_writes: u64,
    /// How often, how long and for what writers had to wait.
    pub stalls: Vec<(StallCause, StallStats)>,
    /// Whether the engine serves in full.
    pub health: Health,
}

impl Stats {
    /// Bytes written to log and tables for each byte of keys and values, since the database was
    /// opened; 0 if nothing was written.
    pub fn write_amplification(&self) -> f64 {
        let tables: u64 = self.levels.iter().map(|level| level.written_bytes).sum();
        ratio(self.wal_written_bytes + tables, self.user_bytes)
    }

    /// Bytes of all tables for each byte in the last level that holds any: an upper bound of what
    /// overwritten and deleted entries cost. 0 without tables.
    pub fn space_amplification(&self) -> f64 {
        let total: u64 = self.levels.iter().map(|level| level.bytes).sum();
        let last = self.levels.iter().rev().map(|level| level.bytes).find(|bytes| *bytes > 0);
        ratio(total, last.unwrap_or(0))
    }

    /// Blocks looked at, in the cache or on disk, for each point lookup; 0 without lookups.
    pub fn read_amplification(&self) -> f64 {
        ratio(self.cache.hits + self.cache.misses, self.gets)
    }
}

/// `a / b`, or 0.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

impl Inner {
    pub(crate) fn stats(&self) -> Stats {
        let log = self.commit.stats();
        let memory = read(&self.memory);
        let levels = (0..LEVELS).map(|level| {
            let tables = memory.version.level(level);
            LevelStats {
                tables: tables.len(),
                bytes: tables.iter().map(|table| table.meta().bytes).sum(),
                entries: tables.iter().map(|table| table.meta().entries).sum(),
                written_bytes: self.counters.written_bytes[level].get(),
            }
        });
        let resident = || memory.version.tables().map(|(_, table)| table.resident_bytes());
        let counters = &self.counters;
        Stats {
            cache: self.tables.cache().stats(),
            filter_bytes: resident().map(|bytes| bytes.filter).sum(),
            index_bytes: resident().map(|bytes| bytes.index).sum(),
            last_seq: memory.last_seq,
            durable_seq: self.commit.durable_seq(),
            memtable_bytes: memory.active.bytes(),
            memtable_entries: memory.active.entry_count(),
            immutable_memtables: memory.immutables.len(),
            memtables_bytes: memory.memtables().map(Memtable::memory_bytes).sum(),
            levels: levels.collect(),
            level0_sublevels: memory.version.sublevels(),
            open_tables: self.tables.open_files(),
            range_deletes: memory.version.ranges().iter().count(),
            snapshots: self.snapshots.list().len(),
            wal_segments: log.segments,
            wal_disk_bytes: log.segment_bytes,
            wal_groups: log.groups,
            wal_bytes: log.bytes,
            wal_written_bytes: log.written_bytes,
            gets: counters.gets.get(),
            scans: counters.scans.get(),
            dead_steps: counters.dead_steps.get(),
            user_bytes: memory.user_bytes,
            flushes: counters.flushes.get(),
            compactions: counters.compactions.get(),
            moves: counters.moves.get(),
            drops: counters.drops.get(),
            expired: counters.expired.get(),
            compacted_bytes: counters.compacted_bytes.get(),
            ingested_bytes: counters.ingested_bytes.get(),
            stalled_writes: counters.stalled_writes.get(),
            stalls: memory.stalls.stats(),
            health: self.health(),
        }
    }
}
