//! The text protocol's requests: one line each, ended by LF, a CR before it dropped.
//!
//! [`LineParser`] is resumable: it remembers how far it has looked for the LF, so that a request
//! that trickles in byte by byte costs O(n) in all. It borrows every argument from the caller's
//! bytes. A line past the limit is reported at once and then thrown away up to its LF without being
//! kept, so the caller's buffer stays bounded; who goes on sending such a line is a flood.
//!
//! Words are split by runs of the byte 0x20 alone. Where a command takes the rest of the line, that
//! is everything behind the *one* space after the word before it: values keep their spaces.

use memchr::memchr;

use super::Limits;
use super::command::{COMMANDS, Command, find};
use super::detect::is_http;
use super::error::SyntaxError;

/// The most arguments that a request carries.
const MAX_ARGUMENTS: usize = 2;

const _: () = {
    let mut at = 0;
    while at < COMMANDS.len() {
        let command = &COMMANDS[at];
        assert!(command.max_arguments <= MAX_ARGUMENTS);
        assert!(!command.rest_of_line || command.min_arguments == command.max_arguments);
        at += 1;
    }
};

/// The arguments of a request, the command's name not counted; their number fits the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arguments<'a> {
    items: [&'a [u8]; MAX_ARGUMENTS],
    count: usize,
}

impl<'a> Arguments<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The argument at `index`, if it was given.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.items.get(index).copied().filter(|_| index < self.count)
    }

    /// The first argument; empty if there is none.
    pub fn key(&self) -> &'a [u8] {
        self.items[0]
    }

    /// The second argument; empty if there is none.
    pub fn value(&self) -> &'a [u8] {
        self.items[1]
    }

    /// Counts every argument, keeps those that fit.
    fn push(&mut self, argument: &'a [u8]) {
        if let Some(item) = self.items.get_mut(self.count) {
            *item = argument;
        }
        self.count += 1;
    }
}

/// One well-formed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The command's row in the table.
    pub command: &'static Command,
    /// Its arguments.
    pub arguments: Arguments<'a>,
}

/// What the bytes at hand amount to. `consumed` bytes are done with; nothing else is.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// No whole line yet: call again with these bytes and more behind them.
    Partial,
    /// Bytes that ask for nothing: a blank line, or the rest of one that was too long.
    Nothing {
        /// Bytes to drop.
        consumed: usize,
    },
    /// A request.
    Request {
        /// Bytes to drop.
        consumed: usize,
        /// It borrows from the input.
        request: Request<'a>,
    },
    /// A line that is no request: answer with the error and go on behind it.
    Invalid {
        /// Bytes to drop.
        consumed: usize,
        /// What is wrong.
        error: SyntaxError<'a>,
    },
    /// HTTP: execute nothing further, close the connection.
    Attack {
        /// The line that gave it away.
        line: &'a [u8],
    },
    /// The line that was too long does not end: close the connection.
    Flood,
}

impl Outcome<'_> {
    /// Bytes that are done with.
    pub fn consumed(&self) -> usize {
        match self {
            Outcome::Nothing { consumed }
            | Outcome::Request { consumed, .. }
            | Outcome::Invalid { consumed, .. } => *consumed,
            Outcome::Partial | Outcome::Attack { .. } | Outcome::Flood => 0,
        }
    }

    /// Whether nothing can be parsed behind it for now.
    pub fn is_last(&self) -> bool {
        matches!(self, Outcome::Partial | Outcome::Attack { .. } | Outcome::Flood)
    }
}

/// Finds requests in a stream of bytes.
#[derive(Debug, Default)]
pub struct LineParser {
    /// Bytes at the front of the input that are known to hold no LF.
    searched: usize,
    /// Bytes thrown away of a line that is too long, while one is being thrown away.
    discarded: Option<usize>,
}

impl LineParser {
    /// Looks at the front of `input`, which begins behind the last bytes consumed.
    pub fn parse<'a>(&mut self, input: &'a [u8], limits: &Limits) -> Outcome<'a> {
        if let Some(discarded) = self.discarded {
            return self.discard(input, discarded, limits);
        }
        let seen = self.searched.min(input.len());
        match memchr(b'\n', &input[seen..]) {
            Some(at) => {
                self.searched = 0;
                parse_line(&input[..seen + at], seen + at + 1, limits)
            }
            None if input.len() > limits.line_bytes() => {
                self.searched = 0;
                self.discarded = Some(0);
                let error = SyntaxError::LineTooLong { max: limits.line_bytes() };
                Outcome::Invalid { consumed: input.len(), error }
            }
            None => {
                self.searched = input.len();
                Outcome::Partial
            }
        }
    }

    /// Whether a line that is too long is being thrown away.
    pub fn is_discarding(&self) -> bool {
        self.discarded.is_some()
    }

    fn discard<'a>(&mut self, input: &'a [u8], before: usize, limits: &Limits) -> Outcome<'a> {
        if input.is_empty() {
            return Outcome::Partial;
        }
        if let Some(at) = memchr(b'\n', input) {
            self.discarded = None;
            return Outcome::Nothing { consumed: at + 1 };
        }
        let discarded = before + input.len();
        self.discarded = Some(discarded);
        if discarded > limits.line_bytes() {
            return Outcome::Flood;
        }
        Outcome::Nothing { consumed: input.len() }
    }
}

/// Parses one line, given without its LF.
fn parse_line<'a>(line: &'a [u8], consumed: usize, limits: &Limits) -> Outcome<'a> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > limits.line_bytes() {
        let error = SyntaxError::LineTooLong { max: limits.line_bytes() };
        return Outcome::Invalid { consumed, error };
    }
    let (name, rest) = split_word(line);
    if name.is_empty() {
        return Outcome::Nothing { consumed };
    }
    match parse_request(name, rest, limits) {
        Ok(request) => Outcome::Request { consumed, request },
        Err(_) if is_http(line) => Outcome::Attack { line },
        Err(error) => Outcome::Invalid { consumed, error },
    }
}

fn parse_request<'a>(
    name: &'a [u8],
    rest: &'a [u8],
    limits: &Limits,
) -> Result<Request<'a>, SyntaxError<'a>> {
    let command = find(name).ok_or(SyntaxError::UnknownCommand { name })?;
    let arguments = if command.rest_of_line { words_and_rest(command, rest) } else { words(rest) };
    let given = arguments.count();
    if given < command.min_arguments || given > command.max_arguments {
        return Err(SyntaxError::Arity { command, given });
    }
    let (key, value) = (arguments.key().len(), arguments.value().len());
    if key > limits.key_bytes {
        return Err(SyntaxError::KeyTooLong { bytes: key, max: limits.key_bytes });
    }
    if value > limits.value_bytes {
        return Err(SyntaxError::ValueTooLong { bytes: value, max: limits.value_bytes });
    }
    Ok(Request { command, arguments })
}

/// The first word, empty if there is none, and what follows it, its separating space included.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    let text = &text[start..];
    text.split_at(memchr(b' ', text).unwrap_or(text.len()))
}

fn words(mut text: &[u8]) -> Arguments<'_> {
    let mut arguments = Arguments::default();
    loop {
        let (word, rest) = split_word(text);
        if word.is_empty() {
            return arguments;
        }
        arguments.push(word);
        text = rest;
    }
}

/// Words, and as the last argument whatever is behind the one space after them.
fn words_and_rest<'a>(command: &Command, mut text: &'a [u8]) -> Arguments<'a> {
    let mut arguments = Arguments::default();
    while arguments.count() + 1 < command.max_arguments {
        let (word, rest) = split_word(text);
        if word.is_empty() {
            return arguments;
        }
        arguments.push(word);
        text = rest;
    }
    if let Some(value) = text.strip_prefix(b" ") {
        arguments.push(value);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::super::command::Verb;
    use super::*;

    const LIMITS: Limits = Limits { key_bytes: 8, value_bytes: 16 };

    fn parse(input: &[u8]) -> Outcome<'_> {
        LineParser::default().parse(input, &LIMITS)
    }

    /// The verb and arguments of a whole line that must be a request.
    fn request(line: &[u8]) -> (Verb, Vec<&[u8]>) {
        match parse(line) {
            Outcome::Request { consumed, request } => {
                assert_eq!(consumed, line.len());
                let arguments = request.arguments;
                let given = (0..arguments.count()).map(|at| arguments.get(at).unwrap()).collect();
                (request.command.verb, given)
            }
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }

    fn error(line: &[u8]) -> String {
        match parse(line) {
            Outcome::Invalid { consumed, error } => {
                assert_eq!(consumed, line.len());
                error.to_string()
            }
            other => panic!("{}: {other:?}", line.escape_ascii()),
        }
    }

    #[test]
    fn words_are_split_by_runs_of_spaces() {
        assert_eq!(request(b"GET k\n"), (Verb::Get, vec![&b"k"[..]]));
        assert_eq!(request(b"  gEt   k  \r\n"), (Verb::Get, vec![&b"k"[..]]));
        assert_eq!(request(b"ping\n"), (Verb::Ping, vec![]));
        assert_eq!(request(b"DEL a\tb\n"), (Verb::Del, vec![&b"a\tb"[..]]));
        assert_eq!(request(b"GET \x00\xff\n"), (Verb::Get, vec![&b"\x00\xff"[..]]));
    }

    #[test]
    fn a_value_is_the_rest_of_the_line() {
        let value = |line| request(line).1[1].to_vec();
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
        assert_eq!(parse(b"\n"), Outcome::Nothing { consumed: 1 });
        assert_eq!(parse(b"   \r\nPING\n"), Outcome::Nothing { consumed: 5 });
    }

    #[test]
    fn errors_name_the_limit() {
        assert_eq!(error(b"GET a b\n"), "GET takes 1 argument, not 2: GET key");
        assert_eq!(error(b"GET a b c d\n"), "GET takes 1 argument, not 4: GET key");
        assert_eq!(error(b"GET 123456789\n"), "the key has 9 bytes, at most 8 are allowed");
        assert_eq!(
            error(b"SET k 01234567890123456\n"),
            "the value has 17 bytes, at most 16 are allowed"
        );
        assert_eq!(error(b"\x1b[2J x\n"), "unknown command '\\x1b[2J': HELP lists the commands");
    }

    #[test]
    fn http_is_an_attack() {
        for line in [&b"GET / HTTP/1.1\r\n"[..], b"POST /x HTTP/1.1\n", b"hOST: a\r\n"] {
            assert!(matches!(parse(line), Outcome::Attack { .. }), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn any_split_of_the_input_gives_the_same_request() {
        let line = b"SET key a b c\r\n";
        for cut in 0..line.len() {
            let mut parser = LineParser::default();
            assert_eq!(parser.parse(&line[..cut], &LIMITS), Outcome::Partial);
            assert_eq!(parser.searched, cut, "what was searched is not searched again");
            let whole = parser.parse(line, &LIMITS);
            assert!(matches!(whole, Outcome::Request { consumed: 15, .. }), "{whole:?}");
        }
    }

    #[test]
    fn a_line_too_long_is_told_once_thrown_away_and_survived() {
        let max = LIMITS.line_bytes();
        let mut parser = LineParser::default();
        let long = vec![b'x'; max + 1];
        assert_eq!(parser.parse(&long[..max], &LIMITS), Outcome::Partial);
        let error = SyntaxError::LineTooLong { max };
        assert_eq!(parser.parse(&long, &LIMITS), Outcome::Invalid { consumed: max + 1, error });
        assert_eq!(parser.parse(b"", &LIMITS), Outcome::Partial);
        assert_eq!(parser.parse(b"xx", &LIMITS), Outcome::Nothing { consumed: 2 });
        assert_eq!(parser.parse(b"x\nPING\n", &LIMITS), Outcome::Nothing { consumed: 2 });
        assert!(!parser.is_discarding());
        assert!(matches!(parser.parse(b"PING\n", &LIMITS), Outcome::Request { .. }));
    }

    #[test]
    fn a_whole_line_too_long_is_told_too() {
        let mut line = vec![b'x'; LIMITS.line_bytes() + 1];
        line.push(b'\n');
        assert!(error(&line).starts_with("line too long"));
    }

    #[test]
    fn a_line_without_end_is_a_flood() {
        let mut parser = LineParser::default();
        let chunk = vec![b'x'; LIMITS.line_bytes() + 1];
        assert!(matches!(parser.parse(&chunk, &LIMITS), Outcome::Invalid { .. }));
        assert_eq!(parser.parse(&chunk, &LIMITS), Outcome::Flood);
    }
}
