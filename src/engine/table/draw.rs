//! Entries of a table at random, for whoever estimates from a sample.
//!
//! An entry is found by three choices: a part of the index, a block that it names, an entry of that
//! block. Parts and blocks hold different numbers of entries, so the chance of an entry depends on
//! where it is. The weight of a draw makes up for that: it is what the entry's chance should have been,
//! relative to what it was.

use std::sync::Arc;

use super::block::{Block, BlockCursor};
use super::format::Decoded;
use super::reader::Table;
use crate::engine::error::Result;
use crate::engine::key::{Kind, Seq};

/// An entry that was drawn.
#[derive(Debug)]
pub(crate) struct Draw {
    pub(crate) key: Vec<u8>,
    pub(crate) seq: Seq,
    pub(crate) kind: Kind,
    /// About 1 on average.
    pub(crate) weight: f64,
}

impl Table {
    /// An entry; `below` chooses a number below another one, each with the same chance. Reads through
    /// the block cache, and waits for the device.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub(crate) fn draw(&self, mut below: impl FnMut(u64) -> u64) -> Result<Draw> {
        let top = self.top_index();
        let (parts, cursor) = self.decoded(top, pick(top, &mut below))?;
        let index = self.read_through_cache(self.handle_at(top, &cursor)?)?;
        let (blocks, cursor) = self.decoded(&index, pick(&index, &mut below))?;
        let data: Arc<Block> = self.read_through_cache(self.handle_at(&index, &cursor)?)?;
        let (entries, cursor) = self.decoded(&data, pick(&data, &mut below))?;
        let entry = self.seen(cursor.entry(&data));
        #[expect(clippy::cast_precision_loss, reason = "counts of entries are far below 2^53")]
        let weight = (parts * blocks * entries) as f64 / self.meta().entries.max(1) as f64;
        Ok(Draw { key: entry.key.to_vec(), seq: entry.seq, kind: entry.kind, weight })
    }
}

/// How many entries a block has, and a cursor on one of them.
fn pick(block: &Block, below: &mut impl FnMut(u64) -> u64) -> Decoded<(u64, BlockCursor)> {
    let (mut counting, mut count) = (BlockCursor::new(), 0);
    while counting.advance(block)? {
        count += 1;
    }
    if count == 0 {
        return Err("a block holds nothing");
    }
    let mut cursor = BlockCursor::new();
    for _ in 0..=below(count) {
        cursor.advance(block)?;
    }
    Ok((count, cursor))
}
