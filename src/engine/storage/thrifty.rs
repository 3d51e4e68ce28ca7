//! A storage that goes on when the process has too many files open: something that is open and can be
//! opened again is closed, and the call made again.
//!
//! All that a database opens goes through one of these, so that it does not matter who is met by the
//! limit, a lookup, a flush, a merge or a copy: as long as table files are open that are not being
//! read, nobody fails for want of a descriptor.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::{File, Place, Storage};

/// Closes some of what is open; whether it did.
pub(crate) type CloseSome = Arc<dyn Fn() -> bool + Send + Sync>;

/// Another storage, and who can close something.
pub(crate) struct Thrifty {
    storage: Arc<dyn Storage>,
    close_some: CloseSome,
}

impl Thrifty {
    /// `storage`, with `close_some` called when it is out of descriptors.
    pub(crate) fn new(storage: Arc<dyn Storage>, close_some: CloseSome) -> Self {
        Thrifty { storage, close_some }
    }

    /// Makes a call until it has a descriptor, or nothing is left to be closed. One that had none has
    /// had no effect.
    fn call<T>(&self, call: impl Fn(&dyn Storage) -> io::Result<T>) -> io::Result<T> {
        loop {
            match call(self.storage.as_ref()) {
                Err(error) if is_out_of_descriptors(&error) && (self.close_some)() => {}
                outcome => return outcome,
            }
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    codes.contains(&error.raw_os_error())
}

impl Storage for Thrifty {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.call(Storage::lock)
    }

    fn lock_existing(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.call(Storage::lock_existing)
    }

    fn lock_to_read(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.call(Storage::lock_to_read)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(Storage::list)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.call(|storage| storage.open(name))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.call(|storage| storage.open_to_read(name))
    }

    fn open_to_verify(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.call(|storage| storage.open_to_verify(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.call(|storage| storage.create(name))
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.call(|storage| storage.read_from_device(name))
    }

    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        self.call(|storage| storage.read_start_from_device(name, bytes))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|storage| storage.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|storage| storage.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.call(Storage::sync_dir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.call(Storage::free_bytes)
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        let storage = self.call(|storage| storage.directory(path))?;
        Ok(Arc::new(Thrifty { storage, close_some: Arc::clone(&self.close_some) }))
    }

    fn place(&self) -> io::Result<Place<'_>> {
        match self.storage.place() {
            // The place is lent by the storage, so this is not what [`Thrifty::call`] can pass on.
            Err(error) if is_out_of_descriptors(&error) && (self.close_some)() => {
                self.storage.place()
            }
            place => place,
        }
    }

    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()> {
        self.call(|storage| storage.link(name, to))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::engine::storage::sim::{FaultKind, SimStorage, Times};

    #[test]
    fn a_call_is_made_again_as_long_as_something_can_be_closed() {
        let storage = SimStorage::new(1);
        storage.write_file("a", b"bytes").unwrap();
        for left in [0, 1, 5] {
            let closable = Arc::new(AtomicU64::new(left));
            let (closing, machine) = (Arc::clone(&closable), storage.clone());
            let thrifty = Thrifty::new(
                Arc::new(storage.clone()),
                Arc::new(move || {
                    let is_some = closing.load(Ordering::Relaxed) > 0;
                    if is_some && closing.fetch_sub(1, Ordering::Relaxed) == 1 {
                        machine.clear_faults();
                    }
                    is_some
                }),
            );
            storage.fail_read(storage.read_count() + 1, FaultKind::TooManyFiles, Times::Forever);
            assert_eq!(thrifty.open_to_read("a").is_ok(), left > 0);
            assert_eq!(closable.load(Ordering::Relaxed), 0);
            storage.clear_faults();
            storage.fail_read(storage.read_count() + 1, FaultKind::Io, Times::Once);
            closable.store(9, Ordering::Relaxed);
            assert!(thrifty.open_to_read("a").is_err(), "another failure is passed on");
            assert_eq!(closable.load(Ordering::Relaxed), 9);
        }
    }
}
