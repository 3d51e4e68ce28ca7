//! Nothing is shown before it is durable: proved on a storage whose syncs are held back.

use std::sync::mpsc;
use std::time::Duration;

use chronos::engine::storage::sim::{FaultKind, SimStorage, Times};
use chronos::engine::{
    Batch, Conditional, Engine, Error, Expected, Lookup, Scheduling, WriteDurability, WriteOptions,
};

use crate::support::{Got, PATIENCE, key, open, tiny, world};

fn start() -> (SimStorage, Engine) {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    engine.put(b"old", b"value").unwrap();
    (storage, engine)
}

/// Runs `call` on a thread while a write's sync is held; it must not return before the release.
fn returns_only_after_sync<T: Send + 'static>(
    write: impl FnOnce(&Engine),
    call: impl FnOnce(&Engine) -> T + Send + 'static,
) -> T {
    let (storage, engine) = start();
    storage.hold_syncs(true);
    write(&engine);
    assert!(storage.wait_for_syncs(1, PATIENCE), "the log thread never came to its sync");
    let (sender, receiver) = mpsc::channel();
    let caller = engine.clone();
    let thread = std::thread::spawn(move || sender.send(call(&caller)).unwrap());
    let early = receiver.recv_timeout(Duration::from_millis(50));
    assert!(early.is_err(), "answered before the sync");
    storage.hold_syncs(false);
    let answer = receiver.recv_timeout(PATIENCE).expect("an answer after the sync");
    thread.join().unwrap();
    answer
}

fn put(engine: &Engine) {
    engine.session().put(b"old", b"new");
}

fn delete(engine: &Engine) {
    engine.session().delete(b"old");
}

#[test]
fn a_put_returns_after_its_sync() {
    let outcome = returns_only_after_sync(put, |engine| engine.put(b"other", b"x"));
    outcome.unwrap();
}

#[test]
fn a_get_of_an_undurable_value_waits() {
    let value = returns_only_after_sync(put, |engine| engine.get(b"old"));
    assert_eq!(value.unwrap().unwrap(), b"new");
}

#[test]
fn a_miss_caused_by_an_undurable_delete_waits() {
    let value = returns_only_after_sync(delete, |engine| engine.get(b"old"));
    assert_eq!(value.unwrap(), None);
}

#[test]
fn what_is_durable_is_read_without_waiting() {
    let (storage, engine) = start();
    storage.hold_syncs(true);
    engine.session().put(b"other", b"x");
    assert!(storage.wait_for_syncs(1, PATIENCE));
    assert_eq!(engine.got(b"old"), Some(b"value".to_vec()));
    storage.hold_syncs(false);
}

#[test]
fn lookups_name_the_version_that_they_show() {
    let (storage, engine) = start();
    let durable = engine.durable_seq();
    storage.hold_syncs(true);
    let mut session = engine.session();
    let put = session.put(b"old", b"new");
    let seen = session.lookup(b"old").unwrap();
    assert!(matches!(seen, Lookup::Found(record) if record.version == put && put > durable));
    let delete = session.delete(b"old");
    let seen = session.lookup(b"old").unwrap();
    assert!(matches!(seen, Lookup::Missing { seq } if seq == delete));
    let never = session.lookup(b"never").unwrap();
    assert!(matches!(never, Lookup::Missing { seq: 0 }));
    session.submit();
    assert_eq!(engine.durable_seq(), durable);
    storage.hold_syncs(false);
}

#[test]
fn a_memtable_is_not_flushed_before_the_log_has_it() {
    let (storage, engine) = start();
    let tables = || engine.stats().levels[0].tables;
    storage.hold_syncs(true);
    let mut session = engine.session();
    for number in 0..20_u32 {
        session.put(&number.to_be_bytes(), &[0; 1_000]);
    }
    session.submit();
    assert!(storage.wait_for_syncs(1, PATIENCE));
    assert_eq!(engine.stats().immutable_memtables, 1, "20 KB do not fit a memtable of 16 KiB");
    assert_eq!(tables(), 0);
    storage.hold_syncs(false);
    engine.compact().unwrap();
    assert_eq!(engine.stats().levels[6].entries, 21);
}

/// Runs `call` while the sync of a write is held; returns what it came to, behind the release only.
fn behind_the_sync<T: Send + 'static>(
    write: fn(&Engine),
    call: impl FnOnce(&Engine) -> T + Send + 'static,
) -> T {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    engine.put(&key(1), b"old").unwrap();
    engine.put(&key(2), b"old").unwrap();
    storage.hold_syncs(true);
    write(&engine);
    assert!(storage.wait_for_syncs(1, PATIENCE));
    let asked = engine.clone();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(call(&asked)));
    let early = receiver.recv_timeout(Duration::from_millis(50));
    // Before anything may fail: an engine that waits for its sync cannot be dropped.
    storage.hold_syncs(false);
    assert!(early.is_err(), "answered before the sync");
    receiver.recv_timeout(PATIENCE).unwrap()
}

fn write_grouped(engine: &Engine, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    let options = WriteOptions::durability(WriteDurability::Grouped);
    engine.write(&batch, options).unwrap();
}

/// Whichever way something is shown, or shown not to be there, it is durable.
#[test]
fn no_way_of_reading_shows_what_is_not_durable() {
    let put = |engine: &Engine| write_grouped(engine, |batch| _ = batch.put(&key(1), b"new"));
    let cut = |engine: &Engine| write_grouped(engine, |batch| _ = batch.delete_range(..key(2)));
    let keys = [key(2), key(1), key(0)];
    let two = keys.clone();
    let values = behind_the_sync(put, move |engine| engine.multi_get(&two).unwrap());
    assert_eq!(values[1].as_deref(), Some(&b"new"[..]));
    let values = behind_the_sync(cut, move |engine| engine.multi_get(&keys).unwrap());
    assert!(values[0].is_some() && values[1].is_none());
    assert!(behind_the_sync(cut, |engine| engine.got(&key(1))).is_none());
    assert_eq!(behind_the_sync(cut, |engine| engine.scan(..).count()), 1);
    assert_eq!(behind_the_sync(put, |engine| engine.scan(..).reversed().count()), 2);
    let shown = behind_the_sync(put, |engine| engine.snapshot().get(&key(1)).unwrap());
    assert_eq!(shown.as_deref(), Some(&b"new"[..]));
    for expected in [Expected::Absent, Expected::Version(1)] {
        let conflict =
            behind_the_sync(put, move |engine| engine.put_if(&key(1), b"", expected).unwrap());
        assert!(matches!(conflict, Conditional::Conflict { current: Some(_) }), "{conflict:?}");
    }
    let conflict =
        behind_the_sync(cut, |engine| engine.put_if(&key(1), b"", Expected::Version(1)).unwrap());
    assert!(matches!(conflict, Conditional::Conflict { current: None }), "{conflict:?}");
}

/// What is not durable any more is not there, whoever asks.
#[test]
fn all_reads_of_a_failed_engine_show_what_is_durable() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.put(&key(1), b"durable").unwrap();
    let before = engine.snapshot();
    storage.fail_call(storage.call_count() + 2, FaultKind::Io, Times::Once);
    assert!(matches!(engine.put(&key(1), b"lost"), Err(Error::Failed(_))));
    let after = engine.snapshot();
    for scan in [engine.scan(..), engine.scan(..).reversed(), before.scan(..), after.scan(..)] {
        let entries: Vec<_> = scan.map(|entry| entry.unwrap().1).collect();
        assert_eq!(entries, [b"durable"]);
    }
    for value in [before.get(&key(1)), after.get(&key(1)), engine.get(&key(1))] {
        assert_eq!(value.unwrap().unwrap(), b"durable");
    }
    assert_eq!(engine.multi_get(&[key(1)]).unwrap()[0].as_deref(), Some(&b"durable"[..]));
    assert_eq!(after.seq(), engine.durable_seq());
}
