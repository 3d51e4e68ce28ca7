//! What an open makes, and what it leaves alone.

use std::fs;
use std::path::Path;

use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Batch, Engine, Error, Expected, Options, Result, Scheduling, WriteOptions};

use crate::support::{Got, State, key, observe, open, tiny, world};

/// An open that creates nothing.
fn existing() -> Options {
    Options { create_if_missing: false, ..tiny(Scheduling::Manual) }
}

#[test]
fn without_leave_to_create_nothing_is_made() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("typo");
    let open =
        |options| Engine::open(world(DiskStorage::new(&path).unwrap(), 1), options).map(|(e, _)| e);
    assert!(matches!(open(existing()), Err(Error::NoDatabase)));
    assert!(!path.exists(), "not even the directory");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("notes.txt"), b"mine").unwrap();
    assert!(matches!(open(existing()), Err(Error::NoDatabase)));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "no lock file either");
    let engine = open(tiny(Scheduling::Manual)).unwrap();
    engine.put(b"key", b"value").unwrap();
    engine.close().unwrap();
    drop(engine);
    assert_eq!(open(existing()).unwrap().got(b"key"), Some(b"value".to_vec()));
    // A database that lost its CURRENT is damaged, and not missing.
    fs::remove_file(path.join("CURRENT")).unwrap();
    assert!(matches!(open(existing()), Err(Error::Corrupt { .. })));
}

/// Some keys, in tables and in the log.
fn sample(engine: &Engine) -> State {
    let mut state = State::new();
    for number in 0..120 {
        let (key, value) = (key(number % 50), vec![number as u8; 300]);
        engine.put(&key, &value).unwrap();
        state.insert(key, value);
        if number == 60 {
            engine.compact().unwrap();
        }
    }
    engine.delete_range(key(40)..key(45)).unwrap();
    state.retain(|key, _| !(*b"key-0040"..*b"key-0045").contains(&key[..].try_into().unwrap()));
    state
}

#[track_caller]
fn is_read_only(engine: &Engine) {
    let refused = |outcome: Result<()>| assert!(matches!(outcome, Err(Error::ReadOnly)));
    let mut batch = Batch::new();
    batch.put(b"key", b"value").delete_range(..);
    refused(engine.put(b"key", b"value"));
    refused(engine.delete(b"key"));
    refused(engine.write(&batch, WriteOptions::default()));
    refused(engine.put_if(b"key", b"value", Expected::Absent).map(drop));
    refused(engine.write_if(&batch, WriteOptions::default()).map(drop));
    refused(engine.compact());
    refused(engine.checkpoint(Path::new("copy")));
    refused(engine.ingest().put(b"key", b"value"));
    assert_eq!(engine.got(b"key"), None);
}

#[test]
fn what_is_opened_to_be_read_is_not_changed() {
    let storage = SimStorage::new(1);
    let state = sample(&open(storage.clone(), 1).unwrap());
    let storage = storage.kill();
    let before = storage.fingerprint();
    let read = || Engine::open_read_only(world(storage.clone(), 2), tiny(Scheduling::Threads));
    let (engine, recovery) = read().unwrap();
    assert!(recovery.writes > 0, "something was in the log only");
    assert!(observe(&engine, 60).unwrap() == state);
    let scanned: State = engine.scan(..).collect::<Result<_>>().unwrap();
    assert!(scanned == state);
    let snapshot = engine.snapshot();
    is_read_only(&engine);
    assert!(snapshot.scan(..).reversed().count() == state.len());
    engine.run_background();
    engine.close().unwrap();
    drop((engine, snapshot));
    assert_eq!((storage.call_count(), storage.fingerprint()), (0, before));
    assert!(observe(&open(storage.clone(), 3).unwrap(), 60).unwrap() == state);
}

#[test]
fn many_may_read_a_directory_and_nobody_writes_meanwhile() {
    let room = tempfile::tempdir().unwrap();
    let world = || world(DiskStorage::new(&room.path().join("data")).unwrap(), 1);
    let read = || Engine::open_read_only(world(), Options::default());
    let write = || Engine::open(world(), tiny(Scheduling::Threads));
    assert!(matches!(read(), Err(Error::NoDatabase)));
    assert!(!room.path().join("data").exists());
    let state = sample(&write().unwrap().0);
    let names = || {
        let entries = fs::read_dir(room.path().join("data")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let (one, two) = (read().unwrap().0, read().unwrap().0);
    for engine in [&one, &two] {
        assert!(observe(engine, 60).unwrap() == state);
    }
    assert!(matches!(write(), Err(Error::Locked)));
    drop(one);
    assert!(matches!(write(), Err(Error::Locked)));
    drop(two);
    assert_eq!(names(), before);
    fs::remove_file(room.path().join("data/LOCK")).unwrap();
    assert!(observe(&read().unwrap().0, 60).unwrap() == state);
    assert!(!room.path().join("data/LOCK").exists());
    let writing = write().unwrap();
    assert!(matches!(read(), Err(Error::Locked)));
    drop(writing);
}
