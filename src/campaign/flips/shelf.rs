//! Files in memory that share their bytes until they are written: a damaged copy of a database costs
//! a few pointers, so that each of millions of damages gets one of its own.
//!
//! It never fails and forgets nothing: misfortunes of the device are the simulated storage's matter.
//! It counts what changes it, for whoever refuses a database must leave it as it was.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::engine::storage::{File, Storage};

/// Files by their names.
pub(super) type Files = BTreeMap<String, Arc<Vec<u8>>>;

/// See the module. Clones are the same shelf.
#[derive(Clone)]
pub(super) struct Shelf(Arc<Inner>);

struct Inner {
    files: Mutex<BTreeMap<String, Arc<Sheet>>>,
    changes: AtomicU64,
}

/// One file's bytes.
struct Sheet(RwLock<Arc<Vec<u8>>>);

impl Shelf {
    /// A shelf with these files.
    pub(super) fn new(files: &Files) -> Self {
        let sheet = |bytes: &Arc<Vec<u8>>| Arc::new(Sheet(RwLock::new(Arc::clone(bytes))));
        let files = files.iter().map(|(name, bytes)| (name.clone(), sheet(bytes))).collect();
        Shelf(Arc::new(Inner { files: Mutex::new(files), changes: AtomicU64::new(0) }))
    }

    /// How often it was changed.
    pub(super) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sheet>>> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sheet>>> {
        self.0.changes.fetch_add(1, Ordering::Relaxed);
        self.files()
    }

    fn sheet(&self, name: &str) -> io::Result<Arc<Sheet>> {
        self.files().get(name).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn handle(&self, sheet: Arc<Sheet>) -> Arc<dyn File> {
        Arc::new(Handle { shelf: self.clone(), sheet })
    }
}

impl Sheet {
    fn bytes(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for Shelf {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        // A trial opens one engine at a time.
        Ok(Box::new(()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.handle(self.sheet(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let sheet = Arc::new(Sheet(RwLock::default()));
        let mut files = self.change();
        if files.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), Arc::clone(&sheet));
        Ok(self.handle(sheet))
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.sheet(name)?.bytes().to_vec())
    }

    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        let all = self.sheet(name)?.bytes();
        Ok(all[..bytes.min(all.len())].to_vec())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.change();
        let sheet = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), sheet);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change().remove(name).map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn directory(&self, _: &Path) -> io::Result<Arc<dyn Storage>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn link(&self, _: &str, _: &dyn Storage) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// An open file.
struct Handle {
    shelf: Shelf,
    sheet: Arc<Sheet>,
}

impl File for Handle {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.sheet.bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(buf.len());
        buf.copy_from_slice(bytes.get(range).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.shelf.0.changes.fetch_add(1, Ordering::Relaxed);
        let mut bytes = self.sheet.0.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = Arc::make_mut(&mut bytes);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(buf.len()).ok_or(ErrorKind::FileTooLarge)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(buf);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.sheet.bytes().len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shelves_share_bytes_and_not_changes() {
        let files = Files::from([("f".to_owned(), Arc::new(b"old".to_vec()))]);
        let (changed, other) = (Shelf::new(&files), Shelf::new(&files));
        let file = changed.open("f").unwrap();
        file.write_all_at(b"newer", 0).unwrap();
        changed.rename("f", "g").unwrap();
        assert_eq!(changed.read_from_device("g").unwrap(), b"newer");
        assert_eq!(other.read_from_device("f").unwrap(), b"old");
        assert_eq!((changed.changes(), other.changes()), (2, 0));
        assert!(changed.create("g").is_err() && changed.create("f").is_ok());
        assert!(file.read_exact_at(&mut [0; 6], 0).is_err());
    }
}
