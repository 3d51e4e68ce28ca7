//! A storage that goes wrong in ways that no error tells. A bug kills a thread of the engine: nobody
//! waits for ever, and nothing looks alive. Other bytes are stored than were written: they are read
//! back before they count.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::storage::{File, Storage};
use chronos::engine::{Engine, Error, Health, Scheduling};

use crate::support::{Got, in_time, open, tiny, world};

/// What becomes of a write.
const SOUND: u8 = 0;
const PANICS: u8 = 1;
const CHANGES_A_BIT: u8 = 2;

/// A storage that goes wrong, once it is told to, where a file of one kind is written.
#[derive(Clone)]
struct Brittle {
    storage: SimStorage,
    kind: &'static str,
    fault: Arc<AtomicU8>,
}

impl Brittle {
    fn new(kind: &'static str) -> Self {
        Brittle { storage: SimStorage::new(1), kind, fault: Arc::default() }
    }

    fn set(&self, fault: u8) {
        self.fault.store(fault, Ordering::Relaxed);
    }

    fn wrap(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let fault = if name.contains(self.kind) { Arc::clone(&self.fault) } else { Arc::default() };
        Arc::new(BrittleFile { file, fault })
    }
}

impl Storage for Brittle {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.storage.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
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

struct BrittleFile {
    file: Arc<dyn File>,
    fault: Arc<AtomicU8>,
}

impl File for BrittleFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.try_read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let fault = self.fault.load(Ordering::Relaxed);
        assert_ne!(fault, PANICS, "a bug, as planned");
        let mut bytes = buf.to_vec();
        bytes[0] ^= u8::from(fault == CHANGES_A_BIT);
        self.file.write_all_at(&bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// An engine with one write in it, and its storage, which will go wrong at files of this kind.
fn sample(kind: &'static str, fault: u8, scheduling: Scheduling) -> (Brittle, Engine) {
    let storage = Brittle::new(kind);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(scheduling)).unwrap();
    engine.put(b"key", b"kept").unwrap();
    storage.set(fault);
    (storage, engine)
}

/// Whatever is asked of an engine in which a thread died is answered; what was kept is still there.
fn is_dead_and_honest(storage: &Brittle, engine: Engine) {
    assert!(matches!(engine.health(), Health::Failed { .. }), "{:?}", engine.health());
    let asked = engine.clone();
    let (put, merge, close) = in_time("a call after a panic", move || {
        (asked.put(b"key", b"more"), asked.compact(), asked.close())
    });
    assert!(matches!(put, Err(Error::Failed(_) | Error::Closed)), "{put:?}");
    assert!(merge.is_err() && close.is_err(), "{merge:?}, {close:?}");
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()), "only what is durable");
    in_time("a drop after a panic", move || drop(engine));
    let engine = open(storage.storage.power_cut(Survival::Nothing), 2).unwrap();
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
}

#[test]
fn the_background_dies_and_the_merge_that_was_asked_for_is_answered() {
    let (storage, engine) = sample(".sst", PANICS, Scheduling::Threads);
    let ticket = engine.start_compaction(..);
    in_time("the merge", move || ticket.wait()).unwrap_err();
    is_dead_and_honest(&storage, engine);
}

#[test]
fn the_log_thread_dies_and_the_writer_is_told() {
    let (storage, engine) = sample(".wal", PANICS, Scheduling::Threads);
    let writer = engine.clone();
    let outcome = in_time("the write", move || writer.put(b"key", b"lost"));
    assert!(matches!(outcome, Err(Error::Failed(_))), "{outcome:?}");
    is_dead_and_honest(&storage, engine);
}

#[test]
fn a_panic_amid_a_commit_in_place_loses_no_other_writes_in_silence() {
    let (storage, engine) = sample(".wal", PANICS, Scheduling::Manual);
    catch_unwind(AssertUnwindSafe(|| engine.put(b"key", b"lost"))).unwrap_err();
    storage.set(SOUND);
    is_dead_and_honest(&storage, engine);
}

#[test]
fn a_table_is_read_back_before_it_counts() {
    let (storage, engine) = sample(".sst", CHANGES_A_BIT, Scheduling::Manual);
    assert!(matches!(engine.compact(), Err(Error::Io { op: "verify", .. })));
    assert_eq!(engine.stats().immutable_memtables, 1, "memory keeps what no table holds");
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
    // Not tried over and over: the device is failing, and a restart is due.
    assert!(matches!(engine.health(), Health::Failed { .. }));
    storage.set(SOUND);
    assert!(matches!(engine.compact(), Err(Error::Failed(_))));
    assert_eq!(engine.got(b"key"), Some(b"kept".to_vec()));
}
