//! The engine's public face: opening, sessions, lookups, waiting for durability.
//!
//! A write is applied to the memtable and staged for the log in one step under the memory lock, so
//! that memory and log hold the same history in the same order. Whoever shows what a lookup found
//! must wait until its sequence number is durable; `get` does so itself.

use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;

use super::background::Background;
use super::commit::{Capacity, Commit};
use super::error::{Error, Result};
use super::health::{Faults, Health};
use super::key::{Kind, MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq, live};
use super::memory::Memory;
use super::options::{Environment, Options, Scheduling};
use super::recovery::{self, Recovery};
use super::stats::{Counters, Stats};
use super::sync::{Signal, lock, read, write};
use super::table::{BlockCache, MAX_OPEN_TABLES, Read, ReadMode, Tables, Value};
use super::ticket::Ticket;
use super::version::Version;
use super::version::set::VersionSet;
use super::wal::{RECORD_OVERHEAD_BYTES, Room};

/// A handle to an open database. Clones are cheap and share it. When the last one is dropped
/// without [`Engine::close`], submitted writes are committed and the threads stop; memtables are
/// not flushed, so the next open replays the log.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
    _threads: Arc<Threads>,
}

/// What all parts of an engine share. Lock order: `set`, `memory`, the log, the commit queue.
pub(crate) struct Inner {
    pub(crate) environment: Environment,
    pub(crate) options: Options,
    pub(crate) memory: RwLock<Memory>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) commit: Commit,
    pub(crate) set: Mutex<VersionSet>,
    pub(crate) background: Background,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    pub(crate) signal: Arc<Signal>,
    /// The lock of the data directory; taken out on close.
    pub(crate) directory_lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Engine {
    /// Opens the database in the environment's storage, creating or recovering it. Nothing is
    /// changed if it is refused.
    ///
    /// # Errors
    /// `Locked`, `Corrupt`, `UnknownFormat`, `Io`, `InvalidOption`.
    pub fn open(environment: Environment, options: Options) -> Result<(Engine, Recovery)> {
        options.check()?;
        let directory_lock = environment.storage.lock().map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock => Error::Locked,
            _ => Error::io("use", "the data directory", e),
        })?;
        let cache = BlockCache::new(options.cache_bytes());
        let storage = Arc::clone(&environment.storage);
        let tables = Arc::new(Tables::new(storage, cache, MAX_OPEN_TABLES));
        let opened = recovery::open(&environment, &options, &tables)?;
        let signal = Arc::new(Signal::default());
        let last_seq = opened.recovery.last_seq;
        let commit = Commit::new(
            opened.wal,
            options.wal_segment_bytes,
            last_seq,
            options.durability,
            Arc::clone(&environment.clock),
            Arc::clone(&signal),
        );
        if let Some(spare) = opened.spare {
            commit.add_spare(spare);
        }
        let inner = Arc::new(Inner {
            memory: RwLock::new(Memory::new(opened.version, last_seq, options.memtable_bytes())),
            tables,
            commit,
            set: Mutex::new(opened.set),
            background: Background::default(),
            faults: Faults::default(),
            counters: Counters::default(),
            signal,
            directory_lock: Mutex::new(Some(directory_lock)),
            environment,
            options,
        });
        let threads = Threads::start(&inner)?;
        Ok((Engine { inner, _threads: Arc::new(threads) }, opened.recovery))
    }

    /// Starts a session: takes the memory lock for a run of lookups and writes.
    pub fn session(&self) -> Session<'_> {
        Session::begin(&self.inner)
    }

    /// Everything up to this sequence number is committed under the chosen durability.
    pub fn durable_seq(&self) -> Seq {
        self.inner.commit.durable_seq()
    }

    /// Sets what is called (on any thread; it must be quick and must not call the engine) whenever
    /// `durable_seq` moved, a stall may have ended, a ticket is done or the health changed. Only the
    /// first call counts.
    pub fn set_listener(&self, listener: Box<dyn Fn() + Send + Sync>) {
        self.inner.signal.listen(listener);
    }

    /// Writes and syncs what was submitted, on this thread, if the log thread is idle; otherwise
    /// wakes that. Returns whether everything submitted is now durable.
    pub fn commit_in_place(&self) -> bool {
        self.inner.commit.commit_in_place()
    }

    /// The value at `key`, or `None`. What is returned is durable: for a version that is not yet,
    /// this waits.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the value cannot be read, `Failed` if it may not survive.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let memory = read(&self.inner.memory);
        if let Some(found) = memory.get(key, self.inner.readable_seq()) {
            let live = live(found.kind, found.value, || self.inner.environment.clock.now_ms());
            let (value, seq) = (live.map(|(value, _)| value.to_vec()), found.seq);
            drop(memory);
            self.inner.wait_durable(seq)?;
            return Ok(value);
        }
        let read = self.inner.table_read(&memory.version, key);
        drop(memory);
        Ok(read.run()?.map(|value| value.to_vec()))
    }

    /// Stores `value` at `key`; durable when it returns.
    ///
    /// # Errors
    /// `Size`, `NoSpace`, `Closed`: not written. `Failed`: the outcome is unknown.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write_one(Kind::Put, key, value)
    }

    /// Deletes `key`, whether or not it is there; durable when it returns.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.write_one(Kind::Delete, key, b"")
    }

    fn write_one(&self, kind: Kind, key: &[u8], value: &[u8]) -> Result<()> {
        loop {
            let epoch = self.inner.signal.epoch();
            let mut session = self.session();
            match session.admit(key.len(), value.len()) {
                Admission::Ready => {
                    let seq = session.apply(kind, key, value);
                    session.submit();
                    return self.inner.wait_durable(seq);
                }
                Admission::Refused(error) => return Err(error),
                Admission::Stalled => drop(session),
            }
            if self.inner.is_manual() {
                self.inner.commit.commit_in_place();
                self.inner.run_background();
            } else {
                self.inner.signal.wait_past(epoch);
            }
        }
    }

    /// Starts flushing the memtable and merging all tables into the last level. Reads and writes go
    /// on meanwhile.
    pub fn start_compaction(&self) -> Ticket {
        self.inner.request_compaction()
    }

    /// Refuses new writes, seals and syncs the log, flushes memtables, stops the threads and gives
    /// the directory free. Lookups go on working.
    pub fn start_close(&self) -> Ticket {
        self.inner.request_close()
    }

    /// [`Engine::start_compaction`], awaited.
    ///
    /// # Errors
    /// What ended the merge early: `NoSpace`, `Corrupt`, `Io`, `Closed`.
    pub fn compact(&self) -> Result<()> {
        self.start_compaction().wait()
    }

    /// [`Engine::start_close`], awaited.
    ///
    /// # Errors
    /// What kept it from flushing everything; the log still holds what was acknowledged.
    pub fn close(&self) -> Result<()> {
        self.start_close().wait()
    }

    /// Does all background work that is due, on this thread: for [`Scheduling::Manual`], where
    /// sessions stall until somebody does it.
    pub fn run_background(&self) {
        if self.inner.is_manual() {
            self.inner.run_background();
        }
    }

    /// Whether the engine serves in full, and if not, why.
    pub fn health(&self) -> Health {
        self.inner.health()
    }

    /// Figures about the engine at this moment.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

/// May a write begin now?
#[derive(Debug, Clone)]
pub enum Admission {
    /// Yes.
    Ready,
    /// Not yet: the log, the flush or the merging is behind. Ask again after the next notification.
    Stalled,
    /// No, and this is why.
    Refused(Error),
}

/// What a lookup found. `seq` is the sequence number of the version, of a tombstone too: the answer
/// may be shown only once [`Engine::durable_seq`] has reached it. It is 0 if memory held nothing.
pub enum Lookup<'a> {
    /// The key has this value.
    Found {
        /// The value.
        value: Value<'a>,
        /// The version's sequence number.
        seq: Seq,
    },
    /// The key is not there.
    Missing {
        /// The tombstone's sequence number, or 0.
        seq: Seq,
    },
    /// The answer needs a read that may block. It is fixed as of now and durable.
    Deferred(TableRead),
}

/// A point read over tables, pinned to the version of the tables at which it was looked up.
pub struct TableRead {
    inner: Arc<Inner>,
    version: Arc<Version>,
    key: Vec<u8>,
}

impl TableRead {
    /// Reads, blocking on the disk; for a worker thread.
    ///
    /// # Errors
    /// `Corrupt` or `Io`: never answered as "missing".
    pub fn run(&self) -> Result<Option<Value<'static>>> {
        match self.inner.read_tables(&self.version, &self.key, ReadMode::Blocking)? {
            Read::Done(value) => Ok(value),
            Read::WouldBlock => {
                Err(Error::io("read", "a table", std::io::ErrorKind::WouldBlock.into()))
            }
        }
    }
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
    fn begin(inner: &'e Arc<Inner>) -> Self {
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
        if let Some(found) = self.memory.get(key, self.snapshot) {
            let seq = found.seq;
            let now_ms = || self.inner.environment.clock.now_ms();
            return Ok(match live(found.kind, found.value, now_ms) {
                Some((value, _)) => Lookup::Found { value: Value::lent(value), seq },
                None => Lookup::Missing { seq },
            });
        }
        let version = &self.memory.version;
        Ok(match self.inner.read_tables(version, key, ReadMode::Cached)? {
            Read::Done(Some(value)) => Lookup::Found { value, seq: 0 },
            Read::Done(None) => Lookup::Missing { seq: 0 },
            Read::WouldBlock => Lookup::Deferred(self.inner.table_read(version, key)),
        })
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

    /// Whether one write of this size may begin now. [`Session::put`] and [`Session::delete`] must
    /// follow a `Ready` for at least their size, in the same session; what is not admitted may find
    /// no room in the log, which is then lost for good.
    pub fn admit(&self, key_bytes: usize, value_bytes: usize) -> Admission {
        if let Err(error) = self.inner.check_size(key_bytes, value_bytes) {
            return Admission::Refused(error);
        }
        if self.memory.closed {
            return Admission::Refused(Error::Closed);
        }
        if let Some(error) = self.inner.refusal() {
            return Admission::Refused(error);
        }
        let record = key_bytes + value_bytes + RECORD_OVERHEAD_BYTES;
        let staged = self.memory.staged.len();
        let room = self.capacity.admits(staged, record)
            && self.memory.has_room(key_bytes, value_bytes)
            && self.has_room_in_level0();
        if room { Admission::Ready } else { self.stalled() }
    }

    /// Writing must not outrun merging; where damage keeps merging from going on, it may.
    fn has_room_in_level0(&self) -> bool {
        let sublevels = self.memory.version.sublevels();
        sublevels < self.inner.options.level0_stop() || self.inner.faults.is_damaged()
    }

    fn stalled(&self) -> Admission {
        self.inner.counters.stalls.add(1);
        self.inner.background.wake();
        Admission::Stalled
    }

    /// Stores `value` at `key`. It is durable once [`Engine::durable_seq`] reaches the number
    /// returned.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Seq {
        self.apply(Kind::Put, key, value)
    }

    /// Writes a tombstone for `key`, whether or not it is there.
    pub fn delete(&mut self, key: &[u8]) -> Seq {
        self.apply(Kind::Delete, key, b"")
    }

    fn apply(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Seq {
        let (seq, froze) = self.memory.apply(kind, key, value);
        self.froze |= froze;
        seq
    }

    /// Hands what was written to the log thread. Dropping the session does the same.
    pub fn submit(self) {}

    /// Hands over without waking the log thread: the caller must call [`Engine::commit_in_place`]
    /// next.
    pub fn submit_quietly(mut self) {
        self.hand_over(true);
    }

    fn hand_over(&mut self, quietly: bool) {
        let mut wake = std::mem::take(&mut self.froze);
        if !self.memory.staged.is_empty() {
            let last = self.memory.last_seq;
            let first = std::mem::replace(&mut self.first_seq, last + 1);
            wake |= self.inner.commit.submit(&mut self.memory.staged, first, last, quietly);
        }
        if wake {
            self.inner.background.wake();
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.hand_over(false);
    }
}

impl Inner {
    pub(crate) fn is_manual(&self) -> bool {
        self.options.scheduling == Scheduling::Manual
    }

    pub(crate) fn wait_durable(&self, seq: Seq) -> Result<()> {
        self.commit.wait_durable(seq, self.is_manual())
    }

    /// The newest sequence number that a lookup may see: after a failure of the log, only what is
    /// known to be durable.
    fn readable_seq(&self) -> Seq {
        if self.commit.failure().is_some() { self.commit.durable_seq() } else { Seq::MAX }
    }

    fn table_read(self: &Arc<Self>, version: &Arc<Version>, key: &[u8]) -> TableRead {
        TableRead { inner: Arc::clone(self), version: Arc::clone(version), key: key.to_vec() }
    }

    fn read_tables(
        &self,
        version: &Version,
        key: &[u8],
        mode: ReadMode,
    ) -> Result<Read<Option<Value<'static>>>> {
        let found =
            version.get(key, Seq::MAX, mode).inspect_err(|error| self.note_damage(error))?;
        Ok(match found {
            Read::Done(Some(entry)) => Read::Done((entry.kind == Kind::Put).then_some(entry.value)),
            Read::Done(None) => Read::Done(None),
            Read::WouldBlock => Read::WouldBlock,
        })
    }

    fn check_size(&self, key_bytes: usize, value_bytes: usize) -> Result<()> {
        let check = |what, size, min, max| {
            if (min..=max).contains(&size) {
                Ok(())
            } else {
                Err(Error::Size { what, size, min, max })
            }
        };
        let payload = Room::max_payload(self.options.wal_segment_bytes);
        let batch = payload.saturating_sub(RECORD_OVERHEAD_BYTES);
        check("a key", key_bytes, 1, MAX_KEY_BYTES)?;
        check("a value", value_bytes, 0, MAX_VALUE_BYTES)?;
        check("a key with its value", key_bytes + value_bytes, 1, batch)
    }

    /// Why writes are refused at the moment.
    fn refusal(&self) -> Option<Error> {
        if let Some(cause) = self.commit.failure() {
            return Some(Error::Failed(cause.to_string().into()));
        }
        self.faults.is_out_of_space().then_some(Error::NoSpace)
    }

    pub(crate) fn health(&self) -> Health {
        match self.commit.failure() {
            Some(cause) => Health::Failed { cause: cause.clone() },
            None => self.faults.health(),
        }
    }

    /// Takes note of a damaged file, wherever it was met.
    pub(crate) fn note_damage(&self, error: &Error) {
        if self.faults.note_damage(error) {
            tracing::error!(%error, "a table is damaged; restore the file and restart");
            self.signal.notify();
        }
    }
}

/// The engine's threads; stops them when dropped.
struct Threads {
    inner: Arc<Inner>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    fn start(inner: &Arc<Inner>) -> Result<Self> {
        let threads = Threads { inner: Arc::clone(inner), handles: Mutex::default() };
        if !inner.is_manual() {
            threads.spawn("chronos-wal", |inner| inner.commit.run())?;
            threads.spawn("chronos-bg", |inner| inner.run_background_thread())?;
        }
        Ok(threads)
    }

    fn spawn(&self, name: &str, body: fn(&Arc<Inner>)) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _guard = DeathNotice(&inner);
                body(&inner);
            })
            .map_err(|e| Error::io("start a thread for", name, e))?;
        lock(&self.handles).push(handle);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.inner.background.stop();
        self.inner.commit.stop();
        for handle in lock(&self.handles).drain(..) {
            let _ = handle.join();
        }
    }
}

/// A thread that died of a bug must not leave an engine that looks alive.
struct DeathNotice<'a>(&'a Arc<Inner>);

impl Drop for DeathNotice<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or("a thread").to_owned();
            self.0.commit.fail(Error::Failed(format!("{name} panicked").into()));
            self.0.background.abandon(&Error::Closed);
        }
    }
}
