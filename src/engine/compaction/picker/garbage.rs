//! Garbage: what takes up room in tables and nobody can see any more.
//!
//! A table that a range delete covers whole is dropped unread. One that holds too many tombstones,
//! too much that has expired, or something that a range delete covers, is merged a level down; in
//! the last level it is rewritten where it is. Level 0 is left to the merges that its sublevels
//! start, or to rest (see `idle`).
//!
//! A rewrite must leave less garbage than before, or it would be picked again and again. What a merge
//! leaves behind is known by two rules. It drops everything that is garbage to readers at its oldest
//! snapshot s: so in the last level, where a tombstone hides nothing, no tombstone up to s and no
//! expired entry up to s is left. And its outputs have a `purged_seq` of s (or of all that was
//! flushed, if that is less): no range delete up to s covers an entry. So in the last level
//! - tombstones are worth a rewrite only if s has moved past `purged_seq` since. A table with
//!   tombstones never gets there by a move, so that number does say how far it is free of them;
//! - versions that newer ones hide in the table (kept for snapshots between the two) as well, and that
//!   in every level: those that are left are hidden by versions with numbers past `purged_seq`;
//! - expired entries, only if no snapshot protects any entry of the table;
//! - covered entries, only if the range delete is newer than `purged_seq` and not newer than s.
//!
//! None of these holds for an output of the rewrite.

use super::{LAST, Plan, View, Work, plan_table, ratio};
use crate::engine::key::Seq;
use crate::engine::ranges::{RangeDelete, RangeDeletes};
use crate::engine::table::{GARBAGE_SHARE, TableMeta};
use crate::engine::version::shape::Levels;

/// Tombstones that snapshots protect are not looked at again before 1 in this many of the numbers
/// that they may have is free. So a table is rewritten at most 64 times, however snapshots move on.
const FREED_SHARE: u64 = 2;

/// Removes all tables of which no reader sees an entry, for a range delete covers them.
///
/// Older versions of their keys, further down, are covered as well, as long as the range delete is
/// remembered: see [`needless_ranges`].
pub(super) fn drop_covered(view: &View<'_>) -> Option<Plan> {
    let is_covered = |table: &TableMeta| {
        applicable(view).any(|range| {
            table.max_seq < range.seq && range.covers_all(&table.smallest, &table.largest)
        })
    };
    let tables = view.tables().map(|(_, table)| table);
    let tables = tables.filter(|table| !view.untouchable.contains(&table.id));
    let inputs = tables.filter(|table| is_covered(table)).map(|table| table.id).collect();
    let plan = Plan { inputs, output_level: LAST, drop_tombstones: false, work: Work::Drop };
    (!plan.inputs.is_empty()).then_some(plan)
}

/// Merges the table with the most urgent garbage.
pub(super) fn pick(view: &View<'_>) -> Option<Plan> {
    let hidden = hidden(view, GARBAGE_SHARE);
    let mut tables =
        buried(view).into_iter().chain(expired(view)).chain(unpurged(view)).chain(hidden);
    tables.find_map(|(level, table)| plan_table(view, level, table))
}

/// Merges a table below level 0 of which more than 1 byte in `share` is hidden from all readers.
pub(super) fn pick_hidden(view: &View<'_>, share: u64) -> Option<Plan> {
    hidden(view, share).find_map(|(level, table)| plan_table(view, level, table))
}

type Found<'a> = Vec<(usize, &'a TableMeta)>;

/// The tables with too great a share of tombstones, that with the greatest first.
fn buried<'a>(view: &View<'a>) -> Found<'a> {
    let is_buried = |(level, table): &(usize, &TableMeta)| {
        table.tombstones * GARBAGE_SHARE > table.entries
            && can_lose_tombstones(view, *level, table, FREED_SHARE)
    };
    let share = |table: &TableMeta| ratio(table.tombstones, table.entries);
    let mut tables: Found<'a> = settled(view).filter(is_buried).collect();
    tables.sort_by(|a, b| share(b.1).total_cmp(&share(a.1)));
    tables
}

/// The tables of which so much has expired that they are worth a merge, the first to be first.
fn expired<'a>(view: &View<'a>) -> Found<'a> {
    let tables = settled(view).filter(|(level, table)| is_expired(view, *level, table));
    let mut tables: Found<'a> = tables.collect();
    tables.sort_by_key(|(_, table)| table.reclaim_ms);
    tables
}

/// The tables that hold what a range delete may cover, the highest first: a merge into another one
/// purges that as well.
fn unpurged<'a>(view: &View<'a>) -> impl Iterator<Item = (usize, &'a TableMeta)> {
    settled(view).filter(|(_, table)| is_unpurged(view, table))
}

/// The tables of which more than 1 byte in `share` is hidden, the highest first.
fn hidden<'a>(view: &View<'a>, share: u64) -> impl Iterator<Item = (usize, &'a TableMeta)> {
    settled(view).filter(move |(_, table)| is_hidden(view, table, share))
}

/// Whether more than 1 byte in `share` of a table is of hidden versions, and a merge may drop a good
/// part of those.
pub(super) fn is_hidden(view: &View<'_>, table: &TableMeta, share: u64) -> bool {
    table.hidden.bytes.saturating_mul(share) > table.bytes
        && is_free(view, table, table.hidden.seq, FREED_SHARE)
}

/// The tables below level 0.
fn settled<'a>(view: &View<'a>) -> impl Iterator<Item = (usize, &'a TableMeta)> {
    view.tables().filter(|(level, _)| *level > 0)
}

/// Whether a rewrite of a table of the last level would leave less garbage, as far as its metadata
/// tell.
pub(super) fn is_unclean(view: &View<'_>, table: &TableMeta) -> bool {
    table.tombstones > 0 && can_lose_tombstones(view, LAST, table, u64::MAX)
        || table.hidden.seq > 0 && is_free(view, table, table.hidden.seq, u64::MAX)
        || is_expired(view, LAST, table)
        || is_unpurged(view, table)
}

/// Whether a merge of the table may drop tombstones or bring them further down. In the last level
/// they have numbers past `purged_seq`: 1 in `share` of those must be free of snapshots, and one at
/// least.
fn can_lose_tombstones(view: &View<'_>, level: usize, table: &TableMeta, share: u64) -> bool {
    if level < LAST {
        return table.min_seq <= view.oldest_snapshot;
    }
    is_free(view, table, table.max_seq, share)
}

/// Whether of the numbers up to `last` of which a table was not cleaned yet, 1 in `share` is free of
/// snapshots, and one at least.
fn is_free(view: &View<'_>, table: &TableMeta, last: Seq, share: u64) -> bool {
    let cleaned_to = table.purged_seq.max(table.min_seq.saturating_sub(1));
    let suspect = last.saturating_sub(cleaned_to);
    let free = last.min(view.oldest_snapshot).saturating_sub(cleaned_to);
    free > 0 && free >= suspect.div_ceil(share)
}

/// Whether enough has expired, and a merge can drop it or bring it further down.
fn is_expired(view: &View<'_>, level: usize, table: &TableMeta) -> bool {
    let free_from = if level < LAST { table.min_seq } else { table.max_seq };
    table.reclaim_ms <= view.now_ms && free_from <= view.oldest_snapshot
}

/// Whether some range delete may cover an entry of the table, and a merge would drop that.
pub(super) fn is_unpurged(view: &View<'_>, table: &TableMeta) -> bool {
    applicable(view).any(|range| needs(table, range))
}

/// Whether a table may hold what a range delete covers.
fn needs(table: &TableMeta, range: &RangeDelete) -> bool {
    table.min_seq < range.seq
        && table.purged_seq < range.seq
        && range.overlaps(&table.smallest, &table.largest)
}

/// The range deletes that every reader heeds.
fn applicable<'a>(view: &View<'a>) -> impl Iterator<Item = &'a RangeDelete> {
    let oldest_snapshot = view.oldest_snapshot;
    view.ranges.iter().take_while(move |range| range.seq <= oldest_snapshot)
}

/// The range deletes that no table needs any more: nothing that they cover is left.
pub(crate) fn needless_ranges(levels: &Levels<'_>, ranges: &RangeDeletes) -> Vec<Seq> {
    let is_needed = |range: &RangeDelete| levels.iter().flatten().any(|table| needs(table, range));
    ranges.iter().filter(|range| !is_needed(range)).map(|range| range.seq).collect()
}
