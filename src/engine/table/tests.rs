//! Whole tables on the simulated storage: answers against a naive model, and damage of every kind.

use std::io::ErrorKind;
use std::sync::Arc;

mod assigned;
mod cached;
mod expiring;
mod lifetime;

use super::*;
use crate::engine::documented::documented;
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::EntryIter;
use crate::engine::iter::testing::{Owned, Random, borrowed, collect};
use crate::engine::key::compare_entries;
use crate::engine::storage::Storage;
use crate::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};

pub(super) const ID: u64 = 12;

pub(super) fn put(key: &str, seq: Seq, value: &str) -> Owned {
    (key.as_bytes().to_vec(), seq, Kind::Put, value.as_bytes().to_vec())
}

pub(super) fn delete(key: &str, seq: Seq) -> Owned {
    (key.as_bytes().to_vec(), seq, Kind::Delete, Vec::new())
}

pub(super) const COMPRESSIONS: [Compression; 3] =
    [Compression::None, Compression::Lz4, Compression::Zstd];

pub(super) fn build(storage: &SimStorage, id: u64, entries: &[Owned]) -> TableMeta {
    build_as(Compression::None, storage, id, entries)
}

pub(super) fn build_as(
    compression: Compression,
    storage: &SimStorage,
    id: u64,
    entries: &[Owned],
) -> TableMeta {
    let mut builder = TableBuilder::new(storage, id, compression).unwrap();
    for entry in entries {
        builder.add(borrowed(entry)).unwrap();
    }
    builder.finish().unwrap()
}

pub(super) fn tables(storage: &SimStorage, cache_bytes: usize, max_open: usize) -> Arc<Tables> {
    Arc::new(Tables::new(Arc::new(storage.clone()), BlockCache::new(cache_bytes), max_open))
}

/// A small cache: what damage tests read must come from the file.
pub(super) fn open(storage: &SimStorage, meta: &TableMeta) -> Result<Table> {
    Table::open(&tables(storage, 64 << 10, MAX_OPEN_TABLES), meta)
}

pub(super) fn built(entries: &[Owned]) -> (SimStorage, Arc<Table>) {
    built_as(Compression::None, entries)
}

pub(super) fn built_as(compression: Compression, entries: &[Owned]) -> (SimStorage, Arc<Table>) {
    let storage = SimStorage::new(1);
    let meta = build_as(compression, &storage, ID, entries);
    let table = open(&storage, &meta).unwrap();
    (storage, Arc::new(table))
}

/// Entries with many versions of few keys, long values among short ones.
pub(super) fn random_entries(seed: u64, count: u64, keys: u64) -> Vec<Owned> {
    let mut random = Random(seed);
    let mut entries: Vec<Owned> = (1..=count)
        .map(|seq| {
            let key = format!("key:{:05}", 2 * random.below(keys));
            match random.below(20) {
                0..4 => delete(&key, seq),
                4 => put(&key, seq, &"long".repeat(random.below(3_000) as usize)),
                _ => put(&key, seq, &"v".repeat(random.below(100) as usize)),
            }
        })
        .collect();
    entries.sort_by(|a, b| compare_entries((&a.0, a.1), (&b.0, b.1)));
    entries
}

/// Sequence number, kind and value.
type Answer = (Seq, Kind, Vec<u8>);

/// What a get should answer.
fn expected(entries: &[Owned], key: &[u8], snapshot: Seq) -> Option<Answer> {
    let found = entries.iter().find(|entry| entry.0 == key && entry.1 <= snapshot);
    found.map(|(_, seq, kind, value)| (*seq, *kind, value.clone()))
}

fn get(table: &Table, key: &[u8], snapshot: Seq) -> Result<Option<Answer>> {
    match table.get(key, KeyHash::of(key), snapshot, ReadMode::Blocking)? {
        Read::Done(found) => Ok(found.map(|v| (v.seq, v.kind, v.value.to_vec()))),
        Read::WouldBlock => panic!("a blocking read blocks"),
    }
}

#[test]
fn a_table_answers_as_the_model_does() {
    let shapes = [(1, 1, 1), (2, 3_000, 5), (3, 5_000, 2_000), (4, 500, 100_000)];
    for (compression, (seed, count, keys)) in
        COMPRESSIONS.into_iter().flat_map(|compression| shapes.map(|shape| (compression, shape)))
    {
        let entries = random_entries(seed, count, keys);
        let (_, table) = built_as(compression, &entries);
        assert_eq!(collect(table.iter()).unwrap(), entries, "seed {seed}");
        table.verify().unwrap();
        let mut random = Random(seed + 100);
        for _ in 0..2_000 {
            let key = format!("key:{:05}", random.below(2 * keys + 2)).into_bytes();
            let snapshot = [random.below(count + 2), Seq::MAX][random.below(2) as usize];
            let expected = expected(&entries, &key, snapshot);
            let text = String::from_utf8_lossy(&key);
            assert!(expected.is_none() || table.may_contain(&key, KeyHash::of(&key)));
            assert_eq!(get(&table, &key, snapshot).unwrap(), expected, "{text} at {snapshot}");
        }
    }
}

#[test]
fn versions_of_one_key_straddle_blocks_and_index_blocks() {
    let key = "k".repeat(500);
    let value = "v".repeat(7_000);
    let entries: Vec<Owned> = (1..=100).rev().map(|seq| put(&key, seq, &value)).collect();
    let (_, table) = built(&entries);
    for snapshot in 0..=101 {
        let found = get(&table, key.as_bytes(), snapshot).unwrap().map(|(seq, ..)| seq);
        assert_eq!(found, (snapshot > 0).then_some(snapshot.min(100)));
    }
    assert_eq!(collect(table.iter()).unwrap(), entries);
    table.verify().unwrap();
}

#[test]
fn tables_are_shared_and_walks_are_sent_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let entries = [put("a", 1, "x")];
    let (_, table) = built(&entries);
    shared(&table);
    let walk: Box<dyn EntryIter + Send> = Box::new(table.iter());
    let walked = std::thread::spawn(move || collect(walk).unwrap()).join().unwrap();
    assert_eq!(walked, entries);
}

#[test]
fn the_meta_tells_what_is_in_the_file() {
    let entries = [put("a", 7, "x"), delete("b", 9), put("b", 2, ""), put("c", 5, "y")];
    let (storage, table) = built(&entries);
    let bytes = storage.read_file(&filename::table(ID)).unwrap();
    let meta = TableMeta {
        id: ID,
        bytes: bytes.len() as u64,
        smallest: b"a".to_vec(),
        largest: b"c".to_vec(),
        min_seq: 2,
        max_seq: 9,
        entries: 4,
        tombstones: 1,
        purged_seq: 0,
        hidden: Hidden { bytes: 63, seq: 9 },
        reclaim_ms: u64::MAX,
        assigned_seq: 0,
        checksum: crc32c::crc32c(&bytes),
    };
    assert_eq!(*table.meta(), meta);
}

#[test]
fn values_larger_than_a_block_and_a_read_ahead_return() {
    let entries = [put("a", 1, ""), put("b", 2, &"x".repeat(700_000)), put("c", 3, "y")];
    let (_, table) = built(&entries);
    assert_eq!(collect(table.iter()).unwrap(), entries);
    assert_eq!(get(&table, b"b", 2).unwrap().unwrap().2.len(), 700_000);
    table.verify().unwrap();
}

#[test]
fn a_finished_table_is_synced_and_written_in_large_calls() {
    let storage = SimStorage::new(1);
    let entries = random_entries(9, 10_000, 10_000);
    let meta = build(&storage, ID, &entries);
    let bound = 2 + meta.bytes / (256 << 10) + 1;
    assert!(storage.call_count() <= bound, "{} calls", storage.call_count());
    storage.sync_dir().unwrap();
    let storage = storage.power_cut(Survival::Nothing);
    open(&storage, &meta).unwrap().verify().unwrap();
}

#[test]
fn entries_out_of_order_and_empty_tables_are_refused() {
    let storage = SimStorage::new(1);
    assert!(TableBuilder::new(&storage, 1, Compression::None).unwrap().finish().is_err());
    for wrong in [put("b", 5, ""), put("b", 6, ""), put("a", 9, "")] {
        let mut builder = TableBuilder::new(&storage, wrong.1 + 10, Compression::None).unwrap();
        assert!(builder.is_empty());
        builder.add(borrowed(&put("b", 5, "x"))).unwrap();
        assert!(!builder.is_empty() && builder.file_bytes() > 0);
        assert!(matches!(builder.add(borrowed(&wrong)), Err(Error::Corrupt { .. })));
    }
    assert!(matches!(
        TableBuilder::new(&storage, 1, Compression::None),
        Err(Error::Io { op: "create", .. })
    ));
}

#[test]
fn failing_writes_and_syncs_are_told() {
    let entries = random_entries(5, 100, 10);
    for (call, op) in [(2, "write"), (3, "sync")] {
        let storage = SimStorage::new(1);
        storage.fail_call(call, FaultKind::NoSpace, Times::Once);
        let mut builder = TableBuilder::new(&storage, ID, Compression::None).unwrap();
        let added = entries.iter().try_for_each(|entry| builder.add(borrowed(entry)));
        let error = added.and_then(|()| builder.finish()).unwrap_err();
        assert!(error.is_no_space());
        assert!(matches!(error, Error::Io { op: failed, .. } if failed == op), "{error}");
    }
}

#[test]
fn failing_reads_are_io_errors_and_not_misses() {
    let entries = random_entries(6, 2_000, 100);
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &entries);
    let run = || -> Result<()> {
        let table = Arc::new(open(&storage, &meta)?);
        assert_eq!(get(&table, &entries[7].0, Seq::MAX)?, expected(&entries, &entries[7].0, 9_999));
        assert_eq!(collect(table.iter())?, entries);
        table.verify()
    };
    run().unwrap();
    let reads = storage.read_count();
    for n in 1..=reads {
        storage.fail_read(storage.read_count() + n, FaultKind::Io, Times::Once);
        let outcome = run();
        assert!(matches!(outcome, Err(Error::Io { .. })), "read {n} of {reads}: {outcome:?}");
    }
    run().unwrap();
}

#[test]
fn another_table_or_another_meta_is_refused() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, 1, &[put("a", 1, "x")]);
    let other = build(&storage, 2, &[put("a", 1, "x")]);
    storage.rename(&filename::table(1), &filename::table(2)).unwrap();
    let error = open(&storage, &other).err().unwrap();
    assert!(error.to_string().contains("footer of table 1"), "{error}");
    storage.rename(&filename::table(2), &filename::table(1)).unwrap();
    let wrong = [
        TableMeta { bytes: meta.bytes + 1, ..meta.clone() },
        TableMeta { bytes: 0, ..meta.clone() },
        TableMeta { smallest: b"".to_vec(), ..meta.clone() },
        TableMeta { largest: b"b".to_vec(), ..meta.clone() },
        TableMeta { min_seq: 0, ..meta.clone() },
        TableMeta { max_seq: 2, ..meta.clone() },
        TableMeta { entries: 2, ..meta.clone() },
        TableMeta { tombstones: 1, ..meta.clone() },
    ];
    for wrong in wrong {
        assert!(matches!(open(&storage, &wrong), Err(Error::Corrupt { .. })), "{wrong:?}");
    }
    let wrong = TableMeta { checksum: !meta.checksum, ..meta };
    assert!(matches!(open(&storage, &wrong).unwrap().verify(), Err(Error::Corrupt { .. })));
}

/// Opens and reads the table in every way; wrong answers panic, errors are returned.
fn use_fully(storage: &SimStorage, meta: &TableMeta, entries: &[Owned]) -> Result<()> {
    let table = Arc::new(open(storage, meta)?);
    let keys = entries.iter().map(|entry| &*entry.0).chain([&b"a"[..], b"apples", b"zz"]);
    let mut outcome = Ok(());
    for (key, snapshot) in keys.flat_map(|key| [(key, 1), (key, 2), (key, Seq::MAX)]) {
        match get(&table, key, snapshot) {
            Ok(found) => assert_eq!(found, expected(entries, key, snapshot), "a wrong answer"),
            Err(e) => outcome = Err(e),
        }
    }
    match collect(table.iter()) {
        Ok(all) => assert_eq!(all, entries, "a wrong walk"),
        Err(e) => outcome = Err(e),
    }
    table.verify()?;
    outcome
}

fn assert_corrupt(outcome: Result<()>, what: &str) {
    match outcome {
        Err(Error::Corrupt { file, .. }) => assert_eq!(file, filename::table(ID), "{what}"),
        other => panic!("{what}: {other:?}"),
    }
}

/// A table whose data block is as the compression says.
fn small_table(compression: Compression) -> (SimStorage, TableMeta, Vec<Owned>) {
    let entries = if compression == Compression::None { example() } else { compressed_example() };
    let storage = SimStorage::new(1);
    let meta = build_as(compression, &storage, ID, &entries);
    let bytes = storage.read_file(&filename::table(ID)).unwrap();
    let stored_as = bytes[first_data_block(&bytes).1];
    assert_eq!(stored_as, compression.as_byte());
    (storage, meta, entries)
}

/// The range of a table's first data block, without the trailer.
fn first_data_block(bytes: &[u8]) -> (usize, usize) {
    let footer = bytes.len() - format::FOOTER_BYTES;
    let footer = format::Footer::decode(&bytes[footer..], "a table", 0).unwrap();
    let first_in = |handle: format::Handle| {
        let end = (handle.offset + handle.size) as usize;
        let block = Block::new(bytes[handle.offset as usize..end].to_vec(), 0).unwrap();
        let first = block.find((b"", Seq::MAX)).unwrap().unwrap();
        format::Handle::decode(block.slice(first.value)).unwrap()
    };
    let data = first_in(first_in(footer.top_index));
    (data.offset as usize, (data.offset + data.size) as usize)
}

#[test]
fn compressed_tables_are_smaller_and_only_where_it_pays() {
    let entries: Vec<Owned> =
        (0..500).map(|i| put(&format!("{i:05}"), i + 1, &"value ".repeat(20))).collect();
    let bytes = COMPRESSIONS.map(|compression| {
        let (_, table) = built_as(compression, &entries);
        table.meta().bytes
    });
    assert!(bytes[1] < bytes[0] / 3 && bytes[2] < bytes[1], "{bytes:?}");
    let mut random = Random(5);
    let noise: Vec<u8> = (0..3_000).map(|_| random.below(256) as u8).collect();
    let entries = [(b"a".to_vec(), 1, Kind::Put, noise)];
    let bytes = COMPRESSIONS.map(|compression| built_as(compression, &entries).1.meta().bytes);
    assert_eq!(bytes, [bytes[0]; 3]);
}

#[test]
fn a_forged_compressed_block_neither_panics_nor_answers_wrongly() {
    for compression in [Compression::Lz4, Compression::Zstd] {
        let (storage, meta, _) = small_table(compression);
        let name = filename::table(ID);
        let bytes = storage.read_file(&name).unwrap();
        let (from, to) = first_data_block(&bytes);
        for (at, kind) in (from..to).flat_map(|at| COMPRESSIONS.map(|kind| (at, kind))) {
            for byte in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x10, bytes[at]] {
                let mut block = bytes[from..to].to_vec();
                block[at - from] = byte;
                format::seal_block(&mut block, kind, ID, from as u64);
                let forged = [&bytes[..from], &block, &bytes[from + block.len()..]].concat();
                storage.write_file(&name, &forged).unwrap();
                let table = Arc::new(open(&storage, &meta).unwrap());
                let _ = (get(&table, b"banana", Seq::MAX), collect(table.iter()));
                assert_eq!(table.verify().is_ok(), forged == bytes, "byte {at} as {kind:?}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_never_a_wrong_answer() {
    COMPRESSIONS.into_iter().for_each(flip_every_bit);
}

fn flip_every_bit(compression: Compression) {
    let (storage, meta, entries) = small_table(compression);
    let name = filename::table(ID);
    use_fully(&storage, &meta, &entries).unwrap();
    for offset in 0..meta.bytes {
        for bit in 0..8 {
            storage.flip_bit(&name, offset, bit).unwrap();
            let outcome = use_fully(&storage, &meta, &entries);
            assert_corrupt(outcome, &format!("bit {bit} of byte {offset}"));
            storage.flip_bit(&name, offset, bit).unwrap();
        }
    }
}

#[test]
fn every_truncation_is_found_before_and_after_opening() {
    COMPRESSIONS.into_iter().for_each(truncate_everywhere);
}

fn truncate_everywhere(compression: Compression) {
    let (storage, meta, _) = small_table(compression);
    let name = filename::table(ID);
    let bytes = storage.read_file(&name).unwrap();
    for len in 0..meta.bytes {
        let table = Arc::new(open(&storage, &meta).unwrap());
        storage.truncate_file(&name, len).unwrap();
        assert_corrupt(open(&storage, &meta).map(|_| ()), &format!("cut to {len}"));
        assert_corrupt(table.verify(), &format!("open, then cut to {len}"));
        storage.write_file(&name, &bytes).unwrap();
    }
}

/// Offset and size of each block of the example table, in the order of `docs/format.md`.
pub(super) const EXAMPLE_BLOCKS: [(usize, usize); 5] =
    [(0, 0x29), (0x2e, 0x16), (0x49, 0x42), (0x90, 0xa1), (0x136, 0x16)];
pub(super) const INDEX_BLOCK: usize = 1;
pub(super) const TOP_INDEX: usize = 4;

/// Replaces a byte of a block of the example table and makes the block's checksum right again.
pub(super) fn forge(bytes: &[u8], block: usize, at: usize, byte: u8) -> Vec<u8> {
    let (offset, size) = EXAMPLE_BLOCKS[block];
    let mut forged = bytes[offset..offset + size].to_vec();
    forged[at] = byte;
    format::seal_block(&mut forged, Compression::None, ID, offset as u64);
    [&bytes[..offset], &forged, &bytes[offset + forged.len()..]].concat()
}

#[test]
fn forged_blocks_with_right_checksums_neither_panic_nor_hang_nor_verify() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &example());
    let bytes = storage.read_file(&filename::table(ID)).unwrap();
    for (block, (_, size)) in EXAMPLE_BLOCKS.into_iter().enumerate() {
        for at in 0..size {
            let original = bytes[EXAMPLE_BLOCKS[block].0 + at];
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff, original ^ 1, original ^ 4, original ^ 0x20] {
                let forged = forge(&bytes, block, at, byte);
                storage.write_file(&filename::table(ID), &forged).unwrap();
                let Ok(table) = open(&storage, &meta) else { continue };
                let table = Arc::new(table);
                for key in [&b"apple"[..], b"apricot", b"apples"] {
                    let _ = (get(&table, key, 1), get(&table, key, Seq::MAX));
                }
                let _ = collect(table.iter());
                assert_eq!(table.verify().is_ok(), forged == bytes, "block {block} byte {at}");
            }
        }
    }
}

#[test]
fn an_index_that_names_another_last_entry_is_damage_and_not_a_miss() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &example());
    let bytes = storage.read_file(&filename::table(ID)).unwrap();
    // "apricot" becomes "apricou" in the index block: the walk sees that the top index disagrees.
    let forged = forge(&bytes, INDEX_BLOCK, 11, b'u');
    storage.write_file(&filename::table(ID), &forged).unwrap();
    let table = Arc::new(open(&storage, &meta).unwrap());
    let said = |error: Error| error.to_string().contains("where the index says");
    assert!(said(collect(table.iter()).unwrap_err()));
    // In the top index as well: a version behind the block's end is looked for within the block.
    let forged = forge(&forged, TOP_INDEX, 11, b'u');
    storage.write_file(&filename::table(ID), &forged).unwrap();
    let table = Arc::new(open(&storage, &meta).unwrap());
    assert!(said(get(&table, b"apricot", 1).unwrap_err()));
    assert!(said(collect(table.iter()).unwrap_err()));
}

#[test]
fn swapped_and_repeated_blocks_are_found() {
    let value = "v".repeat(BLOCK_BYTES - 100);
    let entries: Vec<Owned> = (1..=9).map(|i| put(&format!("{i}"), i, &value)).collect();
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &entries);
    let name = filename::table(ID);
    let bytes = storage.read_file(&name).unwrap();
    // Entries of one length make blocks of one length, each with its trailer of five bytes.
    let mut first = TableBuilder::new(&storage, ID + 1, Compression::None).unwrap();
    first.add(borrowed(&entries[0])).unwrap();
    let stored = first.file_bytes() as usize + 5;
    for (from, to) in [(0, 3), (3, 0), (7, 8)] {
        let mut damaged = bytes.clone();
        damaged.copy_within(from * stored..(from + 1) * stored, to * stored);
        storage.write_file(&name, &damaged).unwrap();
        let table = Arc::new(open(&storage, &meta).unwrap());
        let key = &entries[to].0;
        assert!(matches!(get(&table, key, Seq::MAX), Err(Error::Corrupt { .. })), "{from} {to}");
        let mut iter = table.iter();
        while matches!(iter.advance(), Ok(true)) {}
        let again = iter.advance();
        assert!(matches!(again, Err(Error::Corrupt { .. })), "a failed walk keeps failing");
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    let (storage, table) = built(&example());
    storage.remove(&filename::table(ID)).unwrap();
    match open(&storage, table.meta()) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), ErrorKind::NotFound),
        _ => panic!("opened"),
    }
    table.verify().unwrap();
}

/// The table in `docs/format.md`.
pub(super) fn example() -> Vec<Owned> {
    vec![put("apple", 3, "red"), put("apple", 1, "green"), delete("apricot", 2)]
}

/// The compressed table in `docs/format.md`.
fn compressed_example() -> Vec<Owned> {
    vec![put("banana", 1, &"na".repeat(60)), put("cherry", 2, "red")]
}

#[test]
fn the_documented_compressed_bytes_are_the_bytes_written() {
    let (storage, meta, entries) = small_table(Compression::Lz4);
    let name = filename::table(ID);
    let documented = documented("hex-lz4-block");
    let written = storage.read_file(&name).unwrap();
    let dump: Vec<String> = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(documented, written[..documented.len()], "{}", dump.join(" "));
    assert_eq!(documented.len(), first_data_block(&written).1 + format::TRAILER_BYTES);
    use_fully(&storage, &meta, &entries).unwrap();
}

#[test]
fn the_documented_bytes_are_the_bytes_written() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &example());
    let written = storage.read_file(&filename::table(ID)).unwrap();
    let documented = documented("hex-table");
    assert_eq!(documented, written);
    storage.write_file(&filename::table(ID), &documented).unwrap();
    use_fully(&storage, &meta, &example()).unwrap();
}
