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
use super::super::super::keyspace::STRING;
use super::super::super::limits::{LIST_REPLY_BYTES, SCAN_REPLY_BYTES};
use super::super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::super::walks::{Filter, Wanted, What};
use super::super::{Call, Handled};
use super::walk::{Elements, Visitor, Walk};

/// COUNT, unless it is given.
const COUNT: u64 = 10;

/// Says what to do about a cursor that was forgotten, or never given out.
const UNKNOWN_CURSOR: &str =
    "ERR unknown cursor: the server has forgotten it, begin again with cursor 0";

/// The keys of a database that a filter can let pass, from `first` on.
fn range(call: &Call, filter: &Filter, first: &[u8]) -> KeyRange {
    let prefix = filter.prefix();
    let within = KeyRange::prefix(&prefix);
    let start = first.max(prefix.as_slice());
    call.services.keyspace.range(call.client.db(), start, within.end())
}

/// What SCAN is asked for.
struct Options {
    filter: Filter,
    count: u64,
}

impl Options {
    fn parse(call: &Call) -> Result<Self, Fault> {
        let (mut count, mut pattern, mut kind) = (COUNT, Filter::default(), None);
        let mut at = 1;
        while let Some(option) = call.args.get(at) {
            let operand = call.args.get(at + 1).ok_or(SYNTAX)?;
            match option.to_ascii_uppercase().as_slice() {
                b"COUNT" => {
                    let number = integer::parse(operand).ok_or(NOT_AN_INTEGER)?;
                    count = u64::try_from(number).ok().filter(|&n| n > 0).ok_or(SYNTAX)?;
                }
                b"MATCH" => pattern = Filter::matching(operand)?,
                b"TYPE" => kind = Some(kind_named(operand)),
                _ => return Err(SYNTAX.into()),
            }
            at += 2;
        }
        let filter = if let Some(kind) = kind { pattern.of_kind(kind) } else { pattern };
        Ok(Options { filter, count })
    }
}

pub(super) fn scan(call: &mut Call) -> Handled {
    let number = parse_cursor(call.args.at(0)).ok_or("ERR invalid cursor")?;
    let Options { filter, count } = Options::parse(call)?;
    let cursors = Arc::clone(&call.services.cursors);
    let first = match number {
        0 => Vec::new(),
        number => {
            let cursors = cursors.lock().unwrap_or_else(PoisonError::into_inner);
            cursors.position(number).ok_or(UNKNOWN_CURSOR)?.to_vec()
        }
    };
    let range = range(call, &filter, &first);
    let protocol = call.reply.protocol();
    if call.is_in_transaction() {
        return page(call, range, filter, count);
    }
    let part =
        Part { protocol, filter, left: count, keys: Elements::new(protocol), next: None, cursors };
    Err(Walk::interrupt(call.services.keyspace.engine().scan(range), protocol, part))
}

/// SCAN in a transaction.
fn page(call: &mut Call, range: KeyRange, filter: Filter, count: u64) -> Handled {
    if call.client.is_silent() {
        return Ok(());
    }
    let what =
        What::Keys { filter, is_reversed: false, has_values: false, limit: count, is_page: true };
    let wanted = Wanted { range, what, protocol: call.reply.protocol() };
    let found = call.services.keyspace.walk_list(&wanted)?;
    let mut cursors = call.services.cursors.lock().unwrap_or_else(PoisonError::into_inner);
    let cursor = found.next.map_or(0, |next| cursors.give(next.get(1..).unwrap_or_default()));
    drop(cursors);
    // Text cannot carry it anyway.
    call.reply.array(2);
    call.reply.bulk(cursor.to_string().as_bytes());
    call.reply.array(found.keys as usize);
    call.reply.raw(&found.bytes);
    Ok(())
}

/// The type byte of a type, if there is one of that name.
fn kind_named(name: &[u8]) -> Option<u8> {
    name.eq_ignore_ascii_case(b"string").then_some(STRING)
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
    filter: Filter,
    /// Keys that are still to be looked at.
    left: u64,
    keys: Elements,
    /// The key that the next call begins with.
    next: Option<Vec<u8>>,
    cursors: Arc<Mutex<Cursors>>,
}

impl Visitor for Part {
    fn see(&mut self, key: &[u8], stored: &[u8]) -> Result<ControlFlow<()>, Fault> {
        if self.left == 0 || self.keys.len() >= SCAN_REPLY_BYTES {
            self.next = Some(key.to_vec());
            return Ok(ControlFlow::Break(()));
        }
        self.left -= 1;
        if self.filter.wants(key, stored) {
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
    let filter = Filter::matching(call.args.at(0))?;
    let range = range(call, &filter, b"");
    let protocol = call.reply.protocol();
    if call.is_in_transaction() {
        let limit = u64::MAX;
        let what =
            What::Keys { filter, is_reversed: false, has_values: false, limit, is_page: false };
        return list(call, &Wanted { range, what, protocol });
    }
    let all = All { filter, keys: Elements::new(protocol) };
    Err(Walk::interrupt(call.services.keyspace.engine().scan(range), protocol, all))
}

/// A walk in a transaction whose reply is a list.
pub(in super::super) fn list(call: &mut Call, wanted: &Wanted) -> Handled {
    if call.client.is_silent() {
        return Ok(());
    }
    let found = call.services.keyspace.walk_list(wanted)?;
    let keys = found.keys as usize;
    match wanted.what {
        What::Keys { has_values: true, .. } if wanted.protocol == Protocol::Resp3 => {
            call.reply.map(keys);
        }
        What::Keys { has_values: true, .. } => call.reply.array(keys * 2),
        _ => call.reply.array(keys),
    }
    call.reply.raw(&found.bytes);
    Ok(())
}

/// KEYS.
struct All {
    filter: Filter,
    keys: Elements,
}

impl Visitor for All {
    fn see(&mut self, key: &[u8], stored: &[u8]) -> Result<ControlFlow<()>, Fault> {
        if self.filter.wants(key, stored) {
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
