//! From measured figures to tables: pure functions.
//!
//! A ratio is taken within each round, between figures that were measured seconds apart, and the
//! median of those is shown; the ratio of two medians would compare different moments of a machine
//! whose speed drifts.

use crate::engines::Name;
use crate::figures::{Figure, Metric, Outcome, Row, Sustained, Unit};

/// The outcomes of a row: for each engine, those of all rounds.
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) outcomes: Vec<(Name, Vec<Outcome>)>,
}

/// Whom Chronos is to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rival {
    One(Name),
    /// The better of the two.
    Better,
}

/// What Chronos must reach: its figure divided by the rival's.
struct Target {
    rival: Rival,
    factor: f64,
    /// Less is better.
    at_most: bool,
}

fn target(row: Row) -> Target {
    let (rival, factor) = match row {
        Row::FillInOrder | Row::FillAtRandom => (Rival::One(Name::Rocksdb), 2.0),
        Row::Overwrite => (Rival::Better, 1.5),
        Row::ReadAtRandom => (Rival::One(Name::Rocksdb), 1.5),
        Row::SyncedWrites => (Rival::One(Name::Fjall), 1.0),
        Row::ReadMissing | Row::ScanAll | Row::DiskUsed | Row::PeakMemory => {
            (Rival::One(Name::Rocksdb), 1.0)
        }
    };
    Target { rival, factor, at_most: matches!(row, Row::DiskUsed | Row::PeakMemory) }
}

impl Target {
    fn text(&self) -> String {
        let rival = match self.rival {
            Rival::One(name) => name.title(),
            Rival::Better => "the better",
        };
        if self.at_most {
            format!("≤ {rival}")
        } else {
            format!("≥ {} × {rival}", self.factor)
        }
    }

    fn is_met(&self, ratio: f64) -> bool {
        if self.at_most { ratio <= self.factor } else { ratio >= self.factor }
    }
}

impl Measured {
    /// The figures of an engine, round by round; `None` if it cannot do this, or was not asked.
    fn figures(&self, name: Name) -> Option<Vec<Figure>> {
        let (_, outcomes) = self.outcomes.iter().find(|(engine, _)| *engine == name)?;
        outcomes.iter().map(|outcome| outcome.figure).collect()
    }

    fn values(&self, name: Name) -> Option<Vec<f64>> {
        Some(self.figures(name)?.into_iter().map(Figure::value).collect())
    }

    /// Chronos' figure divided by the other's: the median of the rounds' ratios.
    fn ratio(&self, other: Name) -> Option<f64> {
        self.ratio_to(&self.values(other)?)
    }

    fn ratio_to(&self, others: &[f64]) -> Option<f64> {
        let ours = self.values(Name::Chronos)?;
        median(ours.iter().zip(others).map(|(ours, other)| ours / other).collect())
    }

    /// Chronos' figure divided by that of the target.
    fn ratio_to_rival(&self, rival: Rival) -> Option<f64> {
        match rival {
            Rival::One(name) => self.ratio(name),
            Rival::Better => {
                let (one, other) = (self.values(Name::Rocksdb)?, self.values(Name::Fjall)?);
                let better: Vec<f64> =
                    one.iter().zip(&other).map(|(one, other)| one.max(*other)).collect();
                self.ratio_to(&better)
            }
        }
    }

    fn verdict(&self) -> String {
        let target = target(self.row);
        match self.ratio_to_rival(target.rival) {
            Some(ratio) if target.is_met(ratio) => "yes".to_owned(),
            Some(ratio) => format!("no: {ratio:.2}"),
            None => "not measured".to_owned(),
        }
    }

    fn cell(&self, name: Name) -> String {
        let Some(figures) = self.figures(name) else { return "not there yet".to_owned() };
        let middle = |part: fn(Figure) -> f64| {
            median(figures.iter().map(|figure| part(*figure)).collect()).unwrap_or(f64::NAN)
        };
        match figures.first() {
            Some(Figure::Rate(_)) => show(Unit::Rate, middle(Figure::value)),
            Some(Figure::Bytes(_)) => mebibytes(middle(Figure::value)),
            Some(Figure::Latency { .. }) => format!(
                "{}, p50 {}, p99 {}",
                show(Unit::Rate, middle(Figure::value)),
                show(Unit::Microseconds, middle(p50_us)),
                show(Unit::Microseconds, middle(p99_us)),
            ),
            None => String::new(),
        }
    }
}

fn p50_us(figure: Figure) -> f64 {
    if let Figure::Latency { p50_us, .. } = figure { p50_us } else { f64::NAN }
}

fn p99_us(figure: Figure) -> f64 {
    if let Figure::Latency { p99_us, .. } = figure { p99_us } else { f64::NAN }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let lower = if values.len().is_multiple_of(2) { values[middle - 1] } else { upper };
    Some(f64::midpoint(lower, upper))
}

/// A number with its unit, in three digits or so.
pub(crate) fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Rate if value >= 9.95e5 => format!("{:.2} M/s", value / 1e6),
        Unit::Rate if value >= 9.95e3 => format!("{:.0} k/s", value / 1e3),
        Unit::Rate => format!("{:.2} k/s", value / 1e3),
        Unit::Microseconds if value >= 9.95e5 => format!("{:.2} s", value / 1e6),
        Unit::Microseconds if value >= 995.0 => format!("{:.1} ms", value / 1e3),
        Unit::Microseconds if value >= 9.95 => format!("{value:.0} µs"),
        Unit::Microseconds => format!("{value:.1} µs"),
        Unit::Seconds => format!("{value:.1} s"),
        Unit::Count => format!("{value:.0}"),
        Unit::Times => format!("{value:.2}"),
    }
}

/// A figure with its unit.
pub(crate) fn show_figure(figure: Figure) -> String {
    match figure {
        Figure::Bytes(bytes) => mebibytes(bytes),
        Figure::Rate(rate) | Figure::Latency { rate, .. } => show(Unit::Rate, rate),
    }
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / f64::from(1 << 20))
}

/// Cells under a header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Aligned, for a terminal.
    pub(crate) fn text(&self) -> String {
        let widths = self.widths();
        let line =
            |cells: &Vec<String>| pad(cells, &widths).join("  ").trim_end().to_owned() + "\n";
        std::iter::once(&self.header).chain(&self.rows).map(line).collect()
    }

    /// The same as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |cells: &Vec<String>| format!("| {} |\n", pad(cells, &widths).join(" | "));
        let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
        [&self.header, &rule].into_iter().chain(&self.rows).map(line).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.header.len()];
        for cells in self.rows.iter().chain([&self.header]) {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }
}

fn pad(cells: &[String], widths: &[usize]) -> Vec<String> {
    cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect()
}

/// The rows beside their targets.
pub(crate) fn rows_table(engines: &[Name], measured: &[Measured]) -> Table {
    let mut header = vec![String::new()];
    header.extend(engines.iter().map(|name| name.title().to_owned()));
    let rivals = || engines.iter().filter(|name| **name != Name::Chronos);
    header.extend(rivals().map(|name| format!("Chronos / {}", name.title())));
    header.extend(["target".to_owned(), "met".to_owned()]);
    let cells = |measured: &Measured| {
        let mut cells = vec![measured.row.title().to_owned()];
        cells.extend(engines.iter().map(|name| measured.cell(*name)));
        let ratio = |name: &Name| measured.ratio(*name).map(|ratio| format!("{ratio:.2}"));
        cells.extend(rivals().map(|name| ratio(name).unwrap_or_default()));
        cells.extend([target(measured.row).text(), measured.verdict()]);
        cells
    };
    Table { header, rows: measured.iter().map(cells).collect() }
}

/// How long each engine worked on after each row that writes: what a burst left to be done.
pub(crate) fn debt_table(engines: &[Name], measured: &[Measured]) -> Table {
    let mut header = vec!["work after the last operation".to_owned()];
    header.extend(engines.iter().map(|name| name.title().to_owned()));
    let writes = |row| matches!(row, Row::FillInOrder | Row::FillAtRandom | Row::Overwrite);
    let cells = |measured: &Measured| {
        let mut cells = vec![measured.row.title().to_owned()];
        cells.extend(measured.outcomes.iter().map(|(_, outcomes)| {
            let seconds = outcomes.iter().map(|outcome| outcome.settled_seconds).collect();
            show(Unit::Seconds, median(seconds).unwrap_or(f64::NAN))
        }));
        cells
    };
    let rows = measured.iter().filter(|measured| writes(measured.row)).map(cells).collect();
    Table { header, rows }
}

/// The sustained load: the medians of the rounds, for each engine.
pub(crate) fn sustained_table(runs: &[(Name, Vec<Sustained>)]) -> Table {
    let mut header = vec!["sustained".to_owned()];
    header.extend(runs.iter().map(|(name, _)| name.title().to_owned()));
    let cells = |(name, unit): (String, Unit)| {
        let cell = |(_, rounds): &(Name, Vec<Sustained>)| {
            let value = median(values_of(rounds, &name, unit))?;
            Some(show(unit, value))
        };
        let mut cells = vec![name.clone()];
        cells.extend(runs.iter().map(|run| cell(run).unwrap_or_default()));
        cells
    };
    Table { header, rows: metric_names(runs).into_iter().map(cells).collect() }
}

/// A metric's value in each round. One that counts and is missing has not happened in that round.
fn values_of(rounds: &[Sustained], name: &str, unit: Unit) -> Vec<f64> {
    let find = |round: &Sustained| round.metrics.iter().find(|metric| metric.name == name).cloned();
    let found: Vec<Option<Metric>> = rounds.iter().map(find).collect();
    if found.iter().all(Option::is_none) {
        return Vec::new();
    }
    let value = |metric: Option<Metric>| metric.map(|metric| metric.value);
    let missing = if unit == Unit::Count { 0.0 } else { f64::NAN };
    found.into_iter().map(|metric| value(metric).unwrap_or(missing)).collect()
}

/// The names of all metrics; what only some runs have comes behind what it followed there.
fn metric_names(runs: &[(Name, Vec<Sustained>)]) -> Vec<(String, Unit)> {
    let mut names: Vec<(String, Unit)> = Vec::new();
    for run in runs.iter().flat_map(|(_, rounds)| rounds) {
        let mut at = 0;
        for metric in &run.metrics {
            let known = names.iter().position(|(name, _)| *name == metric.name);
            if known.is_none() {
                names.insert(at, (metric.name.clone(), metric.unit));
            }
            at = known.unwrap_or(at) + 1;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINES: [Name; 3] = [Name::Chronos, Name::Rocksdb, Name::Fjall];

    fn measured(row: Row, values: [&[f64]; 3], figure: fn(f64) -> Figure) -> Measured {
        let outcome = |value: &f64| Outcome { figure: Some(figure(*value)), settled_seconds: 2.0 };
        let outcomes = ENGINES.into_iter().zip(values);
        let outcomes = outcomes.map(|(name, values)| (name, values.iter().map(outcome).collect()));
        Measured { row, outcomes: outcomes.collect() }
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // Everybody is twice as fast in the second round, and Chronos slower in the third.
        let rates: [&[f64]; 3] = [&[2e5, 4e5, 1e5], &[1e5, 2e5, 2e5], &[4e5, 8e5, 2e5]];
        let row = measured(Row::FillAtRandom, rates, Figure::Rate);
        assert_eq!(row.ratio(Name::Rocksdb), Some(2.0));
        assert_eq!(row.ratio(Name::Fjall), Some(0.5));
        assert_eq!(row.verdict(), "yes");
    }

    #[test]
    fn the_better_is_found_round_by_round() {
        let rates: [&[f64]; 3] = [&[3e5, 3e5], &[1e5, 2e5], &[2e5, 1e5]];
        assert_eq!(measured(Row::Overwrite, rates, Figure::Rate).verdict(), "yes");
        let rates: [&[f64]; 3] = [&[3e5, 3e5], &[1e5, 2e5], &[4e5, 4e5]];
        assert_eq!(measured(Row::Overwrite, rates, Figure::Rate).verdict(), "no: 0.75");
    }

    #[test]
    fn of_sizes_less_is_better() {
        let verdict =
            |ours| measured(Row::DiskUsed, [&[ours], &[2e8], &[1e8]], Figure::Bytes).verdict();
        assert_eq!(verdict(2e8), "yes");
        assert_eq!(verdict(2.1e8), "no: 1.05");
    }

    #[test]
    fn what_is_not_there_is_neither_met_nor_missed() {
        let mut row = measured(Row::ScanAll, [&[1.0], &[1e6], &[2e6]], Figure::Rate);
        row.outcomes[0].1[0].figure = None;
        let table = rows_table(&ENGINES, &[row]);
        let expected = ["scan all", "not there yet", "1.00 M/s", "2.00 M/s", "", ""];
        assert_eq!(table.rows[0][..6], expected);
        assert_eq!(table.rows[0][6..], ["≥ 1 × RocksDB", "not measured"]);
        let mut row = measured(Row::Overwrite, [&[1.0], &[1e6], &[2e6]], Figure::Rate);
        row.outcomes.pop();
        assert_eq!(row.verdict(), "not measured");
    }

    #[test]
    fn latencies_stand_beside_their_rate() {
        let figure = |rate| Figure::Latency { rate, p50_us: 95.4, p99_us: 3_960.0 };
        let row = measured(Row::SyncedWrites, [&[9_400.0], &[3_700.0], &[1e4]], figure);
        assert_eq!(row.cell(Name::Chronos), "9.40 k/s, p50 95 µs, p99 4.0 ms");
        assert_eq!(row.verdict(), "no: 0.94");
    }

    #[test]
    fn tables_are_aligned_by_characters() {
        let header = vec!["µ".to_owned(), "b".to_owned()];
        let rows = vec![vec!["≥ 1".to_owned(), "x".to_owned()]];
        let table = Table { header, rows };
        assert_eq!(table.text(), "µ    b\n≥ 1  x\n");
        assert_eq!(table.markdown(), "| µ   | b |\n| --- | - |\n| ≥ 1 | x |\n");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let shown = [
            (Unit::Rate, 3_538_000.0, "3.54 M/s"),
            (Unit::Rate, 469_400.0, "469 k/s"),
            (Unit::Rate, 3_700.0, "3.70 k/s"),
            (Unit::Microseconds, 1.26, "1.3 µs"),
            (Unit::Microseconds, 190.4, "190 µs"),
            (Unit::Microseconds, 4_000.0, "4.0 ms"),
            (Unit::Microseconds, 2_500_000.0, "2.50 s"),
            (Unit::Times, 1.234, "1.23"),
        ];
        for (unit, value, expected) in shown {
            assert_eq!(show(unit, value), expected);
        }
        assert_eq!(show_figure(Figure::Bytes(392.0 * 1_048_576.0)), "392 MiB");
    }

    fn run(metrics: &[(&str, Unit, f64)]) -> Sustained {
        let metric = |&(name, unit, value): &(&str, Unit, f64)| Metric {
            name: name.to_owned(),
            unit,
            value,
        };
        Sustained { metrics: metrics.iter().map(metric).collect(), counts: Vec::new() }
    }

    #[test]
    fn reasons_that_only_some_have_keep_their_place() {
        let plain = run(&[("slow", Unit::Count, 0.0), ("space", Unit::Times, 1.5)]);
        let slow = run(&[
            ("slow", Unit::Count, 4.0),
            ("flush", Unit::Count, 4.0),
            ("space", Unit::Times, 2.5),
        ]);
        let runs = [(Name::Chronos, vec![plain.clone(), slow]), (Name::Fjall, vec![plain])];
        let table = sustained_table(&runs);
        let expected = [["slow", "2", "0"], ["flush", "2", ""], ["space", "2.00", "1.50"]];
        assert_eq!(table.rows, expected);
    }

    #[test]
    fn only_rows_that_write_leave_work() {
        let rates: [&[f64]; 3] = [&[1.0], &[1.0], &[1.0]];
        let rows = [Row::Overwrite, Row::ReadMissing].map(|row| measured(row, rates, Figure::Rate));
        assert_eq!(debt_table(&ENGINES, &rows).rows, [["overwrite", "2.0 s", "2.0 s", "2.0 s"]]);
    }
}
