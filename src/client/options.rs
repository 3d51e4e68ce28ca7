//! The flags of `client`, and those that it shares with `bench` and the tools.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, ValueEnum};

use super::connection::{DEFAULT_HOST, DEFAULT_PORT, Endpoint};
use super::resp::options::RespOptions;
use super::state::Credentials;
use super::uri::Uri;

/// Where a password is looked for that is not on the command line, in this order.
const PASSWORD_VARIABLES: [&str; 2] = ["CHRONOS_PASSWORD", "REDISCLI_AUTH"];

/// Where the server is.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointOptions {
    /// Host name or address of the server.
    #[arg(short = 'h', long, default_value = DEFAULT_HOST)]
    host: String,
    /// TCP port of the server.
    #[arg(short = 'p', long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Give up when the server is silent for so long [default: 5 to connect, 30 for a reply, and no
    /// limit for COMPACT and SHUTDOWN].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl EndpointOptions {
    pub(crate) fn endpoint(self) -> Endpoint {
        let Self { host, port, timeout, help: _ } = self;
        Endpoint { host, port, socket: None, timeout }
    }
}

/// Who the client is. Without these flags, the password comes from the environment.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AuthOptions {
    /// Log in as this user.
    #[arg(long)]
    user: Option<String>,
    /// Log in with this password. Other users of this machine can see a command line: prefer
    /// `CHRONOS_PASSWORD` or `REDISCLI_AUTH` in the environment, or --pass-file.
    #[arg(short = 'a', long = "pass", value_name = "PASSWORD")]
    password: Option<String>,
    /// Log in with the password that is the first line of this file.
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pass_file: Option<PathBuf>,
    /// Don't warn about a password on the command line.
    #[arg(long)]
    no_auth_warning: bool,
}

/// Said once where a password can be seen.
pub(crate) const PASSWORD_WARNING: &str = "other users of this machine can see a password on the \
    command line; the environment variable CHRONOS_PASSWORD or REDISCLI_AUTH hides it, as --pass-file does";

impl AuthOptions {
    /// Whether a password stands on the command line, where others may read it.
    pub(crate) fn shows_password(&self) -> bool {
        self.password.is_some() && !self.no_auth_warning
    }

    /// What to log in with.
    ///
    /// # Errors
    /// The file cannot be read; the sentence says why.
    pub(crate) fn credentials(&self) -> Result<Credentials, String> {
        self.credentials_from(|name| std::env::var_os(name))
    }

    fn credentials_from(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Credentials, String> {
        let user = self.user.clone().map(String::into_bytes);
        let password = match (&self.password, &self.pass_file) {
            (Some(password), _) => Some(password.clone().into_bytes()),
            (None, Some(file)) => {
                let unreadable = |error| format!("cannot read {}: {error}", file.display());
                let text = std::fs::read(file).map_err(unreadable)?;
                let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
                Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
            }
            (None, None) => PASSWORD_VARIABLES
                .iter()
                .filter_map(|name| variable(name).filter(|value| !value.is_empty()))
                .map(OsString::into_encoded_bytes)
                .next(),
        };
        Ok(Credentials { user, password })
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
    disable_help_flag = true,
    after_help = "Without COMMAND and at a terminal, opens a prompt; 'exit' leaves it.\n\
        Without COMMAND and with input from a pipe or file, runs it line by line; lines that begin\n\
        with # are comments.\n\
        Exit codes: 0 all went well, 1 the server refused a command, 2 wrong usage or no connection.\n\
        Environment: CHRONOS_PASSWORD or REDISCLI_AUTH (the password), NO_COLOR, CHRONOS_HISTORY (the file\n\
        that keeps the prompt's history; lines with passwords are never kept)."
)]
pub(crate) struct Options {
    #[command(flatten)]
    endpoint: EndpointOptions,
    /// Connect to this Unix socket instead of a host and port.
    #[arg(short = 's', long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    socket: Option<PathBuf>,
    /// Where the server is, with user, password and database: redis://USER:PASSWORD@HOST:PORT/DB. It
    /// implies --resp.
    #[arg(short = 'u', long, value_name = "URI",
        conflicts_with_all = ["host", "port", "socket", "user", "password", "database"])]
    uri: Option<Uri>,
    #[command(flatten)]
    pub(crate) auth: AuthOptions,
    /// When to colour the output.
    #[arg(long, value_name = "WHEN", default_value = "auto", overrides_with = "no_color")]
    color: ColorChoice,
    /// Same as --color never.
    #[arg(long, overrides_with = "color")]
    no_color: bool,
    /// Speak RESP, the protocol of Redis, and print replies as redis-cli does; for Chronos and any
    /// Redis. Replies are waited for without limit, unless --timeout is given. Every flag under
    /// "Implying --resp" implies it.
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
    /// Whether RESP is spoken: it was asked for, or is needed for what was.
    pub(crate) fn speaks_resp(&self) -> bool {
        self.resp || self.uri.is_some() || self.flags.imply_resp()
    }

    /// Where the server is.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let endpoint = self.endpoint.clone().endpoint();
        match &self.uri {
            Some(uri) => Endpoint { host: uri.host.clone(), port: uri.port, ..endpoint },
            None => Endpoint { socket: self.socket.clone(), ..endpoint },
        }
    }

    /// What to log in with.
    ///
    /// # Errors
    /// As [`AuthOptions::credentials`].
    pub(crate) fn credentials(&self) -> Result<Credentials, String> {
        match &self.uri {
            Some(Uri { credentials, .. }) if credentials.password.is_some() => {
                Ok(credentials.clone())
            }
            _ => self.auth.credentials(),
        }
    }

    /// The database to select.
    pub(crate) fn database(&self) -> u64 {
        self.uri.as_ref().map_or(self.flags.database(), |uri| uri.database)
    }

    /// Whether a password stands on the command line, where others may read it.
    pub(crate) fn shows_password(&self) -> bool {
        let in_uri = self.uri.as_ref().is_some_and(|uri| uri.credentials.password.is_some());
        self.auth.shows_password() || (in_uri && !self.auth.no_auth_warning)
    }

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
        assert_eq!(options.endpoint().to_string(), "127.0.0.1:7000");
    }

    #[test]
    fn flags_of_redis_cli_are_understood() {
        let options = parse(&["-h", "::1", "-p", "7", "-a", "pw", "GET", "k"]).unwrap();
        assert_eq!(options.endpoint().to_string(), "[::1]:7");
        assert!(!options.speaks_resp() && options.shows_password());
        assert_eq!(options.credentials().unwrap().password.as_deref(), Some(&b"pw"[..]));
        let options = parse(&["-s", "/tmp/socket", "--no-auth-warning"]).unwrap();
        assert_eq!(options.endpoint().to_string(), "/tmp/socket");
        let options = parse(&["-u", "redis://eve:p%40w@host:9/3"]).unwrap();
        assert_eq!((options.endpoint().to_string().as_str(), options.database()), ("host:9", 3));
        assert!(options.speaks_resp() && options.shows_password());
        assert_eq!(options.credentials().unwrap().user.as_deref(), Some(&b"eve"[..]));
        for implying in [&["-n", "2"][..], &["--stat"], &["--csv", "GET", "k"], &["-x", "SET", "k"]]
        {
            assert!(parse(implying).unwrap().speaks_resp(), "{implying:?}");
        }
        for wrong in [&["-u", "http://host"][..], &["-u", "redis://h", "-p", "7"], &["-h"], &["-q"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(parse(&["--help"]).unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
    }

    /// Flags, the environment, and the password that they make.
    type Case<'c> = (&'c [&'c str], &'c [(&'c str, &'c str)], Option<&'c str>);

    #[test]
    fn the_password_comes_from_a_flag_a_file_or_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from file\r\nand more").unwrap();
        let path = file.path().to_str().unwrap();
        let both: &[(&str, &str)] = &[("REDISCLI_AUTH", "redis"), ("CHRONOS_PASSWORD", "own")];
        let cases: [Case<'_>; 6] = [
            (&[], &[], None),
            (&[], both, Some("own")),
            (&[], &[("REDISCLI_AUTH", "redis"), ("CHRONOS_PASSWORD", "")], Some("redis")),
            (&["-a", "flag"], both, Some("flag")),
            (&["--pass-file", path], both, Some("from file")),
            (&["--pass", ""], both, Some("")),
        ];
        for (arguments, variables, expected) in cases {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            let credentials = parse(arguments).unwrap().auth.credentials_from(variable).unwrap();
            assert_eq!(
                credentials.password.as_deref(),
                expected.map(str::as_bytes),
                "{arguments:?}"
            );
        }
        let missing = parse(&["--pass-file", "/none"]).unwrap().credentials().unwrap_err();
        assert!(missing.starts_with("cannot read /none"), "{missing}");
        assert!(parse(&["-a", "x", "--pass-file", path]).is_err());
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
