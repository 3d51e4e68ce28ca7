//! What the program refuses to start with: one sentence, an exit code, and nothing changed on disk.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::directory::{assert_unchanged, contents, contents_at_rest, copy, files};
use crate::program::{Program, command, command_anywhere, refused};

/// Starts a server on `dir` that must refuse, and change nothing.
#[track_caller]
fn refuses(dir: &Path) -> String {
    let before = contents(dir);
    let error = refused(&command_anywhere(dir).output().unwrap());
    assert_unchanged(&before, &contents(dir));
    error
}

/// A database with a table, a log with sealed writes, and no server.
fn sample(dir: &Path) -> PathBuf {
    let data_dir = dir.join("data");
    let program = Program::start(&data_dir);
    let mut client = program.connect();
    (0..200).for_each(|n| client.ask(&format!("SET key{n} {n}"), "OK"));
    client.ask("COMPACT", "OK_COMPACTED");
    (0..200).for_each(|n| client.ask(&format!("SET key{n} again {n}"), "OK"));
    let start = Instant::now();
    while !is_sealed(&data_dir, "again 199") {
        assert!(start.elapsed() < PATIENCE, "the log is not sealed");
        std::thread::sleep(Duration::from_millis(10));
    }
    program.kill();
    data_dir
}

/// Whether a group follows the one with this text: only then is damage to it known from a torn write.
fn is_sealed(data_dir: &Path, text: &str) -> bool {
    files(data_dir, ".wal").iter().any(|file| {
        let bytes = fs::read(file).unwrap();
        let next = position(&bytes, text).map(|offset| (offset / 4096 + 1) * 4096);
        next.is_some_and(|next| bytes[next..next + 4] != [0; 4])
    })
}

fn flip(file: &Path, offset: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[offset] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

/// Copies the database, damages the copy, and returns it with the sentence that refuses it.
fn damaged(data_dir: &Path, what: &str, damage: impl FnOnce(&Path) -> PathBuf) -> String {
    let dir = data_dir.with_file_name(what);
    copy(data_dir, &dir);
    let file = damage(&dir);
    let error = refuses(&dir);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name), "{what}: {name} is not in {error}");
    assert!(error.contains("restore that file"), "{what}: {error}");
    error
}

/// Where a text stands.
fn position(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = sample(dir.path());
    let last_byte = |file: &Path| fs::metadata(file).unwrap().len() as usize - 1;
    damaged(&data_dir, "table-footer", |dir| {
        let table = files(dir, ".sst").remove(0);
        flip(&table, last_byte(&table) - 10);
        table
    });
    damaged(&data_dir, "table-cut", |dir| {
        let table = files(dir, ".sst").remove(0);
        let bytes = fs::read(&table).unwrap();
        fs::write(&table, &bytes[..bytes.len() - 1]).unwrap();
        table
    });
    for text in ["again 0", "again 100", "again 199"] {
        let error = damaged(&data_dir, text, |dir| {
            let found = files(dir, ".wal").into_iter().find_map(|file| {
                position(&fs::read(&file).unwrap(), text).map(|offset| (file, offset))
            });
            let (log, offset) = found.unwrap();
            flip(&log, offset);
            log
        });
        assert!(error.contains("offset"), "{error}");
    }
    damaged(&data_dir, "manifest", |dir| {
        let manifest = fs::read_to_string(dir.join("CURRENT")).unwrap();
        let manifest = dir.join(manifest.split(' ').next().unwrap());
        // In the first edit, behind the header block and the group's header.
        flip(&manifest, 4096 + 70);
        manifest
    });
    damaged(&data_dir, "current", |dir| {
        flip(&dir.join("CURRENT"), 10);
        dir.join("CURRENT")
    });
    // The undamaged database opens.
    Program::start(&data_dir).connect().ask("GET key199", "again 199");
}

#[test]
fn damage_within_a_table_is_an_error_for_its_keys_and_never_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = sample(dir.path());
    Program::start(&data_dir).interrupt();
    for table in files(&data_dir, ".sst") {
        flip(&table, 20);
    }
    let program = Program::start(&data_dir);
    let mut client = program.connect();
    client.send("GET key0\n");
    let reply = client.line();
    assert!(reply.starts_with("ERR CORRUPT "), "{reply}");
    client.ask("SET key0 new", "OK");
    client.ask("GET key0", "new");
}

#[test]
fn a_taken_port_is_told_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = || {
        let error = refused(&command(&data_dir).args(["--listen", &address]).output().unwrap());
        assert!(error.contains(&address) && error.contains("choose another --listen"), "{error}");
    };
    refused();
    assert!(!data_dir.exists());
    Program::start(&data_dir).interrupt();
    let before = contents(&data_dir);
    refused();
    assert_unchanged(&before, &contents(&data_dir));
}

#[test]
fn a_directory_in_use_is_told_and_its_server_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = Program::start(dir.path());
    let mut client = first.connect();
    client.ask("SET k v", "OK");
    let before = contents_at_rest(dir.path());
    let error = refuses(dir.path());
    assert!(error.contains("in use by another process"), "{error}");
    assert!(error.contains("choose another --data-dir"), "{error}");
    std::thread::sleep(Duration::from_millis(100));
    assert_unchanged(&before, &contents(dir.path()));
    client.ask("GET k", "v");
    first.interrupt();
}

#[test]
fn a_directory_that_cannot_be_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/chronos")] {
        let error = refused(&command_anywhere(&path).output().unwrap());
        assert!(error.contains("cannot open the data in"), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains("choose another --data-dir"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
