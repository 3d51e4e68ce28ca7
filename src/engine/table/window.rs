//! A stretch of a table's file in memory, moved along by large reads.

use super::block::Block;
use super::format::Handle;
use super::reader::Table;
use crate::engine::error::Result;
use crate::engine::iter::Direction;

/// The most bytes of one read ahead; a larger block is read at once.
pub(super) const READ_AHEAD_BYTES: usize = 256 << 10;

/// Reads ahead in one direction: forward, what is read begins with the block that is wanted;
/// backward, it ends with it. Each read is twice as large as the last, up to the limit.
pub(super) struct Window {
    direction: Direction,
    offset: u64,
    bytes: Vec<u8>,
    /// The size of the next read.
    next_bytes: usize,
}

impl Window {
    /// A window whose first read is of `first_bytes`.
    pub(super) fn new(direction: Direction, first_bytes: usize) -> Self {
        Window { direction, offset: 0, bytes: Vec::new(), next_bytes: first_bytes }
    }

    /// Whether the block is in memory.
    pub(super) fn holds(&self, table: &Table, handle: Handle) -> Result<bool> {
        let len = table.stored_bytes(handle)?;
        Ok(self.stored(handle.offset, len).is_some())
    }

    /// Takes the block out of the window, which is moved there first if need be.
    pub(super) fn read_block(&mut self, table: &Table, handle: Handle) -> Result<Block> {
        let len = table.stored_bytes(handle)?;
        if self.stored(handle.offset, len).is_none() {
            self.move_to(table, handle.offset, len)?;
        }
        let stored = self.stored(handle.offset, len).unwrap_or_default();
        let block = table.check_block(stored, handle.offset);
        if self.bytes.len() > READ_AHEAD_BYTES {
            // A large value: as the block it is kept once, and need not be kept twice.
            self.bytes = Vec::new();
        }
        block
    }

    /// `len` bytes from `offset` lie within the file.
    fn move_to(&mut self, table: &Table, offset: u64, len: usize) -> Result<()> {
        let wanted = self.next_bytes.max(len) as u64;
        let (start, end) = match self.direction {
            Direction::Forward => (offset, table.meta().bytes.min(offset + wanted)),
            Direction::Backward => {
                let end = offset + len as u64;
                (end.saturating_sub(wanted), end)
            }
        };
        table.read_raw(&mut self.bytes, start, (end - start) as usize)?;
        self.offset = start;
        self.next_bytes = (2 * self.next_bytes).min(READ_AHEAD_BYTES);
        Ok(())
    }

    fn stored(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        self.bytes.get(start..start.checked_add(len)?)
    }
}
