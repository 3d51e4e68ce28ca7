//! INFO's own section: the server's and the engine's figures that Redis has no names for.

use std::fmt::Write;

use crate::engine::{Durability, LevelStats, StallStats};

use super::super::expiries::Expiries;
use super::super::logging;
use super::{Facts, Written};

pub(super) fn write(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let services = facts.services;
    writeln!(text, "chronos_version:{}", env!("CARGO_PKG_VERSION"))?;
    for address in &services.identity.addresses {
        writeln!(text, "listen:{address}")?;
    }
    let checkpoints = &services.runtime.checkpoint_dir;
    let checkpoints = std::path::absolute(checkpoints).unwrap_or_else(|_| checkpoints.clone());
    writeln!(
        text,
        "checkpoint_dir:{}",
        checkpoints.display().to_string().replace(['\r', '\n'], " ")
    )?;
    write_log(text, facts)?;
    write_memory(text, facts)?;
    let stats = &services.stats;
    writeln!(text, "deferred_reads:{}", stats.deferred)?;
    writeln!(text, "parked_writes:{}", stats.parked)?;
    writeln!(text, "slow_readers_closed:{}", stats.slow_readers)?;
    writeln!(text, "http_attacks_closed:{}", stats.attacks)?;
    writeln!(text, "log_lines_lost:{}", logging::lost_lines())?;
    writeln!(text, "log_warnings_left_out:{}", services.warnings.left_out())?;
    write_tables(text, facts)
}

fn write_log(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let engine = &facts.engine;
    writeln!(text, "health:{}", engine.health.name())?;
    if let Some(cause) = engine.health.cause() {
        writeln!(text, "health_cause:{}", cause.to_string().replace(['\r', '\n'], " "))?;
    }
    if let Some(advice) = engine.health.advice() {
        writeln!(text, "health_advice:{advice}")?;
    }
    writeln!(text, "durability:{}", durability_name(facts.services.identity.durability))?;
    writeln!(text, "last_seq:{}", engine.last_seq)?;
    writeln!(text, "durable_seq:{}", engine.durable_seq)?;
    writeln!(text, "wal_segments:{}", engine.wal_segments)?;
    writeln!(text, "wal_disk_bytes:{}", engine.wal_disk_bytes)?;
    writeln!(text, "wal_groups:{}", engine.wal_groups)?;
    writeln!(text, "wal_bytes:{}", engine.wal_bytes)?;
    writeln!(text, "wal_written_bytes:{}", engine.wal_written_bytes)
}

fn write_memory(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let engine = &facts.engine;
    writeln!(text, "memtable_bytes:{}", engine.memtable_bytes)?;
    writeln!(text, "memtable_entries:{}", engine.memtable_entries)?;
    writeln!(text, "immutable_memtables:{}", engine.immutable_memtables)?;
    writeln!(text, "block_cache_bytes:{}", engine.cache.bytes)?;
    writeln!(text, "block_cache_capacity_bytes:{}", engine.cache.capacity_bytes)?;
    writeln!(text, "block_cache_blocks:{}", engine.cache.blocks)?;
    writeln!(text, "block_cache_hits:{}", engine.cache.hits)?;
    writeln!(text, "block_cache_misses:{}", engine.cache.misses)?;
    let expiries = facts.services.keyspace.expiries.as_ref();
    writeln!(text, "expiry_index_bytes:{}", expiries.map_or(0, Expiries::bytes))?;
    writeln!(text, "filter_bytes:{}", engine.filter_bytes)?;
    writeln!(text, "index_bytes:{}", engine.index_bytes)
}

fn write_tables(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let engine = &facts.engine;
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
fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Always => "always",
        Durability::EverySecond => "everysec",
        Durability::Os => "os",
    }
}
