//! Strings as arrays of bits: GETBIT, SETBIT, BITCOUNT, BITPOS and BITOP.
//!
//! Bit 0 is the highest of the first byte. Behind its end a string is all zeros, for reading as for
//! the shorter sources of an operation. Offsets are bounded where they are parsed ([`parse_offset`]),
//! since a write grows the string up to them.

use std::ops::Range;

use super::integer;

/// What a command answers for an offset that [`parse_offset`] refuses.
pub(crate) const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";

/// What the ends of a range count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Byte,
    /// Bits.
    Bit,
}

/// What BITOP does to its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Bits that are set in all.
    And,
    /// Bits that are set in any.
    Or,
    /// Bits that are set in an odd number of them.
    Xor,
    /// Bits that are not set in the one source.
    Not,
}

/// The bit offset that an argument spells, if it lies within a value of `max_bytes`.
pub(crate) fn parse_offset(argument: &[u8], max_bytes: usize) -> Result<u64, &'static str> {
    let offset = integer::parse(argument).and_then(|offset| u64::try_from(offset).ok());
    offset.filter(|offset| offset / 8 < max_bytes as u64).ok_or(BAD_OFFSET)
}

/// The indexes that `start ..= end` means in `len` items: negative ones count from the end, and what
/// lies outside is cut off. The rule of GETRANGE and BITCOUNT, and of BITPOS but for
/// [`position`]'s ends.
pub(crate) fn resolve_range(start: i64, end: i64, len: usize) -> Range<usize> {
    if start < 0 && end < 0 && start > end { 0..0 } else { clamp_range(start, end, len) }
}

/// As [`resolve_range`], but two ends before the first item both mean the first.
fn clamp_range(start: i64, end: i64, len: usize) -> Range<usize> {
    let index = |given: i64| {
        let magnitude = usize::try_from(given.unsigned_abs()).unwrap_or(usize::MAX);
        if given < 0 { len.saturating_sub(magnitude) } else { magnitude }
    };
    let (start, end) = (index(start), index(end).saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

/// A bit.
pub(crate) fn get(value: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| value.get(at));
    byte.is_some_and(|byte| byte & mask(offset) != 0)
}

/// Sets or clears a bit, and answers what it was. The value grows up to the bit; see
/// [`parse_offset`] for the bound.
pub(crate) fn set(value: &mut Vec<u8>, offset: u64, bit: bool) -> bool {
    let at = (offset / 8) as usize;
    if at >= value.len() {
        value.resize(at + 1, 0);
    }
    let was = value[at] & mask(offset) != 0;
    if was != bit {
        value[at] ^= mask(offset);
    }
    was
}

/// How many bits are set in a range of bytes or bits.
pub(crate) fn count(value: &[u8], start: i64, end: i64, unit: Unit) -> u64 {
    match unit {
        Unit::Byte => count_bytes(&value[resolve_range(start, end, value.len())]),
        Unit::Bit => {
            let bits = resolve_range(start, end, value.len() * 8);
            let (head, bytes, tail) = parts(value, bits);
            let edges = [head, tail].map(|(byte, mask, _)| (byte & mask).count_ones());
            u64::from(edges[0] + edges[1]) + count_bytes(bytes)
        }
    }
}

/// The position, from the value's start, of the first bit in a range that is `bit`; `None` if there
/// is none. Without an end, the zeros behind the value count too. The caller answers for a missing
/// key, of which every bit is 0.
pub(crate) fn position(
    value: &[u8],
    bit: bool,
    start: i64,
    end: Option<i64>,
    unit: Unit,
) -> Option<u64> {
    let len = value.len() * if unit == Unit::Bit { 8 } else { 1 };
    let range = clamp_range(start, end.unwrap_or(-1), len);
    if range.is_empty() {
        return None;
    }
    let bits = if unit == Unit::Bit { range } else { range.start * 8..range.end * 8 };
    let found = first(value, bits, bit);
    let padding = || (!bit && end.is_none()).then_some(value.len() as u64 * 8);
    found.or_else(padding)
}

/// Combines the sources into a value as long as the longest.
pub(crate) fn operate(operation: Operation, sources: &[&[u8]]) -> Vec<u8> {
    let Some((first, others)) = sources.split_first() else {
        return Vec::new();
    };
    if operation == Operation::Not {
        return first.iter().map(|byte| !byte).collect();
    }
    let longest = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(longest);
    result.extend_from_slice(first);
    result.resize(longest, 0);
    for source in others {
        // Plain loops over both: the compiler makes vectors of them.
        let (common, beyond) = result.split_at_mut(source.len());
        let pairs = common.iter_mut().zip(*source);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                beyond.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor | Operation::Not => pairs.for_each(|(byte, other)| *byte ^= other),
        }
    }
    result
}

/// A bit's place in its byte.
fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

fn count_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    words.sum::<u64>() + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// A byte of which only some bits belong to a range: the byte, these bits, and where it stands.
type Edge = (u8, u8, usize);

/// A range of bits as its first byte, the whole bytes between, and its last byte. An edge that there
/// is not has no bits.
fn parts(value: &[u8], bits: Range<usize>) -> (Edge, &[u8], Edge) {
    if bits.is_empty() {
        return ((0, 0, 0), &[], (0, 0, 0));
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let head_mask = 0xff >> (bits.start % 8);
    let tail_mask = 0xff << (7 - (bits.end - 1) % 8);
    if first == last {
        return ((value[first], head_mask & tail_mask, first), &[], (0, 0, 0));
    }
    let head = (value[first], head_mask, first);
    (head, &value[first + 1..last], (value[last], tail_mask, last))
}

/// The first bit that is `bit` within a range of bits.
fn first(value: &[u8], bits: Range<usize>, bit: bool) -> Option<u64> {
    // What is looked for becomes a set bit.
    let flip = if bit { 0 } else { 0xff };
    let at = |byte: usize, found: u8| byte as u64 * 8 + u64::from(found.leading_zeros());
    let in_edge = |(byte, mask, place): Edge| {
        let found = (byte ^ flip) & mask;
        (found != 0).then(|| at(place, found))
    };
    let (head, bytes, tail) = parts(value, bits);
    in_edge(head)
        .or_else(|| {
            let skipped = skip_bytes(bytes, flip);
            bytes.get(skipped).map(|byte| at(head.2 + 1 + skipped, byte ^ flip))
        })
        .or_else(|| in_edge(tail))
}

/// How many bytes at the start are `byte`.
fn skip_bytes(bytes: &[u8], byte: u8) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let whole = words.iter().take_while(|word| **word == [byte; 8]).count() * 8;
    whole + bytes[whole..].iter().take_while(|other| **other == byte).count()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    fn random_bytes(random: &mut Random, longest: u64) -> Vec<u8> {
        // Long runs of equal bytes, so that searches have something to skip.
        let runs = (0..random.below(4)).map(|_| {
            let byte = [0, 0xff, 0x01, 0x80, 0xfe, 0x7f][random.below(6) as usize];
            vec![byte; random.below(longest) as usize]
        });
        runs.collect::<Vec<_>>().concat()
    }

    /// A value as its bits.
    fn bits_of(value: &[u8]) -> Vec<bool> {
        (0..value.len() as u64 * 8).map(|at| get(value, at)).collect()
    }

    #[test]
    fn an_offset_lies_within_the_largest_value() {
        assert_eq!(parse_offset(b"0", 1), Ok(0));
        assert_eq!(parse_offset(b"4294967295", 1 << 29), Ok(4_294_967_295));
        for refused in [&b"4294967296"[..], b"-1", b"#1", b"01", b"", b"99999999999999999999"] {
            assert_eq!(parse_offset(refused, 1 << 29), Err(BAD_OFFSET));
        }
    }

    #[test]
    fn a_bit_is_set_where_it_is_read() {
        let mut value = b"a".to_vec();
        assert!(!get(&value, 0) && get(&value, 1) && !get(&value, 8) && !get(&value, u64::MAX));
        assert!(!set(&mut value, 6, true) && set(&mut value, 7, false));
        assert_eq!(value, b"b");
        assert!(!set(&mut value, 31, true) && set(&mut value, 31, true));
        assert_eq!(value, b"b\0\0\x01");
        assert!(!set(&mut value, 47, false));
        assert_eq!(value, b"b\0\0\x01\0\0", "clearing grows it too");
    }

    #[test]
    fn ranges_are_those_of_redis() {
        let cases = [
            ((0, -1), 0..3),
            ((-5, -10), 0..0),
            ((-10, -5), 0..1),
            ((-100, 100), 0..3),
            ((1, -1), 1..3),
            ((3, 3), 0..0),
            ((1, 0), 0..0),
            ((i64::MIN, i64::MAX), 0..3),
            ((i64::MAX, i64::MIN), 0..0),
        ];
        for ((start, end), expected) in cases {
            assert_eq!(resolve_range(start, end, 3), expected, "{start} {end}");
            assert_eq!(resolve_range(start, end, 0), 0..0, "{start} {end}");
        }
    }

    #[test]
    fn counts_are_those_of_redis() {
        let value = b"\xff\xf0\0";
        let bits = |start, end| count(value, start, end, Unit::Bit);
        assert_eq!([bits(0, -1), bits(5, 9), bits(3, -5), bits(9, 100)], [12, 5, 9, 3]);
        assert_eq!([bits(9, 10), bits(3, 3), bits(20, 3), bits(-20, -30)], [2, 1, 0, 0]);
        let bytes = |start, end| count(value, start, end, Unit::Byte);
        assert_eq!([bytes(0, -1), bytes(1, 1), bytes(-10, -20), bytes(-20, -10)], [12, 4, 0, 8]);
    }

    #[test]
    fn positions_are_those_of_redis() {
        let byte = |value: &[u8], bit, start, end| position(value, bit, start, end, Unit::Byte);
        assert_eq!([byte(b"", false, 0, None), byte(b"", true, 0, None)], [None; 2]);
        let ones = b"\xff\xff";
        assert_eq!([byte(ones, false, 0, None), byte(ones, false, 1, None)], [Some(16); 2]);
        assert_eq!([byte(ones, false, 0, Some(-1)), byte(ones, false, 2, None)], [None; 2]);
        assert_eq!([byte(ones, false, 5, Some(9)), byte(ones, true, 1, Some(0))], [None; 2]);
        // Two ends before the start both mean the first byte, which is not so for a count.
        assert_eq!(byte(ones, true, -10, Some(-20)), Some(0));
        assert_eq!(byte(b"\0\x0f", true, -10, Some(-20)), None);
        let bits = |bit, start, end| position(b"\xff\xf0\0", bit, start, Some(end), Unit::Bit);
        assert_eq!(
            [bits(false, 0, -1), bits(false, 0, 11), bits(false, 0, 12)],
            [Some(12), None, Some(12)]
        );
        assert_eq!(
            [bits(true, 12, -1), bits(true, 3, 3), bits(true, -24, -100)],
            [None, Some(3), Some(0)]
        );
        assert_eq!([bits(true, 11, -100), bits(true, i64::MAX, i64::MIN)], [None; 2]);
    }

    #[test]
    fn ranges_of_bits_are_searched_as_if_bit_by_bit() {
        let mut random = Random(11);
        for _ in 0..20_000 {
            let value = random_bytes(&mut random, 40);
            let all = bits_of(&value);
            let end = |random: &mut Random| random.below(700).cast_signed() - 350;
            let (start, end) = (end(&mut random), end(&mut random));
            let message = format!("{value:x?} {start} {end}");
            let range = resolve_range(start, end, all.len());
            let expected = all[range].iter().filter(|bit| **bit).count() as u64;
            assert_eq!(count(&value, start, end, Unit::Bit), expected, "{message}");
            let range = clamp_range(start, end, all.len());
            for bit in [false, true] {
                let expected = range.clone().find(|at| all[*at] == bit).map(|at| at as u64);
                assert_eq!(
                    position(&value, bit, start, Some(end), Unit::Bit),
                    expected,
                    "{message}"
                );
                if let Some(expected) = all.iter().position(|other| *other == bit) {
                    let found = position(&value, bit, 0, None, Unit::Byte);
                    assert_eq!(found, Some(expected as u64), "{message}");
                }
            }
        }
    }

    #[test]
    fn operations_pad_the_shorter_with_zeros() {
        assert_eq!(operate(Operation::And, &[b"\x0f\xff", b"\x3c"]), b"\x0c\0");
        assert_eq!(operate(Operation::Or, &[b"\x0f", b"\x30\x01", b""]), b"\x3f\x01");
        assert_eq!(operate(Operation::Xor, &[b"\x0f\xff", b"\x3c\x0f"]), b"\x33\xf0");
        assert_eq!(operate(Operation::Not, &[b"\x0f\xff"]), b"\xf0\0");
        assert_eq!(operate(Operation::And, &[b"\xff", b"\xff\xff\xff"]), b"\xff\0\0");
        assert_eq!(operate(Operation::Xor, &[]), b"");
        let long = vec![0x55; 1000];
        let both = operate(Operation::Or, &[&long, &operate(Operation::Not, &[&long])]);
        assert_eq!(both, [0xff; 1000]);
    }
}
