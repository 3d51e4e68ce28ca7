//! Signals: the first stops in order, the second at once, and neither loses anything.

use std::time::Duration;

use rustix::process::Signal;

use crate::program::Program;

#[test]
fn signals_stop_it_in_order_and_the_data_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    for (n, signal) in [Signal::INT, Signal::TERM].into_iter().enumerate() {
        let program = Program::start(&data_dir);
        let mut client = program.connect();
        client.ask(&format!("SET key{n} {n}"), "OK");
        if n > 0 {
            client.ask("GET key0", "0");
        }
        program.signal(signal);
        client.expect_end();
        let (code, log) = program.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("everything is saved"), "{log}");
        assert!(!log.contains('\x1b'), "no colours outside a terminal");
    }
}

#[test]
fn two_signals_end_it_at_once_with_success() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    program.connect().ask("SET k v", "OK");
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().0, Some(0));
    Program::start(dir.path()).connect().ask("GET k", "v");
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_client_that_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut client = program.connect();
    (0..500).for_each(|n| client.ask(&format!("SET key{n} {n}"), "OK"));
    // More replies than the sockets hold: stopping in order waits for this client.
    let mut idle = program.connect();
    idle.ask(&format!("SET large {}", "x".repeat(1 << 20)), "OK");
    idle.send("GET large\n".repeat(40));
    program.signal(Signal::INT);
    program.wait_for_log("stopping: answering what was received");
    // A signal that comes too soon is taken for an echo of the first.
    while !program.log().contains("stopped") {
        std::thread::sleep(Duration::from_millis(50));
        program.signal(Signal::INT);
    }
    let (code, log) = program.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("everything acknowledged is in the log"), "{log}");
    let program = Program::start(dir.path());
    let mut client = program.connect();
    (0..500).for_each(|n| client.ask(&format!("GET key{n}"), &n.to_string()));
}
