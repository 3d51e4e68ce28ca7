//! The blocking side of the protocols: a library for programs that speaks text, the bundled `client`
//! (REPL, single command, script; in text or RESP) and the load tester `bench`.
//!
//! ```no_run
//! use chronos::client::{Connection, Endpoint, Reply};
//!
//! let mut connection = Connection::open(&Endpoint::default())?;
//! assert_eq!(connection.request(b"SET user:101 Venom")?, Reply::Line(b"OK".to_vec()));
//! assert_eq!(connection.request(b"GET user:101")?, Reply::Line(b"Venom".to_vec()));
//! # Ok::<(), chronos::client::Error>(())
//! ```
//!
//! Layers: `connection` → `reply`, `request` → `error`; above them `session` (reconnects), and on top
//! the three ways to use it. `resp` is the same in RESP, with its own codec and session, and shares
//! the prompt, the options and the outputs. The client knows the parser's command table and nothing
//! of the engine or the server; it must never interpret, trim or re-encode a value.

mod app;
pub mod bench;
mod complete;
pub(crate) mod connection;
mod error;
pub(crate) mod interrupt;
pub(crate) mod options;
mod paint;
mod repl;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod resp;
mod script;
mod secrets;
mod session;
mod state;
mod uri;
mod wire;

#[cfg(test)]
mod fake;

pub use app::main;
pub use connection::{Connection, Endpoint};
pub use error::{Error, Result};
pub use reply::Reply;
