//! Commands on the server as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::parser::{Protocol, Verb};

use super::super::client::Traits;
use super::super::info::{Facts, info, no_such_section, shows_keys};
use super::super::interrupt::{Interrupt, SYNTAX};
use super::super::outbox::Finish;
use super::help::help;
use super::{Call, Handled, keys};

mod command;
mod config;
mod debug;
mod latency;
mod memory;
mod slowlog;

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Info => show_info(call),
        Verb::Time => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            call.reply.array(2);
            call.reply.bulk(now.as_secs().to_string().as_bytes());
            call.reply.bulk(now.subsec_micros().to_string().as_bytes());
            Ok(())
        }
        Verb::LastSave => {
            call.reply.integer(call.services.saving.last_time.cast_signed());
            Ok(())
        }
        Verb::Save => {
            let changes = call.services.keyspace.changes;
            let ticket = call.services.saving.start(changes)?;
            Err(Interrupt::Ticket(ticket, Finish::Save))
        }
        Verb::BgSave => save_in_background(call),
        Verb::Shutdown => shutdown(call),
        Verb::Monitor => monitor(call),
        Verb::Debug => debug::handle(call),
        Verb::Command
        | Verb::CommandCount
        | Verb::CommandDocs
        | Verb::CommandGetKeys
        | Verb::CommandInfo
        | Verb::CommandList => command::handle(call),
        Verb::ConfigGet | Verb::ConfigSet | Verb::ConfigResetStat | Verb::ConfigRewrite => {
            config::handle(call)
        }
        Verb::LatencyDoctor
        | Verb::LatencyGraph
        | Verb::LatencyHistogram
        | Verb::LatencyHistory
        | Verb::LatencyLatest
        | Verb::LatencyReset => latency::handle(call),
        Verb::MemoryDoctor
        | Verb::MemoryMallocStats
        | Verb::MemoryPurge
        | Verb::MemoryStats
        | Verb::MemoryUsage => memory::handle(call),
        Verb::SlowLogGet | Verb::SlowLogLen | Verb::SlowLogReset => slowlog::handle(call),
        Verb::DbSize => keys::dbsize(call),
        Verb::FlushAll => keys::flushall(call),
        Verb::FlushDb => keys::flushdb(call),
        Verb::SwapDb => keys::swapdb(call),
        _ => {
            help(call);
            Ok(())
        }
    }
}

fn show_info(call: &mut Call) -> Handled {
    if shows_keys(&call.args.iter().collect::<Vec<_>>()) {
        call.services.count_keys(call.client.id)?;
    }
    let facts = Facts::gather(call.services);
    let text = info(call.args.iter(), &facts);
    if call.client.protocol != Protocol::Text {
        call.reply.verbatim(&text.replace('\n', "\r\n"));
        return Ok(());
    }
    if text.is_empty() {
        return Err(no_such_section().into());
    }
    call.reply.verbatim(text.trim_end());
    Ok(())
}

fn save_in_background(call: &mut Call) -> Handled {
    let is_known = match call.args.len() {
        0 => true,
        1 => call.args.at(0).eq_ignore_ascii_case(b"SCHEDULE"),
        _ => false,
    };
    if !is_known {
        return Err(SYNTAX.into());
    }
    let changes = call.services.keyspace.changes;
    call.services.saving.start(changes)?;
    call.reply.simple("Background saving started");
    Ok(())
}

fn shutdown(call: &mut Call) -> Handled {
    let (mut saves, mut aborts) = (None, false);
    for option in call.args.iter() {
        match option.to_ascii_uppercase().as_slice() {
            b"SAVE" if saves != Some(false) => saves = Some(true),
            b"NOSAVE" if saves != Some(true) => saves = Some(false),
            b"NOW" | b"FORCE" => {}
            b"ABORT" => aborts = true,
            _ => return Err(SYNTAX.into()),
        }
    }
    if aborts && call.args.iter().any(|option| !option.eq_ignore_ascii_case(b"ABORT")) {
        return Err(SYNTAX.into());
    }
    if aborts {
        return Err("ERR No shutdown in progress.".into());
    }
    call.services.shutdown = true;
    // To a Redis client the end of the connection is the answer.
    if call.client.protocol == Protocol::Text {
        call.reply.ok();
    }
    Ok(())
}

fn monitor(call: &mut Call) -> Handled {
    if call.client.traits.has(Traits::EXECUTING) {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    // As in Redis, who asks again is not answered.
    if !call.client.traits.has(Traits::MONITOR) {
        call.client.traits.set(Traits::MONITOR);
        call.services.monitors.push(call.client.id);
        call.reply.ok();
    }
    Ok(())
}
