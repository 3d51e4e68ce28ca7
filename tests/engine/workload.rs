//! A workload of all that changes a database, and the states that it goes through: what crashes and
//! failing calls are tried on.
//!
//! It runs on one thread and is a function of its seed. Each step is atomic: one more state in the
//! history, which is complete once the step was acknowledged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{
    Batch, Clock, Engine, Environment, KeyRange, Options, Result, Scheduling, WriteOptions,
};

use crate::support::{Random, Standing, key, tiny, world};

const KEYS: u64 = 40;
const STEPS: u64 = 75;
/// When the workload begins, and when what is left of it is looked at, in milliseconds.
const BEGIN_MS: u64 = 1_000;
const LATER_MS: u64 = 1_000_000;
/// Later than that.
const FAR_MS: u64 = 1 << 60;

/// Values with their expiries.
pub(crate) type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// What a reader sees, in order.
pub(crate) type Seen = Vec<(Vec<u8>, Vec<u8>)>;

/// What of `model` has not expired at `now_ms`.
pub(crate) fn live(model: &Model, now_ms: u64) -> Seen {
    let is_live = |expires_ms: Option<u64>| expires_ms.is_none_or(|at| now_ms < at);
    let live = model.iter().filter(|(_, (_, expires_ms))| is_live(*expires_ms));
    live.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
}

/// The same at the time at which survivors are looked at.
pub(crate) fn later(model: &Model) -> Seen {
    live(model, LATER_MS)
}

/// What `engine` shows, the same in both directions.
pub(crate) fn seen(engine: &Engine) -> Result<Seen> {
    let forward: Seen = engine.scan(..).collect::<Result<_>>()?;
    let mut backward: Seen = engine.scan(..).reversed().collect::<Result<_>>()?;
    backward.reverse();
    assert!(forward == backward, "the directions differ");
    Ok(forward)
}

/// Sizes so small that a few steps flush, change segments and merge.
pub(crate) fn options() -> Options {
    Options {
        memory_bytes: 64 << 10,
        wal_segment_bytes: 48 << 10,
        table_bytes: 4 << 10,
        ..tiny(Scheduling::Manual)
    }
}

/// Opens what survived, at a time when all that expires within the workload has expired.
pub(crate) fn open_later(storage: impl Storage) -> Result<Engine> {
    let clock = Standing::at(LATER_MS);
    Ok(Engine::open(Environment { clock, ..world(storage, 77) }, options())?.0)
}

/// A copy that was asked for.
pub(crate) struct Copy {
    pub(crate) path: PathBuf,
    /// What it must hold.
    pub(crate) model: Model,
    pub(crate) acknowledged: bool,
}

/// What happened until the end or the first error.
pub(crate) struct History {
    /// The state after each step, whether or not it was acknowledged.
    pub(crate) models: Vec<Model>,
    /// The last that was.
    pub(crate) acknowledged: usize,
    pub(crate) copies: Vec<Copy>,
}

impl History {
    /// What survives is one of these.
    pub(crate) fn possible(&self) -> &[Model] {
        &self.models[self.acknowledged..]
    }
}

/// A run of the workload.
pub(crate) struct Workload {
    random: Random,
    clock: Arc<Standing>,
    serial: u64,
    pub(crate) history: History,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Workload {
            random: Random(seed),
            clock: Standing::at(BEGIN_MS),
            serial: 0,
            history: History { models: vec![Model::new()], acknowledged: 0, copies: Vec::new() },
        }
    }

    pub(crate) fn open(&self, storage: impl Storage) -> Result<Engine> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Ok(Engine::open(Environment { clock, ..world(storage, 5) }, options())?.0)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Runs all steps, then closes; until the first error.
    pub(crate) fn run(&mut self, engine: &Engine) -> Result<()> {
        for serial in 0..STEPS {
            self.serial = serial;
            self.clock.set(BEGIN_MS + 10 * serial);
            self.step(engine)?;
        }
        engine.close()
    }

    fn step(&mut self, engine: &Engine) -> Result<()> {
        match self.serial {
            20 | 55 => self.ingest(engine),
            30 | 70 => self.checkpoint(engine),
            40 => engine.compact_range(key(0)..key(KEYS / 2)),
            65 => engine.compact(),
            serial if serial % 9 == 4 => self.delete_range(engine),
            serial if serial % 6 == 5 => self.put(engine),
            serial if serial % 4 == 3 => {
                engine.run_background();
                self.batch(engine)
            }
            _ => self.batch(engine),
        }
    }

    fn attempt(&mut self, next: Model) {
        self.history.models.push(next);
    }

    fn acknowledge(&mut self) {
        self.history.acknowledged = self.history.models.len() - 1;
    }

    fn model(&self) -> Model {
        self.history.models.last().cloned().unwrap_or_default()
    }

    fn value(&mut self) -> Vec<u8> {
        let filler = if self.random.one_in(4) { self.random.below(3_000) } else { 80 };
        let mut value = format!("value {} ", self.serial).into_bytes();
        value.resize(value.len() + filler as usize, b'.');
        value
    }

    /// When a value of this step expires: at once, within the workload, or never.
    fn expiry(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.now_ms(),
            1 => FAR_MS,
            _ => self.now_ms() + self.random.below(200),
        }
    }

    fn range(&mut self) -> (Vec<u8>, Vec<u8>) {
        let first = self.random.below(KEYS);
        (key(first), key(first + 1 + self.random.below(KEYS / 3)))
    }

    fn put(&mut self, engine: &Engine) -> Result<()> {
        let (key, value, mut next) = (key(self.random.below(KEYS)), self.value(), self.model());
        next.insert(key.clone(), (value.clone(), None));
        self.attempt(next);
        engine.put(&key, &value)?;
        self.acknowledge();
        Ok(())
    }

    fn delete_range(&mut self, engine: &Engine) -> Result<()> {
        let ((start, end), mut next) = (self.range(), self.model());
        let range = KeyRange::from(start..end);
        next.retain(|key, _| !range.contains(key));
        self.attempt(next);
        engine.delete_range(range)?;
        self.acknowledge();
        Ok(())
    }

    fn batch(&mut self, engine: &Engine) -> Result<()> {
        let (mut batch, mut next) = (Batch::new(), self.model());
        for _ in 0..=self.random.below(6) {
            let (key, value, expiry) = (key(self.random.below(KEYS)), self.value(), self.expiry());
            match self.random.below(8) {
                0 => {
                    let (start, end) = self.range();
                    let range = KeyRange::from(start..end);
                    next.retain(|key, _| !range.contains(key));
                    batch.delete_range(range);
                }
                1 => {
                    batch.delete(&key);
                    next.remove(&key);
                }
                2 | 3 => {
                    batch.put_expiring(&key, &value, expiry);
                    next.insert(key, (value, Some(expiry)));
                }
                _ => {
                    batch.put(&key, &value);
                    next.insert(key, (value, None));
                }
            }
        }
        self.attempt(next);
        engine.write(&batch, WriteOptions::default())?;
        self.acknowledge();
        Ok(())
    }

    /// Over several tables. Nothing of it counts before its last step.
    fn ingest(&mut self, engine: &Engine) -> Result<()> {
        let mut ingest = engine.ingest();
        let mut next = self.model();
        for number in (0..KEYS).filter(|number| number % 3 != 1) {
            let (key, mut value) = (key(number), format!("ingested {} ", self.serial).into_bytes());
            value.extend((0..300).map(|_| b'a' + self.random.below(26) as u8));
            ingest.put(&key, &value)?;
            next.insert(key, (value, None));
        }
        self.attempt(next);
        ingest.finish()?;
        self.acknowledge();
        Ok(())
    }

    fn checkpoint(&mut self, engine: &Engine) -> Result<()> {
        let path = PathBuf::from(format!("copy-{}", self.serial));
        let model = self.model();
        self.history.copies.push(Copy { path: path.clone(), model, acknowledged: false });
        engine.checkpoint(&path)?;
        self.history.copies.last_mut().unwrap().acknowledged = true;
        Ok(())
    }
}

/// Checks a copy on what survived: it is whole, or no database.
pub(crate) fn check_copy(storage: &SimStorage, copy: &Copy, what: &str) {
    let at = storage.at(&copy.path);
    let is_complete = at.list().unwrap().iter().any(|name| name == "CURRENT");
    assert!(is_complete || !copy.acknowledged, "{what}: an acknowledged copy is gone");
    if is_complete {
        let opened = open_later(at).unwrap_or_else(|error| panic!("{what}: the copy: {error}"));
        assert!(seen(&opened).unwrap() == later(&copy.model), "{what}: the copy is not what was");
        opened.put(b"in the copy", b"").unwrap();
        opened.close().unwrap();
    } else if let Ok(opened) = open_later(at) {
        assert_eq!(seen(&opened).unwrap(), [], "{what}: part of a copy is shown");
    }
}

/// Whether `path` holds no database.
pub(crate) fn is_no_database(storage: &SimStorage, path: &Path) -> bool {
    !storage.at(path).list().unwrap().iter().any(|name| name == "CURRENT")
}
