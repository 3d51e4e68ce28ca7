//! What all tables of a database share: storage, block cache, open files, and those to be removed.
//!
//! A table that no version names any more may still have readers, and these open its file by name.
//! So its file stays until the last of them is gone: [`Table::retire`] marks a table, and dropping it
//! lists its id here. Who removes files ([`Tables::take_trash`], [`Tables::remove`]) is the
//! background; a drop does no I/O, for it may happen on a thread that must not wait.
//!
//! [`Table::retire`]: super::Table::retire

use std::io;
use std::sync::{Arc, Mutex};

use super::BlockCache;
use super::handles::Handles;
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::storage::{File, Storage};
use crate::engine::sync::lock;

/// What all tables of a database share.
pub(crate) struct Tables {
    storage: Arc<dyn Storage>,
    cache: BlockCache,
    handles: Handles,
    /// Ids of tables that were retired and that nobody holds any more.
    trash: Mutex<Vec<u64>>,
}

impl Tables {
    /// Tables in `storage`, read through `cache`, with up to `max_open` files open.
    pub(crate) fn new(storage: Arc<dyn Storage>, cache: BlockCache, max_open: usize) -> Self {
        Tables { storage, cache, handles: Handles::new(max_open), trash: Mutex::default() }
    }

    /// Where the files are.
    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
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
        std::mem::take(&mut lock(&self.trash))
    }

    /// Closes and removes the file of a table that nobody reads any more.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        self.handles.close(id);
        let name = filename::table(id);
        self.storage.remove(&name).map_err(|e| Error::io("remove", &name, e))
    }
}
