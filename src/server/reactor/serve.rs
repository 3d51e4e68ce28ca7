//! The phase of turns: connections that have input execute a bounded amount of it, in rotation. And
//! the news from other threads, which answers pending replies and wakes who was parked.

use std::io;
use std::os::fd::AsRawFd;

use super::super::acceptor::Accepted;
use super::super::closing::CloseReason;
use super::super::connection::{Flags, Turn};
use super::super::dispatch::Asker;
use super::super::keepalive::keep_alive;
use super::super::keyspace::Fetched;
use super::super::limits::{LOOKUP_BYTES, MAX_CONNECTIONS};
use super::super::token::{ConnectionId, Source};
use super::super::walks::Walks;
use super::super::warnings::Warning;
use super::super::workers::Completion;
use super::{Connection, Reactor, as_ms, enlist, find, recycle};
use crate::engine::Error;
use crate::parser::Protocol;

impl Reactor<'_> {
    /// Gives each connection on the ready list one turn.
    pub(super) fn serve_ready(&mut self) {
        let list = self.take_list(|lists| &mut lists.ready);
        for &id in &list {
            self.serve(id);
        }
        self.put_back(list);
    }

    fn serve(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.flags.clear(Flags::ON_READY);
        if !connection.wants_turn(self.services.holdings.is_short()) {
            return self.enlist_by_state(id);
        }
        if connection.flags.has(Flags::LINGERING) {
            return self.discard(id);
        }
        if connection.outbox.lacks_buffer() {
            connection.outbox.lend_buffer(self.pool.pop().unwrap_or_default());
        }
        let turn = connection.turn(&mut self.services, &mut self.scratch, self.now_ms);
        if let Some(buffer) = connection.outbox.take_buffer() {
            recycle(&mut self.pool, buffer);
        }
        self.end_turn(id, turn);
    }

    fn end_turn(&mut self, id: ConnectionId, turn: io::Result<Turn>) {
        match turn {
            Ok(Turn::Abort(reason)) => return self.doom(id, reason),
            Ok(Turn::Stalled) => self.lists.parked.push(id),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a client's connection broke");
                return self.doom(id, CloseReason::Broken);
            }
        }
        self.enlist_by_state(id);
    }

    /// Reads a connection that is closing, so that its last reply is not lost to a reset.
    fn discard(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.discard(&mut self.scratch) {
            return self.doom(id, CloseReason::Ended);
        }
        self.enlist_by_state(id);
    }

    /// Collects what workers and engine have done.
    pub(super) fn take_news(&mut self) {
        if self.notifier.take_stop() {
            self.stopping.request(self.now_ms);
        }
        self.services.durable = self.engine.durable_seq();
        self.answer_reads();
        self.answer_compactions();
        self.services.poll_saving();
        self.unpark();
        if self.failure.is_none() && !self.lists.frontier.is_empty() {
            self.look_for_failure();
        }
    }

    fn answer_reads(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        self.services.workers.collect(&mut completions);
        for done in completions.drain(..) {
            match done {
                Completion::Read { connection: id, slot, result } => {
                    let Some(connection) = find(&mut self.connections, id) else { continue };
                    self.services.answer_read(slot, &result, &mut connection.outbox);
                    self.after_answer(id);
                }
                Completion::Work { connection: id, slot, answer } => {
                    let Some(connection) = find(&mut self.connections, id) else { continue };
                    self.services.answer_work(slot, answer, &mut connection.outbox);
                    self.after_answer(id);
                }
                Completion::Walks { connection: id, walks } => self.take_walks(id, walks),
                Completion::Fetch { connection: id, key, read, result } => {
                    self.take_fetched(id, Fetched { key, read, result });
                }
                Completion::Expiry { owner, key, read, result } => {
                    self.services.take_expiry_read(owner, Fetched { key, read, result });
                }
                Completion::Sweep(sweep) => self.services.take_sweep(sweep),
                Completion::Count(counting) => self.services.counts.finish(&counting),
            }
        }
        self.completions = completions;
    }

    /// A read that a command waits for is done; with the last of them it runs again.
    fn take_fetched(&mut self, id: ConnectionId, mut fetched: Fetched) {
        let Some(client) = self.services.clients.get_mut(id) else { return };
        let value = fetched.result.as_ref().ok().and_then(Option::as_ref);
        client.fetched_bytes += value.map_or(0, |record| record.value.len());
        if client.fetched_bytes > LOOKUP_BYTES {
            // It may not read so much; that it is told by its next run, without the memory.
            let sentence = format!("the command reads more than {LOOKUP_BYTES} bytes of values");
            fetched.result = Err(Error::InvalidOption(sentence));
        }
        client.fetched.push(fetched);
        self.take_awaited(id);
    }

    /// The walks of a transaction are done.
    fn take_walks(&mut self, id: ConnectionId, walks: Walks) {
        let Some(client) = self.services.clients.get_mut(id) else { return };
        client.transaction().walks = Some(walks);
        self.take_awaited(id);
    }

    /// Something that a command waits for is there; with the last of it, it runs again.
    fn take_awaited(&mut self, id: ConnectionId) {
        let Some(client) = self.services.clients.get_mut(id) else { return };
        client.awaited = client.awaited.saturating_sub(1);
        if client.awaited > 0 {
            self.settle(id);
            return;
        }
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.flags.clear(Flags::AWAITING) {
            self.enlist_by_state(id);
        }
    }

    fn answer_compactions(&mut self) {
        for waiting in std::mem::take(&mut self.services.tickets) {
            let Some(result) = waiting.ticket.poll() else {
                self.services.tickets.push(waiting);
                continue;
            };
            let id = waiting.connection;
            let Some(connection) = find(&mut self.connections, id) else { continue };
            let Some(mut client) = self.services.clients.take(id) else { continue };
            let mut asker = Asker { client: &mut client, outbox: &mut connection.outbox };
            self.services.answer_ticket(waiting.slot, &result, &mut asker);
            self.services.clients.put_back(client);
            self.after_answer(id);
        }
    }

    /// Puts messages into the outboxes of those that they are for, and closes whom CLIENT KILL names.
    pub(super) fn deliver_messages(&mut self) {
        let durable = self.services.durable;
        self.services.delivery_bytes = 0;
        let mut most_queued = None;
        for message in std::mem::take(&mut self.services.deliveries) {
            let Some(connection) = find(&mut self.connections, message.to) else { continue };
            if connection.flags.has(Flags::CLOSING) {
                continue;
            }
            connection.outbox.push_bytes(&message.bytes, message.seq, durable);
            connection.outbox.close_mark();
            most_queued = most_queued.max(Some(connection.outbox.queued_bytes()));
            if !self.breaches_output_bound(message.to) {
                self.enlist_by_state(message.to);
            }
        }
        self.services.note_backlog(most_queued);
        for (id, reason) in std::mem::take(&mut self.services.kills) {
            self.doom(id, reason);
        }
    }

    fn after_answer(&mut self, id: ConnectionId) {
        self.enlist_by_state(id);
    }

    /// Lets parked connections try again when the engine said so.
    pub(super) fn retry_parked(&mut self) {
        if self.retry_ms.is_some_and(|retry_ms| retry_ms <= self.now_ms) {
            self.retry_ms = None;
            self.unpark();
        }
    }

    /// Notes when connections that were parked in this tick should try again.
    pub(super) fn note_retry(&mut self) {
        if let Some(after) = self.services.keyspace.take_retry_after() {
            let retry_ms = self.now_ms + as_ms(after) + 1;
            self.retry_ms = Some(self.retry_ms.map_or(retry_ms, |earlier| earlier.min(retry_ms)));
        }
    }

    /// Lets every parked connection try again.
    fn unpark(&mut self) {
        let list = self.take_list(|lists| &mut lists.parked);
        for &id in &list {
            if let Some(connection) = find(&mut self.connections, id)
                && connection.flags.clear(Flags::PARKED)
            {
                enlist(&mut self.lists.ready, connection, Flags::ON_READY);
            }
        }
        self.put_back(list);
    }

    /// Accepts waiting clients, a bounded number.
    pub(super) fn accept(&mut self) {
        let most = self.services.stats.max_connections.min(MAX_CONNECTIONS);
        let now_ms = self.now_ms;
        self.acceptor.begin_tick(now_ms);
        while let Some(accepted) = self.acceptor.next(now_ms, &mut self.services.warnings) {
            if self.connections.len() >= most {
                self.services.stats.refused += 1;
                if self.services.warnings.admit(Warning::TooManyConnections, now_ms) {
                    tracing::warn!(most, "too many connections: a new client is turned away");
                }
                accepted.turn_away(most);
                continue;
            }
            let Accepted { mut socket, peer, is_redis } = accepted;
            let local = socket.local_addr().unwrap_or(peer);
            let entry = self.connections.vacant_entry();
            let generation = self.next_generation;
            self.next_generation = generation.wrapping_add(1);
            let id = ConnectionId { slot: entry.key() as u32, generation };
            let token = Source::Connection(id).token();
            let registry = self.poll.registry();
            if let Err(error) = registry.register(&mut socket, token, mio::Interest::READABLE) {
                if self.services.warnings.admit(Warning::Unwatched, now_ms) {
                    tracing::warn!(%error, "a new connection cannot be watched");
                }
                continue;
            }
            if let Err(error) = keep_alive(&socket, self.services.runtime.keepalive_seconds) {
                tracing::debug!(%error, "a dead peer of this connection will not be noticed");
            }
            let connection = entry.insert(Connection::new(socket, id, now_ms));
            let client = self.services.add_client(id, peer, local);
            client.descriptor = connection.socket.as_raw_fd();
            tracing::debug!(client = client.number, %peer, %local, "opened a connection");
            if is_redis {
                connection.expect(Protocol::Resp2);
                client.protocol = Protocol::Resp2;
            }
            self.services.stats.accepted += 1;
        }
        self.services.stats.connections = self.connections.len();
    }
}
