//! Commands on keys, whatever their values are.

use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    let _ = call.args;
    Err("ERR this command is being built".into())
}
