//! The seam between the engine and the device: every byte that the engine keeps goes through
//! [`Storage`] and [`File`].
//!
//! A storage is one flat directory. Two implementations: [`disk`], the real one, and [`sim`], a
//! seeded one that can lose power, tear sectors and fail any call. What a caller may rely on, on
//! both: bytes are durable only after a sync of their file returned, a name is durable only after
//! [`Storage::sync_dir`] returned, and after a failed sync nothing is known about what was unsynced.
//! An implementation must never retry a failed sync or hide an error.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub mod disk;
mod made;
mod overlay;
mod read_only;
pub mod sim;
#[cfg(test)]
mod tests;
mod thrifty;
mod transfer;

pub(crate) use self::made::Made;
pub(crate) use self::overlay::Overlay;
pub(crate) use self::read_only::ReadOnly;
pub(crate) use self::thrifty::Thrifty;
pub(crate) use self::transfer::{copy, link_or_copy};

/// Where a storage is, for whoever links a file to it.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// In this directory, which is open.
    Directory(BorrowedFd<'a>),
    /// On a simulated machine, where its names begin with this.
    Simulated(&'a str),
}

/// One flat directory of files. All names are plain file names within it.
pub trait Storage: Send + Sync + 'static {
    /// The same directory as a storage of its own, looked up by its path when it is first used and
    /// followed from then on: each open of a database begins with one, so that a directory that was
    /// replaced between two of them is the new one to the second. `None` if there is nothing to look up.
    fn afresh(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    /// Creates the directory if it is missing (its parent is synced) and takes the exclusive lock,
    /// held until the returned guard is dropped. `ErrorKind::WouldBlock` means that another process
    /// (or another open of the same simulated storage) holds it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;

    /// Takes the same lock, but creates nothing: `None` if there is no lock file, and so nobody who
    /// holds it.
    fn lock_existing(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.lock().map(Some)
    }

    /// As [`Storage::lock_existing`], but for one of several who only read, and together keep out who
    /// writes.
    fn lock_to_read(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.lock_existing()
    }

    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and overwriting.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file that is only read, and which may therefore be write-protected.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open(name)
    }

    /// The same, but what is read comes from the device and not from memory, as far as the system
    /// can be had to do so: for a file that was synced.
    fn open_to_verify(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_to_read(name)
    }

    /// Creates a file that must not exist, for writing and reading. Durable as a name only after
    /// [`Storage::sync_dir`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Reads a whole file as the device holds it, not as the page cache does: after a failed sync
    /// the two can differ (the kernel drops the error with the dirty bit). Bytes that a killed
    /// process wrote and the system still holds count as on the device, and are made durable.
    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>>;

    /// The same for the first `bytes` of a file, or all of a shorter one.
    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        let mut all = self.read_from_device(name)?;
        all.truncate(bytes);
        Ok(all)
    }

    /// Renames within the directory, replacing a file that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Open handles go on reading the file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Free bytes that this process may still fill.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Another directory as a storage of the same kind; a relative path is looked up from where the
    /// process is now. Touches nothing: see [`Storage::lock`].
    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>>;

    /// Where it is. `ErrorKind::Unsupported`, which has files copied, where nothing can be linked to.
    fn place(&self) -> io::Result<Place<'_>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file the same name in the directory of `to`, which exists, as well; where the name is
    /// a symbolic link, the file that it leads to. The two names share their bytes; the new one is
    /// durable after that directory's [`Storage::sync_dir`]. `ErrorKind::CrossesDevices` where that is
    /// impossible.
    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()>;
}

/// A storage that follows the directory of `storage` from now on: see [`Storage::afresh`].
pub(crate) fn afresh(storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
    storage.afresh().unwrap_or(storage)
}

/// An open file with positioned reads and writes.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Send + Sync {
    /// Fills `buf` from `offset`; `ErrorKind::UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// As [`File::read_exact_at`], but answers `ErrorKind::WouldBlock` where the bytes are not in
    /// memory (or the system cannot tell).
    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`, growing the file if needed. On an error any part of it may
    /// have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file's bytes and its length durable.
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
}
