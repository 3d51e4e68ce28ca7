//! What must not take too long: a request that does not end, output that is not taken, a close that
//! the client does not answer. And what must not take too much: the buffers of all these together,
//! which many slow clients could fill where each keeps to its own bounds. Only connections in such a state are on the list, it is gone through
//! once a second, and while it is empty no timer runs.

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
        self.bound_buffers(&list);
        for &id in &list {
            self.watch_one(id);
        }
        self.put_back(list);
    }

    /// Closes those who hold most until the rest keeps to the bound.
    fn bound_buffers(&mut self, list: &[ConnectionId]) {
        let mut held = |id| find(&mut self.connections, id).map_or(0, |held| held.buffer_bytes());
        let mut holders: Vec<_> = list.iter().map(|&id| (held(id), id)).collect();
        let mut total: usize = holders.iter().map(|&(bytes, _)| bytes).sum();
        if total <= self.client_buffers_bytes {
            return;
        }
        holders.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        for (bytes, id) in holders {
            if total <= self.client_buffers_bytes {
                break;
            }
            total -= bytes;
            self.doom(id, CloseReason::Buffers);
        }
    }

    fn watch_one(&mut self, id: ConnectionId) {
        let (now_ms, timeouts) = (self.now_ms, self.timeouts);
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.flags.clear(Flags::ON_WATCH);
        let output_ms = now_ms.saturating_sub(connection.output_ms);
        if connection.flags.has(Flags::LINGERING) && output_ms >= as_ms(timeouts.linger) {
            return self.doom(id, CloseReason::Ended);
        }
        if connection.flags.has(Flags::BLOCKED) && output_ms >= as_ms(timeouts.output_stuck) {
            return self.close_slow_reader(id);
        }
        let input_ms = now_ms.saturating_sub(connection.input_ms);
        if connection.has_partial() && input_ms >= as_ms(timeouts.request_stuck) {
            let seconds = timeouts.request_stuck.as_secs();
            let sentence = format!("ERR the request stood unfinished for {seconds} seconds");
            connection.refuse(&mut self.services, &sentence, CloseReason::Unfinished);
            enlist(&mut self.lists.dirty, connection, Flags::ON_DIRTY);
        }
        self.enlist_by_state(id);
    }
}
