//! What an open makes, and what it leaves alone.

use std::fs;

use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::{Engine, Error, Options, Scheduling};

use crate::support::{Got, tiny, world};

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
