//! The memtable: recent writes in memory, an append-only arena behind a keyed hash index.
//!
//! Entries are appended to fixed-size chunks and never move; the index maps a key to its newest
//! entry, and each entry links to the version before it. Order is made when it is needed (flush),
//! not on each insert: a lookup or insert costs about two cache misses, where a tree or skip list
//! costs ten. The index never rehashes: a memtable is full when its arena or its index is, and is
//! then replaced. The hash is keyed, so that chosen keys cannot make lookups slow.
//!
//! Sequence numbers must be inserted in ascending order; the version chain relies on it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::error::Result;
use super::hardware::{prefetch, use_huge_pages};
use super::iter::{Entry, EntryIter};
use super::key::{Kind, Seq};

/// Size of an arena chunk; a larger entry gets a chunk of its own.
const CHUNK_BYTES: usize = 4 << 20;
/// Fixed part of an entry: tag (sequence << 8 | kind), previous version, key and value lengths.
const HEADER_BYTES: usize = 20;
/// Entries start at multiples of this, so that a 32-bit reference spans 32 GiB.
const ALIGN: usize = 8;
/// Bits of a reference that hold the offset within a chunk, in units of `ALIGN`.
const OFFSET_BITS: u32 = (CHUNK_BYTES / ALIGN).trailing_zeros();
/// Arena bytes per index slot: half-full with entries of twice this size.
const BYTES_PER_SLOT: usize = 64;
/// The largest memtable: a chunk is at least half full on average, so references reach twice as far.
pub(crate) const MAX_MEMTABLE_BYTES: usize =
    CHUNK_BYTES.saturating_mul(1 << (32 - OFFSET_BITS)) / 4;
/// No entry has this reference: the first chunk starts with padding.
const NONE: u32 = 0;

/// Recent writes, newest version first per key.
pub(crate) struct Memtable {
    chunks: Vec<Vec<u8>>,
    /// The chunk that takes the next entry of ordinary size.
    tail: usize,
    /// Slots of hash (upper half) and reference (lower half); 0 is empty.
    index: Vec<u64>,
    hasher: RandomState,
    keys: usize,
    entries: usize,
    bytes: usize,
    limit_bytes: usize,
    last_seq: Seq,
}

/// A version of a key as the memtable holds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// The version's sequence number.
    pub(crate) seq: Seq,
    /// What it says.
    pub(crate) kind: Kind,
    /// The value as it is stored; empty for a tombstone.
    pub(crate) value: &'a [u8],
}

impl Memtable {
    /// An empty memtable that is full at about `limit_bytes` of arena.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let slots = (limit_bytes / BYTES_PER_SLOT).next_power_of_two().max(64);
        let mut index = vec![0; slots];
        use_huge_pages(&mut index);
        Memtable {
            chunks: vec![first_chunk(limit_bytes)],
            tail: 0,
            index,
            hasher: RandomState::new(),
            keys: 0,
            entries: 0,
            bytes: 0,
            limit_bytes,
            last_seq: 0,
        }
    }

    /// Whether an entry of this size still fits. An empty memtable takes one of any size.
    pub(crate) fn has_room(&self, key_bytes: usize, value_bytes: usize) -> bool {
        let need = entry_bytes(key_bytes, value_bytes);
        self.entries == 0
            || (self.bytes + need <= self.limit_bytes && self.keys < self.index.len() / 2)
    }

    /// Appends a version. `seq` must be greater than every one before.
    pub(crate) fn insert(&mut self, key: &[u8], seq: Seq, kind: Kind, value: &[u8]) {
        debug_assert!(seq > self.last_seq, "sequence {seq} after {}", self.last_seq);
        let hash = self.hasher.hash_one(key);
        let slot = self.find_slot(key, hash);
        let previous = self.index[slot] as u32;
        let reference = self.append(key, seq, kind, value, previous);
        self.index[slot] = (hash & !u64::from(u32::MAX)) | u64::from(reference);
        self.keys += usize::from(previous == NONE);
        self.entries += 1;
        self.last_seq = seq;
    }

    /// The newest version of `key` that is not newer than `snapshot`.
    pub(crate) fn get(&self, key: &[u8], snapshot: Seq) -> Option<Found<'_>> {
        let slot = self.find_slot(key, self.hasher.hash_one(key));
        self.versions(self.index[slot] as u32)
            .find(|version| version.seq <= snapshot)
            .map(|version| Found { seq: version.seq, kind: version.kind(), value: version.value })
    }

    /// Starts loading the index slot of `key`; returns its hash for [`Memtable::prefetch_entry`].
    pub(crate) fn prefetch(&self, key: &[u8]) -> u64 {
        let hash = self.hasher.hash_one(key);
        prefetch(&self.index[hash as usize & (self.index.len() - 1)]);
        hash
    }

    /// Starts loading the entry that the index slot of a key with this hash refers to.
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        let content = self.index[hash as usize & (self.index.len() - 1)];
        let (number, offset) = place(content as u32);
        if content != 0
            && let Some(start) = self.chunks.get(number).and_then(|chunk| chunk.get(offset))
        {
            prefetch(start);
        }
    }

    /// Versions held, tombstones and overwritten ones included.
    pub(crate) fn entry_count(&self) -> usize {
        self.entries
    }

    /// Whether nothing was inserted.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Arena bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sequence number of the last insert.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// All versions in entry order.
    pub(crate) fn sorted(self: &Arc<Self>) -> MemtableIter {
        MemtableIter { order: self.sorted_keys(), memtable: Arc::clone(self), at: 0, entry: NONE }
    }

    /// References to the newest version of each key, in key order. Keys are compared by eight bytes
    /// behind the prefix that all share, and in full only where those tie.
    fn sorted_keys(&self) -> Vec<u32> {
        let references = || self.index.iter().filter(|slot| **slot != 0).map(|slot| *slot as u32);
        let Some(first) = references().next() else { return Vec::new() };
        let first = self.view(first).key;
        let shared = references().fold(first.len(), |shared, reference| {
            common_prefix(&first[..shared], self.view(reference).key)
        });
        let mut order: Vec<(u64, u32)> = references()
            .map(|reference| (eight_bytes(&self.view(reference).key[shared..]), reference))
            .collect();
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| self.view(a.1).key.cmp(self.view(b.1).key))
        });
        order.into_iter().map(|(_, reference)| reference).collect()
    }

    /// The slot that holds `key`, or the empty one where it belongs. The index is at most half
    /// full, so linear probing ends.
    fn find_slot(&self, key: &[u8], hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let content = self.index[slot];
            let same_hash = (content ^ hash) >> 32 == 0;
            if content == 0 || (same_hash && self.view(content as u32).key == key) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Appends an entry to the arena and returns its reference.
    fn append(&mut self, key: &[u8], seq: Seq, kind: Kind, value: &[u8], previous: u32) -> u32 {
        let need = entry_bytes(key.len(), value.len());
        let number = self.chunk_for(need);
        let chunk = &mut self.chunks[number];
        let offset = chunk.len();
        chunk.extend_from_slice(&(seq << 8 | u64::from(kind as u8)).to_le_bytes());
        chunk.extend_from_slice(&previous.to_le_bytes());
        chunk.extend_from_slice(&(key.len() as u32).to_le_bytes());
        chunk.extend_from_slice(&(value.len() as u32).to_le_bytes());
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value);
        chunk.resize(offset + need, 0);
        self.bytes += need;
        (number as u32) << OFFSET_BITS | (offset / ALIGN) as u32
    }

    /// The number of a chunk with `need` free bytes, a new one where none has them.
    fn chunk_for(&mut self, need: usize) -> usize {
        let tail = &self.chunks[self.tail];
        if tail.len() + need <= tail.capacity().min(CHUNK_BYTES) {
            return self.tail;
        }
        self.chunks.push(new_chunk(need.max(CHUNK_BYTES.min(self.limit_bytes))));
        let number = self.chunks.len() - 1;
        if need <= CHUNK_BYTES {
            self.tail = number;
        }
        number
    }

    /// Decodes the entry at `reference`, which must come from this memtable.
    fn view(&self, reference: u32) -> View<'_> {
        let (number, offset) = place(reference);
        let (header, rest) = self.chunks[number][offset..].split_at(HEADER_BYTES);
        let word = |at: usize| u32_at(header, at);
        let tag = u64::from(word(0)) | u64::from(word(4)) << 32;
        let (key, rest) = rest.split_at(word(12) as usize);
        View { tag, seq: tag >> 8, previous: word(8), key, value: &rest[..word(16) as usize] }
    }

    /// The version at `reference` and those before it, newest first.
    fn versions(&self, reference: u32) -> impl Iterator<Item = View<'_>> {
        let first = (reference != NONE).then(|| self.view(reference));
        std::iter::successors(first, |version| {
            (version.previous != NONE).then(|| self.view(version.previous))
        })
    }
}

/// The chunk and the offset in it that a reference stands for.
fn place(reference: u32) -> (usize, usize) {
    let offset = reference & ((1 << OFFSET_BITS) - 1);
    ((reference >> OFFSET_BITS) as usize, offset as usize * ALIGN)
}

/// A decoded entry.
struct View<'a> {
    tag: u64,
    seq: Seq,
    previous: u32,
    key: &'a [u8],
    value: &'a [u8],
}

impl View<'_> {
    fn kind(&self) -> Kind {
        match self.tag as u8 {
            1 => Kind::Put,
            3 => Kind::Expiring,
            _ => Kind::Delete,
        }
    }
}

/// The first chunk, no larger than a small memtable needs, with padding so that no reference is 0.
fn first_chunk(limit_bytes: usize) -> Vec<u8> {
    let mut chunk = new_chunk(CHUNK_BYTES.min(limit_bytes.max(1024)));
    chunk.resize(ALIGN, 0);
    chunk
}

fn new_chunk(bytes: usize) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(bytes);
    use_huge_pages(&mut chunk);
    chunk
}

fn entry_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    (HEADER_BYTES + key_bytes + value_bytes).next_multiple_of(ALIGN)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// The first eight bytes as a number that orders as they do; shorter keys are padded with zeros.
fn eight_bytes(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(word)
}

/// Walks a memtable in entry order; made by [`Memtable::sorted`].
pub(crate) struct MemtableIter {
    memtable: Arc<Memtable>,
    order: Vec<u32>,
    /// The next key's place in `order`.
    at: usize,
    /// The current entry.
    entry: u32,
}

impl EntryIter for MemtableIter {
    fn advance(&mut self) -> Result<bool> {
        let older = if self.entry == NONE { NONE } else { self.memtable.view(self.entry).previous };
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
        let view = self.memtable.view(self.entry);
        Entry { key: view.key, seq: view.seq, kind: view.kind(), value: view.value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn found(seq: Seq, value: Option<&[u8]>) -> Found<'_> {
        let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
        Found { seq, kind, value: value.unwrap_or_default() }
    }

    #[test]
    fn a_lookup_sees_the_newest_version_within_its_snapshot() {
        let mut table = Memtable::new(1 << 20);
        table.insert(b"k", 1, Kind::Put, b"one");
        table.insert(b"k", 2, Kind::Delete, b"");
        table.insert(b"k", 5, Kind::Put, b"");
        assert_eq!(table.get(b"k", 0), None);
        assert_eq!(table.get(b"k", 1), Some(found(1, Some(b"one"))));
        assert_eq!(table.get(b"k", 4), Some(found(2, None)));
        assert_eq!(table.get(b"k", Seq::MAX), Some(found(5, Some(b""))));
        assert_eq!(table.get(b"other", Seq::MAX), None);
        assert_eq!(table.last_seq(), 5);
    }

    #[test]
    fn it_is_full_when_its_arena_or_its_index_is() {
        let mut by_index = Memtable::new(64 * 64);
        let mut seq = 0;
        while by_index.has_room(2, 0) {
            seq += 1;
            by_index.insert(&(seq as u16).to_be_bytes(), seq, Kind::Put, b"");
        }
        assert_eq!(by_index.keys, 32);

        let mut by_arena = Memtable::new(4096);
        let big = vec![7; 1 << 20];
        by_arena.insert(b"big", 1, Kind::Put, &big);
        assert!(!by_arena.has_room(1, 1));
        assert_eq!(by_arena.get(b"big", 1), Some(found(1, Some(&big))));
    }

    #[test]
    fn the_sorted_walk_is_the_model_in_order() {
        let mut state = 42_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut table = Memtable::new(8 << 20);
        let mut model: BTreeMap<(Vec<u8>, std::cmp::Reverse<Seq>), Vec<u8>> = BTreeMap::new();
        for seq in 1..=5_000 {
            let mut key = b"shared prefix ".to_vec();
            key.extend(std::iter::repeat_n(b'x', random(12) as usize));
            key.extend_from_slice(&random(300).to_be_bytes()[6..]);
            let value = vec![seq as u8; random(3_000) as usize * (random(50) / 49) as usize];
            let kind = if random(4) == 0 { Kind::Delete } else { Kind::Put };
            table.insert(&key, seq, kind, &value);
            model.insert((key, std::cmp::Reverse(seq)), value);
        }
        let mut walk = Arc::new(table).sorted();
        for ((key, seq), value) in &model {
            assert!(walk.advance().unwrap());
            let entry = walk.entry();
            assert_eq!((entry.key, entry.seq, entry.value), (&key[..], seq.0, &value[..]));
        }
        assert!(!walk.advance().unwrap());
    }
}
