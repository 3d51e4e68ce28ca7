//! After a repair every key has its right value or was given up and told, at whatever call the machine
//! crashed meanwhile.

use std::collections::BTreeMap;

use super::*;
use crate::engine::iter::testing::Random;
use crate::engine::options::{Options, Scheduling, SystemClock};
use crate::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use crate::engine::{Compression, Engine};

const KEYS: u64 = 120;
const ASIDE: &str = "aside-1";

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn environment(storage: &SimStorage) -> Environment {
    Environment {
        storage: Arc::new(storage.clone()),
        clock: Arc::new(SystemClock),
        random: Arc::new(|| 7),
    }
}

fn open(storage: &SimStorage) -> Result<Engine> {
    let options = Options {
        memory_bytes: 96 << 10,
        wal_segment_bytes: 64 << 10,
        table_bytes: 12 << 10,
        level0_tables: 3,
        compression: Compression::None,
        bottom_compression: Compression::None,
        scheduling: Scheduling::Manual,
        ..Options::default()
    };
    Ok(Engine::open(environment(storage), options)?.0)
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:04}").into_bytes()
}

/// A random history, and what each of its prefixes comes to.
fn sample(seed: u64) -> (SimStorage, Vec<State>) {
    let storage = SimStorage::new(seed);
    let engine = open(&storage).unwrap();
    let mut random = Random(seed);
    let mut states = vec![State::new()];
    for serial in 0..900_u32 {
        let mut state = states.last().unwrap().clone();
        let number = random.below(KEYS);
        match random.below(40) {
            0 => {
                let end = number + 1 + random.below(20);
                engine.delete_range(key(number)..key(end)).unwrap();
                (number..end).for_each(|number| drop(state.remove(&key(number))));
            }
            1..6 => {
                engine.delete(&key(number)).unwrap();
                state.remove(&key(number));
            }
            _ => {
                let value = format!("{serial:060}").into_bytes();
                engine.put(&key(number), &value).unwrap();
                state.insert(key(number), value);
            }
        }
        states.push(state);
        if serial == 300 {
            engine.compact().unwrap();
        }
    }
    drop(engine);
    (storage.power_cut(Survival::Everything), states)
}

fn run(storage: &SimStorage, is_dry: bool) -> Result<Repair> {
    repair(&environment(storage), Path::new(ASIDE), is_dry, &mut |_| ())
}

fn names(storage: &SimStorage, part: &str) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.retain(|name| name.contains(part));
    names.sort();
    names
}

fn observe(storage: &SimStorage) -> State {
    let engine = open(storage).unwrap();
    (0..KEYS).filter_map(|n| Some((key(n), engine.get(&key(n)).unwrap()?.to_vec()))).collect()
}

/// Whether `found` is one of the prefixes, but for keys that were given up; then these are absent, or
/// as in the prefix.
#[track_caller]
fn assert_right(found: &State, states: &[State], repair: &Repair, what: &str) {
    let is_given_up = |key: &[u8]| repair.given_up.iter().any(|lost| lost.keys.contains(key));
    let fits = |state: &State| {
        (0..KEYS).map(key).all(|key| {
            let (found, right) = (found.get(&key), state.get(&key));
            found == right || (found.is_none() && is_given_up(&key))
        })
    };
    let allowed = if repair.log_cut.is_some() { states } else { &states[states.len() - 1..] };
    assert!(allowed.iter().rev().any(fits), "{what}: {:?}", repair.given_up);
}

#[test]
fn a_whole_database_is_left_alone() {
    let (storage, _) = sample(1);
    let calls = storage.call_count();
    assert_eq!(run(&storage, false).unwrap().outcome, RepairOutcome::NothingToDo);
    assert_eq!(storage.call_count(), calls);
}

#[test]
fn every_key_is_right_or_given_up_and_told() {
    let (mut done, mut lost, mut cut) = (0, 0, 0);
    for seed in 1..80 {
        let (storage, states) = sample(1 + seed % 4);
        let mut random = Random(seed);
        for _ in 0..=random.below(3) {
            let suffix = if random.below(4) == 0 { ".wal" } else { ".sst" };
            let files = names(&storage, suffix);
            let name = &files[random.below(files.len() as u64) as usize];
            let length = storage.read_file(name).unwrap().len() as u64;
            // Of a log block only the beginning means something.
            let offset = match suffix {
                ".wal" => random.below(length / 4096) * 4096 + random.below(120),
                _ => random.below(length),
            };
            storage.flip_bit(name, offset, random.below(8) as u32).unwrap();
        }
        let what = format!("seed {seed}");
        let before = names(&storage, "");
        let planned = run(&storage, true).unwrap();
        assert_eq!(names(&storage, ""), before, "{what}: a plan changes nothing");
        let repair = run(&storage, false).unwrap();
        assert_eq!(planned.given_up, repair.given_up, "{what}");
        match repair.outcome {
            RepairOutcome::NothingToDo => continue,
            RepairOutcome::Done => {}
            ref other => panic!("{what}: {other:?}"),
        }
        let set_aside = storage.at(Path::new(ASIDE)).list().unwrap();
        assert!(repair.set_aside.iter().all(|name| set_aside.contains(name)), "{what}");
        assert_eq!(run(&storage, false).unwrap().outcome, RepairOutcome::NothingToDo, "{what}");
        assert_right(&observe(&storage), &states, &repair, &what);
        done += 1;
        lost += usize::from(!repair.given_up.is_empty());
        cut += usize::from(repair.log_cut.is_some());
    }
    assert!(done > 30 && lost > 20 && cut > 1, "done {done}, lost {lost}, cut {cut}");
}

#[test]
fn an_old_value_does_not_come_back_where_a_newer_one_is_lost() {
    let storage = SimStorage::new(1);
    let engine = open(&storage).unwrap();
    (0..40).for_each(|number| engine.put(&key(number), b"old").unwrap());
    engine.compact().unwrap();
    (10..20).for_each(|number| engine.delete(&key(number)).unwrap());
    drop(engine);
    // Recovery writes the tombstones to a table of level 0.
    drop(open(&storage).unwrap());
    let newest = names(&storage, ".sst").pop().unwrap();
    storage.flip_bit(&newest, 20, 0).unwrap();
    let storage = storage.power_cut(Survival::Everything);
    let repair = run(&storage, false).unwrap();
    assert_eq!(repair.outcome, RepairOutcome::Done);
    assert_eq!((repair.given_up.len(), repair.dropped_entries), (1, 10));
    let found = observe(&storage);
    for number in 0..40 {
        let is_lost = (10..20).contains(&number);
        assert_eq!(found.contains_key(&key(number)), !is_lost, "{number}");
    }
}

#[test]
fn a_crash_at_any_call_leaves_the_old_state_or_the_new_one() {
    let (sample, states) = sample(2);
    let tables = names(&sample, ".sst");
    for table in [&tables[0], &tables[tables.len() - 1]] {
        sample.flip_bit(table, 700, 1).unwrap();
    }
    let damaged = sample.kill();
    damaged.flip_bit(CURRENT, 3, 0).unwrap();
    let missing = sample.kill();
    missing.remove(CURRENT).unwrap();
    for sample in [sample, damaged, missing] {
        crash_repairs(&sample, &states);
    }
}

/// Repairs with a crash at each call, and repairs what is left.
fn crash_repairs(sample: &SimStorage, states: &[State]) {
    for call in 1.. {
        let storage = sample.power_cut(Survival::Everything);
        storage.crash_at(call);
        let first = run(&storage, false);
        let was_down = storage.is_down();
        for survival in [Survival::Nothing, Survival::Everything, Survival::Random(call)] {
            let left = storage.power_cut(survival);
            let aside = format!("aside-again-{call}");
            let again = repair(&environment(&left), Path::new(&aside), false, &mut |_| ()).unwrap();
            let what = format!("call {call}, {survival:?}");
            let told = match again.outcome {
                RepairOutcome::Done => again,
                // It had been done before the crash.
                RepairOutcome::NothingToDo => {
                    run(&sample.power_cut(Survival::Everything), true).unwrap()
                }
                other => panic!("{what}: {other:?}"),
            };
            assert_right(&observe(&left), states, &told, &what);
        }
        if !was_down {
            assert_eq!(first.unwrap().outcome, RepairOutcome::Done);
            assert!(call > 10, "{call}");
            break;
        }
    }
}

#[test]
fn without_a_manifest_nothing_is_proved_and_nothing_changed() {
    let (sample, states) = sample(3);
    let manifest = names(&sample, "MANIFEST").remove(0);
    let is_refused = |storage: &SimStorage| {
        let calls = storage.call_count();
        let repair = run(storage, false).unwrap();
        assert_eq!(storage.call_count(), calls);
        matches!(repair.outcome, RepairOutcome::Refused(reason) if reason.contains("backup"))
    };
    let storage = sample.power_cut(Survival::Everything);
    storage.flip_bit(&manifest, 4096 + 74, 1).unwrap();
    assert!(is_refused(&storage));
    let storage = sample.power_cut(Survival::Everything);
    storage.remove("CURRENT").unwrap();
    storage.write_file("900000.sst", b"a table that the manifest does not know").unwrap();
    assert!(is_refused(&storage));
    storage.remove("900000.sst").unwrap();
    let repair = run(&storage, false).unwrap();
    assert_eq!(repair.outcome, RepairOutcome::Done);
    assert_right(&observe(&storage), &states, &repair, "the only manifest is the one");
}

/// A log of several segments, and no damage yet.
fn several_segments() -> (SimStorage, Vec<String>) {
    let storage = SimStorage::new(1);
    let engine = open(&storage).unwrap();
    for number in 0..KEYS {
        if engine.stats().wal_segments > 4 {
            break;
        }
        engine.put(&key(number), &[number as u8; 60]).unwrap();
    }
    drop(engine);
    let storage = storage.power_cut(Survival::Everything);
    let used = |name: &String| storage.read_file(name).unwrap()[..8] == *b"CHRNSJNL";
    let logs: Vec<String> = names(&storage, ".wal").into_iter().filter(used).collect();
    assert!(logs.len() >= 2, "{logs:?}");
    (storage, logs)
}

#[test]
fn all_that_stands_before_a_damaged_segment_is_kept() {
    let (storage, logs) = several_segments();
    let kept = |offset: u64| {
        let damaged = storage.kill();
        damaged.flip_bit(&logs[1], offset, 0).unwrap();
        let repair = run(&damaged, false).unwrap();
        assert!(repair.log_cut.is_some(), "{offset}");
        observe(&damaged)
    };
    // In the file's header, and in that of its first group.
    let (without_header, without_groups) = (kept(20), kept(4096 + 20));
    assert!(without_header.len() > 3);
    assert_eq!(without_header, without_groups);
}

#[test]
fn what_is_read_no_more_while_it_is_repaired_ends_the_repair() {
    let damaged = || {
        let (storage, states) = sample(1);
        let table = names(&storage, ".sst").remove(0);
        storage.flip_bit(&table, 100, 0).unwrap();
        (storage, states)
    };
    let (storage, _) = damaged();
    let plan = run(&storage, true).unwrap();
    let examined = storage.read_count();
    let mut ended = 0;
    for call in 1.. {
        let (storage, states) = damaged();
        storage.fail_read(examined + call, FaultKind::Io, Times::Once);
        let outcome = run(&storage, false);
        storage.clear_faults();
        if storage.fault_count() == 0 {
            break;
        }
        let done = matches!(&outcome, Ok(repair) if repair.outcome == RepairOutcome::Done);
        ended += usize::from(!done);
        if !done {
            run(&storage, false).unwrap();
        }
        // No more was given up than had been told of.
        assert_right(&observe(&storage), &states, &plan, &format!("read {call}"));
    }
    assert!(ended > 10, "{ended}");
}

#[test]
fn what_was_set_aside_of_the_log_is_not_used_again() {
    let (storage, logs) = several_segments();
    storage.flip_bit(&logs[1], 20, 0).unwrap();
    let before = storage.read_file(&logs[0]).unwrap();
    run(&storage, false).unwrap();
    let engine = open(&storage).unwrap();
    for number in 0..KEYS {
        engine.put(&key(number), b"after the repair").unwrap();
    }
    assert!(storage.at(Path::new(ASIDE)).read_file(&logs[0]).unwrap() == before);
}
