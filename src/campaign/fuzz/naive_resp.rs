//! Requests of Redis clients as Redis's protocol has them, written for clarity only: each request is
//! read anew from its first byte with every delivery, and one byte after the other.

use super::requests::{Event, Stream, Told, is_http};
use crate::parser::Limits;

/// The longest line, its line break not counted.
const LINE_BYTES: usize = 64 << 10;

/// What the bytes from a request's start on amount to.
enum Outcome {
    /// The request is not complete.
    More,
    /// So many bytes that ask for nothing.
    Nothing(usize),
    /// So many bytes, and their words.
    Words(usize, Vec<Vec<u8>>),
    Broken(String),
    Attack,
}

/// What is told of a stream, as it is delivered.
pub(super) fn told(stream: &Stream) -> Told {
    let mut told = Told { events: Vec::new(), used: 0 };
    for &end in &stream.ends {
        while told.used < end {
            let start = told.used;
            let event = match request(&stream.bytes[start..end], &stream.limits) {
                Outcome::More => break,
                Outcome::Nothing(len) => {
                    told.used += len;
                    continue;
                }
                Outcome::Words(len, words) => {
                    told.used += len;
                    told.events.push(Event::Request { verb: None, words, end: told.used });
                    continue;
                }
                Outcome::Broken(what) => {
                    Event::Broken { told: format!("Protocol error: {what}"), start }
                }
                Outcome::Attack => Event::Attack { start },
            };
            told.events.push(event);
            return told;
        }
    }
    told
}

fn request(bytes: &[u8], limits: &Limits) -> Outcome {
    if bytes[0] != b'*' {
        return inline(bytes);
    }
    let (count, mut at) = match number(bytes, 1) {
        Number::More => return Outcome::More,
        Number::TooLong => return Outcome::Broken("too big mbulk count string".to_owned()),
        Number::Is(count, at) => (count, at),
    };
    let count = match count {
        Some(count) if count <= i64::from(limits.words) => count,
        _ => return Outcome::Broken("invalid multibulk length".to_owned()),
    };
    if count <= 0 {
        return Outcome::Nothing(at);
    }
    if limits.is_stranger && count > 10 {
        return Outcome::Broken("unauthenticated multibulk length".to_owned());
    }
    let mut words = Vec::new();
    for _ in 0..count {
        match word(bytes, at, limits) {
            Ok(Some((word, behind))) => {
                words.push(word);
                at = behind;
            }
            Ok(None) if bytes.len() > limits.request_bytes => {
                let max = limits.request_bytes;
                return Outcome::Broken(format!("the request has more than {max} bytes"));
            }
            Ok(None) => return Outcome::More,
            Err(what) => return Outcome::Broken(what),
        }
    }
    Outcome::Words(at, words)
}

/// A word and what comes behind it; `None` if it is not all there.
fn word(bytes: &[u8], at: usize, limits: &Limits) -> Result<Option<(Vec<u8>, usize)>, String> {
    let Some(&first) = bytes.get(at) else { return Ok(None) };
    if first != b'$' {
        return Err(format!("expected '$', got '{}'", char::from(first)));
    }
    let (len, start) = match number(bytes, at + 1) {
        Number::More => return Ok(None),
        Number::TooLong => return Err("too big bulk count string".to_owned()),
        Number::Is(len, start) => (len, start),
    };
    let len = len.and_then(|len| usize::try_from(len).ok());
    let Some(len) = len.filter(|len| *len <= limits.bulk_bytes) else {
        return Err("invalid bulk length".to_owned());
    };
    if limits.is_stranger && len > 16384 {
        return Err("unauthenticated bulk length".to_owned());
    }
    // Two bytes behind it are taken for the line break, whatever they are.
    let end = start + len;
    Ok(bytes.get(..end + 2).map(|bytes| (bytes[start..end].to_vec(), end + 2)))
}

/// A number that ends with CR and one more byte.
enum Number {
    More,
    TooLong,
    /// The number, if it is one, and what comes behind its line.
    Is(Option<i64>, usize),
}

fn number(bytes: &[u8], start: usize) -> Number {
    let mut at = start;
    while at < bytes.len() && bytes[at] != b'\r' {
        at += 1;
    }
    if at - start > LINE_BYTES {
        return Number::TooLong;
    }
    if at + 2 > bytes.len() {
        return Number::More;
    }
    Number::Is(spelt(&bytes[start..at]), at + 2)
}

/// The number that text spells, which has one spelling only.
fn spelt(text: &[u8]) -> Option<i64> {
    if text == b"0" {
        return Some(0);
    }
    let (sign, digits) = if text.first() == Some(&b'-') { (-1, &text[1..]) } else { (1, text) };
    if digits.is_empty() || digits[0] == b'0' || digits.len() > 19 {
        return None;
    }
    let mut value = 0_i128;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i128::from(digit - b'0');
    }
    i64::try_from(value * sign).ok()
}

fn inline(bytes: &[u8]) -> Outcome {
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b'\n' && bytes[end] != 0 {
        end += 1;
    }
    if end > LINE_BYTES || (end < bytes.len() && bytes[end] == 0) {
        return Outcome::Broken("too big inline request".to_owned());
    }
    if end == bytes.len() {
        return Outcome::More;
    }
    let mut line = &bytes[..end];
    if line.last() == Some(&b'\r') {
        line = &line[..end - 1];
    }
    if is_http(line) {
        return Outcome::Attack;
    }
    match split(line) {
        None => Outcome::Broken("unbalanced quotes in request".to_owned()),
        Some(words) if words.is_empty() => Outcome::Nothing(end + 1),
        Some(words) => Outcome::Words(end + 1, words),
    }
}

/// Between what bytes a line is split stands.
enum At {
    Between,
    Word,
    Quoted(u8),
    /// Behind the quote that closes a word.
    Closed,
}

/// The words of a line; `None` if a quote does not close, or closes in the middle of a word.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut state = At::Between;
    let mut at = 0;
    while at < line.len() {
        let byte = line[at];
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
        let ends_word = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let mut taken = 1;
        match state {
            At::Between | At::Closed if is_blank => state = At::Between,
            At::Closed => return None,
            At::Between => {
                words.push(Vec::new());
                state = At::Word;
                taken = 0;
            }
            At::Word if ends_word => state = At::Between,
            At::Word if byte == b'"' || byte == b'\'' => state = At::Quoted(byte),
            At::Word => words.last_mut()?.push(byte),
            At::Quoted(quote) if byte == quote => state = At::Closed,
            At::Quoted(quote) => {
                let (meant, len) = quoted(quote, &line[at..]);
                words.last_mut()?.push(meant);
                taken = len;
            }
        }
        at += taken;
    }
    (!matches!(state, At::Quoted(_))).then_some(words)
}

/// The byte that quoted text begins with, and how many bytes spell it.
fn quoted(quote: u8, text: &[u8]) -> (u8, usize) {
    match (quote, text) {
        (b'\'', [b'\\', b'\'', ..]) => (b'\'', 2),
        (b'"', [b'\\', b'x', high, low, ..])
            if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
        {
            (hex(*high) * 16 + hex(*low), 4)
        }
        (b'"', [b'\\', b'n', ..]) => (0x0a, 2),
        (b'"', [b'\\', b'r', ..]) => (0x0d, 2),
        (b'"', [b'\\', b't', ..]) => (0x09, 2),
        (b'"', [b'\\', b'b', ..]) => (0x08, 2),
        (b'"', [b'\\', b'a', ..]) => (0x07, 2),
        (b'"', [b'\\', other, ..]) => (*other, 2),
        (_, text) => (text[0], 1),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
