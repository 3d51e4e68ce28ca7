//! What must not take too long: a request that does not end, output that is not taken, a close that
//! the client does not answer, and, if it is so configured, a client that asks for nothing. Of the former
//! only connections in such a state are on the list, it is gone through once a second, and while it is
//! empty no timer runs.

use super::super::client::Traits;
use super::super::closing::CloseReason;
use super::super::connection::Flags;
use super::super::token::ConnectionId;
use super::{Reactor, as_ms, enlist, find};

impl Reactor<'_> {
    /// Goes through the list if it is time.
    pub(super) fn watch(&mut self) {
        if self.lists.watch.is_empty() || self.now_ms < self.next_watch_ms {
            return;
        }
        self.next_watch_ms = self.now_ms + as_ms(self.timeouts.watch_interval);
        let list = self.take_list(|lists| &mut lists.watch);
        for &id in &list {
            self.watch_one(id);
        }
        self.put_back(list);
        self.relieve_starved();
    }

    fn watch_one(&mut self, id: ConnectionId) {
        let (now_ms, timeouts) = (self.now_ms, self.timeouts);
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.flags.clear(Flags::ON_WATCH);
        let output_ms = now_ms.saturating_sub(connection.output_ms);
        if connection.flags.has(Flags::LINGERING) && output_ms >= as_ms(timeouts.linger) {
            return self.doom(id, CloseReason::Ended);
        }
        let idle_ms = connection.idle_ms(now_ms);
        if connection.flags.has(Flags::BLOCKED) && idle_ms >= as_ms(timeouts.output_stuck) {
            return self.close_slow_reader(id);
        }
        let input_ms = now_ms.saturating_sub(connection.input_ms);
        let request_stuck = self.services.runtime.request_stuck;
        let has_bound = !request_stuck.is_zero();
        if has_bound && connection.has_partial() && input_ms >= as_ms(request_stuck) {
            let seconds = request_stuck.as_secs();
            let sentence = format!("ERR the request stood unfinished for {seconds} seconds");
            connection.refuse(&mut self.services, &sentence, CloseReason::Unfinished);
            enlist(&mut self.lists.dirty, connection, Flags::ON_DIRTY);
        }
        self.enlist_by_state(id);
    }
    /// Whether clients are closed for being idle.
    pub(super) fn closes_idle(&self) -> bool {
        self.services.runtime.idle_seconds > 0 && !self.connections.is_empty()
    }

    /// Closes clients that have asked for nothing for too long, if it is time to look: not those who
    /// listen, nor those who wait for an answer.
    pub(super) fn close_idle(&mut self) {
        if !self.closes_idle() || self.now_ms < self.next_idle_ms {
            return;
        }
        self.next_idle_ms = self.now_ms + as_ms(self.timeouts.watch_interval);
        let most_ms = self.services.runtime.idle_seconds.saturating_mul(1000);
        let mut idle = Vec::new();
        for (_, connection) in &self.connections {
            let waits = connection.flags.has(Flags::PARKED.or(Flags::AWAITING).or(Flags::CLOSING));
            let client = self.services.clients.get(connection.id);
            let listens = Traits::SUBSCRIBED.or(Traits::MONITOR);
            if !waits
                && connection.outbox.is_empty()
                && connection.idle_ms(self.now_ms) >= most_ms
                && client.is_some_and(|client| !client.traits.has(listens))
            {
                idle.push(connection.id);
            }
        }
        for id in idle {
            self.doom(id, CloseReason::Idle);
        }
    }
}
