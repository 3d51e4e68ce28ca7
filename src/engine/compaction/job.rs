//! Writing tables: the common work of a flush and a merge.
//!
//! Outputs are synced, and read back and verified, before anybody is told of them; on any error
//! they are removed again. A key's versions never straddle two outputs, for then the tables of a
//! level would overlap.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::EntryIter;
use crate::engine::key::Seq;
use crate::engine::table::{Compression, Table, TableBuilder, TableMeta, Tables};
use crate::planted::{Bug, is_planted};

/// Bytes written between two looks at what is more urgent.
const YIELD_EVERY_BYTES: u64 = 256 << 10;

/// What a job may ask its surroundings for.
pub(crate) trait Surroundings {
    /// An id for a new table.
    fn next_file_id(&mut self) -> u64;
    /// Does what is more urgent, if there is something; an error ends the job.
    fn yield_now(&mut self) -> Result<()>;
}

/// Where an output ends and the next one starts. Between two keys only: a key's versions stay in one
/// table.
pub(crate) struct Cuts {
    /// Size at which an output is full, in bytes.
    table_bytes: u64,
    /// Largest key and size of the tables in the level below the output, by key.
    grandparents: VecDeque<(Vec<u8>, u64)>,
    /// Bytes of them that the current output overlaps, and how many it may.
    overlapped: u64,
    overlap_limit: u64,
}

impl Cuts {
    /// One output, whatever its size.
    pub(crate) fn none() -> Self {
        Self::new(u64::MAX, VecDeque::new(), u64::MAX)
    }

    /// Outputs of `table_bytes` that overlap no more than `overlap_limit` bytes of `grandparents`.
    pub(crate) fn new(
        table_bytes: u64,
        grandparents: VecDeque<(Vec<u8>, u64)>,
        overlap_limit: u64,
    ) -> Self {
        Cuts { table_bytes, grandparents, overlapped: 0, overlap_limit }
    }

    /// Whether the output, now of `bytes`, ends before `key`.
    fn ends_before(&mut self, key: &[u8], bytes: u64) -> bool {
        while let Some((_, passed)) = self.grandparents.pop_front_if(|(last, _)| &last[..] < key) {
            self.overlapped += passed;
        }
        bytes >= self.table_bytes || self.overlapped > self.overlap_limit
    }

    fn start_output(&mut self) {
        self.overlapped = 0;
    }
}

/// Where tables go.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// What they share.
    pub(crate) tables: &'a Arc<Tables>,
    /// How their data blocks are compressed.
    pub(crate) compression: Compression,
    /// No entry is covered by a range delete up to this number.
    pub(crate) purged_seq: Seq,
}

/// Writes what `entries` yields as tables, durable and verified.
pub(crate) fn write_tables(
    target: Target<'_>,
    entries: &mut dyn EntryIter,
    cuts: Cuts,
    surroundings: &mut dyn Surroundings,
) -> Result<Vec<Arc<Table>>> {
    let mut writer = Writer { target, cuts, builder: None, outputs: Vec::new() };
    let outcome = writer.run(entries, surroundings);
    if outcome.is_err() {
        writer.remove_outputs();
    }
    outcome
}

struct Writer<'a> {
    target: Target<'a>,
    cuts: Cuts,
    builder: Option<TableBuilder>,
    /// Ids of the tables begun.
    outputs: Vec<u64>,
}

impl Writer<'_> {
    fn run(
        &mut self,
        entries: &mut dyn EntryIter,
        surroundings: &mut dyn Surroundings,
    ) -> Result<Vec<Arc<Table>>> {
        let mut tables = Vec::new();
        let mut last_key = Vec::new();
        let mut yield_at = YIELD_EVERY_BYTES;
        let mut finished_bytes = 0;
        while entries.advance()? {
            let entry = entries.entry();
            if let Some(builder) = &self.builder
                && entry.key != last_key
                && self.cuts.ends_before(entry.key, builder.file_bytes())
            {
                let table = self.finish()?;
                finished_bytes += table.meta().bytes;
                tables.push(table);
                self.cuts.start_output();
            }
            let builder = match &mut self.builder {
                Some(builder) => builder,
                none => {
                    let id = surroundings.next_file_id();
                    self.outputs.push(id);
                    none.insert(TableBuilder::new(
                        self.target.tables.storage(),
                        id,
                        self.target.compression,
                    )?)
                }
            };
            builder.add(entry)?;
            last_key.clear();
            last_key.extend_from_slice(entry.key);
            if finished_bytes + builder.file_bytes() >= yield_at {
                yield_at = finished_bytes + builder.file_bytes() + YIELD_EVERY_BYTES;
                surroundings.yield_now()?;
            }
        }
        if self.builder.is_some() {
            tables.push(self.finish()?);
        }
        if !is_planted(Bug::SkipDirectorySync) {
            let storage = self.target.tables.storage();
            storage.sync_dir().map_err(|e| Error::io("sync", "the directory", e))?;
        }
        Ok(tables)
    }

    /// Completes the current table.
    fn finish(&mut self) -> Result<Arc<Table>> {
        let builder = self.builder.take().ok_or(Error::Closed)?;
        let meta = TableMeta { purged_seq: self.target.purged_seq, ..builder.finish()? };
        verified(&meta, self.target.tables)
    }

    fn remove_outputs(&mut self) {
        self.builder = None;
        for id in &self.outputs {
            // What cannot be removed now is an orphan, removed at the next open.
            let _ = self.target.tables.remove(*id);
        }
    }
}

/// Opens a table that was just written, and verifies it as a reader would. A device that does not
/// give back what was just written is failing: that is no damage to stored data, and writing the
/// table again and again would not end.
pub(crate) fn verified(meta: &TableMeta, tables: &Arc<Tables>) -> Result<Arc<Table>> {
    let verify = || -> Result<Arc<Table>> {
        let table = Table::open(tables, meta)?;
        table.verify()?;
        Ok(Arc::new(table))
    };
    verify().map_err(|error| match error {
        error if error.is_out_of_descriptors() => error,
        error => Error::io("verify", &filename::table(meta.id), std::io::Error::other(error)),
    })
}
