//! The fault campaign; see `chronos::campaign`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chronos::campaign::main()
}
