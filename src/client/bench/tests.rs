//! The whole load tester against fake servers.

use std::io::{BufRead, BufReader, Write};
use std::thread;
use std::time::Duration;

use super::*;
use crate::client::fake;

fn bench(port: u16, flags: &[&str]) -> (Exit, String, String) {
    let port = port.to_string();
    let options = Options::try_parse_from(["bench", "--port", &port].iter().chain(flags)).unwrap();
    options.check().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let credentials = options.auth.credentials().unwrap();
    let exit = run(&options, &credentials, &mut out, &mut err);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The column `name` of each line of comma-separated values.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let at = lines.next().unwrap().iter().position(|head| head == name).unwrap();
    lines.map(|fields| fields[at].clone()).collect()
}

#[test]
fn the_default_run_prints_a_table_and_what_was_measured() {
    let (exit, out, err) = bench(fake::store(), &["--requests", "500"]);
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""), "{out}");
    let lines: Vec<_> = out.lines().collect();
    let starts: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(starts[..5], ["operation", "SET", "GET", "DEL", ""]);
    assert!(lines[1].contains("10,500") && lines[2].contains("15,000"), "{out}");
    let expected = "text protocol, 1 connection, pipeline 1, 500 requests per test, 100-byte values, \
                    500 keys in order; durability: fsync.";
    assert!(lines[5].ends_with(expected), "{out}");
}

#[test]
fn every_request_is_counted_whatever_the_shape_of_the_load() {
    let shapes = [("1", "7", "0"), ("5", "1", "15"), ("7", "16", "100"), ("3", "500", "9000")];
    for (connections, pipeline, bytes) in shapes {
        let flags = ["--csv", "--requests", "1000", "--connections", connections];
        let more = ["--pipeline", pipeline, "--value-bytes", bytes, "--keys", "300"];
        let (exit, out, err) = bench(fake::store(), &[&flags[..], &more[..]].concat());
        assert_eq!((exit, err.as_str()), (Exit::Fine, ""), "{out}");
        assert_eq!(column(&out, "replies"), ["1000", "1000", "1000"]);
        assert_eq!(column(&out, "misses")[1], "0", "the same seed asks for the keys that were set");
    }
}

#[test]
fn time_ends_a_test_too() {
    let flags = ["--csv", "--seconds", "0.1", "--tests", "get", "--connections", "3"];
    let (exit, out, err) = bench(fake::store(), &flags);
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""));
    assert_eq!(column(&out, "replies"), column(&out, "misses"));
    let seconds: f64 = column(&out, "seconds")[0].parse().unwrap();
    assert!((0.1..5.0).contains(&seconds), "{seconds}");
}

#[test]
fn large_values_pass_in_both_directions_at_once() {
    let flags = ["--csv", "--requests", "200", "--pipeline", "50", "--value-bytes", "300000"];
    let (exit, out, err) = bench(fake::store(), &flags);
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""), "{out}");
}

/// A server that answers GET with another value and DEL as `del` says.
fn wrong(del: &'static str) -> u16 {
    fake::serve(move |_, mut stream| {
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            let reply = match line.split(' ').next() {
                Some("SET") => "OK\n",
                Some("GET") => "another value\n",
                _ => del,
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    })
}

#[test]
fn a_wrong_reply_fails_the_run() {
    let (exit, out, err) = bench(wrong("OK_DELETED\n"), &["-n", "20"]);
    assert_eq!((exit, err.as_str()), (Exit::Refused, "20 replies were wrong\n"));
    assert!(out.contains("GET: 20 WRONG REPLIES"), "{out}");
    assert!(
        out.contains("GET of key number 0 was answered with a value that is not its own"),
        "{out}"
    );
}

#[test]
fn an_error_reply_ends_the_run_without_a_table() {
    let (exit, out, err) = bench(wrong("ERR NOSPACE the disk is full\n"), &["-n", "20"]);
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert_eq!(err, "the server answered DEL with an error: ERR NOSPACE the disk is full\n");
    let refusing = fake::serve_resp(|_, _| b"-NOAUTH Authentication required.\r\n".to_vec());
    let (exit, out, err) = bench(refusing, &["--protocol", "resp", "-n", "20", "-q"]);
    assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
    assert!(err.contains("-NOAUTH Authentication required."), "{err}");
}

#[test]
fn each_connection_logs_in() {
    let port = fake::serve(|_, mut stream| {
        let mut is_in = false;
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            is_in |= line == "AUTH eve pw";
            let reply = match line.split(' ').next() {
                _ if !is_in => "ERR NOAUTH Authentication required.\n",
                Some("DEL") => "OK_DELETED\n",
                _ => "OK\n",
            };
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let flags = ["-n", "20", "-c", "3", "-t", "set,del", "-q", "--user", "eve"];
    let (exit, out, err) = bench(port, &[&flags[..], &["-a", "pw"]].concat());
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""), "{out}");
    assert!(out.starts_with("SET: ") && out.contains(" requests per second, p50="), "{out}");
    let (exit, _, err) = bench(port, &[&flags[..], &["-a", "no"]].concat());
    assert_eq!(exit, Exit::Unusable);
    assert!(err.starts_with("AUTH failed: "), "{err}");
    let (exit, _, err) = bench(fake::store(), &["-n", "20", "-c", "3"]);
    assert_eq!((exit, err.as_str()), (Exit::Fine, ""));
}

#[test]
fn no_server_or_a_silent_one_ends_with_a_message() {
    let (exit, _, err) = bench(fake::UNUSED_PORT, &[]);
    assert_eq!(exit, Exit::Unusable);
    assert!(err.contains("start the server with 'cargo run --release'"), "{err}");
    let silent = fake::serve(|_, stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let (exit, _, err) = bench(silent, &["--timeout", "0.1"]);
    assert_eq!(exit, Exit::Unusable);
    assert!(err.starts_with("no answer"), "{err}");
    let closing = fake::serve(|_, stream| drop(stream));
    let (exit, _, err) = bench(closing, &["--requests", "5"]);
    assert_eq!((exit, err.is_empty()), (Exit::Unusable, false));
}
