//! Commands on strings.
//!
//! Each looks its keys up, checks types and arguments in the order in which Redis does, and stages
//! what it writes. Commands that change a value in place keep its expiry, those that replace it do
//! not.

use std::ops::Range;

use crate::parser::Verb;
use crate::parser::error::wrong_arity;

use super::super::effects::Classes;
use super::super::interrupt::{Fault, Interrupt, NOT_AN_INTEGER};
use super::super::keyspace::Found;
use super::super::limits::USER_VALUE_BYTES;
use super::super::values::bits::resolve_range;
use super::super::values::{float, integer};
use super::{Call, Handled};

mod lcs;
mod set;

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Get => get(call),
        Verb::Set => set::set(call),
        Verb::SetNx => set::set_nx(call),
        Verb::SetEx | Verb::PSetEx => set::set_ex(call),
        Verb::GetSet => set::get_set(call),
        Verb::GetDel => get_del(call),
        Verb::GetEx => set::get_ex(call),
        Verb::MGet => mget(call),
        Verb::MSet => mset(call),
        Verb::MSetNx => mset_nx(call),
        Verb::Append => append(call),
        Verb::StrLen => str_len(call),
        Verb::GetRange | Verb::SubStr => get_range(call),
        Verb::SetRange => set_range(call),
        Verb::Incr => increment(call, 1),
        Verb::Decr => increment(call, -1),
        Verb::IncrBy => {
            let by = parse_integer(call.args.at(1))?;
            increment(call, by)
        }
        Verb::DecrBy => {
            let by = parse_integer(call.args.at(1))?;
            increment(call, by.checked_neg().ok_or(Fault::from("ERR decrement would overflow"))?)
        }
        Verb::IncrByFloat => increment_float(call),
        _ => lcs::lcs(call),
    }
}

/// An argument that must be an integer.
///
/// # Errors
/// It is none.
pub(super) fn parse_integer(argument: &[u8]) -> Result<i64, Fault> {
    integer::parse(argument).ok_or_else(|| Fault::from(NOT_AN_INTEGER))
}

/// A value that a command is about to change: a copy, and its expiry. Empty if the key is not there.
#[derive(Debug, Default)]
pub(super) struct Current {
    pub(super) exists: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) expires_ms: Option<u64>,
}

/// What is at a key, to be changed.
///
/// # Errors
/// `WRONGTYPE`, and what lookups have.
pub(super) fn current(call: &mut Call, key: &[u8]) -> Result<Current, Interrupt> {
    let found = call.services.keyspace.string(call.client.db(), key)?;
    Ok(found.map_or_else(Current::default, |found| Current {
        exists: true,
        bytes: found.bytes().to_vec(),
        expires_ms: found.expires_ms(),
    }))
}

/// Puts a changed value back, its expiry kept, and notes the event.
///
/// # Errors
/// What is wrong with its size.
pub(super) fn put_back(
    call: &mut Call,
    key: &[u8],
    current: &Current,
    event: &'static str,
) -> Result<(), Fault> {
    let db = call.client.db();
    call.services.keyspace.put(db, key, &current.bytes, current.expires_ms)?;
    note_new(call, key, current.exists);
    call.services.effects.notify(Classes::STRING, event, db, key);
    Ok(())
}

/// Notes that a key is there that was not.
pub(super) fn note_new(call: &mut Call, key: &[u8], existed: bool) {
    if !existed {
        call.services.effects.notify(Classes::NEW, "new", call.client.db(), key);
    }
}

/// Whether a key is there, as far as anybody wants to hear of new keys.
///
/// # Errors
/// What lookups have.
fn existed(call: &mut Call, key: &[u8]) -> Result<bool, Interrupt> {
    if !call.services.effects.classes.has(Classes::NEW) {
        return Ok(true);
    }
    call.services.keyspace.contains(call.client.db(), key)
}

/// Whether a value may have this length.
///
/// # Errors
/// It is too long.
pub(super) fn check_length(bytes: usize) -> Result<(), Fault> {
    if bytes <= USER_VALUE_BYTES {
        return Ok(());
    }
    Err(Fault::from("ERR string exceeds maximum allowed size (proto-max-bulk-len)"))
}

fn get(call: &mut Call) -> Handled {
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    call.reply.bulk_or_null(found.as_ref().map(Found::bytes));
    Ok(())
}

fn get_del(call: &mut Call) -> Handled {
    let (db, key) = (call.client.db(), call.args.at(0));
    let found = call.services.keyspace.string(db, key)?;
    call.reply.bulk_or_null(found.as_ref().map(Found::bytes));
    if found.is_some() {
        call.services.keyspace.delete(db, key);
        call.services.effects.notify(Classes::GENERIC, "del", db, key);
    }
    Ok(())
}

fn mget(call: &mut Call) -> Handled {
    let db = call.client.db();
    call.services.keyspace.need(db, call.args.iter())?;
    call.reply.array(call.args.len());
    for key in call.args.iter() {
        let found = call.services.keyspace.lookup(db, key)?;
        let value = found.as_ref().and_then(|found| found.string().ok());
        call.reply.bulk_or_null(value);
    }
    Ok(())
}

/// A key and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The keys and values of MSET.
fn pairs<'a>(call: &Call<'a, '_, '_>) -> Result<Vec<Pair<'a>>, Fault> {
    if call.args.len() % 2 == 1 {
        return Err(wrong_arity(call.command).into());
    }
    let keys = call.args.iter().step_by(2);
    Ok(keys.zip(call.args.iter().skip(1).step_by(2)).collect())
}

fn put_pairs(call: &mut Call, pairs: &[Pair<'_>]) -> Handled {
    let db = call.client.db();
    for (key, _) in pairs {
        check_key(key)?;
    }
    if call.services.effects.classes.has(Classes::NEW) {
        // A key that comes twice is new once.
        call.services.keyspace.need(db, pairs.iter().map(|(key, _)| *key))?;
        call.services.keyspace.see_staged();
    }
    for (key, value) in pairs {
        let existed = existed(call, key)?;
        call.services.keyspace.put(db, key, value, None)?;
        note_new(call, key, existed);
        call.services.effects.notify(Classes::STRING, "set", db, key);
    }
    Ok(())
}

/// Whether a key may have its length; values of requests always may.
fn check_key(key: &[u8]) -> Result<(), Fault> {
    super::super::keyspace::check_key(key)
}

fn mset(call: &mut Call) -> Handled {
    let pairs = pairs(call)?;
    put_pairs(call, &pairs)?;
    call.reply.ok();
    Ok(())
}

fn mset_nx(call: &mut Call) -> Handled {
    let pairs = pairs(call)?;
    let db = call.client.db();
    call.services.keyspace.need(db, pairs.iter().map(|(key, _)| *key))?;
    for (key, _) in &pairs {
        if call.services.keyspace.contains(db, key)? {
            call.reply.integer(0);
            return Ok(());
        }
    }
    put_pairs(call, &pairs)?;
    call.reply.integer(1);
    Ok(())
}

fn append(call: &mut Call) -> Handled {
    let key = call.args.at(0);
    let mut current = current(call, key)?;
    check_length(current.bytes.len() + call.args.at(1).len())?;
    current.bytes.extend_from_slice(call.args.at(1));
    put_back(call, key, &current, "append")?;
    call.reply.count(current.bytes.len());
    Ok(())
}

fn str_len(call: &mut Call) -> Handled {
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    call.reply.count(found.map_or(0, |found| found.bytes().len()));
    Ok(())
}

fn get_range(call: &mut Call) -> Handled {
    let (start, end) = (parse_integer(call.args.at(1))?, parse_integer(call.args.at(2))?);
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    let bytes = found.as_ref().map_or(&b""[..], |found| found.bytes());
    let range: Range<usize> = resolve_range(start, end, bytes.len());
    call.reply.bulk(bytes.get(range).unwrap_or_default());
    Ok(())
}

fn set_range(call: &mut Call) -> Handled {
    let offset = parse_integer(call.args.at(1))?;
    let (key, patch) = (call.args.at(0), call.args.at(2));
    let offset = usize::try_from(offset).map_err(|_| Fault::from("ERR offset is out of range"))?;
    let mut current = current(call, key)?;
    if !patch.is_empty() {
        let end = offset.saturating_add(patch.len());
        check_length(end)?;
        if current.bytes.len() < end {
            current.bytes.resize(end, 0);
        }
        current.bytes[offset..end].copy_from_slice(patch);
        put_back(call, key, &current, "setrange")?;
    }
    call.reply.count(current.bytes.len());
    Ok(())
}

fn increment(call: &mut Call, by: i64) -> Handled {
    let key = call.args.at(0);
    let mut current = current(call, key)?;
    let before = if current.exists { parse_integer(&current.bytes)? } else { 0 };
    let overflow = "ERR increment or decrement would overflow";
    let after = before.checked_add(by).ok_or(Fault::from(overflow))?;
    current.bytes.clear();
    integer::push(after, &mut current.bytes);
    put_back(call, key, &current, "incrby")?;
    call.reply.integer(after);
    Ok(())
}

fn increment_float(call: &mut Call) -> Handled {
    let key = call.args.at(0);
    let mut current = current(call, key)?;
    let before = if current.exists { current.bytes.as_slice() } else { b"0" };
    current.bytes = float::add(before, call.args.at(1))?;
    put_back(call, key, &current, "incrbyfloat")?;
    call.reply.bulk(&current.bytes);
    Ok(())
}
