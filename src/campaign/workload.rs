//! A workload of all that changes a database, and the states that it goes through: what power cuts
//! and failing calls are tried on.
//!
//! It runs on one thread and is a function of its seed. Each step is atomic: one more state in the
//! history, which is complete once the step was acknowledged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::world::{Standing, tiny_options, world};
use crate::engine::storage::Storage;
use crate::engine::storage::sim::{Random, SimStorage};
use crate::engine::{Batch, Clock, Engine, KeyRange, Result, WriteOptions};

const KEYS: u64 = 40;
pub(crate) const STEPS: u64 = 75;
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

/// What `engine` shows, by a walk in either direction and by looking up each key.
pub(crate) fn seen(engine: &Engine) -> std::result::Result<Seen, String> {
    let told = |error: crate::engine::Error| error.to_string();
    let forward: Seen = engine.scan(..).collect::<Result<_>>().map_err(told)?;
    let mut backward: Seen = engine.scan(..).reversed().collect::<Result<_>>().map_err(told)?;
    backward.reverse();
    if forward != backward {
        return Err("the directions of a walk differ".to_owned());
    }
    let mut looked_up = Seen::new();
    for number in 0..KEYS {
        if let Some(value) = engine.get(&key(number)).map_err(told)? {
            looked_up.push((key(number), value.to_vec()));
        }
    }
    let walked = forward.iter().filter(|(key, _)| key.starts_with(b"key-"));
    if !walked.eq(&looked_up) {
        return Err("walks and lookups differ".to_owned());
    }
    Ok(forward)
}

/// Whether this step takes sorted input straight into tables.
pub(crate) fn is_ingestion(serial: u64) -> bool {
    matches!(serial, 20 | 55)
}

/// A key that the workload uses.
pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("key-{number:04}").into_bytes()
}

/// Opens what survived, at a time when all that expires within the workload has expired.
pub(crate) fn open_later(storage: impl Storage) -> Result<Engine> {
    Ok(Engine::open(world(storage, Standing::at(LATER_MS), 77), tiny_options())?.0)
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
    /// The last state that was acknowledged.
    pub(crate) fn last(&self) -> &Model {
        &self.models[self.acknowledged]
    }

    /// Forgets what was attempted and certainly did not happen.
    pub(crate) fn take_back(&mut self) {
        self.models.truncate(self.acknowledged + 1);
    }

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
        let clock = Arc::clone(&self.clock);
        Ok(Engine::open(world(storage, clock, 5), tiny_options())?.0)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Runs all steps, then closes; until the first error.
    pub(crate) fn run(&mut self, engine: &Engine) -> Result<()> {
        (0..STEPS).try_for_each(|serial| self.run_step(engine, serial))?;
        engine.close()
    }

    /// Runs one step.
    pub(crate) fn run_step(&mut self, engine: &Engine, serial: u64) -> Result<()> {
        self.serial = serial;
        self.clock.set(BEGIN_MS + 10 * serial);
        self.step(engine)
    }

    fn step(&mut self, engine: &Engine) -> Result<()> {
        match self.serial {
            serial if is_ingestion(serial) => self.ingest(engine),
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
        if let Some(copy) = self.history.copies.last_mut() {
            copy.acknowledged = true;
        }
        Ok(())
    }
}

/// Checks a copy on what survived: it is whole, or no database.
pub(crate) fn check_copy(storage: &SimStorage, copy: &Copy) -> std::result::Result<(), String> {
    let at = storage.at(&copy.path);
    let names = at.list().map_err(|error| error.to_string())?;
    let is_complete = names.iter().any(|name| name == "CURRENT");
    if copy.acknowledged && !is_complete {
        return Err("an acknowledged copy is gone".to_owned());
    }
    let opened = match open_later(at) {
        Ok(opened) => opened,
        Err(error) if is_complete => return Err(format!("the copy does not open: {error}")),
        Err(_) => return Ok(()),
    };
    let found = seen(&opened)?;
    match is_complete {
        true if found != later(&copy.model) => Err("the copy is not what was".to_owned()),
        false if !found.is_empty() => Err("part of a copy is shown".to_owned()),
        _ => Ok(()),
    }
}
