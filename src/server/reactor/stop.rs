//! How the server stops. First request (a signal, SHUTDOWN): accept nobody, read nothing more,
//! execute what was read, let the replies go, then close the engine, which seals the log and flushes.
//! Second request: end as soon as everything handed to the log is durable; recovery does the rest.

use crate::engine::{Health, Ticket};

use super::super::closing::CloseReason;
use super::super::connection::Flags;
use super::super::limits::SIGNAL_ECHO;
use super::super::{Error, Stopped};
use super::{Reactor, as_ms, log_close};

/// How far stopping has got.
#[derive(Default)]
enum Phase {
    #[default]
    Running,
    /// Clients collect their replies, until this time.
    Draining { deadline_ms: u64 },
    /// The engine closes.
    Closing(Ticket),
}

/// The state of stopping.
#[derive(Default)]
pub(super) struct Stopping {
    phase: Phase,
    requests: usize,
    /// When the first request came.
    first_ms: u64,
}

impl Stopping {
    /// Asks to stop, or to hurry.
    pub(super) fn request(&mut self, now_ms: u64) {
        if self.requests == 0 {
            self.first_ms = now_ms;
        } else if now_ms < self.first_ms + as_ms(SIGNAL_ECHO) {
            return;
        }
        self.requests += 1;
    }

    /// Whether the server is on its way out.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::Running)
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Draining { deadline_ms } => Some(deadline_ms),
            Phase::Running | Phase::Closing(_) => None,
        }
    }
}

impl Reactor<'_> {
    pub(super) fn take_signals(&mut self) {
        let Some(signals) = self.signals.as_mut() else { return };
        for _ in 0..signals.take_stops() {
            self.stopping.request(self.now_ms);
        }
    }

    /// Goes on with stopping, if it was asked for. Returns the outcome once it is over.
    pub(super) fn advance_stop(&mut self) -> Option<Result<Stopped, Error>> {
        if std::mem::take(&mut self.services.shutdown) && self.stopping.requests == 0 {
            tracing::info!("a client asked for shutdown");
            self.stopping.request(self.now_ms);
        }
        if self.stopping.requests > 1 {
            return self.hurry();
        }
        if self.stopping.requests == 1 && !self.stopping.has_begun() {
            self.start_draining();
        }
        match &self.stopping.phase {
            Phase::Running => None,
            Phase::Draining { deadline_ms } => {
                if self.connections.is_empty() || self.now_ms >= *deadline_ms {
                    self.start_closing();
                }
                None
            }
            Phase::Closing(ticket) => {
                let result = ticket.poll()?;
                Some(result.map(|()| Stopped::Clean).map_err(Error::Engine))
            }
        }
    }

    fn start_draining(&mut self) {
        tracing::info!(clients = self.connections.len(), "stopping: answering what was received");
        self.acceptor.close(self.poll.registry());
        let deadline_ms = self.now_ms + as_ms(self.timeouts.drain);
        self.stopping.phase = Phase::Draining { deadline_ms };
        let ids: Vec<_> = self.connections.iter().map(|(_, connection)| connection.id).collect();
        for id in ids {
            if let Some(connection) = super::find(&mut self.connections, id) {
                connection.flags.clear(Flags::READABLE);
            }
            self.enlist_by_state(id);
        }
    }

    fn start_closing(&mut self) {
        let left = self.connections.len();
        if left > 0 {
            tracing::warn!(clients = left, "closing clients that did not read their replies");
        }
        for (_, connection) in &mut self.connections {
            connection.start_closing(CloseReason::Stopping);
            log_close(connection, &mut self.services, self.now_ms);
        }
        self.connections.clear();
        tracing::info!("stopping: saving");
        let ticket = self.services.keyspace.engine().start_close();
        self.stopping.phase = Phase::Closing(ticket);
        // The ticket may be done already; nothing else would say so.
        self.notifier.notify();
    }

    /// Ends once the log has everything; replies that are free to go are sent, if it takes no waiting.
    fn hurry(&mut self) -> Option<Result<Stopped, Error>> {
        if !self.stopping.has_begun() {
            self.start_draining();
        }
        let engine = self.services.keyspace.engine();
        if engine.durable_seq() < self.services.keyspace.last_seq() {
            let Health::Failed { cause } = engine.health() else { return None };
            return Some(Err(Error::Engine(cause)));
        }
        self.release();
        self.flush_dirty();
        Some(Ok(Stopped::Hurried))
    }
}
