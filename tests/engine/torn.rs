//! What a crash left half-written at the end of the log: dropped, never acknowledged, kept as a copy.

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Engine, Recovery, Result, Scheduling};

use crate::support::{Got, open, tiny, world};

fn reopen(storage: SimStorage) -> Result<(Engine, Recovery)> {
    Engine::open(world(storage, 2), tiny(Scheduling::Manual))
}

/// A database with a spare segment whose last group is torn.
fn torn() -> SimStorage {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.run_background();
    engine.put(b"key", b"kept").unwrap();
    storage.crash_at(storage.call_count() + 1);
    engine.put(b"key", &[b'x'; 3_000]).unwrap_err();
    // Some seed tears in the middle of the five sectors of that group.
    (0..100)
        .map(|seed| storage.power_cut(Survival::Torn(seed)))
        .find(|storage| reopen(storage.power_cut(Survival::Everything)).unwrap().1.torn.is_some())
        .map(|storage| storage.power_cut(Survival::Everything))
        .unwrap()
}

#[test]
fn a_torn_tail_is_reported_and_its_bytes_are_kept() {
    let storage = torn();
    let (engine, recovery) = reopen(storage.clone()).unwrap();
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
    let torn = recovery.torn.unwrap();
    let copy = storage.read_file(&torn.copy).unwrap();
    assert!(copy.starts_with(b"CGRP") && copy.len() > 500, "{} bytes", copy.len());
}

#[test]
fn the_copy_of_a_torn_tail_survives_whatever_becomes_of_the_recovery_that_made_it() {
    let torn = torn();
    for call in 1.. {
        let storage = torn.power_cut(Survival::Everything);
        storage.crash_at(call);
        let opened = reopen(storage.clone());
        if opened.is_ok() && !storage.is_down() {
            break;
        }
        drop(opened);
        let storage = storage.power_cut(Survival::Nothing);
        let (engine, recovery) = reopen(storage.clone()).unwrap();
        assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
        let kept = storage.list().unwrap().iter().any(|name| name.contains(".torn-"));
        assert!(kept, "crash at call {call}: neither kept nor kept anew: {:?}", recovery.torn);
    }
}
