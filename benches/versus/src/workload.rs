//! The rows, as one engine does them: in the child, on one thread, one operation after the other.
//!
//! What is read is checked: how many keys were found and missing exactly, every value's length, and
//! all bytes of a sample. A wrong answer ends the run; a rate of wrong answers means nothing.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::data::{self, Order, VALUE_BYTES};
use crate::engines::{Engine, Result, Sync};
use crate::figures::{Figure, Outcome, Row};
use crate::meter;

/// One in so many values that are read is compared byte by byte.
const SAMPLE: u64 = 16;
/// No change for so long, and an engine counts as at rest between two rows.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// So many times longer before sizes are read.
pub(crate) const LONG_QUIET_FACTOR: u32 = 3;
/// An engine that works longer is not waited for.
pub(crate) const MAX_SETTLE: Duration = Duration::from_mins(1);

const IN_ORDER: &str = "in-order";
const AT_RANDOM: &str = "at-random";

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Entries of a database.
    pub(crate) entries: u64,
    /// Writes of the row of synced ones.
    pub(crate) synced_writes: u64,
    /// Decides every order.
    pub(crate) seed: u64,
    /// No change for so long, and an engine counts as at rest.
    pub(crate) quiet: Duration,
}

/// An engine at work in a directory of its own.
pub(crate) struct Workload<E> {
    plan: Plan,
    home: PathBuf,
    /// The database of the first row, until it has come to rest.
    in_order: Option<E>,
    /// The database of all other rows; `None` before it is filled.
    database: Option<E>,
    /// How many times over every entry was written.
    generation: u64,
    reopened: bool,
}

impl<E: Engine> Workload<E> {
    pub(crate) fn new(plan: Plan, home: &Path) -> Self {
        let home = home.to_owned();
        Workload { plan, home, in_order: None, database: None, generation: 0, reopened: false }
    }

    /// Does a row, then waits for the engine to come to rest.
    pub(crate) fn run(&mut self, row: Row) -> Result<Outcome> {
        if row == Row::ScanAll && !E::SCANS {
            return Ok(Outcome::default());
        }
        let figure = match row {
            Row::FillInOrder => self.fill_in_order()?,
            Row::FillAtRandom => self.fill_at_random()?,
            Row::Overwrite => self.overwrite()?,
            Row::ReadAtRandom => self.read_at_random()?,
            Row::ReadMissing => self.read_missing()?,
            Row::ScanAll => self.scan_all()?,
            Row::SyncedWrites => self.synced_writes()?,
            Row::DiskUsed => self.disk_used()?,
            Row::PeakMemory => Figure::Bytes(meter::peak_memory_bytes()? as f64),
        };
        let settled = meter::settle(&self.home, self.plan.quiet, MAX_SETTLE)?;
        self.discard_in_order()?;
        Ok(Outcome { figure: Some(figure), settled_seconds: settled.as_secs_f64() })
    }

    fn fill_in_order(&mut self) -> Result<Figure> {
        let database = E::open(&self.new_directory(IN_ORDER)?, Sync::Never)?;
        let started = Instant::now();
        for index in 0..self.plan.entries {
            database.put(&data::present(index), &data::value(index, 0))?;
        }
        let figure = rate(self.plan.entries, started);
        self.in_order = Some(database);
        Ok(figure)
    }

    /// Removes the database of the first row: it would count into what the others take.
    fn discard_in_order(&mut self) -> Result<()> {
        if let Some(database) = self.in_order.take() {
            check_reads(&database, self.plan, 0, self.plan.entries / SAMPLE)?;
            database.close()?;
            fs::remove_dir_all(self.home.join(IN_ORDER))?;
        }
        Ok(())
    }

    fn fill_at_random(&mut self) -> Result<Figure> {
        if let Some(database) = self.database.take() {
            database.close()?;
        }
        let database = E::open(&self.new_directory(AT_RANDOM)?, Sync::Never)?;
        (self.generation, self.reopened) = (0, false);
        let figure = write_all(&database, self.plan, 0)?;
        self.database = Some(database);
        Ok(figure)
    }

    fn overwrite(&mut self) -> Result<Figure> {
        let (plan, generation) = (self.plan, self.generation + 1);
        let figure = write_all(self.filled()?, plan, generation)?;
        self.generation = generation;
        Ok(figure)
    }

    fn read_at_random(&mut self) -> Result<Figure> {
        self.reopen(Sync::Never)?;
        let (plan, generation) = (self.plan, self.generation);
        let database = self.filled()?;
        let started = Instant::now();
        check_reads(database, plan, generation, plan.entries)?;
        Ok(rate(plan.entries, started))
    }

    fn read_missing(&mut self) -> Result<Figure> {
        if !self.reopened {
            self.reopen(Sync::Never)?;
        }
        let plan = self.plan;
        let database = self.filled()?;
        let order = Order::new(plan.entries, plan.seed ^ 0x155);
        let started = Instant::now();
        let mut found = 0;
        for position in 0..plan.entries {
            let key = data::missing(order.at(position));
            found += u64::from(database.get(&key, |_| ())?.is_some());
        }
        let figure = rate(plan.entries, started);
        require(found == 0, || format!("{found} keys found that nobody wrote"))?;
        Ok(figure)
    }

    fn scan_all(&mut self) -> Result<Figure> {
        let (plan, generation) = (self.plan, self.generation);
        let database = self.filled()?;
        let started = Instant::now();
        let (mut count, mut wrong) = (0, 0);
        database.scan(|key, value| {
            let right = if count % SAMPLE == 0 {
                key == data::present(count) && value == data::value(count, generation)
            } else {
                black_box(key).len() == data::KEY_BYTES && black_box(value).len() == VALUE_BYTES
            };
            wrong += u64::from(!right);
            count += 1;
        })?;
        let figure = rate(plan.entries, started);
        require(count == plan.entries && wrong == 0, || {
            format!("{count} of {} entries scanned, {wrong} wrong", plan.entries)
        })?;
        Ok(figure)
    }

    fn synced_writes(&mut self) -> Result<Figure> {
        self.reopen(Sync::Each)?;
        let (plan, generation) = (self.plan, self.generation);
        let database = self.filled()?;
        let order = Order::new(plan.entries, plan.seed ^ 0x5ec);
        let count = plan.synced_writes.min(plan.entries);
        let started = Instant::now();
        let latencies = timed_writes(count, |number| {
            let index = order.at(number);
            database.put(&data::present(index), &data::value(index, generation + 1))
        })?;
        let rate = rate(count, started).value();
        for index in (0..count).map(|number| order.at(number)) {
            check_value(database, index, generation + 1)?;
        }
        // Rows that follow count on one generation, so these are overwritten, unmeasured.
        self.reopen(Sync::Never)?;
        let database = self.filled()?;
        for index in (0..count).map(|number| order.at(number)) {
            check_value(database, index, generation + 1)?;
            database.put(&data::present(index), &data::value(index, generation))?;
        }
        let microseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Figure::Latency { rate, p50_us: microseconds(0.5), p99_us: microseconds(0.99) })
    }

    fn disk_used(&mut self) -> Result<Figure> {
        self.filled()?;
        meter::settle(&self.home, self.plan.quiet * LONG_QUIET_FACTOR, MAX_SETTLE)?;
        Ok(Figure::Bytes(meter::usage(&self.home, E::is_log)?.all as f64))
    }

    /// The database, filled unmeasured if no row has done it.
    fn filled(&mut self) -> Result<&E> {
        if self.database.is_none() {
            self.fill_at_random()?;
            meter::settle(&self.home, self.plan.quiet, MAX_SETTLE)?;
        }
        self.database.as_ref().ok_or_else(|| "no database".into())
    }

    fn reopen(&mut self, sync: Sync) -> Result<()> {
        self.filled()?;
        if let Some(database) = self.database.take() {
            database.close()?;
        }
        self.database = Some(E::open(&self.home.join(AT_RANDOM), sync)?);
        self.reopened = true;
        // What the opening leaves to do in the background is not what is measured.
        meter::settle(&self.home, self.plan.quiet, MAX_SETTLE)?;
        Ok(())
    }

    fn new_directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.home.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

/// The order in which the entries of a generation are written.
pub(crate) fn write_order(plan: Plan, generation: u64) -> Order {
    Order::new(plan.entries, plan.seed.wrapping_add(generation))
}

/// Writes all entries once, in random order.
fn write_all<E: Engine>(database: &E, plan: Plan, generation: u64) -> Result<Figure> {
    let order = write_order(plan, generation);
    let started = Instant::now();
    for position in 0..plan.entries {
        let index = order.at(position);
        database.put(&data::present(index), &data::value(index, generation))?;
    }
    Ok(rate(plan.entries, started))
}

/// Reads this many entries at random and checks them.
pub(crate) fn check_reads<E: Engine>(
    database: &E,
    plan: Plan,
    generation: u64,
    count: u64,
) -> Result<()> {
    let order = Order::new(plan.entries, plan.seed ^ 0x4ead);
    let (mut found, mut wrong) = (0, 0);
    for position in 0..count {
        let index = order.at(position);
        let right = database.get(&data::present(index), |value| {
            if position % SAMPLE == 0 {
                value == data::value(index, generation)
            } else {
                black_box(value).len() == VALUE_BYTES
            }
        })?;
        found += u64::from(right.is_some());
        wrong += u64::from(right == Some(false));
    }
    require(found == count && wrong == 0, || {
        format!("{found} of {count} entries found, {wrong} wrong")
    })
}

fn check_value<E: Engine>(database: &E, index: u64, generation: u64) -> Result<()> {
    let right =
        database.get(&data::present(index), |value| value == data::value(index, generation))?;
    require(right == Some(true), || format!("the synced write of entry {index} is not there"))
}

/// How long each of these writes took, in nanoseconds.
fn timed_writes(count: u64, write: impl Fn(u64) -> Result<()>) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    let mut before = Instant::now();
    for number in 0..count {
        write(number)?;
        let after = Instant::now();
        latencies.record(nanoseconds(after - before))?;
        before = after;
    }
    Ok(latencies)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn rate(count: u64, started: Instant) -> Figure {
    Figure::Rate(count as f64 / started.elapsed().as_secs_f64())
}

pub(crate) fn require(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(what().into()) }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::engines::toy::{Fault, Toy};
    use crate::engines::{Chronos, Fjall};

    const PLAN: Plan = Plan { entries: 500, synced_writes: 40, seed: 3, quiet: Duration::ZERO };

    fn run_all<E: Engine>() -> std::result::Result<(), (Row, String)> {
        let home = tempfile::tempdir().unwrap();
        let mut workload = Workload::<E>::new(PLAN, home.path());
        for row in Row::value_variants() {
            workload.run(*row).map_err(|error| (*row, error.to_string()))?;
        }
        Ok(())
    }

    #[test]
    fn an_engine_that_is_right_gets_through_all_rows() {
        assert_eq!(run_all::<Toy>(), Ok(()));
        assert_eq!(run_all::<Chronos>(), Ok(()));
        assert_eq!(run_all::<Fjall>(), Ok(()));
        #[cfg(feature = "rocksdb")]
        assert_eq!(run_all::<crate::engines::RocksDb>(), Ok(()));
    }

    #[test]
    fn wrong_answers_end_the_run() {
        let caught = [
            (Fault::Loses, Row::FillInOrder, " of 31 entries found, 0 wrong"),
            (Fault::KeepsTheFirst, Row::ReadAtRandom, "500 of 500 entries found, 32 wrong"),
            (Fault::Invents, Row::ReadMissing, "500 keys found"),
            (Fault::ScansTooFew, Row::ScanAll, "499 of 500 entries scanned"),
            (Fault::ScansWrongly, Row::ScanAll, "500 of 500 entries scanned, 500 wrong"),
            (Fault::ForgetsSynced, Row::SyncedWrites, "is not there"),
        ];
        for (fault, row, message) in caught {
            let (at, error) = Toy::with(fault, run_all::<Toy>).unwrap_err();
            assert_eq!(at, row, "{fault:?}: {error}");
            assert!(error.contains(message), "{fault:?}: {error}");
        }
    }

    #[test]
    fn a_row_makes_up_for_those_that_it_builds_on() {
        for row in Row::value_variants() {
            let home = tempfile::tempdir().unwrap();
            Workload::<Toy>::new(PLAN, home.path()).run(*row).unwrap();
        }
    }
}
