//! A storage that goes wrong in ways that no error tells. A bug kills a thread of the engine: nobody
//! waits for ever, and nothing looks alive. Other bytes are stored than were written: they are read
//! back before they count.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Engine, Error, Health, Scheduling};

use crate::hooked::{Call, Hooked};
use crate::support::{Got, in_time, open, tiny, world};

/// An engine with one write in it, and its storage, where nothing goes wrong yet.
fn sample(scheduling: Scheduling) -> (Hooked, Engine) {
    let storage = Hooked::new(SimStorage::new(1));
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(scheduling)).unwrap();
    engine.put(b"key", b"kept").unwrap();
    (storage, engine)
}

/// The same, but whoever writes to a file of this kind dies of it from now on.
fn sample_that_panics(kind: &'static str, scheduling: Scheduling) -> (Hooked, Engine) {
    let (storage, engine) = sample(scheduling);
    storage.set(move |call, name| {
        assert!(call != Call::Write || !name.contains(kind), "a bug, as planned");
        Ok(())
    });
    (storage, engine)
}

/// Whatever is asked of an engine in which a thread died is answered; what was kept is still there.
fn is_dead_and_honest(storage: &Hooked, engine: Engine) {
    assert!(matches!(engine.health(), Health::Failed { .. }), "{:?}", engine.health());
    let asked = engine.clone();
    let (put, merge, close) = in_time("a call after a panic", move || {
        (asked.put(b"key", b"more"), asked.compact(), asked.close())
    });
    assert!(matches!(put, Err(Error::Failed(_) | Error::Closed)), "{put:?}");
    assert!(merge.is_err() && close.is_err(), "{merge:?}, {close:?}");
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()), "only what is durable");
    in_time("a drop after a panic", move || drop(engine));
    let engine = open(storage.storage.power_cut(Survival::Nothing), 2).unwrap();
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
}

#[test]
fn the_background_dies_and_the_merge_that_was_asked_for_is_answered() {
    let (storage, engine) = sample_that_panics(".sst", Scheduling::Threads);
    let ticket = engine.start_compaction(..);
    in_time("the merge", move || ticket.wait()).unwrap_err();
    is_dead_and_honest(&storage, engine);
}

#[test]
fn the_log_thread_dies_and_the_writer_is_told() {
    let (storage, engine) = sample_that_panics(".wal", Scheduling::Threads);
    let writer = engine.clone();
    let outcome = in_time("the write", move || writer.put(b"key", b"lost"));
    assert!(matches!(outcome, Err(Error::Failed(_))), "{outcome:?}");
    is_dead_and_honest(&storage, engine);
}

#[test]
fn a_panic_amid_a_commit_in_place_loses_no_other_writes_in_silence() {
    let (storage, engine) = sample_that_panics(".wal", Scheduling::Manual);
    catch_unwind(AssertUnwindSafe(|| engine.put(b"key", b"lost"))).unwrap_err();
    storage.clear();
    is_dead_and_honest(&storage, engine);
}

#[test]
fn a_table_is_read_back_before_it_counts() {
    let (storage, engine) = sample(Scheduling::Manual);
    let device = storage.storage.clone();
    storage.set(move |call, name| match call {
        Call::Sync if name.contains(".sst") => device.flip_bit(name, 0, 0),
        _ => Ok(()),
    });
    assert!(matches!(engine.compact(), Err(Error::Io { op: "verify", .. })));
    assert_eq!(engine.stats().immutable_memtables, 1, "memory keeps what no table holds");
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
    // Not tried over and over: the device is failing, and a restart is due.
    assert!(matches!(engine.health(), Health::Failed { .. }));
    storage.clear();
    assert!(matches!(engine.compact(), Err(Error::Failed(_))));
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
}
