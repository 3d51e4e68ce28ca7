//! What all tables of a database share: storage, block cache, a bounded number of open files, and
//! the files that nobody reads any more.
//!
//! A table's file is opened when it is needed, and those used most stay open: there may be more
//! tables than the process may have descriptors. So a file must keep its name as long as somebody
//! may read it: a table that is no longer part of the database is *retired*, and when its last reader
//! lets go of it, its id goes to the trash. Letting go never does I/O, for it may happen anywhere;
//! whoever does background work takes the trash out.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

use super::BlockCache;
use crate::engine::filename;
use crate::engine::storage::{File, Storage};
use crate::engine::sync::lock;

type Handles = Cache<u64, Arc<dyn File>, UnitWeighter, FixedState>;

/// See the module.
pub(crate) struct Tables {
    storage: Arc<dyn Storage>,
    cache: BlockCache,
    handles: Handles,
    trash: Mutex<Vec<u64>>,
    /// Tables that were retired and whose files are still there.
    retired: AtomicUsize,
}

impl Tables {
    /// Of the database in `storage`: a block cache of `cache_bytes`, and up to `max_open` open files
    /// beside those that are being read.
    pub(crate) fn new(storage: Arc<dyn Storage>, cache_bytes: usize, max_open: usize) -> Self {
        let cache = BlockCache::new(cache_bytes);
        let (handles, trash) = (handles(max_open), Mutex::default());
        Tables { storage, cache, handles, trash, retired: AtomicUsize::new(0) }
    }

    /// Holds the files.
    pub(crate) fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// Holds the blocks.
    pub(crate) fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Files that are kept open.
    pub(crate) fn open_files(&self) -> usize {
        self.handles.len()
    }

    /// The file of table `id`, opened if it is not open.
    fn file(&self, id: u64) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.handles.get(&id) {
            return Ok(file);
        }
        let file = self.storage.open(&filename::table(id))?;
        self.handles.insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// Removes the file of a table that nobody reads any more, open or not: while it is open it
    /// keeps its room on the device.
    pub(crate) fn remove(&self, id: u64) -> io::Result<()> {
        self.handles.remove(&id);
        self.storage.remove(&filename::table(id))
    }

    /// Gives up a table that nobody reads any more.
    pub(super) fn discard(&self, id: u64) {
        lock(&self.trash).push(id);
    }

    /// Takes out the ids of tables whose files may be removed.
    pub(crate) fn take_trash(&self) -> Vec<u64> {
        let trash = std::mem::take(&mut *lock(&self.trash));
        self.retired.fetch_sub(trash.len(), Ordering::Relaxed);
        trash
    }

    /// Takes note of a table that will come to the trash.
    pub(super) fn expect_trash(&self) {
        self.retired.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether something is in the trash, or will be once its readers let go of it: they tell nobody.
    pub(crate) fn expects_trash(&self) -> bool {
        self.retired.load(Ordering::Relaxed) > 0
    }
}

fn handles(max_open: usize) -> Handles {
    let options = OptionsBuilder::new()
        .estimated_items_capacity(max_open)
        .weight_capacity(max_open as u64)
        .shards(1)
        .build();
    let (hasher, lifecycle) = (FixedState::default(), DefaultLifecycle::default());
    match options {
        Ok(options) => Cache::with_options(options, UnitWeighter, hasher, lifecycle),
        // Only options that are not set are refused.
        Err(_) => Cache::with(max_open, max_open as u64, UnitWeighter, hasher, lifecycle),
    }
}

/// The file of a table, open or not.
pub(super) struct TableFile {
    tables: Arc<Tables>,
    id: u64,
}

impl TableFile {
    pub(super) fn new(tables: &Arc<Tables>, id: u64) -> Self {
        TableFile { tables: Arc::clone(tables), id }
    }
}

impl File for TableFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.tables.file(self.id)?.read_exact_at(buf, offset)
    }

    /// Opening a file may wait as well.
    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.tables.handles.get(&self.id) {
            Some(file) => file.try_read_exact_at(buf, offset),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.tables.file(self.id)?.len()
    }
}
