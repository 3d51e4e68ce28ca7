//! MEMORY: where memory goes.

use crate::parser::Verb;

use super::super::super::info::{Facts, human};
use super::super::super::interrupt::{NOT_AN_INTEGER, SYNTAX};
use super::super::super::values::{float, integer};
use super::{Call, Handled};

/// What the engine stores beside the bytes of a key and those of its value.
const STORED_BESIDE_BYTES: usize = 2;

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::MemoryUsage => return usage(call),
        Verb::MemoryStats => return stats(call),
        Verb::MemoryDoctor => doctor(call),
        Verb::MemoryMallocStats => {
            call.reply.bulk(b"Stats not supported for the current allocator");
        }
        // The system's allocator gives back by itself.
        _ => call.reply.ok(),
    }
    Ok(())
}

fn usage(call: &mut Call) -> Handled {
    let mut options = call.args.from(2);
    while !options.is_empty() {
        if !options.at(0).eq_ignore_ascii_case(b"SAMPLES") || options.len() < 2 {
            return Err(SYNTAX.into());
        }
        match integer::parse(options.at(1)) {
            Some(0..) => options = options.from(2),
            Some(_) => return Err(SYNTAX.into()),
            None => return Err(NOT_AN_INTEGER.into()),
        }
    }
    let key = call.args.at(1);
    match call.services.keyspace.lookup(call.client.db(), key)? {
        Some(found) => {
            let bytes = key.len() + found.bytes().len() + STORED_BESIDE_BYTES;
            call.reply.count(bytes);
        }
        None => call.reply.null(),
    }
    Ok(())
}

/// What share of `whole` a `part` is, in percent.
fn percentage(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    let share = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    share.to_string()
}

fn stats(call: &mut Call) -> Handled {
    call.services.count_keys(call.client.id)?;
    let facts = Facts::gather(call.services);
    let (memory, keys) = (facts.memory(), facts.keys());
    let dataset = memory.dataset();
    // As in Redis: of all that is there for the keys.
    let per_key = memory.used.saturating_sub(memory.fixed).checked_div(keys).unwrap_or(0);
    call.reply.map(11);
    for (name, number) in [
        ("peak.allocated", memory.peak),
        ("total.allocated", memory.used),
        ("startup.allocated", memory.fixed),
        ("clients.normal", memory.clients),
        ("overhead.total", memory.overhead()),
        ("keys.count", keys),
        ("keys.bytes-per-key", per_key),
        ("dataset.bytes", dataset),
    ] {
        call.reply.bulk(name.as_bytes());
        call.reply.integer(number.cast_signed());
    }
    for (name, digits) in [
        ("dataset.percentage", percentage(dataset, memory.used)),
        ("peak.percentage", percentage(memory.used, memory.peak)),
        ("fragmentation", float::format_double(memory.fragmentation())),
    ] {
        call.reply.bulk(name.as_bytes());
        call.reply.double(&digits);
    }
    Ok(())
}

fn doctor(call: &mut Call) {
    let budget = call.services.runtime.memory_bytes as u64;
    let facts = Facts::gather(call.services);
    let memory = facts.memory();
    let text = format!(
        "{} are used: {} for recent writes and cached blocks, {} for filters and indexes, which grow \
         with the number of keys, {} for clients, and {} for the program. The budget for data is {}; \
         the process has {} in RAM.\n",
        human(memory.used),
        human(memory.dataset()),
        human(memory.indexes),
        human(memory.clients),
        human(memory.fixed),
        human(budget),
        human(memory.resident)
    );
    call.reply.verbatim(&text);
}
