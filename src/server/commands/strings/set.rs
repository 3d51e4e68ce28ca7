//! SET and its kin: options, conditions, expiry.

use crate::parser::{Args, Verb};

use super::super::super::effects::Classes;
use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::{Call, Handled};
use super::{existed, note_new, parse_integer};

/// When a value is to expire, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expiry<'a> {
    /// A number, still to be read.
    number: &'a [u8],
    in_seconds: bool,
    /// Counted from now, not from the Unix epoch.
    is_relative: bool,
}

/// The options of SET and GETEX.
#[derive(Debug, Default)]
struct Options<'a> {
    expiry: Option<Expiry<'a>>,
    keeps_ttl: bool,
    persists: bool,
    if_missing: bool,
    if_there: bool,
    if_equal: Option<&'a [u8]>,
    gets: bool,
}

impl<'a> Options<'a> {
    /// Reads the options of SET, or of GETEX.
    ///
    /// # Errors
    /// They do not fit together.
    fn parse(args: Args<'a>, is_set: bool) -> Result<Self, Fault> {
        let mut options = Options::default();
        let mut at = 0;
        while let Some(option) = args.get(at) {
            let number = args.get(at + 1);
            at += 1;
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let has_time = options.expiry.is_some() || options.keeps_ttl || options.persists;
            let is_equal = options.if_equal.is_some();
            // As in Redis, the same option may be given again: the last one counts.
            if is_set && is("NX") && !options.if_there && !is_equal {
                options.if_missing = true;
            } else if is_set && is("XX") && !options.if_missing && !is_equal {
                options.if_there = true;
            } else if is_set
                && is("IFEQ")
                && !options.if_missing
                && !options.if_there
                && number.is_some()
            {
                options.if_equal = number;
                at += 1;
            } else if is_set && is("GET") {
                options.gets = true;
            } else if is_set && is("KEEPTTL") && (!has_time || options.keeps_ttl) {
                options.keeps_ttl = true;
            } else if !is_set && is("PERSIST") && (!has_time || options.persists) {
                options.persists = true;
            } else if let Some(number) = number
                && let Some((in_seconds, is_relative)) = unit(option)
                && options.expiry.map_or(!has_time, |expiry| {
                    expiry.in_seconds == in_seconds && expiry.is_relative == is_relative
                })
            {
                options.expiry = Some(Expiry { number, in_seconds, is_relative });
                at += 1;
            } else {
                return Err(Fault::from(SYNTAX));
            }
        }
        Ok(options)
    }
}

/// Whether an option counts seconds, and from now.
fn unit(option: &[u8]) -> Option<(bool, bool)> {
    let units =
        [("EX", true, true), ("PX", false, true), ("EXAT", true, false), ("PXAT", false, false)];
    let found = units.iter().find(|(name, ..)| option.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|&(_, in_seconds, is_relative)| (in_seconds, is_relative))
}

impl Expiry<'_> {
    /// The time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// It is no number, or none that can be meant.
    fn at_ms(&self, call: &Call) -> Result<u64, Fault> {
        let number = parse_integer(self.number)?;
        let millis = if self.in_seconds { number.checked_mul(1000) } else { Some(number) };
        let base = if self.is_relative { call.now_ms() as i64 } else { 0 };
        let at_ms = millis.filter(|_| number > 0).and_then(|millis| millis.checked_add(base));
        let invalid = || {
            let name = call.command.full_name();
            Fault::from(format!("ERR invalid expire time in '{name}' command"))
        };
        at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).ok_or_else(invalid)
    }
}

pub(super) fn set(call: &mut Call) -> Handled {
    let options = Options::parse(call.args.from(2), true)?;
    let expires_ms = options.expiry.map(|expiry| expiry.at_ms(call)).transpose()?;
    let (db, key, value) = (call.client.db(), call.args.at(0), call.args.at(1));
    let mut expires = expires_ms;
    let mut is_there = None;
    if options.gets
        || options.if_missing
        || options.if_there
        || options.if_equal.is_some()
        || options.keeps_ttl
    {
        let found = call.services.keyspace.lookup(db, key)?;
        is_there = Some(found.is_some());
        if options.gets || options.if_equal.is_some() {
            let current = found.as_ref().map(|found| found.string()).transpose()?;
            if options.gets {
                call.reply.bulk_or_null(current);
            }
            if options.if_equal.is_some_and(|expected| current != Some(expected)) {
                if !options.gets {
                    call.reply.null();
                }
                return Ok(());
            }
        }
        let is_missed = options.gets && found.is_none();
        if options.keeps_ttl {
            expires = found.and_then(|found| found.expires_ms());
        }
        if is_missed {
            call.services.effects.notify(Classes::MISS, "keymiss", db, key);
        }
        let is_refused = is_there == Some(true) && options.if_missing
            || is_there == Some(false) && options.if_there;
        if is_refused {
            if !options.gets {
                call.reply.null();
            }
            return Ok(());
        }
    }
    let is_there = match is_there {
        Some(is_there) => is_there,
        None => existed(call, key)?,
    };
    store(call, key, value, expires, is_there)?;
    if !options.gets {
        call.reply.ok();
    }
    if expires_ms.is_some() {
        call.services.effects.notify(Classes::GENERIC, "expire", db, key);
    }
    Ok(())
}

/// Stages a string in place of whatever was there, and notes the events.
fn store(
    call: &mut Call,
    key: &[u8],
    value: &[u8],
    expires_ms: Option<u64>,
    existed: bool,
) -> Result<(), Fault> {
    let db = call.client.db();
    call.services.keyspace.put(db, key, value, expires_ms)?;
    note_new(call, key, existed);
    call.services.effects.notify(Classes::STRING, "set", db, key);
    Ok(())
}

pub(super) fn set_nx(call: &mut Call) -> Handled {
    let key = call.args.at(0);
    let is_there = call.services.keyspace.contains(call.client.db(), key)?;
    if !is_there {
        store(call, key, call.args.at(1), None, false)?;
    }
    call.reply.integer(i64::from(!is_there));
    Ok(())
}

/// SETEX and PSETEX.
pub(super) fn set_ex(call: &mut Call) -> Handled {
    let in_seconds = call.command.verb == Verb::SetEx;
    let expiry = Expiry { number: call.args.at(1), in_seconds, is_relative: true };
    let expires_ms = expiry.at_ms(call)?;
    let (db, key) = (call.client.db(), call.args.at(0));
    let is_there = existed(call, key)?;
    store(call, key, call.args.at(2), Some(expires_ms), is_there)?;
    call.services.effects.notify(Classes::GENERIC, "expire", db, key);
    call.reply.ok();
    Ok(())
}

pub(super) fn get_set(call: &mut Call) -> Handled {
    let key = call.args.at(0);
    let found = call.services.keyspace.string(call.client.db(), key)?;
    let is_there = found.is_some();
    call.reply.bulk_or_null(found.as_ref().map(|found| found.bytes()));
    store(call, key, call.args.at(1), None, is_there)?;
    Ok(())
}

pub(super) fn get_ex(call: &mut Call) -> Handled {
    let options = Options::parse(call.args.from(1), false)?;
    let (db, key) = (call.client.db(), call.args.at(0));
    let current = super::current(call, key)?;
    if !current.exists {
        call.reply.null();
        return Ok(());
    }
    let expires_ms = options.expiry.map(|expiry| expiry.at_ms(call)).transpose()?;
    call.reply.bulk(&current.bytes);
    match expires_ms {
        Some(expires_ms) if expires_ms <= call.now_ms() => {
            call.services.keyspace.delete(db, key);
            call.services.effects.notify(Classes::GENERIC, "del", db, key);
        }
        Some(expires_ms) => {
            call.services.keyspace.put(db, key, &current.bytes, Some(expires_ms))?;
            call.services.effects.notify(Classes::GENERIC, "expire", db, key);
        }
        None if options.persists && current.expires_ms.is_some() => {
            call.services.keyspace.put(db, key, &current.bytes, None)?;
            call.services.effects.notify(Classes::GENERIC, "persist", db, key);
        }
        None => {}
    }
    Ok(())
}
