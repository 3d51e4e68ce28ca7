//! Walks over the keys, as a client of RESP meets them: whole lists, ranges, cursors, a random key.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use chronos::engine::storage::sim::{Random, SimStorage};
use chronos::engine::{MIN_MEMORY_BYTES, Options};

use super::harness::{Harness, PATIENCE, settings};
use super::resp::{Reply, Resp, written};

#[test]
fn a_walk_is_shown_after_its_sync() {
    let harness = Harness::start();
    let (mut a, mut b) = (harness.connect(), harness.connect());
    harness.storage.hold_syncs(true);
    a.send("SET k v\n");
    assert!(harness.storage.wait_for_syncs(1, PATIENCE));
    b.send("KEYS *\nRANDOMKEY\nSCAN 0\nPREFIX k\n");
    b.expect_silence();
    harness.storage.hold_syncs(false);
    b.expect("LIST 1\nk\nk\nLIST 2\n0\nk\nLIST 1\nk\n");
    a.expect("OK\n");
    harness.stop();
}

#[test]
fn ranges_are_listed_in_both_protocols() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    for key in ["a", "b1", "b2", "c", "[x", "-"] {
        a.expect(&format!("SET {key} v{key}"), "+OK");
    }
    a.expect("RANGE a c", "[a b1 b2]");
    a.expect("RANGE (a [c", "[b1 b2 c]");
    a.expect("RANGE - +", "[- [x a b1 b2 c]");
    a.expect("RANGE [- [[x", "[- [x]");
    // From memory, then from a table.
    for _ in 0..2 {
        a.expect("RANGE c a", "[]");
        a.expect("RANGE c a REV", "[]");
        a.expect("RANGE + -", "[]");
        a.expect("RANGE b b REV", "[]");
        a.expect("RANGE a + REV LIMIT 2", "[c b2]");
        a.expect("COMPACT", "+OK_COMPACTED");
    }
    a.expect("RANGE a c LIMIT 1 WITHVALUES", "[a va]");
    a.expect("RANGE a c LIMIT 0", "[]");
    a.expect("RANGE a c LIMIT", "-ERR syntax error");
    a.expect("RANGE a c LIMIT -1", "-ERR value is out of range, must be positive");
    a.expect("RANGE a c LIMIT x", "-ERR value is not an integer or out of range");
    a.expect("RANGE a", "-ERR wrong number of arguments for 'range' command");
    a.expect("PREFIX b", "[b1 b2]");
    a.expect("PREFIX b REV WITHVALUES", "[b2 vb2 b1 vb1]");
    a.expect("PREFIX b FOO", "-ERR syntax error");
    a.expect("SELECT 1", "+OK");
    a.expect("RANGE - +", "[]");
    a.expect("SELECT 0", "+OK");
    a.ask("HELLO 3");
    a.expect("PREFIX b WITHVALUES", "{b1 vb1 b2 vb2}");
    a.expect("PREFIX b", "[b1 b2]");
    let mut text = harness.connect();
    text.ask("PREFIX b WITHVALUES", "LIST 4\nb1\nvb1\nb2\nvb2");
    text.ask("SCAN 0 MATCH b*", "LIST 3\n0\nb1\nb2");
    a.send(&[b"SET", b"b\n", b"x"]);
    assert_eq!(written(&a.read()), "+OK");
    text.send("PREFIX b\n");
    assert!(text.line().starts_with("ERR the value holds a line break"));
    text.ask("PREFIX b1", "LIST 1\nb1");
    harness.stop();
}

#[test]
fn a_cursor_is_known_or_refused() {
    let harness = Harness::start();
    let (mut a, mut b) = (Resp::connect(&harness), Resp::connect(&harness));
    for n in 10..30 {
        a.expect(&format!("SET k{n} v"), "+OK");
    }
    let unknown = "-ERR unknown cursor: the server has forgotten it, begin again with cursor 0";
    a.expect("SCAN 7", unknown);
    a.expect("SCAN -1", unknown);
    a.expect("SCAN x", "-ERR invalid cursor");
    a.expect("SCAN 0 COUNT 0", "-ERR syntax error");
    let first = a.ask("SCAN 0 COUNT 5");
    assert_eq!(first, b.ask("SCAN 0 COUNT 5"), "the same position has the same cursor");
    let cursor = first.list().swap_remove(0).bulk();
    a.expect(&format!("SCAN {cursor} COUNT 100 MATCH k1*"), "[0 [k15 k16 k17 k18 k19]]");
    a.expect(&format!("SCAN {cursor} COUNT 100 MATCH a*"), "[0 []]");
    a.expect(&format!("SCAN {cursor} COUNT 100 MATCH k15"), "[0 [k15]]");
    a.expect(&format!("SCAN {cursor} COUNT 100 TYPE list"), "[0 []]");
    a.expect("SCAN 0 COUNT 100 MATCH k2[89] TYPE STRING", "[0 [k28 k29]]");
    harness.stop();
}

#[test]
fn lists_that_nobody_could_read_are_refused() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    let long = "x".repeat(60_000);
    for n in 0..1100 {
        a.expect(&format!("SET {n:04}{long} v"), "+OK");
    }
    let reply = written(&a.ask("KEYS *"));
    assert!(reply.contains("use SCAN"), "{reply}");
    let reply = written(&a.ask("RANGE - +"));
    assert!(reply.contains("use LIMIT"), "{reply}");
    assert_eq!(a.list("RANGE - + LIMIT 3").len(), 3);
    assert_eq!(a.list("KEYS 00*").len(), 100);
    let (mut seen, mut calls, mut cursor) = (0, 0, "0".to_owned());
    loop {
        let mut part = a.ask(&format!("SCAN {cursor} COUNT 1000000")).list();
        seen += part.pop().unwrap().list().len();
        cursor = part.pop().unwrap().bulk();
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, 1100);
    assert!(calls >= 4, "{calls}");
    harness.stop();
}

#[test]
fn some_key_is_found() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    a.expect("RANDOMKEY", "(null)");
    for n in 0..300 {
        a.expect(&format!("SET k{n} v"), "+OK");
    }
    let found: BTreeSet<String> = (0..300).map(|_| a.ask("RANDOMKEY").bulk()).collect();
    assert!(found.len() > 30, "{}", found.len());
    a.expect("COMPACT", "+OK_COMPACTED");
    for n in 1..300 {
        a.expect(&format!("DEL k{n}"), ":1");
    }
    a.expect("RANDOMKEY", "k0");
    a.expect("DEL k0", ":1");
    a.expect("RANDOMKEY", "(null)");
    harness.stop();
}

#[test]
fn a_long_walk_does_not_keep_others_waiting() {
    let harness = Harness::start();
    let mut a = Resp::connect(&harness);
    for chunk in 0..40 {
        for n in 0..1000 {
            a.send(&[b"SET", format!("k{chunk:02}{n:03}").as_bytes(), b"v"]);
        }
        for _ in 0..1000 {
            assert_eq!(a.read(), Reply::Line("+OK".to_owned()));
        }
    }
    // More walks than there are workers, and each goes on while the others do.
    let mut walkers: Vec<Resp> = (0..8).map(|_| Resp::connect(&harness)).collect();
    for walker in &mut walkers {
        walker.send(&[b"KEYS", b"*"]);
    }
    a.expect("PREFIX k00000", "[k00000]");
    for mut walker in walkers {
        assert_eq!(walker.read().list().len(), 40_000);
    }
    harness.stop();
}

/// Tells the disturbers to stop when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes, flushes and merges around the keys of a walk until told to stop.
fn disturb(harness: &Harness, seed: u64, stop: &AtomicBool) {
    let mut client = Resp::connect(harness);
    let mut random = Random(seed);
    while !stop.load(Ordering::Relaxed) {
        let n = random.below(3000);
        match random.below(100) {
            0 => client.expect("COMPACT", "+OK_COMPACTED"),
            1..40 => _ = client.ask(&format!("DEL passing{n:04} k{n:04}x")),
            40..60 => client.expect(&format!("SET k{n:04}x {}", "y".repeat(200)), "+OK"),
            60..80 => _ = client.ask(&format!("RENAME passing{n:04} k{n:04}x")),
            _ => client.expect(&format!("SET passing{n:04} {}", "z".repeat(300)), "+OK"),
        }
    }
}

/// Walks once, and gives what was returned.
fn walk(client: &mut Resp, options: &str, random: &mut Random) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let most = [10, 100, 1000][random.below(3) as usize];
        let count = 1 + random.below(most);
        let mut part = client.ask(&format!("SCAN {cursor} COUNT {count}{options}")).list();
        keys.extend(part.pop().unwrap().list().into_iter().map(Reply::bulk));
        cursor = part.pop().unwrap().bulk();
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn a_walk_returns_every_key_that_was_there_throughout() {
    for seed in 1..=3 {
        let options = Options {
            memory_bytes: MIN_MEMORY_BYTES,
            wal_segment_bytes: 64 << 10,
            table_bytes: 16 << 10,
            ..Options::default()
        };
        let harness = Harness::start_on(SimStorage::new(seed), settings(), options);
        let mut random = Random(seed);
        let mut client = Resp::connect(&harness);
        // Every second one is there throughout.
        let staying: BTreeSet<String> = (0..1500).map(|n| format!("k{:04}", 2 * n)).collect();
        for key in &staying {
            client.expect(&format!("SET {key} {}", "v".repeat(random.below(100) as usize)), "+OK");
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let disturbers: Vec<_> = (0..2)
                .map(|n| {
                    let (harness, stop) = (&harness, &stop);
                    scope.spawn(move || disturb(harness, seed * 10 + n, stop))
                })
                .collect();
            // Ends them even if an assertion fails.
            let end = End(&stop);
            let mut figures = harness.connect();
            let mut rounds = 0;
            // Until there were enough of all: calls, flushes and merges.
            while rounds < 6 || figures.figure("flushes") < 10 || figures.figure("compactions") < 5
            {
                rounds += 1;
                let all = walk(&mut client, "", &mut random);
                assert!(all.is_sorted_by(|a, b| a < b), "none comes twice");
                let all: BTreeSet<String> = all.into_iter().collect();
                assert!(staying.is_subset(&all), "seed {seed}");
                let some = walk(&mut client, " MATCH k1*[02] TYPE string", &mut random);
                let is_wanted = |key: &&String| {
                    key.starts_with("k1") && (key.ends_with('0') || key.ends_with('2'))
                };
                assert!(some.iter().all(|key| is_wanted(&key)), "seed {seed}: {some:?}");
                let some: BTreeSet<String> = some.into_iter().collect();
                let missing = staying.iter().filter(is_wanted).find(|key| !some.contains(*key));
                assert_eq!(missing, None, "seed {seed}");
                assert_eq!(walk(&mut client, " TYPE hash", &mut random), [""; 0]);
            }
            drop(end);
            for thread in disturbers {
                thread.join().unwrap();
            }
        });
        harness.stop();
    }
}
