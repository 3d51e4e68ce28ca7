//! The engine's public face: opening, reading, writing, closing.
//!
//! Everything here is a thin layer over reads (`read`, `scan`) and the background; writes are in
//! `write`. The rules are theirs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use super::background::{Background, Job};
use super::commit::{Commit, Sizing};
use super::error::{Error, Result};
use super::event::Event;
use super::health::{Faults, Health};
use super::ingest::Ingest;
use super::key::Seq;
use super::memory::Memory;
use super::options::{Environment, MIN_SEGMENT_BYTES, Options, Scheduling};
use super::range::KeyRange;
use super::read::Record;
use super::recovery::{self, Recovery};
use super::scan::Scan;
use super::session::Session;
use super::snapshot::{Snapshot, Snapshots};
use super::stats::{Counters, Stats};
use super::storage::{Overlay, ReadOnly, Storage};
use super::sync::{Signal, read};
use super::table::{BlockCache, Tables, Value, affordable_open_tables};
use super::threads::Threads;
use super::ticket::Ticket;
use super::version::set::VersionSet;
use super::view::{KeyCounter, View};

/// A handle to an open database, for any number of threads. Clones are cheap and share it. When the
/// last one is dropped without [`Engine::close`], submitted writes are committed and the threads
/// stop; memtables are not flushed, so the next open replays the log.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
    _threads: Arc<Threads>,
}

/// What all parts of an engine share. Lock order: `background`, `set`, `memory`, the log, the commit
/// queue; the others are held for nothing else.
pub(crate) struct Inner {
    pub(crate) environment: Environment,
    pub(crate) options: Options,
    pub(crate) memory: RwLock<Memory>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) commit: Commit,
    pub(crate) set: Mutex<VersionSet>,
    pub(crate) snapshots: Snapshots,
    pub(crate) background: Background,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    pub(crate) signal: Arc<Signal>,
    /// When a memtable was last flushed.
    pub(crate) last_flush: Mutex<Instant>,
    pub(crate) opened_at: Instant,
    /// Whether flushes and merges leave what has expired: see [`Engine::keep_expired`].
    pub(crate) keeps_expired: AtomicBool,
    /// Whether whatever would change something is refused.
    pub(crate) is_read_only: bool,
    /// The lock of the data directory; taken out on close.
    pub(crate) directory_lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Engine {
    /// Opens the database in the environment's storage, recovering it, or creating it if
    /// [`Options::create_if_missing`] says so. Nothing is changed if it is refused.
    ///
    /// # Errors
    /// `NoDatabase`, `Locked`, `Corrupt`, `UnknownFormat`, `Io`, `InvalidOption`.
    pub fn open(environment: Environment, options: Options) -> Result<(Engine, Recovery)> {
        options.check()?;
        let environment = environment.afresh();
        if !options.create_if_missing && !recovery::may_be_there(environment.storage.as_ref())? {
            // Before the lock, which would make the directory.
            return Err(Error::NoDatabase);
        }
        let directory_lock = environment.storage.lock().map_err(explain_lock_error)?;
        Self::start(environment, options, directory_lock, false)
    }

    /// Opens a database that must not be changed, or cannot be, as on a medium without writing:
    /// nothing is created, recovered or removed in its directory, not even a lock file. What the log
    /// holds beyond the tables is replayed in memory. Reads of all kinds work, also beside others who
    /// read; whatever would change something is refused as `ReadOnly`. A process that may write is kept
    /// out meanwhile, as far as there is a lock file to do so. There are no threads of its own.
    ///
    /// ```
    /// # use chronos::engine::{Engine, Environment, Error, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
    /// # engine.put(b"key", b"value")?;
    /// # drop(engine);
    /// let environment = Environment::disk(directory.path())?;
    /// let (engine, _) = Engine::open_read_only(environment, Options::default())?;
    /// assert_eq!(engine.get(b"key")?.unwrap(), b"value");
    /// assert!(matches!(engine.put(b"key", b"other"), Err(Error::ReadOnly)));
    /// # Ok::<(), chronos::engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_read_only(
        environment: Environment,
        options: Options,
    ) -> Result<(Engine, Recovery)> {
        let options = Options {
            create_if_missing: false,
            scheduling: Scheduling::Manual,
            // It is in memory, and nothing is written to it.
            wal_initial_bytes: MIN_SEGMENT_BYTES,
            ..options
        };
        options.check()?;
        let environment = environment.afresh();
        if !recovery::may_be_there(environment.storage.as_ref())? {
            return Err(Error::NoDatabase);
        }
        let lock = environment.storage.lock_to_read().map_err(explain_lock_error)?;
        let below: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(&environment.storage)));
        let storage = Arc::new(Overlay::over(below));
        let lock: Box<dyn Send + Sync> = Box::new(lock);
        Self::start(Environment { storage, ..environment }, options, lock, true)
    }

    /// Opens what is in a storage that was locked.
    fn start(
        environment: Environment,
        options: Options,
        directory_lock: Box<dyn Send + Sync>,
        is_read_only: bool,
    ) -> Result<(Engine, Recovery)> {
        let tables = Tables::new(
            Arc::clone(&environment.storage),
            BlockCache::new(options.cache_bytes(0)),
            options.max_open_tables.min(affordable_open_tables()),
        );
        let tables = Arc::new(tables);
        let environment = Environment { storage: tables.shared_storage(), ..environment };
        let opened = recovery::open(&environment, &options, &tables)?;
        let signal = Arc::new(Signal::default());
        let last_seq = opened.recovery.last_seq;
        let most = options.wal_segment_bytes;
        let sizing = Sizing::new(options.initial_segment_bytes(), most, environment.clock.now_ms());
        let commit = Commit::new(
            opened.wal,
            sizing,
            last_seq,
            options.durability,
            Arc::clone(&environment.clock),
            Arc::clone(&signal),
        );
        if let Some(spare) = opened.spare {
            let _none = commit.add_spare(spare);
        }
        let inner = Arc::new(Inner {
            memory: RwLock::new(Memory::new(opened.version, last_seq, &options)),
            tables,
            commit,
            set: Mutex::new(opened.set),
            snapshots: Snapshots::default(),
            background: Background::default(),
            faults: Faults::default(),
            counters: Counters::default(),
            signal,
            // What recovery flushed counts as well.
            last_flush: Mutex::new(Instant::now()),
            opened_at: Instant::now(),
            keeps_expired: AtomicBool::new(options.keep_expired),
            is_read_only,
            directory_lock: Mutex::new(Some(directory_lock)),
            environment,
            options,
        });
        inner.fit_cache();
        let threads = Threads::start(&inner)?;
        Ok((Engine { inner, _threads: Arc::new(threads) }, opened.recovery))
    }

    /// The value at `key`, or `None`. What is returned is durable: for a version that is not yet,
    /// this waits, unless whoever wrote it asked for less. A value that is a good part of its table's
    /// block is not copied: it keeps that in memory.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the value cannot be read, `Failed` if it may not survive.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'static>>> {
        Ok(self.get_record(key)?.map(|record| record.value))
    }

    /// The value at `key` with its version and expiry, or `None`.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_record(&self, key: &[u8]) -> Result<Option<Record<'static>>> {
        self.inner.get(key, Seq::MAX)
    }

    /// The values at all `keys`, in their order, as of one moment.
    ///
    /// # Errors
    /// As [`Engine::get`], for any of them.
    pub fn multi_get(&self, keys: &[impl AsRef<[u8]>]) -> Result<Vec<Option<Value<'static>>>> {
        self.inner.multi_get(keys, Seq::MAX)
    }

    /// Walks over the keys of a range and their values, as of now.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(&self.inner, range.into(), Seq::MAX)
    }

    /// Walks over keys of a range that expire, those included that have expired and are still in
    /// memory or in a file, for whoever wants to know what expires and when. It passes over the tables
    /// in which nothing expires and over damaged ones, so it may show what was overwritten since, and keys that do not
    /// expire: only a lookup ([`Session::lookup_expired`]) tells what is there. It waits for nothing to
    /// be durable.
    pub fn scan_expiring(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::of_expiring(&self.inner, range.into())
    }

    /// Whether from now on flushes and merges leave values in the files that have expired. No reader
    /// sees them, but [`Session::lookup_expired`] and [`Engine::scan_expiring`] do, so that somebody
    /// can be told of each expiry; their room comes back once they are deleted or overwritten, or this
    /// is ended. Merges that have begun may still drop some.
    pub fn keep_expired(&self, keeps: bool) {
        let kept = self.inner.keeps_expired.swap(keeps, Ordering::AcqRel);
        if kept && !keeps {
            self.inner.background.wake();
        }
    }

    /// Begins to count the keys of each of `ranges` as of now. Nothing is read before the first step.
    ///
    /// ```
    /// # use chronos::engine::{Engine, Environment, KeyRange, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
    /// # for user in ["user:1", "user:2"] { engine.put(user.as_bytes(), b"x")?; }
    /// let mut counter = engine.count_keys(vec![KeyRange::prefix(b"user:")]);
    /// while !counter.step() {}
    /// assert_eq!(counter.counts()[0].keys, 2);
    /// # engine.close()?;
    /// # Ok::<(), chronos::engine::Error>(())
    /// ```
    pub fn count_keys(&self, ranges: Vec<KeyRange>) -> KeyCounter {
        let environment = &self.inner.environment;
        let (clock, seed) = (Arc::clone(&environment.clock), (environment.random)());
        KeyCounter::new(View::take(&self.inner, Seq::MAX), clock, seed, ranges)
    }

    /// The database as of now, for as long as the snapshot is held.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.inner)
    }

    /// Makes everything written so far durable, however it was written.
    ///
    /// # Errors
    /// `Failed`: the outcome is unknown.
    pub fn sync(&self) -> Result<()> {
        self.inner.commit.sync()
    }

    /// Starts a session: takes the memory lock for a run of lookups and writes.
    pub fn session(&self) -> Session<'_> {
        Session::begin(&self.inner)
    }

    /// Everything up to this sequence number is committed under the chosen durability.
    pub fn durable_seq(&self) -> Seq {
        self.inner.commit.durable_seq()
    }

    /// The engine's clock, by which values expire, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.inner.now_ms()
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

    /// Begins to take sorted input straight into tables.
    pub fn ingest(&self) -> Ingest {
        Ingest::new(&self.inner)
    }

    /// Starts flushing the memtable and merging all tables that hold keys of `range` into the last
    /// level, without what is deleted, expired or overwritten, as far as no snapshot sees it. Reads and
    /// writes go on meanwhile.
    pub fn start_compaction(&self, range: impl Into<KeyRange>) -> Ticket {
        self.inner.request(Job::Compact(range.into()))
    }

    /// [`Engine::start_compaction`], awaited.
    ///
    /// # Errors
    /// What ended the merge early: `NoSpace`, `Corrupt`, `Io`, `Closed`.
    pub fn compact_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        self.start_compaction(range).wait()
    }

    /// [`Engine::compact_range`] for everything.
    ///
    /// # Errors
    /// As there.
    pub fn compact(&self) -> Result<()> {
        self.compact_range(..)
    }

    /// Starts writing a copy of the database to the directory `path`, which must be empty or not
    /// there: the state of this moment, or a later one. On the same file system tables are shared by
    /// hard links, so that it takes little time and room. Writing goes on meanwhile. The copy opens
    /// as any database, once the ticket says that it is complete.
    pub fn start_checkpoint(&self, path: &Path) -> Ticket {
        if self.inner.is_read_only {
            return Ticket::done(Err(Error::ReadOnly));
        }
        match self.inner.environment.storage.directory(path) {
            Ok(storage) => self.inner.request(Job::Checkpoint(storage)),
            Err(e) => Ticket::done(Err(Error::io("use", "the checkpoint's directory", e))),
        }
    }

    /// [`Engine::start_checkpoint`], awaited.
    ///
    /// # Errors
    /// `InvalidOption` for a directory that is not empty; `Io`, `NoSpace`, `Closed`: the copy is not
    /// complete and does not open.
    pub fn checkpoint(&self, path: &Path) -> Result<()> {
        self.start_checkpoint(path).wait()
    }

    /// Refuses new writes, seals and syncs the log, flushes memtables, stops the threads and gives
    /// the directory free. Lookups go on working.
    pub fn start_close(&self) -> Ticket {
        self.inner.request_close()
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

    /// Does one step of it, a flush or a merge: what a seeded scheduler can put other things between.
    #[cfg(feature = "campaign")]
    pub(crate) fn step_background(&self, may_merge: bool) {
        if self.inner.is_manual() {
            self.inner.step_background(may_merge);
        }
    }

    /// Does what is done once nothing was written for a while, now.
    #[cfg(feature = "campaign")]
    pub(crate) fn rest_background(&self) {
        if self.inner.is_manual() {
            self.inner.rest_background();
        }
    }

    /// Whether the engine serves in full, and if not, why.
    pub fn health(&self) -> Health {
        self.inner.health()
    }

    /// Waits until a log segment stands ready behind the active one, so that writes have room for sure,
    /// or until they are refused, but no longer than `limit`: for whoever wants to know after an open
    /// whether there is room to go on. Returns the health.
    pub fn wait_for_room(&self, limit: Duration) -> Health {
        let began = Instant::now();
        while self.inner.refusal().is_none()
            && !self.inner.commit.has_spare()
            && began.elapsed() < limit
            && !self.inner.is_manual()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.health()
    }

    /// Figures about the engine at this moment.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

fn explain_lock_error(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked,
        _ => Error::io("use", "the data directory", error),
    }
}

impl Inner {
    pub(crate) fn is_manual(&self) -> bool {
        self.options.scheduling == Scheduling::Manual
    }

    /// Time since the database was opened, for what must not depend on the wall clock.
    pub(crate) fn uptime(&self) -> Duration {
        self.opened_at.elapsed()
    }

    pub(crate) fn wait_durable(&self, seq: Seq) -> Result<()> {
        self.commit.wait_durable(seq, self.is_manual())
    }

    /// Gives the block cache what the tables leave of the budget.
    pub(crate) fn fit_cache(&self) {
        let version = Arc::clone(&read(&self.memory).version);
        let resident = version.tables().map(|(_, table)| table.resident_bytes());
        let resident_bytes = resident.map(|bytes| bytes.filter + bytes.index).sum();
        self.tables.cache().set_capacity(self.options.cache_bytes(resident_bytes));
    }

    /// Tells the log, and the listener if there is one.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        let listener = self.options.listener.as_ref();
        if listener.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let event = event();
        event.log();
        if let Some(listener) = listener {
            listener.call(&event);
        }
    }

    /// Why writes are refused at the moment.
    pub(crate) fn refusal(&self) -> Option<Error> {
        if self.is_read_only {
            return Some(Error::ReadOnly);
        }
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
            tracing::error!(%error, "a table is damaged: reads of its keys fail. Stop the server, list all damage with chronos \
                 check, then restore the file from a backup or run chronos recover");
            self.emit(|| Event::Fault { cause: error.clone() });
            self.signal.notify();
        }
    }
}
