//! Which tables make up the database, and how that changes.
//!
//! A [`Version`] is immutable: readers hold one by its `Arc` and are never disturbed. It changes
//! only by a [`VersionEdit`], which [`set::VersionSet`] makes durable in the manifest before anyone
//! sees the new version.

mod edit;
pub(crate) mod set;
pub(crate) mod shape;

use std::sync::Arc;

pub(crate) use edit::VersionEdit;
use shape::Levels;

use super::error::Result;
use super::key::Seq;
use super::ranges::RangeDeletes;
use super::table::{self, KeyHash, Read, ReadMode, Table};

/// Number of levels. Level 0 takes flushed tables as they come; in the others, tables do not
/// overlap.
pub(crate) const LEVELS: usize = 7;

/// An open table of a version.
pub(crate) type TableRef = Arc<Table>;

/// The tables of the database at one moment.
#[derive(Clone)]
pub(crate) struct Version {
    /// Level 0 newest first, the others by key.
    levels: [Vec<TableRef>; LEVELS],
    /// See [`shape::sublevels`].
    sublevels: usize,
    /// The range deletes that some table may need.
    ranges: Arc<RangeDeletes>,
    /// Every write up to this number is in the tables.
    flushed_seq: Seq,
}

impl Version {
    /// One without tables.
    pub(crate) fn empty() -> Self {
        Version {
            levels: std::array::from_fn(|_| Vec::new()),
            sublevels: 0,
            ranges: Arc::default(),
            flushed_seq: 0,
        }
    }

    /// In how many tables of level 0 a key may have to be looked for, at most.
    pub(crate) fn sublevels(&self) -> usize {
        self.sublevels
    }

    /// The range deletes that some table may need.
    pub(crate) fn ranges(&self) -> &Arc<RangeDeletes> {
        &self.ranges
    }

    /// Every write up to this number is in the tables.
    pub(crate) fn flushed_seq(&self) -> Seq {
        self.flushed_seq
    }

    /// The metadata of all tables, level by level in the order of [`Version::level`].
    pub(crate) fn metadata(&self) -> Levels<'_> {
        std::array::from_fn(|level| self.levels[level].iter().map(|table| table.meta()).collect())
    }

    /// The tables of a level: level 0 newest first, the others by key.
    pub(crate) fn level(&self, level: usize) -> &[TableRef] {
        &self.levels[level]
    }

    /// All tables with their levels.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, &TableRef)> {
        let levels = self.levels.iter().enumerate();
        levels.flat_map(|(level, tables)| tables.iter().map(move |table| (level, table)))
    }

    /// This version with tables and range deletes added and removed.
    pub(crate) fn apply(&self, edit: &VersionEdit, opened: &[TableRef]) -> Version {
        let mut next = self.clone();
        for level in &mut next.levels {
            level.retain(|table| !edit.removed.contains(&table.meta().id));
        }
        for (level, meta) in &edit.added {
            let table = opened.iter().find(|table| table.meta().id == meta.id);
            next.levels[*level].extend(table.cloned());
        }
        next.sort();
        if !edit.deleted_ranges.is_empty() || !edit.forgotten_ranges.is_empty() {
            let forgotten = edit.forgotten_ranges.iter().copied().collect();
            next.ranges = Arc::new(self.ranges.with(&edit.deleted_ranges, &forgotten));
        }
        next.flushed_seq = edit.flushed_seq.unwrap_or(self.flushed_seq);
        next.sublevels = shape::sublevels(&next.metadata()[0]);
        debug_assert!(next.is_ordered(), "tables of a deeper level overlap");
        next
    }

    /// This version without the tables that `keep` refuses: for a walk that wants only some.
    pub(crate) fn only(&self, keep: impl Fn(&Table) -> bool) -> Version {
        let mut some = self.clone();
        for level in &mut some.levels {
            level.retain(|table| keep(table));
        }
        some
    }

    fn sort(&mut self) {
        let (first, deeper) = self.levels.split_at_mut(1);
        first[0].sort_by_key(|table| std::cmp::Reverse(table.meta().max_seq));
        for level in deeper {
            level.sort_by(|a, b| a.meta().smallest.cmp(&b.meta().smallest));
        }
    }

    /// Whether the tables of each deeper level are disjoint.
    pub(crate) fn is_ordered(&self) -> bool {
        self.levels[1..].iter().all(|level| {
            level.windows(2).all(|pair| pair[0].meta().largest < pair[1].meta().smallest)
        })
    }

    /// The newest version of `key` that is not newer than `snapshot`, unless a range delete within
    /// the snapshot covers it.
    pub(crate) fn get(
        &self,
        key: &[u8],
        snapshot: Seq,
        mode: ReadMode,
    ) -> Result<Read<Option<table::Version>>> {
        let hash = KeyHash::of(key);
        for table in self.candidates(key) {
            match table.get(key, hash, snapshot, mode)? {
                Read::Done(None) => {}
                Read::Done(Some(found)) => {
                    let is_covered = self.ranges.covering(key, snapshot) > found.seq;
                    return Ok(Read::Done((!is_covered).then_some(found)));
                }
                Read::WouldBlock => return Ok(Read::WouldBlock),
            }
        }
        Ok(Read::Done(None))
    }

    /// The tables whose range holds `key`, those with newer versions first.
    fn candidates<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a TableRef> {
        let deeper = self.levels[1..].iter().filter_map(move |level| {
            let at = level.partition_point(|table| table.meta().largest.as_slice() < key);
            level.get(at)
        });
        self.levels[0].iter().chain(deeper)
    }
}
