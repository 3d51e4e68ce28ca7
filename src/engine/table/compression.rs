//! Compression of blocks.
//!
//! A compressed block says how long it was, so that its reader allocates once; that length is held
//! against what any block can be, and against what so many bytes can come to, before it is believed.
//! A block that would not shrink by an eighth is stored as it is: reading it would cost time for
//! nothing.

use std::cell::RefCell;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

use super::BLOCK_BYTES;
use super::format::Decoded;
use crate::engine::coding::{MAX_VARINT_BYTES, get_varint, put_varint};
use crate::engine::key::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// How blocks of a table are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4: reading costs little.
    #[default]
    Lz4,
    /// Zstandard, level 3: smaller, and slower to write and to read.
    Zstd,
}

/// The level of Zstandard: its default, beyond which blocks of some KiB gain little.
const ZSTD_LEVEL: i32 = 3;

/// No block is longer than this: one entry of the largest sizes, or a full block.
const MAX_BLOCK_BYTES: u64 = (MAX_KEY_BYTES + MAX_VALUE_BYTES + BLOCK_BYTES) as u64;

/// A byte of LZ4 stands for at most so many.
const LZ4_MAX_RATIO: u64 = 255;

impl Compression {
    /// Its byte in a block's trailer.
    pub(super) fn as_byte(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Lz4 => 1,
            Compression::Zstd => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Compression::None, Compression::Lz4, Compression::Zstd]
            .into_iter()
            .find(|known| known.as_byte() == byte)
    }
}

/// Compresses blocks one after another, reusing its tables.
pub(super) struct Compressor {
    kind: Compression,
    lz4: CompressTable,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    scratch: Vec<u8>,
}

impl Compressor {
    pub(super) fn new(kind: Compression) -> Self {
        let zstd = match kind {
            // Without one, blocks are stored as they are.
            Compression::Zstd => zstd::bulk::Compressor::new(ZSTD_LEVEL).ok(),
            Compression::None | Compression::Lz4 => None,
        };
        Compressor { kind, lz4: CompressTable::default(), zstd, scratch: Vec::new() }
    }

    /// The block as it is to be stored, and how that is compressed.
    pub(super) fn compress(&mut self, block: Vec<u8>) -> (Vec<u8>, Compression) {
        let limit = block.len() - block.len() / 8;
        match self.shrink(&block) {
            Some(len) if MAX_VARINT_BYTES + len < limit => {
                let mut stored = Vec::with_capacity(MAX_VARINT_BYTES + len);
                put_varint(&mut stored, block.len() as u64);
                stored.extend_from_slice(self.scratch.get(..len).unwrap_or_default());
                (stored, self.kind)
            }
            _ => (block, Compression::None),
        }
    }

    /// Leaves the compressed block in `scratch`, and returns its length.
    fn shrink(&mut self, block: &[u8]) -> Option<usize> {
        match self.kind {
            Compression::None => None,
            Compression::Lz4 => {
                self.scratch.resize(get_maximum_output_size(block.len()), 0);
                compress_into_with_table(block, &mut self.scratch, &mut self.lz4).ok()
            }
            Compression::Zstd => {
                self.scratch.resize(block.len(), 0);
                let zstd = self.zstd.as_mut()?;
                zstd.compress_to_buffer(block, self.scratch.as_mut_slice()).ok()
            }
        }
    }
}

/// The block that is stored as these bytes.
pub(super) fn decompress(kind: Compression, stored: &[u8]) -> Decoded<Vec<u8>> {
    const MISFIT: &str = "a block does not decompress to its length";
    if kind == Compression::None {
        return Ok(stored.to_vec());
    }
    let (len, len_len) = get_varint(stored).ok_or(MISFIT)?;
    let compressed = stored.get(len_len..).ok_or(MISFIT)?;
    let is_lz4 = kind == Compression::Lz4;
    if len > MAX_BLOCK_BYTES || is_lz4 && len > compressed.len() as u64 * LZ4_MAX_RATIO {
        return Err("a compressed block says that it is longer than it can be");
    }
    let mut block = vec![0; len as usize];
    let written = if is_lz4 {
        decompress_into(compressed, &mut block).ok()
    } else {
        unzstd(compressed, &mut block)
    };
    if written == Some(block.len()) { Ok(block) } else { Err(MISFIT) }
}

thread_local! {
    /// What Zstandard decompresses with. Making one takes as long as several blocks; it is kept.
    static UNZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses a frame into `block`, and returns how long it was.
fn unzstd(compressed: &[u8], block: &mut [u8]) -> Option<usize> {
    UNZSTD.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(kept) => kept,
            none => none.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        decompressor.decompress_to_buffer(compressed, block).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::Random;

    const BOTH: [Compression; 2] = [Compression::Lz4, Compression::Zstd];

    fn block(seed: u64, len: usize, variety: u64) -> Vec<u8> {
        let mut random = Random(seed);
        (0..len).map(|_| random.below(variety) as u8).collect()
    }

    #[test]
    fn blocks_of_all_sizes_return() {
        for kind in BOTH {
            let mut compressor = Compressor::new(kind);
            for (seed, len) in [1, 20, 4_000, 16_384, 70_000, 1 << 20].into_iter().enumerate() {
                let block = block(seed as u64 + 1, len, 4);
                let (stored, stored_as) = compressor.compress(block.clone());
                assert_eq!(stored_as == kind, len >= 4_000, "{kind:?} {len}");
                assert!(stored.len() <= len - len / 8 || stored == block);
                assert_eq!(decompress(stored_as, &stored).unwrap(), block);
            }
            let noise = block(9, 16_384, 256);
            assert_eq!(compressor.compress(noise.clone()), (noise, Compression::None));
            assert_eq!(compressor.compress(Vec::new()), (Vec::new(), Compression::None));
        }
    }

    #[test]
    fn the_largest_entry_returns_and_a_longer_block_is_refused() {
        for kind in BOTH {
            let largest = vec![0; MAX_BLOCK_BYTES as usize];
            let (stored, _) = Compressor::new(kind).compress(largest.clone());
            assert_eq!(decompress(kind, &stored).unwrap(), largest);
            let (stored, _) = Compressor::new(kind).compress([largest, vec![0]].concat());
            assert!(decompress(kind, &stored).is_err());
        }
    }

    #[test]
    fn a_wrong_length_is_refused_before_it_is_allocated_for() {
        for kind in BOTH {
            let (stored, _) = Compressor::new(kind).compress(block(1, 1_000, 2));
            let (len, len_len) = get_varint(&stored).unwrap();
            assert_eq!(len, 1_000);
            for wrong in [0, 1, 999, 1_001, 40_000, MAX_BLOCK_BYTES, 1 << 40, u64::MAX] {
                let mut forged = Vec::new();
                put_varint(&mut forged, wrong);
                forged.extend_from_slice(&stored[len_len..]);
                assert!(decompress(kind, &forged).is_err(), "{kind:?} {wrong}");
            }
        }
    }

    #[test]
    fn damage_of_any_byte_is_an_error_or_some_block_but_no_panic() {
        for kind in BOTH {
            let (stored, _) = Compressor::new(kind).compress(block(3, 600, 3));
            for at in 0..stored.len() {
                assert!(decompress(kind, &stored[..at]).is_err(), "cut at {at}");
                for byte in [0, 1, 0x7f, 0x80, 0xff, stored[at] ^ 1, stored[at] ^ 0x10] {
                    let mut damaged = stored.clone();
                    damaged[at] = byte;
                    let _ = decompress(kind, &damaged);
                }
            }
        }
    }
}
