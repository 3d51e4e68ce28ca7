//! The server as clients see it: a real reactor on a real socket, over a simulated storage.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

mod admin;
mod answers;
mod bounds;
#[path = "../support/client.rs"]
#[allow(dead_code, reason = "shared; another binary uses the rest")]
mod client;
mod counts;
mod docs;
mod expiry;
mod faults;
mod frontier;
mod harness;
mod keys;
mod peers;
mod pipelines;
mod reactor;
mod resp;
mod scripts;
mod transactions;
mod walks;
mod walks_in_multi;
