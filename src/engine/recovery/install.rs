//! The writing half of recovery: brings the storage to the state that serving starts from.
//!
//! First, what was found is made to stay: the process before may have ended between a rename and its
//! sync, and a power cut may then give a file another name or `CURRENT` another text. Nothing may be
//! removed, and no file used again, on the strength of a name that can be lost.
//!
//! Order then: a fresh log segment that continues the old log, then the replayed writes as tables, then
//! a manifest that names both, then `CURRENT`. Only behind that are the old files removed. What an
//! open that failed left behind is used again or removed first: on a full disk, one that is tried
//! again and again must not take more room each time.

use std::sync::Arc;

use super::replay::Found;
use super::{Directory, Opened};
use crate::engine::compaction::job::{Cuts, Surroundings, Target, write_tables};
use crate::engine::error::{Error, Result};
use crate::engine::event::RecoveryStep;
use crate::engine::filename;
use crate::engine::iter::{Retention, VisibleIter};
use crate::engine::journal::format::{BLOCK_BYTES, blocks_in};
use crate::engine::journal::{Header, Purpose};
use crate::engine::options::{Environment, MIN_SEGMENT_BYTES, Options};
use crate::engine::storage::Storage;
use crate::engine::table::Tables;
use crate::engine::version::set::VersionSet;
use crate::engine::version::{TableRef, Version};
use crate::engine::wal::{self, Spare, Wal};
use crate::planted::{Bug, is_planted};

/// Makes `found` the current state.
pub(super) fn install(
    mut found: Found,
    environment: &Environment,
    options: &Options,
    directory: &Directory,
    tables: &Arc<Tables>,
) -> Result<Opened> {
    let storage = environment.storage.as_ref();
    storage.sync_dir().map_err(|e| Error::io("sync", "the directory", e))?;
    for name in &directory.temporaries {
        storage.remove(name).map_err(|e| Error::io("remove", name, e))?;
    }
    remove_leftovers(storage, directory, &found);
    keep_torn_tail(storage, &found)?;
    let free_id = if is_planted(Bug::ReuseFileId) { 1 } else { directory.free_id() };
    let mut ids = Ids::from(found.snapshot.next_file_id.max(free_id));
    let wal = start_log(environment, options, directory, &found, &mut ids)?;
    let target = Target { tables, compression: options.compression_of(0), purged_seq: 0 };
    let flushed = flush(target, &mut found, &mut ids)?;
    let version = add_tables(&mut found, &flushed);
    let mut snapshot = found.snapshot;
    snapshot.first_segment = wal.id();
    snapshot.next_file_id = ids.next();
    let mut set = VersionSet::create(environment.clone(), snapshot)?;
    remove_old_manifests(storage, directory);
    let spare = reuse_segment(storage, directory, options, wal.id(), &mut set)?;
    let mut recovery = found.recovery;
    recovery.last_seq = found.last_seq;
    Ok(Opened { set, version, wal, spare, recovery })
}

/// Keeps a copy of what is dropped.
fn keep_torn_tail(storage: &dyn Storage, found: &Found) -> Result<()> {
    let Some(torn) = &found.recovery.torn else { return Ok(()) };
    let write = || -> std::io::Result<()> {
        if storage.list()?.contains(&torn.copy) {
            // A recovery that crashed kept it, wholly or in part.
            storage.remove(&torn.copy)?;
        }
        let file = storage.create(&torn.copy)?;
        file.write_all_at(&found.torn_bytes, 0)?;
        file.sync()?;
        // The next step may be the last that sees the tail: a segment that ends the log before it.
        storage.sync_dir()
    };
    write().map_err(|e| Error::io("write", &torn.copy, e))
}

/// Starts a fresh segment that continues the log, in one that an earlier open started in vain, or in
/// a file that the last run had prepared, if there is such a one.
fn start_log(
    environment: &Environment,
    options: &Options,
    directory: &Directory,
    found: &Found,
    ids: &mut Ids,
) -> Result<Wal> {
    let storage = environment.storage.as_ref();
    let end = found.log_end.as_ref();
    let unused = end.and_then(|end| end.unused.as_ref());
    let prepared = match (unused, end) {
        (Some(header), _) => Some(header.id),
        (None, Some(end)) => directory.segments.range(end.id + 1..).next().copied(),
        (None, None) => None,
    };
    let prepared = match prepared {
        Some(id) => Some(wal::open_segment(storage, id)?).filter(|spare| is_usable(spare, options)),
        None => None,
    };
    let spare = first_segment(storage, options, prepared, ids)?;
    let (id, bytes) = (spare.id, spare.bytes);
    let epoch = if is_planted(Bug::ReuseEpoch) { 0 } else { (environment.random)() };
    let header = match unused.filter(|header| header.id == id) {
        Some(header) => Header { epoch, blocks: blocks_in(bytes), ..header.clone() },
        None => Header {
            purpose: Purpose::Wal,
            id,
            epoch,
            first_group: end.map_or(1, |end| end.next_group),
            first_seq: found.last_seq + 1,
            previous_id: end.map_or(0, |end| end.id),
            previous_end: end.map_or(0, |end| end.offset),
            previous_crc: end.map_or(0, |end| end.last_crc),
            blocks: blocks_in(bytes),
        },
    };
    let journal = wal::start_segment(spare, &header)?;
    Ok(Wal::new(journal, id, bytes, Arc::clone(&environment.random)))
}

/// The segment to begin in: the prepared one unless a load had let it grow, for there may be none now.
/// On a full disk it is taken as it is.
fn first_segment(
    storage: &dyn Storage,
    options: &Options,
    prepared: Option<Spare>,
    ids: &mut Ids,
) -> Result<Spare> {
    let create = |id| wal::create_segment(storage, id, options.initial_segment_bytes());
    match prepared {
        Some(spare) if is_short(&spare, options) => Ok(spare),
        Some(spare) => match create(ids.next_file_id()) {
            Err(error) if error.is_no_space() => Ok(spare),
            outcome => outcome,
        },
        None => create(ids.next_file_id()),
    }
}

/// Whether a segment that is there has a length that the log may have.
fn is_usable(spare: &Spare, options: &Options) -> bool {
    (MIN_SEGMENT_BYTES..=options.wal_segment_bytes).contains(&spare.bytes)
        && spare.bytes.is_multiple_of(BLOCK_BYTES)
}

/// Whether it is about as long as one that is created now would be.
fn is_short(spare: &Spare, options: &Options) -> bool {
    spare.bytes <= 2 * options.initial_segment_bytes()
}

/// Writes replayed memtables as tables; their range deletes go to the snapshot.
pub(crate) fn flush(target: Target<'_>, found: &mut Found, ids: &mut Ids) -> Result<Vec<TableRef>> {
    let mut tables = Vec::new();
    let memtables = std::mem::take(&mut found.memtables);
    let total = memtables.len();
    for (done, memtable) in memtables.into_iter().enumerate() {
        found.progress.note(RecoveryStep::Flush, done, total);
        let ranges = Arc::clone(memtable.ranges());
        let deleted = ranges.iter().map(|range| (range.seq, range.clone()));
        found.snapshot.ranges.extend(deleted);
        let target = Target { purged_seq: memtable.last_seq(), ..target };
        // What has expired stays: the clock may not be set yet when a machine starts.
        let retention = Retention { ranges, ..Retention::default() };
        let mut entries = VisibleIter::new(Arc::new(memtable).sorted(), retention);
        tables.extend(write_tables(target, &mut entries, Cuts::none(), ids)?);
    }
    Ok(tables)
}

/// The version of the tables found and flushed; the snapshot gains the latter.
fn add_tables(found: &mut Found, flushed: &[TableRef]) -> Version {
    note_flushed(found, flushed);
    let opened: Vec<TableRef> = found.tables.iter().chain(flushed).cloned().collect();
    Version::empty().apply(&found.snapshot.as_edit(), &opened)
}

/// Adds tables that the log was written to.
pub(crate) fn note_flushed(found: &mut Found, flushed: &[TableRef]) {
    for table in flushed {
        let meta = table.meta().clone();
        found.snapshot.tables.insert(meta.id, (0, meta));
    }
    found.snapshot.flushed_seq = found.last_seq;
}

/// Removes what the manifest in force does not name: tables, and manifests that opens in vain left
/// behind. What cannot be removed is tried again at the next open.
fn remove_leftovers(storage: &dyn Storage, directory: &Directory, found: &Found) {
    let orphans = directory.tables.iter().filter(|id| !found.snapshot.tables.contains_key(id));
    let stale = directory.manifests.iter().filter(|id| **id != found.manifest_id);
    let tables = orphans.map(|id| filename::table(*id));
    remove_files(storage, tables.chain(stale.map(|id| filename::manifest(*id))));
}

/// Removes the manifests that were there before the new one; as [`remove_leftovers`].
fn remove_old_manifests(storage: &dyn Storage, directory: &Directory) {
    remove_files(storage, directory.manifests.iter().map(|id| filename::manifest(*id)));
}

fn remove_files(storage: &dyn Storage, names: impl Iterator<Item = String>) {
    for name in names {
        if let Err(error) = storage.remove(&name) {
            tracing::warn!(file = name, %error, "could not remove an old file");
        }
    }
}

/// Makes one old segment the spare, removes the others.
fn reuse_segment(
    storage: &dyn Storage,
    directory: &Directory,
    options: &Options,
    active: u64,
    set: &mut VersionSet,
) -> Result<Option<Spare>> {
    let mut spare = None;
    for id in directory.segments.iter().filter(|id| **id != active) {
        let old = wal::open_segment(storage, *id)?;
        if spare.is_none() && is_usable(&old, options) && is_short(&old, options) {
            spare = Some(wal::recycle_segment(storage, *id, set.next_file_id())?);
        } else if let Err(error) = storage.remove(&filename::wal(*id)) {
            tracing::warn!(segment = id, %error, "could not remove an old log segment");
        }
    }
    Ok(spare)
}

/// Counts file ids up while there is no version set yet.
pub(crate) struct Ids(u64);

impl Ids {
    /// From this one on.
    pub(crate) fn from(first: u64) -> Self {
        Ids(first)
    }

    /// The next one, which is not taken by this.
    pub(crate) fn next(&self) -> u64 {
        self.0
    }
}

impl Surroundings for Ids {
    fn next_file_id(&mut self) -> u64 {
        self.0 += 1;
        self.0 - 1
    }

    fn yield_now(&mut self) -> Result<()> {
        Ok(())
    }
}
