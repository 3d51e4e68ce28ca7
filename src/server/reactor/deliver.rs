//! The phases that let replies go: release by the commit frontier, then one write per connection.
//! All writes come after all turns of the tick, so that one tick's writes share one log group.

use mio::Interest;

use super::super::closing::CloseReason;
use super::super::connection::Flags;
use super::super::outbox::Flushed;
use super::super::token::{ConnectionId, Source};
use super::{Reactor, enlist, find, recycle};
use crate::engine::{Error, Health};

impl Reactor<'_> {
    /// Moves the frontier up and lets go of what it has reached.
    pub(super) fn release(&mut self) {
        let durable = self.engine.durable_seq();
        self.services.durable = durable;
        if self.lists.frontier.is_empty() {
            return;
        }
        let list = self.take_list(|lists| &mut lists.frontier);
        for &id in &list {
            let Some(connection) = find(&mut self.connections, id) else { continue };
            connection.flags.clear(Flags::ON_FRONTIER);
            connection.release(durable);
            self.enlist_by_state(id);
        }
        self.put_back(list);
        if self.failure.is_some() {
            self.fail_waiting();
        }
    }

    /// Asks the engine whether the log has failed.
    pub(super) fn look_for_failure(&mut self) {
        if let Health::Failed { cause } = self.services.keyspace.engine().health() {
            let sentence = match cause {
                Error::Failed(_) => cause.to_string(),
                other => Error::Failed(other.to_string().into()).to_string(),
            };
            let sentence = format!("IOERR {sentence}");
            tracing::error!(cause = %sentence, "the log has failed: writes are refused");
            self.failure = Some(sentence);
        }
    }

    /// Replies that wait for a log that has failed must never leave.
    fn fail_waiting(&mut self) {
        let Some(sentence) = self.failure.clone() else { return };
        let list = self.take_list(|lists| &mut lists.frontier);
        for &id in &list {
            let Some(connection) = find(&mut self.connections, id) else { continue };
            connection.flags.clear(Flags::ON_FRONTIER);
            connection.fail(&mut self.services, &sentence);
            self.enlist_by_state(id);
        }
        self.put_back(list);
    }

    /// Writes what is released, once per connection.
    pub(super) fn flush_dirty(&mut self) {
        let list = self.take_list(|lists| &mut lists.dirty);
        for &id in &list {
            self.flush(id);
        }
        self.put_back(list);
    }

    fn flush(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.flags.clear(Flags::ON_DIRTY);
        self.services.stats.writes += 1;
        match connection.flush(self.now_ms) {
            Ok(Flushed::All(count)) => {
                self.services.stats.written_bytes += count as u64;
                self.after_flush(id);
            }
            Ok(Flushed::Budget(count)) => {
                self.services.stats.written_bytes += count as u64;
                // Blocked or not so far: the socket would take more.
                enlist(&mut self.lists.dirty, connection, Flags::ON_DIRTY);
                self.enlist_by_state(id);
            }
            Ok(Flushed::Blocked(count)) => {
                self.services.stats.written_bytes += count as u64;
                if connection.flags.set(Flags::BLOCKED) {
                    self.set_interest(id, Interest::READABLE | Interest::WRITABLE);
                }
                self.enlist_by_state(id);
            }
            Err(error) => {
                tracing::debug!(%error, "a client does not take its replies any more");
                self.doom(id, CloseReason::Broken);
            }
        }
    }

    /// All that is released is written: give the buffer back, go on reading, or close.
    fn after_flush(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let unblocked = connection.flags.clear(Flags::BLOCKED);
        if let Some(buffer) = connection.outbox.take_buffer() {
            recycle(&mut self.pool, buffer);
        }
        let done = connection.flags.has(Flags::CLOSING) && connection.outbox.is_empty();
        if unblocked {
            self.set_interest(id, Interest::READABLE);
        }
        if done {
            return self.finish(id);
        }
        self.enlist_by_state(id);
    }

    /// Asks for other events. In edge-triggered mode this also reports anew what is already there.
    fn set_interest(&mut self, id: ConnectionId, interest: Interest) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let token = Source::Connection(id).token();
        let registry = self.poll.registry();
        if let Err(error) = registry.reregister(&mut connection.socket, token, interest) {
            tracing::debug!(%error, "a connection cannot be watched any more");
            self.doom(id, CloseReason::Unwatched);
        }
    }

    /// Every reply is sent. A client that has ended is closed; for another the sending side is shut
    /// and what it still sends is read: closing over unread bytes would reset the connection, and
    /// the client would lose what it has not read yet.
    fn finish(&mut self, id: ConnectionId) {
        let stopping = self.stopping.has_begun();
        let Some(connection) = find(&mut self.connections, id) else { return };
        if stopping {
            connection.discard(&mut self.scratch);
            return self.doom(id, CloseReason::Stopping);
        }
        if connection.flags.has(Flags::LINGERING) {
            return;
        }
        let ended = connection.flags.has(Flags::ENDED);
        if ended || connection.socket.shutdown(std::net::Shutdown::Write).is_err() {
            return self.doom(id, CloseReason::Ended);
        }
        connection.flags.set(Flags::LINGERING);
        connection.output_ms = self.now_ms;
        self.enlist_by_state(id);
    }

    /// Closes a connection that lets its replies pile up.
    pub(super) fn close_slow_reader(&mut self, id: ConnectionId) {
        self.services.stats.slow_readers += 1;
        self.doom(id, CloseReason::SlowReader);
    }
}
