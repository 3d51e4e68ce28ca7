//! Turns bytes into commands and replies into bytes, and does no I/O.
//!
//! `line` finds and splits requests of the text protocol and `resp` those of Redis clients,
//! [`request`] parses a few of either at a time, [`detect`] tells the protocols apart, [`reply`]
//! encodes what the server answers, [`table`] is the one table of commands. Nothing here knows
//! sockets, the engine or what a command does: limits are passed in, requests borrow from the
//! caller's bytes, and a caller that has only part of a request calls again with more. A parser that
//! reads by itself was rejected: it cannot be tested byte by byte, nor shared between blocking and
//! non-blocking callers.

pub mod detect;
pub mod error;
mod escape;
mod inline;
mod line;
pub mod reply;
pub mod request;
mod resp;
pub mod table;

pub use detect::Protocol;
pub use error::{SyntaxError, resolve};
pub use reply::Encoder;
pub use request::{Args, ArgsList, OwnedArgs};
pub use table::{Command, Verb};

/// The longest line that stands for a length, an inline command, or no command at all, in bytes; and the
/// longest of someone who has not authenticated.
const MAX_LINE_BYTES: usize = 64 << 10;

/// What a line may hold besides its key and value: verb, spaces, CR. In bytes.
const LINE_SLACK_BYTES: usize = 1 << 10;

/// The sizes that a request must keep to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest key that a line has room for.
    pub key_bytes: usize,
    /// The longest value that a line has room for.
    pub value_bytes: usize,
    /// The longest word of a RESP request.
    pub bulk_bytes: usize,
    /// The longest RESP request, as far as it must be kept because it is not complete.
    pub request_bytes: usize,
    /// The most words of a RESP request.
    pub words: u32,
    /// Whether the client has still to authenticate, and may send only little.
    pub is_stranger: bool,
}

impl Limits {
    /// The longest line, its LF not counted.
    pub fn line_bytes(&self) -> usize {
        let most = self.key_bytes + self.value_bytes + LINE_SLACK_BYTES;
        if self.is_stranger { most.min(MAX_LINE_BYTES) } else { most }
    }
}
