//! The earliest expiries, in the order of time, within a bound of memory.
//!
//! Two times say what is not here. Nothing at or behind the *limit* is taken in. All that expires before
//! the *known* time is here. When the bound is reached the latest entry goes, and both times move to it;
//! a sweep over the database moves them away again. An entry may be stale, for it was found by such a
//! walk while somebody wrote: whoever acts on one looks its key up.
//!
//! Each namespace has its own part, so that emptying a database takes no time: whoever does it gets the
//! part, to be freed elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What an entry takes beside its key, in bytes, more or less.
const OVERHEAD_BYTES: usize = 160;

/// An engine key. The first byte is the namespace.
pub(super) type Key = Arc<[u8]>;

/// The entries of a namespace.
#[derive(Debug, Default)]
pub(super) struct Part {
    by_key: HashMap<Key, u64>,
    /// Milliseconds since the Unix epoch, and the key.
    by_time: BTreeSet<(u64, Key)>,
    bytes: usize,
}

impl Part {
    fn add(&mut self, key: &[u8], expires_ms: u64) {
        let key = Key::from(key);
        self.bytes += bytes_of(&key);
        self.by_time.insert((expires_ms, Arc::clone(&key)));
        self.by_key.insert(key, expires_ms);
    }

    /// Removes a key; how many bytes it took.
    fn remove(&mut self, key: &[u8]) -> usize {
        let Some((key, expires_ms)) = self.by_key.remove_entry(key) else { return 0 };
        let bytes = bytes_of(&key);
        self.by_time.remove(&(expires_ms, key));
        self.bytes -= bytes;
        bytes
    }
}

fn bytes_of(key: &[u8]) -> usize {
    key.len() + OVERHEAD_BYTES
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    parts: BTreeMap<u8, Part>,
    bytes: usize,
    most_bytes: usize,
    limit_ms: u64,
    known_ms: u64,
}

impl Index {
    /// An empty one, of a database of which nothing is known.
    pub(super) fn new(most_bytes: usize) -> Self {
        Index { parts: BTreeMap::new(), bytes: 0, most_bytes, limit_ms: u64::MAX, known_ms: 0 }
    }

    /// A key was written, with or without an expiry, or deleted.
    pub(super) fn set(&mut self, key: &[u8], expires_ms: Option<u64>) {
        self.remove(key);
        if let Some(expires_ms) = expires_ms.filter(|&expires_ms| expires_ms < self.limit_ms) {
            self.insert(key, expires_ms);
        }
    }

    /// A walk has found a key; what is known of it already is newer.
    pub(super) fn add_found(&mut self, key: &[u8], expires_ms: u64) {
        let is_known = self.part(key).is_some_and(|part| part.by_key.contains_key(key));
        if !is_known && expires_ms < self.limit_ms {
            self.insert(key, expires_ms);
        }
    }

    /// Takes a key in whose time has come.
    pub(super) fn put_back(&mut self, key: &[u8], expires_ms: u64) {
        self.remove(key);
        self.insert(key, expires_ms);
    }

    fn insert(&mut self, key: &[u8], expires_ms: u64) {
        let Some(&namespace) = key.first() else { return };
        self.parts.entry(namespace).or_default().add(key, expires_ms);
        self.bytes += bytes_of(key);
        while self.bytes > self.most_bytes && self.drop_latest() {}
    }

    fn drop_latest(&mut self) -> bool {
        let latest = self.parts.values().filter_map(|part| part.by_time.last()).max().cloned();
        let Some((expires_ms, key)) = latest else { return false };
        self.limit_ms = self.limit_ms.min(expires_ms);
        self.known_ms = self.known_ms.min(expires_ms);
        self.remove(&key);
        true
    }

    fn part(&self, key: &[u8]) -> Option<&Part> {
        self.parts.get(key.first()?)
    }

    fn remove(&mut self, key: &[u8]) {
        let Some(namespace) = key.first() else { return };
        let Some(part) = self.parts.get_mut(namespace) else { return };
        self.bytes -= part.remove(key);
        if part.by_key.is_empty() {
            self.parts.remove(namespace);
        }
    }

    /// All keys of a namespace were deleted: what was known of them.
    pub(super) fn clear(&mut self, namespace: u8) -> Option<Part> {
        let part = self.parts.remove(&namespace)?;
        self.bytes -= part.bytes;
        Some(part)
    }

    /// The earliest of what expires at `from_ms` or later.
    fn earliest(&self, from_ms: u64) -> Option<&(u64, Key)> {
        let from = (from_ms, Key::default());
        self.parts.values().filter_map(|part| part.by_time.range(&from..).next()).min()
    }

    /// When the next key expires at `from_ms` or later.
    pub(super) fn next_ms(&self, from_ms: u64) -> Option<u64> {
        self.earliest(from_ms).map(|entry| entry.0)
    }

    /// Takes the earliest key that expires at `from_ms` or later, if its time has come.
    pub(super) fn take_due(&mut self, from_ms: u64, now_ms: u64) -> Option<(Key, u64)> {
        let (expires_ms, key) = self.earliest(from_ms)?.clone();
        (expires_ms <= now_ms).then(|| {
            self.remove(&key);
            (key, expires_ms)
        })
    }

    /// Whether a key may have expired for all that is known here.
    pub(super) fn may_be_due(&self, key: &[u8], now_ms: u64) -> bool {
        let expires_ms = self.part(key).and_then(|part| part.by_key.get(key));
        self.is_behind(now_ms) || expires_ms.is_some_and(|&expires_ms| expires_ms <= now_ms)
    }

    /// Whether a key may have expired that is not here.
    pub(super) fn is_behind(&self, now_ms: u64) -> bool {
        self.known_ms <= now_ms
    }

    /// What expires from then on is not taken in.
    pub(super) fn limit_ms(&self) -> u64 {
        self.limit_ms
    }

    /// A sweep begins: everything is taken in that finds room.
    pub(super) fn begin_sweep(&mut self) {
        self.limit_ms = u64::MAX;
    }

    /// A sweep has seen everything.
    pub(super) fn end_sweep(&mut self) {
        self.known_ms = self.limit_ms;
    }

    /// Whether all that expires is here.
    pub(super) fn is_complete(&self) -> bool {
        self.known_ms == u64::MAX
    }

    /// Whether it has so much room that a sweep finds more.
    pub(super) fn is_half_empty(&self) -> bool {
        self.bytes <= self.most_bytes / 2
    }

    /// The memory that it takes, in bytes, more or less.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(index: &mut Index, now_ms: u64) -> Option<String> {
        index.take_due(0, now_ms).map(|(key, _)| String::from_utf8_lossy(&key[1..]).into_owned())
    }

    #[test]
    fn each_expiry_comes_once_in_order_and_only_if_it_stands() {
        let mut index = Index::new(1 << 20);
        index.set(b"\0b", Some(20));
        index.set(b"\0a", Some(10));
        index.set(b"\0moved", Some(5));
        index.set(b"\0moved", Some(30));
        index.set(b"\0kept", Some(5));
        index.set(b"\0kept", None);
        index.add_found(b"\0moved", 6);
        index.add_found(b"\x02found", 15);
        index.set(b"\x01other", Some(1));
        assert!(index.clear(1).is_some() && index.clear(1).is_none());
        assert_eq!((index.next_ms(0), index.next_ms(11)), (Some(10), Some(15)));
        assert_eq!(due(&mut index, 9), None);
        assert_eq!(due(&mut index, 25).as_deref(), Some("a"));
        assert_eq!(due(&mut index, 25).as_deref(), Some("found"));
        assert_eq!(due(&mut index, 25).as_deref(), Some("b"));
        assert_eq!(due(&mut index, 25), None);
        assert_eq!(due(&mut index, 30).as_deref(), Some("moved"));
        assert_eq!((index.bytes(), index.parts.len()), (0, 0));
    }

    #[test]
    fn of_too_many_the_earliest_stay_and_it_is_known_what_is_missing() {
        let mut index = Index::new(10 * bytes_of(b"\0key-00"));
        index.begin_sweep();
        for number in 0..30 {
            // In no order of time.
            let expires_ms = 100 + number * 7 % 30;
            index.add_found(format!("\0key-{number:02}").as_bytes(), expires_ms);
        }
        index.end_sweep();
        assert_eq!((index.limit_ms, index.known_ms), (110, 110));
        assert!(!index.may_be_due(b"\0else", 109) && index.may_be_due(b"\0else", 110));
        index.set(b"\0late", Some(110));
        index.set(b"\0soon", Some(50));
        assert!(index.may_be_due(b"\0soon", 50) && !index.may_be_due(b"\0soon", 49));
        let taken: Vec<u64> =
            std::iter::from_fn(|| index.take_due(0, u64::MAX)).map(|(_, at)| at).collect();
        assert_eq!(taken, [vec![50], (100..109).collect()].concat());
        assert_eq!((index.limit_ms, index.known_ms), (109, 109));
        index.begin_sweep();
        index.set(b"\0late", Some(110));
        assert_eq!((index.next_ms(0), index.known_ms), (Some(110), 109));
        index.end_sweep();
        assert_eq!(index.known_ms, u64::MAX);
    }
}
