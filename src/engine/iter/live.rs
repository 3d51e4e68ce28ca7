//! What a reader sees: of each key the one version that its snapshot shows, if that is a value.
//!
//! Forward, the first version within the snapshot decides. Backward, versions come oldest first, so
//! the last one within the snapshot decides, and is known only when the next key is met: it is
//! copied. A reader never sees what a range delete covers, nor what has expired by its clock, however
//! old its snapshot.
//!
//! A caller who can do better than step over what is dead, entry by entry, walks with a bounded
//! patience: see [`LiveIter::advance_within`].

use std::sync::Arc;

use super::{Direction, EntryIter};
use crate::engine::error::{Error, Result};
use crate::engine::key::{EXPIRY_BYTES, Kind, Seq, live};
use crate::engine::options::Clock;
use crate::engine::ranges::RangeDeletes;

/// Who reads.
pub(crate) struct Reader {
    /// It sees nothing newer.
    pub(crate) snapshot: Seq,
    /// All range deletes that may cover an entry.
    pub(crate) ranges: Vec<Arc<RangeDeletes>>,
    /// Says what has expired.
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a walk with a bounded patience came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key that is there.
    Entry,
    /// The end.
    End,
    /// Nothing yet: all versions of the current key are decided, and none shows.
    Dead,
    /// Backward: amid the versions of the current key, of which there are many.
    Deep,
}

/// Where a backward walk's inner iterator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// Before its first step.
    Unknown,
    /// On an entry of the key that is next.
    Key,
    /// On an entry of the current key, amid its versions.
    Version,
    /// At its end.
    Nothing,
}

impl Reader {
    fn covers(&self, key: &[u8]) -> bool {
        self.ranges.iter().any(|ranges| ranges.covering(key, self.snapshot) > 0)
    }

    fn sees(&self, key: &[u8], seq: Seq, kind: Kind, value: &[u8]) -> bool {
        let is_deleted = |ranges: &Arc<RangeDeletes>| ranges.covering(key, self.snapshot) > seq;
        live(kind, value, || self.clock.now_ms()).is_some() && !self.ranges.iter().any(is_deleted)
    }
}

/// The live entries of another iterator.
pub(crate) struct LiveIter<I> {
    inner: I,
    reader: Reader,
    direction: Direction,
    /// Forward: the last key decided. Backward: the current one.
    key: Vec<u8>,
    has_key: bool,
    /// Forward: whether the inner iterator stands on a further version of it.
    is_repeated: bool,
    /// Backward: the version that decides.
    version: Option<(Seq, Kind)>,
    value: Vec<u8>,
    /// Whether values are to be told of; without, none is copied.
    with_values: bool,
    /// Backward: where the inner iterator stands.
    ahead: Ahead,
    /// What ended the walk.
    failure: Option<Error>,
}

impl<I: EntryIter> LiveIter<I> {
    /// What `reader` sees of `inner`, which goes in `direction`.
    pub(crate) fn new(inner: I, reader: Reader, direction: Direction) -> Self {
        LiveIter {
            inner,
            reader,
            direction,
            key: Vec::new(),
            has_key: false,
            is_repeated: false,
            version: None,
            value: Vec::new(),
            with_values: true,
            ahead: Ahead::Unknown,
            failure: None,
        }
    }

    /// The same for who wants keys only.
    pub(crate) fn without_values(mut self) -> Self {
        self.with_values = false;
        self
    }

    /// Moves to the next key that is there; false at the end.
    ///
    /// # Errors
    /// As [`EntryIter::advance`].
    #[cfg(test)]
    pub(crate) fn advance(&mut self) -> Result<bool> {
        Ok(self.advance_within(usize::MAX)? == Step::Entry)
    }

    /// Moves to the next key that is there, but gives up after `patience` versions that do not show.
    /// Whoever does not know better asks again, and is brought further.
    ///
    /// # Errors
    /// As [`EntryIter::advance`].
    pub(crate) fn advance_within(&mut self, patience: usize) -> Result<Step> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let moved = match self.direction {
            Direction::Forward => self.advance_forward(patience),
            Direction::Backward => self.advance_backward(patience),
        };
        self.failure = moved.as_ref().err().cloned();
        moved
    }

    fn advance_forward(&mut self, patience: usize) -> Result<Step> {
        let mut dead = 0;
        while self.inner.advance()? {
            let entry = self.inner.entry();
            let is_decided = self.has_key && self.key == entry.key;
            if !is_decided {
                if entry.seq > self.reader.snapshot {
                    continue;
                }
                self.has_key = true;
                self.key.clear();
                self.key.extend_from_slice(entry.key);
                if self.reader.sees(entry.key, entry.seq, entry.kind, entry.value) {
                    self.is_repeated = false;
                    return Ok(Step::Entry);
                }
            }
            self.is_repeated = is_decided;
            dead += 1;
            if dead >= patience {
                return Ok(Step::Dead);
            }
        }
        Ok(Step::End)
    }

    fn advance_backward(&mut self, patience: usize) -> Result<Step> {
        if self.ahead == Ahead::Unknown {
            self.step_back(Ahead::Key)?;
        }
        let mut dead = 0;
        while self.ahead != Ahead::Nothing {
            self.gather_versions(&mut dead, patience)?;
            if self.ahead == Ahead::Version {
                return Ok(Step::Deep);
            }
            if let Some((seq, kind)) = self.version
                && self.reader.sees(&self.key, seq, kind, &self.value)
            {
                return Ok(Step::Entry);
            }
            if dead >= patience {
                return Ok(Step::Dead);
            }
        }
        Ok(Step::End)
    }

    /// Walks over all versions of the next key, and keeps the newest within the snapshot; or over some
    /// of them, if there are more than `patience`. Counts them.
    fn gather_versions(&mut self, count: &mut usize, patience: usize) -> Result<()> {
        if self.ahead != Ahead::Version {
            self.key.clear();
            self.key.extend_from_slice(self.inner.entry().key);
            self.version = None;
        }
        let mut steps = 0;
        self.ahead = Ahead::Version;
        while self.ahead == Ahead::Version && steps < patience {
            let entry = self.inner.entry();
            if entry.key != self.key {
                self.ahead = Ahead::Key;
                break;
            }
            if entry.seq <= self.reader.snapshot {
                self.version = Some((entry.seq, entry.kind));
                self.value.clear();
                // Without values, only what says when one expires.
                let kept = if self.with_values { usize::MAX } else { EXPIRY_BYTES };
                self.value.extend_from_slice(&entry.value[..entry.value.len().min(kept)]);
            }
            steps += 1;
            self.step_back(Ahead::Version)?;
        }
        *count += steps;
        Ok(())
    }

    /// Moves the inner iterator: it stands on `what` then, unless at its end.
    fn step_back(&mut self, what: Ahead) -> Result<()> {
        self.ahead = if self.inner.advance()? { what } else { Ahead::Nothing };
        Ok(())
    }

    /// After [`Step::Dead`]: whether a new search from the current key on may pass more at once.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_repeated || self.reader.covers(&self.key)
    }

    /// Ends the walk for good.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failure = Some(error.clone());
    }

    /// Before the first step of a backward walk: shows what `other` shows.
    pub(crate) fn show(&mut self, other: &Self) {
        let entry = other.inner.entry();
        self.key.extend_from_slice(entry.key);
        self.version = Some((entry.seq, entry.kind));
        self.value.extend_from_slice(entry.value);
    }

    /// The current key; only after `advance` returned true.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The current version: its number, its value, and when it expires if it does.
    pub(crate) fn version(&self) -> (Seq, &[u8], Option<u64>) {
        // Forward, it is the one on which the inner iterator stands.
        let (seq, kind, stored) = if let Some((seq, kind)) = self.version {
            (seq, kind, self.value.as_slice())
        } else {
            let entry = self.inner.entry();
            (entry.seq, entry.kind, entry.value)
        };
        // It was there when `advance` looked, and has not expired for this reader since.
        let (value, expires_ms) = live(kind, stored, || 0).unwrap_or_default();
        (seq, value, expires_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::{Failing, Owned, Random, VecIter, random_entries};
    use crate::engine::ranges::RangeDelete;

    struct Now(u64);

    impl Clock for Now {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }

    fn reader(snapshot: Seq, ranges: &[RangeDelete], now_ms: u64) -> Reader {
        // In two sets, as those of a memtable and of the tables are.
        let (a, b) = ranges.split_at(ranges.len() / 2);
        let ranges = [a, b].map(|ranges| Arc::new(RangeDeletes::new(ranges.to_vec()))).to_vec();
        Reader { snapshot, ranges, clock: Arc::new(Now(now_ms)) }
    }

    fn naive(entries: &[Owned], reader: &Reader) -> Vec<(Vec<u8>, Seq, Vec<u8>)> {
        let mut keys: Vec<&Vec<u8>> = entries.iter().map(|entry| &entry.0).collect();
        keys.dedup();
        let see = |key: &&Vec<u8>| {
            let found = entries.iter().find(|e| e.0 == **key && e.1 <= reader.snapshot)?;
            let deleted = reader.ranges.iter().flat_map(|ranges| ranges.iter()).any(|range| {
                range.covers(key) && range.seq > found.1 && range.seq <= reader.snapshot
            });
            let (value, _) = live(found.2, &found.3, || reader.clock.now_ms())?;
            (!deleted).then(|| ((*key).clone(), found.1, value.to_vec()))
        };
        keys.iter().filter_map(see).collect()
    }

    #[test]
    fn both_directions_show_what_the_snapshot_shows() {
        for seed in 1..1_000 {
            let mut random = Random(seed);
            let mut entries = random_entries(&mut random, 40, 1 + seed % 20);
            for entry in &mut entries {
                entry.1 *= 2;
            }
            let ranges: Vec<RangeDelete> = (0..random.below(4))
                .map(|number| RangeDelete {
                    start: format!("key{:04}", random.below(10)).into_bytes(),
                    end: format!("key{:04}", 10 + random.below(12)).into_bytes(),
                    seq: 20 * number + 1,
                })
                .collect();
            let (snapshot, now_ms) = (random.below(90), random.below(120));
            let mut expected = naive(&entries, &reader(snapshot, &ranges, now_ms));
            for direction in [Direction::Forward, Direction::Backward] {
                let patience = [1, 2, 5, usize::MAX][random.below(4) as usize];
                let inner = VecIter::new(entries.clone());
                let mut iter = LiveIter::new(inner, reader(snapshot, &ranges, now_ms), direction);
                let mut seen = Vec::new();
                loop {
                    match iter.advance_within(patience).unwrap() {
                        Step::Entry => {
                            let (seq, value, _) = iter.version();
                            seen.push((iter.key().to_vec(), seq, value.to_vec()));
                        }
                        Step::End => break,
                        Step::Dead | Step::Deep => {}
                    }
                }
                assert_eq!(seen, expected, "seed {seed}, {direction:?}");
                assert!(!iter.advance().unwrap(), "the end stays the end");
                entries.reverse();
                expected.reverse();
            }
        }
    }

    #[test]
    fn a_failure_is_never_the_end() {
        let entries = random_entries(&mut Random(3), 20, 3);
        for direction in [Direction::Forward, Direction::Backward] {
            let inner = Failing::after(entries.clone());
            let mut iter = LiveIter::new(inner, reader(Seq::MAX, &[], 0), direction);
            while matches!(iter.advance(), Ok(true)) {}
            assert!(iter.advance().is_err() && iter.advance().is_err(), "{direction:?}");
        }
    }
}
