//! Whole databases pass; each kind of damage is found, with its file, offset and keys.

use super::*;
use crate::engine::options::{Environment, Options, Scheduling, SystemClock};
use crate::engine::storage::sim::{SimStorage, Survival};
use crate::engine::{Compression, Engine};

fn options() -> Options {
    Options {
        memory_bytes: 96 << 10,
        wal_segment_bytes: 64 << 10,
        table_bytes: 12 << 10,
        level0_tables: 2,
        compression: Compression::None,
        bottom_compression: Compression::None,
        scheduling: Scheduling::Manual,
        ..Options::default()
    }
}

fn open(storage: &SimStorage) -> Engine {
    let environment = Environment {
        storage: Arc::new(storage.clone()),
        clock: Arc::new(SystemClock),
        random: Arc::new(|| 7),
    };
    Engine::open(environment, options()).unwrap().0
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:04}").into_bytes()
}

/// A database with tables on two levels, range deletes, and a log with sealed writes.
fn sample() -> SimStorage {
    let storage = SimStorage::new(1);
    let engine = open(&storage);
    let mut serial = 0_u32;
    let mut put = |engine: &Engine, number: u32| {
        serial += 1;
        engine.put(&key(number), format!("{serial:0100}").as_bytes()).unwrap();
    };
    (0..200).for_each(|number| put(&engine, number));
    engine.compact().unwrap();
    engine.delete_range(key(10)..key(20)).unwrap();
    while engine.stats().levels[0].tables == 0 {
        (0..50).for_each(|number| put(&engine, number * 3));
    }
    (0..9).for_each(|number| put(&engine, number));
    drop(engine);
    storage.power_cut(Survival::Everything)
}

fn run(storage: &SimStorage) -> CheckReport {
    let calls = storage.call_count();
    let report = check(Arc::new(storage.clone()), &mut |_| ()).unwrap();
    assert_eq!(storage.call_count(), calls, "a check changes nothing");
    report
}

fn names(storage: &SimStorage, suffix: &str) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.retain(|name| name.contains(suffix));
    names.sort();
    names
}

/// The log segments in use, in order.
fn used_logs(storage: &SimStorage) -> Vec<String> {
    let is_group = |block: &[u8]| block.starts_with(b"CGRP");
    let is_used =
        |name: &String| storage.read_file(name).unwrap().chunks(4096).nth(1).is_some_and(is_group);
    names(storage, ".wal").into_iter().filter(is_used).collect()
}

/// The one thing that was found.
#[track_caller]
fn only(report: CheckReport) -> Finding {
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    report.findings.into_iter().next().unwrap()
}

fn offset(finding: &Finding) -> u64 {
    let Error::Corrupt { offset, .. } = finding.error else { panic!("{finding:?}") };
    offset
}

#[test]
fn a_whole_database_passes() {
    let storage = sample();
    let mut last = CheckProgress::default();
    let report = check(Arc::new(storage), &mut |progress| last = progress).unwrap();
    assert!(report.is_whole(), "{:?}", report.findings);
    assert!(report.entries > 250 && report.files >= 5, "{report:?}");
    assert_eq!((last.bytes, last.entries), (last.total_bytes, report.entries));
}

#[test]
fn a_held_or_missing_database_is_not_judged() {
    let storage = sample();
    let guard = storage.lock().unwrap();
    let checked = |storage: &SimStorage| check(Arc::new(storage.clone()), &mut |_| ());
    assert!(matches!(checked(&storage), Err(Error::Locked)));
    drop(guard);
    assert!(checked(&storage).is_ok());
    assert!(matches!(checked(&SimStorage::new(1)), Err(Error::NoDatabase)));
}

#[test]
fn a_damaged_data_block_is_named_with_its_keys() {
    let storage = sample();
    let table = names(&storage, ".sst").remove(0);
    storage.flip_bit(&table, 5_000, 3).unwrap();
    let finding = only(run(&storage));
    assert_eq!(finding.file(), table);
    assert!((1..5_000).contains(&offset(&finding)), "the block's start: {finding:?}");
    let keys = finding.keys.unwrap();
    assert!(keys.excludes_first && keys.first > key(10) && keys.last < key(199), "{keys:?}");
    assert!(!keys.contains(&keys.first) && keys.contains(&keys.last));
}

#[test]
fn all_damage_is_listed_not_only_the_first() {
    let storage = sample();
    let tables = names(&storage, ".sst");
    for table in &tables {
        storage.flip_bit(table, 100, 0).unwrap();
        storage.flip_bit(table, 4_500, 0).unwrap();
    }
    let report = run(&storage);
    assert_eq!(report.findings.len(), 2 * tables.len(), "{:?}", report.findings);
    assert!(tables.len() >= 2 && report.findings.iter().all(|finding| finding.keys.is_some()));
}

#[test]
fn every_byte_of_every_table_is_watched() {
    let storage = sample();
    let mut named = 0;
    for table in names(&storage, ".sst") {
        let length = storage.read_file(&table).unwrap().len() as u64;
        for offset in (0..length).step_by(37).chain(length - 600..length) {
            let damaged = storage.power_cut(Survival::Everything);
            damaged.flip_bit(&table, offset, (offset % 8) as u32).unwrap();
            match check(Arc::new(damaged), &mut |_| ()) {
                Ok(report) => {
                    let found = report.findings.iter().find(|finding| finding.file() == table);
                    let found = found.unwrap_or_else(|| panic!("{table} at {offset}"));
                    assert!(super::tests::offset(found) <= offset);
                    named += 1;
                }
                Err(error) => panic!("{table} at {offset}: {error}"),
            }
        }
    }
    assert!(named > 1_000);
}

#[test]
fn a_missing_or_cut_table_loses_all_its_keys() {
    let storage = sample();
    let table = names(&storage, ".sst").remove(0);
    let cut = storage.power_cut(Survival::Everything);
    cut.truncate_file(&table, 6_000).unwrap();
    let gone = storage.power_cut(Survival::Everything);
    gone.remove(&table).unwrap();
    for damaged in [cut, gone] {
        let finding = only(run(&damaged));
        assert_eq!(finding.file(), table);
        let keys = finding.keys.unwrap();
        assert!(!keys.excludes_first && keys.last > keys.first, "{keys:?}");
    }
}

#[test]
fn damage_in_the_log_is_named_and_a_torn_end_is_a_note() {
    let storage = sample();
    let log = used_logs(&storage).remove(0);
    storage.flip_bit(&log, 4096 + 80, 1).unwrap();
    let finding = only(run(&storage));
    assert_eq!((finding.file(), offset(&finding)), (log.as_str(), 4096));
    assert!(finding.keys.is_none());

    let torn = sample();
    let log = used_logs(&torn).pop().unwrap();
    let bytes = torn.read_file(&log).unwrap();
    let end = bytes.chunks(4096).rposition(|block| block[..4] == *b"CGRP").unwrap() as u64 * 4096;
    torn.flip_bit(&log, end + 20, 1).unwrap();
    let report = run(&torn);
    let is_told = |note: &String| note.contains(&log) && note.contains(&end.to_string());
    assert!(report.is_whole() && report.notes.iter().any(is_told), "{report:?}");
}

#[test]
fn a_missing_segment_is_named() {
    let storage = sample();
    let log = used_logs(&storage).remove(0);
    storage.remove(&log).unwrap();
    let report = run(&storage);
    assert!(report.findings.iter().any(|finding| finding.file() == log), "{report:?}");
}

#[test]
fn manifest_and_current_are_named_and_the_rest_is_looked_at_if_it_can_be() {
    let sample = sample();
    let storage = sample.power_cut(Survival::Everything);
    let manifest = names(&storage, "MANIFEST").remove(0);
    let table = names(&storage, ".sst").remove(0);
    let without = sample.power_cut(Survival::Everything);
    without.remove("CURRENT").unwrap();
    let damaged = sample.power_cut(Survival::Everything);
    damaged.flip_bit("CURRENT", 3, 0).unwrap();
    for storage in [without, damaged] {
        storage.flip_bit(&table, 100, 0).unwrap();
        let files: Vec<_> =
            run(&storage).findings.iter().map(|finding| finding.file().to_owned()).collect();
        assert_eq!(files, [CURRENT, table.as_str()]);
    }
    storage.flip_bit(&manifest, 4096 + 74, 0).unwrap();
    let report = run(&storage);
    assert!(report.notes.iter().any(|note| note.contains("not looked at")), "{report:?}");
    assert_eq!(only(report).file(), manifest);
}

#[test]
fn leftovers_are_notes() {
    let storage = sample();
    for name in ["900000.sst", "MANIFEST-900001", "000000.wal", "900002.sst.tmp", "foreign"] {
        storage.write_file(name, b"left behind").unwrap();
    }
    let report = run(&storage);
    assert!(report.is_whole(), "{report:?}");
    for name in ["900000.sst", "MANIFEST-900001", "000000.wal", "900002.sst.tmp"] {
        assert!(report.notes.iter().any(|note| note.starts_with(name)), "{name}: {report:?}");
    }
    assert!(!report.notes.iter().any(|note| note.contains("foreign")));
}
