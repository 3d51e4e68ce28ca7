//! The flags of `bench`, checked against each other.

use std::fmt;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::workload::Operation;
use crate::client::options::{AuthOptions, EndpointOptions, seconds};

const DEFAULT_REQUESTS: u64 = 10_000;
/// The keys of a run that is bounded by time, unless told.
const DEFAULT_KEYS: u64 = 100_000;
const MAX_KEYS: u64 = 1_000_000_000;
const MAX_CONNECTIONS: u64 = 60_000;
const MAX_PIPELINE: u64 = 100_000;
const MAX_VALUE_BYTES: u64 = 32 << 20;
/// What all connections may hold back together, in bytes.
const MAX_BUFFERED_BYTES: u64 = 2 << 30;

/// What is spoken on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Chronos's lines.
    Text,
    /// Redis's protocol: Chronos, Redis and its kin.
    Resp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Text => "text",
            Self::Resp => "resp",
        })
    }
}

/// When a test ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// After so many requests.
    Requests(u64),
    /// After so much time.
    Time(Duration),
}

/// In which order keys are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOrder {
    /// One after the other.
    Sequential,
    /// Uniformly at random, each test from the same seed.
    Random,
}

/// Measures SET, GET and DEL against a running server and checks every reply.
///
/// It writes and deletes the keys `bench:000000000000` and up.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "bench",
    version,
    disable_help_flag = true,
    after_help = "Each connection is a closed loop: it sends --pipeline requests, waits for all their \
        replies, and sends again. Latency is the time from sending to reading the reply.\n\
        The short flags are those of redis-benchmark. An error reply ends the run.\n\
        Exit codes: 0 all replies were right, 1 some were wrong or errors, 2 wrong usage or no connection.\n\
        Environment: CHRONOS_PASSWORD or REDISCLI_AUTH (the password)."
)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) endpoint: EndpointOptions,
    #[command(flatten)]
    pub(crate) auth: AuthOptions,
    /// Requests per test [default: 10000].
    #[arg(short = 'n', long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Run each test for so long instead.
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Length of each value.
    #[arg(short = 'd', long, default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(0..=MAX_VALUE_BYTES))]
    pub(crate) value_bytes: u64,
    /// Draw keys at random from so many [default: as many as requests, in order; 100000 with
    /// --seconds].
    #[arg(short = 'r', long, value_parser = clap::value_parser!(u64).range(1..=MAX_KEYS))]
    keys: Option<u64>,
    /// Seed for random keys.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Connections, all served by one thread.
    #[arg(short = 'c', long, default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=MAX_CONNECTIONS))]
    pub(crate) connections: u64,
    /// Requests that a connection sends before it waits for replies.
    #[arg(short = 'P', long, default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=MAX_PIPELINE))]
    pub(crate) pipeline: u64,
    /// Tests to run, in this order.
    #[arg(
        short = 't',
        long,
        value_enum,
        value_delimiter = ',',
        ignore_case = true,
        default_value = "set,get,del"
    )]
    pub(crate) tests: Vec<Operation>,
    /// Print comma-separated values instead of a table.
    #[arg(long)]
    pub(crate) csv: bool,
    /// Print one line for each test: its rate and its median latency.
    #[arg(short = 'q', long, conflicts_with = "csv")]
    pub(crate) quiet: bool,
    /// What to speak.
    #[arg(long, value_enum, default_value_t = Protocol::Text)]
    pub(crate) protocol: Protocol,
}

impl Options {
    pub(crate) fn limit(&self) -> Limit {
        match self.seconds {
            Some(seconds) => Limit::Time(seconds),
            None => Limit::Requests(self.requests.unwrap_or(DEFAULT_REQUESTS)),
        }
    }

    /// The number of keys and the order of their use.
    pub(crate) fn keys(&self) -> (u64, KeyOrder) {
        match (self.keys, self.limit()) {
            (Some(count), _) => (count, KeyOrder::Random),
            (None, Limit::Requests(count)) => (count.min(MAX_KEYS), KeyOrder::Sequential),
            (None, Limit::Time(_)) => (DEFAULT_KEYS, KeyOrder::Random),
        }
    }

    /// Refuses what would only measure this machine's swapping.
    pub(crate) fn check(&self) -> Result<(), String> {
        let request = self.value_bytes + 100;
        if self.connections.saturating_mul(self.pipeline) > MAX_BUFFERED_BYTES / request {
            return Err(
                "--connections x --pipeline x --value-bytes is more than 2 GiB: too much to \
                        hold in memory"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["bench"].iter().chain(arguments))
    }

    #[test]
    fn without_flags_one_connection_asks_10000_times() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.limit(), Limit::Requests(10_000));
        assert_eq!(options.keys(), (10_000, KeyOrder::Sequential));
        assert_eq!(options.tests, [Operation::Set, Operation::Get, Operation::Del]);
        assert_eq!((options.connections, options.pipeline, options.value_bytes), (1, 1, 100));
        assert!(options.check().is_ok());
    }

    #[test]
    fn flags_of_redis_benchmark_are_understood_and_unknown_ones_refused() {
        let line = "-h ::1 -p 7 -a pw -c 50 -P 16 -n 1000 -t SET,get -d 3 -r 99 -q";
        let options = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(options.endpoint.clone().endpoint().to_string(), "[::1]:7");
        assert_eq!((options.connections, options.pipeline, options.value_bytes), (50, 16, 3));
        assert_eq!(options.tests, [Operation::Set, Operation::Get]);
        assert_eq!(options.keys(), (99, KeyOrder::Random));
        assert!(options.quiet && options.auth.shows_password());
        for unknown in
            [&["-l"][..], &["--threads", "2"], &["-t", "lpush"], &["-q", "--csv"], &["-h"]]
        {
            assert!(parse(unknown).is_err(), "{unknown:?}");
        }
    }

    #[test]
    fn flags_exclude_or_bound_each_other() {
        assert!(parse(&["--requests", "5", "--seconds", "1"]).is_err());
        for zero in ["--requests", "--connections", "--pipeline", "--keys", "--seconds"] {
            assert!(parse(&[zero, "0"]).is_err(), "{zero}");
        }
        assert!(parse(&["--tests", "set,nonsense"]).is_err());
        let large = parse(&["--connections", "5000", "--value-bytes", "1000000"]).unwrap();
        assert!(large.check().is_err());
        let timed = parse(&["--seconds", "0.5"]).unwrap();
        assert_eq!(timed.keys(), (100_000, KeyOrder::Random));
        assert_eq!(parse(&["--keys", "7", "--tests", "get"]).unwrap().keys().0, 7);
    }
}
