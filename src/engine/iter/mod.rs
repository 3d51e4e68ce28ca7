//! Ordered walks over entries: what memtables, tables and merges have in common.
//!
//! Entries come by key, and within a key newest first (`compare_entries`). An iterator lends its
//! entries: a walk over millions of them copies nothing unless its caller does. Damage met on the
//! way is an error and ends the walk: it is never skipped and never looks like the end.

mod live;
mod merge;
mod visible;

pub(crate) use self::live::{LiveIter, Reader, Step};
pub(crate) use self::merge::{Input, MergeIter};
pub(crate) use self::visible::{Retention, VisibleIter};

use super::error::Result;
use super::key::{Kind, Seq};

/// One version of one key, borrowed from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The key.
    pub(crate) key: &'a [u8],
    /// The version's sequence number.
    pub(crate) seq: Seq,
    /// What the version says.
    pub(crate) kind: Kind,
    /// The value; empty for a tombstone.
    pub(crate) value: &'a [u8],
}

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys, and of each key the oldest version first.
    Backward,
}

/// A range of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanRange<'a> {
    /// The first key that belongs to it; the empty one comes before all others.
    pub(crate) start: &'a [u8],
    /// The first key behind it that does not; `None` is behind the last key.
    pub(crate) end: Option<&'a [u8]>,
}

/// Entries in order (key, then newest first; or exactly the reverse).
pub(crate) trait EntryIter {
    /// Moves to the next entry (the first, on the first call); false at the end, and ever after.
    ///
    /// # Errors
    /// `Io` or `Corrupt`; the walk is over then, and must not be taken for complete.
    fn advance(&mut self) -> Result<bool>;

    /// The current entry; only after `advance` returned true.
    fn entry(&self) -> Entry<'_>;
}

impl<I: EntryIter + ?Sized> EntryIter for Box<I> {
    fn advance(&mut self) -> Result<bool> {
        (**self).advance()
    }

    fn entry(&self) -> Entry<'_> {
        (**self).entry()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Naive iterators, owned entries and a source of random ones, for tests.

    use super::{Entry, EntryIter, Kind, Result, Seq};
    use crate::engine::error::Error;
    use crate::engine::key::compare_entries;

    /// An entry that owns its bytes: key, sequence, kind, value.
    pub(crate) type Owned = (Vec<u8>, Seq, Kind, Vec<u8>);

    /// Walks a vector.
    pub(crate) struct VecIter {
        entries: Vec<Owned>,
        next: usize,
    }

    impl VecIter {
        pub(crate) fn new(entries: Vec<Owned>) -> Self {
            VecIter { entries, next: 0 }
        }
    }

    impl EntryIter for VecIter {
        fn advance(&mut self) -> Result<bool> {
            self.next += 1;
            Ok(self.next <= self.entries.len())
        }

        fn entry(&self) -> Entry<'_> {
            borrowed(&self.entries[self.next - 1])
        }
    }

    /// Walks a vector, then fails.
    pub(crate) struct Failing(VecIter);

    impl Failing {
        pub(crate) fn after(entries: Vec<Owned>) -> Self {
            Failing(VecIter::new(entries))
        }
    }

    impl EntryIter for Failing {
        fn advance(&mut self) -> Result<bool> {
            let is_there = self.0.advance()?;
            is_there.then_some(true).ok_or_else(|| Error::corrupt("a file", 0, "as planned"))
        }

        fn entry(&self) -> Entry<'_> {
            self.0.entry()
        }
    }

    /// A small seeded generator (xorshift); the seed must not be 0.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    /// The value of an entry that expires.
    pub(crate) fn expiring(expiry_ms: u64, value: &[u8]) -> Vec<u8> {
        [&expiry_ms.to_le_bytes()[..], value].concat()
    }

    /// `count` writes, numbered from 1, to up to `keys` keys, in the order of entries. Some expire
    /// within the first hundred milliseconds.
    pub(crate) fn random_entries(random: &mut Random, count: u64, keys: u64) -> Vec<Owned> {
        let mut write = |seq| {
            let key = format!("key{:04}", random.below(keys)).into_bytes();
            match random.below(5) {
                0 => (key, seq, Kind::Delete, Vec::new()),
                1 => {
                    let value = format!("brief{seq}").into_bytes();
                    (key, seq, Kind::Expiring, expiring(random.below(100), &value))
                }
                _ => (key, seq, Kind::Put, format!("value{seq}").into_bytes()),
            }
        };
        let mut entries: Vec<Owned> = (1..=count).map(&mut write).collect();
        entries.sort_by(|a, b| compare_entries((&a.0, a.1), (&b.0, b.1)));
        entries
    }

    pub(crate) fn borrowed(owned: &Owned) -> Entry<'_> {
        Entry { key: &owned.0, seq: owned.1, kind: owned.2, value: &owned.3 }
    }

    pub(crate) fn owned(entry: Entry<'_>) -> Owned {
        (entry.key.to_vec(), entry.seq, entry.kind, entry.value.to_vec())
    }

    /// Everything that an iterator yields.
    pub(crate) fn collect(mut iter: impl EntryIter) -> Result<Vec<Owned>> {
        let mut all = Vec::new();
        while iter.advance()? {
            all.push(owned(iter.entry()));
        }
        Ok(all)
    }
}
