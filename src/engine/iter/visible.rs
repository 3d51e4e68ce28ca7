//! Leaves out the versions that nobody can see any more: the filter of flush and compaction.
//!
//! Of each key it keeps every version newer than the oldest snapshot, and the newest of the others:
//! that is what the oldest snapshot sees, and every later one up to the next version. If that one
//! is a tombstone and nothing older of its key exists below, its absence says the same.

use super::{Entry, EntryIter};
use crate::engine::error::Result;
use crate::engine::key::{Kind, Seq};

/// The visible entries of another iterator, in its order.
pub(crate) struct VisibleIter<I> {
    inner: I,
    oldest_snapshot: Seq,
    drop_tombstones: bool,
    /// The last key of which the oldest snapshot has met its version.
    settled_key: Vec<u8>,
    has_settled: bool,
}

impl<I: EntryIter> VisibleIter<I> {
    /// Filters `inner` for readers at `oldest_snapshot` and later; `Seq::MAX` means that there are
    /// no snapshots. `drop_tombstones` only where no older version of any of these keys exists
    /// outside `inner`: otherwise it would come back.
    pub(crate) fn new(inner: I, oldest_snapshot: Seq, drop_tombstones: bool) -> Self {
        VisibleIter {
            inner,
            oldest_snapshot,
            drop_tombstones,
            settled_key: Vec::new(),
            has_settled: false,
        }
    }

    /// Whether the current entry of the inner iterator stays. Called once for each.
    fn decide(&mut self) -> bool {
        let entry = self.inner.entry();
        if entry.seq > self.oldest_snapshot {
            return true;
        }
        if self.has_settled && self.settled_key == entry.key {
            return false;
        }
        self.has_settled = true;
        self.settled_key.clear();
        self.settled_key.extend_from_slice(entry.key);
        !(self.drop_tombstones && entry.kind == Kind::Delete)
    }
}

impl<I: EntryIter> EntryIter for VisibleIter<I> {
    fn advance(&mut self) -> Result<bool> {
        while self.inner.advance()? {
            if self.decide() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn entry(&self) -> Entry<'_> {
        self.inner.entry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::{Failing, Owned, Random, VecIter, collect, random_entries};

    fn visible(entries: &[Owned], snapshot: Seq, drop_tombstones: bool) -> Vec<Owned> {
        let inner = VecIter::new(entries.to_vec());
        collect(VisibleIter::new(inner, snapshot, drop_tombstones)).unwrap()
    }

    /// The rule word for word, over all entries for each entry.
    fn naive(entries: &[Owned], snapshot: Seq, drop_tombstones: bool) -> Vec<Owned> {
        let stays = |entry: &&Owned| {
            let newest = entries
                .iter()
                .filter(|other| other.0 == entry.0 && other.1 <= snapshot)
                .max_by_key(|other| other.1);
            entry.1 > snapshot
                || newest == Some(*entry) && !(drop_tombstones && entry.2 == Kind::Delete)
        };
        entries.iter().filter(stays).cloned().collect()
    }

    /// What a reader at `snapshot` sees of `key`.
    fn read<'a>(entries: &'a [Owned], key: &[u8], snapshot: Seq) -> Option<&'a [u8]> {
        let found = entries.iter().find(|entry| entry.0 == key && entry.1 <= snapshot)?;
        (found.2 == Kind::Put).then_some(&found.3)
    }

    #[test]
    fn what_stays_is_the_rule_and_no_reader_can_tell() {
        for seed in 1..300 {
            let mut random = Random(seed);
            let entries = random_entries(&mut random, 60, 1 + seed % 20);
            for snapshot in [0, 1, random.below(60), 60, Seq::MAX] {
                for drop_tombstones in [false, true] {
                    let left = visible(&entries, snapshot, drop_tombstones);
                    assert_eq!(left, naive(&entries, snapshot, drop_tombstones), "seed {seed}");
                    for at in (snapshot..=60).chain([Seq::MAX]) {
                        for (key, ..) in &entries {
                            assert_eq!(read(&left, key, at), read(&entries, key, at));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_tombstone_stays_where_something_older_may_lie_below() {
        let entries = [
            (b"a".to_vec(), 3, Kind::Delete, Vec::new()),
            (b"a".to_vec(), 2, Kind::Put, b"x".to_vec()),
        ];
        assert_eq!(visible(&entries, Seq::MAX, false), entries[..1]);
        assert_eq!(visible(&entries, Seq::MAX, true), []);
        assert_eq!(visible(&entries, 2, true), entries);
    }

    #[test]
    fn a_failure_passes_through() {
        let entries = random_entries(&mut Random(3), 20, 3);
        let mut iter = VisibleIter::new(Failing::after(entries), Seq::MAX, true);
        while matches!(iter.advance(), Ok(true)) {}
        assert!(iter.advance().is_err());
    }
}
