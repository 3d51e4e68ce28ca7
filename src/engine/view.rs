//! Views: a consistent state of the database, pinned, and walks over it.
//!
//! A view holds memtables and tables as they were when it was taken; they stay readable while it
//! lives, whatever is flushed and merged meanwhile. Taking one costs a few reference counts under
//! the memory lock; nothing is read, sorted or copied there.
//!
//! What a range delete covers is passed by a search, not step by step: each input of a walk (a chunk
//! of a memtable, a table) that holds nothing newer than the range delete begins behind it. That is
//! decided when inputs are opened; a walk that gets stuck among what is dead opens them anew.

mod count;
mod walk;

use std::ops::Deref;
use std::sync::Arc;

use super::db::Inner;
use super::error::Result;
use super::iter::{Direction, Entry, EntryIter, Input, Reader, ScanRange};
use super::key::Seq;
use super::memtable::{Memtable, MemtableView};
use super::options::Clock;
use super::range::KeyRange;
use super::ranges::{RangeDeletes, uncovered};
use super::sync::read;
use super::table::{Table, TableScan};
use super::version::{TableRef, Version};

pub use self::count::{KeyCount, KeyCounter};
pub(crate) use self::walk::LiveEntries;

/// A state of the database. Clones share it.
#[derive(Clone)]
pub(crate) struct View(Arc<Pinned>);

/// What a view holds.
pub(crate) struct Pinned {
    /// Nothing newer is in it.
    pub(crate) seq: Seq,
    /// Newest first.
    memtables: Vec<MemtableView>,
    ranges: Vec<Arc<RangeDeletes>>,
    version: Arc<Version>,
}

impl View {
    /// The state at `snapshot`, or now if that is later.
    pub(crate) fn take(inner: &Inner, snapshot: Seq) -> Self {
        View(Arc::new(Pinned::take(inner, snapshot)))
    }

    /// The state of now, without the tables in which nothing expires, and without damaged ones.
    pub(crate) fn of_expiring(inner: &Inner) -> Self {
        let pinned = Pinned::take(inner, Seq::MAX);
        let damaged = inner.damaged_tables();
        let expires = |table: &Table| table.has_expiring() && !damaged.contains(&table.meta().id);
        let version = Arc::new(pinned.version.only(expires));
        View(Arc::new(Pinned { version, ..pinned }))
    }

    /// The state at `seq` of memtables, oldest first, over a version.
    pub(crate) fn of(memtables: &[Memtable], version: Version, seq: Seq) -> Self {
        let memtables: Vec<MemtableView> = memtables.iter().rev().map(Memtable::view).collect();
        let ranges = memtables.iter().map(MemtableView::ranges).chain([version.ranges()]);
        let ranges = ranges.cloned().collect();
        View(Arc::new(Pinned { seq, ranges, memtables, version: Arc::new(version) }))
    }

    /// Walks over what is there in `range`, and has not expired by `clock`.
    pub(crate) fn walk(
        &self,
        clock: Arc<dyn Clock>,
        range: &KeyRange,
        direction: Direction,
    ) -> LiveEntries {
        LiveEntries::new(self.clone(), clock, range.clone(), direction)
    }

    /// The walks that a merge puts together.
    fn inputs(&self, range: &KeyRange, direction: Direction) -> Vec<Input> {
        let bounds = ScanRange { start: &range.start, end: range.end() };
        let mut inputs = self.memtable_inputs(bounds, direction);
        let level0 = self.version.level(0).iter();
        let level0 = level0.filter_map(|table| self.scan_table(table, bounds, direction));
        inputs.extend(level0.map(|walk| Box::new(walk) as Input));
        let deeper = (1..super::version::LEVELS).filter_map(|level| {
            let walk = LevelWalk::new(self, level, range, direction)?;
            Some(Box::new(walk) as Input)
        });
        inputs.extend(deeper);
        inputs
    }
}

impl Deref for View {
    type Target = Pinned;

    fn deref(&self) -> &Pinned {
        &self.0
    }
}

impl Pinned {
    fn take(inner: &Inner, snapshot: Seq) -> Self {
        let memory = read(&inner.memory);
        let memtables: Vec<MemtableView> = memory.memtables().map(Memtable::view).collect();
        let ranges = memtables.iter().map(MemtableView::ranges).chain([memory.version.ranges()]);
        let ranges = ranges.filter(|ranges| !ranges.is_empty());
        Pinned {
            seq: snapshot.min(inner.readable_seq()).min(memory.last_seq),
            ranges: ranges.cloned().collect(),
            memtables,
            version: Arc::clone(&memory.version),
        }
    }

    fn reader(&self, clock: Arc<dyn Clock>) -> Reader {
        Reader { snapshot: self.seq, ranges: self.ranges.clone(), clock }
    }

    /// What is left of `range` for versions that are not newer than `newest`.
    fn uncovered<'a>(
        &'a self,
        range: ScanRange<'a>,
        direction: Direction,
        newest: Seq,
    ) -> Option<ScanRange<'a>> {
        if self.ranges.is_empty() {
            return Some(range);
        }
        uncovered(&self.ranges, range, direction, (newest, self.seq))
    }

    fn memtable_inputs(&self, range: ScanRange<'_>, direction: Direction) -> Vec<Input> {
        let runs = self.memtables.iter().flat_map(|memtable| {
            memtable.scan(direction, |newest| self.uncovered(range, direction, newest))
        });
        runs.map(|run| Box::new(run) as Input).collect()
    }

    /// The walk over what there is to see of a table in `range`, if there is anything.
    fn scan_table(
        &self,
        table: &TableRef,
        range: ScanRange<'_>,
        direction: Direction,
    ) -> Option<TableScan> {
        let meta = table.meta();
        if meta.min_seq > self.seq {
            return None;
        }
        let left = self.uncovered(range, direction, meta.max_seq)?;
        let is_outside = left.start > meta.largest.as_slice()
            || left.end.is_some_and(|end| end <= meta.smallest.as_slice());
        (!is_outside).then(|| table.scan(left, direction))
    }
}

/// Walks over the tables of a level below 0, which do not overlap, one after the other.
struct LevelWalk {
    view: View,
    level: usize,
    /// The places in the level of the tables that are still to come.
    rest: std::ops::Range<usize>,
    range: KeyRange,
    direction: Direction,
    current: Option<TableScan>,
}

impl LevelWalk {
    /// A walk over what is in `range`; `None` if no table can hold any of it.
    fn new(view: &View, level: usize, range: &KeyRange, direction: Direction) -> Option<Self> {
        let tables = view.version.level(level);
        let first = tables.partition_point(|table| table.meta().largest < range.start);
        let behind = range.end().map_or(tables.len(), |end| {
            tables.partition_point(|table| table.meta().smallest.as_slice() < end)
        });
        (first < behind).then(|| LevelWalk {
            view: view.clone(),
            level,
            rest: first..behind,
            range: range.clone(),
            direction,
            current: None,
        })
    }

    fn next_table(&mut self) -> Option<TableScan> {
        let bounds = ScanRange { start: &self.range.start, end: self.range.end() };
        loop {
            let place = match self.direction {
                Direction::Forward => self.rest.next(),
                Direction::Backward => self.rest.next_back(),
            };
            let table = self.view.version.level(self.level).get(place?)?;
            if let Some(walk) = self.view.scan_table(table, bounds, self.direction) {
                return Some(walk);
            }
        }
    }
}

impl EntryIter for LevelWalk {
    fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some(current) = &mut self.current
                && current.advance()?
            {
                return Ok(true);
            }
            match self.next_table() {
                Some(next) => self.current = Some(next),
                None => return Ok(false),
            }
        }
    }

    fn entry(&self) -> Entry<'_> {
        match &self.current {
            Some(current) => current.entry(),
            // The caller broke the contract: `advance` has not returned true.
            None => Entry { key: b"", seq: 0, kind: super::key::Kind::Delete, value: b"" },
        }
    }
}
