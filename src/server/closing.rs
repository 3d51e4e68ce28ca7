//! Why a connection closes. Every close passes through here, so that the log can tell a client that
//! left from one that was thrown out, and an operator need not guess.

use std::fmt;

use super::warnings::Warning;

/// Why a connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client sends no more.
    Ended,
    /// It said QUIT.
    Quit,
    /// A client said CLIENT KILL.
    Killed,
    /// The socket failed: mostly a client that was reset or went without a word.
    Broken,
    /// What it sent is no request of its protocol.
    Protocol,
    /// It spoke HTTP.
    Http,
    /// It sent a line without end.
    EndlessLine,
    /// A request of it stood unfinished for too long.
    Unfinished,
    /// It asked for nothing for longer than clients may.
    Idle,
    /// It does not read its replies, or the messages that it asked for.
    SlowReader,
    /// All clients together held more than they may, and it held most for what it moved.
    Buffers,
    /// The system cannot say any more when it is ready.
    Unwatched,
    /// The log has failed, and with it the reply that it waited for.
    LogFailed,
    /// The server stops.
    Stopping,
}

impl CloseReason {
    /// The warning that it deserves: what the server does to protect itself. What is left is the
    /// ordinary course of things.
    pub(crate) fn warning(self) -> Option<Warning> {
        match self {
            CloseReason::Http => Some(Warning::Http),
            CloseReason::EndlessLine => Some(Warning::EndlessLine),
            CloseReason::SlowReader => Some(Warning::SlowReader),
            CloseReason::Buffers => Some(Warning::Buffers),
            CloseReason::Unwatched => Some(Warning::Unwatched),
            CloseReason::Ended
            | CloseReason::Quit
            | CloseReason::Killed
            | CloseReason::Broken
            | CloseReason::Protocol
            | CloseReason::Unfinished
            | CloseReason::Idle
            | CloseReason::LogFailed
            | CloseReason::Stopping => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Ended => "the client left",
            CloseReason::Quit => "the client said QUIT",
            CloseReason::Killed => "CLIENT KILL",
            CloseReason::Broken => "the connection broke",
            CloseReason::Protocol => "protocol error",
            CloseReason::Http => "it spoke HTTP: possibly a browser made to attack this port",
            CloseReason::EndlessLine => "it sent a line without end",
            CloseReason::Unfinished => "a request stood unfinished for too long",
            CloseReason::Idle => "the client was idle for too long",
            CloseReason::SlowReader => "the client does not read its replies",
            CloseReason::Buffers => {
                "all clients together hold more than they may, and it held most for what it moved"
            }
            CloseReason::Unwatched => "the system cannot watch it",
            CloseReason::LogFailed => "the log has failed",
            CloseReason::Stopping => "the server stops",
        })
    }
}
