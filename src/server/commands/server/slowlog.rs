//! SLOWLOG: shows the slow log.

use crate::parser::Verb;
use crate::parser::error::wrong_arity;

use super::super::super::values::integer;
use super::{Call, Handled};

/// Entries that GET shows unless it is told how many.
const SHOWN: usize = 10;

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::SlowLogGet => return get(call),
        Verb::SlowLogLen => {
            call.reply.count(call.services.slowlog.entries().len());
        }
        _ => {
            call.services.slowlog.clear();
            call.reply.ok();
        }
    }
    Ok(())
}

fn get(call: &mut Call) -> Handled {
    if call.args.len() > 2 {
        return Err(wrong_arity(call.command).into());
    }
    let count = match call.args.get(1).map(integer::parse) {
        None => SHOWN,
        Some(Some(-1)) => usize::MAX,
        Some(count) => count
            .and_then(|count| usize::try_from(count).ok())
            .ok_or("ERR count should be greater than or equal to -1")?,
    };
    let entries = call.services.slowlog.entries();
    let count = count.min(entries.len());
    call.reply.array(count);
    for entry in entries.iter().take(count) {
        call.reply.array(6);
        for number in [entry.number, entry.time, entry.micros] {
            call.reply.integer(number.cast_signed());
        }
        call.reply.array(entry.words.len());
        for word in &entry.words {
            call.reply.bulk(word);
        }
        call.reply.bulk(entry.client.as_bytes());
        call.reply.bulk(entry.client_name.as_bytes());
    }
    Ok(())
}
