//! Failing calls in ingestions and checkpoints, and too many open files: all others are failed by the
//! campaign's `errors`. What fails in a checkpoint's directory or in an ingestion that was not finished is no
//! trouble of the database.

use std::io;
use std::path::Path;
use std::time::Duration;

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use chronos::engine::{Engine, Environment, Error, Health, Options, Result, Scheduling};

use crate::hooked::{Call, Hooked};
use crate::support::{Got, Random, Standing, in_time, key, tiny, world};

/// When survivors are looked at, in milliseconds.
const LATER_MS: u64 = 1_000_000;

/// What a reader sees, in order.
type Seen = Vec<(Vec<u8>, Vec<u8>)>;

/// What `engine` shows, the same in both directions.
fn seen(engine: &Engine) -> Result<Seen> {
    let forward: Seen = engine.scan(..).collect::<Result<_>>()?;
    let mut backward: Seen = engine.scan(..).reversed().collect::<Result<_>>()?;
    backward.reverse();
    assert!(forward == backward, "the directions differ");
    Ok(forward)
}

/// Sizes so small that a few steps flush, change segments and merge.
fn options() -> Options {
    Options {
        memory_bytes: 64 << 10,
        wal_segment_bytes: 48 << 10,
        table_bytes: 4 << 10,
        ..tiny(Scheduling::Manual)
    }
}

/// Opens what survived.
fn open_later(storage: impl Storage) -> Result<Engine> {
    let clock = Standing::at(LATER_MS);
    Ok(Engine::open(Environment { clock, ..world(storage, 77) }, options())?.0)
}

/// Whether `path` holds no database.
fn is_no_database(storage: &SimStorage, path: &Path) -> bool {
    !storage.at(path).list().unwrap().iter().any(|name| name == "CURRENT")
}

const KINDS: [FaultKind; 4] =
    [FaultKind::Io, FaultKind::NoSpace, FaultKind::ShortWrite, FaultKind::SyncLosesData];

/// EMFILE.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// A database in tables of several levels, with nothing left to do.
fn settled(storage: &SimStorage) -> Engine {
    let (engine, _) = Engine::open(world(storage.clone(), 1), options()).unwrap();
    let mut random = Random(3);
    for number in 0..60 {
        engine.put(&key(number), &vec![b'.'; random.below(400) as usize]).unwrap();
    }
    engine.compact().unwrap();
    engine.delete_range(key(10)..key(12)).unwrap();
    // Flushes and prepares all that a checkpoint would.
    engine.checkpoint(Path::new("first")).unwrap();
    engine.run_background();
    engine
}

/// The database is well: it shows the same, and takes writes that survive.
fn is_unharmed(engine: &Engine, before: &Seen, what: &str) {
    assert!(matches!(engine.health(), Health::Ok), "{what}: {:?}", engine.health());
    assert!(seen(engine).unwrap() == *before, "{what}");
    engine.put(b"again", b"it goes on").unwrap();
    engine.checkpoint(Path::new("again")).unwrap_or_else(|error| panic!("{what}: {error}"));
    engine.delete(b"again").unwrap();
    assert!(seen(engine).unwrap() == *before, "{what}");
}

/// Fails call after call of a checkpoint, as `plan` does, until none is hit.
fn fail_each_call_of_a_checkpoint(plan: impl Fn(&SimStorage, u64), is_once: bool, least: u64) {
    let path = Path::new("copy");
    for call in 1.. {
        let what = format!("call {call} of the checkpoint");
        let storage = SimStorage::new(call);
        let engine = settled(&storage);
        let before = seen(&engine).unwrap();
        plan(&storage, call);
        let outcome = engine.checkpoint(path);
        storage.clear_faults();
        is_unharmed(&engine, &before, &what);
        match outcome {
            Ok(()) => assert!(open_later(storage.at(path)).is_ok(), "{what}"),
            // The last step of all may have been done and not told.
            Err(_) if !is_no_database(&storage, path) => {
                assert!(seen(&open_later(storage.at(path)).unwrap()).unwrap() == before, "{what}");
            }
            Err(_) => {
                if is_once {
                    let left = storage.at(path).list().unwrap();
                    assert!(left.iter().all(|name| name == "LOCK"), "{what}: {left:?}");
                    engine.checkpoint(path).unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert!(seen(&open_later(storage.at(path)).unwrap()).unwrap() == before);
                    continue;
                }
                let opened = open_later(storage.at(path));
                assert!(opened.map_or(true, |copy| seen(&copy).unwrap().is_empty()), "{what}");
                continue;
            }
        }
        drop(engine);
        let engine = open_later(storage.power_cut(Survival::Nothing)).unwrap();
        assert!(seen(&engine).unwrap() == before, "{what}");
        if call > least {
            return;
        }
    }
}

#[test]
fn a_checkpoint_that_fails_is_no_trouble_of_the_database() {
    for kind in KINDS {
        for times in [Times::Once, Times::Forever] {
            let calls = |storage: &SimStorage, call| {
                storage.fail_call(storage.call_count() + call, kind, times);
            };
            fail_each_call_of_a_checkpoint(calls, times == Times::Once, 20);
        }
    }
    let looks = |storage: &SimStorage, call| {
        storage.fail_read(storage.read_count() + call, FaultKind::Io, Times::Once);
    };
    fail_each_call_of_a_checkpoint(looks, true, 2);
}

#[test]
fn a_checkpoint_whose_directory_cannot_be_used_is_refused() {
    let storage = SimStorage::new(1);
    let hooked = Hooked::new(storage);
    let (engine, _) = Engine::open(world(hooked.clone(), 1), options()).unwrap();
    engine.put(b"key", b"value").unwrap();
    let before = seen(&engine).unwrap();
    let refusals = [
        (Call::Lock, io::ErrorKind::PermissionDenied),
        (Call::List, io::ErrorKind::PermissionDenied),
        (Call::Link, io::ErrorKind::ReadOnlyFilesystem),
    ];
    for (refused, kind) in refusals {
        hooked.set(move |call, _| match call {
            call if call == refused => Err(kind.into()),
            _ => Ok(()),
        });
        let outcome = engine.checkpoint(Path::new(&format!("copy-{refused:?}")));
        assert!(matches!(outcome, Err(Error::Io { .. })), "{refused:?}: {outcome:?}");
        hooked.clear();
        assert!(matches!(engine.health(), Health::Ok), "{refused:?}");
        assert!(seen(&engine).unwrap() == before);
    }
    hooked.set(|call, _| match call {
        Call::Lock => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    });
    assert!(matches!(engine.checkpoint(Path::new("copy")), Err(Error::Locked)));
    hooked.clear();
    is_unharmed(&engine, &before, "refused");
}

#[test]
fn a_checkpoint_copies_what_it_may_not_link() {
    let storage = SimStorage::new(1);
    let hooked = Hooked::new(storage.clone());
    let (engine, _) = Engine::open(world(hooked.clone(), 1), options()).unwrap();
    engine.put(b"key", b"value").unwrap();
    let kinds =
        [io::ErrorKind::PermissionDenied, io::ErrorKind::TooManyLinks, io::ErrorKind::Unsupported];
    for kind in kinds {
        hooked.set(move |call, _| match call {
            Call::Link => Err(kind.into()),
            _ => Ok(()),
        });
        let path = format!("copy, {kind}");
        engine.checkpoint(Path::new(&path)).unwrap();
        let (copy, _) = Engine::open(world(storage.at(Path::new(&path)), 1), options()).unwrap();
        assert!(seen(&copy).unwrap() == seen(&engine).unwrap(), "{kind}");
    }
}

#[test]
fn what_fails_of_the_database_in_a_checkpoint_is_its_own_trouble() {
    for (kind, name) in [(FaultKind::Io, "FAILED"), (FaultKind::NoSpace, "NOSPACE")] {
        let storage = SimStorage::new(1);
        let engine = settled(&storage);
        engine.put(b"key", b"in memory").unwrap();
        // The first thing that it does is to flush.
        storage.fail_call(storage.call_count() + 1, kind, Times::Once);
        assert!(engine.checkpoint(Path::new("copy")).is_err());
        assert_eq!(engine.health().name(), name);
        assert_eq!(engine.got(b"key"), Some(b"in memory".to_vec()));
        assert!(is_no_database(&storage, Path::new("copy")));
    }
}

/// Ingests some tables' worth.
fn ingest(engine: &Engine) -> Result<()> {
    let mut ingest = engine.ingest();
    let mut random = Random(4);
    for number in 20..60 {
        let value: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
        ingest.put(&key(number), &value)?;
    }
    ingest.finish()
}

/// What a settled database shows with it.
fn with_ingestion() -> Seen {
    let engine = settled(&SimStorage::new(1));
    ingest(&engine).unwrap();
    seen(&engine).unwrap()
}

/// Fails one call of an ingestion; whether it was hit.
fn fail_call_of_an_ingestion(call: u64, kind: FaultKind, times: Times) -> bool {
    let what = format!("{kind:?} at call {call} of the ingestion, {times:?}");
    let storage = SimStorage::new(call);
    let engine = settled(&storage);
    let before = seen(&engine).unwrap();
    storage.fail_call(storage.call_count() + call, kind, times);
    let outcome = ingest(&engine);
    storage.clear_faults();
    let shown = seen(&engine).unwrap();
    let Err(error) = outcome else { return false };
    assert!(shown == before, "{what}: a part of it is shown");
    let is_well = matches!(engine.health(), Health::Ok);
    if is_well {
        engine.put(b"after", b"").unwrap();
    }
    drop(engine);
    let engine = open_later(storage.power_cut(Survival::Everything)).unwrap();
    let mut found = seen(&engine).unwrap();
    found.retain(|(key, _)| key != b"after");
    let is_whole = found == with_ingestion();
    // Where the manifest or the log failed, it may be there by now, as a whole.
    let may_be_there = !is_well;
    assert!(found == before || may_be_there && is_whole, "{what}: {error}");
    true
}

#[test]
fn an_ingestion_that_fails_leaves_nothing_visible() {
    for kind in KINDS {
        for times in [Times::Once, Times::Forever] {
            let hit = (1..).take_while(|call| fail_call_of_an_ingestion(*call, kind, times));
            assert!(hit.count() >= 10, "{kind:?}");
        }
    }
}

#[test]
fn an_ingestion_that_failed_is_over() {
    let storage = SimStorage::new(1);
    let engine = settled(&storage);
    let before = seen(&engine).unwrap();
    let mut ingest = engine.ingest();
    ingest.put(b"a", &vec![1; 20_000]).unwrap();
    storage.fail_call(storage.call_count() + 1, FaultKind::NoSpace, Times::Forever);
    // The table is full: the next key needs another.
    assert!(ingest.put(b"b", b"").unwrap_err().is_no_space());
    storage.clear_faults();
    assert!(ingest.put(b"c", b"").unwrap_err().is_no_space(), "a key would be missing");
    assert!(ingest.finish().unwrap_err().is_no_space());
    is_unharmed(&engine, &before, "after the ingestion");
}

#[test]
fn an_ingestion_after_the_end_touches_nothing() {
    let storage = SimStorage::new(1);
    let engine = settled(&storage);
    let mut ingest = engine.ingest();
    let mut begun = engine.ingest();
    begun.put(b"a", b"").unwrap();
    engine.close().unwrap();
    let other = open_later(storage.clone()).unwrap();
    let before = seen(&other).unwrap();
    let calls = storage.call_count();
    assert!(matches!(ingest.put(b"a", b""), Err(Error::Closed)));
    assert_eq!(storage.call_count(), calls, "the directory is another's");
    assert!(begun.finish().is_err());
    other.put(b"again", b"").unwrap();
    other.compact().unwrap();
    other.delete(b"again").unwrap();
    assert!(seen(&other).unwrap() == before);
}

/// A storage on which tables cannot be opened or created while it is told so.
fn without_descriptors(hooked: &Hooked) {
    hooked.set(|call, name| match call {
        Call::Open | Call::Create if name.contains(".sst") => {
            Err(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES))
        }
        _ => Ok(()),
    });
}

#[test]
fn too_many_open_files_make_reads_fail_and_nothing_worse() {
    let hooked = Hooked::new(SimStorage::new(1));
    // Blocks are found in no cache: the smallest budget, and more tables than may be open.
    let few = Options { max_open_tables: 1, memory_bytes: 64 << 10, ..options() };
    let (engine, _) = Engine::open(world(hooked.clone(), 1), few).unwrap();
    let mut random = Random(9);
    for number in 0..200 {
        let value: Vec<u8> = (0..600).map(|_| random.below(256) as u8).collect();
        engine.put(&key(number), &value).unwrap();
    }
    engine.compact().unwrap();
    assert!(engine.stats().levels[6].tables > 10);
    engine.put(b"in memory", b"it is").unwrap();
    without_descriptors(&hooked);
    let outcomes: Vec<_> = (0..200).map(|number| engine.get(&key(number))).collect();
    let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(refused > 100, "{refused}");
    for outcome in outcomes {
        match outcome {
            Ok(value) => assert!(value.is_some(), "an error that is told as a miss"),
            Err(error) => assert!(error.is_out_of_descriptors(), "{error}"),
        }
    }
    let scanned: Result<Seen> = engine.scan(..).collect();
    assert!(scanned.is_err_and(|error| error.is_out_of_descriptors()));
    assert_eq!(engine.got(b"in memory"), Some(b"it is".to_vec()));
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
    // Neither a flush nor a merge nor a copy goes through, and none is the end.
    assert!(engine.compact().is_err_and(|error| error.is_out_of_descriptors()));
    assert!(engine.checkpoint(Path::new("copy")).is_err());
    assert!(ingest(&engine).is_err());
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
    hooked.clear();
    assert!((0..200).all(|number| engine.got(&key(number)).is_some()));
    engine.compact().unwrap();
    assert!(ingest(&engine).is_ok());
    assert_eq!(seen(&engine).unwrap().len(), 201);
}

#[test]
fn work_that_lacked_descriptors_is_done_once_there_are_some() {
    let hooked = Hooked::new(SimStorage::new(1));
    let (engine, _) = Engine::open(world(hooked.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    without_descriptors(&hooked);
    let writer = engine.clone();
    let writing = std::thread::spawn(move || {
        (0..120).try_for_each(|number| writer.put(&key(number), &[7; 900]))
    });
    // More than memory holds: it waits for a flush that cannot be done.
    while engine.stats().immutable_memtables < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
    hooked.clear();
    in_time("the writer", || writing.join()).unwrap().unwrap();
    assert!((0..120).all(|number| engine.got(&key(number)) == Some(vec![7; 900])));
    assert!(matches!(engine.health(), Health::Ok));
    engine.close().unwrap();
}

/// A lookup that finds no descriptor has not found damage: nothing is given up for it.
#[test]
fn a_lack_of_descriptors_is_no_damage() {
    let hooked = Hooked::new(SimStorage::new(1));
    let options = Options { max_open_tables: 1, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(hooked.clone(), 1), options).unwrap();
    for number in 0..200 {
        engine.put(&key(number), &[7; 400]).unwrap();
    }
    engine.compact().unwrap();
    without_descriptors(&hooked);
    let refused = (0..200).filter(|number| engine.get(&key(*number)).is_err()).count();
    assert!(refused > 0, "nothing had to be opened");
    assert!(engine.scan(..).any(|entry| entry.is_err()));
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
    hooked.clear();
    assert!((0..200).all(|number| engine.got(&key(number)).is_some()));
}
