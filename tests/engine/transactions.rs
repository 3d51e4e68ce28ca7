//! Conditions: of those who read, decide and write, nobody overwrites what he has not seen.

use std::sync::Arc;

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{
    Batch, Conditional, Decision, Engine, Error, Expected, Options, Result, Scheduling,
    WriteDurability, WriteOptions,
};

use crate::support::{Got, open, tiny, world};

/// Adds one to both counters, whoever else does.
fn increment_both(engine: &Engine, options: WriteOptions) -> Result<u64> {
    let mut conflicts = 0;
    loop {
        let mut batch = Batch::new();
        for key in [b"first", b"other"] {
            let record = engine.get_record(key)?;
            let count: u64 = record
                .as_ref()
                .map_or(0, |record| std::str::from_utf8(&record.value).unwrap().parse().unwrap());
            batch.require(key, Expected::of(record.as_ref()));
            batch.put(key, (count + 1).to_string().as_bytes());
        }
        match engine.write_if(&batch, options)? {
            Decision::Written { .. } => return Ok(conflicts),
            Decision::Conflict { key, .. } => {
                assert!(key == b"first" || key == b"other");
                conflicts += 1;
            }
        }
    }
}

#[test]
fn two_threads_that_increment_lose_nothing() {
    const EACH: u64 = 300;
    let storage = SimStorage::new(1);
    let options =
        Options { durability: chronos::engine::Durability::Os, ..tiny(Scheduling::Threads) };
    let (engine, _) = Engine::open(world(storage.clone(), 1), options).unwrap();
    // What is looked at is sometimes on the disk only.
    let weather = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let (engine, storage, weather) =
                (engine.clone(), storage.clone(), Arc::clone(&weather));
            std::thread::spawn(move || {
                if worker == 2 {
                    let mut cold = false;
                    while weather.load(std::sync::atomic::Ordering::Relaxed) {
                        cold = !cold;
                        storage.set_cold(cold);
                        engine.compact().unwrap();
                    }
                    return;
                }
                for number in 0..EACH {
                    let durability =
                        [WriteDurability::Synced, WriteDurability::Grouped][number as usize % 2];
                    increment_both(&engine, WriteOptions::durability(durability)).unwrap();
                }
            })
        })
        .collect();
    let mut workers = workers.into_iter();
    workers.by_ref().take(2).for_each(|worker| worker.join().unwrap());
    weather.store(false, std::sync::atomic::Ordering::Relaxed);
    workers.for_each(|worker| worker.join().unwrap());
    let total = Some((2 * EACH).to_string().into_bytes());
    assert_eq!((engine.got(b"first"), engine.got(b"other")), (total.clone(), total));
}

#[test]
fn all_conditions_hold_or_nothing_happens() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    engine.put(b"here", b"1").unwrap();
    let version = engine.get_record(b"here").unwrap().unwrap().version;
    let write = |require: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        batch.put(b"written", b"").delete(b"here");
        require(&mut batch);
        engine.write_if(&batch, WriteOptions::default()).unwrap()
    };
    let before = engine.stats().last_seq;
    let conflicts: [&dyn Fn(&mut Batch); 4] = [
        &|batch| _ = batch.require(b"here", Expected::Absent),
        &|batch| _ = batch.require(b"gone", Expected::Present),
        &|batch| _ = batch.require(b"here", Expected::Version(version + 1)),
        &|batch| {
            batch
                .require(b"here", Expected::Version(version))
                .require(b"gone", Expected::Version(1));
        },
    ];
    for require in conflicts {
        assert!(matches!(write(require), Decision::Conflict { .. }));
        assert_eq!(engine.got(b"written"), None);
    }
    assert_eq!(engine.stats().last_seq, before, "no number was taken");
    let held = write(&|batch| {
        batch.require(b"here", Expected::Version(version)).require(b"gone", Expected::Absent);
    });
    assert_eq!(held, Decision::Written { version: before + 2 });
    assert_eq!((engine.got(b"written"), engine.got(b"here")), (Some(Vec::new()), None));

    let mut looks = Batch::new();
    looks.require(b"written", Expected::Present).require(b"here", Expected::Absent);
    let seen = engine.write_if(&looks, WriteOptions::default()).unwrap();
    assert_eq!(seen, Decision::Written { version: before + 2 });
    // Who takes no conditions does not ignore them.
    let refused = engine.write(&looks, WriteOptions::default());
    assert!(matches!(refused, Err(Error::InvalidOption(_))));
    looks.put(b"key", b"");
    let refused = engine.write(&looks, WriteOptions::default());
    assert!(matches!(refused, Err(Error::InvalidOption(_))));
    looks.clear();
    looks.put(b"key", b"");
    engine.write(&looks, WriteOptions::default()).unwrap();
}

#[test]
fn a_delete_with_a_condition_takes_what_was_seen_and_nothing_newer() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    engine.put(b"job", b"1").unwrap();
    let seen = engine.get_record(b"job").unwrap().unwrap();
    engine.put(b"job", b"2").unwrap();
    let Conditional::Conflict { current } =
        engine.delete_if(b"job", Expected::Version(seen.version)).unwrap()
    else {
        panic!("it has changed");
    };
    let current = current.unwrap();
    assert_eq!(current.value, b"2");
    let done = engine.delete_if(b"job", Expected::Version(current.version)).unwrap();
    assert!(matches!(done, Conditional::Written { .. }));
    assert_eq!(engine.got(b"job"), None);
    let done = engine.delete_if(b"job", Expected::Present).unwrap();
    assert_eq!(done, Conditional::Conflict { current: None });
}

/// A crash at any call leaves both counters as they were before some increment.
#[test]
fn a_crash_leaves_all_of_a_transaction_or_nothing() {
    for call in 1.. {
        let storage = SimStorage::new(call);
        let engine = open(storage.clone(), 1).unwrap();
        storage.crash_at(storage.call_count() + call);
        let mut done = 0;
        while done < 12 && increment_both(&engine, WriteOptions::default()).is_ok() {
            done += 1;
        }
        let is_over = !storage.is_down();
        drop(engine);
        for survival in [Survival::Nothing, Survival::Everything, Survival::Random(call)] {
            let engine = open(storage.power_cut(survival), 2).unwrap();
            let count = |key: &[u8]| {
                engine
                    .got(key)
                    .map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap())
            };
            let (first, other): (u64, u64) = (count(b"first"), count(b"other"));
            assert_eq!(first, other, "call {call}, {survival:?}");
            assert!((done..=done + 1).contains(&first), "call {call}: {first} of {done}");
        }
        if is_over {
            break;
        }
    }
}
