//! What the server counts. Plain numbers: only the reactor touches them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::parser::error::ProtocolError;
use crate::parser::{Command, Verb};

/// What became of the calls of one command.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcomes {
    /// Calls that were executed.
    pub(crate) calls: u64,
    /// Calls that were refused before.
    pub(crate) rejected: u64,
    /// Calls that ended with an error.
    pub(crate) failed: u64,
}

/// More than there are verbs.
const VERBS: usize = 256;

/// Counters since the start, except where a field says otherwise.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) started: Instant,
    /// Open right now.
    pub(crate) connections: usize,
    /// The most that may be open.
    pub(crate) max_connections: usize,
    pub(crate) accepted: u64,
    /// Turned away because too many were open.
    pub(crate) refused: u64,
    pub(crate) commands: u64,
    /// Replies that were errors.
    pub(crate) errors: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Keys deleted for they had expired.
    pub(crate) expired: u64,
    /// Lookups that had to wait for a worker.
    pub(crate) deferred: u64,
    /// Times that a connection was parked because the engine was behind.
    pub(crate) parked: u64,
    /// Turns of the reactor's loop, reads from sockets, and attempts to write to them.
    pub(crate) ticks: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    /// Connections closed because their output was not read.
    pub(crate) slow_readers: u64,
    /// Connections closed because their output was over its bound, their input was, or all clients'
    /// holdings were.
    pub(crate) output_limit_closed: u64,
    pub(crate) query_limit_closed: u64,
    pub(crate) evicted_clients: u64,
    /// Connections closed because they spoke HTTP.
    pub(crate) attacks: u64,
    /// The most memory that was used when somebody asked, in bytes.
    pub(crate) peak_bytes: u64,
    /// What the server takes beside what is accounted for, in bytes: see `info/memory.rs`.
    pub(crate) unaccounted_bytes: u64,
    /// When somebody last asked how many commands there were in a second, how many there had been,
    /// and what the answer was.
    rated: (Instant, u64, u64),
    /// By verb.
    calls: Box<[Outcomes]>,
    /// Error replies by their code.
    pub(crate) error_codes: HashMap<String, u64>,
}

/// Codes that are counted one by one: what clients can make up must not fill the memory.
const COUNTED_CODES: usize = 64;

/// The least time over which commands per second are told.
const RATE_INTERVAL: Duration = Duration::from_millis(500);

impl Stats {
    pub(crate) fn new(max_connections: usize) -> Self {
        Stats {
            started: Instant::now(),
            connections: 0,
            max_connections,
            accepted: 0,
            refused: 0,
            commands: 0,
            errors: 0,
            hits: 0,
            misses: 0,
            expired: 0,
            deferred: 0,
            parked: 0,
            ticks: 0,
            reads: 0,
            writes: 0,
            read_bytes: 0,
            written_bytes: 0,
            slow_readers: 0,
            output_limit_closed: 0,
            query_limit_closed: 0,
            evicted_clients: 0,
            attacks: 0,
            peak_bytes: 0,
            unaccounted_bytes: 0,
            rated: (Instant::now(), 0, 0),
            calls: vec![Outcomes::default(); VERBS].into(),
            error_codes: HashMap::new(),
        }
    }

    /// A command is executed.
    #[inline]
    pub(crate) fn count(&mut self, verb: Verb) {
        self.commands += 1;
        if let Some(calls) = self.calls.get_mut(verb as usize) {
            calls.calls += 1;
        }
    }

    /// It was not executed after all, and will be counted again.
    pub(crate) fn uncount(&mut self, command: Option<&Command>) {
        self.commands -= 1;
        if let Some(calls) = command.and_then(|command| self.calls.get_mut(command.verb as usize)) {
            calls.calls -= 1;
        }
    }

    /// It was refused.
    pub(crate) fn reject(&mut self, verb: Verb) {
        if let Some(calls) = self.calls.get_mut(verb as usize) {
            calls.calls -= 1;
            calls.rejected += 1;
        }
    }

    /// It ended with an error.
    pub(crate) fn fail(&mut self, verb: Verb) {
        if let Some(calls) = self.calls.get_mut(verb as usize) {
            calls.failed += 1;
        }
    }

    /// A connection is closed for what it sent.
    pub(crate) fn count_broken(&mut self, error: &ProtocolError) {
        if let ProtocolError::RequestTooLong { .. } = error {
            self.query_limit_closed += 1;
        }
    }

    /// The calls of a command.
    pub(crate) fn calls(&self, verb: Verb) -> Outcomes {
        self.calls.get(verb as usize).copied().unwrap_or_default()
    }

    /// An error reply, by its line.
    pub(crate) fn count_error(&mut self, line: &[u8]) {
        self.errors += 1;
        let code = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        let code = String::from_utf8_lossy(code);
        if let Some(count) = self.error_codes.get_mut(&*code) {
            *count += 1;
        } else if self.error_codes.len() < COUNTED_CODES {
            self.error_codes.insert(code.into_owned(), 1);
        }
    }

    /// Commands per second since somebody last asked. Who asks again at once gets the same answer.
    pub(crate) fn rate(&mut self) -> u64 {
        let (since, before, rate) = self.rated;
        let elapsed = since.elapsed();
        if elapsed < RATE_INTERVAL {
            return rate;
        }
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let rate = self.commands.saturating_sub(before) * 1000 / milliseconds;
        self.rated = (Instant::now(), self.commands, rate);
        rate
    }

    /// CONFIG RESETSTAT: counts from zero again.
    pub(crate) fn reset(&mut self) {
        *self = Stats {
            started: self.started,
            connections: self.connections,
            peak_bytes: self.peak_bytes,
            unaccounted_bytes: self.unaccounted_bytes,
            ..Stats::new(self.max_connections)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_what_became_of_them() {
        let mut stats = Stats::new(3);
        for _ in 0..4 {
            stats.count(Verb::Get);
        }
        stats.uncount(crate::parser::table::find(b"get"));
        stats.reject(Verb::Get);
        stats.fail(Verb::Get);
        let Outcomes { calls, rejected, failed } = stats.calls(Verb::Get);
        assert_eq!((calls, rejected, failed, stats.commands), (2, 1, 1, 3));
        stats.reset();
        assert_eq!((stats.calls(Verb::Get).calls, stats.commands), (0, 0));
        assert_eq!(stats.max_connections, 3);
    }

    #[test]
    fn made_up_error_codes_do_not_fill_the_memory() {
        let mut stats = Stats::new(3);
        for number in 0..1000 {
            stats.count_error(format!("E{number} x").as_bytes());
            stats.count_error(b"ERR x");
        }
        assert_eq!(stats.error_codes.len(), COUNTED_CODES);
        assert_eq!((stats.error_codes["ERR"], stats.errors), (1000, 2000));
    }

    #[test]
    fn who_asks_again_at_once_gets_the_same_rate() {
        let mut stats = Stats::new(3);
        let begin = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        (stats.rated, stats.commands) = ((begin, 0, 0), 1_000_000);
        let rate = stats.rate();
        assert!(rate > 0 && rate <= 500_000, "{rate}");
        stats.commands += 1_000_000;
        assert_eq!(stats.rate(), rate);
    }
}
