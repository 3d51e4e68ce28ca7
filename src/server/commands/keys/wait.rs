//! WAIT and WAITAOF: the reply waits until everything written so far is durable. There are no
//! replicas to wait for.

use super::super::super::interrupt::Fault;
use super::super::super::values::integer::{self, NOT_AN_INTEGER};
use super::super::{Call, Handled};

/// WAIT.
pub(super) fn wait(call: &mut Call) -> Handled {
    integer::parse(call.args.at(0)).ok_or(NOT_AN_INTEGER)?;
    check_timeout(call, 1)?;
    show_everything(call);
    call.reply.integer(0);
    Ok(())
}

/// WAITAOF.
pub(super) fn wait_aof(call: &mut Call) -> Handled {
    let local = integer::parse(call.args.at(0)).ok_or(NOT_AN_INTEGER)?;
    if !(0..=1).contains(&local) {
        return Err("ERR value is out of range, value must between 0 and 1".into());
    }
    let replicas = integer::parse(call.args.at(1)).filter(|&replicas| replicas >= 0);
    replicas.ok_or("ERR value is out of range, must be positive")?;
    check_timeout(call, 2)?;
    show_everything(call);
    call.reply.array(2);
    call.reply.integer(1);
    call.reply.integer(0);
    Ok(())
}

/// The timeout is in milliseconds. It never runs out: what is waited for comes, or an error does.
fn check_timeout(call: &Call, at: usize) -> Result<(), Fault> {
    let timeout = integer::parse(call.args.at(at));
    match timeout.ok_or("ERR timeout is not an integer or out of range")? {
        0.. => Ok(()),
        _ => Err("ERR timeout is negative".into()),
    }
}

fn show_everything(call: &mut Call) {
    let keyspace = &mut call.services.keyspace;
    keyspace.show(keyspace.last_seq());
}
