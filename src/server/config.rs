//! The command line: every flag with its default and unit, checked before anything is touched.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::engine::{Durability, Options};

use super::bounds::{self, ClientsBound, OutputBounds};
use super::effects::{CLASSES_FAULT, Classes};
use super::keyspace::MAX_DATABASES;
use super::limits::{
    DATABASES, KEEPALIVE_SECONDS, MAX_WORKERS, MIN_MEMORY_BYTES, MIN_SEGMENT_BYTES, OUTPUT_BOUNDS,
    REQUEST_STUCK, WORKERS,
};
use super::{Settings, Timeouts};

/// Chronos: a persistent key-value server.
#[derive(Debug, Clone, Parser)]
#[command(name = "chronos", version, about, max_term_width = 100)]
pub struct Config {
    /// Address and port to listen on; may be given several times. Port 0 takes any free port.
    /// Clients of the text protocol and of Redis are told apart by their first byte. Without
    /// --requirepass keep to addresses that only trusted programs reach.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = parse_address)]
    pub listen: Vec<SocketAddr>,

    /// Address and port for Redis clients only, whose inline commands are answered in RESP too, e.g.
    /// 127.0.0.1:6379; may be given several times.
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub redis_listen: Vec<SocketAddr>,

    /// The password that clients must give with AUTH or HELLO. Other users of this machine can see a
    /// command line: prefer the environment, or --requirepass-file.
    #[arg(long, value_name = "PASSWORD", env = "CHRONOS_PASSWORD", hide_env_values = true)]
    pub requirepass: Option<String>,

    /// A file whose first line is that password.
    #[arg(long, value_name = "FILE", conflicts_with = "requirepass")]
    pub requirepass_file: Option<PathBuf>,

    /// How many databases SELECT knows, 1 to 240.
    #[arg(long, value_name = "N", default_value_t = DATABASES, value_parser = parse_databases)]
    pub databases: usize,

    /// Directory that SAVE and BGSAVE put their checkpoint in, on the same file system as the data
    /// [default: the data directory's name with .checkpoint behind it].
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,

    /// Keyspace events that are published from the start on, in Redis's letters: K and E say on which
    /// channels, Ag$lshzxetdmn of what; Ex, for example, tells of keys that expire. CONFIG SET changes
    /// it.
    #[arg(
        long,
        value_name = "LETTERS",
        env = "CHRONOS_NOTIFY_KEYSPACE_EVENTS",
        default_value = "",
        hide_default_value = true,
        value_parser = parse_events
    )]
    pub notify_keyspace_events: String,

    /// Allows DEBUG, which is for tests.
    #[arg(long)]
    pub enable_debug_command: bool,

    /// Directory of the data; created if it is missing, for its owner only.
    #[arg(long, value_name = "DIR", default_value = "./chronos.db")]
    pub data_dir: PathBuf,

    /// Refuses to start if there is no database in the data directory, rather than create one.
    #[arg(long)]
    pub must_exist: bool,

    /// When a write is acknowledged.
    #[arg(long, value_enum, default_value = "always")]
    pub durability: DurabilityArg,

    /// Memory for recent writes and cached blocks, half each, in bytes; suffixes k, m, g (or KiB,
    /// MiB, GiB) multiply by 1024. At least 1m. Log segments are at most a quarter of it, and 48 MiB;
    /// with less than 136m a value must be shorter than such a segment.
    #[arg(long, value_name = "BYTES", default_value = "256m", value_parser = parse_memory)]
    pub memory_bytes: usize,

    /// What is logged to stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LevelFilter,

    /// What all clients together may make the server hold (requests, replies, queued commands), in
    /// bytes, or in percent of --memory-bytes; past it the worst are closed. 0: no bound.
    #[arg(long, value_name = "BYTES", default_value = "1g", value_parser = parse_clients_bound)]
    pub maxmemory_clients: ClientsBound,

    /// What one client may leave unread: CLASS HARD SOFT SECONDS, where CLASS is normal or pubsub.
    /// Above HARD bytes it is closed at once, above SOFT bytes after so many seconds; 0: no bound.
    #[arg(long, value_name = "BOUNDS", default_value_t = OUTPUT_BOUNDS, value_parser = parse_output_bounds)]
    pub client_output_buffer_limit: OutputBounds,

    /// After how many seconds of silence a client's machine is asked whether it is still there; one
    /// that does not answer for as long again is given up. 0: never.
    #[arg(long, value_name = "SECONDS", default_value_t = KEEPALIVE_SECONDS)]
    pub tcp_keepalive: u32,

    /// After how many seconds a client that asks for nothing, and listens to nothing, is closed. 0:
    /// never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u64,

    /// After how many seconds a client is closed that has begun a request and sends no more of it. 0:
    /// never.
    #[arg(long, value_name = "SECONDS", default_value_t = REQUEST_STUCK.as_secs())]
    pub request_timeout: u64,

    /// Threads for reads that have to wait for the disk, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = WORKERS, value_parser = parse_workers)]
    pub workers: usize,
}

/// [`Durability`] as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// After the sync that covers it: it survives a power cut.
    Always,
    /// Handed to the system, synced once a second: a power cut loses up to about a second.
    Everysec,
    /// Handed to the system, which syncs when it likes.
    Os,
}

impl From<DurabilityArg> for Durability {
    fn from(argument: DurabilityArg) -> Self {
        match argument {
            DurabilityArg::Always => Durability::Always,
            DurabilityArg::Everysec => Durability::EverySecond,
            DurabilityArg::Os => Durability::Os,
        }
    }
}

impl Config {
    /// What the engine is opened with.
    pub fn engine_options(&self) -> Options {
        Options {
            create_if_missing: !self.must_exist,
            memory_bytes: self.memory_bytes,
            durability: self.durability.into(),
            wal_segment_bytes: segment_bytes(self.memory_bytes),
            // Until the server knows whether anybody wants to be told of expiries.
            keep_expired: true,
            ..Options::default()
        }
    }

    /// The password, wherever it was given.
    ///
    /// # Errors
    /// A sentence, if its file cannot be read or has none.
    pub fn password(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.requirepass_file else { return Ok(self.settings().password) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read the password in {}: {error}", file.display()))?;
        match text.lines().next() {
            Some(password) if !password.is_empty() => Ok(Some(password.to_owned())),
            _ => Err(format!("the first line of {} is no password: it is empty", file.display())),
        }
    }

    /// Where SAVE and BGSAVE put their checkpoint.
    fn checkpoint_dir(&self) -> PathBuf {
        let beside_the_data = || {
            let mut name = self.data_dir.as_os_str().to_owned();
            name.push(".checkpoint");
            name.into()
        };
        self.checkpoint_dir.clone().unwrap_or_else(beside_the_data)
    }

    /// What the server is set up with.
    pub fn settings(&self) -> Settings {
        Settings {
            workers: self.workers,
            durability: self.durability.into(),
            databases: self.databases,
            password: self.requirepass.clone().filter(|password| !password.is_empty()),
            allows_debug: self.enable_debug_command,
            notify_keyspace_events: self.notify_keyspace_events.clone(),
            checkpoint_dir: self.checkpoint_dir(),
            data_dir: Some(self.data_dir.clone()),
            memory_bytes: self.memory_bytes,
            clients_bound: self.maxmemory_clients,
            output_bounds: self.client_output_buffer_limit,
            keepalive_seconds: self.tcp_keepalive,
            idle_seconds: self.timeout,
            timeouts: Timeouts {
                request_stuck: Duration::from_secs(self.request_timeout),
                ..Timeouts::default()
            },
            ..Settings::default()
        }
    }
}

/// The greatest size of a log segment: as much as a memtable holds, within bounds. A segment is written
/// in full before it is used, which a server with little memory should not pay for in disk and time.
fn segment_bytes(memory_bytes: usize) -> usize {
    let most = Options::default().wal_segment_bytes;
    (memory_bytes / 4).next_multiple_of(4096).clamp(MIN_SEGMENT_BYTES, most)
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map(|mut addresses| addresses.next());
    found.ok().flatten().ok_or_else(|| {
        "not an address with a port; write, for example, 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}

fn parse_memory(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text)?;
    if bytes < MIN_MEMORY_BYTES {
        return Err(format!("{bytes} bytes are too few: give at least 1m"));
    }
    Ok(bytes)
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    bounds::parse_bytes(text).ok_or_else(|| {
        "not a number of bytes; write, for example, 268435456, 256m or 1g".to_owned()
    })
}

fn parse_clients_bound(text: &str) -> Result<ClientsBound, String> {
    ClientsBound::parse(text).ok_or_else(|| {
        "not a number of bytes nor a share; write, for example, 1g, 50% or 0 for no bound"
            .to_owned()
    })
}

fn parse_output_bounds(text: &str) -> Result<OutputBounds, String> {
    OUTPUT_BOUNDS
        .changed(text)
        .map_err(|why| format!("{why} Write, for example, \"normal 512m 0 0 pubsub 32m 8m 60\"."))
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_WORKERS).contains(&count) => Ok(count),
        _ => Err(format!("not a number from 1 to {MAX_WORKERS}")),
    }
}

fn parse_events(text: &str) -> Result<String, String> {
    Classes::parse(text.as_bytes()).map(|_| text.to_owned()).ok_or_else(|| CLASSES_FAULT.to_owned())
}

fn parse_databases(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_DATABASES).contains(&count) => Ok(count),
        _ => Err(format!("not a number from 1 to {MAX_DATABASES}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let all = std::iter::once("chronos").chain(arguments.iter().copied());
        Config::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_consistent() {
        Config::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(config.memory_bytes, 256 << 20);
        assert_eq!(config.engine_options().durability, Durability::Always);
    }

    #[test]
    fn what_redis_clients_depend_on() {
        let settings = parse(&[]).unwrap().settings();
        assert_eq!((settings.databases, settings.password), (16, None));
        assert_eq!(settings.checkpoint_dir, PathBuf::from("./chronos.db.checkpoint"));
        assert!(!settings.allows_debug);
        let config = parse(&[
            "--redis-listen=127.0.0.1:0",
            "--requirepass=secret",
            "--databases=240",
            "--checkpoint-dir=copy",
            "--enable-debug-command",
        ])
        .unwrap();
        assert_eq!(config.redis_listen, ["127.0.0.1:0".parse().unwrap()]);
        let settings = config.settings();
        assert_eq!((settings.databases, settings.password.as_deref()), (240, Some("secret")));
        assert_eq!(settings.checkpoint_dir, PathBuf::from("copy"));
        assert!(settings.allows_debug);
        assert_eq!(parse(&["--requirepass="]).unwrap().settings().password, None);
        assert!(parse(&["--databases", "0"]).is_err() && parse(&["--databases", "241"]).is_err());
    }

    #[test]
    fn a_password_can_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        let flag = format!("--requirepass-file={}", file.display());
        let password = || parse(&[&flag]).unwrap().password();
        assert!(password().unwrap_err().contains("cannot read the password in"));
        for (text, expected) in [("secret", "secret"), ("a secret \nof\n", "a secret ")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(password(), Ok(Some(expected.to_owned())));
        }
        for text in ["", "\nsecret\n"] {
            std::fs::write(&file, text).unwrap();
            assert!(password().unwrap_err().contains("is no password"));
        }
        assert!(parse(&[&flag, "--requirepass=other"]).is_err(), "one of them is meant");
        assert_eq!(parse(&["--requirepass=x"]).unwrap().password(), Ok(Some("x".to_owned())));
        assert_eq!(parse(&[]).unwrap().password(), Ok(None));
    }

    #[test]
    fn several_listeners_and_names() {
        let config = parse(&["--listen", "127.0.0.1:0", "--listen", "[::1]:7"]).unwrap();
        assert_eq!(config.listen.len(), 2);
        assert!(parse(&["--listen", "8080"]).unwrap_err().contains("127.0.0.1:8080"));
    }

    #[test]
    fn bytes_with_suffixes() {
        for (text, bytes) in
            [("16777216", 16 << 20), ("64m", 64 << 20), ("64MiB", 64 << 20), ("1 gb", 1 << 30)]
        {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1.5g", "12x", "99999999999999999999", "18446744073709551615g"]
        {
            assert!(parse_memory(text).unwrap_err().contains("256m"), "{text}");
        }
        assert_eq!(
            parse_memory("1023k").unwrap_err(),
            "1047552 bytes are too few: give at least 1m"
        );
    }

    #[test]
    fn log_segments_follow_the_memory() {
        let bytes =
            |text| parse(&["--memory-bytes", text]).unwrap().engine_options().wal_segment_bytes;
        assert_eq!(bytes("8m"), 2 << 20);
        assert_eq!(bytes("8388609"), 2 << 20, "whole blocks");
        assert_eq!(bytes("8400000"), (2 << 20) + 4096, "whole blocks");
        assert_eq!(bytes("256m"), 48 << 20);
        assert_eq!(bytes("8g"), 48 << 20);
        assert_eq!(bytes("1m"), 256 << 10);
        // As the flag's explanation says.
        assert!(bytes("136m") > MAX_VALUE_BYTES + MAX_KEY_BYTES);
        assert!(bytes("128m") < MAX_VALUE_BYTES + MAX_KEY_BYTES);
    }

    #[test]
    fn events_are_letters() {
        let events = |letters: &str| {
            let config = parse(&[&format!("--notify-keyspace-events={letters}")])?;
            Ok::<_, String>(config.settings().notify_keyspace_events)
        };
        assert_eq!(parse(&[]).unwrap().settings().notify_keyspace_events, "");
        assert_eq!(events("Ex").as_deref(), Ok("Ex"));
        assert_eq!(events("").as_deref(), Ok(""));
        assert!(events("KQ").unwrap_err().contains("Ag$lshzxeKEtmdn"));
    }

    #[test]
    fn workers_are_bounded() {
        assert_eq!(parse(&["--workers", "4"]).unwrap().workers, 4);
        assert!(parse(&["--workers", "0"]).is_err() && parse(&["--workers", "65"]).is_err());
    }
}
