//! A storage whose changes stay in memory: what lies below is read and never touched.
//!
//! It lets a database be opened that must not be changed, or cannot be: recovery writes what it always
//! writes, and none of it reaches the directory. A file from below is copied into memory when it is
//! first written to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{File, Storage};

/// Another storage, and what is different from it.
pub(crate) struct Overlay {
    below: Arc<dyn Storage>,
    changes: Mutex<Changes>,
}

#[derive(Default)]
struct Changes {
    made: BTreeMap<String, Arc<Layered>>,
    /// Files below that are there no more.
    hidden: BTreeSet<String>,
}

impl Overlay {
    /// Nothing is different from `below` yet.
    pub(crate) fn over(below: Arc<dyn Storage>) -> Self {
        Overlay { below, changes: Mutex::default() }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_below(&self, name: &str) -> io::Result<bool> {
        Ok(self.below.list()?.iter().any(|other| other == name))
    }

    /// A file that may be written to, whether it is from below or not.
    fn layered(&self, changes: &mut Changes, name: &str) -> io::Result<Arc<Layered>> {
        if let Some(file) = changes.made.get(name) {
            return Ok(Arc::clone(file));
        }
        if changes.hidden.contains(name) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = Arc::new(Layered::over(self.below.open_to_read(name)?));
        changes.made.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Storage for Overlay {
    /// The lock is that of the storage below: whoever made this one has taken it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.below.list()?;
        let changes = self.changes();
        names.retain(|name| !changes.hidden.contains(name) && !changes.made.contains_key(name));
        names.extend(changes.made.keys().cloned());
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.layered(&mut self.changes(), name)?)
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let changes = self.changes();
        match changes.made.get(name) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn File>),
            None if changes.hidden.contains(name) => Err(ErrorKind::NotFound.into()),
            None => self.below.open_to_read(name),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut changes = self.changes();
        let is_there = changes.made.contains_key(name)
            || !changes.hidden.contains(name) && self.is_below(name)?;
        if is_there {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(Layered::empty());
        changes.made.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.read_start_from_device(name, usize::MAX)
    }

    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        let changes = self.changes();
        match changes.made.get(name) {
            Some(file) => file.start(bytes),
            None if changes.hidden.contains(name) => Err(ErrorKind::NotFound.into()),
            None => self.below.read_start_from_device(name, bytes),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut changes = self.changes();
        let file = self.layered(&mut changes, from)?;
        changes.made.remove(from);
        changes.hidden.insert(from.to_owned());
        changes.made.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut changes = self.changes();
        let was_made = changes.made.remove(name).is_some();
        let is_hidden = !changes.hidden.insert(name.to_owned());
        if was_made || !is_hidden && self.is_below(name)? {
            Ok(())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn directory(&self, _path: &Path) -> io::Result<Arc<dyn Storage>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn link(&self, _name: &str, _to: &dyn Storage) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// A file in memory; one from below is there until the first write.
struct Layered {
    below: Option<Arc<dyn File>>,
    bytes: RwLock<Option<Vec<u8>>>,
}

impl Layered {
    fn empty() -> Self {
        Layered { below: None, bytes: RwLock::new(Some(Vec::new())) }
    }

    fn over(below: Arc<dyn File>) -> Self {
        Layered { below: Some(below), bytes: RwLock::new(None) }
    }

    /// Calls `memory` with the bytes if they are in memory, else `below`.
    fn read<T>(
        &self,
        memory: impl FnOnce(&[u8]) -> io::Result<T>,
        below: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> io::Result<T> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        match (&*bytes, &self.below) {
            (Some(bytes), _) => memory(bytes),
            (None, Some(file)) => below(file.as_ref()),
            (None, None) => memory(&[]),
        }
    }

    /// The first `most` bytes, or all.
    fn start(&self, most: usize) -> io::Result<Vec<u8>> {
        let memory = |bytes: &[u8]| Ok(bytes[..bytes.len().min(most)].to_vec());
        self.read(memory, |file| {
            let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(most);
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        })
    }
}

impl File for Layered {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let length = buf.len();
        let copy = |bytes: &[u8], buf: &mut [u8]| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let range = start..start.saturating_add(length);
            buf.copy_from_slice(bytes.get(range).ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        match (&*bytes, &self.below) {
            (Some(bytes), _) => copy(bytes, buf),
            (None, Some(file)) => file.read_exact_at(buf, offset),
            (None, None) => copy(&[], buf),
        }
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let copied = self.start(usize::MAX)?;
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes.get_or_insert(copied);
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
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
        self.read(|bytes| Ok(bytes.len() as u64), |file| file.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage::sim::SimStorage;

    #[test]
    fn changes_are_seen_and_stay_in_memory() {
        let below = SimStorage::new(1);
        for name in ["a", "b", "c"] {
            below.write_file(name, name.as_bytes()).unwrap();
        }
        let overlay = Overlay::over(Arc::new(below.clone()));
        let read = |name: &str| overlay.read_from_device(name);
        overlay.open("a").unwrap().write_all_at(b"bc", 1).unwrap();
        assert_eq!((read("a").unwrap(), read("b").unwrap()), (b"abc".to_vec(), b"b".to_vec()));
        overlay.rename("b", "d").unwrap();
        overlay.remove("c").unwrap();
        overlay.create("e").unwrap().write_all_at(b"!", 2).unwrap();
        assert!(overlay.create("a").is_err() && overlay.create("d").is_err());
        overlay.create("c").unwrap();
        overlay.remove("c").unwrap();
        for gone in ["b", "c", "f"] {
            assert_eq!(read(gone).unwrap_err().kind(), ErrorKind::NotFound, "{gone}");
            assert_eq!(overlay.open(gone).err().unwrap().kind(), ErrorKind::NotFound, "{gone}");
            assert!(overlay.open_to_read(gone).is_err() && overlay.remove(gone).is_err());
        }
        let mut names = overlay.list().unwrap();
        names.sort();
        assert_eq!(names, ["a", "d", "e"]);
        assert_eq!((read("d").unwrap(), read("e").unwrap()), (b"b".to_vec(), b"\0\0!".to_vec()));
        assert_eq!(overlay.open_to_read("e").unwrap().len().unwrap(), 3);
        assert_eq!(below.call_count(), 0);
        assert_eq!(below.read_file("a").unwrap(), b"a");
    }
}
