//! Every operation of the engine against a model, with snapshots held across all of them.
//!
//! The model is a map with expiries; a snapshot is a copy of it. Whatever is read, by key, by range in
//! either direction, by version, now or as of a snapshot, is compared with the model at the clock's
//! time. Between the operations: flushes, merges, compactions of ranges, reopens, kills, power cuts,
//! checkpoints that are opened beside, and ingested tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chronos::engine::storage::Storage;
use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{
    Batch, Clock, Conditional, Decision, Engine, Environment, Expected, KeyRange, Options, Result,
    Scan, Scheduling, Snapshot, WriteDurability, WriteOptions,
};

use crate::support::{Random, Standing, key, tiny, world};

const KEYS: u64 = 80;
/// Snapshots held at once, at most.
const SNAPSHOTS: usize = 4;

/// Values with their expiries.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// What is there at `now_ms`.
fn live(model: &Model, now_ms: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_live = |expires_ms: Option<u64>| expires_ms.is_none_or(|at| now_ms < at);
    let live = model.iter().filter(|(_, (_, expires_ms))| is_live(*expires_ms));
    live.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
}

fn remove_range(model: &mut Model, range: &KeyRange) {
    model.retain(|key, _| !range.contains(key));
}

/// Where the database lives, and how it goes down.
enum Place {
    Sim(SimStorage),
    Disk(tempfile::TempDir, Scheduling),
}

impl Place {
    fn storage(&self) -> Arc<dyn Storage> {
        match self {
            Place::Sim(storage) => Arc::new(storage.clone()),
            Place::Disk(directory, _) => {
                Arc::new(DiskStorage::new(&directory.path().join("data")).unwrap())
            }
        }
    }

    fn scheduling(&self) -> Scheduling {
        match self {
            Place::Sim(_) => Scheduling::Manual,
            Place::Disk(_, scheduling) => *scheduling,
        }
    }

    /// A directory beside the database that was not used yet.
    fn beside(&self, number: u64) -> PathBuf {
        match self {
            Place::Sim(_) => PathBuf::from(format!("copy-{number}")),
            Place::Disk(directory, _) => directory.path().join(format!("copy-{number}")),
        }
    }

    fn crash(&mut self, survival: Option<Survival>) {
        if let Place::Sim(storage) = self {
            *storage =
                survival.map_or_else(|| storage.kill(), |survival| storage.power_cut(survival));
        }
    }
}

/// A run: a database, its model, and what is held.
struct Run {
    place: Place,
    engine: Option<Engine>,
    clock: Arc<Standing>,
    model: Model,
    held: Vec<(Snapshot, Model)>,
    random: Random,
    serial: u64,
    what: String,
}

impl Run {
    fn new(place: Place, seed: u64) -> Self {
        let clock = Standing::at(1_000);
        let mut run = Run {
            place,
            engine: None,
            clock,
            model: Model::new(),
            held: Vec::new(),
            random: Random(seed),
            serial: 0,
            what: String::new(),
        };
        run.open();
        run
    }

    fn environment(&self, storage: Arc<dyn Storage>) -> Environment {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Environment { storage, clock, ..world(SimStorage::new(0), self.serial) }
    }

    fn options(&self) -> Options {
        // So few open files that tables have to take turns.
        Options { max_open_tables: 3, ..tiny(self.place.scheduling()) }
    }

    fn open(&mut self) {
        let environment = self.environment(self.place.storage());
        self.engine = Some(Engine::open(environment, self.options()).unwrap().0);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn value(&mut self) -> Vec<u8> {
        let filler = if self.random.one_in(12) { 2_000 } else { 60 };
        let mut value = format!("value {} ", self.serial).into_bytes();
        value.resize(value.len() + self.random.below(filler) as usize, b'.');
        value
    }

    fn key(&mut self) -> Vec<u8> {
        key(self.random.below(KEYS))
    }

    fn expiry(&mut self) -> u64 {
        self.now_ms() + self.random.below(60)
    }

    fn range(&mut self) -> KeyRange {
        let (a, b) = (self.key(), self.key());
        match self.random.below(12) {
            0 => KeyRange::all(),
            1 => KeyRange::from(a..),
            2 => KeyRange::from(..b),
            3 => KeyRange::prefix(&a[..a.len() - 1]),
            4 => KeyRange::from(a..=b),
            _ => KeyRange::from(a.clone().min(b.clone())..a.max(b)),
        }
    }

    fn step(&mut self) {
        self.what = format!("{} ", self.serial);
        match self.random.below(1_000) {
            0..250 => self.put(),
            250..320 => self.put_expiring(),
            320..420 => self.delete(),
            420..440 => self.delete_range(),
            440..520 => self.write_batch(),
            520..550 => self.put_if(),
            550..570 => self.transact(),
            570..680 => self.look(),
            680..760 => self.scan(),
            760..800 => self.hold(),
            800..860 => self.look_back(),
            860..890 => self.let_go(),
            890..925 => _ = self.clock.0.fetch_add(self.random.below(40), Ordering::Relaxed),
            // Which no reader can tell.
            925..930 => {
                let keeps = self.random.one_in(2);
                self.engine().keep_expired(keeps);
            }
            930..960 => self.engine().run_background(),
            960..970 => self.compact_range(),
            970..978 => self.checkpoint(),
            978..986 => self.ingest(),
            986..994 => self.reopen(),
            _ => self.crash(),
        }
        self.serial += 1;
    }

    fn durability(&mut self) -> WriteOptions {
        let all = [WriteDurability::Synced, WriteDurability::Grouped, WriteDurability::Unsynced];
        WriteOptions::durability(all[self.random.below(3) as usize])
    }

    fn put(&mut self) {
        let (key, value, durability) = (self.key(), self.value(), self.durability());
        self.engine().put_with(&key, &value, durability).unwrap();
        self.model.insert(key, (value, None));
    }

    fn put_expiring(&mut self) {
        let (key, value, expiry) = (self.key(), self.value(), self.expiry());
        let durability = self.durability();
        self.engine().put_expiring_with(&key, &value, expiry, durability).unwrap();
        self.model.insert(key, (value, Some(expiry)));
    }

    fn delete(&mut self) {
        let (key, durability) = (self.key(), self.durability());
        self.engine().delete_with(&key, durability).unwrap();
        self.model.remove(&key);
    }

    fn delete_range(&mut self) {
        let range = self.range();
        self.engine().delete_range(range.clone()).unwrap();
        remove_range(&mut self.model, &range);
    }

    fn write_batch(&mut self) {
        let mut batch = Batch::new();
        // Sometimes more than a memtable holds.
        let most = if self.random.one_in(20) { 400 } else { 8 };
        for _ in 0..self.random.below(most) {
            let (key, value, expiry) = (self.key(), self.value(), self.expiry());
            match self.random.below(10) {
                0 => {
                    let range = self.range();
                    batch.delete_range(range.clone());
                    remove_range(&mut self.model, &range);
                }
                1 | 2 => {
                    batch.delete(&key);
                    self.model.remove(&key);
                }
                3 | 4 => {
                    batch.put_expiring(&key, &value, expiry);
                    self.model.insert(key, (value, Some(expiry)));
                }
                _ => {
                    batch.put(&key, &value);
                    self.model.insert(key, (value, None));
                }
            }
        }
        self.engine().write(&batch, WriteOptions::default()).unwrap();
    }

    fn put_if(&mut self) {
        let (key, value) = (self.key(), self.value());
        let record = self.engine().get_record(&key).unwrap();
        let version = record.as_ref().map_or(0, |record| record.version);
        let expected = match self.random.below(3) {
            0 => Expected::Absent,
            1 => Expected::Version(version),
            _ => Expected::Version(version + 1),
        };
        let fits = match (expected, &record) {
            (Expected::Absent, None) => true,
            (Expected::Version(expected), Some(record)) => expected == record.version,
            _ => false,
        };
        match self.engine().put_if(&key, &value, expected).unwrap() {
            Conditional::Written { version } => {
                assert!(fits, "{}: {expected:?} of {record:?}", self.what);
                let written = self.engine().get_record(&key).unwrap().unwrap();
                assert_eq!((written.version, written.value.to_vec()), (version, value.clone()));
                self.model.insert(key, (value, None));
            }
            Conditional::Conflict { current } => {
                assert!(!fits, "{}: {expected:?} of {record:?}", self.what);
                assert_eq!(current, record, "{}", self.what);
            }
        }
    }

    /// A batch with conditions, which hold or do not.
    fn transact(&mut self) {
        let mut batch = Batch::new();
        let (mut after, mut fits) = (self.model.clone(), true);
        for _ in 0..self.random.below(4) {
            let key = self.key();
            let found = self.engine().get_record(&key).unwrap();
            let (expected, holds) = match self.random.below(8) {
                0 => (Expected::Absent, found.is_none()),
                1 => (Expected::Present, found.is_some()),
                2 => (Expected::Version(u64::MAX), false),
                _ => (Expected::of(found.as_ref()), true),
            };
            fits &= holds;
            batch.require(&key, expected);
        }
        for _ in 0..self.random.below(5) {
            let (key, value) = (self.key(), self.value());
            if self.random.one_in(3) {
                batch.delete(&key);
                after.remove(&key);
            } else {
                batch.put(&key, &value);
                after.insert(key, (value, None));
            }
        }
        let durability = self.durability();
        match self.engine().write_if(&batch, durability).unwrap() {
            Decision::Written { .. } => {
                assert!(fits, "{}: {batch:?}", self.what);
                self.model = after;
            }
            Decision::Conflict { key, current } => {
                assert!(!fits, "{}: {batch:?}", self.what);
                assert_eq!(current, self.engine().get_record(&key).unwrap(), "{}", self.what);
            }
        }
    }

    /// Reads some keys, one by one and together.
    fn look(&mut self) {
        let keys: Vec<Vec<u8>> = (0..=self.random.below(6)).map(|_| self.key()).collect();
        let there: BTreeMap<_, _> = live(&self.model, self.now_ms()).into_iter().collect();
        for key in &keys {
            let record = self.engine().get_record(key).unwrap();
            let found = record.as_ref().map(|record| record.value.to_vec());
            assert_eq!(found, there.get(key).cloned(), "{}: {key:?}", self.what);
            if let Some(record) = record {
                assert_eq!(record.expires_ms, self.model[key].1, "{}", self.what);
            }
        }
        let together = self.engine().multi_get(&keys).unwrap();
        let together: Vec<_> = together.into_iter().map(|v| v.map(|v| v.to_vec())).collect();
        let expected: Vec<_> = keys.iter().map(|key| there.get(key).cloned()).collect();
        assert_eq!(together, expected, "{}", self.what);
    }

    fn scan(&mut self) {
        let range = self.range();
        let scan = || self.engine().scan(range.clone());
        check_scans(scan, &self.model, &range, self.now_ms(), &self.what);
        let wandering = scan();
        self.wander(wandering, &range);
    }

    /// Steps and leaps to and fro in one scan.
    fn wander(&mut self, scan: Scan, range: &KeyRange) {
        let mut expected = live(&self.model, self.now_ms());
        expected.retain(|(key, _)| range.contains(key));
        let is_reversed = self.random.one_in(2);
        let mut scan = if is_reversed { scan.reversed() } else { scan };
        if is_reversed {
            expected.reverse();
        }
        // Where it stands: 0 is before the first.
        let (mut at, behind) = (0, expected.len() + 1);
        for _ in 0..self.random.below(30) {
            let found = match self.random.below(8) {
                0 => {
                    let target = self.key();
                    let is_before = |(key, _): &(Vec<u8>, Vec<u8>)| {
                        if is_reversed { *key > target } else { *key < target }
                    };
                    at = 1 + expected.partition_point(is_before);
                    scan.seek(&target)
                }
                1..5 => {
                    at = (at + 1).min(behind);
                    scan.advance()
                }
                _ => {
                    at = at.saturating_sub(1);
                    scan.retreat()
                }
            };
            let entry = at.checked_sub(1).and_then(|at| expected.get(at));
            let found = found.unwrap().then(|| (scan.key().to_vec(), scan.value().to_vec()));
            assert_eq!(found.as_ref(), entry, "{}: {range:?}, {is_reversed}", self.what);
        }
    }

    fn hold(&mut self) {
        if self.held.len() < SNAPSHOTS {
            let snapshot = self.engine().snapshot();
            self.held.push((snapshot, self.model.clone()));
        }
    }

    /// Reads as of a snapshot.
    fn look_back(&mut self) {
        let (range, wanted) = (self.range(), self.key());
        let Some((snapshot, model)) = self.held.get(self.random.below(4) as usize) else { return };
        let what = format!("{} at snapshot {}", self.what, snapshot.seq());
        check_scans(|| snapshot.scan(range.clone()), model, &range, self.now_ms(), &what);
        let there: BTreeMap<_, _> = live(model, self.now_ms()).into_iter().collect();
        let found = snapshot.get(&wanted).unwrap().map(|value| value.to_vec());
        assert_eq!(found, there.get(&wanted).cloned(), "{what}");
        let together = snapshot.multi_get(&[&wanted]).unwrap();
        assert_eq!(together[0].as_ref().map(|v| v.to_vec()), found, "{what}");
    }

    fn let_go(&mut self) {
        if !self.held.is_empty() {
            let place = self.random.below(self.held.len() as u64) as usize;
            self.held.swap_remove(place);
        }
    }

    fn compact_range(&mut self) {
        let range = self.range();
        self.engine().compact_range(range).unwrap();
        self.check_all();
    }

    /// Copies the database and opens the copy beside it.
    fn checkpoint(&mut self) {
        let path = self.place.beside(self.serial);
        self.engine().checkpoint(&path).unwrap();
        let refused = self.engine().checkpoint(&path);
        assert!(refused.is_err(), "{}: a directory that is in use", self.what);
        self.put();
        self.model_at_copy(&path).unwrap();
    }

    /// The copy holds what was there before the last write.
    fn model_at_copy(&self, path: &Path) -> Result<()> {
        let storage = self.engine_storage_at(path);
        let (copy, recovery) = Engine::open(self.environment(storage), self.options())?;
        assert_eq!((recovery.created, recovery.writes), (false, 0), "{}", self.what);
        let found: Vec<_> = copy.scan(..).collect::<Result<_>>()?;
        let now = live(&self.model, self.now_ms());
        let others = |all: &[(Vec<u8>, Vec<u8>)]| {
            let last = format!("value {} ", self.serial).into_bytes();
            let others = all.iter().filter(|(_, value)| !value.starts_with(&last));
            others.cloned().collect::<Vec<_>>()
        };
        let lost = others(&now).into_iter().filter(|entry| !found.contains(entry)).count();
        assert_eq!(lost, 0, "{}: the copy lacks something", self.what);
        assert!(found.len() <= now.len() + 1, "{}: the copy has too much", self.what);
        copy.put(b"only in the copy", b"")?;
        assert!(self.engine().get(b"only in the copy")?.is_none());
        copy.close()
    }

    fn engine_storage_at(&self, path: &Path) -> Arc<dyn Storage> {
        self.place.storage().directory(path).unwrap()
    }

    fn ingest(&mut self) {
        let mut numbers: Vec<u64> =
            (0..self.random.below(60)).map(|_| self.random.below(KEYS)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut ingest = self.engine().ingest();
        let mut taken = Vec::new();
        for number in numbers {
            let (key, value) = (key(number), self.value());
            if self.random.one_in(5) {
                let expiry = self.expiry();
                ingest.put_expiring(&key, &value, expiry).unwrap();
                taken.push((key, (value, Some(expiry))));
            } else {
                ingest.put(&key, &value).unwrap();
                taken.push((key, (value, None)));
            }
        }
        assert_eq!(ingest.progress().entries, taken.len() as u64);
        if self.random.one_in(4) {
            drop(ingest);
        } else {
            ingest.finish().unwrap();
            self.model.extend(taken);
        }
        self.check_all();
    }

    fn reopen(&mut self) {
        self.engine().close().unwrap();
        // What was held can be read after the end.
        self.look_back();
        self.held.clear();
        self.engine = None;
        self.open();
        self.check_all();
    }

    fn crash(&mut self) {
        // What was written unsynced may be lost; see the tests of weaker durability.
        self.engine().sync().unwrap();
        self.held.clear();
        self.engine = None;
        let survival = [
            None,
            Some(Survival::Nothing),
            Some(Survival::Everything),
            Some(Survival::Random(self.serial)),
            Some(Survival::Torn(self.serial)),
        ][self.random.below(5) as usize];
        self.place.crash(survival);
        self.open();
        self.check_all();
    }

    fn check_all(&self) {
        let range = KeyRange::all();
        let scan = || self.engine().scan(..);
        check_scans(scan, &self.model, &range, self.now_ms(), &self.what);
    }
}

/// Compares a scan in both directions, whole and broken off, with the model.
fn check_scans(scan: impl Fn() -> Scan, model: &Model, range: &KeyRange, now_ms: u64, what: &str) {
    let mut expected = live(model, now_ms);
    expected.retain(|(key, _)| range.contains(key));
    let forward: Vec<_> = scan().collect::<Result<_>>().unwrap();
    assert_eq!(forward, expected, "{what}: {range:?}");
    let keys: Vec<_> = scan().keys().collect::<Result<_>>().unwrap();
    assert!(keys.iter().eq(expected.iter().map(|(key, _)| key)), "{what}: {range:?}, keys");
    let few: Vec<_> = scan().take(3).collect::<Result<_>>().unwrap();
    assert_eq!(few, expected[..expected.len().min(3)], "{what}: {range:?}");
    expected.reverse();
    let backward: Vec<_> = scan().reversed().collect::<Result<_>>().unwrap();
    assert_eq!(backward, expected, "{what}: {range:?} reversed");
    let keys: Vec<_> = scan().reversed().keys().collect::<Result<_>>().unwrap();
    assert!(keys.iter().eq(expected.iter().map(|(key, _)| key)), "{what}: {range:?}, keys back");
}

#[test]
fn every_operation_matches_the_model_on_the_simulated_storage() {
    for seed in 0..60 {
        let mut run = Run::new(Place::Sim(SimStorage::new(seed)), seed);
        for _ in 0..800 {
            run.step();
            run.what = format!("seed {seed}, operation {}", run.serial);
        }
        run.check_all();
    }
}

#[test]
fn every_operation_matches_the_model_on_a_real_disk() {
    for (seed, scheduling) in [(1, Scheduling::Manual), (2, Scheduling::Threads)] {
        let directory = tempfile::tempdir().unwrap();
        let mut run = Run::new(Place::Disk(directory, scheduling), seed);
        for _ in 0..1_000 {
            run.step();
        }
        run.check_all();
    }
}
