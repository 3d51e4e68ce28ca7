//! The engine's threads: started with it, stopped when its last handle goes.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::db::Inner;
use super::error::{Error, Result};
use super::sync::lock;

/// See the module.
pub(crate) struct Threads {
    inner: Arc<Inner>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<Self> {
        let threads = Threads { inner: Arc::clone(inner), handles: Mutex::default() };
        if !inner.is_manual() {
            threads.spawn("chronos-wal", |inner| inner.commit.run())?;
            threads.spawn("chronos-flush", |inner| inner.run_flush_thread())?;
            threads.spawn("chronos-merge", |inner| inner.run_merge_thread())?;
        }
        Ok(threads)
    }

    fn spawn(&self, name: &str, body: fn(&Arc<Inner>)) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _guard = DeathNotice(&inner);
                body(&inner);
            })
            .map_err(|e| Error::io("start a thread for", name, e))?;
        lock(&self.handles).push(handle);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.inner.background.stop();
        self.inner.commit.stop();
        for handle in lock(&self.handles).drain(..) {
            let _ = handle.join();
        }
    }
}

/// A thread that died of a bug must not leave an engine that looks alive.
struct DeathNotice<'a>(&'a Arc<Inner>);

impl Drop for DeathNotice<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or("a thread").to_owned();
            self.0.commit.fail(Error::Failed(format!("{name} panicked").into()));
            self.0.background.abandon(&Error::Closed);
        }
    }
}
