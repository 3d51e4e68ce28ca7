//! The memtable: recent writes in memory, an append-only arena behind a keyed hash index.
//!
//! Records are appended to fixed-size chunks and never move; the index maps a key to its newest
//! record, and each links to the version before it. Order is made when it is needed (flush, scan),
//! not on each insert: a lookup or insert costs about two cache misses, where a tree or skip list
//! costs ten. The index never rehashes: a memtable is full when its arena or its index is, and is
//! then replaced. The hash is keyed, so that chosen keys cannot make lookups slow.
//!
//! Range deletes stand beside the arena. They are few: one that covers what others cover costs as
//! much as all of those, so a memtable that has many counts as full.
//!
//! Sequence numbers must come in ascending order; the version chain and each chunk's order rely on
//! it. Scans go through a [`MemtableView`], which neither waits for a writer nor keeps one waiting.

mod arena;
mod chunk;
mod order;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use self::view::{MemtableScan, MemtableView};

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use self::arena::{Arena, CHUNK_BYTES, NONE, OFFSET_BITS, Record};
use self::arena::{most_record_bytes, record_bytes};
use self::order::{Order, sorted};
use super::error::Result;
use super::hardware::{prefetch, use_huge_pages};
use super::iter::{Entry, EntryIter};
use super::key::{Kind, Seq};
use super::ranges::{RangeDelete, RangeDeletes};

/// Arena bytes per index slot: half-full with entries of twice this size.
const BYTES_PER_SLOT: usize = 64;
/// Slots that are looked at for an estimate; what is garbage is spread evenly over them.
const LIVE_SAMPLE_SLOTS: usize = 1 << 10;
/// The smallest index.
const MIN_SLOTS: usize = 64;
/// Range deletes with which a memtable is full. Nested ones take room by their square: a million
/// numbers are the most.
const MAX_RANGE_DELETES: usize = 1024;
/// The largest memtable: a chunk is at least half full on average, so references reach twice as far.
pub(crate) const MAX_MEMTABLE_BYTES: usize =
    CHUNK_BYTES.saturating_mul(1 << (32 - OFFSET_BITS)) / 4;

/// Recent writes, newest version first per key.
pub(crate) struct Memtable {
    arena: Arena,
    /// Slots of hash (upper half) and reference (lower half); 0 is empty.
    index: Vec<u64>,
    hasher: RandomState,
    /// Shared with scans; copied on a write only while one holds it.
    ranges: Arc<RangeDeletes>,
    range_count: usize,
    order: Arc<Order>,
    keys: usize,
    versions: usize,
    tombstones: usize,
    bytes: usize,
    limit_bytes: usize,
    last_seq: Seq,
}

/// What a memtable says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// The version's sequence number, or the range delete's.
    pub(crate) seq: Seq,
    /// What it says.
    pub(crate) kind: Kind,
    /// The value as it is stored; empty for a tombstone or a range delete.
    pub(crate) value: &'a [u8],
}

impl Memtable {
    /// An empty memtable that is full at about `limit_bytes` of arena.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self::with_room(limit_bytes, 0, 0)
    }

    /// An empty memtable that is full at about `limit_bytes`, but takes at least a batch of so many
    /// entries, whose keys and values add up to `bytes`: see [`Memtable::has_room_for`].
    pub(crate) fn with_room(limit_bytes: usize, entries: usize, bytes: usize) -> Self {
        let limit_bytes = limit_bytes.max(most_record_bytes(entries, bytes));
        let slots = (limit_bytes / BYTES_PER_SLOT).max(2 * entries).max(MIN_SLOTS);
        let mut index = vec![0; slots.next_power_of_two()];
        use_huge_pages(&mut index);
        Memtable {
            arena: Arena::new(limit_bytes),
            index,
            hasher: RandomState::new(),
            ranges: Arc::default(),
            range_count: 0,
            order: Arc::default(),
            keys: 0,
            versions: 0,
            tombstones: 0,
            bytes: 0,
            limit_bytes,
            last_seq: 0,
        }
    }

    /// Whether an entry of this size still fits. An empty memtable takes one of any size.
    pub(crate) fn has_room(&self, key_bytes: usize, value_bytes: usize) -> bool {
        self.entry_count() == 0 || self.holds(1, record_bytes(key_bytes, value_bytes))
    }

    /// Whether a whole batch fits: so many entries, whose keys and values add up to `bytes`. Then each
    /// of them does, in any order. One that does not fit an empty memtable needs one made for it.
    pub(crate) fn has_room_for(&self, entries: usize, bytes: usize) -> bool {
        self.holds(entries, most_record_bytes(entries, bytes))
    }

    fn holds(&self, entries: usize, record_bytes: usize) -> bool {
        self.bytes.saturating_add(record_bytes) <= self.limit_bytes
            && self.keys.saturating_add(entries) <= self.index.len() / 2
            && self.range_count < MAX_RANGE_DELETES
    }

    /// Appends a version. `seq` must be greater than every one before.
    pub(crate) fn insert(&mut self, key: &[u8], seq: Seq, kind: Kind, value: &[u8]) {
        self.skip(seq);
        let hash = self.hasher.hash_one(key);
        let slot = self.find_slot(key, hash);
        let previous = self.index[slot] as u32;
        let reference = self.arena.append(key, seq, kind, value, previous);
        self.index[slot] = (hash & !u64::from(u32::MAX)) | u64::from(reference);
        self.keys += usize::from(previous == NONE);
        self.versions += 1;
        self.tombstones += usize::from(kind == Kind::Delete);
        self.bytes += record_bytes(key.len(), value.len());
    }

    /// Adds a range delete, with a number greater than every one before.
    pub(crate) fn delete_range(&mut self, range: RangeDelete) {
        self.skip(range.seq);
        self.bytes += record_bytes(range.start.len(), range.end.len());
        self.range_count += 1;
        self.arena.seal();
        Arc::make_mut(&mut self.ranges).insert(range);
    }

    /// Takes note of a sequence number that says nothing of any key, so that a flush covers it.
    pub(crate) fn skip(&mut self, seq: Seq) {
        debug_assert!(seq > self.last_seq, "sequence {seq} after {}", self.last_seq);
        self.last_seq = seq;
    }

    /// The newest that is said of `key` and is not newer than `snapshot`: by a version of its own or
    /// by a range delete.
    pub(crate) fn get(&self, key: &[u8], snapshot: Seq) -> Option<Found<'_>> {
        if self.is_empty() {
            return None;
        }
        let slot = self.find_slot(key, self.hasher.hash_one(key));
        let found = self
            .versions(self.index[slot] as u32)
            .find(|version| version.seq <= snapshot)
            .map(|version| Found { seq: version.seq, kind: version.kind(), value: version.value });
        if self.range_count == 0 { found } else { self.newest(found, key, snapshot) }
    }

    /// The newer of `found` and the range deletes that cover `key`.
    fn newest<'a>(&self, found: Option<Found<'a>>, key: &[u8], snapshot: Seq) -> Option<Found<'a>> {
        let seq = self.ranges.covering(key, snapshot);
        if seq > found.as_ref().map_or(0, |found| found.seq) {
            return Some(Found { seq, kind: Kind::DeleteRange, value: b"" });
        }
        found
    }

    /// Starts loading the index slot of `key`; returns its hash for [`Memtable::prefetch_entry`].
    pub(crate) fn prefetch(&self, key: &[u8]) -> u64 {
        let hash = self.hasher.hash_one(key);
        prefetch(&self.index[hash as usize & (self.index.len() - 1)]);
        hash
    }

    /// Starts loading the record that the index slot of a key with this hash refers to.
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        let content = self.index[hash as usize & (self.index.len() - 1)];
        if content != 0 {
            self.arena.prefetch(content as u32);
        }
    }

    /// Tombstones held, those of keys that were written again included.
    pub(crate) fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// Whether it holds something that hides something else.
    pub(crate) fn has_garbage(&self) -> bool {
        self.range_count > 0 || self.tombstones > 0 || self.versions > self.keys
    }

    /// About how many bytes of it a reader of now can see, from a look at some keys. 0 if it is none.
    pub(crate) fn live_bytes(&self) -> u64 {
        let step = (self.index.len() / LIVE_SAMPLE_SLOTS).max(1);
        let used = self.index.iter().step_by(step).filter(|slot| **slot != 0);
        let (mut seen, mut live) = (0, 0);
        for slot in used {
            let newest = self.arena.record(*slot as u32);
            let is_live = newest.kind() != Kind::Delete
                && self.ranges.covering(newest.key, Seq::MAX) < newest.seq;
            (seen, live) = (seen + 1, live + u64::from(is_live));
        }
        // Of each key one version at most is live.
        let bytes = self.bytes as u64 * self.keys as u64 / (self.versions as u64).max(1);
        bytes * live / u64::max(seen, 1)
    }

    /// Versions held, tombstones and overwritten ones included, and range deletes.
    pub(crate) fn entry_count(&self) -> usize {
        self.versions + self.range_count
    }

    /// Whether no sequence number came here: what a flush would be for.
    pub(crate) fn is_empty(&self) -> bool {
        self.last_seq == 0
    }

    /// Bytes of records and range deletes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that it takes, in bytes: the index is there as a whole once anything is.
    pub(crate) fn memory_bytes(&self) -> usize {
        if self.is_empty() { 0 } else { self.bytes + size_of_val(self.index.as_slice()) }
    }

    /// The last sequence number that came here.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The range deletes; clone the `Arc` to keep them as they are.
    pub(crate) fn ranges(&self) -> &Arc<RangeDeletes> {
        &self.ranges
    }

    /// What it holds at this moment, to be scanned while it takes more.
    pub(crate) fn view(&self) -> MemtableView {
        let (chunks, newest, tail) = self.arena.filled();
        let (order, ranges) = (Arc::clone(&self.order), Arc::clone(&self.ranges));
        MemtableView { chunks, newest, tail, order, ranges }
    }

    /// All versions in entry order.
    pub(crate) fn sorted(self: &Arc<Self>) -> MemtableIter {
        let used = self.index.iter().filter(|slot| **slot != 0);
        let newest = used.map(|slot| *slot as u32).collect();
        let order = sorted(newest, |reference| self.arena.record(reference).key);
        MemtableIter { order, memtable: Arc::clone(self), at: 0, entry: NONE }
    }

    /// The slot that holds `key`, or the empty one where it belongs. The index is at most half
    /// full, so linear probing ends.
    fn find_slot(&self, key: &[u8], hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let content = self.index[slot];
            let same_hash = (content ^ hash) >> 32 == 0;
            if content == 0 || (same_hash && self.arena.record(content as u32).key == key) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The version at `reference` and those before it, newest first.
    fn versions(&self, reference: u32) -> impl Iterator<Item = Record<'_>> {
        let first = (reference != NONE).then(|| self.arena.record(reference));
        std::iter::successors(first, |version| {
            (version.previous != NONE).then(|| self.arena.record(version.previous))
        })
    }
}

/// Walks a memtable in entry order; made by [`Memtable::sorted`].
pub(crate) struct MemtableIter {
    memtable: Arc<Memtable>,
    /// References to the newest version of each key, in key order.
    order: Vec<u32>,
    /// The next key's place in `order`.
    at: usize,
    /// The current entry.
    entry: u32,
}

impl EntryIter for MemtableIter {
    fn advance(&mut self) -> Result<bool> {
        let arena = &self.memtable.arena;
        let older = if self.entry == NONE { NONE } else { arena.record(self.entry).previous };
        if older != NONE {
            self.entry = older;
            return Ok(true);
        }
        let Some(&next) = self.order.get(self.at) else { return Ok(false) };
        self.entry = next;
        self.at += 1;
        Ok(true)
    }

    fn entry(&self) -> Entry<'_> {
        let record = self.memtable.arena.record(self.entry);
        Entry { key: record.key, seq: record.seq, kind: record.kind(), value: record.value }
    }
}
