//! The programs as an operator meets them: started, signalled, killed, refused, and fed
//! a real data set through the client.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

mod backups;
#[path = "../support/client.rs"]
#[allow(dead_code, reason = "shared; another binary uses the rest")]
mod client;
mod clients;
mod descriptors;
mod directory;
mod dumps;
mod logs;
mod memory;
mod program;
mod records;
mod redis;
mod refusal;
mod running;
mod signals;
mod starting;
mod tools;
mod transactions;
