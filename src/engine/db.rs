//! SKELETON of the public API: signatures are final, bodies follow.

#![expect(clippy::todo, unused_variables, missing_docs, reason = "skeleton")]

use std::borrow::Cow;
use std::time::Duration;

use super::error::{Error, Result};
use super::key::Seq;
use super::options::{Environment, Options};

/// A handle to an open database. Clones are cheap and share it.
#[derive(Clone)]
pub struct Engine {}

/// What recovery found and did.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// Whether the directory was new.
    pub created: bool,
    /// Log groups replayed.
    pub groups: u64,
    /// Writes replayed from the log (those already in tables are not counted).
    pub writes: u64,
    /// Log bytes read.
    pub log_bytes: u64,
    /// Tables found.
    pub tables: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// The unacknowledged tail that was dropped, if there was one.
    pub torn: Option<TornTail>,
}

/// A log tail that a crash left half-written; it was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    pub file: String,
    pub offset: u64,
    /// The file that keeps a copy.
    pub copy: String,
}

/// Whether the engine serves in full, and if not, why.
#[derive(Debug, Clone)]
pub enum Health {
    Ok,
    /// Writes are refused until there is room again; reads go on.
    NoSpace {
        cause: Error,
    },
    /// The log failed: writes are refused, reads show durable versions only, until a restart.
    Failed {
        cause: Error,
    },
    /// A damaged table: reads of keys in the damaged block fail, everything else goes on.
    Corrupt {
        cause: Error,
    },
}

impl Health {
    /// "OK", "NOSPACE", "FAILED" or "CORRUPT".
    pub fn name(&self) -> &'static str {
        todo!()
    }
}

#[derive(Debug, Clone, Default)]
pub struct LevelStats {
    pub tables: usize,
    pub bytes: u64,
    pub entries: u64,
}

/// Figures about a running engine.
#[derive(Debug, Clone)]
pub struct Stats {
    pub last_seq: Seq,
    pub durable_seq: Seq,
    pub memtable_bytes: usize,
    pub memtable_entries: usize,
    pub immutable_memtables: usize,
    pub levels: Vec<LevelStats>,
    pub wal_segments: usize,
    pub wal_groups: u64,
    pub wal_bytes: u64,
    pub flushes: u64,
    pub compactions: u64,
    pub compacted_bytes: u64,
    pub stalled_writes: u64,
    pub health: Health,
}

/// May a write of this size begin now?
#[derive(Debug, Clone)]
pub enum Admission {
    /// Yes.
    Ready,
    /// Not yet: the log or the flush is behind. Ask again after the next notification.
    Stalled,
    /// No, and this is why (too large, disk full, failed).
    Refused(Error),
}

/// A piece of background work whose end can be polled or awaited.
#[derive(Clone)]
pub struct Ticket {}

impl Ticket {
    /// The outcome, once there is one.
    pub fn poll(&self) -> Option<Result<()>> {
        todo!()
    }
    /// Blocks until it is done.
    pub fn wait(&self) -> Result<()> {
        todo!()
    }
}

/// Exclusive access to the memtable for a run of commands: one lock for many reads and writes.
/// Writes are visible to later lookups at once and reach the log when the session is submitted or
/// dropped. Never hold one across blocking calls.
pub struct Session<'e> {
    engine: &'e Engine,
}

/// What a lookup found. `seq` is the version's sequence number, of a tombstone too; a caller may
/// show the answer only when `Engine::durable_seq() >= seq`. 0 if nothing newer than the tables.
pub enum Lookup<'a> {
    Found {
        value: Cow<'a, [u8]>,
        seq: Seq,
    },
    Missing {
        seq: Seq,
    },
    /// Not in memory: needs a read that may block. The answer is fixed as of now.
    Deferred(TableRead),
}

/// A point read over tables, pinned to the version at which it was looked up.
pub struct TableRead {}

impl TableRead {
    /// Reads, blocking on the disk. What it finds is durable. Run it on a worker thread.
    ///
    /// # Errors
    /// `Corrupt` or `Io`: never answered as "missing".
    pub fn run(&self) -> Result<Option<Vec<u8>>> {
        todo!()
    }
}

impl Session<'_> {
    /// Looks `key` up in memtables, then in tables as far as blocks are in memory.
    pub fn lookup(&self, key: &[u8]) -> Result<Lookup<'_>> {
        todo!()
    }
    /// Whether one write of this key and value may begin now. `put` and `delete` must follow a
    /// `Ready` of at least their size at once, in the same session.
    pub fn admit(&self, key_bytes: usize, value_bytes: usize) -> Admission {
        todo!()
    }
    /// Applies a write; it is durable once `Engine::durable_seq()` reaches the number returned.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Seq {
        todo!()
    }
    /// Applies a blind tombstone.
    pub fn delete(&mut self, key: &[u8]) -> Seq {
        todo!()
    }
    /// Hands what was written to the log thread.
    pub fn submit(self) {
        todo!()
    }
    /// Hands over without waking the log thread: the caller promises to call
    /// `Engine::commit_in_place` next.
    pub fn submit_quietly(self) {
        todo!()
    }
}

impl Engine {
    /// Opens (creating or recovering) a database.
    pub fn open(environment: Environment, options: Options) -> Result<(Engine, Recovery)> {
        todo!()
    }
    /// Starts a session: takes the memtable's write lock.
    pub fn session(&self) -> Session<'_> {
        todo!()
    }
    /// Everything up to this sequence number is committed under the chosen durability.
    pub fn durable_seq(&self) -> Seq {
        todo!()
    }
    /// Called (on any thread; must be quick and must not call the engine) whenever `durable_seq`
    /// moved, a stall may have ended, a ticket is done or the health changed.
    pub fn set_listener(&self, listener: Box<dyn Fn() + Send + Sync>) {
        todo!()
    }
    /// Writes and syncs what was submitted, on this thread, if the log thread is idle; otherwise
    /// wakes it. Returns whether everything submitted is now durable.
    pub fn commit_in_place(&self) -> bool {
        todo!()
    }
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        todo!()
    }
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        todo!()
    }
    /// Starts flushing the memtable and merging everything into the last level.
    pub fn start_compaction(&self) -> Ticket {
        todo!()
    }
    /// Refuses new writes, seals and syncs the log, flushes the memtable, stops the threads.
    pub fn start_close(&self) -> Ticket {
        todo!()
    }
    pub fn compact(&self) -> Result<()> {
        self.start_compaction().wait()
    }
    pub fn close(&self) -> Result<()> {
        self.start_close().wait()
    }
    pub fn health(&self) -> Health {
        todo!()
    }
    pub fn stats(&self) -> Stats {
        todo!()
    }
}
