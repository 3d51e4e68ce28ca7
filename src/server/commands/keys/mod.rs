//! Commands on keys, whatever their values are.

mod databases;
pub(super) mod walk;

pub(super) use self::databases::{dbsize, flushall, flushdb, swapdb};

use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    let _ = call.args;
    Err("ERR this command is being built".into())
}
