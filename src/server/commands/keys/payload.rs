//! DUMP and RESTORE.

use crate::parser::Args;

use super::super::super::effects::Classes;
use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::super::values::payload;
use super::super::{Call, Handled};
use super::expiry::invalid_time;
use super::{hold, type_name};

pub(super) fn dump(call: &mut Call) -> Handled {
    let held = hold(call, call.client.db(), call.args.at(0))?;
    let payload = held.map(|held| payload::encode(held.kind, &held.value));
    call.reply.bulk_or_null(payload.as_deref());
    Ok(())
}

/// What RESTORE is asked for beyond a value.
#[derive(Debug, Default)]
struct Options {
    replaces: bool,
    /// The time to live is a time since the Unix epoch.
    is_absolute: bool,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Self, Fault> {
        let mut options = Options::default();
        let (mut has_idle_time, mut has_frequency) = (false, false);
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let operand = words.get(at + 1);
            match (word.to_ascii_uppercase().as_slice(), operand) {
                (b"REPLACE", _) => options.replaces = true,
                (b"ABSTTL", _) => options.is_absolute = true,
                (b"IDLETIME", Some(operand)) if !has_frequency => {
                    if parse_integer(operand)? < 0 {
                        return Err("ERR Invalid IDLETIME value, must be >= 0".into());
                    }
                    has_idle_time = true;
                    at += 1;
                }
                (b"FREQ", Some(operand)) if !has_idle_time => {
                    if !(0..=255).contains(&parse_integer(operand)?) {
                        return Err("ERR Invalid FREQ value, must be >= 0 and <= 255".into());
                    }
                    has_frequency = true;
                    at += 1;
                }
                _ => return Err(SYNTAX.into()),
            }
            at += 1;
        }
        Ok(options)
    }
}

fn parse_integer(word: &[u8]) -> Result<i64, Fault> {
    integer::parse(word).ok_or(Fault::from(NOT_AN_INTEGER))
}

pub(super) fn restore(call: &mut Call) -> Handled {
    let (db, key) = (call.client.db(), call.args.at(0));
    let options = Options::parse(call.args.from(3))?;
    let existed = call.services.keyspace.contains(db, key)?;
    if existed && !options.replaces {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = parse_integer(call.args.at(1))?;
    if ttl < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let (kind, value) = payload::decode(call.args.at(2))?;
    type_name(Some(kind)).ok_or("ERR Bad data format")?;
    let now_ms = call.now_ms();
    let start_ms = if options.is_absolute { 0 } else { now_ms };
    let expires_ms = (ttl > 0).then(|| checked_time(call, ttl, start_ms)).transpose()?;
    let effects = &mut call.services.effects;
    if expires_ms.is_some_and(|when| when <= now_ms) {
        if existed {
            call.services.keyspace.delete(db, key);
            effects.notify(Classes::GENERIC, "del", db, key);
        }
    } else {
        call.services.keyspace.put_typed(db, key, kind, value, expires_ms)?;
        effects.notify(Classes::NEW, "new", db, key);
        effects.notify(Classes::GENERIC, "restore", db, key);
    }
    call.reply.ok();
    Ok(())
}

/// A time to live as a time since the Unix epoch.
///
/// # Errors
/// No clock can reach it.
fn checked_time(call: &Call, ttl: i64, start_ms: u64) -> Result<u64, Fault> {
    let at_ms = ttl.checked_add(start_ms.cast_signed());
    at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).ok_or_else(|| invalid_time(call))
}
