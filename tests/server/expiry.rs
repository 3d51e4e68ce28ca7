//! Events of keys that expire: every key is told of once, whenever it was written, across restarts, merges
//! and a lack of room, whoever meets it first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chronos::engine::Options;
use chronos::engine::storage::sim::{FaultKind, SimStorage, Times};
use chronos::server::{Settings, Timeouts};

use super::admin::{bulk, request};
use super::harness::{Client, Harness, PATIENCE, SetClock, options, settings};

const PATTERN: &str = "__keyevent@*__:expired";

/// A database and the clock by which its values expire.
struct World {
    clock: Arc<SetClock>,
    storage: SimStorage,
    index_bytes: usize,
    kept: Duration,
}

impl World {
    fn new() -> Self {
        let index_bytes = Settings::default().expiry_index_bytes;
        let kept = Duration::from_hours(1);
        World { clock: SetClock::new(), storage: SimStorage::new(1), index_bytes, kept }
    }

    fn start(&self, events: &str) -> (Harness, Client) {
        self.start_with(events, options())
    }

    fn start_with(&self, events: &str, options: Options) -> (Harness, Client) {
        let settings = Settings {
            notify_keyspace_events: events.to_owned(),
            expiry_index_bytes: self.index_bytes,
            timeouts: Timeouts { expired_kept: self.kept, ..Timeouts::default() },
            ..settings()
        };
        let harness = Harness::start_at(&self.clock, self.storage.clone(), settings, options);
        let client = harness.connect_silently();
        (harness, client)
    }
}

/// A client that is told of all keys that expire.
struct Listener(Client);

impl Listener {
    fn new(harness: &Harness) -> Self {
        let mut client = harness.connect_silently();
        client.send(request(&format!("PSUBSCRIBE {PATTERN}")));
        client.expect(format!("*3\r\n{}{}:1\r\n", bulk("psubscribe"), bulk(PATTERN)));
        Listener(client)
    }

    /// The next event's database and key.
    fn next(&mut self) -> (usize, String) {
        self.0.expect(format!("*4\r\n{}{}", bulk("pmessage"), bulk(PATTERN)));
        self.0.line();
        let channel = self.0.line();
        self.0.line();
        let key = self.0.line();
        let db = channel.trim_start_matches("__keyevent@").split('_').next().unwrap();
        (db.parse().unwrap(), key.trim_end().to_owned())
    }

    #[track_caller]
    fn hears(&mut self, expected: &[(usize, &str)]) {
        for (db, key) in expected {
            assert_eq!(self.next(), (*db, (*key).to_owned()));
        }
    }

    /// Hears each of the keys `k0` to `k<count>` once, in any order, and nothing more.
    fn hears_all(&mut self, count: usize) {
        let heard: Vec<String> = (0..count).map(|_| self.next().1).collect();
        let expected: BTreeSet<String> = (0..count).map(|number| format!("k{number}")).collect();
        assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), expected);
        self.0.expect_silence();
    }
}

/// Writes the keys `k0` to `k<count>`, which expire in as many milliseconds.
fn fill(client: &mut Client, count: usize, ms: u64) {
    let sets: Vec<u8> =
        (0..count).flat_map(|number| request(&format!("SET k{number} v PX {ms}"))).collect();
    client.send(sets);
    client.expect("+OK\r\n".repeat(count));
}

/// Waits until INFO says that so many keys have expired.
#[track_caller]
fn wait_for_expired(client: &mut Client, count: usize) {
    let begun = std::time::Instant::now();
    while client.info("stats", "expired_keys") != count.to_string() {
        assert!(begun.elapsed() < PATIENCE, "{}", client.info("stats", "expired_keys"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn keys_from_before_the_events_and_from_before_a_restart_are_told_of_once() {
    let world = World::new();
    let (harness, mut client) = world.start("");
    client.say("SET early v PX 100", "+OK");
    client.say("SET while-down v PX 500", "+OK");
    client.say("SET late v PX 5000", "+OK");
    client.say("SET stays v", "+OK");
    harness.stop();
    world.clock.advance(1_000);
    let (harness, mut client) = world.start("Ex");
    let mut listener = Listener::new(&harness);
    listener.hears(&[(0, "early"), (0, "while-down")]);
    client.say("COMPACT", "+OK_COMPACTED");
    world.clock.advance(5_000);
    client.say("GET late", "$-1");
    listener.hears(&[(0, "late")]);
    listener.0.expect_silence();
    assert_eq!(client.info("stats", "expired_keys"), "3");
    harness.stop();
    let (harness, mut client) = world.start("Ex");
    Listener::new(&harness).0.expect_silence();
    client.say("GET stays", "$1\r\nv");
    harness.stop();
}

#[test]
fn a_killed_server_tells_after_its_restart_what_it_had_not_told() {
    let mut world = World::new();
    let (harness, mut client) = world.start("Ex");
    fill(&mut client, 300, 100);
    let mut listener = Listener::new(&harness);
    client.say("PING", "+PONG");
    world.storage = harness.storage.kill();
    harness.stopper.stop();
    drop(harness);
    drop(listener.0);
    world.clock.advance(1_000);
    let (harness, _) = world.start("Ex");
    listener = Listener::new(&harness);
    listener.hears_all(300);
    // Another time there is nothing left to tell.
    world.storage = harness.storage.kill();
    harness.stopper.stop();
    drop(harness);
    let (harness, _) = world.start("Ex");
    Listener::new(&harness).0.expect_silence();
    harness.stop();
}

#[test]
fn a_flush_and_a_merge_leave_what_is_to_be_told() {
    let world = World::new();
    let (harness, mut client) = world.start("Ex");
    fill(&mut client, 500, 100);
    client.say("COMPACT", "+OK_COMPACTED");
    harness.stop();
    world.clock.advance(1_000);
    let (harness, mut client) = world.start("Ex");
    // Nobody listens yet, so nothing is told.
    client.say("COMPACT", "+OK_COMPACTED");
    client.say("DBSIZE", ":0");
    assert_eq!(client.info("stats", "expired_keys"), "0");
    Listener::new(&harness).hears_all(500);
    client.say("COMPACT", "+OK_COMPACTED");
    assert_eq!(client.info("engine", "expiry_index_bytes"), "0");
    harness.stop();
}

#[test]
fn who_meets_a_key_first_has_it_told() {
    let world = World::new();
    let (harness, mut client) = world.start("");
    fill(&mut client, 6, 100);
    harness.stop();
    world.clock.advance(1_000);
    let (harness, mut client) = world.start("Ex");
    client.say("GET k0", "$-1");
    assert_eq!(client.info("stats", "expired_keys"), "1");
    client.say("GET k0", "$-1");
    client.say("MGET k0 k1 k1", "*3\r\n$-1\r\n$-1\r\n$-1");
    assert_eq!(client.info("stats", "expired_keys"), "2");
    // Without a look at it.
    client.say("SET k2 new", "+OK");
    assert_eq!(client.info("stats", "expired_keys"), "3");
    client.say("DEL k3", ":0");
    client.send([request("MULTI"), request("SET k4 new"), request("GET k5")].concat());
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    client.say("EXEC", "*2\r\n+OK\r\n$-1");
    assert_eq!(client.info("stats", "expired_keys"), "6");
    Listener::new(&harness).0.expect_silence();
    client.say("MGET k2 k4", "*2\r\n$3\r\nnew\r\n$3\r\nnew");
    harness.stop();
}

#[test]
fn events_are_switched_on_and_off() {
    let world = World::new();
    let (harness, mut client) = world.start("");
    client.say("SET silent v PX 100", "+OK");
    client.say("SET met v PX 100", "+OK");
    client.say("SET later v PX 1000", "+OK");
    client.say("COMPACT", "+OK_COMPACTED");
    let mut listener = Listener::new(&harness);
    world.clock.advance(200);
    client.say("CONFIG SET notify-keyspace-events Ex", "+OK");
    // What has expired by now Redis would have deleted in silence. Who meets it has it told.
    client.say("GET met", "$-1");
    listener.hears(&[(0, "met")]);
    assert_eq!(client.info("stats", "expired_keys"), "1");
    world.clock.advance(1_000);
    client.say("PING", "+PONG");
    listener.hears(&[(0, "later")]);
    client.say("SET again v PX 100", "+OK");
    client.say("CONFIG SET notify-keyspace-events K$", "+OK");
    client.say("CONFIG SET notify-keyspace-events Ex", "+OK");
    world.clock.advance(1_000);
    client.say("PING", "+PONG");
    listener.hears(&[(0, "again")]);
    listener.0.expect_silence();
    harness.stop();
}

#[test]
fn what_nobody_wanted_to_know_goes_in_silence_after_a_while() {
    let world = World { kept: Duration::from_secs(1), ..World::new() };
    let (harness, mut client) = world.start("");
    fill(&mut client, 100, 100);
    client.say("COMPACT", "+OK_COMPACTED");
    world.clock.advance(200);
    client.say("CONFIG SET notify-keyspace-events Ex", "+OK");
    let mut listener = Listener::new(&harness);
    wait_for_expired(&mut client, 100);
    listener.0.expect_silence();
    // And what others would have been told of, had there been any.
    client.say("SET k v PX 100", "+OK");
    harness.stop();
    world.clock.advance(200);
    let (harness, mut client) = world.start("Ex");
    wait_for_expired(&mut client, 1);
    harness.stop();
    // With no events, merges drop what expires, once the time after the start is over.
    let (harness, mut client) = world.start("");
    fill(&mut client, 50, 100);
    client.say("COMPACT", "+OK_COMPACTED");
    world.clock.advance(200);
    let begun = std::time::Instant::now();
    while client.info("stats", "expired_keys") != "50" {
        assert!(begun.elapsed() < PATIENCE);
        client.say("COMPACT", "+OK_COMPACTED");
        std::thread::sleep(Duration::from_millis(20));
    }
    harness.stop();
}

#[test]
fn what_was_changed_expires_as_it_stands() {
    let world = World::new();
    let (harness, mut client) = world.start("Ex");
    for key in ["deleted", "kept", "moved", "renamed", "copied", "later", "overwritten"] {
        client.say(&format!("SET {key} v PX 100"), "+OK");
    }
    client.say("DEL deleted", ":1");
    client.say("PERSIST kept", ":1");
    client.say("MOVE moved 3", ":1");
    client.say("RENAME renamed other-name", "+OK");
    client.say("COPY copied copy", ":1");
    client.say("PEXPIRE later 5000", ":1");
    client.say("SET overwritten v", "+OK");
    client.say("SELECT 1", "+OK");
    client.say("SET swapped v PX 100", "+OK");
    client.say("SWAPDB 1 2", "+OK");
    client.say("SET flushed v PX 100", "+OK");
    client.say("FLUSHDB", "+OK");
    let mut listener = Listener::new(&harness);
    world.clock.advance(1_000);
    client.say("PING", "+PONG");
    let mut heard: Vec<(usize, String)> = (0..5).map(|_| listener.next()).collect();
    heard.sort();
    let expected = [(0, "copied"), (0, "copy"), (0, "other-name"), (2, "swapped"), (3, "moved")];
    assert_eq!(heard, expected.map(|(db, key)| (db, key.to_owned())));
    listener.0.expect_silence();
    world.clock.advance(5_000);
    client.say("PING", "+PONG");
    listener.hears(&[(0, "later")]);
    harness.stop();
}

#[test]
fn of_many_keys_at_once_each_is_told_of_once_and_others_are_served() {
    let world = World::new();
    let (harness, mut client) = world.start("Ex");
    let mut listener = Listener::new(&harness);
    fill(&mut client, 20_000, 1_000);
    world.clock.advance(1_000);
    // The last of all, which is met before its turn.
    client.say("SET k19999 new", "+OK");
    client.say("GET k19998", "$-1");
    client.say("GET k19999", "$3\r\nnew");
    listener.hears_all(20_000);
    harness.stop();
}

#[test]
fn more_keys_than_the_index_holds_are_found_again_and_again() {
    let world = World { index_bytes: 16 << 10, ..World::new() };
    let (harness, mut client) = world.start("");
    fill(&mut client, 1_000, 100);
    client.say("COMPACT", "+OK_COMPACTED");
    client.say("CONFIG SET notify-keyspace-events Ex", "+OK");
    let mut listener = Listener::new(&harness);
    let bytes: usize = client.info("engine", "expiry_index_bytes").parse().unwrap();
    assert!(bytes <= 16 << 10, "{bytes}");
    world.clock.advance(1_000);
    client.say("PING", "+PONG");
    listener.hears_all(1_000);
    harness.stop();
}

#[test]
fn keys_that_have_to_be_read_from_disk_are_told_of() {
    let world = World::new();
    let (harness, mut client) = world.start("");
    fill(&mut client, 2_000, 100);
    client.say("COMPACT", "+OK_COMPACTED");
    world.storage.set_cold(true);
    client.say("CONFIG SET notify-keyspace-events Ex", "+OK");
    let mut listener = Listener::new(&harness);
    world.clock.advance(1_000);
    client.say("SET k7 new", "+OK");
    listener.hears_all(2_000);
    client.say("GET k7", "$3\r\nnew");
    harness.stop();
}

#[test]
fn on_a_full_disk_what_cannot_be_told_waits() {
    let world = World::new();
    let (harness, mut client) = world.start("Ex");
    let mut listener = Listener::new(&harness);
    fill(&mut client, 200, 10_000);
    let storage = harness.storage.clone();
    storage.set_capacity(Some(0));
    let value = "x".repeat(100_000);
    for number in 0.. {
        assert!(number < 2_000, "the disk was full");
        client.send(request(&format!("SET filler{number} {value}")));
        if client.line() != "+OK\r" {
            break;
        }
    }
    world.clock.advance(10_000);
    client.say("GET k0", "$-1");
    client.say("MGET k1 k2", "*2\r\n$-1\r\n$-1");
    storage.set_capacity(None);
    listener.hears_all(200);
    harness.stop();
}

#[test]
fn keys_that_could_not_be_read_are_told_of_once_they_can_be() {
    let world = World::new();
    let (harness, mut client) = world.start("");
    fill(&mut client, 4_000, 100);
    client.say("COMPACT", "+OK_COMPACTED");
    harness.stop();
    world.clock.advance(1_000);
    let (harness, mut client) = world.start("Ex");
    let begun = std::time::Instant::now();
    while client.info("engine", "expiry_index_bytes") == "0" {
        assert!(begun.elapsed() < PATIENCE);
    }
    world.storage.set_cold(true);
    let failing = world.storage.read_count() + 1;
    world.storage.fail_read(failing, FaultKind::TooManyFiles, Times::Once);
    Listener::new(&harness).hears_all(4_000);
    assert!(world.storage.read_count() >= failing, "one could not be read");
    world.storage.clear_faults();
    harness.stop();
}
