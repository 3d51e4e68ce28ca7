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
