//! Commands that Redis does not have.

use crate::parser::Verb;

use super::super::info::help;
use super::super::interrupt::Interrupt;
use super::super::outbox::Finish;
use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Compact => {
            let ticket = call.services.keyspace.engine().start_compaction(..);
            Err(Interrupt::Ticket(ticket, Finish::Compact))
        }
        Verb::Help => {
            let text = help(call.args.get(0)).map_err(|sentence| format!("ERR {sentence}"))?;
            call.reply.verbatim(&text);
            Ok(())
        }
        _ => Err("ERR this command is being built".into()),
    }
}
