//! Commands on whole databases: how many keys, none at all, exchanged.

use std::ops::ControlFlow;

use crate::engine::Engine;
use crate::parser::{Args, Protocol};

use super::super::super::client::Traits;
use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::super::limits::COUNTED_KEYS;
use super::super::super::values::integer;
use super::super::super::walks::{Wanted, What};
use super::super::connection::database;
use super::super::{Call, Handled};
use super::walk::{Visitor, Walk, encoded};

/// DBSIZE.
pub(in super::super) fn dbsize(call: &mut Call) -> Handled {
    let (db, protocol) = (call.client.db(), call.reply.protocol());
    let keyspace = &mut call.services.keyspace;
    let range = keyspace.range(db, b"", None);
    if call.client.traits.has(Traits::EXECUTING) {
        if !call.client.is_silent() {
            let keys = keyspace.walk_count(&Wanted { range, what: What::Count, protocol })?;
            call.reply.integer(keys.cast_signed());
        }
        return Ok(());
    }
    let engine = keyspace.engine();
    let count = Count { protocol, engine: engine.clone(), keys: 0 };
    Err(Walk::interrupt(engine.scan(range), protocol, count))
}

/// Counts keys, up to a bound.
struct Count {
    protocol: Protocol,
    engine: Engine,
    keys: u64,
}

impl Visitor for Count {
    fn see(&mut self, _: &[u8], _: &[u8]) -> Result<ControlFlow<()>, Fault> {
        if self.keys == COUNTED_KEYS {
            return Ok(ControlFlow::Break(()));
        }
        self.keys += 1;
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, is_whole: bool) -> Vec<u8> {
        let keys = if is_whole { self.keys } else { self.keys.max(estimated_keys(&self.engine)) };
        encoded(self.protocol, |reply| reply.integer(keys.cast_signed()))
    }
}

/// All entries of all databases, overwritten ones and tombstones too.
pub(crate) fn estimated_keys(engine: &Engine) -> u64 {
    let stats = engine.stats();
    let tables: u64 = stats.levels.iter().map(|level| level.entries).sum();
    tables + stats.memtable_entries as u64
}

/// FLUSHDB.
pub(in super::super) fn flushdb(call: &mut Call) -> Handled {
    check_flush(call.args)?;
    call.services.keyspace.clear(call.client.db());
    call.reply.ok();
    Ok(())
}

/// FLUSHALL.
pub(in super::super) fn flushall(call: &mut Call) -> Handled {
    check_flush(call.args)?;
    let keyspace = &mut call.services.keyspace;
    for db in 0..keyspace.databases() {
        keyspace.clear(db);
    }
    call.reply.ok();
    Ok(())
}

fn check_flush(args: Args<'_>) -> Result<(), Fault> {
    let is_mode =
        |word: &[u8]| word.eq_ignore_ascii_case(b"SYNC") || word.eq_ignore_ascii_case(b"ASYNC");
    if args.len() <= 1 && args.iter().all(is_mode) { Ok(()) } else { Err(SYNTAX.into()) }
}

/// SWAPDB.
pub(in super::super) fn swapdb(call: &mut Call) -> Handled {
    let index = |at: usize, fault: &'static str| {
        let number = integer::parse(call.args.at(at)).filter(|&n| i32::try_from(n).is_ok());
        number.ok_or(fault)
    };
    let one = index(0, "ERR invalid first DB index")?;
    let other = index(1, "ERR invalid second DB index")?;
    let keyspace = &mut call.services.keyspace;
    let one = database(one, keyspace.databases())?;
    let other = database(other, keyspace.databases())?;
    if one != other {
        keyspace.swap(one.into(), other.into())?;
    }
    call.reply.ok();
    Ok(())
}
