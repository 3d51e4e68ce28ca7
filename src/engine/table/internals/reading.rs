//! Reads blocks, filters and the table's fixed parts from bytes of any origin: for fuzzing.
//!
//! What can be encoded as well is encoded again, so that a caller can compare without knowing the
//! fields.

use crate::engine::error::Result;
use crate::engine::iter::Entry;
use crate::engine::key::{Kind, Seq};
use crate::engine::table::Compression;
use crate::engine::table::block::{BackwardCursor, BlockBuilder, BlockCursor};
use crate::engine::table::compression::{Compressor, decompress};
use crate::engine::table::filter::{Filter, FilterBuilder};
use crate::engine::table::format::{Footer, Handle, Properties, check_block, seal_block};

use super::{DataBlock, KeyFilter};

/// What does not fit.
pub type Told<T> = std::result::Result<T, &'static str>;

/// A version of a key as a block holds it: key, sequence number, kind, value.
pub type BlockEntry = (Vec<u8>, Seq, u8, Vec<u8>);

/// What a search finds: whether it is the key, its sequence number, kind and value.
pub type Found = (bool, Seq, u8, Vec<u8>);

fn owned(entry: Entry<'_>) -> BlockEntry {
    (entry.key.to_vec(), entry.seq, entry.kind as u8, entry.value.to_vec())
}

/// The bytes of a block of entries, which are in order; `None` if one is of an unknown kind.
pub fn encode_block(entries: &[BlockEntry]) -> Option<Vec<u8>> {
    let mut builder = BlockBuilder::default();
    for (key, seq, kind, value) in entries {
        builder.add(Entry { key, seq: *seq, kind: Kind::from_byte(*kind)?, value });
    }
    Some(builder.finish())
}

impl DataBlock {
    /// All entries, read from the first on.
    ///
    /// # Errors
    /// What does not fit; so for the others.
    pub fn forward(&self) -> Told<Vec<BlockEntry>> {
        let (mut cursor, mut entries) = (BlockCursor::new(), Vec::new());
        while cursor.advance(&self.0)? {
            entries.push(owned(cursor.entry(&self.0)));
        }
        Ok(entries)
    }

    /// All entries, read from the last on, and in that order.
    ///
    /// # Errors
    /// As there.
    pub fn backward(&self) -> Told<Vec<BlockEntry>> {
        let (mut cursor, mut entries) = (BackwardCursor::new(), Vec::new());
        cursor.enter_previous_block(&self.0);
        while cursor.retreat(&self.0)? {
            entries.push(owned(cursor.entry(&self.0)));
        }
        Ok(entries)
    }

    /// The first entry that does not come before a key and number, by the search that copies no
    /// keys.
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, target: (&[u8], Seq)) -> Told<Option<Found>> {
        let found = self.0.find(target)?;
        let lent = |range| self.0.slice(range).to_vec();
        Ok(found.map(|found| (found.is_key, found.seq, found.kind as u8, lent(found.value))))
    }

    /// The same entry, by a cursor.
    ///
    /// # Errors
    /// As there.
    pub fn seek(&self, target: (&[u8], Seq)) -> Told<Option<BlockEntry>> {
        let mut cursor = BlockCursor::new();
        Ok(cursor.seek(&self.0, target)?.then(|| owned(cursor.entry(&self.0))))
    }

    /// The last entry before a key and number.
    ///
    /// # Errors
    /// As there.
    pub fn seek_before(&self, target: (&[u8], Seq)) -> Told<Option<BlockEntry>> {
        let mut cursor = BackwardCursor::new();
        Ok(cursor.seek_before(&self.0, target)?.then(|| owned(cursor.entry(&self.0))))
    }

    /// The first entry that does not come before a key and number, else the last.
    ///
    /// # Errors
    /// As there.
    pub fn seek_at(&self, target: (&[u8], Seq)) -> Told<BlockEntry> {
        let mut cursor = BackwardCursor::new();
        cursor.seek_at(&self.0, target)?;
        Ok(owned(cursor.entry(&self.0)))
    }
}

impl KeyFilter {
    /// The bytes of the filter of `keys`.
    pub fn encode<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut builder = FilterBuilder::default();
        keys.for_each(|key| builder.add(key));
        builder.finish()
    }

    /// Takes the bytes of a filter.
    ///
    /// # Errors
    /// What does not fit.
    pub fn decode(bytes: &[u8]) -> Told<Self> {
        Filter::decode(bytes).map(KeyFilter)
    }
}

/// The bytes of a block as table `id` stores them at `offset`: compressed if that helps, sealed.
pub fn store_block(block: &[u8], compression: Compression, id: u64, offset: u64) -> Vec<u8> {
    let (mut stored, compression) = Compressor::new(compression).compress(block.to_vec());
    seal_block(&mut stored, compression, id, offset);
    stored
}

/// The block that table `id` stores as these bytes at `offset`.
///
/// # Errors
/// What does not fit.
pub fn load_block(stored: &[u8], id: u64, offset: u64) -> Told<Vec<u8>> {
    let (compression, bytes) = check_block(stored, id, offset)?;
    decompress(compression, bytes)
}

/// A footer, decoded and encoded again.
///
/// # Errors
/// `Corrupt` or `UnknownFormat`.
pub fn reread_footer(bytes: &[u8]) -> Result<Vec<u8>> {
    Footer::decode(bytes, "footer", 0).map(|footer| footer.encode())
}

/// Properties, decoded and encoded again.
///
/// # Errors
/// What does not fit.
pub fn reread_properties(bytes: &[u8]) -> Told<Vec<u8>> {
    Properties::decode(bytes).map(|properties| properties.encode())
}

/// A handle, decoded and encoded again, and the offset behind its block if there is one; `None` if
/// the bytes are none.
pub fn reread_handle(bytes: &[u8]) -> Option<(Vec<u8>, Option<u64>)> {
    Handle::decode(bytes).map(|handle| (handle.encode(), handle.end()))
}
