//! Walks past what is dead: of a long run of it a scan makes a search, and shows what it would have
//! shown step by step.

use std::collections::BTreeMap;

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Batch, Engine, KeyRange, Options, Scan, Scheduling, Snapshot};

use crate::support::{Random, State, UNSYNCED, key, tiny, world};

/// Steps over what is dead that a scan may make which has something better to do.
const FEW_STEPS: u64 = 2_000;

/// A database whose memtable takes all that a test writes, and more than one chunk.
fn roomy() -> Engine {
    let options = Options {
        memory_bytes: 256 << 20,
        wal_segment_bytes: 16 << 20,
        ..tiny(Scheduling::Manual)
    };
    Engine::open(world(SimStorage::new(1), 1), options).unwrap().0
}

fn put(engine: &Engine, key: &[u8], value: &[u8]) {
    engine.put_with(key, value, UNSYNCED).unwrap();
}

fn numbers(scan: Scan) -> Vec<Vec<u8>> {
    scan.map(|entry| entry.unwrap().0).collect()
}

/// The keys of `range`, which must come without many steps, in both directions.
fn few_steps(engine: &Engine, range: impl Into<KeyRange> + Clone) -> Vec<Vec<u8>> {
    let before = engine.stats().dead_steps;
    let mut ascending = numbers(engine.scan(range.clone()));
    let mut descending = numbers(engine.scan(range).reversed());
    let steps = engine.stats().dead_steps - before;
    assert!(steps <= FEW_STEPS, "{steps} steps over what is dead");
    descending.reverse();
    assert_eq!(ascending, descending);
    ascending.dedup();
    ascending
}

fn wide(number: u64) -> Vec<u8> {
    format!("key-{number:07}").into_bytes()
}

/// A database that was emptied is walked over as an empty one, wherever its keys are.
#[test]
fn a_scan_passes_what_a_range_delete_covers() {
    const KEYS: u64 = 60_000;
    for flushes in [false, true] {
        let engine = roomy();
        (0..KEYS).for_each(|number| put(&engine, &wide(number), &[1; 60]));
        if flushes {
            engine.compact().unwrap();
        }
        // It keeps the tables from being dropped.
        let snapshot = engine.snapshot();
        engine.delete_range(wide(100)..wide(KEYS - 100)).unwrap();
        assert_eq!(few_steps(&engine, ..).len(), 200);
        for number in [5, 30_000, 30_001, 50_000] {
            put(&engine, &wide(number), b"again");
        }
        assert_eq!(few_steps(&engine, ..).len(), 203);
        assert_eq!(few_steps(&engine, wide(200)..wide(KEYS)).len(), 103);
        engine.delete_range(..).unwrap();
        assert!(few_steps(&engine, ..).is_empty());
        if flushes {
            engine.run_background();
            assert!(few_steps(&engine, ..).is_empty());
        }
        assert_eq!(snapshot.scan(..).count() as u64, KEYS);
    }
}

/// A counter is one key, however often it was counted up.
#[test]
fn a_scan_passes_the_versions_of_a_key() {
    let engine = roomy();
    put(&engine, b"a", b"first");
    for number in 0..30_000u64 {
        put(&engine, b"counter", &number.to_be_bytes());
        if number == 7 {
            put(&engine, b"z", b"last");
        }
    }
    assert_eq!(few_steps(&engine, ..), [&b"a"[..], b"counter", b"z"]);
    let (_, value) = engine.scan(..b"d").reversed().next().unwrap().unwrap();
    assert_eq!(value, 29_999u64.to_be_bytes());
    engine.delete(b"counter").unwrap();
    assert_eq!(few_steps(&engine, ..), [&b"a"[..], b"z"]);
}

/// A database and its model, with snapshots of both.
struct Run {
    engine: Engine,
    model: State,
    held: Vec<(Snapshot, State)>,
    random: Random,
}

const KEYS: u64 = 900;

impl Run {
    fn new(seed: u64) -> Self {
        let options = Options { memory_bytes: 6 << 17, ..tiny(Scheduling::Manual) };
        let (engine, _) = Engine::open(world(SimStorage::new(seed), seed), options).unwrap();
        Run { engine, model: BTreeMap::new(), held: Vec::new(), random: Random(seed) }
    }

    /// A stretch of keys, mostly a long one.
    fn stretch(&mut self) -> (u64, u64) {
        let (a, b) = (self.random.below(KEYS), self.random.below(KEYS + 1));
        (a.min(b), a.max(b))
    }

    fn step(&mut self) {
        let (from, to) = self.stretch();
        match self.random.below(12) {
            0..4 => self.put_some(from, to),
            4..6 => {
                let mut batch = Batch::new();
                for number in from..to {
                    self.model.remove(&key(number));
                    batch.delete(&key(number));
                }
                self.engine.write(&batch, UNSYNCED).unwrap();
            }
            6..8 => {
                self.model.retain(|found, _| *found < key(from) || *found >= key(to));
                self.engine.delete_range(key(from)..key(to)).unwrap();
            }
            8 => {
                (0..200).for_each(|_| self.put_some(from, from + 1));
            }
            9 => self.held.push((self.engine.snapshot(), self.model.clone())),
            10 if !self.held.is_empty() => drop(self.held.remove(0)),
            _ => match self.random.below(4) {
                0 => self.engine.compact().unwrap(),
                1 => self.engine.compact_range("~"..).unwrap(),
                _ => self.engine.run_background(),
            },
        }
    }

    fn put_some(&mut self, from: u64, to: u64) {
        let every = 1 + self.random.below(9);
        for number in (from..to).filter(|number| number % every == 0) {
            let value = self.random.below(1 << 40).to_be_bytes().to_vec();
            put(&self.engine, &key(number), &value);
            self.model.insert(key(number), value);
        }
    }

    fn check(&mut self) {
        let (from, to) = self.stretch();
        let range = key(from)..key(to);
        let now = (None, &self.model);
        let held = self.held.iter().map(|(snapshot, model)| (Some(snapshot), model));
        for (snapshot, model) in held.chain([now]) {
            let scan = || match snapshot {
                Some(snapshot) => snapshot.scan(range.clone()),
                None => self.engine.scan(range.clone()),
            };
            let expected: Vec<_> = model.range(range.clone()).collect();
            let found: Vec<_> = scan().map(Result::unwrap).collect();
            assert!(found.iter().map(|(k, v)| (k, v)).eq(expected.iter().copied()), "ascending");
            let found: Vec<_> = scan().reversed().map(Result::unwrap).collect();
            let expected = expected.iter().rev().copied();
            assert!(found.iter().map(|(k, v)| (k, v)).eq(expected), "descending");
        }
    }
}

/// Long runs of deletes, range deletes and overwritten versions, in memtables and in tables.
#[test]
fn walks_past_long_runs_show_what_a_model_shows() {
    for seed in 1..16 {
        let mut run = Run::new(seed);
        for step in 0..80 {
            run.step();
            if step % 3 == 0 {
                println!("seed {seed}, step {step}");
                run.check();
            }
        }
    }
}
