//! Commands on keys and walks over them, as a client of RESP meets them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Engine, Environment, MIN_MEMORY_BYTES, Options, Scheduling, SystemClock};

use super::harness::{Client, Harness, PATIENCE, settings};
use chronos::engine::storage::sim::Random;

/// A reply, as far as the tests need it told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    /// A line with its first byte: a word, an error, a number.
    Line(String),
    Bulk(String),
    Null,
    List(Vec<Reply>),
    Map(Vec<Reply>),
}

impl Reply {
    #[track_caller]
    fn list(self) -> Vec<Reply> {
        match self {
            Reply::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }

    #[track_caller]
    fn bulk(self) -> String {
        match self {
            Reply::Bulk(bulk) => bulk,
            other => panic!("{other:?} is no bulk"),
        }
    }
}

/// A client that speaks RESP.
struct Resp {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Resp {
    fn connect(harness: &Harness) -> Self {
        let socket = TcpStream::connect(harness.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(socket.try_clone().unwrap());
        Resp { socket, reader }
    }

    fn send(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.socket.write_all(&request).unwrap();
    }

    fn read(&mut self) -> Reply {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let number = || line[1..].parse::<i64>().unwrap();
        let length = || usize::try_from(number()).unwrap();
        match &line[..1] {
            "$" if number() >= 0 => {
                let mut bytes = vec![0; length() + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" if number() >= 0 => Reply::List((0..number()).map(|_| self.read()).collect()),
            "%" => Reply::Map((0..2 * number()).map(|_| self.read()).collect()),
            "$" | "*" | "_" => Reply::Null,
            _ => Reply::Line(line.to_owned()),
        }
    }

    /// Sends words and reads a reply.
    fn ask(&mut self, words: &str) -> Reply {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.send(&words);
        self.read()
    }

    /// The bytes of a bulk reply.
    fn ask_for_bytes(&mut self, words: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.send(&words);
        let mut head = String::new();
        self.reader.read_line(&mut head).unwrap();
        let mut bytes = vec![0; head.trim_end()[1..].parse::<usize>().unwrap() + 2];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes
    }

    /// Sends words and expects a reply, written with spaces between the elements of a list.
    #[track_caller]
    fn expect(&mut self, words: &str, expected: &str) {
        assert_eq!(written(&self.ask(words)), expected, "{words}");
    }

    /// The elements of a list reply.
    #[track_caller]
    fn list(&mut self, words: &str) -> Vec<String> {
        self.ask(words).list().into_iter().map(Reply::bulk).collect()
    }
}

fn written(reply: &Reply) -> String {
    let all = |list: &[Reply]| list.iter().map(written).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Line(text) | Reply::Bulk(text) => text.clone(),
        Reply::Null => "(null)".to_owned(),
        Reply::List(list) => format!("[{}]", all(list)),
        Reply::Map(list) => format!("{{{}}}", all(list)),
    }
}

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
    let reply = written(&a.ask("SCAN 0"));
    assert!(reply.starts_with("-ERR "), "{reply}");
    a.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
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
    let mut text: Client = harness.connect();
    text.ask("DBSIZE", "0");
    harness.stop();
}
