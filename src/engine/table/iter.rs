//! Walks a whole table in order, in large reads past the cache.
//!
//! Besides what every walk checks (see `forward`), this one knows at its end whether something was
//! missing. Once a walk failed it keeps failing: a caller that asks again cannot take damage for the
//! end.

use std::ops::Deref;
use std::sync::Arc;

use super::block::Block;
use super::format::Handle;
use super::forward::{Blocks, ForwardWalk};
use super::reader::Table;
use super::window::{READ_AHEAD_BYTES, Window};
use crate::engine::error::{Error, Result};
use crate::engine::iter::{Direction, Entry, EntryIter};

/// The walk came to its end too soon.
pub(super) const MISSING: &str = "entries are missing";

/// The entries of a table, in order.
pub(crate) struct TableIter<T: Deref<Target = Table> = Arc<Table>> {
    table: T,
    walk: ForwardWalk,
    blocks: Everything,
    entries: u64,
    outcome: Outcome,
}

impl<T: Deref<Target = Table>> TableIter<T> {
    pub(super) fn new(table: T) -> Self {
        let window = Window::new(Direction::Forward, READ_AHEAD_BYTES);
        TableIter {
            table,
            walk: ForwardWalk::new(),
            blocks: Everything { window, entered: 0 },
            entries: 0,
            outcome: Outcome::default(),
        }
    }

    /// Data blocks entered so far.
    pub(super) fn block_count(&self) -> u64 {
        self.blocks.entered
    }

    fn step(&mut self) -> Result<bool> {
        if self.walk.advance(&self.table, &mut self.blocks)? {
            self.entries += 1;
            Ok(true)
        } else if self.entries == self.table.meta().entries {
            Ok(false)
        } else {
            Err(self.table.damage(0, MISSING))
        }
    }
}

impl<T: Deref<Target = Table>> EntryIter for TableIter<T> {
    fn advance(&mut self) -> Result<bool> {
        if let Some(outcome) = self.outcome.get() {
            return outcome;
        }
        let stepped = self.step();
        self.outcome.note(stepped)
    }

    fn entry(&self) -> Entry<'_> {
        self.table.seen(self.walk.entry())
    }
}

/// Reads all data blocks, one behind the other.
struct Everything {
    window: Window,
    entered: u64,
}

impl Blocks for Everything {
    fn index_block(&mut self, table: &Table, handle: Handle) -> Result<Arc<Block>> {
        table.read_past_cache(handle)
    }

    fn data_block(&mut self, table: &Table, handle: Handle) -> Result<Arc<Block>> {
        self.entered += 1;
        self.window.read_block(table, handle).map(Arc::new)
    }
}

/// How a walk ended, once it did.
#[derive(Default)]
pub(super) struct Outcome(Option<std::result::Result<(), Error>>);

impl Outcome {
    /// What to answer without another step; `None` while the walk goes on.
    #[inline]
    pub(super) fn get(&self) -> Option<Result<bool>> {
        self.0.as_ref().map(|outcome| outcome.clone().map(|()| false))
    }

    /// Takes note of a step, and passes it through.
    #[inline]
    pub(super) fn note(&mut self, stepped: Result<bool>) -> Result<bool> {
        self.0 = match &stepped {
            Ok(true) => None,
            Ok(false) => Some(Ok(())),
            Err(e) => Some(Err(e.clone())),
        };
        stepped
    }
}
