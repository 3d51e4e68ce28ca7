//! SCAN and KEYS.
//!
//! Keys are walked over in their order, and a cursor stands for the key that comes next. So every
//! call of SCAN sees its part of the range as of one moment, the parts join without a gap, and a key
//! that is there from the first call to the last is returned once, whatever happens around it.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::KeyRange;
use crate::parser::Protocol;

use super::super::super::cursors::Cursors;
use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::super::limits::{LIST_REPLY_BYTES, SCAN_REPLY_BYTES};
use super::super::super::values::glob;
use super::super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::{Call, Handled};
use super::type_name;
use super::walk::{Elements, Visitor, Walk};

/// COUNT, unless it is given.
const COUNT: u64 = 10;

/// Says what to do about a cursor that was forgotten, or never given out.
const UNKNOWN_CURSOR: &str =
    "ERR unknown cursor: the server has forgotten it, begin again with cursor 0";

/// Which keys are wanted.
#[derive(Clone)]
struct Pattern(Option<Vec<u8>>);

impl Pattern {
    fn new(pattern: &[u8]) -> Result<Self, Fault> {
        glob::check(pattern)?;
        Ok(Pattern((pattern != b"*").then(|| pattern.to_vec())))
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|pattern| glob::matches(pattern, key, false))
    }

    /// The keys of a database that can match, from `first` on.
    fn range(&self, call: &Call, first: &[u8]) -> KeyRange {
        let prefix = self.0.as_deref().map(glob::literal_prefix).unwrap_or_default();
        let within = KeyRange::prefix(&prefix);
        let start = first.max(prefix.as_slice());
        call.services.keyspace.range(call.client.db(), start, within.end())
    }
}

/// What SCAN is asked for.
struct Options {
    pattern: Pattern,
    count: u64,
    kind: Option<Vec<u8>>,
}

impl Options {
    fn parse(call: &Call) -> Result<Self, Fault> {
        let mut options = Options { pattern: Pattern(None), count: COUNT, kind: None };
        let mut at = 1;
        while let Some(option) = call.args.get(at) {
            let operand = call.args.get(at + 1).ok_or(SYNTAX)?;
            match option.to_ascii_uppercase().as_slice() {
                b"COUNT" => {
                    let count = integer::parse(operand).ok_or(NOT_AN_INTEGER)?;
                    options.count = u64::try_from(count).ok().filter(|&n| n > 0).ok_or(SYNTAX)?;
                }
                b"MATCH" => options.pattern = Pattern::new(operand)?,
                b"TYPE" => options.kind = Some(operand.to_vec()),
                _ => return Err(SYNTAX.into()),
            }
            at += 2;
        }
        Ok(options)
    }
}

pub(super) fn scan(call: &mut Call) -> Handled {
    let number = parse_cursor(call.args.at(0)).ok_or("ERR invalid cursor")?;
    let Options { pattern, count, kind } = Options::parse(call)?;
    let cursors = Arc::clone(&call.services.cursors);
    let first = match number {
        0 => Vec::new(),
        number => {
            let cursors = cursors.lock().unwrap_or_else(PoisonError::into_inner);
            cursors.position(number).ok_or(UNKNOWN_CURSOR)?.to_vec()
        }
    };
    let range = pattern.range(call, &first);
    let protocol = call.reply.protocol();
    let part = Part {
        protocol,
        pattern,
        kind,
        left: count,
        keys: Elements::new(protocol),
        next: None,
        cursors,
    };
    Err(Walk::interrupt(call.services.keyspace.engine().scan(range), protocol, part))
}

/// The number of a cursor, in all spellings that Redis takes: those of C.
fn parse_cursor(word: &[u8]) -> Option<u64> {
    let (digits, is_negative) = match word {
        [] => return Some(0),
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] | digits => (digits, false),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

/// One call of SCAN.
struct Part {
    protocol: Protocol,
    pattern: Pattern,
    kind: Option<Vec<u8>>,
    /// Keys that are still to be looked at.
    left: u64,
    keys: Elements,
    /// The key that the next call begins with.
    next: Option<Vec<u8>>,
    cursors: Arc<Mutex<Cursors>>,
}

impl Part {
    fn wants(&self, key: &[u8], stored: &[u8]) -> bool {
        let is_kind = |kind: &Vec<u8>| {
            let name = type_name(stored.first().copied());
            name.is_some_and(|name| kind.eq_ignore_ascii_case(name.as_bytes()))
        };
        self.kind.as_ref().is_none_or(is_kind) && self.pattern.matches(key)
    }
}

impl Visitor for Part {
    fn see(&mut self, key: &[u8], stored: &[u8]) -> Result<ControlFlow<()>, Fault> {
        if self.left == 0 || self.keys.len() >= SCAN_REPLY_BYTES {
            self.next = Some(key.to_vec());
            return Ok(ControlFlow::Break(()));
        }
        self.left -= 1;
        if self.wants(key, stored) {
            self.keys.push(key);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, _: bool) -> Vec<u8> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = self.next.as_ref().map_or(0, |next| cursors.give(next)).to_string();
        drop(cursors);
        self.keys.finish(|reply, count| {
            if self.protocol == Protocol::Text {
                // No lists of lists: the cursor is the first line.
                reply.array(count + 1);
                reply.bulk(cursor.as_bytes());
            } else {
                reply.array(2);
                reply.bulk(cursor.as_bytes());
                reply.array(count);
            }
        })
    }
}

pub(super) fn keys(call: &mut Call) -> Handled {
    let pattern = Pattern::new(call.args.at(0))?;
    let range = pattern.range(call, b"");
    let protocol = call.reply.protocol();
    let all = All { pattern, keys: Elements::new(protocol) };
    Err(Walk::interrupt(call.services.keyspace.engine().scan(range), protocol, all))
}

/// KEYS.
struct All {
    pattern: Pattern,
    keys: Elements,
}

impl Visitor for All {
    fn see(&mut self, key: &[u8], _: &[u8]) -> Result<ControlFlow<()>, Fault> {
        if self.pattern.matches(key) {
            self.keys.push(key);
        }
        if self.keys.len() > LIST_REPLY_BYTES {
            let line = format!(
                "ERR the reply has more than {LIST_REPLY_BYTES} bytes: use SCAN to get the keys in parts"
            );
            return Err(line.into());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, _: bool) -> Vec<u8> {
        self.keys.finish_array()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_spelt_as_in_c() {
        let numbers: [(&[u8], u64); 7] = [
            (b"0", 0),
            (b"", 0),
            (b"007", 7),
            (b"+7", 7),
            (b"-0", 0),
            (b"-1", u64::MAX),
            (b"18446744073709551615", u64::MAX),
        ];
        for (word, number) in numbers {
            assert_eq!(parse_cursor(word), Some(number), "{}", word.escape_ascii());
        }
        for word in [&b"x"[..], b"1x", b" 1", b"1 ", b"-", b"+", b"+-1", b"18446744073709551616"] {
            assert_eq!(parse_cursor(word), None, "{}", word.escape_ascii());
        }
    }
}
