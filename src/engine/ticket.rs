//! The outcome of background work, for callers that must not block and for those that may.

use std::sync::{Arc, Condvar, Mutex};

use super::error::Result;
use super::sync::{lock, wait};

/// A piece of background work whose end can be polled or awaited.
#[derive(Clone, Default)]
pub struct Ticket {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    outcome: Mutex<Option<Result<()>>>,
    done: Condvar,
}

impl Ticket {
    /// Of work that has ended before it began.
    pub(crate) fn done(outcome: Result<()>) -> Self {
        let ticket = Ticket::default();
        ticket.finish(outcome);
        ticket
    }

    /// The outcome, once there is one.
    pub fn poll(&self) -> Option<Result<()>> {
        lock(&self.shared.outcome).clone()
    }

    /// Blocks until the work is done.
    ///
    /// # Errors
    /// What ended the work early.
    pub fn wait(&self) -> Result<()> {
        let mut outcome = lock(&self.shared.outcome);
        loop {
            if let Some(outcome) = outcome.clone() {
                return outcome;
            }
            outcome = wait(&self.shared.done, outcome);
        }
    }

    /// Sets the outcome; the first one stays.
    pub(crate) fn finish(&self, outcome: Result<()>) {
        lock(&self.shared.outcome).get_or_insert(outcome);
        self.shared.done.notify_all();
    }
}
