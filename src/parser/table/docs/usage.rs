//! Reads the notation of [`Command::arguments`](super::super::Command::arguments) into what COMMAND
//! DOCS answers, so that nobody writes the same arguments down twice.
//!
//! A word in capitals takes what follows it up to the next bracket's end or `|`. `key [key ...]` is
//! one argument that may be repeated, and so is `[key value] ...`, where a leading word in capitals
//! is repeated as well. Names tell the type of an argument. What closes nothing is skipped and what
//! is not closed ends with the text: a usage is ours, and a test reads each of them back.

/// What an argument is, as COMMAND DOCS names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// The name of a key.
    Key,
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A floating-point number.
    Double,
    /// A glob-style pattern.
    Pattern,
    /// A time since 1970-01-01 UTC.
    UnixTime,
    /// A word to be given as it is.
    PureToken,
    /// One of `arguments`.
    OneOf,
    /// All of `arguments`, in order.
    Block,
}

impl ArgumentKind {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            ArgumentKind::Key => "key",
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::Double => "double",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf => "oneof",
            ArgumentKind::Block => "block",
        }
    }

    fn of(name: &str) -> ArgumentKind {
        match name {
            "key" | "newkey" | "source" | "destination" | "destkey" | "key1" | "key2" => {
                ArgumentKind::Key
            }
            "pattern" => ArgumentKind::Pattern,
            "unix-time-seconds" | "unix-time-milliseconds" => ArgumentKind::UnixTime,
            "float-increment" => ArgumentKind::Double,
            "bit" | "client-id" | "count" | "cursor" | "db" | "decrement" | "destination-db"
            | "end" | "frequency" | "increment" | "index" | "index1" | "index2"
            | "milliseconds" | "min-match-len" | "numlocal" | "numreplicas" | "offset"
            | "protover" | "seconds" | "start" | "timeout" | "ttl" => ArgumentKind::Integer,
            _ => ArgumentKind::String,
        }
    }
}

/// One argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name in small letters.
    pub name: String,
    /// What it is.
    pub kind: ArgumentKind,
    /// The word in capitals that goes before it, or that it is.
    pub token: Option<String>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Whether its token is repeated with it.
    pub multiple_token: bool,
    /// The parts of a block, or the choices of a one-of.
    pub arguments: Vec<Argument>,
}

impl Argument {
    fn new(name: String, kind: ArgumentKind, arguments: Vec<Argument>) -> Argument {
        Argument {
            name,
            kind,
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments,
        }
    }

    /// One argument for several that belong together; a single one stays what it is.
    fn joined(kind: ArgumentKind, separator: &str, mut arguments: Vec<Argument>) -> Argument {
        if arguments.len() == 1 {
            return arguments.remove(0);
        }
        let names: Vec<_> = arguments.iter().map(|argument| argument.name.as_str()).collect();
        Argument::new(names.join(separator), kind, arguments)
    }

    fn block(arguments: Vec<Argument>) -> Argument {
        Argument::joined(ArgumentKind::Block, "_", arguments)
    }

    /// A word in capitals with what belongs to it.
    fn with_token(token: &str, operands: Vec<Argument>) -> Argument {
        let name = token.to_ascii_lowercase();
        let mut argument = match operands.as_slice() {
            [] => Argument::new(name, ArgumentKind::PureToken, operands),
            [single] if single.token.is_none() && !single.optional => Argument::block(operands),
            _ => Argument::new(name, ArgumentKind::Block, operands),
        };
        argument.token = Some(token.to_owned());
        argument
    }
}

/// The arguments in `usage`, which is in the notation of the table.
pub fn arguments(usage: &str) -> Vec<Argument> {
    let mut words = Vec::new();
    for word in usage.split_inclusive(|c: char| c.is_whitespace() || "[]<>|".contains(c)) {
        let (text, mark) = match word.char_indices().last() {
            Some((at, c)) if c.is_whitespace() => (&word[..at], ""),
            Some((at, c)) if "[]<>|".contains(c) => word.split_at(at),
            _ => (word, ""),
        };
        words.extend([text, mark].into_iter().filter(|part| !part.is_empty()));
    }
    Reader { words: &words }.sequence()
}

/// What is left to be read.
struct Reader<'a> {
    words: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (&word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(word)
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    /// Everything up to a `|`, a closing bracket or the end.
    fn sequence(&mut self) -> Vec<Argument> {
        let mut found = Vec::new();
        while let Some(&word) = self.words.first() {
            if ["|", "]", ">"].contains(&word) {
                break;
            }
            self.next();
            match word {
                "[" if self.repeats(&mut found) => {}
                "[" | "<" => found.push(self.group(word == "[")),
                token if !token.bytes().any(|byte| byte.is_ascii_lowercase()) => {
                    let operands = self.sequence();
                    found.push(Argument::with_token(token, operands));
                }
                name => {
                    found.push(Argument::new(name.into(), ArgumentKind::of(name), Vec::new()));
                }
            }
        }
        found
    }

    /// The choices behind an opening bracket, with the bracket's end.
    fn group(&mut self, optional: bool) -> Argument {
        let mut choices = vec![Argument::block(self.sequence())];
        while self.skip("|") {
            choices.push(Argument::block(self.sequence()));
        }
        self.next();
        let mut argument = Argument::joined(ArgumentKind::OneOf, "_or_", choices);
        argument.optional = optional;
        if self.skip("...") {
            argument.multiple = true;
            argument.multiple_token = argument.token.is_some();
        }
        argument
    }

    /// Whether the bracket that was just opened repeats, with `...`, the last names of `found`. If so
    /// it is read, and they become one argument.
    fn repeats(&mut self, found: &mut Vec<Argument>) -> bool {
        let Some(count) = self.words.iter().position(|&word| word == "...") else { return false };
        let Some(first) = found.len().checked_sub(count) else { return false };
        let mut pairs = found[first..].iter().zip(self.words);
        if !pairs.all(|(argument, word)| argument.name == *word && argument.arguments.is_empty()) {
            return false;
        }
        let mut repeated = Argument::block(found.split_off(first));
        repeated.multiple = true;
        found.push(repeated);
        self.words = self.words.get(count + 2..).unwrap_or_default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Keys, all};
    use super::*;

    /// The usage that an argument was read from.
    fn written(argument: &Argument) -> String {
        let each = argument.arguments.iter().map(written);
        let token = argument.token.clone();
        let mut body = match argument.kind {
            ArgumentKind::PureToken => String::new(),
            ArgumentKind::OneOf => each.collect::<Vec<_>>().join(" | "),
            ArgumentKind::Block => each.collect::<Vec<_>>().join(" "),
            _ => argument.name.clone(),
        };
        let choice = argument.kind == ArgumentKind::OneOf;
        if choice && (token.is_some() || !argument.optional) {
            body = format!("<{body}>");
        }
        let group = choice || argument.multiple_token;
        if argument.multiple && !group {
            body = format!("{body} [{body} ...]");
        }
        if let Some(token) = token {
            body = format!("{token} {body}").trim_end().to_owned();
        }
        if argument.optional {
            body = format!("[{body}]");
        }
        if argument.multiple && group { format!("{body} ...") } else { body }
    }

    fn everything_written(arguments: &[Argument]) -> String {
        arguments.iter().map(written).collect::<Vec<_>>().join(" ")
    }

    /// The least number of words, and whether there may be more.
    fn words(argument: &Argument) -> (usize, bool) {
        let parts: Vec<_> = argument.arguments.iter().map(words).collect();
        let (least, more) = match argument.kind {
            ArgumentKind::PureToken => (0, false),
            ArgumentKind::OneOf => {
                let least = parts.iter().map(|part| part.0).min().expect("a choice");
                (least, parts.iter().any(|&part| part != (least, false)))
            }
            ArgumentKind::Block => {
                (parts.iter().map(|part| part.0).sum(), parts.iter().any(|part| part.1))
            }
            _ => (1, false),
        };
        let least = least + usize::from(argument.token.is_some());
        if argument.optional { (0, true) } else { (least, more || argument.multiple) }
    }

    fn has_key(arguments: &[Argument]) -> bool {
        let is_key = |argument: &Argument| argument.kind == ArgumentKind::Key;
        arguments.iter().any(|argument| is_key(argument) || has_key(&argument.arguments))
    }

    fn only(usage: &str) -> Argument {
        let mut found = arguments(usage);
        assert_eq!(found.len(), 1, "{usage}");
        found.remove(0)
    }

    #[test]
    fn every_usage_is_read_and_written_back() {
        for command in all().flat_map(|command| command.subcommands.iter().chain([command])) {
            let read = arguments(command.arguments);
            assert_eq!(everything_written(&read), command.arguments, "{}", command.full_name());
        }
    }

    #[test]
    fn every_usage_agrees_with_arity_and_keys() {
        for command in all().flat_map(|command| command.subcommands.iter().chain([command])) {
            let name = command.full_name();
            let read = arguments(command.arguments);
            assert_eq!(has_key(&read), command.keys != Keys::default(), "{name}");
            // QUIT ignores what it is given, and a request for a subcommand names one.
            if name == "quit" || !command.subcommands.is_empty() {
                assert!(command.arguments.is_empty() && command.arity < 0);
                continue;
            }
            let parts: Vec<_> = read.iter().map(words).collect();
            let names = 1 + usize::from(!command.parent.is_empty());
            let least = names + parts.iter().map(|part| part.0).sum::<usize>();
            let least = i32::try_from(least).expect("small");
            let more = parts.iter().any(|part| part.1);
            assert_eq!(command.arity, if more { -least } else { least }, "{name}");
        }
    }

    #[test]
    fn a_repeated_name_is_one_argument() {
        let key = only("key [key ...]");
        assert_eq!((key.name.as_str(), key.kind), ("key", ArgumentKind::Key));
        assert!(key.multiple && !key.optional && !key.multiple_token);
        let pair = only("key value [key value ...]");
        assert_eq!((pair.name.as_str(), pair.kind), ("key_value", ArgumentKind::Block));
        assert!(pair.multiple && pair.arguments.len() == 2);
        let name = only("[name [name ...]]");
        assert!(name.multiple && name.optional && name.kind == ArgumentKind::String);
        assert_eq!(arguments("source key [key ...]").len(), 2);
    }

    #[test]
    fn a_word_in_capitals_goes_with_what_follows() {
        let count = only("[COUNT count]");
        assert_eq!((count.kind, count.token.as_deref()), (ArgumentKind::Integer, Some("COUNT")));
        assert!(count.optional);
        let now = only("[NOW]");
        assert_eq!((now.kind, now.token.as_deref()), (ArgumentKind::PureToken, Some("NOW")));
        assert_eq!(now.name, "now");
        let login = only("[AUTH username password]");
        assert_eq!((login.kind, login.token.as_deref()), (ArgumentKind::Block, Some("AUTH")));
        assert_eq!(login.arguments.len(), 2);
        let id = only("[ID client-id [client-id ...]]");
        assert!(id.multiple && !id.multiple_token && id.token.as_deref() == Some("ID"));
        let get = only("[GET encoding offset] ...");
        assert!(get.multiple && get.multiple_token && get.optional);
    }

    #[test]
    fn choices_are_kept_in_order() {
        let choice = only("<AND | PX milliseconds | [NOW] start end>");
        assert_eq!((choice.kind, choice.optional), (ArgumentKind::OneOf, false));
        let kinds: Vec<_> = choice.arguments.iter().map(|choice| choice.kind).collect();
        let expected = [ArgumentKind::PureToken, ArgumentKind::Integer, ArgumentKind::Block];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn brackets_that_do_not_match_end_somewhere() {
        for usage in ["[", "]", "<a", "a >", "[a [a ...", "| |", "...", "[] ...", "[a | "] {
            arguments(usage);
        }
    }
}
