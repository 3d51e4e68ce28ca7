//! Which commands are answered, and which are remembered: CLIENT REPLY and the slow log.

use super::admin::{request, start};

#[test]
fn replies_are_left_out_on_demand() {
    let (harness, mut client) = start();
    let lines = ["CLIENT REPLY SKIP", "SET a 1", "GET a"].map(request).concat();
    client.send(lines);
    client.expect("$1\r\n1\r\n");
    let lines = [
        "CLIENT REPLY OFF",
        "SET a 2",
        "GET a",
        "NOSUCH",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY ON",
        "GET a",
    ];
    client.send(lines.map(request).concat());
    client.expect("+OK\r\n$1\r\n2\r\n");
    client.say("CLIENT REPLY maybe", "-ERR syntax error");
    harness.stop();
}

/// What a client that has sent all of these gets, as a real server answers (7.0.15).
#[test]
fn silence_ends_and_is_broken_as_by_redis() {
    let (harness, _) = start();
    let confirmed = |what: &str, count: usize| {
        format!("*3\r\n${}\r\n{what}\r\n$1\r\na\r\n:{count}\r\n", what.len())
    };
    let both = confirmed("subscribe", 1) + &confirmed("unsubscribe", 0);
    let message = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n";
    let pushed = confirmed("subscribe", 1).replace('*', ">") + message + "+OK\r\n";
    let cases: [(&str, &str); 15] = [
        ("CLIENT REPLY SKIP|CLIENT REPLY ON|PING", "+OK\r\n+PONG\r\n"),
        ("CLIENT REPLY SKIP|RESET|PING", "+PONG\r\n"),
        ("CLIENT REPLY OFF|RESET|PING", "+RESET\r\n+PONG\r\n"),
        ("CLIENT REPLY SKIP|CLIENT REPLY SKIP|PING|PING", "+PONG\r\n"),
        ("CLIENT REPLY SKIP|CLIENT REPLY BAD|PING", "+PONG\r\n"),
        ("CLIENT REPLY SKIP|NOSUCH|PING", "+PONG\r\n"),
        ("CLIENT REPLY SKIP|EXEC|PING", "+PONG\r\n"),
        ("CLIENT REPLY SKIP|KEYS *|PING", "+PONG\r\n"),
        ("CLIENT REPLY SKIP||PING", "+PONG\r\n"),
        ("CLIENT REPLY SKIP|MULTI|SET k 0|EXEC", "+QUEUED\r\n*1\r\n+OK\r\n"),
        (
            "MULTI|CLIENT REPLY SKIP|SET k 1|EXEC|PING|PING",
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n",
        ),
        (
            "CLIENT REPLY OFF|MULTI|SET k 0|CLIENT REPLY ON|SET k 1|EXEC|PING",
            "+OK\r\n+OK\r\n+PONG\r\n",
        ),
        ("CLIENT REPLY OFF|SUBSCRIBE a|UNSUBSCRIBE a|PING|RESET", &(both.clone() + "+RESET\r\n")),
        ("CLIENT REPLY OFF|MULTI|SET k 0|SUBSCRIBE a|EXEC|UNSUBSCRIBE a", &both),
        ("HELLO 3|CLIENT REPLY OFF|SUBSCRIBE a|PUBLISH a m|CLIENT REPLY ON", &pushed),
    ];
    for (commands, expected) in cases {
        let mut client = harness.connect_silently();
        let bytes =
            |words: &str| if words.is_empty() { b"*0\r\n".to_vec() } else { request(words) };
        client.send(commands.split('|').flat_map(bytes).collect::<Vec<u8>>());
        if commands.starts_with("HELLO") {
            while client.line().trim_end() != "*0" {}
        }
        client.expect(expected);
        client.send(request("CLIENT REPLY ON"));
        client.expect("+OK\r\n");
    }
    harness.stop();
}

#[test]
fn slow_commands_are_logged_without_passwords() {
    let (harness, mut client) = start();
    client.say("SLOWLOG LEN", ":0");
    client.say("CLIENT SETNAME me", "+OK");
    client.say("CONFIG SET slowlog-log-slower-than 0", "+OK");
    client.say("SLOWLOG RESET", "+OK");
    client.say("GET key", "$-1");
    client.say("AUTH default secret", "+OK");
    client.say("CONFIG SET slowlog-log-slower-than -1", "+OK");
    client.send(request("SLOWLOG GET"));
    let mut lines = Vec::new();
    client.send(request("ECHO end-of-it"));
    while lines.last().is_none_or(|line| line != "end-of-it") {
        lines.push(client.line().trim_end().to_owned());
    }
    let text = lines.join(" ");
    assert!(text.starts_with("*3 *6 :"), "{text}");
    assert!(text.contains(" *3 $4 AUTH $10 (redacted) $10 (redacted) $"), "{text}");
    assert!(text.contains(" *2 $3 GET $3 key $") && text.contains(" $2 me "), "{text}");
    assert!(!text.contains("secret"), "{text}");
    client.say("SLOWLOG GET 0", "*0");
    client.say("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1");
    client.say("SLOWLOG LEN", ":3");
    client.say("CONFIG SET slowlog-max-len 1", "+OK");
    client.say("SLOWLOG LEN", ":1");
    harness.stop();
}

#[test]
fn slow_commands_of_a_transaction_are_logged_one_by_one_and_failed_ones_too() {
    let (harness, mut client) = start();
    client.say("CONFIG SET slowlog-log-slower-than 0", "+OK");
    client.say("SLOWLOG RESET", "+OK");
    client.send(["MULTI", "SET k v", "INCR k", "AUTH secret"].map(request).concat());
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    client.send(request("EXEC"));
    client.expect("*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n");
    client.line();
    client.say("GETRANGE k x y", "-ERR value is not an integer or out of range");
    client.say("KEYS nothing", "*0");
    client.say("CONFIG SET slowlog-log-slower-than -1", "+OK");
    client.send(request("SLOWLOG GET -1"));
    client.send(request("ECHO end-of-it"));
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "end-of-it") {
        lines.push(client.line().trim_end().to_owned());
    }
    let text = lines.join(" ");
    let order = ["KEYS", "GETRANGE", "AUTH $10 (redacted)", "INCR", "SET $1 k", "MULTI", "SLOWLOG"];
    let places: Vec<_> = order.iter().map(|word| text.find(word)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {text}");
    assert!(
        text.starts_with("*7 ") && !text.contains("secret") && !text.contains("EXEC"),
        "{text}"
    );
    harness.stop();
}
