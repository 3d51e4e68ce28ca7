//! Snapshots: reads as of one moment, for as long as the snapshot is held.
//!
//! A snapshot is a number in a register; taking it copies nothing. Flushes and merges read the
//! register and keep what the snapshots in it still see. A number is registered under the memory
//! lock, and a job reads the register after it has its inputs: so a snapshot that a job does not
//! know of is newer than everything that the job may drop. None is taken while an ingestion has its
//! number and not its tables: these would appear in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::db::Inner;
use super::error::Result;
use super::key::Seq;
use super::range::KeyRange;
use super::read::Record;
use super::scan::Scan;
use super::sync::{lock, read};
use super::table::Value;
use crate::planted::{Bug, is_planted};

/// The snapshots in use.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// How often each number is held.
    held: Mutex<BTreeMap<Seq, usize>>,
}

impl Snapshots {
    /// The numbers in use, ascending.
    pub(crate) fn list(&self) -> Vec<Seq> {
        if is_planted(Bug::ForgetSnapshots) {
            return Vec::new();
        }
        lock(&self.held).keys().copied().collect()
    }

    fn hold(&self, seq: Seq) {
        *lock(&self.held).entry(seq).or_default() += 1;
    }

    /// Gives a number back; true if nobody holds it any more.
    fn release(&self, seq: Seq) -> bool {
        let mut held = lock(&self.held);
        let Some(count) = held.get_mut(&seq) else { return false };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            held.remove(&seq);
        }
        is_last
    }
}

/// The database as it was when the snapshot was taken. What has expired since is gone all the same.
/// Clones are cheap; while one lives, merges keep what it sees.
///
/// ```
/// # use chronos::engine::{Engine, Environment, Options};
/// # let directory = tempfile::tempdir().unwrap();
/// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
/// engine.put(b"key", b"old")?;
/// let snapshot = engine.snapshot();
/// engine.put(b"key", b"new")?;
/// assert_eq!(snapshot.get(b"key")?.unwrap(), b"old");
/// # engine.close()?;
/// # Ok::<(), chronos::engine::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    held: Arc<Held>,
}

struct Held {
    inner: Arc<Inner>,
    seq: Seq,
}

impl Snapshot {
    /// Of this moment.
    pub(crate) fn take(inner: &Arc<Inner>) -> Self {
        loop {
            let epoch = inner.signal.epoch();
            let memory = read(&inner.memory);
            // The tables of an ingestion would appear in it later.
            let is_settled = !memory.ingesting || inner.commit.failure().is_some();
            if is_settled {
                let seq = memory.last_seq.min(inner.readable_seq());
                inner.snapshots.hold(seq);
                return Snapshot { held: Arc::new(Held { inner: Arc::clone(inner), seq }) };
            }
            drop(memory);
            inner.signal.wait_past(epoch, None);
        }
    }

    /// The last write that it shows.
    pub fn seq(&self) -> Seq {
        self.held.seq
    }

    /// As [`super::Engine::get`], as of the snapshot.
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'static>>> {
        Ok(self.get_record(key)?.map(|record| record.value))
    }

    /// As [`super::Engine::get_record`], as of the snapshot.
    ///
    /// # Errors
    /// As there.
    pub fn get_record(&self, key: &[u8]) -> Result<Option<Record<'static>>> {
        self.held.inner.get(key, self.held.seq)
    }

    /// The same without waiting for anything to be durable: before the caller lets anybody know what it
    /// has seen, [`super::Engine::durable_seq`] must have reached [`Snapshot::seq`].
    ///
    /// # Errors
    /// As [`super::Engine::get_record`].
    pub fn get_record_without_waiting(&self, key: &[u8]) -> Result<Option<Record<'static>>> {
        self.held.inner.look_up(key, self.held.seq).map(|(_, record)| record)
    }

    /// As [`super::Engine::multi_get`], as of the snapshot.
    ///
    /// # Errors
    /// As there.
    pub fn multi_get(&self, keys: &[impl AsRef<[u8]>]) -> Result<Vec<Option<Value<'static>>>> {
        self.held.inner.multi_get(keys, self.held.seq)
    }

    /// As [`super::Engine::scan`], as of the snapshot.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(&self.held.inner, range.into(), self.held.seq)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("seq", &self.held.seq).finish_non_exhaustive()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.inner.snapshots.release(self.seq) {
            // What only it has seen may go now.
            self.inner.background.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_use_until_its_last_holder_lets_go() {
        let snapshots = Snapshots::default();
        for seq in [7, 3, 7] {
            snapshots.hold(seq);
        }
        assert_eq!(snapshots.list(), [3, 7]);
        assert!(!snapshots.release(7));
        assert!(snapshots.release(3));
        assert_eq!(snapshots.list(), [7]);
        assert!(snapshots.release(7));
        assert!(snapshots.list().is_empty());
    }
}
