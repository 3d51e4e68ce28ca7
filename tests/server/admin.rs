//! Commands on the server and its connections, as Redis clients meet them.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Engine, Environment, Options};
use chronos::server::{Settings, Stopped};

use super::harness::{Client, Harness, PATIENCE, settings};

/// A request as an array of bulk strings; words are split by single spaces.
pub(super) fn request(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let bulks: String = words.iter().map(|word| bulk(word)).collect();
    format!("*{}\r\n{bulks}", words.len()).into_bytes()
}

pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

impl Client {
    /// Sends a RESP request and expects these bytes, with CR LF behind them.
    #[track_caller]
    pub(super) fn say(&mut self, line: &str, reply: &str) {
        self.send(request(line));
        self.expect(format!("{reply}\r\n"));
    }

    /// Sends a RESP request whose reply is a bulk string, and returns it.
    #[track_caller]
    pub(super) fn bulk(&mut self, line: &str) -> String {
        self.send(request(line));
        let head = self.line();
        let length = head.strip_prefix('$').unwrap_or_else(|| panic!("{head:?}")).trim_end();
        let mut bytes = vec![0; length.parse().unwrap()];
        self.socket.read_exact(&mut bytes).unwrap();
        self.expect("\r\n");
        String::from_utf8(bytes).unwrap()
    }

    /// What INFO says under a name.
    #[track_caller]
    pub(super) fn info(&mut self, section: &str, name: &str) -> String {
        let text = self.bulk(&format!("INFO {section}"));
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }
}

/// A server that allows DEBUG, and a client of it.
pub(super) fn start() -> (Harness, Client) {
    let settings = Settings { allows_debug: true, ..settings() };
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let client = connect(&harness);
    (harness, client)
}

/// A client that has spoken RESP, and was answered.
pub(super) fn connect(harness: &Harness) -> Client {
    let mut client = harness.connect_silently();
    client.say("PING", "+PONG");
    client
}

/// The number behind CLIENT ID.
fn id(client: &mut Client) -> String {
    client.send(request("CLIENT ID"));
    client.line().trim_matches([':', '\r']).to_owned()
}

#[test]
fn a_client_says_who_it_is() {
    let (harness, mut client) = start();
    client.say("CLIENT GETNAME", "$-1");
    client.say("CLIENT SETNAME me", "+OK");
    client.say("CLIENT GETNAME", "$2\r\nme");
    client.say("CLIENT SETINFO LIB-NAME lib", "+OK");
    client.say("CLIENT SETINFO lib-ver 1.2", "+OK");
    client.say("CLIENT SETINFO name x", "-ERR Unrecognized option 'name'");
    client.say(
        "CLIENT SETINFO lib-ver a\nb",
        "-ERR lib-ver cannot contain spaces, newlines or special characters.",
    );
    client.say("CLIENT NO-EVICT ON", "+OK");
    client.say("CLIENT NO-TOUCH maybe", "-ERR syntax error");
    client.say("SELECT 3", "+OK");
    client.say("MULTI", "+OK");
    client.say("CLIENT INFO", "+QUEUED");
    client.send(request("EXEC"));
    client.expect("*1\r\n");
    let head = client.line();
    let mut line = vec![0; head.trim_matches(['$', '\r']).parse().unwrap()];
    client.socket.read_exact(&mut line).unwrap();
    client.expect("\r\n");
    let line = String::from_utf8(line).unwrap();
    let local = format!(" laddr={} ", harness.address);
    for part in
        [&local, " name=me ", " db=3 ", " flags=e ", " resp=2 ", " lib-name=lib lib-ver=1.2\n"]
    {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
    for unknown in ["TRACKING on", "CACHING yes", "GETREDIR", "UNBLOCK 1", "MAINT_NOTIFICATIONS"] {
        let name = unknown.split(' ').next().unwrap();
        let error = format!("-ERR unknown subcommand '{name}'. Try CLIENT HELP.");
        client.say(&format!("CLIENT {unknown}"), &error);
    }
    harness.stop();
}

#[test]
fn clients_are_listed_in_the_order_in_which_they_came() {
    let (harness, mut first) = start();
    let (mut second, mut third) = (connect(&harness), connect(&harness));
    third.send(request("SUBSCRIBE news"));
    third.expect("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    let ids = [id(&mut first), id(&mut second)];
    let listed = |client: &mut Client, line: &str| -> Vec<String> {
        let text = client.bulk(line);
        let id = |line: &str| line.split([' ', '=']).nth(1).unwrap().to_owned();
        text.lines().map(id).collect()
    };
    let all = listed(&mut second, "CLIENT LIST");
    assert_eq!(all[..2], ids);
    assert_eq!(listed(&mut first, "CLIENT LIST TYPE pubsub"), all[2..]);
    assert_eq!(listed(&mut first, "CLIENT LIST TYPE normal"), ids);
    assert_eq!(listed(&mut first, "CLIENT LIST TYPE replica"), [""; 0]);
    assert_eq!(listed(&mut first, &format!("CLIENT LIST ID 999 {}", ids[1])), ids[1..]);
    first.say("CLIENT LIST TYPE x", "-ERR Unknown client type 'x'");
    first.say("CLIENT LIST ID x", "-ERR Invalid client ID");
    first.say("CLIENT LIST ID", "-ERR syntax error");
    harness.stop();
}

#[test]
fn clients_are_killed_by_what_they_are() {
    let (harness, mut killer) = start();
    let mut victims: Vec<Client> = (0..3).map(|_| connect(&harness)).collect();
    let number = id(&mut victims[0]);
    killer.say("CLIENT KILL ID 999", ":0");
    killer.say("CLIENT KILL 127.0.0.1:1", "-ERR No such client");
    killer.say("CLIENT KILL ID x", "-ERR client-id should be greater than 0");
    killer.say("CLIENT KILL USER nobody", "-ERR No such user 'nobody'");
    // Whoever is killed is gone for the next command of the same pipeline.
    let kill = request(&format!("CLIENT KILL ID {number}"));
    let list = request(&format!("CLIENT LIST ID {number}"));
    killer.send([&kill[..], &kill, &list].concat());
    killer.expect(":1\r\n:0\r\n$0\r\n\r\n");
    victims.remove(0).expect_end();
    let address = victims[0].socket.local_addr().unwrap();
    killer.say(&format!("CLIENT KILL {address}"), "+OK");
    victims.remove(0).expect_end();
    killer.say("CLIENT KILL TYPE normal SKIPME yes", ":1");
    victims.remove(0).expect_end();
    killer.say("CLIENT KILL TYPE normal", ":0");
    let mut other = connect(&harness);
    killer.say(&format!("CLIENT KILL LADDR {} SKIPME no", harness.address), ":2");
    killer.expect_end();
    other.expect_end();
    harness.stop();
}

#[test]
fn a_pause_of_writes_holds_writes_until_it_is_ended() {
    let (harness, mut writer) = start();
    let mut other = connect(&harness);
    other.say("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range");
    other.say("CLIENT PAUSE -1", "-ERR timeout is negative");
    other.say("CLIENT PAUSE 1 reads", "-ERR CLIENT PAUSE mode must be WRITE or ALL");
    other.say("CLIENT PAUSE 1000000 WRITE", "+OK");
    writer.say("GET k", "$-1");
    writer.send(request("SET k v"));
    writer.expect_silence();
    other.say("GET k", "$-1");
    other.say("CLIENT UNPAUSE", "+OK");
    writer.expect("+OK\r\n");
    other.say("CLIENT PAUSE 1000000", "+OK");
    writer.send(request("GET k"));
    writer.expect_silence();
    other.say("CLIENT UNPAUSE", "+OK");
    writer.expect("$1\r\nv\r\n");
    // However long it is, it can be ended.
    other.say("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range");
    other.say("CLIENT PAUSE 9223372036850000000", "+OK");
    writer.send(request("GET k"));
    writer.expect_silence();
    other.say("CLIENT UNPAUSE", "+OK");
    writer.expect("$1\r\nv\r\n");
    // A pause ends by itself.
    other.say("CLIENT PAUSE 20", "+OK");
    writer.say("GET k", "$1\r\nv");
    harness.stop();
}

#[test]
fn settings_are_changed_together_or_not_at_all() {
    let (harness, mut client) = start();
    let failed = |name: &str, why: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
    };
    client.say("CONFIG SET slowlog-max-len 7 latency-monitor-threshold 9", "+OK");
    let integer = "argument couldn't be parsed into an integer";
    client.say(
        "CONFIG SET slowlog-max-len 8 latency-monitor-threshold x",
        &failed("latency-monitor-threshold", integer),
    );
    client.say(
        "CONFIG SET slowlog-max-len 8 databases 3",
        &failed("databases", "can't set immutable config"),
    );
    client.say(
        "CONFIG SET slowlog-max-len 8 SLOWLOG-MAX-LEN 9",
        &failed("slowlog-max-len", "duplicate parameter"),
    );
    client.say(
        "CONFIG SET slowlog-max-len 8 nothing 9",
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'",
    );
    client.say("CONFIG SET slowlog-max-len 8 x", "-ERR syntax error");
    client.say("CONFIG GET slowlog-max-len", "*2\r\n$15\r\nslowlog-max-len\r\n$1\r\n7");
    // What is fixed may be set to what it is.
    client.say("CONFIG SET appendonly yes timeout 0 maxmemory-policy noeviction", "+OK");
    client.say("CONFIG SET appendonly no", &failed("appendonly", "can't set immutable config"));
    client.say("CONFIG REWRITE", "-ERR The server is running without a config file");
    client.say("CONFIG GET nothing*", "*0");
    client.say(
        "CONFIG GET *-policy MAXMEMORY-POLICY databases",
        "*4\r\n$9\r\ndatabases\r\n$2\r\n16\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction",
    );
    client.send(request("HELLO 3"));
    client.expect("%7\r\n");
    while client.line() != "*0\r" {}
    client.say("CONFIG GET appendfsync", "%1\r\n$11\r\nappendfsync\r\n$6\r\nalways");
    harness.stop();
}

#[test]
fn a_password_is_required_from_when_it_is_set() {
    let (harness, mut client) = start();
    client.say("CONFIG SET requirepass secret", "+OK");
    client.say("GET k", "$-1");
    let mut other = harness.connect_silently();
    other.say("GET k", "-NOAUTH Authentication required.");
    other.say(
        "HELLO 3",
        "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    other.say("AUTH wrong", wrong);
    other.say("AUTH secret", "+OK");
    other.say("GET k", "$-1");
    let mut third = harness.connect_silently();
    third.say("GET k", "-NOAUTH Authentication required.");
    client.say("CONFIG SET requirepass ", "+OK");
    third.say("GET k", "$-1");
    harness.stop();
}

#[test]
fn keyspace_events_and_the_limit_of_clients_are_set() {
    let (harness, mut client) = start();
    client.say("CONFIG SET notify-keyspace-events KEA", "+OK");
    let mut listener = connect(&harness);
    listener.send(request("SUBSCRIBE __keyevent@0__:set"));
    listener.expect("*3\r\n$9\r\nsubscribe\r\n$18\r\n__keyevent@0__:set\r\n:1\r\n");
    client.say("SET k v", "+OK");
    listener.expect("*3\r\n$7\r\nmessage\r\n$18\r\n__keyevent@0__:set\r\n$1\r\nk\r\n");
    client.say("CONFIG SET maxclients 2", "+OK");
    let mut third = harness.connect_silently();
    third.expect("ERR too many connections");
    harness.stop();
}

#[test]
fn info_has_the_sections_of_redis() {
    let (harness, mut client) = start();
    client.say("INFO nothing", "$0\r\n");
    let text = client.bulk("INFO");
    let titles: Vec<&str> = text.split("\r\n").filter(|line| line.starts_with('#')).collect();
    let expected = [
        "# Server",
        "# Clients",
        "# Memory",
        "# Persistence",
        "# Stats",
        "# Replication",
        "# CPU",
        "# Modules",
        "# Errorstats",
        "# Cluster",
        "# Keyspace",
        "# Engine",
    ];
    assert_eq!(titles, expected);
    assert_eq!(client.info("server", "redis_mode"), "standalone");
    assert_eq!(client.info("server", "tcp_port"), harness.address.port().to_string());
    assert_eq!(client.info("keyspace clients", "connected_clients"), "1");
    assert_eq!(client.info("replication", "role"), "master");
    client.say("SET k v", "+OK");
    assert_eq!(client.info("persistence", "rdb_changes_since_last_save"), "1");
    assert_eq!(client.info("keyspace", "db0"), "keys=1,expires=0,avg_ttl=0");
    client.say("SELECT 99", "-ERR DB index is out of range");
    client.say("SELECT x", "-ERR value is not an integer or out of range");
    let calls = "calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=2";
    assert_eq!(client.info("commandstats", "cmdstat_select"), calls);
    assert_eq!(client.info("errorstats", "errorstat_ERR"), "count=2");
    client.say("CONFIG RESETSTAT", "+OK");
    assert!(!client.bulk("INFO commandstats").contains("cmdstat_select"));
    harness.stop();
}

#[test]
fn commands_are_described() {
    let (harness, mut client) = start();
    client.say(
        "COMMAND INFO get nothing",
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n\
         *3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n\
         +access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
         *2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n\
         $4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n\
         *0\r\n$-1",
    );
    client.say("COMMAND LIST FILTERBY PATTERN setn*", "*1\r\n$5\r\nsetnx");
    client.say("COMMAND LIST FILTERBY MODULE x", "*0");
    client.say("COMMAND LIST FILTERBY ACLCAT", "-ERR syntax error");
    client.say("COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb");
    client.say("COMMAND GETKEYS MEMORY USAGE a", "*1\r\n$1\r\na");
    client.say("COMMAND GETKEYS NOSUCH a b", "-ERR Invalid command specified");
    client.say("COMMAND GETKEYS PING a", "-ERR The command has no key arguments");
    client.say("COMMAND GETKEYS GET a b", "-ERR Invalid number of arguments specified for command");
    client.say("COMMAND DOCS nothing", "*0");
    let summary = bulk("Returns the value of a key.");
    client.say(
        "COMMAND DOCS get",
        &format!(
            "*2\r\n$3\r\nget\r\n*10\r\n$7\r\nsummary\r\n{summary}$5\r\nsince\r\n$5\r\n1.0.0\r\n\
             $5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$8\r\nO(log N)\r\n\
             $9\r\narguments\r\n*1\r\n*6\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n\
             $14\r\nkey_spec_index\r\n:0"
        ),
    );
    // All of them, and every HELP, are whole replies: what follows is answered in its place.
    for line in ["COMMAND", "COMMAND DOCS", "COMMAND LIST", "CLIENT HELP", "CONFIG HELP"] {
        client.send([request(line), request("ECHO end-of-it")].concat());
        while client.line() != "end-of-it\r" {}
    }
    harness.stop();
}

fn open_copy(dir: &Path) -> Engine {
    let options = Options { memory_bytes: 16 << 20, ..Options::default() };
    Engine::open(Environment::disk(dir).unwrap(), options).unwrap().0
}

fn keys(engine: &Engine) -> Vec<Vec<u8>> {
    engine.scan(..).map(|entry| entry.unwrap().0).collect()
}

#[test]
fn a_checkpoint_replaces_the_one_before() {
    let room = tempfile::tempdir().unwrap();
    let (data, copy) = (room.path().join("data"), room.path().join("copy"));
    let data_dir = Some(data.clone());
    let settings = Settings { checkpoint_dir: copy.clone(), data_dir, ..settings() };
    let harness = Harness::start_on_disk(&data, settings);
    let mut client = connect(&harness);
    client.say("SET a 1", "+OK");
    client.say("SAVE", "+OK");
    assert_eq!(client.info("persistence", "rdb_changes_since_last_save"), "0");
    assert_eq!(client.info("persistence", "rdb_saves"), "1");
    let engine = open_copy(&copy);
    assert_eq!(keys(&engine), [b"\0a"]);
    engine.close().unwrap();
    drop(engine);
    client.say("SET b 1", "+OK");
    client.say("BGSAVE now", "-ERR syntax error");
    let twice = [request("BGSAVE SCHEDULE"), request("SAVE")].concat();
    client.send(twice);
    client.expect("+Background saving started\r\n-ERR Background save already in progress\r\n");
    let start = Instant::now();
    while client.info("persistence", "rdb_bgsave_in_progress") == "1" {
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!(client.info("persistence", "rdb_last_bgsave_status"), "ok");
    let engine = open_copy(&copy);
    assert_eq!(keys(&engine), [b"\0a", b"\0b"]);
    engine.close().unwrap();
    let mut names: Vec<_> =
        std::fs::read_dir(room.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["copy", "data"]);
    harness.stop();
}

#[test]
fn what_is_no_checkpoint_is_not_replaced() {
    let room = tempfile::tempdir().unwrap();
    let (data, precious) = (room.path().join("data"), room.path().join("precious"));
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("letter"), "dear").unwrap();
    for directory in [&precious, &data] {
        let data_dir = Some(data.clone());
        let settings = Settings { checkpoint_dir: directory.clone(), data_dir, ..settings() };
        let harness = Harness::start_on_disk(&data, settings);
        let mut client = connect(&harness);
        client.send(request("SAVE"));
        let line = client.line();
        assert!(line.starts_with("-ERR ") && line.contains("nothing was written"), "{line}");
        assert_eq!(client.info("persistence", "rdb_last_bgsave_status"), "err");
        client.say("SET k v", "+OK");
        harness.stop();
    }
    assert_eq!(std::fs::read_to_string(precious.join("letter")).unwrap(), "dear");
    let engine = open_copy(&data);
    assert_eq!(keys(&engine), [b"\0k"]);
    engine.close().unwrap();
}

#[test]
fn a_shutdown_is_answered_by_the_end() {
    let (harness, mut client) = start();
    client.say("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
    client.say("SHUTDOWN SAVE NOSAVE", "-ERR syntax error");
    client.say("SHUTDOWN NOW ABORT", "-ERR syntax error");
    client.send(request("SHUTDOWN NOSAVE NOW FORCE"));
    client.expect_end();
    assert_eq!(harness.join(), Stopped::Clean);
}

#[test]
fn a_sleep_holds_everyone_and_is_a_latency_event() {
    let (harness, mut client) = start();
    let mut other = connect(&harness);
    client.say("LATENCY LATEST", "*0");
    client.say("LATENCY GRAPH command", "-ERR No samples available for event 'command'");
    client.say("CONFIG SET latency-monitor-threshold 20", "+OK");
    client.send(request("DEBUG SLEEP 0.05"));
    other.send(request("PING"));
    client.expect("+OK\r\n");
    other.expect("+PONG\r\n");
    client.send(request("LATENCY LATEST"));
    client.expect("*1\r\n*4\r\n$7\r\ncommand\r\n");
    client.line();
    client.expect(":50\r\n:50\r\n");
    client.say("LATENCY RESET fast-command", ":0");
    client.say("LATENCY RESET", ":1");
    client.say("LATENCY HISTORY command", "*0");
    client.say("LATENCY HISTOGRAM", "*0");
    harness.stop();
}

#[test]
fn memory_of_a_key_even_of_one_on_disk() {
    let (harness, mut client) = start();
    client.say("SET key value", "+OK");
    client.say("MEMORY USAGE key", ":10");
    client.say("MEMORY USAGE nothing SAMPLES 5", "$-1");
    client.say("MEMORY USAGE key SAMPLES x", "-ERR value is not an integer or out of range");
    client.say("MEMORY USAGE key LEVELS 5", "-ERR syntax error");
    client.say("MEMORY PURGE", "+OK");
    client.say("COMPACT", "+OK_COMPACTED");
    harness.storage.set_cold(true);
    client.say("MEMORY USAGE key", ":10");
    client.send(request("MEMORY STATS"));
    client.expect("*22\r\n$14\r\npeak.allocated\r\n:");
    harness.stop();
}

#[test]
fn a_monitor_sees_commands_without_passwords() {
    let (harness, mut client) = start();
    let mut monitor = connect(&harness);
    monitor.say("MONITOR", "+OK");
    let line = |monitor: &mut Client| {
        let line = monitor.line();
        line.split_once("] ").unwrap_or_else(|| panic!("{line:?}")).1.trim_end().to_owned()
    };
    client.say("SET k \x01\"", "+OK");
    assert_eq!(line(&mut monitor), r#""SET" "k" "\x01\"""#);
    client.say("AUTH default secret", "+OK");
    assert_eq!(line(&mut monitor), r#""AUTH" "(redacted)" "(redacted)""#);
    client.say("SELECT 99", "-ERR DB index is out of range");
    assert_eq!(line(&mut monitor), r#""SELECT" "99""#);
    // Commands for those who run the server are not shown.
    client.say("CONFIG SET requirepass secret", "+OK");
    client.say("MULTI", "+OK");
    client.say("GET k", "+QUEUED");
    client.say("MONITOR", "+QUEUED");
    client.send(request("EXEC"));
    client.expect("*2\r\n$2\r\n\x01\"\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n");
    assert_eq!(line(&mut monitor), r#""MULTI""#);
    assert_eq!(line(&mut monitor), r#""GET" "k""#);
    assert_eq!(line(&mut monitor), r#""EXEC""#);
    monitor.say("GET k", "-ERR Replica can't interact with the keyspace");
    monitor.say("RESET", "+RESET");
    client.say("GET k", "$2\r\n\x01\"");
    monitor.say("AUTH secret", "+OK");
    monitor.say("GET k", "$2\r\n\x01\"");
    harness.stop();
}

#[test]
fn debug_is_for_those_who_allow_it() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    client.send(request("DEBUG SLEEP 0"));
    assert!(client.line().starts_with("-ERR DEBUG command not allowed. If the enable-debug"));
    harness.stop();
    let (harness, mut client) = start();
    client.say("DEBUG SLEEP 0", "+OK");
    client.say("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
    client.say("DEBUG ERROR WORD", "-WORD");
    client.say("DEBUG OBJECT k", "-ERR no such key");
    client.say("SET k 12", "+OK");
    client.send(request("DEBUG OBJECT k"));
    assert!(client.line().contains(" encoding:int serializedlength:2 "));
    client.say("DEBUG RELOAD", "+OK");
    client.say("GET k", "$2\r\n12");
    let before = client.info("replication", "master_replid");
    client.say("DEBUG CHANGE-REPL-ID", "+OK");
    assert_ne!(client.info("replication", "master_replid"), before);
    client.say(
        "DEBUG JMAP",
        "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.",
    );
    harness.stop();
}

#[test]
fn text_connections_are_told_in_text() {
    let (harness, _client) = start();
    let mut client = harness.connect();
    assert!(client.text("CLIENT INFO").contains(" resp=0 "));
    client.ask("CONFIG GET databases", "LIST 2\ndatabases\n16");
    client.ask("TIME now", "ERR TIME takes no arguments, not 1: TIME");
    let mut monitor = harness.connect();
    monitor.ask("MONITOR", "OK");
    client.ask("ECHO hello", "hello");
    let line = monitor.line();
    assert!(line.ends_with("] \"echo\" \"hello\"") && !line.starts_with('+'), "{line}");
    harness.stop();
}
