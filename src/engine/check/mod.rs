//! The check of a whole database that nobody has open: every checksum, every order, every count.
//!
//! It changes nothing, and goes on behind damage: an operator wants to know all that is lost before
//! deciding what to do. Manifest and log are read as recovery reads them ([`log`]); the tables are
//! walked through side by side ([`levels`]), so that what only several of them can show is seen as
//! well: of each key, what stands higher must be newer. What a crash leaves behind is no damage: it
//! is told in the notes.
//!
//! Memory does not depend on the amount of data: a piece of each table of level 0 and of one table of
//! each deeper level, one log segment, and all that was found.

mod levels;
mod log;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::filename::{self, CURRENT};
use super::key::Seq;
use super::recovery::Directory;
use super::recovery::replay::read_nothing;
use super::storage::{ReadOnly, Storage, afresh};
use super::sync::lock;
use super::table::check::{Border, Fault, Faults, Loss};
use super::version::set::{self, Loaded};

/// A stretch of keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeySpan {
    /// Where it begins.
    pub first: Vec<u8>,
    /// Whether it begins behind that key and not with it.
    pub excludes_first: bool,
    /// The last key that belongs to it.
    pub last: Vec<u8>,
}

impl KeySpan {
    /// Whether a key belongs to it.
    pub fn contains(&self, key: &[u8]) -> bool {
        let begins = if self.excludes_first { *key > *self.first } else { *key >= *self.first };
        begins && *key <= *self.last
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finding {
    /// `Corrupt` or `Io`: file, offset and what does not fit.
    pub error: Error,
    /// The keys whose values may be lost by it, as far as the file can tell; none are if it is
    /// `None` and the file a table.
    pub keys: Option<KeySpan>,
    /// Where in the file, in bytes; 0 if it is about all of it.
    pub offset: u64,
    /// What it means for a repair.
    pub(crate) loss: Loss,
}

impl Finding {
    /// The name of the file.
    pub fn file(&self) -> &str {
        match &self.error {
            Error::Corrupt { file, .. }
            | Error::Io { file, .. }
            | Error::UnknownFormat { file, .. } => file,
            _ => "",
        }
    }

    /// Whether the device did not deliver the bytes: they may be whole.
    pub fn is_unreadable(&self) -> bool {
        !matches!(self.error, Error::Corrupt { .. })
    }

    /// Whether it is that a file is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(&self.error, Error::Corrupt { what, .. } if what.ends_with("missing"))
    }

    /// One that is not about the keys of a table.
    fn of(error: Error) -> Self {
        let offset = if let Error::Corrupt { offset, .. } = &error { *offset } else { 0 };
        Finding { error, keys: None, offset, loss: Loss::Unexplained }
    }
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        let keys = match &fault.loss {
            Loss::Keys(from, last) => {
                let (first, excludes_first) = match from {
                    Border::From(key) => (key.clone(), false),
                    Border::Behind(key) => (key.clone(), true),
                };
                Some(KeySpan { first, excludes_first, last: last.clone() })
            }
            Loss::Nothing | Loss::Unexplained => None,
        };
        Finding { error: fault.error, keys, offset: fault.offset, loss: fault.loss }
    }
}

/// Which state a database is in: that of a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// The sequence number of its last write.
    pub last_seq: Seq,
    /// When its last write, flush or merge was committed, in milliseconds since the Unix epoch; of a
    /// checkpoint and its copies: when it was begun. What was acknowledged before that is in it.
    pub time_ms: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Files looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries of tables and writes in the log.
    pub entries: u64,
    /// All that is not as it must be; nothing if the database is whole.
    pub findings: Vec<Finding>,
    /// What is no damage, but good to know.
    pub notes: Vec<String>,
    /// The state that it is in, as far as log and manifest could be read.
    pub moment: Moment,
    /// How long it took.
    pub elapsed: Duration,
}

impl CheckReport {
    /// Whether the database is whole.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn note(&mut self, note: impl fmt::Display) {
        self.notes.push(note.to_string());
    }

    fn find(&mut self, error: Error) {
        self.findings.push(Finding::of(error));
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes to look at.
    pub total_bytes: u64,
    /// Entries met.
    pub entries: u64,
}

/// Checks the database in `storage`, which no other process may have open. Nothing is changed, not
/// even where the storage may be written to.
///
/// ```
/// use std::sync::Arc;
/// use chronos::engine::storage::disk::DiskStorage;
/// # use chronos::engine::{Engine, Environment, Options};
/// # let directory = tempfile::tempdir().unwrap();
/// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
/// # engine.put(b"key", b"value")?;
/// # engine.close()?;
/// # drop(engine);
/// let storage = Arc::new(DiskStorage::new(directory.path()).unwrap());
/// let report = chronos::engine::check(storage, &mut |_| ())?;
/// assert!(report.is_whole(), "{:?}", report.findings);
/// # Ok::<(), chronos::engine::Error>(())
/// ```
///
/// # Errors
/// `Locked`; `Io` if the directory cannot be read; `NoDatabase`;
/// `UnknownFormat`. Then nothing is known. Whatever else does not fit is in the report.
pub fn check(
    storage: Arc<dyn Storage>,
    progress: &mut dyn FnMut(CheckProgress),
) -> Result<CheckReport> {
    let started = Instant::now();
    let storage: Arc<dyn Storage> = Arc::new(ReadOnly(afresh(storage)));
    let guard = lock_directory(storage.as_ref())?;
    let (_, mut report) = examine(&storage, progress)?;
    let names = storage.list().map_err(|e| Error::io("list", "the directory", e))?;
    if guard.is_none() && names.iter().any(|name| name == filename::LOCK) {
        // Somebody has opened it since.
        return Err(Error::Locked);
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

/// The state that the database in `storage` is in. Reads its manifest and log, and changes nothing.
///
/// # Errors
/// As [`check`]; the first damage of manifest or log.
pub fn moment(storage: &Arc<dyn Storage>) -> Result<Moment> {
    let storage = ReadOnly(afresh(Arc::clone(storage)));
    let mut directory = Directory::list(&storage)?;
    let mut report = CheckReport::default();
    let loaded = read_manifest(&storage, &directory, &mut report)?;
    directory.set_foreign_apart(&storage, loaded.as_ref());
    if let Some(loaded) = loaded {
        report.moment.time_ms = loaded.time_ms;
        let mut progress = Progress { seen: CheckProgress::default(), tell: &mut |_| () };
        log::check(&storage, &directory, &loaded.snapshot, &mut report, &mut progress)?;
    }
    match report.findings.into_iter().next() {
        Some(finding) => Err(finding.error),
        None => Ok(report.moment),
    }
}

/// Takes the lock without creating its file.
pub(crate) fn lock_directory(storage: &dyn Storage) -> Result<Option<Box<dyn Send + Sync>>> {
    storage.lock_existing().map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked,
        _ => Error::io("lock", "the directory", e),
    })
}

/// Looks at everything in a locked storage. What the manifest says is returned if it can be told.
pub(crate) fn examine(
    storage: &Arc<dyn Storage>,
    progress: &mut dyn FnMut(CheckProgress),
) -> Result<(Option<Loaded>, CheckReport)> {
    let mut directory = Directory::list(storage.as_ref())?;
    let mut report = CheckReport::default();
    let Some(loaded) = read_manifest(storage.as_ref(), &directory, &mut report)? else {
        report.note("tables and log were not looked at: only the manifest tells which there are");
        return Ok((None, report));
    };
    directory.set_foreign_apart(storage.as_ref(), Some(&loaded));
    note_leftovers(&directory, &loaded, &mut report);
    report.moment.time_ms = loaded.time_ms;
    let total = log::bytes(storage.as_ref(), &directory, &loaded.snapshot)
        + loaded.snapshot.tables.values().map(|(_, meta)| meta.bytes).sum::<u64>();
    let mut progress = Progress { seen: CheckProgress::default(), tell: progress };
    progress.seen.total_bytes = total;
    log::check(storage.as_ref(), &directory, &loaded.snapshot, &mut report, &mut progress)?;
    levels::check(storage, &loaded.snapshot, &mut report, &mut progress)?;
    progress.seen.bytes = total;
    progress.tell();
    refuse_unknown_formats(&report)?;
    Ok((Some(loaded), report))
}

/// A file of a later version is not damaged: nothing can be said about the database.
fn refuse_unknown_formats(report: &CheckReport) -> Result<()> {
    let is_unknown = |finding: &&Finding| matches!(finding.error, Error::UnknownFormat { .. });
    let unknown = report.findings.iter().find(is_unknown);
    unknown.map_or(Ok(()), |finding| Err(finding.error.clone()))
}

/// What is told while the check goes on.
struct Progress<'a> {
    seen: CheckProgress,
    tell: &'a mut dyn FnMut(CheckProgress),
}

impl Progress<'_> {
    fn tell(&mut self) {
        (self.tell)(self.seen);
    }
}

/// Reads `CURRENT` and the manifest. If only `CURRENT` is damaged and there is but one manifest, that
/// was the one in use: the one before it is removed only once `CURRENT` names the new one.
fn read_manifest(
    storage: &dyn Storage,
    directory: &Directory,
    report: &mut CheckReport,
) -> Result<Option<Loaded>> {
    let loaded = match set::load(storage) {
        Ok(None) => match read_nothing(storage, directory) {
            Ok(_) => return Err(Error::NoDatabase),
            Err(error) => Err(error),
        },
        Ok(Some(loaded)) => Ok(loaded),
        Err(error) => Err(error),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error @ Error::UnknownFormat { .. }) => return Err(error),
        Err(error) => {
            let is_about_current = Finding::of(error.clone()).file() == CURRENT;
            report.find(error);
            let mut manifests = directory.manifests.iter();
            let (Some(only), None, true) = (manifests.next(), manifests.next(), is_about_current)
            else {
                return Ok(None);
            };
            match set::load_manifest(storage, *only) {
                Ok(loaded) => loaded,
                Err(error @ Error::UnknownFormat { .. }) => return Err(error),
                Err(error) => {
                    report.find(error);
                    return Ok(None);
                }
            }
        }
    };
    let name = filename::manifest(loaded.id);
    if let Some(offset) = loaded.torn_at {
        report.note(format!("{name}: an edit at offset {offset} that a crash left half-written"));
    }
    for name in [CURRENT, &name] {
        report.files += 1;
        report.bytes += length(storage, name);
    }
    Ok(Some(loaded))
}

/// The length of a file, 0 if it cannot be told.
fn length(storage: &dyn Storage, name: &str) -> u64 {
    storage.open(name).and_then(|file| file.len()).unwrap_or(0)
}

/// Tells of files that the next open removes.
fn note_leftovers(directory: &Directory, loaded: &Loaded, report: &mut CheckReport) {
    let snapshot = &loaded.snapshot;
    for id in directory.tables.iter().filter(|id| !snapshot.tables.contains_key(id)) {
        report.note(format!("{}: no part of the database", filename::table(*id)));
    }
    for id in directory.segments.iter().filter(|id| **id < snapshot.first_segment) {
        report.note(format!("{}: no longer needed", filename::wal(*id)));
    }
    for id in directory.manifests.iter().filter(|id| **id != loaded.id) {
        report.note(format!("{}: not the manifest in use", filename::manifest(*id)));
    }
    for name in &directory.foreign {
        report.note(format!("{name}: not provably of this database, and left alone"));
    }
    for name in &directory.temporaries {
        report.note(format!("{name}: never completed"));
    }
}

/// A place for the faults of tables.
fn faults() -> Faults {
    Arc::new(Mutex::default())
}

/// Takes what was found in tables over into the report.
fn take_faults(faults: &Faults, report: &mut CheckReport) {
    let found = std::mem::take(&mut *lock(faults));
    report.findings.extend(found.into_iter().map(Finding::from));
}
