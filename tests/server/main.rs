//! The server as clients see it: a real reactor on a real socket, over a simulated storage.

mod docs;
mod frontier;
mod harness;
mod program;
mod reactor;
mod scripts;
