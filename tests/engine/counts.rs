//! How many keys there are: exactly while they are few, and within a tenth beyond, wherever what is
//! overwritten, deleted or new lies.

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{
    Batch, Engine, Environment, KeyCount, KeyRange, Options, Scheduling, WriteOptions,
};

use crate::support::{Standing, UNSYNCED, world};

const NOW_MS: u64 = 1_000_000;

/// A database whose memtables hold some ten thousand entries.
fn open() -> Engine {
    let environment = Environment { clock: Standing::at(NOW_MS), ..world(SimStorage::new(1), 7) };
    let options = Options {
        memory_bytes: 12 << 20,
        wal_segment_bytes: 8 << 20,
        table_bytes: 1 << 20,
        scheduling: Scheduling::Manual,
        ..Options::default()
    };
    Engine::open(environment, options).unwrap().0
}

fn name(namespace: u8, number: u64) -> Vec<u8> {
    [&[namespace], format!("key:{number:08}").as_bytes()].concat()
}

/// Writes in batches, so that a test has many keys soon.
fn write(engine: &Engine, numbers: impl Iterator<Item = u64>, add: impl Fn(&mut Batch, u64)) {
    let (mut batch, mut count) = (Batch::new(), 0);
    for number in numbers {
        add(&mut batch, number);
        count += 1;
        if count % 500 == 0 {
            engine.write(&batch, UNSYNCED).unwrap();
            engine.run_background();
            batch = Batch::new();
        }
    }
    engine.write(&batch, WriteOptions::default()).unwrap();
}

fn put(engine: &Engine, namespace: u8, numbers: impl Iterator<Item = u64>) {
    write(engine, numbers, |batch, number| {
        batch.put(&name(namespace, number), &number.to_le_bytes());
    });
}

fn delete(engine: &Engine, namespace: u8, numbers: impl Iterator<Item = u64>) {
    write(engine, numbers, |batch, number| {
        batch.delete(&name(namespace, number));
    });
}

fn counts(engine: &Engine, namespaces: &[u8]) -> Vec<KeyCount> {
    let ranges = namespaces.iter().map(|namespace| KeyRange::prefix(&[*namespace])).collect();
    let mut counter = engine.count_keys(ranges);
    while !counter.step() {}
    counter.counts().to_vec()
}

#[track_caller]
fn check_estimate(engine: &Engine, namespace: u8, keys: u64, expiring: u64) {
    let found = counts(engine, &[namespace])[0];
    assert!(!found.is_exact, "{found:?} was meant to be too many to be counted");
    let is_close = |found: u64, expected: u64| found.abs_diff(expected) * 10 <= expected;
    assert!(is_close(found.keys, keys), "{found:?}, but there are {keys} keys");
    assert!(is_close(found.expiring, expiring), "{found:?}, but {expiring} expire");
}

#[test]
fn few_keys_are_counted_whatever_is_beside_them() {
    let engine = open();
    put(&engine, 1, 0..30_000);
    put(&engine, 2, 0..1);
    put(&engine, 3, 0..10_000);
    delete(&engine, 3, 5_000..10_000);
    engine.compact().unwrap();
    put(&engine, 3, 0..5_000);
    engine.delete_range(KeyRange::prefix(&[1])).unwrap();
    put(&engine, 1, 7..10);
    engine.put_expiring(&name(4, 1), b"", NOW_MS + 1).unwrap();
    engine.put_expiring(&name(4, 2), b"", NOW_MS).unwrap();
    let found = counts(&engine, &[0, 1, 2, 3, 4]);
    assert!(found.iter().all(|count| count.is_exact));
    assert_eq!(found.iter().map(|count| count.keys).collect::<Vec<_>>(), [0, 3, 1, 5_000, 1]);
    assert_eq!(found.iter().map(|count| count.expiring).sum::<u64>(), 1);
    engine.close().unwrap();
}

#[test]
fn new_keys_in_one_place_and_in_memory_are_not_missed() {
    let engine = open();
    put(&engine, 1, 0..120_000);
    engine.compact().unwrap();
    check_estimate(&engine, 1, 120_000, 0);
    // Behind all others, and still in memtables for the most part.
    put(&engine, 1, 1_000_000..1_080_000);
    check_estimate(&engine, 1, 200_000, 0);
    // Neighbours are not counted in.
    put(&engine, 0, 0..40_000);
    put(&engine, 2, 0..40_000);
    check_estimate(&engine, 1, 200_000, 0);
    engine.close().unwrap();
}

#[test]
fn what_is_overwritten_or_deleted_in_one_place_does_not_count() {
    let engine = open();
    put(&engine, 1, 0..250_000);
    for _ in 0..3 {
        put(&engine, 1, 0..30_000);
    }
    check_estimate(&engine, 1, 250_000, 0);
    delete(&engine, 1, 40_000..140_000);
    check_estimate(&engine, 1, 150_000, 0);
    engine.delete_range(KeyRange::from(name(1, 140_000)..name(1, 145_000))).unwrap();
    check_estimate(&engine, 1, 145_000, 0);
    engine.close().unwrap();
}

#[test]
fn expiring_keys_are_counted_as_well() {
    let engine = open();
    let expiry = |number: u64| match number % 4 {
        0 if number < 180_000 => Some(NOW_MS - 1),
        1 => Some(NOW_MS + 1000),
        _ => None,
    };
    write(&engine, 0..200_000, |batch, number| {
        match expiry(number) {
            Some(expires_ms) => batch.put_expiring(&name(1, number), b"v", expires_ms),
            None => batch.put(&name(1, number), b"v"),
        };
    });
    check_estimate(&engine, 1, 200_000 - 45_000, 50_000);
    engine.compact().unwrap();
    check_estimate(&engine, 1, 200_000 - 45_000, 50_000);
    engine.close().unwrap();
}

/// Values of very different lengths: blocks hold few entries here and many there.
#[test]
fn blocks_need_not_be_alike() {
    let engine = open();
    write(&engine, 0..3_000, |batch, number| {
        batch.put(&name(1, number), &vec![number as u8; 3_000]);
    });
    put(&engine, 1, 3_000..150_000);
    delete(&engine, 1, 0..1_500);
    engine.compact().unwrap();
    check_estimate(&engine, 1, 148_500, 0);
    engine.close().unwrap();
}
