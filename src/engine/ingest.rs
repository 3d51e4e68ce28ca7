//! Bulk ingestion: sorted input straight into tables, past log and memtable.
//!
//! The tables are written and verified on the caller's thread; nothing of them is part of the
//! database before [`Ingest::finish`], which makes all of them so at once. What is not finished
//! leaves nothing behind but files that are removed.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::background::{Ingested, Job, remove_tables};
use super::batch::{check_write, expiring};
use super::compaction::job::verified;
use super::db::Inner;
use super::error::{Error, Result};
use super::iter::Entry;
use super::key::{Kind, Seq};
use super::sync::lock;
use super::table::{TableBuilder, TableMeta};
use super::version::LEVELS;

/// Sequence number of entries before they have one.
const NO_SEQ: Seq = 0;

/// How far an ingestion has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestProgress {
    /// Entries taken.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Tables completed.
    pub tables: usize,
}

/// Takes entries in ascending order of their keys; made by [`super::Engine::ingest`].
///
/// ```
/// # use chronos::engine::{Engine, Environment, Options};
/// # let directory = tempfile::tempdir().unwrap();
/// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
/// let mut ingest = engine.ingest();
/// for number in 0..10_000_u32 {
///     ingest.put(&number.to_be_bytes(), b"value")?;
/// }
/// assert_eq!(ingest.progress().entries, 10_000);
/// ingest.finish()?; // all of them are there now, durably
/// assert_eq!(engine.get(&77_u32.to_be_bytes())?.unwrap(), b"value");
/// # engine.close()?;
/// # Ok::<(), chronos::engine::Error>(())
/// ```
pub struct Ingest {
    inner: Arc<Inner>,
    builder: Option<TableBuilder>,
    begun: Option<u64>,
    complete: Arc<Ingested>,
    last_key: Vec<u8>,
    progress: IngestProgress,
    /// What ended it: entries that were taken may be lost.
    failure: Option<Error>,
}

impl Ingest {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        Ingest {
            inner: Arc::clone(inner),
            builder: None,
            begun: None,
            complete: Arc::new(Mutex::default()),
            last_key: Vec::new(),
            progress: IngestProgress::default(),
            failure: None,
        }
    }

    /// Adds a key, which must be greater than all before, and its value.
    ///
    /// # Errors
    /// `OutOfOrder`, `Size`: not added, the ingestion can go on. `Io`, `NoSpace`, `Closed`: it is
    /// over, and cannot be finished.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(Kind::Put, key, value)
    }

    /// The same with a value that expires at `expires_ms`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`Ingest::put`].
    pub fn put_expiring(&mut self, key: &[u8], value: &[u8], expires_ms: u64) -> Result<()> {
        self.add(Kind::Expiring, key, &expiring(value, expires_ms))
    }

    fn add(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<()> {
        check_write(kind, key.len(), value.len())?;
        if self.progress.entries > 0 && *self.last_key >= *key {
            return Err(Error::OutOfOrder);
        }
        self.check_failure()?;
        let added = self.append(Entry { key, seq: NO_SEQ, kind, value });
        added.inspect_err(|error| self.failure = Some(error.clone()))
    }

    /// Fails once something has: what was taken before may be missing.
    fn check_failure(&self) -> Result<()> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn append(&mut self, entry: Entry<'_>) -> Result<()> {
        let table_bytes = self.inner.options.table_bytes as u64;
        if self.builder.as_ref().is_some_and(|builder| builder.file_bytes() >= table_bytes) {
            self.finish_table()?;
        }
        let builder = match &mut self.builder {
            Some(builder) => builder,
            None => self.start_table()?,
        };
        builder.add(entry)?;
        self.last_key.clear();
        self.last_key.extend_from_slice(entry.key);
        self.progress.entries += 1;
        self.progress.bytes += (entry.key.len() + entry.value.len()) as u64;
        Ok(())
    }

    fn start_table(&mut self) -> Result<&mut TableBuilder> {
        self.inner.refusal().map_or(Ok(()), Err)?;
        let compression = self.inner.options.compression_of(LEVELS - 1);
        let storage = self.inner.environment.storage.as_ref();
        let (id, builder) = self.inner.in_directory(|| {
            let id = lock(&self.inner.set).next_file_id();
            Ok((id, TableBuilder::new(storage, id, compression)?))
        })?;
        self.begun = Some(id);
        Ok(self.builder.insert(builder))
    }

    fn finish_table(&mut self) -> Result<()> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        let meta = builder.finish()?;
        verified(&meta, &self.inner.tables)?;
        self.begun = None;
        self.progress.tables += 1;
        lock(&self.complete).push(meta);
        Ok(())
    }

    /// How far it has come.
    pub fn progress(&self) -> IngestProgress {
        self.progress
    }

    /// Makes everything added part of the database, at one moment and durably: over what was
    /// written before, under what will be written.
    ///
    /// # Errors
    /// `Io`, `NoSpace`, `Closed`, `Failed`: nothing of it is part of the database, unless the error
    /// says that the outcome is unknown.
    pub fn finish(mut self) -> Result<()> {
        self.check_failure()?;
        self.finish_table()?;
        if lock(&self.complete).is_empty() {
            return Ok(());
        }
        let storage = self.inner.environment.storage.as_ref();
        storage.sync_dir().map_err(|e| Error::io("sync", "the directory", e))?;
        self.inner.request(Job::Ingest(Arc::clone(&self.complete))).wait()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.builder = None;
        let left: Vec<TableMeta> = std::mem::take(&mut *lock(&self.complete));
        // After a close they are orphans, removed at the next open.
        let _ = self.inner.in_directory(|| {
            remove_tables(&self.inner, &left);
            if let Some(id) = self.begun {
                let _ = self.inner.tables.remove(id);
            }
            Ok(())
        });
    }
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("progress", &self.progress).finish_non_exhaustive()
    }
}
