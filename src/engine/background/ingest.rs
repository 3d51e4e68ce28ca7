//! Ingestion: makes tables part of the database that were written for it beforehand.
//!
//! Their entries have no sequence number before their place in history is known. It is taken here,
//! together with a fresh memtable: what is older goes to tables first, what is newer stays above.
//! No merge runs in between, for this is the merging thread, so what is newer cannot sink below. No
//! snapshot is taken in between either, for it would see the entries come.
//! Each table goes to the deepest level at which nothing above or beside it overlaps.

use std::sync::{Arc, Mutex, MutexGuard};

use super::super::commit::Urgency;
use super::super::db::Inner;
use super::super::error::{Error, Result};
use super::super::filename;
use super::super::key::Seq;
use super::super::sync::{lock, read, write};
use super::super::table::{Table, TableBuilder, TableMeta};
use super::super::version::shape::{overlapping, range};
use super::super::version::{LEVELS, TableRef, Version, VersionEdit};
use super::super::wal::RECORD_OVERHEAD_BYTES;

/// Tables that were written and not yet made part of the database, by key, and disjoint. Whoever
/// takes them out is responsible for their files.
pub(crate) type Ingested = Mutex<Vec<TableMeta>>;

/// A place in history that is still empty. Until it is filled no snapshot is taken.
struct Place<'a> {
    seq: Seq,
    _no_snapshots: MutexGuard<'a, ()>,
}

impl Inner {
    /// Makes `ingested` part of the database, as one write.
    pub(super) fn ingest(&self, ingested: &Ingested) -> Result<()> {
        let metas = std::mem::take(&mut *lock(ingested));
        let place = self.take_place().inspect_err(|_| remove(self, &metas))?;
        let tables = self.put_in_place(&metas, place.seq).inspect_err(|_| remove(self, &metas))?;
        // From here on it may be in the manifest: the files must stay.
        let version = Arc::clone(&read(&self.memory).version);
        let added = tables.iter().map(|table| (level_for(&version, table), table.meta().clone()));
        let edit = VersionEdit { added: added.collect(), ..VersionEdit::default() };
        self.install(&edit, &tables)?;
        drop(place);
        let bytes: u64 = tables.iter().map(|table| table.meta().bytes).sum();
        self.counters.ingested_bytes.add(bytes);
        Ok(())
    }

    /// Begins a table that is to be ingested, unless the end was first: then the directory may be
    /// another's, and its file ids too.
    pub(crate) fn start_ingested(&self) -> Result<(u64, TableBuilder)> {
        let _preparing = lock(&self.background.preparing);
        if self.background.is_over() {
            return Err(Error::Closed);
        }
        let id = lock(&self.set).next_file_id();
        let compression = self.options.compression_of(LEVELS - 1);
        let builder = TableBuilder::new(self.environment.storage.as_ref(), id, compression)?;
        Ok((id, builder))
    }

    /// Opens the tables with their place in history, all that is older being in tables as well.
    fn put_in_place(&self, metas: &[TableMeta], seq: Seq) -> Result<Vec<TableRef>> {
        self.wait_durable(seq)?;
        while read(&self.memory).immutables.front().is_some_and(|m| m.last_seq() < seq) {
            self.flush()?;
        }
        metas.iter().map(|meta| self.open_table(&meta.clone().assign(seq))).collect()
    }

    /// Takes a sequence number above everything in memory and below everything to come.
    fn take_place(&self) -> Result<Place<'_>> {
        loop {
            if let Some(place) = self.try_take_place()? {
                return Ok(place);
            }
            self.prepare_segment()?;
            self.flush()?;
        }
    }

    /// `None` if log or memory has no room at the moment. Merges that fall behind are no reason to
    /// wait: this is the thread that merges.
    fn try_take_place(&self) -> Result<Option<Place<'_>>> {
        let no_snapshots = self.snapshots.hold_off();
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
        self.commit.submit(&mut memory.staged, seq, seq, Urgency::Now);
        Ok(Some(Place { seq, _no_snapshots: no_snapshots }))
    }

    fn open_table(&self, meta: &TableMeta) -> Result<TableRef> {
        Ok(Arc::new(Table::open(&self.tables, meta)?))
    }
}

/// Removes tables that will not be part of the database.
pub(crate) fn remove(inner: &Inner, metas: &[TableMeta]) {
    for meta in metas {
        // What cannot be removed now is an orphan, removed at the next open.
        let _ = inner.environment.storage.remove(&filename::table(meta.id));
    }
}

/// The deepest level that a table may go to.
fn level_for(version: &Version, table: &TableRef) -> usize {
    let levels = version.metadata();
    let is_free =
        |level: &usize| overlapping(&levels[*level], range(table.meta())).next().is_none();
    (0..LEVELS).take_while(is_free).last().unwrap_or(0)
}
