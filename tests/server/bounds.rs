//! What one client asks for takes a bounded amount of memory and time, whatever it is; what would take
//! more is refused in words.

use std::fmt::Write;

use chronos::engine::storage::sim::SimStorage;
use chronos::server::{ClientsBound, Settings};

use super::harness::{Client, Harness, settings};

/// A request of a Redis client.
fn resp(words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        // A String takes every write.
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
    request
}

fn ask(client: &mut Client, request: &str, reply: &str) {
    client.send(resp(&request.split(' ').collect::<Vec<_>>()));
    client.expect(reply);
}

fn connect(harness: &Harness) -> Client {
    let mut client = harness.connect_silently();
    ask(&mut client, "PING", "+PONG\r\n");
    client
}

#[test]
fn a_transaction_of_large_writes_is_refused_before_it_takes_the_memory() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    ask(&mut client, "MULTI", "+OK\r\n");
    ask(&mut client, "SET small 1", "+QUEUED\r\n");
    for n in 0..200 {
        ask(&mut client, &format!("SETBIT large {} 1", 260_000_000 + n), "+QUEUED\r\n");
    }
    client.send(resp(&["EXEC"]));
    client.expect("-ERR what is written together has more than 67108864 bytes\r\n");
    ask(&mut client, "EXISTS small large", ":0\r\n");
    ask(&mut client, "EXEC", "-ERR EXEC without MULTI\r\n");
    harness.stop();
}

/// A server whose key `large` has a value of 4 MiB.
fn with_large_value() -> (Harness, Client) {
    let harness = Harness::start();
    let mut client = connect(&harness);
    ask(&mut client, "SETRANGE large 4194303 x", ":4194304\r\n");
    (harness, client)
}

#[test]
fn a_command_that_names_a_large_value_over_and_over_is_refused() {
    let (harness, mut client) = with_large_value();
    let mut words = vec!["BITOP", "OR", "target"];
    words.resize(3 + 400, "large");
    client.send(resp(&words));
    client.expect("-ERR the command reads more than 1207959552 bytes of values\r\n");
    ask(&mut client, "EXISTS target", ":0\r\n");
    harness.stop();
}

#[test]
fn a_transaction_whose_reply_is_too_long_changes_nothing() {
    let (harness, mut client) = with_large_value();
    ask(&mut client, "MULTI", "+OK\r\n");
    ask(&mut client, "SET small 1", "+QUEUED\r\n");
    for _ in 0..130 {
        ask(&mut client, "GET large", "+QUEUED\r\n");
    }
    client.send(resp(&["EXEC"]));
    client
        .expect("-ERR the reply would have more than 536870912 bytes: ask for less at a time\r\n");
    ask(&mut client, "EXISTS small", ":0\r\n");
    harness.stop();
}

/// Has one client work and another one ask: both are answered, however much the first has to do.
fn ask_while(harness: &Harness, client: &mut Client, request: &[u8]) {
    let mut other = connect(harness);
    client.send(request);
    ask(&mut other, "PING", "+PONG\r\n");
}

#[test]
fn many_subscriptions_cost_what_they_are_and_no_more() {
    const COUNT: usize = 150_000;
    let harness = Harness::start();
    for (join, leave) in [("SUBSCRIBE", "UNSUBSCRIBE"), ("PSUBSCRIBE", "PUNSUBSCRIBE")] {
        let mut client = connect(&harness);
        let names: Vec<String> = (0..COUNT).map(|n| format!("channel:{n:06}")).collect();
        let words: Vec<&str> =
            std::iter::once(join).chain(names.iter().map(String::as_str)).collect();
        ask_while(&harness, &mut client, resp(&words).as_bytes());
        for (n, name) in names.iter().enumerate() {
            let word = join.to_lowercase();
            let count = n + 1;
            let length = word.len();
            client.expect(format!("*3\r\n${length}\r\n{word}\r\n$14\r\n{name}\r\n:{count}\r\n"));
        }
        ask_while(&harness, &mut client, resp(&[leave]).as_bytes());
        for (n, name) in names.iter().enumerate() {
            let word = leave.to_lowercase();
            let (count, length) = (COUNT - n - 1, word.len());
            client.expect(format!("*3\r\n${length}\r\n{word}\r\n$14\r\n{name}\r\n:{count}\r\n"));
        }
    }
    harness.stop();
}

#[test]
fn many_watched_keys_cost_what_they_are_and_no_more() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    let keys: Vec<String> = (0..200_000).map(|n| format!("key:{n:06}")).collect();
    let words: Vec<&str> =
        std::iter::once("WATCH").chain(keys.iter().map(String::as_str)).collect();
    client.send(resp(&words));
    client.expect("+OK\r\n");
    client.send(resp(&words));
    let line = "-ERR the watched keys would take more than 67108864 bytes\r\n";
    client.expect(line);
    ask(&mut client, "UNWATCH", "+OK\r\n");
    client.send(resp(&words));
    client.expect("+OK\r\n");
    harness.stop();
}

#[test]
fn what_a_client_has_others_keep_for_it_is_bounded() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    let large = "x".repeat(65_000);
    for n in 0..1029 {
        let name = format!("{n}{large}");
        let (length, count) = (name.len(), n + 1);
        client.send(resp(&["SUBSCRIBE", &name]));
        client.expect(format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{name}\r\n:{count}\r\n"));
    }
    client.send(resp(&["PSUBSCRIBE", &large]));
    client.expect("-ERR the client's subscriptions would take more than 67108864 bytes\r\n");
    let mut client = connect(&harness);
    let error = "-ERR the name has 1025 bytes, at most 1024 are allowed\r\n";
    let name = "n".repeat(1025);
    client.send(resp(&["CLIENT", "SETNAME", &name]));
    client.expect(error);
    client.send(resp(&["HELLO", "3", "SETNAME", &name]));
    client.expect(error);
    harness.stop();
}

#[test]
fn commands_are_described_a_bounded_number_at_a_time() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    for which in ["DOCS", "INFO"] {
        let mut words = vec!["COMMAND", which];
        words.resize(2 + 1025, "client");
        client.send(resp(&words));
        client.expect("-ERR at most 1024 commands are described at a time\r\n");
    }
    harness.stop();
}

#[test]
fn no_pattern_keeps_everybody_waiting() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    let line = "-ERR the pattern is too complex: at most 256 bytes with '?' or a class may stand \
                between two '*'\r\n";
    let complex = format!("*{}b*", "?".repeat(300));
    for words in [
        &["PSUBSCRIBE", &complex][..],
        &["PUBSUB", "CHANNELS", &complex],
        &["KEYS", &complex],
        &["SCAN", "0", "MATCH", &complex],
        &["CONFIG", "GET", &complex],
        &["COMMAND", "LIST", "FILTERBY", "PATTERN", &complex],
    ] {
        client.send(resp(words));
        client.expect(line);
    }
    let long = "a".repeat(65_536);
    let error = "-ERR the channel's name has 65536 bytes, at most 65535 are allowed\r\n";
    for words in [&["SUBSCRIBE", &long][..], &["PSUBSCRIBE", &long], &["PUBLISH", &long, "m"]] {
        client.send(resp(words));
        client.expect(error);
    }
    // Searched for in linear time.
    let mut listener = connect(&harness);
    for n in 0..100 {
        let pattern = format!("*{}{n}*", "a".repeat(30_000));
        let (length, count) = (pattern.len(), n + 1);
        listener.send(resp(&["PSUBSCRIBE", &pattern]));
        listener
            .expect(format!("*3\r\n$10\r\npsubscribe\r\n${length}\r\n{pattern}\r\n:{count}\r\n"));
    }
    client.send(resp(&["PUBLISH", &long[..65_000], "m"]));
    client.expect(":0\r\n");
    harness.stop();
}

#[test]
fn a_message_for_very_many_takes_a_bounded_memory() {
    let settings = Settings { clients_bound: ClientsBound::Bytes(1 << 20), ..settings() };
    let harness = Harness::start_with(SimStorage::new(1), settings);
    let mut listeners: Vec<Client> = (0..20).map(|_| connect(&harness)).collect();
    for listener in &mut listeners {
        ask(listener, "SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    }
    let message = "m".repeat(100_000);
    let mut client = connect(&harness);
    client.send(resp(&["PUBLISH", "c", &message]));
    client.expect(":20\r\n");
    // The request itself counts while it is executed: the tenth may be reached or not.
    let (reached, others) = listeners.split_at_mut(8);
    let (_, closed) = others.split_at_mut(3);
    for listener in reached {
        listener.expect(format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$100000\r\n{message}\r\n"));
        ask(listener, "PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    }
    for listener in closed {
        listener.expect_end();
    }
    harness.stop();
}

#[test]
fn a_cold_key_that_is_named_over_and_over_is_read_once() {
    let harness = Harness::start();
    let mut client = connect(&harness);
    ask(&mut client, "SET k one", "+OK\r\n");
    client.send(resp(&["COMPACT"]));
    client.expect("+OK_COMPACTED\r\n");
    let storage: SimStorage = harness.storage.clone();
    harness.stop();
    storage.set_cold(true);
    let harness = Harness::start_with(storage, settings());
    let mut client = connect(&harness);
    let mut words = vec!["MGET"];
    words.resize(1 + 500, "k");
    client.send(resp(&words));
    client.expect(format!("*500\r\n{}", "$3\r\none\r\n".repeat(500)));
    assert_eq!(harness.connect().figure("deferred_reads"), 1);
    harness.stop();
}
