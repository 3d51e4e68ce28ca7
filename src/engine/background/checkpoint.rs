//! Checkpoints: a consistent copy of the database in another directory, while writing goes on.
//!
//! Tables never change, so the copy shares them by hard links and costs little room and time. Its
//! manifest and log are its own. Until its `CURRENT` is there, which comes last, the directory does
//! not open as a database: a copy that was broken off is never taken for a whole one. One that failed
//! takes back what it made, so that the same directory can be used again.

use std::io::ErrorKind;
use std::sync::Arc;

use super::super::db::Inner;
use super::super::error::{Error, Result};
use super::super::filename::{self, CURRENT};
use super::super::journal::format::BLOCK_BYTES;
use super::super::journal::{Header, Purpose};
use super::super::options::{Clock, Environment};
use super::super::storage::{Made, Storage, link_or_copy};
use super::super::sync::{lock, read};
use super::super::version::Version;
use super::super::version::set::{Snapshot, VersionSet};
use super::super::wal;

impl Inner {
    /// Writes what is in tables to `storage`, which is another directory. What fails there is the
    /// inner result and no trouble of this database; the outer one is of its own work in between. It
    /// is dated `begun_ms`, before which all that is acknowledged is in it, however long copying takes.
    pub(super) fn checkpoint(
        &self,
        storage: &Arc<dyn Storage>,
        begun_ms: u64,
    ) -> Result<Result<()>> {
        let made = Made::within(Arc::clone(storage));
        let _lock = match lock_empty(made.as_ref()) {
            Ok(lock) => lock,
            Err(error) => return Ok(Err(error)),
        };
        let outcome = self.copy_to(&made, begun_ms);
        if !matches!(outcome, Ok(Ok(()))) {
            made.take_back(CURRENT);
        }
        outcome
    }

    fn copy_to(&self, made: &Arc<Made>, begun_ms: u64) -> Result<Result<()>> {
        let (snapshot, version) = self.state();
        let target = Environment {
            storage: made.clone(),
            clock: Arc::new(Stopped(begun_ms)),
            ..self.environment.clone()
        };
        for (_, table) in version.tables() {
            let name = filename::table(table.meta().id);
            let from = self.environment.storage.as_ref();
            if let Err(error) = link_or_copy(from, &name, made.as_ref()) {
                return Ok(Err(Error::io("link or copy", &name, error)));
            }
            made.note(&name);
            self.yield_to_urgent()?;
        }
        Ok(start_log(&target, snapshot))
    }

    /// What the manifest says, and the version that it says it of: held, its files stay.
    fn state(&self) -> (Snapshot, Arc<Version>) {
        let set = lock(&self.set);
        (set.snapshot().clone(), Arc::clone(&read(&self.memory).version))
    }
}

/// A clock that shows one moment.
struct Stopped(u64);

impl Clock for Stopped {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

/// Locks a directory that holds nothing.
pub(crate) fn lock_empty(storage: &dyn Storage) -> Result<Box<dyn Send + Sync>> {
    let use_error = |e| Error::io("use", "the checkpoint's directory", e);
    let guard = storage.lock().map_err(|e| match e.kind() {
        ErrorKind::WouldBlock => Error::Locked,
        _ => use_error(e),
    })?;
    let names = storage.list().map_err(use_error)?;
    if names.iter().all(|name| name == filename::LOCK) {
        Ok(guard)
    } else {
        Err(Error::InvalidOption("a copy needs an empty directory".to_owned()))
    }
}

/// Gives a copy an empty log, and then the manifest that makes it a database.
pub(crate) fn start_log(target: &Environment, mut snapshot: Snapshot) -> Result<()> {
    let id = snapshot.next_file_id;
    snapshot.next_file_id += 1;
    snapshot.first_segment = id;
    let spare = wal::create_segment(target.storage.as_ref(), id, BLOCK_BYTES)?;
    let header = Header {
        purpose: Purpose::Wal,
        id,
        epoch: (target.random)(),
        first_group: 1,
        first_seq: snapshot.flushed_seq + 1,
        previous_id: 0,
        previous_end: 0,
        previous_crc: 0,
        blocks: 1,
    };
    wal::start_segment(spare, &header)?;
    VersionSet::create(target.clone(), snapshot).map(|_| ())
}
