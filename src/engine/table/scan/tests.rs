//! Scans against a filter of the entries, and damage in their way.

use super::*;
use crate::engine::error::Error;
use crate::engine::filename;
use crate::engine::iter::testing::{Owned, Random, collect, owned};
use crate::engine::key::Kind;
use crate::engine::storage::Storage;
use crate::engine::storage::sim::{FaultKind, SimStorage, Times};
use crate::engine::table::tests::{COMPRESSIONS, ID, build, built, built_as, open, put};
use crate::engine::table::tests::{EXAMPLE_BLOCKS, INDEX_BLOCK, TOP_INDEX, example, forge};
use crate::engine::table::tests::{delete, random_entries, tables};
use crate::engine::table::{Compression, MAX_OPEN_TABLES};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

/// What a scan should yield.
fn expected(entries: &[Owned], range: ScanRange<'_>, direction: Direction) -> Vec<Owned> {
    let is_in = |key: &[u8]| range.start <= key && range.end.is_none_or(|end| key < end);
    let mut found: Vec<Owned> = entries.iter().filter(|entry| is_in(&entry.0)).cloned().collect();
    if direction == Direction::Backward {
        found.reverse();
    }
    found
}

fn assert_scans(table: &Arc<Table>, entries: &[Owned], range: ScanRange<'_>) {
    for direction in DIRECTIONS {
        let found = collect(table.scan(range, direction)).unwrap();
        let expected = expected(entries, range, direction);
        assert!(found == expected, "{direction:?} {range:?}: {}", found.len());
    }
}

const ALL: ScanRange<'_> = ScanRange { start: b"", end: None };

#[test]
fn a_scan_is_a_filter_in_both_directions() {
    let shapes =
        [(1, 1, 1), (2, 3_000, 5), (3, 5_000, 2_000), (4, 500, 100_000), (5, 9_000, 3_000)];
    for (number, (seed, count, keys)) in shapes.into_iter().enumerate() {
        let entries = random_entries(seed, count, keys);
        let (_, table) = built_as(COMPRESSIONS[number % 3], &entries);
        assert_scans(&table, &entries, ALL);
        let mut random = Random(seed + 7);
        let mut bound = || match random.below(8) {
            0 => Vec::new(),
            1 => b"a".to_vec(),
            2 => b"zz".to_vec(),
            // Every second number is no key, and so is a key with a byte behind it.
            3 => format!("key:{:05}+", random.below(2 * keys)).into_bytes(),
            _ => format!("key:{:05}", random.below(2 * keys + 2)).into_bytes(),
        };
        for turn in 0..60 {
            let (start, end) = (bound(), bound());
            let end = (turn % 5 > 0).then_some(&end[..]);
            assert_scans(&table, &entries, ScanRange { start: &start, end });
        }
    }
}

#[test]
fn every_pair_of_bounds_around_block_borders() {
    // Two or three entries to a block, sixteen blocks to an index block.
    let key = |number: u64| format!("{}{number:03}", "k".repeat(220));
    let value = "v".repeat(1_300);
    let entries: Vec<Owned> = (0..100).map(|i| put(&key(2 * i + 1), i + 1, &value)).collect();
    let (_, table) = built(&entries);
    for from in 0..=201 {
        for to in [0, 1, 2, 3, 7, 40, 99, 198, 199, 200, 201].map(|more| from + more) {
            let (start, end) = (key(from), key(to));
            let range = ScanRange { start: start.as_bytes(), end: Some(end.as_bytes()) };
            assert_scans(&table, &entries, range);
        }
    }
}

#[test]
fn versions_of_one_key_straddle_blocks_and_index_blocks() {
    let (before, key, behind) = ("a", "k".repeat(500), "z");
    let value = "v".repeat(7_000);
    let mut entries: Vec<Owned> = vec![delete(before, 300), put(before, 200, "x")];
    entries.extend((1..=100).rev().map(|seq| put(&key, seq, &value)));
    entries.push(put(behind, 7, "y"));
    let (_, table) = built(&entries);
    let next = format!("{key}\0");
    for start in [before, "b", &key, &next, behind] {
        for end in [before, "b", &key, &next, behind, "zz"] {
            let range = ScanRange { start: start.as_bytes(), end: Some(end.as_bytes()) };
            assert_scans(&table, &entries, range);
        }
    }
}

#[test]
fn values_larger_than_a_window_return() {
    let mut entries = vec![put("a", 1, ""), put("b", 2, &"x".repeat(700_000)), put("c", 3, "y")];
    entries.extend((0..50).map(|i| put(&format!("d{i:02}"), i + 9, &"z".repeat(3_900))));
    entries.extend([put("e", 4, &"x".repeat(300_000)), put("f", 5, "")]);
    let (_, table) = built(&entries);
    for start in [&b""[..], b"b", b"d", b"e"] {
        assert_scans(&table, &entries, ScanRange { start, end: None });
    }
}

#[test]
fn nothing_is_read_before_the_first_step_or_without_an_overlap() {
    let (storage, table) = built(&[put("b", 1, "x"), put("d", 2, "y")]);
    let reads = storage.read_count();
    for direction in DIRECTIONS {
        let scan = table.scan(ALL, direction);
        for (start, end) in [("a", "b"), ("da", "zz"), ("c", "c"), ("d", "b"), ("", "")] {
            let range = ScanRange { start: start.as_bytes(), end: Some(end.as_bytes()) };
            assert_eq!(collect(table.scan(range, direction)).unwrap(), []);
        }
        drop(scan);
    }
    assert_eq!(storage.read_count(), reads);
}

#[test]
fn short_scans_fill_the_cache_and_long_ones_read_ahead_past_it() {
    let storage = SimStorage::new(1);
    let entries = random_entries(4, 30_000, 20_000);
    let meta = build(&storage, ID, &entries);
    for direction in DIRECTIONS {
        let tables = tables(&storage, 8 << 20, MAX_OPEN_TABLES);
        let table = Arc::new(Table::open(&tables, &meta).unwrap());
        let short = |count| {
            let mut scan = table.scan(ALL, direction);
            (0..count).for_each(|_| assert!(scan.advance().unwrap()));
        };
        short(10);
        let reads = storage.read_count();
        short(10);
        assert_eq!(storage.read_count(), reads, "all from the cache");
        assert_eq!(collect(table.scan(ALL, direction)).unwrap().len(), entries.len());
        let windows = meta.bytes / (256 << 10) + 6;
        let index_blocks = tables.cache().stats().blocks as u64;
        assert!(index_blocks < meta.bytes / (256 << 10) + CACHED_BLOCKS as u64 + 2);
        let taken = storage.read_count() - reads;
        assert!(taken <= windows + index_blocks, "{taken} reads of {} bytes", meta.bytes);
    }
}

/// Steps until the end or an error, and holds what came before it against what should.
fn scan_all(table: &Arc<Table>, entries: &[Owned], direction: Direction) -> Result<()> {
    let expected = expected(entries, ALL, direction);
    let mut scan = table.scan(ALL, direction);
    for entry in &expected {
        match scan.advance() {
            Ok(is_there) => assert!(is_there, "a silent end"),
            Err(error) => {
                assert!(scan.advance().is_err(), "a failed scan keeps failing");
                return Err(error);
            }
        }
        assert_eq!(owned(scan.entry()), *entry);
    }
    let end = scan.advance()?;
    assert!(!end && !scan.advance()?, "more than there is");
    Ok(())
}

#[test]
fn damage_of_any_block_on_the_way_is_told() {
    let entries = random_entries(8, 3_000, 1_000);
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &entries);
    let name = filename::table(ID);
    let mut table = Arc::new(open(&storage, &meta).unwrap());
    let mut damaged = 0;
    for offset in (0..meta.bytes).step_by(meta.bytes as usize / 120) {
        storage.flip_bit(&name, offset, 3).unwrap();
        let Ok(opened) = open(&storage, &meta) else {
            storage.flip_bit(&name, offset, 3).unwrap();
            continue;
        };
        table = Arc::new(opened);
        for direction in DIRECTIONS {
            match scan_all(&table, &entries, direction) {
                Err(Error::Corrupt { file, offset: at, .. }) => {
                    assert_eq!(file, name);
                    assert!(at <= offset && offset < at + (64 << 10), "{at} for {offset}");
                }
                other => panic!("{direction:?} over byte {offset}: {other:?}"),
            }
        }
        damaged += 1;
        storage.flip_bit(&name, offset, 3).unwrap();
    }
    assert!(damaged > 50);
    drop(table);
    scan_all(&Arc::new(open(&storage, &meta).unwrap()), &entries, Direction::Backward).unwrap();
}

#[test]
fn failing_reads_are_io_errors() {
    let entries = random_entries(6, 9_000, 3_000);
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &entries);
    for direction in DIRECTIONS {
        let fresh = || Arc::new(open(&storage, &meta).unwrap());
        let table = fresh();
        let reads = storage.read_count();
        scan_all(&table, &entries, direction).unwrap();
        for n in 1..=storage.read_count() - reads {
            let table = fresh();
            storage.fail_read(storage.read_count() + n, FaultKind::Io, Times::Once);
            let outcome = scan_all(&table, &entries, direction);
            assert!(matches!(outcome, Err(Error::Io { .. })), "read {n}: {outcome:?}");
        }
    }
}

#[test]
fn a_file_that_was_cut_is_damage() {
    let entries = random_entries(9, 2_000, 500);
    for direction in DIRECTIONS {
        let (storage, table) = built_as(Compression::Lz4, &entries);
        storage.truncate_file(&filename::table(ID), table.meta().bytes / 2).unwrap();
        let outcome = scan_all(&table, &entries, direction);
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{direction:?}: {outcome:?}");
    }
}

#[test]
fn swapped_blocks_are_found() {
    let value = "v".repeat(3_900);
    let entries: Vec<Owned> = (10..60).map(|i| put(&format!("{i}"), i, &value)).collect();
    let (storage, table) = built(&entries);
    let name = filename::table(ID);
    let bytes = storage.read_file(&name).unwrap();
    let stored = 3_900 + 2 + 6 + 8 + 5;
    for (from, to) in [(0, 3), (20, 10), (49, 48)] {
        let mut damaged = bytes.clone();
        damaged.copy_within(from * stored..(from + 1) * stored, to * stored);
        storage.write_file(&name, &damaged).unwrap();
        let table = Arc::new(open(&storage, table.meta()).unwrap());
        for direction in DIRECTIONS {
            let outcome = scan_all(&table, &entries, direction);
            assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{from} {to}: {outcome:?}");
        }
    }
}

#[test]
fn an_index_that_names_another_last_entry_is_damage() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &example());
    let bytes = storage.read_file(&filename::table(ID)).unwrap();
    // "apricot" becomes "apricou": first in the index block, then in the top index as well.
    let in_index = forge(&bytes, INDEX_BLOCK, 11, b'u');
    let in_both = forge(&in_index, TOP_INDEX, 11, b'u');
    for forged in [in_index, in_both] {
        storage.write_file(&filename::table(ID), &forged).unwrap();
        let said = |error: Error| error.to_string().contains("where the index says");
        for direction in DIRECTIONS {
            for (start, end) in [(&b""[..], None), (b"b", None), (b"a", Some(&b"apricotz"[..]))] {
                let table = Arc::new(open(&storage, &meta).unwrap());
                let scanned = collect(table.scan(ScanRange { start, end }, direction));
                match scanned {
                    Ok(found) => assert_eq!(found, [], "{direction:?} from {start:?}"),
                    Err(error) => assert!(said(error)),
                }
                assert!(start == b"b" || collect(table.scan(ALL, direction)).is_err());
            }
        }
    }
}

/// Every byte of every block, its checksum made right again.
#[test]
fn forged_blocks_neither_panic_nor_hang() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &example());
    let bytes = storage.read_file(&filename::table(ID)).unwrap();
    for (block, (offset, size)) in EXAMPLE_BLOCKS.into_iter().enumerate() {
        for at in 0..size {
            let original = bytes[offset + at];
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff, original ^ 1, original ^ 4, original ^ 0x20] {
                storage.write_file(&filename::table(ID), &forge(&bytes, block, at, byte)).unwrap();
                let Ok(table) = open(&storage, &meta).map(Arc::new) else { continue };
                for direction in DIRECTIONS {
                    let bounds = [(&b""[..], None), (b"apple", Some(&b"apricot"[..]))];
                    for (start, end) in bounds {
                        let _ = collect(table.scan(ScanRange { start, end }, direction));
                    }
                }
            }
        }
    }
}

#[test]
fn a_scan_is_sent_between_threads_and_outlives_the_file_s_name() {
    let (storage, table) = built(&[put("a", 1, "x"), (b"b".to_vec(), 2, Kind::Put, vec![7; 9])]);
    let scan: Box<dyn EntryIter + Send> = Box::new(table.scan(ALL, Direction::Backward));
    storage.remove(&filename::table(ID)).unwrap();
    drop(table);
    let scanned = std::thread::spawn(move || collect(scan).unwrap()).join().unwrap();
    assert_eq!(scanned.len(), 2);
}
