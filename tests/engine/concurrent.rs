//! Scans, snapshots and checkpoints beside writers: whatever is read is one state between two batches.
//!
//! Each writer has a stretch of keys of its own and a script of batches, which follows from a seed:
//! transfers between accounts whose sum is constant, a whole range deleted and written anew, a pair
//! of keys at the far ends that tells the number of the batch. So whoever reads knows from one key
//! which state all others must show. Threads wait for the writers' progress before each round, and
//! all is bounded by numbers of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chronos::engine::storage::Storage;
use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{
    Batch, Engine, Environment, KeyRange, Options, Result, Scheduling, Value, WriteDurability,
    WriteOptions,
};

use crate::support::{Random, State, tiny, world};

const WRITERS: u64 = 3;
const BATCHES: usize = 250;
const ACCOUNTS: u64 = 24;
const FORTUNE: u64 = 1_000;
/// Keys of an ingestion.
const INGESTED: u64 = 40;
/// Rounds of each thread that reads or disturbs.
const ROUNDS: usize = 40;
/// Later than any clock here.
const FAR_MS: u64 = 1 << 60;

/// What a writer does: batches, and the state of its keys after each.
struct Script {
    batches: Vec<Batch>,
    states: Vec<State>,
}

/// A writer while its script is made.
struct Author {
    writer: u64,
    random: Random,
    accounts: Vec<u64>,
    /// Keys of the range that is written anew, and the batch that did it last.
    list: (u64, usize),
    batch: Batch,
    state: State,
}

impl Author {
    fn key(&self, room: char, number: u64) -> Vec<u8> {
        format!("{room}{}-{number:02}", self.writer).into_bytes()
    }

    /// A value that begins with `number`.
    fn value(&mut self, number: u64) -> Vec<u8> {
        let filler = self.random.below(if self.random.0.is_multiple_of(9) { 900 } else { 90 });
        let mut value = format!("{number} ").into_bytes();
        value.resize(value.len() + filler as usize, b'.');
        value
    }

    fn put(&mut self, room: char, number: u64, content: u64) {
        let (key, value) = (self.key(room, number), self.value(content));
        if self.random.one_in(5) {
            self.batch.put_expiring(&key, &value, FAR_MS);
        } else {
            self.batch.put(&key, &value);
        }
        self.state.insert(key, value);
    }

    /// An account that holds nothing has no key.
    fn put_account(&mut self, number: u64) {
        match self.accounts[number as usize] {
            0 => {
                let key = self.key('m', number);
                self.batch.delete(&key);
                self.state.remove(&key);
            }
            amount => self.put('m', number, amount),
        }
    }

    fn delete_room(&mut self, room: char) {
        let range = KeyRange::prefix(format!("{room}{}-", self.writer).as_bytes());
        self.state.retain(|key, _| !range.contains(key));
        self.batch.delete_range(range);
    }

    fn transfer(&mut self) {
        let (from, to) = (self.random.below(ACCOUNTS), self.random.below(ACCOUNTS));
        let whole = self.random.one_in(3);
        let held = self.accounts[from as usize];
        let amount = if whole { held } else { self.random.below(held + 1) };
        self.accounts[from as usize] -= amount;
        self.accounts[to as usize] += amount;
        self.put_account(from);
        self.put_account(to);
    }

    fn write_accounts_anew(&mut self) {
        self.delete_room('m');
        (0..ACCOUNTS).for_each(|number| self.put_account(number));
    }

    fn write_list_anew(&mut self, serial: usize) {
        self.delete_room('n');
        self.list = (self.random.below(20), serial);
        (0..self.list.0).for_each(|number| self.put('n', number, serial as u64));
    }

    /// Batch number `serial`; the first brings the accounts to life.
    fn step(&mut self, serial: usize) -> (Batch, State) {
        self.batch = Batch::new();
        self.put('a', 0, serial as u64);
        if serial == 0 || self.random.one_in(12) {
            self.write_accounts_anew();
        }
        if self.random.one_in(8) {
            self.write_list_anew(serial);
        }
        (0..=self.random.below(3)).for_each(|_| self.transfer());
        self.put('z', 0, serial as u64);
        (self.batch.clone(), self.state.clone())
    }
}

fn script(writer: u64, seed: u64) -> Script {
    let mut author = Author {
        writer,
        random: Random(seed + writer),
        accounts: vec![FORTUNE; ACCOUNTS as usize],
        list: (0, 0),
        batch: Batch::new(),
        state: State::new(),
    };
    let (batches, states) = (0..BATCHES).map(|serial| author.step(serial)).unzip();
    Script { batches, states }
}

/// The number that a value begins with.
fn number(value: &[u8]) -> u64 {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What all threads share.
struct Trial {
    engine: Engine,
    storage: Arc<dyn Storage>,
    /// Where checkpoints go.
    beside: PathBuf,
    scripts: Vec<Script>,
    /// Batches done by all writers.
    progress: AtomicUsize,
    readers: AtomicU64,
}

fn options() -> Options {
    Options { memory_bytes: 64 << 10, max_open_tables: 4, ..tiny(Scheduling::Threads) }
}

impl Trial {
    fn new(storage: Arc<dyn Storage>, beside: PathBuf, seed: u64) -> Self {
        let environment = environment(&storage, seed);
        let engine = Engine::open(environment, options()).unwrap().0;
        let scripts: Vec<Script> = (0..WRITERS).map(|writer| script(writer, seed)).collect();
        for script in &scripts {
            engine.write(&script.batches[0], WriteOptions::default()).unwrap();
        }
        let (progress, readers) = (AtomicUsize::new(0), AtomicU64::new(0));
        Trial { engine, storage, beside, scripts, progress, readers }
    }

    /// Waits until the writers have done their share of what comes before `round`.
    fn wait_for_round(&self, round: usize) {
        let share = WRITERS as usize * (BATCHES - 1) * round / ROUNDS;
        while self.progress.load(Ordering::Relaxed) < share {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn write(&self, writer: u64) {
        let _done = Done(&self.progress);
        let mut random = Random(writer);
        for batch in &self.scripts[writer as usize].batches[1..] {
            let durability =
                [WriteDurability::Synced, WriteDurability::Grouped, WriteDurability::Unsynced]
                    [random.below(3) as usize];
            self.engine.write(batch, WriteOptions::durability(durability)).unwrap();
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Checks a whole state; returns which batch of each writer is its last.
    fn check(&self, entries: &[(Vec<u8>, Vec<u8>)], what: &str) -> Vec<usize> {
        let mut rooms: BTreeMap<u8, State> = BTreeMap::new();
        let mut ingested = BTreeSet::new();
        let mut count = 0;
        for (key, value) in entries {
            if key[0] == b'i' {
                ingested.insert(value.clone());
                count += 1;
            } else {
                rooms.entry(key[1]).or_default().insert(key.clone(), value.clone());
            }
        }
        assert!(ingested.len() <= 1, "{what}: two ingestions at once: {ingested:?}");
        assert!(count == 0 || count == INGESTED, "{what}: {count} keys of an ingestion");
        assert_eq!(rooms.len(), self.scripts.len(), "{what}");
        let states = rooms.values().zip(&self.scripts);
        states.map(|(found, script)| check_state(found, script, what)).collect()
    }

    fn scan(&self) -> Entries {
        self.engine.scan(..).collect::<Result<_>>().unwrap()
    }

    fn scan_reversed(&self) -> Entries {
        let mut found: Entries = self.engine.scan(..).reversed().collect::<Result<_>>().unwrap();
        assert!(found.is_sorted_by(|a, b| a.0 > b.0), "not descending");
        found.reverse();
        found
    }

    /// All keys of a writer at once, by their names.
    fn check_multi_get(&self, writer: u64) {
        let mut keys = vec![format!("a{writer}-00"), format!("z{writer}-00")];
        keys.extend((0..ACCOUNTS).map(|number| format!("m{writer}-{number:02}")));
        let values = self.engine.multi_get(&keys).unwrap();
        check_fortune(&values, writer);
    }

    /// A part of a state: the accounts of one writer.
    fn check_part(&self, writer: u64, reversed: bool) {
        let scan = self.engine.scan(KeyRange::prefix(format!("m{writer}-").as_bytes()));
        let scan = if reversed { scan.reversed() } else { scan };
        let amounts: Vec<u64> = scan.map(|entry| number(&entry.unwrap().1)).collect();
        assert_eq!(amounts.iter().sum::<u64>(), ACCOUNTS * FORTUNE, "{amounts:?}");
    }

    /// Scans over and over, in both directions; what is seen never goes back.
    fn read(&self) {
        let reader = self.readers.fetch_add(1, Ordering::Relaxed);
        let mut last = vec![0; self.scripts.len()];
        for round in 0..ROUNDS {
            self.wait_for_round(round);
            let found = if round % 2 == 0 { self.scan() } else { self.scan_reversed() };
            let seen = self.check(&found, &format!("reader {reader}, round {round}"));
            assert!(last.iter().zip(&seen).all(|(a, b)| a <= b), "{last:?}, then {seen:?}");
            last = seen;
            self.check_multi_get((reader + round as u64) % WRITERS);
            self.check_part((reader + round as u64) % WRITERS, round % 3 == 0);
        }
    }

    /// Takes snapshots and compares what they show at once with what they show later.
    fn look_back(&self) {
        for round in 0..ROUNDS {
            self.wait_for_round(round);
            let snapshot = self.engine.snapshot();
            let scan = || -> Entries { snapshot.scan(..).collect::<Result<_>>().unwrap() };
            let first = scan();
            self.check(&first, &format!("snapshot of round {round}"));
            // Held over some rounds now and then, so that merges have to heed it.
            self.wait_for_round((round + [0, 1, 4, 12][round % 4]).min(ROUNDS));
            let mut reversed: Entries =
                snapshot.scan(..).reversed().collect::<Result<_>>().unwrap();
            reversed.reverse();
            let what = format!("round {round}, snapshot {}", snapshot.seq());
            is_same(&first, &reversed, &format!("{what}, reversed"));
            is_same(&first, &scan(), &what);
            let (keys, expected): (Vec<&Vec<u8>>, Vec<&Vec<u8>>) =
                first.iter().map(|(key, value)| (key, value)).unzip();
            let found = snapshot.multi_get(&keys).unwrap();
            for ((key, found), expected) in keys.iter().zip(&found).zip(expected) {
                let key = String::from_utf8_lossy(key);
                let found = found.as_ref().map(|value| String::from_utf8_lossy(value));
                let what = format!("round {round}: {key} at {}", snapshot.seq());
                assert_eq!(found.as_deref(), std::str::from_utf8(expected).ok(), "{what}");
            }
            let one = &first[round % first.len()];
            assert!(snapshot.get(&one.0).unwrap().unwrap() == one.1, "round {round}");
        }
    }

    /// Merges, copies and ingests meanwhile.
    fn disturb(&self) {
        let mut random = Random(77);
        for round in 0..ROUNDS {
            self.wait_for_round(round);
            let (a, b) = (random.below(26) as u8, random.below(26) as u8);
            match round % 4 {
                0 => self.engine.compact_range([b'a' + a.min(b)]..=[b'a' + a.max(b)]).unwrap(),
                1 => self.ingest(round),
                2 if round % 8 == 2 => self.copy(round),
                _ => self.engine.compact().unwrap(),
            }
        }
    }

    fn ingest(&self, round: usize) {
        let mut ingest = self.engine.ingest();
        for number in 0..INGESTED {
            let value = format!("{round} {}", ".".repeat(600));
            ingest.put(format!("i-{number:02}").as_bytes(), value.as_bytes()).unwrap();
        }
        ingest.finish().unwrap();
    }

    fn copy(&self, round: usize) {
        let path = self.beside.join(format!("copy-{round}"));
        let before = self.check(&self.scan(), "before a copy");
        self.engine.checkpoint(&path).unwrap();
        let storage = self.storage.directory(&path).unwrap();
        let (copy, recovery) = Engine::open(environment(&storage, 5), options()).unwrap();
        assert_eq!((recovery.created, recovery.writes), (false, 0));
        let found: Entries = copy.scan(..).collect::<Result<_>>().unwrap();
        let copied = self.check(&found, &format!("copy of round {round}"));
        assert!(before.iter().zip(&copied).all(|(a, b)| a <= b), "{before:?}, then {copied:?}");
        copy.close().unwrap();
    }

    fn run(&self) {
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || self.write(writer));
            }
            scope.spawn(|| self.read());
            scope.spawn(|| self.read());
            scope.spawn(|| self.look_back());
            scope.spawn(|| self.disturb());
        });
        let stats = self.engine.stats();
        assert!(stats.flushes > 10 && stats.compactions > 10, "nothing to disturb: {stats:?}");
        self.check_end(&self.scan());
    }

    fn check_end(&self, entries: &[(Vec<u8>, Vec<u8>)]) {
        assert_eq!(self.check(entries, "at the end"), vec![BATCHES - 1; self.scripts.len()]);
    }
}

/// Lets the other threads go on if a writer dies: its panic is what they all end with.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }
}

fn environment(storage: &Arc<dyn Storage>, seed: u64) -> Environment {
    Environment { storage: Arc::clone(storage), ..world(SimStorage::new(0), seed) }
}

/// Whether two walks over one state are the same, told by what differs.
fn is_same(first: &Entries, second: &Entries, what: &str) {
    let only = |some: &Entries, others: &Entries| -> Vec<String> {
        let only = some.iter().filter(|entry| !others.contains(entry));
        only.map(|(key, value)| String::from_utf8_lossy(&[key, &b"="[..], value].concat()).into())
            .collect()
    };
    let (gone, come) = (only(first, second), only(second, first));
    assert!(first == second, "{what} has changed: {gone:#?} gone, {come:#?} come");
}

/// Checks the keys of one writer; returns which batch was its last.
fn check_state(found: &State, script: &Script, what: &str) -> usize {
    let pair: Vec<usize> = found
        .iter()
        .filter(|(key, _)| matches!(key[0], b'a' | b'z'))
        .map(|(_, value)| number(value) as usize)
        .collect();
    assert!(pair.len() == 2 && pair[0] == pair[1], "{what}: the pair differs: {pair:?}");
    assert!(*found == script.states[pair[0]], "{what}: not the state after batch {}", pair[0]);
    pair[0]
}

/// Checks the pair and the accounts of a writer, looked up by name.
fn check_fortune(values: &[Option<Value<'static>>], writer: u64) {
    let numbers: Vec<u64> =
        values.iter().map(|value| value.as_ref().map_or(0, |value| number(value))).collect();
    assert_eq!(numbers[0], numbers[1], "writer {writer}: the pair differs");
    assert_eq!(numbers[2..].iter().sum::<u64>(), ACCOUNTS * FORTUNE, "writer {writer}");
}

#[test]
fn readers_see_whole_batches_on_the_simulated_storage() {
    for seed in [1, 2] {
        let storage = SimStorage::new(seed);
        let trial = Trial::new(Arc::new(storage.clone()), PathBuf::from("beside"), 1_000 * seed);
        trial.run();
        trial.engine.sync().unwrap();
        let survivor: Arc<dyn Storage> = Arc::new(storage.power_cut(Survival::Nothing));
        let (engine, _) = Engine::open(environment(&survivor, 9), options()).unwrap();
        let found: Entries = engine.scan(..).collect::<Result<_>>().unwrap();
        trial.check_end(&found);
    }
}

#[test]
fn readers_see_whole_batches_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DiskStorage::new(&directory.path().join("data")).unwrap());
    let trial = Trial::new(storage, directory.path().to_owned(), 3_000);
    trial.run();
    trial.engine.close().unwrap();
    let (engine, recovery) = Engine::open(environment(&trial.storage, 9), options()).unwrap();
    assert_eq!(recovery.writes, 0, "it was closed in order");
    let found: Entries = engine.scan(..).collect::<Result<_>>().unwrap();
    trial.check_end(&found);
}
