//! How long files stay open, and how long they stay at all.

use super::*;
use crate::engine::iter::{Direction, ScanRange};

/// Tables 1 to `count`, each with one key of its own among some that fill blocks.
fn many(count: u64, max_open: usize) -> (SimStorage, Arc<Tables>, Vec<Arc<Table>>) {
    let storage = SimStorage::new(1);
    // No cache to speak of: every lookup comes to the file.
    let tables = tables(&storage, 1, max_open);
    let opened = (1..=count).map(|id| {
        let entries = [put("a", 1, "x"), put(&format!("key{id:03}"), 2, "y"), put("z", 3, "z")];
        let meta = build(&storage, id, &entries);
        Arc::new(Table::open(&tables, &meta).unwrap())
    });
    let opened = opened.collect();
    (storage, tables, opened)
}

fn verify_all(tables: &[Arc<Table>]) {
    for table in tables {
        table.verify().unwrap();
    }
}

#[test]
fn more_tables_than_files_may_be_open_are_read() {
    for max_open in [0, 1, 2, 7] {
        let (storage, _tables, opened) = many(40, max_open);
        let mut random = Random(9);
        for _ in 0..2_000 {
            let id = 1 + random.below(40);
            let table = &opened[id as usize - 1];
            assert!(get(table, format!("key{id:03}").as_bytes(), 2).unwrap().is_some());
            assert!(storage.open_file_count() <= max_open, "{max_open}");
        }
        let mut walks: Vec<_> = opened.iter().map(Table::iter).collect();
        while walks.iter_mut().all(|walk| walk.advance().unwrap()) {}
        assert!(storage.open_file_count() <= max_open);
        verify_all(&opened);
        assert!(storage.open_file_count() <= max_open);
    }
}

#[test]
fn what_is_used_again_and_again_stays_open() {
    let (storage, _tables, opened) = many(40, 8);
    let lookup = |id: u64| {
        let table = &opened[id as usize - 1];
        assert!(get(table, format!("key{id:03}").as_bytes(), 2).unwrap().is_some());
    };
    for id in 5..=40 {
        lookup(id);
        lookup(1 + id % 4);
    }
    // An index and a data block are read for each lookup; opening a file would be a third call.
    let reads = storage.read_count();
    (1..=4).for_each(lookup);
    assert_eq!(storage.read_count() - reads, 8);
}

#[test]
fn a_read_that_must_not_wait_opens_no_file() {
    let (storage, _tables, opened) = many(3, 1);
    let read = |id: usize| {
        let key = format!("key{id:03}");
        opened[id - 1]
            .get(key.as_bytes(), KeyHash::of(key.as_bytes()), 2, ReadMode::Cached)
            .unwrap()
    };
    get(&opened[1], b"key002", 2).unwrap();
    assert!(matches!(read(2), Read::Done(Some(_))));
    let reads = storage.read_count();
    assert_eq!((read(1), read(3)), (Read::WouldBlock, Read::WouldBlock));
    assert_eq!(storage.read_count(), reads);
}

#[test]
fn a_retired_table_is_readable_until_it_is_dropped_and_then_its_file_can_go() {
    let (storage, tables, mut opened) = many(3, 1);
    let table = opened.remove(0);
    table.retire();
    let mut walk = table.iter();
    let mut scan = table.scan(ScanRange { start: b"", end: None }, Direction::Backward);
    drop(table);
    assert!(tables.take_trash().is_empty());
    // Others take its place among the open files.
    verify_all(&opened);
    let mut count = 0;
    while walk.advance().unwrap() && scan.advance().unwrap() {
        count += 1;
    }
    assert_eq!(count, 3);
    drop(walk);
    assert!(tables.take_trash().is_empty(), "the scan still reads");
    let calls = (storage.call_count(), storage.read_count());
    drop(scan);
    assert_eq!((storage.call_count(), storage.read_count()), calls, "a drop does no I/O");
    assert_eq!(tables.take_trash(), [1]);
    assert!(tables.take_trash().is_empty(), "told once");
    tables.remove(1).unwrap();
    assert_eq!(storage.list().unwrap(), [filename::table(2), filename::table(3)]);
    assert_eq!(
        tables.remove(1).unwrap_err().to_string().split(':').next(),
        Some("cannot remove 000001.sst")
    );
    drop(opened);
    assert!(tables.take_trash().is_empty(), "nobody retired them");
}

#[test]
fn a_removed_table_is_not_kept_open() {
    let (storage, tables, opened) = many(2, 8);
    verify_all(&opened);
    assert_eq!(storage.open_file_count(), 2);
    opened[0].retire();
    drop(opened);
    for id in tables.take_trash() {
        tables.remove(id).unwrap();
    }
    assert_eq!(storage.open_file_count(), 1);
    drop(tables);
    assert_eq!(storage.open_file_count(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_again_is_an_error_and_no_miss() {
    let (storage, _tables, opened) = many(3, 1);
    opened[1].verify().unwrap();
    storage.fail_read(storage.read_count() + 1, FaultKind::Io, Times::Once);
    assert!(matches!(get(&opened[0], b"key001", 2), Err(Error::Io { op: "read", .. })));
    assert!(get(&opened[0], b"key001", 2).unwrap().is_some(), "once more, and it is there");
}
