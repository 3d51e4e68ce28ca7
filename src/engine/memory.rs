//! What readers and writers share: memtables, the current version, the last sequence number.
//!
//! It stands behind one `RwLock`. Writers hold it for a run of operations in memory; no holder does
//! I/O or waits for anything else but the commit queue's lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::journal::GroupBuffer;
use super::key::{Kind, Seq};
use super::memtable::{Found, Memtable};
use super::options::{Options, Scheduling};
use super::pacing::{Pace, Pacer};
use super::ranges::RangeDelete;
use super::stalls::Stalls;
use super::version::Version;
use super::wal::encode_write;
use crate::planted::{Bug, is_planted};

/// Frozen memtables that may wait for their flush.
pub(crate) const MAX_IMMUTABLES: usize = 2;

/// The state that a lookup sees.
pub(crate) struct Memory {
    /// Takes writes.
    pub(crate) active: Memtable,
    /// Frozen and not yet in tables, oldest first.
    pub(crate) immutables: VecDeque<Arc<Memtable>>,
    /// The tables.
    pub(crate) version: Arc<Version>,
    /// The last sequence number given out.
    pub(crate) last_seq: Seq,
    /// Encoded writes of the current session.
    pub(crate) staged: GroupBuffer,
    /// Whether an ingestion has its number and not its tables yet: what must see all of it or none,
    /// for good, has to wait.
    pub(crate) ingesting: bool,
    /// Whether new writes are refused for good.
    pub(crate) closed: bool,
    /// Why writers had to wait.
    pub(crate) stalls: Stalls,
    /// What slows writers down while merges are behind.
    pub(crate) level0: Level0,
    /// Whether the background was told that the active memtable has garbage.
    told_garbage: bool,
    /// Bytes of keys and values written since the database was opened.
    pub(crate) user_bytes: u64,
    memtable_bytes: usize,
}

impl Memory {
    /// Nothing in memory over the tables of `version`.
    pub(crate) fn new(version: Version, last_seq: Seq, options: &Options) -> Self {
        let memtable_bytes = options.memtable_bytes();
        let mut level0 = Level0::new(options);
        level0.set_sublevels(Duration::ZERO, version.sublevels());
        Memory {
            active: Memtable::new(memtable_bytes),
            immutables: VecDeque::new(),
            version: Arc::new(version),
            last_seq,
            staged: GroupBuffer::new(),
            ingesting: false,
            closed: false,
            stalls: Stalls::default(),
            level0,
            told_garbage: false,
            user_bytes: 0,
            memtable_bytes,
        }
    }

    /// The newest that memory says of `key` within `snapshot`, by a version of its own or by a range
    /// delete. Numbers only grow from memtable to memtable, so the first that says anything decides.
    pub(crate) fn get(&self, key: &[u8], snapshot: Seq) -> Option<Found<'_>> {
        self.memtables().find_map(|memtable| memtable.get(key, snapshot))
    }

    /// All memtables, the newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        let frozen = self.immutables.iter().rev().map(Arc::as_ref);
        std::iter::once(&self.active).chain(frozen)
    }

    /// Whether a write of this size has a memtable to go to.
    pub(crate) fn has_room(&self, key_bytes: usize, value_bytes: usize) -> bool {
        self.active.has_room(key_bytes, value_bytes) || self.immutables.len() < MAX_IMMUTABLES
    }

    /// Whether the active memtable may be frozen now.
    pub(crate) fn may_freeze(&self) -> bool {
        self.active.is_empty() || self.immutables.len() < MAX_IMMUTABLES
    }

    /// Whether a batch of so many entries, whose keys and values add up to `bytes`, has a memtable to
    /// go to as a whole.
    pub(crate) fn has_room_for(&self, entries: usize, bytes: usize) -> bool {
        self.active.has_room_for(entries, bytes)
            || self.active.is_empty()
            || self.immutables.len() < MAX_IMMUTABLES
    }

    /// Makes room for such a batch in the active memtable, however large it is: none is frozen while
    /// it is applied then. Only with more range deletes than a memtable takes it may still be.
    /// Returns whether a memtable was frozen for it.
    pub(crate) fn freeze_for(&mut self, entries: usize, bytes: usize) -> bool {
        if self.active.has_room_for(entries, bytes) {
            return false;
        }
        self.replace_active(Memtable::with_room(self.memtable_bytes, entries, bytes))
    }

    /// Applies and stages a write. Returns its number, and whether a memtable was frozen for it.
    pub(crate) fn apply(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> (Seq, bool) {
        let freeze = self.freeze_if_full(key.len(), value.len());
        self.last_seq += 1;
        self.user_bytes += (key.len() + value.len()) as u64;
        self.active.insert(key, self.last_seq, kind, value);
        self.staged.push(|out| encode_write(out, kind, key, value));
        (self.last_seq, freeze)
    }

    /// Applies and stages all writes of a batch, in one memtable. Returns the last number, and
    /// whether a memtable was frozen for them.
    pub(crate) fn apply_batch(&mut self, batch: &Batch) -> (Seq, bool) {
        // One write needs no more room than it was admitted with, by itself.
        let mut froze = batch.len() > 1 && self.freeze_for(batch.len(), batch.size_bytes());
        for write in batch.writes() {
            froze |= match write.kind {
                Kind::DeleteRange => self.apply_range(write.key, write.value).1,
                kind => self.apply(kind, write.key, write.value).1,
            };
        }
        (self.last_seq, froze)
    }

    /// As [`Memory::apply`], for the deletion of the keys from `start` up to before `end`, up to the
    /// last if that is empty.
    pub(crate) fn apply_range(&mut self, start: &[u8], end: &[u8]) -> (Seq, bool) {
        let freeze = self.freeze_if_full(start.len(), end.len());
        self.last_seq += 1;
        let (start, end) = (start.to_vec(), end.to_vec());
        self.staged.push(|out| encode_write(out, Kind::DeleteRange, &start, &end));
        self.active.delete_range(RangeDelete { start, end, seq: self.last_seq });
        (self.last_seq, freeze)
    }

    /// Stages a record that does nothing but take a number, and returns that.
    pub(crate) fn apply_nothing(&mut self) -> Seq {
        self.last_seq += 1;
        self.active.skip(self.last_seq);
        self.staged.push(|out| encode_write(out, Kind::Nothing, b"", b""));
        self.last_seq
    }

    /// Starts a new active memtable though the old one is not full, and is not empty.
    pub(crate) fn freeze_at_rest(&mut self) {
        let is_garbage = 2 * self.active.live_bytes() < self.active.bytes() as u64;
        if is_planted(Bug::TakeGarbageForEmpty) && is_garbage {
            self.active = Memtable::new(self.memtable_bytes);
        }
        self.freeze_unless_empty();
    }

    /// Whether the active memtable holds garbage, for the first time that this is asked.
    pub(crate) fn has_news_of_garbage(&mut self) -> bool {
        let has_garbage = self.active.has_garbage();
        has_garbage && !std::mem::replace(&mut self.told_garbage, has_garbage)
    }

    fn freeze_if_full(&mut self, key_bytes: usize, value_bytes: usize) -> bool {
        let is_full = !self.active.has_room(key_bytes, value_bytes);
        if is_full {
            self.freeze();
        }
        is_full
    }

    /// Starts a new active memtable if the old one holds something to be flushed.
    pub(crate) fn freeze_unless_empty(&mut self) {
        if !self.active.is_empty() {
            self.freeze();
        }
    }

    /// Starts a new active memtable; the old one waits for its flush.
    pub(crate) fn freeze(&mut self) {
        self.replace_active(Memtable::new(self.memtable_bytes));
    }

    /// Starts `next`. The old memtable waits for its flush unless nothing is in it; returns whether
    /// it does.
    fn replace_active(&mut self, next: Memtable) -> bool {
        let old = std::mem::replace(&mut self.active, next);
        self.told_garbage = false;
        let is_frozen = !old.is_empty();
        if is_frozen {
            self.immutables.push_back(Arc::new(old));
        }
        is_frozen
    }
}

/// How far merges are behind, and what that means for writers.
pub(crate) struct Level0 {
    sublevels: usize,
    stop: usize,
    pacer: Pacer,
    /// Without threads a writer does the merging itself, and its time is not the clock's.
    is_paced: bool,
}

impl Level0 {
    fn new(options: &Options) -> Self {
        let stop = options.level0_stop();
        let pacer = Pacer::new(options.level0_tables, stop);
        let is_paced = options.scheduling == Scheduling::Threads;
        Level0 { sublevels: 0, stop, pacer, is_paced }
    }

    /// Level 0 has so many sublevels now.
    pub(crate) fn set_sublevels(&mut self, uptime: Duration, sublevels: usize) {
        self.sublevels = sublevels;
        self.pacer.set_sublevels(uptime, sublevels);
    }

    /// A merge took `bytes` out of level 0.
    pub(crate) fn merged(
        &mut self,
        uptime: Duration,
        bytes: u64,
        took: Duration,
        sublevels: usize,
    ) {
        self.sublevels = sublevels;
        self.pacer.merged(uptime, bytes, took, sublevels);
    }

    /// Whether writes wait for the next merge.
    pub(crate) fn is_full(&self) -> bool {
        self.sublevels >= self.stop
    }

    /// How long a write of `bytes` has to wait, if it has to.
    pub(crate) fn pace(&mut self, uptime: impl Fn() -> Duration, bytes: usize) -> Option<Duration> {
        if !self.is_paced {
            return None;
        }
        match self.pacer.admit(&uptime, bytes) {
            Pace::Go => None,
            Pace::WaitUntil(time) => Some(time.saturating_sub(uptime())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::Random;

    fn memory(last_seq: Seq, memtable_bytes: usize) -> Memory {
        let options = Options { memory_bytes: 6 * memtable_bytes, ..Options::default() };
        Memory::new(Version::empty(), last_seq, &options)
    }

    #[test]
    fn a_lookup_meets_the_newest_memtable_first() {
        let mut memory = Memory::new(
            Version::empty(),
            0,
            &Options { memory_bytes: 6 << 16, ..Options::default() },
        );
        for value in [b"1", b"2", b"3"] {
            memory.apply(Kind::Put, b"key", value);
            let found = memory.get(b"key", Seq::MAX);
            assert_eq!(found.map(|found| found.value), Some(&value[..]));
            memory.freeze();
            let found = memory.get(b"key", Seq::MAX);
            assert_eq!(found.map(|found| found.value), Some(&value[..]), "frozen");
        }
        let found = memory.get(b"key", 2);
        assert_eq!(found.map(|found| found.value), Some(&b"2"[..]), "within a snapshot");
    }

    /// What a list of operations says of `key`: the newest that is about it.
    fn naive<'a>(
        history: &'a [(Seq, Kind, Vec<u8>, Vec<u8>)],
        key: &[u8],
        snapshot: Seq,
    ) -> Option<Found<'a>> {
        let (seq, kind, _, value) = history.iter().rev().find(|(seq, kind, start, end)| {
            let range = RangeDelete { start: start.clone(), end: end.clone(), seq: *seq };
            let is_about =
                if *kind == Kind::DeleteRange { range.covers(key) } else { start == key };
            *seq <= snapshot && is_about
        })?;
        let value = if *kind == Kind::DeleteRange { b"" } else { &value[..] };
        Some(Found { seq: *seq, kind: *kind, value })
    }

    #[test]
    fn lookups_heed_range_deletes_as_a_list_would() {
        for seed in 1..200 {
            let mut random = Random(seed);
            let mut memory = memory(0, 1 << 12);
            let mut history = Vec::new();
            for _ in 0..random.below(80) {
                let (a, b) = (random.below(9) as u8, random.below(9) as u8);
                let (key, end) = (vec![a.min(b)], if b == 8 { vec![] } else { vec![a.max(b) + 1] });
                let (kind, value) = match random.below(6) {
                    0 => (Kind::DeleteRange, end),
                    1 => (Kind::Delete, Vec::new()),
                    2 => (Kind::Nothing, Vec::new()),
                    3 | 4 => (Kind::Put, vec![b; 9]),
                    _ => {
                        memory.freeze();
                        continue;
                    }
                };
                let seq = match kind {
                    Kind::DeleteRange => memory.apply_range(&key, &value).0,
                    Kind::Nothing => memory.apply_nothing(),
                    _ => memory.apply(kind, &key, &value).0,
                };
                if kind != Kind::Nothing {
                    history.push((seq, kind, key, value));
                }
            }
            for (key, snapshot) in (0..10).flat_map(|key| (0..90).map(move |seq| ([key], seq))) {
                let expected = naive(&history, &key, snapshot);
                assert_eq!(memory.get(&key, snapshot), expected, "seed {seed}, {key:?}");
            }
            assert_eq!(memory.staged.is_empty(), memory.last_seq == 0);
        }
    }

    #[test]
    fn a_batch_larger_than_a_memtable_goes_into_one_as_a_whole() {
        let mut memory = memory(0, 1 << 12);
        let batch = |memory: &mut Memory, entries: u64, value_bytes: usize| {
            let froze = memory.freeze_for(entries as usize, entries as usize * (8 + value_bytes));
            let waiting = memory.immutables.len();
            for number in 0..entries {
                assert!(!memory.apply(Kind::Put, &number.to_be_bytes(), &vec![1; value_bytes]).1);
            }
            assert_eq!(memory.immutables.len(), waiting);
            froze
        };
        assert!(!batch(&mut memory, 5_000, 10), "an empty memtable is replaced, not frozen");
        assert_eq!(memory.active.entry_count(), 5_000);
        assert!(batch(&mut memory, 3, 1 << 20), "it is full");
        assert!(batch(&mut memory, 10, 10), "a large one is not taken for empty");
        assert!(!batch(&mut memory, 10, 10), "what fits goes where it is");
        assert!(!memory.has_room_for(1, 1 << 20) && memory.has_room_for(1, 100));
        assert_eq!(memory.immutables.len(), MAX_IMMUTABLES);
    }

    #[test]
    fn a_batch_of_one_goes_where_it_was_admitted_to() {
        for value_bytes in 0..2_100 {
            let mut memory = memory(0, 1 << 12);
            memory.apply(Kind::Put, b"first", &[1; 2_000]);
            let mut batch = Batch::new();
            batch.put(b"second", &vec![2; value_bytes]);
            if memory.active.has_room(batch.size_bytes(), 0) {
                assert!(!memory.apply_batch(&batch).1, "{value_bytes} bytes");
            }
        }
    }

    #[test]
    fn a_batch_is_applied_to_one_memtable() {
        let mut memory = memory(0, 1 << 12);
        memory.apply(Kind::Put, b"before", b"");
        let mut batch = Batch::new();
        for number in 0..500_u32 {
            batch.put(&number.to_be_bytes(), &[1; 100]).delete_range(..b"before");
        }
        assert_eq!(memory.apply_batch(&batch), (1_001, true));
        assert_eq!(memory.immutables.len(), 1);
        assert_eq!(memory.active.entry_count(), batch.len());
    }

    #[test]
    fn nothing_and_range_deletes_are_something_to_flush() {
        let mut memory = memory(7, 1 << 12);
        memory.freeze();
        assert!(memory.immutables.is_empty());
        assert_eq!(memory.apply_nothing(), 8);
        memory.freeze();
        assert_eq!(memory.apply_range(b"a", b""), (9, false));
        memory.freeze();
        let last: Vec<Seq> = memory.immutables.iter().map(|memtable| memtable.last_seq()).collect();
        assert_eq!(last, [8, 9]);
    }
}
