//! What a hostile review found: each test here failed once.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chronos::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use chronos::engine::storage::{File, Storage};
use chronos::engine::{
    Batch, Conditional, Durability, Engine, Error, Expected, Health, Options, Scheduling,
    WriteDurability, WriteOptions,
};

use crate::support::{Got, PATIENCE, in_time, key, open, tiny, world};

const UNSYNCED: WriteOptions = WriteOptions { durability: WriteDurability::Unsynced };

/// A storage that has no descriptors left to open files with, or holds back the log's syncs, once it
/// is told so.
#[derive(Clone)]
struct Scarce {
    storage: SimStorage,
    exhausted: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
}

impl Scarce {
    fn new() -> Self {
        Scarce { storage: SimStorage::new(1), exhausted: Arc::default(), held: Arc::default() }
    }

    fn wrap(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let held = Arc::clone(&self.held);
        if name.contains(".wal") { Arc::new(HeldFile { file, held }) } else { file }
    }
}

struct HeldFile {
    file: Arc<dyn File>,
    held: Arc<AtomicBool>,
}

impl File for HeldFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.try_read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        while self.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Storage for Scarce {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.storage.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        /// EMFILE.
        const TOO_MANY_OPEN_FILES: i32 = 24;
        if self.exhausted.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES));
        }
        Ok(self.wrap(name, self.storage.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(name, self.storage.create(name)?))
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.storage.read_from_device(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.storage.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.storage.free_bytes()
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        self.storage.directory(path)
    }

    fn link(&self, name: &str, path: &Path) -> io::Result<()> {
        self.storage.link(name, path)
    }
}

/// A lookup that finds no descriptor has not found damage: nothing is given up for it.
#[test]
fn a_lack_of_descriptors_is_no_damage() {
    let storage = Scarce::new();
    let options = Options { max_open_tables: 1, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    for number in 0..200 {
        engine.put(&key(number), &[7; 400]).unwrap();
    }
    engine.compact().unwrap();
    storage.exhausted.store(true, Ordering::Relaxed);
    let refused = (0..200).filter(|number| engine.get(&key(*number)).is_err()).count();
    assert!(refused > 0, "nothing had to be opened");
    assert!(engine.scan(..).any(|entry| entry.is_err()));
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
    storage.exhausted.store(false, Ordering::Relaxed);
    assert!((0..200).all(|number| engine.got(&key(number)).is_some()));
}

/// What the files of `storage` take up, those that are open and have no name included.
fn used_bytes(storage: &SimStorage) -> u64 {
    const LARGE: u64 = 1 << 40;
    storage.set_capacity(Some(LARGE));
    LARGE - storage.free_bytes().unwrap()
}

/// The files of outputs that are given up must not live on as open files.
#[test]
fn a_merge_that_ran_out_of_room_gives_back_what_it_took() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    for number in 0..400 {
        engine.put(&key(number), &[number as u8; 400]).unwrap();
    }
    engine.compact().unwrap();
    (0..400).for_each(|number| engine.put(&key(number), &[1; 100]).unwrap());
    drop(engine);
    let engine = open(storage.clone(), 2).unwrap();
    let before = storage.list().unwrap().len();
    // Room for some outputs of the merge, not for all.
    storage.set_capacity(Some(used_bytes(&storage) + (40 << 10)));
    let free = storage.free_bytes().unwrap();
    let outcome = engine.compact();
    assert!(outcome.is_err(), "there is room for all of it");
    assert_eq!(storage.list().unwrap().len(), before);
    assert_eq!(storage.free_bytes().unwrap(), free);
}

/// What a reader kept alive is removed when it lets go: that may be the room that is lacking.
#[test]
fn what_a_scan_gives_free_ends_the_lack_of_space() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    for number in 0..600 {
        engine.put(&key(number), &[1; 400]).unwrap();
    }
    engine.compact().unwrap();
    let mut scan = engine.scan(..);
    assert!(scan.advance().unwrap());
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    storage.set_capacity(Some(0));
    let error = (0_u64..).find_map(|number| engine.put(&key(number), &[2; 900]).err());
    assert!(matches!(error, Some(Error::NoSpace)), "{error:?}");
    storage.set_capacity(Some(used_bytes(&storage)));
    engine.run_background();
    assert!(matches!(engine.health(), Health::NoSpace { .. }));
    drop(scan);
    engine.run_background();
    assert!(matches!(engine.health(), Health::Ok), "{:?}", engine.health());
}

/// The same while nothing else happens.
#[test]
fn what_a_scan_gives_free_is_removed_though_nothing_is_written() {
    let storage = SimStorage::new(1);
    let options = tiny(Scheduling::Threads);
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    for number in 0..200 {
        engine.put(&key(number), &[1; 400]).unwrap();
    }
    engine.compact().unwrap();
    let mut scan = engine.scan(..);
    assert!(scan.advance().unwrap());
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    let tables = || storage.list().unwrap().iter().filter(|name| name.contains(".sst")).count();
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(tables() > 0, "the scan needs them");
    drop(scan);
    let since = Instant::now();
    while tables() > 0 {
        assert!(since.elapsed() < PATIENCE, "{} tables are left", tables());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is ingested has a number that no later write gets, whatever the log lost.
#[test]
fn a_write_after_an_ingestion_is_newer_whatever_a_power_cut_took() {
    for durability in [Durability::Always, Durability::EverySecond, Durability::Os] {
        for written in [0_u64, 1, 100] {
            let storage = SimStorage::new(1);
            let options = Options { durability, ..tiny(Scheduling::Manual) };
            let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
            for number in 0..written {
                engine.put_with(&key(number), b"before", UNSYNCED).unwrap();
            }
            let mut ingest = engine.ingest();
            (0..9).for_each(|number| ingest.put(&key(number), b"ingested").unwrap());
            ingest.finish().unwrap();
            let ingested = engine.get_record(&key(3)).unwrap().unwrap().version;
            let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
            assert_eq!(engine.got(&key(3)), Some(b"ingested".to_vec()));
            for number in 0..9 {
                engine.put(&key(number), b"after").unwrap();
            }
            let what = format!("{durability:?}, {written} writes before");
            let versions: Vec<_> = (0..9)
                .map(|number| engine.get_record(&key(number)).unwrap().unwrap().version)
                .collect();
            assert!(!versions.contains(&ingested), "{what}: {ingested} of {versions:?}");
            let mut backward = engine.scan(key(0)..key(9)).reversed().map(|entry| entry.unwrap().1);
            assert!(backward.all(|value| value == b"after"), "{what}");
            engine.compact().unwrap();
            let read: Vec<_> = (0..9).filter_map(|number| engine.got(&key(number))).collect();
            assert_eq!(read, vec![b"after".to_vec(); 9], "{what}");
        }
    }
}

/// However full log and queue are, an ingestion finds a place.
#[test]
fn an_ingestion_gets_its_place_while_much_waits_to_be_committed() {
    for written in 40..70 {
        let options = Options { memory_bytes: 8 << 20, ..tiny(Scheduling::Manual) };
        let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
        in_time("an ingestion", move || {
            for number in 0..written {
                engine.put_with(&key(number), &[1; 1_000], UNSYNCED).unwrap();
            }
            let mut ingest = engine.ingest();
            ingest.put(&key(3), b"ingested").unwrap();
            ingest.finish().unwrap();
            assert_eq!(engine.got(&key(3)), Some(b"ingested".to_vec()));
        });
    }
}

/// An ingestion that failed once cannot be finished: what it lost would be missing in silence.
#[test]
fn an_ingestion_that_failed_stays_failed() {
    for call in 1..60 {
        let storage = SimStorage::new(1);
        let engine = open(storage.clone(), 1).unwrap();
        storage.fail_call(storage.call_count() + call, FaultKind::NoSpace, Times::Once);
        let mut ingest = engine.ingest();
        let failed = (0..200).filter(|n| ingest.put(&key(*n), &[3; 400]).is_err()).count();
        if ingest.finish().is_ok() {
            let missing = (0..200).filter(|number| engine.got(&key(*number)).is_none()).count();
            assert_eq!((failed, missing), (0, 0), "call {call}");
        }
    }
}

/// Once closed, nothing of the engine touches the directory: it may be another's by then.
#[test]
fn an_ingestion_ends_with_the_close() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    let mut begun = engine.ingest();
    begun.put(&key(1), &[1; 400]).unwrap();
    let mut fresh = engine.ingest();
    engine.close().unwrap();
    let other = open(storage.clone(), 2).unwrap();
    let files = storage.list().unwrap();
    assert!(matches!(fresh.put(&key(1), b"late"), Err(Error::Closed)));
    assert_eq!(storage.list().unwrap(), files);
    let calls = storage.call_count();
    drop((begun, fresh));
    assert_eq!(storage.call_count(), calls, "it removes nothing from another's directory");
    other.put(b"key", b"value").unwrap();
    other.compact().unwrap();
    assert_eq!(other.got(b"key"), Some(b"value".to_vec()));
}

/// A batch that needs more than one memtable is all there after a power cut, or not at all.
#[test]
fn a_batch_over_two_memtables_survives_as_a_whole_or_not_at_all() {
    let mut outcomes = [0, 0];
    for call in 1.. {
        let storage = SimStorage::new(1);
        let options = Options {
            memory_bytes: 8 << 20,
            wal_segment_bytes: 256 << 10,
            ..tiny(Scheduling::Manual)
        };
        let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
        engine.put(b"before", b"").unwrap();
        let mut batch = Batch::new();
        batch.put(b"first", b"");
        for number in 0..1_500 {
            batch.delete_range(key(number)..key(number + 1));
        }
        batch.put(b"last", b"");
        engine.write(&batch, UNSYNCED).unwrap();
        storage.crash_at(storage.call_count() + call);
        let is_done = engine.compact().is_ok();
        drop(engine);
        let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
        let there = [b"first".as_slice(), b"last"].map(|key| engine.got(key).is_some());
        assert_eq!(there[0], there[1], "call {call}");
        outcomes[usize::from(there[0])] += 1;
        if is_done {
            break;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

/// Whoever asks for work of an engine without threads gets it done, whoever else is at it.
#[test]
fn callers_of_an_engine_without_threads_do_not_wait_for_each_other_for_ever() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    in_time("a merge", move || {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..3_000).for_each(|_| engine.compact().unwrap()));
            }
        });
    });
}

/// A scan that is asked for more than it has does not bring its caller down.
#[test]
fn a_scan_at_its_end_has_no_value() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    engine.put(b"a", b"1").unwrap();
    engine.put(b"b", b"2").unwrap();
    for mut scan in [engine.scan(..), engine.scan(..).reversed()] {
        assert!(scan.value().is_empty());
        while scan.advance().unwrap() {}
        assert!(scan.value().is_empty() && scan.key().is_empty());
        assert_eq!((scan.version(), scan.expires_ms()), (0, None));
    }
}

/// An engine with an ingestion of `key(1)` that has its number and waits for the log.
fn amid_an_ingestion() -> (Scarce, Engine, std::thread::JoinHandle<()>) {
    let storage = Scarce::new();
    let options = tiny(Scheduling::Threads);
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    let mut ingest = engine.ingest();
    ingest.put(&key(1), b"ingested").unwrap();
    storage.held.store(true, Ordering::Relaxed);
    let ingesting = std::thread::spawn(move || ingest.finish().unwrap());
    let since = Instant::now();
    while engine.stats().last_seq == 0 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
    (storage, engine, ingesting)
}

/// What a snapshot showed once, it shows to its end.
#[test]
fn a_snapshot_amid_an_ingestion_does_not_change() {
    let (storage, engine, ingesting) = amid_an_ingestion();
    let asked = engine.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let snapshot = asked.snapshot();
        sender.send(snapshot.get(&key(1)).unwrap()).unwrap();
        snapshot
    });
    let early = receiver.recv_timeout(Duration::from_millis(300));
    storage.held.store(false, Ordering::Relaxed);
    ingesting.join().unwrap();
    let first = early.unwrap_or_else(|_| receiver.recv_timeout(PATIENCE).unwrap());
    assert_eq!(reader.join().unwrap().get(&key(1)).unwrap(), first);
}

/// A conditional write comes before an ingestion and is overwritten by it, or after it and sees it.
#[test]
fn a_conditional_write_amid_an_ingestion_sees_it_or_comes_before_it() {
    let (storage, engine, ingesting) = amid_an_ingestion();
    let asked = engine.clone();
    let writer =
        std::thread::spawn(move || asked.put_if(&key(1), b"new", Expected::Absent).unwrap());
    std::thread::sleep(Duration::from_millis(100));
    storage.held.store(false, Ordering::Relaxed);
    ingesting.join().unwrap();
    let is_written = matches!(writer.join().unwrap(), Conditional::Written { .. });
    assert!(!is_written, "it was not before the ingestion: {:?}", engine.got(&key(1)));
    assert_eq!(engine.got(&key(1)), Some(b"ingested".to_vec()));
}

/// Range deletes that each cover what the last one did are kept once for each snapshot, however long
/// that is held: all of them would take memory by their square.
#[test]
fn nested_range_deletes_do_not_pile_up_behind_a_snapshot() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    (0..9_000).for_each(|number| drop(engine.put_with(&key(number), b"value", UNSYNCED)));
    let first = engine.snapshot();
    let mut second = None;
    for number in 0..4_500 {
        let mut batch = Batch::new();
        batch.delete_range(key(0)..key(number)).put(&key(0), b"again");
        engine.write(&batch, UNSYNCED).unwrap();
        if number == 2_000 {
            second = Some(engine.snapshot());
        }
    }
    engine.compact().unwrap();
    assert!(engine.stats().range_deletes <= 3, "{}", engine.stats().range_deletes);
    assert_eq!(first.scan(..).count(), 9_000);
    assert_eq!(second.unwrap().scan(..).count(), 7_001);
    assert_eq!(engine.scan(..).count(), 4_502);
}

/// Nobody waits for what nobody asked to be synced, and it is synced within a second all the same.
#[test]
fn unsynced_writes_are_synced_once_a_second_and_shown_at_once() {
    let storage = SimStorage::new(1);
    let options =
        Options { memory_bytes: 8 << 20, wal_segment_bytes: 16 << 20, ..tiny(Scheduling::Manual) };
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    engine.put(b"first", b"synced").unwrap();
    let calls = storage.call_count();
    engine.put_with(&key(0), b"value", UNSYNCED).unwrap();
    assert_eq!(engine.got(&key(0)), Some(b"value".to_vec()));
    assert_eq!(storage.call_count(), calls, "it is shown before it is in the log");
    assert!(engine.commit_in_place());
    assert_eq!(storage.call_count(), calls + 1, "one write and no sync");
    // The clock of this world goes on by a millisecond with each look.
    for number in 1..1_100 {
        engine.put_with(&key(number), b"value", UNSYNCED).unwrap();
        engine.commit_in_place();
    }
    let syncs = storage.call_count() - calls - 1_100;
    assert!((1..50).contains(&syncs), "{syncs}");
    let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
    assert_eq!(engine.got(&key(0)), Some(b"value".to_vec()));
}

/// Runs `call` while the sync of a write is held; returns what it came to, behind the release only.
fn behind_the_sync<T: Send + 'static>(
    write: fn(&Engine),
    call: impl FnOnce(&Engine) -> T + Send + 'static,
) -> T {
    let storage = SimStorage::new(1);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    engine.put(&key(1), b"old").unwrap();
    engine.put(&key(2), b"old").unwrap();
    storage.hold_syncs(true);
    write(&engine);
    assert!(storage.wait_for_syncs(1, PATIENCE));
    let asked = engine.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(call(&asked)));
    let early = receiver.recv_timeout(Duration::from_millis(50));
    // Before anything may fail: an engine that waits for its sync cannot be dropped.
    storage.hold_syncs(false);
    assert!(early.is_err(), "answered before the sync");
    receiver.recv_timeout(PATIENCE).unwrap()
}

fn write_grouped(engine: &Engine, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    let options = WriteOptions { durability: WriteDurability::Grouped };
    engine.write(&batch, options).unwrap();
}

/// Whichever way something is shown, or shown not to be there, it is durable.
#[test]
fn no_way_of_reading_shows_what_is_not_durable() {
    let put = |engine: &Engine| write_grouped(engine, |batch| _ = batch.put(&key(1), b"new"));
    let cut = |engine: &Engine| write_grouped(engine, |batch| _ = batch.delete_range(..key(2)));
    let keys = [key(2), key(1), key(0)];
    let two = keys.clone();
    let values = behind_the_sync(put, move |engine| engine.multi_get(&two).unwrap());
    assert_eq!(values[1].as_deref(), Some(&b"new"[..]));
    let values = behind_the_sync(cut, move |engine| engine.multi_get(&keys).unwrap());
    assert!(values[0].is_some() && values[1].is_none());
    assert!(behind_the_sync(cut, |engine| engine.got(&key(1))).is_none());
    assert_eq!(behind_the_sync(cut, |engine| engine.scan(..).count()), 1);
    assert_eq!(behind_the_sync(put, |engine| engine.scan(..).reversed().count()), 2);
    let shown = behind_the_sync(put, |engine| engine.snapshot().get(&key(1)).unwrap());
    assert_eq!(shown.as_deref(), Some(&b"new"[..]));
    for expected in [Expected::Absent, Expected::Version(1)] {
        let conflict =
            behind_the_sync(put, move |engine| engine.put_if(&key(1), b"", expected).unwrap());
        assert!(matches!(conflict, Conditional::Conflict { current: Some(_) }), "{conflict:?}");
    }
    let conflict =
        behind_the_sync(cut, |engine| engine.put_if(&key(1), b"", Expected::Version(1)).unwrap());
    assert!(matches!(conflict, Conditional::Conflict { current: None }), "{conflict:?}");
}

/// What is not durable any more is not there, whoever asks.
#[test]
fn all_reads_of_a_failed_engine_show_what_is_durable() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    engine.put(&key(1), b"durable").unwrap();
    let before = engine.snapshot();
    storage.fail_call(storage.call_count() + 2, FaultKind::Io, Times::Once);
    assert!(matches!(engine.put(&key(1), b"lost"), Err(Error::Failed(_))));
    let after = engine.snapshot();
    for scan in [engine.scan(..), engine.scan(..).reversed(), before.scan(..), after.scan(..)] {
        let entries: Vec<_> = scan.map(|entry| entry.unwrap().1).collect();
        assert_eq!(entries, [b"durable"]);
    }
    for value in [before.get(&key(1)), after.get(&key(1)), engine.get(&key(1))] {
        assert_eq!(value.unwrap().unwrap(), b"durable");
    }
    assert_eq!(engine.multi_get(&[key(1)]).unwrap()[0].as_deref(), Some(&b"durable"[..]));
    assert_eq!(after.seq(), engine.durable_seq());
}

/// Where damage keeps merges from going on, writers do not wait for them.
#[test]
fn writes_go_on_behind_damage() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    for name in storage.list().unwrap().iter().filter(|name| name.contains(".sst")) {
        storage.flip_bit(name, 100, 1).unwrap();
    }
    in_time("a write behind damage", move || {
        for number in 0..2_000 {
            engine.put(&key(number % 100), &[2; 900]).unwrap();
        }
        assert!(matches!(engine.health(), Health::Corrupt { .. }));
        assert!(engine.stats().level0_sublevels > 12, "{}", engine.stats().level0_sublevels);
    });
}

#[test]
fn an_ingestion_refuses_what_does_not_ascend_and_goes_on() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    let mut ingest = engine.ingest();
    ingest.put(b"b", b"1").unwrap();
    for key in [b"b", b"a"] {
        assert!(matches!(ingest.put(key, b"2"), Err(Error::OutOfOrder)));
    }
    ingest.put(b"c", b"3").unwrap();
    ingest.finish().unwrap();
    let values: Vec<_> = engine.scan(..).map(|entry| entry.unwrap().1).collect();
    assert_eq!(values, [b"1", b"3"]);
}

/// A range delete that is forgotten is forgotten for good, and not before nothing needs it: a table
/// that recovery wrote does.
#[test]
fn range_deletes_are_forgotten_when_nothing_needs_them_and_not_before() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), b"value").unwrap());
    let storage = storage.power_cut(Survival::Nothing);
    let engine = open(storage.clone(), 2).unwrap();
    engine.delete_range(key(0)..key(50)).unwrap();
    for number in 0..40 {
        engine.put(format!("other-{number}").as_bytes(), &[1; 900]).unwrap();
        engine.run_background();
        assert_eq!(engine.scan(key(0)..key(100)).count(), 50, "after {number}");
    }
    engine.compact().unwrap();
    assert_eq!(engine.stats().range_deletes, 0);
    assert_eq!(engine.scan(key(0)..key(100)).count(), 50);
    let engine = open(storage.power_cut(Survival::Nothing), 3).unwrap();
    assert_eq!(engine.stats().range_deletes, 0);
    assert_eq!(engine.scan(key(0)..key(100)).count(), 50);
}

#[test]
fn an_ingestion_that_is_given_up_leaves_no_file() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    let before = storage.list().unwrap().len();
    let mut ingest = engine.ingest();
    (0..200).for_each(|number| ingest.put(&key(number), &[3; 400]).unwrap());
    let tables = ingest.progress().tables;
    assert_eq!(storage.list().unwrap().len(), before + tables + 1);
    drop(ingest);
    assert_eq!(storage.list().unwrap().len(), before);
}

/// What only a snapshot needed goes with it, though nothing else happens.
#[test]
fn what_a_snapshot_gives_free_is_removed_though_nothing_is_written() {
    let options = tiny(Scheduling::Threads);
    let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    let snapshot = engine.snapshot();
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    // Past the look that comes with the first rest.
    std::thread::sleep(Duration::from_millis(1_500));
    let entries = || engine.stats().levels.iter().map(|level| level.entries).sum::<u64>();
    assert_eq!((entries(), snapshot.scan(..).count()), (100, 100));
    drop(snapshot);
    let since = Instant::now();
    while entries() > 0 {
        assert!(since.elapsed() < PATIENCE, "{} entries are left", entries());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Flushes what is in memory and merges nothing.
fn flush(engine: &Engine) {
    engine.compact_range("~".."~~").unwrap();
}

/// A merge that damage forbids does not keep others from being done.
#[test]
fn merges_go_on_beside_damage() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..20).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    for name in storage.list().unwrap().iter().filter(|name| name.contains(".sst")) {
        storage.flip_bit(name, 100, 1).unwrap();
    }
    engine.put(&key(1), b"new").unwrap();
    flush(&engine);
    for number in 0..900 {
        engine.put(format!("other-{:02}", number % 50).as_bytes(), &[2; 900]).unwrap();
        engine.run_background();
    }
    assert!(matches!(engine.health(), Health::Corrupt { .. }));
    assert!(engine.stats().level0_sublevels < 4, "{}", engine.stats().level0_sublevels);
}

/// What is left when writing stops is tidied up, though nobody wakes anybody.
#[test]
fn at_rest_level_0_is_tidied_up() {
    let options = Options { level0_tables: 8, ..tiny(Scheduling::Threads) };
    let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
    for round in 0..4 {
        (0..10).for_each(|number| engine.put(&key(number), &[round; 100]).unwrap());
        flush(&engine);
    }
    assert_eq!(engine.stats().level0_sublevels, 4);
    let since = Instant::now();
    while engine.stats().level0_sublevels > 1 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_close_leaves_no_file_that_nobody_needs() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    let mut scan = engine.scan(..);
    assert!(scan.advance().unwrap());
    engine.delete_range(..).unwrap();
    engine.compact().unwrap();
    drop(scan);
    engine.close().unwrap();
    assert!(!storage.list().unwrap().iter().any(|name| name.contains(".sst")));
}
