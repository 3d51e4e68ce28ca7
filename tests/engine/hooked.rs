//! A simulated storage that asks a hook before its calls, by what they do and to which file: for what
//! depends on the name and what no plan of faults can tell. The hook may refuse the call, hold its
//! thread, kill it, or change what lies on the device.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::storage::{File, Place, Storage};

/// A call that a hook is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Lock,
    List,
    Open,
    Create,
    Link,
    Write,
    Sync,
}

type Hook = Arc<dyn Fn(Call, &str) -> io::Result<()> + Send + Sync>;

/// See the module. Clones, the directories beside it and all open files share the hook.
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
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    pub(crate) fn clear(&self) {
        *self.hook.lock().unwrap() = None;
    }

    fn ask(&self, call: Call, name: &str) -> io::Result<()> {
        // Not under the lock: a hook may stay for long, or panic.
        let hook = self.hook.lock().unwrap().clone();
        hook.map_or(Ok(()), |hook| hook(call, name))
    }

    fn wrap(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(HookedFile { file, name: name.to_owned(), hooked: self.clone() })
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
        Ok(self.wrap(name, self.storage.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.ask(Call::Create, name)?;
        Ok(self.wrap(name, self.storage.create(name)?))
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

    fn place(&self) -> io::Result<Place<'_>> {
        self.storage.place()
    }

    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()> {
        self.ask(Call::Link, name)?;
        self.storage.link(name, to)
    }
}

/// An open file, with the name under which it was opened.
struct HookedFile {
    file: Arc<dyn File>,
    name: String,
    hooked: Hooked,
}

impl File for HookedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.try_read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.hooked.ask(Call::Write, &self.name)?;
        self.file.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.hooked.ask(Call::Sync, &self.name)?;
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
