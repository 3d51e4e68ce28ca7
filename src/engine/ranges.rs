//! Range deletes: what hides all older versions of a stretch of keys at once.
//!
//! A range delete is one record, however many keys it covers. It is kept beside the tables, not in
//! them: in the memtable that took it until the flush, then in the manifest and the version, until
//! every table that overlaps it has been written anew without what it covers. So a table never has
//! to be looked at for more than its own keys, and one that lies within the range is dropped whole.
//! Rejected: tombstones for ranges inside the tables, which would have to be cut at the border of
//! each output, and met again by every reader in every level.
//!
//! A version with sequence number s is hidden from a reader at snapshot n by a range delete of its
//! key with a number in s+1 ..= n.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::iter::{Direction, ScanRange};
use super::key::Seq;

/// One range delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeDelete {
    /// The first key covered.
    pub(crate) start: Vec<u8>,
    /// The first key behind it that is not covered; empty if all are.
    pub(crate) end: Vec<u8>,
    /// It covers versions with lower numbers.
    pub(crate) seq: Seq,
}

impl RangeDelete {
    /// Whether it covers older versions of `key`. A set of them is asked otherwise: see
    /// [`RangeDeletes::covering`].
    #[cfg(test)]
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        *self.start <= *key && is_before_end(key, &self.end)
    }

    /// Whether it covers a key of `smallest ..= largest`, as far as ranges tell.
    pub(crate) fn overlaps(&self, smallest: &[u8], largest: &[u8]) -> bool {
        *self.start <= *largest && is_before_end(smallest, &self.end)
    }

    /// Whether it covers all keys of `smallest ..= largest`.
    pub(crate) fn covers_all(&self, smallest: &[u8], largest: &[u8]) -> bool {
        *self.start <= *smallest && is_before_end(largest, &self.end)
    }
}

/// Whether a key stands before an exclusive end; an empty one is behind every key.
fn is_before_end(key: &[u8], end: &[u8]) -> bool {
    end.is_empty() || key < end
}

/// A stretch of keys that the same range deletes cover.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fragment {
    end: Vec<u8>,
    /// Their numbers, ascending.
    seqs: Vec<Seq>,
}

/// A set of range deletes that can be searched by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct RangeDeletes {
    /// Ascending by number.
    all: Vec<RangeDelete>,
    /// Disjoint, by their first key.
    fragments: BTreeMap<Vec<u8>, Fragment>,
}

impl RangeDeletes {
    /// A set of those given, in any order.
    pub(crate) fn new(mut ranges: Vec<RangeDelete>) -> Self {
        ranges.sort_by_key(|range| range.seq);
        let mut set = RangeDeletes::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }

    /// Adds one that is newer than all others.
    pub(crate) fn insert(&mut self, range: RangeDelete) {
        debug_assert!(self.all.last().is_none_or(|last| last.seq < range.seq));
        self.split_at(&range.start);
        if !range.end.is_empty() {
            self.split_at(&range.end);
        }
        let mut gap = range.start.clone();
        let mut gaps = Vec::new();
        let from = (Bound::Included(range.start.as_slice()), Bound::Unbounded);
        let covered = self.fragments.range_mut::<[u8], _>(from);
        let mut open = true;
        for (start, fragment) in covered.take_while(|(start, _)| is_before_end(start, &range.end)) {
            if gap < *start {
                gaps.push((gap, start.clone()));
            }
            fragment.seqs.push(range.seq);
            gap = Vec::from(fragment.end.as_slice());
            open = !gap.is_empty();
        }
        if open && is_before_end(&gap, &range.end) {
            gaps.push((gap, range.end.clone()));
        }
        for (start, end) in gaps {
            self.fragments.insert(start, Fragment { end, seqs: vec![range.seq] });
        }
        self.all.push(range);
    }

    /// Makes `key` the start of a fragment if it lies within one.
    fn split_at(&mut self, key: &[u8]) {
        let before = (Bound::Unbounded, Bound::Excluded(key));
        let Some((_, left)) = self.fragments.range_mut::<[u8], _>(before).next_back() else {
            return;
        };
        if is_before_end(key, &left.end) {
            let right = left.clone();
            left.end = key.to_vec();
            self.fragments.insert(key.to_vec(), right);
        }
    }

    /// The newest range delete that covers `key` and is not newer than `at_most`; 0 if none is.
    pub(crate) fn covering(&self, key: &[u8], at_most: Seq) -> Seq {
        if self.fragments.is_empty() {
            return 0;
        }
        let up_to = (Bound::Unbounded, Bound::Included(key));
        let Some((_, fragment)) = self.fragments.range::<[u8], _>(up_to).next_back() else {
            return 0;
        };
        if !is_before_end(key, &fragment.end) {
            return 0;
        }
        let count = fragment.seqs.partition_point(|seq| *seq <= at_most);
        count.checked_sub(1).map_or(0, |last| fragment.seqs[last])
    }

    /// The stretch of keys around the first one of `range`, or around its last one backward, that a
    /// range delete with a number of `numbers` covers.
    fn stretch_at(
        &self,
        range: ScanRange<'_>,
        direction: Direction,
        numbers: Numbers,
    ) -> Option<(&[u8], &[u8])> {
        let up_to = match (direction, range.end) {
            (Direction::Forward, _) => Bound::Included(range.start),
            (Direction::Backward, Some(end)) => Bound::Excluded(end),
            (Direction::Backward, None) => Bound::Unbounded,
        };
        let (start, fragment) =
            self.fragments.range::<[u8], _>((Bound::Unbounded, up_to)).next_back()?;
        let reaches = match (direction, range.end) {
            (Direction::Forward, _) => is_before_end(range.start, &fragment.end),
            (Direction::Backward, Some(end)) => {
                fragment.end.is_empty() || end <= fragment.end.as_slice()
            }
            (Direction::Backward, None) => fragment.end.is_empty(),
        };
        let count = fragment.seqs.partition_point(|seq| *seq <= numbers.at_most);
        let newest = count.checked_sub(1).map(|last| fragment.seqs[last])?;
        (reaches && newest > numbers.above).then_some((start, &fragment.end))
    }

    /// The numbers of those that make no difference to a reader at one of `snapshots`, which are
    /// ascending, or behind all: wherever they cover something, so does a newer one that each of
    /// these readers heeds as well.
    pub(crate) fn superseded(&self, snapshots: &[Seq]) -> BTreeSet<Seq> {
        let stripe = |seq: Seq| snapshots.partition_point(|snapshot| *snapshot < seq);
        let mut superseded: BTreeSet<Seq> = self.all.iter().map(|range| range.seq).collect();
        for fragment in self.fragments.values() {
            for (at, seq) in fragment.seqs.iter().enumerate() {
                let next = fragment.seqs.get(at + 1);
                if next.is_none_or(|next| stripe(*next) > stripe(*seq)) {
                    superseded.remove(seq);
                }
            }
        }
        superseded
    }

    /// The stretches of keys that are covered and share one with `smallest ..= largest`, as start and
    /// end; an empty end is behind the last key.
    pub(crate) fn stretches<'a>(
        &'a self,
        smallest: &'a [u8],
        largest: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let before = (Bound::Unbounded, Bound::Included(largest));
        let fragments = self.fragments.range::<[u8], _>(before);
        let reaches = |fragment: &Fragment| is_before_end(smallest, &fragment.end);
        fragments
            .map(|(start, fragment)| (start.as_slice(), fragment))
            .filter(move |(_, fragment)| reaches(fragment))
            .map(|(start, fragment)| (start, fragment.end.as_slice()))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, ascending by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RangeDelete> {
        self.all.iter()
    }

    /// Those given and these, without the numbers in `forgotten`.
    pub(crate) fn with(&self, added: &[RangeDelete], forgotten: &BTreeSet<Seq>) -> Self {
        let all = self.all.iter().chain(added);
        Self::new(all.filter(|range| !forgotten.contains(&range.seq)).cloned().collect())
    }
}

/// Numbers of range deletes.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    above: Seq,
    at_most: Seq,
}

/// What is left of `range` for a walk over versions that are not newer than `newest`, once all is
/// passed at its beginning that `sets` hide from a reader at `snapshot`; `None` if nothing is.
pub(crate) fn uncovered<'a>(
    sets: &'a [Arc<RangeDeletes>],
    mut range: ScanRange<'a>,
    direction: Direction,
    (newest, snapshot): (Seq, Seq),
) -> Option<ScanRange<'a>> {
    let numbers = Numbers { above: newest, at_most: snapshot };
    let stretch = |range| sets.iter().find_map(|set| set.stretch_at(range, direction, numbers));
    while let Some((start, end)) = stretch(range) {
        match direction {
            Direction::Forward if end.is_empty() => return None,
            Direction::Forward => range.start = end,
            Direction::Backward if start.is_empty() => return None,
            Direction::Backward => range.end = Some(start),
        }
        if range.end.is_some_and(|end| end <= range.start) {
            return None;
        }
    }
    Some(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::Random;

    fn range(start: &[u8], end: &[u8], seq: Seq) -> RangeDelete {
        RangeDelete { start: start.to_vec(), end: end.to_vec(), seq }
    }

    #[test]
    fn a_range_covers_from_its_start_to_before_its_end() {
        let set = RangeDeletes::new(vec![range(b"b", b"d", 5)]);
        let covering = |key: &[u8]| set.covering(key, Seq::MAX);
        assert_eq!([covering(b"a"), covering(b"b"), covering(b"c~"), covering(b"d")], [0, 5, 5, 0]);
        assert_eq!(set.covering(b"b", 4), 0, "too new for the reader");
        let endless = RangeDeletes::new(vec![range(b"b", b"", 5)]);
        assert_eq!(endless.covering(&[0xff; 9], 5), 5);
        assert_eq!(endless.covering(b"a", 5), 0);
        assert!(RangeDeletes::default().is_empty());
    }

    #[test]
    fn overlap_and_containment_heed_the_open_end() {
        let middle = range(b"b", b"d", 5);
        assert!(middle.overlaps(b"a", b"b") && middle.overlaps(b"c", b"z"));
        assert!(!middle.overlaps(b"d", b"z") && !middle.overlaps(b"a", b"a~"));
        assert!(middle.covers_all(b"b", b"c~") && !middle.covers_all(b"b", b"d"));
        assert!(range(b"b", b"", 5).covers_all(b"b", b"\xff\xff"));
        assert!(middle.covers(b"b") && !middle.covers(b"d"));
    }

    #[test]
    fn what_is_superseded_makes_no_difference_and_all_else_does() {
        for seed in 1..500 {
            let mut random = Random(seed);
            let list = (1..=random.below(12)).map(|seq| {
                let (a, b) = (random.below(20) as u8, random.below(20) as u8);
                let end = if b == 19 { Vec::new() } else { vec![a.max(b) + 1] };
                RangeDelete { start: vec![a.min(b)], end, seq: seq * 2 }
            });
            let set = RangeDeletes::new(list.collect());
            let mut snapshots: Vec<Seq> = (0..random.below(4)).map(|_| random.below(26)).collect();
            snapshots.sort_unstable();
            let readers: Vec<Seq> = snapshots.iter().copied().chain([Seq::MAX]).collect();
            let differs = |other: &RangeDeletes| {
                let covering = |set: &RangeDeletes| -> Vec<Seq> {
                    let at = |key: u8| readers.iter().map(move |reader| (key, *reader));
                    (0..25).flat_map(at).map(|(key, at)| set.covering(&[key], at)).collect()
                };
                covering(other) != covering(&set)
            };
            let mut superseded = set.superseded(&snapshots);
            assert!(!differs(&set.with(&[], &superseded)), "seed {seed}");
            for range in set.iter() {
                if superseded.insert(range.seq) {
                    assert!(differs(&set.with(&[], &superseded)), "seed {seed}, {range:?}");
                    superseded.remove(&range.seq);
                }
            }
        }
    }

    #[test]
    fn a_set_answers_as_a_list_would() {
        for seed in 1..200 {
            let mut random = Random(seed);
            let mut list = Vec::new();
            for seq in 1..=random.below(12) {
                let (a, b) = (random.below(20) as u8, random.below(20) as u8);
                let end = if b == 19 { Vec::new() } else { vec![a.max(b) + 1] };
                list.push(RangeDelete { start: vec![a.min(b)], end, seq: seq * 2 });
            }
            let forgotten: BTreeSet<Seq> =
                list.iter().map(|range| range.seq).filter(|_| random.below(4) == 0).collect();
            let half = list.len() / 2;
            let set = RangeDeletes::new(list[..half].to_vec()).with(&list[half..], &forgotten);
            for (key, at_most) in (0..25).flat_map(|key| (0..26).map(move |seq| ([key], seq))) {
                let naive = list.iter().filter(|range| {
                    range.covers(&key) && range.seq <= at_most && !forgotten.contains(&range.seq)
                });
                let naive = naive.map(|range| range.seq).max().unwrap_or(0);
                assert_eq!(set.covering(&key, at_most), naive, "seed {seed}, {key:?} at {at_most}");
            }
        }
    }

    /// Every key that is left out is covered, and the first that is not is left.
    #[test]
    fn a_walk_may_pass_what_is_covered_and_no_more() {
        for seed in 1..300 {
            let mut random = Random(seed);
            let mut list = Vec::new();
            for seq in 1..=random.below(10) {
                let (a, b) = (random.below(20) as u8, random.below(20) as u8);
                let (a, b) = (a.min(b), a.max(b));
                let end = if b == 19 { Vec::new() } else { vec![b + 1] };
                let start = if a == 0 { Vec::new() } else { vec![a] };
                list.push(RangeDelete { start, end, seq: seq * 2 });
            }
            let half = list.len() / 2;
            let sets = [&list[..half], &list[half..]]
                .map(|part| Arc::new(RangeDeletes::new(part.to_vec())));
            let (start, end) = ([random.below(20) as u8], [random.below(24) as u8]);
            let range = ScanRange { start: &start, end: (end[0] < 20).then_some(&end) };
            let (newest, at) = (random.below(22), random.below(22));
            let in_range = |range: ScanRange<'_>, key: u8| {
                range.start <= &[key][..] && range.end.is_none_or(|end| end > &[key][..])
            };
            let is_covered =
                |key: u8| list.iter().any(|r| r.covers(&[key]) && r.seq > newest && r.seq <= at);
            let keys: Vec<u8> = (0..25).filter(|key| in_range(range, *key)).collect();
            for direction in [Direction::Forward, Direction::Backward] {
                let left = uncovered(&sets, range, direction, (newest, at));
                let left = |key: &u8| left.is_some_and(|left| in_range(left, *key));
                let mut naive: Vec<u8> = keys.clone();
                if direction == Direction::Backward {
                    naive.reverse();
                }
                let naive: Vec<u8> = naive.into_iter().skip_while(|key| is_covered(*key)).collect();
                let mut found: Vec<u8> = keys.iter().copied().filter(left).collect();
                if direction == Direction::Backward {
                    found.reverse();
                }
                assert_eq!(found, naive, "seed {seed}, {direction:?}: {list:?} {range:?}");
            }
        }
    }
}
