//! The RESP mode against Redis itself, and beside redis-cli; skipped, with a note, where they are not
//! installed.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use super::program::{assert_ran, pipe, run};

/// The version whose formats are the reference.
const REFERENCE: &str = "redis-cli 7.0.";

/// A server of the test's own; killed when dropped.
struct Redis {
    child: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Redis {
    /// Starts one; none where it is not installed.
    fn start() -> Option<Self> {
        // Another program may take the free port first.
        (0..5).find_map(|_| Self::try_start().transpose()).unwrap().ok()
    }

    fn try_start() -> Result<Option<Self>, ErrorKind> {
        let data = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--enable-debug-command", "yes", "--dir"]);
        command.arg(data.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: redis-server cannot be started: {error}");
                return Err(error.kind());
            }
        };
        // Its own word counts: whoever tries to connect to a port that nobody has may reach itself.
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = log.any(|line| line.contains("Ready to accept connections"));
        // It must never wait for a reader.
        thread::spawn(move || log.for_each(drop));
        let redis = Redis { child, port, _data: data };
        Ok(is_ready.then_some(redis))
    }

    fn client(&self, arguments: &[&str]) -> Output {
        run(self.port, &[&["--resp"], arguments].concat())
    }

    /// What redis-cli prints; none where it is not the reference.
    fn redis_cli(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let version = Command::new("redis-cli").arg("--version").output().ok()?.stdout;
        if !version.starts_with(REFERENCE.as_bytes()) {
            return None;
        }
        let port = self.port.to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-p", &port]).args(arguments).stdin(Stdio::null());
        Some(command.output().unwrap().stdout)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fills every type, so that every shape of reply can be asked for.
const FILL: &[u8] =
    b"SET k \"v\\\"\\x01\\xe9\\n\"\nRPUSH l 1 2 3 4 5 6 7 8 9 10 11\nHSET h a 1 b 2\n\
    SADD s m\nZADD z 1.5 a 2 b\nXADD x 1-1 f v\nXADD x 2-1 f w\n";

#[test]
fn formats_are_those_of_redis_cli() {
    let Some(redis) = Redis::start() else { return };
    assert_eq!(pipe(redis.port, &["--resp"], FILL).status.code(), Some(0));
    let nested = "redis.setresp(3); return {{map={[1]={map={x={1,2}}}},{set={a=true}},{map={}},\
                  {set={}},false,{double=2.5},{1,{2,{3,{}}}},redis.error_reply('ERR y')}";
    let commands: [&[&str]; 24] = [
        &["GET", "k"],
        &["GET", "none"],
        &["NOSUCH", "a"],
        &["PING"],
        &["LRANGE", "l", "0", "-1"],
        &["HGETALL", "h"],
        &["SMEMBERS", "s"],
        &["ZRANGE", "z", "0", "-1", "WITHSCORES"],
        &["XRANGE", "x", "-", "+"],
        &["XINFO", "STREAM", "x", "FULL"],
        &["COMMAND", "DOCS", "SET"],
        &["COMMAND", "INFO", "GET"],
        &["CONFIG", "GET", "max*"],
        &["EVAL", nested, "0"],
        &["DEBUG", "PROTOCOL", "string"],
        &["DEBUG", "PROTOCOL", "integer"],
        &["DEBUG", "PROTOCOL", "double"],
        &["DEBUG", "PROTOCOL", "null"],
        &["DEBUG", "PROTOCOL", "array"],
        &["DEBUG", "PROTOCOL", "set"],
        &["DEBUG", "PROTOCOL", "map"],
        &["DEBUG", "PROTOCOL", "push"],
        &["DEBUG", "PROTOCOL", "verbatim"],
        &["-n", "3", "DBSIZE"],
    ];
    let formats = ["--raw", "--no-raw", "--csv", "--json"];
    for flags in formats.iter().flat_map(|format| [["-2", format], ["-3", format]]) {
        for command in commands {
            let arguments = [&flags, command].concat();
            let Some(expected) = redis.redis_cli(&arguments) else {
                eprintln!("skipped: {REFERENCE}x is not installed");
                return;
            };
            let output = redis.client(&arguments);
            let (got, expected) = (output.stdout.escape_ascii(), expected.escape_ascii());
            assert_eq!(got.to_string(), expected.to_string(), "{arguments:?}");
        }
    }
}

#[test]
fn types_that_redis_cli_gives_up_on_are_printed() {
    let Some(redis) = Redis::start() else { return };
    let bignum = redis.client(&["--no-raw", "DEBUG", "PROTOCOL", "bignum"]);
    assert_ran(&bignum, 0, b"(big number) 1234567999999999999999999999999999999\n", "");
    let attribute = redis.client(&["--no-raw", "DEBUG", "PROTOCOL", "attrib"]);
    assert_ran(&attribute, 0, b"\"Some real reply following the attribute\"\n", "");
}

#[test]
fn passwords_users_and_databases_are_used() {
    let Some(redis) = Redis::start() else { return };
    let script = b"ACL SETUSER eve on >pw allkeys allcommands\nCONFIG SET requirepass root\n\
                   SELECT 4\nSET k four\nMULTI\nGET k\nEXEC\n";
    assert_ran(
        &pipe(redis.port, &["--resp"], script),
        0,
        b"OK\nOK\nOK\nOK\nOK\nQUEUED\nfour\n",
        "",
    );
    let arguments = ["--no-auth-warning", "--user", "eve", "-a", "pw", "-n", "4", "GET", "k"];
    assert_ran(&redis.client(&arguments), 0, b"four\n", "");
    let locked = redis.client(&["GET", "k"]);
    assert_ran(&locked, 1, b"NOAUTH Authentication required.\n\n", "");
    let script = b"AUTH root\nHELLO\n";
    let output = pipe(redis.port, &["--resp", "--json"], script);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"proto\":3"), "RESP3 is asked for again behind AUTH: {text}");
}

#[test]
fn mass_insertion_and_the_ways_to_look_work() {
    let Some(redis) = Redis::start() else { return };
    let set = |n| format!("*3\r\n$3\r\nSET\r\n$9\r\nkey:{n:05}\r\n$3\r\nabc\r\n");
    let input = (0..20_000).map(set).collect::<Vec<_>>().concat();
    let lines = "All data transferred. Waiting for the last reply...\n\
                 Last reply received from server.\nerrors: 0, replies: 20000\n";
    assert_ran(&pipe(redis.port, &["--resp", "--pipe"], input.as_bytes()), 0, lines.as_bytes(), "");
    let scanned = redis.client(&["--scan", "--pattern", "key:*", "--count", "1000"]);
    assert_eq!(scanned.stdout.split(|byte| *byte == b'\n').count(), 20_001);
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let big = text(&redis.client(&["--bigkeys"]));
    let line = "20000 strings with 60000 bytes (100.00% of keys, avg size 3.00)\n";
    assert!(big.contains(line), "{big}");
    let mem = text(&redis.client(&["--memkeys", "--memkeys-samples", "0"]));
    assert!(mem.contains("Sampled 20000 keys in the keyspace!\n"), "{mem}");
    let stat = text(&redis.client(&["--stat", "-r", "2", "-i", "0.01"]));
    let rows: Vec<_> = stat.lines().collect();
    assert_eq!(rows.len(), 4, "{stat}");
    assert!(rows[2].starts_with("20000      ") && rows[3].contains("(+1)"), "{stat}");
    let latency = text(&redis.client(&["--latency", "--json", "-i", "0.05"]));
    assert!(latency.starts_with("{\"min\": "), "{latency}");
    let history = text(&redis.client(&["--latency-history", "--csv", "-i", "0.05", "-r", "2"]));
    assert_eq!(history.lines().count(), 2, "{history}");
}
