//! What the server answers, and its bytes in either protocol.
//!
//! A reply in text has one of four shapes: a line, `LIST n` and n lines, `TEXT n` with n bytes and
//! LF, `ERR ` and a sentence. Nothing that was stored may break out of its shape: a value with a
//! line break becomes an error there, and control characters of an error are escaped.

use std::io::Write;

use memchr::memchr;

use super::detect::Protocol;
use super::escape::push_one_line;

/// Says that text cannot carry a value.
const LINE_BREAK: &str =
    "the value holds a line break, which a text reply cannot carry: read it with a RESP client";

/// The word that tells a program what kind of error it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is at fault.
    Plain,
    /// The disk is full: reads go on, writes are refused until there is room.
    NoSpace,
    /// The disk failed.
    IoError,
    /// Stored bytes are damaged.
    Corrupt,
}

impl ErrorCode {
    /// The word, empty for [`ErrorCode::Plain`].
    pub fn word(self) -> &'static str {
        match self {
            ErrorCode::Plain => "",
            ErrorCode::NoSpace => "NOSPACE",
            ErrorCode::IoError => "IOERR",
            ErrorCode::Corrupt => "CORRUPT",
        }
    }
}

/// An answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A fixed word, such as `OK`.
    Simple(&'static str),
    /// A stored value.
    Value(&'a [u8]),
    /// A missing value.
    Null,
    /// A number.
    Integer(i64),
    /// Several replies, none of them a list.
    List(&'a [Reply<'a>]),
    /// Text of several lines.
    Text(&'a str),
    /// A failure, told in a sentence.
    Error(ErrorCode, &'a str),
}

impl Protocol {
    /// Appends the bytes of `reply` to `out`.
    pub fn encode(self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        match self {
            Protocol::Text => encode_text(reply, out),
            Protocol::Resp2 => encode_resp2(reply, out),
        }
    }
}

fn encode_text(reply: &Reply<'_>, out: &mut Vec<u8>) {
    match *reply {
        Reply::Simple(word) => out.extend_from_slice(word.as_bytes()),
        Reply::Value(value) if memchr(b'\n', value).is_some() => {
            return encode_text(&Reply::Error(ErrorCode::Plain, LINE_BREAK), out);
        }
        Reply::Value(value) => {
            out.reserve(value.len() + 1);
            out.extend_from_slice(value);
        }
        Reply::Null => out.extend_from_slice(b"NULL"),
        Reply::Integer(number) => push_number(b"", number, out),
        Reply::List(items) => return encode_text_list(items, out),
        Reply::Text(text) => {
            push_number(b"TEXT ", text.len(), out);
            out.push(b'\n');
            out.extend_from_slice(text.as_bytes());
        }
        Reply::Error(code, sentence) => {
            out.extend_from_slice(b"ERR ");
            if code != ErrorCode::Plain {
                out.extend_from_slice(code.word().as_bytes());
                out.push(b' ');
            }
            push_one_line(sentence, out);
        }
    }
    out.push(b'\n');
}

/// A list is sent whole or not at all: one item that does not fit on a line makes it an error.
fn encode_text_list(items: &[Reply<'_>], out: &mut Vec<u8>) {
    let breaks = |item: &Reply<'_>| match item {
        Reply::Value(value) => memchr(b'\n', value).is_some(),
        Reply::List(_) | Reply::Text(_) => true,
        _ => false,
    };
    if items.iter().any(breaks) {
        return encode_text(&Reply::Error(ErrorCode::Plain, LINE_BREAK), out);
    }
    push_number(b"LIST ", items.len(), out);
    out.push(b'\n');
    for item in items {
        encode_text(item, out);
    }
}

fn encode_resp2(reply: &Reply<'_>, out: &mut Vec<u8>) {
    match *reply {
        Reply::Simple(word) => {
            out.push(b'+');
            out.extend_from_slice(word.as_bytes());
        }
        Reply::Value(value) => push_bulk(value, out),
        Reply::Null => out.extend_from_slice(b"$-1"),
        Reply::Integer(number) => push_number(b":", number, out),
        Reply::List(items) => {
            push_number(b"*", items.len(), out);
            out.extend_from_slice(b"\r\n");
            for item in items {
                encode_resp2(item, out);
            }
            return;
        }
        Reply::Text(text) => push_bulk(text.as_bytes(), out),
        Reply::Error(code, sentence) => {
            out.push(b'-');
            let word = if code == ErrorCode::Plain { "ERR" } else { code.word() };
            out.extend_from_slice(word.as_bytes());
            out.push(b' ');
            push_one_line(sentence, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn push_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    push_number(b"$", bytes.len(), out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
}

fn push_number(prefix: &[u8], number: impl std::fmt::Display, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    // A Vec takes every write.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(reply: &Reply<'_>) -> (String, String) {
        let bytes = |protocol: Protocol| {
            let mut out = Vec::new();
            protocol.encode(reply, &mut out);
            String::from_utf8(out).unwrap()
        };
        (bytes(Protocol::Text), bytes(Protocol::Resp2))
    }

    fn is(reply: &Reply<'_>, text: &str, resp: &str) {
        assert_eq!(both(reply), (text.to_owned(), resp.to_owned()), "{reply:?}");
    }

    #[test]
    fn every_shape() {
        is(&Reply::Simple("OK"), "OK\n", "+OK\r\n");
        is(&Reply::Value(b"a b"), "a b\n", "$3\r\na b\r\n");
        is(&Reply::Value(b""), "\n", "$0\r\n\r\n");
        is(&Reply::Value(b"a\r"), "a\r\n", "$2\r\na\r\r\n");
        is(&Reply::Null, "NULL\n", "$-1\r\n");
        is(&Reply::Integer(-7), "-7\n", ":-7\r\n");
        is(&Reply::Text("a\nb"), "TEXT 3\na\nb\n", "$3\r\na\nb\r\n");
        let items = [Reply::Value(b"x"), Reply::Null];
        is(&Reply::List(&items), "LIST 2\nx\nNULL\n", "*2\r\n$1\r\nx\r\n$-1\r\n");
        is(&Reply::List(&[]), "LIST 0\n", "*0\r\n");
    }

    #[test]
    fn errors_carry_their_word_and_stay_on_a_line() {
        is(&Reply::Error(ErrorCode::Plain, "no"), "ERR no\n", "-ERR no\r\n");
        is(&Reply::Error(ErrorCode::NoSpace, "full"), "ERR NOSPACE full\n", "-NOSPACE full\r\n");
        is(&Reply::Error(ErrorCode::Plain, "a\nOK"), "ERR a\\x0aOK\n", "-ERR a\\x0aOK\r\n");
    }

    #[test]
    fn a_line_break_does_not_leave_in_text() {
        let error = format!("ERR {LINE_BREAK}\n");
        is(&Reply::Value(b"a\nb"), &error, "$3\r\na\nb\r\n");
        let items = [Reply::Value(b"x"), Reply::Value(b"\n")];
        assert_eq!(both(&Reply::List(&items)).0, error);
    }
}
