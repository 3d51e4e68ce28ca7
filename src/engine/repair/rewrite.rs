//! The writing half of a repair: new tables, the old files' second names, then a new manifest.

use std::path::Path;
use std::sync::Arc;

use super::Plan;
use crate::engine::background::start_log;
use crate::engine::check::KeySpan;
use crate::engine::compaction::job::{Cuts, Target, write_tables};
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::{Entry, EntryIter};
use crate::engine::options::{Environment, Options};
use crate::engine::ranges::RangeDeletes;
use crate::engine::recovery::Directory;
use crate::engine::recovery::install::{self, Ids};
use crate::engine::recovery::replay::{self, Found};
use crate::engine::storage::{Storage, link_or_copy};
use crate::engine::table::check::TableCheck;
use crate::engine::table::{BlockCache, Compression, TableMeta, Tables};

/// Tables that are open at once: what is read and what is written.
const OPEN_TABLES: usize = 2;

/// Does what `plan` says; returns how many whole entries were dropped.
pub(super) fn perform(
    plan: Plan,
    environment: &Environment,
    directory: &Directory,
    aside: &Path,
) -> Result<u64> {
    let storage = &environment.storage;
    let replaced = plan.replaced(directory);
    let next_id = plan.loaded.snapshot.next_file_id.max(directory.free_id());
    let mut ids = Ids::from(next_id);
    let cache = BlockCache::new(0);
    let tables = Arc::new(Tables::new(Arc::clone(storage), cache, OPEN_TABLES));
    let mut kept = Vec::new();
    let mut dropped_entries = 0;
    for (rank, metas) in super::ranks(&plan.loaded.snapshot).into_iter().enumerate() {
        for meta in metas.into_iter().filter(|meta| plan.rewritten.contains(&meta.id)) {
            let (written, dropped) = rewrite(&tables, meta, plan.spans(rank), &mut ids)?;
            kept.push((meta.id, written));
            dropped_entries += dropped;
        }
    }
    let options = Options::default();
    let mut found = replay::read_prefix(storage.as_ref(), plan.loaded, directory, &options);
    for (old, written) in kept {
        let level = found.snapshot.tables.remove(&old).map_or(0, |(level, _)| level);
        let added = written.into_iter().map(|meta| (meta.id, (level, meta)));
        found.snapshot.tables.extend(added);
    }
    keep_log(&tables, &mut found, &options, &mut ids)?;
    set_aside(storage.as_ref(), &replaced, aside)?;
    found.snapshot.next_file_id = ids.next();
    start_log(environment, found.snapshot)?;
    remove_replaced(storage.as_ref(), &replaced, directory);
    Ok(dropped_entries)
}

/// Writes what is kept of a table; returns it, and how many whole entries were dropped.
fn rewrite(
    tables: &Arc<Tables>,
    meta: &TableMeta,
    given_up: Vec<KeySpan>,
    ids: &mut Ids,
) -> Result<(Vec<TableMeta>, u64)> {
    // What does not fit is known already.
    let walk = TableCheck::new(tables, meta, Arc::new(RangeDeletes::default()), Arc::default());
    let mut entries = Kept { walk, given_up, dropped: 0 };
    let purged_seq = meta.purged_seq;
    let target = Target { tables, compression: Compression::default(), purged_seq };
    let written = write_tables(target, &mut entries, Cuts::none(), ids)?;
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

/// Gives files a second name in the directory `aside`, durably.
fn set_aside(storage: &dyn Storage, names: &[String], aside: &Path) -> Result<()> {
    let failed = |e| Error::io("use", &aside.display().to_string(), e);
    let target = storage.directory(aside).map_err(failed)?;
    let _guard = target.lock().map_err(failed)?;
    for name in names {
        link_or_copy(storage, name, target.as_ref(), aside)
            .map_err(|e| Error::io("set aside", name, e))?;
    }
    target.sync_dir().map_err(failed)
}

/// Removes the names of files that the new manifest does not need. What cannot be removed is an
/// orphan, which the next open removes.
fn remove_replaced(storage: &dyn Storage, replaced: &[String], directory: &Directory) {
    let log = directory.segments.iter().map(|id| filename::wal(*id));
    let names = replaced.iter().filter(|name| *name != filename::CURRENT).cloned();
    for name in names.chain(log) {
        let _ = storage.remove(&name);
    }
}
