//! Writes a table, front to back, in one pass.
//!
//! Blocks gather in a buffer and leave in large writes; the index waits in memory, so that the data
//! blocks lie together. Nothing of a table counts before [`TableBuilder::finish`] has synced it and
//! the caller has synced the directory: a builder that failed or was dropped leaves an orphan.

use std::sync::Arc;

use crc32c::crc32c_append;

use super::block::BlockBuilder;
use super::compression::{Compression, Compressor};
use super::filter::FilterBuilder;
use super::format::{Footer, Handle, Properties, seal_block};
use super::reclaim::Expiries;
use super::{BLOCK_BYTES, Hidden, TableMeta};
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::Entry;
use crate::engine::key::{Kind, Seq, compare_entries, split_expiry};
use crate::engine::storage::{File, Storage};
use crate::planted::{Bug, is_planted};

/// The size that an index block does not exceed, in bytes, unless it holds a single larger entry.
const INDEX_BLOCK_BYTES: usize = 4 << 10;

/// Bytes that gather before they are written, so that each call is worth its price.
const WRITE_BYTES: usize = 256 << 10;

/// Builds one table.
pub(crate) struct TableBuilder {
    sink: Sink,
    data: BlockBuilder,
    compressor: Compressor,
    index: IndexBuilder,
    filter: FilterBuilder,
    properties: Properties,
    expiries: Expiries,
    /// What versions hide that are newer, in bytes of keys and values.
    hidden: Hidden,
}

impl TableBuilder {
    /// Creates the file of table `id`, which must not exist. Data blocks will be compressed; the
    /// others are not: they are few, and needed more often.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn new(storage: &dyn Storage, id: u64, compression: Compression) -> Result<Self> {
        let name = filename::table(id);
        let file = storage.create(&name).map_err(|e| Error::io("create", &name, e))?;
        Ok(TableBuilder {
            sink: Sink { file, name, id, written: 0, buffer: Vec::new(), checksum: 0 },
            data: BlockBuilder::default(),
            compressor: Compressor::new(compression),
            index: IndexBuilder::default(),
            filter: FilterBuilder::default(),
            properties: Properties::none(),
            expiries: Expiries::default(),
            hidden: Hidden::default(),
        })
    }

    /// Adds the next entry. After an error the table cannot be finished.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if the entry does not come after the last one: then its source is damaged.
    pub(crate) fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        let is_first = self.is_empty();
        let (last_key, last_seq) = self.data.last();
        if !is_first && compare_entries((last_key, last_seq), (entry.key, entry.seq)).is_ge() {
            let what = "entries to be written are out of order";
            return Err(Error::corrupt(&self.sink.name, self.sink.position(), what));
        }
        if is_first || last_key != entry.key {
            self.filter.add(entry.key);
        } else {
            self.hidden.bytes += (entry.key.len() + entry.value.len()) as u64;
            self.hidden.seq = self.hidden.seq.max(last_seq);
        }
        if !self.data.is_empty() && !self.data.has_room(entry, BLOCK_BYTES) {
            self.finish_data_block()?;
        }
        self.data.add(entry);
        self.properties.count(entry);
        if entry.kind == Kind::Expiring {
            self.expiries.add(split_expiry(entry.value).0);
        }
        Ok(())
    }

    /// The bytes that the file's data blocks take so far.
    pub(crate) fn file_bytes(&self) -> u64 {
        let unfinished = if self.data.is_empty() { 0 } else { self.data.size() as u64 };
        self.sink.position() + unfinished
    }

    /// Whether nothing has been added.
    pub(crate) fn is_empty(&self) -> bool {
        self.properties.entry_count == 0
    }

    /// Writes the rest and syncs the file; the directory is the caller's to sync.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if the table is empty, which no reader would accept.
    pub(crate) fn finish(mut self) -> Result<TableMeta> {
        if self.is_empty() {
            return Err(Error::corrupt(&self.sink.name, 0, "a table needs an entry"));
        }
        self.finish_data_block()?;
        self.properties.largest_key = self.data.last().0.to_vec();
        let top_index = self.index.finish(&mut self.sink)?;
        let filter = self.sink.write_block(self.filter.finish())?;
        let properties = self.sink.write_block(self.properties.encode())?;
        let top_index = self.sink.write_block(top_index)?;
        let footer = Footer { top_index, filter, properties, id: self.sink.id };
        self.sink.append(&footer.encode())?;
        if !is_planted(Bug::InstallBeforeSync) {
            self.sink.sync()?;
        }
        let (entries, tombstones) = (self.properties.entry_count, self.properties.tombstone_count);
        let raw_bytes = self.properties.raw_key_bytes + self.properties.raw_value_bytes;
        let hidden = scaled(self.hidden, raw_bytes, self.sink.written);
        let reclaim_ms = self.expiries.reclaim_ms(entries, tombstones);
        Ok(TableMeta { reclaim_ms, hidden, ..self.properties.into_meta(&self.sink) })
    }

    fn finish_data_block(&mut self) -> Result<()> {
        let (block, compression) = self.compressor.compress(self.data.finish());
        let handle = self.sink.write_stored(block, compression)?;
        self.index.add(self.data.last(), handle);
        self.properties.data_block_count += 1;
        Ok(())
    }
}

/// What is hidden of `raw_bytes`, in bytes of the file, which takes `file_bytes`.
fn scaled(hidden: Hidden, raw_bytes: u64, file_bytes: u64) -> Hidden {
    let bytes = u128::from(file_bytes) * u128::from(hidden.bytes) / u128::from(raw_bytes.max(1));
    Hidden { bytes: u64::try_from(bytes).unwrap_or(file_bytes), ..hidden }
}

impl Properties {
    fn into_meta(self, sink: &Sink) -> TableMeta {
        TableMeta {
            id: sink.id,
            bytes: sink.written,
            smallest: self.smallest_key,
            largest: self.largest_key,
            min_seq: self.min_seq,
            max_seq: self.max_seq,
            entries: self.entry_count,
            tombstones: self.tombstone_count,
            purged_seq: 0,
            reclaim_ms: u64::MAX,
            hidden: Hidden::default(),
            assigned_seq: 0,
            checksum: sink.checksum,
        }
    }
}

/// Gathers where the data blocks are, in index blocks, and where those are, in the top index.
#[derive(Default)]
struct IndexBuilder {
    block: BlockBuilder,
    full: Vec<(Vec<u8>, Seq, Vec<u8>)>,
}

impl IndexBuilder {
    /// Adds a block by its last entry.
    fn add(&mut self, last: (&[u8], Seq), handle: Handle) {
        let value = handle.encode();
        let entry = Entry { key: last.0, seq: last.1, kind: Kind::Put, value: &value };
        if !self.block.is_empty() && !self.block.has_room(entry, INDEX_BLOCK_BYTES) {
            self.finish_block();
        }
        self.block.add(entry);
    }

    fn finish_block(&mut self) {
        let bytes = self.block.finish();
        let (key, seq) = self.block.last();
        self.full.push((key.to_vec(), seq, bytes));
    }

    /// Writes the index blocks and returns the top index over them.
    fn finish(&mut self, sink: &mut Sink) -> Result<Vec<u8>> {
        self.finish_block();
        let mut top = BlockBuilder::default();
        for (key, seq, block) in self.full.drain(..) {
            let value = sink.write_block(block)?.encode();
            top.add(Entry { key: &key, seq, kind: Kind::Put, value: &value });
        }
        Ok(top.finish())
    }
}

/// The file under construction: an append-only stream with a checksum over all of it.
struct Sink {
    file: Arc<dyn File>,
    name: String,
    id: u64,
    /// Bytes handed to the file.
    written: u64,
    /// Bytes that follow them.
    buffer: Vec<u8>,
    /// CRC32C of what was handed to the file.
    checksum: u32,
}

impl Sink {
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn write_block(&mut self, block: Vec<u8>) -> Result<Handle> {
        self.write_stored(block, Compression::None)
    }

    fn write_stored(&mut self, mut block: Vec<u8>, compression: Compression) -> Result<Handle> {
        let handle = Handle { offset: self.position(), size: block.len() as u64 };
        seal_block(&mut block, compression, self.id, handle.offset);
        self.append(&block)?;
        Ok(handle)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() >= WRITE_BYTES {
            // A large value need not be in memory twice.
            self.write_out()?;
            return self.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer);
        buffer.clear();
        self.buffer = buffer;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all_at(bytes, self.written);
        written.map_err(|e| Error::io("write", &self.name, e))?;
        self.checksum = crc32c_append(self.checksum, bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.write_out()?;
        self.file.sync().map_err(|e| Error::io("sync", &self.name, e))
    }
}
