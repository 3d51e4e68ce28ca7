//! CONFIG: the settings that clients and tools ask for, in one table.
//!
//! Most of what Redis lets one tune has no counterpart here, or is chosen at the start: such a setting
//! may be "set" to what it is, for tools do that, and to nothing else. CONFIG SET checks every name,
//! then every value, and only then changes anything: all of it or nothing.

use std::time::Duration;

use crate::engine::Durability;
use crate::parser::Verb;

use super::super::super::bounds::ClientsBound;
use super::super::super::client::Traits;
use super::super::super::dispatch::Services;
use super::super::super::effects::{CLASSES_FAULT, Classes};
use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::super::limits::{OUTPUT_BOUNDS, REQUEST_BYTES, USER_VALUE_BYTES};
use super::super::super::max_connections;
use super::super::super::values::{glob, integer};
use super::{Call, Handled};

/// What is to become of a setting.
enum Change {
    Classes(Classes),
    ClientsBound(ClientsBound),
    Idle(u64),
    Keepalive(u32),
    LatencyThreshold(u64),
    MaxClients(usize),
    OutputBounds(String),
    Password(Option<String>),
    RequestStuck(u64),
    SlowLength(usize),
    SlowThreshold(i64),
}

/// What it may be set to.
enum Rule {
    /// To what the function takes.
    Set(fn(&[u8]) -> Result<Change, String>),
    /// To what it is: Redis could change it.
    Keep,
    /// To nothing, as in Redis.
    Never,
}

use Rule::{Keep, Never, Set};

/// One setting.
struct Parameter {
    name: &'static str,
    get: fn(&Services<'_>) -> String,
    rule: Rule,
}

const fn parameter(name: &'static str, get: fn(&Services<'_>) -> String, rule: Rule) -> Parameter {
    Parameter { name, get, rule }
}

static PARAMETERS: [Parameter; 30] = [
    parameter("appendfsync", append_fsync, Keep),
    parameter("appendonly", |_| "yes".into(), Keep),
    parameter("bind", bind, Keep),
    parameter(
        "client-output-buffer-limit",
        |services| services.runtime.output_bounds.to_string(),
        Set(|value| {
            let text = String::from_utf8_lossy(value).into_owned();
            OUTPUT_BOUNDS.changed(&text).map(|_| Change::OutputBounds(text))
        }),
    ),
    parameter("client-query-buffer-limit", |_| REQUEST_BYTES.to_string(), Keep),
    parameter("cluster-enabled", |_| "no".into(), Never),
    parameter("daemonize", |_| "no".into(), Never),
    parameter("databases", |services| services.keyspace.databases().to_string(), Never),
    parameter("dbfilename", checkpoint_name, Keep),
    parameter("dir", data_directory, Keep),
    parameter("enable-debug-command", |services| yes_no(services.runtime.allows_debug), Never),
    parameter(
        "latency-monitor-threshold",
        |services| services.latency.threshold_ms.to_string(),
        Set(|value| {
            number(value, 0, i64::MAX).map(|ms| Change::LatencyThreshold(ms.cast_unsigned()))
        }),
    ),
    parameter("latency-tracking", |_| "no".into(), Keep),
    parameter("lua-time-limit", |_| "5000".into(), Keep),
    parameter(
        "maxclients",
        |services| services.stats.max_connections.to_string(),
        Set(parse_max_clients),
    ),
    // Data is not bound to memory; the engine's own budget is in INFO.
    parameter("maxmemory", |_| "0".into(), Keep),
    parameter(
        "maxmemory-clients",
        |services| services.runtime.clients_bound.to_string(),
        Set(|value| {
            let bound = str::from_utf8(value).ok().and_then(ClientsBound::parse);
            let bound = bound.ok_or("argument must be a memory or percent value")?;
            Ok(Change::ClientsBound(bound))
        }),
    ),
    parameter("maxmemory-policy", |_| "noeviction".into(), Keep),
    parameter("maxmemory-samples", |_| "5".into(), Keep),
    parameter(
        "notify-keyspace-events",
        |services| services.effects.classes.letters(),
        Set(|value| {
            let classes = Classes::parse(value).map(Change::Classes);
            classes.ok_or_else(|| CLASSES_FAULT.into())
        }),
    ),
    parameter("port", port, Keep),
    parameter("proto-max-bulk-len", |_| USER_VALUE_BYTES.to_string(), Keep),
    parameter(
        "request-timeout",
        |services| services.runtime.request_stuck.as_secs().to_string(),
        Set(|value| seconds(value).map(Change::RequestStuck)),
    ),
    parameter(
        "requirepass",
        |services| services.runtime.password.clone().unwrap_or_default(),
        Set(|value| match std::str::from_utf8(value) {
            Ok("") => Ok(Change::Password(None)),
            Ok(password) => Ok(Change::Password(Some(password.to_owned()))),
            Err(_) => Err("a password must be UTF-8".into()),
        }),
    ),
    parameter("save", |_| String::new(), Keep),
    parameter(
        "slowlog-log-slower-than",
        |services| services.slowlog.threshold_us.to_string(),
        Set(|value| number(value, i64::MIN, i64::MAX).map(Change::SlowThreshold)),
    ),
    parameter(
        "slowlog-max-len",
        |services| services.slowlog.max_len.to_string(),
        Set(|value| {
            let length = number(value, 0, i64::MAX)?;
            Ok(Change::SlowLength(usize::try_from(length).unwrap_or(usize::MAX)))
        }),
    ),
    parameter(
        "tcp-keepalive",
        |services| services.runtime.keepalive_seconds.to_string(),
        Set(|value| seconds(value).map(|seconds| Change::Keepalive(seconds as u32))),
    ),
    parameter(
        "timeout",
        |services| services.runtime.idle_seconds.to_string(),
        Set(|value| seconds(value).map(Change::Idle)),
    ),
    parameter("unixsocket", |_| String::new(), Never),
];

fn yes_no(is_so: bool) -> String {
    if is_so { "yes".into() } else { "no".into() }
}

fn append_fsync(services: &Services<'_>) -> String {
    let word = match services.identity.durability {
        Durability::Always => "always",
        Durability::EverySecond => "everysec",
        Durability::Os => "no",
    };
    word.into()
}

fn bind(services: &Services<'_>) -> String {
    let mut hosts: Vec<_> =
        services.identity.addresses.iter().map(|address| address.ip().to_string()).collect();
    hosts.dedup();
    hosts.join(" ")
}

fn port(services: &Services<'_>) -> String {
    services.identity.port().to_string()
}

fn checkpoint_name(services: &Services<'_>) -> String {
    let name = services.runtime.checkpoint_dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn data_directory(services: &Services<'_>) -> String {
    let known = services.runtime.data_dir.as_ref();
    let absolute = known.map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
    absolute.unwrap_or_default().display().to_string()
}

fn number(value: &[u8], least: i64, most: i64) -> Result<i64, String> {
    match integer::parse(value) {
        None => Err("argument couldn't be parsed into an integer".to_owned()),
        Some(number) if (least..=most).contains(&number) => Ok(number),
        Some(_) => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

/// Seconds, of which 31 bits count.
fn seconds(value: &[u8]) -> Result<u64, String> {
    number(value, 0, i32::MAX.into()).map(i64::cast_unsigned)
}

fn parse_max_clients(value: &[u8]) -> Result<Change, String> {
    let wanted = number(value, 1, u32::MAX.into())?;
    let most = max_connections();
    let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted <= most);
    wanted.map(Change::MaxClients).ok_or_else(|| {
        format!("The operating system is not able to handle the specified number of clients, try with {most}")
    })
}

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::ConfigGet => get(call)?,
        Verb::ConfigSet => {
            set(call)?;
            call.reply.ok();
        }
        Verb::ConfigResetStat => {
            call.services.stats.reset();
            call.reply.ok();
        }
        _ => return Err("ERR The server is running without a config file".into()),
    }
    Ok(())
}

fn get(call: &mut Call) -> Result<(), Fault> {
    let patterns = call.args.from(1);
    patterns.iter().try_for_each(glob::check)?;
    let is_pattern = |word: &[u8]| word.iter().any(|byte| b"[*?".contains(byte));
    let mut shown = Vec::new();
    for parameter in &PARAMETERS {
        let name = parameter.name.as_bytes();
        let matching = patterns.iter().find(|word| glob::matches(word, name, true));
        if let Some(word) = matching {
            // As in Redis, a name comes back as it was written.
            let shown_name = if is_pattern(word) { name } else { word };
            shown.push((shown_name, (parameter.get)(call.services)));
        }
    }
    call.reply.map(shown.len());
    for (name, value) in shown {
        call.reply.bulk(name);
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn failed(name: &str, why: &str) -> Fault {
    Fault::from(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

fn set(call: &mut Call) -> Result<(), Fault> {
    let words: Vec<&[u8]> = call.args.from(1).iter().collect();
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::from(SYNTAX));
    }
    let mut parameters: Vec<&Parameter> = Vec::new();
    for [word, _] in pairs {
        let named = |parameter: &&Parameter| parameter.name.as_bytes().eq_ignore_ascii_case(word);
        let Some(parameter) = PARAMETERS.iter().find(named) else {
            let word = String::from_utf8_lossy(word);
            let line =
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{word}'");
            return Err(Fault::from(line));
        };
        if matches!(parameter.rule, Never) {
            return Err(failed(parameter.name, "can't set immutable config"));
        }
        if parameters.iter().any(|known| known.name == parameter.name) {
            return Err(failed(parameter.name, "duplicate parameter"));
        }
        parameters.push(parameter);
    }
    let mut changes = Vec::new();
    for (parameter, [_, value]) in parameters.iter().zip(pairs) {
        match parameter.rule {
            Set(parse) => {
                changes.push(parse(value).map_err(|why| failed(parameter.name, &why))?);
            }
            Keep | Never => {
                let present = (parameter.get)(call.services);
                if !present.as_bytes().eq_ignore_ascii_case(value) {
                    return Err(failed(parameter.name, "can't set immutable config"));
                }
            }
        }
    }
    for change in changes {
        apply(change, call);
    }
    Ok(())
}

fn apply(change: Change, call: &mut Call) {
    let services = &mut *call.services;
    match change {
        Change::Classes(classes) => services.effects.classes = classes,
        Change::ClientsBound(bound) => {
            services.runtime.clients_bound = bound;
            services.holdings.set_bound(bound.bytes(services.runtime.memory_bytes));
        }
        Change::Idle(seconds) => services.runtime.idle_seconds = seconds,
        Change::Keepalive(seconds) => services.runtime.keepalive_seconds = seconds,
        Change::LatencyThreshold(threshold_ms) => services.latency.threshold_ms = threshold_ms,
        Change::MaxClients(most) => services.stats.max_connections = most,
        Change::OutputBounds(text) => {
            // It was found to be right before anything was changed.
            if let Ok(bounds) = services.runtime.output_bounds.changed(&text) {
                services.runtime.output_bounds = bounds;
            }
        }
        Change::RequestStuck(seconds) => {
            services.runtime.request_stuck = Duration::from_secs(seconds);
        }
        Change::Password(password) => {
            if password.is_none() {
                // Who was waiting to give one need not any more.
                for client in services.clients.iter_mut() {
                    client.traits.set(Traits::AUTHENTICATED);
                }
            }
            services.runtime.password = password;
        }
        Change::SlowLength(max_len) => {
            services.slowlog.max_len = max_len;
            services.slowlog.trim();
        }
        Change::SlowThreshold(threshold_us) => services.slowlog.threshold_us = threshold_us,
    }
    services.update_plain();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(PARAMETERS.is_sorted_by_key(|parameter| parameter.name));
    }

    #[test]
    fn numbers_are_refused_in_the_words_of_redis() {
        assert_eq!(number(b"7", 0, 7), Ok(7));
        assert_eq!(number(b"x", 0, 7).unwrap_err(), "argument couldn't be parsed into an integer");
        assert_eq!(number(b"8", 0, 7).unwrap_err(), "argument must be between 0 and 7 inclusive");
    }
}
