//! The text mode, against a fake store.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::fake;
use super::program::{assert_ran, client, pipe, run, spawn};

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
fn remarks_in_a_script_are_not_sent() {
    let output = pipe(fake::store(), &[], b"# a remark\nSET k v\n  # another\nGET k\n");
    assert_ran(&output, 0, b"OK\nv\n", "");
}

/// A server that wants a password and sends messages to whoever asks for them.
fn guarded() -> u16 {
    fake::serve(|_, mut stream| {
        let mut is_in = false;
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            is_in |= line == "AUTH secret";
            let reply = match line.as_str() {
                "AUTH secret" => "OK\n",
                _ if !is_in => "ERR NOAUTH Authentication required.\n",
                "SUBSCRIBE c" => "LIST 3\nsubscribe\nc\n1\nLIST 3\nmessage\nc\nhi\n",
                "MONITOR" => "OK\n1.5 [0 127.0.0.1:9] \"GET\" \"k\"\n",
                _ => "PONG\n",
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    })
}

#[test]
fn a_password_is_taken_from_a_flag_a_file_or_the_environment() {
    let port = guarded();
    assert_ran(&run(port, &["PING"]), 1, b"", "ERR NOAUTH");
    assert_ran(&run(port, &["-a", "secret", "PING"]), 0, b"PONG\n", "REDISCLI_AUTH hides it");
    let quiet = ["--pass", "secret", "--no-auth-warning", "PING"];
    assert_ran(&run(port, &quiet), 0, b"PONG\n", "");
    for variable in ["CHRONOS_PASSWORD", "REDISCLI_AUTH"] {
        let output = client(port).arg("PING").env(variable, "secret").output().unwrap();
        assert_ran(&output, 0, b"PONG\n", "");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret\n").unwrap();
    let flags = ["--pass-file", file.path().to_str().unwrap()];
    assert_ran(&pipe(port, &flags, b"PING\nPING\n"), 0, b"PONG\nPONG\n", "");
    assert_ran(&run(port, &["-a", "a b", "PING"]), 2, b"", "holds a space");
}

#[test]
fn messages_are_printed_as_they_come_until_ctrl_c() {
    let port = guarded();
    for (command, expected) in [
        (&["SUBSCRIBE", "c"][..], "subscribe\nc\n1\nmessage\nc\nhi\n"),
        (&["MONITOR"], "OK\n1.5 [0 127.0.0.1:9] \"GET\" \"k\"\n"),
    ] {
        let flags = ["--pass", "secret", "--no-auth-warning"];
        let (mut child, writer) = spawn(port, &[&flags, command].concat(), Vec::new());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = String::new();
        for _ in expected.lines() {
            stdout.read_line(&mut lines).unwrap();
        }
        assert_eq!(lines, expected);
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        stdout.read_to_string(&mut lines).unwrap();
        assert_eq!((child.wait().unwrap().code(), lines.as_str()), (Some(0), expected));
        writer.join().unwrap();
    }
    let (mut child, writer) = spawn(port, &["--pass", "secret"], b"SUBSCRIBE c\nPING\n".to_vec());
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    for _ in 0..6 {
        stdout.read_line(&mut lines).unwrap();
    }
    assert_eq!(lines, "subscribe\nc\n1\nmessage\nc\nhi\n", "a script stays with the messages");
    child.kill().unwrap();
    child.wait().unwrap();
    writer.join().unwrap();
}

#[test]
fn a_script_does_not_wait_for_replies_that_it_switched_off() {
    let port = fake::serve(|_, mut stream| {
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            let is_heard = ["PING 1", "CLIENT REPLY ON", "PING 3"].contains(&line.as_str());
            let reply = if is_heard { format!("{line}\n") } else { String::new() };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let script =
        b"PING 1\nCLIENT REPLY OFF\nPING 2\nCLIENT REPLY ON\nCLIENT REPLY SKIP\nPING\nPING 3\n";
    assert_ran(&pipe(port, &[], script), 0, b"PING 1\nCLIENT REPLY ON\nPING 3\n", "");
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
