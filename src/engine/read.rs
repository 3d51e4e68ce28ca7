//! Point reads: memory first, then tables.
//!
//! A lookup takes the memory lock for as long as it looks into memtables, and none while it reads
//! tables: it holds the version that was current, whose tables stay readable. Whatever is shown must
//! be durable before, a tombstone's answer too; damage is never answered as a miss.

use std::sync::Arc;

use super::db::Inner;
use super::error::{Error, Result};
use super::key::{EXPIRY_BYTES, Kind, Seq, live};
use super::memory::Memory;
use super::memtable::Found;
use super::sync::read;
use super::table::{self, Read, ReadMode, Value};
use super::version::Version;
use crate::planted::{Bug, is_planted};

/// A key's value, and what else is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The value.
    pub value: Value<'a>,
    /// The version: the sequence number of the write. No two writes have the same.
    pub version: Seq,
    /// When it expires, in milliseconds since the Unix epoch, if it does.
    pub expires_ms: Option<u64>,
}

impl Record<'_> {
    /// The same for whoever may keep it.
    fn kept(self) -> Self {
        Record { value: self.value.kept(), ..self }
    }

    /// The same, lending nothing.
    pub fn to_owned(&self) -> Record<'static> {
        let (version, expires_ms) = (self.version, self.expires_ms);
        Record { value: self.value.to_owned(), version, expires_ms }
    }
}

/// Whether a read shows what has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// It is gone, as for every reader.
    Hidden,
    /// As if its time had not come, while it is still there.
    Shown,
}

/// A point read over tables, pinned to the version of the tables at which it was looked up.
pub struct TableRead {
    inner: Arc<Inner>,
    version: Arc<Version>,
    key: Vec<u8>,
    expired: Expired,
}

impl TableRead {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        version: &Arc<Version>,
        key: &[u8],
        expired: Expired,
    ) -> Self {
        let (inner, version) = (Arc::clone(inner), Arc::clone(version));
        TableRead { inner, version, key: key.to_vec(), expired }
    }

    /// Reads, blocking on the disk; for a worker thread.
    ///
    /// # Errors
    /// `Corrupt` or `Io`: never answered as "missing".
    pub fn run(&self) -> Result<Option<Record<'static>>> {
        self.inner.read_tables_blocking(&self.version, &self.key, Seq::MAX, self.expired)
    }

    /// Whether its answer is still the one of the tables.
    pub(crate) fn is_of(&self, version: &Arc<Version>) -> bool {
        Arc::ptr_eq(&self.version, version)
    }
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        self.environment.clock.now_ms()
    }

    /// The time by which a read judges what has expired.
    pub(crate) fn judged_at_ms(&self, expired: Expired) -> u64 {
        match expired {
            Expired::Hidden => self.now_ms(),
            Expired::Shown => 0,
        }
    }

    /// The newest sequence number that a lookup may see: after a failure of the log, only what is
    /// known to be durable.
    pub(crate) fn readable_seq(&self) -> Seq {
        if self.commit.failure().is_some() { self.commit.durable_seq() } else { Seq::MAX }
    }

    /// What a reader at `snapshot` sees at `key`.
    pub(crate) fn get(&self, key: &[u8], snapshot: Seq) -> Result<Option<Record<'static>>> {
        let (seq, record) = self.look_up(key, snapshot)?;
        self.commit.wait_to_show(seq, self.is_manual()).map(|()| record)
    }

    /// The same, and what must be durable before anybody is shown it: 0 if it is.
    pub(crate) fn look_up(
        &self,
        key: &[u8],
        snapshot: Seq,
    ) -> Result<(Seq, Option<Record<'static>>)> {
        self.counters.gets.add(1);
        let snapshot = if is_planted(Bug::ReadPastSnapshot) { Seq::MAX } else { snapshot };
        let at = snapshot.min(self.readable_seq());
        let memory = read(&self.memory);
        if let Some(found) = memory.get(key, at) {
            return Ok((found.seq, self.copied(&found)));
        }
        let version = Arc::clone(&memory.version);
        drop(memory);
        let record = self.read_tables_blocking(&version, key, at, Expired::Hidden)?;
        Ok((0, record))
    }

    /// The same for many keys, all as of one moment.
    pub(crate) fn multi_get(
        &self,
        keys: &[impl AsRef<[u8]>],
        snapshot: Seq,
    ) -> Result<Vec<Option<Value<'static>>>> {
        self.counters.gets.add(keys.len() as u64);
        let at = snapshot.min(self.readable_seq());
        let memory = read(&self.memory);
        memory.prefetch(keys.iter().map(AsRef::as_ref));
        let mut newest = 0;
        let in_memory: Vec<Option<Option<Value>>> = keys
            .iter()
            .map(|key| {
                let found = memory.get(key.as_ref(), at)?;
                newest = newest.max(found.seq);
                Some(self.copied(&found).map(|record| record.value))
            })
            .collect();
        let version = Arc::clone(&memory.version);
        drop(memory);
        let mut values = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(in_memory) {
            values.push(match found {
                Some(value) => value,
                None => self
                    .read_tables_blocking(&version, key.as_ref(), at, Expired::Hidden)?
                    .map(|record| record.value),
            });
        }
        self.commit.wait_to_show(newest, self.is_manual()).map(|()| values)
    }

    /// What a version in memory shows, copied out of it.
    fn copied(&self, found: &Found<'_>) -> Option<Record<'static>> {
        let (value, expires_ms) = live(found.kind, found.value, || self.now_ms())?;
        Some(Record { value: Value::copied(value), version: found.seq, expires_ms })
    }

    pub(crate) fn read_tables_blocking(
        &self,
        version: &Version,
        key: &[u8],
        snapshot: Seq,
        expired: Expired,
    ) -> Result<Option<Record<'static>>> {
        match self.read_tables(version, key, snapshot, ReadMode::Blocking, expired)? {
            Read::Done(record) => Ok(record.map(Record::kept)),
            Read::WouldBlock => {
                Err(Error::io("read", "a table", std::io::ErrorKind::WouldBlock.into()))
            }
        }
    }

    /// What the tables of `version` show at `key`.
    pub(crate) fn read_tables(
        &self,
        version: &Version,
        key: &[u8],
        snapshot: Seq,
        mode: ReadMode,
        expired: Expired,
    ) -> Result<Read<Option<Record<'static>>>> {
        let found =
            version.get(key, snapshot, mode).inspect_err(|error| self.note_damage(error))?;
        Ok(match found {
            Read::Done(found) => Read::Done(found.and_then(|found| self.pinned(found, expired))),
            Read::WouldBlock => Read::WouldBlock,
        })
    }

    /// What a version in a table shows, where it stands.
    fn pinned(&self, found: table::Version, expired: Expired) -> Option<Record<'static>> {
        let (_, expires_ms) = live(found.kind, &found.value, || self.judged_at_ms(expired))?;
        let skipped = if found.kind == Kind::Expiring { EXPIRY_BYTES } else { 0 };
        Some(Record { value: found.value.starting_at(skipped), version: found.seq, expires_ms })
    }
}

impl Memory {
    /// Starts fetching what lookups of `keys` touch, so that their waits for memory overlap.
    fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        let started: Vec<u64> = keys.map(|key| self.active.prefetch(key)).collect();
        for hash in started {
            self.active.prefetch_entry(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Environment, Options, Scheduling, SystemClock};
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, Lookup};

    #[test]
    fn a_small_value_keeps_no_block_in_memory_and_a_large_one_is_not_copied() {
        let storage = Arc::new(SimStorage::new(1));
        let environment =
            Environment { storage, clock: Arc::new(SystemClock), random: Arc::new(|| 1) };
        let options = Options { scheduling: Scheduling::Manual, ..Options::default() };
        let (engine, _) = Engine::open(environment, options).unwrap();
        (0..500u16).for_each(|number| engine.put(&number.to_be_bytes(), b"a value").unwrap());
        engine.put(b"large", &vec![1; 100_000]).unwrap();
        engine.compact().unwrap();
        let small = [1, 2];
        assert!(!engine.get(&small).unwrap().unwrap().is_pinned());
        assert!(!engine.snapshot().get(&small).unwrap().unwrap().is_pinned());
        let several = engine.multi_get(&[&small[..], b"large"]).unwrap();
        let pinned = several.iter().map(|value| value.as_ref().is_some_and(Value::is_pinned));
        assert!(pinned.eq([false, true]));
        // A reply that is made at once borrows.
        let session = engine.session();
        let Lookup::Found(record) = session.lookup(&small).unwrap() else { panic!("it is cached") };
        assert!(record.value.is_pinned() && !record.to_owned().value.is_pinned());
    }
}
