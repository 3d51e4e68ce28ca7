//! Why a command does not end with the reply that it has written.

use std::borrow::Cow;

use crate::engine::{Error, Ticket};

use super::outbox::Finish;
use super::workers::Work;

/// What programs match on when a command meets a value of another type.
pub(crate) const WRONG_TYPE: &str =
    "WRONGTYPE Operation against a key holding the wrong kind of value";
/// What Redis says of arguments that do not fit together.
pub(crate) const SYNTAX: &str = "ERR syntax error";
/// What Redis says of a number that is none.
pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// The error for a reply past [`crate::parser::reply::MAX_REPLY_BYTES`].
pub(crate) const REPLY_TOO_LONG: &str =
    "ERR the reply would have more than 536870912 bytes: ask for less at a time";

/// An error reply: its line, which begins with the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(Cow<'static, [u8]>);

impl Fault {
    /// The line.
    pub(crate) fn line(&self) -> &[u8] {
        &self.0
    }

    /// A line that repeats a word of the request as it is; as in Redis, up to the first zero.
    pub(crate) fn repeating(before: &str, word: &[u8], after: &str) -> Self {
        let end = memchr::memchr(0, word).unwrap_or(word.len());
        Fault(Cow::Owned([before.as_bytes(), &word[..end], after.as_bytes()].concat()))
    }
}

impl From<&'static str> for Fault {
    fn from(line: &'static str) -> Self {
        Fault(Cow::Borrowed(line.as_bytes()))
    }
}

impl From<String> for Fault {
    fn from(line: String) -> Self {
        Fault(Cow::Owned(line.into_bytes()))
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let code = match error {
            _ if error.is_no_space() => "NOSPACE",
            Error::Failed(_) | Error::Io { .. } => "IOERR",
            Error::Corrupt { .. } => "CORRUPT",
            Error::Closed => return Fault::from("ERR the server is stopping"),
            _ => "ERR",
        };
        Fault::from(format!("{code} {error}"))
    }
}

/// Why a command does not end with the reply that it has written. Nothing that it staged is applied.
pub(crate) enum Interrupt {
    /// Answer with an error.
    Fault(Fault),
    /// Run it again from its beginning, once what it lacks is there.
    Later,
    /// A worker makes the reply.
    Work(Box<dyn Work>),
    /// The reply comes when the engine has done its part.
    Ticket(Ticket, Finish),
}

impl<F: Into<Fault>> From<F> for Interrupt {
    fn from(fault: F) -> Self {
        Interrupt::Fault(fault.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_carry_their_word() {
        let line = |error: &Error| String::from_utf8_lossy(Fault::from(error).line()).into_owned();
        assert!(line(&Error::NoSpace).starts_with("NOSPACE no space left"));
        assert!(line(&Error::Failed("sync".into())).starts_with("IOERR "));
        assert!(line(&Error::Failed("sync".into())).contains("outcome unknown"));
        assert!(line(&Error::Locked).starts_with("ERR "));
    }
}
