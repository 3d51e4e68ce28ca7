//! Room on the disk: what is given up or needed no more is given back, and a lack of it ends by that.

use std::time::{Duration, Instant};

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Engine, Error, Health, Options, Scheduling, Snapshot};

use crate::support::{PATIENCE, key, open, tiny, world};

/// What the files of `storage` take up, those that are open and have no name included.
fn used_bytes(storage: &SimStorage) -> u64 {
    const LARGE: u64 = 1 << 40;
    storage.set_capacity(Some(LARGE));
    LARGE - storage.free_bytes().unwrap()
}

/// The files of outputs that are given up must not live on as open files.
#[test]
fn a_merge_that_ran_out_of_room_gives_back_what_it_took() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    for number in 0..400 {
        engine.put(&key(number), &[number as u8; 400]).unwrap();
    }
    engine.compact().unwrap();
    (0..400).for_each(|number| engine.put(&key(number), &[1; 100]).unwrap());
    drop(engine);
    let engine = open(storage.clone(), 2).unwrap();
    let before = storage.list().unwrap().len();
    // Room for some outputs of the merge, not for all.
    storage.set_capacity(Some(used_bytes(&storage) + (40 << 10)));
    let free = storage.free_bytes().unwrap();
    let outcome = engine.compact();
    assert!(outcome.is_err(), "there is room for all of it");
    assert_eq!(storage.list().unwrap().len(), before);
    assert_eq!(storage.free_bytes().unwrap(), free);
}

/// What a reader kept alive is removed when it lets go: that may be the room that is lacking.
#[test]
fn what_a_scan_gives_free_ends_the_lack_of_space() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    for number in 0..600 {
        engine.put(&key(number), &[1; 400]).unwrap();
    }
    engine.compact().unwrap();
    let mut scan = engine.scan(..);
    assert!(scan.advance().unwrap());
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    storage.set_capacity(Some(0));
    let error = (0_u64..).find_map(|number| engine.put(&key(number), &[2; 900]).err());
    assert!(matches!(error, Some(Error::NoSpace)), "{error:?}");
    storage.set_capacity(Some(used_bytes(&storage)));
    engine.run_background();
    assert!(matches!(engine.health(), Health::NoSpace { .. }));
    drop(scan);
    engine.run_background();
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
}

/// The same while nothing else happens.
#[test]
fn what_a_scan_gives_free_is_removed_though_nothing_is_written() {
    let storage = SimStorage::new(1);
    let options = tiny(Scheduling::Threads);
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    for number in 0..200 {
        engine.put(&key(number), &[1; 400]).unwrap();
    }
    engine.compact().unwrap();
    let mut scan = engine.scan(..);
    assert!(scan.advance().unwrap());
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    let tables = || storage.list().unwrap().iter().filter(|name| name.contains(".sst")).count();
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(tables() > 0, "the scan needs them");
    drop(scan);
    let since = Instant::now();
    while tables() > 0 {
        assert!(since.elapsed() < PATIENCE, "{} tables are left", tables());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What only a snapshot needed goes with it, though nothing else happens.
#[test]
fn what_a_snapshot_gives_free_is_removed_though_nothing_is_written() {
    let options = tiny(Scheduling::Threads);
    let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    let snapshot = engine.snapshot();
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    // Past the look that comes with the first rest.
    std::thread::sleep(Duration::from_millis(1_500));
    let entries = || engine.stats().levels.iter().map(|level| level.entries).sum::<u64>();
    assert_eq!((entries(), snapshot.scan(..).count()), (100, 100));
    drop(snapshot);
    let since = Instant::now();
    while entries() > 0 {
        assert!(since.elapsed() < PATIENCE, "{} entries are left", entries());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `holds`, while nobody writes.
fn at_rest(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn threads(storage: &SimStorage) -> Engine {
    Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap().0
}

fn table_bytes(engine: &Engine) -> u64 {
    engine.stats().levels.iter().map(|level| level.bytes).sum()
}

/// The range delete is in a memtable that nothing else fills.
#[test]
fn what_a_range_delete_covers_is_removed_though_nothing_is_written() {
    let engine = threads(&SimStorage::new(1));
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    engine.delete_range(key(0)..key(50)).unwrap();
    at_rest("half is given back", || (1..30 << 10).contains(&table_bytes(&engine)));
    engine.delete_range(..).unwrap();
    at_rest("all is given back", || table_bytes(&engine) == 0);
    assert_eq!(engine.stats().range_deletes, 0);
}

/// The same of tombstones.
#[test]
fn what_was_deleted_is_removed_though_nothing_is_written() {
    let engine = threads(&SimStorage::new(1));
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    (0..100).for_each(|number| engine.delete(&key(number)).unwrap());
    at_rest("all is given back", || table_bytes(&engine) == 0);
}

/// The same of log segments that hold what was overwritten since.
#[test]
fn the_log_of_what_was_overwritten_is_given_back_though_nothing_is_written() {
    let options = Options { memory_bytes: 6 << 20, ..tiny(Scheduling::Threads) };
    let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
    for round in 0..60 {
        (0..10).for_each(|number| engine.put(&key(number), &[round; 400]).unwrap());
    }
    at_rest("segments are given back", || engine.stats().wal_segments <= 2);
    assert_eq!(engine.scan(..).count(), 10);
}

/// A flush that gives nothing back is not made: a write now and then would make a table each time.
#[test]
fn at_rest_a_memtable_stays_that_keeps_no_room() {
    let engine = threads(&SimStorage::new(1));
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    let flushes = engine.stats().flushes;
    engine.put(&key(3), b"a value").unwrap();
    engine.put(&key(3), b"another").unwrap();
    engine.delete(b"none").unwrap();
    engine.delete_range("x".."y").unwrap();
    std::thread::sleep(Duration::from_millis(4_500));
    assert_eq!(engine.stats().flushes, flushes);
}

/// Overwrites all values again and again, each state seen by a snapshot, and brings all down.
fn overwrite_under_snapshots(engine: &Engine) -> Vec<Snapshot> {
    let rounds = (0..10).map(|round| {
        (0..50).for_each(|number| engine.put(&key(number), &[round; 400]).unwrap());
        engine.snapshot()
    });
    let snapshots = rounds.collect();
    engine.compact().unwrap();
    assert!(table_bytes(engine) > 10 * 50 * 400, "all versions are kept");
    snapshots
}

/// What only snapshots saw is given back with them, by itself or when asked for.
#[test]
fn what_only_snapshots_saw_is_given_back_after_them() {
    let engine = threads(&SimStorage::new(1));
    let mut snapshots = overwrite_under_snapshots(&engine);
    let last = snapshots.pop().unwrap();
    drop(snapshots);
    at_rest("old versions are given back", || table_bytes(&engine) < 50 * 1_000);
    assert_eq!(last.scan(..).count(), 50);
    let storage = SimStorage::new(2);
    let engine = open(storage.clone(), 1).unwrap();
    let snapshots = overwrite_under_snapshots(&engine);
    engine.close().unwrap();
    drop((snapshots, engine));
    // Another process knows of no snapshots, but of what they left.
    let engine = open(storage, 2).unwrap();
    engine.compact().unwrap();
    assert!(table_bytes(&engine) < 50 * 1_000, "{}", table_bytes(&engine));
    assert_eq!(engine.scan(..).count(), 50);
}

#[test]
fn a_close_leaves_no_file_that_nobody_needs() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    let mut scan = engine.scan(..);
    assert!(scan.advance().unwrap());
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    drop(scan);
    engine.close().unwrap();
    assert!(!storage.list().unwrap().iter().any(|name| name.contains(".sst")));
}
