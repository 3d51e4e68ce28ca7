//! No reply leaves before the sync that covers what it shows.

use chronos::engine::storage::sim::SimStorage;

use super::admin::{connect, request};
use super::harness::{Client, Harness, PATIENCE, settings};

/// A server with three clients (one alone would be synced in place) and `k` durably `old`.
fn start() -> (Harness, Client, Client, Client) {
    let harness = Harness::start();
    let (mut a, b, c) = (harness.connect(), harness.connect(), harness.connect());
    a.ask("SET k old", "OK");
    a.ask("SET other o", "OK");
    (harness, a, b, c)
}

/// Sends a request and waits until its sync is being held.
fn send_and_hold(harness: &Harness, client: &mut Client, request: &str) {
    harness.storage.hold_syncs(true);
    client.send(format!("{request}\n"));
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the write is synced");
}

#[test]
fn a_set_is_acknowledged_after_its_sync() {
    let (harness, mut a, mut b, _c) = start();
    send_and_hold(&harness, &mut a, "SET k new");
    a.expect_silence();
    b.ask("GET other", "o");
    b.ask("PING", "PONG");
    harness.storage.hold_syncs(false);
    a.expect("OK\n");
    harness.stop();
}

#[test]
fn a_value_is_shown_after_its_sync() {
    let (harness, mut a, mut b, mut c) = start();
    send_and_hold(&harness, &mut a, "SET k new");
    b.send("GET k\n");
    b.expect_silence();
    c.send("EXISTS k\nPING\n");
    c.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("new\n");
    c.expect("1\nPONG\n");
    a.expect("OK\n");
    harness.stop();
}

#[test]
fn a_miss_that_a_delete_caused_is_shown_after_its_sync() {
    let (harness, mut a, mut b, mut c) = start();
    send_and_hold(&harness, &mut a, "DEL k");
    b.send("GET k\n");
    b.expect_silence();
    c.send("EXISTS k\n");
    c.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("NULL\n");
    c.expect("0\n");
    a.expect("OK_DELETED\n");
    harness.stop();
}

#[test]
fn replies_stay_in_order_around_one_that_waits() {
    let (harness, mut a, mut b, _c) = start();
    send_and_hold(&harness, &mut a, "SET k new");
    b.send("GET other\nGET k\nGET other\nPING\n");
    b.expect("o\n");
    b.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("new\no\nPONG\n");
    harness.stop();
}

#[test]
fn a_later_write_waits_for_its_own_sync() {
    let (harness, mut a, mut b, _c) = start();
    send_and_hold(&harness, &mut a, "SET k 1");
    b.send("SET k 2\n");
    b.expect_silence();
    harness.storage.hold_syncs(false);
    a.expect("OK\n");
    b.expect("OK\n");
    a.ask("GET k", "2");
    harness.stop();
}

#[test]
fn a_client_that_writes_again_while_its_reply_waits_loses_nothing() {
    let (harness, mut a, mut b, _c) = start();
    send_and_hold(&harness, &mut a, "SET k 1");
    for n in 0..1000 {
        a.send(format!("SET n {n}\nGET n\n"));
    }
    b.send("GET n\n");
    b.expect_silence();
    harness.storage.hold_syncs(false);
    a.expect("OK\n");
    for n in 0..1000 {
        a.expect(format!("OK\n{n}\n"));
    }
    harness.stop();
}

#[test]
fn what_is_in_an_exchanged_database_is_shown_once_the_exchange_is_durable() {
    let harness = Harness::start();
    let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| connect(&harness));
    a.say("SET k zero", "+OK");
    a.say("SELECT 1", "+OK");
    a.say("SET k one", "+OK");
    a.say("SET here 1", "+OK");
    harness.storage.hold_syncs(true);
    a.send(request("SWAPDB 0 1"));
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the exchange is synced");
    b.send(request("GET k"));
    b.expect_silence();
    c.send(request("STRLEN none"));
    c.expect_silence();
    d.send(request("MGET k here"));
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
    client.say("SELECT 1", "+OK");
    client.say("SET k one", "+OK");
    client.say("COMPACT", "+OK_COMPACTED");
    let storage: SimStorage = harness.storage.clone();
    harness.stop();
    storage.set_cold(true);
    let harness = Harness::start_with(storage, settings());
    let [mut a, mut b, _c] = [(); 3].map(|()| connect(&harness));
    harness.storage.hold_syncs(true);
    a.send(request("SWAPDB 0 1"));
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the exchange is synced");
    b.send(request("GET k"));
    b.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("$3\r\none\r\n");
    harness.stop();
}
