//! The flags of `client`, and those that it shares with `bench`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

use super::connection::{DEFAULT_HOST, DEFAULT_PORT, Endpoint};
use super::resp::options::RespOptions;

/// Where the server is.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointOptions {
    /// Host name or address of the server.
    #[arg(long, default_value = DEFAULT_HOST)]
    host: String,
    /// TCP port of the server.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Give up when the server is silent for so long [default: 5 to connect, 30 for a reply, and no
    /// limit for COMPACT and SHUTDOWN].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl EndpointOptions {
    pub(crate) fn endpoint(self) -> Endpoint {
        Endpoint { host: self.host, port: self.port, timeout: self.timeout }
    }
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Talks to a Chronos server: at a prompt, with one command, or with a script on standard input.
#[derive(Debug, Parser)]
#[command(
    name = "client",
    version,
    after_help = "Without COMMAND and at a terminal, opens a prompt; 'exit' leaves it.\n\
        Without COMMAND and with input from a pipe or file, runs it line by line.\n\
        Exit codes: 0 all went well, 1 the server refused a command, 2 wrong usage or no connection.\n\
        Environment: NO_COLOR, CHRONOS_HISTORY (the file that keeps the prompt's history), REDISCLI_AUTH\n\
        (the password with --resp)."
)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) endpoint: EndpointOptions,
    /// When to colour the output.
    #[arg(long, value_name = "WHEN", default_value = "auto", overrides_with = "no_color")]
    color: ColorChoice,
    /// Same as --color never.
    #[arg(long, overrides_with = "color")]
    no_color: bool,
    /// Speak RESP, the protocol of Redis, and print replies as redis-cli does; for Chronos and any
    /// Redis. Replies are waited for without limit, unless --timeout is given.
    #[arg(long)]
    pub(crate) resp: bool,
    /// One command and its arguments, which are joined by one space each (with --resp sent as they
    /// are), e.g. SET greeting hello.
    #[arg(trailing_var_arg = true, value_name = "COMMAND", conflicts_with = "mode")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) flags: RespOptions,
}

impl Options {
    pub(crate) fn color(&self) -> ColorChoice {
        if self.no_color { ColorChoice::Never } else { self.color }
    }
}

/// A positive number of seconds, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = "give a number of seconds above 0, e.g. 30 or 0.5";
    let seconds: f64 = text.parse().map_err(|_| wrong.to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| wrong.to_owned())?;
    // The socket's time-outs count microseconds; anything less would mean none at all.
    if duration < Duration::from_micros(1) { Err(wrong.to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["client"].iter().chain(arguments))
    }

    #[test]
    fn flags_end_where_the_command_begins() {
        let options = parse(&["--port", "7000", "SET", "k", "--no-color", "-5"]).unwrap();
        assert_eq!(options.command, ["SET", "k", "--no-color", "-5"]);
        assert_eq!(options.color(), ColorChoice::Auto);
        assert_eq!(options.endpoint.endpoint().to_string(), "127.0.0.1:7000");
    }

    #[test]
    fn the_last_word_on_colour_counts() {
        assert_eq!(parse(&["--no-color"]).unwrap().color(), ColorChoice::Never);
        assert_eq!(parse(&["--color", "always"]).unwrap().color(), ColorChoice::Always);
        let both = parse(&["--no-color", "--color", "always"]).unwrap();
        assert_eq!(both.color(), ColorChoice::Always);
    }

    #[test]
    fn a_time_out_is_a_positive_number() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        for wrong in ["0", "-1", "x", "NaN", "inf", "1e99", "1e-9"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
