//! Commands on whole databases: how many keys, none at all, exchanged.

use std::time::Instant;

use crate::engine::{Engine, KeyCounter, KeyRange};
use crate::parser::{Args, Protocol};

use super::super::super::client::Traits;
use super::super::super::interrupt::{Fault, Interrupt, SYNTAX};
use super::super::super::limits::{COUNTED_KEYS, WORK_SLICE};
use super::super::super::values::integer;
use super::super::super::walks::{Wanted, What};
use super::super::super::workers::{Answer, Work};
use super::super::connection::database;
use super::super::{Call, Handled};
use super::walk::encoded;

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
    let counter = keyspace.engine().count_keys(vec![range]).exactly_up_to(COUNTED_KEYS);
    Err(Interrupt::Work(Box::new(Size { counter, protocol })))
}

/// A count of one database.
struct Size {
    counter: KeyCounter,
    protocol: Protocol,
}

impl Work for Size {
    fn run(&mut self) -> Option<Answer> {
        let begun = Instant::now();
        while !self.counter.step() {
            if begun.elapsed() >= WORK_SLICE {
                return None;
            }
        }
        let keys = self.counter.counts().iter().map(|count| count.keys).sum::<u64>();
        let bytes = encoded(self.protocol, |reply| reply.integer(keys.cast_signed()));
        Some(Answer { bytes, seq: self.counter.seq(), is_error: false })
    }
}

/// About how many keys there are in a range that has too many to be counted.
pub(crate) fn estimated_keys(engine: &Engine, range: KeyRange) -> u64 {
    let mut counter = engine.count_keys(vec![range]).exactly_up_to(0);
    while !counter.step() {}
    counter.counts().iter().map(|count| count.keys).sum()
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
