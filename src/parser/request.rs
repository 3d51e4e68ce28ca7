//! Requests of either protocol, a few at a time: what the server executes.
//!
//! Every argument is a span of the caller's bytes. The spans of all requests of a batch stand in one
//! list that is used again for the next batch, so that parsing a command allocates nothing. Only an
//! inline command with escapes in it, which people type and programs do not send, owns its bytes.

use super::error::{ProtocolError, SyntaxError};
use super::line::LineParser;
use super::resp::RespParser;
use super::table::Command;
use super::{Limits, Protocol};

/// The most requests that are parsed together.
pub const BATCH: usize = 16;

/// Where an argument stands, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, end: end as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The words of a request.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    /// The command's name as it was sent; empty if it is not known.
    name: &'a [u8],
}

impl<'a> Args<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The word at `index`; empty if there is none: the caller has checked the command's arity.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// The word at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| span.of(self.bytes))
    }

    /// The words from `first` on.
    #[must_use]
    pub fn from(&self, first: usize) -> Args<'a> {
        Args { spans: self.spans.get(first..).unwrap_or_default(), ..*self }
    }

    /// The words behind the first, which is the command's name.
    #[must_use]
    pub fn behind_name(&self) -> Args<'a> {
        Args { name: self.at(0), ..self.from(1) }
    }

    /// The command's name as it was sent; empty if it is not known.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The words in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.of(bytes))
    }
}

/// Words that are kept: a queued command, an inline command with escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
    name: Box<[u8]>,
}

impl OwnedArgs {
    /// A copy of `words`.
    pub fn copy<'w>(words: impl Iterator<Item = &'w [u8]>) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for word in words {
            let start = bytes.len();
            bytes.extend_from_slice(word);
            spans.push(Span::new(start, bytes.len()));
        }
        OwnedArgs { bytes: bytes.into(), spans: spans.into(), name: Box::default() }
    }

    /// The words.
    pub fn args(&self) -> Args<'_> {
        Args { bytes: &self.bytes, spans: &self.spans, name: &self.name }
    }
}

/// The words of many requests, kept one behind the other: they take little more than their bytes.
#[derive(Debug, Default)]
pub struct ArgsList {
    bytes: Vec<u8>,
    /// Of each request its name, then its words.
    spans: Vec<Span>,
    /// Where the spans of each request end.
    ends: Vec<u32>,
}

impl ArgsList {
    /// Adds a copy of `args`, the name included.
    pub fn push(&mut self, args: Args<'_>) {
        let words = args.len() + 1;
        let bytes = args.name().len() + args.iter().map(<[u8]>::len).sum::<usize>();
        make_room(&mut self.bytes, bytes);
        make_room(&mut self.spans, words);
        make_room(&mut self.ends, 1);
        for word in std::iter::once(args.name()).chain(args.iter()) {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(word);
            self.spans.push(Span::new(start, self.bytes.len()));
        }
        self.ends.push(self.spans.len() as u32);
    }

    /// Those that were added at this place.
    pub fn get(&self, index: usize) -> Option<Args<'_>> {
        let end = *self.ends.get(index)? as usize;
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |&end| end as usize);
        let (name, spans) = self.spans.get(start..end)?.split_first()?;
        Some(Args { bytes: &self.bytes, spans, name: name.of(&self.bytes) })
    }

    /// Memory held, in bytes.
    pub fn capacity_bytes(&self) -> usize {
        let Self { bytes, spans, ends } = self;
        bytes.capacity() + spans.capacity() * size_of::<Span>() + ends.capacity() * size_of::<u32>()
    }
}

/// Makes room for `more` elements, and a quarter of what is there: doubling would leave half unused.
fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 4));
    }
}

/// Where the words of a request stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Words {
    /// In the batch's spans.
    Lent { first: usize, count: usize },
    /// Nowhere else.
    Owned(Box<OwnedArgs>),
}

/// What the next bytes amount to. `consumed` bytes are done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// No whole request yet: parse these bytes again with more behind them.
    Partial,
    /// Bytes that ask for nothing.
    Nothing { consumed: usize },
    /// A request in text, its command found and its arguments counted.
    Line { consumed: usize, command: &'static Command, words: Words },
    /// A request in RESP: any words, at least one.
    Array { consumed: usize, words: Words },
    /// A line of text that is no request: answer with the error and go on behind it.
    Invalid { consumed: usize, error: SyntaxError },
    /// RESP that cannot be gone on with: answer with the error and close.
    Broken { error: ProtocolError },
    /// HTTP: execute nothing further, close.
    Attack,
    /// A line that was too long does not end: close.
    Flood,
}

impl Item {
    pub(crate) fn consumed(&self) -> usize {
        match self {
            Item::Nothing { consumed }
            | Item::Line { consumed, .. }
            | Item::Array { consumed, .. }
            | Item::Invalid { consumed, .. } => *consumed,
            Item::Partial | Item::Broken { .. } | Item::Attack | Item::Flood => 0,
        }
    }

    /// Whether nothing can be parsed behind it for now.
    fn is_last(&self) -> bool {
        matches!(self, Item::Partial | Item::Broken { .. } | Item::Attack | Item::Flood)
    }
}

/// A connection's parser: of lines or of RESP.
#[derive(Debug)]
pub(crate) enum Parser {
    Line(LineParser),
    Resp(RespParser),
}

impl Parser {
    /// The parser for a protocol.
    pub(crate) fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Text => Parser::Line(LineParser::default()),
            Protocol::Resp2 | Protocol::Resp3 => Parser::Resp(RespParser::default()),
        }
    }

    /// Forgets how far it had come: the bytes behind the last request are parsed anew.
    pub(crate) fn forget(&mut self) {
        match self {
            Parser::Line(parser) => *parser = LineParser::default(),
            Parser::Resp(parser) => *parser = RespParser::default(),
        }
    }

    /// Memory that it holds for a request that is not complete, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Parser::Line(_) => 0,
            Parser::Resp(parser) => parser.held_bytes(),
        }
    }

    /// Whether a request is thrown away for its length.
    pub(crate) fn is_discarding(&self) -> bool {
        matches!(self, Parser::Line(parser) if parser.is_discarding())
    }
}

/// A few requests that were parsed together, and the memory for the next few.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    items: Vec<Item>,
    spans: Vec<Span>,
}

/// Spans kept for reuse.
const KEPT_SPANS: usize = 4096;

impl Batch {
    /// Parses requests from the front of `bytes`, until there are enough or nothing more is known.
    /// Where execution stops before the last of them, the parser must be told with
    /// [`Parser::forget`]: between requests it has nothing to remember.
    pub(crate) fn parse(&mut self, parser: &mut Parser, bytes: &[u8], limits: &Limits) {
        self.items.clear();
        self.spans.clear();
        self.spans.shrink_to(KEPT_SPANS);
        let mut used = 0;
        while self.items.len() < BATCH {
            let item = match parser {
                Parser::Line(parser) => parser.parse(bytes, used, limits, &mut self.spans),
                Parser::Resp(parser) => parser.parse(bytes, used, limits, &mut self.spans),
            };
            used += item.consumed();
            let last = item.is_last() || used == bytes.len();
            self.items.push(item);
            if last {
                return;
            }
        }
    }

    /// What was parsed.
    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The words of one of the requests, out of the bytes that were parsed.
    pub(crate) fn words<'a>(&'a self, words: &'a Words, bytes: &'a [u8]) -> Args<'a> {
        match words {
            Words::Lent { first, count } => {
                let spans = self.spans.get(*first..first + count).unwrap_or_default();
                Args { bytes, spans, name: b"" }
            }
            Words::Owned(owned) => owned.args(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_many_requests_are_kept_apart() {
        let mut list = ArgsList::default();
        for request in ["GET k", "PING", "SET  v"] {
            let owned = OwnedArgs::copy(request.split(' ').map(str::as_bytes));
            list.push(owned.args().behind_name());
        }
        let words = |index| {
            let args = list.get(index)?;
            Some((args.name(), args.iter().collect::<Vec<_>>()))
        };
        assert_eq!(words(0), Some((&b"GET"[..], vec![&b"k"[..]])));
        assert_eq!(words(1), Some((&b"PING"[..], vec![])));
        assert_eq!(words(2), Some((&b"SET"[..], vec![&b""[..], b"v"])));
        assert_eq!(words(3), None);
        assert!(list.capacity_bytes() >= 12 + 6 * 8 + 3 * 4);
    }
}
