//! Chronos behind the [`Engine`] trait.
//!
//! An unsynced put is one with `WriteDurability::Unsynced`: when it returns, the write is in memory and
//! with the log thread, which gives it to the operating system within milliseconds; RocksDB and fjall
//! give it there before they return.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chronos::engine::{
    Engine as Database, Environment, Options, StallCause, StallStats, WriteDurability, WriteOptions,
};

use super::{CACHE_BYTES, Engine, Result, Sync};

/// A database, and how its puts are done.
pub(crate) struct Chronos {
    database: Database,
    options: WriteOptions,
    /// The stalls as of the last look.
    seen: Mutex<Vec<(StallCause, StallStats)>>,
}

impl Engine for Chronos {
    const SETTINGS: &'static str = "memory_bytes 128 MiB (64 MiB for blocks, filters and indexes, \
        memtables 3 x 21 MiB), LZ4 on all levels, its own filters (10 bits), log on, unsynced: \
        WriteDurability::Unsynced";
    const SCANS: bool = true;

    fn open(directory: &Path, sync: Sync) -> Result<Self> {
        let options = Options { memory_bytes: 2 * CACHE_BYTES, ..Options::default() };
        let (database, _) = Database::open(Environment::disk(directory)?, options)?;
        let durability = match sync {
            Sync::Never => WriteDurability::Unsynced,
            Sync::Each => WriteDurability::Synced,
        };
        let options = WriteOptions::durability(durability);
        Ok(Chronos { database, options, seen: Mutex::default() })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.database.put_with(key, value, self.options)?)
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.database.get(key)?.map(|value| read(&value)))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut scan = self.database.scan(..);
        while scan.advance()? {
            each(scan.key(), scan.value());
        }
        Ok(())
    }

    /// The cause of which the stalls have grown most since the last look.
    fn pressure(&self) -> Result<String> {
        let stalls = self.database.stats().stalls;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *seen, stalls.clone());
        let grown = stalls.iter().enumerate().map(|(number, (cause, stats))| {
            let before = before.get(number).map_or(0, |(_, stats)| stats.total_us);
            (stats.total_us - before, cause.name())
        });
        let most = grown.max().filter(|(grown_us, _)| *grown_us > 0);
        Ok(most.map_or("no stall", |(_, name)| name).to_owned())
    }

    fn counts(&self) -> Result<Vec<(String, u64)>> {
        let stats = self.database.stats();
        let counts = [
            ("groups logged", stats.wal_groups),
            ("flushes", stats.flushes),
            ("merges", stats.compactions),
            ("moves", stats.moves),
            ("bytes of tables merged", stats.compacted_bytes),
            ("tables in level 0", stats.levels.first().map_or(0, |level| level.tables as u64)),
        ];
        let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count));
        let stalls = stats.stalls.iter().filter(|(_, stall)| stall.count > 0);
        let stalls = stalls.flat_map(|(cause, stall)| {
            let name = cause.name();
            [
                (format!("stalls, {name}"), stall.count),
                (format!("ms stalled, {name}"), stall.total_us / 1_000),
                (format!("ms of the longest, {name}"), stall.longest_us / 1_000),
            ]
        });
        Ok(counts.chain(stalls).collect())
    }

    fn written_bytes(&self) -> Option<u64> {
        let stats = self.database.stats();
        let tables: u64 = stats.levels.iter().map(|level| level.written_bytes).sum();
        Some(stats.wal_written_bytes + tables)
    }

    fn is_log(extension: &str) -> bool {
        extension == "wal"
    }

    fn close(self) -> Result<()> {
        Ok(self.database.close()?)
    }
}
