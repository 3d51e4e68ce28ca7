//! Appends groups to a journal.
//!
//! The writer never syncs by itself and never retries: its owner decides when a group is durable,
//! and must drop the writer after any error, since what the file then holds is unknown.

use std::sync::Arc;

use super::format::{
    BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHeader, GroupKind, Header, group_bytes, payload_crc,
};
use crate::engine::error::{Error, Result};
use crate::engine::key::Seq;
use crate::engine::storage::File;
use crate::planted::{Bug, is_planted};

/// A group's payload with room for its header in front, so that a group is one write.
#[derive(Debug)]
pub(crate) struct GroupBuffer {
    bytes: Vec<u8>,
    /// Writes (or edits) in it.
    count: u32,
}

impl GroupBuffer {
    /// An empty one.
    pub(crate) fn new() -> Self {
        GroupBuffer { bytes: vec![0; GROUP_HEADER_BYTES], count: 0 }
    }

    /// The payload of an end group: no record, but the id of the journal that goes on, and how many
    /// blocks its file has.
    pub(crate) fn end(successor: u64, blocks: u32) -> Self {
        let mut buffer = Self::new();
        buffer.bytes.extend_from_slice(&successor.to_le_bytes());
        buffer.bytes.extend_from_slice(&blocks.to_le_bytes());
        buffer
    }

    /// Adds one record, written by `encode`.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.count += 1;
    }

    /// Adds all records of another one.
    pub(crate) fn append(&mut self, other: &GroupBuffer) {
        self.bytes.extend_from_slice(&other.bytes[GROUP_HEADER_BYTES..]);
        self.count += other.count;
    }

    /// Payload length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - GROUP_HEADER_BYTES
    }

    /// Whether it holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Empties it, and gives memory back that an unusually large group took.
    pub(crate) fn clear(&mut self, keep_bytes: usize) {
        self.bytes.truncate(GROUP_HEADER_BYTES);
        self.bytes.shrink_to(keep_bytes);
        self.count = 0;
    }
}

/// The append position of a journal.
pub(crate) struct JournalWriter {
    file: Arc<dyn File>,
    name: String,
    id: u64,
    epoch: u64,
    /// Where the next group starts.
    offset: u64,
    next_group: u64,
    synced_group: u64,
    previous_crc: u32,
    /// Of the file.
    blocks: u32,
}

impl JournalWriter {
    /// Writes `header` to `file` and syncs it. Groups may follow only then: whoever reads a group
    /// can rely on the header in front of it.
    pub(crate) fn start(file: Arc<dyn File>, name: String, header: &Header) -> Result<Self> {
        file.write_all_at(&header.encode(), 0).map_err(|e| Error::io("write", &name, e))?;
        file.sync().map_err(|e| Error::io("sync", &name, e))?;
        Ok(JournalWriter {
            file,
            name,
            id: header.id,
            epoch: header.epoch,
            offset: BLOCK_BYTES as u64,
            next_group: header.first_group,
            synced_group: header.first_group - 1,
            previous_crc: header.previous_crc,
            blocks: header.blocks,
        })
    }

    /// Writes one group; it is durable after [`JournalWriter::sync`].
    pub(crate) fn append(
        &mut self,
        kind: GroupKind,
        first_seq: Seq,
        time_ms: u64,
        buffer: &mut GroupBuffer,
    ) -> Result<()> {
        let length = buffer.len();
        let payload = &buffer.bytes[GROUP_HEADER_BYTES..];
        let header = GroupHeader {
            kind,
            epoch: self.epoch,
            group: self.next_group,
            first_seq,
            synced_group: self.synced_group,
            time_ms,
            count: buffer.count,
            length: length as u32,
            previous_crc: self.previous_crc,
            payload_crc: payload_crc(self.id, self.epoch, self.offset, payload),
        };
        let (bytes, crc) = header.encode(self.id, self.offset);
        buffer.bytes[..GROUP_HEADER_BYTES].copy_from_slice(&bytes);
        buffer.bytes.resize(group_bytes(length), 0);
        let written = self.file.write_all_at(&buffer.bytes, self.offset);
        written.map_err(|e| Error::io("write", &self.name, e))?;
        self.offset += group_bytes(length) as u64;
        self.next_group += 1;
        self.previous_crc = crc;
        Ok(())
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let mut synced = self.file.sync();
        if synced.is_err() && is_planted(Bug::RetryFailedSync) {
            synced = self.file.sync();
        }
        synced.map_err(|e| Error::io("sync", &self.name, e))?;
        self.synced_group = self.next_group - 1;
        Ok(())
    }

    /// Whether everything appended was synced.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced_group + 1 == self.next_group
    }

    /// Whether a group with this payload and a seal behind it fit the file, which must not grow.
    pub(crate) fn fits(&self, payload_bytes: usize) -> bool {
        let end = self.offset + (group_bytes(payload_bytes) + group_bytes(0)) as u64;
        end <= u64::from(self.blocks) * BLOCK_BYTES as u64
    }

    /// The header of a journal of so many blocks that goes on where this one ends.
    pub(crate) fn successor(&self, id: u64, epoch: u64, first_seq: Seq, blocks: u32) -> Header {
        Header {
            purpose: super::Purpose::Wal,
            id,
            epoch,
            first_group: self.next_group,
            first_seq,
            previous_id: self.id,
            previous_end: self.offset,
            previous_crc: self.previous_crc,
            blocks,
        }
    }
}
