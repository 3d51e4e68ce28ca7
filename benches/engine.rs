//! The engine's inner operations, without sockets: `cargo bench`.
//!
//! Without syncs, so that the device enters as little as it can, and one row with them. Speed belongs
//! here and not into the tests.

#![expect(clippy::unwrap_used, reason = "a benchmark")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::path::Path;

use chronos::engine::{
    Admission, Batch, Durability, Engine, Environment, Options, Scan, WriteDurability, WriteOptions,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const KEYS: u64 = 300_000;
const BATCH: u64 = 256;
/// What a short scan takes.
const SCAN: u64 = 100;

fn key(number: u64) -> [u8; 16] {
    // A multiplication by an odd number is a permutation: keys come in no order.
    let mut key = [b'k'; 16];
    key[8..].copy_from_slice(&(number % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

fn open(path: &Path, durability: Durability) -> Engine {
    let options = Options { durability, ..Options::default() };
    Engine::open(Environment::disk(path).unwrap(), options).unwrap().0
}

/// Writes a batch as the server does: admitted one by one, submitted together.
fn write_batch(engine: &Engine, from: u64) {
    let mut session = engine.session();
    for number in from..from + BATCH {
        if !matches!(session.admit(16, 100), Admission::Ready) {
            drop(session);
            std::thread::yield_now();
            session = engine.session();
        }
        session.put(&key(number), &[b'v'; 100]);
    }
    session.submit();
}

fn sessions(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), Durability::Os);
    for from in (0..KEYS).step_by(BATCH as usize) {
        write_batch(&engine, from);
    }
    let mut group = criterion.benchmark_group("session of 256");
    group.throughput(Throughput::Elements(BATCH));
    let mut at = 0;
    group.bench_function("lookup, hit", |bencher| {
        bencher.iter(|| {
            let session = engine.session();
            for number in at..at + BATCH {
                black_box(session.lookup(&key(number)).is_ok());
            }
            at += BATCH;
        });
    });
    group.bench_function("lookup, hit, prefetched by 16", |bencher| {
        bencher.iter(|| {
            let session = engine.session();
            for from in (at..at + BATCH).step_by(16) {
                let places =
                    std::array::from_fn::<_, 16, _>(|n| session.prefetch(&key(from + n as u64)));
                for place in places {
                    session.prefetch_entry(place);
                }
                for number in from..from + 16 {
                    black_box(session.lookup(&key(number)).is_ok());
                }
            }
            at += BATCH;
        });
    });
    group.bench_function("lookup, miss", |bencher| {
        bencher.iter(|| {
            let session = engine.session();
            for number in at..at + BATCH {
                black_box(session.lookup(&number.to_be_bytes()).is_ok());
            }
            at += BATCH;
        });
    });
    group.bench_function("put, with log and flushes", |bencher| {
        bencher.iter(|| {
            write_batch(&engine, at);
            at += BATCH;
        });
    });
    group.finish();
}

/// Point reads of a database that is in tables only, its blocks in the cache.
fn tables(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), Durability::Os);
    for from in (0..KEYS).step_by(BATCH as usize) {
        write_batch(&engine, from);
    }
    engine.compact().unwrap();
    let mut group = criterion.benchmark_group("tables");
    group.throughput(Throughput::Elements(BATCH));
    let mut at = 0;
    let mut get = |name, prefix: u8| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let session = engine.session();
                for number in at..at + BATCH {
                    let mut key = key(number);
                    key[0] = prefix;
                    black_box(session.lookup(&key).is_ok());
                }
                at += BATCH;
            });
        });
    };
    get("lookup, cached block", b'k');
    get("lookup, out of range", b'x');
    group.finish();
}

/// Writes that belong together, handed to the log without waiting for it.
fn batches(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), Durability::Os);
    let mut group = criterion.benchmark_group("batch");
    let mut at = 0;
    for writes in [1, 16, BATCH] {
        group.throughput(Throughput::Elements(writes));
        group.bench_function(format!("of {writes}"), |bencher| {
            let mut batch = Batch::new();
            bencher.iter(|| {
                batch.clear();
                for number in at..at + writes {
                    batch.put(&key(number), &[b'v'; 100]);
                }
                let options = WriteOptions::durability(WriteDurability::Grouped);
                engine.write(&batch, options).unwrap();
                at += writes;
            });
        });
    }
    group.finish();
}

/// Short scans from random keys on, and long ones: all in tables, and then with as much again in
/// memory, where what was written is newer.
fn scans(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), Durability::Os);
    for from in (0..KEYS).step_by(BATCH as usize) {
        write_batch(&engine, from);
    }
    engine.compact().unwrap();
    scan_all_ways(criterion, &engine, "scans of tables");
    for from in (0..KEYS).step_by(BATCH as usize) {
        write_batch(&engine, from);
    }
    scan_all_ways(criterion, &engine, "scans of tables and memtables");
}

fn scan_all_ways(criterion: &mut Criterion, engine: &Engine, title: &str) {
    let mut group = criterion.benchmark_group(title);
    let mut at = 0;
    let mut from_random_keys = |name: &str, keys: u64, reversed: bool| {
        group.throughput(Throughput::Elements(keys));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let key = key(at).to_vec();
                let scan =
                    if reversed { engine.scan(..key).reversed() } else { engine.scan(key..) };
                black_box(walk(scan, keys));
                at += 1;
            });
        });
    };
    from_random_keys("of 1", 1, false);
    from_random_keys("of 100", SCAN, false);
    from_random_keys("of 100, reversed", SCAN, true);
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("of everything", |bencher| {
        bencher.iter(|| walk(engine.scan(..), KEYS));
    });
    group.bench_function("of everything, reversed", |bencher| {
        bencher.iter(|| walk(engine.scan(..).reversed(), KEYS));
    });
    group.finish();
}

/// Takes up to so many steps; returns the bytes seen.
fn walk(mut scan: Scan, steps: u64) -> usize {
    let mut bytes = 0;
    for _ in 0..steps {
        if !scan.advance().unwrap() {
            break;
        }
        bytes += scan.key().len() + scan.value().len();
    }
    bytes
}

fn synced(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), Durability::Always);
    let mut at = 0;
    criterion.bench_function("synced put on disk", |bencher| {
        bencher.iter(|| {
            engine.put(&key(at), &[b'v'; 100]).unwrap();
            at += 1;
        });
    });
}

criterion_group!(benches, sessions, tables, batches, scans, synced);
criterion_main!(benches);
