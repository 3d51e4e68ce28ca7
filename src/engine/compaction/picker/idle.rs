//! Work for times of rest: what saves space and lookups though no level is over its target.
//!
//! At rest the levels above the last hold little, so that overwritten and deleted data is gone: at
//! most a tenth of the last level's bytes, and of its entries, each of which may hide one there. So
//! the database takes at most 1.1 times the last level. And level 0 is one sublevel, purged of what
//! range deletes cover. Of no table more than a tenth is of versions that only snapshots saw which are
//! gone.
//!
//! Rejected: merging level 0 down for its sublevels alone. It mostly spans all keys, and a few small
//! flushes would rewrite the whole base after each pause. Its tables are merged with each other
//! instead, in their place, which costs no more than they hold themselves.

use super::{LAST, Plan, View, garbage, plan_level};
use crate::engine::table::TableMeta;
use crate::engine::version::shape::{bytes, connected};

/// The levels above the last may hold 1 in this many of its bytes and entries.
const REST_SHARE: u64 = 10;

/// The merge that rest is used for.
pub(super) fn pick(view: &View<'_>, base: usize) -> Option<Plan> {
    merge_down(view, base)
        .or_else(|| tidy_level0(view))
        .or_else(|| garbage::pick_hidden(view, REST_SHARE))
}

/// Merges down the first level that, with those above, holds too much: what is above may stay.
fn merge_down(view: &View<'_>, base: usize) -> Option<Plan> {
    let last = &view.levels[LAST];
    let allowed = [bytes(last) / REST_SHARE, entries(last) / REST_SHARE];
    let mut held = [0, 0];
    let first = (0..LAST).find(|level| {
        held[0] += bytes(&view.levels[*level]);
        held[1] += entries(&view.levels[*level]);
        held[0] > allowed[0] || held[1] > allowed[1]
    })?;
    (first..LAST).find_map(|level| plan_level(view, level, base))
}

/// Merges tables of level 0 that overlap, or that are to be purged, within level 0. All that
/// overlap them come along, so the order of versions stays.
fn tidy_level0(view: &View<'_>) -> Option<Plan> {
    let level0 = &view.levels[0];
    level0.iter().rev().find_map(|oldest| {
        let group = connected(level0, &[oldest]);
        let is_untidy = |table: &&TableMeta| {
            garbage::is_unpurged(view, table) || garbage::is_hidden(view, table, REST_SHARE)
        };
        let untidy = group.len() > 1 || group.iter().any(is_untidy);
        untidy.then(|| Plan::merge(view, group.into_iter(), 0)).flatten()
    })
}

fn entries(tables: &[&TableMeta]) -> u64 {
    tables.iter().map(|table| table.entries).sum()
}
