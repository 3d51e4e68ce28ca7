//! What the log says, and how often.

use crate::program::{Program, command_anywhere};

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
