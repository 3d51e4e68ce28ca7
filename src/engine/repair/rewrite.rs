//! The writing half of a repair: new tables, the old files' second names, then a new manifest.

use std::sync::Arc;

use super::Plan;
use crate::engine::background::start_log;
use crate::engine::check::KeySpan;
use crate::engine::compaction::job::{Cuts, Target, write_tables};
use crate::engine::error::{Error, Result};
use crate::engine::filename::{self, CURRENT, FileKind};
use crate::engine::iter::{Entry, EntryIter};
use crate::engine::options::{Environment, Options};
use crate::engine::ranges::RangeDeletes;
use crate::engine::recovery::Directory;
use crate::engine::recovery::install::{self, Ids};
use crate::engine::recovery::replay::{self, Found};
use crate::engine::storage::{Storage, copy, link_or_copy};
use crate::engine::sync::lock;
use crate::engine::table::check::{Fault, Faults, Loss, TableCheck};
use crate::engine::table::{BlockCache, Compression, TableMeta, Tables};
use crate::engine::version::set::{self, Snapshot};

/// Tables that are open at once: what is read and what is written.
const OPEN_TABLES: usize = 2;

/// Does what `plan` says; returns how many whole entries were dropped. A device that now lacks more than
/// the plan knows of ends it: nothing is given up that nobody was told of.
pub(super) fn perform(
    plan: Plan,
    environment: &Environment,
    directory: &Directory,
    aside: &dyn Storage,
) -> Result<u64> {
    let storage = &environment.storage;
    let mut replaced = plan.replaced(directory);
    if plan.lacks_current {
        let damaged: Vec<String> = replaced.extract_if(.., |name| name == CURRENT).collect();
        set_aside(storage.as_ref(), &damaged, aside)?;
        set::set_current(storage.as_ref(), plan.loaded.id)?;
    }
    let first_id = plan.loaded.snapshot.next_file_id.max(directory.free_id());
    let prepared = prepare(plan, environment, directory, first_id)
        .and_then(|prepared| set_aside(storage.as_ref(), &replaced, aside).map(|()| prepared))
        .inspect_err(|_| remove_tables(storage.as_ref(), first_id))?;
    start_log(environment, prepared.snapshot)?;
    remove_replaced(storage.as_ref(), &replaced, directory);
    Ok(prepared.dropped_entries)
}

/// What a repair comes to, before it takes effect.
struct Prepared {
    snapshot: Snapshot,
    dropped_entries: u64,
}

/// Writes all tables that are to be.
fn prepare(
    plan: Plan,
    environment: &Environment,
    directory: &Directory,
    first_id: u64,
) -> Result<Prepared> {
    let storage = &environment.storage;
    let mut ids = Ids::from(first_id);
    let cache = BlockCache::new(0);
    let tables = Arc::new(Tables::new(Arc::clone(storage), cache, OPEN_TABLES));
    let mut kept = Vec::new();
    let mut dropped_entries = 0;
    for (rank, metas) in super::ranks(&plan.loaded.snapshot).into_iter().enumerate() {
        for meta in metas.into_iter().filter(|meta| plan.rewritten.contains(&meta.id)) {
            let known = plan.offsets(meta.id);
            let (written, dropped) = rewrite(&tables, meta, plan.spans(rank), &known, &mut ids)?;
            kept.push((meta.id, written));
            dropped_entries += dropped;
        }
    }
    let options = Options::default();
    let (mut found, damage) =
        replay::read_prefix(storage.as_ref(), plan.loaded, directory, &options);
    if let Some(error) = damage
        && !plan.log_cut.as_ref().is_some_and(|cut| is_same_kind(cut, &error))
    {
        return Err(error);
    }
    for (old, written) in kept {
        let level = found.snapshot.tables.remove(&old).map_or(0, |(level, _)| level);
        let added = written.into_iter().map(|meta| (meta.id, (level, meta)));
        found.snapshot.tables.extend(added);
    }
    keep_log(&tables, &mut found, &options, &mut ids)?;
    found.snapshot.next_file_id = ids.next();
    Ok(Prepared { snapshot: found.snapshot, dropped_entries })
}

/// Whether both say that bytes are wrong, or both that the device does not deliver.
fn is_same_kind(known: &Error, error: &Error) -> bool {
    std::mem::discriminant(known) == std::mem::discriminant(error)
}

/// Removes the tables of a repair that came to nothing: to the next one they would be tables that no
/// manifest knows.
fn remove_tables(storage: &dyn Storage, first_id: u64) {
    for name in storage.list().unwrap_or_default() {
        if matches!(filename::parse(&name), Some(FileKind::Table(id)) if id >= first_id) {
            let _ = storage.remove(&name);
        }
    }
}

/// Writes what is kept of a table; returns it, and how many whole entries were dropped. `known` are
/// the offsets at which keys are lost.
fn rewrite(
    tables: &Arc<Tables>,
    meta: &TableMeta,
    given_up: Vec<KeySpan>,
    known: &[u64],
    ids: &mut Ids,
) -> Result<(Vec<TableMeta>, u64)> {
    let faults = Faults::default();
    let no_ranges = Arc::new(RangeDeletes::default());
    let walk = TableCheck::new(tables, meta, no_ranges, Arc::clone(&faults));
    let mut entries = Kept { walk, given_up, dropped: 0 };
    let purged_seq = meta.purged_seq;
    let target = Target { tables, compression: Compression::default(), purged_seq };
    let written = write_tables(target, &mut entries, Cuts::none(), ids)?;
    let is_news =
        |fault: &&Fault| matches!(fault.loss, Loss::Keys(..)) && !known.contains(&fault.offset);
    if let Some(fault) = lock(&faults).iter().find(is_news) {
        return Err(fault.error.clone());
    }
    Ok((written.iter().map(|table| table.meta().clone()).collect(), entries.dropped))
}

/// The entries of a table whose keys are not given up.
struct Kept {
    walk: TableCheck,
    given_up: Vec<KeySpan>,
    dropped: u64,
}

impl EntryIter for Kept {
    fn advance(&mut self) -> Result<bool> {
        while self.walk.advance()? {
            let key = self.walk.entry().key;
            if !self.given_up.iter().any(|span| span.contains(key)) {
                return Ok(true);
            }
            self.dropped += 1;
        }
        Ok(false)
    }

    fn entry(&self) -> Entry<'_> {
        self.walk.entry()
    }
}

/// Writes what was read of the log as tables.
fn keep_log(
    tables: &Arc<Tables>,
    found: &mut Found,
    options: &Options,
    ids: &mut Ids,
) -> Result<()> {
    let compression = options.compression_of(0);
    let target = Target { tables, compression, purged_seq: 0 };
    let flushed = install::flush(target, found, ids)?;
    install::note_flushed(found, &flushed);
    Ok(())
}

/// Gives files a second name in the directory `aside`, durably. Log segments are copied: the next open
/// may use those that are still there again.
fn set_aside(storage: &dyn Storage, names: &[String], aside: &dyn Storage) -> Result<()> {
    let failed = |e| Error::io("use", "the directory of what is set aside", e);
    let _guard = aside.lock().map_err(failed)?;
    for name in names {
        let put = match filename::parse(name) {
            Some(FileKind::Wal(_)) => copy(storage, name, aside, &mut |_| ()),
            _ => link_or_copy(storage, name, aside),
        };
        put.map_err(|e| Error::io("set aside", name, e))?;
    }
    aside.sync_dir().map_err(failed)
}

/// Removes the names of files that the new manifest does not need. What cannot be removed is an
/// orphan, which the next open removes.
fn remove_replaced(storage: &dyn Storage, replaced: &[String], directory: &Directory) {
    let log = directory.segments.iter().map(|id| filename::wal(*id));
    let names = replaced.iter().filter(|name| *name != CURRENT).cloned();
    for name in names.chain(log) {
        let _ = storage.remove(&name);
    }
}
