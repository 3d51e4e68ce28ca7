//! How many keys there are, in a form that can be brought up to date: their hashes. Of very many the number
//! is an estimate from the beginning.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::list::Patch;

/// Memory of a key, in bytes, more or less.
pub(super) const KEY_BYTES: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Count {
    hasher: RandomState,
    /// By the key's hash, when it expires; never, the greatest number.
    keys: HashMap<u64, u64>,
    earliest_ms: u64,
    /// The number, if there are too many to be counted.
    estimate: Option<u64>,
}

impl Count {
    pub(crate) fn new() -> Self {
        Count { earliest_ms: u64::MAX, ..Count::default() }
    }

    /// How many were counted.
    pub(super) fn counted(&self) -> usize {
        self.keys.len()
    }

    /// Counts a key.
    pub(super) fn add(&mut self, key: &[u8], expires_ms: Option<u64>) {
        let expires_ms = expires_ms.unwrap_or(u64::MAX);
        self.earliest_ms = self.earliest_ms.min(expires_ms);
        self.keys.insert(self.hasher.hash_one(key), expires_ms);
    }

    /// There are more than can be counted: about so many.
    pub(super) fn set_estimate(&mut self, estimate: u64) {
        self.keys = HashMap::new();
        self.estimate = Some(estimate);
    }

    /// How many there are at `now_ms` where `patches` say what has become of some.
    pub(crate) fn number(&self, patches: &[Patch], now_ms: u64) -> u64 {
        if let Some(estimate) = self.estimate {
            return estimate;
        }
        let mut number = self.keys.len();
        if self.earliest_ms <= now_ms {
            number -= self.keys.values().filter(|expires_ms| **expires_ms <= now_ms).count();
        }
        for patch in patches {
            let known = self.keys.get(&self.hasher.hash_one(patch.key.as_slice()));
            number -= usize::from(known.is_some_and(|expires_ms| *expires_ms > now_ms));
            number += usize::from(patch.now.is_some());
        }
        number as u64
    }

    /// Takes the patches over.
    pub(super) fn patch(&mut self, patches: &[Patch]) {
        if self.estimate.is_some() {
            return;
        }
        for Patch { key, now } in patches {
            match now {
                Some(shown) => self.add(key, shown.expires_ms),
                None => _ = self.keys.remove(&self.hasher.hash_one(key.as_slice())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::Shown;
    use super::*;

    fn gone(key: &[u8]) -> Patch {
        Patch { key: key.to_vec(), now: None }
    }

    fn there(key: &[u8], expires_ms: Option<u64>) -> Patch {
        Patch { key: key.to_vec(), now: Some(Shown { stored: vec![0], expires_ms }) }
    }

    #[test]
    fn what_changed_since_is_counted_once() {
        let mut count = Count::new();
        for key in [b"a", b"b", b"c"] {
            count.add(key, None);
        }
        count.add(b"d", Some(50));
        assert_eq!((count.number(&[], 49), count.number(&[], 50)), (4, 3));
        let patches = [gone(b"a"), there(b"b", None), there(b"x", Some(70))];
        assert_eq!(count.number(&patches, 49), 4);
        assert_eq!(count.number(&[there(b"d", None)], 60), 4, "written anew");
        assert_eq!(count.number(&[gone(b"nothing")], 0), 4);
        count.patch(&patches);
        assert_eq!(
            (count.number(&[], 49), count.number(&[], 69), count.number(&[], 70)),
            (4, 3, 2)
        );
        count.set_estimate(7_000_000);
        assert_eq!(count.number(&[gone(b"a")], 0), 7_000_000);
    }
}
