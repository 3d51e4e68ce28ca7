//! The parts of a sorted table: blocks, stored blocks, filters, and footer, properties and handles.
//!
//! What the engine encodes must be read back in every way of reading; whatever else a part's bytes
//! are, all ways of reading must agree as far as none of them finds fault.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::source::Source;
use crate::engine::Compression;
use crate::engine::internals::{
    BlockEntry, DataBlock, KeyFilter, encode_block, load_block, reread_footer, reread_handle,
    reread_properties, store_block,
};

/// The most entries of a block that is built here.
const MOST_ENTRIES: usize = 60;
/// The most lookups in one block.
const MOST_LOOKUPS: usize = 12;

/// Key and number by which something is looked for.
type Target = (Vec<u8>, u64);

/// A block, built or of any bytes.
pub(super) fn check_block(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let targets: Vec<Target> = (0..source.below(MOST_LOOKUPS))
        .map(|_| (source.word(6).to_vec(), source.number()))
        .collect();
    if source.one_in(2) {
        let entries = entries(&mut source);
        let Some(bytes) = encode_block(&entries) else { return Ok(0) };
        let block = DataBlock::new(bytes).ok_or("a block that was built is refused")?;
        let read = block.forward()?;
        if read != entries {
            return Err(format!("{entries:?} was read as {read:?}"));
        }
        return agree(&block, &entries, &targets);
    }
    let Some(block) = DataBlock::new(source.rest().to_vec()) else { return Ok(0) };
    let lookups = targets.iter().map(|(key, seq)| (key.as_slice(), *seq));
    for target in lookups {
        // Nothing is known of the answers, but that there are some.
        let _ = (block.search(target), block.seek(target), block.seek_before(target));
        let _ = block.seek_at(target);
    }
    match (block.forward(), block.backward()) {
        (Ok(entries), Ok(_)) => agree(&block, &entries, &targets),
        _ => Ok(0),
    }
}

/// Entries in order, each once.
fn entries(source: &mut Source<'_>) -> Vec<BlockEntry> {
    let mut seen = BTreeSet::new();
    let mut entries: Vec<BlockEntry> = Vec::new();
    for _ in 0..=source.below(MOST_ENTRIES) {
        // Keys that share much, and values that take a length of one byte or two.
        let shared = source.below(4) * 3;
        let key = [&b"abcabcabc"[..shared], source.word(4)].concat();
        let (seq, choice) = (source.number(), source.u8());
        let mut value = source.word(6).to_vec();
        if choice & 8 != 0 {
            value.resize(value.len() + 125, choice);
        }
        let kind = if value.len() < 8 { 1 + choice % 2 } else { 1 + choice % 3 };
        if seen.insert((key.clone(), seq)) {
            entries.push((key, seq, kind, value));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    entries
}

/// Compares every way of reading a block with its entries.
fn agree(block: &DataBlock, entries: &[BlockEntry], targets: &[Target]) -> Result<u64, String> {
    let mut backward = block.backward()?;
    backward.reverse();
    if backward != entries {
        return Err(format!("forward {entries:?}, backward {backward:?}"));
    }
    for (key, seq) in targets {
        let target = (key.as_slice(), *seq);
        let comes_before =
            |entry: &&BlockEntry| entry.0 < *key || entry.0 == *key && entry.1 > *seq;
        let before = entries.iter().filter(comes_before).count();
        let (first, last) = (entries.get(before), entries[..before].last());
        let sought = first.map(|(k, seq, kind, value)| (k == key, *seq, *kind, value.clone()));
        let at = first.or(entries.last());
        let is_right = block.search(target) == Ok(sought)
            && block.seek(target).as_ref().map(Option::as_ref) == Ok(first)
            && block.seek_before(target).as_ref().map(Option::as_ref) == Ok(last)
            && block.seek_at(target).as_ref().ok() == at;
        if !is_right {
            return Err(format!("a search for {target:?} is wrong in {entries:?}"));
        }
    }
    Ok(0)
}

/// A block as it is stored: compressed, sealed, and read back; damaged, and refused.
pub(super) fn check_stored(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let (id, offset) = (source.number(), source.number());
    let kinds = [Compression::None, Compression::Lz4, Compression::Zstd];
    let (kind, way) = (source.below(3), source.u8() % 3);
    if way == 0 {
        // Whatever it decompresses to, under a valid checksum.
        let mut stored = source.rest().to_vec();
        stored.push(kind as u8);
        let checksum = masked(crc32c::crc32c(&[&place(id, offset), &stored[..]].concat()));
        stored.extend(checksum.to_le_bytes());
        let loaded = load_block(&stored, id, offset);
        let is_right = kind != 0 || loaded.as_deref() == Ok(&stored[..stored.len() - 5]);
        return if is_right { Ok(0) } else { Err("a plain block reads as another".to_owned()) };
    }
    let (at, bit) = (source.u32() as usize, source.u8());
    let repeats = 1 + source.below(40);
    let block = source.rest().repeat(repeats);
    let mut stored = store_block(&block, kinds[kind], id, offset);
    if load_block(&stored, id, offset).as_ref() != Ok(&block) {
        return Err(format!("a block of {} bytes does not read back", block.len()));
    }
    if load_block(&stored, id.wrapping_add(1), offset).is_ok()
        || load_block(&stored, id, offset.wrapping_add(1)).is_ok()
    {
        return Err("a block is taken for that of another file or place".to_owned());
    }
    let at = at % stored.len();
    if way == 1 {
        stored[at] ^= 1 << (bit % 8);
    } else {
        stored.truncate(at);
    }
    if load_block(&stored, id, offset).is_ok() {
        return Err(format!("damage at {at} is not found"));
    }
    Ok(0)
}

fn place(id: u64, offset: u64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&id.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    place
}

/// A checksum as tables store it.
pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Filters: that of some keys has them all, and any filter answers as `docs/format.md` says.
pub(super) fn check_filter(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let asked: Vec<&[u8]> = (0..source.below(20)).map(|_| source.word(8)).collect();
    let is_built = source.one_in(2);
    let keys: BTreeSet<&[u8]> = (0..source.below(200)).map(|_| source.word(5)).collect();
    let bytes = if is_built {
        KeyFilter::encode(keys.iter().copied())
    } else {
        // Mostly with the tail of a filter, so that it is one.
        let tail: &[u8] = if source.one_in(4) { b"" } else { &[6, 1] };
        let (lines, rest) = (source.below(4), source.rest());
        let mut bytes = rest.repeat(1 + lines * 64 / rest.len().max(1));
        bytes.truncate(lines * 64);
        [&bytes, tail].concat()
    };
    let line_count = bytes.len().saturating_sub(2) / 64;
    let is_filter =
        bytes.len() == line_count * 64 + 2 && line_count > 0 && bytes.ends_with(&[6, 1]);
    let filter = match KeyFilter::decode(&bytes) {
        Ok(filter) if is_filter => filter,
        Err(_) if !is_filter => return Ok(0),
        _ => return Err(format!("{} bytes are mistaken for a filter, or not", bytes.len())),
    };
    if is_built && line_count != (keys.len() * 10).div_ceil(512).max(1) {
        return Err(format!("{line_count} lines for {} keys", keys.len()));
    }
    if is_built && keys.iter().any(|key| !filter.may_contain(key)) {
        return Err("a filter denies one of its keys".to_owned());
    }
    let wrong = asked.iter().find(|key| filter.may_contain(key) != has_bits(&bytes, key));
    wrong.map_or(Ok(0), |key| Err(format!("the answer for {key:?} is not that of the bits")))
}

/// Whether all bits of a key are set in a filter.
fn has_bits(filter: &[u8], key: &[u8]) -> bool {
    let hash = xxh3_64(key);
    let lines = (filter.len() - 2) / 64;
    let line = ((u128::from(hash >> 32) * lines as u128) >> 32) as usize;
    let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bits = [55, 46, 37, 28, 19, 10].into_iter().map(|by| (spread >> by) as usize % 512);
    bits.all(|bit| filter[line * 64 + bit / 8] >> (bit % 8) & 1 == 1)
}

/// Footers, properties and handles: what is read and written again is the same.
pub(super) fn check_footer(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    match source.u8() % 4 {
        0 => check_any_footer(source.rest()),
        1 => {
            // Any fields, the checksum and magic right.
            let mut bytes = source.take(60).to_vec();
            bytes.resize(60, 0);
            if !source.one_in(4) {
                bytes[56..60].copy_from_slice(&1_u32.to_le_bytes());
            }
            bytes.extend(masked(crc32c::crc32c(&bytes)).to_le_bytes());
            bytes.extend(b"CHRNTABL");
            let is_known = bytes[56..60] == 1_u32.to_le_bytes();
            if reread_footer(&bytes).is_ok() != is_known {
                return Err("a footer is refused, or one of another version is not".to_owned());
            }
            check_any_footer(&bytes)
        }
        2 => {
            let Ok(once) = reread_properties(source.rest()) else { return Ok(0) };
            let twice = reread_properties(&once);
            if twice.as_ref() == Ok(&once) { Ok(0) } else { Err(format!("{once:?}, {twice:?}")) }
        }
        _ => {
            let bytes = source.rest();
            let Some((again, end)) = reread_handle(bytes) else { return Ok(0) };
            let is_right = again == bytes && end.is_none_or(|end| end >= 5);
            if is_right { Ok(0) } else { Err(format!("a handle is written as {again:?}")) }
        }
    }
}

fn check_any_footer(bytes: &[u8]) -> Result<u64, String> {
    match reread_footer(bytes) {
        Ok(again) if bytes.len() == again.len() && again != bytes => {
            Err(format!("a footer is written as {again:?}"))
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_found() {
        let entry = |key: &[u8], seq| (key.to_vec(), seq, 1, b"value".to_vec());
        let entries = vec![entry(b"a", 3), entry(b"a", 2), entry(b"b", 1)];
        let block = DataBlock::new(encode_block(&entries).unwrap()).unwrap();
        let targets = [(b"a".to_vec(), 2), (b"".to_vec(), 9), (b"c".to_vec(), 0)];
        assert_eq!(agree(&block, &entries, &targets), Ok(0));
        let others = vec![entries[0].clone(), entry(b"a", 1), entries[2].clone()];
        assert!(agree(&block, &others, &targets).is_err());
        assert!(agree(&block, &entries[..2], &targets).is_err());
    }

    #[test]
    fn the_bits_of_a_filter_are_those_of_its_keys() {
        let bytes = KeyFilter::encode([&b"alpha"[..], b"beta"].into_iter());
        assert!(has_bits(&bytes, b"alpha") && has_bits(&bytes, b"beta"));
        assert!(!has_bits(&bytes, b"gamma"));
    }
}
