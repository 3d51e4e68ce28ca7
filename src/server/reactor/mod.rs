//! The reactor: one thread, one poll, every socket.
//!
//! A tick has fixed phases: poll and collect news; give connections their turns ([`serve`]); hand the
//! log what they wrote; release replies by the frontier and write them ([`deliver`]); look at what
//! takes too long ([`watch`]); close and accept. Slots are freed only in the last phase, so within a
//! tick an id is either valid or recognizably gone. No phase blocks, but for one exception: a client
//! that is alone has its writes synced in place, since nobody else is kept waiting by it.
//!
//! Connections that need something are on lists of ids, each at most once (a flag says so): the cost
//! of a tick depends on the connections that do something, not on those that are open. While `ready`
//! or `dirty` has anybody the poll does not sleep, so nobody is on them who can only wait: a connection
//! whose socket took nothing is on neither until its WRITABLE event has come.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll};
use slab::Slab;

use crate::engine::Engine;

use super::acceptor::Acceptor;
use super::closing::CloseReason;
use super::connection::{Connection, Flags};
use super::dispatch::Services;
use super::limits::{EVENTS_PER_POLL, POOLED_BUFFER_BYTES, POOLED_BUFFERS, READ_BUFFER_BYTES};
use super::notify::Notifier;
use super::signals::Signals;
use super::token::{ConnectionId, Source};
use super::workers::Completion;
use super::{Settings, Stopped, Timeouts};

mod deliver;
mod evict;
mod serve;
mod stop;
mod watch;

use stop::Stopping;

/// Looks at the timers at least so often.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);

/// Lists of connections that need something; see [`Flags`] for who is on which.
#[derive(Default)]
struct Lists {
    /// Have input to work on.
    ready: Vec<ConnectionId>,
    /// Have replies to write, or a close to finish.
    dirty: Vec<ConnectionId>,
    /// Have replies that wait for the commit frontier.
    frontier: Vec<ConnectionId>,
    /// Have a request that waits for the engine.
    parked: Vec<ConnectionId>,
    /// Have something that must not take too long.
    watch: Vec<ConnectionId>,
    /// Could go on if memory were not short.
    starved: Vec<ConnectionId>,
    /// Are closed at the end of the tick.
    doomed: Vec<ConnectionId>,
    /// An empty list, kept for its memory.
    spare: Vec<ConnectionId>,
}

/// See the module.
pub(crate) struct Reactor<'e> {
    engine: &'e Engine,
    poll: Poll,
    notifier: Arc<Notifier>,
    signals: Option<Signals>,
    acceptor: Acceptor,
    services: Services<'e>,
    connections: Slab<Connection<TcpStream>>,
    next_generation: u32,
    lists: Lists,
    scratch: Box<[u8]>,
    pool: Vec<Vec<u8>>,
    completions: Vec<Completion>,
    timeouts: Timeouts,
    started: Instant,
    /// The time of this tick, in milliseconds since `started`.
    now_ms: u64,
    next_watch_ms: u64,
    /// When idle clients are looked for, if any are to be closed.
    next_idle_ms: u64,
    /// When parked connections try again, even without news.
    retry_ms: Option<u64>,
    /// What the log's failure was, once it has failed.
    failure: Option<String>,
    stopping: Stopping,
}

impl<'e> Reactor<'e> {
    pub(crate) fn new(
        engine: &'e Engine,
        poll: Poll,
        notifier: Arc<Notifier>,
        acceptor: Acceptor,
        services: Services<'e>,
        settings: &Settings,
    ) -> Self {
        Reactor {
            engine,
            poll,
            notifier,
            signals: None,
            acceptor,
            services,
            connections: Slab::new(),
            next_generation: 0,
            lists: Lists::default(),
            scratch: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            pool: Vec::new(),
            completions: Vec::new(),
            timeouts: settings.timeouts,
            started: Instant::now(),
            now_ms: 0,
            next_watch_ms: 0,
            next_idle_ms: 0,
            retry_ms: None,
            failure: None,
            stopping: Stopping::default(),
        }
    }

    /// Acts upon these signals from now on.
    pub(crate) fn watch_signals(&mut self, mut signals: Signals) -> io::Result<()> {
        signals.watch(self.poll.registry())?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Serves until stopped.
    pub(crate) fn run(mut self) -> Result<Stopped, super::Error> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        self.services.durable = self.engine.durable_seq();
        loop {
            self.wait(&mut events).map_err(super::Error::Poll)?;
            self.take_events(&events);
            if self.notifier.take_news() {
                self.take_news();
            }
            self.retry_parked();
            self.serve_ready();
            self.services.attend_to_expiries();
            self.deliver_messages();
            self.note_retry();
            self.commit();
            self.release();
            self.flush_dirty();
            self.watch();
            self.close_idle();
            self.close_doomed();
            self.feed_starved();
            self.accept();
            self.services.warnings.tell_left_out(self.now_ms);
            if let Some(outcome) = self.advance_stop() {
                return outcome;
            }
        }
    }

    /// Waits for events: not at all while there is work, without end if nothing is timed.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let mut timeout = self.timeout();
        if timeout != Some(Duration::ZERO) && !self.notifier.fall_asleep() {
            timeout = Some(Duration::ZERO);
        }
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            other => other?,
        }
        self.services.stats.ticks += 1;
        self.now_ms = self.started.elapsed().as_millis() as u64;
        self.services.tick_ms = self.now_ms;
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let lists = &self.lists;
        if !lists.ready.is_empty() || !lists.dirty.is_empty() || self.acceptor.has_backlog() {
            return Some(Duration::ZERO);
        }
        let watch_ms = (!lists.watch.is_empty()).then_some(self.next_watch_ms);
        let expiry_ms = self.services.next_expiry_in_ms().map(|in_ms| self.now_ms + in_ms);
        let times = [
            watch_ms,
            self.closes_idle().then_some(self.next_idle_ms),
            self.acceptor.resume_ms(),
            self.stopping.deadline_ms(),
            self.retry_ms,
            expiry_ms,
            self.services.warnings.due_ms(),
        ];
        let next_ms = times.into_iter().flatten().min()?;
        // One more: the clock rounds down, and a timer must not be early and spin.
        // And not too late either: the system takes 31 bits of milliseconds.
        Some(Duration::from_millis(next_ms.saturating_sub(self.now_ms) + 1).min(LONGEST_SLEEP))
    }

    fn take_events(&mut self, events: &Events) {
        for event in events {
            match Source::of(event.token()) {
                Source::Waker => {}
                Source::Signals => self.take_signals(),
                Source::Listener(index) => self.acceptor.set_ready(index),
                Source::Connection(id) => self.take_connection_event(id, event),
            }
        }
    }

    fn take_connection_event(&mut self, id: ConnectionId, event: &mio::event::Event) {
        let draining = self.stopping.has_begun();
        let Some(connection) = find(&mut self.connections, id) else { return };
        let ended = event.is_read_closed() || event.is_error();
        if (event.is_readable() || ended) && (!draining || connection.flags.has(Flags::LINGERING)) {
            connection.flags.set(Flags::READABLE);
            if ended {
                connection.flags.set(Flags::READ_CLOSED);
            }
            enlist(&mut self.lists.ready, connection, Flags::ON_READY);
        }
        let writable = event.is_writable() || event.is_write_closed() || event.is_error();
        if writable && connection.flags.has(Flags::BLOCKED) {
            enlist(&mut self.lists.dirty, connection, Flags::ON_DIRTY);
        }
    }

    /// Hands the log what this tick wrote.
    fn commit(&mut self) {
        if self.connections.len() == 1 {
            self.services.keyspace.commit_in_place();
        } else {
            self.services.keyspace.submit();
        }
    }

    /// Puts a connection on the lists that its state asks for, once it is known what it holds.
    fn enlist_by_state(&mut self, id: ConnectionId) {
        if !self.settle(id) {
            return;
        }
        let is_short = self.services.holdings.is_short();
        let draining = self.stopping.has_begun();
        let Some(connection) = find(&mut self.connections, id) else { return };
        if draining && !connection.flags.has(Flags::UNPARSED) {
            connection.start_closing(CloseReason::Stopping);
        }
        let blocked = connection.flags.has(Flags::BLOCKED);
        let closes = connection.flags.has(Flags::CLOSING)
            && !connection.flags.has(Flags::LINGERING)
            && connection.outbox.is_empty();
        if connection.outbox.has_released() && !blocked || closes {
            enlist(&mut self.lists.dirty, connection, Flags::ON_DIRTY);
        }
        if connection.outbox.waits_for_frontier() {
            enlist(&mut self.lists.frontier, connection, Flags::ON_FRONTIER);
        }
        if connection.wants_turn(is_short) {
            enlist(&mut self.lists.ready, connection, Flags::ON_READY);
        } else if connection.wants_turn(false) {
            enlist(&mut self.lists.starved, connection, Flags::ON_STARVED);
        }
        if connection.has_partial() || blocked || connection.flags.has(Flags::LINGERING) {
            if self.lists.watch.is_empty() {
                self.next_watch_ms = self.now_ms + as_ms(self.timeouts.watch_interval);
            }
            enlist(&mut self.lists.watch, connection, Flags::ON_WATCH);
        }
    }

    /// Closes a connection at the end of the tick.
    fn doom(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(connection) = find(&mut self.connections, id) {
            connection.start_closing(reason);
            connection.flags.clear(Flags::READABLE);
            enlist(&mut self.lists.doomed, connection, Flags::ON_DOOMED);
        }
    }

    fn close_doomed(&mut self) {
        for id in self.lists.doomed.drain(..) {
            if find(&mut self.connections, id).is_none() {
                continue;
            }
            let mut connection = self.connections.remove(id.slot as usize);
            self.services.holdings.change(connection.counted_bytes, 0);
            log_close(&connection, &mut self.services, self.now_ms);
            self.services.forget_client(id);
            // Closing takes it off the poll anyway; this is for systems where it does not.
            let _ = self.poll.registry().deregister(&mut connection.socket);
            if let Some(buffer) = connection.outbox.take_buffer() {
                recycle(&mut self.pool, buffer);
            }
        }
        self.services.stats.connections = self.connections.len();
    }

    /// Takes a list to go through, leaving an empty one; give it back with [`Self::put_back`].
    fn take_list(&mut self, list: fn(&mut Lists) -> &mut Vec<ConnectionId>) -> Vec<ConnectionId> {
        let spare = std::mem::take(&mut self.lists.spare);
        std::mem::replace(list(&mut self.lists), spare)
    }

    fn put_back(&mut self, mut list: Vec<ConnectionId>) {
        list.clear();
        self.lists.spare = list;
    }
}

/// The connection with this id, if it is still there.
fn find(
    connections: &mut Slab<Connection<TcpStream>>,
    id: ConnectionId,
) -> Option<&mut Connection<TcpStream>> {
    connections.get_mut(id.slot as usize).filter(|connection| connection.id == id)
}

/// Puts a connection on a list unless it is there already.
fn enlist(list: &mut Vec<ConnectionId>, connection: &mut Connection<TcpStream>, flag: Flags) {
    if connection.flags.set(flag) {
        list.push(connection.id);
    }
}

/// Says that a connection is closed, and why.
fn log_close(connection: &Connection<TcpStream>, services: &mut Services<'_>, now_ms: u64) {
    let reason = connection.close_reason();
    let Some(client) = services.clients.get_mut(connection.id) else { return };
    let (number, peer) = (client.number, client.peer);
    let name = client.names.as_deref().map_or("", |names| &names.name);
    let unread_bytes = connection.outbox.queued_bytes();
    let held_bytes = connection.closing_bytes;
    match reason.warning() {
        None => {
            tracing::debug!(client = number, %peer, name, unread_bytes, %reason, "closed a connection");
        }
        Some(warning) if services.warnings.admit(warning, now_ms) => {
            tracing::warn!(client = number, %peer, name, unread_bytes, held_bytes, %reason, "closed a connection");
        }
        Some(_) => {}
    }
}

/// Keeps an empty buffer for the next connection that needs one.
fn recycle(pool: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    if pool.len() < POOLED_BUFFERS && buffer.capacity() <= POOLED_BUFFER_BYTES {
        pool.push(buffer);
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
