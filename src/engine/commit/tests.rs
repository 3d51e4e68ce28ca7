//! The pipeline by itself, on a storage whose syncs can be held.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::engine::iter::testing::Random;
use crate::engine::journal::{Header, Purpose};
use crate::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
use crate::engine::wal::{create_segment, start_segment};

/// A header and seven blocks.
const SEGMENT_BYTES: usize = 32 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that shows what it was set to.
#[derive(Default)]
struct Dial(AtomicU64);

impl Clock for Dial {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A pipeline in front of a fresh segment 1.
fn pipeline(storage: &SimStorage, durability: Durability, clock: Arc<Dial>) -> Commit {
    let header = Header {
        purpose: Purpose::Wal,
        id: 1,
        epoch: 1,
        first_group: 1,
        first_seq: 1,
        previous_id: 0,
        previous_end: 0,
        previous_crc: 0,
        blocks: 0,
    };
    let segment = create_segment(storage, 1, SEGMENT_BYTES).unwrap();
    let journal = start_segment(segment, &header).unwrap();
    let wal = Wal::new(journal, 1, SEGMENT_BYTES, Arc::new(|| 2));
    let sizing = Sizing::new(SEGMENT_BYTES, 4 * SEGMENT_BYTES, 0);
    Commit::new(wal, sizing, 0, durability, clock, Arc::default())
}

/// Submits the write `seq` as a record of this length, for the caller to commit.
fn submit(commit: &Commit, seq: Seq, bytes: usize) {
    let mut staged = GroupBuffer::new();
    staged.push(|out| out.resize(out.len() + bytes, b'x'));
    commit.submit(&mut staged, seq, seq, Urgency::Quiet);
}

/// The number of a segment that is taken out of the log.
fn retire(commit: &Commit, needed: u64) -> Option<u64> {
    commit.retire(needed).map(|segment| segment.id)
}

/// A pipeline whose segment is so full that the next write, number 2, changes to segment 2.
fn before_a_change_of_segment() -> (SimStorage, Commit) {
    let storage = SimStorage::new(1);
    let commit = pipeline(&storage, Durability::Always, Arc::default());
    assert!(commit.add_spare(create_segment(&storage, 2, SEGMENT_BYTES).unwrap()).is_none());
    submit(&commit, 1, 16 << 10);
    assert!(commit.commit_in_place());
    assert_eq!(commit.oldest_needed(1), 1, "it is the active one");
    submit(&commit, 2, 8 << 10);
    (storage, commit)
}

#[test]
fn a_segment_is_needed_until_its_successor_has_a_header() {
    let (storage, commit) = before_a_change_of_segment();
    storage.hold_syncs(true);
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| commit.commit_in_place());
        let held = storage.wait_for_syncs(1, PATIENCE);
        let meanwhile = (commit.oldest_needed(1), retire(&commit, 2));
        storage.hold_syncs(false);
        assert!(committing.join().unwrap());
        assert!(held, "the end of segment 1 is synced first");
        assert_eq!(meanwhile, (1, None), "a recovery that began at 2 would find no header there");
    });
    assert_eq!(commit.oldest_needed(0), 1, "write 1 is in no table");
    assert_eq!(
        (commit.oldest_needed(1), retire(&commit, 1), retire(&commit, 2)),
        (2, None, Some(1))
    );
}

#[test]
fn a_segment_whose_successor_failed_stays_needed() {
    for call in 1..=4 {
        let (storage, commit) = before_a_change_of_segment();
        storage.fail_call(storage.call_count() + call, FaultKind::Io, Times::Once);
        assert!(!commit.commit_in_place());
        assert!(commit.failure().is_some());
        assert_eq!((commit.oldest_needed(1), retire(&commit, 2)), (1, None), "call {call}");
    }
}

#[test]
fn a_clock_that_steps_back_does_not_put_off_syncs_and_seals() {
    let clock = Arc::new(Dial::default());
    for durability in [Durability::Always, Durability::EverySecond] {
        let storage = SimStorage::new(1);
        clock.0.store(1_000_000, Ordering::Relaxed);
        let commit = pipeline(&storage, durability, Arc::clone(&clock));
        submit(&commit, 1, 100);
        assert!(commit.commit_in_place());
        assert!(!commit.tidy_is_due());
        clock.0.store(10, Ordering::Relaxed);
        assert!(commit.tidy_is_due(), "{durability:?}: due only when the clock is back");
        submit(&commit, 2, 100);
        assert!(commit.commit_in_place());
        assert!(lock(&commit.wal).is_synced(), "{durability:?}: not synced until then");
    }
}

#[test]
fn segments_never_grow_and_what_is_admitted_fits() {
    let storage = SimStorage::new(1);
    let clock = Arc::new(Dial::default());
    let commit = pipeline(&storage, Durability::Always, Arc::clone(&clock));
    let mut lengths = std::collections::BTreeMap::from([(1, SEGMENT_BYTES)]);
    let mut random = Random(9);
    let (mut id, mut admitted) = (1, 0);
    for step in 0..1_200 {
        // Some while segments are filled fast, some while it takes minutes, and so on.
        let ms = if step % 400 < 200 { 1 } else { 100_000 };
        clock.0.fetch_add(ms, Ordering::Relaxed);
        let close = commit.capacity().payload_limit.saturating_sub(random.below(8) as usize);
        let any = 1 + random.below(20_000) as usize;
        let bytes = if random.below(2) == 0 { close } else { any };
        if bytes > 0 && commit.capacity().admits(0, bytes) {
            admitted += 1;
            submit(&commit, admitted, bytes);
            assert!(commit.commit_in_place(), "{bytes} bytes: {:?}", commit.failure());
        }
        if random.below(2) == 0 {
            commit.seal().unwrap();
        }
        // As if everything were flushed at once.
        while retire(&commit, commit.oldest_needed(admitted)).is_some() {}
        if random.below(9) == 0 {
            commit.want_segment(random.below(100_000) as usize);
        }
        if let Some(bytes) = commit.wanted_spare().filter(|_| random.below(3) == 0) {
            id += 1;
            lengths.insert(id, bytes);
            let _replaced = commit.add_spare(create_segment(&storage, id, bytes).unwrap());
        }
    }
    assert!(id > 20 && admitted > 100, "{id} segments, {admitted} writes");
    let distinct: std::collections::BTreeSet<_> = lengths.values().collect();
    assert!(distinct.len() > 4, "{distinct:?}");
    for (id, bytes) in &lengths {
        let name = crate::engine::filename::wal(*id);
        assert_eq!(storage.read_file(&name).unwrap().len(), *bytes, "{name} has grown");
    }
}

/// The largest write fits the longest segment, and nothing waits for one that it would never get.
#[test]
fn a_write_that_waits_gets_a_segment_that_admits_it() {
    let storage = SimStorage::new(1);
    let most = Room::max_payload(4 * SEGMENT_BYTES);
    for bytes in (1..=most).step_by(4_000).chain([most - 1, most]) {
        for pending in [0, 1, 9_000] {
            let commit = pipeline(
                &storage.at(std::path::Path::new(&format!("{bytes}-{pending}"))),
                Durability::Always,
                Arc::default(),
            );
            if pending > 0 {
                submit(&commit, 1, pending);
            }
            commit.want_segment(bytes);
            if let Some(length) = commit.wanted_spare() {
                let _replaced = commit.add_spare(
                    create_segment(&storage, bytes as u64 * 9 + pending as u64, length).unwrap(),
                );
            }
            assert!(commit.commit_in_place());
            assert!(commit.capacity().admits(0, bytes), "{bytes} bytes behind {pending}");
        }
    }
}

#[test]
fn a_seal_takes_no_room_from_what_waits() {
    let storage = SimStorage::new(1);
    let commit = pipeline(&storage, Durability::Always, Arc::default());
    submit(&commit, 1, 100);
    assert!(commit.commit_in_place());
    submit(&commit, 2, 100);
    let calls = storage.call_count();
    commit.tidy(&mut lock(&commit.wal));
    assert_eq!(storage.call_count(), calls, "sealed while a write waits");
    assert!(commit.commit_in_place());
    commit.tidy(&mut lock(&commit.wal));
    assert!(!lock(&commit.wal).is_unsealed());
}

#[test]
fn groups_stay_small_while_something_waits() {
    let capacity = Capacity { pending_bytes: 3 << 20, payload_limit: 64 << 20 };
    assert!(capacity.admits(0, 1 << 20));
    assert!(!capacity.admits(0, (1 << 20) + 1));
    assert!(!capacity.admits(1, 1 << 20));
    assert!(Capacity { pending_bytes: 0, ..capacity }.admits(0, 64 << 20), "alone");
}

#[test]
fn a_dead_log_is_never_written_again() {
    let storage = SimStorage::new(1);
    let commit = pipeline(&storage, Durability::Always, Arc::default());
    submit(&commit, 1, 100);
    storage.fail_call(storage.call_count() + 2, FaultKind::SyncLosesData, Times::Once);
    assert!(!commit.commit_in_place());
    // Admitted before, submitted after.
    submit(&commit, 2, 100);
    let calls = storage.call_count();
    assert!(!commit.commit_in_place());
    assert!(commit.seal().is_err());
    commit.run();
    assert_eq!((storage.call_count(), commit.durable_seq()), (calls, 0));
}

#[test]
fn a_log_that_died_while_its_sealer_waited_is_left_alone() {
    let storage = SimStorage::new(1);
    let commit = pipeline(&storage, Durability::Always, Arc::default());
    submit(&commit, 1, 100);
    storage.fail_call(storage.call_count() + 2, FaultKind::SyncLosesData, Times::Once);
    assert!(!commit.commit_in_place());
    // The log thread had decided to seal, and gets the lock only behind the commit that failed. A
    // sync now would succeed with the data gone, and a seal would swear that it is there.
    let calls = storage.call_count();
    commit.tidy(&mut lock(&commit.wal));
    assert_eq!(storage.call_count(), calls);
}

#[test]
fn a_segment_is_whole_and_durable_before_it_counts() {
    let storage = SimStorage::new(1);
    create_segment(&storage, 1, SEGMENT_BYTES).unwrap();
    let survivor = storage.power_cut(Survival::Nothing);
    assert_eq!(survivor.read_file("000001.wal").unwrap(), vec![0; SEGMENT_BYTES]);
}

#[test]
fn who_cannot_commit_in_place_wakes_the_log_thread() {
    let storage = SimStorage::new(1);
    let commit = pipeline(&storage, Durability::Os, Arc::default());
    submit(&commit, 1, 100);
    let busy = lock(&commit.wal);
    lock(&commit.queue).rest = Rest::Asleep;
    assert!(!commit.commit_in_place());
    assert_eq!(lock(&commit.queue).rest, Rest::Awake, "nobody would commit it");
    drop(busy);
}
