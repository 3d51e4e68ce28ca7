//! What can be wrong with a request, told so that its sender knows what would be right.

use std::fmt::{self, Display};

use super::command::Command;
use super::escape::Echo;

/// Why a line is not a request. `Display` is the sentence behind `ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntaxError<'a> {
    /// No such command.
    UnknownCommand {
        /// The word that was sent.
        name: &'a [u8],
    },
    /// Too few or too many arguments.
    Arity {
        /// The command meant.
        command: &'static Command,
        /// How many arguments there were.
        given: usize,
    },
    /// A key past its limit.
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The most allowed, in bytes.
        max: usize,
    },
    /// A value past its limit.
    ValueTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The most allowed, in bytes.
        max: usize,
    },
    /// A line past every limit: the rest of it is thrown away.
    LineTooLong {
        /// The most allowed, in bytes.
        max: usize,
    },
}

impl Display for SyntaxError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SyntaxError::UnknownCommand { name } => {
                write!(f, "unknown command '{}': HELP lists the commands", Echo(name))
            }
            SyntaxError::Arity { command, given } => write_arity(f, command, given),
            SyntaxError::KeyTooLong { bytes, max } => {
                write!(f, "the key has {bytes} bytes, at most {max} are allowed")
            }
            SyntaxError::ValueTooLong { bytes, max } => {
                write!(f, "the value has {bytes} bytes, at most {max} are allowed")
            }
            SyntaxError::LineTooLong { max } => {
                write!(f, "line too long: at most {max} bytes are allowed")
            }
        }
    }
}

/// "GET takes 1 argument, not 2: GET key".
fn write_arity(f: &mut fmt::Formatter<'_>, command: &Command, given: usize) -> fmt::Result {
    let (min, max) = (command.min_arguments, command.max_arguments);
    write!(f, "{} takes ", command.name)?;
    match (min, max) {
        (0, 0) => f.write_str("no arguments")?,
        (0, 1) => f.write_str("at most 1 argument")?,
        (1, 1) => f.write_str("1 argument")?,
        (0, _) => write!(f, "at most {max} arguments")?,
        _ if min == max => write!(f, "{min} arguments")?,
        _ => write!(f, "{min} to {max} arguments")?,
    }
    write!(f, ", not {given}: {}", command.usage())
}

#[cfg(test)]
mod tests {
    use super::super::command::find;
    use super::*;

    #[test]
    fn arity_errors_say_what_would_be_right() {
        let told = |name: &str, given| {
            let command = find(name.as_bytes()).unwrap();
            SyntaxError::Arity { command, given }.to_string()
        };
        assert_eq!(told("GET", 2), "GET takes 1 argument, not 2: GET key");
        assert_eq!(told("SET", 0), "SET takes 2 arguments, not 0: SET key value");
        assert_eq!(told("PING", 1), "PING takes no arguments, not 1: PING");
        assert_eq!(told("INFO", 2), "INFO takes at most 1 argument, not 2: INFO [section]");
    }
}
