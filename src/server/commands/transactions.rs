//! MULTI, EXEC and what belongs to them.
//!
//! EXEC runs the queued commands one after the other at one moment, each seeing what those before it
//! have staged, and commits everything as one batch: one group in the log, durable as a whole or not
//! there. As in Redis, a command that fails leaves the others in force.

use crate::parser::table::keys_of;
use crate::parser::{Args, Verb};

use super::super::client::{Client, Queue, Traits};
use super::super::interrupt::{Interrupt, REPLY_TOO_LONG};
use super::super::keyspace::Keyspace;
use super::super::latency::micros_since;
use super::super::limits::{TRANSACTION_BYTES, WATCH_OVERHEAD_BYTES};
use super::super::values::integer;
use super::{Call, Handled, speaks_to_the_silent};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Multi => multi(call),
        Verb::Exec => exec(call),
        Verb::Discard => discard(call),
        Verb::Watch => watch(call),
        _ => {
            unwatch(call.client, &mut call.services.keyspace);
            call.reply.ok();
            Ok(())
        }
    }
}

fn multi(call: &mut Call) -> Handled {
    if call.client.traits.has(Traits::QUEUEING) {
        return Err("ERR MULTI calls can not be nested".into());
    }
    call.client.traits.set(Traits::QUEUEING);
    call.reply.ok();
    Ok(())
}

fn discard(call: &mut Call) -> Handled {
    if !call.client.traits.has(Traits::QUEUEING) {
        return Err("ERR DISCARD without MULTI".into());
    }
    forget(call.client, &mut call.services.keyspace);
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut Call) -> Handled {
    if call.client.traits.has(Traits::QUEUEING) {
        return Err("ERR WATCH inside MULTI is not allowed".into());
    }
    let (id, db) = (call.client.id, call.client.db());
    let keyspace = &mut call.services.keyspace;
    let held_bytes = |key: &[u8]| key.len() + WATCH_OVERHEAD_BYTES;
    let held = call.client.transaction.as_ref().map_or(0, |transaction| transaction.watched_bytes);
    if held + call.args.iter().map(held_bytes).sum::<usize>() > TRANSACTION_BYTES {
        let line = format!("ERR the watched keys would take more than {TRANSACTION_BYTES} bytes");
        return Err(line.into());
    }
    keyspace.need(db, call.args.iter())?;
    for key in call.args.iter() {
        if let Some(watch) = keyspace.watch(id, db, key)? {
            let transaction = call.client.transaction();
            transaction.watches.push(watch);
            transaction.watched_bytes += held_bytes(key);
        }
    }
    call.reply.ok();
    Ok(())
}

/// Ends watching.
fn unwatch(client: &mut Client, keyspace: &mut Keyspace<'_>) {
    if let Some(transaction) = client.transaction.as_deref_mut() {
        keyspace.unwatch(client.id, &transaction.watches);
        transaction.watches = Vec::new();
        transaction.watched_bytes = 0;
    }
    client.traits.clear(Traits::DISTURBED);
}

/// Ends a transaction: nothing is queued or watched any more.
pub(crate) fn forget(client: &mut Client, keyspace: &mut Keyspace<'_>) {
    unwatch(client, keyspace);
    client.transaction = None;
    client.traits.clear(Traits::QUEUEING);
    client.traits.clear(Traits::SPOILT);
}

fn exec(call: &mut Call) -> Handled {
    if !call.client.traits.has(Traits::QUEUEING) {
        return Err("ERR EXEC without MULTI".into());
    }
    if call.client.traits.has(Traits::SPOILT) {
        forget(call.client, &mut call.services.keyspace);
        let line = "EXECABORT Transaction discarded because of previous errors.";
        return Err(line.into());
    }
    let now_ms = call.now_ms();
    let transaction = call.client.transaction.as_deref();
    let watches = transaction.map_or(&[][..], |transaction| &transaction.watches);
    let has_expired = watches.iter().any(|watch| watch.expires_ms.is_some_and(|ms| ms <= now_ms));
    if has_expired || call.client.traits.has(Traits::DISTURBED) {
        // That a key was changed must be durable before it is told.
        let keyspace = &mut call.services.keyspace;
        keyspace.show(keyspace.last_seq());
        forget(call.client, keyspace);
        if !call.client.is_silent() {
            call.reply.null_array();
        }
        return Ok(());
    }
    let mut transaction = call.client.transaction.take();
    let walks = transaction.as_deref_mut().and_then(|transaction| transaction.walks.take());
    call.services.keyspace.begin_walks(walks);
    let (db, traits) = (call.client.db, call.client.traits);
    call.client.traits.clear(Traits::QUEUEING);
    call.client.traits.set(Traits::EXECUTING);
    let nothing = Queue::default();
    let queue = transaction.as_deref().map_or(&nothing, |transaction| &transaction.queue);
    let mut taken_us = Vec::new();
    let done = run_all(call, queue, &mut taken_us);
    let done = done.and_then(|()| call.services.keyspace.commit());
    call.client.traits.clear(Traits::EXECUTING);
    let walks = call.services.keyspace.take_walks();
    match done {
        Err(Interrupt::Later) => {
            if let Some(transaction) = transaction.as_deref_mut() {
                transaction.walks = walks;
            }
            call.client.transaction = transaction;
            (call.client.db, call.client.traits) = (db, traits);
            Err(Interrupt::Later)
        }
        done => {
            if done.is_ok() {
                for ((command, args), taken_us) in queue.iter().zip(taken_us) {
                    call.services.show_to_monitors(command, args, call.client);
                    if let Some(taken_us) = taken_us {
                        call.services.note_taken(taken_us, command, args, call.client);
                    }
                }
            }
            call.client.transaction = transaction;
            call.services.tell_disturbed(call.client);
            forget(call.client, &mut call.services.keyspace);
            done
        }
    }
}

/// Runs the queued commands, staging what they write. `taken_us` gets how long each took, if anybody
/// wants to know.
fn run_all(call: &mut Call, queue: &Queue, taken_us: &mut Vec<Option<u64>>) -> Handled {
    need_keys(call, queue)?;
    call.services.keyspace.see_staged();
    if !call.client.is_silent() {
        call.reply.array(queue.len());
    }
    let mut is_lacking = false;
    for (at, (command, args)) in queue.iter().enumerate() {
        call.services.keyspace.begin_walks_of(at);
        let started = call.services.start_clock(command);
        let (written, mark) = (call.reply.written(), call.services.keyspace.mark());
        let noted = call.services.effects.len();
        let mut inner = Call {
            command,
            args,
            reply: &mut *call.reply,
            client: &mut *call.client,
            services: &mut *call.services,
            next: call.next,
        };
        let handled = super::handle(&mut inner);
        call.next = inner.next;
        if call.reply.is_too_long() {
            return Err(REPLY_TOO_LONG.into());
        }
        match handled {
            Ok(()) => {}
            // What it cannot have is refused as a whole, as by the engine: not a part of it.
            Err(fault) if call.services.keyspace.is_exhausted() => return Err(fault),
            Err(Interrupt::Fault(fault)) => {
                debug_assert!(call.services.keyspace.is_unchanged(mark), "{}", command.name);
                call.services.effects.truncate(noted);
                call.services.stats.fail(command.verb);
                call.services.stats.count_error(fault.line());
                call.reply.truncate(written);
                call.reply.error(fault.line());
            }
            Err(Interrupt::Later) if call.services.keyspace.wants_walks() => {
                // The others may want some too, and what it would have replied matters to none of them.
                call.reply.truncate(written);
                is_lacking = true;
            }
            Err(Interrupt::Later) => return Err(Interrupt::Later),
            Err(Interrupt::Work(_) | Interrupt::Ticket(..)) => {
                call.reply.truncate(written);
                call.reply.error("ERR Command not allowed inside a transaction");
            }
        }
        if call.client.is_silent() && !speaks_to_the_silent(command.verb) {
            call.reply.truncate(written);
        }
        call.services.note_misses(command, noted);
        taken_us.push(started.map(micros_since));
    }
    if is_lacking { Err(Interrupt::Later) } else { Ok(()) }
}

/// Has all keys read before the first command runs, so that none is run twice for a read.
fn need_keys(call: &mut Call, queue: &Queue) -> Handled {
    let mut db = call.client.db();
    let mut is_lacking = false;
    for (command, args) in queue.iter() {
        match command.verb {
            Verb::Select => {
                let number = integer::parse(args.at(0));
                db = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(db);
                continue;
            }
            Verb::SwapDb => break,
            _ => {}
        }
        let argv = argv(command.name, args);
        let Some(positions) = keys_of(command, &argv) else { continue };
        let keys = positions.iter().filter_map(|&at| argv.get(at).copied());
        match call.services.keyspace.need(db, keys) {
            // Of a fault the command itself will tell.
            Ok(()) | Err(Interrupt::Fault(_)) => {}
            Err(Interrupt::Later) => is_lacking = true,
            Err(other) => return Err(other),
        }
    }
    if is_lacking { Err(Interrupt::Later) } else { Ok(()) }
}

fn argv<'a>(name: &'a str, args: Args<'a>) -> Vec<&'a [u8]> {
    std::iter::once(name.as_bytes()).chain(args.iter()).collect()
}
