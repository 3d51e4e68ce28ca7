//! The text protocol's requests: one line each, ended by LF, a CR before it dropped.
//!
//! [`LineParser`] is resumable: it remembers how far it has looked for the LF, so that a request
//! that trickles in byte by byte costs O(n) in all. A line past the limit is reported at once and then
//! thrown away up to its LF without being kept, so the caller's buffer stays bounded; who goes on
//! sending such a line is a flood. A long line that does not even begin with a command is not waited
//! for: what sends it does not speak this protocol.
//!
//! Words are split by runs of the byte 0x20 alone. Where a command takes the rest of the line, that
//! is everything behind the *one* space after the word before it: values keep their spaces.

use memchr::memchr;

use super::detect::is_http;
use super::error::{ProtocolError, SyntaxError};
use super::request::{Item, Span, Words};
use super::table::{Command, find, find_subcommand};
use super::{Limits, MAX_LINE_BYTES};

/// Finds requests in a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct LineParser {
    /// Bytes at the front of the input that are known to hold no LF.
    searched: usize,
    /// Bytes thrown away of a line that is too long, while one is being thrown away.
    discarded: Option<usize>,
}

impl LineParser {
    /// Parses one line at `used` in `bytes`; its words are added to `spans`.
    pub(crate) fn parse(
        &mut self,
        bytes: &[u8],
        used: usize,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Item {
        let input = &bytes[used..];
        if let Some(discarded) = self.discarded {
            return self.discard(input, discarded, limits);
        }
        let seen = self.searched.min(input.len());
        let end = memchr(b'\n', &input[seen..]);
        if is_no_command(&input[..end.map_or(input.len(), |at| seen + at)]) {
            return Item::Broken { error: ProtocolError::LongInline };
        }
        match end {
            Some(at) => {
                self.searched = 0;
                parse_line(Cursor { bytes, at: used, end: used + seen + at }, limits, spans)
            }
            None if input.len() > limits.line_bytes() => {
                self.searched = 0;
                self.discarded = Some(0);
                let error = SyntaxError::LineTooLong { max: limits.line_bytes() };
                Item::Invalid { consumed: input.len(), error }
            }
            None => {
                self.searched = input.len();
                Item::Partial
            }
        }
    }

    /// Whether a line that is too long is being thrown away.
    pub(crate) fn is_discarding(&self) -> bool {
        self.discarded.is_some()
    }

    fn discard(&mut self, input: &[u8], before: usize, limits: &Limits) -> Item {
        if input.is_empty() {
            return Item::Partial;
        }
        if let Some(at) = memchr(b'\n', input) {
            self.discarded = None;
            return Item::Nothing { consumed: at + 1 };
        }
        let discarded = before + input.len();
        self.discarded = Some(discarded);
        if discarded > limits.line_bytes() {
            return Item::Flood;
        }
        Item::Nothing { consumed: input.len() }
    }
}

/// Whether so much of a line has come that a command should stand at its front, and none does.
fn is_no_command(line: &[u8]) -> bool {
    if line.len() <= MAX_LINE_BYTES {
        return false;
    }
    let mut front = Cursor { bytes: line, at: 0, end: MAX_LINE_BYTES };
    front.word().is_none_or(|name| find(front.of(name)).is_none())
}

/// A stretch of bytes that words are taken from.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    fn rest(self) -> &'a [u8] {
        &self.bytes[self.at..self.end]
    }

    /// Takes the next word.
    fn word(&mut self) -> Option<Span> {
        let rest = self.rest();
        let start = self.at + rest.iter().position(|&byte| byte != b' ')?;
        let text = &self.bytes[start..self.end];
        self.at = start + memchr(b' ', text).unwrap_or(text.len());
        Some(Span::new(start, self.at))
    }

    fn of(self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }
}

/// Parses one line, its LF left out.
fn parse_line(mut line: Cursor<'_>, limits: &Limits, spans: &mut Vec<Span>) -> Item {
    let (whole, consumed) = (line.rest(), line.end + 1 - line.at);
    // A CR counts, whether or not the LF has come behind it.
    if whole.len() > limits.line_bytes() {
        let error = SyntaxError::LineTooLong { max: limits.line_bytes() };
        return Item::Invalid { consumed, error };
    }
    if whole.ends_with(b"\r") {
        line.end -= 1;
    }
    let whole = line.rest();
    let Some(name) = line.word() else { return Item::Nothing { consumed } };
    let first = spans.len();
    match parse_request(line.of(name), line, spans) {
        Ok(command) => {
            let words = Words::Lent { first, count: spans.len() - first };
            Item::Line { consumed, command, words }
        }
        Err(_) if is_http(whole) => Item::Attack,
        Err(error) => Item::Invalid { consumed, error },
    }
}

fn parse_request(
    name: &[u8],
    mut line: Cursor<'_>,
    spans: &mut Vec<Span>,
) -> Result<&'static Command, SyntaxError> {
    let first = spans.len();
    let mut command = find(name).ok_or_else(|| SyntaxError::unknown_command(name))?;
    if command.rest_of_line {
        words_and_rest(command, line, spans);
    } else {
        while let Some(word) = line.word() {
            spans.push(word);
        }
    }
    if !command.subcommands.is_empty()
        && let Some(&word) = spans.get(first)
    {
        let name = line.of(word);
        let unknown = || SyntaxError::unknown_subcommand(command, name);
        command = find_subcommand(command, name).ok_or_else(unknown)?;
    }
    let given = spans.len() - first;
    if command.accepts(given + 1) { Ok(command) } else { Err(SyntaxError::arity(command, given)) }
}

/// Words, and as the last argument whatever is behind the one space after them.
fn words_and_rest(command: &Command, mut line: Cursor<'_>, spans: &mut Vec<Span>) {
    let words = command.arity.unsigned_abs() as usize - 2;
    for _ in 0..words {
        let Some(word) = line.word() else { return };
        spans.push(word);
    }
    if line.rest().starts_with(b" ") {
        spans.push(Span::new(line.at + 1, line.end));
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Batch, Parser};
    use super::super::{Protocol, Verb};
    use super::*;

    const LIMITS: Limits = Limits {
        key_bytes: 8,
        value_bytes: 16,
        bulk_bytes: 0,
        request_bytes: 0,
        words: 0,
        is_stranger: false,
    };

    /// The first thing in `input`.
    fn parse(input: &[u8]) -> Item {
        LineParser::default().parse(input, 0, &LIMITS, &mut Vec::new())
    }

    /// The verb and arguments of a whole line that must be a request.
    fn request(line: &[u8]) -> (Verb, Vec<Vec<u8>>) {
        let mut batch = Batch::default();
        batch.parse(&mut Parser::of(Protocol::Text), line, &LIMITS);
        match batch.items() {
            [Item::Line { consumed, command, words }] => {
                assert_eq!(*consumed, line.len());
                let words = batch.words(words, line).iter().map(<[u8]>::to_vec).collect();
                (command.verb, words)
            }
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }

    fn error(line: &[u8]) -> String {
        match parse(line) {
            Item::Invalid { consumed, error } => {
                assert_eq!(consumed, line.len());
                error.to_string()
            }
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }

    #[test]
    fn words_are_split_by_runs_of_spaces() {
        let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
        assert_eq!(request(b"GET k\n"), (Verb::Get, words(&[b"k"])));
        assert_eq!(request(b"  gEt   k  \r\n"), (Verb::Get, words(&[b"k"])));
        assert_eq!(request(b"ping\n"), (Verb::Ping, words(&[])));
        assert_eq!(request(b"DEL a\tb c\n"), (Verb::Del, words(&[b"a\tb", b"c"])));
        assert_eq!(request(b"GET \x00\xff\n"), (Verb::Get, words(&[b"\x00\xff"])));
        assert_eq!(request(b"client  getname\n"), (Verb::ClientGetName, words(&[b"getname"])));
    }

    #[test]
    fn a_value_is_the_rest_of_the_line() {
        let value = |line| request(line).1[1].clone();
        assert_eq!(value(b"SET k v\n"), b"v");
        assert_eq!(value(b"SET k \n"), b"");
        assert_eq!(value(b"SET k \r\n"), b"");
        assert_eq!(value(b"SET  k  v \n"), b" v ");
        assert_eq!(value(b"SET k a  b\r\r\n"), b"a  b\r");
        assert_eq!(value(b"SET k \x00\xfe\n"), b"\x00\xfe");
        assert_eq!(value(b"SET k GET / HTTP/1.1\n"), b"GET / HTTP/1.1");
        assert_eq!(error(b"SET k\n"), "SET takes 2 arguments, not 1: SET key value");
        assert_eq!(error(b"SET  \n"), "SET takes 2 arguments, not 0: SET key value");
    }

    #[test]
    fn blank_lines_are_nothing() {
        assert_eq!(parse(b"\n"), Item::Nothing { consumed: 1 });
        assert_eq!(parse(b"   \r\nPING\n"), Item::Nothing { consumed: 5 });
    }

    #[test]
    fn errors_say_what_would_be_right() {
        assert_eq!(error(b"GET a b\n"), "GET takes 1 argument, not 2: GET key");
        assert_eq!(error(b"GET a b c d\n"), "GET takes 1 argument, not 4: GET key");
        assert_eq!(error(b"\x1b[2J x\n"), "unknown command '\\x1b[2J': HELP lists the commands");
        assert_eq!(
            error(b"client x\n"),
            "unknown subcommand 'x' of CLIENT: CLIENT HELP lists them"
        );
        assert_eq!(error(b"client id x\n"), "CLIENT ID takes no arguments, not 1: CLIENT ID");
    }

    #[test]
    fn http_is_an_attack() {
        for line in [&b"GET / HTTP/1.1\r\n"[..], b"POST /x HTTP/1.1\n", b"hOST: a\r\n"] {
            assert_eq!(parse(line), Item::Attack, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn any_split_of_the_input_gives_the_same_request() {
        let line = b"PING\nSET key a b c\r\n";
        for cut in 5..line.len() {
            let (mut parser, mut spans) = (LineParser::default(), Vec::new());
            assert_eq!(parser.parse(&line[..cut], 5, &LIMITS, &mut spans), Item::Partial);
            assert_eq!(parser.searched, cut - 5, "what was searched is not searched again");
            let whole = parser.parse(line, 5, &LIMITS, &mut spans);
            assert!(matches!(whole, Item::Line { consumed: 15, .. }), "{whole:?}");
        }
    }

    #[test]
    fn a_line_too_long_is_told_once_thrown_away_and_survived() {
        let max = LIMITS.line_bytes();
        let (mut parser, mut spans) = (LineParser::default(), Vec::new());
        let mut parse = |input: &[u8]| parser.parse(input, 0, &LIMITS, &mut spans);
        let long = vec![b'x'; max + 1];
        assert_eq!(parse(&long[..max]), Item::Partial);
        let error = SyntaxError::LineTooLong { max };
        assert_eq!(parse(&long), Item::Invalid { consumed: max + 1, error });
        assert_eq!(parse(b""), Item::Partial);
        assert_eq!(parse(b"xx"), Item::Nothing { consumed: 2 });
        assert_eq!(parse(b"x\nPING\n"), Item::Nothing { consumed: 2 });
        assert!(matches!(parse(b"PING\n"), Item::Line { .. }));
        assert!(!parser.is_discarding());
    }

    #[test]
    fn a_whole_line_too_long_is_told_too() {
        let mut line = vec![b'x'; LIMITS.line_bytes() + 1];
        line.push(b'\n');
        assert!(error(&line).starts_with("line too long"));
    }

    #[test]
    fn a_long_line_that_begins_with_no_command_is_not_waited_for() {
        let limits = Limits { value_bytes: 1 << 20, ..LIMITS };
        let broken = Item::Broken { error: ProtocolError::LongInline };
        for start in ["\0", "FLY ", &" ".repeat(MAX_LINE_BYTES)] {
            let bytes = [start.as_bytes(), &vec![b'A'; MAX_LINE_BYTES], b"\n"].concat();
            for end in [MAX_LINE_BYTES + 1, bytes.len() - 1, bytes.len()] {
                let item = LineParser::default().parse(&bytes[..end], 0, &limits, &mut Vec::new());
                assert_eq!(item, broken, "{end} bytes came");
            }
            let parse = |end| LineParser::default().parse(&bytes[..end], 0, &limits, &mut vec![]);
            assert_eq!(parse(MAX_LINE_BYTES), Item::Partial);
        }
        let bytes = [b"  SET k ", &vec![b'A'; MAX_LINE_BYTES][..]].concat();
        let item = LineParser::default().parse(&bytes, 0, &limits, &mut Vec::new());
        assert_eq!(item, Item::Partial);
    }

    #[test]
    fn a_line_of_a_stranger_is_short() {
        let limits = Limits { value_bytes: 1 << 20, is_stranger: true, ..LIMITS };
        let line = [b"SET k ", &vec![b'A'; MAX_LINE_BYTES][..]].concat();
        let item = LineParser::default().parse(&line, 0, &limits, &mut Vec::new());
        let error = SyntaxError::LineTooLong { max: MAX_LINE_BYTES };
        assert_eq!(item, Item::Invalid { consumed: line.len(), error });
    }

    #[test]
    fn a_line_that_is_too_long_by_its_cr_is_told_however_it_comes() {
        let line = [&vec![b'x'; LIMITS.line_bytes()][..], b"\r\n"].concat();
        let error = SyntaxError::LineTooLong { max: LIMITS.line_bytes() };
        for end in [line.len() - 1, line.len()] {
            let item = Item::Invalid { consumed: end, error: error.clone() };
            assert_eq!(parse(&line[..end]), item, "{end} bytes came");
        }
    }

    #[test]
    fn a_line_without_end_is_a_flood() {
        let (mut parser, mut spans) = (LineParser::default(), Vec::new());
        let chunk = vec![b'x'; LIMITS.line_bytes() + 1];
        let first = parser.parse(&chunk, 0, &LIMITS, &mut spans);
        assert!(matches!(first, Item::Invalid { .. }));
        assert_eq!(parser.parse(&chunk, 0, &LIMITS, &mut spans), Item::Flood);
    }
}
