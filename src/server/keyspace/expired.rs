//! Keys that have expired and that the engine keeps until those who want to know are told.
//!
//! A command that meets such a key takes it for missing, as any other, and notes it; when the command's
//! writes are applied, the key is deleted with them. A key that is overwritten without a look at it is
//! looked up then, where it may have expired for all that is known.

use std::collections::{BTreeMap, HashSet};

use crate::engine::{Admission, Batch, Lookup, TableRead};

use super::super::interrupt::Interrupt;
use super::super::limits::EXPIRED_TOMBSTONES_BYTES;
use super::staged::Touched;
use super::{Found, Keyspace};

/// What a look at a key says about its expiry.
pub(crate) enum Standing {
    /// Its value expires at this time, or did.
    Expires(u64),
    /// It does not expire, or is not there.
    Stays,
    /// It cannot be read.
    Failed,
    /// This has to be read.
    Unread(TableRead),
}

impl Standing {
    fn of(expires_ms: Option<u64>) -> Self {
        expires_ms.map_or(Standing::Stays, Standing::Expires)
    }
}

impl Keyspace<'_> {
    /// Looks up whether an engine's key has expired.
    pub(crate) fn standing(&mut self, key: &[u8]) -> Standing {
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.lookup_expired(key) {
            Ok(Lookup::Found(record)) => Standing::of(record.expires_ms),
            Ok(Lookup::Missing { .. }) => Standing::Stays,
            Err(_) => Standing::Failed,
            Ok(Lookup::Deferred(read)) => Standing::Unread(read),
        }
    }

    /// Whether a read of an engine's key would be answered the same by now.
    pub(crate) fn confirms(&mut self, read: &TableRead, key: &[u8]) -> bool {
        let engine = self.engine;
        self.session.get_or_insert_with(|| engine.session()).confirms(read, key)
    }

    /// Applies a batch of no command, if that is possible now.
    pub(crate) fn write_now(&mut self, batch: &Batch) -> Admission {
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        let admission = session.admit_batch(batch);
        if let Admission::Ready = admission {
            self.last_seq = session.write(batch);
            self.has_written = true;
            self.changes += batch.len() as u64;
            Self::note_changes(&mut self.written, batch);
        }
        admission
    }

    /// What was found, unless it has expired: then it is noted.
    pub(super) fn unless_expired<'f>(
        met: &mut BTreeMap<Vec<u8>, u64>,
        key: &[u8],
        now_ms: u64,
        found: Found<'f>,
    ) -> Option<Found<'f>> {
        let Some(expires_ms) = found.expires_ms().filter(|&expires_ms| expires_ms <= now_ms) else {
            return Some(found);
        };
        met.insert(key.to_vec(), expires_ms);
        None
    }

    /// Looks up what the command overwrites and may have expired.
    ///
    /// # Errors
    /// [`Interrupt::Later`] if the disk must be read.
    pub(super) fn meet_overwritten(&mut self) -> Result<(), Interrupt> {
        let Some(expiries) = &self.expiries else { return Ok(()) };
        let now_ms = self.engine.now_ms();
        let is_doubtful =
            |key: &&Vec<u8>| !self.met.contains_key(*key) && expiries.may_be_due(key, now_ms);
        let doubtful: Vec<Vec<u8>> =
            self.touched.iter().filter_map(Touched::key).filter(is_doubtful).cloned().collect();
        for key in doubtful {
            match self.standing_as_fetched(&key) {
                Standing::Expires(expires_ms) if expires_ms <= now_ms => {
                    self.met.insert(key, expires_ms);
                }
                Standing::Expires(_) | Standing::Stays | Standing::Failed => {}
                Standing::Unread(read) => self.wanted.push((key, read)),
            }
        }
        if self.wanted.is_empty() { Ok(()) } else { Err(Interrupt::Later) }
    }

    /// The same with what was read for the command.
    fn standing_as_fetched(&mut self, key: &[u8]) -> Standing {
        let standing = self.standing(key);
        let Standing::Unread(read) = standing else { return standing };
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        let fetched = self.fetched.get(key).filter(|done| session.confirms(&done.read, key));
        match fetched.map(|done| &done.result) {
            Some(Ok(record)) => Standing::of(record.as_ref().and_then(|record| record.expires_ms)),
            Some(Err(_)) => Standing::Failed,
            None => Standing::Unread(read),
        }
    }

    /// Has the keys that were met deleted with what is staged, those that it does not write anyway;
    /// returns them. Of very many some are left for later.
    pub(super) fn stage_met(&mut self) -> Vec<(Vec<u8>, u64)> {
        if self.met.is_empty() {
            return Vec::new();
        }
        let written: HashSet<&Vec<u8>> = self.touched.iter().filter_map(Touched::key).collect();
        let mut staged = Vec::new();
        for (key, expires_ms) in std::mem::take(&mut self.met) {
            if !written.contains(&key) {
                if self.staged.size_bytes() >= EXPIRED_TOMBSTONES_BYTES {
                    self.met.insert(key, expires_ms);
                    continue;
                }
                self.staged.delete(&key);
            }
            staged.push((key, expires_ms));
        }
        staged
    }

    /// Keys that were met are deleted.
    pub(super) fn end_met(&mut self, deleted: Vec<(Vec<u8>, u64)>) {
        if let Some(expiries) = &mut self.expiries {
            for (key, _) in &deleted {
                expiries.set(key, None);
            }
        }
        self.expired.extend(deleted);
        self.leave_met(Vec::new());
    }

    /// Keys that were met could not be deleted: that is done later.
    pub(super) fn leave_met(&mut self, staged: Vec<(Vec<u8>, u64)>) {
        let met = std::mem::take(&mut self.met);
        if let Some(expiries) = &mut self.expiries {
            for (key, expires_ms) in met.into_iter().chain(staged) {
                expiries.put_back(&key, expires_ms);
            }
        }
    }

    /// The keys that the command has met and that are deleted, with the time at which they expired.
    pub(crate) fn take_expired(&mut self) -> Vec<(Vec<u8>, u64)> {
        std::mem::take(&mut self.expired)
    }
}
