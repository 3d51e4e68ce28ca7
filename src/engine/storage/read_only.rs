//! A storage that cannot be changed: what looks at a database without being allowed to touch it goes
//! through this.
//!
//! Every call that would change something is refused here, so that no mistake of a caller can reach
//! the files; what reads works on a write-protected directory as well.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::{File, Place, Storage};

/// Another storage, to look at.
pub(crate) struct ReadOnly(pub(crate) Arc<dyn Storage>);

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for ReadOnly {
    fn afresh(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::new(ReadOnly(self.0.afresh()?)))
    }

    /// Never creates the lock file: see [`Storage::lock_existing`].
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        Ok(self.0.lock_existing()?.unwrap_or_else(|| Box::new(())))
    }

    fn lock_existing(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.0.lock_existing()
    }

    fn lock_to_read(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.0.lock_to_read()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.0.open_to_read(name)
    }

    fn open_to_verify(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.0.open_to_verify(name)
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read_from_device(name)
    }

    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        self.0.read_start_from_device(name, bytes)
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(ReadOnly(self.0.directory(path)?)))
    }

    fn place(&self) -> io::Result<Place<'_>> {
        refused()
    }

    fn link(&self, _name: &str, _to: &dyn Storage) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage::sim::SimStorage;

    #[test]
    fn everything_can_be_read_and_nothing_changed() {
        let storage = SimStorage::new(1);
        storage.write_file("a", b"bytes").unwrap();
        let view = ReadOnly(Arc::new(storage.clone()));
        let mut bytes = [0; 5];
        view.open("a").unwrap().read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, view.list().unwrap()), (b"bytes", vec!["a".to_owned()]));
        assert_eq!(view.read_from_device("a").unwrap(), b"bytes");
        let refusals = [
            view.create("b").map(drop),
            view.rename("a", "b"),
            view.remove("a"),
            view.sync_dir(),
            view.link("a", &storage.at(Path::new("elsewhere"))),
        ];
        for refusal in refusals {
            assert_eq!(refusal.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(storage.call_count(), 0);
        let _guard = view.lock().unwrap();
        assert!(storage.lock().is_err(), "the lock is the same");
    }
}
