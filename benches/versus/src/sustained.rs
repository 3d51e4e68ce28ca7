//! The sustained load: a fill in random order, then full overwrites without a pause, so that merging
//! must keep up with writing. What a burst defers is paid here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::data::{self, ENTRY_BYTES};
use crate::engines::{Engine, Result, Sync};
use crate::figures::{Metric, Sustained, Unit};
use crate::meter::{self, Usage};
use crate::workload::{
    LONG_QUIET_FACTOR, MAX_SETTLE, Plan, check_reads, nanoseconds, require, write_order,
};

/// A write that takes longer is asked for its reason.
const SLOW: Duration = Duration::from_millis(100);
/// Entries that are read back at the end, at most.
const MAX_CHECKED: u64 = 200_000;

/// One pass over all entries.
struct Pass {
    elapsed: Duration,
    /// In nanoseconds.
    latencies: Histogram<u64>,
    /// The slow writes, by their reason.
    slow: BTreeMap<String, u64>,
}

/// Fills a database in `home` and overwrites it `passes` times.
pub(crate) fn run<E: Engine>(plan: Plan, home: &Path, passes: u64) -> Result<Sustained> {
    let directory = home.join("sustained");
    fs::create_dir_all(&directory)?;
    let database = E::open(&directory, Sync::Never)?;
    let written_before = meter::written_bytes()?;
    let mut metrics = Vec::new();
    for generation in 0..=passes {
        let pass = write_pass(&database, plan, generation)?;
        let name =
            if generation == 0 { "fill".to_owned() } else { format!("overwrite {generation}") };
        report_pass(&mut metrics, &name, &pass, plan.entries);
    }
    let settled = meter::settle(&directory, plan.quiet * LONG_QUIET_FACTOR, MAX_SETTLE)?;
    let live_bytes = plan.entries * ENTRY_BYTES;
    let written = Written {
        system: meter::written_bytes()? - written_before,
        engine: database.written_bytes(),
        user: live_bytes * (passes + 1),
    };
    let usage = meter::usage(&directory, E::is_log)?;
    check_reads(&database, plan, passes, plan.entries.min(MAX_CHECKED))?;
    let found = database.get(&data::missing(0), |_| ())?;
    require(found.is_none(), || "a key was found that nobody wrote".to_owned())?;
    report_bytes(&mut metrics, &written, usage, live_bytes);
    push(&mut metrics, "work after the last write", Unit::Seconds, settled.as_secs_f64());
    push(&mut metrics, "peak memory, MiB", Unit::Count, mib(meter::peak_memory_bytes()?));
    let counts = database.counts()?;
    database.close()?;
    Ok(Sustained { metrics, counts })
}

fn write_pass<E: Engine>(database: &E, plan: Plan, generation: u64) -> Result<Pass> {
    let order = write_order(plan, generation);
    let started = Instant::now();
    let mut pass =
        Pass { elapsed: Duration::ZERO, latencies: Histogram::new(3)?, slow: BTreeMap::new() };
    let mut before = started;
    for position in 0..plan.entries {
        let index = order.at(position);
        database.put(&data::present(index), &data::value(index, generation))?;
        let after = Instant::now();
        let took = after - before;
        pass.latencies.record(nanoseconds(took))?;
        before = after;
        if took > SLOW {
            *pass.slow.entry(database.pressure()?).or_default() += 1;
            before = Instant::now();
        }
    }
    pass.elapsed = started.elapsed();
    Ok(pass)
}

fn report_pass(metrics: &mut Vec<Metric>, name: &str, pass: &Pass, entries: u64) {
    let rate = entries as f64 / pass.elapsed.as_secs_f64();
    push(metrics, &format!("{name}: writes a second"), Unit::Rate, rate);
    for (title, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let value = pass.latencies.value_at_quantile(quantile) as f64 / 1e3;
        push(metrics, &format!("{name}: {title}"), Unit::Microseconds, value);
    }
    let slow = pass.slow.values().sum::<u64>() as f64;
    push(metrics, &format!("{name}: writes over {} ms", SLOW.as_millis()), Unit::Count, slow);
    for (reason, &count) in &pass.slow {
        push(metrics, &format!("{name}:   because {reason}"), Unit::Count, count as f64);
    }
}

/// What was written, in bytes, by each of those who count it.
struct Written {
    system: u64,
    engine: Option<u64>,
    user: u64,
}

fn report_bytes(metrics: &mut Vec<Metric>, written: &Written, usage: Usage, live_bytes: u64) {
    let mut times = |name: &str, bytes: u64, of: u64| {
        push(metrics, name, Unit::Times, bytes as f64 / of as f64);
    };
    times("write amplification, as the system counts", written.system, written.user);
    if let Some(engine) = written.engine {
        times("write amplification, as the engine counts", engine, written.user);
    }
    times("space amplification", usage.all, live_bytes);
    times("space amplification without logs", usage.all - usage.logs, live_bytes);
}

fn push(metrics: &mut Vec<Metric>, name: &str, unit: Unit, value: f64) {
    metrics.push(Metric { name: name.to_owned(), unit, value });
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Fjall;
    use crate::engines::toy::{Fault, Toy};

    const PLAN: Plan = Plan { entries: 300, synced_writes: 0, seed: 3, quiet: Duration::ZERO };

    #[test]
    fn every_pass_is_measured() {
        let home = tempfile::tempdir().unwrap();
        let sustained = run::<Fjall>(PLAN, home.path(), 2).unwrap();
        let rates = sustained.metrics.iter().filter(|metric| metric.unit == Unit::Rate);
        let names: Vec<&str> = rates.map(|metric| metric.name.as_str()).collect();
        let expected = ["fill", "overwrite 1", "overwrite 2"];
        assert!(names.iter().zip(expected).all(|(name, pass)| name.starts_with(pass)), "{names:?}");
        assert_eq!(names.len(), expected.len());
    }

    #[test]
    fn what_was_not_overwritten_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let run = || run::<Toy>(PLAN, home.path(), 1);
        let error = Toy::with(Fault::KeepsTheFirst, run).unwrap_err().to_string();
        assert_eq!(error, "300 of 300 entries found, 19 wrong");
    }

    #[test]
    fn amplification_is_what_was_written_over_what_was_asked() {
        let mut metrics = Vec::new();
        let written = Written { system: 600, engine: Some(500), user: 200 };
        report_bytes(&mut metrics, &written, Usage { all: 150, logs: 40 }, 100);
        let values: Vec<f64> = metrics.iter().map(|metric| metric.value).collect();
        assert_eq!(values, [3.0, 2.5, 1.5, 1.1]);
    }
}
