//! What is admitted finds its room, whatever goes on between the admission and the log.

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Admission, Engine, Error, Health, Options, Scheduling};

use crate::support::{Got, in_time, open, tiny, world};

/// Stages a write if it is admitted, and submits it for somebody to commit.
fn submit(engine: &Engine, key: &[u8], value_bytes: usize) -> bool {
    let mut session = engine.session();
    let ready = matches!(session.admit(key.len(), value_bytes), Admission::Ready);
    if ready {
        session.put(key, &vec![b'.'; value_bytes]);
    }
    session.submit_quietly();
    ready
}

#[test]
fn an_admitted_write_fits_also_if_the_group_before_it_goes_alone() {
    let (mut ready, mut stalled) = (0, 0);
    // Both fill their last block by a few bytes, and there is no other segment to go on in.
    for value_bytes in (22_000..29_000).step_by(100) {
        let engine = open(SimStorage::new(1), 1).unwrap();
        assert!(submit(&engine, b"first", 24_510));
        let mut session = engine.session();
        if !matches!(session.admit(6, value_bytes), Admission::Ready) {
            stalled += 1;
            continue;
        }
        session.put(b"second", &vec![b'.'; value_bytes]);
        std::thread::scope(|scope| scope.spawn(|| engine.commit_in_place()).join().unwrap());
        session.submit_quietly();
        assert!(engine.commit_in_place(), "{value_bytes}: {:?}", engine.health());
        assert!(matches!(engine.health(), Health::Ok));
        ready += 1;
    }
    assert!(ready > 0 && stalled > 0, "{ready} ready, {stalled} stalled");
}

#[test]
fn a_blocking_write_commits_what_is_in_its_way() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    assert!(submit(&engine, b"first", 30_000));
    let writer = engine.clone();
    in_time("a put", move || writer.put(b"second", &vec![b'.'; 30_000])).unwrap();
    assert_eq!(engine.durable_seq(), 2);
}

#[test]
fn a_closed_engine_leaves_the_directory_alone() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.run_background();
    engine.put(b"key", b"value").unwrap();
    storage.set_capacity(Some(0));
    assert!(engine.close().is_err(), "there is no room to flush");
    storage.set_capacity(None);
    // Another process may have it by now.
    let calls = storage.call_count();
    assert!(engine.close().is_err());
    assert!(engine.compact().is_err());
    engine.run_background();
    assert!(matches!(engine.put(b"key", b"late"), Err(Error::Closed)));
    assert_eq!(storage.call_count(), calls);
    assert_eq!(engine.got(b"key"), Some(b"value".to_vec()), "lookups go on");
}

#[test]
fn writes_wait_for_the_flush_of_the_memtables_before_them() {
    let options = Options { wal_segment_bytes: 4 << 20, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
    let mut written = 0;
    while submit(&engine, b"key", 900) {
        written += 1;
        assert!(written < 1_000, "nothing bounds what memory holds");
    }
    assert_eq!(engine.stats().immutable_memtables, 2, "{written} writes");
    engine.run_background();
    assert!(submit(&engine, b"key", 900));
}

#[test]
fn writes_wait_for_the_merge_of_the_tables_before_them() {
    let storage = SimStorage::new(1);
    let large = Options { memory_bytes: 4 << 20, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(storage.clone(), 1), large).unwrap();
    for number in 0..60_u32 {
        // Each few of these span most of the keys, so their tables overlap.
        engine.put(&(number * 37 % 60).to_be_bytes(), &[b'.'; 3_900]).unwrap();
    }
    drop(engine);
    // With less memory, the replayed log makes many tables.
    let engine = open(storage.kill(), 2).unwrap();
    assert!(engine.stats().levels[0].tables >= 12, "{:?}", engine.stats().levels);
    assert!(!submit(&engine, b"key", 1));
    engine.run_background();
    assert!(submit(&engine, b"key", 1));
}

#[test]
fn a_flush_commits_what_it_writes_first() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    engine.run_background();
    while engine.stats().immutable_memtables == 0 {
        assert!(submit(&engine, b"key", 900));
    }
    assert_eq!(engine.durable_seq(), 0, "nobody has committed yet");
    engine.run_background();
    assert_eq!(engine.stats().levels[0].tables, 1);
    assert!(engine.durable_seq() > 0, "a table holds what the log may lose");
}
