//! Changes of the set of tables that fail half-way or are damaged afterwards.

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use chronos::engine::{Engine, Error, Health, Lookup, TableRead};

use crate::support::{State, key, observe, open, write};

const KEYS: u64 = 8;

/// Some keys, one of them in a table and the rest in memory.
fn sample(storage: &SimStorage) -> (Engine, State) {
    let engine = open(storage.clone(), 1).unwrap();
    let mut state = State::new();
    for number in 0..KEYS {
        let operation = (key(number), Some(vec![number as u8; 700]));
        write(&engine, &operation).unwrap();
        crate::support::apply(&mut state, &operation);
        if number == 0 {
            engine.compact().unwrap();
        }
    }
    (engine, state)
}

fn tables(engine: &Engine) -> [usize; 2] {
    let levels = engine.stats().levels;
    [levels[0].tables, levels[6].tables]
}

/// Entries in the last level.
fn entries(engine: &Engine) -> u64 {
    engine.stats().levels[6].entries
}

#[test]
fn what_is_installed_is_in_the_manifest() {
    for call in 1.. {
        let storage = SimStorage::new(call);
        let (engine, state) = sample(&storage);
        storage.fail_call(storage.call_count() + call, FaultKind::Io, Times::Once);
        if engine.compact().is_ok() {
            break;
        }
        assert!(matches!(engine.health(), Health::Failed { .. }), "call {call}");
        let seen = (tables(&engine), entries(&engine));
        assert!(observe(&engine, KEYS).unwrap() == state, "call {call}");
        drop(engine);
        let survivor = storage.power_cut(Survival::Nothing);
        let engine = open(survivor, 2).unwrap();
        assert!(entries(&engine) >= seen.1, "call {call}: {seen:?}, then {:?}", tables(&engine));
        assert!(observe(&engine, KEYS).unwrap() == state, "call {call}");
    }
}

/// Merges until that goes well, with calls failing for lack of room on the way. Returns how often it
/// did not.
fn merge_with_faults(first: u64, second: u64) -> u32 {
    let storage = SimStorage::new(first);
    let (engine, state) = sample(&storage);
    let mut failures = 0;
    for call in [first, second, u64::MAX >> 1] {
        storage.fail_call(storage.call_count() + call, FaultKind::NoSpace, Times::Once);
        let outcome = engine.compact();
        storage.clear_faults();
        match outcome {
            Ok(()) => break,
            Err(error) => assert!(error.is_no_space(), "{error}"),
        }
        failures += 1;
    }
    let what = format!("no room at call {first}, then at {second}");
    assert_eq!((tables(&engine)[0], entries(&engine)), (0, KEYS), "{what}");
    engine.put(&key(0), b"after").unwrap();
    engine.compact().unwrap();
    assert_eq!(table_files(&storage).len(), tables(&engine).iter().sum::<usize>(), "{what}");
    let names = storage.list().unwrap();
    let manifests = names.iter().filter(|name| name.starts_with("MANIFEST"));
    assert_eq!(manifests.count(), 1, "{what}: {names:?}");
    let mut state = state;
    state.insert(key(0), b"after".to_vec());
    assert!(observe(&engine, KEYS).unwrap() == state, "{what}");
    let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
    assert!(observe(&engine, KEYS).unwrap() == state, "{what}, reopened");
    assert_eq!((tables(&engine)[0], entries(&engine)), (0, KEYS), "{what}, reopened");
    failures
}

#[test]
fn a_change_that_found_no_room_is_made_again_from_a_sound_manifest() {
    for first in 1.. {
        if merge_with_faults(first, u64::MAX >> 1) == 0 {
            break;
        }
        for second in 1.. {
            if merge_with_faults(first, second) < 2 {
                break;
            }
        }
    }
}

#[test]
fn tables_of_a_job_that_found_no_room_are_removed() {
    let storage = SimStorage::new(1);
    let (engine, _) = sample(&storage);
    storage.set_capacity(Some(0));
    assert!(matches!(engine.compact(), Err(error) if error.is_no_space()));
    let names = storage.list().unwrap();
    let files = names.iter().filter(|name| name.strip_suffix(".sst").is_some()).count();
    assert_eq!(files, tables(&engine).iter().sum::<usize>(), "{names:?}");
}

fn table_files(storage: &SimStorage) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.retain(|name| name.strip_suffix(".sst").is_some());
    names
}

/// Lookups of all keys that have to be finished elsewhere.
fn deferred(engine: &Engine) -> Vec<TableRead> {
    let session = engine.session();
    let reads = (0..KEYS).filter_map(|number| match session.lookup(&key(number)).unwrap() {
        Lookup::Deferred(read) => Some(read),
        _ => None,
    });
    reads.collect()
}

#[test]
fn a_merged_table_stays_until_its_last_reader_is_done() {
    let storage = SimStorage::new(1);
    let (engine, state) = sample(&storage);
    engine.compact().unwrap();
    storage.set_cold(true);
    let before = table_files(&storage);
    let reads = deferred(&engine);
    assert!(!reads.is_empty());
    for round in 0..2_u8 {
        for number in 0..KEYS {
            engine.put(&key(number), &[round; 500]).unwrap();
        }
        engine.compact().unwrap();
    }
    let both = table_files(&storage);
    assert!(before.iter().all(|name| both.contains(name)), "{before:?}, {both:?}");
    for (read, number) in reads.iter().zip(0..) {
        let value = read.run().unwrap().map(|record| record.value.to_vec());
        assert_eq!(value.as_ref(), state.get(&key(number)), "as it was when it was looked up");
    }
    let calls = (storage.call_count(), storage.read_count());
    drop(reads);
    assert_eq!((storage.call_count(), storage.read_count()), calls, "a drop does no I/O");
    engine.run_background();
    let after = table_files(&storage);
    assert!(before.iter().all(|name| !after.contains(name)), "{before:?}, {after:?}");
    assert_eq!(after.len(), tables(&engine).iter().sum::<usize>());
}

#[test]
fn a_table_that_cannot_be_removed_is_removed_at_the_next_open() {
    let named = |engine: &Engine| tables(engine).iter().sum::<usize>();
    let mut met = 0;
    for call in 1..60 {
        let storage = SimStorage::new(1);
        let (engine, state) = sample(&storage);
        // The same again, so that tables overlap: what overlaps nothing is moved.
        engine.put(&key(0), &[0; 700]).unwrap();
        storage.fail_call(storage.call_count() + call, FaultKind::Io, Times::Once);
        if engine.compact().is_err() || table_files(&storage).len() == named(&engine) {
            continue;
        }
        met += 1;
        assert!(matches!(engine.health(), Health::Ok));
        drop(engine);
        let survivor = storage.power_cut(Survival::Everything);
        let engine = open(survivor.clone(), 2).unwrap();
        assert_eq!(table_files(&survivor).len(), named(&engine));
        assert!(observe(&engine, KEYS).unwrap() == state);
    }
    assert!(met > 0, "no removal failed");
}

#[test]
fn too_many_open_files_pass_by() {
    let storage = SimStorage::new(1);
    let (engine, state) = sample(&storage);
    for call in 1..12 {
        engine.put(&key(0), &[0; 700]).unwrap();
        let fault = FaultKind::TooManyFiles;
        storage.fail_call(storage.call_count() + call, fault, Times::Once);
        storage.fail_read(storage.read_count() + call, fault, Times::Once);
        let outcome = engine.compact();
        storage.clear_faults();
        if let Err(error) = outcome {
            assert!(error.is_out_of_descriptors(), "call {call}: {error}");
        }
        assert!(matches!(engine.health(), Health::Ok), "call {call}");
        engine.compact().unwrap();
        assert!(observe(&engine, KEYS).unwrap() == state);
        engine.put(&key(0), &[0; 700]).unwrap();
    }
}

/// The offset of the last group of this journal that holds data.
fn last_data_group(bytes: &[u8]) -> u64 {
    let blocks = bytes.chunks(4096).enumerate();
    let mut data = blocks.filter(|(_, block)| block.starts_with(b"CGRP\x01\0\0\0"));
    data.next_back().unwrap().0 as u64 * 4096
}

/// Opens what a power cut leaves after a bit of the last data group of this file was flipped.
fn damage_last_group(storage: &SimStorage, is_it: impl Fn(&str, &[u8]) -> bool) {
    let survivor = storage.power_cut(Survival::Nothing);
    let files = survivor.list().unwrap().into_iter();
    let mut files = files.map(|name| (survivor.read_file(&name).unwrap(), name));
    let (bytes, name) = files.find(|(bytes, name)| is_it(name, bytes)).unwrap();
    survivor.flip_bit(&name, last_data_group(&bytes) + 73, 1).unwrap();
    let error = open(survivor, 2).err().expect("the damage is seen");
    assert!(matches!(&error, Error::Corrupt { file, .. } if *file == name), "{error}");
}

#[test]
fn damage_to_the_last_edit_is_never_taken_for_a_torn_one() {
    let is_manifest = |name: &str, _: &[u8]| name.starts_with("MANIFEST-");
    let storage = SimStorage::new(1);
    drop(open(storage.clone(), 1).unwrap());
    damage_last_group(&storage, is_manifest);
    let storage = SimStorage::new(1);
    drop(sample(&storage));
    damage_last_group(&storage, is_manifest);
}

#[test]
fn damage_to_the_last_write_before_a_clean_end_is_never_taken_for_a_torn_one() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.put(b"key", b"value").unwrap();
    engine.close().unwrap();
    drop(engine);
    let is_used = |name: &str, bytes: &[u8]| name.contains(".wal") && bytes.starts_with(b"CHRN");
    damage_last_group(&storage, is_used);
}

/// Takes a value in without a log write.
fn ingest(engine: &Engine, value: &[u8]) -> chronos::engine::Result<()> {
    let mut ingest = engine.ingest();
    ingest.put(&key(0), value)?;
    ingest.finish()
}

#[test]
fn an_ingestion_that_was_refused_for_want_of_room_does_not_come_back() {
    let mut refused = 0;
    for kind in [FaultKind::NoSpace, FaultKind::Quota] {
        for call in 1.. {
            let storage = SimStorage::new(call);
            let (engine, state) = sample(&storage);
            storage.fail_call(storage.call_count() + call, kind, Times::Once);
            let Err(error) = ingest(&engine, b"ingested") else { break };
            if matches!(engine.health(), Health::Failed { .. }) {
                continue;
            }
            assert!(error.is_no_space(), "call {call}: {error}");
            refused += 1;
            for survival in [Survival::Nothing, Survival::Everything] {
                let engine = open(storage.power_cut(survival), 2).unwrap();
                let found = observe(&engine, KEYS).unwrap();
                assert!(found == state, "call {call}, {kind:?}, {survival:?}: it came back");
            }
        }
    }
    assert!(refused > 4, "{refused}");
}

#[test]
fn a_manifest_that_was_cut_is_refused_and_named() {
    let storage = SimStorage::new(1);
    let (engine, _) = sample(&storage);
    ingest(&engine, b"ingested").unwrap();
    drop(engine);
    let storage = storage.kill();
    let names = storage.list().unwrap();
    let name = names.iter().find(|name| name.starts_with("MANIFEST")).unwrap();
    let length = storage.read_file(name).unwrap().len() as u64;
    for cut in (0..length).step_by(512) {
        let survivor = storage.kill();
        survivor.truncate_file(name, cut).unwrap();
        match open(survivor, 2) {
            Err(Error::Corrupt { file, .. }) => assert_eq!(&file, name, "cut at {cut}"),
            Err(error) => panic!("cut at {cut}: {error}"),
            Ok(_) => panic!("a cut at {cut} of {length} goes unnoticed"),
        }
    }
}
