//! Short runs of those parts of the fault campaign that need the real server.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::process::Command;

/// Runs cases of a part; returns its last line, and what it told on the way.
#[track_caller]
fn run(part: &str, cases: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_campaign"))
        .args(["--server", env!("CARGO_BIN_EXE_chronos"), "--seconds", "120"])
        .args(["--part", part, "--cases", cases])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (line, told) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{line}{told}");
    assert!(line.contains("lost 0"), "{line}");
    (line, told)
}

/// The number in front of `what`.
#[track_caller]
fn figure(text: &str, what: &str) -> u64 {
    let (before, _) = text.split_once(&format!(" {what}")).unwrap();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn nothing_acknowledged_or_shown_is_lost_to_a_kill() {
    let (line, told) = run("kills", "4");
    assert!(figure(&line, "kills") >= 50, "{line}");
    assert!(figure(&line, "operations checked") > 1_000, "{line}");
    let hits = figure(&told, "flushes") > 0 && figure(&told, "merges") > 0;
    assert!(hits, "the load is too light to flush and merge: {told}");
}
