//! The parsers of requests, fed in pieces, beside naive ones that see everything at once.
//!
//! An input is a head of choices (limits, where the stream is cut into deliveries, where execution
//! stops in a batch and goes on later) and the stream. Two things are judged: what the parser tells
//! is what the naive one tells of what has been delivered by then; and how the stream is cut does
//! not matter, unless a bound on what is not complete yet was hit, which depends on it by nature.

use super::source::Source;
use super::{naive_resp, naive_text};
use crate::engine::storage::sim::Random;
use crate::parser::request::{Batch, Item, Parser};
use crate::parser::{Limits, Protocol, Verb};

/// The most deliveries of a stream.
const MOST_DELIVERIES: usize = 48;
/// The same of one with a long line, which naive parsers look at anew each time.
const MOST_LONG_DELIVERIES: usize = 5;
/// The longest line of RESP, and that of text under the limits here.
const RESP_LINE_BYTES: usize = 64 << 10;
const TEXT_LINE_BYTES: usize = 1048;

/// What a parser tells of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A request: what the text protocol takes it for, its words, and where it ends.
    Request { verb: Option<Verb>, words: Vec<Vec<u8>>, end: usize },
    /// No request, told in these words; the end of the line if it was seen.
    Refused { told: String, end: Option<usize> },
    /// The request that begins here cannot be gone on with.
    Broken { told: String, start: usize },
    /// HTTP begins here.
    Attack { start: usize },
    /// A line that was too long does not end.
    Flood,
}

/// All that is told of a stream, and how many of its bytes are done with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) events: Vec<Event>,
    pub(super) used: usize,
}

/// A stream and how it is delivered.
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    /// Where the deliveries end, ascending; the last is the stream's end.
    pub(super) ends: Vec<usize>,
    pub(super) limits: Limits,
    /// Decides where execution stops within a batch.
    stops: Random,
}

/// Text requests.
pub(super) fn check_text(input: &[u8]) -> Result<u64, String> {
    judge(&Stream::new(input, TEXT_LINE_BYTES), production_text, naive_text::told)
}

/// RESP requests, inline ones included.
pub(super) fn check_resp(input: &[u8]) -> Result<u64, String> {
    judge(&Stream::new(input, RESP_LINE_BYTES), production_resp, naive_resp::told)
}

fn production_text(stream: &Stream) -> Told {
    production(Protocol::Text, stream)
}

fn production_resp(stream: &Stream) -> Told {
    production(Protocol::Resp2, stream)
}

type Parse = fn(&Stream) -> Told;

fn judge(stream: &Stream, parser: Parse, naive: Parse) -> Result<u64, String> {
    if let Some(&first) = stream.bytes.first() {
        let is_resp = Protocol::detect(first) != Protocol::Text;
        if is_resp != (first == 0x2a || first == 0x24) {
            return Err(format!("the protocol of a stream that begins with {first} is mistaken"));
        }
    }
    let (found, expected) = (parser(stream), naive(stream));
    if found != expected {
        return Err(format!("told {found:?}\ninstead of {expected:?}\nof {stream}"));
    }
    let whole = naive(&stream.in_one_piece());
    if !hit_a_bound(&expected) && !hit_a_bound(&whole) && expected != whole {
        return Err(format!("in pieces {expected:?}\nat once {whole:?}\nof {stream}"));
    }
    Ok(0)
}

/// Whether a bound on what is not complete was hit.
fn hit_a_bound(told: &Told) -> bool {
    told.events.iter().any(|event| match event {
        Event::Flood => true,
        Event::Broken { told, .. } => told.contains("the request has more than"),
        _ => false,
    })
}

impl Stream {
    /// A line of it may be stretched to about `line_bytes`.
    fn new(input: &[u8], line_bytes: usize) -> Self {
        let mut source = Source::new(input);
        let head = source.u8();
        let limits = Limits {
            key_bytes: 8,
            value_bytes: 16,
            bulk_bytes: if head & 1 == 0 { 1000 } else { 1 << 20 },
            request_bytes: if head & 2 == 0 { 5000 } else { 200 },
            words: 1 << 16,
            is_stranger: head & 4 != 0,
        };
        let mut random = Random(source.u16().into());
        let stretch = (head & 8 != 0).then(|| (source.u16(), source.u8()));
        let mut bytes = source.rest().to_vec();
        if let Some((at, more)) = stretch {
            stretch_at(&mut bytes, at.into(), line_bytes - 64 + usize::from(more / 2));
        }
        let most = if stretch.is_some() { MOST_LONG_DELIVERIES } else { MOST_DELIVERIES };
        let ends = ends(bytes.len(), head >> 4, most, &mut random);
        Stream { bytes, ends, limits, stops: random }
    }

    fn in_one_piece(&self) -> Self {
        let (bytes, stops) = (self.bytes.clone(), self.stops.clone());
        Stream { ends: vec![bytes.len()], bytes, limits: self.limits, stops }
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.bytes[..self.bytes.len().min(2000)];
        write!(f, "{}, delivered up to {:?}", shown.escape_ascii(), self.ends)
    }
}

/// Repeats the byte at a place.
fn stretch_at(bytes: &mut Vec<u8>, at: usize, count: usize) {
    let at = at.checked_rem(bytes.len()).unwrap_or(0);
    let Some(&byte) = bytes.get(at) else { return };
    bytes.splice(at..at, std::iter::repeat_n(byte, count));
}

/// Where the deliveries of `len` bytes end: all at once, byte by byte, or anywhere.
fn ends(len: usize, mode: u8, most: usize, random: &mut Random) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < len && ends.len() < most {
        at += 1 + match mode {
            0 => len,
            1 => 0,
            2 => random.below(4) as usize,
            3 => len.saturating_sub(at + 2 + random.below(20) as usize),
            mode => random.below(u64::from(mode) * 16) as usize,
        };
        ends.push(at.min(len));
    }
    if ends.last() != Some(&len) {
        ends.push(len);
    }
    ends
}

/// Has the parser read the stream as the server does.
fn production(protocol: Protocol, stream: &Stream) -> Told {
    let (mut parser, mut batch) = (Parser::of(protocol), Batch::default());
    let mut told = Told { events: Vec::new(), used: 0 };
    let mut stops = stream.stops.clone();
    for &end in &stream.ends {
        while told.used < end {
            let input = &stream.bytes[told.used..end];
            batch.parse(&mut parser, input, &stream.limits);
            match take(&mut parser, &batch, input, &mut told, &mut stops) {
                Taken::All => {}
                Taken::Waits => break,
                Taken::Ends => return told,
            }
        }
    }
    told
}

/// How a batch ended.
enum Taken {
    All,
    Waits,
    Ends,
}

/// Takes what was parsed, or only some of it, as the server does where it has to stop.
fn take(
    parser: &mut Parser,
    batch: &Batch,
    input: &[u8],
    told: &mut Told,
    stops: &mut Random,
) -> Taken {
    for (at, item) in batch.items().iter().enumerate() {
        if at > 0 && *item != Item::Partial && stops.one_in(8) {
            parser.forget();
            return Taken::All;
        }
        let start = told.used;
        told.used += item.consumed();
        let end = told.used;
        let words = |words| batch.words(words, input).iter().map(<[u8]>::to_vec).collect();
        let event = match item {
            Item::Partial => return Taken::Waits,
            Item::Nothing { .. } => continue,
            Item::Line { command, words: w, .. } => {
                Event::Request { verb: Some(command.verb), words: words(w), end }
            }
            Item::Array { words: w, .. } => Event::Request { verb: None, words: words(w), end },
            Item::Invalid { error, .. } => {
                let told = error.to_string();
                let end = (!told.starts_with("line too long")).then_some(end);
                Event::Refused { told, end }
            }
            Item::Broken { error } => Event::Broken { told: error.to_string(), start },
            Item::Attack => Event::Attack { start },
            Item::Flood => Event::Flood,
        };
        let ends = matches!(event, Event::Broken { .. } | Event::Attack { .. } | Event::Flood);
        told.events.push(event);
        if ends {
            return Taken::Ends;
        }
    }
    Taken::All
}

/// Whether a line is one of HTTP, by what `docs/protocol.md` says: a method, anything and a version,
/// or a header that names the host.
pub(super) fn is_http(line: &[u8]) -> bool {
    let text: String = line.iter().map(|byte| char::from(*byte)).collect();
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0c' | '\r');
    let text = text.trim_matches(blank).to_ascii_uppercase();
    let is_header = text.starts_with("HOST:");
    let Some((head, version)) = text.rsplit_once(" HTTP/") else { return is_header };
    // The version is written in capitals.
    let is_capital = line.trim_ascii().ends_with(format!("HTTP/{version}").as_bytes());
    let digits: Vec<char> = version.chars().collect();
    let is_version = matches!(digits[..], [major, '.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit());
    let methods =
        ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI"];
    let method = head.split(' ').next().unwrap_or_default();
    is_header || is_version && is_capital && methods.contains(&method)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\x40\x01\x00SET key a value\r\nGET key\nFLY\nGET a b\n\nPING\n";
    const RESP: &[u8] =
        b"\x20\x01\x00*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING 'a b'\r\n*0\r\n*1\r\n$4\r\nPING\r\n*1\r\n:";

    #[test]
    fn a_wrong_word_end_or_count_is_found() {
        for (input, parser, naive) in [
            (TEXT, production_text as Parse, naive_text::told as Parse),
            (RESP, production_resp, naive_resp::told),
        ] {
            let stream = Stream::new(input, TEXT_LINE_BYTES);
            assert!(stream.ends.len() > 2, "in pieces");
            assert_eq!(judge(&stream, parser, naive), Ok(0));
            assert!(parser(&stream).events.len() >= 4);
        }
        let spoilt: [Parse; 4] = [
            |stream| {
                let mut told = production_text(stream);
                told.events.pop();
                told
            },
            |stream| Told { used: stream.bytes.len() - 1, ..production_text(stream) },
            |stream| {
                let mut told = production_text(stream);
                if let Some(Event::Request { words, .. }) = told.events.first_mut() {
                    words[1].pop();
                }
                told
            },
            |stream| {
                let mut told = production_text(stream);
                told.events.swap(0, 1);
                told
            },
        ];
        for parser in spoilt {
            assert!(judge(&Stream::new(TEXT, TEXT_LINE_BYTES), parser, naive_text::told).is_err());
        }
        let spoilt: Parse = |stream| {
            let mut told = production_resp(stream);
            if let Some(Event::Broken { told, .. }) = told.events.last_mut() {
                told.push('!');
            }
            told
        };
        assert!(judge(&Stream::new(RESP, RESP_LINE_BYTES), spoilt, naive_resp::told).is_err());
    }

    /// A parser that looks at what has been delivered as if nothing were to follow.
    #[test]
    fn a_parser_that_minds_the_splits_is_found() {
        let impatient: Parse = |stream| {
            let mut told = production_text(stream);
            if stream.ends.len() > 1 {
                told.used = 0;
            }
            told
        };
        assert!(judge(&Stream::new(TEXT, TEXT_LINE_BYTES), impatient, impatient).is_err());
    }

    #[test]
    fn http_is_told_from_commands() {
        for line in [&b"GET / HTTP/1.1"[..], b" pri * HTTP/2.0 ", b"host: x", b"HOST:"] {
            assert!(is_http(line), "{}", line.escape_ascii());
        }
        for line in [&b"GET / http/1.1"[..], b"FLY / HTTP/1.1", b"GET HTTP/1.10", b"hos t:"] {
            assert!(!is_http(line), "{}", line.escape_ascii());
        }
    }
}
