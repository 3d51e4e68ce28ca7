//! The engine's inner parts, and beside them what was rejected:
//! `cargo bench --features internals --bench internals`.
//!
//! Every figure is the time of one operation (one entry of a walk) among half a million entries that
//! are touched in random order, so that the processor's caches and the memory behind them are part
//! of it: a structure of ten thousand entries would tell another story. It is processor time of the
//! one thread that works, for the machine may have others to run.

#![expect(clippy::unwrap_used, reason = "a benchmark")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::RwLock;
use std::time::Duration;

use chronos::engine::internals::{
    DataBlock, KeyFilter, Log, Memtable, Runs, SortedTable, build_blocks,
};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use crossbeam_skiplist::SkipMap;
use rustix::time::{ClockId, clock_gettime};
use xxhash_rust::xxh3::xxh3_64;

const ENTRIES: u64 = 500_000;
const VALUE_BYTES: usize = 100;
/// What a short scan takes.
const SCAN_ENTRIES: usize = 100;
/// Room for all entries in one memtable.
const MEMTABLE_BYTES: usize = 80 << 20;
/// Room for all blocks of a table.
const CACHE_BYTES: usize = 256 << 20;
const SEGMENT_BYTES: usize = 32 << 20;

type Key = [u8; 16];

/// A step through numbers below `ENTRIES` that meets each of them, in no order: it and `ENTRIES` have
/// no factor in common.
const STRIDE: u64 = 309_017;

fn scattered(number: u64) -> u64 {
    number.wrapping_mul(STRIDE) % ENTRIES
}

/// Every second number is that of a key that is there.
fn key_at(place: u64) -> Key {
    let mut key = *b"user:\0\0\0........";
    key[8..].copy_from_slice(&place.to_be_bytes());
    key
}

fn key(number: u64) -> Key {
    key_at(2 * number)
}

/// A key that stands between two others, and is not there.
fn absent_key(number: u64) -> Key {
    key_at(2 * number + 1)
}

/// Half of it is random, half compresses to nothing.
fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [b'v'; VALUE_BYTES];
    for (at, chunk) in value[..VALUE_BYTES / 2].chunks_mut(8).enumerate() {
        let word = xxh3_64(&(number ^ ((at as u64) << 32)).to_le_bytes()).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    value
}

/// Keys and values, made beforehand so that making them is not measured.
struct Data {
    sorted: Vec<Key>,
    scattered: Vec<Key>,
    absent: Vec<Key>,
    values: Vec<[u8; VALUE_BYTES]>,
}

impl Data {
    fn new() -> Self {
        Data {
            sorted: (0..ENTRIES).map(key).collect(),
            scattered: (0..ENTRIES).map(|number| key(scattered(number))).collect(),
            absent: (0..ENTRIES).map(|number| absent_key(scattered(number))).collect(),
            values: (0..ENTRIES).map(value).collect(),
        }
    }

    /// In the order of keys.
    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let values = self.values.iter().map(<[u8; VALUE_BYTES]>::as_slice);
        self.sorted.iter().map(Key::as_slice).zip(values)
    }

    /// In no order.
    fn inserts(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let values = self.values.iter().map(<[u8; VALUE_BYTES]>::as_slice);
        self.scattered.iter().map(Key::as_slice).zip(values)
    }
}

/// Processor time that this thread has used.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn since(started: Duration) -> Duration {
    thread_time().saturating_sub(started)
}

/// Measures that.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, started: Duration) -> Duration {
        since(started)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

type Group<'a> = BenchmarkGroup<'a, ThreadTime>;

/// Measures an operation on one key after the other.
fn per_key(group: &mut Group<'_>, name: &str, keys: &[Key], mut operation: impl FnMut(&[u8])) {
    let mut keys = keys.iter().cycle();
    group.bench_function(name, |bencher| bencher.iter(|| operation(keys.next().unwrap())));
}

/// Measures something done to all entries at once, told as the time for one of them.
fn per_entry<T>(group: &mut Group<'_>, name: &str, mut all: impl FnMut() -> T) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|wanted| {
            let rounds = wanted.div_ceil(ENTRIES);
            let mut elapsed = Duration::ZERO;
            for _ in 0..rounds {
                let started = thread_time();
                let done = black_box(all());
                elapsed += since(started);
                drop(done);
            }
            elapsed.mul_f64(as_f64(wanted) / as_f64(rounds * ENTRIES))
        });
    });
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Everything from `key` on, as a map of boxed keys wants to hear it.
fn from(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(key), Bound::Unbounded)
}

/// Each behind the lock that it would need for a server's writer and readers.
fn memtable(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("memtable");
    let fill = || {
        let memtable = RwLock::new(Memtable::new(MEMTABLE_BYTES));
        for (seq, (key, value)) in (1..).zip(data.inserts()) {
            memtable.write().unwrap().insert(key, seq, value);
        }
        memtable
    };
    per_entry(&mut group, "insert", fill);
    let memtable = fill();
    let get = |key: &[u8]| {
        black_box(memtable.read().unwrap().get(key));
    };
    per_key(&mut group, "get, hit", &data.scattered, get);
    per_key(&mut group, "get, miss", &data.absent, get);
    per_key(&mut group, "scan of 100, sorted before", &data.scattered, |key| {
        black_box(memtable.read().unwrap().scan(key, SCAN_ENTRIES).unwrap());
    });
    let frozen = memtable.into_inner().unwrap().freeze();
    per_entry(&mut group, "sort and walk, per entry", || frozen.walk().unwrap());
    group.finish();
}

fn btree(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("RwLock<BTreeMap>");
    let fill = || {
        let map = RwLock::new(BTreeMap::<Box<[u8]>, Box<[u8]>>::new());
        for (key, value) in data.inserts() {
            map.write().unwrap().insert(key.into(), value.into());
        }
        map
    };
    per_entry(&mut group, "insert", fill);
    let map = fill();
    let get = |key: &[u8]| {
        black_box(map.read().unwrap().get(key));
    };
    per_key(&mut group, "get, hit", &data.scattered, get);
    per_key(&mut group, "get, miss", &data.absent, get);
    per_key(&mut group, "scan of 100", &data.scattered, |key| {
        let map = map.read().unwrap();
        map.range::<[u8], _>(from(key)).take(SCAN_ENTRIES).for_each(|entry| {
            black_box(entry);
        });
    });
    per_entry(&mut group, "walk, per entry", || {
        map.read().unwrap().iter().for_each(|entry| {
            black_box(entry);
        });
    });
    group.finish();
}

fn skip_list(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("crossbeam skip list");
    let fill = || {
        let map = SkipMap::<Box<[u8]>, Box<[u8]>>::new();
        for (key, value) in data.inserts() {
            map.insert(key.into(), value.into());
        }
        map
    };
    per_entry(&mut group, "insert", fill);
    let map = fill();
    let get = |key: &[u8]| {
        black_box(map.get(key).map(|entry| entry.value().len()));
    };
    per_key(&mut group, "get, hit", &data.scattered, get);
    per_key(&mut group, "get, miss", &data.absent, get);
    per_key(&mut group, "scan of 100", &data.scattered, |key| {
        map.range::<[u8], _>(from(key)).take(SCAN_ENTRIES).for_each(|entry| {
            black_box(entry.value());
        });
    });
    per_entry(&mut group, "walk, per entry", || {
        map.iter().for_each(|entry| {
            black_box(entry.value());
        });
    });
    group.finish();
}

fn blocks(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("block of 4 KiB");
    per_entry(&mut group, "build, per entry", || build_blocks(data.entries()));
    let built = build_blocks(data.entries());
    let blocks: Vec<DataBlock> = built.into_iter().map(|b| DataBlock::new(b).unwrap()).collect();
    // Where each key is, the table's index being no part of this.
    let mut places = Vec::with_capacity(data.sorted.len());
    for key in &data.sorted {
        let last = places.last().map_or(0, |(at, _)| *at);
        let at = if blocks[last].find(key).is_some() { last } else { last + 1 };
        places.push((at, *key));
    }
    let scattered: Vec<(usize, Key)> =
        (0..ENTRIES).map(|number| places[scattered(number) as usize]).collect();
    let mut next = scattered.iter().cycle();
    group.bench_function("search, a random block", |bencher| {
        bencher.iter(|| {
            let (at, key) = next.next().unwrap();
            black_box(blocks[*at].find(key));
        });
    });
    let (at, _) = scattered[0];
    let in_block: Vec<Key> = places.iter().filter(|place| place.0 == at).map(|p| p.1).collect();
    let mut same = in_block.iter().cycle();
    group.bench_function("search, the same block", |bencher| {
        bencher.iter(|| black_box(blocks[at].find(same.next().unwrap())));
    });
    group.finish();
}

/// A bloom filter as in the textbook: its bits lie anywhere.
struct PlainBloom {
    words: Vec<u64>,
}

impl PlainBloom {
    const BITS_PER_KEY: usize = 10;
    /// ln 2 times the bits of a key.
    const PROBES: u64 = 7;

    fn build<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let words = (keys.len() * Self::BITS_PER_KEY).div_ceil(64);
        let mut filter = PlainBloom { words: vec![0; words] };
        for key in keys {
            for bit in filter.bits(key) {
                filter.words[bit / 64] |= 1 << (bit % 64);
            }
        }
        filter
    }

    fn may_contain(&self, key: &[u8]) -> bool {
        self.bits(key).all(|bit| self.words[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// Double hashing (Kirsch, Mitzenmacher 2006), brought into range by a multiplication.
    fn bits(&self, key: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let (hash, bits) = (xxh3_64(key), self.words.len() as u64 * 64);
        let step = hash.rotate_left(32) | 1;
        (0..Self::PROBES).map(move |probe| {
            let mixed = hash.wrapping_add(probe.wrapping_mul(step));
            (((mixed >> 32) * bits) >> 32) as usize
        })
    }
}

fn filter(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("filter");
    let keys = || data.sorted.iter().map(Key::as_slice);
    per_entry(&mut group, "build, per key", || KeyFilter::build(keys()).unwrap());
    let filter = KeyFilter::build(keys()).unwrap();
    let ask = |key: &[u8]| {
        black_box(filter.may_contain(key));
    };
    per_key(&mut group, "probe, there", &data.scattered, ask);
    per_key(&mut group, "probe, absent", &data.absent, ask);
    let plain_keys = || data.sorted.iter().map(Key::as_slice);
    per_entry(&mut group, "plain bloom: build, per key", || PlainBloom::build(plain_keys()));
    let plain = PlainBloom::build(plain_keys());
    let ask = |key: &[u8]| {
        black_box(plain.may_contain(key));
    };
    per_key(&mut group, "plain bloom: probe, there", &data.scattered, ask);
    per_key(&mut group, "plain bloom: probe, absent", &data.absent, ask);
    group.finish();
    let wrong = |ask: &dyn Fn(&[u8]) -> bool| data.absent.iter().filter(|key| ask(*key)).count();
    let (blocked, plain) =
        (wrong(&|key| filter.may_contain(key)), wrong(&|key| plain.may_contain(key)));
    eprintln!("false positives of {ENTRIES} absent keys: blocked {blocked}, plain {plain}\n");
}

fn log(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::create(directory.path(), SEGMENT_BYTES).unwrap();
    let mut group = criterion.benchmark_group("log, not synced");
    for writes in [1, 256] {
        let entries: Vec<(&[u8], &[u8])> = data.inserts().take(writes).collect();
        group.bench_function(format!("encode a group of {writes}"), |bencher| {
            bencher.iter(|| log.encode(&entries));
        });
        group.bench_function(format!("encode and write a group of {writes}"), |bencher| {
            bencher.iter_custom(|groups| append(&mut log, &entries, groups));
        });
    }
    group.finish();
}

/// How long so many appends take, without what beginning anew at the segment's start takes.
fn append(log: &mut Log, entries: &[(&[u8], &[u8])], groups: u64) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut done = 0;
    while done < groups {
        log.restart().unwrap();
        let started = thread_time();
        while done < groups && log.append(entries).unwrap() {
            done += 1;
        }
        elapsed += since(started);
    }
    elapsed
}

fn table(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let directory = tempfile::tempdir().unwrap();
    let cached = SortedTable::create(directory.path(), data.entries(), CACHE_BYTES).unwrap();
    let uncached = cached.reopened(0).unwrap();
    let mut group = criterion.benchmark_group("table");
    // The first round fills the cache.
    data.sorted.iter().for_each(|key| drop(cached.get(key).unwrap()));
    per_key(&mut group, "get, blocks in the block cache", &data.scattered, |key| {
        black_box(cached.get(key).unwrap());
    });
    per_key(&mut group, "get, blocks in the page cache", &data.scattered, |key| {
        black_box(uncached.get(key).unwrap());
    });
    per_key(&mut group, "get, absent", &data.absent, |key| {
        black_box(cached.get(key).unwrap());
    });
    per_key(&mut group, "scan of 100, block cache", &data.scattered, |key| {
        black_box(cached.scan(key, SCAN_ENTRIES).unwrap());
    });
    per_entry(&mut group, "long scan, per entry", || uncached.scan(b"", usize::MAX).unwrap());
    per_entry(&mut group, "long scan backward, per entry", || uncached.scan_back().unwrap());
    per_entry(&mut group, "walk as a merge, per entry", || uncached.walk().unwrap());
    group.finish();
}

fn merge(criterion: &mut Criterion<ThreadTime>) {
    let data = Data::new();
    let mut group = criterion.benchmark_group("merge");
    for inputs in [2, 8, 32] {
        let mut runs = vec![Vec::new(); inputs];
        for (at, (key, value)) in data.entries().enumerate() {
            runs[scattered(at as u64) as usize % inputs].push((key.to_vec(), value.to_vec()));
        }
        let runs = Runs::new(runs);
        per_entry(&mut group, &format!("{inputs} inputs, per entry"), || runs.merge().unwrap());
    }
    group.finish();
}

fn settings() -> Criterion<ThreadTime> {
    Criterion::default()
        .with_measurement(ThreadTime)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = memtable, btree, skip_list, blocks, filter, log, table, merge
}
criterion_main!(benches);
