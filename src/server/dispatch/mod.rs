//! Executes requests: the one place where parser and engine meet.
//!
//! Every reply goes into the outbox with the sequence number of what it shows: a write's own, a
//! read's version, a miss's tombstone. Nothing here waits: a read that needs the disk leaves a
//! reserved place and goes to a worker, or parks its connection until the answer is there.
//!
//! GET, SET and the like of a client that does nothing unusual take a short way. Every other command
//! has a function in [`commands`], runs with its writes staged, and takes effect when they are
//! committed: what it wants to tell others, the [`Effects`], leaves only then. A command that is
//! interrupted has done nothing, and runs again from its beginning.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::engine::{Engine, Lookup, Seq, Ticket};
use crate::parser::error::ProtocolError;
use crate::parser::request::{Batch, Item};
use crate::parser::{Args, Command, Encoder, Limits, Protocol, SyntaxError, Verb, resolve};

use super::Settings;
use super::client::{Client, Clients, Traits};
use super::closing::CloseReason;
use super::commands;
use super::counts::Counts;
use super::cursors::Cursors;
use super::effects::{CLASSES_FAULT, Classes, Effects};
use super::expiries::Attention;
use super::holdings::Holdings;
use super::info::{Identity, unaccounted};
use super::interrupt::Fault;
use super::keyspace::{Keyspace, Written, decode};
use super::latency::LatencyMonitor;
use super::limits::{MAX_WORDS, REQUEST_BYTES, USER_KEY_BYTES, USER_VALUE_BYTES};
use super::notify::Notifier;
use super::outbox::{Outbox, Pending, SlotNumber};
use super::pubsub::{Delivery, PubSub};
use super::saving::Saving;
use super::settings::Runtime;
use super::slowlog::SlowLog;
use super::stats::Stats;
use super::token::ConnectionId;
use super::warnings::Warnings;
use super::workers::{Job, Workers};

mod answers;
mod run;

/// What requests must keep to.
pub(crate) const LIMITS: Limits = Limits {
    key_bytes: USER_KEY_BYTES,
    value_bytes: USER_VALUE_BYTES,
    bulk_bytes: USER_VALUE_BYTES,
    request_bytes: REQUEST_BYTES,
    words: MAX_WORDS,
    is_stranger: false,
};

/// How a connection goes on after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// With the next request.
    Continue,
    /// With the same request, after the next notification: nothing of it was done.
    Later,
    /// With the same request, once the reads that it needs are done.
    Await,
    /// Not at all: send what is there and close.
    Close(CloseReason),
}

/// Who asked, and where the answer goes.
pub(crate) struct Asker<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) outbox: &'a mut Outbox,
}

/// Something of the engine's that a connection waits for.
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
    pub(crate) warnings: Warnings,
    pub(crate) identity: Identity,
    pub(crate) runtime: Runtime,
    pub(crate) clients: Clients,
    pub(crate) pubsub: PubSub,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: LatencyMonitor,
    pub(crate) saving: Saving,
    pub(crate) counts: Counts,
    /// Where SCAN goes on; workers add to it.
    pub(crate) cursors: Arc<Mutex<Cursors>>,
    /// Who wants to be told of keys that expire.
    pub(crate) attention: Attention,
    /// What the index of them may take, in bytes.
    pub(crate) expiry_index_bytes: usize,
    /// What the command that runs wants to tell others.
    pub(crate) effects: Effects,
    /// Messages that are to be put into other clients' outboxes.
    pub(crate) deliveries: Vec<Delivery>,
    /// How many bytes of messages that are.
    pub(crate) delivery_bytes: usize,
    /// What clients make the server hold.
    pub(crate) holdings: Holdings,
    /// Connections to be closed.
    pub(crate) kills: Vec<(ConnectionId, CloseReason)>,
    /// Clients that see all commands.
    pub(crate) monitors: Vec<ConnectionId>,
    /// Memory for the requests that are parsed together.
    pub(crate) batch: Batch,
    /// Bytes of values that this turn's commands have looked at, the short ones' left out.
    pub(crate) turn_bytes: usize,
    /// Whether nothing about the server keeps commands from the short way.
    pub(crate) is_plain: bool,
    /// The frontier as of this tick.
    pub(crate) durable: Seq,
    /// The time of this tick, in milliseconds of the reactor's clock.
    pub(crate) tick_ms: u64,
    /// Set by SHUTDOWN.
    pub(crate) shutdown: bool,
}

impl<'e> Services<'e> {
    /// Services on an engine.
    ///
    /// # Errors
    /// [`super::Error::Start`] if threads cannot be had, or [`super::Error::Engine`].
    pub(crate) fn new(
        engine: &'e Engine,
        settings: &Settings,
        addresses: Vec<std::net::SocketAddr>,
        notifier: Arc<Notifier>,
    ) -> Result<Self, super::Error> {
        let mut keyspace =
            Keyspace::open(engine, settings.databases).map_err(super::Error::Engine)?;
        keyspace.submit();
        let data_dir = settings.data_dir.as_deref();
        let saving = Saving::new(&settings.checkpoint_dir, data_dir, Arc::clone(&notifier));
        let letters = settings.notify_keyspace_events.as_bytes();
        let Some(classes) = Classes::parse(letters) else {
            let fault = std::io::Error::new(std::io::ErrorKind::InvalidInput, CLASSES_FAULT);
            return Err(super::Error::Start(fault));
        };
        let mut services = Services {
            keyspace,
            workers: Workers::start(settings.workers, notifier).map_err(super::Error::Start)?,
            tickets: Vec::new(),
            stats: Stats::new(settings.max_connections),
            warnings: Warnings::default(),
            identity: Identity::new(addresses, settings.durability),
            runtime: Runtime::new(settings),
            clients: Clients::default(),
            pubsub: PubSub::default(),
            slowlog: SlowLog::default(),
            latency: LatencyMonitor::default(),
            saving,
            counts: Counts::default(),
            cursors: Arc::default(),
            attention: Attention::new(settings.timeouts.expired_kept),
            expiry_index_bytes: settings.expiry_index_bytes,
            effects: Effects::default(),
            deliveries: Vec::new(),
            delivery_bytes: 0,
            holdings: Holdings::new(settings.clients_bound.bytes(settings.memory_bytes)),
            kills: Vec::new(),
            monitors: Vec::new(),
            batch: Batch::default(),
            turn_bytes: 0,
            is_plain: false,
            durable: 0,
            tick_ms: 0,
            shutdown: false,
        };
        services.effects.classes = classes;
        services.stats.unaccounted_bytes = unaccounted(&engine.stats());
        services.update_plain();
        Ok(services)
    }
}

impl Services<'_> {
    /// A client for a new connection.
    pub(crate) fn add_client(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> &mut Client {
        let is_open = self.runtime.password.is_none();
        let now_ms = self.tick_ms;
        let client = self.clients.add(id, peer, local);
        client.traits.put(Traits::AUTHENTICATED, is_open);
        (client.since_ms, client.served_ms) = (now_ms, now_ms);
        client
    }

    /// A connection is closed.
    pub(crate) fn forget_client(&mut self, id: ConnectionId) {
        let Some(mut client) = self.clients.take(id) else { return };
        self.counts.end_question(id);
        commands::forget_transaction(&mut client, &mut self.keyspace);
        commands::forget_subscriptions(&mut client, &mut self.pubsub);
        if client.traits.has(Traits::MONITOR) {
            self.monitors.retain(|&monitor| monitor != id);
        }
        self.update_plain();
    }

    /// Has a message put into another client's outbox at the end of the phase; `write` makes it, of
    /// `bytes` bytes more or less. One message may go to very many: whom there is no memory for is
    /// closed, as one who does not read.
    pub(crate) fn deliver(
        &mut self,
        to: ConnectionId,
        bytes: usize,
        seq: Seq,
        write: impl FnOnce() -> Vec<u8>,
    ) {
        if self.delivery_bytes + bytes > self.holdings.room_for_messages() {
            self.stats.slow_readers += 1;
            self.kills.push((to, CloseReason::SlowReader));
            return;
        }
        let bytes = write();
        self.delivery_bytes += bytes.len();
        self.deliveries.push(Delivery { to, bytes, seq });
    }

    /// What this client's requests must keep to.
    pub(crate) fn limits(client: &Client) -> Limits {
        Limits { is_stranger: !client.traits.has(Traits::AUTHENTICATED), ..LIMITS }
    }

    /// Has what a batch of requests will touch fetched into the cache. One alone gains nothing.
    pub(crate) fn prefetch(&mut self, batch: &Batch, bytes: &[u8], db: usize) {
        if batch.items().len() < 2 {
            return;
        }
        let keys = batch.items().iter().map_while(|item| match item {
            Item::Array { words, .. } => Some(batch.words(words, bytes).at(1)),
            Item::Line { words, .. } => Some(batch.words(words, bytes).at(0)),
            _ => None,
        });
        self.keyspace.prefetch(db, keys);
    }

    /// Executes the words of a RESP request, the command's name first.
    pub(crate) fn execute_words(&mut self, words: Args<'_>, asker: &mut Asker<'_>) -> Next {
        match resolve(words) {
            Ok(command) => self.execute(command, words.behind_name(), asker),
            Err(unresolved) => {
                asker.client.begin_answer();
                let line = unresolved.line(words, asker.client.protocol);
                let is_exec = words.at(0).eq_ignore_ascii_case(b"EXEC");
                self.refuse(&line, is_exec, asker);
                asker.client.end_answer();
                Next::Continue
            }
        }
    }

    /// Answers a line of text that is no request.
    pub(crate) fn refuse_line(&mut self, error: &SyntaxError, asker: &mut Asker<'_>) {
        asker.client.begin_answer();
        self.refuse(format!("ERR {error}").as_bytes(), false, asker);
        asker.client.end_answer();
    }

    /// Answers a command that is not executed, nor queued: a transaction cannot succeed without it.
    fn refuse(&mut self, line: &[u8], is_exec: bool, asker: &mut Asker<'_>) {
        if asker.client.traits.has(Traits::QUEUEING) {
            asker.client.traits.set(Traits::SPOILT);
        }
        if is_exec {
            commands::forget_transaction(asker.client, &mut self.keyspace);
            let reason = line.strip_prefix(b"ERR ").unwrap_or(line);
            let line = [b"EXECABORT Transaction discarded because of: ", reason].concat();
            return self.reply_error(asker, &line);
        }
        self.reply_error(asker, line);
    }

    /// Answers bytes that cannot be gone on with.
    pub(crate) fn refuse_bytes(&mut self, error: &ProtocolError, asker: &mut Asker<'_>) {
        self.reply_error(asker, format!("ERR {error}"));
    }

    /// Executes one request.
    #[inline]
    pub(crate) fn execute(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        asker: &mut Asker<'_>,
    ) -> Next {
        self.stats.count(command.verb);
        asker.client.last_command = Some(command);
        if self.is_plain && asker.client.is_plain() {
            let db = asker.client.db();
            match command.verb {
                Verb::Get => return self.read(db, args.at(0), Pending::Get, asker),
                Verb::Exists if args.len() == 1 => {
                    return self.read(db, args.at(0), Pending::Exists, asker);
                }
                Verb::Set if args.len() == 2 => {
                    let written = self.keyspace.set(db, args.at(0), args.at(1));
                    return self.reply_written(written, "OK", asker);
                }
                Verb::Del if args.len() == 1 && asker.client.protocol == Protocol::Text => {
                    let written = self.keyspace.delete_blindly(db, args.at(0));
                    return self.reply_written(written, "OK_DELETED", asker);
                }
                _ => {}
            }
        }
        self.execute_fully(command, args, asker)
    }

    // ---- the short way ----

    fn reply_written(&mut self, written: Written, word: &str, asker: &mut Asker<'_>) -> Next {
        match written {
            Written::Done(seq) => {
                self.reply(asker, seq, |reply| reply.simple(word));
                if self.keyspace.is_watched() {
                    self.tell_disturbed(asker.client);
                }
            }
            Written::Stalled => {
                self.stats.uncount(asker.client.last_command);
                self.stats.parked += 1;
                return Next::Later;
            }
            Written::Refused(fault) => self.reply_error(asker, fault.line()),
        }
        Next::Continue
    }

    fn read(&mut self, db: usize, key: &[u8], pending: Pending, asker: &mut Asker<'_>) -> Next {
        let (durable, swap_seq) = (self.durable, self.keyspace.swap_seq());
        let read = match self.keyspace.get(db, key) {
            Ok(Lookup::Found(record)) => {
                self.stats.hits += 1;
                let (protocol, mut failed) = (asker.client.protocol, false);
                asker.outbox.push(protocol, record.version.max(swap_seq), durable, |reply| {
                    failed = answer_read(reply, pending, Some(&record.value));
                });
                self.stats.errors += u64::from(failed);
                return Next::Continue;
            }
            Ok(Lookup::Missing { seq }) => {
                self.stats.misses += 1;
                let seq = seq.max(swap_seq);
                self.reply(asker, seq, |reply| _ = answer_read(reply, pending, None));
                return Next::Continue;
            }
            Ok(Lookup::Deferred(read)) => read,
            Err(error) => {
                self.reply_error(asker, Fault::from(&error).line());
                return Next::Continue;
            }
        };
        let slot = asker.outbox.reserve(pending, asker.client.protocol);
        if self.workers.submit(Job::Read { connection: asker.client.id, slot, read }) {
            self.stats.deferred += 1;
            return Next::Continue;
        }
        asker.outbox.cancel_last();
        self.stats.uncount(asker.client.last_command);
        Next::Later
    }

    fn reply(&self, asker: &mut Asker<'_>, seq: Seq, write: impl FnOnce(&mut Encoder<'_>)) {
        asker.outbox.push(asker.client.protocol, seq, self.durable, write);
    }

    /// Answers with an error.
    pub(crate) fn reply_error(&mut self, asker: &mut Asker<'_>, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        self.stats.count_error(line);
        if !asker.client.is_silent() {
            self.reply(asker, 0, |reply| reply.error(line));
        }
    }
}

/// Makes the reply to a read from the stored bytes. Returns whether it is an error.
fn answer_read(reply: &mut Encoder<'_>, pending: Pending, stored: Option<&[u8]>) -> bool {
    if pending == Pending::Exists {
        reply.integer(i64::from(stored.is_some()));
        return false;
    }
    match stored.map(decode) {
        None => reply.null(),
        Some(Ok(value)) => reply.bulk(value),
        Some(Err(fault)) => {
            reply.error(fault.line());
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pending: Pending, stored: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        answer_read(&mut Encoder::new(Protocol::Text, &mut out), pending, stored);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn answers_to_reads() {
        assert_eq!(answer(Pending::Get, Some(b"\0v")), "v\n");
        assert_eq!(answer(Pending::Get, None), "NULL\n");
        assert_eq!(answer(Pending::Exists, Some(b"\x09v")), "1\n");
        assert_eq!(answer(Pending::Exists, None), "0\n");
        assert!(answer(Pending::Get, Some(b"\x09v")).starts_with("ERR WRONGTYPE "));
    }
}
