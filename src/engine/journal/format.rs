//! The bytes of a journal: one header block, then groups on block boundaries.
//!
//! Each checksum is seeded with the file's id and the record's offset, so that a block that the
//! device put in the wrong place, or one left from the file's earlier use, does not pass. All
//! numbers are little-endian. `docs/format.md` shows the layout with examples.

use crate::engine::coding::{get_u32, get_u64};
use crate::engine::key::Seq;
use crate::planted::{Bug, is_planted};

/// Groups start on multiples of this: tearing one must not touch the sectors of another.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Length of a group's header.
pub(crate) const GROUP_HEADER_BYTES: usize = 72;
/// The newest format that this build reads, and the one that it writes.
pub(crate) const VERSION: u32 = 1;

/// How every journal begins.
pub(crate) const FILE_MAGIC: &[u8; 8] = b"CHRNSJNL";
const FILE_HEADER_BYTES: usize = 72;
const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"CGRP");

/// What a journal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A segment of the write-ahead log.
    Wal = 1,
    /// A manifest.
    Manifest = 2,
}

/// The first block of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// What the journal is for.
    pub(crate) purpose: Purpose,
    /// The number in the file's name. Another one means that the file was recycled and not used.
    pub(crate) id: u64,
    /// A random number that all groups of this use of the file carry.
    pub(crate) epoch: u64,
    /// The number of its first group; numbers go on across segments.
    pub(crate) first_group: u64,
    /// The sequence number of the first write behind the header.
    pub(crate) first_seq: Seq,
    /// The journal that this one continues, 0 if none.
    pub(crate) previous_id: u64,
    /// Where the groups of that one end, in bytes.
    pub(crate) previous_end: u64,
    /// The header checksum of that one's last group (0 if it has none).
    pub(crate) previous_crc: u32,
    /// How many blocks the file has had from the beginning: a shorter one was cut. 0 in files of
    /// earlier builds, which do not say.
    pub(crate) blocks: u32,
}

/// What a header block holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderBlock {
    /// A whole header.
    Valid(Header),
    /// A header of a later format.
    UnknownVersion(u32),
    /// Nothing that was ever written as a header.
    Blank,
    /// Neither of these: torn or damaged.
    Invalid,
}

impl Header {
    /// The header as a block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(FILE_MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&(self.purpose as u32).to_le_bytes());
        for number in [
            self.id,
            self.epoch,
            self.first_group,
            self.first_seq,
            self.previous_id,
            self.previous_end,
        ] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&self.previous_crc.to_le_bytes());
        block.extend_from_slice(&self.blocks.to_le_bytes());
        block.extend_from_slice(&crc32c::crc32c(&block).to_le_bytes());
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Reads a header block.
    pub(crate) fn decode(bytes: &[u8]) -> HeaderBlock {
        if bytes.iter().take(BLOCK_BYTES).all(|byte| *byte == 0) {
            return HeaderBlock::Blank;
        }
        Self::decode_fields(bytes).unwrap_or(HeaderBlock::Invalid)
    }

    fn decode_fields(bytes: &[u8]) -> Option<HeaderBlock> {
        let checked = bytes.get(..FILE_HEADER_BYTES)?;
        let whole = get_u32(bytes, FILE_HEADER_BYTES)? == crc32c::crc32c(checked);
        if !checked.starts_with(FILE_MAGIC) || !whole {
            return None;
        }
        let version = get_u32(bytes, 8)?;
        if version != VERSION {
            return Some(HeaderBlock::UnknownVersion(version));
        }
        let purpose = match get_u32(bytes, 12)? {
            1 => Purpose::Wal,
            2 => Purpose::Manifest,
            _ => return None,
        };
        Some(HeaderBlock::Valid(Header {
            purpose,
            id: get_u64(bytes, 16)?,
            epoch: get_u64(bytes, 24)?,
            first_group: get_u64(bytes, 32)?,
            first_seq: get_u64(bytes, 40)?,
            previous_id: get_u64(bytes, 48)?,
            previous_end: get_u64(bytes, 56)?,
            previous_crc: get_u32(bytes, 64)?,
            blocks: get_u32(bytes, 68)?,
        }))
    }

    /// The bytes that the file has at least.
    pub(crate) fn file_bytes(&self) -> u64 {
        bytes_of(self.blocks)
    }
}

/// The bytes of so many blocks.
pub(crate) fn bytes_of(blocks: u32) -> u64 {
    u64::from(blocks) * BLOCK_BYTES as u64
}

/// A file's length in whole blocks.
pub(crate) fn blocks_in(bytes: usize) -> u32 {
    (bytes / BLOCK_BYTES) as u32
}

/// What a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKind {
    /// Writes, or manifest edits.
    Data = 1,
    /// Nothing: its presence proves that the group before it had been synced.
    Seal = 2,
    /// The last of its file; the payload is the id of the file that goes on.
    End = 3,
}

/// The header of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// What the group is.
    pub(crate) kind: GroupKind,
    /// The file's epoch.
    pub(crate) epoch: u64,
    /// The group's number.
    pub(crate) group: u64,
    /// The sequence number of its first write.
    pub(crate) first_seq: Seq,
    /// The last group that was known to be synced when this one was written.
    pub(crate) synced_group: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    /// How many writes it holds.
    pub(crate) count: u32,
    /// Length of the payload in bytes.
    pub(crate) length: u32,
    /// The header checksum of the group before it.
    pub(crate) previous_crc: u32,
    /// Checksum of the payload.
    pub(crate) payload_crc: u32,
}

impl GroupHeader {
    /// The header's bytes and their checksum, for the group at `offset` of file `id`.
    pub(crate) fn encode(&self, id: u64, offset: u64) -> ([u8; GROUP_HEADER_BYTES], u32) {
        let mut bytes = [0; GROUP_HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &GROUP_MAGIC.to_le_bytes());
        put(4, &(self.kind as u32).to_le_bytes());
        put(8, &self.epoch.to_le_bytes());
        put(16, &self.group.to_le_bytes());
        put(24, &self.first_seq.to_le_bytes());
        put(32, &self.synced_group.to_le_bytes());
        put(40, &self.time_ms.to_le_bytes());
        put(48, &self.count.to_le_bytes());
        put(52, &self.length.to_le_bytes());
        put(56, &self.previous_crc.to_le_bytes());
        put(60, &self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(seed(id, offset), &bytes[..68]);
        bytes[68..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads the header at `offset` of file `id`, with its checksum; `None` if it is not whole.
    pub(crate) fn decode(bytes: &[u8], id: u64, offset: u64) -> Option<(Self, u32)> {
        if get_u32(bytes, 0)? != GROUP_MAGIC {
            return None;
        }
        let crc = crc32c::crc32c_append(seed(id, offset), bytes.get(..68)?);
        if get_u32(bytes, 68)? != crc {
            return None;
        }
        let kind = match get_u32(bytes, 4)? {
            1 => GroupKind::Data,
            2 => GroupKind::Seal,
            3 => GroupKind::End,
            _ => return None,
        };
        let header = GroupHeader {
            kind,
            epoch: get_u64(bytes, 8)?,
            group: get_u64(bytes, 16)?,
            first_seq: get_u64(bytes, 24)?,
            synced_group: get_u64(bytes, 32)?,
            time_ms: get_u64(bytes, 40)?,
            count: get_u32(bytes, 48)?,
            length: get_u32(bytes, 52)?,
            previous_crc: get_u32(bytes, 56)?,
            payload_crc: get_u32(bytes, 60)?,
        };
        Some((header, crc))
    }

    /// The number of the group whose header these bytes say to be, in a file of this epoch; whether
    /// they are whole is left open.
    pub(crate) fn claims(bytes: &[u8], epoch: u64) -> Option<u64> {
        let is_claim = get_u32(bytes, 0)? == GROUP_MAGIC && get_u64(bytes, 8)? == epoch;
        is_claim.then(|| get_u64(bytes, 16)).flatten()
    }

    /// Whether bytes that are no whole header were yet meant to be this group's. Three fields are
    /// looked at, so that no single damaged one hides a group that had been begun.
    pub(crate) fn looks_begun(bytes: &[u8], epoch: u64, group: u64, previous_crc: u32) -> bool {
        get_u64(bytes, 8) == Some(epoch)
            || (get_u32(bytes, 0) == Some(GROUP_MAGIC)
                && (get_u64(bytes, 16) == Some(group) || get_u32(bytes, 56) == Some(previous_crc)))
    }
}

/// Checksum of a payload of the group at `offset` of file `id`.
pub(crate) fn payload_crc(id: u64, epoch: u64, offset: u64, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed(id, offset), &epoch.to_le_bytes()), payload)
}

/// Binds a checksum to a place: the same bytes elsewhere do not pass.
fn seed(id: u64, offset: u64) -> u32 {
    let id = if is_planted(Bug::ReuseEpoch) { 0 } else { id };
    crc32c::crc32c_append(crc32c::crc32c(&id.to_le_bytes()), &offset.to_le_bytes())
}

/// Bytes on disk of a group with a payload of this length.
pub(crate) fn group_bytes(payload_bytes: usize) -> usize {
    (GROUP_HEADER_BYTES + payload_bytes).next_multiple_of(BLOCK_BYTES)
}
