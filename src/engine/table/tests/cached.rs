//! What comes from memory: reads that must not wait, the block cache, values that outlive both.

use super::*;

#[test]
fn a_cached_read_says_that_it_would_block() {
    let (storage, table) = built(&[put("a", 1, "x")]);
    storage.set_cold(true);
    let reads = storage.read_count();
    assert_eq!(table.get(b"a", KeyHash::of(b"a"), 1, ReadMode::Cached).unwrap(), Read::WouldBlock);
    assert!(get(&table, b"a", 1).unwrap().is_some());
    let reads_of_misses = storage.read_count();
    assert_eq!(
        table.get(b"A", KeyHash::of(b"A"), 1, ReadMode::Cached).unwrap(),
        Read::Done(None),
        "out of range"
    );
    assert_eq!(
        table.get(b"a", KeyHash::of(b"a"), 0, ReadMode::Cached).unwrap(),
        Read::Done(None),
        "too old"
    );
    assert_eq!(storage.read_count(), reads_of_misses);
    assert_eq!(reads_of_misses, reads + 3);
    assert!(
        matches!(table.get(b"a", KeyHash::of(b"a"), 1, ReadMode::Cached), Ok(Read::Done(Some(_)))),
        "cached"
    );
}

#[test]
fn a_read_fills_the_cache_and_a_walk_leaves_it_alone() {
    let storage = SimStorage::new(1);
    let entries = random_entries(4, 5_000, 2_000);
    let meta = build(&storage, ID, &entries);
    let tables = tables(&storage, 8 << 20, MAX_OPEN_TABLES);
    let cache = tables.cache();
    let table = Arc::new(Table::open(&tables, &meta).unwrap());
    assert_eq!(collect(table.iter()).unwrap(), entries);
    table.verify().unwrap();
    assert_eq!(cache.stats().misses + cache.stats().blocks as u64, 0, "walks go past the cache");
    // In the page cache: a read that must not wait takes it from there, and keeps it.
    let found = |mode| {
        matches!(
            table.get(&entries[9].0, KeyHash::of(&entries[9].0), Seq::MAX, mode),
            Ok(Read::Done(Some(_)))
        )
    };
    assert!(found(ReadMode::Cached));
    assert_eq!((cache.stats().misses, cache.stats().blocks), (2, 2), "an index and a data block");
    storage.set_cold(true);
    assert!(found(ReadMode::Cached));
    assert_eq!((cache.stats().hits, cache.stats().misses), (2, 2));
    let reads = storage.read_count();
    for (key, seq, ..) in &entries {
        assert!(get(&table, key, *seq).unwrap().is_some());
    }
    let first_round = storage.read_count() - reads;
    for (key, seq, kind, value) in &entries {
        let answer = table.get(key, KeyHash::of(key), *seq, ReadMode::Cached).unwrap();
        let Read::Done(Some(found)) = answer else { panic!("not in memory") };
        assert_eq!((found.seq, found.kind, &*found.value), (*seq, *kind, &value[..]));
    }
    assert_eq!(storage.read_count() - reads, first_round, "all blocks are in memory by now");
    // Another file at the same offsets is another place.
    let meta = build(&storage, ID + 1, &[put("a", 1, "other")]);
    let other = Table::open(&tables, &meta).unwrap();
    assert_eq!(get(&other, b"a", 1).unwrap().unwrap().2, b"other");
}

#[test]
fn a_value_outlives_its_block_in_the_cache_and_its_table() {
    let (_, table) = built(&[put("a", 1, "kept")]);
    let Ok(Read::Done(Some(found))) = table.get(b"a", KeyHash::of(b"a"), 1, ReadMode::Blocking)
    else {
        panic!("not found")
    };
    drop(table);
    assert_eq!(*found.value, b"kept"[..]);
    assert_eq!(format!("{:?}", found.value), "b\"kept\"");
}
