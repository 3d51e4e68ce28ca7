//! Golden scripts of the engine: `tests/scripts/engine/*.txt`, each on both storages.
//!
//! A line `> call` is executed; the lines that follow with `<` are what it must answer. `close` ends
//! in order, `kill` without closing, `cut` by a power cut that loses all that was not synced (on a
//! real disk it is a kill). After each of them the next call opens the database anew.

use std::path::Path;
use std::sync::Arc;

use chronos::engine::storage::Storage;
use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Engine, Environment, Recovery, Scheduling};

use crate::support::{tiny, world};

/// Where a script's database lives.
enum Place<'a> {
    Sim(SimStorage),
    Disk(&'a Path),
}

impl Place<'_> {
    fn environment(&self) -> Environment {
        let storage: Arc<dyn Storage> = match self {
            Place::Sim(storage) => Arc::new(storage.clone()),
            Place::Disk(path) => Arc::new(DiskStorage::new(path).unwrap()),
        };
        Environment { storage, ..world(SimStorage::new(0), 1) }
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
    opened: Option<(Engine, Recovery)>,
}

impl Runner<'_> {
    fn open(&mut self) -> &(Engine, Recovery) {
        let place = &self.place;
        self.opened.get_or_insert_with(|| {
            Engine::open(place.environment(), tiny(Scheduling::Manual)).unwrap()
        })
    }

    fn call(&mut self, call: &str) -> String {
        let words: Vec<&str> = call.splitn(3, ' ').collect();
        match words[..] {
            ["close"] => {
                let outcome = self.open().0.close();
                self.opened = None;
                outcome.map_or_else(|error| error.to_string(), |()| "closed".into())
            }
            ["kill"] => self.crash(None),
            ["cut"] => self.crash(Some(Survival::Nothing)),
            _ => self.ask(&words),
        }
    }

    fn crash(&mut self, survival: Option<Survival>) -> String {
        self.opened = None;
        self.place.crash(survival);
        "down".into()
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let (engine, recovery) = self.open();
        let done = |outcome: chronos::engine::Result<()>| {
            outcome.map_or_else(|error| format!("error: {error}"), |()| "ok".into())
        };
        match *words {
            ["put", key, value] => done(engine.put(key.as_bytes(), value.as_bytes())),
            ["put", key] => done(engine.put(key.as_bytes(), b"")),
            ["fill", prefix, count] => {
                let all = 0..count.parse::<u32>().unwrap();
                let put = |n| engine.put(format!("{prefix}{n}").as_bytes(), &[b'.'; 1000]);
                done(all.into_iter().try_for_each(put))
            }
            ["delete", key] => done(engine.delete(key.as_bytes())),
            ["get", key] => match engine.get(key.as_bytes()) {
                Ok(Some(value)) => format!("{:?}", String::from_utf8_lossy(&value)),
                Ok(None) => "none".into(),
                Err(error) => format!("error: {error}"),
            },
            ["compact"] => done(engine.compact()),
            ["tables"] => {
                let levels = engine.stats().levels;
                let entries: u64 = levels.iter().map(|level| level.entries).sum();
                format!("L0 {}, L6 {}, {entries} entries", levels[0].tables, levels[6].tables)
            }
            ["recovery"] => format!("{} writes, {} tables", recovery.writes, recovery.tables),
            ["seq"] => format!("{} of {}", engine.durable_seq(), engine.stats().last_seq),
            ref other => panic!("no such call: {other:?}"),
        }
    }
}

fn run(path: &Path, script: &str, place: Place<'_>) {
    let mut runner = Runner { place, opened: None };
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
    assert!(count >= 4, "{count} scripts found");
}
