//! The pipeline by itself, on a storage whose syncs can be held.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::engine::journal::{Header, Purpose};
use crate::engine::storage::sim::{FaultKind, SimStorage, Times};
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
    };
    let segment = create_segment(storage, 1, SEGMENT_BYTES).unwrap();
    let journal = start_segment(segment, &header).unwrap();
    let wal = Wal::new(journal, 1, Arc::new(|| 2));
    Commit::new(wal, SEGMENT_BYTES, 0, durability, clock, Arc::default())
}

/// Submits the write `seq` as a record of this length, for the caller to commit.
fn submit(commit: &Commit, seq: Seq, bytes: usize) {
    let mut staged = GroupBuffer::new();
    staged.push(|out| out.resize(out.len() + bytes, b'x'));
    commit.submit(&mut staged, seq, seq, true);
}

/// A pipeline whose segment is so full that the next write, number 2, changes to segment 2.
fn before_a_change_of_segment() -> (SimStorage, Commit) {
    let storage = SimStorage::new(1);
    let commit = pipeline(&storage, Durability::Always, Arc::default());
    commit.add_spare(create_segment(&storage, 2, SEGMENT_BYTES).unwrap());
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
        let meanwhile = (commit.oldest_needed(1), commit.retire(2));
        storage.hold_syncs(false);
        assert!(committing.join().unwrap());
        assert!(held, "the end of segment 1 is synced first");
        assert_eq!(meanwhile, (1, None), "a recovery that began at 2 would find no header there");
    });
    assert_eq!((commit.oldest_needed(1), commit.retire(2)), (2, Some(1)));
}

#[test]
fn a_segment_whose_successor_failed_stays_needed() {
    for call in 1..=4 {
        let (storage, commit) = before_a_change_of_segment();
        storage.fail_call(storage.call_count() + call, FaultKind::Io, Times::Once);
        assert!(!commit.commit_in_place());
        assert!(commit.failure().is_some());
        assert_eq!((commit.oldest_needed(1), commit.retire(2)), (1, None), "call {call}");
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
