//! Crash points of batches, range deletes, expiring values, ingestions and checkpoints: the machine
//! goes down at each storage call of a workload that has all of them, by a power cut or a kill. What
//! is found is a state between two steps, the last acknowledged or a later one; a copy is whole or
//! none.

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Engine, Result};

use crate::hooked::{Call, Hooked};
use crate::support::Got;
use crate::workload::{History, Workload, check_copy, later, open_later, seen};

/// Runs the workload on a storage that crashes at call `n` (never, if `None`).
fn run(n: Option<u64>) -> (SimStorage, History) {
    let storage = SimStorage::new(n.unwrap_or(0));
    if let Some(n) = n {
        storage.crash_at(n);
    }
    let mut workload = Workload::new(5);
    let outcome = workload.open(storage.clone()).and_then(|engine| workload.run(&engine));
    assert!(outcome.is_ok() || storage.is_down(), "failed without a crash: {outcome:?}");
    (storage, workload.history)
}

/// Opens what survived and checks it.
fn recover(storage: &SimStorage, history: &History, what: &str) -> Engine {
    let engine = open_later(storage.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = seen(&engine).unwrap_or_else(|error| panic!("{what}: {error}"));
    let is_possible = history.possible().iter().any(|model| later(model) == found);
    assert!(is_possible, "{what}: lost, invented or torn apart");
    engine
}

/// Checks the database and all copies; then life goes on.
fn check(storage: &SimStorage, history: &History, what: &str) {
    let engine = recover(storage, history, what);
    for copy in &history.copies {
        check_copy(storage, copy, what);
    }
    engine.put(b"after", b"it").unwrap();
    engine.compact().unwrap();
    let before = seen(&engine).unwrap();
    drop(engine);
    let again = open_later(storage.power_cut(Survival::Nothing)).unwrap();
    assert!(seen(&again).unwrap() == before, "{what}: what was recovered is lost");
    assert_eq!(again.got(b"after"), Some(b"it".to_vec()), "{what}");
}

/// All kinds of survival take turns, so that a run stays short.
fn survivals(n: u64) -> [Survival; 2] {
    let all = [
        [Survival::Nothing, Survival::Random(n)],
        [Survival::Everything, Survival::Random(n)],
        [Survival::Torn(n), Survival::Nothing],
    ];
    all[n as usize % all.len()]
}

#[test]
fn the_workload_has_everything() {
    let storage = SimStorage::new(0);
    let mut workload = Workload::new(5);
    let engine = workload.open(storage.clone()).unwrap();
    workload.run(&engine).unwrap();
    let stats = engine.stats();
    assert!(stats.flushes > 5 && stats.compactions > 5, "{stats:?}");
    assert!(stats.ingested_bytes > 10_000, "{stats:?}");
    assert!(storage.call_count() > 400, "{} calls", storage.call_count());
    assert_eq!(seen(&engine).unwrap(), {
        let last = workload.history.models.last().unwrap();
        crate::workload::live(last, workload.now_ms())
    });
}

#[test]
fn a_crash_at_any_call_leaves_whole_steps() {
    let (storage, history) = run(None);
    assert_eq!(history.acknowledged, history.models.len() - 1);
    check(&storage.power_cut(Survival::Nothing), &history, "no crash");
    for n in 1..=storage.call_count() {
        let (storage, history) = run(Some(n));
        for survival in survivals(n) {
            let what = format!("crash at call {n}, {survival:?}");
            check(&storage.power_cut(survival), &history, &what);
        }
        if n % 3 == 0 {
            check(&storage.kill(), &history, &format!("kill at call {n}"));
        }
    }
}

#[test]
fn a_crash_inside_recovery_leaves_whole_steps_too() {
    let calls = run(None).0.call_count();
    for n in (1..=calls).step_by(67) {
        let (storage, history) = run(Some(n));
        let first = storage.power_cut(Survival::Random(n));
        for m in 1.. {
            let survivor = first.power_cut(Survival::Everything);
            survivor.crash_at(m);
            let opened = open_later(survivor.clone());
            if opened.is_ok() && !survivor.is_down() {
                break;
            }
            drop(opened);
            let survival = [Survival::Nothing, Survival::Random(m), Survival::Everything];
            let survival = survival[m as usize % survival.len()];
            let what = format!("crash at {n}, then at {m} of recovery, {survival:?}");
            recover(&survivor.power_cut(survival), &history, &what);
        }
    }
}

/// The workload with checkpoints to directories to which nothing can be linked.
fn copy_without_links(n: Option<u64>) -> (SimStorage, History, Result<()>) {
    let storage = SimStorage::new(n.unwrap_or(0));
    let hooked = Hooked::new(storage.clone());
    hooked.set(|call, _| match call {
        Call::Link => Err(std::io::ErrorKind::CrossesDevices.into()),
        _ => Ok(()),
    });
    if let Some(n) = n {
        storage.crash_at(n);
    }
    let mut workload = Workload::new(6);
    let outcome = workload.open(hooked).and_then(|engine| workload.run(&engine));
    (storage, workload.history, outcome)
}

#[test]
fn a_copy_to_another_device_is_whole_or_none() {
    let (storage, history, outcome) = copy_without_links(None);
    outcome.unwrap();
    check(&storage.power_cut(Survival::Nothing), &history, "copied");
    let mut broken_off = 0;
    for n in (1..=storage.call_count()).step_by(7) {
        let (storage, history, outcome) = copy_without_links(Some(n));
        assert!(outcome.is_err());
        broken_off += history.copies.iter().filter(|copy| !copy.acknowledged).count();
        let survivor = storage.power_cut(survivals(n)[0]);
        recover(&survivor, &history, &format!("crash at call {n}"));
        for copy in &history.copies {
            check_copy(&survivor, copy, &format!("crash at call {n}"));
        }
    }
    assert!(broken_off > 5, "{broken_off}");
}
