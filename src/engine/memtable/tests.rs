//! The memtable against naive models: lookups, walks at random moments, scans beside a writer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::engine::iter::testing::{Owned, Random, collect, owned};
use crate::engine::iter::{Direction, Input, MergeIter, ScanRange};
use crate::engine::sync::{read, write};

fn found(seq: Seq, value: Option<&[u8]>) -> Found<'_> {
    let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
    Found { seq, kind, value: value.unwrap_or_default() }
}

#[test]
fn a_lookup_sees_the_newest_version_within_its_snapshot() {
    let mut table = Memtable::new(1 << 20);
    table.insert(b"k", 1, Kind::Put, b"one");
    table.insert(b"k", 2, Kind::Delete, b"");
    table.insert(b"k", 5, Kind::Put, b"");
    assert_eq!(table.get(b"k", 0), None);
    assert_eq!(table.get(b"k", 1), Some(found(1, Some(b"one"))));
    assert_eq!(table.get(b"k", 4), Some(found(2, None)));
    assert_eq!(table.get(b"k", Seq::MAX), Some(found(5, Some(b""))));
    assert_eq!(table.get(b"other", Seq::MAX), None);
    assert_eq!(table.last_seq(), 5);
}

#[test]
fn it_is_full_when_its_arena_or_its_index_is() {
    let mut by_index = Memtable::new(64 * 64);
    let mut seq = 0;
    while by_index.has_room(2, 0) {
        seq += 1;
        by_index.insert(&(seq as u16).to_be_bytes(), seq, Kind::Put, b"");
    }
    assert_eq!(by_index.keys, 32);

    let mut by_arena = Memtable::new(4096);
    let big = vec![7; 1 << 20];
    by_arena.insert(b"big", 1, Kind::Put, &big);
    assert!(!by_arena.has_room(1, 1));
    assert_eq!(by_arena.get(b"big", 1), Some(found(1, Some(&big))));
}

#[test]
fn the_sorted_walk_is_the_model_in_order() {
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut table = Memtable::new(8 << 20);
    let mut model: BTreeMap<(Vec<u8>, Reverse<Seq>), Vec<u8>> = BTreeMap::new();
    for seq in 1..=5_000 {
        let mut key = b"shared prefix ".to_vec();
        key.extend(std::iter::repeat_n(b'x', random(12) as usize));
        key.extend_from_slice(&random(300).to_be_bytes()[6..]);
        let value = vec![seq as u8; random(3_000) as usize * (random(50) / 49) as usize];
        let kind = if random(4) == 0 { Kind::Delete } else { Kind::Put };
        table.insert(&key, seq, kind, &value);
        model.insert((key, Reverse(seq)), value);
    }
    let mut walk = Arc::new(table).sorted();
    for ((key, seq), value) in &model {
        assert!(walk.advance().unwrap());
        let entry = walk.entry();
        assert_eq!((entry.key, entry.seq, entry.value), (&key[..], seq.0, &value[..]));
    }
    assert!(!walk.advance().unwrap());
}

/// Versions in entry order.
type Model = BTreeMap<(Vec<u8>, Reverse<Seq>), (Kind, Vec<u8>)>;

fn merged(
    view: &MemtableView,
    start: &[u8],
    end: Option<&[u8]>,
    direction: Direction,
) -> MergeIter {
    let scans = view.scan(direction, |_| Some(ScanRange { start, end }));
    MergeIter::new(scans.into_iter().map(|scan| Box::new(scan) as Input).collect(), direction)
}

/// What a view must show.
fn expected(model: &Model, start: &[u8], end: Option<&[u8]>, direction: Direction) -> Vec<Owned> {
    let within = |key: &[u8]| key >= start && end.is_none_or(|end| key < end);
    let mut all: Vec<Owned> = model
        .iter()
        .filter(|((key, _), _)| within(key))
        .map(|((key, seq), (kind, value))| (key.clone(), seq.0, *kind, value.clone()))
        .collect();
    if direction == Direction::Backward {
        all.reverse();
    }
    all
}

/// Keys of two families and many lengths, so that samples and prefixes tie, and some of zeros.
fn random_key(random: &mut Random, keys: u64) -> Vec<u8> {
    let number = random.below(keys);
    match number % 4 {
        0 => format!("a family with a long name:{number:05}").into_bytes(),
        1 => format!("another:{number}").into_bytes(),
        2 => vec![0; number as usize % 40],
        _ => [b"zeros\0\0\0".as_slice(), &vec![0; number as usize % 30]].concat(),
    }
}

fn insert_random(random: &mut Random, table: &mut Memtable, model: &mut Model, keys: u64) {
    let (key, seq) = (random_key(random, keys), table.last_seq() + 1);
    let kind = [Kind::Put, Kind::Delete, Kind::Expiring][random.below(3) as usize];
    let length = if random.below(2_000) == 0 { 5 << 20 } else { random.below(60_000) };
    let value = if random.below(8) == 0 { vec![seq as u8; length as usize] } else { Vec::new() };
    table.insert(&key, seq, kind, &value);
    model.insert((key, Reverse(seq)), (kind, value));
}

#[test]
fn a_view_shows_the_moment_it_was_made_at_both_ways() {
    for seed in 1..16 {
        let mut random = Random(seed);
        let keys = [3, 40, 4_000][seed as usize % 3];
        let (mut table, mut model) = (Memtable::new(32 << 20), Model::new());
        let mut views: Vec<(MemtableView, Model)> = Vec::new();
        for _ in 0..40 {
            for _ in 0..random.below(100) {
                insert_random(&mut random, &mut table, &mut model, keys);
            }
            views.push((table.view(), model.clone()));
            // Most often an old view: what others have sorted since then must not show in it.
            for _ in 0..2 {
                let (view, model) = &views[random.below(views.len() as u64) as usize];
                let (start, end) = (random_key(&mut random, keys), random_key(&mut random, keys));
                let start = if random.below(4) == 0 { &[] } else { &start[..] };
                let end = (random.below(4) > 0).then_some(&end[..]);
                for direction in [Direction::Forward, Direction::Backward] {
                    let walk = collect(merged(view, start, end, direction)).unwrap();
                    let expected = expected(model, start, end, direction);
                    assert!(walk == expected, "seed {seed}: {start:?} to {end:?}, {direction:?}");
                }
            }
        }
    }
}

#[test]
fn walks_go_on_while_the_table_grows_and_after_it_is_gone() {
    let mut random = Random(5);
    let (mut table, mut model) = (Memtable::new(16 << 20), Model::new());
    let mut walks = Vec::new();
    for _ in 0..2_000 {
        insert_random(&mut random, &mut table, &mut model, 300);
        if random.below(100) == 0 {
            let direction = [Direction::Forward, Direction::Backward][random.below(2) as usize];
            let walk = merged(&table.view(), b"", None, direction);
            walks.push((walk, expected(&model, b"", None, direction).into_iter()));
        }
        for (walk, expected) in &mut walks {
            if let Some(next) = expected.next() {
                assert!(walk.advance().unwrap() && owned(walk.entry()) == next);
            }
        }
    }
    drop(table);
    for (mut walk, expected) in walks {
        for next in expected {
            assert!(walk.advance().unwrap() && owned(walk.entry()) == next);
        }
        assert!(!walk.advance().unwrap() && !walk.advance().unwrap());
    }
}

#[test]
fn a_chunk_that_is_complete_is_one_run_and_the_others_are_few() {
    let mut table = Memtable::new(64 << 20);
    let mut random = Random(9);
    for seq in 1..=100_000 {
        table.insert(&random.below(u64::MAX).to_be_bytes(), seq, Kind::Put, &[0; 60]);
        if seq % 7 == 0 {
            let view = table.view();
            let everything = ScanRange { start: b"", end: None };
            let runs = view.scan(Direction::Forward, |_| Some(everything)).len();
            assert!(runs <= view.chunks.len() + 17, "{runs} runs of {}", view.chunks.len());
        }
    }
    let view = table.view();
    assert_eq!(view.chunks.len(), 3);
    let sizes: Vec<usize> = view
        .order
        .runs(&view.chunks, view.tail, |_| true)
        .iter()
        .filter(|(number, _)| *number != view.tail)
        .map(|(_, run)| run.len())
        .collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size > 40_000), "{sizes:?}");
}

/// Behind a range delete scans pass the chunks that it covers, unsorted; of small ones it makes none.
#[test]
fn what_a_range_delete_covers_is_in_chunks_of_its_own() {
    let mut table = Memtable::new(64 << 20);
    for seq in 1..=50_000u64 {
        table.insert(&seq.to_be_bytes(), seq, Kind::Put, &[0; 40]);
    }
    let range = RangeDelete { start: Vec::new(), end: Vec::new(), seq: 50_001 };
    table.delete_range(range.clone());
    table.insert(b"new", 50_002, Kind::Put, b"");
    table.delete_range(RangeDelete { seq: 50_003, ..range });
    table.insert(b"newer", 50_004, Kind::Put, b"");
    let view = table.view();
    assert_eq!(view.chunks.len(), 2);
    let everything = ScanRange { start: b"", end: None };
    let scans = view.scan(Direction::Forward, |newest| (newest > 50_001).then_some(everything));
    let entries: usize = scans.iter().map(|scan| scan.rest.len()).sum();
    assert_eq!(entries, 2);
}

#[test]
fn scans_beside_a_writer_see_a_prefix_of_its_history() {
    const WRITES: u64 = 60_000;
    let key = |seq: Seq| (seq.wrapping_mul(7_919) % 5_000).to_be_bytes();
    let table = RwLock::new(Memtable::new(32 << 20));
    let done = AtomicBool::new(false);
    let scan = |direction| {
        let mut scans = 0;
        while !done.load(Ordering::Acquire) || scans == 0 {
            let (view, last) = {
                let table = read(&table);
                (table.view(), table.last_seq())
            };
            let mut seen = vec![false; last as usize];
            let mut walk = merged(&view, b"", None, direction);
            while walk.advance().unwrap() {
                let entry = walk.entry();
                assert_eq!(entry.key, key(entry.seq));
                assert_eq!(entry.value, entry.seq.to_le_bytes().repeat(entry.seq as usize % 40));
                assert!(!std::mem::replace(&mut seen[entry.seq as usize - 1], true));
            }
            assert!(seen.iter().all(|seen| *seen), "everything up to {last}");
            scans += 1;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| scan(Direction::Forward));
        scope.spawn(|| scan(Direction::Backward));
        for seq in 1..=WRITES {
            let value = seq.to_le_bytes().repeat(seq as usize % 40);
            write(&table).insert(&key(seq), seq, Kind::Put, &value);
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn a_batch_that_is_said_to_fit_does() {
    for seed in 1..200 {
        let mut random = Random(seed);
        let mut table = Memtable::new(1 << 14);
        for seq in 1..=random.below(100) {
            table.insert(&seq.to_be_bytes(), seq, Kind::Put, &[0; 20]);
        }
        let batch: Vec<usize> = (0..random.below(400)).map(|_| random.below(90) as usize).collect();
        let bytes = batch.iter().sum::<usize>() + 8 * batch.len();
        if !table.has_room_for(batch.len(), bytes) {
            table = Memtable::with_room(1 << 14, batch.len(), bytes);
            assert!(table.has_room_for(batch.len(), bytes), "seed {seed}");
        }
        for value_bytes in batch {
            let seq = table.last_seq() + 1;
            assert!(table.has_room(8, value_bytes), "seed {seed}");
            table.insert(&seq.to_be_bytes(), seq, Kind::Put, &vec![1; value_bytes]);
        }
        assert!(table.keys <= table.index.len() / 2, "seed {seed}");
    }
}

#[test]
fn a_range_delete_counts_and_what_says_nothing_is_flushed_too() {
    let range = |seq| RangeDelete { start: b"a".to_vec(), end: b"c".to_vec(), seq };
    let mut table = Memtable::new(1 << 20);
    assert!(table.is_empty());
    table.skip(3);
    assert!(!table.is_empty() && table.has_room(1 << 20, 1 << 20), "nothing takes no room");
    table.delete_range(range(4));
    assert_eq!((table.entry_count(), table.last_seq()), (1, 4));
    assert!(table.bytes() > 0 && !table.has_room(1 << 20, 1 << 20));
    assert_eq!(table.get(b"b", 4), Some(Found { seq: 4, kind: Kind::DeleteRange, value: b"" }));
    assert_eq!((table.get(b"b", 3), table.get(b"c", 4)), (None, None));

    let view = table.view();
    table.delete_range(range(5));
    assert_eq!((view.ranges().covering(b"b", 9), table.ranges().covering(b"b", 9)), (4, 5));
    for seq in 6..(4 + MAX_RANGE_DELETES as u64) {
        assert!(table.has_room(1, 1));
        table.delete_range(range(seq));
    }
    assert!(!table.has_room(1, 1), "full of range deletes");
}
