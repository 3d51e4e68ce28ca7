//! Leaves out the versions that nobody can see any more: the filter of flush and compaction.
//!
//! The snapshots in use cut the history into *stripes*: all readers within a stripe see the same
//! version of a key, its newest there. So of each key and stripe the newest version stays, unless a
//! range delete within the stripe covers it. What has expired is a tombstone to every reader, whatever
//! its snapshot, and becomes one. A tombstone in the oldest stripe goes as well, if nothing older of
//! its key exists below: its absence says the same.

use std::sync::Arc;

use super::{Entry, EntryIter};
use crate::engine::error::Result;
use crate::engine::key::{Kind, Seq, live};
use crate::engine::ranges::RangeDeletes;
use crate::planted::{Bug, is_planted};

/// What decides about the versions that stay.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retention {
    /// The snapshots in use, ascending.
    pub(crate) snapshots: Vec<Seq>,
    /// Range deletes that may cover an entry.
    pub(crate) ranges: Arc<RangeDeletes>,
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    /// Whether no older version of any of the keys exists outside of the inner iterator: otherwise
    /// it would come back.
    pub(crate) drop_tombstones: bool,
}

impl Retention {
    /// The stripe of a version, the oldest being 0, and the last number that belongs to it.
    fn stripe(&self, seq: Seq) -> (usize, Seq) {
        let stripe = self.snapshots.partition_point(|snapshot| *snapshot < seq);
        (stripe, self.snapshots.get(stripe).copied().unwrap_or(Seq::MAX))
    }

    /// Up to which number no range delete covers anything that stays, if all up to `known` are in
    /// `ranges`: one that is newer than the oldest snapshot leaves what that sees.
    pub(crate) fn purged_seq(&self, known: Seq) -> Seq {
        self.snapshots.first().map_or(known, |oldest| known.min(*oldest))
    }

    fn is_gone(&self, entry: Entry<'_>) -> bool {
        live(entry.kind, entry.value, || self.now_ms).is_none()
    }
}

/// The visible entries of another iterator, in its order, which is forward.
pub(crate) struct VisibleIter<I> {
    inner: I,
    retention: Retention,
    /// The last key met, and the stripe of its last version.
    last: Option<usize>,
    last_key: Vec<u8>,
    /// Whether the current entry is one that expired.
    expired: bool,
    expired_count: u64,
}

impl<I: EntryIter> VisibleIter<I> {
    /// Filters `inner`.
    pub(crate) fn new(inner: I, retention: Retention) -> Self {
        VisibleIter {
            inner,
            retention,
            last: None,
            last_key: Vec::new(),
            expired: false,
            expired_count: 0,
        }
    }

    /// How many values met so far had expired, and did not stay.
    pub(crate) fn expired_count(&self) -> u64 {
        self.expired_count
    }

    /// Whether the current entry of the inner iterator stays. Called once for each.
    fn decide(&mut self) -> bool {
        let entry = self.inner.entry();
        let (stripe, limit) = self.retention.stripe(entry.seq);
        let is_same_key = self.last.is_some() && self.last_key == entry.key;
        if is_same_key && self.last == Some(stripe) {
            return false;
        }
        self.last = Some(stripe);
        if !is_same_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(entry.key);
        }
        if self.retention.ranges.covering(entry.key, limit) > entry.seq {
            return false;
        }
        let is_gone = self.retention.is_gone(entry);
        self.expired = is_gone && entry.kind == Kind::Expiring;
        self.expired_count += u64::from(self.expired);
        if is_planted(Bug::UncoverExpired) && self.expired {
            return false;
        }
        !(is_gone && stripe == 0 && self.retention.drop_tombstones)
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
        let entry = self.inner.entry();
        if self.expired { Entry { kind: Kind::Delete, value: b"", ..entry } } else { entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::{Failing, Owned, Random, VecIter, collect, random_entries};
    use crate::engine::ranges::RangeDelete;

    fn visible(entries: &[Owned], retention: &Retention) -> Vec<Owned> {
        let inner = VecIter::new(entries.to_vec());
        collect(VisibleIter::new(inner, retention.clone())).unwrap()
    }

    /// What a reader at `snapshot` and `now_ms` sees of `key`.
    fn read<'a>(
        entries: &'a [Owned],
        ranges: &RangeDeletes,
        key: &[u8],
        snapshot: Seq,
        now_ms: u64,
    ) -> Option<&'a [u8]> {
        let found = entries.iter().find(|entry| entry.0 == key && entry.1 <= snapshot)?;
        let deleted = ranges
            .iter()
            .any(|range| range.covers(key) && range.seq > found.1 && range.seq <= snapshot);
        live(found.2, &found.3, || now_ms).filter(|_| !deleted).map(|(value, _)| value)
    }

    fn random_retention(random: &mut Random) -> Retention {
        let mut snapshots: Vec<Seq> = (0..random.below(4)).map(|_| random.below(60)).collect();
        snapshots.sort_unstable();
        let ranges = (0..random.below(3)).map(|number| RangeDelete {
            start: format!("key{:04}", random.below(20)).into_bytes(),
            end: format!("key{:04}", random.below(25)).into_bytes(),
            // Between two writes: numbers of writes are doubled for it.
            seq: 20 * number + random.below(10) * 2 + 1,
        });
        Retention {
            ranges: Arc::new(RangeDeletes::new(ranges.filter(|r| r.start < r.end).collect())),
            snapshots,
            now_ms: random.below(120),
            drop_tombstones: random.below(2) == 0,
        }
    }

    #[test]
    fn no_reader_can_tell_and_nothing_stays_that_no_reader_needs() {
        for seed in 1..2_000 {
            let mut random = Random(seed);
            let mut entries = random_entries(&mut random, 30, 1 + seed % 20);
            for entry in &mut entries {
                entry.1 *= 2;
            }
            let retention = random_retention(&mut random);
            let left = visible(&entries, &retention);
            let newest = *retention.snapshots.last().unwrap_or(&0);
            let readers: Vec<Seq> =
                retention.snapshots.iter().copied().chain([newest.max(61), Seq::MAX]).collect();
            let tells = |left: &[Owned]| {
                entries.iter().any(|(key, ..)| {
                    readers.iter().any(|at| {
                        let see = |entries| {
                            read(entries, &retention.ranges, key, *at, retention.now_ms)
                                .map(<[u8]>::to_vec)
                        };
                        see(left) != see(&entries)
                    })
                })
            };
            assert!(!tells(&left), "seed {seed}: {entries:?} {retention:?} {left:?}");
            for at in 0..left.len() {
                let mut fewer = left.clone();
                let removed = fewer.remove(at);
                // A tombstone may hide something below, which this model does not have.
                assert!(removed.2 == Kind::Delete || tells(&fewer), "seed {seed}: {removed:?}");
            }
        }
    }

    #[test]
    fn a_tombstone_stays_where_something_older_may_lie_below() {
        let entries = [
            (b"a".to_vec(), 3, Kind::Delete, Vec::new()),
            (b"a".to_vec(), 2, Kind::Put, b"x".to_vec()),
        ];
        let visible = |snapshots: &[Seq], drop_tombstones| {
            let snapshots = snapshots.to_vec();
            visible(&entries, &Retention { snapshots, drop_tombstones, ..Retention::default() })
        };
        assert_eq!(visible(&[], false), entries[..1]);
        assert_eq!(visible(&[], true), []);
        assert_eq!(visible(&[2], true), entries);
        assert_eq!(visible(&[1], true), entries[..1], "the reader at 1 may see something below");
        assert_eq!(visible(&[3], true), []);
    }

    #[test]
    fn what_has_expired_is_a_tombstone_to_every_reader() {
        use crate::engine::iter::testing::expiring;
        let entry = (b"a".to_vec(), 3, Kind::Expiring, expiring(50, b"x"));
        let tombstone = (b"a".to_vec(), 3, Kind::Delete, Vec::new());
        let visible = |now_ms, snapshots: &[Seq], drop_tombstones| {
            let snapshots = snapshots.to_vec();
            let retention =
                Retention { snapshots, now_ms, drop_tombstones, ..Retention::default() };
            visible(std::slice::from_ref(&entry), &retention)
        };
        assert_eq!(visible(49, &[], true), std::slice::from_ref(&entry));
        assert_eq!(visible(50, &[], false), std::slice::from_ref(&tombstone));
        assert_eq!(visible(50, &[2], true), [tombstone], "the reader at 2 may see something below");
        assert_eq!(visible(50, &[], true), []);
    }

    #[test]
    fn a_failure_passes_through() {
        let entries = random_entries(&mut Random(3), 20, 3);
        let mut iter = VisibleIter::new(Failing::after(entries), Retention::default());
        while matches!(iter.advance(), Ok(true)) {}
        assert!(iter.advance().is_err());
    }
}
