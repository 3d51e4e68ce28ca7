//! Crashes: what is left is opened, compared with the history, and life goes on from there.
//!
//! A recovery must yield the history up to some point: between two atomic steps, nothing missing that
//! was promised, nothing invented. The engine tells which point it is, and every version must be the
//! model's as of it. Now and then one crash is followed by two outcomes, and recoveries crash or fail
//! themselves.

use super::model::Entry;
use super::run::{Run, Verdict, open, random_options};
use crate::engine::storage::sim::{SimStorage, Survival};
use crate::engine::{Clock as _, Engine, Error, Recovery, Seq};

/// Changing calls among which a recovery is hit.
const RECOVERY_CALLS: u64 = 50;
/// The most recoveries after one crash; the last is left alone.
const RECOVERIES: u64 = 4;

impl Run {
    /// Opens what the machine that went down left.
    pub(super) fn start_again(&mut self) -> Verdict<()> {
        self.count_engine();
        self.let_go();
        let down = self.storage.clone();
        if self.random.one_in(4) {
            let (survivor, floor, how) = self.survivor(&down);
            self.check_aside(&survivor, floor).map_err(|wrong| format!("{how}: {wrong}"))?;
            self.trace.note(format!("aside: {how}, at least {floor}"));
        }
        let (survivor, floor, how) = self.survivor(&down);
        let recovered = self.recover(survivor, floor).map_err(|wrong| format!("{how}: {wrong}"));
        let told = recovered?;
        self.trace.note(format!("{how}, at least {floor}: {told}"));
        Ok(())
    }

    /// What is left of a machine, and the least that this must hold.
    fn survivor(&mut self, down: &SimStorage) -> (SimStorage, Seq, String) {
        let seed = self.random.next_u64();
        let survival = match self.random.below(6) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 | 3 => Survival::Random(seed),
            4 => Survival::Torn(seed),
            _ => {
                let floor = if self.weather.may_have_lost_unsynced() {
                    self.floors.power
                } else {
                    self.floors.process
                };
                self.trace.count("kill", 1);
                return (down.kill(), floor, "killed".to_owned());
            }
        };
        self.trace.count("power cut", 1);
        (down.power_cut(survival), self.floors.power, format!("{survival:?}"))
    }

    /// Judges an outcome that the run does not go on with.
    fn check_aside(&mut self, survivor: &SimStorage, floor: Seq) -> Verdict<()> {
        survivor.set_capacity(None);
        let (model, uncertain) = (self.model.clone(), self.uncertain.clone());
        let opened = open(survivor, &self.clock, &self.options, self.serial);
        let (engine, recovery) = opened.map_err(|error| format!("does not open: {error}"))?;
        self.judge_recovery(&engine, &recovery, floor)?;
        (self.model, self.uncertain) = (model, uncertain);
        Ok(())
    }

    /// Opens `storage`, again and again if that is hit as well, and goes on with it.
    pub(super) fn recover(&mut self, mut storage: SimStorage, mut floor: Seq) -> Verdict<String> {
        self.options = random_options(&mut self.random);
        self.weather.restarted();
        let mut told = String::new();
        for attempt in 0..RECOVERIES {
            let is_hit = attempt + 1 < RECOVERIES && self.is_crashy && self.random.one_in(4);
            if is_hit && self.random.coin() {
                storage.crash_at(1 + self.random.below(RECOVERY_CALLS));
            } else if is_hit {
                self.weather.fail_a_change(&mut self.random, &storage, RECOVERY_CALLS);
            }
            let seed = self.random.next_u64();
            match open(&storage, &self.clock, &self.options, seed) {
                // What is superfluous is removed last, and need not be.
                _ if storage.is_down() => {
                    self.trace.count("crash in recovery", 1);
                    let survival = match self.random.below(3) {
                        0 => Survival::Nothing,
                        1 => Survival::Everything,
                        _ => Survival::Random(seed),
                    };
                    told = format!("{told}down again, {survival:?}; ");
                    storage = storage.power_cut(survival);
                }
                Ok((engine, recovery)) => {
                    return self.go_on(storage, engine, &recovery, floor, &told);
                }
                Err(error) if !self.weather.is_fair() && !error_is_damage(&error) => {
                    self.trace.count("failed recovery", 1);
                    told = format!("{told}{error}; ");
                    self.weather.clear(&storage);
                    storage = storage.kill();
                }
                Err(error) => return Err(format!("{told}does not open: {error}")),
            }
            // What had only been handed over may be lost by now.
            floor = self.floors.power.min(floor);
        }
        Err(format!("{told}no recovery succeeds"))
    }

    fn go_on(
        &mut self,
        storage: SimStorage,
        engine: Engine,
        recovery: &Recovery,
        floor: Seq,
        told: &str,
    ) -> Verdict<String> {
        self.weather.clear(&storage);
        self.weather.opened();
        let recovered = recovery.last_seq;
        self.judge_recovery(&engine, recovery, floor).map_err(|wrong| format!("{told}{wrong}"))?;
        (self.storage, self.engine) = (storage, engine);
        self.health = self.engine.health();
        self.uncertain = None;
        self.promises.clear();
        self.floors.power = recovered;
        self.floors.process = recovered;
        let copies = self.copies.clone();
        for copy in &copies {
            if self.random.one_in(3) {
                self.check_copy(&self.storage.clone(), copy)?;
            }
        }
        Ok(format!("{told}{recovered} is left, {:?} from here", self.options.durability))
    }

    /// What was recovered is the history up to some point that can be.
    fn judge_recovery(&mut self, engine: &Engine, recovery: &Recovery, floor: Seq) -> Verdict<()> {
        let (last, known) = (recovery.last_seq, self.model.last_seq());
        if last < floor || last > known || !self.model.can_end_at(last) {
            let ends = self.model.can_end_at(last);
            return Err(format!("{last} of {known} is left, {floor} were safe, an end: {ends}"));
        }
        let found = self.walk(engine).map_err(|error| format!("cannot be read: {error}"))?;
        self.model.truncate(last);
        let now_ms = self.clock.now_ms();
        if found != self.model.live(last, now_ms) {
            if last == known
                && let Some(ingested) = self.uncertain.take()
            {
                self.model.ingest(&ingested);
            }
            let expected = self.model.live(last, now_ms);
            if found != expected {
                return Err(format!("as of {last}: {}", difference(&found, &expected)));
            }
        }
        self.trace.crash_states += 1;
        self.trace.checked += 1;
        Ok(())
    }

    /// Notes what the engine did in its life.
    pub(super) fn count_engine(&mut self) {
        let stats = self.engine.stats();
        self.trace.count("flushes", stats.flushes);
        self.trace.count("merges", stats.compactions);
        self.trace.count("moves", stats.moves);
        self.trace.count("drops", stats.drops);
    }
}

/// The first entry that is not as it has to be.
fn difference(found: &[Entry], expected: &[Entry]) -> String {
    let only =
        |of: &[Entry], other: &[Entry]| of.iter().find(|entry| !other.contains(entry)).cloned();
    format!("shows {:?}, which has to be {:?}", only(found, expected), only(expected, found))
}

/// Whether it says that bytes are not what was written, which nothing here makes them.
fn error_is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::UnknownFormat { .. })
}
