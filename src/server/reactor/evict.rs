//! What clients hold, counted as soon as it changes, and who has to go when it is too much.
//!
//! The bound on all of it is kept by closing the worst: those who hold most for what they move, see
//! [`Pace`](super::super::holdings::Pace). Before that, while memory is short, those who do not take
//! their replies are not read on; when all that could end this are themselves such clients, some of
//! them are closed early. Stopping all reads was rejected: a client that sends one long value is no
//! help to anybody by waiting.

use std::cmp::Reverse;

use super::super::client::Traits;
use super::super::closing::CloseReason;
use super::super::connection::Flags;
use super::super::limits::STARVING_STUCK;
use super::super::token::ConnectionId;
use super::{Reactor, as_ms, find};

impl Reactor<'_> {
    /// Counts what a client holds now, and closes whom the bounds do not allow. Returns whether this
    /// one goes on.
    pub(super) fn settle(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = find(&mut self.connections, id) else { return false };
        if connection.flags.has(Flags::ON_DOOMED) {
            return false;
        }
        let mut held_bytes = connection.buffer_bytes();
        if let Some(client) = self.services.clients.get_mut(id) {
            held_bytes += client.held_bytes();
            client.input_bytes = connection.input_bytes() as u32;
            client.unread_bytes = connection.outbox.queued_bytes() as u32;
        }
        let before = std::mem::replace(&mut connection.counted_bytes, held_bytes);
        let is_blocked = connection.flags.has(Flags::BLOCKED);
        self.services.holdings.change(before, held_bytes);
        if is_blocked && self.breaches_output_bound(id) {
            return false;
        }
        let excess_bytes = self.services.holdings.excess_bytes();
        if excess_bytes > 0 {
            self.close_worst(excess_bytes, 0);
        }
        find(&mut self.connections, id).is_some_and(|one| !one.flags.has(Flags::ON_DOOMED))
    }

    /// Closes a client that leaves more unread than its class may. Returns whether it did.
    pub(super) fn breaches_output_bound(&mut self, id: ConnectionId) -> bool {
        let Some(client) = self.services.clients.get_mut(id) else { return false };
        let listens = client.traits.has(Traits::SUBSCRIBED.or(Traits::MONITOR));
        let bound = self.services.runtime.output_bounds.of(listens);
        let Some(connection) = find(&mut self.connections, id) else { return false };
        if !connection.breaches(bound, self.now_ms) {
            return false;
        }
        self.services.stats.output_limit_closed += 1;
        self.close_slow_reader(id);
        true
    }

    /// Closes the worst of those who have moved nothing for so long, until so many bytes are free. Who
    /// said CLIENT NO-EVICT goes last.
    fn close_worst(&mut self, bytes: usize, idle_ms: u64) {
        let mut worst = Vec::new();
        for (_, connection) in &self.connections {
            let counted_bytes = connection.counted_bytes;
            let is_meant = idle_ms == 0 || connection.idle_ms(self.now_ms) >= idle_ms;
            if counted_bytes == 0 || !is_meant || connection.flags.has(Flags::ON_DOOMED) {
                continue;
            }
            let client = self.services.clients.get(connection.id);
            let is_spared = client.is_some_and(|client| client.traits.has(Traits::NO_EVICT));
            let burden = connection.pace.burden(counted_bytes, self.now_ms);
            worst.push((is_spared, Reverse((burden, counted_bytes)), connection.id));
        }
        worst.sort_unstable_by_key(|&(is_spared, badness, _)| (is_spared, badness));
        let mut freed_bytes = 0;
        for (_, _, id) in worst {
            if freed_bytes >= bytes {
                break;
            }
            let Some(connection) = find(&mut self.connections, id) else { continue };
            // Its memory is given back with it, at the end of this tick.
            let counted_bytes = std::mem::take(&mut connection.counted_bytes);
            self.services.holdings.change(counted_bytes, 0);
            self.services.stats.evicted_clients += 1;
            freed_bytes += counted_bytes;
            self.doom(id, CloseReason::Buffers);
        }
    }

    /// Lets those go on who had to wait for memory, once there is some.
    pub(super) fn feed_starved(&mut self) {
        if self.lists.starved.is_empty() || self.services.holdings.is_short() {
            return;
        }
        let list = self.take_list(|lists| &mut lists.starved);
        for &id in &list {
            if let Some(connection) = find(&mut self.connections, id) {
                connection.flags.clear(Flags::ON_STARVED);
                self.enlist_by_state(id);
            }
        }
        self.put_back(list);
    }

    /// While anybody waits for memory, those who hold some and do not move are not waited for so long.
    pub(super) fn relieve_starved(&mut self) {
        if !self.lists.starved.is_empty() && self.services.holdings.is_short() {
            let shortage_bytes = self.services.holdings.shortage_bytes();
            let idle_ms = as_ms(self.timeouts.output_stuck.min(STARVING_STUCK));
            self.close_worst(shortage_bytes, idle_ms);
        }
    }
}
