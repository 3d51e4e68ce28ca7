//! Commands on keys and databases, as a client of RESP meets them.

use std::sync::Arc;

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Engine, Environment, Options, Scheduling, SystemClock};

use super::harness::{Harness, PATIENCE, settings};
use super::resp::{Resp, written};

/// A time behind the harness's clock, which stands still, in milliseconds.
const LATER: u64 = 1_700_000_100_000;

#[test]
fn keys_are_deleted_and_counted() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.expect("SET a 1", "+OK");
    a.expect("SET b 2", "+OK");
    a.expect("EXISTS a b c a", ":3");
    a.expect("TOUCH a c", ":1");
    a.expect("TYPE a", "+string");
    a.expect("TYPE c", "+none");
    a.expect("DEL a a c", ":1");
    a.expect("UNLINK b a", ":1");
    a.expect("EXISTS a b", ":0");
    let mut text = harness.connect();
    text.ask("SET a 1", "OK");
    text.ask("DEL a b a", "OK_DELETED");
    text.ask("EXISTS a", "0");
    harness.stop();
}

#[test]
fn a_deletion_of_nothing_disturbs_nobody() {
    let harness = Harness::start();
    let (mut watcher, mut text) = (Resp::connect(&harness), harness.connect());
    for (deleted, executed) in [("nothing", "[+PONG]"), ("there", "(null)")] {
        watcher.expect("SET there 1", "+OK");
        watcher.expect("WATCH there nothing", "+OK");
        text.ask(&format!("DEL {deleted} nothing"), "OK_DELETED");
        watcher.expect("MULTI", "+OK");
        watcher.expect("PING", "+QUEUED");
        watcher.expect("EXEC", executed);
    }
    harness.stop();
}

#[test]
fn names_change_and_expiries_stay() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.expect("SET a 1", "+OK");
    a.expect(&format!("PEXPIREAT a {LATER}"), ":1");
    a.expect("RENAME a b", "+OK");
    a.expect("RENAME a b", "-ERR no such key");
    a.expect("RENAMENX b b", ":0");
    a.expect("COPY b c", ":1");
    a.expect("COPY b c", ":0");
    a.expect("RENAMENX b c", ":0");
    a.expect("MOVE c 3", ":1");
    a.expect("MOVE c 0", "-ERR source and destination objects are the same");
    a.expect("COPY b d DB 3", ":1");
    a.expect("SELECT 3", "+OK");
    a.expect("KEYS *", "[c d]");
    a.expect("PEXPIRETIME c", &format!(":{LATER}"));
    a.expect("TTL d", ":100");
    a.expect("SET d 2", "+OK");
    a.expect("COPY d c REPLACE", ":1");
    a.expect("TTL c", ":-1");
    a.expect("MOVE c 16", "-ERR DB index is out of range");
    harness.stop();
}

/// A storage on which `odd` holds a value of a type that this version does not know.
fn storage_with_another_type() -> SimStorage {
    let storage = SimStorage::new(1);
    let environment = Environment {
        storage: Arc::new(storage.clone()),
        clock: Arc::new(SystemClock),
        random: Arc::new(|| 4),
    };
    let options = Options { scheduling: Scheduling::Manual, ..Options::default() };
    let (engine, _) = Engine::open(environment, options).unwrap();
    engine.put(b"\0odd", b"\x09value").unwrap();
    engine.close().unwrap();
    storage
}

#[test]
fn a_value_of_another_type_goes_where_its_key_goes() {
    let harness = Harness::start_with(storage_with_another_type(), settings());
    let mut a = Resp::connect(&harness);
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    a.expect("TYPE odd", "-ERR this version does not know the type");
    a.expect("RENAME odd b", "+OK");
    a.expect("COPY b c", ":1");
    a.expect("MOVE c 1", ":1");
    a.expect(&format!("PEXPIREAT b {LATER}"), ":1");
    a.expect("TTL b", ":100");
    a.expect("PERSIST b", ":1");
    a.expect("GET b", wrong_type);
    a.expect("OBJECT ENCODING b", wrong_type);
    a.expect("PREFIX b WITHVALUES", wrong_type);
    a.expect("PREFIX b", "[b]");
    a.expect("SCAN 0 TYPE string", "[0 []]");
    let payload = a.ask_for_bytes("DUMP b");
    a.send(&[b"RESTORE", b"d", b"0", &payload]);
    assert_eq!(written(&a.read()), "-ERR Bad data format");
    a.expect("DEL b", ":1");
    a.expect("SELECT 1", "+OK");
    a.expect("GET c", wrong_type);
    harness.stop();
}

#[test]
fn a_value_is_dumped_and_restored() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.send(&[b"SET", b"a", b"v\xff\r\n"]);
    assert_eq!(written(&a.read()), "+OK");
    let mut payload = a.ask_for_bytes("DUMP a");
    a.send(&[b"RESTORE", b"a", b"0", &payload]);
    assert_eq!(written(&a.read()), "-BUSYKEY Target key name already exists.");
    a.send(&[b"RESTORE", b"b", LATER.to_string().as_bytes(), &payload, b"ABSTTL", b"FREQ", b"3"]);
    assert_eq!(written(&a.read()), "+OK");
    a.send(&[b"RESTORE", b"a", b"5000", &payload, b"REPLACE"]);
    assert_eq!(written(&a.read()), "+OK");
    assert_eq!(a.ask("GET a"), a.ask("GET b"));
    a.expect("PTTL a", ":5000");
    a.expect("TTL b", ":100");
    a.send(&[b"RESTORE", b"a", b"1", &payload, b"REPLACE", b"ABSTTL"]);
    assert_eq!(written(&a.read()), "+OK");
    a.expect("EXISTS a", ":0");
    // A time that no clock reaches is refused; Redis lets it run over and drops the key.
    let most = i64::MAX.to_string();
    a.send(&[b"RESTORE", b"a", most.as_bytes(), &payload]);
    assert_eq!(written(&a.read()), "-ERR invalid expire time in 'restore' command");
    a.expect("EXISTS a", ":0");
    a.send(&[b"RESTORE", b"a", most.as_bytes(), &payload, b"ABSTTL"]);
    assert_eq!(written(&a.read()), "+OK");
    a.expect("PEXPIRETIME a", &format!(":{most}"));
    a.expect("EXPIRETIME a", ":9223372036854776");
    payload[11] ^= 1;
    a.send(&[b"RESTORE", b"c", b"0", &payload]);
    assert_eq!(written(&a.read()), "-ERR DUMP payload version or checksum are wrong");
    a.expect("DUMP c", "(null)");
    harness.stop();
}

#[test]
fn expiries_are_set_under_conditions() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.expect("SET a 1", "+OK");
    a.expect("EXPIRE a 100 XX", ":0");
    a.expect("EXPIRE a 100 GT", ":0");
    a.expect("EXPIRE a 100 NX", ":1");
    a.expect("EXPIRE a 50 GT", ":0");
    a.expect("EXPIRE a 50 LT", ":1");
    a.expect("PTTL a", ":50000");
    a.expect("EXPIRETIME a", ":1700000050");
    a.expect("PERSIST a", ":1");
    a.expect("PERSIST a", ":0");
    a.expect("PTTL a", ":-1");
    a.expect("PTTL b", ":-2");
    a.expect("EXPIRE b 10", ":0");
    a.expect("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command");
    a.expect("PEXPIRE a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command");
    a.expect("EXPIRE a 1 GT LT", "-ERR GT and LT options at the same time are not compatible");
    a.expect("EXPIRE a 1 AT", "-ERR Unsupported option AT");
    a.expect("EXPIRE a 0", ":1");
    a.expect("EXISTS a", ":0");
    harness.stop();
}

#[test]
fn a_transaction_sees_its_own_changes() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.expect("SET a 1", "+OK");
    a.expect("MULTI", "+OK");
    for request in
        ["RENAME a b", "EXPIRE b 9", "COPY b c", "TTL c", "DEL b b", "RENAME b x", "EXISTS b c"]
    {
        a.expect(request, "+QUEUED");
    }
    a.expect("EXEC", "[+OK :1 :1 :9 :1 -ERR no such key :1]");
    a.expect("MULTI", "+OK");
    a.expect("SET d 1", "+QUEUED");
    a.expect("DBSIZE", "+QUEUED");
    a.expect("EXEC", "[+OK :2]");
    harness.stop();
}

#[test]
fn cold_keys_are_read_by_workers() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    for n in 0..20 {
        a.expect(&format!("SET k{n} {n}"), "+OK");
    }
    a.expect("COMPACT", "+OK_COMPACTED");
    harness.storage.set_cold(true);
    a.expect("EXISTS k1 k2 k3 x", ":3");
    a.expect("RENAME k1 k4", "+OK");
    a.expect("COPY k2 k3 REPLACE", ":1");
    a.expect("EXPIRE k5 100", ":1");
    a.expect("DEL k6 k7 k6", ":2");
    a.expect("GET k4", "1");
    a.expect("OBJECT ENCODING k3", "int");
    harness.storage.set_cold(false);
    harness.stop();
}

#[test]
fn waiting_is_for_the_sync() {
    let harness = Harness::start();
    // One client alone would be synced in place.
    let (mut a, mut b) = (harness.connect(), harness.connect());
    a.ask("WAIT 1 0", "0");
    harness.storage.hold_syncs(true);
    a.send("SET k v\n");
    assert!(harness.storage.wait_for_syncs(1, PATIENCE));
    b.send("WAIT 0 0\nWAITAOF 1 0 5\n");
    b.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("0\nLIST 2\n1\n0\n");
    a.expect("OK\n");
    b.ask("WAITAOF 2 0 0", "ERR value is out of range, value must between 0 and 1");
    b.ask("WAITAOF 1 -1 0", "ERR value is out of range, must be positive");
    b.ask("WAITAOF 1 0 -1", "ERR timeout is negative");
    harness.stop();
}

#[test]
fn databases_are_counted_emptied_and_exchanged() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    for key in ["a", "b", "c"] {
        a.expect(&format!("SET {key} v"), "+OK");
    }
    a.expect("SELECT 2", "+OK");
    a.expect("DBSIZE", ":0");
    a.expect("SWAPDB 0 2", "+OK");
    a.expect("DBSIZE", ":3");
    a.expect("SET d v", "+OK");
    a.expect("SWAPDB 2 2", "+OK");
    a.expect("SWAPDB x 2", "-ERR invalid first DB index");
    a.expect("SWAPDB 2 x", "-ERR invalid second DB index");
    a.expect("SWAPDB 2 16", "-ERR DB index is out of range");
    a.expect("FLUSHDB NOW", "-ERR syntax error");
    a.expect("DBSIZE", ":4");
    a.expect("SELECT 0", "+OK");
    a.expect("SET e v", "+OK");
    a.expect("FLUSHDB", "+OK");
    a.expect("DBSIZE", ":0");
    a.expect("SELECT 2", "+OK");
    a.expect("DBSIZE", ":4");
    a.expect("FLUSHALL ASYNC", "+OK");
    a.expect("KEYS *", "[]");
    let mut text = harness.connect();
    text.ask("DBSIZE", "0");
    harness.stop();
}
