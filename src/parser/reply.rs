//! What the server answers, as bytes in any of the protocols.
//!
//! An [`Encoder`] appends one reply to a buffer, piece by piece, so that no reply is built twice.
//! Aggregates announce their number of elements and the elements follow, as on the wire; RESP2 has
//! maps, sets and pushes as arrays.
//!
//! A reply in text has one of four shapes: a line, `LIST n` and n lines, `TEXT n` with n bytes and LF,
//! `ERR ` and a sentence. Nothing that was stored may break out of its shape: a reply that text
//! cannot carry becomes an error as a whole, and control characters of an error are escaped.

use memchr::memchr;

use super::detect::Protocol;
use super::escape::push_one_line;

/// Says that text cannot carry a value.
const LINE_BREAK: &str =
    "ERR the value holds a line break, which a text reply cannot carry: read it with a RESP client";

/// Says that text cannot carry lists of lists.
const NESTED: &str =
    "ERR the reply is a list of lists, which a text reply cannot carry: ask with a RESP client";

/// The longest reply, in bytes: about the longest word that Redis clients expect.
pub const MAX_REPLY_BYTES: usize = 512 << 20;

/// Writes one reply. Dropping it ends the reply.
#[derive(Debug)]
pub struct Encoder<'o> {
    protocol: Protocol,
    out: &'o mut Vec<u8>,
    /// Where the reply begins in `out`.
    start: usize,
    /// Whether a list has begun (text only).
    in_list: bool,
    /// Why text cannot carry it.
    broken: Option<&'static str>,
    /// Whether it is longer than any reply may be: then nothing is added any more.
    is_too_long: bool,
}

impl<'o> Encoder<'o> {
    /// A reply that is appended to `out`.
    pub fn new(protocol: Protocol, out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        Encoder { protocol, out, start, in_list: false, broken: None, is_too_long: false }
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Goes on in another protocol, before anything is written.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.out.len() - self.start
    }

    /// Drops what was written after `len` bytes, a number that [`Encoder::written`] gave between two
    /// whole elements.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(self.start + len);
        if len == 0 {
            self.in_list = false;
            self.broken = None;
        }
    }

    /// Whether something was left out because the reply is past [`MAX_REPLY_BYTES`]: it must not be
    /// sent.
    pub fn is_too_long(&self) -> bool {
        self.is_too_long
    }

    fn is_text(&self) -> bool {
        self.protocol == Protocol::Text
    }

    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(if self.is_text() { b"\n" } else { b"\r\n" });
    }

    /// `OK`.
    pub fn ok(&mut self) {
        self.simple("OK");
    }

    /// A fixed word.
    pub fn simple(&mut self, word: &str) {
        if !self.is_text() {
            self.out.push(b'+');
        }
        self.out.extend_from_slice(word.as_bytes());
        self.end_line();
    }

    /// An error: its line, which begins with the code: `ERR no such key`.
    pub fn error(&mut self, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        if self.is_text() {
            if !line.starts_with(b"ERR ") {
                self.out.extend_from_slice(b"ERR ");
            }
            push_one_line(line, self.out);
            self.out.push(b'\n');
        } else {
            self.out.push(b'-');
            let is_break = |byte: u8| byte == b'\r' || byte == b'\n';
            self.out.extend(line.iter().map(|&byte| if is_break(byte) { b' ' } else { byte }));
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// A number.
    pub fn integer(&mut self, number: i64) {
        if !self.is_text() {
            self.out.push(b':');
        }
        self.push_number(number);
        self.end_line();
    }

    /// How many there are of something.
    pub fn count(&mut self, count: usize) {
        self.integer((count as u64).cast_signed());
    }

    /// Bytes, such as a value.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.written() + bytes.len() > MAX_REPLY_BYTES {
            self.is_too_long = true;
            return;
        }
        self.out.reserve(bytes.len() + 32);
        if self.is_text() {
            if memchr(b'\n', bytes).is_some() {
                self.broken.get_or_insert(LINE_BREAK);
            }
            self.out.extend_from_slice(bytes);
            self.out.push(b'\n');
            return;
        }
        self.out.push(b'$');
        self.push_digits(bytes.len() as u64);
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A value, or nothing.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// Nothing, where a value could be.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Text => b"NULL\n",
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Nothing, where a list could be.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Text => b"NULL\n",
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// A list: its elements follow.
    pub fn array(&mut self, count: usize) {
        self.aggregate(b'*', count, 1);
    }

    /// A map: its keys and values follow in turn.
    pub fn map(&mut self, count: usize) {
        self.aggregate(b'%', count, 2);
    }

    /// A set: its elements follow.
    pub fn set(&mut self, count: usize) {
        self.aggregate(b'~', count, 1);
    }

    /// A message that answers nothing: its elements follow.
    pub fn push(&mut self, count: usize) {
        self.aggregate(b'>', count, 1);
    }

    fn aggregate(&mut self, resp3: u8, count: usize, each: usize) {
        if self.is_text() {
            if self.in_list {
                self.broken.get_or_insert(NESTED);
            }
            self.in_list = true;
            self.out.extend_from_slice(b"LIST ");
            self.push_digits((count * each) as u64);
        } else if self.is_resp3() {
            self.out.push(resp3);
            self.push_digits(count as u64);
        } else {
            self.out.push(b'*');
            self.push_digits((count * each) as u64);
        }
        self.end_line();
    }

    /// A floating-point number, given as it is written.
    pub fn double(&mut self, digits: &str) {
        if self.is_resp3() {
            self.out.push(b',');
            self.out.extend_from_slice(digits.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// Text of several lines.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Text => {
                if self.in_list {
                    self.broken.get_or_insert(LINE_BREAK);
                }
                self.out.extend_from_slice(b"TEXT ");
                self.push_digits(text.len() as u64);
                self.out.push(b'\n');
                self.out.extend_from_slice(text.as_bytes());
                self.out.push(b'\n');
            }
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.out.push(b'=');
                self.push_digits(text.len() as u64 + 4);
                self.out.extend_from_slice(b"\r\ntxt:");
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Lines of help: a list of simple words, as Redis's HELP subcommands answer.
    pub fn lines(&mut self, lines: &[&str]) {
        self.array(lines.len());
        for line in lines {
            self.simple(line);
        }
    }

    /// Elements that were encoded before, by an encoder of the same protocol.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    fn push_number(&mut self, number: i64) {
        if number < 0 {
            self.out.push(b'-');
        }
        self.push_digits(number.unsigned_abs());
    }

    fn push_digits(&mut self, mut rest: u64) {
        // The digits, last first: lengths and counters are written once or twice per reply.
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.broken.take() {
            self.out.truncate(self.start);
            self.error(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(protocol: Protocol, write: impl Fn(&mut Encoder<'_>)) -> String {
        let mut out = b"before".to_vec();
        write(&mut Encoder::new(protocol, &mut out));
        String::from_utf8(out.split_off(6)).unwrap()
    }

    fn is(write: impl Fn(&mut Encoder<'_>), text: &str, resp2: &str, resp3: &str) {
        assert_eq!(encoded(Protocol::Text, &write), text);
        assert_eq!(encoded(Protocol::Resp2, &write), resp2);
        assert_eq!(encoded(Protocol::Resp3, &write), resp3);
    }

    #[test]
    fn every_shape() {
        is(|e: &mut Encoder<'_>| e.ok(), "OK\n", "+OK\r\n", "+OK\r\n");
        is(|e| e.bulk(b"a b"), "a b\n", "$3\r\na b\r\n", "$3\r\na b\r\n");
        is(|e| e.bulk(b""), "\n", "$0\r\n\r\n", "$0\r\n\r\n");
        is(|e: &mut Encoder<'_>| e.null(), "NULL\n", "$-1\r\n", "_\r\n");
        is(|e: &mut Encoder<'_>| e.null_array(), "NULL\n", "*-1\r\n", "_\r\n");
        is(|e| e.integer(-70), "-70\n", ":-70\r\n", ":-70\r\n");
        is(
            |e| e.integer(i64::MIN),
            "-9223372036854775808\n",
            ":-9223372036854775808\r\n",
            ":-9223372036854775808\r\n",
        );
        is(|e| e.double("1.5"), "1.5\n", "$3\r\n1.5\r\n", ",1.5\r\n");
        is(|e| e.verbatim("a\nb"), "TEXT 3\na\nb\n", "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n");
        let list = |e: &mut Encoder<'_>| {
            e.array(2);
            e.bulk(b"x");
            e.null();
        };
        is(list, "LIST 2\nx\nNULL\n", "*2\r\n$1\r\nx\r\n$-1\r\n", "*2\r\n$1\r\nx\r\n_\r\n");
        is(|e| e.array(0), "LIST 0\n", "*0\r\n", "*0\r\n");
        let map = |e: &mut Encoder<'_>| {
            e.map(1);
            e.bulk(b"k");
            e.integer(1);
        };
        is(map, "LIST 2\nk\n1\n", "*2\r\n$1\r\nk\r\n:1\r\n", "%1\r\n$1\r\nk\r\n:1\r\n");
        is(|e| e.set(0), "LIST 0\n", "*0\r\n", "~0\r\n");
        is(|e| e.push(0), "LIST 0\n", "*0\r\n", ">0\r\n");
    }

    #[test]
    fn errors_carry_their_word_and_stay_on_a_line() {
        is(|e| e.error("ERR no"), "ERR no\n", "-ERR no\r\n", "-ERR no\r\n");
        is(
            |e| e.error("NOSPACE full"),
            "ERR NOSPACE full\n",
            "-NOSPACE full\r\n",
            "-NOSPACE full\r\n",
        );
        is(|e| e.error("ERR a\nOK"), "ERR a\\x0aOK\n", "-ERR a OK\r\n", "-ERR a OK\r\n");
    }

    #[test]
    fn what_text_cannot_carry_becomes_an_error_as_a_whole() {
        let error = format!("{LINE_BREAK}\n");
        assert_eq!(encoded(Protocol::Text, |e| e.bulk(b"a\nb")), error);
        let list = |e: &mut Encoder<'_>| {
            e.array(2);
            e.bulk(b"x");
            e.bulk(b"\n");
        };
        assert_eq!(encoded(Protocol::Text, list), error);
        let nested = |e: &mut Encoder<'_>| {
            e.array(1);
            e.array(0);
        };
        assert_eq!(encoded(Protocol::Text, nested), format!("{NESTED}\n"));
    }

    #[test]
    fn a_reply_can_be_taken_back() {
        is(
            |e| {
                e.array(2);
                let before = e.written();
                e.bulk(b"gone");
                e.truncate(before);
                e.bulk(b"a");
                e.bulk(b"b");
            },
            "LIST 2\na\nb\n",
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        );
    }
}
