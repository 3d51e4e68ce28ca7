//! Nothing is shown before it is durable: proved on a storage whose syncs are held back.

use std::sync::mpsc;
use std::time::Duration;

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Engine, Lookup, Scheduling};

use crate::support::{Got, tiny, world};

const PATIENCE: Duration = Duration::from_secs(30);

fn open() -> (SimStorage, Engine) {
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
    let (storage, engine) = open();
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
    let (storage, engine) = open();
    storage.hold_syncs(true);
    engine.session().put(b"other", b"x");
    assert!(storage.wait_for_syncs(1, PATIENCE));
    assert_eq!(engine.got(b"old"), Some(b"value".to_vec()));
    storage.hold_syncs(false);
}

#[test]
fn lookups_name_the_version_that_they_show() {
    let (storage, engine) = open();
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
    let (storage, engine) = open();
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
