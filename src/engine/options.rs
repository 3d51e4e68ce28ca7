//! What an engine is opened with: tunables ([`Options`]) and the outside world ([`Environment`]).
//!
//! Clock, randomness, storage and scheduling are passed in, so that a test can run the whole engine
//! on one thread with virtual time on a storage that crashes. Nothing below may reach around them.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::compaction::picker::Leveled;
use super::error::{Error, Result};
use super::event::EventListener;
use super::memory::MAX_IMMUTABLES;
use super::memtable::MAX_MEMTABLE_BYTES;
use super::storage::{self, Storage, disk::DiskStorage};
use super::table::{Compression, MAX_OPEN_TABLES};
use super::version::LEVELS;

/// When a write counts as committed, and so when its `OK` may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// After the sync that covers it: it survives a power cut.
    #[default]
    Always,
    /// After it was handed to the operating system, which is told to sync once a second: a killed
    /// process loses nothing, a power cut loses up to about a second.
    EverySecond,
    /// After it was handed to the operating system, which syncs when it likes.
    Os,
}

/// Who runs the commit and background steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scheduling {
    /// The engine's own threads.
    #[default]
    Threads,
    /// The caller: blocking calls do the work themselves, in a fixed order, on the calling thread.
    /// For tests and simulation.
    Manual,
}

/// Tunables of an engine. `Options::default()` suits a server with 256 MiB to spend. More will come, so
/// name those that are to be different and end with `..Options::default()`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether a database is created where there is none. Without it [`super::Engine::open`] answers
    /// [`Error::NoDatabase`] there: a mistyped path is told and makes nothing.
    pub create_if_missing: bool,
    /// The budget of memory, in bytes. Half of it is for memtables: one is written while up to two
    /// are flushed, a sixth each. The other half is for blocks of tables: filters and the top levels
    /// of the indexes (about 1.3 bytes a key), which stay, and the block cache with what they leave,
    /// at least an eighth of the budget.
    pub memory_bytes: usize,
    /// When a write counts as committed.
    pub durability: Durability,
    /// The most bytes of a log segment, a multiple of 4,096. Bounds the largest batch.
    pub wal_segment_bytes: usize,
    /// Size of the first log segment, in bytes, a multiple of 4,096. While segments are filled within
    /// seconds, the next ones are larger, up to `wal_segment_bytes`; at rest and after a close there
    /// are small ones again.
    pub wal_initial_bytes: usize,
    /// Size at which a compaction starts the next output table, in bytes.
    pub table_bytes: usize,
    /// How data blocks are compressed when they are written. Tables are read whatever they use.
    pub compression: Compression,
    /// The same for the last level, where most of the data is.
    pub bottom_compression: Compression,
    /// Sublevels of level 0 (tables that overlap each other) that start a merge by themselves.
    pub level0_tables: usize,
    /// Tables whose files are kept open at once, at most: never more than half of what the process may
    /// open, and fewer where that runs out.
    pub max_open_tables: usize,
    /// Whether values that expire stay in the files, unseen, from the first merge on: see
    /// [`super::Engine::keep_expired`].
    pub keep_expired: bool,
    /// Who runs the commit and background steps.
    pub scheduling: Scheduling,
    /// Who is told of what happens in the background.
    pub listener: Option<EventListener>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            create_if_missing: true,
            memory_bytes: 256 << 20,
            durability: Durability::Always,
            // Room for the largest value and more.
            wal_segment_bytes: 48 << 20,
            // Two of them are always on disk, and an open reads one.
            wal_initial_bytes: 1 << 20,
            table_bytes: 64 << 20,
            compression: Compression::default(),
            bottom_compression: Compression::default(),
            level0_tables: 4,
            max_open_tables: MAX_OPEN_TABLES,
            keep_expired: false,
            scheduling: Scheduling::Threads,
            listener: None,
        }
    }
}

/// A memory budget below this leaves no room for a memtable worth the name.
pub const MIN_MEMORY_BYTES: usize = 64 << 10;
/// A log segment must hold some groups.
pub const MIN_SEGMENT_BYTES: usize = 32 << 10;
/// Writes wait while level 0 has this many times the tables that start a merge.
const LEVEL0_STOP_FACTOR: usize = 6;

/// Memtables that may be in memory at once: the active one, and those that wait for their flush.
const MEMTABLES: usize = 1 + MAX_IMMUTABLES;

impl Options {
    /// Whether the values can work together.
    pub(crate) fn check(&self) -> Result<()> {
        let require = |holds, what: &str| {
            if holds { Ok(()) } else { Err(Error::InvalidOption(what.to_owned())) }
        };
        require(self.memory_bytes >= MIN_MEMORY_BYTES, "memory_bytes must be at least 65536")?;
        require(
            self.wal_segment_bytes >= MIN_SEGMENT_BYTES
                && self.wal_segment_bytes.is_multiple_of(4096),
            "wal_segment_bytes must be a multiple of 4096 and at least 32768",
        )?;
        require(
            self.wal_initial_bytes >= MIN_SEGMENT_BYTES
                && self.wal_initial_bytes.is_multiple_of(4096),
            "wal_initial_bytes must be a multiple of 4096 and at least 32768",
        )?;
        require(self.max_open_tables > 0, "max_open_tables must be greater than 0")?;
        require(self.table_bytes > 0, "table_bytes must be greater than 0")?;
        require(self.level0_tables > 0, "level0_tables must be greater than 0")
    }

    /// Size at which a memtable is full, in bytes.
    pub(crate) fn memtable_bytes(&self) -> usize {
        (self.memory_bytes / 2 / MEMTABLES).min(MAX_MEMTABLE_BYTES)
    }

    /// Size of the block cache, in bytes, beside what tables keep in memory anyway. That comes out of
    /// the same budget, but leaves the cache a quarter of its own.
    pub(crate) fn cache_bytes(&self, resident_bytes: usize) -> usize {
        let budget = self.memory_bytes / 2;
        budget.saturating_sub(resident_bytes).max(budget / 4)
    }

    /// Size of the first log segment, and of all while nothing calls for more.
    pub(crate) fn initial_segment_bytes(&self) -> usize {
        self.wal_initial_bytes.min(self.wal_segment_bytes)
    }

    /// How tables of a level are compressed.
    pub(crate) fn compression_of(&self, level: usize) -> Compression {
        if level + 1 == LEVELS { self.bottom_compression } else { self.compression }
    }

    /// What decides about merges.
    pub(crate) fn policy(&self) -> Leveled {
        Leveled { level0_sublevels: self.level0_tables, table_bytes: self.table_bytes as u64 }
    }

    /// Sublevels of level 0 at which writes wait.
    pub(crate) fn level0_stop(&self) -> usize {
        self.level0_tables * LEVEL0_STOP_FACTOR
    }

    /// Free bytes with which work that ran out of room can go on: a flush of each memtable and a
    /// log segment.
    pub(crate) fn room_bytes(&self) -> u64 {
        2 * self.memtable_bytes() as u64 + self.wal_segment_bytes as u64
    }
}

/// The wall clock, as far as the engine needs it.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The outside world as the engine sees it.
#[derive(Clone)]
pub struct Environment {
    /// Where the files are.
    pub storage: Arc<dyn Storage>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// A source of random numbers, for log epochs.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Environment {
    /// The same world, with a storage that follows its directory from now on.
    pub(crate) fn afresh(self) -> Self {
        Environment { storage: storage::afresh(self.storage), ..self }
    }

    /// The real world, with the data in the directory `path`, from the present working directory on
    /// if that is relative.
    ///
    /// # Errors
    /// `Io` if the path cannot be used as a directory.
    pub fn disk(path: &Path) -> Result<Self> {
        let storage = DiskStorage::new(path).map_err(|e| Error::io("open", "directory", e))?;
        Ok(Environment {
            storage: Arc::new(storage),
            clock: Arc::new(SystemClock),
            random: Arc::new(random_u64),
        })
    }
}

/// A random number from the operating system, by way of the standard library's hash keys.
fn random_u64() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_budget_makes_a_memtable_larger_than_its_references_reach() {
        let memtable =
            |memory_bytes| Options { memory_bytes, ..Options::default() }.memtable_bytes();
        assert_eq!(memtable(384 << 20), 64 << 20);
        assert_eq!(memtable(usize::MAX), MAX_MEMTABLE_BYTES);
    }
}
