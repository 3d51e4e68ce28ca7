//! Chronos behind the [`Engine`] trait.
//!
//! An unsynced put is a session of one write under `Durability::Os`: when it returns, the write is in
//! memory and handed to the log thread, which gives it to the operating system at once, but later
//! than the return; RocksDB and fjall give it there before they return. Chronos tells a writer to
//! wait instead of waiting itself, so the waiting is done here, woken by the engine's listener.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use chronos::engine::{Admission, Durability, Engine as Database, Environment, Options, Session};

use super::{CACHE_BYTES, Engine, Result, Sync};

/// Frozen memtables beyond which writes wait.
const MAX_IMMUTABLES: usize = 2;
/// Ends a wait whose notice was missed.
const MAX_WAIT: Duration = Duration::from_millis(20);

/// A database and what its writer needs.
pub(crate) struct Chronos {
    database: Database,
    sync: Sync,
    bell: Arc<Bell>,
    /// Why the last write had to wait, by number of `REASONS`.
    reason: AtomicU64,
}

const REASONS: [&str; 4] =
    ["it did not wait", "flush is behind", "level 0 is full", "the log is behind"];

impl Engine for Chronos {
    const SETTINGS: &'static str = "memory_bytes 128 MiB (64 MiB of block cache, memtables 3 x 21 MiB), \
        LZ4 on all levels, its own filters, log on, unsynced: Durability::Os, one session per write";
    const SCANS: bool = false;

    fn open(directory: &Path, sync: Sync) -> Result<Self> {
        let durability = match sync {
            Sync::Never => Durability::Os,
            Sync::Each => Durability::Always,
        };
        let options = Options { memory_bytes: 2 * CACHE_BYTES, durability, ..Options::default() };
        let (database, _) = Database::open(Environment::disk(directory)?, options)?;
        let bell = Arc::new(Bell::default());
        let listener = Arc::clone(&bell);
        database.set_listener(Box::new(move || listener.ring()));
        Ok(Chronos { database, sync, bell, reason: AtomicU64::new(0) })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.sync == Sync::Each {
            return Ok(self.database.put(key, value)?);
        }
        let mut session = self.admitted(key.len(), value.len())?;
        session.put(key, value);
        session.submit();
        Ok(())
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.database.get(key)?.map(|value| read(&value)))
    }

    fn scan(&self, _each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        Err("not there yet".into())
    }

    fn pressure(&self) -> Result<String> {
        let reason = REASONS.get(self.reason.swap(0, Ordering::Relaxed) as usize);
        Ok(reason.copied().unwrap_or_default().to_owned())
    }

    fn counts(&self) -> Result<Vec<(String, u64)>> {
        let stats = self.database.stats();
        let counts = [
            ("payload bytes logged", stats.wal_bytes),
            ("groups logged", stats.wal_groups),
            ("flushes", stats.flushes),
            ("merges", stats.compactions),
            ("moves", stats.moves),
            ("bytes of tables merged", stats.compacted_bytes),
            ("writes told to wait", stats.stalled_writes),
            ("tables in level 0", stats.levels.first().map_or(0, |level| level.tables as u64)),
        ];
        Ok(counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect())
    }

    fn is_log(extension: &str) -> bool {
        extension == "wal"
    }

    fn close(self) -> Result<()> {
        Ok(self.database.close()?)
    }
}

impl Chronos {
    /// A session in which a write of this size may begin.
    fn admitted(&self, key_bytes: usize, value_bytes: usize) -> Result<Session<'_>> {
        let mut waited = false;
        loop {
            let rung = self.bell.rung();
            let session = self.database.session();
            match session.admit(key_bytes, value_bytes) {
                Admission::Ready => return Ok(session),
                Admission::Refused(error) => return Err(error.into()),
                Admission::Stalled => drop(session),
            }
            if !waited {
                self.reason.store(self.why(), Ordering::Relaxed);
                waited = true;
            }
            self.bell.wait_past(rung);
        }
    }

    /// Why a write must wait at this moment, by number of `REASONS`.
    fn why(&self) -> u64 {
        let stats = self.database.stats();
        let defaults = Options::default();
        if stats.immutable_memtables >= MAX_IMMUTABLES {
            1
        } else if stats.levels.first().is_some_and(|l| l.tables >= defaults.level0_tables * 6) {
            2
        } else {
            3
        }
    }
}

/// Wakes the writer when something changed, and costs little while nobody waits.
#[derive(Default)]
struct Bell {
    rings: AtomicU64,
    waiters: AtomicU64,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Bell {
    fn rung(&self) -> u64 {
        self.rings.load(Ordering::SeqCst)
    }

    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock());
            self.changed.notify_all();
        }
    }

    fn wait_past(&self, rung: u64) {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(guard, MAX_WAIT, |()| self.rung() == rung));
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}
