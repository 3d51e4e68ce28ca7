//! Writes with conditions: they happen if what is there is what their writer expects, and else not at
//! all. That makes optimistic transactions: read, decide, write under the condition that nothing of
//! what was read has changed, and begin anew if it has.
//!
//! Conditions are looked at and the writes done in one session, so nothing can come between. Where a
//! look would have to wait for the disk it is done outside, and counts only if by then neither memory
//! nor the tables say anything else.

use super::batch::Batch;
use super::db::Engine;
use super::error::Result;
use super::key::{Kind, Seq};
use super::read::{Record, TableRead};
use super::session::{Admission, Lookup, Session};
use super::write::WriteOptions;
use crate::planted::{Bug, is_planted};

/// What a conditional write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// No value.
    Absent,
    /// Any value.
    Present,
    /// The value of this version, as [`Record::version`] told it.
    Version(Seq),
}

impl Expected {
    /// What was found, which is to stay so.
    pub fn of(found: Option<&Record<'_>>) -> Self {
        found.map_or(Expected::Absent, |record| Expected::Version(record.version))
    }

    fn fits(self, current: Option<&Record<'_>>) -> bool {
        match self {
            Expected::Absent => current.is_none(),
            Expected::Present => current.is_some(),
            Expected::Version(version) => current.is_some_and(|record| record.version == version),
        }
    }
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

/// What became of a batch with conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a batch that met a conflict was not written"]
pub enum Decision {
    /// All conditions held, and all writes were done.
    Written {
        /// The version of the last write; those before it have the numbers before. Of a batch without
        /// writes, the newest version that was looked at.
        version: Seq,
    },
    /// One of the conditions does not hold, and nothing was done.
    Conflict {
        /// The key that it is about.
        key: Vec<u8>,
        /// What is there now.
        current: Option<Record<'static>>,
    },
}

/// A key, and what is expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) key: Vec<u8>,
    pub(crate) expected: Expected,
}

impl Engine {
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
        self.apply_if(Kind::Put, key, value, expected)
    }

    /// Deletes `key` if what is there is what is expected; durable when it returns.
    ///
    /// # Errors
    /// As [`Engine::put_if`].
    pub fn delete_if(&self, key: &[u8], expected: Expected) -> Result<Conditional> {
        self.apply_if(Kind::Delete, key, b"", expected)
    }

    /// Does all writes of a batch if all its conditions hold ([`Batch::require`]), as durably as
    /// asked; otherwise nothing happens. The conditions hold at the moment at which the writes take
    /// effect, for every reader.
    ///
    /// ```
    /// # use chronos::engine::{Batch, Decision, Engine, Environment, Expected, Options, WriteOptions};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
    /// # engine.put(b"from", b"9")?;
    /// loop {
    ///     let (from, to) = (engine.get_record(b"from")?, engine.get_record(b"to")?);
    ///     let mut batch = Batch::new();
    ///     batch.require(b"from", Expected::of(from.as_ref()));
    ///     batch.require(b"to", Expected::of(to.as_ref()));
    ///     if let Some(from) = &from {
    ///         batch.put(b"to", &from.value).delete(b"from");
    ///     }
    ///     match engine.write_if(&batch, WriteOptions::default())? {
    ///         Decision::Written { .. } => break,
    ///         Decision::Conflict { .. } => {} // read again, decide again
    ///     }
    /// }
    /// # assert_eq!(engine.get(b"to")?.unwrap(), b"9");
    /// # engine.close()?;
    /// # Ok::<(), chronos::engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::write`] and [`Engine::get`].
    pub fn write_if(&self, batch: &Batch, options: WriteOptions) -> Result<Decision> {
        batch.check()?;
        let admit = |session: &mut Session<'_>| {
            // Without writes it only looks, which a full disk does not keep it from.
            if batch.is_empty() { Admission::Ready } else { session.admit_writes(batch) }
        };
        let (session, looks) = match self.decide(batch.conditions(), admit)? {
            Decided::Go(session, looks) => (session, looks),
            Decided::Conflict { at, current } => {
                let key = batch.conditions()[at].key.clone();
                return Ok(Decision::Conflict { key, current });
            }
        };
        if batch.is_empty() {
            drop(session);
            self.inner.commit.wait_to_show(looks, self.inner.is_manual())?;
            return Ok(Decision::Written { version: looks });
        }
        let mut session = session;
        let version = session.write_admitted(batch);
        self.finish_write(session, version, options)?;
        Ok(Decision::Written { version })
    }

    fn apply_if(
        &self,
        kind: Kind,
        key: &[u8],
        stored: &[u8],
        expected: Expected,
    ) -> Result<Conditional> {
        let condition = Condition { key: key.to_vec(), expected };
        let admit = |session: &mut Session<'_>| session.admit_write(kind, key.len(), stored.len());
        match self.decide(&[condition], admit)? {
            Decided::Conflict { current, .. } => Ok(Conditional::Conflict { current }),
            Decided::Go(mut session, _) => {
                let version = session.apply(kind, key, stored);
                self.finish_write(session, version, WriteOptions::default())?;
                Ok(Conditional::Written { version })
            }
        }
    }

    /// A session in which all conditions hold, and what was admitted may be written; or a conflict,
    /// which may be shown.
    fn decide(
        &self,
        conditions: &[Condition],
        admit: impl Fn(&mut Session<'_>) -> Admission,
    ) -> Result<Decided<'_>> {
        let mut reads = Vec::new();
        loop {
            let session = self.settled(&admit)?;
            match examine(&session, conditions, &reads)? {
                Examined::Hold { newest } => return Ok(Decided::Go(session, newest)),
                Examined::Conflict { at, current, seq } => {
                    drop(session);
                    self.inner.commit.wait_to_show(seq, self.inner.is_manual())?;
                    return Ok(Decided::Conflict { at, current });
                }
                Examined::Blocked(blocked) => {
                    drop(session);
                    let run = |(at, read): (usize, TableRead)| {
                        read.run().map(|record| Answer { at, read, record })
                    };
                    let answers: Vec<Answer> =
                        blocked.into_iter().map(run).collect::<Result<_>>()?;
                    reads.retain(|old: &Answer| answers.iter().all(|new| new.at != old.at));
                    reads.extend(answers);
                }
            }
        }
    }
}

/// How a conditional write goes on.
enum Decided<'e> {
    /// All conditions hold within this session; the newest version that was looked at.
    Go(Session<'e>, Seq),
    /// The condition `at` does not.
    Conflict { at: usize, current: Option<Record<'static>> },
}

/// What was read outside of the session, for the condition `at`.
struct Answer {
    at: usize,
    read: TableRead,
    record: Option<Record<'static>>,
}

/// What a look at all conditions comes to.
enum Examined {
    /// They hold, on the strength of versions up to the newest one.
    Hold { newest: Seq },
    /// One does not, on the strength of the version `seq`.
    Conflict { at: usize, current: Option<Record<'static>>, seq: Seq },
    /// These have to be read, outside of the session.
    Blocked(Vec<(usize, TableRead)>),
}

fn examine(session: &Session<'_>, conditions: &[Condition], reads: &[Answer]) -> Result<Examined> {
    let mut newest = 0;
    let mut blocked = Vec::new();
    for (at, Condition { key, expected }) in conditions.iter().enumerate() {
        let answer = reads.iter().find(|answer| answer.at == at);
        let answer = answer.filter(|answer| session.confirms(&answer.read, key));
        let (current, seq) = if let Some(answer) = answer {
            (answer.record.clone(), 0)
        } else {
            match session.lookup(key)? {
                Lookup::Found(record) => (Some(record.to_owned()), record.version),
                Lookup::Missing { seq } => (None, seq),
                Lookup::Deferred(read) => {
                    blocked.push((at, read));
                    continue;
                }
            }
        };
        newest = newest.max(seq);
        if !expected.fits(current.as_ref()) && !is_planted(Bug::IgnoreExpectation) {
            return Ok(Examined::Conflict { at, current, seq });
        }
    }
    Ok(if blocked.is_empty() { Examined::Hold { newest } } else { Examined::Blocked(blocked) })
}
