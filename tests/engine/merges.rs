//! Merges that go on: beside damage, at rest, and for several callers at once.

use std::time::{Duration, Instant};

use chronos::engine::storage::Storage;
use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Engine, Health, Options, Scheduling};

use crate::support::{PATIENCE, in_time, key, open, tiny, world};

/// Flushes what is in memory and merges nothing.
fn flush(engine: &Engine) {
    engine.compact_range("~".."~~").unwrap();
}

/// Where damage keeps merges from going on, writers do not wait for them.
#[test]
fn writes_go_on_behind_damage() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    for name in storage.list().unwrap().iter().filter(|name| name.contains(".sst")) {
        storage.flip_bit(name, 100, 1).unwrap();
    }
    in_time("a write behind damage", move || {
        for number in 0..2_000 {
            engine.put(&key(number % 100), &[2; 900]).unwrap();
        }
        assert!(matches!(engine.health(), Health::Corrupt { .. }));
        assert!(engine.stats().level0_sublevels > 12, "{}", engine.stats().level0_sublevels);
    });
}

/// A merge that damage forbids does not keep others from being done.
#[test]
fn merges_go_on_beside_damage() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..20).for_each(|number| engine.put(&key(number), &[1; 400]).unwrap());
    engine.compact().unwrap();
    for name in storage.list().unwrap().iter().filter(|name| name.contains(".sst")) {
        storage.flip_bit(name, 100, 1).unwrap();
    }
    engine.put(&key(1), b"new").unwrap();
    flush(&engine);
    for number in 0..900 {
        engine.put(format!("other-{:02}", number % 50).as_bytes(), &[2; 900]).unwrap();
        engine.run_background();
    }
    assert!(matches!(engine.health(), Health::Corrupt { .. }));
    assert!(engine.stats().level0_sublevels < 4, "{}", engine.stats().level0_sublevels);
}

/// What is left when writing stops is tidied up, though nobody wakes anybody.
#[test]
fn at_rest_level_0_is_tidied_up() {
    let options = Options { level0_tables: 8, ..tiny(Scheduling::Threads) };
    let (engine, _) = Engine::open(world(SimStorage::new(1), 1), options).unwrap();
    for round in 0..4 {
        (0..10).for_each(|number| engine.put(&key(number), &[round; 100]).unwrap());
        flush(&engine);
    }
    assert_eq!(engine.stats().level0_sublevels, 4);
    let since = Instant::now();
    while engine.stats().level0_sublevels > 1 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whoever asks for work of an engine without threads gets it done, whoever else is at it.
#[test]
fn callers_of_an_engine_without_threads_do_not_wait_for_each_other_for_ever() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    in_time("a merge", move || {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..3_000).for_each(|_| engine.compact().unwrap()));
            }
        });
    });
}
