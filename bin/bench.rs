//! The load tester; see `chronos::client::bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chronos::client::bench::main()
}
