//! The filter: which keys are surely not in a table.
//!
//! A bloom filter cut into cache lines (Putze, Sanders, Singler 2007): all bits of a key lie in one
//! line of 512 bits, so that a question costs one cache miss. 10 bits a key and 6 probes answer
//! about 1 % of absent keys with "maybe"; a plain bloom filter of that size manages 0.9 %. The bit
//! positions are a byte format: changing a constant here makes old filters deny keys that exist.
//!
//! With h = `xxh3_64(key)` and n lines, the key's line is the high half of `(h >> 32) * n` (as 64
//! bits), and its bits are the first six 9-bit groups, from the top, of `h * SPREAD`.

use xxhash_rust::xxh3::xxh3_64;

use crate::planted::{Bug, is_planted};

use super::format::Decoded;

/// Bits of filter for each key.
const BITS_PER_KEY: u64 = 10;

/// Bits that a key sets.
const PROBES: u32 = 6;

/// Bits and bytes of a line.
const LINE_BITS: u64 = 512;
const LINE_BYTES: usize = 64;

/// An odd multiplier (2^64 divided by the golden ratio) that spreads all of a hash over its top.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The only kind of filter so far; the last byte of the block.
const KIND_BLOCKED_BLOOM: u8 = 1;

/// One cache line of bits.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

impl Line {
    fn set(&mut self, hash: u64) {
        for bit in bits(hash) {
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn has(&self, hash: u64) -> bool {
        bits(hash).all(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }
}

/// The positions below 512 that a key of this hash sets in its line.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let spread = hash.wrapping_mul(SPREAD);
    (1..=PROBES).map(move |probe| (spread >> (64 - 9 * probe)) as usize % 512)
}

fn line_of(hash: u64, lines: usize) -> usize {
    (((hash >> 32) * lines as u64) >> 32) as usize
}

/// The hash of a key, the same for every filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> Self {
        KeyHash(xxh3_64(key))
    }
}

/// Gathers the keys of a table.
#[derive(Debug, Default)]
pub(super) struct FilterBuilder {
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// Adds a key; each once, or the filter gets larger than it need be.
    pub(super) fn add(&mut self, key: &[u8]) {
        if !(is_planted(Bug::FilterForgets) && self.hashes.len() == 3) {
            self.hashes.push(xxh3_64(key));
        }
    }

    /// The filter as a block's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        let line_count = (self.hashes.len() as u64 * BITS_PER_KEY).div_ceil(LINE_BITS).max(1);
        let mut lines = vec![Line::default(); line_count as usize];
        for hash in self.hashes {
            let line = line_of(hash, lines.len());
            lines[line].set(hash);
        }
        let words = lines.iter().flat_map(|line| line.0);
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        bytes.extend_from_slice(&[PROBES as u8, KIND_BLOCKED_BLOOM]);
        bytes
    }
}

/// A table's filter, in memory.
#[derive(Debug)]
pub(super) struct Filter {
    lines: Vec<Line>,
}

impl Filter {
    pub(super) fn decode(bytes: &[u8]) -> Decoded<Self> {
        let Some((line_bytes, tail)) = bytes.split_last_chunk::<2>() else {
            return Err("the filter is cut off");
        };
        if *tail != [PROBES as u8, KIND_BLOCKED_BLOOM] {
            return Err("the filter is of a kind that this build does not know");
        }
        let (lines, rest) = line_bytes.as_chunks::<LINE_BYTES>();
        if lines.is_empty() || !rest.is_empty() || u32::try_from(lines.len()).is_err() {
            return Err("the filter is not a number of lines");
        }
        Ok(Filter { lines: lines.iter().map(decode_line).collect() })
    }

    /// Its bytes in memory.
    pub(super) fn size_bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES
    }

    /// Whether the table may hold the key of this hash; "no" is certain.
    pub(super) fn may_contain(&self, KeyHash(hash): KeyHash) -> bool {
        self.lines.get(line_of(hash, self.lines.len())).is_none_or(|line| line.has(hash))
    }
}

fn decode_line(bytes: &[u8; LINE_BYTES]) -> Line {
    let mut line = Line::default();
    for (word, bytes) in line.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut builder = FilterBuilder::default();
        keys.for_each(|key| builder.add(key));
        builder.finish()
    }

    #[test]
    fn no_false_negative_and_few_false_positives() {
        let keys: Vec<String> = (0..100_000).map(|i| format!("user:{i:08}")).collect();
        let bytes = built(keys.iter().map(String::as_bytes));
        assert!(bytes.len() as u64 <= 100_000 * BITS_PER_KEY / 8 + 2 + LINE_BYTES as u64);
        let filter = Filter::decode(&bytes).unwrap();
        assert!(keys.iter().all(|key| filter.may_contain(KeyHash::of(key.as_bytes()))));
        let absent = (0..100_000).map(|i| format!("item:{i:08}"));
        let positives =
            absent.filter(|key| filter.may_contain(KeyHash::of(key.as_bytes()))).count();
        println!("{positives} false positives in 100,000");
        assert!(positives < 1_200, "{positives} false positives in 100,000");
    }

    #[test]
    fn the_bits_of_a_filter_are_a_format() {
        let bytes = built([&b"alpha"[..], b"beta", b"gamma"].into_iter());
        let set: Vec<usize> = (0..512).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1).collect();
        assert_eq!(set, GOLDEN_BITS);
        assert_eq!(bytes[64..], [6, 1]);
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2, "the published test vector");
    }

    const GOLDEN_BITS: [usize; 18] =
        [43, 64, 106, 133, 151, 169, 174, 230, 243, 262, 285, 304, 361, 371, 407, 447, 451, 462];

    #[test]
    fn an_empty_filter_denies_and_a_damaged_one_is_refused() {
        let bytes = built(std::iter::empty());
        assert!(!Filter::decode(&bytes).unwrap().may_contain(KeyHash::of(b"a")));
        for cut in 0..bytes.len() {
            assert!(Filter::decode(&bytes[..cut]).is_err());
        }
        assert!(Filter::decode(&[&bytes[..63], &[6, 1]].concat()).is_err());
        assert!(Filter::decode(&[&bytes[..64], &[6, 2]].concat()).is_err());
        assert!(Filter::decode(&[&bytes[..64], &[7, 1]].concat()).is_err());
    }
}
