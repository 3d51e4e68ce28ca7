//! Blocks of sorted entries: data blocks and both levels of the index have this one layout.
//!
//! An entry leaves out the bytes that its key shares with the key before; every sixteenth leaves
//! out none, and its offset is listed at the block's end, so that a search can begin there. Reading
//! checks every length; what does not fit is told, not guessed. There are three ways to read: a
//! [`BlockCursor`] walks, puts keys together again and checks their order as well; a
//! [`BackwardCursor`] does so from the end; [`Block::find`] searches for one key, and compares it
//! with entries as they stand, copying nothing.

mod backward;

pub(super) use self::backward::BackwardCursor;

use std::cmp::Ordering;
use std::ops::Range;

use super::format::Decoded;
use crate::engine::cache::Weigh;
use crate::engine::coding::{Reader, get_u32, get_varint, put_varint};
use crate::engine::iter::Entry;
use crate::engine::key::{Kind, Seq, compare_entries};

/// Entries from one restart point to the next.
const RESTART_INTERVAL: usize = 16;

/// The most bytes of an entry besides its key and value: four varints and the kind.
const MAX_ENTRY_OVERHEAD_BYTES: usize = 41;

/// Builds blocks one after another, reusing its buffers.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last_key: Vec<u8>,
    last_seq: Seq,
}

impl BlockBuilder {
    /// Appends an entry, which must come after the last one.
    pub(super) fn add(&mut self, entry: Entry<'_>) {
        let shared = if self.entries.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.bytes.len() as u32);
            0
        } else {
            shared_prefix(&self.last_key, entry.key)
        };
        let (_, suffix) = entry.key.split_at(shared);
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, suffix.len() as u64);
        put_varint(&mut self.bytes, entry.value.len() as u64);
        self.bytes.push(entry.kind as u8);
        put_varint(&mut self.bytes, entry.seq);
        self.bytes.extend_from_slice(suffix);
        self.bytes.extend_from_slice(entry.value);
        self.entries += 1;
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(suffix);
        self.last_seq = entry.seq;
    }

    /// The last entry's key and sequence number, also after [`BlockBuilder::finish`].
    pub(super) fn last(&self) -> (&[u8], Seq) {
        (&self.last_key, self.last_seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The block's size so far, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    /// Whether the block would stay within `limit` bytes with this entry.
    pub(super) fn has_room(&self, entry: Entry<'_>, limit: usize) -> bool {
        let entry_bytes = entry.key.len() + entry.value.len() + MAX_ENTRY_OVERHEAD_BYTES;
        self.size() + entry_bytes <= limit
    }

    /// Returns the block and starts the next.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        self.bytes.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.restarts.clear();
        self.entries = 0;
        std::mem::take(&mut self.bytes)
    }
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A block in memory, its checksum verified.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where the entries end and the restart points begin.
    entries_end: usize,
    restarts: usize,
    /// The block's offset in its file, for errors.
    pub(super) offset: u64,
}

impl Block {
    /// Takes the bytes of the block at `offset`, without its trailer.
    pub(super) fn new(bytes: Vec<u8>, offset: u64) -> Decoded<Self> {
        const MISFIT: &str = "the block's restart points do not fit it";
        let count_at = bytes.len().checked_sub(4).ok_or(MISFIT)?;
        let restarts = get_u32(&bytes, count_at).ok_or(MISFIT)? as usize;
        let listed = restarts.checked_mul(4).ok_or(MISFIT)?;
        let entries_end = count_at.checked_sub(listed).ok_or(MISFIT)?;
        let block = Block { bytes, entries_end, restarts, offset };
        let mut last = None;
        for restart in (0..restarts).map(|at| block.restart(at)) {
            if restart >= entries_end || last.map_or(restart != 0, |last| last >= restart) {
                return Err(MISFIT);
            }
            last = Some(restart);
        }
        if last.is_none() { Err(MISFIT) } else { Ok(block) }
    }

    /// A block without entries, to start from; no file holds one.
    pub(super) fn empty() -> Self {
        Block { bytes: Vec::new(), entries_end: 0, restarts: 0, offset: 0 }
    }

    /// The bytes at `range`, which came from an entry of this block.
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The offset of the restart point of this number, which is less than their count.
    fn restart(&self, at: usize) -> usize {
        get_u32(&self.bytes, self.entries_end + 4 * at)
            .map_or(self.entries_end, |restart| restart as usize)
    }

    fn parse(&self, at: usize) -> Decoded<Parsed<'_>> {
        let bytes = self.bytes.get(..self.entries_end).ok_or(CUT_OFF)?;
        parse_entry(bytes, at).ok_or(CUT_OFF)
    }

    /// The first entry that does not come before `target`.
    pub(super) fn find(&self, target: (&[u8], Seq)) -> Decoded<Option<Found>> {
        let mut at = self.restart(self.restart_before(target)?);
        let mut passed = Passed::default();
        while at < self.entries_end {
            let entry = self.parse(at)?;
            if !passed.pass(&entry, target)? {
                let kind = entry.kind()?;
                let is_key = passed.matched == target.0.len() && passed.len == target.0.len();
                return Ok(Some(Found { is_key, seq: entry.seq, kind, value: entry.value }));
            }
            at = entry.value.end;
        }
        Ok(None)
    }

    /// The number of the last restart point whose entry comes before `target`, or 0.
    fn restart_before(&self, target: (&[u8], Seq)) -> Decoded<usize> {
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low.midpoint(high);
            let entry = self.parse(self.restart(middle))?;
            if entry.shared != 0 {
                return Err(NOT_A_START);
            }
            match compare_entries((entry.suffix, entry.seq), target) {
                Ordering::Less => low = middle,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

impl Weigh for Block {
    fn weight_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>() + CACHED_OVERHEAD_BYTES
    }
}

/// Bytes that a cached block takes besides itself: counts of its `Arc`, its place in the cache.
const CACHED_OVERHEAD_BYTES: usize = 80;

const CUT_OFF: &str = "an entry is cut off";
const NOT_A_START: &str = "a restart point is not the start of a key";
const SHARES_TOO_MUCH: &str = "a key shares more bytes than there are";
const UNKNOWN_KIND: &str = "an entry is of an unknown kind";
const OUT_OF_ORDER: &str = "entries are out of order";

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Whether it is the key that was looked for.
    pub(super) is_key: bool,
    pub(super) seq: Seq,
    pub(super) kind: Kind,
    /// Where its value stands in the block.
    pub(super) value: Range<usize>,
}

/// What a search knows about the entry that it passed last, without having its key: how long the
/// key is, and how many of its first bytes are the target's.
#[derive(Default)]
struct Passed {
    len: usize,
    matched: usize,
}

impl Passed {
    /// Whether the next entry comes before the target as well.
    #[inline]
    fn pass(&mut self, entry: &Parsed<'_>, (key, seq): (&[u8], Seq)) -> Decoded<bool> {
        if entry.shared > self.len {
            return Err(SHARES_TOO_MUCH);
        }
        self.len = entry.shared + entry.suffix.len();
        // It has the byte in which the last one differed: it comes before the target like that.
        if entry.shared > self.matched {
            return Ok(true);
        }
        // All that is shared is the target's too: what follows it decides.
        let rest = key.get(entry.shared..).unwrap_or_default();
        let same = shared_prefix(entry.suffix, rest);
        self.matched = entry.shared + same;
        Ok(match (entry.suffix.get(same), rest.get(same)) {
            (Some(here), Some(there)) => here < there,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => entry.seq > seq,
        })
    }
}

/// An entry as it stands in a block.
struct Parsed<'a> {
    shared: usize,
    suffix: &'a [u8],
    seq: Seq,
    kind: u8,
    value: Range<usize>,
}

impl Parsed<'_> {
    fn kind(&self) -> Decoded<Kind> {
        Kind::from_byte(self.kind)
            .filter(|kind| kind.fits_table(self.value.len()))
            .ok_or(UNKNOWN_KIND)
    }
}

/// Reads the entry at `at` of a block's entries.
#[inline]
fn parse_entry(entries: &[u8], at: usize) -> Option<Parsed<'_>> {
    let bytes = entries.get(at..)?;
    let (shared, unshared, value_len, kind, lengths_len) = match bytes {
        // Most lengths take one byte.
        [shared, unshared, value, kind, ..] if (shared | unshared | value) < 0x80 => {
            (usize::from(*shared), usize::from(*unshared), usize::from(*value), *kind, 4)
        }
        _ => parse_lengths(bytes)?,
    };
    let (seq, seq_len) = get_varint(bytes.get(lengths_len..)?)?;
    let suffix_at = at + lengths_len + seq_len;
    let value_at = suffix_at.checked_add(unshared)?;
    let value = value_at..value_at.checked_add(value_len)?;
    let suffix = entries.get(suffix_at..value_at)?;
    (value.end <= entries.len()).then_some(Parsed { shared, suffix, seq, kind, value })
}

/// The three lengths at an entry's start, the kind, and the bytes that they take.
#[cold]
fn parse_lengths(bytes: &[u8]) -> Option<(usize, usize, usize, u8, usize)> {
    let mut reader = Reader::new(bytes);
    let (shared, unshared) = (reader.varint_len()?, reader.varint_len()?);
    let (value, kind) = (reader.varint_len()?, reader.u8()?);
    Some((shared, unshared, value, kind, reader.position()))
}

/// A place in a block. It does not hold the block, so that it can go on from one to the next and
/// check the order across the border.
#[derive(Debug)]
pub(super) struct BlockCursor {
    next: usize,
    /// Whether `key` and `seq` are those of the entry before the next.
    has_last: bool,
    key: Vec<u8>,
    seq: Seq,
    kind: Kind,
    value: Range<usize>,
}

impl BlockCursor {
    /// A place before the first entry of a first block.
    pub(super) fn new() -> Self {
        BlockCursor {
            next: 0,
            has_last: false,
            key: Vec::new(),
            seq: 0,
            kind: Kind::Put,
            value: 0..0,
        }
    }

    /// Goes before the first entry of the block that follows the current one in the file.
    pub(super) fn enter_next_block(&mut self) {
        self.next = 0;
    }

    /// Moves to the first entry of `block` that does not come before `target`, wherever it was; false
    /// if there is none.
    pub(super) fn seek(&mut self, block: &Block, target: (&[u8], Seq)) -> Decoded<bool> {
        self.next = block.restart(block.restart_before(target)?);
        self.has_last = false;
        self.key.clear();
        while self.advance(block)? {
            if compare_entries(self.position(), target).is_ge() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves to the next entry; false at the block's end.
    pub(super) fn advance(&mut self, block: &Block) -> Decoded<bool> {
        if self.next == block.entries_end {
            return Ok(false);
        }
        let entry = block.parse(self.next)?;
        let kind = entry.kind()?;
        let Some((shared, rest)) = self.key.split_at_checked(entry.shared) else {
            return Err(SHARES_TOO_MUCH);
        };
        if self.next == 0 && !shared.is_empty() {
            return Err("a block's first key is cut off");
        }
        // Both keys begin with the shared bytes: what follows them decides.
        let last = (rest, self.seq);
        if self.has_last && compare_entries(last, (entry.suffix, entry.seq)) != Ordering::Less {
            return Err(OUT_OF_ORDER);
        }
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(entry.suffix);
        (self.has_last, self.seq, self.kind) = (true, entry.seq, kind);
        self.next = entry.value.end;
        self.value = entry.value;
        Ok(true)
    }

    /// The current entry's key and sequence number, kept at a block's end; before everything, the
    /// empty key and 0.
    pub(super) fn position(&self) -> (&[u8], Seq) {
        (&self.key, self.seq)
    }

    /// The current entry of `block`.
    pub(super) fn entry<'a>(&'a self, block: &'a Block) -> Entry<'a> {
        let value = block.slice(self.value.clone());
        Entry { key: &self.key, seq: self.seq, kind: self.kind, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::{Owned, Random, borrowed, owned};

    fn entries(count: usize) -> Vec<Owned> {
        let mut all: Vec<Owned> = (0..count)
            .map(|i| {
                let kind = if i % 5 == 4 { Kind::Delete } else { Kind::Put };
                let key = format!("key/{:04}", i / 3).into_bytes();
                (key, 1_000 - i as u64, kind, vec![i as u8; i % 40])
            })
            .collect();
        all.sort_by(|a, b| compare_entries((&a.0, a.1), (&b.0, b.1)));
        all
    }

    fn block(entries: &[Owned]) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for entry in entries {
            builder.add(borrowed(entry));
        }
        let size = builder.size();
        let bytes = builder.finish();
        assert_eq!(bytes.len(), size);
        assert!(builder.is_empty());
        bytes
    }

    fn walk(bytes: Vec<u8>) -> Decoded<Vec<Owned>> {
        let block = Block::new(bytes, 0)?;
        let mut cursor = BlockCursor::new();
        let mut all = Vec::new();
        while cursor.advance(&block)? {
            all.push(owned(cursor.entry(&block)));
        }
        Ok(all)
    }

    #[test]
    fn a_block_returns_its_entries() {
        for count in [1, 2, 15, 16, 17, 100] {
            assert_eq!(walk(block(&entries(count))).unwrap(), entries(count), "{count} entries");
        }
    }

    #[test]
    fn a_search_finds_the_first_entry_not_before_its_target() {
        let entries = entries(100);
        let block = Block::new(block(&entries), 0).unwrap();
        for key in (0..36).flat_map(|i| [format!("key/{i:04}"), format!("key/{i:04}+")]) {
            for seq in [0, 900, 910, 950, 999, 1_000, u64::MAX] {
                let target = (key.as_bytes(), seq);
                let expected = entries
                    .iter()
                    .find(|entry| compare_entries((&entry.0, entry.1), target).is_ge());
                assert_found(&block, target, expected);
            }
        }
    }

    fn assert_found(block: &Block, target: (&[u8], Seq), expected: Option<&Owned>) {
        let found = block.find(target).unwrap();
        let shown = found.map(|f| (f.is_key, f.seq, f.kind, block.slice(f.value).to_vec()));
        let expected =
            expected.map(|(key, seq, kind, value)| (key == target.0, *seq, *kind, value.clone()));
        assert_eq!(shown, expected, "{} at {}", target.0.escape_ascii(), target.1);
    }

    /// Keys of few different bytes share prefixes in all ways, and are prefixes of each other.
    #[test]
    fn a_search_agrees_with_the_model_on_keys_that_share_much() {
        for seed in 1..60 {
            let mut random = Random(seed);
            let mut random_key = |longest| -> Vec<u8> {
                (0..random.below(longest))
                    .map(|_| [0, b'a', 0xff][random.below(3) as usize])
                    .collect()
            };
            let long = [0, 150][seed as usize % 2];
            let mut all: Vec<Owned> = (1..=60)
                .map(|seq| {
                    let key = [vec![7; long], random_key(7)].concat();
                    (key, seq, Kind::Put, vec![seq as u8; seq as usize * 3])
                })
                .collect();
            all.sort_by(|a, b| compare_entries((&a.0, a.1), (&b.0, b.1)));
            let block = Block::new(block(&all), 0).unwrap();
            for _ in 0..300 {
                let key = [vec![7; long], random_key(8)].concat();
                for seq in [0, 20, 40, Seq::MAX] {
                    let expected =
                        all.iter().find(|e| compare_entries((&e.0, e.1), (&key, seq)).is_ge());
                    assert_found(&block, (&key, seq), expected);
                }
            }
        }
    }

    #[test]
    fn damage_of_any_byte_is_an_error_or_some_answer_but_no_panic() {
        let bytes = block(&entries(40));
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x10] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = walk(damaged.clone());
                if let Ok(block) = Block::new(damaged, 0) {
                    let _ = block.find((b"key/0007", 950));
                }
            }
            let _ = walk(bytes[..at].to_vec());
        }
    }

    #[test]
    fn disorder_is_told_within_and_across_blocks() {
        let mut swapped = entries(40);
        swapped.swap(20, 21);
        assert_eq!(walk(block(&swapped)), Err("entries are out of order"));
        let doubled = [entries(3)[0].clone(), entries(3)[0].clone()];
        assert_eq!(walk(block(&doubled)), Err("entries are out of order"));
        let block = Block::new(block(&entries(3)), 0).unwrap();
        let mut cursor = BlockCursor::new();
        while cursor.advance(&block).unwrap() {}
        cursor.enter_next_block();
        assert_eq!(cursor.advance(&block), Err("entries are out of order"));
    }
}
