//! The simulated storage keeps its promises, and breaks exactly those that it is told to break.

use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::inode::SECTOR_BYTES;
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// A storage with the durable file "f" that holds `bytes`.
fn with_file(bytes: &[u8]) -> (SimStorage, Arc<dyn File>) {
    let storage = SimStorage::new(7);
    storage.write_file("f", bytes).unwrap();
    let file = storage.open("f").unwrap();
    (storage, file)
}

fn after_cut(storage: &SimStorage, survival: Survival) -> Option<Vec<u8>> {
    storage.power_cut(survival).read_file("f").ok()
}

fn text(error: &io::Error) -> String {
    error.to_string()
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_no_more() {
    let (storage, file) = with_file(b"old");
    file.write_all_at(b"new", 0).unwrap();
    file.sync().unwrap();
    file.write_all_at(b"NEWER", 0).unwrap();
    assert_eq!(after_cut(&storage, Survival::Nothing).unwrap(), b"new");
    assert_eq!(after_cut(&storage, Survival::Everything).unwrap(), b"NEWER");
}

#[test]
fn a_file_is_durable_by_both_syncs_only() {
    for (sync_file, sync_dir) in [(false, false), (true, false), (false, true), (true, true)] {
        let storage = SimStorage::new(1);
        let file = storage.create("f").unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        if sync_file {
            file.sync().unwrap();
        }
        if sync_dir {
            storage.sync_dir().unwrap();
        }
        let expected = sync_dir.then(|| if sync_file { b"bytes".to_vec() } else { Vec::new() });
        assert_eq!(after_cut(&storage, Survival::Nothing), expected);
    }
}

#[test]
fn unsynced_renames_and_removals_are_undone_by_a_cut() {
    let storage = SimStorage::new(1);
    storage.write_file("a", b"a").unwrap();
    storage.write_file("b", b"b").unwrap();
    storage.rename("a", "b").unwrap();
    storage.write_file("c", b"c").unwrap();
    storage.remove("c").unwrap();
    let cut = storage.power_cut(Survival::Nothing);
    assert_eq!(cut.list().unwrap(), ["a", "b", "c"]);
    assert_eq!(cut.read_file("b").unwrap(), b"b");
    let cut = storage.power_cut(Survival::Everything);
    assert_eq!(cut.list().unwrap(), ["b"]);
    assert_eq!(cut.read_file("b").unwrap(), b"a");
}

#[test]
fn random_survival_mixes_sectors_and_fills_holes_with_zeros() {
    let (storage, file) = with_file(&[1; 2 * SECTOR_BYTES]);
    file.write_all_at(&[2; 6 * SECTOR_BYTES], 0).unwrap();
    let mut seen = std::collections::HashSet::new();
    for seed in 0..200 {
        let bytes = after_cut(&storage, Survival::Random(seed)).unwrap();
        assert_eq!(after_cut(&storage, Survival::Random(seed)).unwrap(), bytes, "seed {seed}");
        let sectors: Vec<u8> = bytes
            .chunks(SECTOR_BYTES)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is never mixed");
                sector[0]
            })
            .collect();
        assert!(sectors[..2].iter().all(|byte| matches!(byte, 1 | 2)));
        assert!(sectors[2..].iter().all(|byte| matches!(byte, 0 | 2)));
        // That of the device, or all that was written, which is less than a page.
        assert!([2, 6].contains(&sectors.len()), "{}", sectors.len());
        seen.insert(sectors);
    }
    assert!(seen.len() > 40, "64 outcomes exist, {} were seen", seen.len());
}

#[test]
fn random_directory_survival_is_consistent_per_name() {
    let storage = SimStorage::new(1);
    storage.write_file("current", b"0").unwrap();
    storage.create("temporary").unwrap().write_all_at(b"1", 0).unwrap();
    storage.rename("temporary", "current").unwrap();
    storage.create("other").unwrap();
    let mut seen = std::collections::HashSet::new();
    for seed in 0..200 {
        let cut = storage.power_cut(Survival::Random(seed));
        let names = cut.list().unwrap();
        assert!(names.contains(&"current".to_owned()), "a rename never loses its target");
        let replaced = cut.read_file("current").unwrap() != b"0";
        assert!(!(replaced && names.contains(&"temporary".to_owned())), "one name per file");
        seen.insert((names, replaced));
    }
    assert_eq!(seen.len(), 6, "created or not or renamed, times other or not");
}

#[test]
fn a_change_survives_only_after_those_before_it_to_the_same_names() {
    let storage = SimStorage::new(1);
    storage.write_file("a", b"old").unwrap();
    storage.rename("a", "b").unwrap();
    storage.create("a").unwrap();
    for seed in 0..100 {
        let cut = storage.power_cut(Survival::Random(seed));
        let old = [cut.read_file("a"), cut.read_file("b")];
        let kept = old.into_iter().flatten().filter(|bytes| bytes == b"old").count();
        assert_eq!(kept, 1, "seed {seed}: a durable file is under its old name or the new one");
    }
}

#[test]
fn a_tear_keeps_a_prefix_of_the_last_write() {
    let (storage, file) = with_file(&[1; 8 * SECTOR_BYTES]);
    file.write_all_at(&[2; SECTOR_BYTES], 0).unwrap();
    file.write_all_at(&[3; 4 * SECTOR_BYTES], 2 * SECTOR_BYTES as u64).unwrap();
    let mut lengths = std::collections::HashSet::new();
    for seed in 0..100 {
        let bytes = after_cut(&storage, Survival::Torn(seed)).unwrap();
        let sectors: Vec<u8> = bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
        assert_eq!((sectors[0], sectors[1], &sectors[6..]), (2, 1, &[1, 1][..]));
        let kept = sectors[2..6].iter().take_while(|byte| **byte == 3).count();
        assert!(sectors[2 + kept..6].iter().all(|byte| *byte == 1));
        lengths.insert(kept);
    }
    assert_eq!(lengths.len(), 5);
}

#[test]
fn a_kill_keeps_the_cache_and_what_is_unsynced_stays_so() {
    let storage = SimStorage::new(1);
    let file = storage.create("f").unwrap();
    file.write_all_at(b"bytes", 0).unwrap();
    let killed = storage.kill();
    assert_eq!(text(&file.write_all_at(b"x", 0).unwrap_err()), text(&faults::down()));
    assert!(storage.list().is_err() && file.len().is_err() && storage.is_down());
    assert_eq!(killed.read_file("f").unwrap(), b"bytes");
    assert_eq!(after_cut(&killed, Survival::Nothing), None);
    let killed = storage.kill();
    killed.open("f").unwrap().sync().unwrap();
    killed.sync_dir().unwrap();
    assert_eq!(after_cut(&killed, Survival::Nothing).unwrap(), b"bytes");
}

#[test]
fn a_crash_releases_the_lock_of_the_next_life() {
    let storage = SimStorage::new(1);
    let guard = storage.lock().unwrap();
    let next = storage.kill();
    let held = next.lock().unwrap();
    drop(guard);
    assert_eq!(next.lock().err().unwrap().kind(), ErrorKind::WouldBlock);
    drop(held);
    assert!(next.power_cut(Survival::Nothing).lock().is_ok());
    assert!(storage.lock().is_err());
}

#[test]
fn changing_and_looking_calls_are_counted_apart() {
    let storage = SimStorage::new(1);
    let file = storage.create("f").unwrap();
    file.write_all_at(b"bytes", 0).unwrap();
    file.sync().unwrap();
    storage.rename("f", "g").unwrap();
    storage.remove("g").unwrap();
    storage.sync_dir().unwrap();
    assert_eq!((storage.call_count(), storage.read_count()), (6, 0));
    file.len().unwrap();
    file.read_exact_at(&mut [0; 5], 0).unwrap();
    file.try_read_exact_at(&mut [0; 5], 0).unwrap();
    storage.list().unwrap();
    assert_eq!((storage.call_count(), storage.read_count()), (6, 4));
}

#[test]
fn the_crashing_call_has_no_effect_and_nothing_works_after_it() {
    let run = |n: u64| {
        let (storage, file) = with_file(b"old");
        storage.crash_at(n);
        let calls = [
            file.write_all_at(b"new", 0),
            file.sync(),
            storage.rename("f", "g"),
            storage.sync_dir(),
        ];
        let failed = calls.iter().filter(|call| call.is_err()).count() as u64;
        assert_eq!(failed, 5 - n, "crash at {n}");
        storage
    };
    assert_eq!(after_cut(&run(1), Survival::Nothing).unwrap(), b"old");
    assert_eq!(after_cut(&run(1), Survival::Everything).unwrap(), b"new", "a write may survive");
    assert_eq!(after_cut(&run(2), Survival::Nothing).unwrap(), b"old");
    assert_eq!(after_cut(&run(3), Survival::Everything).unwrap(), b"new", "not renamed");
    assert_eq!(run(4).power_cut(Survival::Nothing).list().unwrap(), ["f"]);
    assert_eq!(run(4).power_cut(Survival::Everything).list().unwrap(), ["g"]);
}

#[test]
fn faults_hit_the_call_they_were_planned_for() {
    let (storage, file) = with_file(b"old");
    storage.fail_call(2, FaultKind::NoSpace, Times::Once);
    file.write_all_at(b"abc", 0).unwrap();
    let full = file.write_all_at(b"xyz", 0).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    file.sync().unwrap();
    assert_eq!(storage.read_file("f").unwrap(), b"abc");

    storage.fail_call(4, FaultKind::Quota, Times::Forever);
    for _ in 0..3 {
        assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::QuotaExceeded);
        assert_eq!(storage.create("g").err().unwrap().kind(), ErrorKind::QuotaExceeded);
    }
    assert_eq!(storage.fault_count(), 7);
    storage.clear_faults();
    storage.create("g").unwrap();
    assert_eq!(storage.fault_count(), 7);

    storage.fail_read(storage.read_count() + 1, FaultKind::Io, Times::Once);
    assert_eq!(file.len().unwrap_err().raw_os_error(), Some(5));
    assert_eq!(file.len().unwrap(), 3);
    storage.fail_call(1, FaultKind::Interrupted, Times::Once);
    assert_eq!(storage.sync_dir().unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn it_is_known_what_could_have_hit_a_call() {
    let (storage, file) = with_file(b"old");
    file.write_all_at(b"abc", 0).unwrap();
    file.sync().unwrap();
    storage.sync_dir().unwrap();
    let kinds =
        [FaultKind::Io, FaultKind::ShortWrite, FaultKind::SyncLosesData, FaultKind::TooManyFiles];
    let hit = |n| kinds.map(|kind| storage.could_hit(n, kind));
    assert_eq!(hit(1), [true, true, false, false]);
    assert_eq!(hit(2), [true, false, true, false]);
    assert_eq!(hit(3), [true, false, false, true]);
    assert_eq!((hit(0), hit(4)), ([false; 4], [false; 4]), "no such calls");
}

#[test]
fn a_short_write_leaves_a_prefix() {
    let (storage, file) = with_file(&[0; 100]);
    storage.fail_call(1, FaultKind::ShortWrite, Times::Once);
    file.sync().unwrap();
    assert_eq!(file.write_all_at(&[1; 100], 0).unwrap_err().raw_os_error(), Some(5));
    let bytes = storage.read_file("f").unwrap();
    let written = bytes.iter().take_while(|byte| **byte == 1).count();
    assert!(written < 100 && bytes[written..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_failed_sync_leaves_bytes_unsynced_or_drops_them_for_good() {
    for (kind, survivor) in [(FaultKind::Io, b"new"), (FaultKind::SyncLosesData, b"old")] {
        let (storage, file) = with_file(b"old");
        storage.fail_call(2, kind, Times::Once);
        file.write_all_at(b"new", 0).unwrap();
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
        assert_eq!(storage.read_file("f").unwrap(), b"new", "still visible");
        file.sync().unwrap();
        assert_eq!(after_cut(&storage, Survival::Everything).unwrap(), survivor);
        assert_eq!(storage.kill().read_file("f").unwrap(), b"new");
        assert_eq!(storage.kill().read_from_device("f").unwrap(), survivor);
    }
}

#[test]
fn a_device_read_makes_a_killed_process_s_bytes_durable() {
    let (storage, file) = with_file(b"old");
    file.write_all_at(b"newer", 0).unwrap();
    let next = storage.kill();
    assert_eq!(next.read_from_device("f").unwrap(), b"newer");
    assert_eq!(after_cut(&next, Survival::Nothing).unwrap(), b"newer");
}

#[test]
fn held_syncs_wait_and_cover_what_was_written_before_them() {
    let (storage, file) = with_file(b"");
    file.write_all_at(&[1; SECTOR_BYTES], 0).unwrap();
    storage.hold_syncs(true);
    let syncing = thread::spawn({
        let file = Arc::clone(&file);
        move || file.sync()
    });
    assert!(storage.wait_for_syncs(1, LIMIT));
    assert_eq!((storage.waiting_syncs(), syncing.is_finished()), (1, false));
    assert!(!storage.wait_for_syncs(2, Duration::from_millis(1)));
    file.write_all_at(&[2; SECTOR_BYTES], SECTOR_BYTES as u64).unwrap();
    storage.hold_syncs(false);
    syncing.join().unwrap().unwrap();
    assert_eq!(storage.waiting_syncs(), 0);
    assert_eq!(after_cut(&storage, Survival::Nothing).unwrap(), [1; SECTOR_BYTES]);
}

#[test]
fn a_cut_fails_the_syncs_that_are_held() {
    let (storage, file) = with_file(b"old");
    file.write_all_at(b"new", 0).unwrap();
    storage.hold_syncs(true);
    let syncing = thread::spawn(move || file.sync());
    assert!(storage.wait_for_syncs(1, LIMIT));
    let cut = storage.power_cut(Survival::Nothing);
    assert!(syncing.join().unwrap().is_err());
    assert_eq!(cut.read_file("f").unwrap(), b"old");
}

#[test]
fn a_full_storage_refuses_growth_and_takes_overwrites() {
    let (storage, file) = with_file(&[0; 600]);
    storage.set_capacity(Some(1000));
    assert_eq!(storage.free_bytes().unwrap(), 400);
    assert_eq!(file.write_all_at(&[1; 1001], 0).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_all_at(&[1; 600], 0).unwrap();
    file.write_all_at(&[1; 400], 600).unwrap();
    storage.remove("f").unwrap();
    assert_eq!(storage.free_bytes().unwrap(), 0, "an open file keeps its room");
    drop(file);
    assert_eq!(storage.free_bytes().unwrap(), 1000);
}

#[test]
fn a_cold_storage_would_block() {
    let (storage, file) = with_file(b"bytes");
    storage.set_cold(true);
    let mut buf = [0; 5];
    assert_eq!(file.try_read_exact_at(&mut buf, 0).unwrap_err().kind(), ErrorKind::WouldBlock);
    file.read_exact_at(&mut buf, 0).unwrap();
    storage.set_cold(false);
    file.try_read_exact_at(&mut buf, 0).unwrap();
}

#[test]
fn damage_can_be_planted() {
    let (storage, file) = with_file(b"abc");
    storage.flip_bit("f", 1, 0).unwrap();
    assert_eq!(storage.read_file("f").unwrap(), b"acc");
    storage.truncate_file("f", 2).unwrap();
    assert_eq!(file.len().unwrap(), 2);
    assert_eq!(after_cut(&storage, Survival::Nothing).unwrap(), b"ac");
    assert_eq!(storage.flip_bit("f", 2, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(storage.truncate_file("f", 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(storage.read_file("g").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn another_device_takes_no_links() {
    let storage = SimStorage::new(1);
    storage.write_file("file", b"bytes").unwrap();
    storage.refuse_links(true);
    let storage = storage.power_cut(Survival::Nothing);
    let refused = storage.link("file", &storage.at(Path::new("copy"))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::CrossesDevices);
    storage.refuse_links(false);
    storage.link("file", &storage.at(Path::new("copy"))).unwrap();
    assert_eq!(storage.at(Path::new("copy")).read_file("file").unwrap(), b"bytes");
}
