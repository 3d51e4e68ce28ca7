//! What a client did and what it knows: keys, values, steps, acknowledgements, what it was shown.
//!
//! A step is what takes effect together: one write, or all of a transaction. The value of a hot key
//! names its step and fills up to a length that follows from that, so whoever reads one can check
//! every byte of it. Times are ticks of a counter that all clients advance: of two events on
//! different connections it tells which came first.

use std::sync::Arc;

use crate::campaign::wire::show;
use crate::engine::storage::sim::Random;

/// Connections at a time.
pub(super) const CLIENTS: usize = 6;
/// Keys that one client has for itself.
pub(super) const OWN_KEYS: usize = 48;
/// The first of them that lies in a database of the client's own.
pub(super) const FIRST_APART: usize = 40;
/// Keys that all clients share.
pub(super) const HOT_KEYS: usize = 4;

/// A step's name: whose it is, and which one of theirs, counted from 1 over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) client: usize,
    pub(super) serial: u64,
}

impl Tag {
    /// The value that this step stores under a hot key.
    pub(super) fn value(self) -> Vec<u8> {
        let mut random = Random(self.serial << 8 | self.client as u64);
        let length = match random.below(10) {
            0 => 20_000,
            1..4 => 4_000,
            _ => 600,
        };
        let filler = random.below(length) as usize;
        let mut value = format!("{}:{}:", self.client, self.serial).into_bytes();
        fill(&mut value, filler, self.serial);
        value
    }

    /// The step whose value this is.
    pub(super) fn of(value: &[u8]) -> Result<Tag, String> {
        let mut words = value.split(|byte| *byte == b':').map(|word| str::from_utf8(word).ok());
        let mut number = || words.next().flatten().and_then(|word| word.parse::<u64>().ok());
        let tag = number().zip(number());
        tag.map(|(client, serial)| Tag { client: client as usize, serial })
            .filter(|tag| tag.value() == value)
            .ok_or_else(|| format!("nobody wrote {}", show(value)))
    }
}

/// Appends `count` letters that follow from `from`.
pub(super) fn fill(value: &mut Vec<u8>, count: usize, from: u64) {
    value.extend((0..count).map(|n| b'a' + ((n as u64 + from) % 26) as u8));
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Arc<[u8]>,
    /// When it expires, in milliseconds since 1970.
    pub(super) expires_ms: Option<u64>,
}

/// What a client's own keys hold.
pub(super) type Own = Vec<Option<Content>>;

/// What was sent to take effect as a whole, perhaps.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) tag: Tag,
    /// What its own keys hold after it, in the order of its writes.
    pub(super) own: Vec<(usize, Option<Content>)>,
    /// The hot key that it writes, and whether that is a delete.
    pub(super) hot: Option<(usize, bool)>,
    /// When; before the first byte left.
    pub(super) sent: u64,
}

impl Step {
    /// Whether it writes this hot key.
    pub(super) fn is_on(&self, key: usize) -> bool {
        self.hot.is_some_and(|hot| hot.0 == key)
    }

    /// What it leaves on its hot key.
    pub(super) fn result(&self) -> Option<Tag> {
        self.hot.filter(|(_, deletes)| !deletes).map(|_| self.tag)
    }
}

/// What a read of a hot key showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) key: usize,
    pub(super) tag: Option<Tag>,
    /// When it was asked for.
    pub(super) sent: u64,
    /// When it was there.
    pub(super) done: u64,
}

/// All that one client knows.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) steps: Vec<Step>,
    /// When the first of the steps were acknowledged.
    pub(super) acked: Vec<u64>,
    pub(super) shown: Vec<Shown>,
    /// Reads of own keys that were compared with what had to be there.
    pub(super) compared: u64,
    /// When its connection ended.
    pub(super) ended: u64,
}

impl Journal {
    /// Outcomes that are known, and so to be compared with what survives.
    pub(super) fn known(&self) -> u64 {
        self.acked.len() as u64 + self.shown.len() as u64 + self.compared
    }
}
