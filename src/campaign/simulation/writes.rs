//! Writers: one that waits for each write, one that hands over and leaves, one that looks first.
//!
//! A write that returned is in the model. One that failed is there exactly if it took its numbers:
//! then nobody knows whether it survives, and nothing that was refused before it began may have
//! taken any.

use std::rc::Rc;

use super::model::{KEYS, Stored, Write};
use super::run::{Run, Undone, Verdict};
use crate::engine::{
    Admission, Batch, Clock as _, Conditional, Decision, Error, Expected, Health, KeyRange, Seq,
    Session, WriteDurability, WriteOptions,
};

impl Run {
    pub(super) fn key(&mut self) -> usize {
        self.random.below(KEYS as u64) as usize
    }

    pub(super) fn value(&mut self) -> Stored {
        let filler = match self.random.below(12) {
            0 => self.random.below(4_000),
            1..4 => self.random.below(900),
            _ => self.random.below(150),
        };
        // Where the background is behind, so much that there is something to be behind with.
        let filler = if self.left_undone == Undone::Nothing { filler } else { 2 * filler + 300 };
        let mut bytes = format!("value {} ", self.serial).into_bytes();
        let (start, is_random) = (bytes.len(), self.random.one_in(3));
        bytes.resize(start + filler as usize, b'.');
        if is_random {
            bytes[start..].iter_mut().for_each(|byte| *byte = self.random.next_u64() as u8);
        }
        let expires_ms = match self.random.below(12) {
            0 => Some(self.clock.now_ms()),
            1 | 2 => Some(self.clock.now_ms() + self.random.below(500)),
            3 => Some(u64::MAX >> 1),
            _ => None,
        };
        Stored { bytes: Rc::from(bytes), expires_ms }
    }

    fn random_write(&mut self, may_be_range: bool) -> Write {
        let key = self.key();
        match self.random.below(16) {
            0 if may_be_range => {
                let end = key + 1 + self.random.below(10) as usize;
                Write::DeleteRange { start: key, end: end.min(KEYS) }
            }
            0..4 => Write::Delete { key },
            _ => Write::Put { key, value: self.value() },
        }
    }

    /// A range of keys as the engine names it.
    pub(super) fn range(&self, start: usize, end: usize) -> KeyRange {
        match (start, end) {
            (0, KEYS) => KeyRange::all(),
            (_, KEYS) => KeyRange::from(self.keys[start].clone()..),
            _ => KeyRange::from(self.keys[start].clone()..self.keys[end].clone()),
        }
    }

    pub(super) fn batch(&self, writes: &[Write]) -> Batch {
        let mut batch = Batch::new();
        for write in writes {
            match write {
                Write::Put { key, value } => match value.expires_ms {
                    Some(at) => batch.put_expiring(&self.keys[*key], &value.bytes, at),
                    None => batch.put(&self.keys[*key], &value.bytes),
                },
                Write::Delete { key } => batch.delete(&self.keys[*key]),
                Write::DeleteRange { start, end } => batch.delete_range(self.range(*start, *end)),
            };
        }
        batch
    }

    /// A write, or a batch of them, by a call that returns when it is as durable as asked.
    pub(super) fn write_and_wait(&mut self) -> Verdict<String> {
        if !self.weather.lets_writers_wait() {
            return self.write_in_session();
        }
        let count = if self.random.one_in(3) { 1 + self.random.below(8) } else { 1 };
        let writes: Vec<Write> = (0..count).map(|_| self.random_write(true)).collect();
        let durability = match self.random.below(8) {
            0 => WriteDurability::Grouped,
            1 => WriteDurability::Unsynced,
            _ => WriteDurability::Synced,
        };
        let options = WriteOptions::durability(durability);
        let outcome = match (&writes[..], durability) {
            ([Write::Put { key, value }], WriteDurability::Synced) => match value.expires_ms {
                Some(at) => self.engine.put_expiring(&self.keys[*key], &value.bytes, at),
                None => self.engine.put(&self.keys[*key], &value.bytes),
            },
            ([Write::Delete { key }], WriteDurability::Synced) => {
                self.engine.delete(&self.keys[*key])
            }
            ([Write::DeleteRange { start, end }], WriteDurability::Synced) => {
                self.engine.delete_range(self.range(*start, *end))
            }
            _ => self.engine.write(&self.batch(&writes), options),
        };
        let what = format!("{durability:?} {writes:?}");
        let is_owed = outcome.is_ok() && durability == WriteDurability::Synced;
        let is_promised = durability != WriteDurability::Unsynced;
        let told = self.settle(&what, &writes, outcome, is_promised)?;
        if is_owed && self.engine.durable_seq() < self.model.last_seq() {
            return Err(format!("{what} returned before it was durable"));
        }
        Ok(told)
    }

    /// Notes what became of writes.
    fn settle(
        &mut self,
        what: &str,
        writes: &[Write],
        outcome: Result<(), Error>,
        is_promised: bool,
    ) -> Verdict<String> {
        let taken = self.engine.stats().last_seq - self.model.last_seq();
        let all = writes.len() as Seq;
        let is_done = match &outcome {
            Ok(()) | Err(Error::Failed(_)) if taken == all => true,
            Err(_) if taken == 0 => false,
            _ => return Err(format!("{what}: {outcome:?}, and {taken} numbers were taken")),
        };
        if is_done {
            self.model.apply(writes);
            if is_promised {
                self.promise(all);
            }
        }
        match outcome {
            Ok(()) => {
                self.trace.checked += 1;
                Ok(what.to_owned())
            }
            Err(error) => self.judge(what, &error),
        }
    }

    /// Some writes as one group, which somebody else commits.
    pub(super) fn write_in_session(&mut self) -> Verdict<String> {
        let engine = self.engine.clone();
        let mut session = engine.session();
        let mut done = Vec::new();
        let (mut told, mut refusal) = (String::new(), None);
        if self.random.one_in(3) {
            let writes: Vec<Write> =
                (0..=self.random.below(6)).map(|_| self.random_write(true)).collect();
            let batch = self.batch(&writes);
            match session.admit_batch(&batch) {
                Admission::Ready => {
                    session.write(&batch);
                    done = writes;
                }
                other => refusal = Some(other),
            }
        } else {
            for _ in 0..=self.random.below(4) {
                let write = self.random_write(false);
                if let Err(other) = self.write_one(&mut session, &write) {
                    refusal = Some(other);
                    break;
                }
                done.push(write);
            }
        }
        let how = self.random.below(4);
        match how {
            0 => session.submit_unsynced(),
            1 => session.submit_quietly(),
            _ => session.submit(),
        }
        let refused = match &refusal {
            Some(Admission::Stalled(stall)) => {
                self.trace.count(stall.cause.name(), 1);
                told.push_str(stall.cause.name());
                None
            }
            Some(Admission::Refused(error)) => Some(error.clone()),
            Some(Admission::Ready) | None => None,
        };
        let what = format!("session {how} {done:?} {told}");
        if !done.is_empty() {
            self.settle(&what, &done, Ok(()), how != 0)?;
        }
        if let Some(error) = refused {
            return self.judge(&what, &error);
        }
        if told.is_empty() || !self.random.one_in(3) { Ok(what) } else { self.end_stall(&what) }
    }

    fn write_one(&self, session: &mut Session<'_>, write: &Write) -> Result<(), Admission> {
        let (key, value) = match write {
            Write::Put { key, value } => (&self.keys[*key][..], Some(value)),
            Write::Delete { key } | Write::DeleteRange { start: key, .. } => {
                (&self.keys[*key][..], None)
            }
        };
        let bytes = value.map_or(0, |value| value.bytes.len());
        let expires_ms = value.and_then(|value| value.expires_ms);
        let admission = match expires_ms {
            Some(_) => session.admit_expiring(key.len(), bytes),
            None => session.admit(key.len(), bytes),
        };
        if !matches!(admission, Admission::Ready) {
            return Err(admission);
        }
        match (value, expires_ms) {
            (Some(value), Some(at)) => session.put_expiring(key, &value.bytes, at),
            (Some(value), None) => session.put(key, &value.bytes),
            (None, _) => session.delete(key),
        };
        Ok(())
    }

    /// A writer that waits goes on once the background has done its work.
    pub(super) fn end_stall(&mut self, what: &str) -> Verdict<String> {
        self.engine.commit_in_place();
        self.engine.run_background();
        let admission = self.engine.session().admit(8, 4_000);
        match admission {
            Admission::Ready => {
                self.trace.checked += 1;
                Ok(format!("{what}; it ended"))
            }
            Admission::Refused(error) => self.judge(what, &error),
            // Without descriptors nothing is flushed, and one failure ends a run of the background.
            Admission::Stalled(_) if !self.weather.is_fair() || self.storage.is_down() => {
                Ok(format!("{what}; it goes on"))
            }
            Admission::Stalled(stall) => Err(format!("{what}: it does not end: {stall:?}")),
        }
    }

    /// A write that is done if what is there is what is expected.
    pub(super) fn put_if(&mut self) -> Verdict<String> {
        if !self.weather.lets_writers_wait() {
            return self.look_up();
        }
        if self.random.one_in(3) {
            return self.transact();
        }
        let (key, mut value) = (self.key(), self.value());
        value.expires_ms = None;
        let now_ms = self.clock.now_ms();
        let current = self.model.get(key, self.readable(), now_ms);
        let current = current.map(|(version, value)| (version, value.clone()));
        let (expected, is_fit) = self.expect(current.as_ref().map(|(version, _)| *version));
        let what = format!("put {key} if {expected:?}: {value:?}");
        let decided_by = self.model.decided_by(key, self.readable());
        let outcome = self.engine.put_if(&self.keys[key], &value.bytes, expected);
        match outcome {
            Ok(Conditional::Written { version }) => {
                if !is_fit || version != self.model.last_seq() + 1 {
                    return Err(format!("{what}: written as {version}, there was {current:?}"));
                }
                self.settle(&what, &[Write::Put { key, value }], Ok(()), true)
            }
            Ok(Conditional::Conflict { current: found }) => {
                if is_fit {
                    return Err(format!("{what}: a conflict with {found:?}"));
                }
                self.show(decided_by);
                self.compare(&what, found.as_ref(), current.as_ref().map(|(seq, v)| (*seq, v)))
            }
            Err(error) => self.settle(&what, &[Write::Put { key, value }], Err(error), true),
        }
    }

    /// An expectation of a key that has this version, if any, and whether it is right.
    fn expect(&mut self, version: Option<Seq>) -> (Expected, bool) {
        match self.random.below(5) {
            0 => (Expected::Absent, version.is_none()),
            1 => (Expected::Present, version.is_some()),
            2 => {
                let wanted = self.random.below(self.model.last_seq() + 2);
                (Expected::Version(wanted), version == Some(wanted))
            }
            _ => (version.map_or(Expected::Absent, Expected::Version), true),
        }
    }

    /// A batch that is written if all its conditions hold.
    fn transact(&mut self) -> Verdict<String> {
        let writes: Vec<Write> =
            (0..self.random.below(5)).map(|_| self.random_write(false)).collect();
        let mut batch = self.batch(&writes);
        let (at, now_ms) = (self.readable(), self.clock.now_ms());
        let (mut keys, mut is_fit) = (Vec::new(), true);
        for _ in 0..self.random.below(4) {
            let key = self.key();
            let version = self.model.get(key, at, now_ms).map(|(version, _)| version);
            let (expected, is_right) = self.expect(version);
            is_fit &= is_right;
            batch.require(&self.keys[key], expected);
            keys.push(key);
        }
        let what = format!("write {writes:?} under conditions on {keys:?}");
        match self.engine.write_if(&batch, WriteOptions::default()) {
            Ok(Decision::Written { .. }) if is_fit => {
                for key in keys {
                    self.show(self.model.decided_by(key, at));
                }
                self.settle(&what, &writes, Ok(()), true)
            }
            Ok(Decision::Conflict { key, current }) if !is_fit => {
                let Some(key) = self.keys.iter().position(|known| known[..] == key[..]) else {
                    return Err(format!("{what}: a conflict about {key:?}"));
                };
                self.show(self.model.decided_by(key, at));
                let expected = self.model.get(key, at, now_ms);
                let expected = expected.map(|(version, value)| (version, value.clone()));
                let expected = expected.as_ref().map(|(version, value)| (*version, value));
                self.compare(&what, current.as_ref(), expected)
            }
            Ok(decision) => Err(format!("{what}: {decision:?}")),
            Err(error) => self.settle(&what, &writes, Err(error), true),
        }
    }

    pub(super) fn commit(&mut self) -> Verdict<String> {
        let is_durable = self.engine.commit_in_place();
        let durable = self.engine.durable_seq();
        let can_fail = self.storage.is_down() || !self.weather.is_fair();
        let has_failed = matches!(self.engine.health(), Health::Failed { .. });
        if is_durable != (durable == self.model.last_seq())
            || !(is_durable || can_fail || has_failed)
        {
            return Err(format!("committed: {is_durable}, up to {durable}"));
        }
        self.trace.checked += 1;
        Ok(format!("commit up to {durable}"))
    }

    pub(super) fn sync(&mut self) -> Verdict<String> {
        match self.engine.sync() {
            Ok(()) => {
                self.floors.raise(self.model.last_seq());
                self.trace.checked += 1;
                Ok("sync".to_owned())
            }
            Err(error) => self.judge("sync", &error),
        }
    }
}
