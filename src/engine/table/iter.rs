//! Walks a whole table in order, in large reads.
//!
//! On the way it checks what a single lookup cannot: that entries stay in order across blocks, that
//! every block ends where the index says, and that at the end nothing was missing. Once a walk
//! failed it keeps failing: a caller that asks again cannot take damage for the end.

use std::ops::Deref;
use std::sync::Arc;

use super::block::{Block, BlockCursor};
use super::format::Handle;
use super::reader::{INDEX_DISAGREES, Table};
use crate::engine::error::{Error, Result};
use crate::engine::iter::{Entry, EntryIter};

/// Bytes per read ahead; a larger block is read at once.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// The entries of a table, in order.
pub(crate) struct TableIter<T: Deref<Target = Table> = Arc<Table>> {
    table: T,
    top: BlockCursor,
    index: Level,
    data: Level,
    window: Window,
    entries: u64,
    blocks: u64,
    /// Set once the walk is over: how it ended.
    outcome: Option<std::result::Result<(), Error>>,
}

impl<T: Deref<Target = Table>> TableIter<T> {
    pub(super) fn new(table: T) -> Self {
        TableIter {
            table,
            top: BlockCursor::new(),
            index: Level::new(),
            data: Level::new(),
            window: Window::default(),
            entries: 0,
            blocks: 0,
            outcome: None,
        }
    }

    /// Data blocks entered so far.
    pub(super) fn block_count(&self) -> u64 {
        self.blocks
    }

    fn step(&mut self) -> Result<bool> {
        while !self.data.advance(&self.table)? {
            if !self.enter_data_block()? {
                return self.finish();
            }
        }
        self.entries += 1;
        Ok(true)
    }

    fn enter_data_block(&mut self) -> Result<bool> {
        self.data.check_end(self.index.cursor.position(), &self.table)?;
        while !self.index.advance(&self.table)? {
            if !self.enter_index_block()? {
                return Ok(false);
            }
        }
        let handle = self.table.handle_at(&self.index.block, &self.index.cursor)?;
        self.data.enter(self.window.read_block(&self.table, handle)?);
        self.blocks += 1;
        Ok(true)
    }

    fn enter_index_block(&mut self) -> Result<bool> {
        self.index.check_end(self.top.position(), &self.table)?;
        let top_index = self.table.top_index();
        if !self.table.decoded(top_index, self.top.advance(top_index))? {
            return Ok(false);
        }
        let handle = self.table.handle_at(top_index, &self.top)?;
        self.index.enter(self.table.read_block_blocking(handle)?);
        Ok(true)
    }

    fn finish(&self) -> Result<bool> {
        if self.entries == self.table.meta().entries {
            Ok(false)
        } else {
            Err(self.table.damage(0, "entries are missing"))
        }
    }
}

impl<T: Deref<Target = Table>> EntryIter for TableIter<T> {
    fn advance(&mut self) -> Result<bool> {
        if let Some(outcome) = &self.outcome {
            return outcome.clone().map(|()| false);
        }
        let stepped = self.step();
        self.outcome = match &stepped {
            Ok(true) => None,
            Ok(false) => Some(Ok(())),
            Err(e) => Some(Err(e.clone())),
        };
        stepped
    }

    fn entry(&self) -> Entry<'_> {
        self.data.cursor.entry(&self.data.block)
    }
}

/// A block and a place in it; at first a place behind the last entry of no block at all.
struct Level {
    block: Block,
    cursor: BlockCursor,
}

impl Level {
    fn new() -> Self {
        Level { block: Block::empty(), cursor: BlockCursor::new() }
    }

    fn enter(&mut self, block: Block) {
        self.block = block;
        self.cursor.enter_next_block();
    }

    fn advance(&mut self, table: &Table) -> Result<bool> {
        table.decoded(&self.block, self.cursor.advance(&self.block))
    }

    /// Checks that the block, walked to its end, ended with the entry that the index names. Before
    /// the first block both are the position before everything.
    fn check_end(&self, named: (&[u8], u64), table: &Table) -> Result<()> {
        if self.cursor.position() == named {
            Ok(())
        } else {
            Err(table.damage(self.block.offset, INDEX_DISAGREES))
        }
    }
}

/// A stretch of the file in memory, moved along by large reads.
#[derive(Default)]
struct Window {
    offset: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn read_block(&mut self, table: &Table, handle: Handle) -> Result<Block> {
        let len = table.stored_bytes(handle)?;
        if self.stored(handle.offset, len).is_none() {
            let left = table.meta().bytes - handle.offset;
            let ahead = left.min(READ_AHEAD_BYTES.max(len) as u64);
            table.read_raw(&mut self.bytes, handle.offset, ahead as usize)?;
            self.offset = handle.offset;
        }
        let stored = self.stored(handle.offset, len).unwrap_or_default();
        table.check_block(stored, handle.offset)
    }

    fn stored(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        self.bytes.get(start..start.checked_add(len)?)
    }
}
