//! RESP2 and RESP3, from bytes to values; no I/O.
//!
//! The decoder is fed whatever arrives and keeps its place between feeds, so trickled input costs no
//! more than whole input. Every length is bounded before anything is allocated for it, memory grows
//! only with bytes that really came, and nesting is bounded, so no server can exhaust this side.
//!
//! Attributes describe a reply that makes sense without them: they are read and dropped. After an
//! error the decoder must not be used again: its place in the stream is lost.

use super::value::Value;
use crate::client::error::{Error, Result};

/// The most bytes that one reply may take, its elements' own size included.
const MAX_REPLY_BYTES: usize = 1 << 30;
/// The most bytes of one string: what Redis itself allows.
const MAX_STRING_BYTES: usize = 512 << 20;
/// The longest line: a status, an error, a number or a length.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How deep aggregates may nest.
const MAX_DEPTH: usize = 64;
/// Room that is reserved for an aggregate's elements before they come.
const RESERVED_ELEMENTS: usize = 64;

/// What an open aggregate will become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

/// An aggregate whose elements are not all there.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// Elements still to come; `None` until a line with a full stop ends it.
    left: Option<usize>,
    items: Vec<Value>,
}

/// The smallest piece that is read at once.
enum Token {
    Value(Value),
    Open(Frame),
    /// The end of an aggregate of unknown length.
    End,
    /// The start of a string of unknown length.
    StringBegins,
    /// A part of such a string; an empty one ends it.
    StringPart(Vec<u8>),
}

/// Turns the bytes of one connection into values.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    input: Vec<u8>,
    /// Everything before this place is decoded.
    at: usize,
    /// So many bytes behind `at` are known to hold no LF.
    scanned: usize,
    open: Vec<Frame>,
    /// The parts of a string of unknown length so far.
    parts: Option<Vec<u8>>,
    /// What the reply under way takes so far, in bytes.
    weight: usize,
}

impl Decoder {
    /// Takes what arrived.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.extend_from_slice(bytes);
    }

    /// The next whole value, or nothing while it is incomplete.
    pub(crate) fn next(&mut self) -> Result<Option<Value>> {
        while let Some(token) = self.token()? {
            if let Some(value) = self.place(token)? {
                self.weight = 0;
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Reads one token off the front; nothing is taken while it is incomplete.
    fn token(&mut self) -> Result<Option<Token>> {
        let Some(end) = self.line_end()? else { return Ok(None) };
        let line = &self.input[self.at..end];
        let (kind, rest) = match line.split_first() {
            Some((kind, rest)) => (*kind, rest),
            None => return Err(malformed(line)),
        };
        if matches!(kind, b'$' | b'!' | b'=' | b';') && rest != b"?" && rest != b"-1" {
            return self.string(kind, end);
        }
        let token = match kind {
            b'$' if rest == b"?" => Token::StringBegins,
            b'.' if rest.is_empty() => Token::End,
            b'*' | b'%' | b'~' | b'>' | b'|' if rest != b"-1" => aggregate(kind, rest, line)?,
            _ => Token::Value(scalar(kind, rest, line)?),
        };
        self.consume(end + 2)?;
        Ok(Some(token))
    }

    /// Where the line at the front ends, before its CR.
    fn line_end(&mut self) -> Result<Option<usize>> {
        let rest = &self.input[self.at..];
        let Some(found) = memchr::memchr(b'\n', &rest[self.scanned..]) else {
            self.scanned = rest.len();
            return if rest.len() > MAX_LINE_BYTES { Err(too_large()) } else { Ok(None) };
        };
        let line = &rest[..self.scanned + found];
        match line.strip_suffix(b"\r") {
            Some(line) => Ok(Some(self.at + line.len())),
            None => Err(malformed(line)),
        }
    }

    /// A string that announces its length; its line ends at `end`.
    fn string(&mut self, kind: u8, end: usize) -> Result<Option<Token>> {
        let length = length(&self.input[self.at + 1..end], MAX_STRING_BYTES)?;
        let start = end + 2;
        if kind == b';' && length == 0 {
            self.consume(start)?;
            return Ok(Some(Token::StringPart(Vec::new())));
        }
        let Some(body) = self.input.get(start..start + length + 2) else { return Ok(None) };
        let Some(text) = body.strip_suffix(b"\r\n") else {
            return Err(Error::NotResp("a string is not as long as it says".to_owned()));
        };
        let token = match kind {
            b'$' => Token::Value(Value::Bulk(text.to_vec())),
            b'!' => Token::Value(Value::Error(text.to_vec())),
            b'=' => Token::Value(Value::Verbatim(verbatim(text)?.to_vec())),
            _ => Token::StringPart(text.to_vec()),
        };
        self.consume(start + length + 2)?;
        Ok(Some(token))
    }

    fn consume(&mut self, end: usize) -> Result<()> {
        self.weight += end - self.at + size_of::<Value>();
        self.at = end;
        self.scanned = 0;
        if self.weight > MAX_REPLY_BYTES { Err(too_large()) } else { Ok(()) }
    }

    /// Puts a token where it belongs. Returns the value that it completes, if nothing is left open.
    fn place(&mut self, token: Token) -> Result<Option<Value>> {
        if self.parts.is_some() != matches!(token, Token::StringPart(_)) {
            return Err(Error::NotResp("a string's parts do not follow each other".to_owned()));
        }
        match token {
            Token::Value(value) => self.add(value),
            Token::StringBegins => {
                self.parts = Some(Vec::new());
                Ok(None)
            }
            Token::StringPart(part) => self.add_part(&part),
            Token::Open(frame) if frame.left == Some(0) => self.close(frame),
            Token::Open(_) if self.open.len() == MAX_DEPTH => {
                Err(Error::NotResp(format!("it nests deeper than {MAX_DEPTH} levels")))
            }
            Token::Open(frame) => {
                self.open.push(frame);
                Ok(None)
            }
            Token::End => match self.open.pop_if(|frame| frame.left.is_none()) {
                Some(frame) => self.close(frame),
                None => Err(Error::NotResp("an end without a beginning".to_owned())),
            },
        }
    }

    fn add_part(&mut self, part: &[u8]) -> Result<Option<Value>> {
        let mut parts = self.parts.take().unwrap_or_default();
        if part.is_empty() {
            return self.add(Value::Bulk(parts));
        }
        parts.extend_from_slice(part);
        self.parts = Some(parts);
        Ok(None)
    }

    /// Adds a whole value to the innermost open aggregate, which may complete it and those around it.
    fn add(&mut self, value: Value) -> Result<Option<Value>> {
        let Some(frame) = self.open.last_mut() else { return Ok(Some(value)) };
        frame.items.push(value);
        frame.left = frame.left.map(|left| left - 1);
        match self.open.pop_if(|frame| frame.left == Some(0)) {
            Some(frame) => self.close(frame),
            None => Ok(None),
        }
    }

    fn close(&mut self, frame: Frame) -> Result<Option<Value>> {
        let items = frame.items;
        let value = match frame.kind {
            Kind::Attribute => return Ok(None),
            Kind::Array => Value::Array(items),
            Kind::Set => Value::Set(items),
            Kind::Push => Value::Push(items),
            Kind::Map => Value::Map(paired(items)?),
        };
        // As deep as the nesting, which is bounded.
        self.add(value)
    }
}

fn paired(items: Vec<Value>) -> Result<Vec<(Value, Value)>> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let Some(key) = items.next() {
        let Some(value) = items.next() else {
            return Err(Error::NotResp("a map's last key has no value".to_owned()));
        };
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn aggregate(kind: u8, count: &[u8], line: &[u8]) -> Result<Token> {
    let kind = match kind {
        b'*' => Kind::Array,
        b'%' => Kind::Map,
        b'~' => Kind::Set,
        b'>' => Kind::Push,
        b'|' => Kind::Attribute,
        _ => return Err(malformed(line)),
    };
    let each = if matches!(kind, Kind::Map | Kind::Attribute) { 2 } else { 1 };
    let left = match count {
        b"?" => None,
        digits => Some(length(digits, MAX_REPLY_BYTES / size_of::<Value>() / each)? * each),
    };
    let items = Vec::with_capacity(left.unwrap_or_default().min(RESERVED_ELEMENTS));
    Ok(Token::Open(Frame { kind, left, items }))
}

/// A value that is one line.
fn scalar(kind: u8, rest: &[u8], line: &[u8]) -> Result<Value> {
    let text = || std::str::from_utf8(rest).map_err(|_| malformed(line));
    match (kind, rest) {
        (b'+', _) => Ok(Value::Simple(rest.to_vec())),
        (b'-', _) => Ok(Value::Error(rest.to_vec())),
        (b'$' | b'*', b"-1") | (b'_', b"") => Ok(Value::Null),
        (b'#', b"t") => Ok(Value::Boolean(true)),
        (b'#', b"f") => Ok(Value::Boolean(false)),
        (b':', _) => text()?.parse().map(Value::Integer).map_err(|_| malformed(line)),
        (b',', _) if text()?.parse::<f64>().is_ok() => Ok(Value::Double(rest.to_vec())),
        (b'(', _) if is_integer(rest) => Ok(Value::BigNumber(rest.to_vec())),
        _ => Err(malformed(line)),
    }
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The text behind the three letters of its format and a colon.
fn verbatim(text: &[u8]) -> Result<&[u8]> {
    match text {
        [_, _, _, b':', text @ ..] => Ok(text),
        _ => Err(Error::NotResp("a verbatim string without a format".to_owned())),
    }
}

fn length(digits: &[u8], limit: usize) -> Result<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed(digits));
    }
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.filter(|number| *number <= limit).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::TooLarge { limit: MAX_REPLY_BYTES }
}

fn malformed(line: &[u8]) -> Error {
    let shown = &line[..line.len().min(80)];
    Error::NotResp(format!("'{}'", shown.escape_ascii()))
}

#[cfg(test)]
mod tests;
