//! Requests and replies of the load tester, in text and in RESP2, over byte slices; no I/O.
//!
//! Only what SET, GET and DEL need: this is the closed loop's hot path, so nothing is copied or
//! allocated per reply.

use std::io::Write;

use super::options::Protocol;
use super::workload::{Answer, KEY_BYTES, Operation, Values, write_key};
use crate::client::error::{Error, Result};

/// The largest reply that is waited for, in bytes.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// Appends one request to `out`.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    protocol: Protocol,
    operation: Operation,
    key: u64,
    values: &Values,
) {
    match protocol {
        Protocol::Text => encode_text(out, operation, key, values),
        Protocol::Resp => encode_resp(out, operation, key, values),
    }
}

fn encode_text(out: &mut Vec<u8>, operation: Operation, key: u64, values: &Values) {
    out.extend_from_slice(operation.name().as_bytes());
    out.push(b' ');
    write_key(out, key);
    if operation == Operation::Set {
        out.push(b' ');
        values.write(out, key);
    }
    out.push(b'\n');
}

fn encode_resp(out: &mut Vec<u8>, operation: Operation, key: u64, values: &Values) {
    let words = if operation == Operation::Set { 3 } else { 2 };
    // Writing to a vector cannot fail.
    let _ = write!(out, "*{words}\r\n$3\r\n{}\r\n${KEY_BYTES}\r\n", operation.name());
    write_key(out, key);
    if operation == Operation::Set {
        let _ = write!(out, "\r\n${}\r\n", values.length());
        values.write(out, key);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a reply that does not fit is an error.
pub(crate) fn is_error(reply: &[u8], protocol: Protocol) -> bool {
    match protocol {
        Protocol::Text => reply.starts_with(b"ERR "),
        Protocol::Resp => reply.starts_with(b"-"),
    }
}

/// Reads one reply off the front of `input`: the answer and the bytes it takes, or nothing while it is
/// incomplete.
pub(crate) fn decode(
    input: &[u8],
    protocol: Protocol,
    operation: Operation,
) -> Result<Option<(Answer<'_>, usize)>> {
    let decoded = match protocol {
        Protocol::Text => decode_text(input, operation),
        Protocol::Resp => decode_resp(input, operation)?,
    };
    if decoded.is_none() && input.len() > MAX_REPLY_BYTES {
        return Err(Error::TooLarge { limit: MAX_REPLY_BYTES });
    }
    Ok(decoded)
}

fn decode_text(input: &[u8], operation: Operation) -> Option<(Answer<'_>, usize)> {
    let end = memchr::memchr(b'\n', input)?;
    let line = input.get(..end)?;
    let answer = match (operation, line) {
        (Operation::Set, b"OK") | (Operation::Del, b"OK_DELETED") => Answer::Done,
        (Operation::Get, b"NULL") => Answer::Missing,
        (Operation::Get, value) if !value.starts_with(b"ERR ") => Answer::Value(value),
        _ => Answer::Unexpected(line),
    };
    Some((answer, end + 1))
}

fn decode_resp(input: &[u8], operation: Operation) -> Result<Option<(Answer<'_>, usize)>> {
    let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
    let line = input.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let answer = match (operation, line) {
        (Operation::Get, [b'$', length @ ..]) if length != b"-1" => {
            return bulk(input, end + 1, length);
        }
        (Operation::Set, b"+OK") | (Operation::Del, b":0" | b":1") => Answer::Done,
        (Operation::Get, b"$-1" | b"_") => Answer::Missing,
        (_, [b'-', ..]) => Answer::Unexpected(line),
        _ => return Err(Error::Malformed(format!("'{}'", line.escape_ascii()))),
    };
    Ok(Some((answer, end + 1)))
}

/// A bulk string of `length` whose bytes begin at `start`.
fn bulk<'a>(input: &'a [u8], start: usize, length: &[u8]) -> Result<Option<(Answer<'a>, usize)>> {
    let length = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
    let Some(length) = length.filter(|length| *length <= MAX_REPLY_BYTES) else {
        return Err(Error::Malformed("a bulk string of an impossible length".to_owned()));
    };
    let Some(body) = input.get(start..start + length + 2) else { return Ok(None) };
    match body.strip_suffix(b"\r\n") {
        Some(value) => Ok(Some((Answer::Value(value), start + length + 2))),
        None => Err(Error::Malformed("a bulk string longer than it says".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::options::Options;
    use super::*;

    fn encoded(protocol: Protocol, operation: Operation) -> String {
        let options = Options::try_parse_from(["bench", "--value-bytes", "0"]).unwrap();
        let mut out = Vec::new();
        encode(&mut out, protocol, operation, 7, &Values::new(&options));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_written_as_the_protocols_say() {
        use Operation::{Del, Get, Set};
        assert_eq!(encoded(Protocol::Text, Set), "SET bench:000000000007 \n");
        assert_eq!(encoded(Protocol::Text, Get), "GET bench:000000000007\n");
        let key = "$18\r\nbench:000000000007\r\n";
        assert_eq!(encoded(Protocol::Resp, Set), format!("*3\r\n$3\r\nSET\r\n{key}$0\r\n\r\n"));
        assert_eq!(encoded(Protocol::Resp, Del), format!("*2\r\n$3\r\nDEL\r\n{key}"));
    }

    #[test]
    fn replies_are_read_at_any_cut() {
        let cases: [(Protocol, Operation, &[u8], Answer); 9] = [
            (Protocol::Text, Operation::Set, b"OK\n", Answer::Done),
            (Protocol::Text, Operation::Del, b"OK_DELETED\n", Answer::Done),
            (Protocol::Text, Operation::Get, b"value\n", Answer::Value(b"value")),
            (Protocol::Text, Operation::Get, b"NULL\n", Answer::Missing),
            (Protocol::Text, Operation::Get, b"ERR x\n", Answer::Unexpected(b"ERR x")),
            (Protocol::Resp, Operation::Set, b"+OK\r\n", Answer::Done),
            (Protocol::Resp, Operation::Get, b"$4\r\na\r\nb\r\n", Answer::Value(b"a\r\nb")),
            (Protocol::Resp, Operation::Get, b"$-1\r\n", Answer::Missing),
            (Protocol::Resp, Operation::Del, b"-ERR no\r\n", Answer::Unexpected(b"-ERR no")),
        ];
        for (protocol, operation, wire, answer) in cases {
            for cut in 0..wire.len() {
                assert!(decode(&wire[..cut], protocol, operation).unwrap().is_none(), "{wire:?}");
            }
            let more = [wire, b"more\n"].concat();
            assert_eq!(decode(&more, protocol, operation).unwrap(), Some((answer, wire.len())));
        }
    }

    #[test]
    fn what_is_no_reply_to_that_request_is_refused() {
        let wrong: [&[u8]; 4] = [b"hello\n", b"$x\r\n", b"$1\r\nabc", b"$99999999999\r\n"];
        for wire in wrong {
            assert!(decode(wire, Protocol::Resp, Operation::Get).is_err(), "{wire:?}");
        }
        let late = decode(b"NULL\n", Protocol::Text, Operation::Set).unwrap();
        assert_eq!(late, Some((Answer::Unexpected(b"NULL"), 5)));
    }
}
