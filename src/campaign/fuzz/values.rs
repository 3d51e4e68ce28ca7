//! What string commands compute, beside naive versions of it: integers, floats, bit fields, common
//! subsequences, quoted words, patterns, and payloads of DUMP.

use super::source::Source;
use crate::parser::request::{Batch, Item, Parser};
use crate::parser::{Limits, Protocol};
use crate::server::values::{bitfield, float, glob, integer, lcs, payload, quote};

/// The longest value of a bit field, in bytes.
const FIELD_BYTES: usize = 64;

/// Integers, floats, bit fields, subsequences and quotes.
pub(super) fn check(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    match source.u8() % 5 {
        0 => check_integer(source.rest()),
        1 => check_float(&mut source),
        2 => check_fields(&mut source),
        3 => check_lcs(&mut source),
        _ => check_quoted(source.rest()),
    }
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<u64, String> {
    if holds { Ok(0) } else { Err(what()) }
}

fn check_integer(text: &[u8]) -> Result<u64, String> {
    // The number whose only spelling this is.
    let spelt = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    let spelt = spelt.filter(|number| number.to_string().as_bytes() == text);
    let (found, mut again) = (integer::parse(text), Vec::new());
    if let Some(number) = found {
        integer::push(number, &mut again);
    }
    expect(found == spelt && (found.is_none() || again == text), || {
        format!("{} is read as {found:?}", text.escape_ascii())
    })
}

fn check_float(source: &mut Source<'_>) -> Result<u64, String> {
    let number = f64::from_bits(source.u64());
    let text = float::format_double(number);
    let again = text.parse::<f64>();
    let is_same =
        |again: &f64| again.to_bits() == number.to_bits() || again.is_nan() && number.is_nan();
    expect(again.as_ref().is_ok_and(is_same), || format!("{number:?} is written as {text}"))?;
    let first = source.word(60);
    let second = source.rest();
    let (one, other) = (float::add(first, second), float::add(second, first));
    let shown = || format!("{} and {}", first.escape_ascii(), second.escape_ascii());
    expect(one == other, || format!("the order of {} matters", shown()))?;
    let Ok(sum) = one else { return Ok(0) };
    // As clients see it, nothing is lost by adding nothing; only what is too small for 17 decimals is.
    let again = float::add(&sum, b"0");
    expect(again.as_ref() == Ok(&sum), || format!("the sum of {} is not stable", shown()))?;
    let small = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i32>().ok();
    let (Some(a), Some(b)) = (small(first), small(second)) else { return Ok(0) };
    let exact = (i64::from(a) + i64::from(b)).to_string();
    expect(sum == exact.as_bytes(), || format!("the sum of {} is not {exact}", shown()))
}

/// Operations on a row of bits, each of which is a `bool` here.
fn check_fields(source: &mut Source<'_>) -> Result<u64, String> {
    let mut value = source.word(FIELD_BYTES / 2).to_vec();
    let mut bits: Vec<bool> = Vec::new();
    for byte in &value {
        bits.extend((0..8).rev().map(|bit| byte >> bit & 1 == 1));
    }
    for _ in 0..source.below(12) {
        let is_signed = source.one_in(2);
        let width = 1 + source.below(if is_signed { 64 } else { 63 });
        let offset = source.below(FIELD_BYTES * 8 - 64);
        let action = source.pick(&["GET", "SET", "INCRBY"]);
        let overflow = source.pick(&["WRAP", "SAT", "FAIL"]);
        let number = source.number().cast_signed();
        let kind = format!("{}{width}", if is_signed { 'i' } else { 'u' });
        let mut words = vec!["OVERFLOW".to_owned(), overflow.to_owned(), action.to_owned()];
        words.extend([kind, offset.to_string()]);
        if action != "GET" {
            words.push(number.to_string());
        }
        let ops = bitfield::parse(&words, FIELD_BYTES, false)?;
        let found = bitfield::execute(&ops, &mut value);
        let field = Field { is_signed, width, offset };
        let expected = field.act(&mut bits, action, overflow, number);
        let row: Vec<u8> = bits.chunks(8).map(byte).collect();
        expect(found == [expected] && value == row, || {
            format!("{words:?} gives {found:?} and {value:?}, and not {expected:?} and {row:?}")
        })?;
    }
    Ok(0)
}

fn byte(bits: &[bool]) -> u8 {
    bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))
}

/// An integer in a row of bits.
struct Field {
    is_signed: bool,
    width: usize,
    offset: usize,
}

impl Field {
    fn act(&self, bits: &mut Vec<bool>, action: &str, overflow: &str, number: i64) -> Option<i64> {
        let end = self.offset + self.width;
        if action != "GET" && bits.len() < end {
            bits.resize(end.next_multiple_of(8), false);
        }
        let old = self.read(bits);
        if action == "GET" {
            return i64::try_from(old).ok();
        }
        let (min, max) = if self.is_signed {
            (-(1_i128 << (self.width - 1)), (1_i128 << (self.width - 1)) - 1)
        } else {
            (0, (1_i128 << self.width) - 1)
        };
        let wanted = match action {
            "SET" if self.is_signed => i128::from(number),
            "SET" => i128::from(number.cast_unsigned()),
            _ => old + i128::from(number),
        };
        let new = match overflow {
            _ if wanted >= min && wanted <= max => wanted,
            "SAT" => {
                if wanted < min {
                    min
                } else {
                    max
                }
            }
            "FAIL" => return None,
            _ => wanted.rem_euclid(1 << self.width),
        };
        for at in 0..self.width {
            bits[self.offset + at] = new >> (self.width - 1 - at) & 1 == 1;
        }
        let answer = if action == "SET" { old } else { self.read(bits) };
        i64::try_from(answer).ok()
    }

    fn read(&self, bits: &[bool]) -> i128 {
        let bit = |at: usize| i128::from(bits.get(at).copied().unwrap_or(false));
        let raw = (self.offset..self.offset + self.width).fold(0, |raw, at| raw * 2 + bit(at));
        let is_negative = self.is_signed && bit(self.offset) == 1;
        if is_negative { raw - (1 << self.width) } else { raw }
    }
}

fn check_lcs(source: &mut Source<'_>) -> Result<u64, String> {
    let a = source.word(200);
    let b = source.rest();
    let b = &b[..b.len().min(200)];
    let mut lengths = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..a.len() {
        for j in 0..b.len() {
            lengths[i + 1][j + 1] = if a[i] == b[j] {
                lengths[i][j] + 1
            } else {
                lengths[i][j + 1].max(lengths[i + 1][j])
            };
        }
    }
    let found = lcs::Lcs::new(a, b);
    let string = found.string();
    let runs = found.matches(0);
    let spelt: usize = runs.iter().map(|run| run.a.len()).sum();
    let are_equal = runs.iter().all(|run| a[run.a.clone()] == b[run.b.clone()]);
    let is_right = found.len() == lengths[a.len()][b.len()]
        && string.len() == found.len()
        && spelt == found.len()
        && are_equal
        && is_within(&string, a)
        && is_within(&string, b);
    expect(is_right, || {
        format!("{} of {} and {}", string.escape_ascii(), a.escape_ascii(), b.escape_ascii())
    })
}

/// Whether the bytes stand in the text in this order.
fn is_within(bytes: &[u8], text: &[u8]) -> bool {
    let mut rest = text.iter();
    bytes.iter().all(|byte| rest.any(|other| other == byte))
}

/// What is shown in quotes is the same word again for whoever sends it back.
fn check_quoted(bytes: &[u8]) -> Result<u64, String> {
    let bytes = &bytes[..bytes.len().min(1000)];
    let mut line = Vec::new();
    quote::push_quoted(bytes, &mut line);
    let is_plain = line.iter().all(|byte| (0x20..0x7f).contains(byte));
    line.push(b'\n');
    let limits = Limits {
        key_bytes: 0,
        value_bytes: 0,
        bulk_bytes: 0,
        request_bytes: 0,
        words: 1 << 20,
        is_stranger: false,
    };
    let (mut parser, mut batch) = (Parser::of(Protocol::Resp2), Batch::default());
    batch.parse(&mut parser, &line, &limits);
    let is_same = match batch.items() {
        [Item::Array { words, .. }] => batch.words(words, &line).iter().eq([bytes]),
        // What looks like HTTP is never taken for words.
        [Item::Attack] => true,
        _ => false,
    };
    expect(is_plain && is_same, || {
        format!("{} in quotes is {}", bytes.escape_ascii(), line.escape_ascii())
    })
}

/// Patterns, as far as they are not refused for their cost.
pub(super) fn check_glob(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let nocase = source.one_in(2);
    let pattern = source.word(200);
    let text = source.rest();
    let text = &text[..text.len().min(200)];
    if glob::check(pattern).is_err() {
        return expect(pattern.len() > 256, || "a short pattern is refused".to_owned());
    }
    let (found, expected) =
        (glob::matches(pattern, text, nocase), glob_matches(pattern, text, nocase));
    let shown = || format!("{} and {}", pattern.escape_ascii(), text.escape_ascii());
    expect(found == expected, || format!("{} match is {found}", shown()))?;
    let prefix = glob::literal_prefix(pattern);
    expect(nocase || !found || text.starts_with(&prefix), || format!("the prefix of {}", shown()))
}

/// An item of a pattern.
enum Part {
    Star,
    Any,
    Byte(u8),
    /// What stands between the brackets, and whether it is negated.
    Class(Vec<Member>, bool),
}

/// What a class lists.
enum Member {
    /// A byte behind a backslash, which keeps its case.
    Exactly(u8),
    Byte(u8),
    Range(u8, u8),
}

/// Whether a pattern matches, by a table of which prefix of it matches which prefix of the text.
fn glob_matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let parts = parts(pattern);
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    for part in &parts {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match part {
                Part::Star => matched[..=at].contains(&true),
                _ if at == 0 => false,
                part => matched[at - 1] && part.takes(text[at - 1], nocase),
            };
        }
        matched = next;
    }
    matched[text.len()]
}

impl Part {
    fn takes(&self, byte: u8, nocase: bool) -> bool {
        let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
        let signed = |byte: u8| i16::from(byte.cast_signed());
        match self {
            Part::Star | Part::Any => true,
            Part::Byte(own) => fold(*own) == fold(byte),
            Part::Class(members, is_negated) => {
                let has = members.iter().any(|member| match member {
                    Member::Exactly(own) => *own == byte,
                    Member::Byte(own) => fold(*own) == fold(byte),
                    Member::Range(a, b) => {
                        let (low, high) =
                            if signed(*a) <= signed(*b) { (*a, *b) } else { (*b, *a) };
                        signed(fold(low)) <= signed(fold(byte))
                            && signed(fold(byte)) <= signed(fold(high))
                    }
                });
                has != *is_negated
            }
        }
    }
}

fn parts(pattern: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        let byte = pattern[at];
        at += 1;
        let part = match byte {
            b'*' => Part::Star,
            b'?' => Part::Any,
            b'\\' if at < pattern.len() => {
                at += 1;
                Part::Byte(pattern[at - 1])
            }
            b'[' => {
                let (class, behind) = class(pattern, at);
                at = behind;
                class
            }
            other => Part::Byte(other),
        };
        parts.push(part);
    }
    parts
}

/// The class whose inside begins at a place, and where the pattern goes on.
fn class(pattern: &[u8], start: usize) -> (Part, usize) {
    let is_negated = pattern.get(start) == Some(&b'^');
    let mut at = start + usize::from(is_negated);
    let mut members = Vec::new();
    while let Some(&byte) = pattern.get(at) {
        if byte == b'\\' && at + 1 < pattern.len() {
            members.push(Member::Exactly(pattern[at + 1]));
            at += 2;
        } else if byte == b']' {
            return (Part::Class(members, is_negated), at + 1);
        } else if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() {
            members.push(Member::Range(byte, pattern[at + 2]));
            at += 3;
        } else {
            members.push(Member::Byte(byte));
            at += 1;
        }
    }
    (Part::Class(members, is_negated), at)
}

/// Payloads of DUMP: of any bytes, and with the checksum put right.
pub(super) fn check_dump(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let mut bytes = match source.u8() % 4 {
        0 => source.rest().to_vec(),
        1 => {
            let kind = source.u8();
            let value = source.rest();
            let encoded = payload::encode(kind, value);
            expect(payload::decode(&encoded) == Ok((kind, value)), || "not read back".to_owned())?;
            encoded
        }
        way => {
            let (version, kind) = (source.u8() % 3, source.u8());
            let length = source.number();
            let value = source.rest();
            let length = if way == 2 { value.len() as u64 } else { length };
            [&b"CHRONOSV"[..], &[version, kind], &length.to_le_bytes(), value].concat()
        }
    };
    if input.len() % 4 >= 2 {
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    }
    expect(payload::decode(&bytes).ok() == dumped(&bytes), || {
        format!("{} is read as {:?}", bytes.escape_ascii(), payload::decode(&bytes))
    })
}

/// Kind and value of a payload, if it is one.
fn dumped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    if bytes.len() < 22 || !bytes.starts_with(b"CHRONOSV\x01") {
        return None;
    }
    let end = bytes.len() - 4;
    let value = &bytes[18..end];
    let is_whole = bytes[10..18] == (value.len() as u64).to_le_bytes();
    let is_sound = bytes[end..] == crc32c::crc32c(&bytes[..end]).to_le_bytes();
    (is_whole && is_sound).then_some((bytes[9], value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_versions_know_the_corners() {
        assert!(glob_matches(b"a*[b-d]?", b"axxc!", false));
        assert!(!glob_matches(b"*", b"", false) && glob_matches(b"", b"", false));
        assert!(glob_matches(b"[^]", b"x", false) && !glob_matches(b"[]a]", b"a", false));
        assert!(glob_matches(b"[a-\xe4]", b"A", false) && glob_matches(b"A\\*", b"a*", true));
        assert!(dumped(&payload::encode(3, b"value")) == Some((3, b"value")));
        assert!(is_within(b"ac", b"abc") && !is_within(b"ca", b"abc"));
    }

    #[test]
    fn a_naive_field_wraps_saturates_and_fails() {
        let field = Field { is_signed: true, width: 4, offset: 2 };
        let act = |overflow, number| field.act(&mut Vec::new(), "INCRBY", overflow, number);
        assert_eq!([act("WRAP", 9), act("SAT", 9), act("FAIL", 9)], [Some(-7), Some(7), None]);
    }
}
