//! fjall behind the [`Engine`] trait.
//!
//! Its defaults, but for the size of the cache and LZ4, which it leaves off on its first two levels
//! unless told. A synced write is what its documentation says: insert, then persist the journal.

use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{CACHE_BYTES, Engine, Result, Sync};

/// A database and its one keyspace. Fields are dropped in this order, and the database's drop joins
/// the threads.
pub(crate) struct Fjall {
    keyspace: Keyspace,
    database: Database,
    sync: Sync,
}

impl Engine for Fjall {
    const SETTINGS: &'static str = "64 MiB of cache, memtables of 64 MiB (default), LZ4 on all levels, \
        its default filters (level 0 at 0.01 %, below 10 bits a key), journal on, unsynced: handed to \
        the system";
    const SCANS: bool = true;

    fn open(directory: &Path, sync: Sync) -> Result<Self> {
        let database = Database::builder(directory).cache_size(CACHE_BYTES as u64).open()?;
        let keyspace = database.keyspace("versus", || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        })?;
        Ok(Fjall { keyspace, database, sync })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.insert(key, value)?;
        if self.sync == Sync::Each {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.keyspace.get(key)?.map(|value| read(&value)))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        for guard in self.keyspace.iter() {
            let (key, value) = guard.into_inner()?;
            each(&key, &value);
        }
        Ok(())
    }

    fn pressure(&self) -> Result<String> {
        // Below these the engine does not slow writers down.
        let level0 = self.keyspace.l0_table_count() >= 20;
        let reason = match (level0, self.database.outstanding_flushes()) {
            (true, _) => "level 0 is full",
            (false, 0) => "unknown",
            (false, _) => "flush is behind",
        };
        Ok(reason.to_owned())
    }

    fn counts(&self) -> Result<Vec<(String, u64)>> {
        Ok(vec![
            ("merges".to_owned(), self.database.compactions_completed() as u64),
            ("journals".to_owned(), self.database.journal_count() as u64),
            ("tables in level 0".to_owned(), self.keyspace.l0_table_count() as u64),
        ])
    }

    fn is_log(extension: &str) -> bool {
        extension == "jnl"
    }

    fn close(self) -> Result<()> {
        Ok(self.database.persist(PersistMode::Buffer)?)
    }
}
