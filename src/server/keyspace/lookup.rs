//! The looking part of a command: lookups, what they lack, what they have shown.

use crate::engine::{Lookup, Record, Seq, TableRead, Value};

use super::super::interrupt::{Fault, Interrupt};
use super::super::limits::LOOKUP_BYTES;
use super::super::token::ConnectionId;
use super::super::watch::Watch;
use super::walked::Walking;
use super::{Fetched, Found, Keyspace};

impl Keyspace<'_> {
    /// Begins a command, with the reads that were done for it.
    pub(crate) fn begin(&mut self, fetched: Vec<Fetched>) {
        // Of two reads of a key the later one counts.
        self.fetched = fetched.into_iter().map(|fetched| (fetched.key.clone(), fetched)).collect();
        self.shown = 0;
        self.found = 0;
        self.missed = 0;
        self.looked_up_bytes = 0;
        self.is_overfull = false;
        self.walking = Walking::default();
        self.met.clear();
        if let Some(missing) = &mut self.missing {
            missing.clear();
        }
        debug_assert!(self.staged.is_empty() && self.wanted.is_empty());
    }

    /// From now on, until the command ends, lookups see what is staged.
    pub(crate) fn see_staged(&mut self) {
        self.overlay.get_or_insert_default();
    }

    /// Looks a key up.
    ///
    /// # Errors
    /// [`Interrupt::Later`] if the disk must be read; damage as a fault, and that the command has read
    /// too much.
    pub(crate) fn lookup(&mut self, db: usize, key: &[u8]) -> Result<Option<Found<'_>>, Interrupt> {
        if self.looked_up_bytes > LOOKUP_BYTES {
            let line = format!("ERR the command reads more than {LOOKUP_BYTES} bytes of values");
            return Err(line.into());
        }
        // A value that is durable may be in this database by an exchange that is not.
        self.shown = self.shown.max(self.swap_seq);
        self.set_key(db, key);
        if let Some(overlay) = &self.overlay {
            let cleared = overlay.cleared.contains(&self.key[0]);
            match overlay.keys.get(&self.key) {
                Some(Some(staged)) => {
                    if staged.expires_ms.is_some_and(|ms| ms <= self.engine.now_ms()) {
                        return Ok(None);
                    }
                    self.found += 1;
                    self.looked_up_bytes += staged.value.len();
                    let value = Value::lent(&staged.value);
                    let (version, expires_ms) = (0, staged.expires_ms);
                    return Ok(Some(Found(Record { value, version, expires_ms })));
                }
                Some(None) => {
                    Self::note_missing(&mut self.missing, db, key);
                    return Ok(None);
                }
                None if cleared => {
                    Self::note_missing(&mut self.missing, db, key);
                    return Ok(None);
                }
                None => {}
            }
        }
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        let found = match &self.expiries {
            Some(_) => session.lookup_expired(&self.key),
            None => session.lookup(&self.key),
        };
        match found.map_err(|error| Fault::from(&error))? {
            Lookup::Found(record) => {
                self.shown = self.shown.max(record.version);
                let (met, now_ms) = (&mut self.met, engine.now_ms());
                let Some(found) = Self::unless_expired(met, &self.key, now_ms, Found(record))
                else {
                    self.missed += 1;
                    Self::note_missing(&mut self.missing, db, key);
                    return Ok(None);
                };
                self.found += 1;
                self.looked_up_bytes += found.0.value.len();
                Ok(Some(found))
            }
            Lookup::Missing { seq } => {
                self.shown = self.shown.max(seq);
                self.missed += 1;
                Self::note_missing(&mut self.missing, db, key);
                Ok(None)
            }
            Lookup::Deferred(read) => {
                let fetched = self.fetched.get(&self.key);
                let confirmed = fetched.filter(|done| session.confirms(&done.read, &self.key));
                let Some(done) = confirmed else {
                    self.wanted.push((self.key.clone(), read));
                    return Err(Interrupt::Later);
                };
                let record = done.result.as_ref().map_err(Fault::from)?.as_ref();
                let (met, now_ms) = (&mut self.met, engine.now_ms());
                let found = record.and_then(|record| {
                    Self::unless_expired(met, &self.key, now_ms, Found(lend(record)))
                });
                if let Some(found) = found {
                    self.found += 1;
                    self.looked_up_bytes += found.0.value.len();
                    return Ok(Some(found));
                }
                self.missed += 1;
                Self::note_missing(&mut self.missing, db, key);
                Ok(None)
            }
        }
    }

    /// Looks a string up.
    ///
    /// # Errors
    /// As [`Keyspace::lookup`], and `WRONGTYPE`.
    pub(crate) fn string(&mut self, db: usize, key: &[u8]) -> Result<Option<Found<'_>>, Interrupt> {
        let found = self.lookup(db, key)?;
        if let Some(found) = &found {
            found.string()?;
        }
        Ok(found)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// As [`Keyspace::lookup`].
    pub(crate) fn contains(&mut self, db: usize, key: &[u8]) -> Result<bool, Interrupt> {
        Ok(self.lookup(db, key)?.is_some())
    }

    /// The same, of which no event tells.
    ///
    /// # Errors
    /// As [`Keyspace::lookup`].
    pub(crate) fn contains_quietly(&mut self, db: usize, key: &[u8]) -> Result<bool, Interrupt> {
        let noted = self.missing.take();
        let is_there = self.contains(db, key);
        self.missing = noted;
        is_there
    }

    /// Asks for all keys at once, so that those on disk are read at the same time. To be called before
    /// the lookups of a command that has several.
    ///
    /// # Errors
    /// [`Interrupt::Later`] if any needs the disk.
    pub(crate) fn need<'k>(
        &mut self,
        db: usize,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), Interrupt> {
        let (found, missed) = (self.found, self.missed);
        let noted = self.missing.take();
        for key in keys {
            match self.lookup(db, key) {
                Ok(_) | Err(Interrupt::Later) => {}
                Err(other) => {
                    self.missing = noted;
                    return Err(other);
                }
            }
        }
        self.missing = noted;
        (self.found, self.missed) = (found, missed);
        if self.wanted.is_empty() { Ok(()) } else { Err(Interrupt::Later) }
    }

    /// Whether the command has read, or wanted to write, more than any may: then it fails as a whole,
    /// a transaction too.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_overfull || self.looked_up_bytes > LOOKUP_BYTES
    }

    /// The reads that the last command was interrupted for.
    pub(crate) fn take_wanted(&mut self) -> Vec<(Vec<u8>, TableRead)> {
        std::mem::take(&mut self.wanted)
    }

    /// The reads that were done for the command so far.
    pub(crate) fn take_fetched(&mut self) -> Vec<Fetched> {
        std::mem::take(&mut self.fetched).into_values().collect()
    }

    /// Bytes of values that the command has looked at.
    pub(crate) fn looked_up_bytes(&self) -> usize {
        self.looked_up_bytes
    }

    /// The newest version that the command has seen or made: its reply waits for that.
    pub(crate) fn shown(&self) -> Seq {
        self.shown
    }

    /// The reply tells of this version too.
    pub(crate) fn show(&mut self, seq: Seq) {
        self.shown = self.shown.max(seq);
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.engine.now_ms()
    }

    /// How many lookups of the command found something, and how many did not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.found, self.missed)
    }

    /// Notes that a client watches a key, and what it has seen of it; `None` if it did already.
    ///
    /// # Errors
    /// As [`Keyspace::lookup`].
    pub(crate) fn watch(
        &mut self,
        client: ConnectionId,
        db: usize,
        key: &[u8],
    ) -> Result<Option<Watch>, Interrupt> {
        let found = self.lookup(db, key)?;
        let (existed, expires_ms) = (found.is_some(), found.and_then(|found| found.expires_ms()));
        let watch = Watch { key: (db, key.to_vec()), existed, expires_ms };
        Ok(self.watches.add(client, &watch).then_some(watch))
    }

    /// Forgets what a client watches.
    pub(crate) fn unwatch(&mut self, client: ConnectionId, watches: &[Watch]) {
        self.watches.remove(client, watches);
    }

    /// The clients whose watched keys were changed since the last call.
    pub(crate) fn take_disturbed(&mut self) -> Vec<ConnectionId> {
        self.watches.take_disturbed()
    }

    /// Whether any key is watched.
    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }
}

fn lend<'a>(record: &'a Record<'static>) -> Record<'a> {
    Record {
        value: Value::lent(&record.value),
        version: record.version,
        expires_ms: record.expires_ms,
    }
}
