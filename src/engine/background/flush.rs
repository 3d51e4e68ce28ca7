//! What keeps memory writable: flushes of full memtables.

use std::time::Instant;

use super::super::compaction::job::{Cuts, Surroundings, Target, write_tables};
use super::super::db::Inner;
use super::super::error::Result;
use super::super::event::Event;
use super::super::iter::{Retention, VisibleIter};
use super::super::memtable::Memtable;
use super::super::sync::{lock, read, write};
use super::super::version::{TableRef, VersionEdit};
use super::discard;
use crate::planted::{Bug, is_planted};

impl Inner {
    /// Prepares a segment and flushes a memtable; false if neither is called for.
    pub(super) fn do_urgent(&self) -> Result<bool> {
        self.check_log()?;
        // Both, however fast segments are used up: it is flushes that give some back.
        let prepared = self.prepare_segment()?;
        if self.commit.wants_flush() {
            self.freeze_if_idle();
        }
        Ok(self.flush()? || prepared || self.shorten_idle_log()?)
    }

    /// Makes what is in memory flushable, unless something is waiting for its flush already.
    fn freeze_if_idle(&self) {
        let mut memory = write(&self.memory);
        if memory.immutables.is_empty() {
            memory.freeze_unless_empty();
        }
    }

    /// Writes the oldest frozen memtable as a table; false if there is none.
    pub(super) fn flush(&self) -> Result<bool> {
        let _flushing = lock(&self.background.flushing);
        if self.background.is_over() {
            return Ok(false);
        }
        let Some(memtable) = read(&self.memory).immutables.front().cloned() else {
            return Ok(false);
        };
        let started = Instant::now();
        let last_seq = memtable.last_seq();
        // A table must not hold what the log may yet lose, whatever the durability: of a group over
        // two memtables, the other half would be gone.
        self.commit.sync()?;
        let tables = self.write_memtable(&memtable)?;
        let first_segment = self.commit.oldest_needed(last_seq);
        let edit = VersionEdit {
            added: tables.iter().map(|table| (0, table.meta().clone())).collect(),
            deleted_ranges: if is_planted(Bug::ForgetRangeDeletes) {
                Vec::new()
            } else {
                memtable.ranges().iter().cloned().collect()
            },
            flushed_seq: Some(last_seq),
            first_segment: Some(first_segment),
            ..VersionEdit::default()
        };
        drop(memtable);
        if is_planted(Bug::RecycleBeforeEdit) {
            self.retire_segments(first_segment)?;
        }
        self.install(&edit, &tables).inspect_err(|error| discard(error, &tables))?;
        self.note_flush(&tables, started);
        self.retire_segments(first_segment)?;
        Ok(true)
    }

    fn write_memtable(&self, memtable: &std::sync::Arc<Memtable>) -> Result<Vec<TableRef>> {
        let retention = Retention {
            snapshots: self.snapshots.list(),
            ranges: std::sync::Arc::clone(memtable.ranges()),
            now_ms: self.expired_ms(),
            drop_tombstones: false,
        };
        let purged_seq = retention.purged_seq(memtable.last_seq());
        let mut entries = VisibleIter::new(memtable.sorted(), retention);
        let target = Target { purged_seq, ..self.target(0) };
        let tables =
            write_tables(target, &mut entries, Cuts::none(), &mut FlushSurroundings(self))?;
        self.counters.expired.add(entries.expired_count());
        Ok(tables)
    }

    fn note_flush(&self, tables: &[TableRef], started: Instant) {
        let bytes = tables.iter().map(|table| table.meta().bytes).sum();
        let entries = tables.iter().map(|table| table.meta().entries).sum();
        self.counters.flushes.add(1);
        self.counters.written_bytes[0].add(bytes);
        *lock(&self.last_flush) = Instant::now();
        self.emit(|| Event::Flushed { entries, bytes, elapsed: started.elapsed() });
    }

    /// Flushes what is in memory now.
    pub(super) fn flush_everything(&self) -> Result<()> {
        while self.flush()? {}
        self.freeze_if_idle();
        while self.flush()? {}
        Ok(())
    }
}

/// A flush is interrupted by nothing but the lack of a log segment.
struct FlushSurroundings<'a>(&'a Inner);

impl Surroundings for FlushSurroundings<'_> {
    fn next_file_id(&mut self) -> u64 {
        lock(&self.0.set).next_file_id()
    }

    fn yield_now(&mut self) -> Result<()> {
        self.0.prepare_segment().map(|_| ())
    }
}
