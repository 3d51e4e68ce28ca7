//! The write-ahead log: a chain of preallocated segments, each overwritten and never grown.
//!
//! A sync of an overwritten file costs half of one of a growing file, which is why segments are
//! zero-filled ahead of use and recycled after it. Rules kept here: one group is in flight at a
//! time (in the synced mode the next is written only after the sync of the last returned); a
//! segment is ended and synced before the first group of the next; a segment's file is complete
//! and durable, name included, before it can be activated. After any error the log is dead: it is
//! never written or synced again, for what the device holds is unknown.

use std::sync::Arc;

use super::coding::{Reader, put_varint};
use super::error::{Error, Result};
use super::filename;
use super::journal::format::{BLOCK_BYTES, GROUP_HEADER_BYTES, blocks_in, group_bytes};
use super::journal::{GroupBuffer, GroupKind, Header, JournalWriter};
use super::key::{EXPIRY_BYTES, Kind, MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq};
use super::storage::{File, Storage};
use crate::planted::{Bug, is_planted};

/// Behind each group there is room for the end of the segment.
const END_BYTES: usize = BLOCK_BYTES;
/// What admission leaves free behind a group: its segment's end, and a seal that may be written
/// between the admission and the group.
const RESERVED_BYTES: usize = END_BYTES + BLOCK_BYTES;
/// Zeros are written in pieces of this size.
const ZERO_FILL_BYTES: usize = 1 << 20;

/// Encodes one write as a log record.
pub(crate) fn encode_write(out: &mut Vec<u8>, kind: Kind, key: &[u8], value: &[u8]) {
    out.push(kind as u8);
    put_varint(out, key.len() as u64);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// The most bytes that a record adds to its key and value.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 1 + 2 * 5;

/// One decoded log record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Write<'a> {
    /// What it does.
    pub(crate) kind: Kind,
    /// To which key.
    pub(crate) key: &'a [u8],
    /// The value, empty for a tombstone.
    pub(crate) value: &'a [u8],
}

/// Decodes a group's payload of `count` records; `None` if it is anything else.
pub(crate) fn decode_writes(payload: &[u8], count: u32) -> Option<Vec<Write<'_>>> {
    let mut reader = Reader::new(payload);
    let mut writes = Vec::with_capacity((count as usize).min(payload.len()));
    for _ in 0..count {
        let kind = Kind::from_byte(reader.u8()?)?;
        let key_bytes = reader.varint()? as usize;
        let value_bytes = reader.varint()? as usize;
        if key_bytes > MAX_KEY_BYTES || value_bytes > MAX_VALUE_BYTES + EXPIRY_BYTES {
            return None;
        }
        let (key, value) = (reader.slice(key_bytes)?, reader.slice(value_bytes)?);
        let is_for_memory = !matches!(kind, Kind::DeleteRange | Kind::Nothing);
        if is_for_memory && !kind.fits_table(value_bytes) {
            return None;
        }
        writes.push(Write { kind, key, value });
    }
    reader.is_empty().then_some(writes)
}

/// A segment that is ready for use and has not been used.
pub(crate) struct Spare {
    /// Its number.
    pub(crate) id: u64,
    /// The open file.
    pub(crate) file: Arc<dyn File>,
    /// Its length.
    pub(crate) bytes: usize,
}

/// Creates a segment: filled with zeros under a temporary name, then named, all durable.
pub(crate) fn create_segment(storage: &dyn Storage, id: u64, bytes: usize) -> Result<Spare> {
    let name = filename::wal(id);
    let temporary = filename::temporary(&name);
    let file = storage.create(&temporary).map_err(|e| Error::io("create", &temporary, e))?;
    let filled = zero_fill(file.as_ref(), bytes)
        .map_err(|e| Error::io("preallocate", &temporary, e))
        .and_then(|()| rename_durably(storage, &temporary, &name));
    if filled.is_err() {
        // Half a segment is of no use and holds room that the disk may lack.
        let _ = storage.remove(&temporary);
    }
    filled?;
    tracing::debug!(segment = id, bytes, "made a log segment");
    Ok(Spare { id, file, bytes })
}

fn zero_fill(file: &dyn File, bytes: usize) -> std::io::Result<()> {
    let zeros = vec![0; bytes.min(ZERO_FILL_BYTES)];
    for offset in (0..bytes).step_by(ZERO_FILL_BYTES) {
        let piece = zeros.len().min(bytes - offset);
        file.write_all_at(&zeros[..piece], offset as u64)?;
    }
    file.sync()
}

/// Opens a prepared or old segment for use, whatever its length.
pub(crate) fn open_segment(storage: &dyn Storage, id: u64) -> Result<Spare> {
    let name = filename::wal(id);
    let open = || -> std::io::Result<_> {
        let file = storage.open(&name)?;
        let bytes = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        Ok(Spare { id, file, bytes })
    };
    open().map_err(|e| Error::io("open", &name, e))
}

/// Removes a segment that is not part of the log.
pub(crate) fn remove_segment(storage: &dyn Storage, id: u64) -> Result<()> {
    let name = filename::wal(id);
    storage.remove(&name).map_err(|e| Error::io("remove", &name, e))?;
    tracing::debug!(segment = id, "removed a log segment");
    Ok(())
}

/// Gives a segment that is no longer needed a new number. Its old header does not fit the new name,
/// which marks it as unused.
pub(crate) fn recycle_segment(storage: &dyn Storage, old_id: u64, id: u64) -> Result<Spare> {
    rename_durably(storage, &filename::wal(old_id), &filename::wal(id))?;
    tracing::debug!(segment = id, old = old_id, "recycled a log segment");
    open_segment(storage, id)
}

fn rename_durably(storage: &dyn Storage, from: &str, to: &str) -> Result<()> {
    storage.rename(from, to).map_err(|e| Error::io("rename", from, e))?;
    storage.sync_dir().map_err(|e| Error::io("sync the directory of", to, e))
}

/// Starts a segment that continues nothing, or what `header` says.
pub(crate) fn start_segment(spare: Spare, header: &Header) -> Result<JournalWriter> {
    JournalWriter::start(spare.file, filename::wal(spare.id), header)
}

/// How far groups of given sizes fit into segments. Kept apart from the files, so that admission
/// can be decided without waiting for a write in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes left in the active segment, behind every group taken so far.
    active_bytes: usize,
}

impl Room {
    /// The room of a segment in which groups end at `offset`.
    pub(crate) fn new(segment_bytes: usize, offset: u64) -> Self {
        Room { active_bytes: segment_bytes.saturating_sub(offset as usize) }
    }

    /// The room of a fresh segment.
    pub(crate) fn fresh(segment_bytes: usize) -> Self {
        Room::new(segment_bytes, BLOCK_BYTES as u64)
    }

    /// The length of a segment in which a group with this payload can be admitted.
    pub(crate) fn segment_for(payload_bytes: usize) -> usize {
        BLOCK_BYTES + group_bytes(payload_bytes) + RESERVED_BYTES
    }

    /// The longest payload of a group that fits a fresh segment of `segment_bytes`.
    pub(crate) fn max_payload(segment_bytes: usize) -> usize {
        segment_bytes.saturating_sub(BLOCK_BYTES + RESERVED_BYTES + GROUP_HEADER_BYTES)
    }

    /// Whether a group with this payload fits the active segment.
    pub(crate) fn fits(self, payload_bytes: usize) -> bool {
        group_bytes(payload_bytes) + END_BYTES <= self.active_bytes
    }

    /// The longest payload that can be admitted to the active segment.
    pub(crate) fn max_fitting(self) -> usize {
        self.active_bytes.saturating_sub(RESERVED_BYTES + GROUP_HEADER_BYTES)
    }

    /// Whether an empty group, that is a seal, fits and leaves room for the end.
    pub(crate) fn fits_seal(self) -> bool {
        group_bytes(0) + END_BYTES <= self.active_bytes
    }

    /// Accounts for a group in the active segment.
    pub(crate) fn take(&mut self, payload_bytes: usize) {
        self.active_bytes -= group_bytes(payload_bytes);
    }

    /// What is left beside a group with this payload, if that fits at all.
    pub(crate) fn beside(self, payload_bytes: usize) -> Self {
        Room { active_bytes: self.active_bytes.saturating_sub(group_bytes(payload_bytes)) }
    }
}

/// The log's append side. Whoever holds it may write; nobody else touches the files.
pub(crate) struct Wal {
    journal: JournalWriter,
    id: u64,
    /// Length of the active segment.
    bytes: usize,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Groups written since the last seal.
    unsealed: bool,
    empty: GroupBuffer,
}

impl Wal {
    /// A log whose active segment `id`, of so many bytes, was just started.
    pub(crate) fn new(
        journal: JournalWriter,
        id: u64,
        bytes: usize,
        random: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Wal { journal, id, bytes, random, unsealed: false, empty: GroupBuffer::new() }
    }

    /// The active segment's length.
    pub(crate) fn segment_bytes(&self) -> usize {
        self.bytes
    }

    /// The active segment's number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Ends the active segment, syncs it, and goes on in `spare`.
    pub(crate) fn rotate(&mut self, spare: Spare, next_seq: Seq, time_ms: u64) -> Result<()> {
        let stated = if is_planted(Bug::StaleSegmentLength) { self.bytes } else { spare.bytes };
        let blocks = blocks_in(stated);
        let mut end = GroupBuffer::end(spare.id, blocks);
        self.journal.append(GroupKind::End, next_seq, time_ms, &mut end)?;
        if !is_planted(Bug::SkipSegmentSync) {
            self.journal.sync()?;
        }
        let epoch = if is_planted(Bug::ReuseEpoch) { 0 } else { (self.random)() };
        let header = self.journal.successor(spare.id, epoch, next_seq, blocks);
        (self.id, self.bytes) = (spare.id, spare.bytes);
        self.journal = start_segment(spare, &header)?;
        Ok(())
    }

    /// Writes a group; it is durable after [`Wal::sync`].
    pub(crate) fn append(
        &mut self,
        first_seq: Seq,
        time_ms: u64,
        buffer: &mut GroupBuffer,
    ) -> Result<()> {
        self.unsealed = true;
        self.journal.append(GroupKind::Data, first_seq, time_ms, buffer)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.journal.sync()
    }

    /// Whether everything written was synced.
    pub(crate) fn is_synced(&self) -> bool {
        self.journal.is_synced()
    }

    /// Whether the last group lacks the proof that it had been synced.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.unsealed
    }

    /// Writes and syncs an empty group: the proof that the one before it had been synced, so that
    /// damage to it can be told from a torn write.
    pub(crate) fn seal(&mut self, next_seq: Seq, time_ms: u64) -> Result<()> {
        if !self.journal.is_synced() {
            self.journal.sync()?;
        }
        self.empty.clear(BLOCK_BYTES);
        self.journal.append(GroupKind::Seal, next_seq, time_ms, &mut self.empty)?;
        self.journal.sync()?;
        self.unsealed = false;
        Ok(())
    }
}
