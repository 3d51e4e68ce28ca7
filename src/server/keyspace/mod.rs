//! What clients call databases, keys and values, told in what the engine calls keys and values.
//!
//! An engine key is a namespace byte and the client's key; an engine value is a type byte and the
//! client's bytes. Which namespace a database has stands in a table that SWAPDB rewrites, as a record
//! of the engine's own ([`DATABASES_KEY`]). A type that this version does not know is an error, never
//! a guess.
//!
//! A command first looks things up and then stages its writes; [`Keyspace::commit`] applies what is
//! staged as one batch: all of it, now, or nothing (`Interrupt::Later`), and the command is run
//! again from its beginning. A lookup that needs the disk interrupts the command in the same way: the
//! read goes to a worker, and its answer is handed in with [`Keyspace::begin`] for the next run,
//! where it counts only if nothing has changed meanwhile. So every command, a whole transaction too,
//! happens at one moment, on one thread, and nothing waits.
//!
//! One engine session spans all commands of a tick. It holds the memtable's lock, so it is begun by
//! the first command and must be ended ([`Keyspace::submit`]) before anything that may ask for the
//! same lock: statistics, scans, compaction, the end of the tick.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::engine::{
    Admission, Batch, Engine, Error, KeyRange, Lookup, Record, Result as EngineResult, Seq,
    Session, Stall, TableRead,
};
use crate::parser::request::BATCH;

use super::expiries::Expiries;
use super::interrupt::{Fault, WRONG_TYPE};
use super::limits::{SCRATCH_KEEP_BYTES, USER_KEY_BYTES, USER_VALUE_BYTES};
use super::walks::{Change, Changes, Room};
use super::watch::Watches;

mod expired;
mod lookup;
mod staged;
mod walked;

pub(crate) use expired::Standing;
use staged::Touched;
use walked::Walking;

/// The most databases there can be; namespaces from here on are the server's own.
pub(crate) const MAX_DATABASES: usize = 240;

/// Holds the namespace of each database, a byte each; absent, database n has namespace n.
const DATABASES_KEY: &[u8] = b"\xffdatabases";

/// The type of a plain string.
pub(crate) const STRING: u8 = 0;

/// A value as it was found.
#[derive(Debug)]
pub(crate) struct Found<'a>(Record<'a>);

impl Found<'_> {
    /// Its type byte.
    pub(crate) fn kind(&self) -> Option<u8> {
        self.0.value.first().copied()
    }

    /// The client's bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.value.get(1..).unwrap_or_default()
    }

    /// When it expires, in milliseconds since the Unix epoch, if it does.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        self.0.expires_ms
    }

    /// Its version.
    pub(crate) fn version(&self) -> Seq {
        self.0.version
    }

    /// The client's bytes if it is a string.
    ///
    /// # Errors
    /// `WRONGTYPE`.
    pub(crate) fn string(&self) -> Result<&[u8], Fault> {
        match self.kind() {
            Some(STRING) => Ok(self.bytes()),
            _ => Err(Fault::from(WRONG_TYPE)),
        }
    }
}

/// The client's bytes in an engine value, if it is a string; else what to answer.
pub(crate) fn decode(stored: &[u8]) -> Result<&[u8], Fault> {
    match stored {
        [STRING, value @ ..] => Ok(value),
        _ => Err(Fault::from(WRONG_TYPE)),
    }
}

/// A read that a worker did, for the command that asked for it.
pub(crate) struct Fetched {
    pub(crate) key: Vec<u8>,
    pub(crate) read: TableRead,
    pub(crate) result: EngineResult<Option<Record<'static>>>,
}

/// What became of a write that was not staged.
#[derive(Debug)]
pub(crate) enum Written {
    /// Applied; durable with this sequence number.
    Done(Seq),
    /// Not now: try again after the engine's next notification.
    Stalled,
    /// No.
    Refused(Fault),
}

/// A staged write, for lookups that come after it.
#[derive(Debug)]
struct Overlaid {
    value: Vec<u8>,
    expires_ms: Option<u64>,
}

/// What is staged, where later lookups must see it: inside a transaction, mostly.
#[derive(Debug, Default)]
struct Overlay {
    keys: HashMap<Vec<u8>, Option<Overlaid>>,
    /// Namespaces that were emptied.
    cleared: Vec<u8>,
}

/// See the module.
pub(crate) struct Keyspace<'e> {
    engine: &'e Engine,
    session: Option<Session<'e>>,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The namespace of each database, and of some beyond the last that once were.
    namespaces: Vec<u8>,
    databases: usize,
    staged: Batch,
    /// The last write that emptied a namespace, by namespace.
    cleared: HashMap<u8, Seq>,
    /// The exchanges of databases that are staged.
    swaps: Vec<(usize, usize)>,
    overlay: Option<Overlay>,
    /// Reads that the command cannot go on without.
    wanted: Vec<(Vec<u8>, TableRead)>,
    /// Reads that were done for the command, by their keys.
    fetched: HashMap<Vec<u8>, Fetched>,
    /// The newest version that the command has seen.
    shown: Seq,
    found: u64,
    missed: u64,
    /// Bytes of the values that the command has looked up.
    looked_up_bytes: usize,
    /// Whether the command wanted to write more than it may.
    is_overfull: bool,
    /// Keys and namespaces that the staged writes change, noted while anybody watches.
    touched: Vec<Touched>,
    watches: Watches,
    /// What was written since transactions' walks were done.
    written: Changes,
    walking: Walking,
    /// The memory of all such walks.
    room: Room,
    /// Kept while events of expired keys are published.
    pub(crate) expiries: Option<Expiries>,
    /// Keys that the command has met, or overwrites, and that had expired: the engine's, with the time.
    met: BTreeMap<Vec<u8>, u64>,
    /// Those that are deleted since.
    expired: Vec<(Vec<u8>, u64)>,
    /// Keys that the command looked for in vain, noted while such events are published.
    pub(crate) missing: Option<Vec<(usize, Vec<u8>)>>,
    last_seq: Seq,
    /// The write that last exchanged databases: what is in either of them shows it.
    swap_seq: Seq,
    has_written: bool,
    /// Writes since the last checkpoint.
    pub(crate) changes: u64,
    /// When a write that was told to wait should be tried again, even without a notification.
    retry_after: Option<Duration>,
}

impl<'e> Keyspace<'e> {
    /// Databases as the engine has them.
    ///
    /// # Errors
    /// The engine's, or `Corrupt` if the table of namespaces is not one.
    pub(crate) fn open(engine: &'e Engine, databases: usize) -> EngineResult<Self> {
        let namespaces = match engine.get(DATABASES_KEY)? {
            Some(stored) => read_namespaces(&stored, databases)?,
            None => (0..databases as u8).collect(),
        };
        Ok(Keyspace {
            engine,
            session: None,
            key: Vec::new(),
            value: Vec::new(),
            namespaces,
            databases,
            staged: Batch::new(),
            swaps: Vec::new(),
            overlay: None,
            wanted: Vec::new(),
            fetched: HashMap::new(),
            shown: 0,
            found: 0,
            missed: 0,
            looked_up_bytes: 0,
            is_overfull: false,
            touched: Vec::new(),
            watches: Watches::default(),
            written: Changes::default(),
            walking: Walking::default(),
            room: Room::default(),
            expiries: None,
            met: BTreeMap::new(),
            expired: Vec::new(),
            missing: None,
            last_seq: 0,
            cleared: HashMap::new(),
            swap_seq: 0,
            has_written: false,
            changes: 0,
            retry_after: None,
        })
    }

    /// How many databases there are.
    pub(crate) fn databases(&self) -> usize {
        self.databases
    }

    /// The engine, with no session open, so that any of its calls is safe.
    pub(crate) fn engine(&mut self) -> &'e Engine {
        self.submit();
        self.engine
    }

    /// The engine keys of a database from `start` on, up to before `end`.
    pub(crate) fn range(&self, db: usize, start: &[u8], end: Option<&[u8]>) -> KeyRange {
        let namespace = self.namespace(db);
        let first = [&[namespace], start].concat();
        let behind = match end {
            Some(end) => [&[namespace], end].concat(),
            None => vec![namespace + 1],
        };
        KeyRange::from(first..behind)
    }

    /// The byte before each key of a database. Databases beyond the last are empty.
    pub(crate) fn namespace(&self, db: usize) -> u8 {
        self.namespaces.get(db).copied().unwrap_or(MAX_DATABASES as u8)
    }

    /// The database that has a namespace.
    pub(crate) fn database_of(&self, namespace: u8) -> Option<usize> {
        self.namespaces.iter().take(self.databases).position(|&known| known == namespace)
    }

    /// Notes that the key at hand was written, for walks that were done before.
    #[inline]
    fn note_change(&mut self) {
        if self.written.is_kept() {
            self.written.note(Change::Key(self.key.as_slice().into()));
        }
    }

    /// The same of all that a batch has written.
    fn note_changes(changes: &mut Changes, batch: &Batch) {
        if !changes.is_kept() {
            return;
        }
        for (key, is_range) in batch.touched() {
            changes.note(if is_range { Change::Cleared(key[0]) } else { Change::Key(key.into()) });
        }
    }

    fn note_missing(missing: &mut Option<Vec<(usize, Vec<u8>)>>, db: usize, key: &[u8]) {
        if let Some(missing) = missing {
            missing.push((db, key.to_vec()));
        }
    }

    fn set_key(&mut self, db: usize, key: &[u8]) {
        let namespace = self.namespace(db);
        self.key.clear();
        self.key.push(namespace);
        self.key.extend_from_slice(key);
    }

    /// Has what lookups of these keys will touch fetched into the cache, all at the same time.
    pub(crate) fn prefetch<'k>(&mut self, db: usize, keys: impl Iterator<Item = &'k [u8]>) {
        let engine = self.engine;
        let mut places = [None; BATCH];
        for (place, key) in places.iter_mut().zip(keys) {
            self.set_key(db, key);
            let session = self.session.get_or_insert_with(|| engine.session());
            *place = Some(session.prefetch(&self.key));
        }
        let session = self.session.get_or_insert_with(|| engine.session());
        for place in places.into_iter().flatten() {
            session.prefetch_entry(place);
        }
    }

    /// Looks a key up, past everything staged and fetched: for a command that is one lookup. The reply
    /// waits for what was found and for [`Keyspace::swap_seq`].
    #[inline]
    pub(crate) fn get(&mut self, db: usize, key: &[u8]) -> EngineResult<Lookup<'_>> {
        self.set_key(db, key);
        let engine = self.engine;
        self.session.get_or_insert_with(|| engine.session()).lookup(&self.key)
    }

    /// Stores a string at once: for a command that is one write.
    #[inline]
    pub(crate) fn set(&mut self, db: usize, key: &[u8], value: &[u8]) -> Written {
        if let Err(fault) = check_key(key).and_then(|()| check_value(value)) {
            return Written::Refused(fault);
        }
        self.set_key(db, key);
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.admit(self.key.len(), value.len() + 1) {
            Admission::Ready => {}
            Admission::Stalled(stall) => return self.stalled(&stall),
            Admission::Refused(error) => return Written::Refused(Fault::from(&error)),
        }
        self.value.clear();
        self.value.push(STRING);
        self.value.extend_from_slice(value);
        self.last_seq = session.put(&self.key, &self.value);
        self.has_written = true;
        self.changes += 1;
        self.touch_watched(db);
        self.note_change();
        if self.value.capacity() > SCRATCH_KEEP_BYTES {
            self.value = Vec::new();
        }
        Written::Done(self.last_seq)
    }

    /// Writes a tombstone at once, whether or not the key is there.
    pub(crate) fn delete_blindly(&mut self, db: usize, key: &[u8]) -> Written {
        if let Err(fault) = check_key(key) {
            return Written::Refused(fault);
        }
        self.set_key(db, key);
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.admit(self.key.len(), 0) {
            Admission::Ready => {}
            Admission::Stalled(stall) => return self.stalled(&stall),
            Admission::Refused(error) => return Written::Refused(Fault::from(&error)),
        }
        self.last_seq = session.delete(&self.key);
        self.has_written = true;
        self.changes += 1;
        self.touch_watched(db);
        self.note_change();
        Written::Done(self.last_seq)
    }

    fn stalled(&mut self, stall: &Stall) -> Written {
        let earlier = |after: Duration| stall.retry_after.map_or(after, |other| after.min(other));
        self.retry_after = self.retry_after.map(earlier).or(stall.retry_after);
        Written::Stalled
    }

    /// Asks to be retried after this time at the latest.
    pub(crate) fn retry_within(&mut self, after: Duration) {
        self.retry_after = Some(self.retry_after.map_or(after, |other| other.min(after)));
    }

    /// When a write that was told to wait since the last call should be tried again at the latest.
    pub(crate) fn take_retry_after(&mut self) -> Option<Duration> {
        self.retry_after.take()
    }

    /// Ends the session and hands what it wrote to the log thread.
    pub(crate) fn submit(&mut self) {
        self.has_written = false;
        if let Some(session) = self.session.take() {
            session.submit();
        }
    }

    /// Ends the session and syncs what it wrote on this thread: for a client that is alone.
    pub(crate) fn commit_in_place(&mut self) {
        if !self.has_written {
            return self.submit();
        }
        self.has_written = false;
        if let Some(session) = self.session.take() {
            session.submit_quietly();
            self.engine.commit_in_place();
        }
    }

    /// The sequence number of the write that last exchanged databases. Whatever is read shows it.
    #[inline]
    pub(crate) fn swap_seq(&self) -> Seq {
        self.swap_seq
    }

    /// The last write that emptied a namespace since the start; 0 if none has.
    pub(crate) fn cleared_seq(&self, namespace: u8) -> Seq {
        self.cleared.get(&namespace).copied().unwrap_or(0)
    }

    /// The sequence number of the last write.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }
}

/// Whether a key may have its length.
///
/// # Errors
/// It is too long.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Fault> {
    check("key", key.len(), USER_KEY_BYTES)
}

fn check_value(value: &[u8]) -> Result<(), Fault> {
    check("value", value.len(), USER_VALUE_BYTES)
}

fn check(what: &str, bytes: usize, max: usize) -> Result<(), Fault> {
    if bytes <= max {
        return Ok(());
    }
    Err(Fault::from(format!("ERR the {what} has {bytes} bytes, at most {max} are allowed")))
}

/// Reads the stored table of namespaces; databases that it does not name get those that are left.
fn read_namespaces(stored: &[u8], databases: usize) -> EngineResult<Vec<u8>> {
    let is_table = stored.iter().enumerate().all(|(at, namespace)| {
        usize::from(*namespace) < MAX_DATABASES && !stored[..at].contains(namespace)
    });
    if !is_table {
        let what = "the table of databases holds a namespace twice, or one that is none";
        return Err(Error::Failed(what.into()));
    }
    let mut namespaces = stored.to_vec();
    let left = (0..MAX_DATABASES as u8).filter(|namespace| !stored.contains(namespace));
    namespaces.extend(left.take(databases.saturating_sub(stored.len())));
    Ok(namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_not_guessed() {
        assert_eq!(decode(&[STRING]), Ok(&b""[..]));
        assert_eq!(decode(&[STRING, 7]), Ok(&[7][..]));
        assert_eq!(decode(&[9, 7]), Err(Fault::from(WRONG_TYPE)));
        assert_eq!(decode(&[]), Err(Fault::from(WRONG_TYPE)));
    }

    #[test]
    fn the_table_of_databases_gives_each_its_own_namespace() {
        let read = |stored: &[u8], databases| read_namespaces(stored, databases);
        assert_eq!(read(&[1, 0, 2], 3).unwrap(), [1, 0, 2]);
        // More databases than there were get what is left, fewer keep what they had.
        assert_eq!(read(&[1, 3], 4).unwrap(), [1, 3, 0, 2]);
        assert_eq!(read(&[1, 0, 2], 2).unwrap(), [1, 0, 2]);
        assert!(read(&[1, 1], 2).is_err() && read(&[240], 1).is_err());
        let all: Vec<u8> = (0..240).collect();
        assert_eq!(read(&[], 240).unwrap(), all);
    }
}
