//! The enumeration is exact while it is complete, and a fair sample beyond.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::engine::storage::{File, Storage};

const ALL: Bounds = Bounds { exhaustive: 1 << 12, samples: 0 };

/// A storage with the durable file "f" of `sectors` sectors of ones.
fn with_file(sectors: usize) -> (SimStorage, Arc<dyn File>) {
    let storage = SimStorage::new(7);
    storage.write_file("f", &vec![1; sectors * SECTOR_BYTES]).unwrap();
    let file = storage.open("f").unwrap();
    (storage, file)
}

fn write(file: &Arc<dyn File>, byte: u8, sector: usize) {
    file.write_all_at(&[byte; SECTOR_BYTES], (sector * SECTOR_BYTES) as u64).unwrap();
}

/// All fates of `storage` now, each with what it leaves: names and bytes.
fn all(storage: &SimStorage) -> Vec<Vec<(String, Vec<u8>)>> {
    let moment = storage.moment();
    let survivors = moment.survivors(ALL, &mut Random(1));
    assert!(survivors.complete);
    survivors.fates.iter().map(|fate| files(&moment.after(fate))).collect()
}

fn files(storage: &SimStorage) -> Vec<(String, Vec<u8>)> {
    let names = storage.list().unwrap().into_iter();
    names.map(|name| (name.clone(), storage.read_file(&name).unwrap())).collect()
}

/// How many fates there are; all of them leave different things.
fn count(storage: &SimStorage) -> usize {
    let all = all(storage);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    all.len()
}

#[test]
fn sectors_survive_independently() {
    let (storage, file) = with_file(8);
    assert_eq!(count(&storage), 1);
    for sector in 0..8 {
        write(&file, 2, sector);
        assert_eq!(count(&storage), 2 << sector);
    }
    file.sync().unwrap();
    assert_eq!(count(&storage), 1);
}

#[test]
fn a_sector_may_hold_anything_written_since_its_sync() {
    let (storage, file) = with_file(2);
    for byte in 2..6 {
        write(&file, byte, 0);
    }
    let bytes: HashSet<u8> = all(&storage).iter().map(|files| files[0].1[0]).collect();
    assert_eq!(bytes, HashSet::from([1, 2, 3, 4, 5]));
    write(&file, 3, 0);
    write(&file, 1, 1);
    assert_eq!(count(&storage), 5, "nothing new is nothing to decide");
    file.sync().unwrap();
    assert_eq!(files(&storage.moment().after(&Fate(Vec::new())))[0].1[0], 3);
}

#[test]
fn names_survive_independently() {
    let storage = SimStorage::new(1);
    for (created, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        storage.create(name).unwrap();
        assert_eq!(count(&storage), 2 << created);
    }
    storage.sync_dir().unwrap();
    storage.remove("b").unwrap();
    storage.rename("c", "e").unwrap();
    assert_eq!(count(&storage), 4);
}

#[test]
fn a_change_depends_on_the_earlier_ones_to_its_names() {
    let storage = SimStorage::new(1);
    storage.write_file("target", b"old").unwrap();
    let file = storage.create("temporary").unwrap();
    file.write_all_at(b"new", 0).unwrap();
    file.sync().unwrap();
    storage.rename("temporary", "target").unwrap();
    assert_eq!(count(&storage), 3, "not created, created, renamed");
    storage.remove("target").unwrap();
    assert_eq!(count(&storage), 4);
    storage.create("other").unwrap();
    assert_eq!(count(&storage), 8);
}

#[test]
fn a_file_s_length_and_its_bytes_survive_independently() {
    let storage = SimStorage::new(1);
    let file = storage.create("f").unwrap();
    storage.sync_dir().unwrap();
    file.write_all_at(&[1; 600], 0).unwrap();
    assert_eq!(count(&storage), 1 + 4, "empty, or two sectors that are written or not");
    let grown = all(&storage);
    assert!(grown.contains(&vec![("f".to_owned(), vec![0; 600])]), "a length without bytes");
    file.sync().unwrap();
    file.write_all_at(&[2; 100], 600).unwrap();
    assert_eq!(count(&storage), 3, "the old length, or the new one with the sector or not");
}

#[test]
fn a_file_grows_page_by_page() {
    let storage = SimStorage::new(1);
    let file = storage.create("f").unwrap();
    storage.sync_dir().unwrap();
    file.write_all_at(&[0; 10_000], 0).unwrap();
    let lengths: Vec<usize> = all(&storage).iter().map(|files| files[0].1.len()).collect();
    assert_eq!(lengths, [0, 4096, 8192, 10_000]);
}

#[test]
fn nobody_asks_about_files_that_have_no_name() {
    let storage = SimStorage::new(1);
    let file = storage.create("f").unwrap();
    write(&file, 1, 0);
    assert_eq!(count(&storage), 1 + 1 + 2, "no name; empty; the length, with the sector or not");
    storage.sync_dir().unwrap();
    file.sync().unwrap();
    write(&file, 2, 0);
    storage.remove("f").unwrap();
    assert_eq!(count(&storage), 1 + 2, "removed, or with the sector or not");
}

#[test]
fn two_names_of_a_file_share_what_survives() {
    let (storage, file) = with_file(1);
    storage.link("f", &storage.at(std::path::Path::new("copy"))).unwrap();
    write(&file, 2, 0);
    let moment = storage.moment();
    let survivors = moment.survivors(ALL, &mut Random(1));
    assert_eq!(survivors.fates.len(), 4);
    for fate in &survivors.fates {
        let after = moment.after(fate);
        let copy = after.at(std::path::Path::new("copy"));
        if let Ok(copied) = copy.read_file("f") {
            assert_eq!(copied, after.read_file("f").unwrap());
            after.open("f").unwrap().write_all_at(b"x", 0).unwrap();
            assert_eq!(copy.read_file("f").unwrap()[0], b'x');
        }
    }
}

#[test]
fn what_is_enumerated_is_what_any_answers_come_to() {
    let mut random = Random(3);
    for round in 0..200 {
        let (storage, file) = with_file(2);
        let other = storage.create("g").unwrap();
        for step in 0..=random.below(5) {
            match random.below(6) {
                0 => write(&file, random.below(3) as u8, random.below(3) as usize),
                1 => write(&other, random.below(3) as u8, random.below(2) as usize),
                2 => drop(storage.create(&format!("new-{step}")).unwrap()),
                3 => drop(storage.rename("g", "f")),
                4 => drop(storage.remove("f")),
                _ => file.sync().unwrap(),
            }
        }
        let moment = storage.moment();
        let enumerated = moment.survivors(ALL, &mut random);
        assert!(enumerated.complete);
        let enumerated: HashSet<Fate> = enumerated.fates.into_iter().collect();
        let fates: HashSet<Fate> = (0..3_000)
            .map(|_| moment.fate(|question| random.below(question.answers() as u64) as u16))
            .collect();
        assert!(fates.is_subset(&enumerated), "round {round}");
        // Rare ones may not have been met.
        assert!(fates.len() * 10 >= enumerated.len() * 9, "round {round}");
    }
}

#[test]
fn a_sample_has_the_extremes_and_every_tear() {
    let (storage, file) = with_file(12);
    file.write_all_at(&[2; 10 * SECTOR_BYTES], SECTOR_BYTES as u64).unwrap();
    let moment = storage.moment();
    let bounds = Bounds { exhaustive: 1_000, samples: 60 };
    let mut prefixes = HashSet::new();
    for seed in 0..20 {
        let survivors = moment.survivors(bounds, &mut Random(seed));
        assert!(!survivors.complete && survivors.fates.len() == 60);
        let images: HashSet<Vec<u8>> = survivors
            .fates
            .iter()
            .map(|fate| moment.after(fate).read_file("f").unwrap())
            .map(|bytes| bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect())
            .collect();
        assert_eq!(images.len(), 60, "all different");
        let torn = |kept: &usize| {
            let written = (0..12).map(|sector| if (1..=*kept).contains(&sector) { 2 } else { 1 });
            images.contains(&written.collect::<Vec<u8>>())
        };
        assert!(torn(&0) && torn(&10), "nothing, everything");
        prefixes.extend((0..=10).filter(torn));
    }
    assert_eq!(prefixes.len(), 11);
    let all = moment.survivors(Bounds { exhaustive: 1 << 10, samples: 1 }, &mut Random(0));
    assert!(all.complete, "there are exactly as many as the bound");
}

#[test]
fn a_moment_is_told_after_each_change() {
    let storage = SimStorage::new(1);
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let watcher = Arc::clone(&told);
    storage.watch(move |moment| {
        let fates = moment.survivors(ALL, &mut Random(0)).fates.len();
        watcher.lock().unwrap().push((moment.number(), moment.call().to_owned(), fates));
    });
    let file = storage.create("f").unwrap();
    write(&file, 1, 0);
    file.sync().unwrap();
    file.len().unwrap();
    storage.sync_dir().unwrap();
    storage.rename("f", "g").unwrap();
    assert!(storage.remove("f").is_err());
    storage.link("g", &storage.at(std::path::Path::new("copy"))).unwrap();
    storage.remove("g").unwrap();
    let expected = [
        (1, "create f", 2),
        (2, "write 512 bytes at 0 of f", 4),
        (3, "sync f", 2),
        (4, "sync the directory \"\"", 1),
        (5, "rename f to g", 2),
        (7, "link g to copy/g", 4),
        (8, "remove g", 6),
    ];
    let told = told.lock().unwrap();
    let told: Vec<_> = told.iter().map(|(n, call, fates)| (*n, call.as_str(), *fates)).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_moment_tells_what_survived() {
    let (storage, file) = with_file(2);
    storage.create("g").unwrap();
    write(&file, 2, 1);
    write(&file, 3, 1);
    let moment = storage.moment();
    assert_eq!(moment.describe(&moment.fate(|_| 0)), "nothing survived of 2 undecided");
    assert_eq!(
        moment.describe(&moment.fate(|_| 1)),
        "2 of 2 undecided survived: the new name g, sector 1 of f (version 1 of 2)"
    );
}
