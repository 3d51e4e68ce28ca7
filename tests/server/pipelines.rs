//! Clients that write all before they read, that do not read, or that send what never ends: each is
//! served as far as memory goes, none costs more than the memory that it is allowed.

use std::io::{Read, Write};
use std::time::Duration;

use super::harness::{Client, Harness};

/// Sends pieces until the server closes; what it said last.
fn flood(client: &mut Client, piece: &[u8]) -> String {
    client.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..100 {
        if client.socket.write_all(piece).is_err() {
            break;
        }
    }
    let mut told = Vec::new();
    // A reset may follow the last words.
    let _ = client.socket.read_to_end(&mut told);
    String::from_utf8_lossy(&told).into_owned()
}

#[test]
fn what_never_ends_is_refused_after_64_kib_at_the_latest() {
    let harness = Harness::start();
    for (start, piece, word) in [
        ("*\0", "A".repeat(1024), "too big mbulk count string"),
        ("*1\r\n$\0", "A".repeat(1024), "too big bulk count string"),
        ("$\0", "A".repeat(1024), "too big inline request"),
        ("$\0", "A".repeat(1024) + "\n", "too big inline request"),
        ("\0", "A".repeat(1024), "too big inline request"),
    ] {
        let mut client = harness.connect_silently();
        client.send(start);
        let told = flood(&mut client, piece.as_bytes());
        assert!(told.contains(&format!("ERR Protocol error: {word}")), "{start:?}: {told:?}");
    }
    // A value may well be longer.
    let mut client = harness.connect();
    client.ask(&format!("SET k {}", "A".repeat(100_000)), "OK");
    harness.stop();
}

/// How often the reactor has woken and tried to write while nothing happened for a while.
fn idle_work(watcher: &mut Client) -> u64 {
    let work = |watcher: &mut Client| {
        watcher.figure("eventloop_cycles") + watcher.figure("total_writes_processed")
    };
    let before = work(watcher);
    watcher.expect_silence();
    watcher.expect_silence();
    work(watcher) - before
}

#[test]
fn who_does_not_read_costs_nothing() {
    let harness = Harness::start();
    let mut watcher = harness.connect();
    watcher.ask(&format!("SET big {}", "x".repeat(1 << 20)), "OK");
    let readers: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = harness.connect();
            client.send("GET big\n".repeat(20));
            client
        })
        .collect();
    // Bounded by far more than a busy machine needs, and far less than a spin takes.
    assert!(idle_work(&mut watcher) < 200);
    for mut reader in readers {
        let mut some = vec![0; 3 << 20];
        reader.socket.read_exact(&mut some).unwrap();
        assert!(idle_work(&mut watcher) < 200, "who reads a little at a time costs little");
    }
    harness.stop();
}
