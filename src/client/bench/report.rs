//! What was measured, as a table for people or as comma-separated values for programs.
//!
//! The figures never stand alone: the line below them says on how many connections, with which
//! pipeline and with which durability they were made, and the heading of the targets, which were set for
//! writes that are not synced, says so.

use std::io::{self, Write};

use super::options::{KeyOrder, Limit, Options};
use super::test::Outcome;
use super::workload::Operation;
use crate::client::connection::Endpoint;

/// The rates that Chronos is to reach on one connection, in operations per second, set for writes that are
/// not synced to disk.
fn target(operation: Operation) -> Option<u64> {
    match operation {
        Operation::Set => Some(10_500),
        Operation::Get => Some(15_000),
        Operation::Del => None,
    }
}

/// Writes the table, what was measured, and what was wrong.
pub(crate) fn table(
    out: &mut dyn Write,
    options: &Options,
    endpoint: &Endpoint,
    durability: Option<&str>,
    outcomes: &[Outcome],
) -> io::Result<()> {
    writeln!(
        out,
        "{:<9} {:>11} {:>17} {:>10} {:>10} {:>10} {:>10}",
        "operation", "ops/s", "target (unsynced)", "mean", "p50", "p99", "max"
    )?;
    outcomes.iter().try_for_each(|outcome| row(out, outcome))?;
    writeln!(out, "\n{}", conditions(options, endpoint, durability))?;
    for outcome in outcomes {
        let name = outcome.operation.name();
        if outcome.misses > 0 {
            let (misses, all) = (grouped(outcome.misses), grouped(outcome.replies()));
            writeln!(out, "{name}: {misses} of {all} keys were not there.")?;
        }
        if let Some(example) = &outcome.example {
            let wrong = grouped(outcome.wrong);
            writeln!(out, "{name}: {wrong} WRONG REPLIES; the first: {example}")?;
        }
    }
    Ok(())
}

fn row(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let latency = &outcome.latency;
    writeln!(
        out,
        "{:<9} {:>11} {:>17} {:>10} {:>10} {:>10} {:>10}",
        outcome.operation.name(),
        group_digits(&format!("{:.0}", outcome.rate())),
        target(outcome.operation).map_or_else(|| "-".to_owned(), grouped),
        duration(latency.mean()),
        duration(ns(latency.value_at_quantile(0.5))),
        duration(ns(latency.value_at_quantile(0.99))),
        duration(ns(latency.max())),
    )
}

/// The line without which the figures mean nothing.
fn conditions(options: &Options, endpoint: &Endpoint, durability: Option<&str>) -> String {
    let plural = if options.connections == 1 { "" } else { "s" };
    let amount = match options.limit() {
        Limit::Requests(count) => format!("{} requests per test", grouped(count)),
        Limit::Time(time) => format!("{} s per test", time.as_secs_f64()),
    };
    let (keys, order) = options.keys();
    let order = match order {
        KeyOrder::Sequential => "in order",
        KeyOrder::Random => "at random",
    };
    format!(
        "{endpoint}, {} protocol, {} connection{plural}, pipeline {}, {amount}, {}-byte values, {} keys \
         {order}; durability: {}.",
        options.protocol,
        grouped(options.connections),
        grouped(options.pipeline),
        grouped(options.value_bytes),
        grouped(keys),
        durability.unwrap_or("the server does not say"),
    )
}

/// Writes one line per test, as `redis-benchmark -q` does.
pub(crate) fn lines(out: &mut dyn Write, outcomes: &[Outcome]) -> io::Result<()> {
    outcomes.iter().try_for_each(|outcome| {
        let p50_ms = ns(outcome.latency.value_at_quantile(0.5)) / 1e6;
        let (name, rate) = (outcome.operation.name(), outcome.rate());
        writeln!(out, "{name}: {rate:.2} requests per second, p50={p50_ms:.3} msec")
    })
}

/// Writes one line per test under a heading.
pub(crate) fn csv(
    out: &mut dyn Write,
    options: &Options,
    durability: Option<&str>,
    outcomes: &[Outcome],
) -> io::Result<()> {
    writeln!(
        out,
        "operation,protocol,connections,pipeline,value_bytes,replies,seconds,ops_per_second,mean_us,\
         p50_us,p99_us,max_us,misses,wrong,durability"
    )?;
    for outcome in outcomes {
        let latency = &outcome.latency;
        writeln!(
            out,
            "{},{},{},{},{},{},{:.6},{:.1},{:.3},{:.3},{:.3},{:.3},{},{},{}",
            outcome.operation.name(),
            options.protocol,
            options.connections,
            options.pipeline,
            options.value_bytes,
            outcome.replies(),
            outcome.elapsed.as_secs_f64(),
            outcome.rate(),
            latency.mean() / 1e3,
            ns(latency.value_at_quantile(0.5)) / 1e3,
            ns(latency.value_at_quantile(0.99)) / 1e3,
            ns(latency.max()) / 1e3,
            outcome.misses,
            outcome.wrong,
            quoted(durability.unwrap_or_default()),
        )?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of at most an hour are exact in f64")]
fn ns(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

/// Nanoseconds in the unit that needs the fewest digits.
fn duration(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    group_digits(&number.to_string())
}

fn group_digits(digits: &str) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn durations_keep_three_digits() {
        let cases = [
            (50.0, "0.05 us"),
            (9_994.0, "9.99 us"),
            (9_996.0, "10.0 us"),
            (83_400.0, "83.4 us"),
            (999_000.0, "999 us"),
            (1_204_000.0, "1.20 ms"),
            (2.5e9, "2.50 s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn a_quote_stays_inside_its_field() {
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
