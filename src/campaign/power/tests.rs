//! The part finds what it is there for: devices that promise a sync and do not do it.

use std::io;
use std::path::Path;

use super::*;
use crate::campaign::Campaign;
use crate::engine::storage::{File, Place};

/// What is acknowledged and not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// Syncs of the directory.
    Directory,
    /// Syncs of files whose names contain this.
    Files(&'static str),
    /// Every third of all file syncs.
    Third,
}

/// A storage that lies.
#[derive(Clone)]
struct Lying {
    storage: SimStorage,
    lie: Lie,
    syncs: Arc<Mutex<u64>>,
}

impl Lying {
    fn file(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(LyingFile { file, name: name.to_owned(), of: self.clone() })
    }
}

impl Storage for Lying {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.storage.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(name, self.storage.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(name, self.storage.create(name)?))
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.storage.read_from_device(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.lie == Lie::Directory { Ok(()) } else { self.storage.sync_dir() }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.storage.free_bytes()
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Lying { storage: self.storage.at(path), ..self.clone() }))
    }

    fn place(&self) -> io::Result<Place<'_>> {
        self.storage.place()
    }

    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()> {
        self.storage.link(name, to)
    }
}

struct LyingFile {
    file: Arc<dyn File>,
    name: String,
    of: Lying,
}

impl File for LyingFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.try_read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut syncs = self.of.syncs.lock().unwrap();
        *syncs += 1;
        let lies = match self.of.lie {
            Lie::Files(part) => self.name.contains(part),
            Lie::Third => syncs.is_multiple_of(3),
            Lie::None | Lie::Directory => false,
        };
        if lies { Ok(()) } else { self.file.sync() }
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// Judges one in `one_in` moments of some lives on a storage that lies.
fn judge(lie: Lie, seeds: std::ops::Range<u64>, one_in: u64) -> (Result<(), String>, Campaign) {
    let campaign = Campaign::for_tests();
    let outcome = seeds.into_iter().try_for_each(|seed| {
        let wrap = |storage| Lying { storage, lie, syncs: Arc::default() };
        judge_life(&Case::alone(seed, &campaign), one_in, wrap)
    });
    (outcome, campaign)
}

#[test]
fn a_slice_holds() {
    let (outcome, campaign) = judge(Lie::None, 0..6, 60);
    outcome.unwrap();
    let states = campaign.tally.get(crate::campaign::Count::CrashStates);
    assert!(states > 300, "{states} crash states");
    let operations = campaign.tally.get(crate::campaign::Count::Operations);
    assert!(operations > 40 * states, "{operations} lookups");
}

#[test]
fn a_case_is_a_function_of_its_seed() {
    let states = || judge(Lie::None, 3..4, 90).1.tally.get(crate::campaign::Count::CrashStates);
    assert_eq!(states(), states());
}

#[test]
fn a_device_that_lies_about_any_kind_of_sync_is_found() {
    let lies = [
        Lie::Directory,
        Lie::Files(".wal"),
        Lie::Files(".sst"),
        Lie::Files("MANIFEST"),
        Lie::Files("CURRENT"),
        Lie::Third,
    ];
    for lie in lies {
        let (outcome, _) = judge(lie, 0..8, 7);
        let what = outcome.expect_err(&format!("{lie:?} was not found"));
        assert!(what.starts_with("call "), "{lie:?}: {what}");
    }
}
