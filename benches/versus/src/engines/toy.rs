//! An engine in memory that can be told to be wrong, to show that the workload notices.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{Engine, Result, Sync};

/// How it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Some writes are not there.
    Loses,
    /// Overwrites have no effect.
    KeepsTheFirst,
    /// Finds what nobody wrote.
    Invents,
    /// The last entry is missing from scans.
    ScansTooFew,
    /// Scans show other values than reads.
    ScansWrongly,
    /// Synced writes are not there.
    ForgetsSynced,
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

thread_local! {
    /// The databases, by their directories.
    static DISK: RefCell<HashMap<PathBuf, Entries>> = RefCell::default();
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

/// The engine.
pub(crate) struct Toy {
    directory: PathBuf,
    sync: Sync,
    entries: RefCell<Entries>,
}

impl Toy {
    /// What `run` returns if all toys of this thread have this fault.
    pub(crate) fn with<R>(fault: Fault, run: impl FnOnce() -> R) -> R {
        FAULT.set(fault);
        let result = run();
        FAULT.set(Fault::None);
        result
    }
}

impl Engine for Toy {
    const SETTINGS: &'static str = "";
    const SCANS: bool = true;

    fn open(directory: &Path, sync: Sync) -> Result<Self> {
        let entries = DISK.with_borrow_mut(|disk| disk.remove(directory)).unwrap_or_default();
        Ok(Toy { directory: directory.to_owned(), sync, entries: RefCell::new(entries) })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut entries = self.entries.borrow_mut();
        let is_ignored = match FAULT.get() {
            Fault::Loses => key[15] == b'4',
            Fault::KeepsTheFirst => entries.contains_key(key),
            Fault::ForgetsSynced => self.sync == Sync::Each,
            _ => false,
        };
        if !is_ignored {
            entries.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let entries = self.entries.borrow();
        let invented = (FAULT.get() == Fault::Invents).then_some(&b"invented"[..]);
        Ok(entries.get(key).map(Vec::as_slice).or(invented).map(read))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let entries = self.entries.borrow();
        let skipped = usize::from(FAULT.get() == Fault::ScansTooFew);
        for (key, value) in entries.iter().take(entries.len() - skipped) {
            let shown = if FAULT.get() == Fault::ScansWrongly { key } else { value };
            each(key, shown);
        }
        Ok(())
    }

    fn pressure(&self) -> Result<String> {
        Ok(String::new())
    }

    fn counts(&self) -> Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }

    fn is_log(_extension: &str) -> bool {
        false
    }

    fn close(self) -> Result<()> {
        DISK.with_borrow_mut(|disk| disk.insert(self.directory, self.entries.into_inner()));
        Ok(())
    }
}
