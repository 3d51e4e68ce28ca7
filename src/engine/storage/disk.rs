//! The real storage: one directory of a local file system.
//!
//! The directory is held open from its first use on, and every file is reached through it: a path
//! that is resolved again for each call leads elsewhere once the process changes its working
//! directory or somebody renames the directory, and then files of one database are created, replaced
//! and removed in another. A relative path is made absolute at once.
//!
//! Errors pass through as the system gives them, with two exceptions: an interrupted call is made
//! again, and a cached read that the system cannot answer from memory becomes `WouldBlock`. A
//! failed sync is never made again: the kernel may have marked the pages clean, so that a second
//! sync would succeed with the data gone.

use std::fs::{self, File as OsFile};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{
    Advice, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, fadvise, flock, fstatvfs,
    fsync, linkat, openat, renameat, statat, unlinkat,
};
use rustix::io::{ReadWriteFlags, preadv2, retry_on_intr};

use super::{File, Place, Storage};

/// The name of the file that is locked; it stays empty and is never removed.
const LOCK_NAME: &str = "LOCK";

/// Alignment of direct reads, in bytes: memory, offset and length. Enough for every common device.
const DIRECT_ALIGNMENT: usize = 4 << 10;

/// Size of one direct read, in bytes.
const DIRECT_CHUNK_BYTES: usize = 1 << 20;

/// The permissions of a file and of a directory that is created: they are their owner's only, whatever
/// the process's mask would allow others.
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
const DIRECTORY_MODE: u32 = 0o700;

/// A directory on disk.
#[derive(Debug)]
pub struct DiskStorage {
    /// Absolute.
    path: PathBuf,
    /// The directory itself, once it was used.
    directory: OnceLock<OwnedFd>,
}

impl DiskStorage {
    /// A storage in the directory `path`, from the present working directory on if that is relative.
    /// Touches nothing on disk: see [`Storage::lock`]. From its first use on it follows the directory,
    /// wherever that is moved.
    ///
    /// # Errors
    /// `InvalidInput` if the path is empty; `NotFound` if it is relative and the working directory is
    /// gone.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the directory's path is empty"));
        }
        Ok(DiskStorage { path: std::path::absolute(path)?, directory: OnceLock::new() })
    }

    /// The directory, opened if it was not yet.
    fn opened(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory.as_fd());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = open_at(CWD, &self.path, flags)?;
        // Of two threads that opened it, one directory counts for both.
        Ok(self.directory.get_or_init(|| opened).as_fd())
    }

    fn lock_if_there(&self, how: FlockOperation) -> io::Result<Option<Box<dyn Send + Sync>>> {
        match self.open_file(LOCK_NAME, OFlags::RDONLY) {
            Ok(file) => lock_file(file, how).map(Some),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<OsFile> {
        Ok(OsFile::from(open_at(self.opened()?, Path::new(name), flags)?))
    }
}

/// Opens a file or directory; it is closed in programs that this one starts.
fn open_at(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| openat(directory, path, flags, FILE_MODE))?)
}

fn lock_file(file: OsFile, how: FlockOperation) -> io::Result<Box<dyn Send + Sync>> {
    // flock and not fcntl: an fcntl lock vanishes when any descriptor of the file is closed.
    retry_on_intr(|| flock(&file, how))?;
    Ok(Box::new(file))
}

impl Storage for DiskStorage {
    fn afresh(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::new(DiskStorage { path: self.path.clone(), directory: OnceLock::new() }))
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        if self.directory.get().is_none() {
            create_directory(&self.path)?;
        }
        let file = self.open_file(LOCK_NAME, OFlags::RDWR | OFlags::CREATE)?;
        lock_file(file, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_existing(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.lock_if_there(FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_to_read(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.lock_if_there(FlockOperation::NonBlockingLockShared)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let directory = self.opened()?;
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let is_file = match entry.file_type() {
                FileType::RegularFile => true,
                // An operator may have moved a file elsewhere and left a link; not every file system
                // tells the kind.
                FileType::Symlink | FileType::Unknown => is_file(directory, name),
                _ => false,
            };
            if is_file {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_file(name, OFlags::RDWR)?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_file(name, OFlags::RDONLY)?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn open_to_verify(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_file(name, OFlags::RDONLY)?;
        // The cache lets go of what is not dirty; where it cannot, as in a file system in memory, it
        // is all that there is to read.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        Ok(Arc::new(DiskFile { file }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.read_start_from_device(name, usize::MAX)
    }

    fn read_start_from_device(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        let file = self.open_file(name, OFlags::RDONLY)?;
        // A killed process's writes may sit in the page cache only. A direct read would have them
        // written back first, but without a device flush: what is read here must stay readable.
        match file.sync_all() {
            // A file system that is never written to, as that of a disc, has nothing to sync.
            Err(e) if e.kind() == ErrorKind::InvalidInput => {}
            result => result?,
        }
        let len = memory_len(file.metadata()?.len())?.min(bytes);
        let direct = self.open_file(name, OFlags::RDONLY | OFlags::DIRECT);
        match direct.and_then(|file| read_direct(&file, len)) {
            // The file system has no direct I/O: its cache is all that there is to read.
            Err(e) if e.kind() == ErrorKind::InvalidInput => read_buffered(&file, len),
            result => result,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let directory = self.opened()?;
        Ok(renameat(directory, from, directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(self.opened()?, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let directory = self.opened()?;
        Ok(retry_on_intr(|| fsync(directory))?)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let directory = self.opened()?;
        let stat = retry_on_intr(|| fstatvfs(directory))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(DiskStorage::new(path)?))
    }

    fn place(&self) -> io::Result<Place<'_>> {
        Ok(Place::Directory(self.opened()?))
    }

    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()> {
        let Place::Directory(target) = to.place()? else {
            return Err(ErrorKind::CrossesDevices.into());
        };
        // A link to a symbolic link would lead from the other directory to nowhere, or elsewhere.
        Ok(linkat(self.opened()?, name, target, name, AtFlags::SYMLINK_FOLLOW)?)
    }
}

/// Whether a name stands for a file, be it by a link.
fn is_file(directory: BorrowedFd<'_>, name: &str) -> bool {
    statat(directory, name, AtFlags::empty())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// An open file on disk.
struct DiskFile {
    file: OsFile,
}

impl File for DiskFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let wanted = buf.len();
        if wanted == 0 {
            return Ok(());
        }
        let read = retry_on_intr(|| {
            preadv2(&self.file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT)
        });
        match read.map_err(io::Error::from) {
            Ok(read) if read == wanted => Ok(()),
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            // Part of it is cached, or the file ends: a blocking read tells which.
            Ok(_) => Err(ErrorKind::WouldBlock.into()),
            // Neither every file system nor every sandbox knows the flag.
            Err(e) if e.kind() == ErrorKind::Unsupported => Err(ErrorKind::WouldBlock.into()),
            Err(e) => Err(e),
        }
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync leaves out times only: a length that is needed to read the bytes is persisted.
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Creates a directory, given by its absolute path, and those above it that are missing, and makes
/// their names durable.
fn create_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return sync_parent_if_readable(path),
        Ok(_) => return Err(ErrorKind::NotADirectory.into()),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    missing.iter().filter_map(|path| path.parent()).try_for_each(sync_directory)
}

/// Makes the name of a directory durable that was there already: whoever created it may have died
/// before its own sync. Where the parent may not be read, it was an administrator's doing.
fn sync_parent_if_readable(path: &Path) -> io::Result<()> {
    match path.parent().map_or(Ok(()), sync_directory) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    OsFile::open(path)?.sync_all()
}

fn read_buffered(file: &OsFile, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Reads `len` bytes past the page cache, after a failed sync of an earlier process the only way to
/// see what the device has. The kernel writes dirty pages of the range back before such a read.
fn read_direct(file: &OsFile, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; DIRECT_CHUNK_BYTES + DIRECT_ALIGNMENT];
    let start = buffer.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let Some(chunk) = buffer.get_mut(start..start + DIRECT_CHUNK_BYTES) else {
        return Err(ErrorKind::OutOfMemory.into());
    };
    // Zeros are there already, and take no memory as long as nobody writes them: most of a log
    // segment that is not full yet.
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let read = read_once(file, chunk, filled as u64)?.min(len - filled);
        let at_end = filled + read == len;
        // The next read must start aligned, so an odd remainder is read again.
        let kept = if at_end { read } else { read - read % DIRECT_ALIGNMENT };
        if kept == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if chunk[..kept].iter().any(|byte| *byte != 0) {
            bytes[filled..filled + kept].copy_from_slice(&chunk[..kept]);
        }
        filled += kept;
    }
    Ok(bytes)
}

fn read_once(file: &OsFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buf, offset) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn memory_len(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn storage() -> (tempfile::TempDir, DiskStorage) {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path()).unwrap();
        (dir, storage)
    }

    #[test]
    fn opening_touches_nothing_and_locking_creates_the_directories() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        let storage = DiskStorage::new(&path).unwrap();
        assert!(!dir.path().join("a").exists());
        let guard = storage.lock().unwrap();
        assert!(path.join(LOCK_NAME).exists());
        drop(guard);
        assert!(storage.lock().is_ok());
    }

    #[test]
    fn what_is_created_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("above/data");
        let storage = DiskStorage::new(&path).unwrap();
        let _guard = storage.lock().unwrap();
        storage.create("file").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir.path().join("above"))), (0o700, 0o700));
        assert_eq!((mode(&path.join(LOCK_NAME)), mode(&path.join("file"))), (0o600, 0o600));
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_a_plain_error() {
        assert_eq!(DiskStorage::new(Path::new("")).unwrap_err().kind(), ErrorKind::InvalidInput);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        for path in ["file", "file/below"] {
            let storage = DiskStorage::new(&dir.path().join(path)).unwrap();
            assert_eq!(storage.lock().err().unwrap().kind(), ErrorKind::NotADirectory, "{path}");
        }
    }

    #[test]
    fn directories_and_odd_names_are_not_listed() {
        let (dir, storage) = storage();
        fs::create_dir(dir.path().join("folder")).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
        fs::write(dir.path().join(odd), b"x").unwrap();
        storage.create("file").unwrap();
        symlink(dir.path().join("folder"), dir.path().join("folder2")).unwrap();
        symlink(dir.path().join("nothing"), dir.path().join("dangling")).unwrap();
        assert_eq!(storage.list().unwrap(), ["file"]);
    }

    #[test]
    fn a_link_to_a_file_stands_for_it() {
        let (dir, storage) = storage();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("moved"), b"bytes").unwrap();
        symlink(elsewhere.path().join("moved"), dir.path().join("file")).unwrap();
        assert_eq!(storage.list().unwrap(), ["file"]);
        assert_eq!(storage.read_from_device("file").unwrap(), b"bytes");
    }

    #[test]
    fn a_file_system_without_syncs_is_read() {
        let storage = DiskStorage::new(Path::new("/proc/self")).unwrap();
        assert!(OsFile::open("/proc/self/maps").unwrap().sync_all().is_err());
        // It says that its files are empty.
        assert_eq!(storage.read_from_device("maps").unwrap(), b"");
    }

    #[test]
    fn a_device_read_returns_whole_files_of_any_length() {
        let (_dir, storage) = storage();
        for len in [0, 1, 4095, 4096, 4097, DIRECT_CHUNK_BYTES, 2 * DIRECT_CHUNK_BYTES + 513] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
            let name = format!("file{len}");
            storage.create(&name).unwrap().write_all_at(&bytes, 0).unwrap();
            assert!(storage.read_from_device(&name).unwrap() == bytes, "{len} bytes");
        }
    }

    #[test]
    fn a_cached_read_answers_or_says_that_it_would_block() {
        let (_dir, storage) = storage();
        let file = storage.create("file").unwrap();
        file.write_all_at(&[7; 10_000], 0).unwrap();
        let mut buf = [0; 100];
        match file.try_read_exact_at(&mut buf, 9_000) {
            Ok(()) => assert_eq!(buf, [7; 100]),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
    }
}
