//! Transactions, conditional work on cold keys, and messages: at one moment, and shown once durable.

use chronos::engine::storage::sim::SimStorage;

use super::admin::request;
use super::harness::{Client, Harness, PATIENCE, settings};

fn ask(client: &mut Client, line: &str, reply: &str) {
    client.send(request(line));
    client.expect(reply);
}

/// A storage with `n0` = 0, `n1` = 1 and so on in tables that are in no cache.
fn cold_numbers(count: usize) -> SimStorage {
    let harness = Harness::start();
    let mut client = harness.connect();
    for n in 0..count {
        client.ask(&format!("SET n{n} {n}"), "OK");
    }
    client.ask("COMPACT", "OK_COMPACTED");
    let storage = harness.storage.clone();
    harness.stop();
    storage.set_cold(true);
    storage
}

#[test]
fn commands_on_cold_keys_run_once_and_in_order() {
    let harness = Harness::start_with(cold_numbers(200), settings());
    let mut client = harness.connect();
    for n in 0..200 {
        client.send(format!("INCR n{n}\nAPPEND n{n} x\nSTRLEN n{n}\nGET n{n}\n"));
    }
    for n in 1..=200 {
        let length = n.to_string().len() + 1;
        client.expect(format!("{n}\n{length}\n{length}\n{n}x\n"));
    }
    assert!(client.figure("deferred_reads") > 0, "they were read by workers");
    harness.stop();
}

#[test]
fn increments_of_cold_keys_by_many_clients_are_all_counted() {
    let harness = Harness::start_with(cold_numbers(50), settings());
    let mut clients: Vec<Client> = (0..8).map(|_| harness.connect_silently()).collect();
    for client in &mut clients {
        (0..50).for_each(|n| client.send(format!("INCRBY n{n} 100\nMGET n{n} n0\n")));
    }
    for client in &mut clients {
        for _ in 0..50 {
            client.line();
            assert_eq!(client.line(), "LIST 2");
            client.line();
            client.line();
        }
    }
    for n in 0..50 {
        clients[0].ask(&format!("GET n{n}"), &(n + 800).to_string());
    }
    harness.stop();
}

#[test]
fn a_transaction_on_cold_keys_is_one_moment() {
    let harness = Harness::start_with(cold_numbers(100), settings());
    let (mut mover, mut reader) = (harness.connect_silently(), harness.connect_silently());
    for n in 0..99 {
        let m = n + 1;
        mover.send(format!("MULTI\nDECRBY n{n} 7\nINCRBY n{m} 7\nMGET n{n} n{m}\nEXEC\n"));
        reader.send(format!("MULTI\nGET n{n}\nGET n{m}\nEXEC\n"));
    }
    for n in 0..99 {
        mover.expect("OK\nQUEUED\nQUEUED\nQUEUED\n");
        // A list in a list is an error in text, as a whole.
        assert!(mover.line().starts_with("ERR the reply is a list of lists"), "{n}");
        reader.expect("OK\nQUEUED\nQUEUED\nLIST 2\n");
        reader.line();
        reader.line();
    }
    let mut sum = 0;
    for n in 0..100 {
        reader.send(format!("GET n{n}\n"));
        sum += reader.line().parse::<i64>().unwrap();
    }
    assert_eq!(sum, (0..100).sum::<i64>(), "what one lost the other got");
    harness.stop();
}

#[test]
fn exec_waits_for_its_sync_and_so_does_who_sees_it() {
    let harness = Harness::start();
    let (mut a, mut b, mut c) =
        (harness.connect_silently(), harness.connect_silently(), harness.connect());
    ask(&mut a, "SET k old", "+OK\r\n");
    ask(&mut b, "WATCH k", "+OK\r\n");
    ask(&mut b, "MULTI", "+OK\r\n");
    ask(&mut b, "GET k", "+QUEUED\r\n");
    ask(&mut a, "MULTI", "+OK\r\n");
    ask(&mut a, "SET k new", "+QUEUED\r\n");
    ask(&mut a, "INCR n", "+QUEUED\r\n");
    harness.storage.hold_syncs(true);
    a.send(request("EXEC"));
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the write is synced");
    a.expect_silence();
    c.send("GET n\n");
    c.expect_silence();
    // That the watched key was changed is news of the write as well.
    b.send(request("EXEC"));
    b.expect_silence();
    harness.storage.hold_syncs(false);
    a.expect("*2\r\n+OK\r\n:1\r\n");
    b.expect("*-1\r\n");
    c.expect("1\n");
    harness.stop();
}

#[test]
fn messages_leave_after_the_writes_before_them() {
    let harness = Harness::start();
    let (mut writer, mut listener, mut monitor) =
        (harness.connect_silently(), harness.connect_silently(), harness.connect_silently());
    ask(&mut listener, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    ask(&mut monitor, "MONITOR", "+OK\r\n");
    harness.storage.hold_syncs(true);
    writer.send([request("SET k v"), request("PUBLISH c written")].concat());
    assert!(harness.storage.wait_for_syncs(1, PATIENCE), "the write is synced");
    listener.expect_silence();
    monitor.expect_silence();
    harness.storage.hold_syncs(false);
    listener.expect("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$7\r\nwritten\r\n");
    assert!(monitor.line().ends_with("\"SET\" \"k\" \"v\"\r"));
    assert!(monitor.line().ends_with("\"PUBLISH\" \"c\" \"written\"\r"));
    writer.expect("+OK\r\n:1\r\n");
    harness.stop();
}

#[test]
fn a_client_that_leaves_takes_its_watches_and_subscriptions_along() {
    let harness = Harness::start();
    let mut stays = harness.connect_silently();
    for _ in 0..20 {
        let mut leaves = harness.connect_silently();
        ask(&mut leaves, "WATCH k", "+OK\r\n");
        ask(&mut leaves, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
        drop(leaves);
    }
    // Its end is noticed by and by.
    for _ in 0.. {
        stays.send(request("PUBSUB NUMSUB c"));
        stays.expect("*2\r\n$1\r\nc\r\n:");
        if stays.line() == "0\r" {
            break;
        }
    }
    ask(&mut stays, "SET k 1", "+OK\r\n");
    ask(&mut stays, "PUBLISH c x", ":0\r\n");
    harness.stop();
}

#[test]
fn a_transaction_past_what_the_log_takes_is_refused_as_a_whole() {
    let harness = Harness::start();
    let mut client = harness.connect_silently();
    ask(&mut client, "MULTI", "+OK\r\n");
    let value = "v".repeat(3 << 20);
    for n in 0..4 {
        // The test's log segments have 8 MiB.
        ask(&mut client, &format!("SET k{n} {value}"), "+QUEUED\r\n");
    }
    client.send(request("EXEC"));
    let line = client.line();
    assert!(line.starts_with("-ERR what is written together of "), "{line}");
    ask(&mut client, "EXISTS k0 k1 k2 k3", ":0\r\n");
    ask(&mut client, "EXEC", "-ERR EXEC without MULTI\r\n");
    harness.stop();
}

#[test]
fn every_way_to_write_disturbs_who_watches() {
    let harness = Harness::start();
    let (mut watcher, mut text) = (harness.connect_silently(), harness.connect());
    for write in ["SET k v", "DEL k", "INCR k", "APPEND k 1", "MSET other 1 k 2"] {
        ask(&mut watcher, "WATCH k none", "+OK\r\n");
        text.send(format!("{write}\n"));
        text.line();
        ask(&mut watcher, "MULTI", "+OK\r\n");
        ask(&mut watcher, "PING", "+QUEUED\r\n");
        ask(&mut watcher, "EXEC", "*-1\r\n");
    }
    ask(&mut watcher, "WATCH k", "+OK\r\n");
    text.ask("SET other 1", "OK");
    ask(&mut watcher, "MULTI", "+OK\r\n");
    ask(&mut watcher, "EXEC", "*0\r\n");
    harness.stop();
}
