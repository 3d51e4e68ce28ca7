//! What a hostile review has found: each test failed once.

use chronos::engine::storage::sim::SimStorage;

use super::harness::{Client, Harness, PATIENCE, settings};

/// A request of a Redis client.
fn resp(words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    request
}

fn ask(client: &mut Client, request: &str, reply: &str) {
    client.send(resp(&request.split(' ').collect::<Vec<_>>()));
    client.expect(reply);
}

fn connect(harness: &Harness) -> Client {
    let mut client = harness.connect_silently();
    ask(&mut client, "PING", "+PONG\r\n");
    client
}

#[test]
fn what_is_in_an_exchanged_database_is_shown_once_the_exchange_is_durable() {
    let harness = Harness::start();
    let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| connect(&harness));
    ask(&mut a, "SET k zero", "+OK\r\n");
    ask(&mut a, "SELECT 1", "+OK\r\n");
    ask(&mut a, "SET k one", "+OK\r\n");
    ask(&mut a, "SET here 1", "+OK\r\n");
    harness.storage.hold_syncs(true);
    a.send(resp(&["SWAPDB", "0", "1"]));
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the exchange is synced");
    b.send(resp(&["GET", "k"]));
    b.expect_silence();
    c.send(resp(&["STRLEN", "none"]));
    c.expect_silence();
    d.send(resp(&["MGET", "k", "here"]));
    d.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("$3\r\none\r\n");
    c.expect(":0\r\n");
    d.expect("*2\r\n$3\r\none\r\n$1\r\n1\r\n");
    harness.stop();
}

#[test]
fn what_is_cold_in_an_exchanged_database_waits_for_the_exchange_too() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    ask(&mut client, "SELECT 1", "+OK\r\n");
    ask(&mut client, "SET k one", "+OK\r\n");
    client.send(resp(&["COMPACT"]));
    client.expect("+OK_COMPACTED\r\n");
    let storage: SimStorage = harness.storage.clone();
    harness.stop();
    storage.set_cold(true);
    let harness = Harness::start_with(storage, settings());
    let [mut a, mut b, _c] = [(); 3].map(|()| connect(&harness));
    harness.storage.hold_syncs(true);
    a.send(resp(&["SWAPDB", "0", "1"]));
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the exchange is synced");
    b.send(resp(&["GET", "k"]));
    b.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("$3\r\none\r\n");
    harness.stop();
}
