//! EXPIRE and its kin: when a key goes away. Times are kept in milliseconds since the Unix epoch.

use crate::parser::{Args, Verb};

use super::super::super::effects::Classes;
use super::super::super::interrupt::Fault;
use super::super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::{Call, Handled};
use super::hold;

/// When EXPIRE is to change anything.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four words of which any may be given")]
struct Condition {
    /// Only if it has no expiry.
    nx: bool,
    /// Only if it has one.
    xx: bool,
    /// Only to a later time.
    gt: bool,
    /// Only to an earlier time.
    lt: bool,
}

impl Condition {
    fn parse(words: Args<'_>) -> Result<Self, Fault> {
        let mut condition = Condition::default();
        for word in words.iter() {
            *match word.to_ascii_uppercase().as_slice() {
                b"NX" => &mut condition.nx,
                b"XX" => &mut condition.xx,
                b"GT" => &mut condition.gt,
                b"LT" => &mut condition.lt,
                _ => {
                    return Err(Fault::repeating("ERR Unsupported option ", word, ""));
                }
            } = true;
        }
        let Condition { nx, xx, gt, lt } = condition;
        if nx && (xx || gt || lt) {
            let line = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(line.into());
        }
        if gt && lt {
            let line = "ERR GT and LT options at the same time are not compatible";
            return Err(line.into());
        }
        Ok(condition)
    }

    /// Whether a key that expires at `current` may be made to expire at `when`. A key without an
    /// expiry lasts longer than any other.
    fn allows(self, current: Option<u64>, when: i64) -> bool {
        let current_ms = current.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        !(self.nx && current_ms.is_some()
            || self.xx && current_ms.is_none()
            || self.gt && current_ms.is_none_or(|current| when <= current)
            || self.lt && current_ms.is_some_and(|current| when >= current))
    }
}

/// EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
pub(super) fn expire(call: &mut Call) -> Handled {
    let (db, key) = (call.client.db(), call.args.at(0));
    let condition = Condition::parse(call.args.from(2))?;
    let when = parse_time(call)?;
    let Some(held) = hold(call, db, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    if !condition.allows(held.expires_ms, when) {
        call.reply.integer(0);
        return Ok(());
    }
    let now_ms = call.now_ms();
    let keyspace = &mut call.services.keyspace;
    let event = if let Some(when) = u64::try_from(when).ok().filter(|&when| when > now_ms) {
        keyspace.put_typed(db, key, held.kind, &held.value, Some(when))?;
        "expire"
    } else {
        keyspace.delete(db, key);
        "del"
    };
    call.services.effects.notify(Classes::GENERIC, event, db, key);
    call.reply.integer(1);
    Ok(())
}

/// The time that the second argument means; it may be long past.
fn parse_time(call: &Call) -> Result<i64, Fault> {
    let number = integer::parse(call.args.at(1)).ok_or(NOT_AN_INTEGER)?;
    let verb = call.command.verb;
    let unit = if matches!(verb, Verb::Expire | Verb::ExpireAt) { 1000 } else { 1 };
    let is_relative = matches!(verb, Verb::Expire | Verb::PExpire);
    let start = if is_relative { call.now_ms().cast_signed() } else { 0 };
    number.checked_mul(unit).and_then(|ms| ms.checked_add(start)).ok_or_else(|| invalid_time(call))
}

/// A time to live that no clock can reach.
pub(in super::super) fn invalid_time(call: &Call) -> Fault {
    let name = call.command.full_name();
    Fault::from(format!("ERR invalid expire time in '{name}' command"))
}

/// TTL, PTTL, EXPIRETIME and PEXPIRETIME.
pub(super) fn tell(call: &mut Call) -> Handled {
    let now_ms = call.now_ms();
    let found = call.services.keyspace.lookup(call.client.db(), call.args.at(0))?;
    let Some(found) = found else {
        call.reply.integer(-2);
        return Ok(());
    };
    let Some(expires_ms) = found.expires_ms() else {
        call.reply.integer(-1);
        return Ok(());
    };
    let left_ms = expires_ms.saturating_sub(now_ms);
    let number = match call.command.verb {
        Verb::Ttl => rounded_seconds(left_ms),
        Verb::PTtl => left_ms,
        Verb::ExpireTime => rounded_seconds(expires_ms),
        _ => expires_ms,
    };
    // A library that wrote the value may have meant never.
    call.reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
    Ok(())
}

fn rounded_seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

/// PERSIST.
pub(super) fn persist(call: &mut Call) -> Handled {
    let (db, key) = (call.client.db(), call.args.at(0));
    let held = hold(call, db, key)?.filter(|held| held.expires_ms.is_some());
    if let Some(held) = &held {
        call.services.keyspace.put_typed(db, key, held.kind, &held.value, None)?;
        call.services.effects.notify(Classes::GENERIC, "persist", db, key);
    }
    call.reply.integer(i64::from(held.is_some()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_expiry_outlasts_all() {
        let none = Condition::default();
        let gt = Condition { gt: true, ..none };
        let lt = Condition { lt: true, ..none };
        assert!(none.allows(None, -1) && none.allows(Some(5), 5));
        assert!(!gt.allows(None, i64::MAX) && gt.allows(Some(5), 6) && !gt.allows(Some(5), 5));
        assert!(lt.allows(None, i64::MAX) && lt.allows(Some(5), 4) && !lt.allows(Some(5), 5));
        assert!(Condition { nx: true, ..none }.allows(None, 1));
        assert!(!Condition { nx: true, ..none }.allows(Some(5), 1));
        assert!(!Condition { xx: true, ..none }.allows(None, 1));
        assert!(Condition { xx: true, gt: true, ..none }.allows(Some(5), 7));
        assert!(!Condition { xx: true, lt: true, ..none }.allows(None, 7));
    }

    #[test]
    fn seconds_are_rounded_to_the_nearest() {
        assert_eq!([0, 499, 500, 1499, 1500].map(rounded_seconds), [0, 0, 1, 1, 2]);
    }
}
