//! Turns bytes into commands and replies into bytes, and does no I/O.
//!
//! [`mod@line`] finds and splits requests of the text protocol, [`inline`] splits Redis's inline
//! commands, [`detect`] tells the protocols apart, [`reply`] encodes what the server answers for
//! either of them, [`command`] is the one table of commands. Nothing here knows sockets, the engine
//! or what a command does: limits are passed in, requests borrow from the caller's bytes, and a
//! caller that has only part of a request calls again with more. A parser that reads by itself was
//! rejected: it cannot be tested byte by byte, nor shared between blocking and non-blocking callers.

pub mod command;
pub mod detect;
pub mod error;
mod escape;
pub mod inline;
pub mod line;
pub mod reply;

pub use command::{Command, Verb};
pub use detect::Protocol;
pub use error::SyntaxError;
pub use line::{Arguments, LineParser, Outcome, Request};
pub use reply::{ErrorCode, Reply};

/// What a line may hold besides its key and value: verb, spaces, CR. In bytes.
const LINE_SLACK_BYTES: usize = 1 << 10;

/// The sizes that a request must keep to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest key.
    pub key_bytes: usize,
    /// The longest value.
    pub value_bytes: usize,
}

impl Limits {
    /// The longest line, its LF not counted.
    pub fn line_bytes(&self) -> usize {
        self.key_bytes + self.value_bytes + LINE_SLACK_BYTES
    }
}
