//! Random commands from templates, and what careless or hostile clients make of them.
//!
//! A template is a command's syntax as manuals write it:
//!
//! | | |
//! |---|---|
//! | `WORD` | itself, in either case |
//! | `<class>` | a random value of a class (see `Generator::value`) |
//! | `(a\|b c)` | one of these |
//! | `[a\|b c]` | one of these or nothing |
//! | `{a}` | one to four times |
//! | `%(a b c)` | all of these in any order |
//! | `!` in front | never to be spoiled |
//!
//! Nothing is generated whose reply depends on time: expiries are far away or past.

use crate::session::is;
use crate::wire::Args;
use chronos::engine::storage::sim::Random;

enum Node<'a> {
    Word(&'a str),
    Class(&'a str),
    Choice(Vec<Vec<Node<'a>>>),
    Optional(Vec<Vec<Node<'a>>>),
    Repeated(Vec<Node<'a>>),
    Shuffled(Vec<Node<'a>>),
}

/// What replaces or follows arguments in spoiled commands.
const SPOILERS: &[&[u8]] = &[
    b"",
    b"abc",
    b"-1",
    b"0",
    b"1.5",
    b"-0",
    b"+1",
    b" 1",
    b"1 ",
    b"007",
    b"0x10",
    b"nan",
    b"inf",
    b"99999999999999999999",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"\0\xff\r\n",
    b"NX",
    b"XX",
    b"GT",
    b"LT",
    b"GET",
    b"EX",
    b"PX",
    b"EXAT",
    b"KEEPTTL",
    b"PERSIST",
    b"MATCH",
    b"COUNT",
    b"TYPE",
    b"BIT",
    b"BYTE",
    b"REPLACE",
    b"DB",
    b"IDX",
    b"LEN",
    b"LIMIT",
    b"ASYNC",
    b"SYNC",
];

const KEYS: &[&[u8]] =
    &[b"a", b"b", b"c", b"d", b"{t}e", b"a longer key", b"", b"\x00\xff\r\n", b"*?[a]\\"];

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"007",
    b"+5",
    b" 5",
    b"5 ",
    b"-0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"3.5",
    b"0.1",
    b"1e3",
    b"1e400",
    b"abc",
    b"foobar",
    b"ohmytext",
    b"mynewtext",
    b"\x00\xff\r\n\x80",
    b"\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"exactly forty-four bytes, the most of embstr",
    b"exactly forty-five bytes, the least of raw it",
    b"12345678901234567890",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "4611686018427387904",
    "9223372036854775808",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "1.5",
    "-2.25",
    "3.0e3",
    "1e10",
    "1e-7",
    "10.50",
    "5e17",
    "123456789.125",
    "-0.0",
    "+1",
    ".5",
    "5.",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "abc",
    "",
];

const PATTERNS: &[&str] = &[
    "*", "a*", "?", "[a-c]", "[^a]", "[^b-d]*", "\\*?*", "*[]*", "[c-a]", "[", "a", "", "*longer*",
    "{t}*", "**", "?*e*",
];

const BITFIELD_TYPES: &[&str] = &[
    "u1", "u4", "u8", "u16", "u63", "i1", "i5", "i8", "i32", "i64", "u64", "i65", "u0", "x8", "i",
];

/// Makes commands.
pub(crate) struct Generator {
    pub(crate) random: Random,
}

impl Generator {
    /// A command of a template; one in six is spoiled.
    pub(crate) fn command(&mut self, template: &str) -> Args {
        let (template, spoil) = match template.strip_prefix('!') {
            Some(rest) => (rest, false),
            None => (template, true),
        };
        let tokens = tokens(template);
        let nodes = parse(&tokens, &mut 0);
        loop {
            let mut command = Args::new();
            self.expand(&nodes, &mut command);
            if spoil && self.random.one_in(6) {
                self.spoil(&mut command);
            }
            if is_harmless(&command) {
                return command;
            }
        }
    }

    /// One of `all`.
    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len() as u64) as usize]
    }

    fn expand(&mut self, nodes: &[Node<'_>], command: &mut Args) {
        for node in nodes {
            match node {
                Node::Word(word) if self.random.one_in(4) => {
                    command.push(word.to_ascii_lowercase().into_bytes());
                }
                Node::Word(word) => command.push(word.as_bytes().to_vec()),
                Node::Class(class) => {
                    let value = self.value(class);
                    command.push(value);
                }
                Node::Optional(_) if self.random.one_in(2) => {}
                Node::Optional(choices) | Node::Choice(choices) => {
                    let chosen = self.random.below(choices.len() as u64) as usize;
                    self.expand(&choices[chosen], command);
                }
                Node::Repeated(inner) => {
                    for _ in 0..=self.random.below(4) {
                        self.expand(inner, command);
                    }
                }
                Node::Shuffled(inner) => {
                    let mut left: Vec<&Node<'_>> = inner.iter().collect();
                    while !left.is_empty() {
                        let at = self.random.below(left.len() as u64) as usize;
                        self.expand(std::slice::from_ref(left.remove(at)), command);
                    }
                }
            }
        }
    }

    fn value(&mut self, class: &str) -> Vec<u8> {
        let word = match class {
            "key" => return self.one_of(KEYS).to_vec(),
            "value" if self.random.one_in(12) => {
                let length = 1 + self.random.below(3000);
                return (0..length).map(|_| self.random.next_u64() as u8).collect();
            }
            "value" => return self.one_of(VALUES).to_vec(),
            "integer" => self.one_of(INTEGERS),
            "float" => self.one_of(FLOATS),
            "pattern" => self.one_of(PATTERNS),
            "bitfield" => self.one_of(BITFIELD_TYPES),
            "channel" => self.one_of(&["news", "a", "b", "", "x y"]),
            "type" => self.one_of(&["string", "STRING", "list", "hash", "zset", "nosuch"]),
            "db" => self.one_of(&["0", "0", "0", "1", "1", "2", "15", "16", "-1"]),
            number => return self.number(number).to_string().into_bytes(),
        };
        word.as_bytes().to_vec()
    }

    fn number(&mut self, class: &str) -> i64 {
        let mut below = |limit| self.random.below(limit).cast_signed();
        match class {
            "index" => below(14) - 6,
            "bit" => below(200),
            "small" => below(30),
            // Far away and never twice the same: which of two is later must not depend on time.
            "seconds" => 1_000_000 + below(1_000_000_000),
            "ms" => 1_000_000_000 + below(1_000_000_000_000),
            "at" => 10_000_000_000 + below(10_000_000_000),
            "at-ms" => 10_000_000_000_000 + below(10_000_000_000_000),
            _ => panic!("there is no class {class}"),
        }
    }

    /// Makes a mistake in the arguments.
    fn spoil(&mut self, command: &mut Args) {
        let spoiler = self.one_of(SPOILERS).to_vec();
        let last = command.len() as u64 - 1;
        if last == 0 {
            command.push(spoiler);
            return;
        }
        let at = 1 + self.random.below(last) as usize;
        match self.random.below(6) {
            0 => drop(command.remove(at)),
            1 => command.insert(at, command[at].clone()),
            2 => command.push(spoiler),
            3 => command.truncate(at),
            4 => command.swap(at, 1 + self.random.below(last) as usize),
            _ => command[at] = spoiler,
        }
    }
}

/// Whether a command takes little time and memory, now and later, and whether its effects do not
/// depend on time.
fn is_harmless(command: &Args) -> bool {
    let number = |at: usize| {
        let digits = command.get(at).and_then(|arg| std::str::from_utf8(arg).ok());
        digits.and_then(|digits| digits.trim_start_matches('#').parse::<i64>().ok())
    };
    let within = |at, low, high| number(at).is_some_and(|number| (low..=high).contains(&number));
    let behind = |word: &str, low, high| {
        (1..command.len()).any(|at| is(&command[at..], &[word]) && within(at + 1, low, high))
    };
    let any = |names: &[&str]| names.iter().any(|name| is(command, &[name]));
    // Expires while the test runs.
    let soon = any(&["SETEX", "EXPIRE"]) && within(2, 1, 100_000)
        || any(&["PSETEX", "PEXPIRE"]) && within(2, 1, 100_000_000)
        || any(&["SET", "GETEX"]) && (behind("EX", 1, 100_000) || behind("PX", 1, 100_000_000))
        // Redis keeps what is set with an expiry in the past until it next looks.
        || any(&["SET"]) && (behind("EXAT", 1, 5_000_000_000) || behind("PXAT", 1, 5_000_000_000_000));
    // Up to half a gigabyte of zeros.
    let huge = any(&["SETBIT", "SETRANGE", "BITFIELD"])
        && (1..command.len()).any(|at| within(at, 100_000, 5_000_000_000));
    let waits = any(&["WAIT"]) && !within(1, i64::MIN, 0) && !within(2, 1, 20);
    // Redis's own check overflows and saturates the wrong way.
    let overflows =
        any(&["BITFIELD"]) && (1..command.len()).any(|at| within(at, i64::MIN, i64::MIN));
    !(soon || huge || waits || overflows)
}

fn tokens(template: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in template.split_whitespace() {
        let mut rest = word;
        while !rest.is_empty() {
            let mark = rest.find(|c: char| "()[]{}|%".contains(c)).unwrap_or(rest.len());
            let (token, behind) = rest.split_at(if mark == 0 { 1 } else { mark });
            tokens.push(token);
            rest = behind;
        }
    }
    tokens
}

/// The nodes up to the end of a group or of one of its choices.
fn parse<'a>(tokens: &[&'a str], at: &mut usize) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    while let Some(token) = tokens.get(*at).filter(|token| !")]}|".contains(**token)) {
        *at += 1;
        let class = token.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        nodes.push(match (*token, class) {
            ("(", _) => Node::Choice(choices(tokens, at)),
            ("[", _) => Node::Optional(choices(tokens, at)),
            ("{", _) => Node::Repeated(choices(tokens, at).remove(0)),
            ("%", _) => {
                *at += 1;
                Node::Shuffled(choices(tokens, at).remove(0))
            }
            (_, Some(class)) => Node::Class(class),
            (word, None) => Node::Word(word),
        });
    }
    nodes
}

/// The choices of a group whose opening mark was read.
fn choices<'a>(tokens: &[&'a str], at: &mut usize) -> Vec<Vec<Node<'a>>> {
    let mut choices = Vec::new();
    loop {
        choices.push(parse(tokens, at));
        *at += 1;
        if tokens[*at - 1] != "|" {
            return choices;
        }
    }
}

#[test]
fn templates_are_what_manuals_write() {
    let mut generator = Generator { random: Random(7) };
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let command = generator.command("!S %([A|B 1] (C)) {x}");
        let words: Vec<String> =
            command.iter().map(|word| String::from_utf8_lossy(word).to_uppercase()).collect();
        seen.insert(words.join(" "));
    }
    let all = ["C", "A C", "C A", "B 1 C", "C B 1"];
    let all = all
        .iter()
        .flat_map(|options| (1..=4).map(move |count| format!("S {options}{}", " X".repeat(count))));
    assert_eq!(seen, all.collect());
}
