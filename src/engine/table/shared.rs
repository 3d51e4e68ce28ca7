//! What all tables of a database share: storage, block cache, open files, and those to be removed.
//!
//! A table that no version names any more may still have readers, and these open its file by name.
//! So its file stays until the last of them is gone: [`Table::retire`] marks a table, and dropping it
//! lists its id here. Who removes files ([`Tables::take_trash`], [`Tables::remove`]) is the
//! background; a drop does no I/O, for it may happen on a thread that must not wait.
//!
//! [`Table::retire`]: super::Table::retire

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::BlockCache;
use super::handles::Handles;
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::storage::{File, Storage, Thrifty};
use crate::engine::sync::lock;

/// What all tables of a database share.
pub(crate) struct Tables {
    storage: Arc<dyn Storage>,
    cache: BlockCache,
    handles: Arc<Handles>,
    /// Ids of tables that were retired and that nobody holds any more.
    trash: Mutex<Vec<u64>>,
    /// Tables that were retired and whose files are still there.
    retired: AtomicUsize,
}

impl Tables {
    /// Tables in `storage`, read through `cache`, with up to `max_open` files open.
    pub(crate) fn new(storage: Arc<dyn Storage>, cache: BlockCache, max_open: usize) -> Self {
        let handles = Arc::new(Handles::new(max_open));
        let closing = Arc::clone(&handles);
        let storage = Arc::new(Thrifty::new(storage, Arc::new(move || closing.close_some())));
        let trash = Mutex::default();
        Tables { storage, cache, handles, trash, retired: AtomicUsize::new(0) }
    }

    /// Where the files are.
    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// The same for all else that is done with the files of the database: where the process may open no
    /// more, tables that are open are closed for it.
    pub(crate) fn shared_storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// What blocks are read through.
    pub(crate) fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Files that are open.
    pub(crate) fn open_files(&self) -> usize {
        self.handles.len()
    }

    /// The file of table `id`; opening it may wait.
    pub(super) fn file(&self, id: u64) -> io::Result<Arc<dyn File>> {
        self.handles.get(id, self.storage())
    }

    /// The file of table `id` if it is open.
    pub(super) fn open_file(&self, id: u64) -> Option<Arc<dyn File>> {
        self.handles.get_open(id)
    }

    /// Lists a table as one to be removed.
    pub(super) fn discard(&self, id: u64) {
        lock(&self.trash).push(id);
    }

    /// The ids of the tables whose files can be removed now; each is told once.
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

    /// Closes and removes the file of a table that nobody reads any more. After an error that can pass
    /// it is in the trash again: a full file system may lack the room to remove something.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        self.handles.close(id);
        let name = filename::table(id);
        let removed = self.storage.remove(&name).map_err(|e| Error::io("remove", &name, e));
        removed.inspect_err(|error| {
            if error.can_pass() {
                self.expect_trash();
                self.discard(id);
            }
        })
    }
}
