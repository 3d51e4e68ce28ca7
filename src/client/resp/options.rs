//! The flags of the RESP mode, and what they say together.
//!
//! Which flags exclude each other is declared here and nowhere else: one way of use, one format, one
//! source of the last argument.

use std::time::Duration;

use clap::Args;

use super::print::Format;
use super::session::Protocol;
use crate::client::options::seconds;

/// How long `--pipe` waits for a reply unless told, in seconds.
const DEFAULT_PIPE_TIMEOUT: u64 = 30;

/// Flags that imply `--resp`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(next_help_heading = "Implying --resp")]
pub(crate) struct RespOptions {
    /// Speak RESP2.
    #[arg(short = '2', group = "protocol")]
    two: bool,
    /// Speak RESP3, and fail where the server does not know it [default: RESP3, else RESP2].
    #[arg(short = '3', group = "protocol")]
    three: bool,
    /// Select this database [default: 0].
    #[arg(short = 'n', value_name = "DB")]
    database: Option<u64>,

    /// Print replies as they are [default where the output is no terminal].
    #[arg(long, group = "format")]
    raw: bool,
    /// Print replies for people [default on a terminal].
    #[arg(long, group = "format")]
    no_raw: bool,
    /// Print replies as comma-separated values.
    #[arg(long, group = "format")]
    csv: bool,
    /// Print replies as JSON.
    #[arg(long, group = "format")]
    json: bool,
    /// Print replies as JSON of ASCII alone, strings quoted twice.
    #[arg(long, group = "format")]
    quoted_json: bool,

    /// Take the last argument of the command from standard input.
    #[arg(short = 'x', group = "argument", requires = "command")]
    last_from_input: bool,
    /// Take the argument that reads TAG from standard input.
    #[arg(short = 'X', value_name = "TAG", group = "argument", requires = "command")]
    tag_from_input: Option<String>,
    /// Run the command so many times; a negative number: until Ctrl-C [default: 1; with --stat until
    /// Ctrl-C].
    #[arg(short = 'r', value_name = "COUNT", allow_negative_numbers = true)]
    repeat: Option<i64>,
    /// Wait so long between two runs, between two scans of --scan, --bigkeys and --memkeys, between two
    /// rows of --stat [default: 1], or for the samples of a --latency [default: 1, in the history 15].
    #[arg(short = 'i', value_name = "SECONDS", value_parser = seconds)]
    pub(crate) interval: Option<Duration>,

    /// List the keys.
    #[arg(long, group = "mode")]
    scan: bool,
    /// With --scan, --bigkeys and --memkeys: only keys that match this pattern.
    #[arg(long, requires = "mode")]
    pub(crate) pattern: Option<String>,
    /// With --scan, --bigkeys and --memkeys: look at about so many keys at a time.
    #[arg(long, value_name = "COUNT", requires = "mode")]
    pub(crate) count: Option<u64>,
    /// With --scan: only keys of this type.
    #[arg(long = "type", value_name = "TYPE", requires = "scan")]
    pub(crate) key_type: Option<String>,
    /// Send standard input, which is in RESP, and count the replies.
    #[arg(long, group = "mode")]
    pipe: bool,
    /// With --pipe: give up when no reply comes for so long; 0: never [default: 30].
    #[arg(long, value_name = "SECONDS", requires = "pipe")]
    pipe_timeout: Option<u64>,
    /// Print the server's figures, a row after the other.
    #[arg(long, group = "mode")]
    stat: bool,
    /// Measure how long PING takes, in milliseconds.
    #[arg(long, group = "mode")]
    latency: bool,
    /// Measure how long PING takes, with a line for each interval.
    #[arg(long, group = "mode")]
    latency_history: bool,
    /// Find the keys with the most elements or bytes.
    #[arg(long, group = "mode")]
    bigkeys: bool,
    /// Find the keys that take the most memory.
    #[arg(long, group = "mode")]
    memkeys: bool,
    /// With --memkeys: look at so many elements of a key; 0: all.
    #[arg(long, value_name = "COUNT", requires = "memkeys")]
    pub(crate) memkeys_samples: Option<u64>,
}

/// What a run is for, beside running commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Commands,
    Scan,
    Pipe,
    Stat,
    Latency,
    LatencyHistory,
    BigKeys,
    MemKeys,
}

/// Where an argument comes from standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromInput {
    Nothing,
    Last,
    Tagged(String),
}

impl RespOptions {
    pub(crate) fn mode(&self) -> Mode {
        let modes = [
            (self.scan, Mode::Scan),
            (self.pipe, Mode::Pipe),
            (self.stat, Mode::Stat),
            (self.latency, Mode::Latency),
            (self.latency_history, Mode::LatencyHistory),
            (self.bigkeys, Mode::BigKeys),
            (self.memkeys, Mode::MemKeys),
        ];
        chosen(&modes).unwrap_or(Mode::Commands)
    }

    /// How replies are printed; `terminal`: whether to a person.
    pub(crate) fn format(&self, terminal: bool) -> Format {
        let formats = [
            (self.raw, Format::Raw),
            (self.no_raw, Format::Standard),
            (self.csv, Format::Csv),
            (self.json, Format::Json),
            (self.quoted_json, Format::QuotedJson),
        ];
        let usual = if terminal { Format::Standard } else { Format::Raw };
        chosen(&formats).unwrap_or(usual)
    }

    /// How often; `None` until Ctrl-C.
    pub(crate) fn repeat(&self, usual: Option<u64>) -> Option<u64> {
        self.repeat.map_or(usual, |count| u64::try_from(count).ok())
    }

    pub(crate) fn input(&self) -> FromInput {
        match &self.tag_from_input {
            Some(tag) => FromInput::Tagged(tag.clone()),
            None if self.last_from_input => FromInput::Last,
            None => FromInput::Nothing,
        }
    }

    /// Whether one of these flags is given, all of which are about RESP.
    pub(crate) fn imply_resp(&self) -> bool {
        let formats = self.raw || self.no_raw || self.csv || self.json || self.quoted_json;
        let protocols = self.two || self.three;
        let arguments = self.input() != FromInput::Nothing || self.repeat.is_some();
        let choices = self.database.is_some() || self.interval.is_some();
        formats || protocols || arguments || choices || self.mode() != Mode::Commands
    }

    /// The database to select.
    pub(crate) fn database(&self) -> u64 {
        self.database.unwrap_or(0)
    }

    /// How long `--pipe` waits for a reply, in seconds; 0 for ever.
    pub(crate) fn pipe_timeout(&self) -> u64 {
        self.pipe_timeout.unwrap_or(DEFAULT_PIPE_TIMEOUT)
    }

    /// The version of RESP that is asked for.
    pub(crate) fn protocol(&self) -> Protocol {
        let protocols = [(self.two, Protocol::Two), (self.three, Protocol::Three)];
        chosen(&protocols).unwrap_or(Protocol::Best)
    }
}

fn chosen<T: Copy>(choices: &[(bool, T)]) -> Option<T> {
    choices.iter().find(|(set, _)| *set).map(|(_, choice)| *choice)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;
    use crate::client::options::Options;

    fn parse(arguments: &[&str]) -> Result<RespOptions, clap::Error> {
        Options::try_parse_from(["client"].iter().chain(arguments)).map(|options| options.flags)
    }

    #[test]
    fn flags_say_what_redis_cli_makes_of_them() {
        let options =
            parse(&["--resp", "-r", "-1", "-i", "0.5", "-n", "3", "-x", "SET", "-a", "b"]);
        let options = options.unwrap();
        assert_eq!(options.repeat(Some(1)), None);
        assert_eq!(options.interval, Some(Duration::from_millis(500)));
        assert_eq!(options.input(), FromInput::Last);
        assert_eq!(options.mode(), Mode::Commands);
        assert_eq!(options.format(true), Format::Standard);
        assert_eq!(options.format(false), Format::Raw);
        assert_eq!((options.database(), options.protocol()), (3, Protocol::Best));
        let options = parse(&["--resp", "--bigkeys", "--json", "-3", "-a", "p"]).unwrap();
        assert_eq!((options.mode(), options.format(false)), (Mode::BigKeys, Format::Json));
        assert_eq!((options.repeat(None), options.protocol()), (None, Protocol::Three));
        assert_eq!((options.pipe_timeout(), options.imply_resp()), (30, true));
        assert!(!parse(&["-a", "p", "GET", "k"]).unwrap().imply_resp());
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let refused: [&[&str]; 7] = [
            &["--resp", "-2", "-3"],
            &["--resp", "--raw", "--json"],
            &["--resp", "--scan", "--stat"],
            &["--resp", "--scan", "GET", "k"],
            &["--resp", "--latency", "--latency-history"],
            &["--resp", "-x", "-X", "tag", "GET"],
            &["--resp", "--pipe", "--bigkeys"],
        ];
        for arguments in refused {
            assert_eq!(
                parse(arguments).unwrap_err().kind(),
                ErrorKind::ArgumentConflict,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn flags_ask_for_what_they_need() {
        let refused: [&[&str]; 4] = [
            &["--pipe-timeout", "3", "--resp"],
            &["--resp", "-x"],
            &["--resp", "-X", "tag"],
            &["--resp", "--memkeys-samples", "3"],
        ];
        for arguments in refused {
            let error = parse(arguments).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{arguments:?}");
        }
    }
}
