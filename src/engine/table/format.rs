//! The table's fixed parts as bytes: block trailer, handles, properties and footer.
//!
//! Everything here is frozen by `docs/format.md` and its examples. The last 72 bytes of a file keep
//! their layout in every format version, so that a build can name a version that it does not know.

use crc32c::{crc32c, crc32c_append};

use super::compression::Compression;
use crate::engine::coding::{Reader, get_u32, get_u64, get_varint, put_bytes, put_varint};
use crate::engine::error::{Error, Result};
use crate::engine::iter::Entry;
use crate::engine::key::{Kind, Seq};
use crate::planted::{Bug, is_planted};

/// The last eight bytes of every table.
pub(super) const MAGIC: [u8; 8] = *b"CHRNTABL";

/// The format version that this build writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Bytes behind every block: the compression and the checksum.
pub(super) const TRAILER_BYTES: usize = 5;

/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 72;

/// The bytes of the footer that its checksum covers: all before it.
const FOOTER_CHECKED_BYTES: usize = 60;

/// What does not fit, told to whoever knows file and offset.
pub(super) type Decoded<T> = std::result::Result<T, &'static str>;

/// Where a block is: its offset, and its size without the trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Handle {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, self.offset);
        put_varint(&mut bytes, self.size);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let handle = Handle { offset: reader.varint()?, size: reader.varint()? };
        reader.is_empty().then_some(handle)
    }

    /// The offset behind the block's trailer.
    pub(super) fn end(self) -> Option<u64> {
        self.offset.checked_add(self.size)?.checked_add(TRAILER_BYTES as u64)
    }
}

/// Appends the trailer to a block that is stored with `compression` at `offset` of table `id`.
pub(super) fn seal_block(block: &mut Vec<u8>, compression: Compression, id: u64, offset: u64) {
    block.push(compression.as_byte());
    let checksum = block_checksum(block, id, offset);
    block.extend_from_slice(&checksum.to_le_bytes());
}

/// A CRC as it is stored. Bytes followed by their own plain CRC leave the CRC of the whole in a
/// state that does not depend on them: the file's checksum would be blind to all that it is to
/// watch over. The rotation and the constant are those of LevelDB's `crc32c::Mask`.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Verifies a block with its trailer, and returns the bytes before it and their compression.
pub(super) fn check_block(stored: &[u8], id: u64, offset: u64) -> Decoded<(Compression, &[u8])> {
    let Some((checked, checksum)) = stored.split_last_chunk::<4>() else {
        return Err("the block is too short for its trailer");
    };
    if !is_planted(Bug::SkipBlockChecksum)
        && block_checksum(checked, id, offset) != u32::from_le_bytes(*checksum)
    {
        return Err("the block's checksum does not match");
    }
    checked
        .split_last()
        .and_then(|(byte, block)| Some((Compression::from_byte(*byte)?, block)))
        .ok_or("the block has a compression that this build does not know")
}

/// The seed tells a block of another file or offset from the one that belongs here.
fn block_checksum(checked: &[u8], id: u64, offset: u64) -> u32 {
    masked(crc32c_append(seed(id, offset), checked))
}

/// Binds a checksum to a place: the same bytes elsewhere do not pass.
fn seed(id: u64, offset: u64) -> u32 {
    let mut seed = [0; 16];
    let (id, offset) = if is_planted(Bug::UnseededChecksum) { (0, 0) } else { (id, offset) };
    seed[..8].copy_from_slice(&id.to_le_bytes());
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c(&seed)
}

/// Whether `bytes` begin with the first block of table `id`, whose length is not known: one is tried
/// after the other.
pub(crate) fn begins_as(bytes: &[u8], id: u64) -> bool {
    let mut checksum = seed(id, 0);
    bytes.windows(TRAILER_BYTES).any(|window| {
        // Of the block up to here, with its compression.
        checksum = crc32c_append(checksum, &window[..1]);
        get_u32(window, 1) == Some(masked(checksum))
    })
}

/// What a table says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) entry_count: u64,
    pub(super) tombstone_count: u64,
    pub(super) expiring_count: u64,
    pub(super) raw_key_bytes: u64,
    pub(super) raw_value_bytes: u64,
    pub(super) smallest_key: Vec<u8>,
    pub(super) largest_key: Vec<u8>,
    pub(super) min_seq: Seq,
    pub(super) max_seq: Seq,
    pub(super) data_block_count: u64,
}

const SMALLEST_KEY: &[u8] = b"smallest_key";
const LARGEST_KEY: &[u8] = b"largest_key";

impl Properties {
    /// Those of no entries.
    pub(super) fn none() -> Self {
        Properties { min_seq: Seq::MAX, ..Properties::default() }
    }

    /// Counts the next entry in: everything but the largest key, which only the last one tells.
    pub(super) fn count(&mut self, entry: Entry<'_>) {
        if self.entry_count == 0 {
            self.smallest_key = entry.key.to_vec();
        }
        self.entry_count += 1;
        self.tombstone_count += u64::from(entry.kind == Kind::Delete);
        self.expiring_count += u64::from(entry.kind == Kind::Expiring);
        self.raw_key_bytes += entry.key.len() as u64;
        self.raw_value_bytes += entry.value.len() as u64;
        self.min_seq = self.min_seq.min(entry.seq);
        self.max_seq = self.max_seq.max(entry.seq);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut copy = self.clone();
        for (name, value) in copy.numbers() {
            let mut number = Vec::new();
            put_varint(&mut number, *value);
            put_bytes(&mut bytes, name);
            put_bytes(&mut bytes, &number);
        }
        for (name, key) in [(SMALLEST_KEY, &self.smallest_key), (LARGEST_KEY, &self.largest_key)] {
            put_bytes(&mut bytes, name);
            put_bytes(&mut bytes, key);
        }
        bytes
    }

    /// Reads properties; names that are unknown are passed over, so that later builds may add some.
    pub(super) fn decode(bytes: &[u8]) -> Decoded<Self> {
        const CUT_OFF: &str = "the properties are cut off";
        let mut properties = Properties::default();
        let mut missing = properties.numbers().map(|(name, _)| name).to_vec();
        missing.extend([SMALLEST_KEY, LARGEST_KEY]);
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let name = reader.bytes().ok_or(CUT_OFF)?;
            let value = reader.bytes().ok_or(CUT_OFF)?;
            properties.set(name, value).ok_or("a property is not a number")?;
            missing.retain(|wanted| *wanted != name);
        }
        if missing.is_empty() { Ok(properties) } else { Err("a property is missing") }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            SMALLEST_KEY => self.smallest_key = value.to_vec(),
            LARGEST_KEY => self.largest_key = value.to_vec(),
            _ => {
                let known = self.numbers().into_iter().find(|(known, _)| *known == name);
                if let Some((_, number)) = known {
                    (*number, _) = get_varint(value).filter(|(_, len)| *len == value.len())?;
                }
            }
        }
        Some(())
    }

    fn numbers(&mut self) -> [(&'static [u8], &mut u64); 8] {
        [
            (b"entry_count", &mut self.entry_count),
            (b"tombstone_count", &mut self.tombstone_count),
            (b"expiring_count", &mut self.expiring_count),
            (b"raw_key_bytes", &mut self.raw_key_bytes),
            (b"raw_value_bytes", &mut self.raw_value_bytes),
            (b"min_seq", &mut self.min_seq),
            (b"max_seq", &mut self.max_seq),
            (b"data_block_count", &mut self.data_block_count),
        ]
    }
}

/// The end of every table: where to begin reading, and whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) top_index: Handle,
    pub(super) filter: Handle,
    pub(super) properties: Handle,
    pub(super) id: u64,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        for handle in [self.top_index, self.filter, self.properties] {
            bytes.extend_from_slice(&handle.offset.to_le_bytes());
            bytes.extend_from_slice(&handle.size.to_le_bytes());
        }
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        let checksum = masked(crc32c(&bytes));
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// Reads the footer that stands at `offset` of `file`.
    ///
    /// # Errors
    /// `UnknownFormat` if it is intact and of a later version, else `Corrupt`.
    pub(super) fn decode(bytes: &[u8], file: &str, offset: u64) -> Result<Self> {
        if !bytes.ends_with(&MAGIC) {
            return Err(Error::corrupt(file, offset, "the footer is not that of a table"));
        }
        let checked = bytes.get(..FOOTER_CHECKED_BYTES);
        if checked.map(|checked| masked(crc32c(checked))) != get_u32(bytes, FOOTER_CHECKED_BYTES) {
            return Err(Error::corrupt(file, offset, "the footer's checksum does not match"));
        }
        let cut_off = || Error::corrupt(file, offset, "the footer is cut off");
        let version = get_u32(bytes, 56).ok_or_else(cut_off)?;
        if version != FORMAT_VERSION {
            let file = file.to_owned();
            return Err(Error::UnknownFormat { file, version, supported: FORMAT_VERSION });
        }
        Self::decode_fields(bytes).ok_or_else(cut_off)
    }

    fn decode_fields(bytes: &[u8]) -> Option<Self> {
        let handle =
            |at| Some(Handle { offset: get_u64(bytes, at)?, size: get_u64(bytes, at + 8)? });
        Some(Footer {
            top_index: handle(0)?,
            filter: handle(16)?,
            properties: handle(32)?,
            id: get_u64(bytes, 48)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_bound_to_its_bytes_file_and_offset() {
        let mut block = b"some bytes".to_vec();
        seal_block(&mut block, Compression::Lz4, 7, 4096);
        assert_eq!(check_block(&block, 7, 4096), Ok((Compression::Lz4, &b"some bytes"[..])));
        assert!(check_block(&block, 8, 4096).is_err());
        assert!(check_block(&block, 7, 0).is_err());
        assert!(check_block(&block[1..], 7, 4096).is_err());
        assert!(!begins_as(&block, 7) && !begins_as(&[], 7));
        let mut first = b"some bytes".to_vec();
        seal_block(&mut first, Compression::Lz4, 7, 0);
        assert!(begins_as(&first, 7) && !begins_as(&first, 8));
        first.extend_from_slice(b"more");
        assert!(begins_as(&first, 7) && !begins_as(&first[..14], 7));
        for len in 0..TRAILER_BYTES {
            assert!(check_block(&block[..len], 7, 4096).is_err());
        }
    }

    #[test]
    fn an_unknown_compression_is_refused_by_name() {
        let mut block = b"bytes".to_vec();
        block.push(9);
        let checksum = block_checksum(&block, 1, 0);
        block.extend_from_slice(&checksum.to_le_bytes());
        assert!(check_block(&block, 1, 0).unwrap_err().contains("compression"));
    }

    #[test]
    fn properties_return_and_unknown_ones_are_passed_over() {
        let properties = Properties {
            entry_count: 300,
            largest_key: b"z".to_vec(),
            max_seq: u64::MAX,
            ..Properties::default()
        };
        let mut bytes = properties.encode();
        for cut in 0..bytes.len() {
            assert!(Properties::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        put_bytes(&mut bytes, b"from the future");
        put_bytes(&mut bytes, b"\xff\xff");
        assert_eq!(Properties::decode(&bytes), Ok(properties));
    }

    #[test]
    fn a_later_version_is_named_and_a_damaged_footer_is_not_taken_for_one() {
        let handle = Handle { offset: 5, size: 6 };
        let footer = Footer { top_index: handle, filter: handle, properties: handle, id: 9 };
        let bytes = footer.encode();
        assert_eq!(bytes.len(), FOOTER_BYTES);
        assert_eq!(Footer::decode(&bytes, "f", 0).unwrap(), footer);
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Footer::decode(&damaged, "f", 0), Err(Error::Corrupt { .. })));
        }
        let mut later = bytes.clone();
        later[56] = 2;
        let checksum = masked(crc32c(&later[..60]));
        later[60..64].copy_from_slice(&checksum.to_le_bytes());
        let error = Footer::decode(&later, "f", 0).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { version: 2, supported: 1, .. }));
    }
}
