//! Comparisons whose steps are chosen and not drawn: what needs a pause, an exact time, or bytes
//! that are no commands.

use std::time::Duration;

use crate::differential::Pair;
use crate::session::{Action, Step};
use crate::wire::{args, request};

/// A step of a connection: commands as words; several are sent in one write.
fn step(connection: usize, commands: &[&str]) -> Step {
    let split = |command: &&str| args(&command.split(' ').collect::<Vec<_>>());
    let mut all: Vec<_> = commands.iter().map(split).collect();
    let action =
        if all.len() == 1 { Action::Command(all.remove(0)) } else { Action::Pipeline(all) };
    Step { connection, action }
}

fn pause(ms: u64) -> Step {
    Step { connection: 0, action: Action::Pause(Duration::from_millis(ms)) }
}

fn raw(bytes: &[u8]) -> Step {
    Step { connection: 0, action: Action::Raw(bytes.to_vec()) }
}

/// Compares in both protocols.
fn compare(what: &str, steps: &[Step]) {
    let Some(pair) = Pair::start() else { return };
    for resp3 in [false, true] {
        pair.compare(what, steps, resp3);
    }
}

/// One connection, a command a line.
fn script(lines: &str) -> Vec<Step> {
    lines.lines().map(|line| step(0, &[line.trim()])).collect()
}

/// With nothing allowed, as it is where relative times are compared.
#[test]
fn absolute_expiries_are_exact() {
    let Some(pair) = Pair::start() else { return };
    let expected = [
        ("SET a x EXAT 33177117420", "+OK\r\n"),
        ("EXPIRETIME a", ":33177117420\r\n"),
        ("PEXPIRETIME a", ":33177117420000\r\n"),
        ("SET a x PXAT 33177117420499", "+OK\r\n"),
        ("EXPIRETIME a", ":33177117420\r\n"),
        ("PEXPIRETIME a", ":33177117420499\r\n"),
        ("PEXPIREAT a 33177117420500", ":1\r\n"),
        ("EXPIRETIME a", ":33177117421\r\n"),
        ("EXPIREAT a 33177117421 GT", ":1\r\n"),
        ("EXPIREAT a 33177117421 GT", ":0\r\n"),
        ("GETEX a PXAT 33177117420001", "$1\r\nx\r\n"),
        ("PEXPIRETIME a", ":33177117420001\r\n"),
        ("COPY a b", ":1\r\n"),
        ("PEXPIRETIME b", ":33177117420001\r\n"),
        ("RENAME b c", "+OK\r\n"),
        ("PEXPIRETIME c", ":33177117420001\r\n"),
        ("APPEND c y", ":2\r\n"),
        ("PEXPIRETIME c", ":33177117420001\r\n"),
        ("SET c y KEEPTTL", "+OK\r\n"),
        ("PEXPIRETIME c", ":33177117420001\r\n"),
        ("SET c y", "+OK\r\n"),
        ("PEXPIRETIME c", ":-1\r\n"),
        ("PEXPIRETIME nosuch", ":-2\r\n"),
        ("MOVE a 1", ":1\r\n"),
        ("SELECT 1", "+OK\r\n"),
        ("PEXPIRETIME a", ":33177117420001\r\n"),
        ("FLUSHALL", "+OK\r\n"),
    ];
    for address in pair.addresses() {
        let mut wire = crate::wire::Wire::connect(address);
        for (command, reply) in expected {
            let words: Vec<&str> = command.split(' ').collect();
            assert_eq!(String::from_utf8(wire.ask(&words)).unwrap(), reply, "{command}");
        }
    }
}

#[test]
fn what_expires_is_gone_everywhere() {
    let mut steps = vec![
        step(0, &["MSET a 1 b 2", "PEXPIRE a 200", "SET c 3 PX 200", "SET d 4 PX 200"]),
        pause(400),
    ];
    steps.extend(script(
        "GET a
        TTL a
        EXISTS a b c d
        TYPE c
        STRLEN c
        KEYS *
        DBSIZE
        RANDOMKEY
        SETNX a again
        TTL a
        APPEND c new
        TTL c
        INCR d
        GETDEL d
        RENAME d e
        COPY d e
        PERSIST d
        OBJECT ENCODING d
        EXPIRE d 100",
    ));
    steps.push(Step { connection: 0, action: Action::Scan(Vec::new()) });
    compare("expiry", &steps);
}

#[test]
fn an_expiry_is_announced_once() {
    let steps = [
        step(0, &["CONFIG SET notify-keyspace-events KEA"]),
        step(1, &["PSUBSCRIBE __key*__:*"]),
        step(0, &["SET a 1 PX 200"]),
        pause(400),
        // Found by now, if not before.
        step(0, &["GET a"]),
        step(0, &["GET a"]),
        step(0, &["SET a 2"]),
        step(0, &["EXPIRE a -1"]),
        // In one write: Redis keeps the key until it next looks.
        step(0, &["SET a 3 EXAT 1", "GET a", "SET b 3 PXAT 1", "EXISTS b", "TTL b"]),
    ];
    compare("notifications of expiry", &steps);
}

#[test]
fn keys_from_before_the_events_are_announced_as_they_stand() {
    let steps = [
        step(0, &["SET a 1 PX 600", "SET b 1 PX 700", "SET c 1 PX 800", "SET d 1 PX 900"]),
        step(0, &["SET e 1 PX 1000", "SET f 1 PX 600", "SET g 1 PX 600", "SET h 1 PX 600"]),
        step(0, &["SELECT 1", "SET i 1 PX 600", "SELECT 0", "SET j 1 PX 600"]),
        step(0, &["CONFIG SET notify-keyspace-events KEx"]),
        step(1, &["PSUBSCRIBE __key*__:*"]),
        step(0, &["RENAME b bb", "MOVE c 2", "COPY d dd", "DEL d", "PERSIST e", "GETDEL f"]),
        step(0, &["PEXPIRE g 1100", "SET h 2", "GETEX j PX 1200"]),
        step(0, &["SWAPDB 1 3"]),
        pause(1_500),
        step(0, &["MGET a b bb c d dd e f g h j", "DBSIZE"]),
        pause(300),
        step(0, &["CONFIG SET notify-keyspace-events KEA", "SET k 1 PX 100"]),
        step(0, &["CONFIG SET notify-keyspace-events ", "SET l 1 PX 100"]),
        pause(400),
        step(0, &["CONFIG SET notify-keyspace-events KEA"]),
        pause(400),
        step(0, &["DBSIZE"]),
    ];
    compare("expiry of keys from before the events", &steps);
}

#[test]
fn watched_keys_that_change_stop_a_transaction() {
    let changes: &[&[&str]] = &[
        &["SET a 2"],
        &["SET a 1"],
        &["DEL a"],
        &["EXPIRE a 100000"],
        &["PERSIST a"],
        &["APPEND a x"],
        &["GETEX a PERSIST"],
        &["GET a"],
        &["TOUCH a"],
        &["SETRANGE a 0 x"],
        &["RENAME a b"],
        &["RENAME b a"],
        &["COPY b a"],
        &["FLUSHDB"],
        &["FLUSHALL"],
        &["SWAPDB 0 1"],
        &["SWAPDB 1 2"],
        &["MOVE a 1"],
        &["SET other 1"],
        &["SETNX a 1"],
        &["SET a 9 NX"],
        &["MSETNX a 1 z 1"],
        &["SETBIT a 0 0"],
        &["MULTI", "SET a 3", "EXEC"],
        &["MULTI", "SET a 3", "DISCARD"],
        &["GETDEL a"],
        &["DEL nosuch"],
        &["EXPIREAT a 1"],
        &["BITFIELD a GET u8 0"],
        &["BITOP AND a nosuch"],
    ];
    let mut steps = Vec::new();
    for present in ["SET a 1", "DEL a"] {
        for change in changes {
            for watched in ["WATCH a", "WATCH nosuch a a"] {
                steps.push(step(1, &["FLUSHALL", present]));
                steps.push(step(0, &[watched]));
                steps.push(step(1, change));
                steps.push(step(0, &["MULTI"]));
                steps.push(step(0, &["GET a"]));
                steps.push(step(0, &["SET done 1"]));
                steps.push(step(0, &["EXEC"]));
                steps.push(step(0, &["EXISTS done"]));
            }
        }
    }
    compare("WATCH", &steps);
}

#[test]
fn a_watched_key_may_expire() {
    let steps = [
        step(0, &["SET a 1 PX 300", "WATCH a"]),
        pause(500),
        step(0, &["MULTI"]),
        step(0, &["GET a"]),
        step(0, &["EXEC"]),
        // Watched when it has expired already.
        step(0, &["SET a 1 PX 100"]),
        pause(300),
        step(0, &["WATCH a"]),
        step(0, &["MULTI"]),
        step(0, &["GET a"]),
        step(0, &["EXEC"]),
    ];
    compare("WATCH and expiry", &steps);
}

#[test]
fn transactions_have_their_edges() {
    let lines = "EXEC
        DISCARD
        MULTI
        MULTI
        WATCH a
        UNWATCH
        SET a 1
        INCR a
        APPEND a x
        INCR a
        GET
        EXEC
        GET a
        MULTI
        SET a 1
        APPEND a x
        INCR a
        SELECT 1
        SET b 1
        PING
        EXEC
        GET b
        SELECT 0
        MULTI
        DISCARD
        DISCARD
        MULTI
        EXEC
        MULTI
        NOSUCH
        SET a 5
        DISCARD
        GET a
        MULTI
        SET a 6
        RESET
        GET a
        WATCH a
        SET a 7
        MULTI
        SET a 8
        EXEC
        MULTI
        EXEC a
        EXEC
        MULTI
        CLIENT ID
        CLIENT SETNAME x
        CLIENT GETNAME
        CONFIG GET maxmemory
        PUBLISH a b
        FLUSHALL
        EXEC
        MULTI
        SET a 1
        QUIT
        GET a";
    compare("transactions", &script(lines));
}

#[test]
fn broken_requests_close_the_connection() {
    let long = [vec![b'a'; 70_000], b"\r\n".to_vec()].concat();
    let broken: &[&[u8]] = &[
        b"*x\r\n",
        b"*1x\r\n$4\r\nPING\r\n",
        b"*99999999999999999999\r\n",
        b"*2147483648\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*2\r\n$3\r\nGET\r\n$1a\r\na\r\n",
        b"SET a \"unbalanced\r\n",
        b"SET a 'unbalanced\r\n",
        b"GET \"a\"b\r\n",
        // A request that is whole before the broken one is answered.
        b"*1\r\n$4\r\nPING\r\n*x\r\n",
        b"PING\r\n*1\r\n:\r\n",
        // Not broken.
        b"*1\n$4\nPING\n",
        b"*0\r\n*-5\r\n",
        b"\n\n\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$4\r\nPINGxx",
    ];
    let mut steps: Vec<Step> = broken.iter().map(|bytes| raw(bytes)).collect();
    steps.push(raw(&long[..65_537]));
    compare("protocol", &steps);
}

#[test]
fn large_values_come_back_whole() {
    let mut steps = Vec::new();
    for length in [1 << 10, 16 << 10, (64 << 10) - 1, 1 << 20] {
        let value: Vec<u8> = (0..length).map(|at: usize| (at * 7 + at / 251) as u8).collect();
        let command = |words: &[&[u8]]| Action::Command(words.iter().map(|w| w.to_vec()).collect());
        steps.push(Step { connection: 0, action: command(&[b"SET", b"a", &value]) });
        steps.extend(script(
            "GET a\nSTRLEN a\nGETRANGE a 1000 1010\nBITCOUNT a\nMGET a a\nAPPEND a x",
        ));
        let many = request(&args(&["GET", "a"])).repeat(8);
        steps.push(raw(&many));
    }
    compare("large values", &steps);
}

#[test]
fn messages_arrive_in_order() {
    let mut steps = vec![
        step(1, &["SUBSCRIBE a b"]),
        step(2, &["PSUBSCRIBE a* ?"]),
        step(2, &["SUBSCRIBE a"]),
        step(0, &["PUBSUB NUMPAT"]),
        step(0, &["PUBSUB NUMSUB a b c"]),
    ];
    for at in 0..20 {
        steps.push(step(0, &[&format!("PUBLISH a {at}"), &format!("PUBLISH b {at}")]));
    }
    steps.extend([
        step(0, &["MULTI", "PUBLISH a x", "PUBLISH b y", "EXEC"]),
        step(2, &["GET a"]),
        step(2, &["PING"]),
        step(2, &["PING x"]),
        step(1, &["UNSUBSCRIBE a a nosuch b"]),
        step(1, &["GET a"]),
        step(0, &["PUBLISH a last"]),
        step(2, &["RESET"]),
        step(2, &["GET a"]),
        step(0, &["PUBLISH a nobody"]),
        step(0, &["PUBSUB CHANNELS"]),
        step(1, &["SUBSCRIBE c"]),
        step(1, &["QUIT"]),
        step(0, &["PUBLISH c nobody"]),
    ]);
    compare("pub/sub", &steps);
}
