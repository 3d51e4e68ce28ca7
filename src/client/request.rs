//! What the client must know of a request line before it sends it: whether it is one line, whether a
//! reply will come, of which shape, and whether sending it twice is harmless.
//!
//! The text protocol's replies are not self-describing: a stored value may read `LIST 3` or `TEXT 5`,
//! so the *request* decides how its reply is read. All of this follows from the verb; the server alone
//! judges arguments.

use super::error::{Error, Result};
use super::state::{State, Words};
use crate::parser::table::{self, Command, Flags, Verb};

/// The longest request line that is sent, in bytes: beyond any value that a server takes.
pub(crate) const MAX_REQUEST_BYTES: usize = 64 << 20;

/// How the reply to a request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One line that is a value: nothing but `ERR ` in front has a meaning.
    Value,
    /// Whatever the first line announces: `LIST n`, `TEXT n`, or else one line.
    Announced,
}

/// Commands whose reply is a stored value, verbatim. Whoever adds such a command to the table adds it
/// here.
const VALUE_VERBS: &[Verb] = &[
    Verb::Get,
    Verb::GetDel,
    Verb::GetEx,
    Verb::GetSet,
    Verb::GetRange,
    Verb::SubStr,
    Verb::RandomKey,
    Verb::Echo,
    Verb::Ping,
];

/// Commands after which the server closes the connection.
const LAST_VERBS: &[Verb] = &[Verb::Quit, Verb::Shutdown];

/// Commands that may work for minutes before they answer.
const SLOW_VERBS: &[Verb] = &[Verb::Compact, Verb::Shutdown];

/// Commands after which the server sends messages until it is told otherwise.
const WATCHING_VERBS: &[Verb] = &[Verb::Subscribe, Verb::PSubscribe, Verb::Monitor];

/// Commands that may be asked twice though they are not known to read data only.
const HARMLESS_VERBS: &[Verb] = &[
    Verb::Ping,
    Verb::Echo,
    Verb::Info,
    Verb::Help,
    Verb::Time,
    Verb::LastSave,
    Verb::DbSize,
    Verb::Compact,
];

/// The line as the server takes it: one CR before the line's end is dropped there.
fn seen_by_server(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether the server sends no reply to `line`: it holds nothing but spaces.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    seen_by_server(line).iter().all(|&byte| byte == b' ')
}

/// Whether `line` is a remark in a script: no command begins with `#`.
pub(crate) fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"#")
}

/// Refuses what cannot be one request.
pub(crate) fn check(line: &[u8]) -> Result<()> {
    if memchr::memchr(b'\n', line).is_some() {
        return Err(Error::Request(
            "a line break ends a command in the text protocol; a key or value that holds one can \
             only be written over RESP, by any Redis client",
        ));
    }
    if line.len() > MAX_REQUEST_BYTES {
        return Err(Error::Request("the command is longer than 64 MiB"));
    }
    Ok(())
}

/// Refuses what one connection of a session would not survive.
pub(crate) fn check_session(line: &[u8]) -> Result<()> {
    check(line)?;
    if is_one_of(line, &[Verb::Hello]) && words_of(line).len() > 1 {
        return Err(Error::Request("HELLO changes the protocol: start the client with --resp"));
    }
    Ok(())
}

/// The words of a line, as the server splits them.
fn words_of(line: &[u8]) -> Words {
    let words = seen_by_server(line).split(|&byte| byte == b' ');
    words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The words of a line, if the session's state follows from more than the first of them; else only
/// that: a value may be long.
pub(crate) fn words_followed(line: &[u8]) -> Words {
    let first = seen_by_server(line).split(|&byte| byte == b' ').find(|word| !word.is_empty());
    match first {
        Some(name) if State::follows(name) => words_of(line),
        Some(name) => vec![name.to_vec()],
        None => Words::new(),
    }
}

/// The table's entry for the command that `line` names.
pub(crate) fn command_of(line: &[u8]) -> Option<&'static Command> {
    let word = seen_by_server(line).split(|&byte| byte == b' ').find(|word| !word.is_empty())?;
    table::find(word)
}

fn is_one_of(line: &[u8], verbs: &[Verb]) -> bool {
    command_of(line).is_some_and(|command| verbs.contains(&command.verb))
}

/// How the reply to `line` is to be read. A command that the table lacks is left to the server.
fn shape_of(line: &[u8]) -> Shape {
    if is_one_of(line, VALUE_VERBS) { Shape::Value } else { Shape::Announced }
}

/// Whether the server closes the connection once it carried `line` out.
pub(crate) fn is_last(line: &[u8]) -> bool {
    is_one_of(line, LAST_VERBS)
}

/// What is to come for a line that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// How the reply is read.
    pub(crate) shape: Shape,
    /// Whether it may take far longer than a time-out meant for ordinary commands.
    pub(crate) slow: bool,
}

/// What is to come for `line`.
pub(crate) fn expectation_of(line: &[u8]) -> Expectation {
    Expectation { shape: shape_of(line), slow: is_one_of(line, SLOW_VERBS) }
}

/// Whether `line` may be sent again when its outcome is unknown: it is known and changes nothing.
pub(crate) fn is_repeatable(line: &[u8]) -> bool {
    command_of(line).is_some_and(|command| {
        command.flags.has(Flags::READONLY) || HARMLESS_VERBS.contains(&command.verb)
    })
}

/// Whether the server sends messages after `line`.
pub(crate) fn is_watching(line: &[u8]) -> bool {
    is_one_of(line, WATCHING_VERBS)
}

/// Whether `line` ends a transaction by running it.
pub(crate) fn is_exec(line: &[u8]) -> bool {
    is_one_of(line, &[Verb::Exec])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_those_that_the_server_ignores() {
        for line in [&b""[..], b" ", b"    ", b"\r", b"  \r"] {
            assert!(is_blank(line), "{line:?}");
        }
        for line in [&b"PING"[..], b"\t", b"\r\r", b" \r ", b"\0"] {
            assert!(!is_blank(line), "{line:?}");
        }
    }

    #[test]
    fn the_verb_is_found_in_any_case_behind_spaces_and_before_a_cr() {
        for line in [&b"GET k"[..], b"get k", b"  gEt k", b"GET", b"GET\r"] {
            assert_eq!(command_of(line).map(|command| command.name), Some("GET"), "{line:?}");
        }
        assert!(command_of(b"GETX k").is_none());
        assert!(command_of(b"").is_none());
    }

    #[test]
    fn only_commands_that_return_a_value_are_read_verbatim() {
        assert_eq!(shape_of(b"get LIST"), Shape::Value);
        for line in [&b"SET k GET"[..], b"INFO", b"HELP GET", b"NEWER x", b"\xff\xfe"] {
            assert_eq!(shape_of(line), Shape::Announced, "{line:?}");
        }
    }

    #[test]
    fn only_what_changes_nothing_is_repeatable() {
        for line in [&b"GET k"[..], b"EXISTS k", b"PING", b"INFO", b"COMPACT"] {
            assert!(is_repeatable(line), "{line:?}");
        }
        for line in [
            &b"SET k v"[..],
            b"DEL k",
            b"SHUTDOWN",
            b"QUIT",
            b"NEWER x",
            b"EXEC",
            b"PUBLISH c m",
            b"MULTI",
        ] {
            assert!(!is_repeatable(line), "{line:?}");
        }
    }

    #[test]
    fn a_request_is_one_line_of_bounded_length() {
        assert!(check(b"SET k \r\xff\0").is_ok());
        assert!(matches!(check(b"SET k a\nDEL k"), Err(Error::Request(_))));
        assert!(matches!(check(&vec![b'x'; MAX_REQUEST_BYTES + 1]), Err(Error::Request(_))));
    }
}
