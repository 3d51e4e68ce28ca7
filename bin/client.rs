//! The bundled client; see `chronos::client`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chronos::client::main()
}
