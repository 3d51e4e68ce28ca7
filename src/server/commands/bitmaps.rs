//! Commands on bitmaps.

use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    let _ = call.args;
    Err("ERR this command is being built".into())
}
