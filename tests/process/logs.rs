//! What the log says, how often, and that nothing depends on whether it can be written.

use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::program::{Program, command, command_anywhere};

/// A server whose log goes to `log`.
fn logging_to(dir: &Path, log: impl Into<Stdio>) -> Program {
    Program::spawn(command_anywhere(dir).stderr(log))
}

/// Makes a server log what a stranger can make it log, and then do its work, to the end.
fn serves_though_it_cannot_log(program: Program) {
    for _ in 0..5 {
        let mut client = program.connect();
        client.send("GET / HTTP/1.1\r\n\r\n");
        client.expect_end();
    }
    let mut client = program.connect();
    client.ask("SET k v", "OK");
    assert!(client.figure("log_lines_lost") >= 2, "the start and the stranger");
    program.signal(rustix::process::Signal::TERM);
    client.expect_end();
    assert_eq!(program.wait().0, Some(0));
}

#[test]
fn a_log_on_a_full_device_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    serves_though_it_cannot_log(logging_to(dir.path(), full));
    Program::start(dir.path()).connect().ask("GET k", "v");
}

#[test]
fn a_log_into_a_closed_pipe_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    serves_though_it_cannot_log(logging_to(dir.path(), writer));
}

#[test]
fn a_log_to_a_terminal_that_is_gone_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let log = File::options().read(true).write(true).open(name).unwrap();
    drop(terminal);
    serves_though_it_cannot_log(logging_to(dir.path(), log));
}

/// A pipe that takes nothing more: its writing end, and what reads it.
fn full_pipe() -> (PipeReader, OwnedFd) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer.into())
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut reader, writer) = full_pipe();
    let mut command = command_anywhere(dir.path());
    command.args(["--log-level", "debug"]).stderr(writer.try_clone().unwrap());
    let program = Program::spawn(&mut command);
    // More than the queue takes.
    while program.connect().figure("log_lines_lost") == 0 {
        for _ in 0..100 {
            program.connect().ask("QUIT", "OK");
        }
    }
    program.connect().ask("SET k v", "OK");
    let collector = std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    drop((writer, command));
    assert!(program.interrupt_quietly());
    let log = collector.join().unwrap();
    assert!(log.contains("lines of the log were lost here"), "{}", log.len());
    assert!(log.ends_with("stopped: everything is saved\n"), "the last line comes out");
}

#[test]
fn the_end_does_not_wait_for_a_log_that_nobody_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (_reader, writer) = full_pipe();
    let program = logging_to(dir.path(), writer);
    program.connect().ask("SET k v", "OK");
    assert!(program.interrupt_quietly());
    // Nor does a refusal.
    let (_reader, writer) = full_pipe();
    let status = command(dir.path()).args(["--listen", "192.0.2.1:1"]).stderr(writer).status();
    assert_eq!(status.unwrap().code(), Some(1));
}

#[test]
fn the_first_line_says_who_starts_and_with_what() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data"));
    let pid = format!("pid={}", program.pid().as_raw_nonzero());
    let address = program.address.to_string();
    let log = program.interrupt();
    let first = log.lines().next().unwrap();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let dir = dir.path().to_str().unwrap();
    for words in ["starting: recovering the data in", dir, &pid, &address, &version, "8388608"] {
        assert!(first.contains(words), "{words}: {first}");
    }
    assert!(log.contains("created a new database in"), "{log}");
}

#[test]
fn the_work_of_the_engine_is_there_at_debug() {
    let dir = tempfile::tempdir().unwrap();
    let log_at = |level: &str| {
        let program = Program::spawn(command_anywhere(dir.path()).args(["--log-level", level]));
        let mut client = program.connect();
        for round in 0..2 {
            client.ask(&format!("SET k v{round}"), "OK");
            client.ask("COMPACT", "OK_COMPACTED");
        }
        program.interrupt()
    };
    let words = ["flushed a memtable", "merged tables", "made a log segment"];
    let log = log_at("debug");
    assert!(words.iter().all(|words| log.contains(words)), "{log}");
    let log = log_at("info");
    assert!(!words.iter().any(|words| log.contains(words)), "{log}");
}

/// The lines of a log that hold all of these words.
fn lines<'a>(log: &'a str, words: &[&str]) -> Vec<&'a str> {
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

#[test]
fn connections_are_logged_with_the_reason_of_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::spawn(command_anywhere(dir.path()).args(["--log-level", "debug"]));
    program.connect().ask("PING", "PONG");
    program.wait_for_log("the client left");
    let mut client = program.connect();
    let peer = client.socket.local_addr().unwrap().to_string();
    client.ask("QUIT", "OK");
    drop(client);
    program.wait_for_log("the client said QUIT");
    let mut client = program.connect();
    client.send("*1\r\n$x\r\n");
    client.finish();
    program.wait_for_log("protocol error");
    let mut idle = program.connect();
    idle.ask("PING", "PONG");
    let log = program.interrupt();
    assert_eq!(lines(&log, &["DEBUG opened a connection", &peer]).len(), 1, "{log}");
    assert_eq!(lines(&log, &["DEBUG closed a connection", &peer, "QUIT"]).len(), 1, "{log}");
    assert_eq!(lines(&log, &["opened a connection"]).len(), 4, "{log}");
    assert_eq!(lines(&log, &["closed a connection"]).len(), 4, "{log}");
    assert_eq!(lines(&log, &["closed a connection", "the server stops"]).len(), 1, "{log}");
}

#[test]
fn a_warning_that_a_stranger_repeats_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    for _ in 0..40 {
        let mut client = program.connect();
        client.send("GET / HTTP/1.1\r\n\r\n");
        client.expect_end();
    }
    assert!(program.connect().figure("log_warnings_left_out") >= 30);
    let log = program.interrupt();
    // The line, and if this took very long, one with the number of the others.
    assert!(lines(&log, &["closed a connection", "HTTP"]).len() == 1, "{log}");
    assert!(lines(&log, &["WARN"]).len() <= 3, "{log}");
}
