//! A database stays where it was opened, wherever the process goes and whatever becomes of its path.
//!
//! A working directory belongs to the whole process, so what changes it runs in a process of its own:
//! the test's program starts itself again, with the name of that one test.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chronos::engine::storage::Storage;
use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::{
    Engine, Environment, Offline, Options, Result, Scheduling, backup, check, repair, restore,
};

use crate::support::{State, apply, key, tiny};

/// Says to a process that it is the one that may change its working directory: where to.
const ROOM: &str = "CHRONOS_TEST_ROOM";

fn open(path: &Path) -> Engine {
    let options = tiny(Scheduling::Threads);
    Engine::open(Environment::disk(path).unwrap(), options).unwrap().0
}

/// Enough writes for flushes, merges and changes of log segments.
fn fill(engine: &Engine, state: &mut State, name: &str) {
    for number in 0..400 {
        let mut value = format!("{name} {number} ").into_bytes();
        value.resize(300, b'.');
        let write = (key(number % 90), Some(value));
        engine.put(&write.0, write.1.as_ref().unwrap()).unwrap();
        apply(state, &write);
    }
    engine.compact().unwrap();
    engine.put(b"last", name.as_bytes()).unwrap();
    state.insert(b"last".to_vec(), name.as_bytes().to_vec());
}

/// What is in the database at `path`, which must be whole.
#[track_caller]
fn held(path: &Path) -> State {
    let report = check(Arc::new(DiskStorage::new(path).unwrap()), &mut |_| ()).unwrap();
    assert!(report.is_whole(), "{}: {:?}", path.display(), report.findings);
    let engine = open(path);
    engine.scan(..).collect::<Result<_>>().unwrap()
}

fn in_a_process_of_its_own(test: &str, room: &Path) {
    let program = std::env::current_exe().unwrap();
    let name = format!("places::{test}");
    let arguments = [name.as_str(), "--exact", "--nocapture", "--test-threads=1"];
    let output = Command::new(program).args(arguments).env(ROOM, room).output().unwrap();
    let (out, err) = (output.stdout.escape_ascii(), output.stderr.escape_ascii());
    assert!(output.status.success(), "{out}\n{err}");
}

/// Opens `data` in one directory, and writes to it from another that has a `data` as well.
#[test]
fn another_working_directory_leads_to_no_other_database() {
    if let Some(room) = std::env::var_os(ROOM) {
        return wander(Path::new(&room));
    }
    let room = tempfile::tempdir().unwrap();
    in_a_process_of_its_own("another_working_directory_leads_to_no_other_database", room.path());
    let mut mine = State::new();
    let mut others = State::new();
    for (name, state) in [("mine", &mut mine), ("others", &mut others)] {
        fill(&open(&room.path().join("scratch")), state, name);
    }
    assert!(held(&room.path().join("a/data")) == mine);
    assert!(held(&room.path().join("b/data")) == others);
    // A path is meant from where it was said.
    assert!(held(&room.path().join("b/copy")) == mine);
    assert!(held(&room.path().join("a/restored")) == mine);
    let names = |path: &str| {
        let entries = fs::read_dir(room.path().join(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("a"), ["backup", "data", "restored"]);
    assert_eq!(names("b"), ["copy", "data"]);
}

fn wander(room: &Path) {
    let (a, b) = (room.join("a"), room.join("b"));
    let go_to = |path: &Path| std::env::set_current_dir(path).unwrap();
    for path in [&a, &b] {
        fs::create_dir(path).unwrap();
    }
    fill(&open(&b.join("data")), &mut State::new(), "others");
    go_to(&a);
    let environment = Environment::disk(Path::new("data")).unwrap();
    go_to(&b);
    let engine = Engine::open(environment, tiny(Scheduling::Threads)).unwrap().0;
    fill(&engine, &mut State::new(), "mine");
    go_to(room);
    fill(&engine, &mut State::new(), "mine");
    go_to(&b);
    let copying = engine.start_checkpoint(Path::new("copy"));
    go_to(room);
    copying.wait().unwrap();
    engine.close().unwrap();
    use_tools(&a, room);
}

/// What is done with a database that nobody has open, named in `from` and done in `to`.
fn use_tools(from: &Path, to: &Path) {
    std::env::set_current_dir(from).unwrap();
    let storage =
        |path: &str| -> Arc<dyn Storage> { Arc::new(DiskStorage::new(Path::new(path)).unwrap()) };
    let (data, copy, restored) = (storage("data"), storage("backup"), storage("restored"));
    let environment = Environment::disk(Path::new("data")).unwrap();
    std::env::set_current_dir(to).unwrap();
    assert!(check(Arc::clone(&data), &mut |_| ()).unwrap().is_whole());
    let mut offline = Offline::open(&environment).unwrap();
    assert!(offline.advance().unwrap());
    drop(offline);
    repair(&environment, Path::new("aside"), false, &mut |_| ()).unwrap();
    assert!(backup(&data, &copy, &mut |_| ()).unwrap().is_whole());
    assert!(restore(&copy, &restored, &mut |_| ()).unwrap().is_whole());
}

#[test]
fn a_directory_that_is_moved_and_replaced_while_it_is_open_takes_its_writes_along() {
    let room = tempfile::tempdir().unwrap();
    let (path, moved) = (room.path().join("data"), room.path().join("moved"));
    let (mut first, mut second) = (State::new(), State::new());
    let environment = Environment::disk(&path).unwrap();
    let open_again = || Engine::open(environment.clone(), Options::default()).unwrap().0;
    let one = open_again();
    fill(&one, &mut first, "first");
    fs::rename(&path, &moved).unwrap();
    // The same world looks its path up again: the directory that is there now.
    let two = open_again();
    fill(&two, &mut second, "second");
    fill(&one, &mut first, "first again");
    one.checkpoint(&room.path().join("copy")).unwrap();
    fill(&two, &mut second, "second again");
    one.close().unwrap();
    two.close().unwrap();
    drop((one, two));
    assert!(held(&moved) == first && held(&path) == second);
    assert!(held(&room.path().join("copy")) == first);
}

#[test]
fn a_checkpoint_of_a_table_that_is_a_link_has_the_table() {
    let room = tempfile::tempdir().unwrap();
    let (path, attic) = (room.path().join("data"), room.path().join("attic"));
    let mut state = State::new();
    let engine = open(&path);
    fill(&engine, &mut state, "here");
    engine.close().unwrap();
    drop(engine);
    fs::create_dir(&attic).unwrap();
    let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
    for name in names.filter(|name| name.to_str().unwrap().strip_suffix(".sst").is_some()) {
        fs::rename(path.join(&name), attic.join(&name)).unwrap();
        // By a path that means something in this directory alone.
        symlink(Path::new("../attic").join(&name), path.join(&name)).unwrap();
    }
    let engine = open(&path);
    let deeper = room.path().join("far/away/copy");
    engine.checkpoint(&deeper).unwrap();
    engine.close().unwrap();
    fs::remove_dir_all(&attic).unwrap();
    let is_link = |entry: fs::DirEntry| entry.file_type().unwrap().is_symlink();
    assert!(!fs::read_dir(&deeper).unwrap().any(|entry| is_link(entry.unwrap())));
    assert!(held(&deeper) == state);
}
