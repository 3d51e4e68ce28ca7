//! Commands that Redis does not have.

use std::ops::ControlFlow;

use crate::engine::KeyRange;
use crate::parser::{Args, Protocol, Verb};

use super::super::client::Traits;
use super::super::info::help;
use super::super::interrupt::{Fault, Interrupt, SYNTAX};
use super::super::keyspace::decode;
use super::super::limits::LIST_REPLY_BYTES;
use super::super::outbox::Finish;
use super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::walks::{Filter, Wanted, What};
use super::keys::walk::{Elements, Visitor, Walk};
use super::{Call, Handled, keys};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Compact => {
            let ticket = call.services.keyspace.engine().start_compaction(..);
            Err(Interrupt::Ticket(ticket, Finish::Compact))
        }
        Verb::Range => {
            let range = between(call.args.at(0), call.args.at(1));
            list(call, &range, call.args.from(2))
        }
        Verb::Prefix => list(call, &KeyRange::prefix(call.args.at(0)), call.args.from(1)),
        _ => {
            let text = help(call.args, call.client.protocol)
                .map_err(|sentence| format!("ERR {sentence}"))?;
            call.reply.verbatim(&text);
            Ok(())
        }
    }
}

/// The keys from `start` on, up to before `end`. `-` is before all keys and `+` behind them; `[key`
/// includes the key and `(key` does not.
fn between(start: &[u8], end: &[u8]) -> KeyRange {
    let first = match start {
        b"-" => Some(Vec::new()),
        b"+" => None,
        [b'(', key @ ..] => Some(behind(key)),
        [b'[', key @ ..] | key => Some(key.to_vec()),
    };
    let end = match end {
        b"-" => Some(Vec::new()),
        b"+" => None,
        [b'[', key @ ..] => Some(behind(key)),
        [b'(', key @ ..] | key => Some(key.to_vec()),
    };
    match first {
        Some(start) => KeyRange { start, end },
        None => KeyRange { start: Vec::new(), end: Some(Vec::new()) },
    }
}

/// The key after a key.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// How a range is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Options {
    limit: u64,
    is_reversed: bool,
    has_values: bool,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Self, Fault> {
        let mut options = Options { limit: u64::MAX, is_reversed: false, has_values: false };
        let mut at = 0;
        while let Some(word) = words.get(at) {
            match (word.to_ascii_uppercase().as_slice(), words.get(at + 1)) {
                (b"REV", _) => options.is_reversed = true,
                (b"WITHVALUES", _) => options.has_values = true,
                (b"LIMIT", Some(limit)) => {
                    let limit = integer::parse(limit).ok_or(NOT_AN_INTEGER)?;
                    let is_negative = "ERR value is out of range, must be positive";
                    options.limit = u64::try_from(limit).map_err(|_| is_negative)?;
                    at += 1;
                }
                _ => return Err(SYNTAX.into()),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// Answers the keys of a range, given without the namespace.
fn list(call: &mut Call, range: &KeyRange, options: Args<'_>) -> Handled {
    let options = Options::parse(options)?;
    let protocol = call.reply.protocol();
    let keyspace = &mut call.services.keyspace;
    let range = keyspace.range(call.client.db(), &range.start, range.end());
    if call.client.traits.has(Traits::EXECUTING) {
        let Options { limit, is_reversed, has_values } = options;
        let what = What::Keys {
            filter: Filter::default(),
            is_reversed,
            has_values,
            limit,
            is_page: false,
        };
        return keys::scan::list(call, &Wanted { range, what, protocol });
    }
    let scan = keyspace.engine().scan(range);
    let scan = if options.is_reversed { scan.reversed() } else { scan };
    let listing =
        Listing { protocol, options, left: options.limit, entries: Elements::new(protocol) };
    Err(Walk::interrupt(scan, protocol, listing))
}

/// RANGE and PREFIX.
struct Listing {
    protocol: Protocol,
    options: Options,
    /// Keys that are still to be listed.
    left: u64,
    entries: Elements,
}

impl Visitor for Listing {
    fn see(&mut self, key: &[u8], stored: &[u8]) -> Result<ControlFlow<()>, Fault> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        self.left -= 1;
        self.entries.push(key);
        if self.options.has_values {
            self.entries.push(decode(stored)?);
        }
        if self.entries.len() > LIST_REPLY_BYTES {
            let line = format!(
                "ERR the reply has more than {LIST_REPLY_BYTES} bytes: use LIMIT to get it in parts"
            );
            return Err(line.into());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, _: bool) -> Vec<u8> {
        let is_map = self.options.has_values && self.protocol == Protocol::Resp3;
        self.entries.finish(
            |reply, count| {
                if is_map { reply.map(count / 2) } else { reply.array(count) }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(start: &str, end: &str) -> String {
        let range = between(start.as_bytes(), end.as_bytes());
        let keys = ["a", "b", "ba", "c", "[x", "-"].into_iter();
        keys.filter(|key| range.contains(key.as_bytes())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn bounds_include_the_start_and_exclude_the_end() {
        assert_eq!(contains("a", "c"), "a b ba");
        assert_eq!(contains("b", "b"), "");
        assert_eq!(contains("(a", "[c"), "b ba c");
        assert_eq!(contains("[b", "(ba"), "b");
        assert_eq!(contains("-", "+"), "a b ba c [x -");
        assert_eq!(contains("b", "+"), "b ba c");
        assert_eq!(contains("[[x", "[[x"), "[x");
        assert_eq!(contains("[-", "[-"), "-");
        assert_eq!(contains("c", "a"), "");
        assert_eq!(contains("+", "+"), "");
        assert_eq!(contains("-", "-"), "");
    }
}
