//! INFO's sections that Redis has, under Redis's names.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::{Health, KeyCount};
use crate::parser::table::all;

use super::memory::{self, ratio};
use super::{Facts, REDIS_VERSION, Written};

/// The system's clock ticks in a second, by which it tells the time that a process has used.
const TICKS_PER_SECOND: u64 = 100;

/// A number of bytes for people: `1.50M`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn human(bytes: u64) -> String {
    let (mut number, mut unit) = (bytes as f64, "B");
    for larger in ["K", "M", "G", "T", "P"] {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{number:.2}{unit}") }
}

pub(super) fn write_server(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let identity = &facts.services.identity;
    let uptime = facts.services.stats.started.elapsed().as_secs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    writeln!(text, "redis_version:{REDIS_VERSION}")?;
    writeln!(text, "redis_git_sha1:00000000")?;
    writeln!(text, "redis_git_dirty:0")?;
    writeln!(text, "redis_build_id:0")?;
    writeln!(text, "redis_mode:standalone")?;
    writeln!(text, "os:{} {}", std::env::consts::OS, std::env::consts::ARCH)?;
    writeln!(text, "arch_bits:{}", usize::BITS)?;
    writeln!(
        text,
        "multiplexing_api:{}",
        if cfg!(target_os = "linux") { "epoll" } else { "kqueue" }
    )?;
    writeln!(text, "process_id:{}", std::process::id())?;
    writeln!(text, "run_id:{}", identity.run_id)?;
    writeln!(text, "tcp_port:{}", identity.port())?;
    writeln!(text, "server_time_usec:{}", now.as_micros())?;
    writeln!(text, "uptime_in_seconds:{uptime}")?;
    writeln!(text, "uptime_in_days:{}", uptime / 86_400)?;
    writeln!(text, "executable:{}", identity.executable.display())?;
    writeln!(text, "config_file:")
}

pub(super) fn write_clients(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let stats = &facts.services.stats;
    writeln!(text, "connected_clients:{}", stats.connections)?;
    writeln!(text, "cluster_connections:0")?;
    writeln!(text, "maxclients:{}", stats.max_connections)?;
    writeln!(text, "blocked_clients:0")?;
    writeln!(text, "tracking_clients:0")?;
    writeln!(text, "clients_in_timeout_table:0")
}

pub(super) fn write_memory(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let memory = &facts.memory;
    let total = memory::of_the_system();
    let budget = facts.services.runtime.memory_bytes as u64;
    for (name, bytes) in [
        ("used_memory", memory.used),
        ("used_memory_rss", memory.resident),
        ("used_memory_peak", memory.peak),
        ("total_system_memory", total),
        // Data is not bound to memory.
        ("maxmemory", 0),
        ("memory_budget", budget),
    ] {
        writeln!(text, "{name}:{bytes}")?;
        writeln!(text, "{name}_human:{}", human(bytes))?;
    }
    writeln!(text, "used_memory_peak_perc:{:.2}%", ratio(memory.used, memory.peak) * 100.0)?;
    writeln!(text, "used_memory_startup:{}", memory.fixed)?;
    writeln!(text, "used_memory_overhead:{}", memory.overhead())?;
    writeln!(text, "used_memory_dataset:{}", memory.dataset())?;
    writeln!(text, "mem_clients_normal:{}", memory.clients)?;
    writeln!(text, "maxmemory_policy:noeviction")?;
    writeln!(text, "mem_clients_peak:{}", facts.services.holdings.total_and_peak().1)?;
    writeln!(text, "mem_fragmentation_ratio:{:.2}", memory.fragmentation())?;
    writeln!(text, "mem_allocator:libc")
}

pub(super) fn write_persistence(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let saving = &facts.services.saving;
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, u64::cast_signed);
    let running = saving.running_seconds();
    let is_sound = matches!(facts.engine.health, Health::Ok);
    let word = |is_ok: bool| if is_ok { "ok" } else { "err" };
    writeln!(text, "loading:0")?;
    writeln!(text, "async_loading:0")?;
    writeln!(text, "rdb_changes_since_last_save:{}", facts.services.keyspace.changes)?;
    writeln!(text, "rdb_bgsave_in_progress:{}", u8::from(running.is_some()))?;
    writeln!(text, "rdb_last_save_time:{}", saving.last_time)?;
    writeln!(text, "rdb_last_bgsave_status:{}", word(saving.last_ok))?;
    writeln!(text, "rdb_last_bgsave_time_sec:{}", seconds(saving.last_seconds))?;
    writeln!(text, "rdb_current_bgsave_time_sec:{}", seconds(running))?;
    writeln!(text, "rdb_saves:{}", saving.count)?;
    writeln!(text, "aof_enabled:1")?;
    writeln!(text, "aof_rewrite_in_progress:0")?;
    writeln!(text, "aof_rewrite_scheduled:0")?;
    writeln!(text, "aof_last_rewrite_time_sec:-1")?;
    writeln!(text, "aof_current_rewrite_time_sec:-1")?;
    writeln!(text, "aof_last_bgrewrite_status:ok")?;
    writeln!(text, "aof_last_write_status:{}", word(is_sound))
}

pub(super) fn write_stats(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let (stats, pubsub) = (&facts.services.stats, &facts.services.pubsub);
    writeln!(text, "total_connections_received:{}", stats.accepted)?;
    writeln!(text, "total_commands_processed:{}", stats.commands)?;
    writeln!(text, "instantaneous_ops_per_sec:{}", facts.operations_per_second)?;
    writeln!(text, "total_net_input_bytes:{}", stats.read_bytes)?;
    writeln!(text, "total_net_output_bytes:{}", stats.written_bytes)?;
    writeln!(text, "rejected_connections:{}", stats.refused)?;
    writeln!(text, "sync_full:0")?;
    writeln!(text, "sync_partial_ok:0")?;
    writeln!(text, "sync_partial_err:0")?;
    // Those that nobody was told of are counted when a flush or a merge drops them.
    let expired = stats.expired + facts.engine.expired;
    writeln!(text, "expired_keys:{expired}")?;
    writeln!(text, "evicted_keys:0")?;
    writeln!(text, "evicted_clients:{}", stats.evicted_clients)?;
    writeln!(text, "client_query_buffer_limit_disconnections:{}", stats.query_limit_closed)?;
    writeln!(text, "client_output_buffer_limit_disconnections:{}", stats.output_limit_closed)?;
    writeln!(text, "keyspace_hits:{}", stats.hits)?;
    writeln!(text, "keyspace_misses:{}", stats.misses)?;
    writeln!(text, "pubsub_channels:{}", pubsub.channels(None).len())?;
    writeln!(text, "pubsub_patterns:{}", pubsub.pattern_count())?;
    writeln!(text, "latest_fork_usec:0")?;
    writeln!(text, "total_forks:0")?;
    writeln!(text, "total_error_replies:{}", stats.errors)?;
    writeln!(text, "total_reads_processed:{}", stats.reads)?;
    writeln!(text, "total_writes_processed:{}", stats.writes)?;
    writeln!(text, "eventloop_cycles:{}", stats.ticks)
}

pub(super) fn write_replication(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    writeln!(text, "role:master")?;
    writeln!(text, "connected_slaves:0")?;
    writeln!(text, "master_failover_state:no-failover")?;
    writeln!(text, "master_replid:{}", facts.services.identity.replication_id)?;
    writeln!(text, "master_replid2:{}", "0".repeat(40))?;
    writeln!(text, "master_repl_offset:0")?;
    writeln!(text, "second_repl_offset:-1")?;
    writeln!(text, "repl_backlog_active:0")?;
    writeln!(text, "repl_backlog_size:0")?;
    writeln!(text, "repl_backlog_first_byte_offset:0")?;
    writeln!(text, "repl_backlog_histlen:0")
}

pub(super) fn write_cpu(text: &mut String, _: &Facts<'_, '_>) -> Written {
    let (user, system) = cpu_ticks().unwrap_or_default();
    for (name, ticks) in [("used_cpu_sys", system), ("used_cpu_user", user)] {
        let micros = ticks % TICKS_PER_SECOND * (1_000_000 / TICKS_PER_SECOND);
        writeln!(text, "{name}:{}.{micros:06}", ticks / TICKS_PER_SECOND)?;
        writeln!(text, "{name}_children:0.000000")?;
    }
    Ok(())
}

/// User and system time of this process, in clock ticks, where the system tells (Linux).
fn cpu_ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, a name, may hold anything but is closed by the last parenthesis.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

pub(super) fn write_command_stats(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    for command in all().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
        let calls = facts.services.stats.calls(command.verb);
        if calls.calls == 0 && calls.rejected == 0 {
            continue;
        }
        writeln!(
            text,
            "cmdstat_{}:calls={},usec=0,usec_per_call=0.00,rejected_calls={},failed_calls={}",
            command.full_name(),
            calls.calls,
            calls.rejected,
            calls.failed
        )?;
    }
    Ok(())
}

pub(super) fn write_error_stats(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let mut codes: Vec<_> = facts.services.stats.error_codes.iter().collect();
    codes.sort();
    codes.iter().try_for_each(|(code, count)| writeln!(text, "errorstat_{code}:count={count}"))
}

/// See docs/protocol.md for how exact this is.
pub(super) fn write_keyspace(text: &mut String, facts: &Facts<'_, '_>) -> Written {
    let counts = facts.keys.iter().enumerate().filter(|(_, count)| count.keys > 0);
    for (db, KeyCount { keys, expiring: expires, .. }) in counts {
        writeln!(text, "db{db}:keys={keys},expires={expires},avg_ttl=0")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1024), "1.00K");
        assert_eq!(human(1_572_864), "1.50M");
        assert_eq!(human(25_276_502_016), "23.54G");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_times() {
        let (user, system) = cpu_ticks().unwrap();
        assert!(user + system < 1_000_000);
    }
}
