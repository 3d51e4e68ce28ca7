//! RENAME, RENAMENX, COPY and MOVE: a value under another name, with its type and its expiry.

use crate::parser::Verb;

use super::super::super::effects::Classes;
use super::super::super::interrupt::{Fault, Interrupt, SYNTAX};
use super::super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::connection::database;
use super::super::{Call, Handled};
use super::{Held, hold};

/// What Redis says of a copy onto itself.
const SAME: &str = "ERR source and destination objects are the same";

pub(super) fn rename(call: &mut Call) -> Handled {
    let (db, from, to) = (call.client.db(), call.args.at(0), call.args.at(1));
    let is_nx = call.command.verb == Verb::RenameNx;
    call.services.keyspace.need(db, call.args.iter())?;
    let Some(held) = hold(call, db, from)? else { return Err("ERR no such key".into()) };
    let is_refused = is_nx && (from == to || call.services.keyspace.contains(db, to)?);
    if from != to && !is_refused {
        put(call, db, to, &held)?;
        call.services.keyspace.delete(db, from);
        let effects = &mut call.services.effects;
        effects.notify(Classes::NEW, "new", db, to);
        effects.notify(Classes::GENERIC, "rename_from", db, from);
        effects.notify(Classes::GENERIC, "rename_to", db, to);
    }
    if is_nx {
        call.reply.integer(i64::from(!is_refused));
    } else {
        call.reply.ok();
    }
    Ok(())
}

pub(super) fn copy(call: &mut Call) -> Handled {
    let (db, from, to) = (call.client.db(), call.args.at(0), call.args.at(1));
    let (mut to_db, mut replaces) = (db, false);
    let mut at = 2;
    while let Some(option) = call.args.get(at) {
        let operand = call.args.get(at + 1);
        if option.eq_ignore_ascii_case(b"REPLACE") {
            replaces = true;
            at += 1;
        } else if let Some(number) = operand.filter(|_| option.eq_ignore_ascii_case(b"DB")) {
            to_db = parse_database(call, number)?;
            at += 2;
        } else {
            return Err(SYNTAX.into());
        }
    }
    if (db, from) == (to_db, to) {
        return Err(SAME.into());
    }
    let is_done = put_elsewhere(call, (db, from), (to_db, to), replaces)?.is_some();
    if is_done {
        let effects = &mut call.services.effects;
        effects.notify(Classes::NEW, "new", to_db, to);
        effects.notify(Classes::GENERIC, "copy_to", to_db, to);
    }
    call.reply.integer(i64::from(is_done));
    Ok(())
}

pub(super) fn move_to(call: &mut Call) -> Handled {
    let (db, key) = (call.client.db(), call.args.at(0));
    let to_db = parse_database(call, call.args.at(1))?;
    if db == to_db {
        return Err(SAME.into());
    }
    let is_done = put_elsewhere(call, (db, key), (to_db, key), false)?.is_some();
    if is_done {
        call.services.keyspace.delete(db, key);
        let effects = &mut call.services.effects;
        effects.notify(Classes::NEW, "new", to_db, key);
        effects.notify(Classes::GENERIC, "move_from", db, key);
        effects.notify(Classes::GENERIC, "move_to", to_db, key);
    }
    call.reply.integer(i64::from(is_done));
    Ok(())
}

/// Stages what one key holds for another one, if it holds anything and the other is free or may be
/// replaced; then says so.
fn put_elsewhere(
    call: &mut Call,
    (from_db, from): (usize, &[u8]),
    (to_db, to): (usize, &[u8]),
    replaces: bool,
) -> Result<Option<()>, Interrupt> {
    let Some(held) = hold(call, from_db, from)? else { return Ok(None) };
    if !replaces && call.services.keyspace.contains_quietly(to_db, to)? {
        return Ok(None);
    }
    put(call, to_db, to, &held)?;
    Ok(Some(()))
}

fn put(call: &mut Call, db: usize, key: &[u8], held: &Held) -> Result<(), Fault> {
    call.services.keyspace.put_typed(db, key, held.kind, &held.value, held.expires_ms)
}

fn parse_database(call: &Call, number: &[u8]) -> Result<usize, Fault> {
    let number = integer::parse(number).ok_or(NOT_AN_INTEGER)?;
    if i32::try_from(number).is_err() {
        let (min, max) = (i32::MIN, i32::MAX);
        let line = format!("ERR value is out of range, value must between {min} and {max}");
        return Err(line.into());
    }
    database(number, call.services.keyspace.databases()).map(usize::from)
}
