//! Ingestion: makes tables part of the database that were written for it beforehand.
//!
//! Their entries have no sequence number before their place in history is known. It is taken here,
//! together with a fresh memtable: what is older goes to tables first, what is newer stays above.
//! No merge runs in between, for this is the merging thread, so what is newer cannot sink below.
//! Each table goes to the deepest level at which nothing above or beside it overlaps.

use std::sync::{Arc, Mutex};

use super::super::commit::Urgency;
use super::super::db::Inner;
use super::super::error::{Error, Result};
use super::super::key::Seq;
use super::super::sync::{lock, read, write};
use super::super::table::{Table, TableMeta};
use super::super::version::shape::{overlapping, range};
use super::super::version::{LEVELS, TableRef, Version, VersionEdit};
use super::super::wal::RECORD_OVERHEAD_BYTES;
use super::discard;

/// Tables that were written and not yet made part of the database, by key, and disjoint. Whoever
/// takes them out is responsible for their files.
pub(crate) type Ingested = Mutex<Vec<TableMeta>>;

impl Inner {
    /// Makes `ingested` part of the database, as one write.
    pub(super) fn ingest(&self, ingested: &Ingested) -> Result<()> {
        let outcome = self.ingest_in_place(ingested);
        write(&self.memory).ingesting = false;
        self.signal.notify();
        outcome
    }

    fn ingest_in_place(&self, ingested: &Ingested) -> Result<()> {
        let metas = std::mem::take(&mut *lock(ingested));
        // Most of it before there is a number: snapshots wait while that is without its tables.
        let placed = self.flush_everything().and_then(|()| self.place(&metas));
        let tables = placed.inspect_err(|_| remove(self, &metas))?;
        let version = Arc::clone(&read(&self.memory).version);
        let added = tables.iter().map(|table| (level_for(&version, table), table.meta().clone()));
        let edit = VersionEdit { added: added.collect(), ..VersionEdit::default() };
        self.install(&edit, &tables).inspect_err(|error| discard(error, &tables))?;
        let bytes: u64 = tables.iter().map(|table| table.meta().bytes).sum();
        self.counters.ingested_bytes.add(bytes);
        Ok(())
    }

    /// Opens the tables with their place in history, all that is older being in tables as well.
    fn place(&self, metas: &[TableMeta]) -> Result<Vec<TableRef>> {
        let seq = self.take_place()?;
        while read(&self.memory).immutables.front().is_some_and(|m| m.last_seq() < seq) {
            // After a panic of another thread nothing is flushed any more.
            self.check_log()?;
            self.flush()?;
        }
        metas.iter().map(|meta| self.open_table(&meta.clone().assign(seq))).collect()
    }

    /// Takes a sequence number, durably, above everything in memory and below everything to come.
    fn take_place(&self) -> Result<Seq> {
        loop {
            if let Some(seq) = self.try_take_place()? {
                // Whatever the durability: a number that tables have and the log forgets would be
                // given out again. And on this thread: the log's may have ended with the engine.
                self.commit.sync()?;
                return Ok(seq);
            }
            if !self.prepare_segment()? && !self.flush()? {
                // It is what waits for the log that takes up the room.
                self.commit.sync()?;
            }
        }
    }

    /// `None` if log or memory has no room at the moment. Merges that fall behind are no reason to
    /// wait: this is the thread that merges.
    fn try_take_place(&self) -> Result<Option<Seq>> {
        let mut memory = write(&self.memory);
        if memory.closed {
            return Err(Error::Closed);
        }
        self.refusal().map_or(Ok(()), Err)?;
        if !self.commit.capacity().admits(0, RECORD_OVERHEAD_BYTES) || !memory.may_freeze() {
            return Ok(None);
        }
        memory.freeze_unless_empty();
        let seq = memory.apply_nothing();
        memory.ingesting = true;
        self.commit.submit(&mut memory.staged, seq, seq, Urgency::Now);
        Ok(Some(seq))
    }

    fn open_table(&self, meta: &TableMeta) -> Result<TableRef> {
        Ok(Arc::new(Table::open(&self.tables, meta)?))
    }
}

/// Removes tables that will not be part of the database.
pub(crate) fn remove(inner: &Inner, metas: &[TableMeta]) {
    for meta in metas {
        // What cannot be removed now is an orphan, removed at the next open.
        let _ = inner.tables.remove(meta.id);
    }
}

/// The deepest level that a table may go to.
fn level_for(version: &Version, table: &TableRef) -> usize {
    let levels = version.metadata();
    let is_free =
        |level: &usize| overlapping(&levels[*level], range(table.meta())).next().is_none();
    (0..LEVELS).take_while(is_free).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::engine::Engine;
    use crate::engine::options::{Environment, Options, Scheduling, SystemClock};
    use crate::engine::storage::sim::SimStorage;

    fn open(options: Options) -> Engine {
        let storage = Arc::new(SimStorage::new(1));
        let environment =
            Environment { storage, clock: Arc::new(SystemClock), random: Arc::new(|| 1) };
        Engine::open(environment, options).unwrap().0
    }

    #[test]
    fn what_is_older_than_the_place_is_in_tables_and_nothing_newer() {
        let engine = open(Options { scheduling: Scheduling::Manual, ..Options::default() });
        let inner = &engine.inner;
        for round in 1..4 {
            engine.put(b"older", b"value").unwrap();
            assert!(inner.place(&[]).unwrap().is_empty());
            let memory = read(&inner.memory);
            assert_eq!(memory.version.flushed_seq(), 2 * round - 1);
            assert_eq!((memory.last_seq, memory.active.last_seq()), (2 * round, 2 * round));
            assert!(memory.immutables.is_empty());
        }
    }

    #[test]
    fn an_ingestion_that_meets_the_end_of_the_log_thread_does_not_wait_for_it() {
        let engine = open(Options::default());
        let inner = Arc::clone(&engine.inner);
        // Its threads have ended by then; the merging one may have got this far before.
        drop(engine);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(inner.ingest(&Mutex::default())));
        receiver.recv_timeout(Duration::from_secs(30)).expect("it waits for ever").unwrap();
    }
}
