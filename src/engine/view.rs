//! Views: a consistent state of the database, pinned, and walks over it.
//!
//! A view holds memtables and tables as they were when it was taken; they stay readable while it
//! lives, whatever is flushed and merged meanwhile. Taking one costs a few reference counts under
//! the memory lock; nothing is read, sorted or copied there.

use std::sync::Arc;

use super::db::Inner;
use super::error::Result;
use super::iter::{Direction, Entry, EntryIter, Input, LiveIter, MergeIter, Reader, ScanRange};
use super::key::Seq;
use super::memtable::{Memtable, MemtableView};
use super::options::Clock;
use super::range::KeyRange;
use super::ranges::RangeDeletes;
use super::sync::read;
use super::table::{Table, TableScan};
use super::version::Version;

/// What a walk over a view yields.
pub(crate) type LiveEntries = LiveIter<MergeIter>;

/// A state of the database.
pub(crate) struct View {
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
        let memory = read(&inner.memory);
        let memtables: Vec<MemtableView> = memory.memtables().map(Memtable::view).collect();
        let ranges = memtables.iter().map(MemtableView::ranges).chain([memory.version.ranges()]);
        let ranges = ranges.filter(|ranges| !ranges.is_empty());
        View {
            seq: snapshot.min(inner.readable_seq()).min(memory.last_seq),
            ranges: ranges.cloned().collect(),
            memtables,
            version: Arc::clone(&memory.version),
        }
    }

    /// The state of now, without the tables in which nothing expires.
    pub(crate) fn of_expiring(inner: &Inner) -> Self {
        let view = View::take(inner, Seq::MAX);
        let version = Arc::new(view.version.only(Table::has_expiring));
        View { version, ..view }
    }

    /// The state at `seq` of memtables, oldest first, over a version.
    pub(crate) fn of(memtables: &[Memtable], version: Version, seq: Seq) -> Self {
        let memtables: Vec<MemtableView> = memtables.iter().rev().map(Memtable::view).collect();
        let ranges = memtables.iter().map(MemtableView::ranges).chain([version.ranges()]);
        let ranges = ranges.cloned().collect();
        View { seq, ranges, memtables, version: Arc::new(version) }
    }

    /// Walks over what is there in `range`, and has not expired by `clock`.
    pub(crate) fn walk(
        &self,
        clock: Arc<dyn Clock>,
        range: &KeyRange,
        direction: Direction,
    ) -> LiveEntries {
        let mut inputs = self.memtable_inputs(range, direction);
        inputs.extend(self.table_inputs(range, direction));
        LiveIter::new(MergeIter::new(inputs, direction), self.reader(clock), direction)
    }

    /// About how many keys there are in `range`, and how many of them expire, without a read from disk:
    /// what is in memtables if that is asked for, and of tables their entries as far as they lie in
    /// the range. Exact while there are no tables.
    pub(crate) fn estimate_keys(
        &self,
        inner: &Inner,
        range: &KeyRange,
        with_memtables: bool,
    ) -> Result<(u64, u64)> {
        let tables = (0..super::version::LEVELS).flat_map(|level| self.version.level(level));
        let mut keys = 0;
        for table in tables {
            let meta = table.meta();
            let ends_inside = range.end().is_none_or(|end| *meta.largest < *end);
            let is_deleted = self.ranges.iter().any(|ranges| {
                ranges.iter().any(|delete| delete.covers_all(&meta.smallest, &meta.largest))
            });
            if is_deleted || !range.overlaps(&meta.smallest, &meta.largest) {
                continue;
            }
            let is_inside = meta.smallest >= range.start && ends_inside;
            keys += if is_inside { meta.entries } else { meta.entries / 2 };
        }
        let mut expiring = 0;
        if with_memtables {
            let mut walk = self.walk_memtables(inner, range);
            while walk.advance()? {
                keys += 1;
                expiring += u64::from(walk.version().2.is_some());
            }
        }
        Ok((keys, expiring))
    }

    fn walk_memtables(&self, inner: &Inner, range: &KeyRange) -> LiveEntries {
        let direction = Direction::Forward;
        LiveIter::new(
            MergeIter::new(self.memtable_inputs(range, direction), direction),
            self.reader(Arc::clone(&inner.environment.clock)),
            direction,
        )
    }

    fn reader(&self, clock: Arc<dyn Clock>) -> Reader {
        Reader { snapshot: self.seq, ranges: self.ranges.clone(), clock }
    }

    fn memtable_inputs(&self, range: &KeyRange, direction: Direction) -> Vec<Input> {
        let runs = self.memtables.iter();
        let runs = runs.flat_map(|memtable| memtable.scan(&range.start, range.end(), direction));
        runs.map(|run| Box::new(run) as Input).collect()
    }

    fn table_inputs(&self, range: &KeyRange, direction: Direction) -> Vec<Input> {
        let overlaps =
            |meta: &super::table::TableMeta| range.overlaps(&meta.smallest, &meta.largest);
        let level0 = self.version.level(0).iter().filter(|table| overlaps(table.meta()));
        let bounds = ScanRange { start: &range.start, end: range.end() };
        let level0 = level0.map(|table| Box::new(table.scan(bounds, direction)) as Input);
        let deeper = (1..super::version::LEVELS).filter_map(|level| {
            let walk = LevelWalk::new(&self.version, level, range, direction)?;
            Some(Box::new(walk) as Input)
        });
        level0.chain(deeper).collect()
    }
}

/// Walks over the tables of a level below 0, which do not overlap, one after the other.
struct LevelWalk {
    version: Arc<Version>,
    level: usize,
    /// The places in the level of the tables that are still to come.
    rest: std::ops::Range<usize>,
    range: KeyRange,
    direction: Direction,
    current: Option<TableScan>,
}

impl LevelWalk {
    /// A walk over what is in `range`; `None` if no table can hold any of it.
    fn new(
        version: &Arc<Version>,
        level: usize,
        range: &KeyRange,
        direction: Direction,
    ) -> Option<Self> {
        let tables = version.level(level);
        let first = tables.partition_point(|table| table.meta().largest < range.start);
        let behind = range.end().map_or(tables.len(), |end| {
            tables.partition_point(|table| table.meta().smallest.as_slice() < end)
        });
        (first < behind).then(|| LevelWalk {
            version: Arc::clone(version),
            level,
            rest: first..behind,
            range: range.clone(),
            direction,
            current: None,
        })
    }

    fn next_table(&mut self) -> Option<TableScan> {
        let place = match self.direction {
            Direction::Forward => self.rest.next(),
            Direction::Backward => self.rest.next_back(),
        };
        let table = self.version.level(self.level).get(place?)?;
        let bounds = ScanRange { start: &self.range.start, end: self.range.end() };
        Some(table.scan(bounds, self.direction))
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
