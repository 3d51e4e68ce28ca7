//! Runs the client to its end, or leaves it running.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

pub(crate) fn client(port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--port", &port.to_string()]).stdin(Stdio::null());
    command.env_remove("REDISCLI_AUTH").env_remove("CHRONOS_PASSWORD");
    command
}

pub(crate) fn run(port: u16, arguments: &[&str]) -> Output {
    client(port).args(arguments).output().unwrap()
}

/// Starts a client whose input is written by a thread.
pub(crate) fn spawn(port: u16, arguments: &[&str], input: Vec<u8>) -> (Child, JoinHandle<()>) {
    let mut command = client(port);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    (child, thread::spawn(move || drop(stdin.write_all(&input))))
}

pub(crate) fn pipe(port: u16, arguments: &[&str], input: &[u8]) -> Output {
    let (child, writer) = spawn(port, arguments, input.to_vec());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[track_caller]
pub(crate) fn assert_ran(output: &Output, code: i32, out: &[u8], err: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(output.stdout == out, "{}", output.stdout.escape_ascii());
    assert!(error.contains(err), "{error}");
    assert!(!err.is_empty() || error.is_empty(), "{error}");
}
