//! A directory that is written to, and the names that were made there: what was made in vain can be
//! taken back, and nothing else is.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{File, Place, Storage};

/// Another storage, and what was made through this one.
pub(crate) struct Made {
    storage: Arc<dyn Storage>,
    names: Mutex<BTreeSet<String>>,
}

impl Made {
    /// What will be made in `storage`.
    pub(crate) fn within(storage: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Made { storage, names: Mutex::default() })
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a name that was made by somebody else's call: by a link from another directory.
    pub(crate) fn note(&self, name: &str) {
        self.names().insert(name.to_owned());
    }

    /// Removes what was made, `first` before all else, as far as that can be done.
    pub(crate) fn take_back(&self, first: &str) {
        let mut names = std::mem::take(&mut *self.names());
        let first = names.take(first);
        for name in first.into_iter().chain(names) {
            let _ = self.storage.remove(&name);
        }
        let _ = self.storage.sync_dir();
    }
}

impl Storage for Made {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.storage.lock()
    }

    fn lock_existing(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.storage.lock_existing()
    }

    fn lock_to_read(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.storage.lock_to_read()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.storage.open(name)
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.storage.open_to_read(name)
    }

    fn open_to_verify(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.storage.open_to_verify(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.storage.create(name)?;
        self.note(name);
        Ok(file)
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.storage.read_from_device(name)
    }

    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        self.storage.read_start_from_device(name, bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)?;
        let mut names = self.names();
        if names.remove(from) {
            names.insert(to.to_owned());
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)?;
        self.names().remove(name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.storage.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.storage.free_bytes()
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        self.storage.directory(path)
    }

    fn place(&self) -> io::Result<Place<'_>> {
        self.storage.place()
    }

    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()> {
        self.storage.link(name, to)
    }
}
