//! A simulated storage whose calls can be refused one by one, by what they do and to which file:
//! for errors that depend on the name, as too many open files or a directory on another device do.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::storage::{File, Storage};

/// A call that a hook may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Lock,
    List,
    Open,
    Create,
    Link,
}

type Hook = Box<dyn Fn(Call, &str) -> io::Result<()> + Send + Sync>;

/// See the module. Clones, and the directories beside it, share the hook.
#[derive(Clone)]
pub(crate) struct Hooked {
    pub(crate) storage: SimStorage,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Hooked {
    pub(crate) fn new(storage: SimStorage) -> Self {
        Hooked { storage, hook: Arc::default() }
    }

    /// Asks `hook` before each call from here on, in place of the one before.
    pub(crate) fn set(&self, hook: impl Fn(Call, &str) -> io::Result<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn clear(&self) {
        *self.hook.lock().unwrap() = None;
    }

    fn ask(&self, call: Call, name: &str) -> io::Result<()> {
        self.hook.lock().unwrap().as_ref().map_or(Ok(()), |hook| hook(call, name))
    }
}

impl Storage for Hooked {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.ask(Call::Lock, "")?;
        self.storage.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.ask(Call::List, "")?;
        self.storage.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.ask(Call::Open, name)?;
        self.storage.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.ask(Call::Create, name)?;
        self.storage.create(name)
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        self.storage.read_from_device(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.storage.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.storage.free_bytes()
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Hooked { storage: self.storage.at(path), hook: Arc::clone(&self.hook) }))
    }

    fn link(&self, name: &str, path: &Path) -> io::Result<()> {
        self.ask(Call::Link, name)?;
        self.storage.link(name, path)
    }
}
