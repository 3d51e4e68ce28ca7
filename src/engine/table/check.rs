//! The check of a table that may be damaged: says all that does not fit, and walks over the rest.
//!
//! Unlike every other reader, this one goes on behind damage. What it says of each: where it is, what
//! does not fit, and the keys of which versions may be lost by it; the index knows between which keys
//! a block stands, whether the block can be read or not. An index block that cannot be read takes
//! all its data blocks with it, a footer or a top index the whole table.
//!
//! The file is read once, in order, past the cache; on the way its checksum is computed.

use std::sync::{Arc, Mutex};

use crc32c::crc32c_append;

use super::block::{Block, BlockCursor};
use super::filter::{Filter, KeyHash};
use super::format::{Decoded, Handle, Properties};
use super::reader::{INDEX_DISAGREES, Place, Source, compare, decode_block};
use super::{TableMeta, Tables};
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::{Entry, EntryIter};
use crate::engine::key::{Kind, Seq};
use crate::engine::ranges::RangeDeletes;
use crate::engine::storage::File;
use crate::engine::sync::lock;

/// Bytes of one read.
const CHUNK_BYTES: usize = 256 << 10;

/// What damage means for the entries of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All entries can be read.
    Nothing,
    /// Versions of keys behind the first (or from it on) and up to the second may be lost.
    Keys(Border, Vec<u8>),
    /// All entries can be read, and they are not what they should be: not by bytes that changed.
    Unexplained,
}

/// Where keys that may be lost begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Border {
    /// With this key.
    From(Vec<u8>),
    /// Behind this key.
    Behind(Vec<u8>),
}

/// Something in a table that does not fit.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// `Corrupt`, `Io` or `UnknownFormat`.
    pub(crate) error: Error,
    /// Where it is, in bytes.
    pub(crate) offset: u64,
    /// What is lost by it.
    pub(crate) loss: Loss,
}

/// Where faults are gathered: the walks are inputs of a merge, which owns them.
pub(crate) type Faults = Arc<Mutex<Vec<Fault>>>;

/// The entries of a table that can be read, in order. [`EntryIter::advance`] never fails: what does
/// not fit is added to the faults.
pub(crate) struct TableCheck {
    name: String,
    meta: TableMeta,
    faults: Faults,
    /// The range deletes of which none up to the table's `purged_seq` may cover an entry.
    ranges: Arc<RangeDeletes>,
    stream: Option<Stream>,
    filter: Option<Filter>,
    properties: Option<Properties>,
    top: Level,
    index: Level,
    data: Level,
    /// The last entry that the index has named; what is lost begins behind it.
    border: Option<(Vec<u8>, Seq)>,
    /// What the entries add up to, as the file stores them.
    found: Properties,
    /// Whether every entry was read.
    is_whole: bool,
    has_filter_fault: bool,
    has_purge_fault: bool,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    New,
    Under,
    Done,
}

/// A block and a place in it.
struct Level {
    block: Option<Block>,
    cursor: BlockCursor,
}

impl Level {
    fn new() -> Self {
        Level { block: None, cursor: BlockCursor::new() }
    }

    fn enter(&mut self, block: Block) {
        self.block = Some(block);
        self.cursor.enter_next_block();
    }

    fn offset(&self) -> u64 {
        self.block.as_ref().map_or(0, |block| block.offset)
    }

    fn advance(&mut self) -> Decoded<bool> {
        self.block.as_ref().map_or(Ok(false), |block| self.cursor.advance(block))
    }

    /// The block reference that the cursor stands on.
    fn handle(&self) -> Decoded<Handle> {
        let block = self.block.as_ref();
        block
            .and_then(|block| Handle::decode(self.cursor.entry(block).value))
            .ok_or("an index entry is not a block's place")
    }
}

impl TableCheck {
    /// Checks the table that `meta` tells of.
    pub(crate) fn new(
        tables: &Tables,
        meta: &TableMeta,
        ranges: Arc<RangeDeletes>,
        faults: Faults,
    ) -> Self {
        let mut check = TableCheck {
            name: filename::table(meta.id),
            meta: meta.clone(),
            faults,
            ranges,
            stream: None,
            filter: None,
            properties: None,
            top: Level::new(),
            index: Level::new(),
            data: Level::new(),
            border: None,
            found: Properties::none(),
            is_whole: true,
            has_filter_fault: false,
            has_purge_fault: false,
            state: State::New,
        };
        if let Err(error) = check.open(tables) {
            check.state = State::Done;
            check
                .note(error, Loss::Keys(Border::From(meta.smallest.clone()), meta.largest.clone()));
        }
        check
    }

    /// Reads footer and top index, without which there is nothing to walk over, and the rest of what
    /// an open table keeps.
    fn open(&mut self, tables: &Tables) -> Result<()> {
        let file = tables.storage().open(&self.name);
        let file = file.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(&self.name, 0, "it is missing"),
            _ => Error::io("open", &self.name, e),
        })?;
        let source = Source { file: &*file, place: Place { name: &self.name, meta: &self.meta } };
        let footer = source.footer()?;
        let filter = source.decode(footer.filter, Filter::decode);
        let properties = source.decode(footer.properties, Properties::decode).and_then(|found| {
            let place = footer.properties.offset;
            compare(found.clone(), &self.meta)
                .map(|_| found)
                .map_err(|what| Error::corrupt(&self.name, place, what))
        });
        let offset = footer.top_index.offset;
        let top = source.decode(footer.top_index, |bytes| Block::new(bytes.to_vec(), offset))?;
        self.filter = filter.map_err(|error| self.note(error, Loss::Nothing)).ok();
        self.properties = properties.map_err(|error| self.note(error, Loss::Nothing)).ok();
        self.top.enter(top);
        self.stream = Some(Stream::new(file));
        Ok(())
    }

    fn note(&mut self, error: Error, loss: Loss) {
        self.is_whole &= !matches!(loss, Loss::Keys(..));
        let offset = if let Error::Corrupt { offset, .. } = &error { *offset } else { 0 };
        lock(&self.faults).push(Fault { error, offset, loss });
    }

    /// Notes that what stands from the border to `last` is lost, and goes on behind it.
    fn lose(&mut self, error: Error, offset: u64, last: (Vec<u8>, Seq)) {
        let from = match &self.border {
            Some((key, _)) => Border::Behind(key.clone()),
            None => Border::From(self.meta.smallest.clone()),
        };
        self.is_whole = false;
        let loss = Loss::Keys(from, last.0.clone());
        lock(&self.faults).push(Fault { error, offset, loss });
        self.border = Some(last);
    }

    fn damage(&self, offset: u64, what: &'static str) -> Error {
        Error::corrupt(&self.name, offset, what)
    }

    /// Enters the next data block that can be read; false behind the last.
    fn enter_data_block(&mut self) -> bool {
        while self.next_index_entry() {
            let (key, seq) = self.index.cursor.position();
            let last = (key.to_vec(), seq);
            let index_offset = self.index.offset();
            let place = self.index.handle().map_err(|what| self.damage(index_offset, what));
            match place.map(|handle| (handle, self.read_block(handle))) {
                Ok((_, Ok(block))) => {
                    self.found.data_block_count += 1;
                    self.data.enter(block);
                    return true;
                }
                Ok((handle, Err(error))) => self.lose(error, handle.offset, last),
                Err(error) => self.lose(error, index_offset, last),
            }
        }
        false
    }

    /// Moves to the next entry of the index, past index blocks that cannot be read.
    fn next_index_entry(&mut self) -> bool {
        loop {
            let offset = self.index.offset();
            match self.index.advance() {
                Ok(true) => return true,
                Err(what) => self.lose_index_block(what, offset),
                Ok(false) if self.index.block.is_some() => {
                    if self.index.cursor.position() != self.top.cursor.position() {
                        self.lose_index_block(INDEX_DISAGREES, offset);
                    }
                }
                Ok(false) => {}
            }
            self.index.block = None;
            if !self.enter_index_block() {
                return false;
            }
        }
    }

    fn lose_index_block(&mut self, what: &'static str, offset: u64) {
        let (key, seq) = self.top.cursor.position();
        let last = (key.to_vec(), seq);
        self.lose(self.damage(offset, what), offset, last);
    }

    /// Enters the next index block that can be read; false behind the last.
    fn enter_index_block(&mut self) -> bool {
        loop {
            let offset = self.top.offset();
            match self.top.advance() {
                Ok(true) => {}
                Ok(false) => return false,
                Err(what) => {
                    let last = (self.meta.largest.clone(), 0);
                    self.lose(self.damage(offset, what), offset, last);
                    return false;
                }
            }
            let (key, seq) = self.top.cursor.position();
            let last = (key.to_vec(), seq);
            let place = self.top.handle().map_err(|what| self.damage(offset, what));
            match place.map(|handle| (handle, self.read_block(handle))) {
                Ok((_, Ok(block))) => {
                    self.index.enter(block);
                    return true;
                }
                Ok((handle, Err(error))) => self.lose(error, handle.offset, last),
                Err(error) => self.lose(error, offset, last),
            }
        }
    }

    fn read_block(&mut self, handle: Handle) -> Result<Block> {
        let place = Place { name: &self.name, meta: &self.meta };
        let length = place.stored_bytes(handle)?;
        let Some(stream) = &mut self.stream else {
            return Err(place.damage(handle.offset, "the file is not open"));
        };
        let stored = stream.read(&place, handle.offset, length)?;
        decode_block(&stored, self.meta.id, handle.offset)
            .map_err(|what| place.damage(handle.offset, what))
    }

    /// Moves to the next entry; false behind the last.
    fn step(&mut self) -> bool {
        loop {
            let offset = self.data.offset();
            match self.data.advance() {
                Ok(true) => {
                    self.check_entry();
                    return true;
                }
                Ok(false) if self.data.block.is_some() => self.check_end(offset),
                Ok(false) => {}
                Err(what) => {
                    let (key, seq) = self.index.cursor.position();
                    let last = (key.to_vec(), seq);
                    self.lose(self.damage(offset, what), offset, last);
                }
            }
            self.data.block = None;
            if !self.enter_data_block() {
                self.finish();
                return false;
            }
        }
    }

    /// Whether a data block ended with the entry that the index names.
    fn check_end(&mut self, offset: u64) {
        let (key, seq) = self.index.cursor.position();
        let last = (key.to_vec(), seq);
        if self.data.cursor.position() == (key, seq) {
            self.border = Some(last);
        } else {
            self.lose(self.damage(offset, INDEX_DISAGREES), offset, last);
        }
    }

    fn check_entry(&mut self) {
        let Some(block) = &self.data.block else { return };
        let entry = self.data.cursor.entry(block);
        self.found.count(entry);
        let is_denied =
            self.filter.as_ref().is_some_and(|filter| !filter.may_contain(KeyHash::of(entry.key)));
        let seq = self.meta.seq_of(entry.seq);
        let is_covered = self.ranges.covering(entry.key, self.meta.purged_seq) > seq;
        let offset = block.offset;
        if is_denied && !self.has_filter_fault {
            self.has_filter_fault = true;
            let error = self.damage(offset, "the filter denies a key that is there");
            self.note(error, Loss::Nothing);
        }
        if is_covered && !self.has_purge_fault {
            self.has_purge_fault = true;
            let error = self.damage(offset, "an entry is there that a range delete had removed");
            self.note(error, Loss::Unexplained);
        }
    }

    /// Checks what only the whole table can tell.
    fn finish(&mut self) {
        self.check_file_checksum();
        if !self.is_whole {
            return;
        }
        self.found.largest_key = self.data.cursor.position().0.to_vec();
        let as_said = compare(self.found.clone(), &self.meta).is_ok();
        let as_stored = self.properties.as_ref().is_none_or(|stored| *stored == self.found);
        if !as_said || !as_stored {
            let error = self.damage(0, "the entries do not add up to the properties");
            self.note(error, Loss::Unexplained);
        }
    }

    fn check_file_checksum(&mut self) {
        let place = Place { name: &self.name, meta: &self.meta };
        let Some(stream) = &mut self.stream else { return };
        let differs = stream.checksum(&place).is_some_and(|found| found != self.meta.checksum);
        if differs && lock(&self.faults).iter().all(|fault| !is_of(fault, &self.name)) {
            let error = self.damage(0, "the file's checksum is not the one in the manifest");
            self.note(error, Loss::Nothing);
        }
    }
}

/// Whether a fault is of this file.
fn is_of(fault: &Fault, name: &str) -> bool {
    match &fault.error {
        Error::Corrupt { file, .. } | Error::Io { file, .. } => file == name,
        _ => false,
    }
}

impl EntryIter for TableCheck {
    fn advance(&mut self) -> Result<bool> {
        if self.state == State::Done {
            return Ok(false);
        }
        self.state = if self.step() { State::Under } else { State::Done };
        Ok(self.state == State::Under)
    }

    fn entry(&self) -> Entry<'_> {
        let none = Entry { key: &[], seq: 0, kind: Kind::Delete, value: &[] };
        let entry = self.data.block.as_ref().map_or(none, |block| self.data.cursor.entry(block));
        Entry { seq: self.meta.seq_of(entry.seq), ..entry }
    }
}

/// A file that is read once from front to back, in large pieces, with a checksum over all of it.
/// Blocks that are not where the last one ended are read by themselves.
struct Stream {
    file: Arc<dyn File>,
    /// Where `chunk` starts.
    offset: u64,
    chunk: Vec<u8>,
    /// Over all bytes before the end of `chunk`; `None` once some could not be read.
    checksum: Option<u32>,
}

impl Stream {
    fn new(file: Arc<dyn File>) -> Self {
        Stream { file, offset: 0, chunk: Vec::new(), checksum: Some(0) }
    }

    fn end(&self) -> u64 {
        self.offset + self.chunk.len() as u64
    }

    /// `length` bytes from `offset`, which lie within the file.
    fn read(&mut self, place: &Place<'_>, offset: u64, length: usize) -> Result<Vec<u8>> {
        while self.end() < offset + length as u64
            && offset >= self.offset
            && offset <= self.end()
            && self.checksum.is_some()
        {
            self.extend(place, offset);
        }
        let held = usize::try_from(offset.wrapping_sub(self.offset)).ok();
        if let Some(bytes) = held.and_then(|at| self.chunk.get(at..at.checked_add(length)?)) {
            return Ok(bytes.to_vec());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(|e| place.io(offset, e))?;
        Ok(bytes)
    }

    /// Reads the next piece, and forgets what stands before `keep`.
    fn extend(&mut self, place: &Place<'_>, keep: u64) {
        let end = self.end();
        let bytes = (place.meta.bytes.saturating_sub(end)).min(CHUNK_BYTES as u64) as usize;
        let mut piece = vec![0; bytes];
        let read = self.file.read_exact_at(&mut piece, end);
        if bytes == 0 || read.is_err() {
            self.checksum = None;
            return;
        }
        self.checksum = self.checksum.map(|sum| crc32c_append(sum, &piece));
        self.chunk.drain(..(keep - self.offset) as usize);
        self.offset = keep;
        self.chunk.extend_from_slice(&piece);
    }

    /// The whole file's checksum; `None` if not all of it can be read.
    fn checksum(&mut self, place: &Place<'_>) -> Option<u32> {
        while self.end() < place.meta.bytes && self.checksum.is_some() {
            self.extend(place, self.end());
        }
        self.checksum
    }
}
