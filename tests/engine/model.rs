//! Random operations against a `BTreeMap`, with flushes, merges, reopens, kills and power cuts.

use chronos::engine::storage::disk::DiskStorage;
use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Durability, Engine, Options, Scheduling};

use crate::support::{
    Got, Random, State, apply, key, observe, open, random_write, tiny, world, write,
};

const KEYS: u64 = 60;
const OPERATIONS: u64 = 600;

fn check(engine: &Engine, state: &State, what: &str) {
    assert!(observe(engine, KEYS).unwrap() == *state, "wrong state {what}");
}

/// One run; everything in it follows from the seed.
fn run(seed: u64) {
    let mut random = Random(seed);
    let mut storage = SimStorage::new(seed);
    let mut engine = open(storage.clone(), seed).unwrap();
    let mut state = State::new();
    for serial in 0..OPERATIONS {
        let what = format!("after operation {serial} of seed {seed}");
        match random.below(200) {
            0 => {
                engine.close().unwrap();
                drop(engine);
                engine = open(storage.clone(), serial).unwrap();
                check(&engine, &state, &what);
            }
            1 => {
                drop(engine);
                storage = storage.kill();
                engine = open(storage.clone(), serial).unwrap();
                check(&engine, &state, &what);
            }
            2 | 3 => {
                drop(engine);
                let survival = [
                    Survival::Nothing,
                    Survival::Everything,
                    Survival::Random(serial),
                    Survival::Torn(serial),
                ];
                storage = storage.power_cut(survival[random.below(4) as usize]);
                engine = open(storage.clone(), serial).unwrap();
                check(&engine, &state, &what);
            }
            4 => {
                engine.compact().unwrap();
                check(&engine, &state, &what);
            }
            5..40 => {
                let wanted = key(random.below(KEYS));
                assert_eq!(engine.got(&wanted), state.get(&wanted).cloned(), "{what}");
            }
            _ => {
                let operation = random_write(&mut random, KEYS, serial);
                write(&engine, &operation).unwrap();
                apply(&mut state, &operation);
            }
        }
    }
    check(&engine, &state, &format!("at the end of seed {seed}"));
    let levels = engine.stats().levels;
    assert!(levels[0].tables < 12, "tables gather: {levels:?}");
}

#[test]
fn random_operations_match_the_model() {
    for seed in 0..60 {
        run(seed);
    }
}

#[test]
fn the_model_holds_on_a_real_disk_with_threads() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let mut state = State::new();
    for round in 0..6 {
        let storage = DiskStorage::new(directory.path()).unwrap();
        let (engine, recovery) =
            Engine::open(world(storage, round), tiny(Scheduling::Threads)).unwrap();
        assert_eq!(recovery.created, round == 0);
        check(&engine, &state, &format!("in round {round}"));
        for serial in 0..200 {
            let operation = random_write(&mut random, KEYS, serial);
            write(&engine, &operation).unwrap();
            apply(&mut state, &operation);
        }
        if round == 3 {
            engine.compact().unwrap();
            let levels = engine.stats().levels;
            assert_eq!(levels[0].tables, 0, "{levels:?}");
            assert_eq!(levels[6].entries, state.len() as u64, "dead versions remain");
        }
        check(&engine, &state, &format!("at the end of round {round}"));
        if round % 2 == 0 {
            engine.close().unwrap();
        }
    }
}

#[test]
fn a_clean_close_leaves_nothing_to_replay() {
    let storage = SimStorage::new(3);
    let engine = open(storage.clone(), 1).unwrap();
    for serial in 0..50 {
        write(&engine, &random_write(&mut Random(serial), KEYS, serial)).unwrap();
    }
    engine.close().unwrap();
    let survivor = storage.power_cut(Survival::Nothing);
    let (_, recovery) = Engine::open(world(survivor, 2), tiny(Scheduling::Manual)).unwrap();
    assert_eq!((recovery.writes, recovery.torn), (0, None));
    assert_eq!(recovery.last_seq, 50);
}

#[test]
fn writers_on_many_threads_share_groups_and_lose_nothing() {
    let storage = SimStorage::new(11);
    let (engine, _) = Engine::open(world(storage.clone(), 1), tiny(Scheduling::Threads)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let engine = engine.clone();
            scope.spawn(move || {
                for serial in 0..300_u64 {
                    let key = format!("{thread}-{serial}");
                    engine.put(key.as_bytes(), &serial.to_le_bytes()).unwrap();
                }
            });
        }
    });
    drop(engine);
    let engine = open(storage.power_cut(Survival::Nothing), 2).unwrap();
    for thread in 0..6_u64 {
        for serial in 0..300_u64 {
            let value = engine.got(format!("{thread}-{serial}").as_bytes());
            assert_eq!(value, Some(serial.to_le_bytes().to_vec()), "{thread}-{serial}");
        }
    }
}

#[test]
fn weaker_durability_loses_at_most_a_tail_in_a_power_cut_and_nothing_in_a_kill() {
    for (seed, durability) in [(1, Durability::EverySecond), (2, Durability::Os)] {
        let options = Options { durability, ..tiny(Scheduling::Manual) };
        let storage = SimStorage::new(seed);
        let (engine, _) = Engine::open(world(storage.clone(), seed), options.clone()).unwrap();
        let mut states = vec![State::new()];
        for serial in 0..400 {
            let operation = random_write(&mut Random(serial), KEYS, serial);
            write(&engine, &operation).unwrap();
            let mut next = states.last().unwrap().clone();
            apply(&mut next, &operation);
            states.push(next);
        }
        drop(engine);
        for round in 0..20 {
            let survivor = storage.power_cut(Survival::Random(round));
            let (engine, _) = Engine::open(world(survivor, 9), options.clone()).unwrap();
            let found = observe(&engine, KEYS).unwrap();
            assert!(states.contains(&found), "no prefix: {durability:?}, round {round}");
        }
        let (engine, _) = Engine::open(world(storage.kill(), 9), options).unwrap();
        assert!(observe(&engine, KEYS).unwrap() == *states.last().unwrap(), "{durability:?}");
    }
}

#[test]
fn small_groups_do_not_pile_up_log_segments() {
    // A memtable holds all of this; the log, a block for each write, would take 40 segments.
    let options = Options { memory_bytes: 4 << 20, ..tiny(Scheduling::Threads) };
    let storage = SimStorage::new(5);
    let (engine, _) = Engine::open(world(storage, 5), options).unwrap();
    for serial in 0..600_u32 {
        engine.put(&serial.to_be_bytes(), b"small").unwrap();
        let segments = engine.stats().wal_segments;
        assert!(segments <= 14, "{segments} segments after {serial} writes");
    }
    assert!(engine.stats().flushes > 0);
}

#[test]
fn levels_keep_their_shape_under_overwrites() {
    const MANY: u64 = 2_000;
    let storage = SimStorage::new(8);
    let engine = open(storage.clone(), 8).unwrap();
    let mut random = Random(8);
    let mut state = State::new();
    let mut deepest_use = 0;
    for serial in 0..16_000 {
        let mut operation = random_write(&mut random, MANY, serial);
        if serial < 4_000 {
            operation.1.get_or_insert_default().resize(300, b'.');
        }
        write(&engine, &operation).unwrap();
        apply(&mut state, &operation);
        if serial % 500 == 499 {
            engine.run_background();
            let levels = engine.stats().levels;
            assert!(levels[0].tables < 2, "level 0 was left: {levels:?}");
            deepest_use = deepest_use.max(levels.iter().filter(|level| level.tables > 0).count());
        }
    }
    assert!(observe(&engine, MANY).unwrap() == state);
    assert!(deepest_use >= 3, "the levels between were never used");
    let levels = engine.stats().levels;
    let on_disk: u64 = levels.iter().map(|level| level.bytes).sum();
    let live: u64 = state.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    assert!(on_disk < live * 13 / 10, "{on_disk} bytes for {live}: {levels:?}");
    drop(engine);
    let engine = open(storage.power_cut(Survival::Nothing), 9).unwrap();
    assert!(observe(&engine, MANY).unwrap() == state);
    engine.compact().unwrap();
    let levels = engine.stats().levels;
    assert_eq!(levels[6].entries, state.len() as u64, "dead versions remain: {levels:?}");
    assert!(observe(&engine, MANY).unwrap() == state);
}

#[test]
fn what_is_written_in_order_is_moved_and_not_copied() {
    let storage = SimStorage::new(9);
    let engine = open(storage, 9).unwrap();
    for number in 0..2_000 {
        engine.put(&key(number), &[b'.'; 100]).unwrap();
    }
    engine.run_background();
    let stats = engine.stats();
    assert_eq!(stats.compactions, 0, "{stats:?}");
    assert_eq!(stats.levels[0].tables, stats.flushes as usize - stats.moves as usize);
}
