//! Peers that are gone or silent: who is asked after, who is closed, and what of that can be set.

use std::time::Duration;

use chronos::engine::storage::sim::SimStorage;
use chronos::server::Settings;

use super::harness::{Client, Harness, settings};

/// The timer that the system runs for the server's side of a connection, and in how many hundredths of a
/// second it is due.
#[cfg(target_os = "linux")]
fn timer(client: &Client) -> (String, u64) {
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let local = port(client.socket.peer_addr().unwrap());
    let remote = port(client.socket.local_addr().unwrap());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let mut ours = rows.filter(|row| row[1].ends_with(&local) && row[2].ends_with(&remote));
    let row = ours.next().unwrap();
    let (kind, due) = row[5].split_once(':').unwrap();
    (kind.to_owned(), u64::from_str_radix(due, 16).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_silent_peer_is_asked_whether_it_lives() {
    const KEEPALIVE: &str = "02";
    let harness = Harness::start();
    let mut client = harness.connect();
    let (kind, due) = timer(&client);
    assert!(kind == KEEPALIVE && due <= 30_100 && due > 20_000, "{kind} {due}");
    client.send("CONFIG GET tcp-keepalive\n");
    client.expect("LIST 2\ntcp-keepalive\n300\n");
    client.ask("CONFIG SET tcp-keepalive 60", "OK");
    let (kind, due) = timer(&harness.connect());
    assert!(kind == KEEPALIVE && due <= 6_100, "{kind} {due}");
    client.ask("CONFIG SET tcp-keepalive 0", "OK");
    assert_eq!(timer(&harness.connect()).0, "00");
    harness.stop();
}

#[test]
fn who_asks_for_nothing_is_closed_if_so_set() {
    let mut settings = settings();
    settings.timeouts.watch_interval = Duration::from_millis(20);
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let (mut idle, mut busy) = (harness.connect(), harness.connect());
    let (mut listener, mut monitor) = (harness.connect(), harness.connect());
    listener.send("SUBSCRIBE c\n");
    listener.expect("LIST 3\nsubscribe\nc\n1\n");
    monitor.ask("MONITOR", "OK");
    busy.ask("CONFIG SET timeout 1", "OK");
    // Its end may be long in coming on a busy machine; that of the others must not come.
    idle.expect_end();
    let mut again = harness.connect();
    again.ask("PUBLISH c m", "1");
    listener.expect("LIST 3\nmessage\nc\nm\n");
    again.ask("CONFIG SET timeout 0", "OK");
    assert_eq!(again.figure("pubsub_channels"), 1);
    harness.stop();
}

#[test]
fn what_may_be_waited_for_is_set_while_the_server_runs() {
    let mut settings: Settings = settings();
    settings.timeouts.watch_interval = Duration::from_millis(20);
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let (mut client, mut slow) = (harness.connect(), harness.connect());
    client
        .send("CONFIG GET request-timeout timeout maxmemory-clients client-output-buffer-limit\n");
    client.expect(
        "LIST 8\nclient-output-buffer-limit\nnormal 603979776 0 0 slave 0 0 0 pubsub 33554432 8388608 60\n\
         maxmemory-clients\n1073741824\nrequest-timeout\n300\ntimeout\n0\n",
    );
    slow.send("SET a 1");
    client.ask("CONFIG SET request-timeout 1", "OK");
    slow.expect("ERR the request stood unfinished for 1 seconds\n");
    slow.expect_end();
    client.ask("CONFIG SET maxmemory-clients 50%", "OK");
    client.send("CONFIG GET maxmemory-clients\n");
    client.expect("LIST 2\nmaxmemory-clients\n50%\n");
    client.ask(
        "CONFIG SET maxmemory-clients many",
        "ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - argument must be a memory or percent value",
    );
    harness.stop();
}
