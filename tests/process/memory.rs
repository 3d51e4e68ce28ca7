//! What INFO says of memory, on an empty server and on one with data: monitoring raises alarms on it.

use std::fmt::Write;

use crate::client::Client;
use crate::program::Program;

/// A number of INFO, whole or not.
fn number(client: &mut Client, name: &str) -> f64 {
    let text = client.text("INFO memory");
    let prefix = format!("{name}:");
    let found = text.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[track_caller]
fn expect_sane_ratio(client: &mut Client) {
    let ratio = number(client, "mem_fragmentation_ratio");
    let text = client.text("INFO memory");
    assert!((0.8..3.0).contains(&ratio), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_what_is_really_used_on_an_empty_server_and_on_a_full_one() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut client = program.connect();
    client.ask("PING", "PONG");
    expect_sane_ratio(&mut client);
    let empty = number(&mut client, "used_memory");
    assert!(empty >= number(&mut client, "used_memory_startup") && empty > 1e6, "{empty}");
    let value = "x".repeat(1000);
    for part in 0..40 {
        let mut requests = String::new();
        for number in part * 1000..(part + 1) * 1000 {
            writeln!(requests, "SET k{number} {value}").unwrap();
        }
        client.send(requests);
        client.expect("OK\n".repeat(1000));
        expect_sane_ratio(&mut client);
    }
    let used = number(&mut client, "used_memory");
    assert!(used > empty && used <= number(&mut client, "used_memory_rss"), "{empty} {used}");
    assert!(number(&mut client, "used_memory_dataset") > 0.0);
}
