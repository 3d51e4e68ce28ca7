//! Reads a table: opening, single keys, and the check of a whole file.
//!
//! Filter, top index and properties are read once and stay in memory; the file does not stay open for
//! the table's sake (see `handles`). Everything else that a lookup needs comes through [`Table::read_block`]: from the block cache, or from the file into it. Bytes
//! of a block become trusted in one place, [`Table::check_block`], on every read of the file; what
//! is in the cache has passed it. A miss is answered only by an intact filter or an intact block; where the index promised an entry that its block
//! does not hold, that is damage.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crc32c::crc32c_append;

use super::block::{Block, BlockCursor};
use super::compression::decompress;
use super::filter::{Filter, KeyHash};
use super::format::{Decoded, FOOTER_BYTES, Footer, Handle, Properties, check_block};
use super::iter::TableIter;
use super::scan::TableScan;
use super::{Read, ReadMode, TableMeta, Tables, Value, Version};
use crate::engine::cache::Weigh;
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::{Direction, Entry, EntryIter, ScanRange};
use crate::engine::key::Seq;
use crate::engine::storage::File;

/// Bytes per read of a check over the whole file.
const VERIFY_CHUNK_BYTES: usize = 1 << 20;

/// A stored block up to this size is read into a buffer that its thread keeps.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` bytes of no particular content: what is read into them is at once decoded.
fn with_scratch<T>(len: usize, read: impl FnOnce(&mut [u8]) -> T) -> T {
    if len > SCRATCH_BYTES {
        return read(&mut vec![0; len]);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        read(scratch.get_mut(..len).unwrap_or_default())
    })
}

/// Bytes of memory that open tables keep as long as they are open.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ResidentBytes {
    /// Of their filters.
    pub(crate) filter: usize,
    /// Of the top levels of their indexes.
    pub(crate) index: usize,
}

/// An open table.
pub(crate) struct Table {
    tables: Arc<Tables>,
    name: String,
    meta: TableMeta,
    properties: Properties,
    filter: Filter,
    top_index: Block,
    /// Whether the file goes once nobody reads it any more.
    is_retired: AtomicBool,
}

impl Table {
    /// Opens the table that `meta` tells of, and checks that the file is that table: its length,
    /// footer and properties.
    ///
    /// # Errors
    /// `Io`, `Corrupt` or `UnknownFormat`.
    pub(crate) fn open(tables: &Arc<Tables>, meta: &TableMeta) -> Result<Table> {
        let name = filename::table(meta.id);
        let file = tables.file(meta.id).map_err(|e| Error::io("open", &name, e))?;
        let source = Source { file: &*file, place: Place { name: &name, meta } };
        let footer = source.footer()?;
        let properties = source.decode(footer.properties, Properties::decode)?;
        let properties = compare(properties, meta)
            .map_err(|what| Error::corrupt(&name, footer.properties.offset, what))?;
        let filter = source.decode(footer.filter, Filter::decode)?;
        let offset = footer.top_index.offset;
        let top_index =
            source.decode(footer.top_index, |bytes| Block::new(bytes.to_vec(), offset))?;
        let (tables, meta, is_retired) = (Arc::clone(tables), meta.clone(), AtomicBool::new(false));
        Ok(Table { tables, name, meta, properties, filter, top_index, is_retired })
    }

    /// Has the file removed once the table is dropped: no version names it any more, and the edit
    /// that says so is durable.
    pub(crate) fn retire(&self) {
        if !self.is_retired.swap(true, Ordering::AcqRel) {
            self.tables.expect_trash();
        }
    }

    /// Bytes of memory that the open table keeps: filter and top index.
    pub(crate) fn resident_bytes(&self) -> ResidentBytes {
        let index = self.top_index.weight_bytes();
        ResidentBytes { filter: self.filter.size_bytes(), index }
    }

    /// About how many bytes of the file are between two keys, from what is in memory; an empty `end` is
    /// behind the last key.
    pub(crate) fn bytes_between(&self, start: &[u8], end: &[u8]) -> u64 {
        let is_inside = |key: &[u8]| start <= key && (end.is_empty() || key < end);
        if is_inside(&self.meta.smallest) && is_inside(&self.meta.largest) {
            return self.meta.bytes;
        }
        // All parts of the index are of about one size. Where it cannot be read, others will say so.
        let (mut all, mut inside) = (0, 0);
        let mut cursor = BlockCursor::new();
        while cursor.advance(&self.top_index).is_ok_and(|moved| moved) {
            all += 1;
            inside += u64::from(is_inside(cursor.position().0));
        }
        self.meta.bytes * inside / u64::max(all, 1)
    }

    /// What the table was opened with.
    pub(crate) fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// Whether any of its entries expires.
    pub(crate) fn has_expiring(&self) -> bool {
        self.expiring_count() > 0
    }

    /// How many of its entries expire.
    pub(crate) fn expiring_count(&self) -> u64 {
        self.properties.expiring_count
    }

    /// Whether the table may hold `key`; "no" is certain. In memory only.
    pub(crate) fn may_contain(&self, key: &[u8], hash: KeyHash) -> bool {
        let in_range = *self.meta.smallest <= *key && *key <= *self.meta.largest;
        in_range && self.filter.may_contain(hash)
    }

    /// The newest version of `key`, whose hash is given, that is not newer than `snapshot`. Asks the
    /// filter first.
    ///
    /// # Errors
    /// `Io` or `Corrupt`: never answered as a miss.
    pub(crate) fn get(
        &self,
        key: &[u8],
        hash: KeyHash,
        snapshot: Seq,
        mode: ReadMode,
    ) -> Result<Read<Option<Version>>> {
        if snapshot < self.meta.min_seq || !self.may_contain(key, hash) {
            return Ok(Read::Done(None));
        }
        // Where the number was assigned the file says 0, which is not newer than the snapshot either.
        // A block belongs to the last entry it holds, so the first block not before the key's
        // version holds it, or nobody does; versions that straddle blocks need no second look.
        let Some(handle) = self.find_block(&self.top_index, key, snapshot)? else {
            return Ok(Read::Done(None));
        };
        let Read::Done(index) = self.read_block(handle, mode)? else {
            return Ok(Read::WouldBlock);
        };
        let Some(handle) = self.find_block(&index, key, snapshot)? else {
            return Err(self.damage(index.offset, INDEX_DISAGREES));
        };
        let Read::Done(data) = self.read_block(handle, mode)? else {
            return Ok(Read::WouldBlock);
        };
        self.find_version(data, key, snapshot).map(Read::Done)
    }

    /// All entries in order.
    pub(crate) fn iter(self: &Arc<Self>) -> TableIter {
        TableIter::new(Arc::clone(self))
    }

    /// The entries with keys in `range`, in `direction`. Reads nothing yet.
    pub(crate) fn scan(self: &Arc<Self>, range: ScanRange<'_>, direction: Direction) -> TableScan {
        TableScan::new(Arc::clone(self), range, direction)
    }

    /// Reads the whole file and checks everything that can be: every checksum, the order, the
    /// counts, the filter and the file's checksum in the manifest.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub(crate) fn verify(&self) -> Result<()> {
        self.verify_checksum()?;
        let (mut found, mut last_key) = (Properties::none(), Vec::new());
        let mut iter = TableIter::new(self);
        while iter.advance()? {
            let entry = iter.entry();
            if !self.filter.may_contain(KeyHash::of(entry.key)) {
                return Err(self.damage(0, "the filter denies a key that is there"));
            }
            found.count(entry);
            last_key.clear();
            last_key.extend_from_slice(entry.key);
        }
        found.data_block_count = iter.block_count();
        found.largest_key = last_key;
        if found == self.properties {
            Ok(())
        } else {
            Err(self.damage(0, "the entries do not add up to the properties"))
        }
    }

    fn verify_checksum(&self) -> Result<()> {
        let mut chunk = Vec::new();
        let (mut offset, mut checksum) = (0, 0);
        while offset < self.meta.bytes {
            let len = (self.meta.bytes - offset).min(VERIFY_CHUNK_BYTES as u64);
            self.read_raw(&mut chunk, offset, len as usize)?;
            checksum = crc32c_append(checksum, &chunk);
            offset += len;
        }
        if checksum == self.meta.checksum {
            Ok(())
        } else {
            Err(self.damage(0, "the file's checksum is not the one in the manifest"))
        }
    }

    /// The block at `handle`, from the cache or else through it.
    fn read_block(&self, handle: Handle, mode: ReadMode) -> Result<Read<Arc<Block>>> {
        let key = (self.meta.id, handle.offset);
        if let Some(block) = self.tables.cache().get(key) {
            return Ok(Read::Done(block));
        }
        let Read::Done(block) = self.read_stored_block(handle, mode)? else {
            return Ok(Read::WouldBlock);
        };
        let block = Arc::new(block);
        self.tables.cache().insert(key, Arc::clone(&block));
        Ok(Read::Done(block))
    }

    /// Reads a block from the file, past the cache.
    fn read_stored_block(&self, handle: Handle, mode: ReadMode) -> Result<Read<Block>> {
        let len = self.stored_bytes(handle)?;
        let file = match mode {
            ReadMode::Blocking => self.file()?,
            // Opening one may wait.
            ReadMode::Cached => match self.tables.open_file(self.meta.id) {
                Some(file) => file,
                None => return Ok(Read::WouldBlock),
            },
        };
        let source = Source { file: &*file, place: self.place() };
        with_scratch(len, |stored| {
            let is_read = match mode {
                ReadMode::Blocking => source.read(stored, handle.offset).map(|()| true)?,
                ReadMode::Cached => source.try_read(stored, handle.offset)?,
            };
            if is_read {
                self.check_block(stored, handle.offset).map(Read::Done)
            } else {
                Ok(Read::WouldBlock)
            }
        })
    }

    /// Takes a block as it is stored at `offset`, if it is intact.
    pub(super) fn check_block(&self, stored: &[u8], offset: u64) -> Result<Block> {
        decode_block(stored, self.meta.id, offset).map_err(|what| self.damage(offset, what))
    }

    /// Fills `chunk` with `len` bytes of the file from `offset`.
    pub(super) fn read_raw(&self, chunk: &mut Vec<u8>, offset: u64, len: usize) -> Result<()> {
        chunk.resize(len, 0);
        let file = self.file()?;
        Source { file: &*file, place: self.place() }.read(chunk, offset)
    }

    /// The length of a block with its trailer, which is certain to lie within the file.
    pub(super) fn stored_bytes(&self, handle: Handle) -> Result<usize> {
        self.place().stored_bytes(handle)
    }

    pub(super) fn top_index(&self) -> &Block {
        &self.top_index
    }

    /// Reads the block reference that an index block's cursor stands on.
    pub(super) fn handle_at(&self, index: &Block, cursor: &BlockCursor) -> Result<Handle> {
        self.handle(index, cursor.entry(index).value)
    }

    /// An entry of this table as its readers see it.
    #[inline]
    pub(super) fn seen<'a>(&self, entry: Entry<'a>) -> Entry<'a> {
        Entry { seq: self.meta.seq_of(entry.seq), ..entry }
    }

    /// Reads a block reference out of `index`.
    pub(super) fn handle(&self, index: &Block, value: &[u8]) -> Result<Handle> {
        Handle::decode(value)
            .ok_or_else(|| self.damage(index.offset, "an index entry is not a block's place"))
    }

    pub(super) fn damage(&self, offset: u64, what: &'static str) -> Error {
        Error::corrupt(&self.name, offset, what)
    }

    /// Reads a block past the cache, waiting for the device.
    pub(super) fn read_past_cache(&self, handle: Handle) -> Result<Arc<Block>> {
        let read = self.read_stored_block(handle, ReadMode::Blocking)?;
        self.waited(read, handle).map(Arc::new)
    }

    /// Reads a block through the cache, waiting for the device.
    pub(super) fn read_through_cache(&self, handle: Handle) -> Result<Arc<Block>> {
        let read = self.read_block(handle, ReadMode::Blocking)?;
        self.waited(read, handle)
    }

    /// The block at `handle` if the cache holds it. To the cache that is no use of it.
    pub(super) fn peek_block(&self, handle: Handle) -> Option<Arc<Block>> {
        self.tables.cache().peek((self.meta.id, handle.offset))
    }

    /// What a read that was allowed to wait came to.
    fn waited<T>(&self, read: Read<T>, handle: Handle) -> Result<T> {
        match read {
            Read::Done(done) => Ok(done),
            Read::WouldBlock => Err(self.place().io(handle.offset, ErrorKind::WouldBlock.into())),
        }
    }

    /// Names file and offset of damage found in `block`.
    pub(super) fn decoded<T>(&self, block: &Block, decoded: Decoded<T>) -> Result<T> {
        decoded.map_err(|what| self.damage(block.offset, what))
    }

    fn file(&self) -> Result<Arc<dyn File>> {
        self.tables.file(self.meta.id).map_err(|e| self.place().io(0, e))
    }

    fn place(&self) -> Place<'_> {
        Place { name: &self.name, meta: &self.meta }
    }

    /// The first block in `index` whose last entry does not come before (`key`, `seq`).
    fn find_block(&self, index: &Block, key: &[u8], seq: Seq) -> Result<Option<Handle>> {
        match self.decoded(index, index.find((key, seq)))? {
            Some(found) => self.handle(index, index.slice(found.value)).map(Some),
            None => Ok(None),
        }
    }

    fn find_version(&self, data: Arc<Block>, key: &[u8], seq: Seq) -> Result<Option<Version>> {
        let Some(found) = self.decoded(&data, data.find((key, seq)))? else {
            return Err(self.damage(data.offset, INDEX_DISAGREES));
        };
        let (seq, kind) = (self.meta.seq_of(found.seq), found.kind);
        let version = || Version { seq, kind, value: Value::pinned(data, found.value) };
        Ok(found.is_key.then(version))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if *self.is_retired.get_mut() {
            self.tables.discard(self.meta.id);
        }
    }
}

/// An index entry names a last entry that its block does not end with.
pub(super) const INDEX_DISAGREES: &str = "the block does not end where the index says";

/// The properties as readers see them, if they are those that the manifest tells of.
pub(super) fn compare(mut properties: Properties, meta: &TableMeta) -> Decoded<Properties> {
    if meta.assigned_seq != 0 {
        let written = (properties.min_seq, properties.max_seq);
        if written != (0, 0) {
            return Err("the table's entries had numbers before the manifest gave them one");
        }
        (properties.min_seq, properties.max_seq) = (meta.assigned_seq, meta.assigned_seq);
    }
    let counts = (properties.entry_count, properties.tombstone_count);
    let seqs = (properties.min_seq, properties.max_seq);
    let keys = (&properties.smallest_key, &properties.largest_key);
    let agree = counts == (meta.entries, meta.tombstones)
        && seqs == (meta.min_seq, meta.max_seq)
        && keys == (&meta.smallest, &meta.largest);
    agree.then_some(properties).ok_or("the table's properties are not those in the manifest")
}

/// The block that is stored at `offset` of table `id`, if it is intact.
pub(super) fn decode_block(stored: &[u8], id: u64, offset: u64) -> Decoded<Block> {
    check_block(stored, id, offset)
        .and_then(|(compression, bytes)| decompress(compression, bytes))
        .and_then(|block| Block::new(block, offset))
}

/// A file that is expected to be a certain table, for lengths and errors.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) meta: &'a TableMeta,
}

impl Place<'_> {
    /// The length of a block with its trailer, held against the file's before anyone allocates it.
    pub(super) fn stored_bytes(&self, handle: Handle) -> Result<usize> {
        let limit = self.meta.bytes.saturating_sub(FOOTER_BYTES as u64);
        handle
            .end()
            .filter(|end| *end <= limit)
            .and_then(|end| usize::try_from(end - handle.offset).ok())
            .ok_or_else(|| self.damage(handle.offset, "a block reaches past the file's end"))
    }

    pub(super) fn damage(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::corrupt(self.name, offset, what)
    }

    /// A file that ends too soon is damaged; any other failure is the device's.
    pub(super) fn io(&self, offset: u64, error: io::Error) -> Error {
        if error.kind() == ErrorKind::UnexpectedEof {
            self.damage(offset, "the file ends too soon")
        } else {
            Error::io("read", self.name, error)
        }
    }
}

/// That file, open.
pub(super) struct Source<'a> {
    pub(super) file: &'a dyn File,
    pub(super) place: Place<'a>,
}

impl Source<'_> {
    pub(super) fn footer(&self) -> Result<Footer> {
        let (name, meta) = (self.place.name, self.place.meta);
        let found = self.file.len().map_err(|e| Error::io("read", name, e))?;
        let Some(offset) = found.checked_sub(FOOTER_BYTES as u64).filter(|_| found == meta.bytes)
        else {
            let what = format!("it is {found} bytes long, the manifest says {}", meta.bytes);
            return Err(self.place.damage(found.min(meta.bytes), what));
        };
        let mut bytes = [0; FOOTER_BYTES];
        self.read(&mut bytes, offset)?;
        let footer = Footer::decode(&bytes, name, offset)?;
        if footer.id == meta.id {
            Ok(footer)
        } else {
            Err(self.place.damage(offset, format!("it is the footer of table {}", footer.id)))
        }
    }

    /// Reads a block that stays in memory and decodes it.
    pub(super) fn decode<T>(
        &self,
        handle: Handle,
        decode: impl FnOnce(&[u8]) -> Decoded<T>,
    ) -> Result<T> {
        let mut stored = vec![0; self.place.stored_bytes(handle)?];
        self.read(&mut stored, handle.offset)?;
        check_block(&stored, self.place.meta.id, handle.offset)
            .and_then(|(compression, bytes)| decode(&decompress(compression, bytes)?))
            .map_err(|what| self.place.damage(handle.offset, what))
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| self.place.io(offset, e))
    }

    /// As [`Source::read`], but false where it would have to wait.
    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool> {
        match self.file.try_read_exact_at(buf, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(self.place.io(offset, e)),
        }
    }
}
