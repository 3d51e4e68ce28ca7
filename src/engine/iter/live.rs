//! What a reader sees: of each key the one version that its snapshot shows, if that is a value.
//!
//! Forward, the first version within the snapshot decides. Backward, versions come oldest first, so
//! the last one within the snapshot decides, and is known only when the next key is met: it is
//! copied. A reader never sees what a range delete covers, nor what has expired by its clock, however
//! old its snapshot.

use std::sync::Arc;

use super::{Direction, EntryIter};
use crate::engine::error::{Error, Result};
use crate::engine::key::{Kind, Seq, live};
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

impl Reader {
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
    /// Backward: the version that decides.
    version: Option<(Seq, Kind)>,
    value: Vec<u8>,
    /// Backward: whether the inner iterator stands on an entry that was not looked at.
    has_next: bool,
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
            version: None,
            value: Vec::new(),
            has_next: false,
            failure: None,
        }
    }

    /// Moves to the next key that is there; false at the end.
    ///
    /// # Errors
    /// As [`EntryIter::advance`].
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let moved = match self.direction {
            Direction::Forward => self.advance_forward(),
            Direction::Backward => self.advance_backward(),
        };
        self.failure = moved.as_ref().err().cloned();
        moved
    }

    fn advance_forward(&mut self) -> Result<bool> {
        while self.inner.advance()? {
            let entry = self.inner.entry();
            let is_decided = self.has_key && self.key == entry.key;
            if is_decided || entry.seq > self.reader.snapshot {
                continue;
            }
            self.has_key = true;
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            if self.reader.sees(entry.key, entry.seq, entry.kind, entry.value) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn advance_backward(&mut self) -> Result<bool> {
        if !self.has_key {
            self.has_key = true;
            self.has_next = self.inner.advance()?;
        }
        while self.has_next {
            self.gather_versions()?;
            if let Some((seq, kind)) = self.version
                && self.reader.sees(&self.key, seq, kind, &self.value)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Walks over all versions of the next key, and keeps the newest within the snapshot.
    fn gather_versions(&mut self) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(self.inner.entry().key);
        self.version = None;
        while self.has_next {
            let entry = self.inner.entry();
            if entry.key != self.key {
                break;
            }
            if entry.seq <= self.reader.snapshot {
                self.version = Some((entry.seq, entry.kind));
                self.value.clear();
                self.value.extend_from_slice(entry.value);
            }
            self.has_next = self.inner.advance()?;
        }
        Ok(())
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
                let inner = VecIter::new(entries.clone());
                let mut iter = LiveIter::new(inner, reader(snapshot, &ranges, now_ms), direction);
                let mut seen = Vec::new();
                while iter.advance().unwrap() {
                    let (seq, value, _) = iter.version();
                    seen.push((iter.key().to_vec(), seq, value.to_vec()));
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
