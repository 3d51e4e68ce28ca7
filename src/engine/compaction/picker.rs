//! What to merge next: leveled compaction as a pure function over table metadata.
//!
//! Level 0 takes flushed tables, which may overlap; it is measured in *sublevels*, the number of
//! tables that one key may have to be looked for in. The other levels are sorted runs. Their targets
//! are dynamic (the scheme of RocksDB's `level_compaction_dynamic_level_bytes`): the last level is as
//! large as its data, each level above may hold a tenth, and level 0 is merged into the first level
//! that may hold a table at all, the *base*. So a database holds about 1.11 times its live data,
//! whatever its size, and small ones have one level.
//!
//! A job is kept small: one table and what it overlaps below, the one with the least of that. A
//! table that overlaps nothing is moved, not copied. The picker sees a [`View`] only: no files, no
//! clock; it must return the same plan for the same view.
//!
//! While nothing is written, plans end. Every plan brings entries a level down or removes them,
//! except for two that rewrite tables where they are: in the last level, what then is no longer
//! garbage (see [`garbage`]), and in level 0, what then overlaps nothing and is purged (see
//! [`idle`]). The first kind cannot go on for ever, and between two of them the second kind has less
//! to rewrite each time.

mod garbage;
mod idle;
mod range;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(crate) use self::garbage::needless_ranges;
pub(crate) use self::range::pick_range;
use crate::engine::key::Seq;
use crate::engine::ranges::RangeDeletes;
use crate::engine::table::TableMeta;
use crate::engine::version::LEVELS;
use crate::engine::version::shape::{
    Levels, Range, bytes, connected, hull, overlapping, range, sublevels,
};

const LAST: usize = LEVELS - 1;
/// Each level may hold this many times the one above.
const FANOUT: u64 = 10;
/// An output is cut where it would overlap more than this many tables' worth of the level below
/// its own: the merge of that output will then be small as well.
pub(crate) const MAX_GRANDPARENT_TABLES: u64 = 10;

/// All that a decision is made from.
pub(crate) struct View<'a> {
    /// The tables there are.
    pub(crate) levels: Levels<'a>,
    /// Damaged tables: what would need one of them is not done.
    pub(crate) untouchable: &'a BTreeSet<u64>,
    /// The range deletes that tables may need.
    pub(crate) ranges: &'a RangeDeletes,
    /// What any reader sees is what one at this number or a later one sees; `Seq::MAX` if there are
    /// no snapshots.
    pub(crate) oldest_snapshot: Seq,
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    /// Whether nothing was flushed for a while, so that a merge need not wait for more.
    pub(crate) idle: bool,
}

impl<'a> View<'a> {
    /// All tables with their levels, level 0 first.
    fn tables(&self) -> impl Iterator<Item = (usize, &'a TableMeta)> {
        let levels = self.levels.iter().enumerate();
        levels.flat_map(|(level, tables)| tables.iter().map(move |table| (level, *table)))
    }
}

/// What decides about merges.
pub(crate) trait CompactionPolicy: Send + Sync {
    /// The most urgent job, or `None` if everything is in shape.
    fn pick(&self, view: &View<'_>) -> Option<Plan>;

    /// When `pick` may come to another answer though nothing but the time changes, in milliseconds
    /// since the Unix epoch.
    fn next_look_ms(&self, view: &View<'_>) -> Option<u64>;
}

/// A job to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Ids of the tables that it takes from the database.
    pub(crate) inputs: BTreeSet<u64>,
    /// The level that the outcome goes to; without meaning for [`Work::Drop`].
    pub(crate) output_level: usize,
    /// Whether no table below the output can hold an older version of a key, so that tombstones may
    /// go.
    pub(crate) drop_tombstones: bool,
    /// What is done to the inputs.
    pub(crate) work: Work,
}

/// What a plan does to its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// They are merged into new tables.
    Merge,
    /// They are one table that overlaps nothing: it only changes its level.
    Move,
    /// They hold nothing that anybody sees: they are removed.
    Drop,
}

/// Leveled compaction, by the sizes given here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leveled {
    /// Sublevels of level 0 that start a merge.
    pub(crate) level0_sublevels: usize,
    /// Size of an output table in bytes.
    pub(crate) table_bytes: u64,
}

impl CompactionPolicy for Leveled {
    /// First what only gives room, then what keeps the shape, then garbage; at rest, what saves
    /// space.
    fn pick(&self, view: &View<'_>) -> Option<Plan> {
        let base = self.base_level(&view.levels);
        garbage::drop_covered(view)
            .or_else(|| self.pick_by_size(view, base))
            .or_else(|| garbage::pick(view))
            .or_else(|| view.idle.then(|| idle::pick(view, base)).flatten())
    }

    fn next_look_ms(&self, view: &View<'_>) -> Option<u64> {
        let times = view.tables().map(|(_, table)| table.reclaim_ms);
        times.filter(|time| *time > view.now_ms && *time < u64::MAX).min()
    }
}

impl Leveled {
    fn pick_by_size(&self, view: &View<'_>, base: usize) -> Option<Plan> {
        let mut urgencies = self.urgencies(&view.levels, base);
        urgencies.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut due = urgencies.into_iter().filter(|(score, _)| *score >= 1.0);
        due.find_map(|(_, level)| plan_level(view, level, base))
    }

    /// How far each level is over its target, 1 being just at it.
    fn urgencies(&self, levels: &Levels<'_>, base: usize) -> Vec<(f64, usize)> {
        let targets = self.targets(levels, base);
        let mut urgencies: Vec<(f64, usize)> =
            (1..LAST).map(|level| (ratio(bytes(&levels[level]), targets[level]), level)).collect();
        let sublevels = sublevels(&levels[0]) as u64;
        urgencies.push((ratio(sublevels, self.level0_sublevels as u64), 0));
        urgencies
    }

    /// What each level may hold, in bytes. Levels above the base may hold nothing.
    fn targets(&self, levels: &Levels<'_>, base: usize) -> [u64; LEVELS] {
        let mut targets = [0; LEVELS];
        let mut target = bytes(&levels[LAST]).max(self.table_bytes);
        for level in (base..LEVELS).rev() {
            targets[level] = target.max(self.table_bytes);
            target /= FANOUT;
        }
        targets
    }

    /// The level that level 0 is merged into: the first that may hold as much as a full level 0, or
    /// that does hold something.
    fn base_level(&self, levels: &Levels<'_>) -> usize {
        let least = self.table_bytes * self.level0_sublevels as u64;
        let mut base = LAST;
        let mut target = bytes(&levels[LAST]);
        while base > 1 && target > least * FANOUT {
            target /= FANOUT;
            base -= 1;
        }
        let first_used = (1..LAST).find(|level| !levels[*level].is_empty());
        first_used.map_or(base, |used| used.min(base))
    }
}

#[cfg(test)]
/// The merge of everything into the last level, or `None` if it is all there and clean.
pub(crate) fn pick_everything(view: &View<'_>) -> Option<Plan> {
    pick_range(view, &[], None)
}

impl Plan {
    /// A plan over `inputs`, unless one of them must not be touched. Of the output level, they hold
    /// all tables that overlap their hull.
    fn merge<'a>(
        view: &View<'_>,
        inputs: impl Iterator<Item = &'a TableMeta>,
        output_level: usize,
    ) -> Option<Plan> {
        let levels = &view.levels;
        let inputs: Vec<&TableMeta> = inputs.collect();
        let hull = hull(&inputs)?;
        let deeper = levels.iter().skip(output_level + 1);
        let drop_tombstones = deeper.flat_map(|level| overlapping(level, hull)).next().is_none();
        let ids: BTreeSet<u64> = inputs.iter().map(|table| table.id).collect();
        let is_move = inputs.len() == 1
            && !levels[output_level].iter().any(|table| table.id == inputs[0].id)
            && (inputs[0].tombstones == 0 || !drop_tombstones)
            && grandparent_bytes(levels, output_level, hull)
                <= MAX_GRANDPARENT_TABLES * inputs[0].bytes;
        let work = if is_move { Work::Move } else { Work::Merge };
        ids.is_disjoint(view.untouchable).then_some(Plan {
            inputs: ids,
            output_level,
            drop_tombstones,
            work,
        })
    }
}

/// Brings something of a level down: level 0 into the base, another level into the next.
fn plan_level(view: &View<'_>, level: usize, base: usize) -> Option<Plan> {
    match level {
        0 => plan_level0(view, base),
        level => plan_cheapest(view, level),
    }
}

/// Merges the oldest table of level 0, all that overlap it there, and what they overlap in the base.
/// Tables that are older than one which is merged down, and overlap it, must come along: their
/// versions are older. Behind damage, the next oldest is tried.
fn plan_level0(view: &View<'_>, base: usize) -> Option<Plan> {
    let level0 = &view.levels[0];
    level0.iter().rev().find_map(|oldest| {
        let group = connected(level0, &[oldest]);
        let below = overlapping(&view.levels[base], hull(&group)?);
        Plan::merge(view, group.into_iter().chain(below), base)
    })
}

/// Merges the table of a level that overlaps the least below, in proportion to its size.
fn plan_cheapest(view: &View<'_>, level: usize) -> Option<Plan> {
    let below = &view.levels[level + 1];
    let cost = |table: &TableMeta| {
        let overlap: u64 = overlapping(below, range(table)).map(|other| other.bytes).sum();
        ratio(overlap, table.bytes)
    };
    let mut tables: Vec<(f64, &TableMeta)> =
        view.levels[level].iter().map(|table| (cost(table), *table)).collect();
    tables.sort_by(|a, b| a.0.total_cmp(&b.0));
    tables.into_iter().find_map(|(_, table)| plan_table(view, level, table))
}

/// Merges one table of a level below level 0 into the next. In the last level it is rewritten.
fn plan_table(view: &View<'_>, level: usize, table: &TableMeta) -> Option<Plan> {
    let output_level = (level + 1).min(LAST);
    let below = overlapping(&view.levels[output_level], range(table));
    let below = below.filter(|other| other.id != table.id);
    Plan::merge(view, std::iter::once(table).chain(below), output_level)
}

/// The bytes of the level below the output that a range overlaps.
fn grandparent_bytes(levels: &Levels<'_>, output_level: usize, range: Range<'_>) -> u64 {
    let below = levels.get(output_level + 1);
    below.map_or(0, |level| overlapping(level, range).map(|table| table.bytes).sum())
}

/// `a / b`; beyond all bounds where `b` is 0 and `a` is not.
#[expect(clippy::cast_precision_loss, reason = "ratios of sizes need no more than 53 bits")]
fn ratio(a: u64, b: u64) -> f64 {
    match (a, b) {
        (0, _) => 0.0,
        (_, 0) => f64::INFINITY,
        (a, b) => a as f64 / b as f64,
    }
}
