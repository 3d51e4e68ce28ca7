//! Writing tables: the common work of a flush and a merge.
//!
//! Outputs are synced, and read back and verified, before anybody is told of them; on any error
//! they are removed again. A key's versions never straddle two outputs, for then the tables of a
//! level would overlap.

use std::sync::Arc;

use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::EntryIter;
use crate::engine::storage::Storage;
use crate::engine::table::{BlockCache, Compression, Table, TableBuilder};

/// Bytes written between two looks at what is more urgent.
const YIELD_EVERY_BYTES: u64 = 256 << 10;

/// What a job may ask its surroundings for.
pub(crate) trait Surroundings {
    /// An id for a new table.
    fn next_file_id(&mut self) -> u64;
    /// Does what is more urgent, if there is something; an error ends the job.
    fn yield_now(&mut self) -> Result<()>;
}

/// Where tables go, and what they are to be.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Holds the files.
    pub(crate) storage: &'a dyn Storage,
    /// What the tables will be read through.
    pub(crate) cache: &'a Arc<BlockCache>,
    /// How their data blocks are compressed.
    pub(crate) compression: Compression,
    /// The size at which the next table is begun, in bytes.
    pub(crate) table_bytes: u64,
}

/// Writes what `entries` yields as tables, durable and verified.
pub(crate) fn write_tables(
    target: Target<'_>,
    entries: &mut dyn EntryIter,
    surroundings: &mut dyn Surroundings,
) -> Result<Vec<Arc<Table>>> {
    let mut writer = Writer { target, builder: None, outputs: Vec::new() };
    let outcome = writer.run(entries, surroundings);
    if outcome.is_err() {
        writer.remove_outputs();
    }
    outcome
}

struct Writer<'a> {
    target: Target<'a>,
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
            let full =
                self.builder.as_ref().is_some_and(|b| b.file_bytes() >= self.target.table_bytes);
            if full && entry.key != last_key {
                tables.push(self.finish()?);
                finished_bytes += tables.last().map_or(0, |table: &Arc<Table>| table.meta().bytes);
            }
            let builder = match &mut self.builder {
                Some(builder) => builder,
                none => {
                    let id = surroundings.next_file_id();
                    self.outputs.push(id);
                    none.insert(TableBuilder::new(
                        self.target.storage,
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
        self.target.storage.sync_dir().map_err(|e| Error::io("sync", "the directory", e))?;
        Ok(tables)
    }

    /// Completes the current table, then opens and verifies it as a reader would.
    fn finish(&mut self) -> Result<Arc<Table>> {
        let builder = self.builder.take().ok_or(Error::Closed)?;
        let meta = builder.finish()?;
        let table = Table::open(self.target.storage, &meta, self.target.cache)?;
        table.verify()?;
        Ok(Arc::new(table))
    }

    fn remove_outputs(&mut self) {
        self.builder = None;
        for id in &self.outputs {
            // What cannot be removed now is an orphan, removed at the next open.
            let _ = self.target.storage.remove(&filename::table(*id));
        }
    }
}
