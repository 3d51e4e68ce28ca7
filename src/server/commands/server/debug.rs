//! DEBUG: what tests of clients need, where the configuration allows it.

use std::time::Duration;

use super::super::super::info::random_id;
use super::super::super::interrupt::Interrupt;
use super::super::super::values::integer;
use super::{Call, Handled};

const NOT_ALLOWED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";

const HELP: [&str; 17] = [
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Takes another replication id.",
    "ERROR <string>",
    "    Answers with this error.",
    "LOG <message>",
    "    Writes a message to the server's log.",
    "OBJECT <key>",
    "    Shows how a value is stored.",
    "RELOAD [option ...]",
    "    Answers once all writes are durable.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Accepted; keys are gone the moment that they expire.",
    "SLEEP <seconds>",
    "    Holds back the commands of all clients for so long.",
    "HELP",
    "    Prints this.",
];

/// A longer sleep is cut short: 136 years.
const LONGEST_SLEEP: Duration = Duration::from_secs(u32::MAX as u64);

/// A string up to this long is `embstr` to Redis.
const EMBEDDED_BYTES: usize = 44;

pub(super) fn handle(call: &mut Call) -> Handled {
    if !call.services.runtime.allows_debug {
        return Err(NOT_ALLOWED.into());
    }
    let name = call.args.at(0).to_ascii_uppercase();
    match (name.as_slice(), call.args.len()) {
        (b"HELP", 1) => call.reply.lines(&HELP),
        (b"SLEEP", 2) => return sleep(call),
        (b"OBJECT", 2) => return object(call),
        (b"RELOAD", _) => return reload(call),
        (b"ERROR", 2) => {
            let line = String::from_utf8_lossy(call.args.at(1)).into_owned();
            return Err(line.into());
        }
        (b"LOG", 2) => {
            tracing::info!(message = %call.args.at(1).escape_ascii(), "DEBUG LOG");
            call.reply.ok();
        }
        (b"CHANGE-REPL-ID", 1) => {
            call.services.identity.replication_id = random_id();
            call.reply.ok();
        }
        (b"SET-ACTIVE-EXPIRE", 2) => call.reply.ok(),
        _ => {
            let name = String::from_utf8_lossy(call.args.at(0));
            let line = format!(
                "ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
            );
            return Err(line.into());
        }
    }
    Ok(())
}

/// Holds back all commands, this one too, without holding back the reactor.
fn sleep(call: &mut Call) -> Handled {
    let seconds = std::str::from_utf8(call.args.at(1)).ok().and_then(|text| text.parse().ok());
    let duration = Duration::try_from_secs_f64(seconds.unwrap_or(0.0));
    let duration = duration.unwrap_or_default().min(LONGEST_SLEEP);
    let (services, id) = (&mut *call.services, call.client.id);
    let now_ms = services.tick_ms;
    let until_ms = match services.runtime.sleeper.take_if(|(sleeper, _)| *sleeper == id) {
        Some((_, until_ms)) => until_ms,
        None => now_ms.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
    };
    if until_ms <= now_ms {
        services.note_latency("command", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        call.reply.ok();
        return Ok(());
    }
    services.runtime.sleeper = Some((id, until_ms));
    services.runtime.hold(until_ms, true, now_ms);
    services.keyspace.retry_within(Duration::from_millis(until_ms - now_ms));
    Err(Interrupt::Later)
}

fn object(call: &mut Call) -> Handled {
    let found = call.services.keyspace.lookup(call.client.db(), call.args.at(1))?;
    let Some(found) = found else { return Err("ERR no such key".into()) };
    let bytes = found.bytes();
    let encoding = match bytes.len() {
        _ if integer::parse(bytes).is_some() => "int",
        ..=EMBEDDED_BYTES => "embstr",
        _ => "raw",
    };
    let (length, version) = (bytes.len(), found.version());
    let line = format!(
        "Value at:{version:#x} refcount:1 encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:0"
    );
    call.reply.simple(&line);
    Ok(())
}

fn reload(call: &mut Call) -> Handled {
    let is_known = |option: &[u8]| {
        [&b"MERGE"[..], b"NOFLUSH", b"NOSAVE"]
            .iter()
            .any(|known| option.eq_ignore_ascii_case(known))
    };
    if !call.args.from(1).iter().all(is_known) {
        return Err("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.".into());
    }
    let keyspace = &mut call.services.keyspace;
    keyspace.show(keyspace.last_seq());
    call.reply.ok();
    Ok(())
}
