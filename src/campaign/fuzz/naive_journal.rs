//! Journals and log records by `docs/format.md`, written for clarity only: a writer of groups that
//! can lie about everything but their checksums, and a reader.

use crate::engine::internals::{JournalHistory, LogRecord};

const BLOCK: usize = 4096;
const GROUP_HEADER: usize = 72;

/// The head of a journal.
pub(super) struct Forged {
    pub(super) id: u64,
    pub(super) is_manifest: bool,
    pub(super) epoch: u64,
    pub(super) first_group: u64,
    pub(super) first_seq: u64,
}

impl Forged {
    pub(super) fn new(id: u64, is_manifest: bool) -> Self {
        Forged { id, is_manifest, epoch: 0x5eed_5eed, first_group: 1, first_seq: 1 }
    }

    /// The header block.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = b"CHRNSJNL".to_vec();
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(if self.is_manifest { 2_u32 } else { 1 }.to_le_bytes());
        for number in [self.id, self.epoch, self.first_group, self.first_seq, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 8]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(BLOCK, 0);
        bytes
    }
}

/// A group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) kind: u32,
    pub(super) epoch: u64,
    pub(super) number: u64,
    pub(super) first_seq: u64,
    pub(super) synced: u64,
    pub(super) count: u32,
    pub(super) previous_crc: u32,
    pub(super) payload: Vec<u8>,
}

impl Group {
    /// The first of a journal.
    pub(super) fn first(forged: &Forged) -> Self {
        Group {
            kind: 1,
            epoch: forged.epoch,
            number: forged.first_group,
            first_seq: forged.first_seq,
            synced: 0,
            count: 0,
            previous_crc: 0,
            payload: Vec::new(),
        }
    }

    /// The one that follows this one, whose checksum is given.
    pub(super) fn successor(&self, crc: u32) -> Self {
        Group {
            number: self.number.wrapping_add(1),
            first_seq: self.first_seq.wrapping_add(u64::from(self.count)),
            previous_crc: crc,
            count: 0,
            payload: Vec::new(),
            ..*self
        }
    }

    /// Writes it at the end of journal `id`, which is a block's; the checksum of its header.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>, id: u64) -> u32 {
        let offset = bytes.len() as u64;
        let mut header = b"CGRP".to_vec();
        header.extend(self.kind.to_le_bytes());
        for number in [self.epoch, self.number, self.first_seq, self.synced, 0] {
            header.extend(number.to_le_bytes());
        }
        header.extend(self.count.to_le_bytes());
        header.extend((self.payload.len() as u32).to_le_bytes());
        header.extend(self.previous_crc.to_le_bytes());
        header.extend(payload_crc(id, offset, self.epoch, &self.payload).to_le_bytes());
        header.extend([0; 4]);
        let crc = header_crc(id, offset, &header);
        header.extend(crc.to_le_bytes());
        bytes.extend(header);
        bytes.extend(&self.payload);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        crc
    }
}

fn header_crc(id: u64, offset: u64, header: &[u8]) -> u32 {
    crc32c::crc32c(&[&id.to_le_bytes()[..], &offset.to_le_bytes(), header].concat())
}

fn payload_crc(id: u64, offset: u64, epoch: u64, payload: &[u8]) -> u32 {
    let place = [id.to_le_bytes(), offset.to_le_bytes(), epoch.to_le_bytes()].concat();
    crc32c::crc32c(&[&place, payload].concat())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The header of a group, if there is a whole one: the group without its payload, the payload's
/// length and checksum, the header's checksum.
fn group_header(bytes: &[u8], at: usize, id: u64) -> Option<(Group, usize, u32, u32)> {
    displaced_header(bytes, at, at, id)
}

/// The same for one that stands at one place and was written for another.
fn displaced_header(
    bytes: &[u8],
    at: usize,
    belongs_at: usize,
    id: u64,
) -> Option<(Group, usize, u32, u32)> {
    let header = bytes.get(at..at + GROUP_HEADER)?;
    let crc = u32_at(header, 68)?;
    let kind = u32_at(header, 4)?;
    if !header.starts_with(b"CGRP")
        || crc != header_crc(id, belongs_at as u64, &header[..68])
        || !(1..=3).contains(&kind)
    {
        return None;
    }
    let group = Group {
        kind,
        epoch: u64_at(header, 8)?,
        number: u64_at(header, 16)?,
        first_seq: u64_at(header, 24)?,
        synced: u64_at(header, 32)?,
        count: u32_at(header, 48)?,
        previous_crc: u32_at(header, 56)?,
        payload: Vec::new(),
    };
    Some((group, u32_at(header, 52)? as usize, u32_at(header, 60)?, crc))
}

/// The group at a place, if all of it is there, and its header's checksum.
fn whole_group(bytes: &[u8], at: usize, id: u64, epoch: u64) -> Option<(Group, u32)> {
    let (mut group, len, payload_is, crc) = group_header(bytes, at, id)?;
    let payload = bytes.get(at + GROUP_HEADER..at + GROUP_HEADER + len)?;
    if group.epoch != epoch || payload_is != payload_crc(id, at as u64, epoch, payload) {
        return None;
    }
    group.payload = payload.to_vec();
    Some((group, crc))
}

/// Reads journal `id`; `None` if it was never used, an error if it is damaged or of a later format.
pub(super) fn read(
    bytes: &[u8],
    id: u64,
    is_manifest: bool,
) -> Result<Option<JournalHistory>, &'static str> {
    let is_whole = bytes.len() >= 76
        && bytes.starts_with(b"CHRNSJNL")
        && u32_at(bytes, 72) == Some(crc32c::crc32c(&bytes[..72]));
    if is_whole && u32_at(bytes, 8) != Some(1) {
        return Err("of a later format");
    }
    let purpose = if is_manifest { 2 } else { 1 };
    let fits = u32_at(bytes, 12) == Some(purpose) && u64_at(bytes, 16) == Some(id);
    if !is_whole || !fits {
        let mut places = (BLOCK..bytes.len()).step_by(BLOCK);
        let was_used = places.any(|at| group_header(bytes, at, id).is_some());
        return if was_used { Err("the header is damaged") } else { Ok(None) };
    }
    let number = |at| u64_at(bytes, at).unwrap_or(0);
    let (epoch, mut next_group, mut next_seq) = (number(24), number(32), number(40));
    if next_group == 0 || next_group >= 1 << 63 || next_seq >= 1 << 63 {
        return Err("a number that was never given out");
    }
    let mut crc = u32_at(bytes, 64).unwrap_or(0);
    let mut history =
        JournalHistory { groups: Vec::new(), end: 0, is_torn: false, successor: None };
    let mut at = BLOCK;
    while history.successor.is_none() {
        let Some((group, group_crc)) = whole_group(bytes, at, id, epoch) else {
            for later in (at + BLOCK..bytes.len()).step_by(BLOCK) {
                if let Some((group, ..)) = group_header(bytes, later, id)
                    && group.epoch == epoch
                    && group.synced >= next_group
                {
                    return Err("a synced group is damaged");
                }
            }
            for stands_at in (at..bytes.len()).step_by(512) {
                for belongs_at in (BLOCK..bytes.len()).step_by(BLOCK) {
                    if let Some((group, ..)) = displaced_header(bytes, stands_at, belongs_at, id)
                        && stands_at != belongs_at
                        && group.epoch == epoch
                        && group.number >= next_group
                    {
                        return Err("a group stands in the wrong place");
                    }
                }
            }
            history.is_torn = looks_begun(bytes, at, epoch, next_group, crc);
            break;
        };
        if group.number != next_group || group.first_seq != next_seq || group.previous_crc != crc {
            return Err("the group does not follow");
        }
        if next_group == (1 << 63) - 1 || next_seq >= 1 << 63 {
            return Err("a number that was never given out");
        }
        next_group += 1;
        next_seq += u64::from(group.count);
        crc = group_crc;
        at = (at + GROUP_HEADER + group.payload.len()).next_multiple_of(BLOCK);
        match group.kind {
            1 => history.groups.push((group.first_seq, group.count, group.payload)),
            2 => {}
            _ => history.successor = Some(u64_at(&group.payload, 0).ok_or("no successor")?),
        }
    }
    history.end = at as u64;
    Ok(Some(history))
}

/// Whether a group had been begun at a place: its epoch, or the magic and its number or chain.
fn looks_begun(bytes: &[u8], at: usize, epoch: u64, number: u64, previous_crc: u32) -> bool {
    let Some(bytes) = bytes.get(at..) else { return false };
    u64_at(bytes, 8) == Some(epoch)
        || bytes.starts_with(b"CGRP")
            && (u64_at(bytes, 16) == Some(number) || u32_at(bytes, 56) == Some(previous_crc))
}

/// The records of a log group: kind, key, value; `None` if the payload is anything else.
pub(super) fn records(payload: &[u8], count: u32) -> Option<Vec<LogRecord>> {
    let mut rest = payload;
    let mut records = Vec::new();
    for _ in 0..count {
        let (&kind, behind) = rest.split_first()?;
        let (key_len, behind) = varint(behind)?;
        let (value_len, behind) = varint(behind)?;
        let (key_len, value_len) =
            (usize::try_from(key_len).ok()?, usize::try_from(value_len).ok()?);
        if key_len > 64 << 10 || value_len > (32 << 20) + 8 {
            return None;
        }
        let (key, behind) = behind.split_at_checked(key_len)?;
        let (value, behind) = behind.split_at_checked(value_len)?;
        // An expiring value begins with its time.
        if !(1..=5).contains(&kind) || kind == 3 && value_len < 8 {
            return None;
        }
        records.push((kind, key.to_vec(), value.to_vec()));
        rest = behind;
    }
    rest.is_empty().then_some(records)
}

/// A number in LEB128, in its shortest spelling, and what comes behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = 1 + bytes.iter().position(|byte| *byte < 0x80)?;
    let (spelt, rest) = bytes.split_at(len);
    if len > 10 || len > 1 && spelt[len - 1] == 0 {
        return None;
    }
    let value = spelt.iter().rev().fold(0_u128, |value, byte| value << 7 | u128::from(byte & 0x7f));
    Some((u64::try_from(value).ok()?, rest))
}
