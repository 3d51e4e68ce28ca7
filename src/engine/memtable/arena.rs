//! Where a memtable's versions stand: chunks of records that never move.
//!
//! A record is a header (tag, previous version, lengths), the key, the value and padding. A 32-bit
//! reference to one is the number of its chunk and the offset in it. Records of a chunk follow each
//! other in the order of their sequence numbers; those of different chunks need not, for one that
//! is too large for the chunk in use gets a chunk of its own while that goes on being filled.

use super::chunk::{Chunk, Filled};
use crate::engine::hardware::prefetch;
use crate::engine::key::{Kind, Seq};

/// Size of a chunk; a larger record gets a chunk of its own.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// Fixed part of a record: tag (sequence << 8 | kind), previous version, key and value lengths.
const HEADER_BYTES: usize = 20;
/// Records start at multiples of this, so that a 32-bit reference spans 32 GiB.
const ALIGN: usize = 8;
/// Bits of a reference that hold the offset within a chunk, in units of `ALIGN`.
pub(super) const OFFSET_BITS: u32 = (CHUNK_BYTES / ALIGN).trailing_zeros();
/// No record has this reference: the first chunk starts with padding.
pub(super) const NONE: u32 = 0;
/// A chunk that holds at least so much may be given up for a new one: see [`Arena::seal`].
const SEAL_BYTES: usize = CHUNK_BYTES / 8;
/// The least that the first chunk holds.
const MIN_CHUNK_BYTES: usize = 1024;

/// Records in chunks.
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    /// The newest number in each.
    newest: Vec<Seq>,
    /// How many chunks may still be sealed: each leaves memory unused.
    seals_left: usize,
    /// The chunk that takes the next record of ordinary size.
    tail: usize,
    /// Size of a chunk: less than `CHUNK_BYTES` in a small memtable.
    chunk_bytes: usize,
}

/// A decoded record.
pub(super) struct Record<'a> {
    /// The sequence number.
    pub(super) seq: Seq,
    kind: u8,
    /// The reference of the version before it of the same key.
    pub(super) previous: u32,
    /// The key.
    pub(super) key: &'a [u8],
    /// The value as it is stored.
    pub(super) value: &'a [u8],
}

impl Arena {
    /// An empty arena for about `limit_bytes` of records.
    pub(super) fn new(limit_bytes: usize) -> Self {
        let mut first = Chunk::with_capacity(CHUNK_BYTES.min(limit_bytes.max(MIN_CHUNK_BYTES)));
        first.append(&[0; ALIGN]);
        Arena {
            chunks: vec![first],
            newest: vec![0],
            seals_left: limit_bytes / CHUNK_BYTES,
            tail: 0,
            chunk_bytes: CHUNK_BYTES.min(limit_bytes),
        }
    }

    /// Appends a record and returns its reference. `previous` is that of the version before it.
    pub(super) fn append(
        &mut self,
        key: &[u8],
        seq: Seq,
        kind: Kind,
        value: &[u8],
        previous: u32,
    ) -> u32 {
        let need = record_bytes(key.len(), value.len());
        let number = self.chunk_for(need);
        self.newest[number] = seq;
        let chunk = &mut self.chunks[number];
        let offset = chunk.filled().len();
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&(seq << 8 | u64::from(kind as u8)).to_le_bytes());
        header[8..12].copy_from_slice(&previous.to_le_bytes());
        header[12..16].copy_from_slice(&(key.len() as u32).to_le_bytes());
        header[16..].copy_from_slice(&(value.len() as u32).to_le_bytes());
        chunk.append(&header);
        chunk.append(key);
        chunk.append(value);
        chunk.append(&[0; ALIGN][..need - HEADER_BYTES - key.len() - value.len()]);
        (number as u32) << OFFSET_BITS | (offset / ALIGN) as u32
    }

    /// The number of a chunk with `need` free bytes, a new one where none has them.
    fn chunk_for(&mut self, need: usize) -> usize {
        let tail = &self.chunks[self.tail];
        if tail.filled().len() + need <= tail.capacity().min(CHUNK_BYTES) {
            return self.tail;
        }
        let number = self.add_chunk(need);
        if need <= CHUNK_BYTES {
            self.tail = number;
        }
        number
    }

    fn add_chunk(&mut self, need: usize) -> usize {
        self.chunks.push(Chunk::with_capacity(need.max(self.chunk_bytes)));
        self.newest.push(0);
        self.chunks.len() - 1
    }

    /// Has further records go to another chunk than those that are there, if these are many: so that
    /// a scan can pass what is older than some write, chunk by chunk.
    pub(super) fn seal(&mut self) {
        let is_worth_it = self.chunks[self.tail].filled().len() >= SEAL_BYTES;
        if is_worth_it && self.seals_left > 0 {
            self.seals_left -= 1;
            self.tail = self.add_chunk(0);
        }
    }

    /// The record at `reference`, which must come from this arena.
    #[inline]
    pub(super) fn record(&self, reference: u32) -> Record<'_> {
        let (number, offset) = place(reference);
        record_at(self.chunks[number].filled(), offset)
    }

    /// Starts loading the record at `reference`, if there is one.
    pub(super) fn prefetch(&self, reference: u32) {
        let (number, offset) = place(reference);
        if let Some(start) = self.chunks.get(number).and_then(|chunk| chunk.filled().get(offset)) {
            prefetch(start);
        }
    }

    /// What the chunks hold at this moment with the newest number in each, and the place of the one
    /// that may take more.
    pub(super) fn filled(&self) -> (Vec<Filled>, Vec<Seq>, usize) {
        let chunks = self.chunks.iter().map(|chunk| chunk.filled().clone());
        (chunks.collect(), self.newest.clone(), self.tail)
    }
}

impl Record<'_> {
    /// What the version says.
    pub(super) fn kind(&self) -> Kind {
        match self.kind {
            1 => Kind::Put,
            3 => Kind::Expiring,
            _ => Kind::Delete,
        }
    }
}

/// The chunk and the offset in it that a reference stands for.
fn place(reference: u32) -> (usize, usize) {
    let (number, position) = (reference >> OFFSET_BITS, reference & ((1 << OFFSET_BITS) - 1));
    (number as usize, offset(position))
}

/// The offset of the record at a position: what a reference says of the place within the chunk.
pub(super) fn offset(position: u32) -> usize {
    position as usize * ALIGN
}

/// The offset of the first record in a chunk.
pub(super) fn first_offset(number: usize) -> usize {
    if number == 0 { ALIGN } else { 0 }
}

/// The positions of the records of a chunk from `offset` on, at which one must start.
pub(super) fn positions(chunk: &[u8], mut offset: usize) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let start = (offset < chunk.len()).then_some(offset)?;
        let record = record_at(chunk, start);
        offset += record_bytes(record.key.len(), record.value.len());
        Some((start / ALIGN) as u32)
    })
}

/// Decodes the record at `offset` of a chunk.
#[inline]
pub(super) fn record_at(chunk: &[u8], offset: usize) -> Record<'_> {
    let (header, rest) = chunk[offset..].split_at(HEADER_BYTES);
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let tag = u64::from(word(0)) | u64::from(word(4)) << 32;
    let (key, rest) = rest.split_at(word(12) as usize);
    let value = &rest[..word(16) as usize];
    Record { seq: tag >> 8, kind: tag as u8, previous: word(8), key, value }
}

/// Bytes that a record takes.
pub(super) fn record_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    (HEADER_BYTES + key_bytes + value_bytes).next_multiple_of(ALIGN)
}

/// The most bytes that `count` records take whose keys and values add up to `bytes`.
pub(super) fn most_record_bytes(count: usize, bytes: usize) -> usize {
    bytes.saturating_add(count.saturating_mul(HEADER_BYTES + ALIGN - 1))
}
