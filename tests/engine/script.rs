//! Golden scripts of the engine: `tests/scripts/engine/*.txt`, each on both storages.
//!
//! A line `> call` is executed; the lines that follow with `<` are what it must answer. Calls:
//!
//! | call | |
//! |---|---|
//! | `put K V`, `delete K`, `expire K MS V` | `MS`: the time at which it is gone |
//! | `put-if K absent V`, `put-if K version N V` | |
//! | `delete-range A B` | a bound is `-` where there is none, in every call |
//! | `batch put K V; delete K; expire K MS V; delete-range A B` | |
//! | `get K`, `scan A B`, `rscan A B`, `version K` | |
//! | `snapshot S`, `at S get K`, `at S scan A B`, `release S` | |
//! | `ingest K=V K=V ...`, `abandon K=V ...` | the second is not finished |
//! | `compact`, `compact A B`, `tables`, `ranges`, `seq`, `recovery`, `fill P N` | |
//! | `checkpoint D`, `open D` | goes on in directory `D` beside the database; `open .` is back |
//! | `time MS` | sets the clock, which stands still |
//!
//! `close` ends in order, `kill` without closing, `cut` by a power cut that loses all that was not
//! synced (on a real disk it is a kill). After each of them the next call opens the database anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chronos::engine::storage::Storage;
use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{
    Batch, Conditional, Engine, Environment, Expected, KeyRange, Record, Recovery, Result, Scan,
    Scheduling, Snapshot, WriteOptions,
};

use crate::support::{Standing, tiny, world};

/// What the clock shows when a script begins, in milliseconds.
const BEGIN_MS: u64 = 1_000;

/// Where a script's databases live.
enum Place<'a> {
    Sim(SimStorage),
    Disk(&'a Path),
}

impl Place<'_> {
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Place::Sim(_) => PathBuf::from(name),
            Place::Disk(path) => path.join(name),
        }
    }

    fn storage(&self, name: &str) -> Arc<dyn Storage> {
        match self {
            Place::Sim(storage) => Arc::new(storage.at(&self.path(name))),
            Place::Disk(_) => Arc::new(DiskStorage::new(&self.path(name)).unwrap()),
        }
    }

    fn crash(&mut self, survival: Option<Survival>) {
        if let Place::Sim(storage) = self {
            *storage = match survival {
                Some(survival) => storage.power_cut(survival),
                None => storage.kill(),
            };
        }
    }
}

/// A database that is opened when a call needs it.
struct Runner<'a> {
    place: Place<'a>,
    /// The directory in use.
    directory: String,
    clock: Arc<Standing>,
    opened: Option<(Engine, Recovery)>,
    snapshots: BTreeMap<String, Snapshot>,
}

fn done(outcome: Result<()>) -> String {
    outcome.map_or_else(|error| format!("error: {error}"), |()| "ok".into())
}

fn range(start: &str, end: &str) -> KeyRange {
    match (start, end) {
        ("-", "-") => KeyRange::all(),
        ("-", end) => KeyRange::from(..end),
        (start, "-") => KeyRange::from(start..),
        (start, end) => KeyRange::from(start..end),
    }
}

fn shown(value: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(value))
}

fn found(record: Result<Option<Record<'static>>>) -> String {
    match record {
        Ok(Some(record)) => shown(&record.value),
        Ok(None) => "none".into(),
        Err(error) => format!("error: {error}"),
    }
}

/// A line for each key.
fn listed(scan: Scan) -> String {
    let line = |entry: Result<(Vec<u8>, Vec<u8>)>| match entry {
        Ok((key, value)) => format!("{} {}\n", String::from_utf8_lossy(&key), shown(&value)),
        Err(error) => format!("error: {error}\n"),
    };
    let lines: String = scan.map(line).collect();
    if lines.is_empty() { "nothing".into() } else { lines }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

/// Adds a write to a batch: calls that write are batches of one.
fn add(batch: &mut Batch, call: &str) {
    match call.trim().splitn(4, ' ').collect::<Vec<_>>()[..] {
        ["expire", key, ms, value] => {
            batch.put_expiring(key.as_bytes(), value.as_bytes(), number(ms));
        }
        ["delete-range", a, b] => _ = batch.delete_range(range(a, b)),
        ["delete", key] => _ = batch.delete(key.as_bytes()),
        ["delete"] => _ = batch.delete(b""),
        _ => match call.trim().splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["put", key, value] => _ = batch.put(key.as_bytes(), value.as_bytes()),
            ["put", key] => _ = batch.put(key.as_bytes(), b""),
            ref other => panic!("no such write: {other:?}"),
        },
    }
}

impl Runner<'_> {
    fn open(&mut self) -> &(Engine, Recovery) {
        let (place, clock) = (&self.place, Arc::clone(&self.clock));
        self.opened.get_or_insert_with(|| {
            let storage = place.storage(&self.directory);
            let environment = Environment { storage, clock, ..world(SimStorage::new(0), 1) };
            Engine::open(environment, tiny(Scheduling::Manual)).unwrap()
        })
    }

    fn call(&mut self, call: &str) -> String {
        let (name, rest) = call.split_once(' ').unwrap_or((call, ""));
        match name {
            "close" => {
                let outcome = self.open().0.close();
                self.leave();
                outcome.map_or_else(|error| error.to_string(), |()| "closed".into())
            }
            "kill" => self.crash(None),
            "cut" => self.crash(Some(Survival::Nothing)),
            "open" => {
                self.leave();
                self.directory = rest.into();
                "ok".into()
            }
            "time" => {
                self.clock.set(number(rest));
                "ok".into()
            }
            "snapshot" => {
                let snapshot = self.open().0.snapshot();
                self.snapshots.insert(rest.into(), snapshot);
                "ok".into()
            }
            "release" => self.snapshots.remove(rest).map_or("none", |_| "ok").into(),
            "at" => self.look_back(rest),
            _ => self.ask(name, rest),
        }
    }

    fn leave(&mut self) {
        self.snapshots.clear();
        self.opened = None;
    }

    fn crash(&mut self, survival: Option<Survival>) -> String {
        self.leave();
        self.place.crash(survival);
        "down".into()
    }

    fn look_back(&mut self, call: &str) -> String {
        match call.split(' ').collect::<Vec<_>>()[..] {
            [name, "get", key] => found(self.snapshots[name].get_record(key.as_bytes())),
            [name, "scan", a, b] => listed(self.snapshots[name].scan(range(a, b))),
            [name, "rscan", a, b] => listed(self.snapshots[name].scan(range(a, b)).reversed()),
            ref other => panic!("no such look at a snapshot: {other:?}"),
        }
    }

    fn ask(&mut self, name: &str, rest: &str) -> String {
        match name {
            "put" | "delete" | "expire" | "delete-range" => self.write(&format!("{name} {rest}")),
            "batch" => self.write(rest),
            "put-if" => self.put_if(rest),
            "ingest" => self.ingest(rest, true),
            "abandon" => self.ingest(rest, false),
            "checkpoint" => {
                let path = self.place.path(rest);
                done(self.open().0.checkpoint(&path))
            }
            _ => self.look(name, &rest.split(' ').collect::<Vec<_>>()),
        }
    }

    fn write(&mut self, calls: &str) -> String {
        let mut batch = Batch::new();
        calls.split(';').for_each(|call| add(&mut batch, call));
        done(self.open().0.write(&batch, WriteOptions::default()))
    }

    fn put_if(&mut self, call: &str) -> String {
        let (key, call) = call.split_once(' ').unwrap();
        let (expected, value) = match call.split_once(' ').unwrap() {
            ("absent", value) => (Expected::Absent, value),
            (_, call) => {
                let (version, value) = call.split_once(' ').unwrap();
                (Expected::Version(number(version)), value)
            }
        };
        match self.open().0.put_if(key.as_bytes(), value.as_bytes(), expected) {
            Ok(Conditional::Written { version }) => format!("written as version {version}"),
            Ok(Conditional::Conflict { current }) => {
                let current =
                    current.map(|r| format!("version {}, {}", r.version, shown(&r.value)));
                format!("conflict: {}", current.unwrap_or("none".into()))
            }
            Err(error) => format!("error: {error}"),
        }
    }

    fn ingest(&mut self, entries: &str, finished: bool) -> String {
        let mut ingest = self.open().0.ingest();
        for entry in entries.split(' ') {
            let (key, value) = entry.split_once('=').unwrap();
            if let Err(error) = ingest.put(key.as_bytes(), value.as_bytes()) {
                return format!("error: {error}");
            }
        }
        if finished { done(ingest.finish()) } else { "ok".into() }
    }

    fn look(&mut self, name: &str, words: &[&str]) -> String {
        let (engine, recovery) = self.open();
        match (name, words) {
            ("fill", [prefix, count]) => {
                let put = |n| engine.put(format!("{prefix}{n}").as_bytes(), &[b'.'; 1000]);
                done((0..number(count)).try_for_each(put))
            }
            ("get", [key]) => found(engine.get_record(key.as_bytes())),
            ("version", [key]) => match engine.get_record(key.as_bytes()).unwrap() {
                Some(Record { version, expires_ms: Some(ms), .. }) => {
                    format!("{version}, until {ms}")
                }
                Some(record) => record.version.to_string(),
                None => "none".into(),
            },
            ("scan", [a, b]) => listed(engine.scan(range(a, b))),
            ("rscan", [a, b]) => listed(engine.scan(range(a, b)).reversed()),
            ("compact", [""]) => done(engine.compact()),
            ("compact", [a, b]) => done(engine.compact_range(range(a, b))),
            ("tables", _) => {
                let levels = engine.stats().levels;
                let entries: u64 = levels.iter().map(|level| level.entries).sum();
                format!("L0 {}, L6 {}, {entries} entries", levels[0].tables, levels[6].tables)
            }
            ("ranges", _) => engine.stats().range_deletes.to_string(),
            ("recovery", _) => format!("{} writes, {} tables", recovery.writes, recovery.tables),
            ("seq", _) => format!("{} of {}", engine.durable_seq(), engine.stats().last_seq),
            other => panic!("no such call: {other:?}"),
        }
    }
}

fn run(path: &Path, script: &str, place: Place<'_>) {
    let clock = Standing::at(BEGIN_MS);
    let (directory, snapshots) = (".".into(), BTreeMap::new());
    let mut runner = Runner { place, directory, clock, opened: None, snapshots };
    let mut answers: Vec<String> = Vec::new();
    for (number, line) in (1..).zip(script.lines()) {
        let at = format!("{}:{number}", path.display());
        if let Some(call) = line.strip_prefix("> ") {
            assert_eq!(answers, Vec::<String>::new(), "{at}: an answer before it is not expected");
            answers = runner.call(call).lines().map(str::to_owned).collect();
        } else if let Some(expected) = line.strip_prefix("< ") {
            assert!(!answers.is_empty(), "{at}: no more answers");
            assert_eq!(answers.remove(0), expected, "{at}");
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{at}: neither call nor answer");
        }
    }
    assert_eq!(answers, Vec::<String>::new(), "{}: at its end", path.display());
}

#[test]
fn scripts_run_alike_on_both_storages() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/engine");
    let mut count = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        run(&path, &script, Place::Sim(SimStorage::new(1)));
        let disk = tempfile::tempdir().unwrap();
        run(&path, &script, Place::Disk(disk.path()));
        count += 1;
    }
    assert!(count >= 10, "{count} scripts found");
}
