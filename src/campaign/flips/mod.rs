//! Damaged databases: every bit flipped, every file cut at every length, pieces exchanged.
mod damage;
mod judge;
mod sample;
mod shelf;

use std::sync::LazyLock;
use std::time::Duration;

use self::damage::Plan;
use self::judge::{Outcome, judge};
use self::sample::Sample;
use super::{Case, Count, Part};

/// Damages of a case.
const CHUNK: usize = 256;

/// See the module.
pub(crate) struct Flips;

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

fn total() -> usize {
    benches().map_or(1, |benches| benches.iter().map(|bench| bench.plan.len()).sum())
}

/// Does the damages with these numbers.
fn run(numbers: impl Iterator<Item = usize>, judged: &mut dyn FnMut(&Bench, &damage::Damage, Outcome)) -> Result<(), String> {
    for number in numbers {
        let mut at = number;
        for bench in benches()? {
            if at < bench.plan.len() {
                let Some(damage) = bench.plan.damage(at) else { break };
                let Some(damaged) = damage.apply(&bench.sample) else { break };
                let outcome = judge(&bench.sample, &damage, &damaged)
                    .map_err(|what| format!("{what}; after {damage:?} of {:?} in {}", damaged.names, bench.sample.name))?;
                judged(bench, &damage, outcome);
                break;
            }
            at -= bench.plan.len();
        }
    }
    Ok(())
}

impl Part for Flips {
    fn name(&self) -> &'static str {
        "flips"
    }

    fn share(&self) -> u32 {
        3
    }

    fn pass(&self) -> Option<u64> {
        Some(total().div_ceil(CHUNK) as u64)
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let first = (case.seed % self.pass().unwrap_or(1)) as usize * CHUNK;
        run(first..first + CHUNK, &mut |_, _, _| case.count(Count::Flips, 1))
    }
}
#[cfg(test)]
mod t {
    use super::*;
    #[test]
    fn survey() {
        let stride: usize = std::env::var("STRIDE").map_or(1009, |s| s.parse().unwrap());
        let mut stats: std::collections::BTreeMap<(String, String, Outcome), u64> = Default::default();
        let mut losses: std::collections::BTreeMap<String, (u64, String)> = Default::default();
        let begun = std::time::Instant::now();
        let mut n = 0;
        println!("total {} plans {:?}", total(), benches().unwrap().iter().map(|b| (b.sample.name, b.plan.len())).collect::<Vec<_>>());
        for number in (0..total()).step_by(stride) {
            let outcome = run([number].into_iter(), &mut |b, d, o| {
                n += 1;
                let damaged = d.apply(&b.sample).unwrap();
                let kinds: Vec<&str> = damaged.names.iter().map(|n| damage::kind(n)).collect();
                let d = format!("{d:?}");
                *stats.entry((d.split(' ').next().unwrap().to_owned(), kinds.join("+"), o)).or_default() += 1;
            });
            if let Err(what) = outcome {
                let key: String = what.split("; after ").next().unwrap().to_owned() + what.split("; after ").nth(1).unwrap().split(' ').next().unwrap();
                let e = losses.entry(key).or_insert((0, what));
                e.0 += 1;
            }
        }
        println!("{n} in {:?}", begun.elapsed());
        for (k, v) in stats { println!("{k:?} {v}"); }
        for (_, (n, what)) in losses { println!("LOSS {n} x {what}"); }
    }
}
