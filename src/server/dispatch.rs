//! Executes requests: the one place where parser and engine meet.
//!
//! Every reply goes into the outbox with the sequence number of what it shows: a write's own, a
//! read's version, a miss's tombstone. Nothing here waits: a read that needs the disk leaves a
//! reserved place and goes to a worker, a compaction leaves one and a ticket.

use crate::engine::{Error, Lookup, Result as EngineResult, Seq, Ticket, Value};
use crate::parser::{ErrorCode, Limits, Outcome, Protocol, Reply, Request, Verb};

use super::info::{Facts, Identity, help, info};
use super::keyspace::{Keyspace, Written, decode};
use super::limits::{LOOKAHEAD, USER_KEY_BYTES, USER_VALUE_BYTES};
use super::outbox::{Outbox, Pending, SlotNumber};
use super::stats::Stats;
use super::token::ConnectionId;
use super::workers::{Job, Workers};

/// What requests must keep to.
pub(crate) const LIMITS: Limits =
    Limits { key_bytes: USER_KEY_BYTES, value_bytes: USER_VALUE_BYTES };

/// Requests that were parsed together; the places behind the last one are empty.
pub(crate) type Batch<'a> = [Option<Outcome<'a>>; LOOKAHEAD];

/// How a connection goes on after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// With the next request.
    Continue,
    /// With the same request, after the next notification: nothing of it was done.
    Later,
    /// Not at all: send what is there and close.
    Close,
}

/// Who asked, and where the answer goes.
pub(crate) struct Asker<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) protocol: Protocol,
    pub(crate) outbox: &'a mut Outbox,
}

/// A compaction that a connection waits for.
pub(crate) struct WaitingTicket {
    pub(crate) connection: ConnectionId,
    pub(crate) slot: SlotNumber,
    pub(crate) ticket: Ticket,
}

/// All that requests act on.
pub(crate) struct Services<'e> {
    pub(crate) keyspace: Keyspace<'e>,
    pub(crate) workers: Workers,
    pub(crate) tickets: Vec<WaitingTicket>,
    pub(crate) stats: Stats,
    pub(crate) identity: Identity,
    /// The frontier as of this tick.
    pub(crate) durable: Seq,
    /// Set by SHUTDOWN.
    pub(crate) shutdown: bool,
}

impl Services<'_> {
    /// Has what a batch of requests will touch fetched into the cache. One alone gains nothing.
    pub(crate) fn prefetch(&mut self, batch: &Batch<'_>) {
        if batch[1].is_none() {
            return;
        }
        let keys = batch.iter().map_while(|outcome| match outcome {
            Some(Outcome::Request { request, .. }) => Some(request.arguments.key()),
            _ => None,
        });
        self.keyspace.prefetch(keys);
    }

    /// Executes one request.
    pub(crate) fn dispatch(&mut self, request: &Request<'_>, asker: &mut Asker<'_>) -> Next {
        self.stats.commands += 1;
        let (key, value) = (request.arguments.key(), request.arguments.value());
        match request.command.verb {
            Verb::Set => {
                let written = self.keyspace.set(key, value);
                return self.reply_written(written, "OK", asker);
            }
            Verb::Del => {
                let written = self.keyspace.delete(key);
                return self.reply_written(written, "OK_DELETED", asker);
            }
            Verb::Get => return self.read(key, Pending::Get, asker),
            Verb::Exists => return self.read(key, Pending::Exists, asker),
            Verb::Ping => self.reply(asker, &Reply::Simple("PONG"), 0),
            Verb::Compact => self.compact(asker),
            Verb::Info => self.info(request.arguments.get(0), asker),
            Verb::Help => match help(request.arguments.get(0)) {
                Ok(text) => self.reply(asker, &Reply::Text(&text), 0),
                Err(sentence) => self.reply_error(asker, ErrorCode::Plain, sentence),
            },
            Verb::Quit => {
                self.reply(asker, &Reply::Simple("OK"), 0);
                return Next::Close;
            }
            Verb::Shutdown => {
                self.shutdown = true;
                self.reply(asker, &Reply::Simple("OK"), 0);
            }
        }
        Next::Continue
    }

    /// Answers with an error.
    pub(crate) fn reply_error(&mut self, asker: &mut Asker<'_>, code: ErrorCode, sentence: &str) {
        self.stats.errors += 1;
        self.reply(asker, &Reply::Error(code, sentence), 0);
    }

    fn reply(&self, asker: &mut Asker<'_>, reply: &Reply<'_>, seq: Seq) {
        asker.outbox.push(asker.protocol, reply, seq, self.durable);
    }

    fn reply_written(
        &mut self,
        written: Written,
        word: &'static str,
        asker: &mut Asker<'_>,
    ) -> Next {
        match written {
            Written::Done(seq) => self.reply(asker, &Reply::Simple(word), seq),
            Written::Stalled => {
                self.stats.commands -= 1;
                self.stats.parked += 1;
                return Next::Later;
            }
            Written::Refused(error) => {
                let (code, sentence) = explain(&error);
                self.reply_error(asker, code, &sentence);
            }
        }
        Next::Continue
    }

    fn read(&mut self, key: &[u8], pending: Pending, asker: &mut Asker<'_>) -> Next {
        let read = match self.keyspace.get(key) {
            Ok(Lookup::Found(record)) => {
                self.stats.hits += 1;
                let failed = with_answer(pending, Some(&record.value), |reply| {
                    asker.outbox.push(asker.protocol, reply, record.version, self.durable);
                });
                self.stats.errors += u64::from(failed);
                return Next::Continue;
            }
            Ok(Lookup::Missing { seq }) => {
                self.stats.misses += 1;
                let reply =
                    if pending == Pending::Exists { Reply::Integer(0) } else { Reply::Null };
                self.reply(asker, &reply, seq);
                return Next::Continue;
            }
            Ok(Lookup::Deferred(read)) => read,
            Err(error) => {
                let (code, sentence) = explain(&error);
                self.reply_error(asker, code, &sentence);
                return Next::Continue;
            }
        };
        let slot = asker.outbox.reserve(pending);
        if self.workers.submit(Job { connection: asker.connection, slot, read }) {
            self.stats.deferred += 1;
            return Next::Continue;
        }
        asker.outbox.cancel_last();
        self.stats.commands -= 1;
        Next::Later
    }

    fn compact(&mut self, asker: &mut Asker<'_>) {
        let ticket = self.keyspace.engine().start_compaction(..);
        let slot = asker.outbox.reserve(Pending::Compact);
        if let Some(result) = ticket.poll() {
            return self.answer_compaction(slot, &result, asker);
        }
        self.tickets.push(WaitingTicket { connection: asker.connection, slot, ticket });
    }

    fn info(&mut self, section: Option<&[u8]>, asker: &mut Asker<'_>) {
        let engine = self.keyspace.engine().stats();
        let facts = Facts { identity: &self.identity, stats: &self.stats, engine: &engine };
        match info(section, &facts) {
            Ok(text) => self.reply(asker, &Reply::Text(&text), 0),
            Err(sentence) => self.reply_error(asker, ErrorCode::Plain, &sentence),
        }
    }

    /// Answers a read that a worker did.
    pub(crate) fn answer_read(
        &mut self,
        slot: SlotNumber,
        result: &EngineResult<Option<Value<'_>>>,
        asker: &mut Asker<'_>,
    ) {
        let Some(pending) = asker.outbox.pending(slot) else { return };
        let durable = self.durable;
        let failed = match result {
            Ok(found) => {
                *if found.is_some() { &mut self.stats.hits } else { &mut self.stats.misses } += 1;
                with_answer(pending, found.as_deref(), |reply| {
                    asker.outbox.answer(asker.protocol, slot, reply, durable);
                })
            }
            Err(error) => {
                let (code, sentence) = explain(error);
                let reply = Reply::Error(code, &sentence);
                asker.outbox.answer(asker.protocol, slot, &reply, durable);
                true
            }
        };
        self.stats.errors += u64::from(failed);
    }

    /// Answers a COMPACT whose work is done.
    pub(crate) fn answer_compaction(
        &mut self,
        slot: SlotNumber,
        result: &EngineResult<()>,
        asker: &mut Asker<'_>,
    ) {
        let sentence;
        let reply = match result {
            Ok(()) => Reply::Simple("OK_COMPACTED"),
            Err(error) => {
                self.stats.errors += 1;
                let code;
                (code, sentence) = explain(error);
                Reply::Error(code, &sentence)
            }
        };
        asker.outbox.answer(asker.protocol, slot, &reply, self.durable);
    }
}

/// Makes the reply to a read from the stored bytes. Returns whether it is an error.
fn with_answer(pending: Pending, stored: Option<&[u8]>, send: impl FnOnce(&Reply<'_>)) -> bool {
    match (pending, stored.map(decode)) {
        (Pending::Exists, Some(_)) => send(&Reply::Integer(1)),
        (Pending::Exists, None) => send(&Reply::Integer(0)),
        (_, None) => send(&Reply::Null),
        (_, Some(Ok(value))) => send(&Reply::Value(value)),
        (_, Some(Err(unknown))) => {
            send(&Reply::Error(ErrorCode::Plain, &unknown.to_string()));
            return true;
        }
    }
    false
}

/// The error word and the sentence for a failure of the engine.
pub(crate) fn explain(error: &Error) -> (ErrorCode, String) {
    let code = match error {
        _ if error.is_no_space() => ErrorCode::NoSpace,
        Error::Failed(_) | Error::Io { .. } => ErrorCode::IoError,
        Error::Corrupt { .. } => ErrorCode::Corrupt,
        Error::Closed => return (ErrorCode::Plain, "the server is stopping".to_owned()),
        _ => ErrorCode::Plain,
    };
    (code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pending: Pending, stored: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        with_answer(pending, stored, |reply| Protocol::Text.encode(reply, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_to_reads() {
        assert_eq!(answer(Pending::Get, Some(b"\0v")), "v\n");
        assert_eq!(answer(Pending::Get, None), "NULL\n");
        assert_eq!(answer(Pending::Exists, Some(b"\0v")), "1\n");
        assert_eq!(answer(Pending::Exists, None), "0\n");
        assert!(answer(Pending::Get, Some(b"\x09v")).starts_with("ERR the value is of type 9"));
    }

    #[test]
    fn failures_carry_their_word() {
        let word = |error: &Error| explain(error).0;
        assert_eq!(word(&Error::NoSpace), ErrorCode::NoSpace);
        assert_eq!(word(&Error::Failed("sync".into())), ErrorCode::IoError);
        assert_eq!(word(&Error::Locked), ErrorCode::Plain);
        assert!(explain(&Error::Failed("sync".into())).1.contains("outcome unknown"));
    }
}
