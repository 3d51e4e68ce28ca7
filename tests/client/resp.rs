//! The RESP mode against a server whose replies the test chooses.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::fake;
use super::program::{assert_ran, client, pipe, run, spawn};

/// A server that answers what the first word of a command asks for. Each command is reported.
fn server() -> (u16, Receiver<String>) {
    let (commands, heard) = channel();
    let port = fake::serve_resp(move |_, words| {
        commands.send(words.join(" ")).unwrap();
        reply(words)
    });
    (port, heard)
}

fn reply(words: &[String]) -> Vec<u8> {
    let reply: &[u8] = match words[0].as_str() {
        "HELLO" => b"%1\r\n+proto\r\n:3\r\n",
        "GET" => b"$5\r\na\x1b\"\r\n\r\n",
        "MAP" => b"%2\r\n$1\r\na\r\n*2\r\n:1\r\n,0.5\r\n$1\r\nb\r\n~1\r\n#t\r\n",
        "NIL" => b"_\r\n",
        "PUSHED" => b">2\r\n+a\r\n+b\r\n:1\r\n",
        "FAIL" => b"-ERR no\r\n",
        "GARBAGE" => b"HTTP/1.1 400 Bad Request\r\n",
        "CLOSE" => b"",
        "SUBSCRIBE" => b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
        "SCAN" if words[1] == "0" => b"*2\r\n$1\r\n7\r\n*2\r\n$1\r\na\r\n$3\r\nb c\r\n",
        "SCAN" => b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\n\xff\r\n",
        "TYPE" => b"+string\r\n",
        "STRLEN" if words[1] == "b c" => b":9\r\n",
        "STRLEN" | "DBSIZE" => b":3\r\n",
        "ECHO" => return format!("${}\r\n{}\r\n", words[1].len(), words[1]).into_bytes(),
        _ => b"+OK\r\n",
    };
    reply.to_vec()
}

fn resp<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["--resp"].iter().chain(arguments).copied().collect()
}

#[test]
fn a_command_is_sent_as_it_is_and_printed_as_asked() {
    let (port, heard) = server();
    assert_ran(&run(port, &resp(&["GET", "a b", ""])), 0, b"a\x1b\"\r\n\n", "");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["HELLO 3", "GET a b "]);
    let formats: [(&str, &[u8]); 5] = [
        ("--raw", b"a 1\n0.5\nb (true)\n"),
        (
            "--no-raw",
            b"1# \"a\" => \n   1) (integer) 1\n   2) (double) 0.5\n2# \"b\" => 1~ (true)\n",
        ),
        ("--csv", b"\"a\",1,0.5,\"b\",true\n"),
        ("--json", b"{\"a\":[1,0.5],\"b\":[true]}\n"),
        ("--quoted-json", b"{\"a\":[1,0.5],\"b\":[true]}\n"),
    ];
    for (format, expected) in formats {
        assert_ran(&run(port, &resp(&[format, "MAP"])), 0, expected, "");
    }
    assert_ran(&run(port, &resp(&["NIL"])), 0, b"\n", "");
    assert_ran(&run(port, &resp(&["PUSHED"])), 0, b"1\n", "");
    assert_ran(&run(port, &resp(&["-r", "3", "-i", "0.01", "PUSHED"])), 0, b"1\n1\n1\n", "");
}

#[test]
fn exit_codes_tell_refusal_from_failure() {
    let (port, heard) = server();
    assert_ran(&run(port, &resp(&["FAIL"])), 1, b"ERR no\n\n", "");
    assert_ran(&run(port, &resp(&["--no-raw", "FAIL"])), 1, b"(error) ERR no\n", "");
    assert_ran(&run(port, &resp(&["GARBAGE"])), 2, b"", "not RESP ('HTTP/1.1");
    heard.try_iter().count();
    assert_ran(&run(port, &resp(&["CLOSE"])), 2, b"", "the outcome of that command is unknown");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["HELLO 3", "CLOSE"], "it is sent once");
    assert_ran(&run(fake::UNUSED_PORT, &resp(&["PING"])), 2, b"", "nothing listens there");
    assert_ran(&run(port, &resp(&["--raw", "--json", "PING"])), 2, b"", "cannot be used with");
    assert_ran(&run(port, &["--raw", "PUSHED"]), 0, b"1\n", "");
}

#[test]
fn a_uri_says_where_and_who() {
    let (port, heard) = server();
    let uri = format!("redis://eve:p%40w@127.0.0.1:{port}/3");
    let output = Command::new(env!("CARGO_BIN_EXE_client")).args(["-u", &uri, "PING"]).output();
    assert_ran(&output.unwrap(), 0, b"OK\n", "REDISCLI_AUTH hides it");
    let expected = ["AUTH eve p@w", "HELLO 3", "SELECT 3", "PING"];
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_login_needs_no_password_on_the_command_line() {
    let (port, heard) = server();
    let output = client(port)
        .args(resp(&["--user", "eve", "-n", "2", "-2", "PING"]))
        .env("REDISCLI_AUTH", "secret")
        .output()
        .unwrap();
    assert_ran(&output, 0, b"OK\n", "");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["AUTH eve secret", "SELECT 2", "PING"]);
    assert_ran(&run(port, &resp(&["-a", "pw", "PING"])), 0, b"OK\n", "REDISCLI_AUTH hides it");
    assert_ran(&run(port, &resp(&["--pass", "pw", "--no-auth-warning", "PING"])), 0, b"OK\n", "");
}

#[test]
fn standard_input_can_be_an_argument() {
    let (port, heard) = server();
    assert_ran(&pipe(port, &resp(&["-x", "SET", "k"]), b"a\r\nb\n"), 0, b"OK\n", "");
    assert_ran(&pipe(port, &resp(&["-X", "@", "SET", "@", "k@", "@"]), b"v"), 0, b"OK\n", "");
    let sent: Vec<_> = heard.try_iter().filter(|line| line.starts_with("SET")).collect();
    assert_eq!(sent, ["SET k a\r\nb\n", "SET v k@ v"]);
}

#[test]
fn a_script_runs_line_by_line() {
    let (port, heard) = server();
    let script =
        b"SET 'a b' \"\\x41\\n\"\n# remark\n2 PUSHED\nFAIL\nSET \"open\nGET k\nquit\nnever\n";
    let output = pipe(port, &resp(&[]), script);
    let expected = b"OK\n1\n1\nERR no\n\na\x1b\"\r\n\n";
    assert_ran(&output, 1, expected, "line 5: the quotes are not balanced");
    let sent = heard.try_iter().skip(1).collect::<Vec<_>>();
    assert_eq!(sent, ["SET a b A\n", "PUSHED", "PUSHED", "FAIL", "GET k"]);
    let broken = pipe(port, &resp(&[]), b"PUSHED\nCLOSE\nPUSHED\n");
    assert_ran(&broken, 2, b"1\n", "the outcome of that command is unknown");
}

#[test]
fn mass_insertion_counts_replies() {
    let (port, _heard) = server();
    let input = b"*1\r\n$4\r\nNOOP\r\n*1\r\n$4\r\nFAIL\r\n*1\r\n$6\r\nPUSHED\r\n".repeat(1000);
    let output = pipe(port, &resp(&["--pipe"]), &input);
    let lines = "All data transferred. Waiting for the last reply...\n\
                 Last reply received from server.\nerrors: 1000, replies: 3000\n";
    assert_ran(&output, 1, lines.as_bytes(), "ERR no");
    let output = pipe(port, &resp(&["--pipe"]), b"");
    assert_ran(&output, 0, lines.replace("1000", "0").replace("3000", "0").as_bytes(), "");
    let broken = b"*1\r\n$6\r\nPUSHED\r\n*1\r\n$5\r\nCLOSE\r\n";
    let said =
        "1 replies had come, and whether what was sent after that was carried out is unknown";
    let closed = pipe(port, &resp(&["--pipe"]), broken);
    assert_eq!(closed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&closed.stderr).contains(said));
}

#[test]
fn mass_insertion_gives_up_a_silent_server() {
    let port = fake::serve(|_, stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let output = pipe(port, &resp(&["-2", "--pipe", "--pipe-timeout", "1"]), b"*1\r\n$1\r\nA\r\n");
    let lines = "All data transferred. Waiting for the last reply...\nerrors: 1, replies: 0\n";
    assert_ran(&output, 1, lines.as_bytes(), "No replies for 1 seconds: exiting.");
}

#[test]
fn a_scan_follows_the_cursor() {
    let (port, heard) = server();
    let flags = resp(&["--scan", "--pattern", "a*", "--count", "5", "--type", "string"]);
    assert_ran(&run(port, &flags), 0, b"a\nb c\n\xff\n", "");
    let options = "MATCH a* COUNT 5 TYPE string";
    let expected = ["HELLO 3".to_owned(), format!("SCAN 0 {options}"), format!("SCAN 7 {options}")];
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), expected);
    assert_ran(&run(port, &resp(&["--no-raw", "--scan"])), 0, b"\"a\"\n\"b c\"\n\"\\xff\"\n", "");
    let refusing = fake::serve_resp(|_, _| b"-ERR no SCAN here\r\n".to_vec());
    assert_ran(&run(refusing, &resp(&["--scan"])), 1, b"", "ERR no SCAN here");
}

#[test]
fn big_keys_are_found() {
    let (port, _heard) = server();
    let output = run(port, &resp(&["--bigkeys"]));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for line in [
        "[33.33%] Biggest string found so far '\"a\"' with 3 bytes\n",
        "[66.67%] Biggest string found so far '\"b c\"' with 9 bytes\n",
        "Sampled 3 keys in the keyspace!\n",
        "Biggest string found '\"b c\"' has 9 bytes\n",
        "3 strings with 15 bytes (100.00% of keys, avg size 5.00)\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn messages_are_printed_as_they_come_until_ctrl_c() {
    let (port, _heard) = server();
    let (mut child, writer) = spawn(port, &resp(&["SUBSCRIBE", "c"]), Vec::new());
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    for _ in 0..6 {
        stdout.read_line(&mut lines).unwrap();
    }
    assert_eq!(lines, "subscribe\nc\n1\nmessage\nc\nhi\n");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut lines).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    writer.join().unwrap();
}
