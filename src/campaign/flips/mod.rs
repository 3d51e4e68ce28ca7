//! Damaged databases: every bit of every file is flipped, every file is cut at every length, pieces are
//! copied over each other and exchanged, files are grown, removed, exchanged and put back as they were.
//!
//! `sample` makes the databases, `damage` numbers all that can be done to them, `shelf` keeps the files,
//! `judge` opens what is left, reads all of it in every way, writes, merges, closes, opens it again and
//! reads all once more. Each answer must be the right one, or an error that names a file and that the
//! health tells as well; after a merge, too, for damage must not be given a good checksum. A database
//! that is refused must be left as it was. What is excused, and nothing else:
//!
//! - Damage to the log's last group while no seal stands behind it cannot be told from a torn write: the
//!   state before it is right then, if the recovery says that it dropped a tail. It need not say so where
//!   the damage has replaced the whole header of that group: then nothing tells that it was begun. A cut
//!   is no excuse, for a segment says how long it is.
//! - A file that is put back as it was at an earlier time is whole. Where no other file tells of what it
//!   lacks, a state that the database went through is right, and never a mixture of two; but of an
//!   ingestion no file tells beside the manifest, so that an earlier one takes it away alone.
//!
//! An error after a single flipped bit names the very file; after other damage also one that the damaged
//! file no longer fits.

mod damage;
mod judge;
mod sample;
mod shelf;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;
use std::time::Duration;

use self::damage::{Damage, Plan};
use self::judge::{Outcome, judge};
use self::sample::Sample;
use super::{Case, Count, Part};

/// Damages of a case.
const CHUNK: usize = 256;

/// See the module.
pub(crate) struct Flips;

/// A sample, and what can be done to it.
struct Bench {
    sample: Sample,
    plan: Plan,
}

static BENCHES: LazyLock<Result<Vec<Bench>, String>> = LazyLock::new(|| {
    let bench = |sample| Bench { plan: Plan::new(&sample), sample };
    Ok(sample::all()?.into_iter().map(bench).collect())
});

fn benches() -> Result<&'static [Bench], String> {
    BENCHES.as_ref().map(Vec::as_slice).map_err(Clone::clone)
}

/// How many damages there are.
fn total() -> usize {
    benches().map_or(0, |benches| benches.iter().map(|bench| bench.plan.len()).sum())
}

impl Bench {
    /// Does a damage and judges it; `None` if it changes nothing.
    fn judge(&self, damage: &Damage) -> Result<Option<Outcome>, String> {
        let Some(damaged) = damage.apply(&self.sample) else { return Ok(None) };
        let outcome = judge(&self.sample, damage, &damaged);
        let place = || format!("{damage:?} of {:?} in {}", damaged.names, self.sample.name);
        outcome.map(Some).map_err(|loss| format!("{loss}; after {}", place()))
    }
}

/// Does damage number `at` of all, if there is one.
fn judge_number(mut at: usize) -> Result<Option<Outcome>, String> {
    for bench in benches()? {
        if let Some(damage) = bench.plan.damage(at) {
            return bench.judge(&damage);
        }
        at = at.saturating_sub(bench.plan.len());
    }
    Ok(None)
}

impl Part for Flips {
    fn name(&self) -> &'static str {
        "flips"
    }

    fn share(&self) -> u32 {
        10
    }

    fn pass(&self) -> Option<u64> {
        Some(total().div_ceil(CHUNK) as u64)
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        benches()?;
        let first = (case.seed % self.pass().unwrap_or(1)) as usize * CHUNK;
        for number in first..first + CHUNK {
            if judge_number(number)?.is_some() {
                case.count(Count::Flips, 1);
            }
        }
        Ok(())
    }
}
