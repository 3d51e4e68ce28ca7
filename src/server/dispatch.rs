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

use crate::engine::{Engine, Lookup, Record, Result as EngineResult, Seq, Ticket};
use crate::parser::error::ProtocolError;
use crate::parser::request::{Batch, Item};
use crate::parser::table::Flags;
use crate::parser::{Args, Command, Encoder, Limits, Protocol, SyntaxError, Verb, resolve};

use super::Settings;
use super::client::{Client, Clients, Traits};
use super::commands::{self, Call};
use super::cursors::Cursors;
use super::effects::{Classes, Effects};
use super::info::Identity;
use super::interrupt::{Fault, Interrupt};
use super::keyspace::{Fetched, Keyspace, Written, decode};
use super::latency::LatencyMonitor;
use super::limits::{
    MAX_WORDS, REQUEST_BYTES, TRANSACTION_BYTES, USER_KEY_BYTES, USER_VALUE_BYTES,
};
use super::notify::Notifier;
use super::outbox::{Finish, Outbox, Pending, SlotNumber};
use super::pubsub::{Delivery, PubSub};
use super::saving::Saving;
use super::settings::Runtime;
use super::slowlog::SlowLog;
use super::stats::Stats;
use super::token::ConnectionId;
use super::workers::{Answer, Job, Workers};

/// What requests must keep to.
pub(crate) const LIMITS: Limits = Limits {
    key_bytes: USER_KEY_BYTES,
    value_bytes: USER_VALUE_BYTES,
    bulk_bytes: USER_VALUE_BYTES,
    request_bytes: REQUEST_BYTES,
    words: MAX_WORDS,
    is_stranger: false,
};

/// The error for a reply past [`crate::parser::reply::MAX_REPLY_BYTES`].
const REPLY_TOO_LONG: &str =
    "ERR the reply would have more than 536870912 bytes: ask for less at a time";

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
    Close,
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
    pub(crate) identity: Identity,
    pub(crate) runtime: Runtime,
    pub(crate) clients: Clients,
    pub(crate) pubsub: PubSub,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: LatencyMonitor,
    pub(crate) saving: Saving,
    /// Where SCAN goes on; workers add to it.
    pub(crate) cursors: Arc<Mutex<Cursors>>,
    /// What the command that runs wants to tell others.
    pub(crate) effects: Effects,
    /// Messages that are to be put into other clients' outboxes.
    pub(crate) deliveries: Vec<Delivery>,
    /// Connections to be closed.
    pub(crate) kills: Vec<ConnectionId>,
    /// Clients that see all commands.
    pub(crate) monitors: Vec<ConnectionId>,
    /// Memory for the requests that are parsed together.
    pub(crate) batch: Batch,
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
        let mut services = Services {
            keyspace,
            workers: Workers::start(settings.workers, notifier).map_err(super::Error::Start)?,
            tickets: Vec::new(),
            stats: Stats::new(settings.max_connections),
            identity: Identity::new(addresses, settings.durability),
            runtime: Runtime::new(settings),
            clients: Clients::default(),
            pubsub: PubSub::default(),
            slowlog: SlowLog::default(),
            latency: LatencyMonitor::default(),
            saving,
            cursors: Arc::default(),
            effects: Effects::default(),
            deliveries: Vec::new(),
            kills: Vec::new(),
            monitors: Vec::new(),
            batch: Batch::default(),
            is_plain: false,
            durable: 0,
            tick_ms: 0,
            shutdown: false,
        };
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
        commands::forget_transaction(&mut client, &mut self.keyspace);
        commands::forget_subscriptions(&mut client, &mut self.pubsub);
        if client.traits.has(Traits::MONITOR) {
            self.monitors.retain(|&monitor| monitor != id);
        }
        self.update_plain();
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
            Ok(command) => self.execute(command, words.from(1), asker),
            Err(unresolved) => {
                self.begin_answer(asker);
                let line = unresolved.line(words, asker.client.protocol);
                let is_exec = words.at(0).eq_ignore_ascii_case(b"EXEC");
                self.refuse(&line, is_exec, asker);
                Next::Continue
            }
        }
    }

    /// Answers a line of text that is no request.
    pub(crate) fn refuse_line(&mut self, error: &SyntaxError, asker: &mut Asker<'_>) {
        self.begin_answer(asker);
        self.refuse(format!("ERR {error}").as_bytes(), false, asker);
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
        self.reply_error(asker, &format!("ERR {error}"));
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
        let durable = self.durable;
        let read = match self.keyspace.get(db, key) {
            Ok(Lookup::Found(record)) => {
                self.stats.hits += 1;
                let (protocol, mut failed) = (asker.client.protocol, false);
                asker.outbox.push(protocol, record.version, durable, |reply| {
                    failed = answer_read(reply, pending, Some(&record.value));
                });
                self.stats.errors += u64::from(failed);
                return Next::Continue;
            }
            Ok(Lookup::Missing { seq }) => {
                self.stats.misses += 1;
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
        if !self.is_silent(asker.client) {
            self.reply(asker, 0, |reply| reply.error(line));
        }
    }

    // ---- the long way ----

    /// Whether the client does not want the answer to this command.
    fn is_silent(&self, client: &Client) -> bool {
        client.traits.has(Traits::SILENT) || client.traits.has(Traits::SKIP_THIS)
    }

    /// A new command begins: what CLIENT REPLY SKIP said of the next one is said of it.
    fn begin_answer(&mut self, asker: &mut Asker<'_>) {
        let traits = &mut asker.client.traits;
        traits.put(Traits::SKIP_THIS, traits.has(Traits::SKIP_NEXT));
        traits.clear(Traits::SKIP_NEXT);
    }

    fn execute_fully(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        asker: &mut Asker<'_>,
    ) -> Next {
        let traits_before = asker.client.traits;
        self.begin_answer(asker);
        if let Some(line) = self.refusal(command, asker.client) {
            self.stats.reject(command.verb);
            self.refuse(line.as_bytes(), command.verb == Verb::Exec, asker);
            return Next::Continue;
        }
        if self.must_pause(command, asker.client) {
            asker.client.traits = traits_before;
            self.stats.uncount(Some(command));
            return Next::Later;
        }
        let queues = !matches!(
            command.verb,
            Verb::Exec | Verb::Discard | Verb::Multi | Verb::Watch | Verb::Quit | Verb::Reset
        );
        if asker.client.traits.has(Traits::QUEUEING) && queues {
            self.queue(command, args, asker);
            return Next::Continue;
        }
        let next = self.run(command, args, asker);
        if matches!(next, Next::Later | Next::Await) {
            asker.client.traits = traits_before;
            self.stats.uncount(Some(command));
        }
        self.update_plain();
        next
    }

    /// Why a client may not have this command run, or queued, at all.
    fn refusal(&self, command: &Command, client: &Client) -> Option<String> {
        let traits = client.traits;
        if !traits.has(Traits::AUTHENTICATED) && !command.flags.has(Flags::NO_AUTH) {
            return Some("NOAUTH Authentication required.".to_owned());
        }
        let listens_only = traits.has(Traits::SUBSCRIBED) && client.protocol == Protocol::Resp2;
        let may_listen = matches!(
            command.verb,
            Verb::Subscribe
                | Verb::Unsubscribe
                | Verb::PSubscribe
                | Verb::PUnsubscribe
                | Verb::Ping
                | Verb::Quit
                | Verb::Reset
        );
        if listens_only && !may_listen {
            let name = command.full_name();
            return Some(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            ));
        }
        let touches_keys = command.flags.has(Flags::WRITE)
            || command.flags.has(Flags::READONLY)
            || command.verb == Verb::Publish;
        if traits.has(Traits::MONITOR) && touches_keys {
            return Some("ERR Replica can't interact with the keyspace".to_owned());
        }
        if traits.has(Traits::QUEUEING) {
            if command.flags.has(Flags::NO_MULTI)
                && command.verb != Verb::Multi
                && command.verb != Verb::Watch
            {
                return Some("ERR Command not allowed inside a transaction".to_owned());
            }
            if commands::runs_elsewhere(command.verb) {
                let name = command.full_name();
                return Some(format!(
                    "ERR '{name}' reads from disk over a snapshot and is not allowed inside a transaction"
                ));
            }
        }
        None
    }

    /// Whether CLIENT PAUSE holds this command back.
    fn must_pause(&mut self, command: &Command, client: &Client) -> bool {
        let Some(pause) = self.runtime.pause else { return false };
        if pause.until_ms <= self.tick_ms {
            self.runtime.pause = None;
            return false;
        }
        let is_exempt = matches!(command.verb, Verb::ClientUnpause | Verb::ClientPause)
            && !client.traits.has(Traits::QUEUEING);
        let has_writes = || {
            let queue = client.transaction.as_deref().map(|transaction| &transaction.queue);
            queue.is_some_and(|queue| queue.iter().any(|q| q.command.flags.has(Flags::WRITE)))
        };
        let is_held = pause.holds_reads
            || command.flags.has(Flags::WRITE)
            || command.verb == Verb::Publish
            || (command.verb == Verb::Exec && has_writes());
        if is_held && !is_exempt {
            let left = pause.until_ms - self.tick_ms;
            self.keyspace.retry_within(std::time::Duration::from_millis(left));
        }
        is_held && !is_exempt
    }

    fn queue(&mut self, command: &'static Command, args: Args<'_>, asker: &mut Asker<'_>) {
        let transaction = asker.client.transaction();
        let args = crate::parser::OwnedArgs::copy(args.iter());
        let bytes = args.size_bytes() + size_of::<super::client::Queued>();
        if transaction.queued_bytes + bytes > TRANSACTION_BYTES {
            asker.client.traits.set(Traits::SPOILT);
            let line = format!("ERR the transaction has more than {TRANSACTION_BYTES} bytes");
            return self.reply_error(asker, &line);
        }
        transaction.queued_bytes += bytes;
        transaction.queue.push(super::client::Queued { command, args });
        if !self.is_silent(asker.client) {
            self.reply(asker, 0, |reply| reply.simple("QUEUED"));
        }
    }

    fn run(&mut self, command: &'static Command, args: Args<'_>, asker: &mut Asker<'_>) -> Next {
        // Nobody must see that a key has expired before those who listen are told.
        let expired = self.tell_expiries(Some(asker.client));
        if !expired.is_empty() {
            asker.outbox.push_bytes(&expired, self.keyspace.last_seq(), self.durable);
        }
        let started = self.start_clock(command);
        let mut out = asker.outbox.take_end();
        let begin = out.len();
        self.keyspace.begin(std::mem::take(&mut asker.client.fetched));
        self.effects.clear();
        let protocol = asker.client.protocol;
        let mut reply = Encoder::new(protocol, &mut out);
        let mut call = Call {
            command,
            args,
            reply: &mut reply,
            client: &mut *asker.client,
            services: &mut *self,
            next: Next::Continue,
        };
        let mut handled = commands::handle(&mut call);
        let next = call.next;
        if reply.is_too_long() {
            handled = Err(Fault::from(REPLY_TOO_LONG).into());
        }
        drop(reply);
        if handled.is_ok() {
            handled = self.keyspace.commit();
        }
        let seq = self.keyspace.shown();
        if !self.monitors.is_empty() && !matches!(handled, Err(Interrupt::Later)) {
            self.show_to_monitors(command, args, asker.client);
        }
        let next = match handled {
            Ok(()) => {
                self.end_command(command, asker.client, &mut out, begin);
                next
            }
            Err(interrupt) => {
                out.truncate(begin);
                let fetched = self.keyspace.take_fetched();
                self.keyspace.discard();
                self.effects.clear();
                if let Interrupt::Fault(_) = interrupt {
                    self.note_misses(command, 0);
                    let own = self.publish_effects(Some(asker.client));
                    out.extend_from_slice(&own);
                }
                asker.outbox.put_end(out, 0, self.durable);
                return self.interrupted(interrupt, command, fetched, seq, asker);
            }
        };
        if self.is_silent(asker.client) {
            out.truncate(begin);
        }
        // What it asked about the past of the keyspace, or wrote, must be durable before it is told.
        asker.outbox.put_end(out, seq, self.durable);
        self.stop_clock(started, command, args, asker.client);
        next
    }

    /// A command has taken effect: tell those who want to know.
    fn end_command(
        &mut self,
        command: &Command,
        client: &mut Client,
        out: &mut Vec<u8>,
        begin: usize,
    ) {
        if command.flags.has(Flags::READONLY) {
            let (found, missed) = self.keyspace.hits_and_misses();
            self.stats.hits += found;
            self.stats.misses += missed;
        }
        self.tell_disturbed(client);
        self.note_misses(command, 0);
        if !self.effects.is_empty() {
            self.publish_effects_of(client, out, begin);
        }
    }

    /// Notes events for keys that a reading command looked for in vain, before what else it has
    /// noted after the first `at`.
    pub(crate) fn note_misses(&mut self, command: &Command, at: usize) {
        let Some(missing) = self.keyspace.missing.as_mut().filter(|missing| !missing.is_empty())
        else {
            return;
        };
        let missing = std::mem::take(missing);
        if commands::tells_misses(command) {
            for (db, key) in missing.into_iter().rev() {
                self.effects.notify_before(at, Classes::MISS, "keymiss", db, &key);
            }
        }
    }

    /// Notes whose watched keys were changed.
    pub(crate) fn tell_disturbed(&mut self, client: &mut Client) {
        for id in self.keyspace.take_disturbed() {
            if id == client.id {
                client.traits.set(Traits::DISTURBED);
            } else if let Some(other) = self.clients.get_mut(id) {
                other.traits.set(Traits::DISTURBED);
            }
        }
    }

    fn interrupted(
        &mut self,
        interrupt: Interrupt,
        command: &'static Command,
        fetched: Vec<Fetched>,
        seq: Seq,
        asker: &mut Asker<'_>,
    ) -> Next {
        match interrupt {
            Interrupt::Fault(fault) => {
                self.keyspace.take_wanted();
                self.stats.fail(command.verb);
                self.stats.count_error(fault.line());
                if !self.is_silent(asker.client) {
                    self.reply(asker, seq, |reply| reply.error(fault.line()));
                }
                Next::Continue
            }
            Interrupt::Later => self.wait_for_reads(fetched, asker),
            Interrupt::Work(_) | Interrupt::Ticket(..) if self.is_silent(asker.client) => {
                Next::Continue
            }
            Interrupt::Work(work) => {
                let pending = Pending::Work;
                let slot = asker.outbox.reserve(pending, asker.client.protocol);
                let connection = asker.client.id;
                if self.workers.submit(Job::Work { connection, slot, work }) {
                    return Next::Continue;
                }
                asker.outbox.cancel_last();
                Next::Later
            }
            Interrupt::Ticket(ticket, finish) => {
                let pending = Pending::Finish(finish);
                let slot = asker.outbox.reserve(pending, asker.client.protocol);
                match ticket.poll() {
                    Some(result) => self.answer_ticket(slot, &result, asker),
                    None => {
                        let connection = asker.client.id;
                        self.tickets.push(WaitingTicket { connection, slot, ticket });
                    }
                }
                Next::Continue
            }
        }
    }

    /// Has workers read what a command lacks. Without any such, the engine is behind.
    fn wait_for_reads(&mut self, fetched: Vec<Fetched>, asker: &mut Asker<'_>) -> Next {
        let wanted = self.keyspace.take_wanted();
        if wanted.is_empty() {
            self.stats.parked += 1;
            return Next::Later;
        }
        asker.client.fetched = fetched;
        for (key, read) in wanted {
            let job = Job::Fetch { connection: asker.client.id, key, read };
            if !self.workers.submit(job) {
                // What is read meanwhile need not be read again.
                break;
            }
            self.stats.deferred += 1;
            asker.client.awaited += 1;
        }
        if asker.client.awaited > 0 { Next::Await } else { Next::Later }
    }

    /// Recomputes whether commands may take the short way.
    pub(crate) fn update_plain(&mut self) {
        self.update_expiries();
        let classes = self.effects.classes;
        let tells_misses = classes.is_active() && classes.has(Classes::MISS);
        self.keyspace.missing =
            tells_misses.then(|| self.keyspace.missing.take().unwrap_or_default());
        self.is_plain = self.monitors.is_empty()
            && self.runtime.pause.is_none()
            && !self.effects.classes.is_active()
            && !self.slowlog.wants_all();
    }

    // ---- answers that come later ----

    /// Answers a read that a worker did.
    pub(crate) fn answer_read(
        &mut self,
        slot: SlotNumber,
        result: &EngineResult<Option<Record<'_>>>,
        outbox: &mut Outbox,
    ) {
        let Some((pending, protocol)) = outbox.pending(slot) else { return };
        let mut bytes = Vec::new();
        let mut reply = Encoder::new(protocol, &mut bytes);
        let failed = match result {
            Ok(found) => {
                *if found.is_some() { &mut self.stats.hits } else { &mut self.stats.misses } += 1;
                answer_read(&mut reply, pending, found.as_ref().map(|record| &*record.value))
            }
            Err(error) => {
                reply.error(Fault::from(error).line());
                true
            }
        };
        drop(reply);
        self.stats.errors += u64::from(failed);
        outbox.answer(slot, bytes, 0, self.durable);
    }

    /// Passes on the reply that a worker made.
    pub(crate) fn answer_work(&mut self, slot: SlotNumber, answer: Answer, outbox: &mut Outbox) {
        self.stats.errors += u64::from(answer.is_error);
        outbox.answer(slot, answer.bytes, answer.seq, self.durable);
    }

    /// Answers a command for which the engine has done its part.
    pub(crate) fn answer_ticket(
        &mut self,
        slot: SlotNumber,
        result: &EngineResult<()>,
        asker: &mut Asker<'_>,
    ) {
        let Some((pending, protocol)) = asker.outbox.pending(slot) else { return };
        let mut bytes = Vec::new();
        let mut reply = Encoder::new(protocol, &mut bytes);
        match result {
            Ok(()) if pending == Pending::Finish(Finish::Compact) => reply.simple("OK_COMPACTED"),
            Ok(()) => reply.ok(),
            Err(error) => {
                self.stats.errors += 1;
                reply.error(Fault::from(error).line());
            }
        }
        drop(reply);
        asker.outbox.answer(slot, bytes, 0, self.durable);
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
