//! The texts of INFO and HELP.
//!
//! INFO has the sections and names of Redis, so that the tools that read them work, and one section of
//! Chronos's own, `engine`. What Chronos does not have is 0 where Redis's tools look for it, and what
//! it does not know is left out. docs/protocol.md explains the names.

mod engine;
mod memory;
mod redis;

use std::fmt::{Result as Written, Write};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::engine::{Durability, KeyCount, Stats as EngineStats};
use crate::parser::table::{COMMANDS, Group, find, find_subcommand};
use crate::parser::{Args, Command, Protocol};

use super::dispatch::Services;

pub(crate) use memory::{Memory, unaccounted};
pub(crate) use redis::human;

/// The name that HELLO gives.
pub(crate) const SERVER_NAME: &str = "redis";

/// The version of Redis whose behaviour clients may expect.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// What the server says about itself that does not change while it runs.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The addresses that it listens on; those for Redis clients only come last.
    pub(crate) addresses: Vec<SocketAddr>,
    /// When a write counts as committed.
    pub(crate) durability: Durability,
    /// Tells this run from all others: 40 hexadecimal digits.
    pub(crate) run_id: String,
    /// Tells this run's data from others' where there is replication: as long.
    pub(crate) replication_id: String,
    /// The program's file, if the system tells.
    pub(crate) executable: PathBuf,
}

impl Identity {
    /// The port that Redis clients should use.
    pub(crate) fn port(&self) -> u16 {
        self.addresses.last().map_or(0, SocketAddr::port)
    }

    pub(crate) fn new(addresses: Vec<SocketAddr>, durability: Durability) -> Self {
        Identity {
            addresses,
            durability,
            run_id: random_id(),
            replication_id: random_id(),
            executable: std::env::current_exe().unwrap_or_default(),
        }
    }
}

/// 40 hexadecimal digits that nobody has had before.
pub(crate) fn random_id() -> String {
    // The standard library seeds each state from the system's source of randomness.
    let number = || RandomState::new().hash_one(std::process::id());
    let mut digits = format!("{:016x}{:016x}{:016x}", number(), number(), number());
    digits.truncate(40);
    digits
}

/// Which calls show a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// INFO alone, and all that show more.
    Always,
    /// INFO all and INFO everything.
    OnDemand,
}

/// A section's title, when it is shown and how it is written.
type Section = (&'static str, Shown, fn(&mut String, &Facts<'_, '_>) -> Written);

const SECTIONS: [Section; 13] = [
    ("Server", Shown::Always, redis::write_server),
    ("Clients", Shown::Always, redis::write_clients),
    ("Memory", Shown::Always, redis::write_memory),
    ("Persistence", Shown::Always, redis::write_persistence),
    ("Stats", Shown::Always, redis::write_stats),
    ("Replication", Shown::Always, redis::write_replication),
    ("CPU", Shown::Always, redis::write_cpu),
    ("Modules", Shown::Always, |_, _| Ok(())),
    ("Commandstats", Shown::OnDemand, redis::write_command_stats),
    ("Errorstats", Shown::Always, redis::write_error_stats),
    ("Cluster", Shown::Always, |text, _| writeln!(text, "cluster_enabled:0")),
    ("Keyspace", Shown::Always, redis::write_keyspace),
    ("Engine", Shown::Always, engine::write),
];

/// All that INFO draws on.
pub(crate) struct Facts<'a, 'e> {
    services: &'a Services<'e>,
    engine: EngineStats,
    memory: Memory,
    operations_per_second: u64,
    /// How many keys each database has.
    keys: Vec<KeyCount>,
}

impl<'a, 'e> Facts<'a, 'e> {
    /// The facts of this moment. How many keys there are is as of the last time they were counted: see
    /// [`Services::count_keys`].
    pub(crate) fn gather(services: &'a mut Services<'e>) -> Self {
        let keyspace = &services.keyspace;
        let count = |db| services.counts.of(keyspace.namespace(db));
        let keys = (0..keyspace.databases()).map(count).collect();
        let engine = services.keyspace.engine().stats();
        let memory = Memory::measure(&engine, services);
        let operations_per_second = services.stats.rate();
        Facts { services, engine, memory, operations_per_second, keys }
    }

    /// Where memory goes.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many keys there are in all databases.
    pub(crate) fn keys(&self) -> u64 {
        self.keys.iter().map(|count| count.keys).sum()
    }
}

/// Whether a section is among those that were named, all of them, or those shown if none is.
fn is_shown(names: &[&[u8]], title: &str, shown: Shown) -> bool {
    let is_named = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name.as_bytes()));
    let all = is_named("all") || is_named("everything");
    let default = all || names.is_empty() || is_named("default");
    is_named(title) || all || default && shown == Shown::Always
}

/// Whether INFO with these names shows how many keys there are.
pub(crate) fn shows_keys(names: &[&[u8]]) -> bool {
    is_shown(names, "Keyspace", Shown::Always)
}

/// INFO's text: the sections named, those that are always shown if none is. Empty if nothing of that
/// name is there.
pub(crate) fn info<'n>(names: impl Iterator<Item = &'n [u8]>, facts: &Facts<'_, '_>) -> String {
    let names: Vec<_> = names.collect();
    let mut text = String::new();
    for (title, shown, write) in SECTIONS {
        if !is_shown(&names, title, shown) {
            continue;
        }
        let gap = if text.is_empty() { "" } else { "\n" };
        // A String takes every write.
        let _ = writeln!(text, "{gap}# {title}");
        let _ = write(&mut text, facts);
    }
    text
}

/// What a person is told who asked for a section that is not there.
pub(crate) fn no_such_section() -> String {
    let titles = SECTIONS.map(|(title, ..)| title.to_ascii_lowercase()).join(", ");
    format!("ERR no such section: INFO knows {titles} and all")
}

/// HELP's text: all commands, or the command or subcommand named, as they are used in `protocol`.
///
/// # Errors
/// A sentence, if there is no such command.
pub(crate) fn help(words: Args<'_>, protocol: Protocol) -> Result<String, &'static str> {
    let usage = |command: &Command| match protocol {
        Protocol::Text => command.line_usage(),
        Protocol::Resp2 | Protocol::Resp3 => command.usage(),
    };
    let line = |command: &Command| format!("{:<16} {}", usage(command), command.summary);
    let Some(name) = words.get(0) else {
        let groups = Group::ALL.map(|group| {
            let commands = COMMANDS.iter().filter(|command| command.group == group);
            let lines: Vec<_> = commands.map(|command| format!("  {}", line(command))).collect();
            format!("{}\n{}", group.title(), lines.join("\n"))
        });
        return Ok(format!("{}\n\nHELP command explains one of them.", groups.join("\n\n")));
    };
    let unknown = "no such command: HELP lists them all";
    let mut command = find(name).ok_or(unknown)?;
    if let Some(name) = words.get(1) {
        command = find_subcommand(command, name).ok_or(unknown)?;
    }
    let mut lines = vec![usage(command), command.summary.to_owned()];
    lines.extend(command.subcommands.iter().map(line));
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Settings;
    use super::super::notify::Notifier;
    use super::*;
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, Environment, Options, SystemClock};
    use crate::parser::OwnedArgs;

    fn text(names: &[&str]) -> String {
        let environment = Environment {
            storage: Arc::new(SimStorage::new(1)),
            clock: Arc::new(SystemClock),
            random: Arc::new(|| 4),
        };
        let (engine, _) = Engine::open(environment, Options::default()).unwrap();
        let poll = mio::Poll::new().unwrap();
        let notifier = Arc::new(Notifier::new(poll.registry()).unwrap());
        let address = "127.0.0.1:7".parse().unwrap();
        let settings = Settings { workers: 1, ..Settings::default() };
        let mut services = Services::new(&engine, &settings, vec![address], notifier).unwrap();
        services.stats.count(crate::parser::Verb::Get);
        services.stats.count_error(b"WRONGTYPE x");
        let facts = Facts::gather(&mut services);
        info(names.iter().map(|name| name.as_bytes()), &facts)
    }

    #[test]
    fn all_sections_are_key_value_lines() {
        let text = text(&["all"]);
        assert_eq!(text.matches("# ").count(), SECTIONS.len());
        for line in text.lines() {
            assert!(line.is_empty() || line.starts_with("# ") || line.contains(':'), "{line}");
        }
        for line in [
            "redis_version:7.0.15",
            "tcp_port:7",
            "aof_enabled:1",
            "role:master",
            "cmdstat_get:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
            "errorstat_WRONGTYPE:count=1",
            "health:OK",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}");
        }
    }

    #[test]
    fn every_field_is_documented() {
        let docs = include_str!("../../../docs/protocol.md");
        for (name, _) in text(&["all"]).lines().filter_map(|line| line.split_once(':')) {
            let name = match name {
                "db0" => "dbN",
                name if name.strip_prefix("level").is_some_and(|n| n.parse::<u8>().is_ok()) => {
                    "levelN"
                }
                name if name.starts_with("stall_") => "stall_CAUSE",
                name if name.starts_with("cmdstat_") => "cmdstat_COMMAND",
                name if name.starts_with("errorstat_") => "errorstat_CODE",
                name => name,
            };
            assert!(docs.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn sections_are_chosen_by_name_in_any_case() {
        let titles = |names: &[&str]| {
            let text = text(names);
            let titles = text.lines().filter_map(|line| line.strip_prefix("# "));
            titles.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(titles(&["CLUSTER", "server", "nothing"]), ["Server", "Cluster"]);
        assert_eq!(titles(&["nothing"]), [""; 0]);
        assert_eq!(titles(&[]).len(), SECTIONS.len() - 1);
        assert_eq!(titles(&["default", "commandstats"]).len(), SECTIONS.len());
        assert_eq!(titles(&["everything"]), titles(&["all"]));
        assert!(no_such_section().contains("persistence"));
    }

    #[test]
    fn ids_are_of_their_own() {
        assert_eq!(random_id().len(), 40);
        assert_ne!(random_id(), random_id());
    }

    #[test]
    fn help_lists_every_command() {
        let help = |words: &[&str], protocol| {
            let words = OwnedArgs::copy(words.iter().map(|word| word.as_bytes()));
            help(words.args(), protocol)
        };
        let all = help(&[], Protocol::Text).unwrap();
        assert!(COMMANDS.iter().all(|command| all.contains(&command.line_usage())));
        let places = Group::ALL.map(|group| all.find(&format!("{}\n  ", group.title())).unwrap());
        assert!(places.is_sorted(), "each group has its title");
        let set_and_echo = all.find("\n  ECHO ").unwrap()..all.find("\nServer\n").unwrap();
        assert!(!all[set_and_echo].contains("\n  SET "), "and its own commands");
        let set = help(&["set"], Protocol::Text).unwrap();
        assert_eq!(set.lines().next(), Some("SET key value"), "text leaves no room for options");
        assert!(help(&["set"], Protocol::Resp3).unwrap().starts_with("SET key value [NX"));
        assert!(help(&["client", "id"], Protocol::Text).unwrap().starts_with("CLIENT ID"));
        assert!(help(&["client"], Protocol::Text).unwrap().contains("CLIENT KILL"));
        assert!(help(&["fly"], Protocol::Text).is_err());
        assert!(help(&["client", "fly"], Protocol::Text).is_err());
    }
}
