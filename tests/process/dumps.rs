//! Random databases through the real program's dump, load, backup and restore: what comes out is what
//! went in, to the byte, whatever bytes keys and values have.
//!
//! The engine writes a database as a seed says, and a map keeps what must be in it. What its dump has to
//! be follows from that map and the documented format alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::ops::{Bound, Range};
use std::path::Path;

use chronos::engine::storage::sim::Random;
use chronos::engine::{
    Batch, Engine, Environment, MAX_KEY_BYTES, Options, Scheduling, WriteDurability, WriteOptions,
};

use crate::directory::{assert_unchanged, contents};
use crate::tools::{ends, text, tool};

const SEEDS: Range<u64> = 1..4;
/// Batches of a database.
const BATCHES: usize = 120;
/// When nothing that is written has expired yet, in milliseconds.
const FAR_MS: u64 = 4_000_000_000_000;
/// Keys that look like something else in a dump.
const TRAPS: [&[u8]; 7] =
    [b"\t", b"\n", b"\\", b"\\x00", b"chronos-dump 1", b"end 0 crc32c=00000000", b"a\tb\n"];

/// What a database holds: values, and when they expire.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn bytes(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// Seldom a new key, of any bytes and sometimes as long as a key can be; a known one otherwise.
fn random_key(random: &mut Random, keys: &mut Vec<Vec<u8>>) -> Vec<u8> {
    if !keys.is_empty() && random.below(3) > 0 {
        return keys[random.below(keys.len() as u64) as usize].clone();
    }
    let key = match random.below(200) {
        0 => bytes(random, MAX_KEY_BYTES),
        1..20 => TRAPS[random.below(TRAPS.len() as u64) as usize].to_vec(),
        _ => {
            let length = 1 + random.below(12) as usize;
            bytes(random, length)
        }
    };
    keys.push(key.clone());
    key
}

fn random_value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(100) {
        0 => random.below(200_000),
        1..20 => 0,
        _ => random.below(200),
    };
    bytes(random, length as usize)
}

/// The last moments that can be told are among them.
fn random_expiry(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => u64::MAX - random.below(2),
        1 => 1 << 63,
        _ => FAR_MS + random.below(FAR_MS),
    }
}

/// Adds a write to `batch` and to the model.
fn add(random: &mut Random, keys: &mut Vec<Vec<u8>>, batch: &mut Batch, model: &mut Model) {
    let key = random_key(random, keys);
    match random.below(20) {
        0..4 => {
            batch.delete(&key);
            model.remove(&key);
        }
        4 => {
            // A few of the keys that are there.
            let above = model.range::<[u8], _>((Bound::Excluded(&key[..]), Bound::Unbounded));
            let Some((end, _)) = above.take(4).last() else { return };
            let end = end.clone();
            batch.delete_range(key.clone()..end.clone());
            model.retain(|other, _| *other < key || *other >= end);
        }
        5..9 => {
            let (value, expires_ms) = (random_value(random), random_expiry(random));
            batch.put_expiring(&key, &value, expires_ms);
            model.insert(key, (value, Some(expires_ms)));
        }
        _ => {
            let value = random_value(random);
            batch.put(&key, &value);
            model.insert(key, (value, None));
        }
    }
}

/// Writes a random database to `dir`. With an odd seed it is left without being closed.
fn write_database(dir: &Path, seed: u64) -> Model {
    let options = Options {
        memory_bytes: 2 << 20,
        wal_segment_bytes: 1 << 20,
        table_bytes: 64 << 10,
        scheduling: Scheduling::Manual,
        ..Options::default()
    };
    let (engine, _) = Engine::open(Environment::disk(dir).unwrap(), options).unwrap();
    let (mut random, mut keys, mut model) = (Random(seed), Vec::new(), Model::new());
    let unsynced = WriteOptions::durability(WriteDurability::Unsynced);
    for number in 0..BATCHES {
        let mut batch = Batch::new();
        for _ in 0..=random.below(30) {
            add(&mut random, &mut keys, &mut batch, &mut model);
        }
        engine.write(&batch, unsynced).unwrap();
        if number == BATCHES / 2 {
            engine.compact().unwrap();
        }
    }
    engine.sync().unwrap();
    assert!(engine.stats().levels[6].tables > 1, "seed {seed}");
    if seed.is_multiple_of(2) {
        engine.close().unwrap();
    }
    model
}

/// Bytes as a dump writes them.
fn escaped(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'\\' => "\\\\".to_owned(),
        0x20..0x7f => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(escape).collect()
}

/// The dump of what a model holds, as `docs/operations.md` describes it.
fn dump_of(model: &Model) -> Vec<u8> {
    let mut dump = b"chronos-dump 1\n".to_vec();
    for (key, (value, expires_ms)) in model {
        let until = expires_ms.map_or(String::new(), |ms| format!("\t{ms}"));
        writeln!(dump, "{}\t{}{until}", escaped(key), escaped(value)).unwrap();
    }
    let checksum = crc32c::crc32c(&dump);
    writeln!(dump, "end {} crc32c={checksum:08x}", model.len()).unwrap();
    dump
}

/// Whether a model has everything that a dump may stumble over.
fn is_varied(model: &Model) -> bool {
    let all = |bytes: &mut dyn Iterator<Item = &u8>| bytes.collect::<BTreeSet<_>>().len() == 256;
    all(&mut model.keys().flatten())
        && all(&mut model.values().flat_map(|(value, _)| value))
        && model.keys().any(|key| key.len() == MAX_KEY_BYTES)
        && model.values().any(|(value, _)| value.is_empty())
        && model.values().any(|(value, _)| value.len() > 64 << 10)
        && model.values().any(|(_, expires_ms)| *expires_ms == Some(u64::MAX))
}

/// The database in `dir` is whole and dumped as `expected`.
#[track_caller]
fn holds(dir: &Path, expected: &[u8], what: &str) {
    assert!(ends(0, &["check", text(dir)]).contains("whole: "), "{what}");
    let output = tool(&["dump", text(dir)]);
    assert_eq!(output.status.code(), Some(0), "{what}");
    assert!(output.stdout == expected, "{what}: the dump differs");
}

fn round_trips(seed: u64) -> Model {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name);
    let [data, dump, loaded, backup, restored] =
        ["data", "dump", "loaded", "backup", "restored"].map(path);
    let what = |name: &str| format!("seed {seed}, {name}");
    let model = write_database(&data, seed);
    let expected = dump_of(&model);
    holds(&data, &expected, &what("written"));

    ends(0, &["dump", text(&data), "--output", text(&dump)]);
    assert!(fs::read(&dump).unwrap() == expected, "{}", what("dumped to a file"));
    let said = ends(0, &["load", text(&loaded), "--input", text(&dump)]);
    let count = format!("loaded {} records; 0 more had expired", model.len());
    assert!(said.contains(&count), "{}: {said}", what("loaded"));
    holds(&loaded, &expected, &what("loaded"));

    let before = contents(&data);
    ends(0, &["backup", text(&data), text(&backup)]);
    assert_unchanged(&before, &contents(&data));
    ends(0, &["restore", text(&backup), text(&restored)]);
    holds(&restored, &expected, &what("restored"));
    model
}

#[test]
fn random_databases_come_back_from_dumps_and_backups_to_the_byte() {
    // Side by side: most of the time is spent on waiting for the disk.
    let runs: Vec<_> = SEEDS.map(|seed| std::thread::spawn(move || round_trips(seed))).collect();
    let models: Vec<Model> = runs.into_iter().map(|run| run.join().unwrap()).collect();
    assert!(models.iter().any(is_varied), "no database has everything");
}
