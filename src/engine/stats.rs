//! Figures about a running engine.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::CacheStats;
use super::db::Inner;
use super::health::Health;
use super::key::Seq;
use super::sync::read;
use super::version::LEVELS;

/// A count that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts since the database was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) flushes: Counter,
    pub(crate) compactions: Counter,
    pub(crate) moves: Counter,
    pub(crate) compacted_bytes: Counter,
    pub(crate) stalls: Counter,
}

/// The tables of a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Number of tables.
    pub tables: usize,
    /// Their size on disk.
    pub bytes: u64,
    /// Entries in them, overwritten ones and tombstones included.
    pub entries: u64,
}

/// Figures about an engine at one moment; counts are since it was opened.
#[derive(Debug, Clone)]
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
    /// The tables, level by level.
    pub levels: Vec<LevelStats>,
    /// The block cache.
    pub cache: CacheStats,
    /// Bytes of memory for the filters of all tables.
    pub filter_bytes: usize,
    /// Bytes of memory for the top levels of all tables' indexes.
    pub index_bytes: usize,
    /// Log segments, the spare one included.
    pub wal_segments: usize,
    /// Groups committed.
    pub wal_groups: u64,
    /// Bytes of their payloads.
    pub wal_bytes: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Merges done.
    pub compactions: u64,
    /// Tables that changed their level without being rewritten.
    pub moves: u64,
    /// Bytes of tables read by merges.
    pub compacted_bytes: u64,
    /// How often a write was told to wait.
    pub stalled_writes: u64,
    /// Whether the engine serves in full.
    pub health: Health,
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
            }
        });
        let resident = || memory.version.tables().map(|(_, table)| table.resident_bytes());
        Stats {
            cache: self.tables.cache().stats(),
            filter_bytes: resident().map(|bytes| bytes.filter).sum(),
            index_bytes: resident().map(|bytes| bytes.index).sum(),
            last_seq: memory.last_seq,
            durable_seq: self.commit.durable_seq(),
            memtable_bytes: memory.active.bytes(),
            memtable_entries: memory.active.entry_count(),
            immutable_memtables: memory.immutables.len(),
            levels: levels.collect(),
            wal_segments: log.segments,
            wal_groups: log.groups,
            wal_bytes: log.bytes,
            flushes: self.counters.flushes.get(),
            compactions: self.counters.compactions.get(),
            moves: self.counters.moves.get(),
            compacted_bytes: self.counters.compacted_bytes.get(),
            stalled_writes: self.counters.stalls.get(),
            health: self.health(),
        }
    }
}
