//! What an open removes. The process before may have ended between the renaming of `CURRENT` and the
//! sync of the directory: until that is made up for, a power cut may bring the old manifest back, and
//! neither it nor a table that only it names may have been removed. And what an open does not touch: a
//! file that has one of our names, but is not provably of this database.

use std::sync::{Arc, Mutex};

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{Bounds, FaultKind, Moment, SimStorage, Survival, Times};
use chronos::engine::{Engine, Error, Offline, Recovery, Scheduling, check};

use crate::support::{Random, State, key, observe, open, tiny, world};

const KEYS: u64 = 8;

/// What is looked at of all that a power cut may leave.
const BOUNDS: Bounds = Bounds { exhaustive: 128, samples: 32 };

/// The moments after the calls on `storage` from here on that `is_wanted`.
fn follow(storage: &SimStorage, is_wanted: fn(&str) -> bool) -> Arc<Mutex<Vec<Moment>>> {
    let moments = Arc::<Mutex<Vec<Moment>>>::default();
    let noted = Arc::clone(&moments);
    storage.watch(move |moment| {
        if is_wanted(moment.call()) {
            noted.lock().unwrap().push(moment);
        }
    });
    moments
}

fn replaces_current(call: &str) -> bool {
    call == "rename CURRENT.tmp to CURRENT"
}

/// What was removed of the kinds of files that `CURRENT` decides on.
#[derive(Default)]
struct Removed {
    manifests: usize,
    tables: usize,
}

/// Opens what a killed process left, and cuts the power after each call of that: whatever survives
/// holds `state`.
fn cut_an_open_short(storage: &SimStorage, state: &State, removed: &mut Removed) {
    let moments = follow(storage, |_| true);
    let engine = open(storage.clone(), 2).unwrap();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(observe(&engine, KEYS).unwrap() == *state);
    let mut random = Random(1);
    for moment in moments {
        removed.manifests += usize::from(moment.call().starts_with("remove MANIFEST-"));
        removed.tables += usize::from(
            moment.call().starts_with("remove ") && moment.call().strip_suffix(".sst").is_some(),
        );
        for fate in moment.survivors(BOUNDS, &mut random).fates {
            let told = || format!("{}: {}", moment.call(), moment.describe(&fate));
            let engine = open(moment.after(&fate), 3);
            let engine = engine.unwrap_or_else(|error| panic!("{}: {error}", told()));
            assert!(observe(&engine, KEYS).unwrap() == *state, "{}", told());
        }
    }
}

/// Some keys, in tables that overlap and in memory.
fn sample(storage: &SimStorage) -> State {
    let engine = open(storage.clone(), 1).unwrap();
    let mut state = State::new();
    for number in 0..2 * KEYS {
        let (key, value) = (key(number % KEYS), vec![number as u8; 700]);
        engine.put(&key, &value).unwrap();
        state.insert(key, value);
        if number == KEYS {
            engine.compact().unwrap();
        }
    }
    state
}

#[test]
fn the_manifest_before_stays_until_the_new_one_counts_for_certain() {
    let storage = SimStorage::new(1);
    let state = sample(&storage);
    let storage = storage.kill();
    let moments = follow(&storage, replaces_current);
    drop(open(storage, 2).unwrap());
    let mut removed = Removed::default();
    for moment in moments.lock().unwrap().iter() {
        cut_an_open_short(&moment.killed(), &state, &mut removed);
    }
    assert!(removed.manifests > 0);
}

/// An edit that was written, but found no room for its seal, is taken back by a manifest that does not
/// say it. The old one does: if it came back, it would need the tables of that edit.
#[test]
fn tables_of_an_edit_that_was_taken_back_stay_until_that_is_certain() {
    let mut removed = Removed::default();
    for call in 1.. {
        let storage = SimStorage::new(call);
        let state = sample(&storage);
        let storage = storage.kill();
        let engine = open(storage.clone(), 2).unwrap();
        let moments = follow(&storage, replaces_current);
        storage.fail_call(storage.call_count() + call, FaultKind::NoSpace, Times::Once);
        let _ = engine.compact();
        if storage.fault_count() == 0 {
            break;
        }
        for moment in moments.lock().unwrap().iter() {
            cut_an_open_short(&moment.killed(), &state, &mut removed);
        }
    }
    assert!(removed.manifests > 0 && removed.tables > 0);
}

/// An open whose `call`th call fails, and another that loses power after each of its calls; then some
/// more opens. False once there is no such call.
fn fail_one_open_and_cut_the_next(sample: &SimStorage, state: &State, call: u64) -> bool {
    let storage = sample.kill();
    storage.fail_call(call, FaultKind::Io, Times::Once);
    let failed = open(storage.clone(), 2).is_err();
    if storage.fault_count() == 0 {
        return false;
    }
    let storage = storage.kill();
    storage.clear_faults();
    let moments = follow(&storage, |_| true);
    drop(open(storage.clone(), 3).unwrap());
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    for moment in moments {
        for fate in moment.survivors(Bounds { exhaustive: 4, samples: 4 }, &mut Random(call)).fates
        {
            let told = || {
                let fate = moment.describe(&fate);
                format!("call {call} (fatal: {failed}), then {}: {fate}", moment.call())
            };
            let mut left = moment.after(&fate);
            for seed in 4..7 {
                let engine = open(left.clone(), seed);
                let engine = engine.unwrap_or_else(|error| panic!("{}: {error}", told()));
                assert!(observe(&engine, KEYS).unwrap() == *state, "{}", told());
                drop(engine);
                left = left.kill();
            }
        }
    }
    true
}

#[test]
fn a_segment_whose_name_may_be_lost_is_not_used() {
    let storage = SimStorage::new(1);
    let state = sample(&storage);
    let storage = storage.kill();
    drop(open(storage.clone(), 1).unwrap());
    let sample = storage.kill();
    let calls = (1..).take_while(|call| fail_one_open_and_cut_the_next(&sample, &state, *call));
    assert!(calls.count() > 10);
}

fn recover(storage: &SimStorage, seed: u64) -> (Engine, Recovery) {
    Engine::open(world(storage.clone(), seed), tiny(Scheduling::Manual)).unwrap()
}

/// A power cut may take any sector of a table that was being written, the first block's too.
#[test]
fn what_a_power_cut_has_torn_is_ours_and_goes() {
    let storage = SimStorage::new(1);
    let state = sample(&storage);
    let storage = storage.kill();
    let names = storage.list().unwrap();
    let table = names.iter().find(|name| name.strip_suffix(".sst").is_some()).unwrap();
    let mut torn = storage.read_file(table).unwrap();
    torn[..512].fill(0);
    storage.write_file("000700.sst", &torn).unwrap();
    storage.write_file("000701.sst", &[7; 4096]).unwrap();
    let (engine, recovery) = recover(&storage, 2);
    assert!(recovery.foreign.is_empty(), "{:?}", recovery.foreign);
    assert!(observe(&engine, KEYS).unwrap() == state);
    let names = storage.list().unwrap();
    let is_torn = |name: &String| name == "000700.sst" || name == "000701.sst";
    assert!(!names.iter().any(is_torn), "{names:?}");
}

#[test]
fn what_nothing_proves_to_be_ours_is_left_alone_and_told_of() {
    let storage = SimStorage::new(1);
    let state = sample(&storage);
    let storage = storage.kill();
    // A log segment of another database, under a number that this one has left behind.
    let other = SimStorage::new(2);
    sample(&other);
    let names = other.list().unwrap();
    let segment = names.iter().find(|name| name.strip_suffix(".wal").is_some()).unwrap();
    let segment = other.read_file(segment).unwrap();
    let text = b"the only copy of somebody's work".repeat(200);
    let kept: [(&str, &[u8]); 8] = [
        ("000000.wal", &segment),
        ("000777.wal", &text),
        ("900000.sst", &text),
        ("900001.sst", b"short"),
        ("MANIFEST-900002", &text),
        ("900003.wal.tmp", &text),
        ("900004.sst.tmp", &text),
        ("9223372036854775807.sst", &text),
    ];
    for (name, bytes) in kept {
        storage.write_file(name, bytes).unwrap();
    }
    let report = check(Arc::new(storage.clone()), &mut |_| ()).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let mut offline = Offline::open(&world(storage.clone(), 2)).unwrap();
    let count = std::iter::from_fn(|| offline.advance().unwrap().then_some(())).count();
    assert_eq!(count, state.len());
    drop(offline);
    for seed in 2..5 {
        let (engine, mut recovery) = recover(&storage, seed);
        recovery.foreign.sort();
        let mut names: Vec<&str> = kept.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(recovery.foreign, names);
        assert!(observe(&engine, KEYS).unwrap() == state);
        for number in 0..200 {
            let key = key(number % KEYS);
            engine.put(&key, &state[&key]).unwrap();
        }
        engine.compact().unwrap();
        if seed == 3 {
            engine.close().unwrap();
        }
        drop(engine);
        for (name, bytes) in kept {
            assert!(storage.read_file(name).unwrap() == *bytes, "{name} was changed");
            let is_noted = |note: &String| note.starts_with(name) && note.contains("left alone");
            assert!(report.notes.iter().any(is_noted), "{name}: {:?}", report.notes);
        }
    }
}

#[test]
fn where_there_is_no_database_files_of_others_are_left_as_well() {
    let storage = SimStorage::new(1);
    let text = b"the only copy of somebody's work".repeat(200);
    for name in ["000777.wal", "MANIFEST-000778", "000779.wal.tmp"] {
        storage.write_file(name, &text).unwrap();
    }
    let (engine, recovery) = recover(&storage, 1);
    assert_eq!((recovery.created, recovery.foreign.len()), (true, 3));
    engine.put(b"key", b"value").unwrap();
    engine.compact().unwrap();
    for name in &recovery.foreign {
        assert!(storage.read_file(name).unwrap() == text, "{name}");
    }
    // What may be a database's table is not built over.
    let storage = SimStorage::new(1);
    storage.write_file("000123.sst", &text).unwrap();
    let refused = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Manual)).err();
    assert!(matches!(refused, Some(Error::Corrupt { .. })), "{refused:?}");
    assert!(storage.read_file("000123.sst").unwrap() == text);
}

#[test]
fn what_a_crash_leaves_is_known_to_be_ours_and_goes() {
    for call in 1.. {
        let storage = SimStorage::new(call);
        let state = sample(&storage);
        let storage = storage.kill();
        let engine = open(storage.clone(), 2).unwrap();
        storage.crash_at(storage.call_count() + call);
        let _ = engine.compact();
        let _ = engine.close();
        let is_over = !storage.is_down();
        drop(engine);
        for left in [storage.kill(), storage.power_cut(Survival::Nothing)] {
            let (engine, recovery) = recover(&left, 3);
            assert!(recovery.foreign.is_empty(), "call {call}: {:?}", recovery.foreign);
            assert!(observe(&engine, KEYS).unwrap() == state);
            engine.close().unwrap();
            drop(engine);
            let report = check(Arc::new(left.clone()), &mut |_| ()).unwrap();
            assert!(report.is_whole() && report.notes.is_empty(), "call {call}: {report:?}");
        }
        if is_over {
            break;
        }
    }
}
