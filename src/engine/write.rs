//! Writes that wait: admission, then the memtable and the log, then as much durability as asked.
//!
//! A conditional write looks and writes in one session, so nothing can come between. Where the look
//! would have to wait for the disk it is done outside, and counts only if by then neither memory nor
//! the tables say anything else.

use super::batch::{Batch, expiring};
use super::db::Engine;
use super::error::Result;
use super::key::{Kind, Seq};
use super::range::KeyRange;
use super::read::{Record, TableRead};
use super::session::{Admission, Lookup, Session};
use super::stalls::Stall;
use crate::planted::{Bug, is_planted};

/// When a call that writes returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
pub struct WriteOptions {
    /// When the call returns.
    pub durability: WriteDurability,
}

impl WriteOptions {
    /// With this durability.
    pub fn durability(durability: WriteDurability) -> Self {
        WriteOptions { durability }
    }
}

/// What a conditional write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No value.
    Absent,
    /// The value of this version, as [`Record::version`] told it.
    Version(Seq),
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional {
    /// It was done.
    Written {
        /// The new version.
        version: Seq,
    },
    /// It was not: something else is there.
    Conflict {
        /// What is there now.
        current: Option<Record<'static>>,
    },
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
        let stored = expiring(value, expires_ms);
        self.write_one(Kind::Expiring, key, &stored, WriteOptions::default())
    }

    /// Deletes `key`, whether or not it is there; durable when it returns.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.write_one(Kind::Delete, key, b"", WriteOptions::default())
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
    /// As [`Engine::put`]; `Size` also for a batch that does not fit a log segment.
    pub fn write(&self, batch: &Batch, options: WriteOptions) -> Result<()> {
        if batch.is_empty() {
            return batch.check();
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
    fn settled(&self, admit: impl Fn(&mut Session<'_>) -> Admission) -> Result<Session<'_>> {
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

    fn finish_write(&self, session: Session<'_>, seq: Seq, options: WriteOptions) -> Result<()> {
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

    /// Stores `value` at `key` if what is there is what is expected; durable when it returns.
    ///
    /// ```
    /// # use chronos::engine::{Conditional, Engine, Environment, Expected, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
    /// engine.put_if(b"counter", b"0", Expected::Absent)?;
    /// loop {
    ///     let record = engine.get_record(b"counter")?.unwrap();
    ///     let next = (record.value[0] + 1).to_string();
    ///     let expected = Expected::Version(record.version);
    ///     match engine.put_if(b"counter", next.as_bytes(), expected)? {
    ///         Conditional::Written { .. } => break,
    ///         Conditional::Conflict { .. } => {} // somebody else was faster
    ///     }
    /// }
    /// # engine.close()?;
    /// # Ok::<(), chronos::engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::put`] and [`Engine::get`].
    pub fn put_if(&self, key: &[u8], value: &[u8], expected: Expected) -> Result<Conditional> {
        let mut read = None;
        loop {
            let mut session = self.settled(|session| session.admit(key.len(), value.len()))?;
            match look(&session, key, read.take())? {
                Look::Blocked(blocked) => {
                    drop(session);
                    let answer = blocked.run()?;
                    read = Some((blocked, answer));
                }
                Look::Done { current, seq }
                    if !expected.fits(current.as_ref()) && !is_planted(Bug::IgnoreExpectation) =>
                {
                    drop(session);
                    self.inner.commit.wait_to_show(seq, self.inner.is_manual())?;
                    return Ok(Conditional::Conflict { current });
                }
                Look::Done { .. } => {
                    let version = session.put(key, value);
                    session.submit();
                    self.inner.wait_durable(version)?;
                    return Ok(Conditional::Written { version });
                }
            }
        }
    }
}

impl Expected {
    fn fits(self, current: Option<&Record<'_>>) -> bool {
        match self {
            Expected::Absent => current.is_none(),
            Expected::Version(version) => current.is_some_and(|record| record.version == version),
        }
    }
}

/// What a conditional write finds.
enum Look {
    /// What is there, and the number that must be durable before it may be told.
    Done { current: Option<Record<'static>>, seq: Seq },
    /// Nothing yet: this has to be read, outside of the session.
    Blocked(TableRead),
}

/// Looks at `key`; `read` is what was read outside of the session.
fn look(
    session: &Session<'_>,
    key: &[u8],
    read: Option<(TableRead, Option<Record<'static>>)>,
) -> Result<Look> {
    if let Some((read, current)) = read
        && session.confirms(&read, key)
    {
        return Ok(Look::Done { current, seq: 0 });
    }
    Ok(match session.lookup(key)? {
        Lookup::Found(record) => {
            Look::Done { current: Some(record.to_owned()), seq: record.version }
        }
        Lookup::Missing { seq } => Look::Done { current: None, seq },
        Lookup::Deferred(read) => Look::Blocked(read),
    })
}
