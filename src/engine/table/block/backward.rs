//! Walks blocks from their ends.
//!
//! Keys are cut off by what they share with the key before, so that nobody can read an entry from
//! behind. A run of entries, from one restart point to the next, is put together at once, all its
//! keys in one buffer; then the cursor steps down through it. Each entry is decoded once.

use std::ops::Range;

use super::{Block, NOT_A_START, OUT_OF_ORDER, SHARES_TOO_MUCH};
use crate::engine::iter::Entry;
use crate::engine::key::{Kind, Seq, compare_entries};
use crate::engine::table::format::Decoded;

/// A place in a block that moves towards the block's start. Like `BlockCursor` it goes on from one
/// block to another, here the one before, and checks the order across the border.
#[derive(Debug, Default)]
pub(in crate::engine::table) struct BackwardCursor {
    /// The number of the restart point at which the run begins.
    restart: usize,
    /// The keys of the run, one behind the other.
    keys: Vec<u8>,
    run: Vec<RunEntry>,
    /// Entries of the run that were not passed, the current one included.
    left: usize,
    /// The first entry of the run that was left last: it must come behind this one.
    above: Option<(Vec<u8>, Seq)>,
}

/// An entry of a run, apart from its bytes.
#[derive(Debug)]
struct RunEntry {
    key: Range<usize>,
    seq: Seq,
    kind: Kind,
    value: Range<usize>,
}

impl BackwardCursor {
    pub(in crate::engine::table) fn new() -> Self {
        Self::default()
    }

    /// Goes behind the last entry of `block`, which precedes the current one in the file.
    pub(in crate::engine::table) fn enter_previous_block(&mut self, block: &Block) {
        self.restart = block.restarts;
        self.left = 0;
    }

    /// Moves to the entry before; false at the block's start.
    #[inline]
    pub(in crate::engine::table) fn retreat(&mut self, block: &Block) -> Decoded<bool> {
        if self.left > 1 {
            self.left -= 1;
            return Ok(true);
        }
        self.retreat_to_run(block)
    }

    fn retreat_to_run(&mut self, block: &Block) -> Decoded<bool> {
        let Some(restart) = self.restart.checked_sub(1) else {
            return Ok(false);
        };
        self.load(block, restart)?;
        Ok(true)
    }

    /// Moves to the last entry of `block` that comes before `target`; false if none does, and the
    /// cursor is at the block's start then.
    pub(in crate::engine::table) fn seek_before(
        &mut self,
        block: &Block,
        target: (&[u8], Seq),
    ) -> Decoded<bool> {
        self.load(block, block.restart_before(target)?)?;
        self.left = self.count_before(target);
        Ok(self.left > 0)
    }

    /// Moves to the first entry of `block` that does not come before `target`, or else to the last.
    pub(in crate::engine::table) fn seek_at(
        &mut self,
        block: &Block,
        target: (&[u8], Seq),
    ) -> Decoded<()> {
        self.load(block, block.restart_before(target)?)?;
        let before = self.count_before(target);
        if before == self.run.len() && !self.is_in_last_run(block) {
            // It is the first of the next run; this one is forgotten, for it is not left upwards.
            self.run.clear();
            self.load(block, self.restart + 1)?;
            self.left = 1;
        } else {
            self.left = self.run.len().min(before + 1);
        }
        Ok(())
    }

    /// How many entries of the run come before `target`.
    fn count_before(&self, target: (&[u8], Seq)) -> usize {
        self.run.partition_point(|at| compare_entries((self.key(at), at.seq), target).is_lt())
    }

    fn is_in_last_run(&self, block: &Block) -> bool {
        self.restart + 1 == block.restarts
    }

    /// The last entry of `block`, if the run that holds it is the current one.
    pub(in crate::engine::table) fn block_end(&self, block: &Block) -> Option<(&[u8], Seq)> {
        let last = self.run.last().filter(|_| self.is_in_last_run(block))?;
        Some((self.key(last), last.seq))
    }

    /// The current entry of `block`.
    #[inline]
    pub(in crate::engine::table) fn entry<'a>(&'a self, block: &'a Block) -> Entry<'a> {
        // Without one, the caller broke the contract, and gets the bounds check.
        let at = &self.run[self.left - 1];
        let value = block.slice(at.value.clone());
        Entry { key: self.key(at), seq: at.seq, kind: at.kind, value }
    }

    fn key(&self, at: &RunEntry) -> &[u8] {
        self.keys.get(at.key.clone()).unwrap_or_default()
    }

    /// Decodes the run from a restart point, which must come before the current one, and moves to
    /// its last entry.
    fn load(&mut self, block: &Block, restart: usize) -> Decoded<()> {
        self.note_above();
        self.keys.clear();
        self.run.clear();
        self.restart = restart;
        let is_last = self.is_in_last_run(block);
        let end = if is_last { block.entries_end } else { block.restart(restart + 1) };
        let mut at = block.restart(restart);
        while at < end {
            at = self.decode(block, at)?;
        }
        self.left = self.run.len();
        if at != end {
            return Err(NOT_A_START);
        }
        self.check_above()
    }

    fn note_above(&mut self) {
        let Some(first) = self.run.first() else { return };
        let (key, seq) = self.above.get_or_insert_default();
        key.clear();
        key.extend_from_slice(self.keys.get(first.key.clone()).unwrap_or_default());
        *seq = first.seq;
    }

    fn check_above(&self) -> Decoded<()> {
        match (self.run.last(), &self.above) {
            (Some(last), Some((key, seq)))
                if compare_entries((self.key(last), last.seq), (key, *seq)).is_ge() =>
            {
                Err(OUT_OF_ORDER)
            }
            _ => Ok(()),
        }
    }

    /// Appends the entry at `at` to the run, and returns where it ends.
    fn decode(&mut self, block: &Block, at: usize) -> Decoded<usize> {
        let entry = block.parse(at)?;
        let kind = entry.kind()?;
        let start = self.keys.len();
        match self.run.last() {
            None if entry.shared > 0 => return Err(NOT_A_START),
            None => {}
            Some(last) => {
                let rest = self.keys.get(last.key.start + entry.shared..);
                let rest = rest.ok_or(SHARES_TOO_MUCH)?;
                // Both keys begin with the shared bytes: what follows them decides.
                if compare_entries((rest, last.seq), (entry.suffix, entry.seq)).is_ge() {
                    return Err(OUT_OF_ORDER);
                }
                let shared = last.key.start..last.key.start + entry.shared;
                self.keys.extend_from_within(shared);
            }
        }
        self.keys.extend_from_slice(entry.suffix);
        let (key, seq) = (start..self.keys.len(), entry.seq);
        let end = entry.value.end;
        self.run.push(RunEntry { key, seq, kind, value: entry.value });
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::{Owned, Random, borrowed, owned, random_entries};
    use crate::engine::table::block::BlockBuilder;

    fn block(entries: &[Owned]) -> Block {
        let mut builder = BlockBuilder::default();
        entries.iter().map(borrowed).for_each(|entry| builder.add(entry));
        Block::new(builder.finish(), 0).unwrap()
    }

    /// The rest of the block, from the current entry on.
    fn rest(cursor: &mut BackwardCursor, block: &Block) -> Vec<Owned> {
        let mut all = vec![owned(cursor.entry(block))];
        while cursor.retreat(block).unwrap() {
            all.push(owned(cursor.entry(block)));
        }
        all
    }

    #[test]
    fn a_cursor_goes_down_from_wherever_it_was_sent() {
        for (seed, count) in [(1, 1), (2, 15), (3, 16), (4, 17), (5, 160), (6, 161)] {
            let mut random = Random(seed);
            let entries = random_entries(&mut random, count, 1 + count / 3);
            let block = block(&entries);
            let mut cursor = BackwardCursor::new();
            cursor.enter_previous_block(&block);
            assert!(cursor.retreat(&block).unwrap());
            assert_eq!(cursor.block_end(&block), entries.last().map(|last| (&last.0[..], last.1)));
            let reversed: Vec<Owned> = entries.iter().rev().cloned().collect();
            assert_eq!(rest(&mut cursor, &block), reversed);
            for _ in 0..300 {
                let key = format!("key{:04}", random.below(2 + count / 3)).into_bytes();
                let target =
                    (&key[..], [0, random.below(count + 1), Seq::MAX][random.below(3) as usize]);
                let before = entries
                    .partition_point(|entry| compare_entries((&entry.0, entry.1), target).is_lt());
                let reversed =
                    |to: usize| -> Vec<Owned> { entries[..to].iter().rev().cloned().collect() };
                let mut cursor = BackwardCursor::new();
                let is_there = cursor.seek_before(&block, target).unwrap();
                assert_eq!(is_there, before > 0);
                if is_there {
                    assert_eq!(rest(&mut cursor, &block), reversed(before));
                }
                let mut cursor = BackwardCursor::new();
                cursor.seek_at(&block, target).unwrap();
                let at = before.min(entries.len() - 1);
                assert_eq!(rest(&mut cursor, &block), reversed(at + 1), "{target:?}");
            }
        }
    }

    /// Walks backward through blocks, the last one first.
    fn walk(blocks: &[Block]) -> Decoded<usize> {
        let mut cursor = BackwardCursor::new();
        let mut count = 0;
        for block in blocks.iter().rev() {
            cursor.enter_previous_block(block);
            while cursor.retreat(block)? {
                count += 1;
            }
        }
        Ok(count)
    }

    #[test]
    fn disorder_is_told_within_a_run_across_runs_and_across_blocks() {
        let entries = random_entries(&mut Random(7), 60, 30);
        let halves = |entries: &[Owned]| [block(&entries[..30]), block(&entries[30..])];
        assert_eq!(walk(&halves(&entries)), Ok(60));
        // The last two are the borders of runs (after 16 of a block) and of blocks.
        for at in [3, 40, 15, 45, 29] {
            let mut swapped = entries.clone();
            swapped.swap(at, at + 1);
            assert_eq!(walk(&halves(&swapped)), Err(OUT_OF_ORDER), "{at}");
            let mut doubled = entries.clone();
            doubled[at] = doubled[at + 1].clone();
            assert_eq!(walk(&halves(&doubled)), Err(OUT_OF_ORDER), "{at}");
        }
    }

    #[test]
    fn damage_of_any_byte_is_an_error_or_some_answer_but_no_panic() {
        let mut builder = BlockBuilder::default();
        let entries = random_entries(&mut Random(9), 40, 20);
        entries.iter().map(borrowed).for_each(|entry| builder.add(entry));
        let bytes = builder.finish();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x10] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let Ok(block) = Block::new(damaged, 0) else { continue };
                let _ = BackwardCursor::new().seek_at(&block, (b"key0007", 9));
                let _ = BackwardCursor::new().seek_before(&block, (b"key0007", 9));
                let _ = walk(&[block]);
            }
        }
    }
}
