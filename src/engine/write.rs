//! Writes that wait: admission, then the memtable and the log, then as much durability as asked.
//! Those with conditions are in `conditional`.

use super::batch::{Batch, expiring};
use super::db::Engine;
use super::error::Result;
use super::key::{Kind, Seq};
use super::range::KeyRange;
use super::session::{Admission, Session};
use super::stalls::Stall;

/// When a call that writes returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WriteDurability {
    /// When the write is durable: it survives a power cut (as far as [`super::Options::durability`] says).
    #[default]
    Synced,
    /// At once. The write is synced with the next group, within milliseconds; [`Engine::sync`] waits
    /// for that.
    Grouped,
    /// At once. The write goes to the operating system within milliseconds, so that it survives the
    /// end of the process, and is synced within about a second.
    Unsynced,
}

/// How a write is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// When the call returns.
    pub durability: WriteDurability,
}

impl WriteOptions {
    /// With this durability.
    pub const fn durability(durability: WriteDurability) -> Self {
        WriteOptions { durability }
    }
}

impl Engine {
    /// Stores `value` at `key`; durable when it returns.
    ///
    /// # Errors
    /// `Size`, `NoSpace`, `Closed`: not written. `Failed`: the outcome is unknown.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(key, value, WriteOptions::default())
    }

    /// Stores `value` at `key`, as durably as asked.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn put_with(&self, key: &[u8], value: &[u8], options: WriteOptions) -> Result<()> {
        self.write_one(Kind::Put, key, value, options)
    }

    /// Stores `value` at `key` until `expires_ms`, in milliseconds since the Unix epoch: from then on
    /// the key is gone.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn put_expiring(&self, key: &[u8], value: &[u8], expires_ms: u64) -> Result<()> {
        self.put_expiring_with(key, value, expires_ms, WriteOptions::default())
    }

    /// [`Engine::put_expiring`], as durably as asked.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn put_expiring_with(
        &self,
        key: &[u8],
        value: &[u8],
        expires_ms: u64,
        options: WriteOptions,
    ) -> Result<()> {
        self.write_one(Kind::Expiring, key, &expiring(value, expires_ms), options)
    }

    /// Deletes `key`, whether or not it is there; durable when it returns.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.delete_with(key, WriteOptions::default())
    }

    /// Deletes `key`, whether or not it is there, as durably as asked.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn delete_with(&self, key: &[u8], options: WriteOptions) -> Result<()> {
        self.write_one(Kind::Delete, key, b"", options)
    }

    /// Deletes all keys in `range`, at the price of one write, however many there are; durable when
    /// it returns.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn delete_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete_range(range);
        self.write(&batch, WriteOptions::default())
    }

    /// Does all writes of a batch, or none: for every reader at one moment, and after a crash.
    ///
    /// # Errors
    /// As [`Engine::put`]; `Size` also for a batch that does not fit a log segment; `InvalidOption` for
    /// one with conditions, which [`Engine::write_if`] takes.
    pub fn write(&self, batch: &Batch, options: WriteOptions) -> Result<()> {
        if batch.is_empty() {
            return batch.check_unconditional();
        }
        let admit = |session: &mut Session<'_>| session.admit_batch(batch);
        self.write_admitted(admit, |session| session.write(batch), options)
    }

    fn write_one(
        &self,
        kind: Kind,
        key: &[u8],
        stored: &[u8],
        options: WriteOptions,
    ) -> Result<()> {
        let admit = |session: &mut Session<'_>| session.admit_write(kind, key.len(), stored.len());
        self.write_admitted(admit, |session| session.apply(kind, key, stored), options)
    }

    /// Writes as soon as that is admitted, and waits as long as asked.
    fn write_admitted(
        &self,
        admit: impl Fn(&mut Session<'_>) -> Admission,
        apply: impl FnOnce(&mut Session<'_>) -> Seq,
        options: WriteOptions,
    ) -> Result<()> {
        let mut session = self.admitted(admit)?;
        let seq = apply(&mut session);
        self.finish_write(session, seq, options)
    }

    /// A session in which a write may begin; waits for one.
    fn admitted(&self, admit: impl Fn(&mut Session<'_>) -> Admission) -> Result<Session<'_>> {
        loop {
            let epoch = self.inner.signal.epoch();
            let mut session = self.session();
            match admit(&mut session) {
                Admission::Ready => return Ok(session),
                Admission::Refused(error) => return Err(error),
                Admission::Stalled(stall) => {
                    drop(session);
                    self.wait_out(stall, epoch);
                }
            }
        }
    }

    /// The same while nothing is being ingested: what is there then stays until the session writes.
    pub(super) fn settled(
        &self,
        admit: impl Fn(&mut Session<'_>) -> Admission,
    ) -> Result<Session<'_>> {
        loop {
            let epoch = self.inner.signal.epoch();
            let session = self.admitted(&admit)?;
            if session.is_settled() {
                return Ok(session);
            }
            drop(session);
            self.inner.signal.wait_past(epoch, None);
        }
    }

    pub(super) fn finish_write(
        &self,
        session: Session<'_>,
        seq: Seq,
        options: WriteOptions,
    ) -> Result<()> {
        match options.durability {
            WriteDurability::Synced => {
                session.submit();
                self.inner.wait_durable(seq)
            }
            WriteDurability::Grouped => {
                session.submit();
                Ok(())
            }
            WriteDurability::Unsynced => {
                session.submit_unsynced();
                Ok(())
            }
        }
    }

    /// Waits until a write that had to wait at `epoch` may have a chance.
    fn wait_out(&self, stall: Stall, epoch: u64) {
        if self.inner.is_manual() {
            self.inner.commit.commit_in_place();
            self.inner.run_background();
        } else {
            self.inner.signal.wait_past(epoch, stall.retry_after);
        }
    }
}
