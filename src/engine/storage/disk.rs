//! Not built yet.
#![expect(clippy::todo, unused_variables, missing_docs, reason = "skeleton")]
use super::{File, Storage};
use std::{io, path::Path, sync::Arc};
/// The real storage.
pub struct DiskStorage {}
impl DiskStorage {
    pub fn new(path: &Path) -> io::Result<Self> {
        todo!()
    }
}
impl Storage for DiskStorage {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        todo!()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        todo!()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        todo!()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        todo!()
    }
    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        todo!()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        todo!()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        todo!()
    }
    fn sync_dir(&self) -> io::Result<()> {
        todo!()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        todo!()
    }
}
