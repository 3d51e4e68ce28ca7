//! How replies are printed: redis-cli's formats, so that what reads its output reads this too.
//!
//! Facts from redis-cli 7.0.15, kept byte for byte, the empty line behind an error in raw format
//! included. It departs where redis-cli writes what a reader of that format refuses: quotes inside
//! `--quoted-json` strings are escaped, composite keys of a JSON object are one string, infinities are
//! strings in JSON; and where it gives up: big numbers. An error stays `error:` and a string in JSON,
//! so that it cannot be taken for a value.
//!
//! Everything here is pure: a value in, bytes out. Whether they are harmless on a terminal is for the
//! caller to see to.

use std::io::Write;

use super::value::Value;
use super::words::quote;

/// The shape of printed replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people: types are named, strings quoted, aggregates numbered.
    Standard,
    /// For programs: strings as they are, a line each.
    Raw,
    /// One line of comma-separated values.
    Csv,
    /// JSON; bytes that are not UTF-8 stay what they are.
    Json,
    /// JSON of ASCII alone: each string is a quoted string itself.
    QuotedJson,
}

impl Format {
    /// Appends `value` and the end of its last line.
    pub(crate) fn print(self, out: &mut Vec<u8>, value: &Value) {
        match self {
            Self::Standard => return standard(out, value, 0),
            Self::Raw => raw(out, value),
            Self::Csv => csv(out, value),
            Self::Json | Self::QuotedJson => json(out, value, self == Self::QuotedJson),
        }
        out.push(b'\n');
    }
}

/// Appends formatted text; writing to a vector cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {
        drop(write!($out, $($format)*))
    };
}

fn standard(out: &mut Vec<u8>, value: &Value, indent: usize) {
    match value {
        Value::Simple(text) | Value::Verbatim(text) => out.extend_from_slice(text),
        Value::Error(text) => tagged(out, "(error)", text),
        Value::Double(digits) => tagged(out, "(double)", digits),
        Value::BigNumber(digits) => tagged(out, "(big number)", digits),
        Value::Integer(number) => put!(out, "(integer) {number}"),
        Value::Boolean(true) => out.extend_from_slice(b"(true)"),
        Value::Boolean(false) => out.extend_from_slice(b"(false)"),
        Value::Null => out.extend_from_slice(b"(nil)"),
        Value::Bulk(text) => quote(out, text),
        Value::Map(pairs) => return map(out, pairs, indent),
        Value::Array(items) => return list(out, items, ')', "(empty array)", indent),
        Value::Set(items) => return list(out, items, '~', "(empty set)", indent),
        Value::Push(items) => return list(out, items, ')', "(empty push)", indent),
    }
    out.push(b'\n');
}

fn tagged(out: &mut Vec<u8>, tag: &str, text: &[u8]) {
    out.extend_from_slice(tag.as_bytes());
    out.push(b' ');
    out.extend_from_slice(text);
}

/// Numbers each item; the first stands behind the number of the list itself, the others `indent` in.
fn list(out: &mut Vec<u8>, items: &[Value], mark: char, empty: &str, indent: usize) {
    if items.is_empty() {
        put!(out, "{empty}\n");
    }
    let width = digits(items.len());
    for (index, item) in items.iter().enumerate() {
        number(out, index, width, mark, indent);
        standard(out, item, indent + width + 2);
    }
}

fn map(out: &mut Vec<u8>, pairs: &[(Value, Value)], indent: usize) {
    if pairs.is_empty() {
        out.extend_from_slice(b"(empty hash)\n");
    }
    let width = digits(pairs.len());
    for (index, (key, value)) in pairs.iter().enumerate() {
        number(out, index, width, '#', indent);
        standard(out, key, indent + width + 2);
        // The key's line goes on.
        out.pop();
        out.extend_from_slice(b" => ");
        let start = out.len();
        standard(out, value, indent + width + 2);
        let several =
            memchr::memchr(b'\n', &out[start..]).is_some_and(|at| start + at + 1 < out.len());
        if several && value.is_aggregate() {
            // Several lines begin below the key, where they stand in one column.
            let column = indent + width + 2;
            out.splice(start..start, [b'\n'].into_iter().chain(std::iter::repeat_n(b' ', column)));
        }
    }
}

fn number(out: &mut Vec<u8>, index: usize, width: usize, mark: char, indent: usize) {
    let indent = if index == 0 { 0 } else { indent };
    put!(out, "{:indent$}{:width$}{mark} ", "", index + 1);
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn raw(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => {}
        Value::Error(text) => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Value::Boolean(truth) => put!(out, "({truth})"),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            separated(out, items, b'\n', raw);
        }
        Value::Map(pairs) => separated(out, pairs, b'\n', |out, (key, value)| {
            raw(out, key);
            out.push(b' ');
            raw(out, value);
        }),
        other => plain(out, other),
    }
}

/// Strings and numbers as they are.
fn plain(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Integer(number) => put!(out, "{number}"),
        Value::Double(text) | Value::BigNumber(text) => out.extend_from_slice(text),
        other => out.extend_from_slice(other.text().unwrap_or_default()),
    }
}

fn separated<T>(
    out: &mut Vec<u8>,
    items: &[T],
    separator: u8,
    mut each: impl FnMut(&mut Vec<u8>, &T),
) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(separator);
        }
        each(out, item);
    }
}

fn csv(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Error(text) => {
            out.extend_from_slice(b"ERROR,");
            quote(out, text);
        }
        Value::Boolean(truth) => put!(out, "{truth}"),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            separated(out, items, b',', csv);
        }
        Value::Map(pairs) => separated(out, pairs, b',', |out, (key, value)| {
            csv(out, key);
            out.push(b',');
            csv(out, value);
        }),
        other => match other.text() {
            Some(text) => quote(out, text),
            None => plain(out, other),
        },
    }
}

fn json(out: &mut Vec<u8>, value: &Value, quoted: bool) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Error(text) => {
            out.extend_from_slice(b"error:");
            json_string(out, text, quoted);
        }
        Value::Boolean(truth) => put!(out, "{truth}"),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            out.push(b'[');
            separated(out, items, b',', |out, item| json(out, item, quoted));
            out.push(b']');
        }
        Value::Map(pairs) => {
            out.push(b'{');
            separated(out, pairs, b',', |out, (key, value)| {
                json_key(out, key, quoted);
                out.push(b':');
                json(out, value, quoted);
            });
            out.push(b'}');
        }
        Value::Double(digits) if !digits.iter().any(u8::is_ascii_digit) => {
            json_string(out, digits, quoted);
        }
        other => match other.text() {
            Some(text) => json_string(out, text, quoted),
            None => plain(out, other),
        },
    }
}

/// A key must be a string in JSON; whatever is none becomes one.
fn json_key(out: &mut Vec<u8>, key: &Value, quoted: bool) {
    let mut text = Vec::new();
    json(&mut text, key, quoted);
    if text.starts_with(b"\"") {
        out.extend_from_slice(&text);
    } else {
        escaped(out, &text);
    }
}

fn json_string(out: &mut Vec<u8>, text: &[u8], quoted: bool) {
    if !quoted {
        return escaped(out, text);
    }
    let mut readable = Vec::new();
    quote(&mut readable, text);
    // Its own quotes become those of the JSON string.
    escaped(out, readable.get(1..readable.len() - 1).unwrap_or_default());
}

/// A JSON string.
fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..=0x1f => put!(out, "\\u{byte:04x}"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
