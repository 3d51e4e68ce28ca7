//! What is expected of a state that a crash left, and whether it is so.
//!
//! Recovery finds one of the states from the last that was promised or shown to the last that was
//! attempted; a copy is whole or no database. What was found is then shown, so it must survive
//! whatever follows, with what is written after it.

use std::collections::HashSet;

use super::{Journal, Life, RECOVERIES, RECOVERY_BOUNDS, tell};
use crate::campaign::workload::{Copy, KEYS, Model, Progress, Seen, Shape, live, seen};
use crate::campaign::{Case, Count};
use crate::engine::Engine;
use crate::engine::storage::sim::{Random, SimStorage, Survival};

/// The key that is written after a recovery.
const AFTER: &[u8] = b"after";

/// Copies that were not in the making are looked at in one of so many states.
const COPIES: u64 = 32;

/// What may be found.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Expected {
    /// The numbers of the models, the oldest and the newest.
    oldest: usize,
    newest: usize,
    progress: Progress,
}

impl Expected {
    /// After a power cut.
    pub(super) fn of(life: &Life, progress: Progress) -> Self {
        debug_assert!(progress.attempted < life.workload.history.models.len());
        Expected { oldest: progress.durable, newest: progress.attempted, progress }
    }

    /// After the end of the process.
    pub(super) fn after_kill(&self) -> Self {
        Expected { oldest: self.progress.handed, ..self.clone() }
    }

    /// Only this model.
    fn only(&self, number: usize) -> Self {
        Expected { oldest: number, newest: number, ..self.clone() }
    }
}

/// What of `model` is alive when survivors are looked at.
pub(super) fn alive(model: &Model, shape: &Shape) -> Model {
    let later_ms = shape.later_ms();
    let is_alive = |expires_ms: Option<u64>| expires_ms.is_none_or(|at| later_ms < at);
    model
        .iter()
        .filter(|(_, value)| is_alive(value.1))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Judges the states that are left of one life.
pub(super) struct Judge<'a> {
    case: &'a Case<'a>,
    shape: &'a Shape,
    copies: &'a [Copy],
    /// What a reader sees of each model.
    views: Vec<Seen>,
    /// What was judged, by its bytes and what was expected of it.
    judged: HashSet<(u64, Expected)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(case: &'a Case<'a>, life: &'a Life) -> Self {
        let (history, shape) = (&life.workload.history, &life.shape);
        let later_ms = shape.later_ms();
        let views = history.models.iter().map(|model| live(model, later_ms)).collect();
        Judge { case, shape, copies: &history.copies, views, judged: HashSet::new() }
    }

    /// Judges what a power cut left, unless that was done. At times it is crashed again inside of its
    /// recovery, at most `depth` times in a row.
    pub(super) fn state(
        &mut self,
        left: &SimStorage,
        expected: &Expected,
        depth: usize,
        random: &mut Random,
    ) -> Result<(), String> {
        if !self.judged.insert((left.fingerprint(), expected.clone())) {
            return Ok(());
        }
        let found = self.recover(left, expected, random)?;
        self.case.count(Count::CrashStates, 1);
        if depth > 0 && random.one_in(RECOVERIES) {
            self.crash_inside(left, &expected.only(found), depth, random)?;
        }
        Ok(())
    }

    /// Judges what power cuts inside of a recovery leave. It drops nothing that it could have read, so
    /// the next one finds the same.
    fn crash_inside(
        &mut self,
        left: &SimStorage,
        expected: &Expected,
        depth: usize,
        random: &mut Random,
    ) -> Result<(), String> {
        let (storage, journal) = (left.kill(), Journal::default());
        journal.follow(&storage, Progress::default);
        let opened = self.shape.open_later(storage.clone()).map_err(|error| error.to_string())?;
        drop(opened);
        for (moment, _) in journal.take() {
            for fate in moment.survivors(RECOVERY_BOUNDS, random).fates {
                let after = moment.after(&fate);
                self.state(&after, expected, depth - 1, random).map_err(|what| {
                    tell(
                        &moment,
                        &format!("inside of its recovery, {}", moment.describe(&fate)),
                        &what,
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Recovers what is left and judges it, and what life does with it; the number of the model
    /// that was found. What is left stays as it is.
    pub(super) fn recover(
        &self,
        left: &SimStorage,
        expected: &Expected,
        random: &mut Random,
    ) -> Result<usize, String> {
        let progress = &expected.progress;
        for (number, copy) in self.copies.iter().take(progress.copies).enumerate() {
            let is_complete = number < progress.copied;
            if !is_complete || random.one_in(COPIES) {
                copy.check(&left.kill(), is_complete, self.shape)?;
            }
        }
        let storage = left.kill();
        let (engine, found) = self.look(&storage)?;
        let possible = expected.oldest..=expected.newest;
        let number = possible.clone().rev().find(|number| self.views[*number] == found);
        let number = number.ok_or_else(|| self.difference(&found, expected))?;
        self.go_on(&storage, &engine, found, random)?;
        Ok(number)
    }

    /// Opens a storage and reads everything.
    fn look(&self, storage: &SimStorage) -> Result<(Engine, Seen), String> {
        let engine = self.shape.open_later(storage.clone());
        let engine = engine.map_err(|error| format!("it does not open: {error}"))?;
        let found = seen(&engine)?;
        self.case.count(Count::Operations, KEYS);
        Ok((engine, found))
    }

    /// Writes to what was recovered, ends the engine in some way and looks again.
    fn go_on(
        &self,
        storage: &SimStorage,
        engine: &Engine,
        mut found: Seen,
        random: &mut Random,
    ) -> Result<(), String> {
        let told = |error: crate::engine::Error| format!("life does not go on: {error}");
        engine.put(AFTER, b"it").map_err(told)?;
        // Stands before all keys of the workload.
        found.insert(0, (AFTER.to_vec(), b"it".to_vec()));
        if random.one_in(16) {
            engine.compact().map_err(told)?;
        }
        let (next, how) = match random.below(4) {
            0 => {
                engine.close().map_err(told)?;
                (storage.power_cut(Survival::Nothing), "a clean end")
            }
            1 => (storage.kill(), "the end of the process"),
            _ => {
                engine.sync().map_err(told)?;
                (storage.power_cut(Survival::Random(random.next_u64())), "a power cut")
            }
        };
        let (_, again) = self.look(&next)?;
        if again == found {
            return Ok(());
        }
        Err(format!("after {how}, what was recovered or written since is lost"))
    }

    /// What is wrong with what was found.
    fn difference(&self, found: &Seen, expected: &Expected) -> String {
        let (oldest, newest) = (expected.oldest, expected.newest);
        let elsewhere = self.views.iter().rposition(|view| view == found);
        let what = elsewhere.map_or_else(
            || {
                format!(
                    "none there ever was: it differs from that of step {newest} at {:?}",
                    self.odd(found, newest)
                )
            },
            |number| format!("that of step {number}"),
        );
        format!("expected the state of a step from {oldest} to {newest}, found {what}")
    }

    /// A key at which what was found differs from a model.
    fn odd(&self, found: &Seen, number: usize) -> Option<String> {
        let view = &self.views[number];
        let odd = found.iter().find(|pair| !view.contains(pair));
        let (key, _) = odd.or_else(|| view.iter().find(|pair| !found.contains(pair)))?;
        Some(String::from_utf8_lossy(key).into_owned())
    }
}
