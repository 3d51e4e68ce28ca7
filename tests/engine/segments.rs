//! The lengths of log segments: small at first and at rest, larger under load, as large as a write needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{
    Admission, Batch, Engine, Environment, Error, Options, Scheduling, WriteOptions,
};

use crate::support::{Got, PATIENCE, Standing, in_time, key, tiny, world};

/// Names and lengths of the log segments on `storage`.
fn segments(storage: &SimStorage) -> Vec<(String, usize)> {
    let names = storage.list().unwrap().into_iter().filter(|name| name.contains(".wal"));
    let length = |name: &String| storage.read_file(name).unwrap().len();
    names.map(|name| (name.clone(), length(&name))).collect()
}

/// Bytes of all files.
fn disk_bytes(storage: &SimStorage) -> usize {
    let names = storage.list().unwrap();
    names.iter().map(|name| storage.read_file(name).unwrap().len()).sum()
}

/// Waits for what the engine's threads bring about.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "not within reason: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sizes as usual but for the greatest length of a segment: those of a server, worked by the caller.
fn usual() -> Options {
    Options { scheduling: Scheduling::Manual, ..Options::default() }
}

/// Segments from 32 to 512 KiB, memtables that hold several of them.
fn growing() -> Options {
    Options {
        memory_bytes: 6 << 20,
        wal_segment_bytes: 512 << 10,
        wal_initial_bytes: 32 << 10,
        ..tiny(Scheduling::Manual)
    }
}

#[test]
fn an_empty_database_takes_little_room_and_is_opened_by_reading_little() {
    let storage = SimStorage::new(1);
    let options = Options::default();
    let (engine, _) = Engine::open(world(storage.clone(), 1), options.clone()).unwrap();
    wait_for("a spare segment", || segments(&storage).len() == 2);
    assert!(disk_bytes(&storage) < 4_000_000, "{} bytes, open", disk_bytes(&storage));
    engine.put(b"key", b"value").unwrap();
    engine.close().unwrap();
    drop(engine);
    assert!(disk_bytes(&storage) < 4_000_000, "{} bytes, closed", disk_bytes(&storage));
    // Of each segment an open reads at most all.
    assert!(segments(&storage).iter().all(|(_, bytes)| *bytes <= 1 << 20));
    let (engine, _) = Engine::open(world(storage.clone(), 2), options).unwrap();
    assert_eq!(engine.got(b"key"), Some(b"value".to_vec()));
    wait_for("a spare segment", || segments(&storage).len() == 2);
    assert!(disk_bytes(&storage) < 4_000_000, "{} bytes, opened again", disk_bytes(&storage));
}

#[test]
fn segments_grow_under_load_and_a_close_gives_back_what_they_grew_by() {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), growing()).unwrap();
    let longest = || segments(&storage).iter().map(|(_, bytes)| *bytes).max().unwrap();
    engine.run_background();
    assert_eq!(longest(), 32 << 10);
    for number in 0..3_000 {
        engine.put(&key(number), &[number as u8; 300]).unwrap();
        engine.run_background();
    }
    assert_eq!(longest(), 512 << 10);
    engine.close().unwrap();
    drop(engine);
    let left = segments(&storage);
    assert!(left.iter().all(|(_, bytes)| *bytes == 32 << 10) && left.len() <= 2, "{left:?}");
    let (engine, recovery) = Engine::open(world(storage.kill(), 2), growing()).unwrap();
    assert_eq!(recovery.groups, 0);
    assert!((0..3_000).all(|n| engine.got(&key(n)) == Some(vec![n as u8; 300])));
}

/// The same at rest, a minute after the last write, once that is in tables.
#[test]
fn what_a_load_let_grow_is_given_back_at_rest() {
    let storage = SimStorage::new(1);
    let clock = Standing::at(1_000);
    let environment = Environment { clock: clock.clone(), ..world(storage.clone(), 1) };
    let (engine, _) = Engine::open(environment, growing()).unwrap();
    for number in 0..1_500 {
        engine.put(&key(number), &[1; 300]).unwrap();
        engine.run_background();
    }
    engine.compact().unwrap();
    clock.set(50_000);
    engine.run_background();
    assert!(
        segments(&storage).iter().any(|(_, bytes)| *bytes > 64 << 10),
        "it was just written to"
    );
    clock.set(70_000);
    engine.run_background();
    let left = segments(&storage);
    assert!(left.iter().all(|(_, bytes)| *bytes == 32 << 10), "{left:?}");
    engine.put(b"after", b"that").unwrap();
    drop(engine);
    let (engine, _) =
        Engine::open(world(storage.power_cut(Survival::Nothing), 2), growing()).unwrap();
    assert_eq!(engine.got(b"after"), Some(b"that".to_vec()));
    assert_eq!(engine.scan(..).count(), 1_501);
}

/// A write that the segments of the moment do not hold waits until there is one that does.
#[test]
fn a_write_larger_than_the_segments_of_the_moment_gets_one_of_its_size() {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), usual()).unwrap();
    engine.run_background();
    for (number, bytes) in [(0, 1 << 20), (1, 5 << 20), (2, 20 << 20), (3, 32 << 20), (4, 7)] {
        engine.put(&key(number), &vec![number as u8; bytes]).unwrap();
        assert_eq!(engine.get(&key(number)).unwrap().unwrap().len(), bytes);
    }
    let mut batch = Batch::new();
    (0..40).for_each(|number| _ = batch.put(&key(number), &vec![9; 1 << 20]));
    engine.write(&batch, WriteOptions::default()).unwrap();
    batch.put(b"more", &vec![9; 10 << 20]);
    assert!(matches!(engine.write(&batch, WriteOptions::default()), Err(Error::Size { .. })));
    drop(engine);
    let (engine, _) =
        Engine::open(world(storage.power_cut(Survival::Nothing), 2), usual()).unwrap();
    assert!((0..40).all(|number| engine.got(&key(number)) == Some(vec![9; 1 << 20])));
}

/// Nor is what it waits for given back at once because nothing was written for long: by the clock of a
/// machine, a fresh database has been at rest since 1970.
#[test]
fn a_large_write_after_a_rest_gets_its_segment() {
    in_time("a large write after a rest", || {
        let storage = SimStorage::new(1);
        let clock = Standing::at(1_700_000_000_000);
        let open = |storage: &SimStorage, seed| {
            let environment = Environment { clock: clock.clone(), ..world(storage.clone(), seed) };
            Engine::open(environment, growing()).unwrap().0
        };
        let large = vec![7; 200 << 10];
        let engine = open(&storage, 1);
        engine.put(b"fresh", &large).unwrap();
        engine.compact().unwrap();
        clock.set(1_700_000_100_000);
        engine.run_background();
        let at_rest = segments(&storage);
        assert!(at_rest.iter().all(|(_, bytes)| *bytes == 32 << 10), "{at_rest:?}");
        engine.put(b"rested", &large).unwrap();
        engine.close().unwrap();
        clock.set(1_700_000_200_000);
        let engine = open(&storage, 2);
        let mut batch = Batch::new();
        (0..10).for_each(|number| _ = batch.put(&key(number), &large[..20 << 10]));
        engine.write(&batch, WriteOptions::default()).unwrap();
        drop(engine);
        let engine = open(&storage.power_cut(Survival::Nothing), 3);
        assert_eq!(engine.got(b"fresh"), engine.got(b"rested"));
        assert_eq!(engine.scan(..).count(), 12);
    });
}

/// Small writes go on beside it, and do not keep it from its turn.
#[test]
fn a_large_write_gets_its_turn_beside_small_ones() {
    let storage = SimStorage::new(1);
    let options = Options { scheduling: Scheduling::Threads, ..growing() };
    let (engine, _) = Engine::open(world(storage, 1), options).unwrap();
    let small = engine.clone();
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let writer = std::thread::spawn(move || {
        let mut count = 0;
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            small.put(&key(count % 100), b"small").unwrap();
            count += 1;
        }
        count
    });
    let large = engine.clone();
    in_time("a large write", move || large.put(b"large", &vec![1; 300 << 10])).unwrap();
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.join().unwrap() > 0);
}

/// Who asked for room that the disk does not have is told so; small writes go on in what there is.
#[test]
fn a_write_that_no_segment_can_be_made_for_is_refused_alone() {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), growing()).unwrap();
    engine.run_background();
    storage.set_capacity(Some(disk_bytes(&storage) as u64 + (200 << 10)));
    assert!(matches!(engine.put(b"large", &vec![1; 300 << 10]), Err(Error::NoSpace)));
    storage.set_capacity(None);
    engine.run_background();
    engine.put(b"small", b"value").unwrap();
    assert!(matches!(engine.session().admit(5, 100), Admission::Ready));
}

/// A prepared segment that is longer than the one that goes on in it: cut, it may have lost what it
/// held.
#[test]
fn a_cut_of_a_segment_longer_than_its_predecessor_is_noticed() {
    let mut refused = 0;
    for call in 1.. {
        let storage = SimStorage::new(1);
        let (engine, _) = Engine::open(world(storage.clone(), 1), growing()).unwrap();
        storage.crash_at(storage.call_count() + call);
        let mut written = 0;
        while written < 20 && engine.put(&key(written), &[1; 300]).is_ok() {
            engine.run_background();
            written += 1;
        }
        let survivor = storage.power_cut(Survival::Everything);
        if written == 20 {
            break;
        }
        let is_blank = |name: &str| survivor.read_file(name).unwrap()[..4096] == [0; 4096];
        let long = segments(&survivor).into_iter().find(|(_, bytes)| *bytes > 32 << 10);
        let Some((name, bytes)) = long.filter(|(name, _)| is_blank(name)) else { continue };
        survivor.truncate_file(&name, bytes as u64 - 4096).unwrap();
        match Engine::open(world(survivor, 2), growing()) {
            Ok((engine, _)) => {
                assert!((0..written).all(|n| engine.got(&key(n)) == Some(vec![1; 300])));
            }
            Err(Error::Corrupt { file, .. }) if file == name => refused += 1,
            Err(error) => panic!("call {call}: {error}"),
        }
    }
    assert!(refused > 0, "the log had gone on to it");
}
