//! Ingestions: their place among the writes beside them, before and behind a power cut, and their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use chronos::engine::{Conditional, Durability, Engine, Error, Expected, Options, Scheduling};

use crate::hooked::{Call, Hooked};
use crate::support::{Got, PATIENCE, UNSYNCED, in_time, key, open, tiny, world};

/// What is ingested has a number that no later write gets, whatever the log lost.
#[test]
fn a_write_after_an_ingestion_is_newer_whatever_a_power_cut_took() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        for written in [0_u64, 1, 100] {
            let storage = SimStorage::new(1);
            let options = Options { durability, ..tiny(Scheduling::Manual) };
            let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
            for number in 0..written {
                engine.put_with(&key(number), b"before", UNSYNCED).unwrap();
            }
            let mut ingest = engine.ingest();
            (0..9).for_each(|number| ingest.put(&key(number), b"ingested").unwrap());
            ingest.finish().unwrap();
            let ingested = engine.get_record(&key(3)).unwrap().unwrap().version;
            let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
            assert_eq!(engine.got(&key(3)), Some(b"ingested".to_vec()));
            for number in 0..9 {
                engine.put(&key(number), b"after").unwrap();
            }
            let what = format!("{durability:?}, {written} writes before");
            let versions: Vec<_> = (0..9)
                .map(|number| engine.get_record(&key(number)).unwrap().unwrap().version)
                .collect();
            assert!(!versions.contains(&ingested), "{what}: {ingested} of {versions:?}");
            let mut backward = engine.scan(key(0)..key(9)).reversed().map(|entry| entry.unwrap().1);
            assert!(backward.all(|value| value == b"after"), "{what}");
            engine.compact().unwrap();
            let read: Vec<_> = (0..9).filter_map(|number| engine.got(&key(number))).collect();
            assert_eq!(read, vec![b"after".to_vec(); 9], "{what}");
        }
    }
}

/// However full log and queue are, an ingestion finds a place.
#[test]
fn an_ingestion_gets_its_place_while_much_waits_to_be_committed() {
    for written in 40..70 {
        let options = Options { memory_bytes: 8 << 20, ..tiny(Scheduling::Manual) };
        let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
        in_time("an ingestion", move || {
            for number in 0..written {
                engine.put_with(&key(number), &[1; 1_000], UNSYNCED).unwrap();
            }
            let mut ingest = engine.ingest();
            ingest.put(&key(3), b"ingested").unwrap();
            ingest.finish().unwrap();
            assert_eq!(engine.got(&key(3)), Some(b"ingested".to_vec()));
        });
    }
}

/// Holds back the syncs of the log until the flag is taken down.
fn hold_the_log(storage: &Hooked) -> Arc<AtomicBool> {
    let held = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&held);
    storage.set(move |call, name| {
        while call == Call::Sync && name.contains(".wal") && flag.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    held
}

/// An engine with an ingestion of `key(1)` that has its number and waits for the log, which is held
/// back while the flag says so.
fn amid_an_ingestion() -> (Arc<AtomicBool>, Engine, JoinHandle<()>) {
    let storage = Hooked::new(SimStorage::new(1));
    let options = tiny(Scheduling::Threads);
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    let mut ingest = engine.ingest();
    ingest.put(&key(1), b"ingested").unwrap();
    let held = hold_the_log(&storage);
    let ingesting = std::thread::spawn(move || ingest.finish().unwrap());
    let since = Instant::now();
    while engine.stats().last_seq == 0 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    (held, engine, ingesting)
}

/// What a snapshot showed once, it shows to its end.
#[test]
fn a_snapshot_amid_an_ingestion_does_not_change() {
    let (held, engine, ingesting) = amid_an_ingestion();
    let asked = engine.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let snapshot = asked.snapshot();
        sender.send(snapshot.get(&key(1)).unwrap()).unwrap();
        snapshot
    });
    let early = receiver.recv_timeout(Duration::from_millis(300));
    held.store(false, Ordering::Relaxed);
    ingesting.join().unwrap();
    let first = early.unwrap_or_else(|_| receiver.recv_timeout(PATIENCE).unwrap());
    assert_eq!(reader.join().unwrap().get(&key(1)).unwrap(), first);
}

/// A conditional write comes before an ingestion and is overwritten by it, or after it and sees it.
#[test]
fn a_conditional_write_amid_an_ingestion_sees_it_or_comes_before_it() {
    let (held, engine, ingesting) = amid_an_ingestion();
    let asked = engine.clone();
    let writer =
        std::thread::spawn(move || asked.put_if(&key(1), b"new", Expected::Absent).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    held.store(false, Ordering::Relaxed);
    ingesting.join().unwrap();
    let is_written = matches!(writer.join().unwrap(), Conditional::Written { .. });
    assert!(!is_written, "it was not before the ingestion: {:?}", engine.got(&key(1)));
    assert_eq!(engine.got(&key(1)), Some(b"ingested".to_vec()));
}

#[test]
fn an_ingestion_refuses_what_does_not_ascend_and_goes_on() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    let mut ingest = engine.ingest();
    ingest.put(b"b", b"1").unwrap();
    for key in [b"b", b"a"] {
        assert!(matches!(ingest.put(key, b"2"), Err(Error::OutOfOrder)));
    }
    ingest.put(b"c", b"3").unwrap();
    ingest.finish().unwrap();
    let values: Vec<_> = engine.scan(..).map(|entry| entry.unwrap().1).collect();
    assert_eq!(values, [b"1", b"3"]);
}

/// An ingestion that failed once cannot be finished: what it lost would be missing in silence.
#[test]
fn an_ingestion_that_failed_stays_failed() {
    for call in 1..60 {
        let storage = SimStorage::new(1);
        let engine = open(storage.clone(), 1).unwrap();
        storage.fail_call(storage.call_count() + call, FaultKind::NoSpace, Times::Once);
        let mut ingest = engine.ingest();
        let failed = (0..200).filter(|n| ingest.put(&key(*n), &[3; 400]).is_err()).count();
        if ingest.finish().is_ok() {
            let missing = (0..200).filter(|number| engine.got(&key(*number)).is_none()).count();
            assert_eq!((failed, missing), (0, 0), "call {call}");
        }
    }
}

#[test]
fn an_ingestion_that_is_given_up_leaves_no_file() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    let before = storage.list().unwrap().len();
    let mut ingest = engine.ingest();
    (0..200).for_each(|number| ingest.put(&key(number), &[3; 400]).unwrap());
    let tables = ingest.progress().tables;
    assert_eq!(storage.list().unwrap().len(), before + tables + 1);
    drop(ingest);
    assert_eq!(storage.list().unwrap().len(), before);
}

/// Once closed, nothing of the engine touches the directory: it may be another's by then.
#[test]
fn an_ingestion_ends_with_the_close() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    let mut begun = engine.ingest();
    begun.put(&key(1), &[1; 400]).unwrap();
    let mut fresh = engine.ingest();
    engine.close().unwrap();
    let other = open(storage.clone(), 2).unwrap();
    let files = storage.list().unwrap();
    assert!(matches!(fresh.put(&key(1), b"late"), Err(Error::Closed)));
    assert_eq!(storage.list().unwrap(), files);
    let calls = storage.call_count();
    drop((begun, fresh));
    assert_eq!(storage.call_count(), calls, "it removes nothing from another's directory");
    other.put(b"key", b"value").unwrap();
    other.compact().unwrap();
    assert_eq!(other.got(b"key"), Some(b"value".to_vec()));
}
