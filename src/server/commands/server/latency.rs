//! LATENCY: shows what the latency monitor has seen.

use std::fmt::Write;

use crate::parser::Verb;

use super::super::super::latency::{Event, LatencyMonitor};
use super::{Call, Handled};

/// How high a graph is, in lines, and how wide, in samples.
const GRAPH_LINES: u64 = 4;
const GRAPH_SAMPLES: usize = 80;

pub(super) fn handle(call: &mut Call) -> Handled {
    let monitor = &mut call.services.latency;
    match call.command.verb {
        Verb::LatencyLatest => {
            call.reply.array(monitor.events().len());
            for event in monitor.events() {
                let latest = event.samples.back();
                call.reply.array(4);
                call.reply.bulk(event.name.as_bytes());
                call.reply.integer(latest.map_or(0, |sample| sample.time.cast_signed()));
                call.reply.integer(latest.map_or(0, |sample| sample.ms.cast_signed()));
                call.reply.integer(event.longest_ms.cast_signed());
            }
        }
        Verb::LatencyHistory => {
            let event = monitor.event(call.args.at(1));
            call.reply.array(event.map_or(0, |event| event.samples.len()));
            for sample in event.iter().flat_map(|event| &event.samples) {
                call.reply.array(2);
                call.reply.integer(sample.time.cast_signed());
                call.reply.integer(sample.ms.cast_signed());
            }
        }
        Verb::LatencyReset => {
            let names = call.args.from(1);
            let is_meant =
                |event: &str| names.is_empty() || names.iter().any(|name| name == event.as_bytes());
            call.reply.count(monitor.reset(is_meant));
        }
        Verb::LatencyGraph => {
            let Some(event) = monitor.event(call.args.at(1)) else {
                let name = String::from_utf8_lossy(call.args.at(1));
                return Err(format!("ERR No samples available for event '{name}'").into());
            };
            call.reply.verbatim(&graph(event));
        }
        Verb::LatencyDoctor => call.reply.verbatim(&report(monitor)),
        // Distributions are not kept.
        _ => call.reply.map(0),
    }
    Ok(())
}

/// The samples as columns, oldest first.
fn graph(event: &Event) -> String {
    let skipped = event.samples.len().saturating_sub(GRAPH_SAMPLES);
    let shown = || event.samples.iter().skip(skipped).map(|sample| sample.ms);
    let (high, low) = (shown().max().unwrap_or(0), shown().min().unwrap_or(0));
    let longest = event.longest_ms;
    let mut text = format!(
        "{} - high {high} ms, low {low} ms (all time high {longest} ms)\n{}\n",
        event.name,
        "-".repeat(GRAPH_SAMPLES)
    );
    for line in (0..GRAPH_LINES).rev() {
        let is_there = |ms: u64| (ms - low) * (GRAPH_LINES - 1) >= line * (high - low).max(1);
        text.extend(shown().map(|ms| if is_there(ms) { '#' } else { ' ' }));
        text.push('\n');
    }
    text
}

fn report(monitor: &LatencyMonitor) -> String {
    if monitor.threshold_ms == 0 {
        return "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> \
                turns it on.\n"
            .to_owned();
    }
    let threshold = monitor.threshold_ms;
    if monitor.events().is_empty() {
        return format!("No command has taken {threshold} ms or more.\n");
    }
    let mut text = format!("Commands that took {threshold} ms or more:\n");
    for event in monitor.events() {
        let count = event.samples.len() as u64;
        let average = event.samples.iter().map(|sample| sample.ms).sum::<u64>() / count.max(1);
        let (name, longest) = (event.name, event.longest_ms);
        // A String takes every write.
        let _ = writeln!(
            text,
            "{name}: seconds with any: {count}, average {average} ms, longest {longest} ms"
        );
    }
    text.push_str("SLOWLOG GET shows the commands, as far as slowlog-log-slower-than lets it.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::super::latency::Sample;
    use super::*;

    #[test]
    fn a_graph_stands_on_its_lowest_sample() {
        let samples = [10, 40, 20].map(|ms| Sample { time: ms, ms });
        let event = Event { name: "command", samples: samples.into(), longest_ms: 50 };
        let graph = graph(&event);
        let lines: Vec<_> = graph.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 50 ms)");
        assert_eq!(lines[2..], [" # ", " # ", " ##", "###"]);
    }
}
