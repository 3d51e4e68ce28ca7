//! The databases that are damaged: small, a function of nothing, and together with every kind of file
//! in every kind of state.
//!
//! | sample | what it has |
//! |---|---|
//! | `killed` | a log over two segments whose last group is not sealed, a recycled segment with stale groups, a manifest of many edits; tables stored as they are, with LZ4 and with Zstandard, ingested, with an index of several blocks, an entry larger than a block, versions of one key over several blocks, tombstones and expiries; foreign and temporary files, a kept torn tail |
//! | `sealed` | a log that holds all there is, sealed, for its memtable could not be flushed |
//! | `closed` | an orderly end |
//! | `copy` | a checkpoint |

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::shelf::Files;
use crate::campaign::workload::{Model, later};
use crate::campaign::world::{Standing, world};
use crate::engine::storage::Storage as _;
use crate::engine::storage::sim::{Random, SimStorage};
use crate::engine::{Batch, Compression, Engine, Error, Options, Scheduling, WriteOptions};

/// When what the samples hold was written, and when it is looked at: what is to expire has.
const WRITTEN_MS: u64 = 1_000;
pub(super) const LOOKED_AT_MS: u64 = 1_000_000;
const FAR_MS: u64 = 1 << 60;

/// A key that comes after all others, for what is written after the damage.
pub(super) const MARKER: &[u8] = b"~marker";

/// What readers see.
pub(super) type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// The last group of a log, which nothing proves to have been synced.
pub(super) struct Unsealed {
    pub(super) file: String,
    pub(super) range: Range<usize>,
    /// What there was before.
    pub(super) before: State,
}

/// A database, and what it holds.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) files: Files,
    /// Every key that was ever there, and some that never were.
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) state: State,
    /// The states that it went through.
    pub(super) history: Vec<State>,
    pub(super) unsealed: Option<Unsealed>,
    /// What its files held earlier.
    pub(super) earlier: Vec<(String, Arc<Vec<u8>>)>,
}

/// What the samples are made and opened with: nothing happens that nobody asked for.
pub(super) fn options() -> Options {
    Options {
        memory_bytes: 128 << 10,
        wal_segment_bytes: 32 << 10,
        table_bytes: 4 << 10,
        level0_tables: 100,
        compression: Compression::Lz4,
        bottom_compression: Compression::Zstd,
        scheduling: Scheduling::Manual,
        ..Options::default()
    }
}

/// What is ingested last in `killed`.
const LAST_INGESTED: &str = "ingested-4";

/// All samples.
pub(super) fn all() -> Result<Vec<Sample>, String> {
    let (closed, copy) = closed().map_err(|error| error.to_string())?;
    let killed = killed().map_err(|error| error.to_string())?;
    let sealed = sealed().map_err(|error| error.to_string())?;
    Ok(vec![killed, sealed, closed, copy])
}

/// A database under way.
struct Maker {
    storage: SimStorage,
    engine: Engine,
    random: Random,
    model: Model,
    history: Vec<State>,
    /// What each file has held.
    versions: BTreeMap<String, Vec<Arc<Vec<u8>>>>,
}

type Made<T> = Result<T, Error>;

fn open(storage: &SimStorage, options: Options) -> Made<Engine> {
    Ok(Engine::open(world(storage.clone(), Standing::at(WRITTEN_MS), 5), options)?.0)
}

impl Maker {
    fn new(options: Options) -> Made<Self> {
        let storage = SimStorage::new(1);
        let engine = open(&storage, options)?;
        Ok(Maker {
            storage,
            engine,
            random: Random(7),
            model: Model::new(),
            history: vec![State::new()],
            versions: BTreeMap::new(),
        })
    }

    fn reopen(&mut self, options: Options) -> Made<()> {
        self.storage = self.storage.kill();
        self.engine = open(&self.storage, options)?;
        self.note();
        Ok(())
    }

    /// Remembers the state and the files.
    fn note(&mut self) {
        let state: State = later(&self.model).into_iter().collect();
        if self.history.last() != Some(&state) {
            self.history.push(state);
        }
        for (name, bytes) in files_of(&self.storage) {
            let versions = self.versions.entry(name).or_default();
            if versions.last() != Some(&bytes) {
                versions.push(bytes);
            }
        }
    }

    fn noise(&mut self, bytes: usize) -> Vec<u8> {
        (0..bytes).map(|_| self.random.below(256) as u8).collect()
    }

    fn put(&mut self, key: &str, value: &[u8]) -> Made<()> {
        self.engine.put(key.as_bytes(), value)?;
        self.model.insert(key.into(), (value.to_vec(), None));
        self.note();
        Ok(())
    }

    fn expire(&mut self, key: &str, value: &[u8], at_ms: u64) -> Made<()> {
        self.engine.put_expiring(key.as_bytes(), value, at_ms)?;
        self.model.insert(key.into(), (value.to_vec(), Some(at_ms)));
        self.note();
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Made<()> {
        self.engine.delete(key.as_bytes())?;
        self.model.remove(key.as_bytes());
        self.note();
        Ok(())
    }

    fn delete_range(&mut self, start: &str, end: &str) -> Made<()> {
        self.engine.delete_range(start.as_bytes()..end.as_bytes())?;
        self.model.retain(|key, _| !(start.as_bytes()..end.as_bytes()).contains(&&key[..]));
        self.note();
        Ok(())
    }

    /// One group of several writes, over more than one block.
    fn batch(&mut self, first: u32) -> Made<()> {
        let mut batch = Batch::new();
        for number in first..first + 3 {
            let (key, value) = (format!("batch-{number:02}"), self.noise(1_500));
            batch.put(key.as_bytes(), &value);
            self.model.insert(key.into(), (value, None));
        }
        batch.delete(b"batch-99");
        self.engine.write(&batch, WriteOptions::default())?;
        self.note();
        Ok(())
    }

    fn ingest(&mut self, keys: &[&str]) -> Made<()> {
        let mut ingest = self.engine.ingest();
        for key in keys {
            let value = format!("ingested {key} {}", ".".repeat(60)).into_bytes();
            ingest.put(key.as_bytes(), &value)?;
            self.model.insert((*key).into(), (value, None));
        }
        ingest.finish()?;
        self.note();
        Ok(())
    }

    /// Writes what is in memory as a table, and no more.
    fn flush(&mut self) -> Made<()> {
        self.engine.compact_range(&b"~~"[..]..)?;
        self.note();
        Ok(())
    }

    fn compact(&mut self, start: &str, end: &str) -> Made<()> {
        self.engine.compact_range(start.as_bytes()..end.as_bytes())?;
        self.note();
        Ok(())
    }

    fn finish(mut self, name: &'static str, files: Files, unsealed: Option<Unsealed>) -> Sample {
        let mut keys: Vec<Vec<u8>> = self.history.iter().flat_map(State::keys).cloned().collect();
        keys.extend([b"absent".to_vec(), b"small-00x".to_vec(), b"zzz".to_vec()]);
        keys.extend(self.model.keys().cloned());
        keys.sort();
        keys.dedup();
        let state = self.history.last().cloned().unwrap_or_default();
        let mut earlier = Vec::new();
        for (name, bytes) in &files {
            let versions = self.versions.remove(name).unwrap_or_default();
            let old = versions.into_iter().filter(|old| old != bytes);
            earlier.extend(old.map(|old| (name.clone(), old)));
        }
        Sample { name, files, keys, state, history: self.history, unsealed, earlier }
    }
}

/// The files of a directory.
fn files_of(storage: &SimStorage) -> Files {
    let names = storage.list().unwrap_or_default();
    let read = |name: String| Some((name.clone(), Arc::new(storage.read_file(&name).ok()?)));
    names.into_iter().filter_map(read).collect()
}

/// See the module.
fn killed() -> Made<Sample> {
    let plain = Options { compression: Compression::None, ..options() };
    let mut maker = Maker::new(plain)?;
    for number in 0..8 {
        maker.put(&format!("small-{number:02}"), &[b'a' + number; 40])?;
    }
    maker.expire("small-08", b"expires", LOOKED_AT_MS / 2)?;
    maker.expire("small-09", b"expires late", FAR_MS)?;
    maker.flush()?;
    maker.compact("small-00", "small-09")?;
    // Stored as it is: noise in blocks of its own, and versions of one key that snapshots keep.
    let noise = maker.noise(4_200);
    maker.put("large", &noise)?;
    let mut snapshots = Vec::new();
    for _ in 0..3 {
        snapshots.push(maker.engine.snapshot());
        let noise = maker.noise(1_500);
        maker.put("versions", &noise)?;
    }
    maker.delete("small-03")?;
    maker.flush()?;
    drop(snapshots);
    maker.reopen(options())?;
    // As many as one memtable takes: one table, whose index needs two blocks.
    for number in 0..5 {
        let (key, value) = (format!("wide-{number}{}", "w".repeat(1_100)), [b'0' + number; 2_900]);
        maker.put(&key, &value)?;
    }
    maker.flush()?;
    maker.delete_range("small-04", "small-06")?;
    maker.expire("small-06", b"for a while", LOOKED_AT_MS / 2)?;
    maker.flush()?;
    maker.compact("small-00", "small-99")?;
    maker.ingest(&["ingested-1", "ingested-2", "small-01"])?;
    maker.delete_range("ingested-2", "ingested-3")?;
    maker.delete("small-07")?;
    maker.flush()?;
    maker.ingest(&[LAST_INGESTED])?;
    // From here on all stays in the log.
    for number in 0..3 {
        maker.put(&format!("log-{number}"), &[b'x'; 90])?;
    }
    maker.batch(0)?;
    maker.expire("log-expires", b"late", FAR_MS)?;
    maker.expire("log-expired", b"gone", LOOKED_AT_MS / 2)?;
    maker.delete("small-00")?;
    maker.delete_range("batch-01", "batch-02")?;
    let (before, files) = (maker.history.last().cloned(), files_of(&maker.storage));
    maker.batch(10)?;
    let mut after = files_of(&maker.storage);
    let unsealed = changed_group(&files, &after, &before.unwrap_or_default());
    for (name, bytes) in [
        ("CURRENT.tmp", &b"MANIFEST-0000"[..]),
        ("LOCK", b""),
        ("000003.wal.torn-4096", b"what a crash left"),
        ("notes.txt", b"of somebody else"),
    ] {
        after.insert(name.to_owned(), Arc::new(bytes.to_vec()));
    }
    let mut sample = maker.finish("killed", after, unsealed);
    // An earlier manifest is whole, and no other file tells of the ingestion that it lacks.
    let mut without = sample.state.clone();
    without.remove(LAST_INGESTED.as_bytes());
    sample.history.push(without);
    Ok(sample)
}

/// Where the log was written between two looks.
fn changed_group(before: &Files, after: &Files, state: &State) -> Option<Unsealed> {
    let segments = after.iter().filter(|(name, _)| name.strip_suffix(".wal").is_some());
    segments.into_iter().find_map(|(name, bytes)| {
        let old = before.get(name)?;
        let differs = |at: &usize| bytes.get(*at) != old.get(*at);
        let (first, last) = ((0..bytes.len()).find(differs)?, (0..bytes.len()).rfind(differs)?);
        Some(Unsealed { file: name.clone(), range: first..last + 1, before: state.clone() })
    })
}

/// See the module.
fn sealed() -> Made<Sample> {
    let mut maker = Maker::new(options())?;
    maker.put("in a table", b"since the beginning")?;
    maker.flush()?;
    for number in 0..4 {
        maker.put(&format!("log-{number}"), &[b'y'; 30])?;
    }
    maker.batch(0)?;
    // No room for a table: the log is sealed, and the memtable stays.
    maker.storage.set_capacity(Some(0));
    let _ = maker.engine.close();
    let files = files_of(&maker.storage);
    Ok(maker.finish("sealed", files, None))
}

/// See the module: `closed`, and the `copy` that was made on the way.
fn closed() -> Made<(Sample, Sample)> {
    let make = || -> Made<(Maker, Files)> {
        let mut maker = Maker::new(options())?;
        for number in 0..10 {
            maker.put(&format!("small-{number:02}"), &[b'a' + number; 70])?;
        }
        maker.compact("small-00", "small-99")?;
        maker.put("small-03", b"again")?;
        maker.delete_range("small-05", "small-07")?;
        let path = Path::new("copy");
        maker.engine.checkpoint(path)?;
        maker.note();
        let copy = files_of(&maker.storage.at(path));
        Ok((maker, copy))
    };
    let (copied, copy) = make()?;
    let (mut maker, _) = make()?;
    maker.delete("small-01")?;
    maker.put("small-11", b"the last")?;
    maker.engine.close()?;
    let files = files_of(&maker.storage);
    Ok((maker.finish("closed", files, None), copied.finish("copy", copy, None)))
}
