//! A real data set through the real programs: every package that the system's package index knows,
//! one JSON object each, loaded by the client and read back after each kind of end. Where there is
//! no such index, records of the same shape stand in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Map, Value};

use crate::program::Program;
use chronos::engine::storage::sim::Random;

/// Fewer records are no data set.
const ENOUGH: usize = 60_000;

/// Key and JSON text of every record.
type Records = BTreeMap<String, String>;

/// The packages that `apt-cache` knows, if there are enough.
fn packages() -> Option<Records> {
    let output = Command::new("apt-cache").arg("dumpavail").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let records: Records = text.split("\n\n").filter_map(package).collect();
    (records.len() >= ENOUGH).then_some(records)
}

/// Key and record of one stanza: `Field: value` lines, where a line that begins with a space goes on
/// with the value before it.
fn package(stanza: &str) -> Option<(String, String)> {
    let mut fields = Map::new();
    let mut last = String::new();
    for line in stanza.lines().filter(|line| !line.is_empty()) {
        if line.starts_with(' ') {
            let Some(Value::String(value)) = fields.get_mut(&last) else { return None };
            value.push('\n');
            value.push_str(line.trim_start());
        } else {
            let (name, value) = line.split_once(':')?;
            last = name.to_ascii_lowercase();
            fields.insert(last.clone(), value.trim().into());
        }
    }
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    let key =
        format!("package:{}:{}:{}", field("package")?, field("architecture")?, field("version")?);
    Some((key, Value::Object(fields).to_string()))
}

/// Records that look like packages.
fn invented() -> Records {
    let mut random = Random(1);
    let mut words = |count: u64| {
        (0..count).fold(String::new(), |mut text, _| {
            let _ = write!(text, "wörd{} \"{}\"\t", random.below(5_000), random.below(9));
            text
        })
    };
    let stanza = |n: usize| {
        let (depends, description) = (words(12), words(30));
        package(&format!(
            "Package: invented-{n}\nVersion: 1.{n}-1\nArchitecture: all\nDepends: {depends}\n\
             Description: {description}\n and a second line\nSize: {n}\n"
        ))
    };
    (0..ENOUGH).filter_map(stanza).collect()
}

/// SET commands for records, in an order of their own: as they come, tables would not overlap, and
/// merging them would be nothing.
fn loading(records: &Records, random: &mut Random) -> String {
    let mut order: Vec<_> = records.iter().map(|record| (random.next_u64(), record)).collect();
    order.sort_unstable();
    order.iter().flat_map(|(_, (key, record))| ["SET ", key, " ", record, "\n"]).collect()
}

/// Runs a script through the client and returns its output.
fn client(program: &Program, dir: &Path, script: &str) -> Vec<u8> {
    // From a file to a file: neither side can wait for this test.
    let (input, output) = (dir.join("script"), dir.join("replies"));
    std::fs::write(&input, script).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--host", "127.0.0.1", "--port", &program.address.port().to_string()]);
    command.stdin(File::open(input).unwrap()).stdout(File::create(&output).unwrap());
    let end = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
    std::fs::read(output).unwrap()
}

/// Reads everything back.
fn compare(program: &Program, dir: &Path, records: &Records) {
    let script: String = records.keys().flat_map(|key| ["GET ", key, "\n"]).collect();
    let replies = client(program, dir, &script);
    let mut replies = replies.split(|byte| *byte == b'\n');
    for (key, record) in records {
        let reply = replies.next().unwrap();
        assert!(reply == record.as_bytes(), "{key}: {}", String::from_utf8_lossy(reply));
    }
    assert_eq!(replies.next(), Some(&b""[..]));
    assert_eq!(replies.next(), None);
}

/// Prints how long a step took.
fn timed<T>(what: &str, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = step();
    eprintln!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    outcome
}

#[test]
fn a_real_data_set_survives_every_end() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let real = packages();
    let source = if real.is_some() { "of the package index" } else { "invented" };
    let records = real.unwrap_or_else(invented);
    let bytes: usize = records.iter().map(|(key, record)| key.len() + record.len()).sum();
    eprintln!("{} records {source}, {bytes} bytes", records.len());
    let start = || Program::start(&data_dir);
    let same = |program: &Program| compare(program, dir.path(), &records);

    let mut random = Random(1);
    let program = start();
    timed("loaded", || {
        let replies = client(&program, dir.path(), &loading(&records, &mut random));
        assert!(replies == b"OK\n".repeat(records.len()));
    });
    program.kill();
    let program = timed("started after kill -9", start);
    timed("equal after kill -9", || same(&program));
    // Loading again gives the stop something to save, and COMPACT something to drop.
    timed("loaded again", || client(&program, dir.path(), &loading(&records, &mut random)));
    timed("stopped by Ctrl-C", || program.interrupt());
    let program = timed("started after Ctrl-C", start);
    timed("equal after Ctrl-C", || same(&program));
    timed("loaded again", || client(&program, dir.path(), &loading(&records, &mut random)));
    let merges = program.connect().figure("compactions");
    timed("compacted", || {
        assert_eq!(client(&program, dir.path(), "COMPACT\n"), b"OK_COMPACTED\n");
    });
    assert!(program.connect().figure("compactions") > merges);
    timed("equal after COMPACT", || same(&program));
    program.interrupt();
    let program = start();
    timed("equal after COMPACT and Ctrl-C", || same(&program));
    program.interrupt();
}

#[test]
fn stanzas_become_records() {
    let stanza =
        "Package: a\nVersion: 1:2-3\nArchitecture: all\nTag: x,\n y\nDescription: say \"a\"";
    let (key, record) = package(stanza).unwrap();
    assert_eq!(key, "package:a:all:1:2-3");
    let expected = r#"{"architecture":"all","description":"say \"a\"","package":"a","tag":"x,\ny","version":"1:2-3"}"#;
    assert_eq!(record, expected);
    assert_eq!(package(" goes on with nothing"), None);
    assert_eq!(package(""), None);
    assert_eq!(invented().len(), ENOUGH);
}
