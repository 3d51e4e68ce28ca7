//! `docs/protocol.md` says what the code does.

use chronos::engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use chronos::parser::table::COMMANDS;

const DOCS: &str = include_str!("../../docs/protocol.md");
const TRANSCRIPT: &str = include_str!("../scripts/protocol/transcript.txt");

/// A number with commas between thousands.
fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

#[test]
fn commands_are_documented_as_they_are_used() {
    let (_, rows) = DOCS.split_once("| request | reply |").unwrap();
    let rows: Vec<&str> = rows.lines().skip(2).take_while(|row| row.starts_with("| `")).collect();
    assert!(rows.len() >= 10);
    for row in rows {
        let usage = row[3..].split('`').next().unwrap();
        let name = usage.split(' ').next().unwrap();
        let command = COMMANDS.iter().find(|command| command.name == name).unwrap();
        assert_eq!(usage, format!("{name} {}", command.line_arguments()).trim());
    }
}

#[test]
fn limits_are_the_real_ones() {
    let (key, value) = (MAX_KEY_BYTES - 1, MAX_VALUE_BYTES - 1);
    for bytes in [key, value, key + value + 1024] {
        assert!(DOCS.contains(&format!("| {} bytes", with_commas(bytes))), "{bytes}");
    }
}

#[test]
fn the_documented_transcript_is_the_tested_one() {
    let lines = TRANSCRIPT.lines().filter(|line| !line.starts_with('#'));
    let spoken: Vec<&str> = lines.map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(DOCS.contains(&spoken.join("\n")));
}
