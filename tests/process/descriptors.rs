//! A process that may open few files works with databases of many: what is open is closed for what is
//! needed.

use std::path::Path;
use std::process::{Command, Stdio};

use chronos::engine::{Compression, Engine, Environment, Options};

use crate::directory::{assert_unchanged, contents, files};
use crate::program::Program;
use crate::tools::text;

/// Tables of the sample, at least.
const TABLES: usize = 400;

/// The program, allowed to open 64 files.
fn with_few_descriptors(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_chronos")]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A database of many small tables: a string at each key, as the server keeps them.
fn sample(dir: &Path) {
    let none = Compression::None;
    let options = Options {
        table_bytes: 1 << 10,
        compression: none,
        bottom_compression: none,
        ..Options::default()
    };
    let (engine, _) = Engine::open(Environment::disk(dir).unwrap(), options).unwrap();
    let mut ingest = engine.ingest();
    for number in 0..TABLES {
        let mut value = vec![b'.'; 1_100];
        value[0] = 0;
        ingest.put(format!("\0key{number:04}").as_bytes(), &value).unwrap();
    }
    ingest.finish().unwrap();
    engine.close().unwrap();
}

fn ends_well(arguments: &[&str]) -> Vec<u8> {
    let output = with_few_descriptors(arguments).output().unwrap();
    let said = (output.stdout.escape_ascii().to_string(), output.stderr.escape_ascii());
    let end = said.0.len().saturating_sub(600);
    assert!(output.status.success(), "{arguments:?}: {} {}", &said.0[end..], said.1);
    output.stdout
}

#[test]
fn many_tables_need_few_descriptors() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name);
    let data = path("data");
    sample(&data);
    assert!(files(&data, ".sst").len() >= TABLES);
    let before = contents(&data);
    let dump = ends_well(&["dump", text(&data)]);
    assert_eq!(String::from_utf8(dump).unwrap().lines().count(), TABLES + 2);
    ends_well(&["check", text(&data)]);
    ends_well(&["recover", text(&data), "--dry-run"]);
    assert_unchanged(&before, &contents(&data));
    ends_well(&["backup", text(&data), text(&path("backup"))]);
    ends_well(&["restore", text(&path("backup")), text(&path("restored"))]);

    let arguments = ["--listen", "127.0.0.1:0", "--data-dir", text(&data)];
    let server = Program::spawn(&mut with_few_descriptors(&arguments));
    let mut client = server.connect();
    let value = ".".repeat(1_099);
    for number in 0..TABLES {
        client.ask(&format!("GET key{number:04}"), &value);
    }
    client.ask("SET key0007 new", "OK");
    client.ask("COMPACT", "OK_COMPACTED");
    client.ask("GET key0007", "new");
    client.ask("SAVE", "OK");
    server.interrupt();
    assert!(files(&path("data.checkpoint"), ".sst").len() >= TABLES / 2);
    ends_well(&["check", text(&path("data.checkpoint"))]);
}
