//! The engine from outside, on the simulated storage and on a real disk: scripts, seeded models,
//! crashes at every storage call, failing calls, flipped bits, held-back syncs.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod admission;
mod brittle;
mod concurrent;
mod counts;
mod damage;
mod durability;
mod edits;
mod expiry;
mod fault_operations;
mod faults;
mod fixtures;
mod frontier;
mod hooked;
mod ingestion;
mod leftovers;
mod merges;
mod model;
mod opening;
mod operations;
mod places;
mod ranges;
mod script;
mod seals;
mod segments;
mod space;
mod support;
mod torn;
mod transactions;
mod walks;
