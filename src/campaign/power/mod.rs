//! Power loss, enumerated: what a power cut may leave at every storage call of a workload.
//!
//! A case is one life of a database, on top of what crashes left of up to two earlier ones: a
//! workload runs on a simulated storage that is looked at after each call that changes something. Of
//! everything that a power cut may leave at that moment, all is tried while it is little, else a
//! sample. Each is recovered and judged (see `judge`), then life goes on, and some are crashed again
//! inside of their recovery, and again inside of that one's.
//!
//! A state counts once for each thing that was expected of it: what was judged already is skipped.

mod judge;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use self::judge::{Expected, Judge};
use super::workload::{Model, Progress, Shape, Workload};
use super::{Case, Part};
use crate::engine::storage::Storage;
use crate::engine::storage::sim::{Bounds, Moment, Random, SimStorage};

/// What is tried at each moment of a workload.
const BOUNDS: Bounds = Bounds { exhaustive: 128, samples: 40 };
/// The same inside of a recovery.
const RECOVERY_BOUNDS: Bounds = Bounds { exhaustive: 8, samples: 6 };
/// One of so many states is crashed again inside of its recovery.
const RECOVERIES: u64 = 64;
/// How often that goes on: a crash in the recovery from a crash in a recovery.
const DEPTH: usize = 3;

/// The part of the campaign.
pub(super) struct Power;

impl Part for Power {
    fn name(&self) -> &'static str {
        "power"
    }

    fn share(&self) -> u32 {
        3
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        judge_life(case, 1, |storage| storage)
    }
}

/// What happened on a storage: the moment after each changing call, and how far the workload was.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<(Moment, Progress)>>>);

impl Journal {
    /// Takes note of everything on `storage` from here on.
    fn follow(
        &self,
        storage: &SimStorage,
        progress: impl Fn() -> Progress + Send + Sync + 'static,
    ) {
        let journal = self.clone();
        storage.watch(move |moment| journal.add(moment, progress()));
    }

    fn add(&self, moment: Moment, progress: Progress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((moment, progress));
    }

    fn take(&self) -> Vec<(Moment, Progress)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One life: how it ran, and each moment of it.
struct Life {
    workload: Workload,
    shape: Shape,
    moments: Vec<(Moment, Progress)>,
}

/// Runs a workload on `storage`, which holds `base`. It sees the storage as `wrap` makes it.
fn live<S: Storage>(
    seed: u64,
    shape: &Shape,
    base: Model,
    storage: &SimStorage,
    wrap: impl Fn(SimStorage) -> S,
) -> Result<Life, String> {
    let mut workload = Workload::of(seed, shape.clone(), base);
    let journal = Journal::default();
    journal.follow(storage, workload.progress());
    let opened = workload.open(wrap(storage.clone()));
    let outcome = opened.and_then(|engine| workload.run(&engine));
    outcome.map_err(|error| format!("the workload failed: {error}"))?;
    journal.add(storage.moment(), workload.progress()());
    let moments = journal.take();
    Ok(Life { workload, shape: shape.clone(), moments })
}

/// Runs some lives and judges one in `one_in` moments of the last one.
fn judge_life<S: Storage>(
    case: &Case<'_>,
    one_in: u64,
    wrap: impl Fn(SimStorage) -> S,
) -> Result<(), String> {
    let mut random = Random(case.seed);
    let mut shape = Shape::random(&mut random);
    let (mut storage, mut base) = (SimStorage::new(case.seed), Model::new());
    // Checkpoints are copied there, and not linked.
    storage.refuse_links(case.seed % 4 == 3);
    for _ in 0..random.below(3) {
        let life = live(random.next_u64(), &shape, base, &storage, &wrap)?;
        (storage, base) = survive(case, &life, &mut random)?;
        shape = shape.next_life();
    }
    let life = live(random.next_u64(), &shape, base, &storage, &wrap)?;
    judge_moments(case, &life, one_in, &mut random)
}

/// Ends a life at any moment, in any way; what it leaves, and what that holds.
fn survive(
    case: &Case<'_>,
    life: &Life,
    random: &mut Random,
) -> Result<(SimStorage, Model), String> {
    let (moment, progress) = &life.moments[random.below(life.moments.len() as u64) as usize];
    let expected = Expected::of(life, *progress);
    let judge = Judge::new(case, life);
    let (left, told, expected) = if random.one_in(3) {
        (moment.killed(), "killed".to_owned(), expected.after_kill())
    } else {
        let fate = moment.any_fate(random);
        (moment.after(&fate), moment.describe(&fate), expected)
    };
    let found = judge.recover(&left, &expected, random);
    let found = found.map_err(|what| tell(moment, &told, &what))?;
    let base = life.workload.history.models[found].clone();
    Ok((left.kill(), judge::alive(&base, &life.shape)))
}

/// Judges what power cuts leave at one in `one_in` moments of a life.
fn judge_moments(
    case: &Case<'_>,
    life: &Life,
    one_in: u64,
    random: &mut Random,
) -> Result<(), String> {
    let mut judge = Judge::new(case, life);
    for (moment, progress) in &life.moments {
        if case.is_over() {
            return Ok(());
        }
        if !random.one_in(one_in) {
            continue;
        }
        let expected = Expected::of(life, *progress);
        for fate in moment.survivors(BOUNDS, random).fates {
            judge
                .state(&moment.after(&fate), &expected, DEPTH, random)
                .map_err(|what| tell(moment, &moment.describe(&fate), &what))?;
        }
        if random.one_in(4) {
            judge
                .recover(&moment.killed(), &expected.after_kill(), random)
                .map_err(|what| tell(moment, "killed", &what))?;
        }
    }
    Ok(())
}

/// What was lost, and where.
fn tell(moment: &Moment, fate: &str, what: &str) -> String {
    format!("call {} ({}): {fate}: {what}", moment.number(), moment.call())
}
