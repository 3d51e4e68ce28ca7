//! What can be wrong with a request, told so that its sender knows what would be right.
//!
//! A person at a text connection is told in a sentence; a RESP client gets the words of Redis, since
//! programs match on them.

use std::fmt::{self, Display};

use super::detect::Protocol;
use super::escape::Echo;
use super::request::Args;
use super::table::{Command, find, find_subcommand};

/// How much of an unknown command Redis repeats, in bytes.
const REPEATED_BYTES: usize = 128;

/// Why a line of text is not a request. `Display` is the sentence behind `ERR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    /// No such command; the word that was sent, fit to be shown.
    UnknownCommand {
        /// The word.
        name: String,
    },
    /// No such subcommand.
    UnknownSubcommand {
        /// The command.
        command: &'static Command,
        /// The word, fit to be shown.
        name: String,
    },
    /// Too few or too many arguments.
    Arity {
        /// The command meant.
        command: &'static Command,
        /// How many arguments there were.
        given: usize,
    },
    /// A line past every limit: the rest of it is thrown away.
    LineTooLong {
        /// The most allowed, in bytes.
        max: usize,
    },
}

impl SyntaxError {
    pub(crate) fn unknown_command(name: &[u8]) -> Self {
        SyntaxError::UnknownCommand { name: Echo(name).to_string() }
    }

    pub(crate) fn unknown_subcommand(command: &'static Command, name: &[u8]) -> Self {
        SyntaxError::UnknownSubcommand { command, name: Echo(name).to_string() }
    }

    pub(crate) fn arity(command: &'static Command, given: usize) -> Self {
        SyntaxError::Arity { command, given }
    }
}

impl Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyntaxError::UnknownCommand { name } => {
                write!(f, "unknown command '{name}': HELP lists the commands")
            }
            SyntaxError::UnknownSubcommand { command, name } => {
                let command = command.name;
                write!(f, "unknown subcommand '{name}' of {command}: {command} HELP lists them")
            }
            SyntaxError::Arity { command, given } => write_arity(f, command, *given),
            SyntaxError::LineTooLong { max } => {
                write!(f, "line too long: at most {max} bytes are allowed")
            }
        }
    }
}

/// "GET takes 1 argument, not 2: GET key".
fn write_arity(f: &mut fmt::Formatter<'_>, command: &Command, given: usize) -> fmt::Result {
    let subcommand = usize::from(!command.parent.is_empty());
    let wanted = (command.arity.unsigned_abs() as usize).saturating_sub(1 + subcommand);
    let given = given.saturating_sub(subcommand);
    if subcommand > 0 {
        write!(f, "{} ", command.parent)?;
    }
    write!(f, "{} takes ", command.name)?;
    if command.arity < 0 && !command.rest_of_line {
        f.write_str("at least ")?;
    }
    match wanted {
        0 => f.write_str("no arguments")?,
        1 => f.write_str("1 argument")?,
        _ => write!(f, "{wanted} arguments")?,
    }
    write!(f, ", not {given}: {}", command.line_usage())
}

/// Why the words of a RESP request name no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// No such command.
    Command,
    /// No such subcommand of this one.
    Subcommand(&'static Command),
    /// Too few or too many words for this one.
    Arity(&'static Command),
}

/// Finds the command that words, its name first, are a request for.
///
/// # Errors
/// Why there is none.
pub fn resolve(words: Args<'_>) -> Result<&'static Command, Unresolved> {
    let mut command = find(words.at(0)).ok_or(Unresolved::Command)?;
    if !command.subcommands.is_empty()
        && let Some(name) = words.get(1)
    {
        command = find_subcommand(command, name).ok_or(Unresolved::Subcommand(command))?;
    }
    if command.accepts(words.len()) { Ok(command) } else { Err(Unresolved::Arity(command)) }
}

impl Unresolved {
    /// The error line, its code included; in RESP it repeats the words as they are.
    pub fn line(self, words: Args<'_>, protocol: Protocol) -> Vec<u8> {
        // Redis takes words for C strings here, which a zero ends.
        fn shown(word: &[u8], bytes: usize) -> &[u8] {
            let end = memchr::memchr(0, word).unwrap_or(word.len());
            &word[..end.min(bytes)]
        }
        match self {
            _ if protocol == Protocol::Text => format!("ERR {}", self.sentence(words)).into_bytes(),
            Unresolved::Command => {
                let mut repeated = Vec::new();
                for word in words.iter().skip(1) {
                    if repeated.len() >= REPEATED_BYTES {
                        break;
                    }
                    let room = REPEATED_BYTES - repeated.len();
                    repeated.extend_from_slice(&[b"'", shown(word, room), b"' "].concat());
                }
                let name = shown(words.at(0), REPEATED_BYTES);
                let between = b"', with args beginning with: ";
                [b"ERR unknown command '", name, between, &repeated].concat()
            }
            Unresolved::Subcommand(command) => {
                let name = shown(words.at(1), REPEATED_BYTES);
                let behind = format!("'. Try {} HELP.", command.name);
                [b"ERR unknown subcommand '", name, behind.as_bytes()].concat()
            }
            Unresolved::Arity(command) => wrong_arity(command).into_bytes(),
        }
    }

    fn sentence(self, words: Args<'_>) -> SyntaxError {
        match self {
            Unresolved::Command => SyntaxError::unknown_command(words.at(0)),
            Unresolved::Subcommand(command) => {
                SyntaxError::unknown_subcommand(command, words.at(1))
            }
            Unresolved::Arity(command) => SyntaxError::arity(command, words.len() - 1),
        }
    }
}

/// The error line of Redis for too few or too many arguments.
pub fn wrong_arity(command: &Command) -> String {
    format!("ERR wrong number of arguments for '{}' command", command.full_name())
}

/// Why the bytes of a RESP client cannot be gone on with. `Display` is what Redis says behind `ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number of words is none, or too large.
    InvalidCount,
    /// The length of a word is none, or too large.
    InvalidBulk,
    /// Something else stands where a word should begin.
    ExpectedBulk {
        /// Its first byte.
        got: u8,
    },
    /// A number of words that does not end.
    LongCount,
    /// A length that does not end.
    LongLength,
    /// An inline command that does not end.
    LongInline,
    /// Quotes that are not closed.
    UnbalancedQuotes,
    /// Too many words of someone who has not authenticated.
    StrangerCount,
    /// Too long a word of someone who has not authenticated.
    StrangerBulk,
    /// A request whose words are too long together.
    RequestTooLong {
        /// The most allowed, in bytes.
        max: usize,
    },
}

impl Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            ProtocolError::InvalidCount => f.write_str("invalid multibulk length"),
            ProtocolError::InvalidBulk => f.write_str("invalid bulk length"),
            ProtocolError::ExpectedBulk { got } => {
                write!(f, "expected '$', got '{}'", char::from(*got))
            }
            ProtocolError::LongCount => f.write_str("too big mbulk count string"),
            ProtocolError::LongLength => f.write_str("too big bulk count string"),
            ProtocolError::LongInline => f.write_str("too big inline request"),
            ProtocolError::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            ProtocolError::StrangerCount => f.write_str("unauthenticated multibulk length"),
            ProtocolError::StrangerBulk => f.write_str("unauthenticated bulk length"),
            ProtocolError::RequestTooLong { max } => {
                write!(f, "the request has more than {max} bytes")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::OwnedArgs;
    use super::*;

    #[test]
    fn arity_errors_say_what_would_be_right() {
        let told = |name: &str, given| {
            let command = find(name.as_bytes()).unwrap();
            SyntaxError::Arity { command, given }.to_string()
        };
        assert_eq!(told("GET", 2), "GET takes 1 argument, not 2: GET key");
        assert_eq!(told("SET", 0), "SET takes 2 arguments, not 0: SET key value");
        assert_eq!(told("COMPACT", 1), "COMPACT takes no arguments, not 1: COMPACT");
        assert!(told("MGET", 0).starts_with("MGET takes at least 1 argument, not 0: MGET key"));
    }

    #[test]
    fn resp_clients_get_the_words_of_redis() {
        let line = |request: &str| {
            let owned = OwnedArgs::copy(request.split(' ').map(str::as_bytes));
            let line = resolve(owned.args()).unwrap_err().line(owned.args(), Protocol::Resp2);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(
            line("nope a b"),
            "ERR unknown command 'nope', with args beginning with: 'a' 'b' "
        );
        assert_eq!(line("nope"), "ERR unknown command 'nope', with args beginning with: ");
        assert_eq!(line("client nope"), "ERR unknown subcommand 'nope'. Try CLIENT HELP.");
        assert_eq!(line("get"), "ERR wrong number of arguments for 'get' command");
        assert_eq!(line("client"), "ERR wrong number of arguments for 'client' command");
        let arity = "ERR wrong number of arguments for 'client|setname' command";
        assert_eq!(line("CLIENT setname"), arity);
        let long = line(&format!("x {} y", "z".repeat(200)));
        assert!(long.ends_with(&format!(": '{}' ", "z".repeat(128))), "{long}");
    }
}
