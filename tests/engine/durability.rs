//! Writes that ask for less than a sync: what of them survives, and who waits for them.
//!
//! In a seeded run, synced, grouped and unsynced writes are mixed, alone, in batches and in sessions.
//! A power cut leaves a prefix of them that holds at least what was written before the last
//! acknowledged synced write or `sync`, whatever was flushed and merged meanwhile; a prefix in whole
//! batches.

use std::time::{Duration, Instant};

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{
    Batch, Durability, Engine, Options, Result, Scheduling, WriteDurability, WriteOptions,
};

use crate::support::{
    Got, PATIENCE, Random, State, UNSYNCED, Write, apply, in_time, key, open, random_write, tiny,
    world,
};

const KEYS: u64 = 40;
const ROUNDS: u64 = 6;
const STEPS: u64 = 60;

/// A run over several crashes.
struct Run {
    random: Random,
    storage: SimStorage,
    /// After each step since the last crash.
    states: Vec<State>,
    /// The last that must survive.
    safe: usize,
    serial: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        Run {
            random: Random(seed),
            storage: SimStorage::new(seed),
            states: vec![State::new()],
            safe: 0,
            serial: 0,
        }
    }

    fn writes(&mut self) -> Vec<Write> {
        let count = if self.random.one_in(4) { 1 + self.random.below(30) } else { 1 };
        self.serial += 1;
        (0..count).map(|_| random_write(&mut self.random, KEYS, self.serial)).collect()
    }

    fn step(&mut self, engine: &Engine) {
        match self.random.below(40) {
            0 => {
                engine.sync().unwrap();
                self.safe = self.states.len() - 1;
            }
            1 => engine.run_background(),
            2 => engine.compact().unwrap(),
            3 => self.ingest(engine),
            4 | 5 => self.session(engine),
            _ => self.batch(engine),
        }
    }

    fn note(&mut self, writes: &[Write]) {
        let mut next = self.states.last().unwrap().clone();
        for write in writes {
            apply(&mut next, write);
        }
        self.states.push(next);
    }

    fn batch(&mut self, engine: &Engine) {
        let writes = self.writes();
        let mut batch = Batch::new();
        for (key, value) in &writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        self.note(&writes);
        let durability = match self.random.below(12) {
            0 => WriteDurability::Synced,
            1..4 => WriteDurability::Grouped,
            _ => WriteDurability::Unsynced,
        };
        engine.write(&batch, WriteOptions::durability(durability)).unwrap();
        if durability == WriteDurability::Synced {
            self.safe = self.states.len() - 1;
        }
    }

    /// Writes of a session are one group, also where a memtable is full amid them.
    fn session(&mut self, engine: &Engine) {
        engine.run_background();
        let writes = self.writes();
        let mut session = engine.session();
        let mut done = Vec::new();
        for write in writes {
            let (key, value) = &write;
            let admission = session.admit(key.len(), value.as_ref().map_or(0, Vec::len));
            if !matches!(admission, chronos::engine::Admission::Ready) {
                break;
            }
            match value {
                Some(value) => session.put(key, value),
                None => session.delete(key),
            };
            done.push(write);
        }
        session.submit_unsynced();
        self.note(&done);
    }

    fn ingest(&mut self, engine: &Engine) {
        let mut ingest = engine.ingest();
        self.serial += 1;
        let value = format!("ingested {}", self.serial).into_bytes();
        let writes: Vec<Write> =
            (0..KEYS).step_by(3).map(|n| (crate::support::key(n), Some(value.clone()))).collect();
        for (key, value) in &writes {
            ingest.put(key, value.as_ref().unwrap()).unwrap();
        }
        ingest.finish().unwrap();
        self.note(&writes);
        self.safe = self.states.len() - 1;
    }

    /// What survived must be one of the states from the last safe one on; life goes on from it.
    fn recover(&mut self, storage: SimStorage, options: &Options, what: &str) -> Engine {
        self.storage = storage;
        let engine = Engine::open(world(self.storage.clone(), self.serial), options.clone());
        let engine = engine.unwrap_or_else(|error| panic!("{what}: {error}")).0;
        let found: State = engine.scan(..).collect::<Result<_>>().unwrap();
        let at = self.states.iter().rposition(|state| *state == found);
        let at = at.unwrap_or_else(|| panic!("{what}: no prefix in whole batches"));
        assert!(at >= self.safe, "{what}: step {at} survived, {} was safe", self.safe);
        self.states = vec![found];
        self.safe = 0;
        engine
    }
}

#[test]
fn a_power_cut_leaves_a_prefix_with_all_that_was_synced() {
    for seed in 0..40 {
        let options = tiny(Scheduling::Manual);
        let mut run = Run::new(seed);
        let mut engine = run.recover(run.storage.clone(), &options, "new");
        for round in 0..ROUNDS {
            (0..run.random.below(STEPS)).for_each(|_| run.step(&engine));
            drop(engine);
            let survival = match run.random.below(4) {
                0 => Survival::Nothing,
                1 => Survival::Torn(run.serial),
                _ => Survival::Random(run.serial),
            };
            let what = format!("seed {seed}, round {round}, {survival:?}");
            engine = run.recover(run.storage.power_cut(survival), &options, &what);
        }
    }
}

#[test]
fn a_kill_leaves_all_that_was_handed_over_before_a_sync() {
    for seed in 0..20 {
        let options = tiny(Scheduling::Manual);
        let mut run = Run::new(100 + seed);
        let mut engine = run.recover(run.storage.clone(), &options, "new");
        for round in 0..ROUNDS {
            (0..run.random.below(STEPS)).for_each(|_| run.step(&engine));
            // Killed before the engine is dropped: what it would hand over then is not there.
            let killed = run.storage.kill();
            drop(engine);
            engine = run.recover(killed, &options, &format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn weaker_databases_keep_the_order_of_an_ingestion() {
    for durability in [Durability::EverySecond, Durability::Os] {
        for seed in 0..40 {
            let options = Options { durability, ..tiny(Scheduling::Manual) };
            let mut run = Run::new(200 + seed);
            let mut engine = run.recover(run.storage.clone(), &options, "new");
            for round in 0..ROUNDS {
                (0..run.random.below(STEPS)).for_each(|_| run.step(&engine));
                drop(engine);
                // Nothing promises more here than what a table holds.
                run.safe = 0;
                let survival =
                    if round % 2 == 0 { Survival::Nothing } else { Survival::Random(run.serial) };
                let what = format!("{durability:?}, seed {seed}, round {round}");
                engine = run.recover(run.storage.power_cut(survival), &options, &what);
            }
        }
    }
}

fn threaded() -> (SimStorage, Engine) {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    engine.put(b"key", b"old").unwrap();
    (storage, engine)
}

fn put(engine: &Engine, durability: WriteDurability) {
    engine.put_with(b"key", b"new", WriteOptions::durability(durability)).unwrap();
}

#[test]
fn an_unsynced_value_is_shown_without_waiting() {
    let (storage, engine) = threaded();
    storage.hold_syncs(true);
    put(&engine, WriteDurability::Unsynced);
    let reader = engine.clone();
    let shown = in_time("a read of an unsynced value", move || {
        let scanned = reader.scan(..).next().unwrap().unwrap().1;
        let record = reader.get_record(b"key").unwrap().unwrap();
        let looked_back = reader.snapshot().get(b"key").unwrap().unwrap();
        [reader.got(b"key").unwrap(), scanned, record.value.to_vec(), looked_back.to_vec()]
    });
    assert_eq!(shown, [b"new"; 4]);
    storage.hold_syncs(false);
}

#[test]
fn a_grouped_write_returns_at_once_and_its_readers_wait() {
    let (storage, engine) = threaded();
    storage.hold_syncs(true);
    let writer = engine.clone();
    in_time("a grouped write", move || put(&writer, WriteDurability::Grouped));
    assert!(storage.wait_for_syncs(1, PATIENCE), "it is synced without being asked for");
    let (reader, scanner) = (engine.clone(), engine.clone());
    let reading = std::thread::spawn(move || reader.got(b"key"));
    let scanning = std::thread::spawn(move || scanner.scan(..).next().unwrap().unwrap().1);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!reading.is_finished() && !scanning.is_finished(), "shown before its sync");
    storage.hold_syncs(false);
    assert_eq!(in_time("the read", || reading.join()).unwrap(), Some(b"new".to_vec()));
    assert_eq!(in_time("the scan", || scanning.join()).unwrap(), b"new");
}

#[test]
fn an_unsynced_write_reaches_the_system_by_itself() {
    let (storage, engine) = threaded();
    put(&engine, WriteDurability::Unsynced);
    let since = Instant::now();
    while engine.durable_seq() < engine.stats().last_seq {
        assert!(since.elapsed() < PATIENCE, "it is never handed over");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(open(storage.kill(), 2).unwrap().got(b"key"), Some(b"new".to_vec()));
}

#[test]
fn an_unsynced_write_is_synced_by_itself() {
    let (storage, engine) = threaded();
    storage.hold_syncs(true);
    put(&engine, WriteDurability::Unsynced);
    assert!(storage.wait_for_syncs(1, PATIENCE), "it is never synced");
    storage.hold_syncs(false);
    let since = Instant::now();
    while storage.waiting_syncs() > 0 {
        assert!(since.elapsed() < PATIENCE, "the sync never ends");
        std::thread::yield_now();
    }
    drop(engine);
    let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
    assert_eq!(engine.got(b"key"), Some(b"new".to_vec()));
}

/// Nobody waits for what nobody asked to be synced, and it is synced within a second all the same.
#[test]
fn unsynced_writes_are_synced_once_a_second_and_shown_at_once() {
    let storage = SimStorage::new(1);
    let options =
        Options { memory_bytes: 8 << 20, wal_segment_bytes: 16 << 20, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    engine.put(b"first", b"synced").unwrap();
    let calls = storage.call_count();
    engine.put_with(&key(0), b"value", UNSYNCED).unwrap();
    assert_eq!(engine.got(&key(0)), Some(b"value".to_vec()));
    assert_eq!(storage.call_count(), calls, "it is shown before it is in the log");
    assert!(engine.commit_in_place());
    assert_eq!(storage.call_count(), calls + 1, "one write and no sync");
    // The clock of this world goes on by a millisecond with each look.
    for number in 1..1_100 {
        engine.put_with(&key(number), b"value", UNSYNCED).unwrap();
        engine.commit_in_place();
    }
    let syncs = storage.call_count() - calls - 1_100;
    assert!((1..50).contains(&syncs), "{syncs}");
    let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
    assert_eq!(engine.got(&key(0)), Some(b"value".to_vec()));
}

/// A batch that needs more than one memtable is all there after a power cut, or not at all.
#[test]
fn a_batch_over_two_memtables_survives_as_a_whole_or_not_at_all() {
    let mut outcomes = [0, 0];
    for call in 1.. {
        let storage = SimStorage::new(1);
        let options = Options {
            memory_bytes: 8 << 20,
            wal_segment_bytes: 256 << 10,
            ..tiny(Scheduling::Manual)
        };
        let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
        engine.put(b"before", b"").unwrap();
        let mut batch = Batch::new();
        batch.put(b"first", b"");
        for number in 0..1_500 {
            batch.delete_range(key(number)..key(number + 1));
        }
        batch.put(b"last", b"");
        engine.write(&batch, UNSYNCED).unwrap();
        storage.crash_at(storage.call_count() + call);
        let is_done = engine.compact().is_ok();
        drop(engine);
        let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
        let there = [b"first".as_slice(), b"last"].map(|key| engine.got(key).is_some());
        assert_eq!(there[0], there[1], "call {call}");
        outcomes[usize::from(there[0])] += 1;
        if is_done {
            break;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}
