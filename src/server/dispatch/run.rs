//! The long way of a command: may it run, does it run now, what becomes of it.
//!
//! A command runs with its writes staged and takes effect when they are committed. One that is
//! interrupted has done nothing: what it staged, noted and wrote is taken back before anything else
//! happens.

use std::collections::HashSet;

use crate::engine::Seq;
use crate::parser::table::Flags;
use crate::parser::{Args, Command, Encoder, Protocol, Verb};

use super::super::client::{Client, Traits};
use super::super::commands::{self, Call};
use super::super::effects::Classes;
use super::super::interrupt::{Fault, Interrupt, REPLY_TOO_LONG};
use super::super::keyspace::Fetched;
use super::super::limits::{
    LONG_TRANSACTION_COMMANDS, QUEUED_WORD_BYTES, TRANSACTION_BYTES, TRANSACTION_RETRY,
};
use super::super::outbox::Pending;
use super::super::workers::Job;
use super::{Asker, Next, Services, WaitingTicket};

impl Services<'_> {
    pub(super) fn execute_fully(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        asker: &mut Asker<'_>,
    ) -> Next {
        let traits_before = asker.client.traits;
        asker.client.begin_answer();
        if let Some(line) = refusal(command, asker.client) {
            self.stats.reject(command.verb);
            self.refuse(line.as_bytes(), command.verb == Verb::Exec, asker);
            asker.client.end_answer();
            return Next::Continue;
        }
        if self.must_pause(command, asker.client) || self.must_wait(command, asker.client) {
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
            asker.client.end_answer();
            return Next::Continue;
        }
        let protocol_before = asker.client.protocol;
        let next = self.run(command, args, asker);
        if matches!(next, Next::Later | Next::Await) {
            // A HELLO in a transaction may have changed it.
            asker.client.protocol = protocol_before;
            asker.client.traits = traits_before;
            self.stats.uncount(Some(command));
        } else {
            self.counts.end_question(asker.client.id);
            asker.client.end_answer();
        }
        self.update_plain();
        next
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
            queue.is_some_and(|queue| queue.iter().any(|(one, _)| one.flags.has(Flags::WRITE)))
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

    /// Whether a long transaction waits until others have taken their replies: its own may be long, and
    /// what all of them hold is bounded. Those who take none are closed before long.
    fn must_wait(&mut self, command: &Command, client: &Client) -> bool {
        let queue = client.transaction.as_deref().map(|transaction| &transaction.queue);
        let is_long = queue.is_some_and(|queue| queue.len() > LONG_TRANSACTION_COMMANDS);
        if command.verb != Verb::Exec || !is_long || !self.holdings.is_half_full() {
            return false;
        }
        let unread_bytes = self.clients.iter().map(|client| client.unread_bytes as usize).sum();
        let waits = self.holdings.is_large_share(unread_bytes);
        if waits {
            self.keyspace.retry_within(TRANSACTION_RETRY);
        }
        waits
    }

    fn queue(&mut self, command: &'static Command, args: Args<'_>, asker: &mut Asker<'_>) {
        let transaction = asker.client.transaction();
        let words: usize = args.iter().map(<[u8]>::len).sum();
        let bytes = words + (args.len() + 1) * QUEUED_WORD_BYTES;
        if transaction.queued_bytes + bytes > TRANSACTION_BYTES {
            asker.client.traits.set(Traits::SPOILT);
            let line = format!("ERR the transaction has more than {TRANSACTION_BYTES} bytes");
            return self.reply_error(asker, &line);
        }
        transaction.queued_bytes += bytes;
        transaction.queue.push(command, args);
        if !asker.client.is_silent() {
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
        if asker.client.fetched.is_empty() {
            asker.client.fetched_bytes = 0;
        }
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
        self.turn_bytes += self.keyspace.looked_up_bytes();
        if !self.monitors.is_empty() && !matches!(handled, Err(Interrupt::Later)) {
            self.show_to_monitors(command, args, asker.client);
        }
        let next = match handled {
            Ok(()) => {
                if asker.client.is_silent() && !commands::speaks_to_the_silent(command.verb) {
                    out.truncate(begin);
                }
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
                    self.note_met();
                    let own = self.publish_effects(Some(asker.client));
                    out.extend_from_slice(&own);
                }
                // Of misses, of which it may have told, one may be due to a write.
                asker.outbox.put_end(out, seq, self.durable);
                let next = self.interrupted(interrupt, command, fetched, seq, asker);
                if next == Next::Continue {
                    self.stop_clock(started, command, args, asker.client);
                }
                return next;
            }
        };
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
        self.note_met();
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

    /// Notes events for keys that the command has met and that had expired, before what else it has
    /// noted.
    fn note_met(&mut self) {
        for (key, _) in self.keyspace.take_expired().into_iter().rev() {
            self.stats.expired += 1;
            if let Some(db) = self.keyspace.database_of(key[0]) {
                self.effects.notify_before(0, Classes::EXPIRED, "expired", db, &key[1..]);
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
                if !asker.client.is_silent() {
                    self.reply(asker, seq, |reply| reply.error(fault.line()));
                }
                Next::Continue
            }
            Interrupt::Later => self.wait_for_reads(fetched, asker),
            Interrupt::Work(_) | Interrupt::Ticket(..) if asker.client.is_silent() => {
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
                if let Some(result) = ticket.poll() {
                    self.answer_ticket(slot, &result, asker);
                } else {
                    let connection = asker.client.id;
                    self.tickets.push(WaitingTicket { connection, slot, ticket });
                }
                Next::Continue
            }
        }
    }

    /// Has workers read what a command lacks. Without any such, the engine is behind.
    fn wait_for_reads(&mut self, fetched: Vec<Fetched>, asker: &mut Asker<'_>) -> Next {
        let wanted = self.keyspace.take_wanted();
        let wants_walks = self.keyspace.wants_walks();
        if wanted.is_empty() && !wants_walks {
            self.stats.parked += u64::from(!self.counts.is_asked_by(asker.client.id));
            return Next::Later;
        }
        asker.client.fetched = fetched;
        if wants_walks {
            self.start_walks(asker.client);
        }
        let mut keys = HashSet::new();
        for (key, read) in wanted {
            if !keys.insert(key.clone()) {
                continue;
            }
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

    /// Has a worker walk over keys for a transaction.
    fn start_walks(&mut self, client: &mut Client) {
        let old =
            client.transaction.as_deref_mut().and_then(|transaction| transaction.walks.take());
        let job = Box::new(self.keyspace.walk_job(old));
        if self.workers.submit(Job::Walks { connection: client.id, job }) {
            self.stats.deferred += 1;
            client.awaited += 1;
        }
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
}

/// Why a client may not have this command run, or queued, at all.
fn refusal(command: &Command, client: &Client) -> Option<String> {
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
    let has_words_of_its_own = matches!(command.verb, Verb::Multi | Verb::Watch);
    if traits.has(Traits::QUEUEING) && command.flags.has(Flags::NO_MULTI) && !has_words_of_its_own {
        return Some("ERR Command not allowed inside a transaction".to_owned());
    }
    None
}
