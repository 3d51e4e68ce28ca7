//! The server as clients see it: a real reactor on a real socket, over a simulated storage.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

mod docs;
mod faults;
mod frontier;
mod harness;
mod program;
mod reactor;
mod scripts;
