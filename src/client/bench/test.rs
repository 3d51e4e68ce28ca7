//! One test: what is still to ask, and what came of it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::options::{Limit, Options, Protocol};
use super::wire;
use super::workload::{Answer, Keys, Operation, Values, Verdict};
use crate::client::error::{Error, Result};

/// Latencies are kept to so many digits, from 1 ns up to an hour.
const DIGITS: u8 = 3;
const MAX_LATENCY_NS: u64 = 3_600_000_000_000;

/// A test that runs.
#[derive(Debug)]
pub(crate) struct Test<'v> {
    protocol: Protocol,
    operation: Operation,
    pipeline: u64,
    keys: Keys,
    values: &'v mut Values,
    /// Requests that may still be sent.
    remaining: u64,
    /// How long requests are sent, and since when they are.
    time: Option<Duration>,
    started: Option<Instant>,
    outcome: Outcome,
}

/// What a test measured.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) operation: Operation,
    /// From the first request to the last reply.
    pub(crate) elapsed: Duration,
    /// Latency of each reply, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// GETs that rightly found nothing.
    pub(crate) misses: u64,
    /// Replies that were not the right ones.
    pub(crate) wrong: u64,
    /// The first of them.
    pub(crate) example: Option<String>,
}

impl Outcome {
    fn new(operation: Operation) -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            operation,
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_NS, DIGITS)?,
            misses: 0,
            wrong: 0,
            example: None,
        })
    }

    /// Replies that came.
    pub(crate) fn replies(&self) -> u64 {
        self.latency.len()
    }

    /// Replies per second.
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded for people anyway")]
    pub(crate) fn rate(&self) -> f64 {
        self.replies() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl<'v> Test<'v> {
    pub(crate) fn new(
        options: &Options,
        operation: Operation,
        values: &'v mut Values,
    ) -> Result<Self, hdrhistogram::CreationError> {
        let (count, order) = options.keys();
        let (remaining, time) = match options.limit() {
            Limit::Requests(count) => (count, None),
            Limit::Time(time) => (u64::MAX, Some(time)),
        };
        Ok(Self {
            protocol: options.protocol,
            operation,
            pipeline: options.pipeline,
            keys: Keys::new(count, order, options.seed),
            values,
            remaining,
            time,
            started: None,
            outcome: Outcome::new(operation)?,
        })
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    /// How many requests a connection may send now.
    pub(crate) fn next_batch(&mut self, now: Instant) -> u64 {
        let running = now.duration_since(*self.started.get_or_insert(now));
        if self.time.is_some_and(|time| running >= time) {
            self.remaining = 0;
        }
        let batch = self.remaining.min(self.pipeline);
        self.remaining -= batch;
        batch
    }

    /// Appends the next request to `out` and returns its key.
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>) -> u64 {
        let key = self.keys.next();
        wire::encode(out, self.protocol, self.operation, key, self.values);
        key
    }

    /// Compares an answer with the right one.
    ///
    /// # Errors
    /// It is an error: no rate is worth anything that counts it.
    pub(crate) fn judge(&mut self, key: u64, answer: Answer) -> Result<()> {
        if let Answer::Unexpected(reply) = answer
            && wire::is_error(reply, self.protocol)
        {
            let (command, reply) = (self.operation.name(), describe(answer));
            return Err(Error::Answered { command, reply });
        }
        match self.values.judge(self.operation, key, answer) {
            Verdict::Right => {}
            Verdict::Miss => self.outcome.misses += 1,
            Verdict::Wrong => self.note_wrong(key, answer),
        }
        Ok(())
    }

    #[cold]
    fn note_wrong(&mut self, key: u64, answer: Answer) {
        self.outcome.wrong += 1;
        self.outcome.example.get_or_insert_with(|| {
            let name = self.operation.name();
            format!("{name} of key number {key} was answered with {}", describe(answer))
        });
    }

    /// Notes the latency of `count` replies that were read together.
    pub(crate) fn record(&mut self, latency: Duration, count: u64) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(MAX_LATENCY_NS);
        self.outcome.latency.saturating_record_n(nanoseconds, count);
    }

    pub(crate) fn finish(self, elapsed: Duration) -> Outcome {
        Outcome { elapsed, ..self.outcome }
    }
}

fn describe(answer: Answer) -> String {
    const SHOWN_BYTES: usize = 120;
    let shown = |bytes: &[u8]| {
        let start = bytes.get(..SHOWN_BYTES).unwrap_or(bytes).escape_ascii();
        let dots = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
        format!("{start}{dots}")
    };
    match answer {
        Answer::Done => "success".to_owned(),
        Answer::Missing => "no such key, though this run stored it".to_owned(),
        Answer::Value(value) => format!("a value that is not its own: {}", shown(value)),
        Answer::Unexpected(reply) => shown(reply),
    }
}
