//! What clients call keys and values, told in what the engine calls keys and values.
//!
//! An engine key is a namespace byte and the client's key; an engine value is a type byte and the
//! client's bytes. So several databases and typed values can come later without rewriting data. A
//! type that this version does not know is an error, never a guess.
//!
//! One engine session spans all commands of a tick. It holds the memtable's lock, so it is begun by
//! the first command and must be ended ([`Keyspace::submit`]) before anything that may ask for the
//! same lock: statistics, compaction, the end of the tick.

use std::time::Duration;

use crate::engine::{Admission, Engine, Error, Lookup, Seq, Session, Stall};

use super::limits::{LOOKAHEAD, SCRATCH_KEEP_BYTES};

/// The namespace of database 0.
const DATABASE_0: u8 = 0;

/// The type of a plain string.
const STRING: u8 = 0;

/// A stored value is of a type that this version does not know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownType(Option<u8>);

impl std::fmt::Display for UnknownType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(byte) => write!(f, "the value is of type {byte}, which this version cannot read"),
            None => f.write_str("the value has no type, so this server did not write it"),
        }
    }
}

/// The client's bytes in an engine value.
pub(crate) fn decode(stored: &[u8]) -> Result<&[u8], UnknownType> {
    match stored {
        [STRING, value @ ..] => Ok(value),
        other => Err(UnknownType(other.first().copied())),
    }
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// Applied; durable with this sequence number.
    Done(Seq),
    /// Not now: try again after the engine's next notification.
    Stalled,
    /// No.
    Refused(Error),
}

/// See the module.
pub(crate) struct Keyspace<'e> {
    engine: &'e Engine,
    session: Option<Session<'e>>,
    key: Vec<u8>,
    value: Vec<u8>,
    last_seq: Seq,
    has_written: bool,
    /// When a write that was told to wait should be tried again, even without a notification.
    retry_after: Option<Duration>,
}

impl<'e> Keyspace<'e> {
    pub(crate) fn new(engine: &'e Engine) -> Self {
        Keyspace {
            engine,
            session: None,
            key: vec![DATABASE_0],
            value: Vec::new(),
            last_seq: 0,
            has_written: false,
            retry_after: None,
        }
    }

    /// The engine, with no session open, so that any of its calls is safe.
    pub(crate) fn engine(&mut self) -> &'e Engine {
        self.submit();
        self.engine
    }

    /// Has what lookups of these keys will touch fetched into the cache, all at the same time.
    pub(crate) fn prefetch<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) {
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        let mut places = [None; LOOKAHEAD];
        for (place, key) in places.iter_mut().zip(keys) {
            set_key(&mut self.key, key);
            *place = Some(session.prefetch(&self.key));
        }
        for place in places.into_iter().flatten() {
            session.prefetch_entry(place);
        }
    }

    /// Looks a key up.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Lookup<'_>, Error> {
        set_key(&mut self.key, key);
        let engine = self.engine;
        self.session.get_or_insert_with(|| engine.session()).lookup(&self.key)
    }

    /// Stores a value.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) -> Written {
        set_key(&mut self.key, key);
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.admit(self.key.len(), value.len() + 1) {
            Admission::Ready => {}
            Admission::Stalled(stall) => return self.stalled(stall),
            Admission::Refused(error) => return Written::Refused(error),
        }
        self.value.clear();
        self.value.push(STRING);
        self.value.extend_from_slice(value);
        self.last_seq = session.put(&self.key, &self.value);
        self.has_written = true;
        if self.value.capacity() > SCRATCH_KEEP_BYTES {
            self.value = Vec::new();
        }
        Written::Done(self.last_seq)
    }

    /// Writes a tombstone.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Written {
        set_key(&mut self.key, key);
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.admit(self.key.len(), 0) {
            Admission::Ready => {}
            Admission::Stalled(stall) => return self.stalled(stall),
            Admission::Refused(error) => return Written::Refused(error),
        }
        self.last_seq = session.delete(&self.key);
        self.has_written = true;
        Written::Done(self.last_seq)
    }

    fn stalled(&mut self, stall: Stall) -> Written {
        let earlier = |after: Duration| stall.retry_after.map_or(after, |other| after.min(other));
        self.retry_after = self.retry_after.map(earlier).or(stall.retry_after);
        Written::Stalled
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

    /// The sequence number of the last write.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }
}

/// Puts a client's key behind the namespace byte.
fn set_key(scratch: &mut Vec<u8>, key: &[u8]) {
    scratch.truncate(1);
    scratch.extend_from_slice(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_not_guessed() {
        assert_eq!(decode(&[STRING]), Ok(&b""[..]));
        assert_eq!(decode(&[STRING, 7]), Ok(&[7][..]));
        assert_eq!(decode(&[9, 7]), Err(UnknownType(Some(9))));
        assert_eq!(decode(&[]), Err(UnknownType(None)));
        assert!(UnknownType(Some(9)).to_string().contains("type 9"));
    }
}
