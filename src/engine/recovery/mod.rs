//! Opening a database: from what is on the device to a state that can serve.
//!
//! All that recovery needs is read and checked ([`replay`]) before the first byte is changed
//! ([`install`]): a damaged database is refused and left exactly as it was. The log is read as the
//! device holds it, not as the page cache remembers it. What is replayed goes to tables before
//! anything is served; until `CURRENT` names the new manifest, a crash leaves the old state in
//! force, and the next recovery begins anew.

pub(crate) mod install;
mod leftovers;
pub(crate) mod log;
mod progress;
pub(crate) mod replay;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::filename::{self, FileKind};
use super::key::Seq;
use super::options::{Environment, Options};
use super::storage::Storage;
use super::table::Tables;
use super::version::Version;
use super::version::set::{self, VersionSet};
use super::wal::{Spare, Wal};

/// What recovery found and did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether the directory was new.
    pub created: bool,
    /// Log groups read.
    pub groups: u64,
    /// Writes replayed from the log; those that were in tables already are not counted.
    pub writes: u64,
    /// Bytes of the log groups read.
    pub log_bytes: u64,
    /// Tables found.
    pub tables: usize,
    /// The last sequence number recovered.
    pub last_seq: Seq,
    /// How long it took.
    pub elapsed: Duration,
    /// The unacknowledged tail that was dropped, if there was one.
    pub torn: Option<TornTail>,
    /// Files that have names of a database's files, but nothing proves that this one wrote them: they
    /// are neither read nor used nor removed.
    pub foreign: Vec<String>,
}

/// A log tail that a crash left half-written; it was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The segment's file name.
    pub file: String,
    /// Where the tail starts, in bytes.
    pub offset: u64,
    /// The file that keeps a copy of it.
    pub copy: String,
}

/// A database that is ready to serve.
pub(crate) struct Opened {
    pub(crate) set: VersionSet,
    pub(crate) version: Version,
    pub(crate) wal: Wal,
    pub(crate) spare: Option<Spare>,
    pub(crate) recovery: Recovery,
}

/// Opens the database in the environment's storage, which must be locked; its tables share
/// `tables`.
pub(crate) fn open(
    environment: &Environment,
    options: &Options,
    tables: &Arc<Tables>,
) -> Result<Opened> {
    let started = Instant::now();
    let storage = environment.storage.as_ref();
    let mut directory = Directory::list(storage)?;
    let loaded = set::load(storage)?;
    directory.set_foreign_apart(storage, loaded.as_ref());
    for name in &directory.foreign {
        tracing::warn!(
            file = name,
            "left alone: it has a name of ours, but nothing proves that this database wrote it"
        );
    }
    let found = if let Some(loaded) = loaded {
        replay::read(storage, loaded, &directory, options, tables)?
    } else {
        let nothing = replay::read_nothing(storage, &directory)?;
        if !options.create_if_missing {
            return Err(Error::NoDatabase);
        }
        nothing
    };
    let mut opened = install::install(found, environment, options, &directory, tables)?;
    opened.recovery.foreign = directory.foreign;
    opened.recovery.elapsed = started.elapsed();
    Ok(opened)
}

/// The files of the database that are in the directory; files of others are none of our business.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) tables: BTreeSet<u64>,
    pub(crate) segments: BTreeSet<u64>,
    pub(crate) manifests: BTreeSet<u64>,
    pub(crate) temporaries: Vec<String>,
    pub(crate) has_current: bool,
    /// Files with names of ours that are not provably of this database: see `leftovers`.
    pub(crate) foreign: Vec<String>,
    /// No foreign file has this id or a greater one, but for numbers that are never reached.
    least_free_id: u64,
}

/// Whether a database could be in a directory that may not be there: one of its files is. Changes
/// nothing.
pub(crate) fn may_be_there(storage: &dyn Storage) -> Result<bool> {
    match storage.list() {
        Ok(names) => Ok(names.iter().any(|name| {
            !matches!(filename::parse(name), None | Some(FileKind::Lock | FileKind::Temporary))
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("list", "the directory", error)),
    }
}

impl Directory {
    pub(crate) fn list(storage: &dyn Storage) -> Result<Self> {
        let mut directory = Directory::default();
        for name in storage.list().map_err(|e| Error::io("list", "the directory", e))? {
            let _ = match filename::parse(&name) {
                Some(FileKind::Table(id)) => directory.tables.insert(id),
                Some(FileKind::Wal(id)) => directory.segments.insert(id),
                Some(FileKind::Manifest(id)) => directory.manifests.insert(id),
                Some(FileKind::Temporary) => {
                    directory.temporaries.push(name);
                    true
                }
                Some(FileKind::Current) => {
                    directory.has_current = true;
                    true
                }
                Some(FileKind::Lock) | None => false,
            };
        }
        Ok(directory)
    }

    /// An id that no file has.
    pub(crate) fn free_id(&self) -> u64 {
        let greatest = |ids: &BTreeSet<u64>| ids.last().copied().unwrap_or(0);
        let taken =
            greatest(&self.tables).max(greatest(&self.segments)).max(greatest(&self.manifests));
        self.least_free_id.max(taken + 1)
    }
}
