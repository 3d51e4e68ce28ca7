//! Tables that were written before their place in the history was known.

use super::*;
use crate::engine::iter::{Direction, ScanRange};

/// Entries with number 0, each key once.
fn unplaced(count: usize) -> Vec<Owned> {
    (0..count)
        .map(|i| match i % 7 {
            3 => delete(&format!("key:{i:05}"), 0),
            _ => put(&format!("key:{i:05}"), 0, &"v".repeat(i % 90)),
        })
        .collect()
}

fn placed(entries: &[Owned], seq: Seq) -> Vec<Owned> {
    entries.iter().map(|(key, _, kind, value)| (key.clone(), seq, *kind, value.clone())).collect()
}

#[test]
fn every_reader_sees_the_number_that_was_assigned() {
    for (count, seq) in [(1, 1), (3_000, 70), (3_000, Seq::MAX)] {
        let entries = unplaced(count);
        let storage = SimStorage::new(1);
        let meta = build_as(Compression::Lz4, &storage, ID, &entries).assign(seq);
        assert_eq!((meta.min_seq, meta.max_seq, meta.assigned_seq), (seq, seq, seq));
        let table = Arc::new(open(&storage, &meta).unwrap());
        table.verify().unwrap();
        let mut expected_entries = placed(&entries, seq);
        assert_eq!(collect(table.iter()).unwrap(), expected_entries);
        for (key, ..) in &entries {
            for snapshot in [0, seq - 1, seq, Seq::MAX] {
                let expected = expected(&expected_entries, key, snapshot);
                assert_eq!(get(&table, key, snapshot).unwrap(), expected, "at {snapshot}");
            }
        }
        let all = ScanRange { start: b"", end: None };
        assert_eq!(collect(table.scan(all, Direction::Forward)).unwrap(), expected_entries);
        expected_entries.reverse();
        assert_eq!(collect(table.scan(all, Direction::Backward)).unwrap(), expected_entries);
    }
}

#[test]
fn before_a_number_is_assigned_the_table_is_whole_with_number_0() {
    let entries = unplaced(100);
    let (_, table) = built(&entries);
    table.verify().unwrap();
    assert_eq!(collect(table.iter()).unwrap(), entries);
}

#[test]
fn two_versions_of_a_key_cannot_be_unplaced() {
    let storage = SimStorage::new(1);
    let mut builder = TableBuilder::new(&storage, ID, Compression::None).unwrap();
    builder.add(borrowed(&put("a", 0, "x"))).unwrap();
    assert!(matches!(builder.add(borrowed(&put("a", 0, "y"))), Err(Error::Corrupt { .. })));
}

#[test]
fn a_number_is_assigned_only_to_entries_without_one() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &[put("a", 1, "x"), put("a", 0, "y")]);
    open(&storage, &meta).unwrap();
    assert!(matches!(open(&storage, &meta.assign(9)), Err(Error::Corrupt { .. })));
    let meta = build(&storage, ID + 1, &unplaced(20));
    let wrong = [
        TableMeta { min_seq: 0, ..meta.clone().assign(9) },
        TableMeta { max_seq: 8, ..meta.clone().assign(9) },
        TableMeta { assigned_seq: 0, ..meta.assign(9) },
    ];
    for wrong in wrong {
        assert!(matches!(open(&storage, &wrong), Err(Error::Corrupt { .. })), "{wrong:?}");
    }
}
