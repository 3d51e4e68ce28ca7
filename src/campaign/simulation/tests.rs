//! Runs that go well, runs that do the same twice, and lies that a run must notice.

use super::run::Run;
use super::simulate;
use super::trace::Trace;

fn runs(seeds: std::ops::Range<u64>) -> Trace {
    let mut all = Trace::default();
    for seed in seeds {
        let trace = simulate(seed).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        all.checked += trace.checked;
        all.crash_states += trace.crash_states;
        trace.events.into_iter().for_each(|(event, n)| all.count(event, n));
    }
    all
}

#[test]
fn everything_happens() {
    let all = runs(0..200);
    println!("{} checked, {} crash states, {:?}", all.checked, all.crash_states, all.events);
}
