//! The model: every version of every key, by sequence number.
//!
//! Sequence numbers are the engine's own: each write takes the next one. So a snapshot, a scan, a
//! copy and what a crash leaves are all the same question: what was there as of a number. What can
//! be left by a crash ends where something atomic ended. Keys are few and known, so that a range
//! delete is a tombstone for each key in it.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use crate::engine::Seq;

/// How many keys there are. They are known by number, in their order.
pub(super) const KEYS: usize = 48;

/// A key's bytes. Some are long.
pub(super) fn key(number: usize) -> Vec<u8> {
    let filler = if number % 7 == 3 { 120 } else { 0 };
    let mut key = format!("key-{number:03}").into_bytes();
    key.resize(key.len() + filler, b'k');
    key
}

/// A value as it is to be found.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: Rc<[u8]>,
    pub(super) expires_ms: Option<u64>,
}

impl Stored {
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|at| now_ms < at)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: String = self.bytes.iter().take(10).map(|byte| char::from(*byte)).collect();
        write!(f, "{:?}… of {} bytes", head.trim_end_matches('.'), self.bytes.len())?;
        self.expires_ms.map_or(Ok(()), |at| write!(f, " until {at}"))
    }
}

/// One write.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Put {
        key: usize,
        value: Stored,
    },
    Delete {
        key: usize,
    },
    /// Up to before `end`; to the last key if that is [`KEYS`].
    DeleteRange {
        start: usize,
        end: usize,
    },
}

/// A value with its key and version.
pub(super) type Entry = (usize, Seq, Stored);

/// One version of a key; without a value it is a tombstone.
#[derive(Debug, Clone)]
struct Version {
    seq: Seq,
    value: Option<Stored>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// Of each key, in the order of their numbers.
    versions: Vec<Vec<Version>>,
    /// Where something atomic ended.
    ends: BTreeSet<Seq>,
    last_seq: Seq,
}

impl Model {
    /// An empty database.
    pub(super) fn new() -> Self {
        Model { versions: vec![Vec::new(); KEYS], ends: BTreeSet::from([0]), last_seq: 0 }
    }

    /// The last number that was taken.
    pub(super) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Adds writes that take effect together.
    pub(super) fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            self.last_seq += 1;
            match write {
                Write::Put { key, value } => self.push(*key, Some(value.clone())),
                Write::Delete { key } => self.push(*key, None),
                Write::DeleteRange { start, end } => {
                    (*start..*end).for_each(|key| self.push(key, None));
                }
            }
        }
        self.ends.insert(self.last_seq);
    }

    /// Takes a number for something that has no effect, or none yet.
    pub(super) fn skip(&mut self) {
        self.last_seq += 1;
        self.ends.insert(self.last_seq);
    }

    /// Gives what was ingested the last number.
    pub(super) fn ingest(&mut self, ingested: &[(usize, Stored)]) {
        for (key, value) in ingested {
            self.push(*key, Some(value.clone()));
        }
    }

    fn push(&mut self, key: usize, value: Option<Stored>) {
        self.versions[key].push(Version { seq: self.last_seq, value });
    }

    /// Whether a crash can leave the history up to `seq`, and nothing after it.
    pub(super) fn can_end_at(&self, seq: Seq) -> bool {
        self.ends.contains(&seq)
    }

    /// Forgets what came after `seq`.
    pub(super) fn truncate(&mut self, seq: Seq) {
        for versions in &mut self.versions {
            versions.retain(|version| version.seq <= seq);
        }
        self.ends.split_off(&(seq + 1));
        self.last_seq = seq;
    }

    fn newest(&self, key: usize, at: Seq) -> Option<&Version> {
        self.versions[key].iter().rev().find(|version| version.seq <= at)
    }

    /// What a reader of the state as of `at` finds at `key`, and its version.
    pub(super) fn get(&self, key: usize, at: Seq, now_ms: u64) -> Option<(Seq, &Stored)> {
        let version = self.newest(key, at)?;
        let value = version.value.as_ref().filter(|value| value.is_live(now_ms))?;
        Some((version.seq, value))
    }

    /// The number of the write that decides what is at `key`, a delete too; 0 if there is none.
    pub(super) fn decided_by(&self, key: usize, at: Seq) -> Seq {
        self.newest(key, at).map_or(0, |version| version.seq)
    }

    /// All values as of `at`, expired ones too, from key `start` up to before `end`.
    pub(super) fn entries(&self, start: usize, end: usize, at: Seq) -> Vec<Entry> {
        let stored = |key: usize| {
            let version = self.newest(key, at)?;
            Some((key, version.seq, version.value.clone()?))
        };
        (start..end).filter_map(stored).collect()
    }

    /// The same of all keys, without what has expired.
    pub(super) fn live(&self, at: Seq, now_ms: u64) -> Vec<Entry> {
        let mut entries = self.entries(0, KEYS, at);
        entries.retain(|(_, _, value)| value.is_live(now_ms));
        entries
    }
}
