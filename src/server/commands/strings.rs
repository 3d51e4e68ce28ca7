//! Commands on strings.

use crate::parser::Verb;

use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Get => get(call),
        Verb::Set => set(call),
        _ => Err("ERR this command is being built".into()),
    }
}

fn get(call: &mut Call) -> Handled {
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    call.reply.bulk_or_null(found.as_ref().map(|found| found.bytes()));
    Ok(())
}

fn set(call: &mut Call) -> Handled {
    let db = call.client.db();
    call.services.keyspace.put(db, call.args.at(0), call.args.at(1), None)?;
    call.services.effects.notify(super::super::effects::Classes::STRING, "set", db, call.args.at(0));
    call.reply.ok();
    Ok(())
}
