//! Idle logs are sealed, and no two files share an epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use chronos::engine::{Engine, Environment, Error, Options, Scheduling, SystemClock};

use crate::support::{Got, PATIENCE, open, tiny, world};

/// The kinds of the groups in the log of a database that has one segment in use.
fn groups(storage: &SimStorage) -> Vec<u8> {
    let names = storage.list().unwrap();
    let logs = names.iter().filter(|name| name.strip_suffix(".wal").is_some());
    let blocks = |name| storage.read_file(name).unwrap().chunks(4096).map(<[u8]>::to_vec).collect();
    let blocks = logs.flat_map(|name| -> Vec<Vec<u8>> { blocks(name) });
    blocks.filter(|block| block.starts_with(b"CGRP")).map(|block| block[4]).collect()
}

/// Waits until the log ends in a seal.
fn is_sealed_soon(storage: &SimStorage) -> bool {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if groups(storage).last() == Some(&2) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn an_idle_log_is_sealed_whoever_wrote_its_last_group() {
    let storage = SimStorage::new(1);
    let environment = Environment { clock: Arc::new(SystemClock), ..world(storage.clone(), 1) };
    let (engine, _) = Engine::open(environment, tiny(Scheduling::Threads)).unwrap();
    engine.put(b"key", b"through the log thread").unwrap();
    assert!(is_sealed_soon(&storage), "{:?}", groups(&storage));
    let mut session = engine.session();
    session.put(b"key", b"in place");
    session.submit_quietly();
    assert!(engine.commit_in_place());
    assert!(is_sealed_soon(&storage), "{:?}", groups(&storage));
}

#[test]
fn every_use_of_a_file_has_an_epoch_of_its_own() {
    let storage = SimStorage::new(1);
    let mut epochs = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for round in 0..3 {
        let engine = open(storage.clone(), round).unwrap();
        for number in 0..150_u32 {
            engine.put(&number.to_le_bytes(), &[0; 900]).unwrap();
            for name in storage.list().unwrap() {
                let bytes = storage.read_file(&name).unwrap();
                let is_used = bytes.starts_with(b"CHRNSJNL");
                // A recycled segment keeps its old header, with its old id, until it is used again.
                if is_used {
                    ids.insert(bytes[16..24].to_vec());
                    epochs.insert(bytes[24..32].to_vec());
                }
            }
        }
        engine.close().unwrap();
    }
    assert!(ids.len() > 10, "{} journals", ids.len());
    assert_eq!(epochs.len(), ids.len());
}

/// The epochs of the journals in use, by id.
fn epochs(storage: &SimStorage) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let files = storage.list().unwrap().into_iter();
    let files = files.map(|name| storage.read_file(&name).unwrap());
    let used = files.filter(|bytes| bytes.starts_with(b"CHRNSJNL"));
    used.map(|bytes| (bytes[16..24].to_vec(), bytes[24..32].to_vec())).collect()
}

#[test]
fn a_segment_that_was_started_in_vain_is_started_anew() {
    let storage = SimStorage::new(1);
    open(storage.clone(), 1).unwrap().put(b"key", b"value").unwrap();
    let log = epochs(&storage);
    let mut started_anew = 0;
    for call in 1.. {
        let survivor = storage.power_cut(Survival::Everything);
        survivor.fail_call(call, FaultKind::NoSpace, Times::Once);
        if open(survivor.clone(), 2).is_ok() {
            break;
        }
        let survivor = survivor.kill();
        let before = epochs(&survivor);
        let engine = open(survivor.clone(), 3).unwrap();
        assert_eq!(engine.got(b"key"), Some(b"value".to_vec()));
        let after = epochs(&survivor);
        for (id, epoch) in before.iter().filter(|(id, _)| !log.contains_key(*id)) {
            assert_ne!(after.get(id), Some(epoch), "no room at call {call}");
            started_anew += usize::from(after.contains_key(id));
        }
    }
    assert!(started_anew > 0);
}

#[test]
fn a_log_over_many_segments_misses_each_of_them() {
    // The memtable holds all of it: every segment is needed.
    let options = Options { memory_bytes: 4 << 20, ..tiny(Scheduling::Manual) };
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    for number in 0..60_u32 {
        engine.put(&number.to_le_bytes(), &[0; 3_900]).unwrap();
    }
    drop(engine);
    let storage = storage.kill();
    let names = storage.list().unwrap();
    let used = |name: &&String| storage.read_file(name).unwrap()[..8] == *b"CHRNSJNL";
    let logs = names.iter().filter(|name| name.contains(".wal")).filter(used);
    let logs: Vec<&String> = logs.collect();
    assert!(logs.len() >= 4, "{logs:?}");
    let last = logs.last().copied();
    for name in logs {
        let removed = storage.power_cut(Survival::Everything);
        removed.remove(name).unwrap();
        let error = open(removed, 2).err().expect("a segment is missing");
        assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}");
        let blank = storage.power_cut(Survival::Everything);
        let bytes = storage.read_file(name).unwrap();
        blank.write_file(name, &vec![0; bytes.len()]).unwrap();
        // The last one looks as if it had been prepared and a crash had come before its use.
        assert_eq!(open(blank, 2).is_err(), Some(name) != last, "{name} is blank");
    }
}
