//! The operators' tools as the real program: exit codes, words, and what they leave alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::directory::{assert_unchanged, contents, copy, files};
use crate::program::Program;

/// Runs a tool to its end.
pub(crate) fn tool(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronos"));
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a tool that must end with `code`; returns what it said on stdout, or on stderr if that is
/// nothing.
#[track_caller]
pub(crate) fn ends(code: i32, arguments: &[&str]) -> String {
    let output = tool(arguments);
    let (stdout, stderr) = (output.stdout, output.stderr);
    let said = if stdout.is_empty() { stderr } else { stdout };
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data directory with a table and no server.
fn sample(dir: &Path) {
    let program = Program::start(dir);
    let mut client = program.connect();
    (0..300).for_each(|n| client.ask(&format!("SET key{n:03} {n:060}"), "OK"));
    client.ask("COMPACT", "OK_COMPACTED");
    program.interrupt();
}

fn flip(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[offset] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[test]
fn check_tells_whole_from_damaged_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    sample(&data);
    fs::remove_file(data.join("LOCK")).unwrap();
    let before = contents(&data);
    assert!(ends(0, &["check", text(&data)]).contains("whole: "));
    assert_unchanged(&before, &contents(&data));
    let table = files(&data, ".sst").remove(0);
    flip(&table, 100);
    let before = contents(&data);
    let said = ends(1, &["check", text(&data)]);
    let name = table.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(&format!("damaged: {name} is damaged at offset 0")), "{said}");
    assert!(said.contains("keys from \"\\x00key000\" up to \"\\x00key"), "{said}");
    assert!(said.contains("DAMAGED in 1 place"), "{said}");
    assert_unchanged(&before, &contents(&data));
    assert!(ends(2, &["check", text(&dir.path().join("none"))]).contains("cannot check"));
    ends(2, &["check"]);
    ends(2, &["unknown"]);
}

#[test]
fn a_directory_with_a_server_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let data = text(dir.path());
    let outside = tempfile::tempdir().unwrap();
    let (target, dump) = (dir.path().join("target"), outside.path().join("dump"));
    fs::write(&dump, "chronos-dump 1\nend 0 crc32c=").unwrap();
    for arguments in [
        &["check", data][..],
        &["recover", data],
        &["dump", data],
        &["load", data, "--input", text(&dump)],
        &["backup", data, text(&target)],
    ] {
        let said = ends(2, arguments);
        assert!(said.contains("in use by another process"), "{arguments:?}: {said}");
        assert!(said.contains("chronos backup --from HOST:PORT TARGET"), "{said}");
    }
    assert!(!target.exists());
    program.interrupt();
}

#[test]
fn recover_keeps_the_rest_and_says_what_it_gave_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    sample(&data);
    assert!(ends(0, &["recover", text(&data)]).contains("nothing to do"));
    let table = files(&data, ".sst").remove(0);
    let name = table.file_name().unwrap().to_str().unwrap().to_owned();
    flip(&table, 100);
    let damaged = fs::read(&table).unwrap();
    let before = contents(&data);
    let planned = ends(0, &["recover", text(&data), "--dry-run"]);
    assert!(planned.contains("would be given up: keys from \"\\x00key000\""), "{planned}");
    assert_unchanged(&before, &contents(&data));
    let said = ends(0, &["recover", text(&data)]);
    assert!(said.contains("given up: keys from \"\\x00key000\""), "{said}");
    assert!(said.contains("recovered: the database is whole"), "{said}");
    assert_eq!(fs::read(data.join("aside-1").join(name)).unwrap(), damaged);
    let report = fs::read_to_string(data.join("aside-1/report.txt")).unwrap();
    assert!(said.starts_with(&report) && report.contains("given up: keys from"), "{report}");
    ends(0, &["check", text(&data)]);
    let program = Program::start(&data);
    let mut client = program.connect();
    client.ask("GET key000", "NULL");
    client.ask("GET key299", &format!("{:060}", 299));
    program.interrupt();
}

#[test]
fn recover_refuses_what_it_cannot_prove() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    sample(&data);
    let manifest = fs::read_to_string(data.join("CURRENT")).unwrap();
    flip(&data.join(manifest.split(' ').next().unwrap()), 4096 + 73);
    let before = contents(&data);
    let said = ends(1, &["recover", text(&data)]);
    assert!(said.contains("refused") && said.contains("restore a backup"), "{said}");
    assert_unchanged(&before, &contents(&data));
}

#[test]
fn what_is_no_dump_creates_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let (other, file) = (dir.path().join("other"), dir.path().join("no dump"));
    fs::write(&file, b"SET key value\n").unwrap();
    let said = ends(2, &["load", text(&other), "--input", text(&file)]);
    assert!(said.contains("line 1: a dump begins with") && !other.exists(), "{said}");
}

#[test]
fn a_record_that_has_expired_hides_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("dump"));
    sample(&data);
    let records = "chronos-dump 1\n\\x00key007\t\\x00old\t1\n";
    let end = format!("end 1 crc32c={:08x}\n", crc32c::crc32c(records.as_bytes()));
    fs::write(&file, format!("{records}{end}")).unwrap();
    let said = ends(0, &["load", text(&data), "--input", text(&file)]);
    assert!(said.contains("loaded 0 records; 1 more had expired"), "{said}");
    let dump = String::from_utf8(tool(&["dump", text(&data)]).stdout).unwrap();
    assert!(dump.contains("key006") && !dump.contains("key007") && dump.contains("key008"));
}

#[test]
fn a_dump_loads_into_another_server_and_a_cut_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other) = (dir.path().join("data"), dir.path().join("other"));
    sample(&data);
    let file = dir.path().join("dump");
    ends(0, &["dump", text(&data), "--output", text(&file)]);
    let whole = fs::read(&file).unwrap();
    assert_eq!(tool(&["dump", text(&data)]).stdout, whole, "stdout gets the same");
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let said = ends(2, &["load", text(&other), "--input", text(&file)]);
    assert!(said.contains("line ") && said.contains("nothing was loaded"), "{said}");
    fs::write(&file, &whole).unwrap();
    assert!(
        ends(0, &["load", text(&other), "--input", text(&file)]).contains("loaded 300 records")
    );
    assert_eq!(tool(&["dump", text(&other)]).stdout, whole);
    let program = Program::start(&other);
    program.connect().ask("GET key123", &format!("{:060}", 123));
    program.interrupt();
}

#[test]
fn a_backup_returns_and_what_was_not_verified_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let data = path("data");
    sample(&data);
    let said = ends(0, &["backup", text(&data), text(&path("backup"))]);
    assert!(said.contains("verified backup"), "{said}");
    ends(2, &["backup", text(&data), text(&path("backup"))]);
    std::thread::sleep(std::time::Duration::from_millis(10));
    let old = ends(1, &["backup", "--max-age", "0s", text(&data), text(&path("none"))]);
    assert!(old.contains("too old: ") && old.contains("is no backup"), "{old}");
    assert!(!path("none").exists());
    ends(0, &["restore", text(&path("backup")), text(&path("restored"))]);
    let dump = |dir: &Path| tool(&["dump", text(dir)]).stdout;
    assert_eq!(dump(&path("restored")), dump(&data));
    assert!(ends(2, &["restore", text(&path("backup")), text(&data)]).contains("empty"));

    let held = "it holds the state of 20";
    assert!(said.contains(held) && said.contains(" ago), up to sequence 300"), "{said}");
    assert!(ends(0, &["check", text(&path("backup"))]).contains(held));

    copy(&path("backup"), &path("unmarked"));
    fs::remove_file(path("unmarked").join("BACKUP")).unwrap();
    let said = ends(2, &["restore", text(&path("unmarked")), text(&path("no"))]);
    assert!(said.contains("no verified backup"), "{said}");

    flip(&files(&data, ".sst").remove(0), 1_000);
    let said = ends(1, &["backup", text(&data), text(&path("bad"))]);
    assert!(said.contains("is no backup") && said.contains("damaged: "), "{said}");
    ends(2, &["restore", text(&path("bad")), text(&path("no"))]);
    assert!(!path("no").exists());
}
