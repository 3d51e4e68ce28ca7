//! A database that nobody has open, to read all of it without changing a byte.
//!
//! It is read as recovery reads it, log included, but nothing is replayed into tables and nothing
//! removed. So a backup can be read without becoming another one.

use std::sync::Arc;

use super::check::lock_directory;
use super::error::{Error, Result};
use super::iter::Direction;
use super::key::Seq;
use super::options::{Clock, Environment, Options};
use super::range::KeyRange;
use super::recovery::{Directory, replay};
use super::storage::{ReadOnly, Storage, afresh};
use super::table::{BlockCache, MAX_OPEN_TABLES, Tables, affordable_open_tables};
use super::version::{Version, set};
use super::view::{LiveEntries, View};

/// The keys of a database in order, with their values; made by [`Offline::open`].
pub struct Offline {
    walk: LiveEntries,
    entries: u64,
    _lock: Option<Box<dyn Send + Sync>>,
}

impl Offline {
    /// Reads the database in the environment's storage, which no other process may have open.
    ///
    /// # Errors
    /// `Locked`, `Io`, `Corrupt`, `UnknownFormat`, `NoDatabase`.
    pub fn open(environment: &Environment) -> Result<Self> {
        let storage: Arc<dyn Storage> =
            Arc::new(ReadOnly(afresh(Arc::clone(&environment.storage))));
        let lock = lock_directory(storage.as_ref())?;
        let mut directory = Directory::list(storage.as_ref())?;
        let most = MAX_OPEN_TABLES.min(affordable_open_tables());
        let tables = Arc::new(Tables::new(storage, BlockCache::new(0), most));
        let storage = tables.shared_storage();
        let loaded = set::load(storage.as_ref())?;
        directory.set_foreign_apart(storage.as_ref(), loaded.as_ref());
        let Some(loaded) = loaded else {
            replay::read_nothing(storage.as_ref(), &directory)?;
            return Err(Error::NoDatabase);
        };
        let options = Options::default();
        let found = replay::read(storage.as_ref(), loaded, &directory, &options, &tables)?;
        let in_tables: u64 = found.snapshot.tables.values().map(|(_, meta)| meta.entries).sum();
        let in_log: u64 = found.memtables.iter().map(|found| found.entry_count() as u64).sum();
        let version = Version::empty().apply(&found.snapshot.as_edit(), &found.tables);
        let view = View::of(&found.memtables, version, Seq::MAX);
        let clock: Arc<dyn Clock> = Arc::clone(&environment.clock);
        let walk = view.walk(clock, &KeyRange::from(..), Direction::Forward);
        Ok(Offline { walk, entries: in_tables + in_log, _lock: lock })
    }

    /// How many entries there are at most: overwritten and deleted ones count.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Moves to the next key that has a value; false behind the last.
    ///
    /// # Errors
    /// `Corrupt` or `Io`: the walk is over then and not complete.
    pub fn advance(&mut self) -> Result<bool> {
        self.walk.advance()
    }

    /// The current key.
    pub fn key(&self) -> &[u8] {
        self.walk.key()
    }

    /// The current value.
    pub fn value(&self) -> &[u8] {
        self.walk.version().1
    }

    /// When the current value expires, in milliseconds since the Unix epoch, if it does.
    pub fn expires_ms(&self) -> Option<u64> {
        self.walk.version().2
    }
}
