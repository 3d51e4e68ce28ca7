//! Reads replies off a stream, in the shapes of the text protocol.
//!
//! Bytes are bytes: only the LF that ends a line is taken off, never a CR or a space. Lengths that the
//! server announces are bounded before anything is allocated for them, and memory grows only with
//! bytes that really came.
//!
//! Two readings are ambiguous in the protocol itself, and RESP is the way out of both: the value
//! `NULL` reads like a missing key, and a value that begins with `ERR ` reads like an error.

use std::io::{self, BufRead, BufReader, Read};

use super::error::{Error, Result};
use super::request::Shape;

/// The most bytes that one reply may hold.
const MAX_REPLY_BYTES: usize = 256 << 20;
/// What each line of a list counts beside its bytes, so that empty lines are bounded too.
const LIST_LINE_BYTES: usize = 32;
/// One read from the socket.
const BUFFER_BYTES: usize = 64 << 10;

/// What the server answered, without the protocol's line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// One line: a status, a number or a value.
    Line(Vec<u8>),
    /// Several lines, each a word or a value.
    List(Vec<Vec<u8>>),
    /// Text with line breaks of its own.
    Text(Vec<u8>),
    /// An error, `ERR ` included. A value that begins with `ERR ` cannot be told from one.
    Error(Vec<u8>),
}

impl Reply {
    /// Whether the server refused the request.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// What a first line announces.
enum Header {
    Line,
    List(usize),
    Text(usize),
}

/// Reads one reply after the other from `R`.
#[derive(Debug)]
pub(crate) struct ReplyReader<R> {
    input: BufReader<R>,
}

impl<R: Read> ReplyReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER_BYTES, input) }
    }

    /// Where the bytes come from.
    pub(crate) fn input(&mut self) -> &mut R {
        self.input.get_mut()
    }

    /// Whether nothing that was received is still unread, so that [`Self::read`] would wait.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.buffer().is_empty()
    }

    /// Waits for the next reply and reads it as `shape`.
    pub(crate) fn read(&mut self, shape: Shape) -> Result<Reply> {
        let line = self.line(MAX_REPLY_BYTES)?;
        if line.starts_with(b"ERR ") {
            return Ok(Reply::Error(line));
        }
        match header(&line, shape)? {
            Header::Line => Ok(Reply::Line(line)),
            Header::List(count) => self.list(count),
            Header::Text(length) => self.text(length),
        }
    }

    fn list(&mut self, count: usize) -> Result<Reply> {
        let mut room = MAX_REPLY_BYTES;
        let mut lines = Vec::new();
        for _ in 0..count {
            let line = self.line(room)?;
            room = room.saturating_sub(line.len() + LIST_LINE_BYTES);
            lines.push(line);
        }
        Ok(Reply::List(lines))
    }

    fn text(&mut self, length: usize) -> Result<Reply> {
        let mut text = Vec::new();
        (&mut self.input).take(length as u64).read_to_end(&mut text).map_err(Error::Broken)?;
        if text.len() < length {
            return Err(Error::Closed);
        }
        match self.line(0) {
            Ok(_) => Ok(Reply::Text(text)),
            Err(Error::TooLarge { .. }) => {
                Err(Error::Malformed("a TEXT is longer than it says".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes up to the next LF, which is consumed; at most `room` of them.
    fn line(&mut self, room: usize) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let input = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(Error::Broken)?,
            };
            if input.is_empty() {
                return Err(Error::Closed);
            }
            let end = memchr::memchr(b'\n', input);
            let part = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
            if line.len() + part.len() > room {
                return Err(Error::TooLarge { limit: MAX_REPLY_BYTES });
            }
            line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(line);
            }
        }
    }
}

fn header(line: &[u8], shape: Shape) -> Result<Header> {
    if shape == Shape::Value {
        return Ok(Header::Line);
    }
    if let Some(count) = line.strip_prefix(b"LIST ") {
        return Ok(Header::List(announced(count, MAX_REPLY_BYTES / LIST_LINE_BYTES)?));
    }
    if let Some(length) = line.strip_prefix(b"TEXT ") {
        return Ok(Header::Text(announced(length, MAX_REPLY_BYTES)?));
    }
    Ok(Header::Line)
}

fn announced(digits: &[u8], limit: usize) -> Result<usize> {
    let number = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<usize>().ok());
    match number {
        Some(number) if number <= limit => Ok(number),
        Some(_) => Err(Error::TooLarge { limit: MAX_REPLY_BYTES }),
        None => Err(Error::Malformed(format!("'{}' is not a count", digits.escape_ascii()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], shape: Shape) -> Result<Reply> {
        ReplyReader::new(bytes).read(shape)
    }

    fn line(bytes: &[u8]) -> Reply {
        Reply::Line(bytes.to_vec())
    }

    /// Hands out one byte at a time: every boundary falls between two reads.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = buffer.len().min(1);
            Read::read(&mut self.0, &mut buffer[..one])
        }
    }

    #[test]
    fn a_value_is_read_verbatim_whatever_it_looks_like() {
        for value in [&b"LIST 3"[..], b"TEXT 5", b"NULL", b"ERR", b"", b" a\r", b"\xff\0\x1b[31m"] {
            let wire = [value, b"\n"].concat();
            assert_eq!(read(&wire, Shape::Value).unwrap(), line(value));
        }
    }

    #[test]
    fn an_error_is_an_error_in_every_shape() {
        for shape in [Shape::Value, Shape::Announced] {
            assert_eq!(read(b"ERR no\n", shape).unwrap(), Reply::Error(b"ERR no".to_vec()));
        }
    }

    #[test]
    fn lists_and_texts_are_read_whole_and_leave_the_next_reply() {
        let wire = b"LIST 3\na\n\nLIST 9\r\nTEXT 4\na\n\nb\nTEXT 0\n\nLIST 0\nOK\n";
        let mut replies = ReplyReader::new(Trickle(wire));
        let list = vec![b"a".to_vec(), Vec::new(), b"LIST 9\r".to_vec()];
        let expected = [
            Reply::List(list),
            Reply::Text(b"a\n\nb".to_vec()),
            Reply::Text(Vec::new()),
            Reply::List(Vec::new()),
            line(b"OK"),
        ];
        for reply in expected {
            assert_eq!(replies.read(Shape::Announced).unwrap(), reply);
        }
        assert!(replies.is_drained());
        assert!(matches!(replies.read(Shape::Announced), Err(Error::Closed)));
    }

    #[test]
    fn a_reply_that_stops_short_is_a_closed_connection() {
        for wire in [&b""[..], b"OK", b"LIST 2\na\n", b"TEXT 3\nab", b"TEXT 3\nabc"] {
            assert!(matches!(read(wire, Shape::Announced), Err(Error::Closed)), "{wire:?}");
        }
    }

    #[test]
    fn senseless_counts_are_refused_before_anything_is_allocated() {
        for wire in [&b"LIST x\n"[..], b"LIST -1\n", b"TEXT \n", b"LIST +1\n", b"TEXT 1 2\n"] {
            assert!(matches!(read(wire, Shape::Announced), Err(Error::Malformed(_))), "{wire:?}");
        }
        for wire in [&b"LIST 99999999999\n"[..], b"TEXT 268435457\n"] {
            assert!(matches!(read(wire, Shape::Announced), Err(Error::TooLarge { .. })));
        }
        assert!(matches!(read(b"TEXT 2\nabc\n", Shape::Announced), Err(Error::Malformed(_))));
    }

    #[test]
    fn an_endless_line_is_cut_off() {
        let endless = io::repeat(b'x');
        let result = ReplyReader::new(endless).read(Shape::Value);
        assert!(matches!(result, Err(Error::TooLarge { .. })));
    }
}
