//! The traps of an edge-triggered reactor, one test each.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use chronos::engine::storage::sim::SimStorage;
use chronos::server::{ClientsBound, Settings, Stopped, Timeouts};

use super::harness::{Client, Harness, PATIENCE, settings};

fn impatient(change: impl FnOnce(&mut Timeouts)) -> Harness {
    let mut settings = settings();
    settings.timeouts.watch_interval = Duration::from_millis(20);
    change(&mut settings.timeouts);
    Harness::start_with(SimStorage::new(1), settings)
}

fn big_value() -> String {
    (0..).map(|n: u32| n.to_string()).take(200_000).collect()
}

#[test]
fn a_long_pipeline_is_answered_though_the_client_then_keeps_silent() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let count = (1 << 20) / 5;
    let mut sender = client.socket.try_clone().unwrap();
    let thread = std::thread::spawn(move || sender.write_all(&b"PING\n".repeat(count)).unwrap());
    client.expect("PONG\n".repeat(count));
    thread.join().unwrap();
    client.expect_silence();
    harness.stop();
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let value = big_value();
    client.ask(&format!("SET big {value}"), "OK");
    let mut sender = client.socket.try_clone().unwrap();
    let thread =
        std::thread::spawn(move || sender.write_all(&b"GET big\nPING\n".repeat(20)).unwrap());
    let mut got = Vec::new();
    let mut piece = vec![0; 30_000];
    let expected = format!("{value}\nPONG\n").repeat(20);
    while got.len() < expected.len() {
        let count = client.socket.read(&mut piece).unwrap();
        got.extend_from_slice(&piece[..count]);
        std::thread::sleep(Duration::from_micros(50));
    }
    assert!(got == expected.as_bytes());
    thread.join().unwrap();
    client.ask("PING", "PONG");
    harness.stop();
}

#[test]
fn a_client_that_never_reads_is_bounded_and_closed() {
    let mut settings = Settings { clients_bound: ClientsBound::Bytes(8 << 20), ..settings() };
    settings.timeouts.watch_interval = Duration::from_millis(20);
    settings.timeouts.output_stuck = Duration::from_secs(4);
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let (mut bad, mut good) = (harness.connect(), harness.connect());
    good.ask(&format!("SET big {}", big_value()), "OK");
    bad.socket.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let start = Instant::now();
    let requests = b"GET big\n".repeat(8 << 10);
    let mut stuck = false;
    loop {
        match bad.socket.write(&requests) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                stuck = true;
            }
            Err(_) => break,
        }
        let asked = Instant::now();
        good.ask("PING", "PONG");
        assert!(asked.elapsed() < Duration::from_secs(1), "others are served");
        assert!(start.elapsed() < PATIENCE, "it is closed in the end");
    }
    assert!(stuck, "the server stopped reading it");
    assert_eq!(good.figure("slow_readers_closed"), 1);
    assert_eq!(good.figure("connected_clients"), 1);
    harness.stop();
}

#[test]
fn a_flooder_does_not_starve_others() {
    let harness = Harness::start();
    let (flooder, mut other) = (harness.connect(), harness.connect());
    let (mut sender, mut reader) = (flooder.socket.try_clone().unwrap(), flooder.socket);
    let writing = std::thread::spawn(move || {
        let batch = b"SET flood xxxxxxxxxxxxxxxx\nGET flood\n".repeat(2000);
        while sender.write_all(&batch).is_ok() {}
    });
    let reading = std::thread::spawn(move || {
        let mut sink = vec![0; 1 << 16];
        let mut total = 0;
        while let Ok(count @ 1..) = reader.read(&mut sink) {
            total += count;
            if total > 4 << 20 {
                break;
            }
        }
        // Dropping the socket with unread bytes ends the writer.
        reader.shutdown(std::net::Shutdown::Both).unwrap();
        total
    });
    let mut worst = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        other.ask("PING", "PONG");
        worst = worst.max(asked.elapsed());
    }
    assert!(worst < Duration::from_millis(500), "{worst:?}");
    assert!(reading.join().unwrap() > 4 << 20);
    writing.join().unwrap();
    other.ask("PING", "PONG");
    harness.stop();
}

#[test]
fn a_client_that_goes_away_mid_reply_harms_nobody() {
    let harness = Harness::start();
    let mut other = harness.connect();
    other.ask(&format!("SET big {}", big_value()), "OK");
    for _ in 0..20 {
        let mut client = harness.connect();
        client.send("GET big\n".repeat(50));
        let mut some = [0; 1000];
        client.socket.read_exact(&mut some).unwrap();
        drop(client);
        other.ask("PING", "PONG");
    }
    harness.stop();
}

#[test]
fn slots_are_used_again_and_replies_do_not_stray() {
    let harness = Harness::start();
    let mut other = harness.connect();
    for n in 0..200 {
        let mut leaving = harness.connect_silently();
        leaving.send(format!("SET k{n} left\nCOMPACT\nGET k{n}\n"));
        drop(leaving);
        let mut coming = harness.connect_silently();
        coming.ask("GET nothing", "NULL");
        other.ask("PING", "PONG");
    }
    harness.stop();
}

#[test]
fn a_half_closed_client_gets_its_replies() {
    let harness = Harness::start();
    let mut client = harness.connect();
    client.send("SET a 1\n".repeat(1000));
    client.send("GET a\n");
    client.finish();
    client.expect("OK\n".repeat(1000));
    client.expect("1\n");
    client.expect_end();
    harness.stop();
}

#[test]
fn half_a_request_is_not_executed() {
    let harness = Harness::start();
    let (mut client, mut other) = (harness.connect(), harness.connect());
    client.send("SET a 1\nSET a 12");
    client.finish();
    client.expect("OK\nERR the connection ended inside a request, which was not executed\n");
    client.expect_end();
    other.ask("GET a", "1");
    harness.stop();
}

#[test]
fn an_unfinished_request_is_not_waited_for_without_end() {
    let harness = impatient(|timeouts| timeouts.request_stuck = Duration::from_millis(100));
    let (mut slow, mut idle) = (harness.connect(), harness.connect());
    slow.send("SET a 1");
    slow.expect("ERR the request stood unfinished for 0 seconds\n");
    slow.expect_end();
    idle.ask("GET a", "NULL");
    harness.stop();
}

#[test]
fn buffers_of_all_clients_together_are_bounded() {
    let bound = ClientsBound::Bytes(1 << 20);
    let mut settings = Settings { clients_bound: bound, ..settings() };
    settings.timeouts.watch_interval = Duration::from_millis(20);
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let (mut large, mut small) = (harness.connect(), harness.connect());
    small.send("SET small ".to_owned() + &"x".repeat(100_000));
    large.send("SET large ".to_owned() + &"x".repeat(2_000_000));
    large.expect_end();
    small.send("\n");
    small.expect("OK\n");
    harness.stop();
}

#[test]
fn replies_before_a_close_are_not_lost_to_a_reset() {
    let harness = impatient(|timeouts| timeouts.linger = Duration::from_millis(200));
    for _ in 0..20 {
        let mut client = harness.connect();
        client.send("QUIT\n");
        // Bytes that the server never executes must not turn its last reply into a reset.
        client.send("PING\n".repeat(10_000));
        client.expect("OK\n");
        client.expect_end();
    }
    harness.stop();
}

#[test]
fn too_many_connections_are_told_so() {
    let settings = Settings { max_connections: 2, ..settings() };
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let (a, mut b) = (harness.connect(), harness.connect());
    let mut c = harness.connect_silently();
    c.expect("ERR too many connections: at most 2 are allowed, try later\n");
    c.expect_end();
    drop(a);
    let start = Instant::now();
    while b.figure("connected_clients") > 1 {
        assert!(start.elapsed() < PATIENCE);
    }
    harness.connect().ask("PING", "PONG");
    assert_eq!(b.figure("rejected_connections"), 1);
    harness.stop();
}

#[test]
fn many_connections_come_and_stay() {
    let harness = Harness::start();
    let mut clients: Vec<Client> = (0..300).map(|_| harness.connect_silently()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("SET key{n} {n}\nGET key{n}\n"));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.expect(format!("OK\n{n}\n"));
    }
    harness.stop();
}

#[test]
fn shutdown_answers_saves_and_ends() {
    let harness = Harness::start();
    let (mut a, mut b) = (harness.connect(), harness.connect());
    b.ask("SET k v", "OK");
    a.send("SHUTDOWN\n");
    a.expect("OK\n");
    a.expect_end();
    b.expect_end();
    let storage = harness.storage.clone();
    assert_eq!(harness.join(), Stopped::Clean);
    let again = Harness::start_with(storage, settings());
    again.connect().ask("GET k", "v");
    again.stop();
}

#[test]
fn what_was_read_before_a_stop_is_executed_and_answered() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let count = 2000;
    client.send("SHUTDOWN\n".to_owned() + &"SET k v\n".repeat(count));
    client.expect("OK\n");
    client.expect("OK\n".repeat(count));
    client.expect_end();
    assert_eq!(harness.join(), Stopped::Clean);
}

#[test]
fn a_stop_waits_for_replies_that_wait_for_their_sync() {
    let harness = Harness::start();
    let (mut a, _b) = (harness.connect(), harness.connect());
    harness.storage.hold_syncs(true);
    a.send("SET k v\n");
    assert!(harness.storage.wait_for_syncs(1, PATIENCE));
    harness.stopper.stop();
    a.expect_silence();
    harness.storage.hold_syncs(false);
    a.expect("OK\n");
    a.expect_end();
    assert_eq!(harness.join(), Stopped::Clean);
}

#[test]
fn a_second_stop_waits_for_the_log_only() {
    let harness = Harness::start();
    let (mut a, _b) = (harness.connect(), harness.connect());
    harness.storage.hold_syncs(true);
    a.send("SET k v\n");
    assert!(harness.storage.wait_for_syncs(1, PATIENCE));
    harness.stopper.stop();
    a.expect_silence();
    harness.stopper.stop();
    a.expect_silence();
    harness.storage.hold_syncs(false);
    a.expect("OK\n");
    assert_eq!(harness.join(), Stopped::Hurried);
}
