//! SET and its kin: options, conditions, expiry.

use crate::parser::{Args, Verb};

use super::super::super::effects::Classes;
use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::super::keyspace::Found;
use super::super::keys::invalid_time;
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

/// What becomes of the time at which a value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time<'a> {
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    At(Expiry<'a>),
}

/// On what SET depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition<'a> {
    Always,
    /// NX.
    IfMissing,
    /// XX.
    IfThere,
    /// IFEQ.
    IfEqual(&'a [u8]),
}

/// The options of SET and GETEX.
#[derive(Debug)]
struct Options<'a> {
    time: Time<'a>,
    condition: Condition<'a>,
    /// GET.
    gets: bool,
}

impl<'a> Options<'a> {
    /// Reads the options of SET, or of GETEX. As in Redis, the same option may be given again: the
    /// last one counts.
    ///
    /// # Errors
    /// They do not fit together.
    fn parse(args: Args<'a>, is_set: bool) -> Result<Self, Fault> {
        let (mut time, mut condition, mut gets) = (Time::Unsaid, Condition::Always, false);
        let mut at = 0;
        while let Some(option) = args.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let value = args.get(at + 1);
            at += 1;
            if is_set && is("GET") {
                gets = true;
            } else if is_set && let Some(asked) = Condition::read(option, value) {
                at += usize::from(matches!(asked, Condition::IfEqual(_)));
                condition = condition.replaced(asked)?;
            } else if let Some(asked) = Time::read(option, value, is_set) {
                at += usize::from(matches!(asked, Time::At(_)));
                time = time.replaced(asked)?;
            } else {
                return Err(Fault::from(SYNTAX));
            }
        }
        Ok(Options { time, condition, gets })
    }
}

impl<'a> Condition<'a> {
    /// What is asked for after this: the same again, or anything if there was nothing.
    fn replaced(self, asked: Self) -> Result<Self, Fault> {
        let is_same = std::mem::discriminant(&self) == std::mem::discriminant(&asked);
        if self == Condition::Always || is_same { Ok(asked) } else { Err(Fault::from(SYNTAX)) }
    }

    fn read(option: &[u8], value: Option<&'a [u8]>) -> Option<Self> {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        match value {
            _ if is("NX") => Some(Condition::IfMissing),
            _ if is("XX") => Some(Condition::IfThere),
            Some(value) if is("IFEQ") => Some(Condition::IfEqual(value)),
            _ => None,
        }
    }

    /// Whether it is met by what is there.
    fn is_met(self, current: Option<&[u8]>) -> bool {
        match self {
            Condition::Always => true,
            Condition::IfMissing => current.is_none(),
            Condition::IfThere => current.is_some(),
            Condition::IfEqual(expected) => current == Some(expected),
        }
    }
}

impl<'a> Time<'a> {
    /// What is asked for after this: the same again, or anything if there was nothing.
    fn replaced(self, asked: Self) -> Result<Self, Fault> {
        let is_same = match (self, asked) {
            (Time::At(one), Time::At(other)) => {
                one.in_seconds == other.in_seconds && one.is_relative == other.is_relative
            }
            (one, other) => one == other,
        };
        if self == Time::Unsaid || is_same { Ok(asked) } else { Err(Fault::from(SYNTAX)) }
    }

    fn read(option: &[u8], number: Option<&'a [u8]>, is_set: bool) -> Option<Self> {
        if option.eq_ignore_ascii_case(b"KEEPTTL") && is_set {
            return Some(Time::Keep);
        }
        if option.eq_ignore_ascii_case(b"PERSIST") && !is_set {
            return Some(Time::Persist);
        }
        let (number, (in_seconds, is_relative)) = (number?, unit(option)?);
        Some(Time::At(Expiry { number, in_seconds, is_relative }))
    }

    /// The time that was asked for, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// It is no number, or none that can be meant.
    fn at_ms(self, call: &Call) -> Result<Option<u64>, Fault> {
        match self {
            Time::At(expiry) => expiry.at_ms(call).map(Some),
            Time::Unsaid | Time::Keep | Time::Persist => Ok(None),
        }
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
        let base = if self.is_relative { call.now_ms().cast_signed() } else { 0 };
        let at_ms = millis.filter(|_| number > 0).and_then(|millis| millis.checked_add(base));
        at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).ok_or_else(|| invalid_time(call))
    }
}

pub(super) fn set(call: &mut Call) -> Handled {
    let options = Options::parse(call.args.from(2), true)?;
    let expires_ms = options.time.at_ms(call)?;
    let (db, key, value) = (call.client.db(), call.args.at(0), call.args.at(1));
    let looks =
        options.gets || options.condition != Condition::Always || options.time == Time::Keep;
    if !looks {
        let is_there = existed(call, key)?;
        return set_and_tell(call, key, value, expires_ms, is_there);
    }
    let found = call.services.keyspace.lookup(db, key)?;
    let (is_there, kept_ms) = (found.is_some(), found.as_ref().and_then(Found::expires_ms));
    // Where the value matters it must be a string.
    let compares = options.gets || matches!(options.condition, Condition::IfEqual(_));
    let current = match &found {
        Some(found) if compares => Some(found.string()?),
        Some(found) => Some(found.bytes()),
        None => None,
    };
    if options.gets {
        call.reply.bulk_or_null(current);
    }
    let is_met = options.condition.is_met(current);
    if options.gets && !is_there {
        call.services.effects.notify(Classes::MISS, "keymiss", db, key);
    }
    if !is_met {
        if !options.gets {
            call.reply.null();
        }
        return Ok(());
    }
    let expires_ms = if options.time == Time::Keep { kept_ms } else { expires_ms };
    store(call, key, value, expires_ms, is_there)?;
    if !options.gets {
        call.reply.ok();
    }
    if let Time::At(_) = options.time {
        call.services.effects.notify(Classes::GENERIC, "expire", db, key);
    }
    Ok(())
}

/// A SET that depends on nothing.
fn set_and_tell(
    call: &mut Call,
    key: &[u8],
    value: &[u8],
    expires_ms: Option<u64>,
    existed: bool,
) -> Handled {
    store(call, key, value, expires_ms, existed)?;
    call.reply.ok();
    if expires_ms.is_some() {
        call.services.effects.notify(Classes::GENERIC, "expire", call.client.db(), key);
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
    let key = call.args.at(0);
    let is_there = existed(call, key)?;
    set_and_tell(call, key, call.args.at(2), Some(expires_ms), is_there)
}

pub(super) fn get_set(call: &mut Call) -> Handled {
    let key = call.args.at(0);
    let found = call.services.keyspace.string(call.client.db(), key)?;
    let is_there = found.is_some();
    call.reply.bulk_or_null(found.as_ref().map(Found::bytes));
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
    let expires_ms = options.time.at_ms(call)?;
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
        None if options.time == Time::Persist && current.expires_ms.is_some() => {
            call.services.keyspace.put(db, key, &current.bytes, None)?;
            call.services.effects.notify(Classes::GENERIC, "persist", db, key);
        }
        None => {}
    }
    Ok(())
}
