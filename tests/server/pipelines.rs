//! Clients that write all before they read, that do not read, or that send what never ends: each is
//! served as far as memory goes, none costs more than the memory that it is allowed.

use std::io::{Read, Write};
use std::time::Duration;

use chronos::engine::Options;
use chronos::engine::storage::sim::SimStorage;
use chronos::server::{ClientsBound, OutputBound, OutputBounds, Settings};

use super::harness::{Client, Harness, settings};

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

/// A server that takes values of 12 MiB.
fn roomy(settings: Settings) -> Harness {
    let options = Options { memory_bytes: 256 << 20, ..Options::default() };
    Harness::start_on(SimStorage::new(1), settings, options)
}

/// A server with a small and a large value.
fn with_values() -> Harness {
    let harness = roomy(settings());
    let mut client = harness.connect();
    client.ask(&format!("SET small {}", "s".repeat(300)), "OK");
    client.ask(&format!("SET large {}", "l".repeat(12 << 20)), "OK");
    harness
}

/// Sends everything, and only then reads as much as is to come, and compares it.
fn all_before_reading(client: &mut Client, requests: &[u8], replies: &[u8]) {
    client.send(requests);
    let mut got = vec![0; 1 << 20];
    let mut at = 0;
    while at < replies.len() {
        let count = client.socket.read(&mut got).unwrap();
        assert!(count > 0, "closed after {at} bytes");
        assert!(replies[at..].starts_with(&got[..count]), "another reply after {at} bytes");
        at += count;
    }
}

#[test]
fn a_pipeline_may_be_sent_before_a_reply_is_read() {
    let harness = with_values();
    let (small, large) = ("s".repeat(300), "l".repeat(12 << 20));
    let mut text = harness.connect();
    all_before_reading(
        &mut text,
        &b"GET small\n".repeat(100_000),
        format!("{small}\n").repeat(100_000).as_bytes(),
    );
    all_before_reading(
        &mut text,
        format!("GET large\nSET other {large}\nGET other\nPING\n").as_bytes(),
        format!("{large}\nOK\n{large}\nPONG\n").as_bytes(),
    );
    all_before_reading(
        &mut text,
        &b"FLY\n".repeat(100_000),
        &b"ERR unknown command 'FLY': HELP lists the commands\n".repeat(100_000),
    );
    let mut resp = harness.connect_silently();
    all_before_reading(
        &mut resp,
        &b"*2\r\n$3\r\nGET\r\n$5\r\nsmall\r\n".repeat(300_000),
        format!("$300\r\n{small}\r\n").repeat(300_000).as_bytes(),
    );
    let echo = format!("$1000\r\n{}\r\n", "e".repeat(1000));
    all_before_reading(
        &mut resp,
        format!("*2\r\n$4\r\nECHO\r\n{echo}").repeat(100_000).as_bytes(),
        echo.repeat(100_000).as_bytes(),
    );
    all_before_reading(
        &mut resp,
        &b"*4\r\n$4\r\nMGET\r\n$5\r\nsmall\r\n$4\r\nnone\r\n$5\r\nsmall\r\n".repeat(50_000),
        format!("*3\r\n$300\r\n{small}\r\n$-1\r\n$300\r\n{small}\r\n").repeat(50_000).as_bytes(),
    );
    harness.stop();
}

#[test]
fn a_transaction_may_be_sent_before_a_reply_is_read() {
    let harness = with_values();
    let small = "s".repeat(300);
    let mut resp = harness.connect_silently();
    let get = "*2\r\n$3\r\nGET\r\n$5\r\nsmall\r\n".repeat(50_000);
    let queued = "+QUEUED\r\n".repeat(50_000);
    let values = format!("$300\r\n{small}\r\n").repeat(50_000);
    all_before_reading(
        &mut resp,
        format!("*1\r\n$5\r\nMULTI\r\n{get}*1\r\n$4\r\nEXEC\r\n").repeat(3).as_bytes(),
        format!("+OK\r\n{queued}*50000\r\n{values}").repeat(3).as_bytes(),
    );
    harness.stop();
}

/// The end of what a client sends may be met long before it is its turn.
#[test]
fn who_sends_all_and_then_its_end_gets_every_reply() {
    let harness = with_values();
    let mut client = harness.connect();
    client.send(b"GET small\n".repeat(100_000));
    client.send("SET half a valu");
    client.finish();
    let mut replies = format!("{}\n", "s".repeat(300)).repeat(100_000);
    replies += "ERR the connection ended inside a request, which was not executed\n";
    client.expect(replies);
    client.expect_end();
    harness.connect().ask("GET half", "NULL");
    harness.stop();
}

#[test]
fn output_over_its_bound_closes_the_client_and_is_counted() {
    let bounds = OutputBounds::new(
        OutputBound { hard_bytes: 4 << 20, soft_bytes: 0, soft_seconds: 0 },
        OutputBound { hard_bytes: 0, soft_bytes: 1 << 20, soft_seconds: 0 },
    );
    let harness = roomy(Settings { output_bounds: bounds, ..settings() });
    let mut good = harness.connect();
    good.ask(&format!("SET big {}", "b".repeat(12 << 20)), "OK");
    let mut bad = harness.connect();
    bad.send("GET big\n");
    // It reads nothing before it is closed: who reads fast enough is never over the bound.
    let start = std::time::Instant::now();
    while good.figure("client_output_buffer_limit_disconnections") == 0 {
        assert!(start.elapsed() < super::harness::PATIENCE, "never closed");
    }
    let mut got = Vec::new();
    // What was sent before it was closed may still come.
    let _ = bad.socket.read_to_end(&mut got);
    assert!(got.len() < 12 << 20);
    let mut listener = harness.connect();
    listener.send("SUBSCRIBE c\n");
    listener.expect("LIST 3\nsubscribe\nc\n1\n");
    let message = "m".repeat(1 << 20);
    let mut count = 0;
    while good.figure("pubsub_channels") > 0 {
        good.send(format!("PUBLISH c {message}\n"));
        good.line();
        count += 1;
        assert!(count < 100, "never closed");
    }
    assert_eq!(good.figure("client_output_buffer_limit_disconnections"), 2);
    harness.stop();
}

#[test]
fn many_who_read_nothing_are_bounded_and_others_are_served() {
    let bound = ClientsBound::Bytes(32 << 20);
    let settings = Settings { clients_bound: bound, ..settings() };
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let mut good = harness.connect();
    good.ask(&format!("SET big {}", "b".repeat(1 << 20)), "OK");
    let bad: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = harness.connect_silently();
            client.send("GET big\n".repeat(20));
            client
        })
        .collect();
    for _ in 0..20 {
        good.ask("GET big", &"b".repeat(1 << 20));
    }
    assert!(good.figure("evicted_clients") > 50);
    // All that is counted, and one reply in the making.
    let peak = good.figure("mem_clients_peak");
    assert!(peak <= (32 << 20) + (4 << 20), "{peak}");
    drop(bad);
    harness.stop();
}

#[test]
fn many_who_send_slowly_are_bounded_and_who_gets_on_gets_through() {
    let bound = ClientsBound::Bytes(8 << 20);
    let settings = Settings { clients_bound: bound, ..settings() };
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let mut good = harness.connect();
    let bad: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = harness.connect_silently();
            client.send(format!(
                "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$30000000\r\n{}",
                "x".repeat(100_000)
            ));
            client
        })
        .collect();
    good.ask("PING", "PONG");
    assert!(good.figure("evicted_clients") > 150);
    assert!(good.figure("mem_clients_peak") <= (8 << 20) + (1 << 20));
    good.ask(&format!("SET value {}", "v".repeat(50_000)), "OK");
    drop(bad);
    harness.stop();
}
