//! Deterministic simulation: the whole engine under a seeded scheduler, with a virtual clock, on the
//! simulated storage.
//!
//! `run` (state, scheduler) → `writes`, `reads`, `upkeep` (what actors do) and `crash`, `liveness`
//! (what happens to the machine, and the end) → `model`, `weather` (what has to be, what may go
//! wrong), `trace`. A run is a function of its seed: no thread, no clock of the machine, no order of a
//! hash table may reach it. Now and then a seed is run twice, and must do the same.

mod crash;
mod liveness;
mod model;
mod reads;
mod run;
#[cfg(test)]
mod tests;
mod trace;
mod upkeep;
mod weather;
mod writes;

use self::run::{Run, Verdict};
use self::trace::Trace;
use super::{Case, Count, Part};

/// One in so many seeds is run twice.
const REPEATED: u64 = 64;

/// Simulated runs.
pub(crate) struct Simulation;

impl Part for Simulation {
    fn name(&self) -> &'static str {
        "simulation"
    }

    fn share(&self) -> u32 {
        2
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let trace = simulate(case.seed)?;
        if case.seed.is_multiple_of(REPEATED) && simulate(case.seed)?.hash() != trace.hash() {
            return Err("a second run with the same seed was another".to_owned());
        }
        case.count(Count::Seeds, 1);
        case.count(Count::Operations, trace.checked);
        case.count(Count::CrashStates, trace.crash_states);
        case.count(Count::Faults, u64::from(trace.has("operation failed")));
        Ok(())
    }
}

/// One run; what happened in it.
fn simulate(seed: u64) -> Verdict<Trace> {
    let (trace, outcome) = Run::new(seed)?.run();
    outcome.map(|()| trace)
}
