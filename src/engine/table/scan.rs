//! Scans: the entries of a table within a range of keys, in either direction.
//!
//! A scan does nothing before its first step, which seeks. Most scans are short: the first blocks
//! come through the block cache, and stay in it for the next scan or lookup. One that goes on is
//! treated as the long walk that it is: it reads ahead, past the cache, more with each read, and
//! takes from the cache only what happens to be there. Damage on the way ends the scan with an
//! error, again and again: it never looks like the end.
//!
//! Rejected: reading ahead from the first block on. A short scan would read and throw away a hundred
//! times what it needs.

use std::sync::Arc;

use super::backward::BackwardWalk;
use super::block::Block;
use super::format::Handle;
use super::forward::{Blocks, ForwardWalk};
use super::iter::{MISSING, Outcome};
use super::reader::Table;
use super::window::Window;
use crate::engine::error::Result;
use crate::engine::iter::{Direction, Entry, EntryIter, ScanRange};

/// Data blocks that a scan reads through the cache; then it reads ahead, past it.
const CACHED_BLOCKS: usize = 8;

/// Bytes of a scan's first read ahead.
const FIRST_READ_AHEAD_BYTES: usize = 32 << 10;

/// The entries of a table with keys from `start` up to and without `end`.
pub(crate) struct TableScan {
    table: Arc<Table>,
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    walk: Walk,
    blocks: Nearby,
    has_begun: bool,
    outcome: Outcome,
}

enum Walk {
    Forward(ForwardWalk),
    Backward(BackwardWalk),
}

impl TableScan {
    pub(super) fn new(table: Arc<Table>, range: ScanRange<'_>, direction: Direction) -> Self {
        let walk = match direction {
            Direction::Forward => Walk::Forward(ForwardWalk::new()),
            Direction::Backward => Walk::Backward(BackwardWalk::new()),
        };
        TableScan {
            table,
            start: range.start.to_vec(),
            end: range.end.map(<[u8]>::to_vec),
            walk,
            blocks: Nearby::new(direction),
            has_begun: false,
            outcome: Outcome::default(),
        }
    }

    fn step(&mut self) -> Result<bool> {
        if !self.has_begun {
            self.has_begun = true;
            return Ok(self.overlaps_table() && self.seek()? && self.is_within());
        }
        let moved = match &mut self.walk {
            Walk::Forward(walk) => walk.advance(&self.table, &mut self.blocks),
            Walk::Backward(walk) => walk.advance(&self.table, &mut self.blocks),
        };
        if moved? { Ok(self.is_within()) } else { self.finish() }
    }

    /// Whether a key can be in range and table, from memory.
    fn overlaps_table(&self) -> bool {
        let (table, start) = (self.table.meta(), &self.start);
        let ends_at_or_before = |key| self.end.as_ref().is_some_and(|end| end <= key);
        *start <= table.largest && !ends_at_or_before(&table.smallest) && !ends_at_or_before(start)
    }

    /// Moves to the first entry. There is one, though maybe past the range: the table overlaps that.
    fn seek(&mut self) -> Result<bool> {
        let (table, blocks) = (&*self.table, &mut self.blocks);
        let found = match (&mut self.walk, &self.end) {
            (Walk::Forward(walk), _) => walk.seek(&self.start, table, blocks).map(|()| true),
            (Walk::Backward(walk), Some(end)) => walk.seek(end, table, blocks),
            (Walk::Backward(walk), None) => walk.seek_last(table, blocks),
        };
        if found? { Ok(true) } else { Err(table.damage(0, MISSING)) }
    }

    /// Whether the current entry has not left the range.
    #[inline]
    fn is_within(&self) -> bool {
        match &self.walk {
            Walk::Forward(walk) => {
                self.end.as_ref().is_none_or(|end| walk.entry().key < end.as_slice())
            }
            // Asked first, the emptiness spares a comparison whose masked loads from a dangling
            // pointer take 130 ns.
            Walk::Backward(walk) => {
                self.start.is_empty() || walk.entry().key >= self.start.as_slice()
            }
        }
    }

    /// At the table's end, which the manifest knows as well.
    fn finish(&self) -> Result<bool> {
        let meta = self.table.meta();
        let is_end = match &self.walk {
            Walk::Forward(walk) => walk.entry().key == meta.largest,
            Walk::Backward(walk) => walk.entry().key == meta.smallest,
        };
        if is_end { Ok(false) } else { Err(self.table.damage(0, MISSING)) }
    }
}

impl EntryIter for TableScan {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        if let Some(outcome) = self.outcome.get() {
            return outcome;
        }
        let stepped = self.step();
        self.outcome.note(stepped)
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        self.table.seen(match &self.walk {
            Walk::Forward(walk) => walk.entry(),
            Walk::Backward(walk) => walk.entry(),
        })
    }
}

/// The first blocks through the cache, the others past it.
struct Nearby {
    window: Window,
    /// Data blocks entered.
    entered: usize,
}

impl Nearby {
    fn new(direction: Direction) -> Self {
        Nearby { window: Window::new(direction, FIRST_READ_AHEAD_BYTES), entered: 0 }
    }
}

impl Blocks for Nearby {
    fn index_block(&mut self, table: &Table, handle: Handle) -> Result<Arc<Block>> {
        table.read_through_cache(handle)
    }

    fn data_block(&mut self, table: &Table, handle: Handle) -> Result<Arc<Block>> {
        self.entered += 1;
        if self.entered <= CACHED_BLOCKS {
            return table.read_through_cache(handle);
        }
        if !self.window.holds(table, handle)?
            && let Some(block) = table.peek_block(handle)
        {
            return Ok(block);
        }
        self.window.read_block(table, handle).map(Arc::new)
    }
}

#[cfg(test)]
mod tests;
