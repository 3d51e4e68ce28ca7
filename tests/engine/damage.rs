//! Damaged, missing and foreign files: the right answer or a named error, never a wrong value.

use chronos::engine::storage::Storage;
use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Engine, Error, Health, Scheduling};

use crate::support::{Got, Random, State, apply, observe, open, random_write, tiny, world, write};

const KEYS: u64 = 16;

/// A database with every kind of file: tables on two levels, a manifest, a log with writes, sealed.
fn sample() -> (SimStorage, State) {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    let mut state = State::new();
    let mut random = Random(3);
    for serial in 0.. {
        let operation = random_write(&mut random, KEYS, serial);
        write(&engine, &operation).unwrap();
        apply(&mut state, &operation);
        if serial == 100 {
            engine.compact().unwrap();
        }
        let levels = engine.stats().levels;
        if serial > 130 && levels[0].tables > 0 && levels[6].tables > 0 {
            break;
        }
    }
    drop(engine);
    (storage.power_cut(Survival::Everything), state)
}

fn files(storage: &SimStorage) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.sort();
    names
}

#[test]
fn a_flipped_bit_is_the_right_answer_or_an_error() {
    let (storage, state) = sample();
    // The last log group is not sealed here: damage to it looks like a torn write, and it goes.
    let mut before_last = None;
    let mut random = Random(9);
    let (mut right, mut refused) = (0, 0);
    let files: Vec<(String, u64)> = files(&storage)
        .into_iter()
        .map(|name| (storage.read_file(&name).unwrap().len() as u64, name))
        .filter_map(|(length, name)| (length > 0).then_some((name, length)))
        .collect();
    for _ in 0..1_500 {
        let (name, length) = &files[random.below(files.len() as u64) as usize];
        let (offset, bit) = (random.below(*length), random.below(8) as u32);
        let damaged = storage.power_cut(Survival::Everything);
        damaged.flip_bit(name, offset, bit).unwrap();
        let what = format!("bit {bit} at {offset} of {name}");
        match Engine::open(world(damaged, 2), tiny(Scheduling::Manual)) {
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(error) => panic!("{what}: {error}"),
            Ok((engine, recovery)) => match observe(&engine, KEYS) {
                Ok(found) if found == state => right += 1,
                Err(Error::Corrupt { .. }) => refused += 1,
                Ok(found) => {
                    assert!(recovery.torn.is_some(), "{what}: wrong and silent");
                    assert_eq!(before_last.get_or_insert(found.clone()), &found, "{what}");
                }
                Err(error) => panic!("{what}: {error}"),
            },
        }
    }
    assert!(right > 100 && refused > 100, "right {right}, refused {refused}");
}

#[test]
fn a_missing_file_is_named_and_nothing_is_changed() {
    let (storage, state) = sample();
    for name in files(&storage) {
        let damaged = storage.power_cut(Survival::Everything);
        damaged.remove(&name).unwrap();
        let calls = damaged.call_count();
        match open(damaged.clone(), 2) {
            // Only what holds no data can go: a segment prepared ahead.
            Ok(engine) => {
                assert!(observe(&engine, KEYS).unwrap() == state, "{name} was not missed");
            }
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. } | Error::Io { .. }), "{error}");
                assert!(error.to_string().contains(&name), "{name}: {error}");
                assert_eq!(damaged.call_count(), calls, "{name}: a refused database was changed");
            }
        }
    }
}

#[test]
fn a_log_that_was_cut_is_refused_and_named() {
    let (storage, state) = sample();
    let mut refused = 0;
    for name in files(&storage).into_iter().filter(|name| name.strip_suffix(".wal").is_some()) {
        let length = storage.read_file(&name).unwrap().len() as u64;
        for cut in (0..length).step_by(512).chain([1, 75, length - 1]) {
            let damaged = storage.power_cut(Survival::Everything);
            damaged.truncate_file(&name, cut).unwrap();
            match open(damaged, 2) {
                // It had been prepared ahead, and held nothing.
                Ok(engine) => {
                    assert!(observe(&engine, KEYS).unwrap() == state, "{name} cut to {cut}");
                }
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                    assert!(error.to_string().contains(&name), "{name} cut to {cut}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn log_segments_that_changed_places_are_refused() {
    let (storage, state) = sample();
    let is_segment = |name: &String| name.strip_suffix(".wal").is_some();
    let segments: Vec<String> = files(&storage).into_iter().filter(is_segment).collect();
    assert!(segments.len() > 1, "one that is in use, and one prepared ahead");
    for (at, one) in segments.iter().enumerate() {
        for other in &segments[at + 1..] {
            let damaged = storage.power_cut(Survival::Everything);
            let bytes = [one, other].map(|name| damaged.read_file(name).unwrap());
            damaged.write_file(one, &bytes[1]).unwrap();
            damaged.write_file(other, &bytes[0]).unwrap();
            match open(damaged, 2) {
                Ok(engine) => assert!(observe(&engine, KEYS).unwrap() == state, "{one}, {other}"),
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn damage_in_a_table_fails_reads_of_its_block_only() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    for number in 0..40_u32 {
        engine.put(format!("key-{number:04}").as_bytes(), &[number as u8; 1_000]).unwrap();
    }
    engine.compact().unwrap();
    engine.close().unwrap();
    drop(engine);
    let storage = storage.kill();
    let table =
        files(&storage).into_iter().find(|name| name.strip_suffix(".sst").is_some()).unwrap();
    storage.flip_bit(&table, 2_000, 3).unwrap();
    let engine = open(storage, 2).unwrap();
    let error = engine.get(b"key-0001").unwrap_err();
    assert!(matches!(&error, Error::Corrupt { file, .. } if *file == table), "{error}");
    assert_eq!(engine.got(b"key-0039"), Some(vec![39; 1_000]), "other blocks are read");
    assert!(matches!(engine.health(), Health::Corrupt { .. }));
    engine.put(b"key-0001", b"new").unwrap();
    assert_eq!(engine.got(b"key-0001"), Some(b"new".to_vec()), "writes go on");
    assert!(
        matches!(engine.compact(), Err(Error::Corrupt { .. })),
        "the damage is not merged away"
    );
    assert_eq!(engine.got(b"key-0001"), Some(b"new".to_vec()));
}

#[test]
fn damage_that_a_merge_meets_is_shown() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.put(b"key", &[1; 1_000]).unwrap();
    engine.compact().unwrap();
    engine.put(b"key", b"new").unwrap();
    let table = files(&storage).into_iter().find(|name| name.strip_suffix(".sst").is_some());
    storage.flip_bit(&table.unwrap(), 10, 1).unwrap();
    assert!(matches!(engine.health(), Health::Ok), "nobody has looked");
    assert!(matches!(engine.compact(), Err(Error::Corrupt { .. })));
    assert!(matches!(engine.health(), Health::Corrupt { .. }));
    assert_eq!(engine.got(b"key"), Some(b"new".to_vec()));
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let storage = || world(DiskStorage::new(directory.path()).unwrap(), 1);
    let (engine, _) = Engine::open(storage(), tiny(Scheduling::Threads)).unwrap();
    let second = Engine::open(storage(), tiny(Scheduling::Threads)).err();
    assert!(matches!(second, Some(Error::Locked)), "{second:?}");
    engine.close().unwrap();
    assert!(Engine::open(storage(), tiny(Scheduling::Threads)).is_ok());
}

#[test]
fn files_of_others_are_left_alone() {
    let (storage, state) = sample();
    for name in ["notes.txt", "1.sst", "MANIFEST-x", "CURRENT.bak"] {
        storage.write_file(name, b"not ours").unwrap();
    }
    let engine = open(storage.clone(), 2).unwrap();
    assert!(observe(&engine, KEYS).unwrap() == state);
    engine.compact().unwrap();
    for name in ["notes.txt", "1.sst", "MANIFEST-x", "CURRENT.bak"] {
        assert_eq!(storage.read_file(name).unwrap(), b"not ours", "{name}");
    }
}
