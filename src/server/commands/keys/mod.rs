//! Commands on keys, whatever their values are.
//!
//! What a key holds is written anew as it was, type byte and expiry, wherever it goes: nothing here
//! looks into a value but OBJECT ENCODING. Walks over keys are made by workers ([`walk`]).

mod databases;
mod expiry;
mod names;
mod object;
mod payload;
mod random;
pub(super) mod scan;
mod wait;
pub(super) mod walk;

use crate::parser::{Protocol, Verb};

use super::super::effects::Classes;
use super::super::interrupt::{Fault, Interrupt};
use super::super::keyspace::{Found, STRING};
use super::{Call, Handled};

pub(crate) use self::databases::estimated_keys;
pub(super) use self::databases::{dbsize, flushall, flushdb, swapdb};
pub(super) use self::expiry::invalid_time;
pub(crate) use self::random::{Choice, Narrowed};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Del | Verb::Unlink => delete(call),
        Verb::Exists | Verb::Touch => count(call),
        Verb::Type => kind(call),
        Verb::Rename | Verb::RenameNx => names::rename(call),
        Verb::Copy => names::copy(call),
        Verb::Move => names::move_to(call),
        Verb::Expire | Verb::PExpire | Verb::ExpireAt | Verb::PExpireAt => expiry::expire(call),
        Verb::Ttl | Verb::PTtl | Verb::ExpireTime | Verb::PExpireTime => expiry::tell(call),
        Verb::Persist => expiry::persist(call),
        Verb::ObjectEncoding | Verb::ObjectFreq | Verb::ObjectIdleTime | Verb::ObjectRefCount => {
            object::tell(call)
        }
        Verb::Dump => payload::dump(call),
        Verb::Restore => payload::restore(call),
        Verb::Scan => scan::scan(call),
        Verb::Keys => scan::keys(call),
        Verb::RandomKey => random::random_key(call),
        Verb::Wait => wait::wait(call),
        Verb::WaitAof => wait::wait_aof(call),
        _ => {
            call.reply.lines(&object::HELP);
            Ok(())
        }
    }
}

/// What a key holds, copied.
struct Held {
    kind: u8,
    value: Vec<u8>,
    expires_ms: Option<u64>,
}

impl Held {
    fn of(found: &Found<'_>) -> Result<Self, Fault> {
        let kind = found.kind().ok_or("CORRUPT the value has no type")?;
        Ok(Held { kind, value: found.bytes().to_vec(), expires_ms: found.expires_ms() })
    }
}

/// Copies what a key holds.
fn hold(call: &mut Call, db: usize, key: &[u8]) -> Result<Option<Held>, Interrupt> {
    let found = call.services.keyspace.lookup(db, key)?;
    Ok(found.as_ref().map(Held::of).transpose()?)
}

/// The name of a type; `None` for one that this version does not know.
fn type_name(kind: Option<u8>) -> Option<&'static str> {
    (kind == Some(STRING)).then_some("string")
}

fn delete(call: &mut Call) -> Handled {
    let db = call.client.db();
    let is_text = call.command.verb == Verb::Del && call.reply.protocol() == Protocol::Text;
    // Those who want to hear of deletions must not hear of keys that were not there.
    let is_blind = is_text
        && !call.services.effects.classes.is_active()
        && !call.services.keyspace.is_watched();
    if is_blind {
        call.args.iter().for_each(|key| call.services.keyspace.delete(db, key));
        call.reply.simple("OK_DELETED");
        return Ok(());
    }
    call.services.keyspace.need(db, call.args.iter())?;
    if call.args.len() > 1 {
        call.services.keyspace.see_staged();
    }
    let mut deleted = 0;
    for key in call.args.iter() {
        if call.services.keyspace.contains(db, key)? {
            call.services.keyspace.delete(db, key);
            call.services.effects.notify(Classes::GENERIC, "del", db, key);
            deleted += 1;
        }
    }
    if is_text {
        call.reply.simple("OK_DELETED");
    } else {
        call.reply.integer(deleted);
    }
    Ok(())
}

fn count(call: &mut Call) -> Handled {
    let db = call.client.db();
    call.services.keyspace.need(db, call.args.iter())?;
    let mut there = 0;
    for key in call.args.iter() {
        there += i64::from(call.services.keyspace.contains(db, key)?);
    }
    call.reply.integer(there);
    Ok(())
}

fn kind(call: &mut Call) -> Handled {
    let found = call.services.keyspace.lookup(call.client.db(), call.args.at(0))?;
    let name = match &found {
        Some(found) => type_name(found.kind()).ok_or("ERR this version does not know the type")?,
        None => "none",
    };
    call.reply.simple(name);
    Ok(())
}
