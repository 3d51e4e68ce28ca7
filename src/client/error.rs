//! What can go wrong between a client and its server, in words for the person at the keyboard.
//!
//! An `ERR` reply is not an [`Error`]: the server was reached, understood the bytes and said no.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host name leads to no address.
    #[error("cannot find the host '{host}': {source}")]
    Host {
        /// The name as given.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The machine answered that nothing listens on that port.
    #[error(
        "cannot reach {endpoint}: nothing listens there; start the server with 'cargo run --release', or \
         'chronos' where it is installed"
    )]
    NothingListens {
        /// Host and port as given.
        endpoint: String,
    },
    /// The connection could not be made for another reason, a time-out included.
    #[error("cannot reach {endpoint} ({address}): {source}")]
    Connect {
        /// Host and port as given.
        endpoint: String,
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The Unix socket cannot be used.
    #[error("cannot reach {}: {source}", socket.display())]
    Socket {
        /// The path as given.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server closed the connection before the whole reply was in.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke: whether the last request was carried out is unknown.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// Nothing was heard, or nothing could be sent, for the time-out. The connection is no longer
    /// usable: a late reply would be taken for that of the next request.
    #[error("no answer from the server for {seconds} s (--timeout waits longer)")]
    TimedOut {
        /// The time-out that passed, in seconds.
        seconds: f64,
    },
    /// A command that may change data was sent, and the connection failed before its reply.
    #[error("{cause}; the outcome of that command is unknown, and it was not sent again")]
    OutcomeUnknown {
        /// What happened to the connection.
        #[source]
        cause: Box<Error>,
    },
    /// The connection failed while a transaction was open: what was sent had only been queued.
    #[error(
        "{cause}; the transaction is lost with its connection, and none of its commands was executed"
    )]
    TransactionLost {
        /// What happened to the connection.
        #[source]
        cause: Box<Error>,
    },
    /// The request is not one line, so it was not sent.
    #[error("{0}")]
    Request(&'static str),
    /// The reply has none of the protocol's shapes: is this a Chronos server?
    #[error("the server's reply makes no sense ({0}); is it a Chronos server?")]
    Malformed(String),
    /// The server speaks something else than RESP.
    #[error("the server's reply is not RESP ({0})")]
    NotResp(String),
    /// The server refused what the client itself needs of it: a login, a database, a list of keys.
    #[error("{0}")]
    Refused(String),
    /// The load tester's request was answered with an error.
    #[error("the server answered {command} with an error: {reply}")]
    Answered {
        /// The name of the command.
        command: &'static str,
        /// The error as it came.
        reply: String,
    },
    /// Ctrl-C ended the waiting for a reply.
    #[error("interrupted; whether the server goes on with that command is unknown")]
    Interrupted,
    /// The reply is larger than the client takes.
    #[error("the server's reply is larger than {limit} bytes")]
    TooLarge {
        /// The bound that was passed, in bytes.
        limit: usize,
    },
}

impl Error {
    /// Whether the connection ended or never was, as opposed to a late or senseless reply.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::Closed | Self::Broken(_))
    }

    /// Whether nothing was sent, so that trying again is harmless.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Host { .. }
                | Self::NothingListens { .. }
                | Self::Socket { .. }
                | Self::Connect { .. }
                | Self::Request(_)
                | Self::Refused(_)
        )
    }
}

/// What the client's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
