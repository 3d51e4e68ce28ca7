//! The `client` binary as a shell sees it: outputs, exit codes, pipes.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[path = "../src/client/fake.rs"]
mod fake;

fn client(port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--port", &port.to_string()]).stdin(Stdio::null());
    command
}

fn run(port: u16, arguments: &[&str]) -> Output {
    client(port).args(arguments).output().unwrap()
}

/// Starts a client whose input is written by a thread.
fn spawn(port: u16, arguments: &[&str], input: Vec<u8>) -> (Child, JoinHandle<()>) {
    let mut command = client(port);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    (child, thread::spawn(move || drop(stdin.write_all(&input))))
}

fn pipe(port: u16, arguments: &[&str], input: &[u8]) -> Output {
    let (child, writer) = spawn(port, arguments, input.to_vec());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[track_caller]
fn assert_ran(output: &Output, code: i32, out: &[u8], err: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(output.stdout == out, "{}", output.stdout.escape_ascii());
    assert!(error.contains(err), "{error}");
    assert!(!err.is_empty() || error.is_empty(), "{error}");
}

#[test]
fn one_command_prints_its_reply() {
    let port = fake::store();
    assert_ran(&run(port, &["SET", "k", "LIST 3", " and\x1bmore"]), 0, b"OK\n", "");
    assert_ran(&run(port, &["get", "k"]), 0, b"LIST 3  and\x1bmore\n", "");
    assert_ran(&run(port, &["KEYS"]), 0, b"a\nb\n", "");
    assert_ran(&run(port, &["INFO"]), 0, b"keys:1\ndurability:fsync\n", "");
    assert_ran(&run(port, &["QUIT"]), 0, b"OK\n", "");
    assert_ran(&run(port, &["SHUTDOWN"]), 0, b"", "");
}

#[test]
fn exit_codes_tell_refusal_from_misuse() {
    let port = fake::store();
    assert_ran(&run(port, &["NONSENSE"]), 1, b"", "ERR unknown command");
    assert_ran(&run(port, &["SET", "k", "a\nb"]), 2, b"", "line break");
    assert_ran(&run(port, &["--timeout", "0", "PING"]), 2, b"", "above 0");
    assert_ran(&run(port, &["--nonsense"]), 2, b"", "--help");
    let closed = fake::UNUSED_PORT;
    let hint = "nothing listens there; start the server with 'cargo run --release'";
    assert_ran(&run(closed, &["PING"]), 2, b"", hint);
    assert_ran(&pipe(closed, &[], b"PING\n"), 2, b"", &format!("cannot reach 127.0.0.1:{closed}"));
}

#[test]
fn a_silent_server_is_given_up() {
    let port = fake::serve(|_, stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let output = run(port, &["--timeout", "0.1", "SET", "k", "v"]);
    assert_ran(&output, 2, b"", "the outcome of that command is unknown");
    assert_ran(&run(port, &["--timeout", "0.1", "GET", "k"]), 2, b"", "no answer");
    assert_ran(&pipe(port, &["--timeout", "0.1"], b"PING\n"), 2, b"", "line 1: no answer");
}

#[test]
fn colour_is_for_those_who_ask() {
    let port = fake::store();
    let colored = run(port, &["--color", "always", "GET", "missing"]);
    assert_ran(&colored, 0, b"\x1b[2mNULL\x1b[0m\n", "");
    assert_ran(&run(port, &["GET", "missing"]), 0, b"NULL\n", "");
    assert_ran(&run(port, &["--no-color", "GET", "missing"]), 0, b"NULL\n", "");
}

#[test]
fn a_script_reports_errors_by_line() {
    let output = pipe(fake::store(), &[], b"SET k v\n\nGET\nGET k\n");
    assert_ran(&output, 1, b"OK\nv\n", "line 3: ERR ");
    assert_ran(&pipe(fake::store(), &[], b""), 0, b"", "");
}

#[test]
fn values_pass_through_a_script_byte_for_byte() {
    let value: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let script = [b"SET k ", &value[..], b"\nGET k\n"].concat();
    let expected = [b"OK\n", &value[..], b"\n"].concat();
    assert_ran(&pipe(fake::store(), &[], &script), 0, &expected, "");
}

#[test]
fn a_large_script_loads_in_seconds() {
    let record = "{\"name\": \"Venom\", \"role\": \"Symbiote\", \"filler\": \"0123456789abcdef\"}";
    let lines: Vec<_> = (0..60_000).map(|n| format!("SET user:{n} {record}\n")).collect();
    let started = Instant::now();
    let output = pipe(fake::store(), &[], lines.concat().as_bytes());
    assert_ran(&output, 0, &b"OK\n".repeat(60_000), "");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_reader_that_leaves_early_is_no_failure_worth_words() {
    let (mut child, writer) = spawn(fake::store(), &[], b"PING\n".repeat(200_000));
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((first.as_str(), error.as_str()), ("PONG\n", ""));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    writer.join().unwrap();
}
