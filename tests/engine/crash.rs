//! Crash points: the machine goes down at each storage call of a workload, under several choices of
//! what survives, and once more inside each recovery. What was acknowledged must stand, and what is
//! found must be a prefix of what was attempted.

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Admission, Engine, Result, Scheduling};

use crate::support::{
    Got, Random, State, Write, apply, observe, open, random_write, tiny, world, write,
};

const KEYS: u64 = 16;
const STEPS: u64 = 160;

/// What happened until the crash: the state after each atomic step, and how many were acknowledged.
struct History {
    states: Vec<State>,
    acknowledged: usize,
}

impl History {
    fn attempt(&mut self, writes: &[Write]) {
        let mut next = self.states.last().unwrap().clone();
        for operation in writes {
            apply(&mut next, operation);
        }
        self.states.push(next);
    }

    fn acknowledge(&mut self) {
        self.acknowledged = self.states.len() - 1;
    }
}

/// Some writes in one session, that is, one atomic group.
fn write_group(engine: &Engine, writes: &[Write]) -> Result<bool> {
    engine.run_background();
    let mut session = engine.session();
    for (key, value) in writes {
        match session.admit(key.len(), value.as_ref().map_or(0, Vec::len)) {
            Admission::Ready => {}
            Admission::Stalled(_) => return Ok(false),
            Admission::Refused(error) => return Err(error),
        }
        match value {
            Some(value) => session.put(key, value),
            None => session.delete(key),
        };
    }
    session.submit_quietly();
    Ok(engine.commit_in_place())
}

/// Runs until the end or the first error.
fn workload(engine: &Engine, seed: u64, history: &mut History) -> Result<()> {
    let mut random = Random(seed);
    for serial in 0..STEPS {
        if serial == STEPS / 2 {
            engine.compact()?;
        }
        if random.one_in(3) {
            let writes: Vec<Write> =
                (0..3).map(|_| random_write(&mut random, KEYS, serial)).collect();
            history.attempt(&writes);
            if write_group(engine, &writes)? {
                history.acknowledge();
            } else {
                return Ok(());
            }
        } else {
            let operation = random_write(&mut random, KEYS, serial);
            history.attempt(std::slice::from_ref(&operation));
            write(engine, &operation)?;
            history.acknowledge();
        }
    }
    engine.close()
}

/// Runs the workload on a storage that crashes at call `n` (never, if `None`).
fn run(n: Option<u64>) -> (SimStorage, History) {
    let storage = SimStorage::new(n.unwrap_or(0));
    if let Some(n) = n {
        storage.crash_at(n);
    }
    let mut history = History { states: vec![State::new()], acknowledged: 0 };
    if let Ok(engine) = open(storage.clone(), 5) {
        let outcome = workload(&engine, 5, &mut history);
        assert!(outcome.is_ok() || storage.is_down(), "failed without a crash: {outcome:?}");
    }
    (storage, history)
}

/// Opens what survived and checks it.
fn recover(storage: &SimStorage, history: &History, what: &str) -> Engine {
    let engine = open(storage.clone(), 77).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = observe(&engine, KEYS).unwrap_or_else(|error| panic!("{what}: {error}"));
    let expected = &history.states[history.acknowledged..];
    assert!(expected.contains(&found), "{what}: lost or invented writes");
    engine
}

fn survivals(n: u64) -> [Survival; 6] {
    [
        Survival::Nothing,
        Survival::Everything,
        Survival::Random(n),
        Survival::Random(n + 1_000_000),
        Survival::Torn(n),
        Survival::Torn(n + 1_000_000),
    ]
}

#[test]
fn a_crash_at_any_storage_call_loses_nothing_acknowledged() {
    let (storage, history) = run(None);
    assert_eq!(history.acknowledged, history.states.len() - 1);
    let calls = storage.call_count();
    assert!(calls > 400, "the workload is too short: {calls} calls");
    for n in 1..=calls {
        let (storage, history) = run(Some(n));
        for survival in survivals(n) {
            let what = format!("crash at call {n} of {calls}, {survival:?}");
            let survivor = storage.power_cut(survival);
            let engine = recover(&survivor, &history, &what);
            // Life goes on: a write, a clean end, and it is there.
            engine.put(b"key-0000", b"after").unwrap();
            engine.close().unwrap();
            drop(engine);
            let again = open(survivor, 78).unwrap();
            assert_eq!(again.got(b"key-0000"), Some(b"after".to_vec()), "{what}");
        }
        recover(&storage.kill(), &history, &format!("kill at call {n}"));
    }
}

#[test]
fn a_crash_inside_recovery_loses_nothing_either() {
    let (storage, _) = run(None);
    let calls = storage.call_count();
    for n in (1..=calls).step_by(29) {
        let (storage, history) = run(Some(n));
        let first = storage.power_cut(Survival::Random(n));
        for m in 1.. {
            // The same crash again, and then another one at call m of its recovery.
            let survivor = first.power_cut(Survival::Everything);
            survivor.crash_at(m);
            let opened = Engine::open(world(survivor.clone(), m), tiny(Scheduling::Manual));
            if opened.is_ok() && !survivor.is_down() {
                break;
            }
            drop(opened);
            for survival in [Survival::Nothing, Survival::Random(m), Survival::Everything] {
                let what = format!("crash at {n}, then at {m} of recovery, {survival:?}");
                recover(&survivor.power_cut(survival), &history, &what);
            }
        }
    }
}
