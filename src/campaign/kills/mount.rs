//! A mounted file system that drops unsynced data: a [`SimStorage`] as the kernel sees it, by FUSE.
//!
//! It is one flat directory, for a server's data. The kernel keeps nothing of it: files are opened
//! for direct access and names are asked for each time, so that what the storage knows as synced is
//! what the server synced. Each call that changes something is passed on as one call of the storage;
//! nothing here may sync by itself, or a missing sync would go unnoticed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use rustix::mount::{UnmountFlags, unmount};

use crate::campaign::driver::{Undo, undo_at_an_end};
use crate::engine::storage::sim::SimStorage;
use crate::engine::storage::{File, Storage as _};

/// For how long the kernel may remember what it was told.
const AT_ONCE: Duration = Duration::ZERO;
/// The unit of sizes, in bytes.
const BLOCK_BYTES: u32 = 4_096;
/// Calls that are served at once.
const THREADS: usize = 6;

/// A file system, mounted until it is dropped.
pub(super) struct Mount {
    tree: Arc<Mutex<Tree>>,
    session: Option<BackgroundSession>,
    _undo: Undo,
}

impl Mount {
    /// Mounts `storage` on the empty directory `path`.
    pub(super) fn new(storage: SimStorage, path: &Path) -> io::Result<Self> {
        let tree = Tree {
            storage,
            nodes: HashMap::new(),
            names: HashMap::new(),
            next: INodeNo::ROOT.0 + 1,
        };
        let tree = Arc::new(Mutex::new(tree));
        let mut config = fuser::Config::default();
        // Syncs may be held back: the other calls go on.
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Adapter(Arc::clone(&tree)), path, &config)?;
        let path = path.to_owned();
        let undo = undo_at_an_end(move |_| {
            let _ = unmount(&path, UnmountFlags::DETACH);
        });
        Ok(Mount { tree, session: Some(session), _undo: undo })
    }

    /// Puts another storage in the place of the one that is mounted. Whoever has files of that open
    /// gets errors.
    pub(super) fn replace(&self, storage: SimStorage) {
        let mut tree = lock(&self.tree);
        tree.storage = storage;
        tree.nodes.clear();
        tree.names.clear();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A mount that is left behind is of no use to anyone, and harms nobody.
            let _ = session.umount_and_join();
        }
    }
}

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that the kernel knows by number.
struct Node {
    file: Arc<dyn File>,
    /// How often it is open.
    opened: u64,
    is_named: bool,
}

/// What the kernel's numbers mean.
struct Tree {
    storage: SimStorage,
    nodes: HashMap<u64, Node>,
    names: HashMap<String, u64>,
    /// A number that no file has or had: the kernel may remember those of files that are gone.
    next: u64,
}

impl Tree {
    fn add(&mut self, name: &str, file: Arc<dyn File>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, Node { file, opened: 0, is_named: true });
        self.names.insert(name.to_owned(), number);
        number
    }

    fn find(&mut self, name: &OsStr) -> io::Result<u64> {
        let name = plain(name)?;
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        let file = self.storage.open(name)?;
        Ok(self.add(name, file))
    }

    fn create(&mut self, name: &OsStr) -> io::Result<u64> {
        let name = plain(name)?;
        let file = self.storage.create(name)?;
        let number = self.add(name, file);
        self.open(number)?;
        Ok(number)
    }

    fn node(&mut self, number: u64) -> io::Result<&mut Node> {
        self.nodes.get_mut(&number).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn open(&mut self, number: u64) -> io::Result<()> {
        self.node(number)?.opened += 1;
        Ok(())
    }

    fn close(&mut self, number: u64) {
        if let Ok(node) = self.node(number) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.forget(number);
    }

    /// Drops a file that nothing leads to any more.
    fn forget(&mut self, number: u64) {
        if self.nodes.get(&number).is_some_and(|node| node.opened == 0 && !node.is_named) {
            self.nodes.remove(&number);
        }
    }

    fn unname(&mut self, name: &str) {
        let Some(number) = self.names.remove(name) else { return };
        if let Ok(node) = self.node(number) {
            node.is_named = false;
        }
        self.forget(number);
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        let name = plain(name)?;
        self.storage.remove(name)?;
        self.unname(name);
        Ok(())
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let number = self.find(from)?;
        let (from, to) = (plain(from)?, plain(to)?);
        self.storage.rename(from, to)?;
        if from != to {
            self.unname(to);
            self.names.remove(from);
            self.names.insert(to.to_owned(), number);
        }
        Ok(())
    }

    fn read(&mut self, number: u64, offset: u64, bytes: u32) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.node(number)?.file);
        let end = file.len()?.min(offset.saturating_add(u64::from(bytes)));
        let mut buf = vec![0; end.saturating_sub(offset) as usize];
        file.read_exact_at(&mut buf, offset)?;
        Ok(buf)
    }

    fn attributes(&mut self, number: u64, request: &Request) -> io::Result<FileAttr> {
        let (size, kind, perm) = if number == INodeNo::ROOT.0 {
            (0, FileType::Directory, 0o700)
        } else {
            (self.node(number)?.file.len()?, FileType::RegularFile, 0o600)
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: request.uid(),
            gid: request.gid(),
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        })
    }
}

/// A name as the storage takes it.
fn plain(name: &OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| ErrorKind::InvalidFilename.into())
}

/// What the kernel is told of an error of the storage.
fn errno(error: &io::Error) -> Errno {
    match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => Errno::from_i32(code),
        (None, ErrorKind::NotFound) => Errno::ENOENT,
        (None, ErrorKind::AlreadyExists) => Errno::EEXIST,
        (None, ErrorKind::InvalidFilename) => Errno::EINVAL,
        (None, _) => Errno::EIO,
    }
}

/// The kernel's requests, one at a time.
struct Adapter(Arc<Mutex<Tree>>);

/// Answers with what `$value` is, or its error.
macro_rules! answer {
    ($reply:ident, $value:expr, |$done:pat_param| $success:expr) => {
        match $value {
            Ok($done) => $success,
            Err(error) => $reply.error(errno(&error)),
        }
    };
}

impl Filesystem for Adapter {
    fn lookup(&self, request: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = lock(&self.0);
        let found = tree.find(name).and_then(|number| tree.attributes(number, request));
        answer!(reply, found, |found| reply.entry(&AT_ONCE, &found, Generation(0)));
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = lock(&self.0).attributes(ino.0, request);
        answer!(reply, found, |found| reply.attr(&AT_ONCE, &found));
    }

    /// Times and modes are not kept; a file is never cut.
    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let found = lock(&self.0).attributes(ino.0, request);
        answer!(reply, found, |found| match size {
            Some(size) if size != found.size => reply.error(Errno::ENOSYS),
            _ => reply.attr(&AT_ONCE, &found),
        });
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, lock(&self.0).remove(name), |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer!(reply, lock(&self.0).rename(name, newname), |()| reply.ok());
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = lock(&self.0).open(ino.0);
        answer!(reply, opened, |()| reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn create(
        &self,
        request: &Request,
        _: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut tree = lock(&self.0);
        let made = tree.create(name).and_then(|number| tree.attributes(number, request));
        let flags = FopenFlags::FOPEN_DIRECT_IO;
        answer!(reply, made, |made| {
            reply.created(&AT_ONCE, &made, Generation(0), FileHandle(0), flags);
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = lock(&self.0).read(ino.0, offset, size);
        answer!(reply, read, |bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = lock(&self.0);
        let written = tree.node(ino.0).and_then(|node| node.file.write_all_at(data, offset));
        answer!(reply, written, |()| reply.written(data.len() as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.0).close(ino.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // Without the lock: a sync may be held back, and the other calls go on.
        let file = lock(&self.0).node(ino.0).map(|node| Arc::clone(&node.file));
        answer!(reply, file.and_then(|file| file.sync()), |()| reply.ok());
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = lock(&self.0);
        answer!(reply, tree.storage.list(), |names| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (at, name) in names.iter().enumerate().skip(from) {
                // The number tells nothing: the kernel looks the name up.
                let number = INodeNo(u64::MAX);
                if reply.add(number, at as u64 + 1, FileType::RegularFile, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let storage = lock(&self.0).storage.clone();
        answer!(reply, storage.sync_dir(), |()| reply.ok());
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = lock(&self.0).storage.free_bytes();
        answer!(reply, free, |free| {
            let blocks = free / u64::from(BLOCK_BYTES);
            reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, BLOCK_BYTES, 255, BLOCK_BYTES);
        });
    }
}
