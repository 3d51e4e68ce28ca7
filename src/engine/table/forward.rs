//! The forward walk through a table: down the index, then from block to block.
//!
//! On the way it checks what a single lookup cannot: that entries stay in order across blocks, and
//! that every block that was walked to its end ends where the index says. Where blocks come from is
//! its caller's business.

use std::sync::Arc;

use super::block::{Block, BlockCursor};
use super::format::Handle;
use super::reader::{INDEX_DISAGREES, Table};
use crate::engine::error::Result;
use crate::engine::iter::Entry;
use crate::engine::key::Seq;

/// Where a walk gets its blocks from.
pub(super) trait Blocks {
    /// An index block of `table`.
    fn index_block(&mut self, table: &Table, handle: Handle) -> Result<Arc<Block>>;
    /// A data block of `table`.
    fn data_block(&mut self, table: &Table, handle: Handle) -> Result<Arc<Block>>;
}

/// A place in a table; at first before everything.
pub(super) struct ForwardWalk {
    top: BlockCursor,
    index: Level,
    data: Level,
}

impl ForwardWalk {
    pub(super) fn new() -> Self {
        ForwardWalk { top: BlockCursor::new(), index: Level::new(), data: Level::new() }
    }

    /// Moves to the first entry whose key does not come before `start`, which is not behind the
    /// table's last key.
    pub(super) fn seek(
        &mut self,
        start: &[u8],
        table: &Table,
        blocks: &mut impl Blocks,
    ) -> Result<()> {
        let target = (start, Seq::MAX);
        let top_index = table.top_index();
        if !table.decoded(top_index, self.top.seek(top_index, target))? {
            return Err(table.damage(top_index.offset, INDEX_DISAGREES));
        }
        self.index.enter(blocks.index_block(table, table.handle_at(top_index, &self.top)?)?);
        self.index.seek(target, table)?;
        self.data.enter(blocks.data_block(table, self.data_handle(table)?)?);
        self.data.seek(target, table)
    }

    /// Moves to the next entry; false at the table's end.
    pub(super) fn advance(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        while !self.data.advance(table)? {
            if !self.enter_data_block(table, blocks)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn enter_data_block(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        self.data.check_end(self.index.cursor.position(), table)?;
        while !self.index.advance(table)? {
            if !self.enter_index_block(table, blocks)? {
                return Ok(false);
            }
        }
        self.data.enter(blocks.data_block(table, self.data_handle(table)?)?);
        Ok(true)
    }

    fn enter_index_block(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        self.index.check_end(self.top.position(), table)?;
        let top_index = table.top_index();
        if !table.decoded(top_index, self.top.advance(top_index))? {
            return Ok(false);
        }
        self.index.enter(blocks.index_block(table, table.handle_at(top_index, &self.top)?)?);
        Ok(true)
    }

    fn data_handle(&self, table: &Table) -> Result<Handle> {
        table.handle_at(&self.index.block, &self.index.cursor)
    }

    /// The current entry.
    #[inline]
    pub(super) fn entry(&self) -> Entry<'_> {
        self.data.cursor.entry(&self.data.block)
    }
}

/// A block and a place in it; at first a place behind the last entry of no block at all.
struct Level {
    block: Arc<Block>,
    cursor: BlockCursor,
}

impl Level {
    fn new() -> Self {
        Level { block: Arc::new(Block::empty()), cursor: BlockCursor::new() }
    }

    fn enter(&mut self, block: Arc<Block>) {
        self.block = block;
        self.cursor.enter_next_block();
    }

    /// Moves to the first entry not before `target`, which by the index above is there.
    fn seek(&mut self, target: (&[u8], Seq), table: &Table) -> Result<()> {
        if table.decoded(&self.block, self.cursor.seek(&self.block, target))? {
            Ok(())
        } else {
            Err(table.damage(self.block.offset, INDEX_DISAGREES))
        }
    }

    #[inline]
    fn advance(&mut self, table: &Table) -> Result<bool> {
        table.decoded(&self.block, self.cursor.advance(&self.block))
    }

    /// Checks that the block, walked to its end, ended with the entry that the index names. Before
    /// the first block both are the position before everything.
    fn check_end(&self, named: (&[u8], Seq), table: &Table) -> Result<()> {
        if self.cursor.position() == named {
            Ok(())
        } else {
            Err(table.damage(self.block.offset, INDEX_DISAGREES))
        }
    }
}
