//! Chronos as Redis clients meet it: reply for reply beside a real `redis-server`, and through the
//! `redis` crate.
//!
//! `CHRONOS_DIFFERENTIAL_SELF=1` puts a second `redis-server` in the place of Chronos, which shows
//! that the assertions are Redis's and not Chronos's. The same seeds run each time;
//! `CHRONOS_DIFFERENTIAL_SEEDS=N` runs N of them for each subject. Where no `redis-server` is
//! installed the comparisons are left out with a note, unless `CHRONOS_REQUIRE_REDIS` is set.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is not as it must be"
)]

mod allowed;
mod clients;
mod differential;
mod grammar;
mod scenarios;
mod servers;
mod session;
mod subjects;
mod wire;
