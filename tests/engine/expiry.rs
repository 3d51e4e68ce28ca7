//! Values that have expired and are kept until somebody was told: no reader sees them, no flush, merge
//! or restart takes them away, and their room comes back once they are deleted or no longer kept.

use std::sync::Arc;

use chronos::engine::storage::sim::{SimStorage, Survival};
use chronos::engine::{Clock, Engine, Environment, Lookup, Options, Scheduling};

use crate::support::{Standing, key, tiny, world};

struct World {
    storage: SimStorage,
    clock: Arc<Standing>,
}

impl World {
    fn new() -> Self {
        World { storage: SimStorage::new(1), clock: Standing::at(1_000) }
    }

    fn open(&self, keep_expired: bool) -> Engine {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let environment = Environment { clock, ..world(self.storage.clone(), 1) };
        let options = Options { keep_expired, ..tiny(Scheduling::Manual) };
        Engine::open(environment, options).unwrap().0
    }

    fn wait_until(&self, now_ms: u64) {
        self.clock.set(now_ms);
    }
}

/// When `key` expires, or did, if its value is still there.
fn expiry(engine: &Engine, key: &[u8]) -> Option<u64> {
    let session = engine.session();
    let read = match session.lookup_expired(key).unwrap() {
        Lookup::Found(record) => return record.expires_ms,
        Lookup::Missing { .. } => return None,
        Lookup::Deferred(read) => read,
    };
    drop(session);
    read.run().unwrap().and_then(|record| record.expires_ms)
}

/// The expiries that a walk finds.
fn walked(engine: &Engine) -> Vec<u64> {
    let mut scan = engine.scan_expiring(..);
    let mut found = Vec::new();
    while scan.advance().unwrap() {
        found.extend(scan.expires_ms());
    }
    found
}

fn assert_unseen(engine: &Engine, key: &[u8]) {
    assert_eq!(engine.get(key).unwrap(), None);
    assert_eq!(engine.multi_get(&[key]).unwrap(), [None]);
    assert_eq!(engine.snapshot().get(key).unwrap(), None);
    assert_eq!(engine.scan(..).count() + engine.scan(..).reversed().count(), 0);
}

fn entries(engine: &Engine) -> u64 {
    engine.stats().levels.iter().map(|level| level.entries).sum()
}

#[test]
fn a_kept_value_outlasts_flush_merge_and_restart_and_no_reader_sees_it() {
    let mut world = World::new();
    let engine = world.open(true);
    engine.put(b"k", b"overwritten").unwrap();
    engine.put_expiring(b"k", b"value", 2_000).unwrap();
    world.wait_until(2_000);
    let check = |engine: &Engine, when: &str| {
        assert_unseen(engine, b"k");
        assert_eq!((expiry(engine, b"k"), walked(engine)), (Some(2_000), vec![2_000]), "{when}");
    };
    check(&engine, "in memory");
    engine.compact().unwrap();
    check(&engine, "in a table");
    engine.put_expiring(b"j", b"value", 1_500).unwrap();
    engine.delete(b"j").unwrap();
    engine.compact().unwrap();
    check(&engine, "merged");
    drop(engine);
    world.storage = world.storage.power_cut(Survival::Nothing);
    let engine = world.open(true);
    engine.run_background();
    check(&engine, "after a restart");
    assert_eq!(engine.stats().expired, 0);
    engine.delete(b"k").unwrap();
    assert_eq!(expiry(&engine, b"k"), None);
    engine.compact().unwrap();
    assert_eq!((entries(&engine), walked(&engine)), (0, vec![]));
    engine.close().unwrap();
}

#[test]
fn what_is_no_longer_kept_goes_with_the_next_merge() {
    let world = World::new();
    let engine = world.open(true);
    for number in 0..100 {
        engine.put_expiring(&key(number), b"value", 2_000).unwrap();
    }
    engine.compact().unwrap();
    world.wait_until(3_000);
    // All of it is garbage that must not go: this must come to an end.
    engine.run_background();
    engine.compact().unwrap();
    assert_eq!((entries(&engine), walked(&engine).len()), (100, 100));
    engine.keep_expired(false);
    engine.run_background();
    assert_eq!((entries(&engine), engine.stats().expired), (0, 100));
    engine.close().unwrap();
}

#[test]
fn a_walk_over_what_expires_leaves_out_tables_in_which_nothing_does() {
    let world = World::new();
    let engine = world.open(false);
    engine.put(b"stays", b"value").unwrap();
    engine.compact().unwrap();
    let seen = |engine: &Engine| {
        let mut scan = engine.scan_expiring(..);
        let mut keys = Vec::new();
        while scan.advance().unwrap() {
            keys.push(scan.key().to_vec());
        }
        keys
    };
    assert_eq!(seen(&engine), Vec::<Vec<u8>>::new());
    engine.put_expiring(b"expires", b"value", 2_000).unwrap();
    engine.compact().unwrap();
    assert_eq!(walked(&engine), [2_000]);
    engine.close().unwrap();
}
