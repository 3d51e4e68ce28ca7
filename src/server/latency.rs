//! The latency monitor: commands that took longer than a threshold, by event, a few of the latest.
//!
//! Redis names the events: `command`, and `fast-command` for commands that are quick whatever the
//! data. The clock is read once at a command's start and once at its end, for this and for the slow
//! log together, and not at all where neither wants it; so what is told of GET and SET on their short
//! way there is true here too.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::parser::table::Flags;
use crate::parser::{Args, Command};

use super::client::Client;
use super::dispatch::Services;

/// The most samples that are kept of an event.
const KEPT_SAMPLES: usize = 160;

/// Something that took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When, in seconds since the Unix epoch.
    pub(crate) time: u64,
    /// The longest of that second.
    pub(crate) ms: u64,
}

/// The samples of one event.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    /// Oldest first; there is one at least.
    pub(crate) samples: VecDeque<Sample>,
    /// The longest since the last reset.
    pub(crate) longest_ms: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LatencyMonitor {
    /// What counts as long, in milliseconds; 0: off.
    pub(crate) threshold_ms: u64,
    events: Vec<Event>,
}

impl LatencyMonitor {
    fn is_on(&self) -> bool {
        self.threshold_ms > 0
    }

    fn note(&mut self, name: &'static str, sample: Sample) {
        if !self.is_on() || sample.ms < self.threshold_ms {
            return;
        }
        let at = self.events.iter().position(|event| event.name == name).unwrap_or_else(|| {
            self.events.push(Event { name, ..Event::default() });
            self.events.len() - 1
        });
        let event = &mut self.events[at];
        event.longest_ms = event.longest_ms.max(sample.ms);
        match event.samples.back_mut() {
            Some(last) if last.time == sample.time => last.ms = last.ms.max(sample.ms),
            _ => event.samples.push_back(sample),
        }
        if event.samples.len() > KEPT_SAMPLES {
            event.samples.pop_front();
        }
    }

    /// Events that have samples.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// The event with this name, if it has samples.
    pub(crate) fn event(&self, name: &[u8]) -> Option<&Event> {
        self.events.iter().find(|event| event.name.as_bytes() == name)
    }

    /// Forgets the events for which `is_meant` holds. Returns how many there were.
    pub(crate) fn reset(&mut self, is_meant: impl Fn(&str) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|event| !is_meant(event.name));
        before - self.events.len()
    }
}

/// How long ago that was, in microseconds.
pub(crate) fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Services<'_> {
    /// A command begins.
    pub(crate) fn start_clock(&self, command: &Command) -> Option<Instant> {
        (self.slowlog.wants(command) || self.latency.is_on()).then(Instant::now)
    }

    /// A command has ended: keep it if it was slow.
    pub(crate) fn stop_clock(
        &mut self,
        started: Option<Instant>,
        command: &Command,
        args: Args<'_>,
        client: &Client,
    ) {
        if let Some(started) = started {
            self.note_taken(micros_since(started), command, args, client);
        }
    }

    /// A command has taken so long: keep it if it was slow.
    pub(crate) fn note_taken(
        &mut self,
        micros: u64,
        command: &Command,
        args: Args<'_>,
        client: &Client,
    ) {
        self.slowlog.note(micros, command, args, client);
        let event = if command.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        self.note_latency(event, micros / 1000);
    }

    /// Something took so long.
    pub(crate) fn note_latency(&mut self, event: &'static str, ms: u64) {
        if self.latency.is_on() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let time = now.map_or(0, |since| since.as_secs());
            self.latency.note(event, Sample { time, ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_kept_one_sample_a_second() {
        let mut monitor = LatencyMonitor::default();
        monitor.note("command", Sample { time: 1, ms: 500 });
        assert!(monitor.events().is_empty(), "off");
        monitor.threshold_ms = 10;
        for (time, ms) in [(1, 9), (1, 10), (1, 30), (1, 20), (2, 15)] {
            monitor.note("command", Sample { time, ms });
        }
        let event = monitor.event(b"command").unwrap();
        assert_eq!(event.longest_ms, 30);
        assert_eq!(event.samples, [Sample { time: 1, ms: 30 }, Sample { time: 2, ms: 15 }]);
        monitor.note("fast-command", Sample { time: 3, ms: 11 });
        assert_eq!(monitor.reset(|name| name == "command"), 1);
        assert!(monitor.event(b"command").is_none() && monitor.events().len() == 1);
        for time in 0..1000 {
            monitor.note("fast-command", Sample { time, ms: 11 });
        }
        assert_eq!(monitor.event(b"fast-command").unwrap().samples.len(), KEPT_SAMPLES);
    }
}
