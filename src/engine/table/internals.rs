//! Blocks, filters and tables for benchmarks and fuzzing: see `engine::internals`.

mod reading;

use std::path::Path;
use std::sync::Arc;

pub use self::reading::{
    BlockEntry, Found, Told, encode_block, load_block, reread_footer, reread_handle,
    reread_properties, store_block,
};
use super::block::{Block, BlockBuilder};
use super::filter::{Filter, FilterBuilder};
use super::{
    BLOCK_BYTES, BlockCache, Compression, KeyHash, Read, ReadMode, Table, TableBuilder, TableMeta,
};
use super::{Tables, Value};

use crate::engine::error::{Error, Result};
use crate::engine::iter::{Direction, Entry, EntryIter, ScanRange};
use crate::engine::key::{Kind, Seq};
use crate::engine::storage::{Storage, disk::DiskStorage};

/// The only table's number.
const TABLE: u64 = 1;
/// Files that may be open at once.
const OPEN_FILES: usize = 8;

/// Takes up to `limit` steps; returns how many there were.
pub(in crate::engine) fn count(mut entries: impl EntryIter, limit: usize) -> Result<usize> {
    let mut steps = 0;
    while steps < limit && entries.advance()? {
        std::hint::black_box(entries.entry());
        steps += 1;
    }
    Ok(steps)
}

fn entry<'a>((key, value): (&'a [u8], &'a [u8])) -> Entry<'a> {
    Entry { key, seq: 1, kind: Kind::Put, value }
}

/// Builds data blocks as a table has them, before compression, of entries that are in the order of
/// their keys.
pub fn build_blocks<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<Vec<u8>> {
    let (mut builder, mut blocks) = (BlockBuilder::default(), Vec::new());
    for entry in entries.map(entry) {
        if !builder.is_empty() && !builder.has_room(entry, BLOCK_BYTES) {
            blocks.push(builder.finish());
        }
        builder.add(entry);
    }
    if !builder.is_empty() {
        blocks.push(builder.finish());
    }
    blocks
}

/// A data block in memory.
pub struct DataBlock(Block);

impl DataBlock {
    /// Takes the bytes of a block; `None` if they are none.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        Block::new(bytes, 0).ok().map(DataBlock)
    }

    /// The value of `key`.
    pub fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.0.find((key, Seq::MAX)).ok()??;
        found.is_key.then(|| self.0.slice(found.value))
    }
}

/// A table's filter in memory.
pub struct KeyFilter(Filter);

impl KeyFilter {
    /// The filter of `keys`; `None` if there are too many.
    pub fn build<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut builder = FilterBuilder::default();
        keys.for_each(|key| builder.add(key));
        Filter::decode(&builder.finish()).ok().map(KeyFilter)
    }

    /// Whether `key` may be one of them; "no" is certain.
    pub fn may_contain(&self, key: &[u8]) -> bool {
        self.0.may_contain(KeyHash::of(key))
    }
}

/// A table on disk, with a block cache of its own.
pub struct SortedTable {
    storage: Arc<DiskStorage>,
    meta: TableMeta,
    table: Arc<Table>,
}

impl SortedTable {
    /// Writes a table, compressed with LZ4, to the directory `path`, of entries that are in the
    /// order of their keys.
    ///
    /// # Errors
    /// `Io`, or `Corrupt` without entries.
    pub fn create<'a>(
        path: &Path,
        entries: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        cache_bytes: usize,
    ) -> Result<Self> {
        let storage = DiskStorage::new(path).map_err(|e| Error::io("open", "directory", e))?;
        let mut builder = TableBuilder::new(&storage, TABLE, Compression::Lz4)?;
        for entry in entries.map(entry) {
            builder.add(entry)?;
        }
        Self::open(Arc::new(storage), builder.finish()?, cache_bytes)
    }

    /// The same table with another block cache, which is empty.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn reopened(&self, cache_bytes: usize) -> Result<Self> {
        Self::open(Arc::clone(&self.storage), self.meta.clone(), cache_bytes)
    }

    fn open(storage: Arc<DiskStorage>, meta: TableMeta, cache_bytes: usize) -> Result<Self> {
        let shared = Arc::clone(&storage) as Arc<dyn Storage>;
        let tables = Arc::new(Tables::new(shared, BlockCache::new(cache_bytes), OPEN_FILES));
        let table = Arc::new(Table::open(&tables, &meta)?);
        Ok(SortedTable { storage, meta, table })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value<'static>>> {
        match self.table.get(key, KeyHash::of(key), Seq::MAX, ReadMode::Blocking)? {
            Read::Done(found) => Ok(found.map(|found| found.value)),
            Read::WouldBlock => Ok(None),
        }
    }

    /// Walks over up to `limit` entries from `start` on; returns how many there were.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn scan(&self, start: &[u8], limit: usize) -> Result<usize> {
        count(self.table.scan(ScanRange { start, end: None }, Direction::Forward), limit)
    }

    /// The same over all entries, beginning at the last.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn scan_back(&self) -> Result<usize> {
        let all = ScanRange { start: b"", end: None };
        count(self.table.scan(all, Direction::Backward), usize::MAX)
    }

    /// Walks over all entries as a merge does.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn walk(&self) -> Result<usize> {
        count(self.table.iter(), usize::MAX)
    }
}
