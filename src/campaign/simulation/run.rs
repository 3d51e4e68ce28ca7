//! One run: a database, its model, and a scheduler that decides by the seed what happens next.
//!
//! Everything is done by one thread, one act after the other: writers, readers that hold snapshots
//! and half-finished scans, single steps of the background, the clock, misfortunes. After each act
//! the engine's state must be explained by what happened to it, and a machine that went down is
//! started again. The first thing that is not as it has to be ends the run.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::model::{Model, key};
use super::reads::{HeldSnapshot, OpenScan};
use super::trace::Trace;
use super::upkeep::{Copy, OpenIngest};
use super::weather::Weather;
use crate::campaign::world::{Standing, world};
use crate::engine::storage::sim::{Random, SimStorage};
use crate::engine::{
    Clock as _, Compression, Durability, Engine, Error, Health, Options, Recovery, Scheduling, Seq,
};

/// Something that is not as it has to be, or what happened.
pub(super) type Verdict<T> = Result<T, String>;

type Act = fn(&mut Run) -> Verdict<String>;

/// What happens, and how often relative to the others.
const ACTS: [(u64, Act); 25] = [
    (22, Run::write_and_wait),
    (16, Run::write_in_session),
    (6, Run::put_if),
    (6, Run::commit),
    (1, Run::sync),
    (14, Run::get),
    (4, Run::multi_get),
    (5, Run::look_up),
    (4, Run::open_scan),
    (12, Run::advance_scan),
    (3, Run::take_snapshot),
    (6, Run::read_snapshot),
    (2, Run::drop_reader),
    (5, Run::run_background),
    (9, Run::step_flush),
    (5, Run::step_merge),
    (3, Run::rest),
    (1, Run::compact),
    (1, Run::checkpoint),
    (4, Run::ingest),
    (6, Run::pass_time),
    (1, Run::reopen),
    (2, Run::crash),
    (3, Run::change_weather),
    (1, Run::verify),
];

/// In half of all runs some acts are never done and others often: what happens only where something
/// else never does is found in such runs (Groce and others, "Swarm Testing", 2012).
fn random_weights(random: &mut Random) -> Vec<u64> {
    let is_plain = random.coin();
    let factor = |random: &mut Random| [0, 1, 4][random.below(3) as usize];
    ACTS.iter().map(|(weight, _)| weight * if is_plain { 1 } else { factor(random) }).collect()
}

/// What must survive. Below it nothing may be missing after a crash.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Floors {
    /// A power cut.
    pub(super) power: Seq,
    /// The end of the process.
    pub(super) process: Seq,
}

impl Floors {
    pub(super) fn raise(&mut self, seq: Seq) {
        self.power = self.power.max(seq);
        self.process = self.process.max(seq);
    }
}

/// What a background that is behind leaves undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undone {
    Nothing,
    Flushes,
    Merges,
}

/// See the module.
pub(super) struct Run {
    pub(super) random: Random,
    pub(super) clock: Arc<Standing>,
    pub(super) storage: SimStorage,
    pub(super) options: Options,
    pub(super) engine: Engine,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) model: Model,
    pub(super) floors: Floors,
    /// The writes that somebody asked a sync for: once committed or shown, they survive a power cut.
    pub(super) promises: BTreeSet<Seq>,
    pub(super) weather: Weather,
    pub(super) health: Health,
    pub(super) snapshots: Vec<HeldSnapshot>,
    pub(super) scans: Vec<OpenScan>,
    pub(super) ingest: Option<OpenIngest>,
    /// What was ingested with an unknown outcome under the last number: the next recovery tells.
    pub(super) uncertain: Option<Vec<(usize, super::model::Stored)>>,
    pub(super) copies: Vec<Copy>,
    pub(super) serial: u64,
    pub(super) trace: Trace,
    acts: u64,
    /// How often each of [`ACTS`] is done, in proportion to the others.
    weights: Vec<u64>,
    /// What the background does not do by itself, so that writers come to stand.
    pub(super) left_undone: Undone,
    pub(super) is_faulty: bool,
    pub(super) is_crashy: bool,
}

impl Run {
    /// A new database, made as the seed says.
    pub(super) fn new(seed: u64) -> Verdict<Self> {
        let mut random = Random(seed ^ 0x51_4d0c_4e05);
        let storage = SimStorage::new(random.next_u64());
        let clock = Standing::at(1_000 + random.below(1_000_000));
        let options = random_options(&mut random);
        let (engine, recovery) = open(&storage, &clock, &options, random.next_u64())
            .map_err(|error| format!("a new database does not open: {error}"))?;
        if !recovery.created || recovery.last_seq != 0 {
            return Err(format!("a new database is none: {recovery:?}"));
        }
        Ok(Run {
            acts: 150 + random.below(250),
            weights: random_weights(&mut random),
            left_undone: match random.below(4) {
                0 => Undone::Flushes,
                1 => Undone::Merges,
                _ => Undone::Nothing,
            },
            is_faulty: random.coin(),
            is_crashy: !random.one_in(3),
            clock,
            storage,
            options,
            engine,
            keys: (0..=super::model::KEYS).map(key).collect(),
            model: Model::new(),
            floors: Floors::default(),
            promises: BTreeSet::new(),
            weather: Weather::default(),
            health: Health::Ok,
            snapshots: Vec::new(),
            scans: Vec::new(),
            ingest: None,
            uncertain: None,
            copies: Vec::new(),
            serial: 0,
            trace: Trace::default(),
            random,
        })
    }

    /// All of it; tells what happened, and what was wrong, and what led there.
    pub(super) fn run(mut self) -> (Trace, Verdict<()>) {
        let outcome = (0..self.acts).try_for_each(|_| self.step()).and_then(|()| self.finish());
        let (trace, storage) = (std::mem::take(&mut self.trace), self.storage.clone());
        drop(self);
        let outcome = outcome.and_then(|()| match storage.open_file_count() {
            0 => Ok(()),
            left => Err(format!("{left} files stay open without an engine")),
        });
        let outcome = outcome.map_err(|wrong| format!("{wrong}\nbefore that:{}", trace.tail()));
        (trace, outcome)
    }

    /// The same without any act.
    #[cfg(test)]
    pub(super) fn ending_at_once(self) -> Self {
        Run { acts: 0, ..self }
    }

    /// One act and what follows from it.
    pub(super) fn step(&mut self) -> Verdict<()> {
        self.serial += 1;
        let act = self.choose();
        let told = act(self).map_err(|wrong| {
            format!("step {} at {} ms: {wrong}", self.serial, self.clock.now_ms())
        })?;
        let (calls, looks) = (self.storage.call_count(), self.storage.read_count());
        let now_ms = self.clock.now_ms();
        self.trace.note(format!("{} at {now_ms} ms: {told} ({calls}, {looks})", self.serial));
        if self.storage.is_down() {
            self.trace.count("down", 1);
            return self.start_again();
        }
        self.look_at_health()?;
        self.note_frontier()
    }

    fn choose(&mut self) -> Act {
        let total: u64 = self.weights.iter().sum();
        let mut at = self.random.below(total.max(1));
        for (weight, (_, act)) in self.weights.iter().zip(ACTS) {
            if at < *weight {
                return act;
            }
            at -= weight;
        }
        Run::get
    }

    /// The engine's state must follow from what happened.
    pub(super) fn look_at_health(&mut self) -> Verdict<()> {
        let health = self.engine.health();
        if !self.weather.explains(&self.health, &health) {
            let (before, cause) = (self.health.name(), health.cause());
            return Err(format!("{before} became {}, with no reason: {cause:?}", health.name()));
        }
        if health.name() != self.health.name() {
            self.trace.count(health.name(), 1);
        }
        self.health = health;
        Ok(())
    }

    /// What is committed now must survive, as far as anybody was promised that.
    fn note_frontier(&mut self) -> Verdict<()> {
        let durable = self.engine.durable_seq();
        if durable > self.model.last_seq() || durable < self.floors.process {
            return Err(format!("the frontier is at {durable}, {:?}", self.floors));
        }
        self.floors.process = durable;
        self.show(durable);
        Ok(())
    }

    /// Somebody is to be told that the last `count` writes are durable.
    pub(super) fn promise(&mut self, count: Seq) {
        let last = self.model.last_seq();
        self.promises.extend(last + 1 - count..=last);
    }

    /// Somebody was shown what was written up to `seq`. Who asked for no sync of a write has no say.
    pub(super) fn show(&mut self, seq: Seq) {
        let promised = self.promises.range(..=seq).next_back();
        let seq = promised.copied().unwrap_or(0);
        match self.options.durability {
            Durability::Always => self.floors.raise(seq),
            Durability::EverySecond | Durability::Os => {
                self.floors.process = self.floors.process.max(seq);
            }
        }
    }

    /// An error is excused, or the end.
    pub(super) fn judge(&mut self, what: &str, error: &Error) -> Verdict<String> {
        let health = self.engine.health();
        if self.is_too_large(error) {
            self.trace.count("write too large", 1);
            self.trace.checked += 1;
            return Ok(format!("{what}: {error}"));
        }
        let excused = self.storage.is_down()
            || self.weather.excuses(error, &health)
            || self.weather.excuses(error, &self.health);
        if !excused {
            return Err(format!("{what}: {error}: for no reason, in state {}", health.name()));
        }
        let is_down = self.storage.is_down();
        self.trace.count(if is_down { "operation cut off" } else { "operation failed" }, 1);
        self.trace.checked += 1;
        Ok(format!("{what}: {error}"))
    }

    /// Whether a batch was refused that no log segment has room for: all of one but for four blocks.
    fn is_too_large(&self, error: &Error) -> bool {
        let Error::Size { size, max, .. } = error else { return false };
        size > max && max + 4 * 4096 >= self.options.wal_segment_bytes
    }

    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    fn pass_time(&mut self) -> Verdict<String> {
        let ms = match self.random.below(10) {
            0 => 1_000 + self.random.below(3_000),
            1..4 => self.random.below(300),
            _ => self.random.below(20),
        };
        self.clock.set(self.clock.now_ms() + ms);
        Ok(format!("{ms} ms pass"))
    }

    fn change_weather(&mut self) -> Verdict<String> {
        if !self.weather.is_fair() {
            return self.clear_up();
        }
        if self.random.one_in(4) {
            let cold = self.random.coin();
            self.storage.set_cold(cold);
            return Ok(format!("cold: {cold}"));
        }
        if self.is_crashy && self.random.one_in(3) {
            let at = self.storage.call_count() + 1 + self.random.below(120);
            self.storage.crash_at(at);
            return Ok(format!("plan a crash at call {at}"));
        }
        if !self.is_faulty {
            return Ok("nothing happens".to_owned());
        }
        Ok(self.weather.worsen(&mut self.random, &self.storage))
    }

    /// Takes back what can fail. What was lacking is noticed by itself.
    fn clear_up(&mut self) -> Verdict<String> {
        self.weather.clear(&self.storage);
        self.engine.run_background();
        match self.engine.health() {
            Health::NoSpace { cause } => Err(format!("there is room, and NOSPACE stays: {cause}")),
            health => Ok(format!("all is well again; {}", health.name())),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    fn crash(&mut self) -> Verdict<String> {
        if !self.is_crashy {
            return Ok("nothing happens".to_owned());
        }
        self.trace.count("crash between calls", 1);
        // Down it is now; what survived is chosen when it is started again.
        let _ = self.storage.kill();
        Ok("the machine goes down".to_owned())
    }
}

/// Opens a database that is a function of its seed.
pub(super) fn open(
    storage: &SimStorage,
    clock: &Arc<Standing>,
    options: &Options,
    seed: u64,
) -> crate::engine::Result<(Engine, Recovery)> {
    Engine::open(world(storage.clone(), Arc::clone(clock), seed), options.clone())
}

/// Sizes so small that a short run flushes, changes segments, merges and stalls.
pub(super) fn random_options(random: &mut Random) -> Options {
    let compressions = [Compression::None, Compression::Lz4, Compression::Lz4, Compression::Zstd];
    let mut compression = || compressions[random.below(4) as usize];
    let (compression, bottom_compression) = (compression(), compression());
    let durability = match random.below(8) {
        0 => Durability::EverySecond,
        1 => Durability::Os,
        _ => Durability::Always,
    };
    Options {
        create_if_missing: true,
        memory_bytes: (64 << 10) + random.below(64 << 10) as usize,
        wal_segment_bytes: [8, 10, 13, 48][random.below(4) as usize] * 4096,
        wal_initial_bytes: 8 * 4096,
        table_bytes: (2 << 10) + random.below(10 << 10) as usize,
        level0_tables: 1 + random.below(3) as usize,
        max_open_tables: if random.coin() { 1_000 } else { 1 + random.below(6) as usize },
        durability,
        compression,
        bottom_compression,
        // No reader can tell.
        keep_expired: random.below(8) == 0,
        scheduling: Scheduling::Manual,
        listener: None,
    }
}
