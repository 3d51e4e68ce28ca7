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
//! table that overlaps nothing is moved, not copied. The picker sees metadata only; it must return
//! the same plan for the same levels.

use std::collections::BTreeSet;

use crate::engine::table::TableMeta;
use crate::engine::version::LEVELS;
use crate::engine::version::shape::{Levels, Range, bytes, hull, overlapping, range, sublevels};

const LAST: usize = LEVELS - 1;
/// Each level may hold this many times the one above.
const FANOUT: u64 = 10;
/// An output is cut where it would overlap more than this many tables' worth of the level below
/// its own: the merge of that output will then be small as well.
pub(crate) const MAX_GRANDPARENT_TABLES: u64 = 10;
/// A table of which more than 1 in this many entries is a tombstone is merged down by itself: reads
/// and scans would walk over graves.
const TOMBSTONE_SHARE: u64 = 3;

/// Sizes that the policy works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Sublevels of level 0 that start a merge.
    pub(crate) level0_sublevels: usize,
    /// Size of an output table in bytes.
    pub(crate) table_bytes: u64,
}

/// A merge to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Ids of the tables to merge, or to move if `is_move`.
    pub(crate) inputs: BTreeSet<u64>,
    /// The level that the outcome goes to.
    pub(crate) output_level: usize,
    /// Whether no table below the output can hold an older version of a key, so that tombstones may
    /// go.
    pub(crate) drop_tombstones: bool,
    /// Whether the inputs are one table that overlaps nothing: it only changes its level.
    pub(crate) is_move: bool,
}

impl Policy {
    /// The most urgent merge, or `None` if everything is in shape. `untouchable` tables are damaged:
    /// what would need one of them is not merged.
    pub(crate) fn pick(&self, levels: &Levels<'_>, untouchable: &BTreeSet<u64>) -> Option<Plan> {
        let base = self.base_level(levels);
        let mut urgencies = self.urgencies(levels, base);
        urgencies.sort_by(|a, b| b.0.total_cmp(&a.0));
        let by_size = urgencies.iter().filter(|(score, _)| *score >= 1.0).filter_map(
            |(_, level)| match level {
                0 => plan_level0(levels, base, untouchable),
                level => plan_level(levels, *level, untouchable),
            },
        );
        by_size.chain(plan_tombstones(levels, untouchable)).next()
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

/// The merge of everything into the last level, or `None` if it is all there, and so clean.
pub(crate) fn pick_everything(levels: &Levels<'_>, untouchable: &BTreeSet<u64>) -> Option<Plan> {
    let upper: Vec<&TableMeta> = levels[..LAST].iter().flatten().copied().collect();
    let hull = hull(&upper)?;
    let below = overlapping(&levels[LAST], hull);
    Plan::merge(levels, upper.into_iter().chain(below), LAST, untouchable)
}

impl Plan {
    /// A plan over `inputs`, unless one of them must not be touched.
    fn merge<'a>(
        levels: &Levels<'_>,
        inputs: impl Iterator<Item = &'a TableMeta>,
        output_level: usize,
        untouchable: &BTreeSet<u64>,
    ) -> Option<Plan> {
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
        ids.is_disjoint(untouchable).then_some(Plan {
            inputs: ids,
            output_level,
            drop_tombstones,
            is_move,
        })
    }
}

/// Merges the oldest table of level 0, all that overlap it there, and what they overlap in the base.
/// Tables that are older than one which is merged down, and overlap it, must come along: their
/// versions are older.
fn plan_level0(levels: &Levels<'_>, base: usize, untouchable: &BTreeSet<u64>) -> Option<Plan> {
    let mut inputs: Vec<&TableMeta> = vec![levels[0].last()?];
    loop {
        let hull = hull(&inputs)?;
        let grown: Vec<&TableMeta> = overlapping(&levels[0], hull).collect();
        if grown.len() == inputs.len() {
            let below = overlapping(&levels[base], hull);
            return Plan::merge(levels, inputs.into_iter().chain(below), base, untouchable);
        }
        inputs = grown;
    }
}

/// Merges the table of a level that overlaps the least below, in proportion to its size.
fn plan_level(levels: &Levels<'_>, level: usize, untouchable: &BTreeSet<u64>) -> Option<Plan> {
    let below = &levels[level + 1];
    let cost = |table: &TableMeta| {
        let overlap: u64 = overlapping(below, range(table)).map(|other| other.bytes).sum();
        ratio(overlap, table.bytes)
    };
    let mut tables: Vec<(f64, &TableMeta)> =
        levels[level].iter().map(|table| (cost(table), *table)).collect();
    tables.sort_by(|a, b| a.0.total_cmp(&b.0));
    tables.into_iter().find_map(|(_, table)| {
        let inputs = std::iter::once(table).chain(overlapping(below, range(table)));
        Plan::merge(levels, inputs, level + 1, untouchable)
    })
}

/// Merges the table with the greatest share of tombstones, if that is too great. In the last level
/// it is rewritten.
fn plan_tombstones(levels: &Levels<'_>, untouchable: &BTreeSet<u64>) -> Option<Plan> {
    let mut tables: Vec<(f64, usize, &TableMeta)> = (1..LEVELS)
        .flat_map(|level| levels[level].iter().map(move |table| (level, *table)))
        .filter(|(_, table)| table.tombstones * TOMBSTONE_SHARE > table.entries)
        .map(|(level, table)| (ratio(table.tombstones, table.entries), level, table))
        .collect();
    tables.sort_by(|a, b| b.0.total_cmp(&a.0));
    tables.into_iter().find_map(|(_, level, table)| {
        let output_level = (level + 1).min(LAST);
        let below = overlapping(&levels[output_level], range(table));
        let below = below.filter(|other| other.id != table.id);
        Plan::merge(levels, std::iter::once(table).chain(below), output_level, untouchable)
    })
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

#[cfg(test)]
mod tests;
