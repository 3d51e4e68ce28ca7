//! A memtable at one moment, to be scanned without any lock.
//!
//! A view costs a few counters, however large the memtable is: it shares the chunks and remembers
//! how far they were filled. It shows exactly what had been inserted when it was made, however many
//! inserts follow. It keeps the memory of its memtable, also past the flush.

use std::ops::Range;
use std::sync::Arc;

use super::chunk::Filled;
use super::order::{Order, Run};
use crate::engine::error::Result;
use crate::engine::iter::{Direction, Entry, EntryIter, ScanRange};
use crate::engine::key::Seq;
use crate::engine::ranges::RangeDeletes;

/// What a memtable held at one moment.
#[derive(Clone)]
pub(crate) struct MemtableView {
    pub(super) chunks: Vec<Filled>,
    /// The newest number in each.
    pub(super) newest: Vec<Seq>,
    /// The chunk that was not complete.
    pub(super) tail: usize,
    pub(super) order: Arc<Order>,
    pub(super) ranges: Arc<RangeDeletes>,
}

impl MemtableView {
    /// Walks over versions; merged they are in order. `range_for` says which keys are wanted of
    /// versions that are not newer than a number; what it wants none of is not even sorted. The
    /// first scan sorts what was inserted since the last of any view: do it outside of locks.
    pub(crate) fn scan<'r>(
        &self,
        direction: Direction,
        range_for: impl Fn(Seq) -> Option<ScanRange<'r>>,
    ) -> Vec<MemtableScan> {
        let ranges: Vec<_> = self.newest.iter().map(|newest| range_for(*newest)).collect();
        let runs = self.order.runs(&self.chunks, self.tail, |number| ranges[number].is_some());
        let mut shared: Option<(&[u8], Arc<[u8]>)> = None;
        let scan = |(number, run): (usize, Arc<Run>)| {
            let range = ranges[number]?;
            let (rest, far_end) = match direction {
                Direction::Forward => (run.count_before(range.start)..run.len(), range.end),
                Direction::Backward => {
                    let count = range.end.map_or(run.len(), |end| run.count_before(end));
                    (0..count, Some(range.start))
                }
            };
            let filled_bytes = self.chunks[number].len();
            let far_end = far_end.map(|key| share(&mut shared, key));
            Some(MemtableScan { run, filled_bytes, rest, far_end, direction, offset: 0 })
        };
        runs.into_iter().filter_map(scan).collect()
    }

    /// The range deletes.
    pub(crate) fn ranges(&self) -> &Arc<RangeDeletes> {
        &self.ranges
    }
}

/// A copy of `key`: the last one, if that was of the same bytes.
fn share<'k>(last: &mut Option<(&'k [u8], Arc<[u8]>)>, key: &'k [u8]) -> Arc<[u8]> {
    match last {
        Some((of, copy)) if std::ptr::eq(*of, key) => Arc::clone(copy),
        _ => Arc::clone(&last.insert((key, Arc::from(key))).1),
    }
}

/// A walk over the versions of one run that a view shows; made by [`MemtableView::scan`].
pub(crate) struct MemtableScan {
    run: Arc<Run>,
    /// What starts at or past this offset was inserted after the view was made.
    filled_bytes: usize,
    /// The places in the run that are to come.
    pub(super) rest: Range<usize>,
    /// Where the walk ends: forward before this key, backward behind the versions of this one.
    far_end: Option<Arc<[u8]>>,
    direction: Direction,
    /// Where the current version starts.
    offset: usize,
}

impl MemtableScan {
    /// The same walk, forward, without the places behind its end: what is left are its places.
    pub(crate) fn bounded(mut self) -> Self {
        if let Some(end) = &self.far_end {
            self.rest.end = self.run.count_before(end).max(self.rest.start);
        }
        self
    }

    /// How many places are to come.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The version at a place to come; `None` if it was inserted after the view was made.
    pub(crate) fn entry_at(&mut self, at: usize) -> Option<Entry<'_>> {
        self.offset = self.run.offset(self.rest.start + at);
        (self.offset < self.filled_bytes).then(|| self.entry())
    }

    /// The place in the run of the next version. Starts loading the one behind it.
    fn next(&mut self) -> Option<usize> {
        match self.direction {
            Direction::Forward => {
                self.run.prefetch(self.rest.start + 1);
                self.rest.next()
            }
            Direction::Backward => {
                self.run.prefetch(self.rest.end.wrapping_sub(2));
                self.rest.next_back()
            }
        }
    }

    /// Whether the current version is of a key past the far end.
    fn is_past_end(&self) -> bool {
        let Some(far_end) = &self.far_end else { return false };
        let key = self.run.record(self.offset).key;
        match self.direction {
            Direction::Forward => key >= &**far_end,
            Direction::Backward => key < &**far_end,
        }
    }
}

impl EntryIter for MemtableScan {
    fn advance(&mut self) -> Result<bool> {
        while let Some(at) = self.next() {
            self.offset = self.run.offset(at);
            if self.offset >= self.filled_bytes {
                continue;
            }
            if self.is_past_end() {
                self.rest = 0..0;
                return Ok(false);
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn entry(&self) -> Entry<'_> {
        let record = self.run.record(self.offset);
        Entry { key: record.key, seq: record.seq, kind: record.kind(), value: record.value }
    }
}
