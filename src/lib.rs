//! Chronos: a persistent key-value server, durable by default and larger than memory.
//!
//! Three layers that know as little of each other as they can: [`engine`] keeps the data and is a
//! library of its own; [`parser`] turns bytes into commands and replies into bytes and does no I/O;
//! [`server`] owns the sockets and is the only place where the two meet. [`client`] is the blocking
//! side of the text protocol, for the bundled client and the load tester; [`tools`] is what operators do
//! with a data directory that no server has open. `campaign`, a feature, tries
//! to make the database lose something.
//! `tests/tidy.rs` keeps the directions.

#[cfg(feature = "campaign")]
pub mod campaign;
pub mod client;
pub mod engine;
pub mod parser;
mod planted;
pub mod server;
pub mod tools;

/// Compiles and runs the examples of the page about patterns.
#[cfg(doctest)]
#[doc = include_str!("../docs/patterns.md")]
struct Patterns;

/// Compiles the examples of the README and of the library's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
struct Readme;
