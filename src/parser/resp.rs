//! RESP requests: arrays of bulk strings, and inline commands, as Redis reads them.
//!
//! [`RespParser`] is resumable: of a request that is not complete it remembers the words that are,
//! so that one that comes in pieces costs O(n) in all. Every length is checked before anything is
//! reserved for it; what breaks the protocol cannot be resynchronized and ends the connection, with
//! the error that Redis gives.

use memchr::{memchr, memchr2};

use super::detect::is_http;
use super::error::ProtocolError;
use super::inline;
use super::request::{Item, OwnedArgs, Span, Words};
use super::{Limits, MAX_LINE_BYTES};
use crate::planted::{Bug, is_planted};

/// What a client that has not authenticated may send: words, and bytes in one.
const STRANGER_WORDS: u32 = 10;
const STRANGER_BULK_BYTES: usize = 16 << 10;

/// The words of an unfinished request.
#[derive(Debug)]
struct Progress {
    /// Words still to come.
    missing: usize,
    /// Where the next of them begins, behind the request's start.
    at: usize,
    /// Where the words stand, behind the request's start. They stay here until all of them are there,
    /// for a request may have a million, and come byte by byte.
    spans: Vec<Span>,
}

impl Progress {
    /// Reads on in the request that `bytes` begin with.
    fn read_on(&mut self, bytes: &[u8], limits: &Limits) -> Step<()> {
        while self.missing > 0 {
            match bulk(bytes, self.at, limits) {
                Step::Done(span) => {
                    self.spans.push(span);
                    self.at = span.end as usize + 2;
                    self.missing -= 1;
                }
                Step::Partial if bytes.len() > limits.request_bytes => {
                    let error = ProtocolError::RequestTooLong { max: limits.request_bytes };
                    return Step::Broken(error);
                }
                Step::Partial => return Step::Partial,
                Step::Broken(error) => return Step::Broken(error),
            }
        }
        Step::Done(())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RespParser {
    /// Boxed: most connections have none.
    progress: Option<Box<Progress>>,
}

/// The outcome of a step: what was read, or that there is not enough.
enum Step<T> {
    Done(T),
    Partial,
    Broken(ProtocolError),
}

impl RespParser {
    /// Parses one request at `used` in `bytes`; its words are added to `spans`.
    pub(crate) fn parse(
        &mut self,
        bytes: &[u8],
        used: usize,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Item {
        if let Some(progress) = self.progress.take() {
            return self.go_on(progress, bytes, used, limits, spans);
        }
        let (mut missing, mut at) = match begin(bytes, used, limits) {
            Step::Done(Begun::Array { words: 0, at }) => {
                return Item::Nothing { consumed: at - used };
            }
            Step::Done(Begun::Array { words, at }) => (words, at),
            Step::Done(Begun::Inline(item)) => return item,
            Step::Partial => return Item::Partial,
            Step::Broken(error) => return Item::Broken { error },
        };
        let first = spans.len();
        while missing > 0 {
            match bulk(bytes, at, limits) {
                Step::Done(span) => {
                    spans.push(span);
                    at = span.end as usize + 2;
                    missing -= 1;
                }
                Step::Partial => {
                    let begun = used as u32;
                    let kept = spans.drain(first..);
                    let spans =
                        kept.map(|s| Span { start: s.start - begun, end: s.end - begun }).collect();
                    let progress = Box::new(Progress { missing, at: at - used, spans });
                    // It may be too long already.
                    return self.go_on(progress, bytes, used, limits, &mut Vec::new());
                }
                Step::Broken(error) => return Item::Broken { error },
            }
        }
        let words = Words::Lent { first, count: spans.len() - first };
        Item::Array { consumed: at - used, words }
    }

    /// Memory that it holds for a request that is not complete, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let spans = self.progress.as_ref().map_or(0, |progress| progress.spans.capacity());
        spans * size_of::<Span>()
    }

    /// Goes on with a request that was not complete.
    fn go_on(
        &mut self,
        mut progress: Box<Progress>,
        bytes: &[u8],
        used: usize,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Item {
        match progress.read_on(&bytes[used..], limits) {
            Step::Done(()) => {}
            Step::Partial => {
                self.progress = Some(progress);
                return Item::Partial;
            }
            Step::Broken(error) => return Item::Broken { error },
        }
        let (first, begun) = (spans.len(), used as u32);
        let there = progress.spans.iter();
        spans.extend(there.map(|s| Span { start: s.start + begun, end: s.end + begun }));
        let words = Words::Lent { first, count: progress.spans.len() };
        Item::Array { consumed: progress.at, words }
    }
}

/// How a request begins.
enum Begun {
    Array { words: usize, at: usize },
    Inline(Item),
}

fn begin(bytes: &[u8], used: usize, limits: &Limits) -> Step<Begun> {
    let Some(&first) = bytes.get(used) else { return Step::Partial };
    if first != b'*' {
        return inline_command(&bytes[used..], limits);
    }
    let (count, at) = match length(bytes, used + 1, ProtocolError::LongCount) {
        Step::Done(done) => done,
        Step::Partial => return Step::Partial,
        Step::Broken(error) => return Step::Broken(error),
    };
    // None, or less, asks for nothing.
    let count = count.map(|count| u32::try_from(count.max(0)).unwrap_or(u32::MAX));
    match count.filter(|&count| count <= limits.words) {
        None => Step::Broken(ProtocolError::InvalidCount),
        Some(count) if limits.is_stranger && count > STRANGER_WORDS => {
            Step::Broken(ProtocolError::StrangerCount)
        }
        Some(count) => Step::Done(Begun::Array { words: count as usize, at }),
    }
}

/// Reads one `$length` and the bytes behind it.
fn bulk(bytes: &[u8], at: usize, limits: &Limits) -> Step<Span> {
    let Some(&first) = bytes.get(at) else { return Step::Partial };
    if first != b'$' {
        return Step::Broken(ProtocolError::ExpectedBulk { got: first });
    }
    let (count, start) = match length(bytes, at + 1, ProtocolError::LongLength) {
        Step::Done(done) => done,
        Step::Partial => return Step::Partial,
        Step::Broken(error) => return Step::Broken(error),
    };
    match count.and_then(|count| usize::try_from(count).ok()) {
        Some(count) if count > limits.bulk_bytes => Step::Broken(ProtocolError::InvalidBulk),
        Some(count) if limits.is_stranger && count > STRANGER_BULK_BYTES => {
            Step::Broken(ProtocolError::StrangerBulk)
        }
        Some(count) => {
            let tail = if is_planted(Bug::SplitBulk) { 0 } else { 2 };
            if bytes.len() - start < count + tail {
                return Step::Partial;
            }
            Step::Done(Span::new(start, start + count))
        }
        None => Step::Broken(ProtocolError::InvalidBulk),
    }
}

/// Reads a number up to CR LF, and where the line behind it begins. No number: `None`.
#[inline]
fn length(bytes: &[u8], at: usize, too_long: ProtocolError) -> Step<(Option<i64>, usize)> {
    let rest = &bytes[at..];
    // Nearly all lengths have a few digits.
    let mut value: u32 = 0;
    for (index, &byte) in rest.iter().take(7).enumerate() {
        if byte == b'\r' {
            let is_canonical = index == 1 || (index > 1 && rest[0] != b'0');
            if !is_canonical {
                break;
            }
            if rest.len() < index + 2 {
                return Step::Partial;
            }
            return Step::Done((Some(i64::from(value)), at + index + 2));
        }
        if !byte.is_ascii_digit() {
            break;
        }
        value = value * 10 + u32::from(byte - b'0');
    }
    let end = memchr(b'\r', rest).unwrap_or(rest.len());
    if end > MAX_LINE_BYTES {
        // Whether or not its end has come, so that it does not matter how it came.
        return Step::Broken(too_long);
    }
    if end + 2 > rest.len() {
        return Step::Partial;
    }
    Step::Done((parse_length(&rest[..end]), at + end + 2))
}

/// A number written in the one way that there is.
fn parse_length(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

fn inline_command(bytes: &[u8], limits: &Limits) -> Step<Begun> {
    // Nothing that Redis would answer has a NUL: there the line would never end.
    let end = memchr2(b'\n', 0, bytes).unwrap_or(bytes.len());
    if end > MAX_LINE_BYTES || bytes.get(end) == Some(&0) {
        return Step::Broken(ProtocolError::LongInline);
    }
    if end == bytes.len() {
        return Step::Partial;
    }
    let line = &bytes[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let consumed = end + 1;
    if is_http(line) {
        return Step::Done(Begun::Inline(Item::Attack));
    }
    let Ok(words) = inline::split(line) else {
        return Step::Broken(ProtocolError::UnbalancedQuotes);
    };
    if words.is_empty() {
        return Step::Done(Begun::Inline(Item::Nothing { consumed }));
    }
    debug_assert!(words.len() <= limits.words as usize);
    let owned = OwnedArgs::copy(words.iter().map(AsRef::as_ref));
    let words = Words::Owned(Box::new(owned));
    Step::Done(Begun::Inline(Item::Array { consumed, words }))
}

#[cfg(test)]
mod tests {
    use super::super::request::{Batch, Parser};
    use super::super::{Limits, Protocol};
    use super::*;

    const LIMITS: Limits = Limits {
        key_bytes: 100,
        value_bytes: 1000,
        bulk_bytes: 1000,
        request_bytes: 5000,
        words: 20,
        is_stranger: false,
    };

    /// All requests in `bytes`, delivered in pieces that end at the cuts, and the error at the end.
    fn all(bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let mut parser = Parser::of(Protocol::Resp2);
        let mut batch = Batch::default();
        let (mut requests, mut used) = (Vec::new(), 0);
        for &cut in cuts.iter().chain([&bytes.len()]) {
            while used < cut {
                let input = &bytes[used..cut];
                batch.parse(&mut parser, input, &LIMITS);
                let mut partial = false;
                for item in batch.items() {
                    match item {
                        Item::Array { words, .. } => {
                            let words = batch.words(words, input);
                            requests.push(words.iter().map(<[u8]>::to_vec).collect());
                        }
                        Item::Broken { error } => return (requests, Some(*error)),
                        Item::Partial => partial = true,
                        Item::Nothing { .. } => {}
                        other => panic!("{other:?}"),
                    }
                    used += item.consumed();
                }
                if partial {
                    break;
                }
            }
        }
        (requests, None)
    }

    fn error(bytes: &[u8]) -> String {
        all(bytes, &[]).1.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn any_split_gives_the_same_requests() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n*-1\r\nPING \"a b\"\r\n\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$13\r\n\r\n$5\r\nhello\r\n\r\n*1\r\n$4\r\nPING\r\n";
        let whole = all(bytes, &[]);
        assert_eq!(whole.0.len(), 4);
        assert_eq!(whole.0[1], [&b"PING"[..], b"a b"]);
        assert_eq!(whole.0[2][2], b"\r\n$5\r\nhello\r\n");
        for cut in 0..bytes.len() {
            assert_eq!(all(bytes, &[cut]), whole, "{cut}");
            for second in cut..bytes.len() {
                assert_eq!(all(bytes, &[cut, second]), whole, "{cut} {second}");
            }
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(all(bytes, &every), whole);
    }

    #[test]
    fn words_that_are_there_are_not_touched_again() {
        let mut parser = RespParser::default();
        let (mut spans, limits) =
            (Vec::new(), Limits { words: 1000, request_bytes: 10_000, ..LIMITS });
        let whole = [&b"*900\r\n"[..], &b"$1\r\nk\r\n".repeat(900)].concat();
        let kept = |parser: &RespParser| {
            let spans = &parser.progress.as_ref().unwrap().spans;
            (spans.as_ptr(), spans.len())
        };
        let last = whole.len() - 4;
        assert_eq!(parser.parse(&whole[..last], 0, &limits, &mut spans), Item::Partial);
        let before = kept(&parser);
        assert_eq!(before.1, 899);
        for end in last..whole.len() {
            assert_eq!(parser.parse(&whole[..end], 0, &limits, &mut spans), Item::Partial);
            assert_eq!((kept(&parser), spans.len()), (before, 0), "neither copied nor lent");
        }
        let item = parser.parse(&whole, 0, &limits, &mut spans);
        let words = Words::Lent { first: 0, count: 900 };
        assert_eq!(item, Item::Array { consumed: whole.len(), words });
    }

    #[test]
    fn many_requests_take_several_batches() {
        let bytes = b"*1\r\n$4\r\nPING\r\n".repeat(100);
        assert_eq!(all(&bytes, &[]).0.len(), 100);
    }

    #[test]
    fn what_breaks_the_protocol_is_named_as_in_redis() {
        for (bytes, expected) in [
            (&b"*21\r\n"[..], "Protocol error: invalid multibulk length"),
            (b"*x\r\n", "Protocol error: invalid multibulk length"),
            (b"*01\r\n$4\r\nPING\r\n", "Protocol error: invalid multibulk length"),
            (b"*\r\n", "Protocol error: invalid multibulk length"),
            (b"*1\r\n:4\r\n", "Protocol error: expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$1001\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length"),
            (b"\"a\r\n", "Protocol error: unbalanced quotes in request"),
        ] {
            assert_eq!(error(bytes), expected, "{}", bytes.escape_ascii());
        }
        let long = |prefix: &[u8]| [prefix, &vec![b'1'; MAX_LINE_BYTES + 9]].concat();
        assert_eq!(error(&long(b"*")), "Protocol error: too big mbulk count string");
        assert_eq!(error(&long(b"*1\r\n$")), "Protocol error: too big bulk count string");
        assert_eq!(error(&long(b"")), "Protocol error: too big inline request");
    }

    /// A line past the limit is refused in the same words whether or not its end came with it.
    #[test]
    fn a_long_line_is_the_same_error_however_it_comes() {
        let limits = Limits { request_bytes: 1 << 20, ..LIMITS };
        let first = |bytes: &[u8], cut: usize| {
            let mut parser = RespParser::default();
            match parser.parse(&bytes[..cut], 0, &limits, &mut Vec::new()) {
                Item::Partial => parser.parse(bytes, 0, &limits, &mut Vec::new()),
                item => item,
            }
        };
        let lines: [(&[u8], &[u8]); 4] =
            [(b"*", b"\r\n"), (b"*1\r\n$", b"\r\n"), (b"", b"\r\n"), (b"GET /", b" HTTP/1.1\n")];
        for (before, behind) in lines {
            for more in 0..4 {
                let line = vec![b'1'; MAX_LINE_BYTES - 1 + more];
                let bytes = [before, &line, behind].concat();
                let whole = first(&bytes, bytes.len());
                for cut in bytes.len() - 12..bytes.len() {
                    assert_eq!(first(&bytes, cut), whole, "{more} more, cut at {cut}");
                }
            }
        }
    }

    /// Redis looks at the bound for everybody before it looks at that for strangers.
    #[test]
    fn a_word_that_nobody_may_send_is_no_matter_of_passwords() {
        let limits = Limits { is_stranger: true, ..LIMITS };
        let item = RespParser::default().parse(b"*1\r\n$20000\r\n", 0, &limits, &mut Vec::new());
        assert_eq!(item, Item::Broken { error: ProtocolError::InvalidBulk });
        let limits = Limits { bulk_bytes: 1 << 20, ..limits };
        let item = RespParser::default().parse(b"*1\r\n$20000\r\n", 0, &limits, &mut Vec::new());
        assert_eq!(item, Item::Broken { error: ProtocolError::StrangerBulk });
    }

    /// In Redis such a line never ends, whatever comes behind the NUL.
    #[test]
    fn an_inline_command_with_a_nul_is_refused_at_once() {
        for bytes in [&b"\0"[..], b"$\0", b"$\0AAA\n", b"PING \0\r\nPING\r\n", b"\0\nPING\r\n"] {
            assert_eq!(error(bytes), "Protocol error: too big inline request");
            for cut in 0..bytes.len() {
                assert_eq!(all(bytes, &[cut]), all(bytes, &[]), "{cut}");
            }
        }
        assert_eq!(error(b"PING\n\0"), "Protocol error: too big inline request");
    }

    #[test]
    fn a_request_is_bounded_as_a_whole() {
        let mut bytes = b"*20\r\n".to_vec();
        for _ in 0..19 {
            bytes.extend_from_slice(b"$900\r\n");
            bytes.extend_from_slice(&[b'x'; 902]);
        }
        assert!(error(&bytes).starts_with("Protocol error: the request has more than 5000 bytes"));
    }

    #[test]
    fn a_stranger_may_send_little() {
        let limits = Limits { is_stranger: true, bulk_bytes: 1 << 20, ..LIMITS };
        let broken = |bytes: &[u8]| {
            let mut batch = Batch::default();
            batch.parse(&mut Parser::of(Protocol::Resp2), bytes, &limits);
            match batch.items() {
                [Item::Broken { error }] => error.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(broken(b"*11\r\n"), "Protocol error: unauthenticated multibulk length");
        assert_eq!(broken(b"*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length");
    }
}
