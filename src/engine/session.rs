//! Sessions: exclusive access to memory for a run of lookups and writes.
//!
//! A write is applied to the memtable and staged for the log in one step under the memory lock, so
//! that memory and log hold the same history in the same order. Whoever shows what a lookup found
//! must wait until its sequence number is durable.

use std::sync::{Arc, RwLockWriteGuard};

use super::batch::{Batch, check_write, expiring};
use super::commit::{Capacity, Urgency};
use super::db::Inner;
use super::error::{Error, Result};
use super::event::Event;
use super::key::{EXPIRY_BYTES, Kind, Seq, live};
use super::memory::Memory;
use super::read::{Expired, Record, TableRead};
use super::stalls::{Stall, StallCause};
use super::sync::write;
use super::table::{Read, ReadMode, Value};
use super::wal::{RECORD_OVERHEAD_BYTES, Room};

/// May a write begin now?
#[derive(Debug, Clone)]
pub enum Admission {
    /// Yes.
    Ready,
    /// Not yet. Ask again after the next notification, or when the stall says.
    Stalled(Stall),
    /// No, and this is why.
    Refused(Error),
}

/// What a lookup found. `version` is the sequence number of what it shows, of a tombstone too: the
/// answer may be shown only once [`super::Engine::durable_seq`] has reached it.
pub enum Lookup<'a> {
    /// The key has this value.
    Found(Record<'a>),
    /// The key is not there.
    Missing {
        /// The tombstone's sequence number, or 0.
        seq: Seq,
    },
    /// The answer needs a read that may block. It is fixed as of now and durable.
    Deferred(TableRead),
}

/// A prefetch that has begun: see [`Session::prefetch`].
#[derive(Debug, Clone, Copy)]
pub struct Prefetch(u64);

/// Exclusive access to memory for a run of lookups and writes: one lock for many. Writes are visible
/// to later lookups at once, and reach the log, as one atomic group, when the session is submitted
/// or dropped. Never hold one while waiting for anything.
pub struct Session<'e> {
    inner: &'e Arc<Inner>,
    memory: RwLockWriteGuard<'e, Memory>,
    capacity: Capacity,
    /// Lookups see nothing newer.
    snapshot: Seq,
    /// The first sequence number of this session's writes.
    first_seq: Seq,
    froze: bool,
}

impl<'e> Session<'e> {
    pub(crate) fn begin(inner: &'e Arc<Inner>) -> Self {
        let memory = write(&inner.memory);
        Session {
            capacity: inner.commit.capacity(),
            snapshot: inner.readable_seq(),
            first_seq: memory.last_seq + 1,
            froze: false,
            inner,
            memory,
        }
    }

    /// Looks `key` up in memtables, then in tables as far as that needs no waiting.
    ///
    /// # Errors
    /// `Corrupt` or `Io`: never answered as missing.
    pub fn lookup(&self, key: &[u8]) -> Result<Lookup<'_>> {
        self.look_up(key, Expired::Hidden)
    }

    /// The same, but it shows a value that has expired and is still there (see
    /// [`super::Engine::keep_expired`]): the caller compares [`Record::expires_ms`] with the time.
    ///
    /// # Errors
    /// As [`Session::lookup`].
    pub fn lookup_expired(&self, key: &[u8]) -> Result<Lookup<'_>> {
        self.look_up(key, Expired::Shown)
    }

    fn look_up(&self, key: &[u8], expired: Expired) -> Result<Lookup<'_>> {
        self.inner.counters.gets.add(1);
        if let Some(found) = self.memory.get(key, self.snapshot) {
            let live = live(found.kind, found.value, || self.inner.judged_at_ms(expired));
            return Ok(match live {
                Some((value, expires_ms)) => Lookup::Found(Record {
                    value: Value::lent(value),
                    version: found.seq,
                    expires_ms,
                }),
                None => Lookup::Missing { seq: found.seq },
            });
        }
        let version = &self.memory.version;
        let read =
            self.inner.read_tables(version, key, self.snapshot, ReadMode::Cached, expired)?;
        Ok(match read {
            Read::Done(Some(record)) => Lookup::Found(record),
            Read::Done(None) => Lookup::Missing { seq: 0 },
            Read::WouldBlock => Lookup::Deferred(TableRead::new(self.inner, version, key, expired)),
        })
    }

    /// Whether lookups show everything that comes before what is written now.
    pub(crate) fn is_settled(&self) -> bool {
        !self.memory.ingesting
    }

    /// Whether a deferred read would be answered the same by now.
    pub(crate) fn confirms(&self, read: &TableRead, key: &[u8]) -> bool {
        read.is_of(&self.memory.version) && self.memory.get(key, self.snapshot).is_none()
    }

    /// Starts fetching into the processor's cache what a lookup or write of `key` touches first. Call
    /// it for some keys, then [`Session::prefetch_entry`] for each, then do the work: the waits for
    /// memory overlap. A hint, without effect on any answer.
    pub fn prefetch(&self, key: &[u8]) -> Prefetch {
        Prefetch(self.memory.active.prefetch(key))
    }

    /// The second step of [`Session::prefetch`].
    pub fn prefetch_entry(&self, started: Prefetch) {
        self.memory.active.prefetch_entry(started.0);
    }

    /// Whether one write of this size may begin now. Each write must follow a `Ready` for at least
    /// its size, in the same session; what is not admitted may find no room in the log, which is then
    /// lost for good.
    pub fn admit(&mut self, key_bytes: usize, value_bytes: usize) -> Admission {
        self.admit_write(Kind::Put, key_bytes, value_bytes)
    }

    /// The same for [`Session::put_expiring`].
    pub fn admit_expiring(&mut self, key_bytes: usize, value_bytes: usize) -> Admission {
        self.admit_write(Kind::Expiring, key_bytes, value_bytes + EXPIRY_BYTES)
    }

    pub(crate) fn admit_write(&mut self, kind: Kind, key_bytes: usize, stored: usize) -> Admission {
        if let Err(error) = check_write(kind, key_bytes, stored) {
            return Admission::Refused(error);
        }
        let bytes = key_bytes + stored;
        self.admit_records(1, bytes, bytes + RECORD_OVERHEAD_BYTES)
    }

    /// The same for a batch.
    pub fn admit_batch(&mut self, batch: &Batch) -> Admission {
        match batch.check_unconditional() {
            Ok(()) => self.admit_writes(batch),
            Err(error) => Admission::Refused(error),
        }
    }

    /// The same for the writes of a batch whose conditions are somebody else's business.
    pub(crate) fn admit_writes(&mut self, batch: &Batch) -> Admission {
        self.admit_records(batch.len(), batch.size_bytes(), batch.size_bytes())
    }

    /// Whether `count` writes with these bytes of keys and values, and of log records, may begin.
    fn admit_records(&mut self, count: usize, bytes: usize, record_bytes: usize) -> Admission {
        if let Some(refusal) = self.refusal(record_bytes) {
            return Admission::Refused(refusal);
        }
        match self.stall(count, bytes, record_bytes) {
            None => {
                if self.memory.stalls.is_stalled() {
                    self.end_stall();
                }
                Admission::Ready
            }
            Some(stall) => {
                self.begin_stall(stall.cause);
                Admission::Stalled(stall)
            }
        }
    }

    fn refusal(&self, record_bytes: usize) -> Option<Error> {
        let max = Room::max_payload(self.inner.options.wal_segment_bytes);
        if record_bytes > max {
            let (what, min) = ("what is written together", 0);
            return Some(Error::Size { what, size: record_bytes, min, max });
        }
        if self.memory.closed {
            return Some(Error::Closed);
        }
        self.inner.refusal()
    }

    /// What keeps a write from beginning.
    fn stall(&mut self, count: usize, bytes: usize, record_bytes: usize) -> Option<Stall> {
        let wait_for = |cause| Some(Stall { cause, retry_after: None });
        if !self.capacity.admits(self.memory.staged.len(), record_bytes) {
            let is_full = self.capacity.lacks_segment(self.memory.staged.len(), record_bytes);
            if is_full {
                self.inner.commit.want_segment(self.memory.staged.len() + record_bytes);
            }
            return wait_for(if is_full { StallCause::Segment } else { StallCause::Log });
        }
        let has_room = match count {
            1 => self.memory.has_room(bytes, 0),
            count => self.memory.has_room_for(count, bytes),
        };
        if !has_room {
            return wait_for(StallCause::Flush);
        }
        // Writing must not outrun merging; where damage keeps merging from going on, it may.
        if self.memory.level0.is_full() && !self.inner.faults.is_damaged() {
            return wait_for(StallCause::Level0);
        }
        let retry_after = self.memory.level0.pace(|| self.inner.uptime(), bytes)?;
        Some(Stall { cause: StallCause::Pacing, retry_after: Some(retry_after) })
    }

    fn begin_stall(&mut self, cause: StallCause) {
        self.inner.counters.stalled_writes.add(1);
        self.inner.background.wake();
        if self.memory.stalls.begin(cause) {
            self.inner.emit(|| Event::StallBegan { cause });
        }
    }

    #[cold]
    fn end_stall(&mut self) {
        if let Some((cause, elapsed)) = self.memory.stalls.end() {
            self.inner.emit(|| Event::StallEnded { cause, elapsed });
        }
    }

    /// Stores `value` at `key`. It is durable once [`super::Engine::durable_seq`] reaches the number
    /// returned.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Seq {
        self.apply(Kind::Put, key, value)
    }

    /// The same until `expires_ms`, in milliseconds since the Unix epoch.
    pub fn put_expiring(&mut self, key: &[u8], value: &[u8], expires_ms: u64) -> Seq {
        self.apply(Kind::Expiring, key, &expiring(value, expires_ms))
    }

    /// Writes a tombstone for `key`, whether or not it is there.
    pub fn delete(&mut self, key: &[u8]) -> Seq {
        self.apply(Kind::Delete, key, b"")
    }

    /// Applies all writes of a batch; returns the number of the last.
    pub fn write(&mut self, batch: &Batch) -> Seq {
        debug_assert!(batch.conditions().is_empty(), "it was not admitted");
        self.write_admitted(batch)
    }

    pub(crate) fn write_admitted(&mut self, batch: &Batch) -> Seq {
        let (seq, froze) = self.memory.apply_batch(batch);
        self.froze |= froze;
        seq
    }

    pub(crate) fn apply(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Seq {
        let (seq, froze) = self.memory.apply(kind, key, value);
        self.froze |= froze;
        seq
    }

    /// Hands what was written to the log thread. Dropping the session does the same.
    pub fn submit(self) {}

    /// Hands over without waking the log thread: the caller must call
    /// [`super::Engine::commit_in_place`] next.
    pub fn submit_quietly(mut self) {
        self.hand_over(Urgency::Quiet);
    }

    /// Hands over without asking for a sync: the writes reach the log within milliseconds, and
    /// survive a power cut after about a second, or once something else is synced.
    pub fn submit_unsynced(mut self) {
        self.hand_over(Urgency::Lazy);
    }

    fn hand_over(&mut self, urgency: Urgency) {
        let mut wake = std::mem::take(&mut self.froze);
        if !self.memory.staged.is_empty() {
            let last = self.memory.last_seq;
            let first = std::mem::replace(&mut self.first_seq, last + 1);
            wake |= self.inner.commit.submit(&mut self.memory.staged, first, last, urgency);
        }
        if wake || self.memory.has_news_of_garbage() {
            self.inner.background.wake();
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.hand_over(Urgency::Now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Environment, Options, Scheduling, SystemClock};
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, KeyRange};

    #[test]
    fn a_deferred_answer_counts_only_while_nothing_has_changed() {
        let storage = SimStorage::new(1);
        let environment = Environment {
            storage: Arc::new(storage.clone()),
            clock: Arc::new(SystemClock),
            random: Arc::new(|| 1),
        };
        let options = Options { scheduling: Scheduling::Manual, ..Options::default() };
        let (engine, _) = Engine::open(environment, options).unwrap();
        let deferred = || {
            engine.put(b"key", b"value").unwrap();
            engine.compact().unwrap();
            storage.set_cold(true);
            match engine.session().lookup(b"key").unwrap() {
                Lookup::Deferred(read) => read,
                _ => panic!("it is in no cache"),
            }
        };
        let changes: [fn(&Engine); 4] = [
            |engine| engine.put(b"key", b"new").unwrap(),
            |engine| engine.delete(b"key").unwrap(),
            |engine| engine.delete_range(KeyRange::all()).unwrap(),
            |engine| {
                engine.put(b"key", b"new").unwrap();
                engine.compact().unwrap();
            },
        ];
        for change in changes {
            let read = deferred();
            assert!(engine.session().confirms(&read, b"key"));
            engine.put(b"other", b"value").unwrap();
            assert!(engine.session().confirms(&read, b"key"));
            change(&engine);
            assert!(!engine.session().confirms(&read, b"key"));
        }
    }
}
