//! A workload of all that changes a database, and the states that it goes through: what power cuts
//! and failing calls are tried on.
//!
//! It runs on one thread and is a function of its seed and its shape. Each step is atomic: one more
//! state in the history, which is complete once the step was acknowledged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::world::{Standing, tiny_options, world};
use crate::engine::storage::Storage;
use crate::engine::storage::sim::{Random, SimStorage};
use crate::engine::{
    Admission, Batch, Clock, Compression, Durability, Engine, Error, KeyRange, Options, Result,
    WriteOptions,
};

/// How many keys there are.
pub(crate) const KEYS: u64 = 40;
pub(crate) const STEPS: u64 = 75;
/// When the first life begins, and when what is left of it is looked at, in milliseconds.
const BEGIN_MS: u64 = 1_000;
const LATER_MS: u64 = 1_000_000;
/// Later than that, in any life.
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
    Shape::default().open_later(storage)
}

/// What kind of run a workload is.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) options: Options,
    /// How many runs and crashes there were before.
    life: u64,
    /// What number its steps begin with: it decides at which of them what happens.
    offset: u64,
    /// The time that a step takes.
    tick_ms: u64,
    /// Whether there are steps that write in several sessions before anything is committed.
    has_flights: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Shape { options: tiny_options(), life: 0, offset: 0, tick_ms: 10, has_flights: false }
    }
}

impl Shape {
    /// One of many.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut pick = |choices: &[usize]| choices[random.below(choices.len() as u64) as usize];
        let options = Options {
            wal_segment_bytes: pick(&[32, 32, 48, 64]) << 10,
            memory_bytes: pick(&[64, 64, 100, 200]) << 10,
            table_bytes: pick(&[4, 8, 32]) << 10,
            level0_tables: pick(&[1, 2, 2, 4]),
            compression: [Compression::Lz4, Compression::None][pick(&[0, 1])],
            durability: match pick(&[0, 0, 0, 1, 2]) {
                0 => Durability::Always,
                1 => Durability::EverySecond,
                _ => Durability::Os,
            },
            ..tiny_options()
        };
        let (offset, tick_ms) = (pick(&[0, 15, 40]) as u64, pick(&[10, 400]) as u64);
        Shape { options, life: 0, offset, tick_ms, has_flights: true }
    }

    /// The same for a run on what was left of the last one.
    pub(crate) fn next_life(&self) -> Self {
        Shape { life: self.life + 1, ..self.clone() }
    }

    fn begin_ms(&self) -> u64 {
        BEGIN_MS + 2 * LATER_MS * self.life
    }

    /// When all that expires within the workload has expired.
    pub(crate) fn later_ms(&self) -> u64 {
        LATER_MS + 2 * LATER_MS * self.life
    }

    /// Opens what survived at that time.
    pub(crate) fn open_later(&self, storage: impl Storage) -> Result<Engine> {
        let world = world(storage, Standing::at(self.later_ms()), 77 + self.life);
        Ok(Engine::open(world, self.options.clone())?.0)
    }

    fn syncs_always(&self) -> bool {
        self.options.durability == Durability::Always
    }
}

/// How far a workload has come, in numbers of models and copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    /// The last state that may be there.
    pub(crate) attempted: usize,
    /// The oldest one that may be there after a power cut: what was promised or shown is in it.
    pub(crate) durable: usize,
    /// The same after the end of the process.
    pub(crate) handed: usize,
    /// Copies that were asked for, and those of them that were acknowledged.
    pub(crate) copies: usize,
    pub(crate) copied: usize,
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
    shape: Shape,
    clock: Arc<Standing>,
    serial: u64,
    progress: Arc<Mutex<Progress>>,
    pub(crate) history: History,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, Shape::default(), Model::new())
    }

    /// One that begins with a database that holds `base`.
    pub(crate) fn of(seed: u64, shape: Shape, base: Model) -> Self {
        Workload {
            random: Random(seed),
            clock: Standing::at(shape.begin_ms()),
            shape,
            serial: 0,
            progress: Arc::default(),
            history: History { models: vec![base], acknowledged: 0, copies: Vec::new() },
        }
    }

    pub(crate) fn open(&self, storage: impl Storage) -> Result<Engine> {
        let world = world(storage, Arc::clone(&self.clock), 5 + self.shape.life);
        Ok(Engine::open(world, self.shape.options.clone())?.0)
    }

    /// How far it is, to be asked at any time.
    pub(crate) fn progress(&self) -> impl Fn() -> Progress + Send + Sync + 'static {
        let progress = Arc::clone(&self.progress);
        move || *progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Runs all steps, then closes; until the first error.
    pub(crate) fn run(&mut self, engine: &Engine) -> Result<()> {
        (0..STEPS).try_for_each(|step| self.run_step(engine, step))?;
        engine.close()?;
        self.promised(self.latest());
        Ok(())
    }

    /// Runs one step.
    pub(crate) fn run_step(&mut self, engine: &Engine, step: u64) -> Result<()> {
        let (first, tick_ms) = (STEPS * self.shape.life, self.shape.tick_ms);
        self.serial = first + step;
        self.clock.set(self.shape.begin_ms() + tick_ms * step);
        self.step(engine, (step + self.shape.offset) % STEPS)
    }

    fn step(&mut self, engine: &Engine, number: u64) -> Result<()> {
        match number {
            number if is_ingestion(number) => self.ingest(engine),
            30 | 70 => self.checkpoint(engine),
            40 => engine.compact_range(key(0)..key(KEYS / 2)),
            65 => engine.compact(),
            number if self.shape.has_flights && number % 5 == 2 => self.flight(engine),
            33 if self.shape.has_flights => {
                engine.sync()?;
                self.promised(self.latest());
                Ok(())
            }
            number if number % 9 == 4 => self.delete_range(engine),
            number if number % 6 == 5 => self.put(engine),
            number if number % 4 == 3 => {
                engine.run_background();
                self.batch(engine)
            }
            _ => self.batch(engine),
        }
    }

    /// The number of the newest model.
    fn latest(&self) -> usize {
        self.history.models.len() - 1
    }

    fn attempt(&mut self, next: Model) {
        self.history.models.push(next);
        let attempted = self.latest();
        self.reach(|progress| progress.attempted = attempted);
    }

    /// The last step was acknowledged.
    fn acknowledge(&mut self) {
        self.acknowledge_up_to(self.latest());
    }

    /// Everything up to this model was acknowledged or shown, as far as the durability promises.
    fn acknowledge_up_to(&mut self, number: usize) {
        self.handed(number);
        if self.shape.syncs_always() {
            self.promised(number);
        }
    }

    /// This model survives the end of the process.
    fn handed(&mut self, number: usize) {
        self.reach(|progress| progress.handed = progress.handed.max(number));
    }

    /// This model survives a power cut.
    fn promised(&mut self, number: usize) {
        self.handed(number);
        self.history.acknowledged = self.history.acknowledged.max(number);
        self.reach(|progress| progress.durable = progress.durable.max(number));
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
        let (batch, next) = self.next_batch();
        self.attempt(next);
        engine.write(&batch, WriteOptions::default())?;
        self.acknowledge();
        Ok(())
    }

    /// A batch, and the state after it.
    fn next_batch(&mut self) -> (Batch, Model) {
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
        (batch, next)
    }

    /// Some sessions whose writes are on their way at once, a few of which ask for no sync; then
    /// they are committed, or somebody is shown what they wrote, or nothing of that.
    fn flight(&mut self, engine: &Engine) -> Result<()> {
        engine.run_background();
        let mut synced = None;
        for _ in 0..=self.random.below(4) {
            let (batch, next) = self.next_batch();
            let mut session = engine.session();
            match session.admit_batch(&batch) {
                Admission::Ready => {}
                Admission::Stalled(_) => break,
                Admission::Refused(error) => return Err(error),
            }
            session.write(&batch);
            self.attempt(next);
            if self.random.one_in(4) {
                session.submit_unsynced();
            } else {
                session.submit_quietly();
                synced = Some(self.latest());
            }
        }
        match self.random.below(3) {
            0 => self.commit(engine, synced),
            1 => self.show(engine, synced),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, engine: &Engine, synced: Option<usize>) -> Result<()> {
        if !engine.commit_in_place() {
            return Err(Error::Failed("what was submitted was not committed".into()));
        }
        self.handed(self.latest());
        if let Some(number) = synced {
            self.acknowledge_up_to(number);
        }
        Ok(())
    }

    /// Reads everything. What is shown must be the newest state, and survives as far as it was
    /// written by somebody who wants that.
    fn show(&mut self, engine: &Engine, synced: Option<usize>) -> Result<()> {
        let shown: Seen = if self.random.coin() {
            engine.scan(..).collect::<Result<_>>()?
        } else {
            let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
            let values = engine.multi_get(&keys)?;
            let found = keys.into_iter().zip(values);
            found.filter_map(|(key, value)| Some((key, value?.to_vec()))).collect()
        };
        if shown != live(&self.model(), self.now_ms()) {
            return Err(Error::Failed("what is shown is not what was written".into()));
        }
        if let Some(number) = synced {
            self.acknowledge_up_to(number);
        }
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
        self.reach(|progress| progress.copies += 1);
        engine.checkpoint(&path)?;
        if let Some(copy) = self.history.copies.last_mut() {
            copy.acknowledged = true;
        }
        self.reach(|progress| progress.copied += 1);
        Ok(())
    }
}

/// Checks a copy on what survived: it is whole, or no database.
pub(crate) fn check_copy(storage: &SimStorage, copy: &Copy) -> std::result::Result<(), String> {
    copy.check(storage, copy.acknowledged, &Shape::default())
}

impl Copy {
    /// The same, at a time when it had been acknowledged or not.
    pub(crate) fn check(
        &self,
        storage: &SimStorage,
        acknowledged: bool,
        shape: &Shape,
    ) -> std::result::Result<(), String> {
        let at = storage.at(&self.path);
        let names = at.list().map_err(|error| error.to_string())?;
        let is_complete = names.iter().any(|name| name == "CURRENT");
        if acknowledged && !is_complete {
            return Err("an acknowledged copy is gone".to_owned());
        }
        let opened = match shape.open_later(at) {
            Ok(opened) => opened,
            Err(error) if is_complete => return Err(format!("the copy does not open: {error}")),
            Err(_) => return Ok(()),
        };
        let found = seen(&opened)?;
        match is_complete {
            true if found != live(&self.model, shape.later_ms()) => {
                Err("the copy is not what was".to_owned())
            }
            false if !found.is_empty() => Err("part of a copy is shown".to_owned()),
            _ => Ok(()),
        }
    }
}
