//! KEYS, SCAN, DBSIZE, RANDOMKEY, RANGE and PREFIX inside MULTI: on the transaction's own view, at EXEC's
//! moment, whatever others write meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use chronos::engine::storage::sim::{Random, SimStorage};

use super::harness::{Harness, settings};
use super::resp::{Reply, Resp, written};

/// Runs commands in one transaction and returns what each replied.
fn transaction(client: &mut Resp, commands: &[String]) -> Vec<Reply> {
    client.expect("MULTI", "+OK");
    for command in commands {
        client.expect(command, "+QUEUED");
    }
    client.ask("EXEC").list()
}

fn in_one(client: &mut Resp, commands: &[&str]) -> String {
    let commands: Vec<String> = commands.iter().map(|&command| command.to_owned()).collect();
    let replies = transaction(client, &commands);
    replies.iter().map(written).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_transaction_walks_over_what_it_has_written() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.expect("MSET a 1 b 2 c 3", "+OK");
    assert_eq!(in_one(&mut a, &["SET d 4", "DEL a", "KEYS *", "DBSIZE"]), "+OK :1 [b c d] :3");
    assert_eq!(in_one(&mut a, &["PREFIX b WITHVALUES", "RANGE - + REV LIMIT 2"]), "[b 2] [d c]");
    assert_eq!(
        in_one(&mut a, &["SET b new", "RANGE b + WITHVALUES LIMIT 2", "SCAN 0 MATCH c*"]),
        "+OK [b new c 3] [0 [c]]"
    );
    assert_eq!(
        in_one(&mut a, &["FLUSHDB", "KEYS *", "RANDOMKEY", "SET x 1", "RANDOMKEY", "DBSIZE"]),
        "+OK [] (null) +OK x :1"
    );
    a.expect("SELECT 1", "+OK");
    a.expect("SET other 1", "+OK");
    assert_eq!(
        in_one(&mut a, &["KEYS *", "SWAPDB 0 1", "KEYS *", "SELECT 0", "KEYS *", "DBSIZE"]),
        "[other] +OK [x] +OK [other] :1"
    );
    a.expect("SELECT 1", "+OK");
    assert_eq!(
        in_one(&mut a, &["PEXPIREAT x 1", "KEYS *", "DBSIZE", "RANDOMKEY"]),
        ":1 [] :0 (null)"
    );
    assert_eq!(in_one(&mut a, &["SCAN 12345", "KEYS *"]).split(' ').next(), Some("-ERR"));
    a.expect("KEYS *", "[]");
    harness.stop();
}

#[test]
fn a_cursor_goes_on_inside_and_outside() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    for number in 0..30 {
        a.expect(&format!("SET k{number:02} x"), "+OK");
    }
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    for round in 0.. {
        let command = format!("SCAN {cursor} COUNT 7");
        let page = if round % 2 == 0 {
            let mut replies = transaction(&mut a, &[command, format!("SET z{round} x")]);
            replies.remove(0)
        } else {
            a.ask(&command)
        };
        let mut page = page.list();
        let keys = page.remove(1).list();
        seen.extend(keys.iter().map(written).filter(|key| key.starts_with('k')));
        cursor = written(&page[0]);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, (0..30).map(|number| format!("k{number:02}")).collect::<Vec<_>>());
    harness.stop();
}

fn random_command(random: &mut Random) -> String {
    let key = format!("{}{}", ["a", "b", "c"][random.below(3) as usize], random.below(15));
    match random.below(19) {
        0..=4 => format!("SET {key} v{}", random.below(100)),
        5 | 6 => format!("DEL {key}"),
        7 => format!("PEXPIREAT {key} {}", [1, 9_000_000_000_000_u64][random.below(2) as usize]),
        8 => format!("RENAME {key} {key}x"),
        9 => ["FLUSHDB", "SWAPDB 0 1", "SELECT 0", "SELECT 1"][random.below(4) as usize].to_owned(),
        10 => "KEYS *".to_owned(),
        11 => format!("KEYS {}*", &key[..1]),
        12 => "DBSIZE".to_owned(),
        13 => "SCAN 0 COUNT 1000".to_owned(),
        14 => format!("RANGE {key} + LIMIT {}", random.below(6)),
        15 => format!("RANGE - {key} REV WITHVALUES LIMIT {}", random.below(6)),
        16 => format!("PREFIX {} WITHVALUES", &key[..1]),
        _ => "EXISTS a1 b1 c1".to_owned(),
    }
}

/// The same commands one after the other on another server say what is right.
#[test]
fn a_transaction_replies_what_its_commands_would_one_by_one() {
    for seed in 0..4 {
        let (inside, outside) = (Harness::start(), Harness::start());
        let (mut a, mut b) = (Resp::connect(&inside), Resp::connect(&outside));
        let mut random = Random(seed);
        for round in 0..25 {
            let commands: Vec<String> =
                (0..=random.below(14)).map(|_| random_command(&mut random)).collect();
            let together = transaction(&mut a, &commands);
            for (command, reply) in commands.iter().zip(&together) {
                let expected = b.ask(command);
                assert_eq!(
                    written(reply),
                    written(&expected),
                    "seed {seed}: {command} of {commands:?}"
                );
            }
            if round % 8 == 7 {
                inside.storage.set_cold(false);
                a.expect("COMPACT", "+OK_COMPACTED");
                inside.storage.set_cold(seed % 2 == 0);
            }
        }
        inside.storage.set_cold(false);
        inside.stop();
        outside.stop();
    }
}

#[test]
fn random_keys_are_those_that_are_left() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    let keys: Vec<String> = (0..200).map(|number| format!("k{number:03}")).collect();
    a.expect(&format!("MSET {} x", keys.join(" x ")), "+OK");
    let deleted = format!("DEL {}", keys[..199].join(" "));
    for _ in 0..10 {
        let replies = transaction(&mut a, &[deleted.clone(), "RANDOMKEY".into(), "DBSIZE".into()]);
        assert_eq!(written(&replies[1]), "k199");
        assert_eq!(written(&replies[2]), ":1");
        a.expect(&format!("MSET {} x", keys.join(" x ")), "+OK");
    }
    // More than the walk has looked at beyond its limit are gone.
    let many: Vec<String> = (0..3000).map(|number| format!("m{number:04}")).collect();
    a.expect(&format!("MSET {} x", many.join(" x ")), "+OK");
    let deleted = format!("DEL {}", many[..2990].join(" "));
    let replies = transaction(&mut a, &[deleted, "PREFIX m LIMIT 3".into()]);
    assert_eq!(written(&replies[1]), "[m2990 m2991 m2992]");
    harness.stop();
}

/// Says that it is over, also where a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Others move keys about as fast as they can; how many there are does not change.
#[test]
fn walks_are_of_one_moment_beside_writers_and_come_to_an_end() {
    let harness = Harness::start_with(SimStorage::new(7), settings());
    let mut a = Resp::connect(&harness);
    let keys: Vec<String> = (0..4_000).map(|number| format!("k{number:05}")).collect();
    for part in keys.chunks(1000) {
        a.expect(&format!("MSET {} x", part.join(" x ")), "+OK");
    }
    let is_over = AtomicBool::new(false);
    let ends = Ends(&is_over);
    let move_about = |number: usize| {
        let mut client = Resp::connect(&harness);
        let mut random = Random(number as u64);
        while !is_over.load(Ordering::Relaxed) {
            for _ in 0..100 {
                // Each key is under one of two names, and is moved to the other.
                let key = number * 2_000 + random.below(2_000) as usize;
                let (from, to) = (format!("k{key:05}"), format!("moved{key:05}"));
                client.send(&[b"RENAME", from.as_bytes(), to.as_bytes()]);
                client.send(&[b"RENAME", to.as_bytes(), from.as_bytes()]);
            }
            (0..200).for_each(|_| assert_eq!(written(&client.read()), "+OK"));
            // As fast as they can, an unoptimized server would be behind them for many seconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    std::thread::scope(|scope| {
        let move_about = &move_about;
        (0..2).for_each(|number| _ = scope.spawn(move || move_about(number)));
        for _ in 0..6 {
            let commands =
                ["DBSIZE", "KEYS *", "SET extra 1", "DBSIZE", "DEL extra", "SCAN 0 COUNT 99999"];
            let replies = transaction(&mut a, &commands.map(str::to_owned));
            assert_eq!(written(&replies[0]), ":4000");
            assert_eq!(written(&replies[3]), ":4001");
            assert_eq!(replies[1].clone().list().len(), 4_000);
            assert_eq!(replies[5].clone().list()[1], replies[1], "the same moment");
        }
        drop(ends);
    });
    harness.stop();
}
