//! Ranges of keys: a scan behind its end, and range deletes, which are kept as long as something needs
//! them and no longer.

use chronos::engine::Batch;
use chronos::engine::storage::sim::{SimStorage, Survival};

use crate::support::{UNSYNCED, key, open};

/// A scan that is asked for more than it has does not bring its caller down.
#[test]
fn a_scan_at_its_end_has_no_value() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    engine.put(b"a", b"1").unwrap();
    engine.put(b"b", b"2").unwrap();
    for mut scan in [engine.scan(..), engine.scan(..).reversed()] {
        assert!(scan.value().is_empty());
        while scan.advance().unwrap() {}
        assert!(scan.value().is_empty() && scan.key().is_empty());
        assert_eq!((scan.version(), scan.expires_ms()), (0, None));
    }
}

/// Range deletes that each cover what the last one did are kept once for each snapshot, however long
/// that is held: all of them would take memory by their square.
#[test]
fn nested_range_deletes_do_not_pile_up_behind_a_snapshot() {
    let engine = open(SimStorage::new(1), 1).unwrap();
    (0..9_000).for_each(|number| drop(engine.put_with(&key(number), b"value", UNSYNCED)));
    let first = engine.snapshot();
    let mut second = None;
    for number in 0..4_500 {
        let mut batch = Batch::new();
        batch.delete_range(key(0)..key(number)).put(&key(0), b"again");
        engine.write(&batch, UNSYNCED).unwrap();
        if number == 2_000 {
            second = Some(engine.snapshot());
        }
    }
    engine.compact().unwrap();
    assert!(engine.stats().range_deletes <= 3, "{}", engine.stats().range_deletes);
    assert_eq!(first.scan(..).count(), 9_000);
    assert_eq!(second.unwrap().scan(..).count(), 7_001);
    assert_eq!(engine.scan(..).count(), 4_502);
}

/// A range delete that is forgotten is forgotten for good, and not before nothing needs it: a table
/// that recovery wrote does.
#[test]
fn range_deletes_are_forgotten_when_nothing_needs_them_and_not_before() {
    let storage = SimStorage::new(1);
    let engine = open(storage.clone(), 1).unwrap();
    (0..100).for_each(|number| engine.put(&key(number), b"value").unwrap());
    let storage = storage.power_cut(Survival::Nothing);
    let engine = open(storage.clone(), 2).unwrap();
    engine.delete_range(key(0)..key(50)).unwrap();
    for number in 0..40 {
        engine.put(format!("other-{number}").as_bytes(), &[1; 900]).unwrap();
        engine.run_background();
        assert_eq!(engine.scan(key(0)..key(100)).count(), 50, "after {number}");
    }
    engine.compact().unwrap();
    assert_eq!(engine.stats().range_deletes, 0);
    assert_eq!(engine.scan(key(0)..key(100)).count(), 50);
    let engine = open(storage.power_cut(Survival::Nothing), 3).unwrap();
    assert_eq!(engine.stats().range_deletes, 0);
    assert_eq!(engine.scan(key(0)..key(100)).count(), 50);
}
