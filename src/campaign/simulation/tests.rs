//! Runs that go well, runs that do the same twice, and lies that a run must notice.

use super::run::Run;
use super::simulate;
use super::trace::Trace;
use crate::engine::Clock as _;
use crate::engine::storage::Storage as _;
use crate::engine::storage::sim::{FaultKind, Times};

#[test]
fn everything_happens() {
    let mut all = Trace::default();
    for seed in 0..200 {
        let trace = simulate(seed).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        all.checked += trace.checked;
        all.crash_states += trace.crash_states;
        trace.events.into_iter().for_each(|(event, n)| all.count(event, n));
    }
    let expected = [
        "flushes",
        "merges",
        "moves",
        "drops",
        "segment",
        "flush",
        "level0",
        "NOSPACE",
        "FAILED",
        "CORRUPT",
        "OK",
        "operation failed",
        "operation cut off",
        "kill",
        "power cut",
        "crash between calls",
        "crash in recovery",
        "failed recovery",
        "checkpoint",
        "compaction",
        "ingestion",
        "close",
        "deferred read",
    ];
    let missing: Vec<_> = expected.iter().filter(|event| !all.has(event)).collect();
    assert!(missing.is_empty(), "{missing:?} never happened: {:?}", all.events);
    let at_calls = all.events["down"] - all.events["crash between calls"] - all.events["close"];
    assert!(at_calls > 20, "{at_calls} crashes at a call");
    assert!(all.checked > 40_000 && all.crash_states > 600, "{} {}", all.checked, all.crash_states);
}

#[test]
fn a_seed_does_the_same_each_time_and_no_other_does() {
    let hashes = |first: u64| -> Vec<u64> {
        (first..first + 60).map(|seed| simulate(seed).unwrap().hash()).collect()
    };
    let mut once = hashes(1_000);
    assert_eq!(once, hashes(1_000));
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), 60);
}

/// A run without misfortunes some steps after its beginning, everything committed.
fn begun(seed: u64) -> Run {
    let mut run = Run::new(seed).unwrap();
    (run.is_faulty, run.is_crashy) = (false, false);
    for _ in 0..80 {
        run.step().unwrap();
    }
    run.sync().unwrap();
    run.verify().unwrap();
    run
}

/// A key that has a value, and that.
fn some_value(run: &Run) -> (Vec<u8>, Vec<u8>) {
    let live = run.model.live(run.model.last_seq(), run.clock.now_ms());
    let (key, _, value) = live.first().expect("a value");
    (run.keys[*key].clone(), value.bytes.to_vec())
}

#[test]
fn a_lost_write_is_noticed() {
    for seed in 0..10 {
        let mut run = begun(seed);
        let (key, _) = some_value(&run);
        run.engine.delete(&key).unwrap();
        let wrong = run.verify().unwrap_err();
        assert!(wrong.contains("which has to be Some"), "{wrong}");
    }
}

#[test]
fn a_key_that_is_brought_back_is_noticed() {
    for seed in 0..10 {
        let mut run = begun(seed);
        let (key, value) = some_value(&run);
        let number = run.keys.iter().position(|other| *other == key).unwrap();
        run.engine.delete(&key).unwrap();
        run.model.apply(&[super::model::Write::Delete { key: number }]);
        run.verify().unwrap();
        run.engine.put(&key, &value).unwrap();
        let wrong = run.verify().unwrap_err();
        assert!(wrong.contains("shows Some"), "{wrong}");
    }
}

#[test]
fn a_write_with_another_version_is_noticed() {
    for seed in 0..10 {
        let mut run = begun(seed);
        let (key, value) = some_value(&run);
        // The same value: only the number tells that this is not the write that was.
        run.engine.put(&key, &value).unwrap();
        assert!(run.verify().is_err());
        let wrong = (0..200).find_map(|_| run.step().err());
        assert!(wrong.is_some(), "it goes on for 200 steps");
    }
}

#[test]
fn a_state_from_before_an_acknowledged_write_is_noticed() {
    for seed in 0..10 {
        let mut run = begun(seed);
        run.let_go();
        let crashed = run.storage.kill();
        let floor = run.floors.process;
        run.recover(crashed.kill(), floor).unwrap();
        run.engine.delete(&run.keys[0]).unwrap();
        run.model.apply(&[super::model::Write::Delete { key: 0 }]);
        run.promise(1);
        run.show(run.model.last_seq());
        // The device forgot all that was synced since.
        let floor = run.floors.process;
        let wrong = run.recover(crashed.kill(), floor).unwrap_err();
        assert!(wrong.contains("were safe"), "{wrong}");
    }
}

#[test]
fn an_error_without_a_reason_is_noticed() {
    for seed in 0..10 {
        let mut run = begun(seed);
        // Planned past the weather: nobody knows why it fails.
        let next = run.storage.call_count() + 1;
        run.storage.fail_call(next, FaultKind::Io, Times::Forever);
        let wrong = (0..100).find_map(|_| run.step().err()).expect("an error that is noticed");
        assert!(wrong.contains("no reason") || wrong.contains("committed"), "{wrong}");
    }
}

#[test]
fn a_file_that_stays_open_is_noticed() {
    let run = Run::new(7).unwrap();
    let leaked = run.storage.open("CURRENT").unwrap();
    // Nothing else happens to it than the end.
    let (_, outcome) = run.ending_at_once().run();
    let wrong = outcome.unwrap_err();
    assert!(wrong.contains("1 files stay open"), "{wrong}");
    drop(leaked);
}
