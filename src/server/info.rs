//! The texts of INFO and HELP.

use std::fmt::Write;

use crate::engine::{Durability, LevelStats, StallStats, Stats as EngineStats};
use crate::parser::table::{COMMANDS, find};

use super::stats::Stats;

/// The name that HELLO gives.
pub(crate) const SERVER_NAME: &str = "redis";

/// The version of Redis whose behaviour clients may expect.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// What the server says about itself that does not change while it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    /// The addresses that it listens on.
    pub(crate) addresses: Vec<std::net::SocketAddr>,
    /// When a write counts as committed.
    pub(crate) durability: Durability,
}

/// A section's title and how it is written.
type Section = (&'static str, fn(&mut String, &Facts<'_>) -> std::fmt::Result);

const SECTIONS: [Section; 6] = [
    ("Server", write_server),
    ("Clients", write_clients),
    ("Memory", write_memory),
    ("Persistence", write_persistence),
    ("Stats", write_stats),
    ("Engine", write_engine),
];

/// All that INFO draws on.
pub(crate) struct Facts<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) stats: &'a Stats,
    pub(crate) engine: &'a EngineStats,
}

/// INFO's text: all sections, or the one named.
///
/// # Errors
/// A sentence, if there is no such section.
pub(crate) fn info(section: Option<&[u8]>, facts: &Facts<'_>) -> Result<String, String> {
    let wanted = |title: &str| {
        section.is_none_or(|name| {
            name.eq_ignore_ascii_case(title.as_bytes()) || name.eq_ignore_ascii_case(b"all")
        })
    };
    let mut text = String::new();
    for (title, write) in SECTIONS {
        if !wanted(title) {
            continue;
        }
        let gap = if text.is_empty() { "" } else { "\n" };
        // A String takes every write.
        let _ = writeln!(text, "{gap}# {title}");
        let _ = write(&mut text, facts);
    }
    if text.is_empty() {
        let titles = SECTIONS.map(|(title, _)| title.to_ascii_lowercase()).join(", ");
        return Err(format!("no such section: INFO knows {titles} and all"));
    }
    text.pop();
    Ok(text)
}

fn write_server(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    writeln!(text, "chronos_version:{}", env!("CARGO_PKG_VERSION"))?;
    writeln!(text, "process_id:{}", std::process::id())?;
    writeln!(text, "os:{}", std::env::consts::OS)?;
    for address in &facts.identity.addresses {
        writeln!(text, "listen:{address}")?;
    }
    writeln!(text, "uptime_seconds:{}", facts.stats.started.elapsed().as_secs())
}

fn write_clients(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    writeln!(text, "connected_clients:{}", facts.stats.connections)?;
    writeln!(text, "max_clients:{}", facts.stats.max_connections)
}

fn write_memory(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    if let Some(bytes) = resident_bytes() {
        writeln!(text, "used_memory_rss_bytes:{bytes}")?;
    }
    writeln!(text, "memtable_bytes:{}", facts.engine.memtable_bytes)?;
    writeln!(text, "memtable_entries:{}", facts.engine.memtable_entries)?;
    writeln!(text, "immutable_memtables:{}", facts.engine.immutable_memtables)?;
    writeln!(text, "block_cache_bytes:{}", facts.engine.cache.bytes)?;
    writeln!(text, "block_cache_capacity_bytes:{}", facts.engine.cache.capacity_bytes)?;
    writeln!(text, "filter_bytes:{}", facts.engine.filter_bytes)?;
    writeln!(text, "index_bytes:{}", facts.engine.index_bytes)
}

fn write_persistence(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let engine = facts.engine;
    writeln!(text, "health:{}", engine.health.name())?;
    if let Some(cause) = engine.health.cause() {
        writeln!(text, "health_cause:{}", cause.to_string().replace(['\r', '\n'], " "))?;
    }
    writeln!(text, "durability:{}", durability_name(facts.identity.durability))?;
    writeln!(text, "last_seq:{}", engine.last_seq)?;
    writeln!(text, "durable_seq:{}", engine.durable_seq)?;
    writeln!(text, "wal_segments:{}", engine.wal_segments)?;
    writeln!(text, "wal_groups:{}", engine.wal_groups)?;
    writeln!(text, "wal_bytes:{}", engine.wal_bytes)?;
    writeln!(text, "wal_written_bytes:{}", engine.wal_written_bytes)
}

fn write_stats(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let stats = facts.stats;
    writeln!(text, "total_connections_received:{}", stats.accepted)?;
    writeln!(text, "rejected_connections:{}", stats.refused)?;
    writeln!(text, "total_commands_processed:{}", stats.commands)?;
    writeln!(text, "total_error_replies:{}", stats.errors)?;
    writeln!(text, "keyspace_hits:{}", stats.hits)?;
    writeln!(text, "keyspace_misses:{}", stats.misses)?;
    writeln!(text, "deferred_reads:{}", stats.deferred)?;
    writeln!(text, "parked_writes:{}", stats.parked)?;
    writeln!(text, "net_input_bytes:{}", stats.read_bytes)?;
    writeln!(text, "net_output_bytes:{}", stats.written_bytes)?;
    writeln!(text, "slow_readers_closed:{}", stats.slow_readers)?;
    writeln!(text, "http_attacks_closed:{}", stats.attacks)
}

fn write_engine(text: &mut String, facts: &Facts<'_>) -> std::fmt::Result {
    let engine = facts.engine;
    writeln!(text, "flushes:{}", engine.flushes)?;
    writeln!(text, "compactions:{}", engine.compactions)?;
    writeln!(text, "moved_tables:{}", engine.moves)?;
    writeln!(text, "dropped_tables:{}", engine.drops)?;
    writeln!(text, "ingested_bytes:{}", engine.ingested_bytes)?;
    writeln!(text, "compacted_bytes:{}", engine.compacted_bytes)?;
    writeln!(text, "user_bytes:{}", engine.user_bytes)?;
    writeln!(text, "write_amplification:{:.2}", engine.write_amplification())?;
    writeln!(text, "space_amplification:{:.2}", engine.space_amplification())?;
    writeln!(text, "read_amplification:{:.2}", engine.read_amplification())?;
    writeln!(text, "range_deletes:{}", engine.range_deletes)?;
    writeln!(text, "open_tables:{}", engine.open_tables)?;
    writeln!(text, "snapshots:{}", engine.snapshots)?;
    writeln!(text, "level0_sublevels:{}", engine.level0_sublevels)?;
    writeln!(text, "stalled_writes:{}", engine.stalled_writes)?;
    for (cause, stall) in &engine.stalls {
        let (name, StallStats { count, total_us, longest_us }) = (cause.name(), stall);
        writeln!(text, "stall_{name}:count={count},total_us={total_us},longest_us={longest_us}")?;
    }
    writeln!(text, "block_cache_blocks:{}", engine.cache.blocks)?;
    writeln!(text, "block_cache_hits:{}", engine.cache.hits)?;
    writeln!(text, "block_cache_misses:{}", engine.cache.misses)?;
    for (number, level) in engine.levels.iter().enumerate() {
        let LevelStats { tables, bytes, entries, written_bytes } = level;
        writeln!(
            text,
            "level{number}:tables={tables},bytes={bytes},entries={entries},written_bytes={written_bytes}"
        )?;
    }
    Ok(())
}

/// The word for a durability, as in the configuration.
pub(crate) fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Always => "always",
        Durability::EverySecond => "everysec",
        Durability::Os => "os",
    }
}

/// Memory of this process that is in RAM, where the system tells (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// HELP's text: all commands, or the one named.
///
/// # Errors
/// A sentence, if there is no such command.
pub(crate) fn help(name: Option<&[u8]>) -> Result<String, &'static str> {
    let Some(name) = name else {
        let lines =
            COMMANDS.iter().map(|command| format!("{:<16} {}", command.usage(), command.summary));
        return Ok(lines.collect::<Vec<_>>().join("\n"));
    };
    let command = find(name).ok_or("no such command: HELP lists them all")?;
    Ok(format!("{}\n{}", command.usage(), command.summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CacheStats, Error, Health, StallCause};

    fn engine_stats(health: Health) -> EngineStats {
        EngineStats {
            last_seq: 9,
            durable_seq: 8,
            memtable_bytes: 0,
            memtable_entries: 0,
            immutable_memtables: 0,
            levels: vec![LevelStats { tables: 1, bytes: 2, entries: 3, written_bytes: 4 }],
            level0_sublevels: 1,
            open_tables: 1,
            range_deletes: 0,
            snapshots: 0,
            cache: CacheStats { hits: 7, ..CacheStats::default() },
            filter_bytes: 4,
            index_bytes: 5,
            wal_segments: 1,
            wal_groups: 1,
            wal_bytes: 1,
            wal_written_bytes: 8,
            gets: 7,
            scans: 0,
            user_bytes: 2,
            flushes: 0,
            compactions: 0,
            moves: 0,
            drops: 0,
            ingested_bytes: 0,
            compacted_bytes: 0,
            stalled_writes: 0,
            stalls: vec![(StallCause::Flush, StallStats { count: 1, total_us: 5, longest_us: 5 })],
            health,
        }
    }

    fn text(section: Option<&[u8]>, health: Health) -> Result<String, String> {
        let identity =
            Identity { addresses: vec!["127.0.0.1:1".parse().unwrap()], ..Identity::default() };
        let (stats, engine) = (Stats::new(10), engine_stats(health));
        info(section, &Facts { identity: &identity, stats: &stats, engine: &engine })
    }

    #[test]
    fn all_sections_are_key_value_lines() {
        let text = text(None, Health::Ok).unwrap();
        assert_eq!(text.matches("# ").count(), SECTIONS.len());
        for line in text.lines() {
            assert!(line.is_empty() || line.starts_with("# ") || line.contains(':'), "{line}");
        }
        assert!(text.contains("level0:tables=1,bytes=2,entries=3,written_bytes=4"));
        assert!(text.contains("block_cache_hits:7") && text.contains("filter_bytes:4"));
        assert!(
            text.contains("write_amplification:6.00\n") && text.contains("stall_flush:count=1,")
        );
        assert!(!text.ends_with('\n'));
    }

    #[test]
    fn every_field_is_documented() {
        let docs = include_str!("../../docs/protocol.md");
        let text = text(None, Health::NoSpace { cause: Error::NoSpace }).unwrap();
        for (name, _) in text.lines().filter_map(|line| line.split_once(':')) {
            let name = match name {
                "level0" => "levelN",
                name if name.starts_with("stall_") => "stall_CAUSE",
                name => name,
            };
            assert!(docs.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn one_section_in_any_case_and_an_unknown_one() {
        let health = Health::NoSpace { cause: Error::NoSpace };
        let one = text(Some(b"PERSISTENCE"), health).unwrap();
        assert!(one.starts_with("# Persistence\nhealth:NOSPACE\nhealth_cause:no space"), "{one}");
        assert!(!one.contains("# Server"));
        assert!(text(Some(b"x"), Health::Ok).unwrap_err().contains("persistence"));
    }

    #[test]
    fn help_lists_every_command() {
        let all = help(None).unwrap();
        assert_eq!(all.lines().count(), COMMANDS.len());
        assert!(COMMANDS.iter().all(|command| all.contains(command.summary)));
        assert_eq!(help(Some(b"get")).unwrap().lines().next(), Some("GET key"));
        assert!(help(Some(b"fly")).is_err());
    }
}
