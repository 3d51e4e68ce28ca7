//! Answers that come later: from workers, and from the engine.

use crate::engine::{Record, Result as EngineResult};
use crate::parser::Encoder;

use super::super::interrupt::Fault;
use super::super::outbox::{Finish, Outbox, Pending, SlotNumber};
use super::super::workers::Answer;
use super::{Asker, Services, answer_read};

impl Services<'_> {
    /// Answers a read that a worker did.
    pub(crate) fn answer_read(
        &mut self,
        slot: SlotNumber,
        result: &EngineResult<Option<Record<'_>>>,
        outbox: &mut Outbox,
    ) {
        let Some((pending, protocol)) = outbox.pending(slot) else { return };
        let mut bytes = Vec::new();
        let mut reply = Encoder::new(protocol, &mut bytes);
        let failed = match result {
            Ok(found) => {
                *if found.is_some() { &mut self.stats.hits } else { &mut self.stats.misses } += 1;
                answer_read(&mut reply, pending, found.as_ref().map(|record| &*record.value))
            }
            Err(error) => {
                reply.error(Fault::from(error).line());
                true
            }
        };
        drop(reply);
        self.stats.errors += u64::from(failed);
        // What is in a table is durable; that its database is this one may not be.
        outbox.answer(slot, bytes, self.keyspace.swap_seq(), self.durable);
    }

    /// Passes on the reply that a worker made.
    pub(crate) fn answer_work(&mut self, slot: SlotNumber, answer: Answer, outbox: &mut Outbox) {
        self.stats.errors += u64::from(answer.is_error);
        outbox.answer(slot, answer.bytes, answer.seq, self.durable);
    }

    /// Answers a command for which the engine has done its part.
    pub(crate) fn answer_ticket(
        &mut self,
        slot: SlotNumber,
        result: &EngineResult<()>,
        asker: &mut Asker<'_>,
    ) {
        let Some((pending, protocol)) = asker.outbox.pending(slot) else { return };
        let mut bytes = Vec::new();
        let mut reply = Encoder::new(protocol, &mut bytes);
        match result {
            Ok(()) if pending == Pending::Finish(Finish::Compact) => reply.simple("OK_COMPACTED"),
            Ok(()) => reply.ok(),
            Err(error) => {
                self.stats.errors += 1;
                reply.error(Fault::from(error).line());
            }
        }
        drop(reply);
        asker.outbox.answer(slot, bytes, 0, self.durable);
    }
}
