//! Commands on the server as a whole.

use crate::parser::Verb;

use super::super::info::{Facts, info};
use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Info => {
            let services = &mut *call.services;
            let engine = services.keyspace.engine().stats();
            let facts =
                Facts { identity: &services.identity, stats: &services.stats, engine: &engine };
            let text =
                info(call.args.get(0), &facts).map_err(|sentence| format!("ERR {sentence}"))?;
            call.reply.verbatim(&text);
        }
        Verb::Shutdown => {
            call.services.shutdown = true;
            call.reply.ok();
        }
        _ => return Err("ERR this command is being built".into()),
    }
    Ok(())
}
