//! What clients see while the disk fails, is full or is slow.

use chronos::engine::storage::sim::{FaultKind, SimStorage, Times};

use super::harness::{Harness, PATIENCE, settings};

/// A database whose values are in tables, and nothing of it in memory.
fn cold_storage(count: usize) -> SimStorage {
    let harness = Harness::start();
    let mut client = harness.connect();
    for n in 0..count {
        client.send(format!("SET key{n} value{n}\n"));
    }
    client.expect("OK\n".repeat(count));
    let storage = harness.storage.clone();
    harness.stop();
    storage.set_cold(true);
    storage
}

#[test]
fn reads_from_disk_keep_their_place() {
    let harness = Harness::start_with(cold_storage(500), settings());
    let mut client = harness.connect();
    for n in 0..500 {
        client.send(format!("GET key{n}\nPING\nSET new{n} {n}\nGET new{n}\nEXISTS key{n}\n"));
    }
    for n in 0..500 {
        client.expect(format!("value{n}\nPONG\nOK\n{n}\n1\n"));
    }
    assert!(client.figure("deferred_reads") > 0, "they were read by workers");
    client.ask("GET key500", "NULL");
    harness.stop();
}

#[test]
fn answers_for_a_client_that_is_gone_reach_nobody_else() {
    let harness = Harness::start_with(cold_storage(100), settings());
    let mut other = harness.connect();
    for _ in 0..50 {
        let mut leaving = harness.connect_silently();
        for n in 0..100 {
            leaving.send(format!("GET key{n}\n"));
        }
        drop(leaving);
        let mut coming = harness.connect_silently();
        coming.ask("GET nothing", "NULL");
        coming.ask("GET key7", "value7");
        other.ask("PING", "PONG");
    }
    harness.stop();
}

#[test]
fn a_disk_that_cannot_be_read_is_an_error_and_not_a_miss() {
    let storage = cold_storage(100);
    let harness = Harness::start_with(storage.clone(), settings());
    let mut client = harness.connect();
    storage.fail_read(storage.read_count() + 1, FaultKind::Io, Times::Forever);
    client.send("GET key1\nPING\nEXISTS key2\n");
    let line = client.line();
    assert!(line.starts_with("ERR IOERR "), "{line}");
    client.expect("PONG\n");
    let line = client.line();
    assert!(line.starts_with("ERR IOERR "), "{line}");
    storage.clear_faults();
    client.ask("GET key1", "value1");
    harness.stop();
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_shows_nothing_of_it() {
    let harness = Harness::start();
    let storage = harness.storage.clone();
    let (mut a, mut b, mut c) = (harness.connect(), harness.connect(), harness.connect());
    a.ask("SET k old", "OK");
    storage.hold_syncs(true);
    a.send("PING\nSET k new\nPING\n");
    assert!(storage.wait_for_syncs(1, PATIENCE));
    a.expect("PONG\n");
    b.send("GET k\nPING\n");
    b.expect_silence();
    // The held sync is a call already made; the one that follows it fails.
    c.send("SET k newer\n");
    c.expect_silence();
    storage.fail_call(storage.call_count() + 1, FaultKind::SyncLosesData, Times::Forever);
    storage.hold_syncs(false);
    let line = c.line();
    assert!(line.starts_with("ERR IOERR ") && line.contains("outcome unknown"), "{line}");
    c.expect_end();
    let mut d = harness.connect();
    d.send("SET k newest\n");
    let line = d.line();
    assert!(line.starts_with("ERR IOERR "), "{line}");
    assert!(d.text("INFO engine").contains("health:FAILED\nhealth_cause:"));
    d.send("GET k\n");
    let shown = d.line();
    assert!(["old", "new"].contains(&shown.as_str()), "{shown}");
    d.ask("PING", "PONG");
}

#[test]
fn a_client_that_is_alone_learns_of_a_failed_sync_too() {
    let harness = Harness::start();
    let storage = harness.storage.clone();
    let mut client = harness.connect();
    client.ask("SET k old", "OK");
    storage.fail_call(storage.call_count() + 1, FaultKind::SyncLosesData, Times::Forever);
    client.send("PING\nSET k new\nGET k\nPING\n");
    client.expect("PONG\n");
    let line = client.line();
    assert!(line.starts_with("ERR IOERR ") && line.contains("outcome unknown"), "{line}");
    client.expect_end();
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let harness = Harness::start();
    let storage = harness.storage.clone();
    let (mut client, _other) = (harness.connect(), harness.connect());
    client.ask("SET k v", "OK");
    let value = "x".repeat(100_000);
    // Written before: without a spare log segment the next write may be refused at once.
    client.ask(&format!("SET key0 {value}"), "OK");
    storage.set_capacity(Some(0));
    let mut refused = false;
    for n in 1..2000 {
        client.send(format!("SET key{n} {value}\n"));
        let line = client.line();
        if line.starts_with("ERR NOSPACE ") {
            refused = true;
            break;
        }
        assert_eq!(line, "OK");
    }
    assert!(refused, "the disk was full");
    client.ask("GET k", "v");
    client.ask("GET key0", &value);
    assert!(client.text("INFO engine").contains("health:NOSPACE"));
    storage.set_capacity(None);
    let start = std::time::Instant::now();
    loop {
        client.send("SET k again\n");
        if client.line() == "OK" {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "writes go on once there is room");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    client.ask("GET k", "again");
    harness.stop();
}

#[test]
fn writes_that_outrun_the_log_are_parked_and_all_done() {
    let harness = Harness::start();
    let storage = harness.storage.clone();
    let (mut a, mut b) = (harness.connect(), harness.connect());
    let value = "x".repeat(10_000);
    storage.hold_syncs(true);
    // More than the log takes without a sync: the client is parked, not refused.
    let mut sender = a.socket.try_clone().unwrap();
    let count = 5000;
    let requests = format!("SET k {value}\n").repeat(count);
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        sender.write_all(requests.as_bytes()).unwrap();
    });
    assert!(storage.wait_for_syncs(1, PATIENCE));
    a.expect_silence();
    b.ask("PING", "PONG");
    let start = std::time::Instant::now();
    while b.figure("parked_writes") == 0 {
        assert!(start.elapsed() < PATIENCE);
    }
    storage.hold_syncs(false);
    a.expect("OK\n".repeat(count));
    writing.join().unwrap();
    a.ask("GET k", &value);
    harness.stop();
}
