//! Calls that fail: errors from the device and a full disk.

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use chronos::engine::{Admission, Engine, Error, Health, Lookup, Options, Scheduling};

use crate::support::{
    Got, PATIENCE, Random, State, apply, key, observe, open, random_write, tiny, world, write,
};

const KEYS: u64 = 16;

/// Writes until an error; returns the state after each write and how many were acknowledged.
fn write_until_error(storage: &SimStorage) -> (Vec<State>, usize, Option<Error>) {
    let mut states = vec![State::new()];
    let engine = match open(storage.clone(), 1) {
        Ok(engine) => engine,
        Err(error) => return (states, 0, Some(error)),
    };
    let mut random = Random(3);
    for serial in 0..150 {
        let operation = random_write(&mut random, KEYS, serial);
        let mut next = states.last().unwrap().clone();
        apply(&mut next, &operation);
        states.push(next);
        if let Err(error) = write(&engine, &operation) {
            let acknowledged = states.len() - 2;
            // Whatever failed: what is shown is what was acknowledged.
            if let Ok(shown) = observe(&engine, KEYS) {
                assert!(shown == states[acknowledged], "shows what may be lost: {error}");
            }
            return (states, acknowledged, Some(error));
        }
    }
    let acknowledged = states.len() - 1;
    (states, acknowledged, None)
}

#[test]
fn any_failing_call_costs_nothing_that_was_acknowledged() {
    let storage = SimStorage::new(0);
    let (_, _, error) = write_until_error(&storage);
    assert!(error.is_none(), "{error:?}");
    let calls = storage.call_count();
    let kinds =
        [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite, FaultKind::SyncLosesData];
    for n in 1..=calls {
        for kind in kinds {
            for times in [Times::Once, Times::Forever] {
                let storage = SimStorage::new(n);
                storage.fail_call(n, kind, times);
                let (states, acknowledged, _) = write_until_error(&storage);
                storage.clear_faults();
                let what = format!("{kind:?} at call {n}, {times:?}");
                for survivor in [storage.kill(), storage.power_cut(Survival::Random(n))] {
                    let engine = open(survivor, 2).unwrap_or_else(|e| panic!("{what}: {e}"));
                    let found = observe(&engine, KEYS).unwrap();
                    assert!(states[acknowledged..].contains(&found), "{what}: lost a write");
                }
            }
        }
    }
}

#[test]
fn a_failed_log_refuses_writes_and_shows_only_what_is_durable() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.put(b"k", b"durable").unwrap();
    storage.fail_call(storage.call_count() + 2, FaultKind::SyncLosesData, Times::Once);
    let error = engine.put(b"k", b"lost").unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(matches!(engine.health(), Health::Failed { .. }));
    assert_eq!(engine.got(b"k"), Some(b"durable".to_vec()));
    let is_durable =
        |seen: &Lookup<'_>| matches!(seen, Lookup::Found(record) if record.value == b"durable");
    assert!(is_durable(&engine.session().lookup(b"k").unwrap()), "a session shows the same");
    let calls = storage.call_count();
    assert!(matches!(engine.put(b"k", b"more"), Err(Error::Failed(_))));
    assert_eq!(storage.call_count(), calls, "the log is never written or synced again");
    drop(engine);
    let engine = open(storage.kill(), 2).unwrap();
    assert_eq!(engine.got(b"k"), Some(b"durable".to_vec()));
}

#[test]
fn a_full_disk_refuses_writes_and_lets_them_in_again_by_itself() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.put(b"first", b"value").unwrap();
    storage.set_capacity(Some(0));
    let mut written = 0_u32;
    let error = loop {
        match engine.put(format!("key-{written}").as_bytes(), &[1; 900]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::NoSpace), "{error}");
    assert!(matches!(engine.health(), Health::NoSpace { .. }));
    assert_eq!(engine.got(b"first"), Some(b"value".to_vec()), "reads go on");
    assert!(matches!(engine.compact(), Err(Error::NoSpace)));
    storage.set_capacity(None);
    assert!(engine.compact().is_ok());
    engine.put(b"again", b"there is room").unwrap();
    assert!(matches!(engine.health(), Health::Ok));
    drop(engine);
    let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
    for number in 0..written {
        let value = engine.got(format!("key-{number}").as_bytes());
        assert_eq!(value, Some(vec![1; 900]), "key-{number}");
    }
}

/// A read needs no room: a device that says so does not deliver.
#[test]
fn a_read_that_fails_for_want_of_room_refuses_no_writes() {
    for kind in [FaultKind::NoSpace, FaultKind::Quota] {
        let storage = SimStorage::new(1);
        let engine = open(storage.clone(), 1).unwrap();
        (0..400).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
        drop(engine);
        let engine = open(storage.clone(), 2).unwrap();
        storage.fail_read(storage.read_count() + 1, kind, Times::Forever);
        let error = engine.compact().unwrap_err();
        assert!(matches!(error, Error::Io { op: "read", .. }), "{error}");
        assert!(!error.is_no_space());
        assert!(matches!(engine.health(), Health::Corrupt { .. }), "{:?}", engine.health());
        engine.put(b"key", b"writes go on").unwrap();
        storage.clear_faults();
        assert_eq!(engine.got(&key(7)), Some(vec![1; 400]));
    }
}

#[test]
fn what_is_too_large_is_refused_before_anything_is_written() {
    let storage = SimStorage::new(1);
    let engine = open(storage, 1).unwrap();
    let before = engine.stats().last_seq;
    for (key, value) in [(0, 0), ((64 << 10) + 1, 0), (1, 64 << 10)] {
        let error = engine.put(&vec![b'k'; key], &vec![0; value]).unwrap_err();
        assert!(matches!(error, Error::Size { .. }), "{error}");
    }
    let largest = 64 * 1024 - 3 * 4096 - 72 - 11 - 1;
    engine.put(b"k", &vec![7; largest]).unwrap();
    assert_eq!(engine.got(b"k"), Some(vec![7; largest]));
    assert_eq!(engine.stats().last_seq, before + 1);
    assert!(matches!(engine.session().admit(1, largest + 1), Admission::Refused(_)));
}

#[test]
fn a_merge_that_is_refused_is_told_to_the_listener() {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    let (sender, news) = std::sync::mpsc::channel();
    engine.set_listener(Box::new(move || _ = sender.send(())));
    storage.set_capacity(Some(0));
    while engine.put(b"key", &[1; 900]).is_ok() {}
    // Whoever does not block learns of the outcome by a notification, or never.
    let ticket = engine.start_compaction(..);
    while ticket.poll().is_none() {
        news.recv_timeout(PATIENCE).expect("news of the refusal");
    }
    assert!(matches!(ticket.poll(), Some(Err(_))));
}

/// Bytes of all files after each of some opens that run out of room at this changing call.
fn sizes_of_failing_opens(call: u64) -> Option<Vec<usize>> {
    let storage = SimStorage::new(1);
    let options = Options { memory_bytes: 1 << 20, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    for number in 0..30 {
        engine.put(&key(number), &[number as u8; 900]).unwrap();
    }
    drop(engine);
    let mut storage = storage.kill();
    let mut sizes = Vec::new();
    for _ in 0..4 {
        storage.fail_call(call, FaultKind::NoSpace, Times::Forever);
        if open(storage.clone(), 2).is_ok() {
            return None;
        }
        let names = storage.list().unwrap();
        sizes.push(names.iter().map(|name| storage.read_file(name).unwrap().len()).sum());
        storage = storage.kill();
    }
    let engine = open(storage, 2).unwrap();
    assert!((0..30).all(|n| engine.got(&key(n)) == Some(vec![n as u8; 900])), "{call}");
    Some(sizes)
}

#[test]
fn opening_again_and_again_on_a_full_disk_takes_no_more_room_each_time() {
    for call in 1.. {
        let Some(sizes) = sizes_of_failing_opens(call) else { break };
        // A new manifest may be left by each, which is some blocks.
        let most = sizes[1] + 3 * 2 * 4096;
        assert!(sizes[3] <= most, "no room at call {call}: {sizes:?}");
    }
}
