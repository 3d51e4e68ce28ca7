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
