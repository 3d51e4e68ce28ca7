//! SAVE and BGSAVE: checkpoints, one at a time.

use crate::engine::Ticket;

use super::dispatch::Services;

/// The checkpoint that is being made, and the last one.
#[derive(Default)]
pub(crate) struct Saving {
    /// The one that nobody waits for.
    pub(crate) running: Option<Ticket>,
}

impl Services<'_> {
    /// Looks whether the checkpoint that nobody waits for is done.
    pub(crate) fn poll_saving(&mut self) {
        if let Some(ticket) = &self.saving.running
            && ticket.poll().is_some()
        {
            self.saving.running = None;
        }
    }
}
