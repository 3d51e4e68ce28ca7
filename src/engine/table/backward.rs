//! The backward walk through a table: down the index, then from block to block towards the first.
//!
//! It checks what the forward walk does, in its own order: entries across blocks, and whether a block
//! ends where the index says, as soon as it stands on the block's last entry.

use std::sync::Arc;

use super::block::{BackwardCursor, Block};
use super::format::Handle;
use super::forward::Blocks;
use super::reader::{INDEX_DISAGREES, Table};
use crate::engine::error::Result;
use crate::engine::iter::Entry;
use crate::engine::key::Seq;

/// A place in a table; at first behind everything.
pub(super) struct BackwardWalk {
    top: BackwardCursor,
    index: Level,
    data: Level,
}

impl BackwardWalk {
    pub(super) fn new() -> Self {
        BackwardWalk { top: BackwardCursor::new(), index: Level::new(), data: Level::new() }
    }

    /// Moves to the last entry whose key comes before `end`; false if there is none.
    pub(super) fn seek(
        &mut self,
        end: &[u8],
        table: &Table,
        blocks: &mut impl Blocks,
    ) -> Result<bool> {
        let target = (end, Seq::MAX);
        let top_index = table.top_index();
        table.decoded(top_index, self.top.seek_at(top_index, target))?;
        self.index.block = self.index_block(table, blocks)?;
        let sought = self.index.cursor.seek_at(&self.index.block, target);
        table.decoded(&self.index.block, sought)?;
        self.index.check_end(entry_of(&self.top, top_index), table)?;
        self.data.block = self.data_block(table, blocks)?;
        let sought = self.data.cursor.seek_before(&self.data.block, target);
        let is_here = table.decoded(&self.data.block, sought)?;
        self.data.check_end(entry_of(&self.index.cursor, &self.index.block), table)?;
        if is_here { Ok(true) } else { self.advance(table, blocks) }
    }

    /// Moves to the last entry of the table.
    pub(super) fn seek_last(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        self.top.enter_previous_block(table.top_index());
        self.advance(table, blocks)
    }

    /// Moves to the entry before; false at the table's start.
    #[inline]
    pub(super) fn advance(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        Ok(self.data.retreat(table)? || self.enter_data_block(table, blocks)?)
    }

    fn enter_data_block(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        if !self.index.retreat(table)? && !self.enter_index_block(table, blocks)? {
            return Ok(false);
        }
        let block = self.data_block(table, blocks)?;
        self.data.enter(block, entry_of(&self.index.cursor, &self.index.block), table)?;
        Ok(true)
    }

    fn enter_index_block(&mut self, table: &Table, blocks: &mut impl Blocks) -> Result<bool> {
        let top_index = table.top_index();
        if !table.decoded(top_index, self.top.retreat(top_index))? {
            return Ok(false);
        }
        let block = self.index_block(table, blocks)?;
        self.index.enter(block, entry_of(&self.top, top_index), table)?;
        Ok(true)
    }

    fn index_block(&self, table: &Table, blocks: &mut impl Blocks) -> Result<Arc<Block>> {
        let top_index = table.top_index();
        blocks.index_block(table, handle_at(table, &self.top, top_index)?)
    }

    fn data_block(&self, table: &Table, blocks: &mut impl Blocks) -> Result<Arc<Block>> {
        blocks.data_block(table, handle_at(table, &self.index.cursor, &self.index.block)?)
    }

    /// The current entry.
    #[inline]
    pub(super) fn entry(&self) -> Entry<'_> {
        self.data.cursor.entry(&self.data.block)
    }
}

fn entry_of<'a>(cursor: &'a BackwardCursor, block: &'a Block) -> (&'a [u8], Seq) {
    let entry = cursor.entry(block);
    (entry.key, entry.seq)
}

fn handle_at(table: &Table, cursor: &BackwardCursor, index: &Block) -> Result<Handle> {
    table.handle(index, cursor.entry(index).value)
}

/// A block and a place in it; at first a place at the start of no block at all.
struct Level {
    block: Arc<Block>,
    cursor: BackwardCursor,
}

impl Level {
    fn new() -> Self {
        Level { block: Arc::new(Block::empty()), cursor: BackwardCursor::new() }
    }

    /// Goes to the last entry of `block`, which must be the one that the index names.
    fn enter(&mut self, block: Arc<Block>, named: (&[u8], Seq), table: &Table) -> Result<()> {
        self.cursor.enter_previous_block(&block);
        self.block = block;
        self.retreat(table)?;
        self.check_end(named, table)
    }

    #[inline]
    fn retreat(&mut self, table: &Table) -> Result<bool> {
        table.decoded(&self.block, self.cursor.retreat(&self.block))
    }

    /// Checks that the block ends with the entry that the index names, if its end was read.
    fn check_end(&self, named: (&[u8], Seq), table: &Table) -> Result<()> {
        match self.cursor.block_end(&self.block) {
            Some(end) if end != named => Err(table.damage(self.block.offset, INDEX_DISAGREES)),
            _ => Ok(()),
        }
    }
}
