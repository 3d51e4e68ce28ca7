//! The writing part of a command: what is staged, and how it takes effect as one batch or not at all.

use std::collections::HashMap;

use crate::engine::{Admission, Batch};

use super::super::interrupt::{Fault, Interrupt};
use super::super::limits::{SCRATCH_KEEP_BYTES, STAGED_BYTES, USER_KEY_BYTES};
use super::super::watch::WatchedKey;
use super::{DATABASES_KEY, Keyspace, Overlaid, STRING, check_key, check_value};

/// What a staged write changes.
#[derive(Debug)]
pub(super) enum Touched {
    Key {
        db: usize,
        key: Vec<u8>,
        expires_ms: Option<u64>,
    },
    Database {
        db: usize,
        namespace: u8,
    },
    /// A watched key of a database that was exchanged.
    Swapped(WatchedKey),
}

impl Touched {
    /// The engine's key, if it is about one.
    pub(super) fn key(&self) -> Option<&Vec<u8>> {
        match self {
            Touched::Key { key, .. } => Some(key),
            Touched::Database { .. } | Touched::Swapped(_) => None,
        }
    }
}

/// How much was staged: see [`Keyspace::mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    writes: usize,
    touched: usize,
}

impl Keyspace<'_> {
    /// Stages a string.
    ///
    /// # Errors
    /// What is wrong with its size, or with that of all that is staged.
    pub(crate) fn put(
        &mut self,
        db: usize,
        key: &[u8],
        value: &[u8],
        expires_ms: Option<u64>,
    ) -> Result<(), Fault> {
        self.put_typed(db, key, STRING, value, expires_ms)
    }

    /// Stages a value of any type.
    ///
    /// # Errors
    /// What is wrong with its size, or with that of all that is staged.
    pub(crate) fn put_typed(
        &mut self,
        db: usize,
        key: &[u8],
        kind: u8,
        value: &[u8],
        expires_ms: Option<u64>,
    ) -> Result<(), Fault> {
        check_key(key)?;
        check_value(value)?;
        // Before the engine would say so of the whole: inside of a transaction each command may write
        // as much as a value holds.
        if self.staged.size_bytes() + value.len() > STAGED_BYTES {
            self.is_overfull = true;
            let line = format!("ERR what is written together has more than {STAGED_BYTES} bytes");
            return Err(line.into());
        }
        self.set_key(db, key);
        self.value.clear();
        self.value.push(kind);
        self.value.extend_from_slice(value);
        match expires_ms {
            Some(expires_ms) => self.staged.put_expiring(&self.key, &self.value, expires_ms),
            None => self.staged.put(&self.key, &self.value),
        };
        if let Some(overlay) = &mut self.overlay {
            let value = self.value.clone();
            overlay.keys.insert(self.key.clone(), Some(Overlaid { value, expires_ms }));
        }
        if self.value.capacity() > SCRATCH_KEEP_BYTES {
            self.value = Vec::new();
        }
        self.touch(db, expires_ms);
        Ok(())
    }

    /// Stages the deletion of a key.
    pub(crate) fn delete(&mut self, db: usize, key: &[u8]) {
        self.set_key(db, key);
        if key.len() > USER_KEY_BYTES {
            return;
        }
        self.staged.delete(&self.key);
        if let Some(overlay) = &mut self.overlay {
            overlay.keys.insert(self.key.clone(), None);
        }
        self.touch(db, None);
    }

    fn touch(&mut self, db: usize, expires_ms: Option<u64>) {
        if !self.watches.is_empty() || self.expiries.is_some() {
            self.touched.push(Touched::Key { db, key: self.key.clone(), expires_ms });
        }
    }

    #[inline]
    pub(super) fn touch_watched(&mut self, db: usize) {
        if !self.watches.is_empty() {
            self.watches.touch(&(db, self.key[1..].to_vec()));
        }
    }

    /// Stages the deletion of all keys of a database: one record, however many there are.
    pub(crate) fn clear(&mut self, db: usize) {
        let namespace = self.namespace(db);
        self.staged.delete_range(self.range(db, b"", None));
        if let Some(overlay) = &mut self.overlay {
            overlay.keys.retain(|key, _| key[0] != namespace);
            overlay.cleared.push(namespace);
        }
        self.touched.push(Touched::Database { db, namespace });
    }

    /// Stages the exchange of two databases: one record, whatever is in them. Who watches a key is
    /// disturbed if it is in either of them, which may have to be looked up.
    ///
    /// # Errors
    /// As [`Keyspace::lookup`].
    pub(crate) fn swap(&mut self, one: usize, other: usize) -> Result<(), Interrupt> {
        let watched = [one, other].map(|db| self.watches.keys_of(db));
        for key in watched.into_iter().flatten() {
            if self.contains(one, &key.1)? || self.contains(other, &key.1)? {
                self.touched.push(Touched::Swapped(key));
            }
        }
        // What was staged before is in the old places; the table must be right for what comes.
        self.namespaces.swap(one, other);
        self.swaps.push((one, other));
        self.staged.put(DATABASES_KEY, &self.namespaces);
        Ok(())
    }

    /// Remembers how much is staged.
    pub(crate) fn mark(&self) -> Mark {
        Mark { writes: self.staged.len(), touched: self.touched.len() }
    }

    /// Whether nothing was staged since `mark`. A command checks everything before it stages anything,
    /// so one that fails leaves nothing behind.
    pub(crate) fn is_unchanged(&self, mark: Mark) -> bool {
        self.staged.len() == mark.writes && self.touched.len() == mark.touched
    }

    /// Applies what is staged, as one batch.
    ///
    /// # Errors
    /// [`Interrupt::Later`] if it cannot be now; a fault if it cannot be at all. Nothing of it is
    /// applied then, and nothing stays staged.
    pub(crate) fn commit(&mut self) -> Result<(), Interrupt> {
        self.meet_overwritten()?;
        let is_read = self.staged.is_empty();
        let met = self.stage_met();
        if self.staged.is_empty() {
            self.leave_met(met);
            self.end();
            return Ok(());
        }
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.admit_batch(&self.staged) {
            Admission::Ready => {}
            Admission::Stalled(_) | Admission::Refused(_) if is_read => {
                self.leave_met(met);
                self.end();
                return Ok(());
            }
            Admission::Stalled(stall) => {
                self.leave_met(met);
                self.stalled(&stall);
                return Err(Interrupt::Later);
            }
            Admission::Refused(error) => {
                self.leave_met(met);
                return Err(Fault::from(&error).into());
            }
        }
        self.last_seq = session.write(&self.staged);
        self.shown = self.shown.max(self.last_seq);
        self.has_written = true;
        self.changes += self.staged.len() as u64;
        Self::note_changes(&mut self.written, &self.staged);
        for touched in self.touched.drain(..) {
            match touched {
                Touched::Key { db, key, expires_ms } => {
                    if let Some(expiries) = &mut self.expiries {
                        expiries.set(&key, expires_ms);
                    }
                    self.watches.touch(&(db, key[1..].to_vec()));
                }
                Touched::Database { db, namespace } => {
                    self.cleared.insert(namespace, self.last_seq);
                    self.watches.touch_database(db);
                    if let Some(expiries) = &mut self.expiries {
                        expiries.clear(namespace);
                    }
                }
                Touched::Swapped(key) => self.watches.touch(&key),
            }
        }
        self.end_met(met);
        if !self.swaps.is_empty() {
            self.swap_seq = self.last_seq;
            self.swaps.clear();
        }
        self.end();
        Ok(())
    }

    /// Forgets what is staged.
    pub(crate) fn discard(&mut self) {
        while let Some((one, other)) = self.swaps.pop() {
            self.namespaces.swap(one, other);
        }
        self.touched.clear();
        self.leave_met(Vec::new());
        self.end();
    }

    fn end(&mut self) {
        if self.staged.size_bytes() > SCRATCH_KEEP_BYTES {
            self.staged = Batch::new();
        }
        self.staged.clear();
        self.overlay = None;
        self.fetched = HashMap::new();
    }
}
