//! The shape of a version: metadata only, and what can be told from it.

use super::LEVELS;
use crate::engine::table::TableMeta;

/// The metadata of all tables, by level: level 0 newest first, the others by key.
pub(crate) type Levels<'a> = [Vec<&'a TableMeta>; LEVELS];

/// Smallest and largest key, both included.
pub(crate) type Range<'a> = (&'a [u8], &'a [u8]);

/// A table's range.
pub(crate) fn range(table: &TableMeta) -> Range<'_> {
    (&table.smallest, &table.largest)
}

/// Whether two ranges share a key, as far as ranges tell.
pub(crate) fn overlap(a: Range<'_>, b: Range<'_>) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// The range that spans all tables.
pub(crate) fn hull<'a>(tables: &[&'a TableMeta]) -> Option<Range<'a>> {
    let smallest = tables.iter().map(|table| table.smallest.as_slice()).min()?;
    let largest = tables.iter().map(|table| table.largest.as_slice()).max()?;
    Some((smallest, largest))
}

/// The tables that overlap a range.
pub(crate) fn overlapping<'a>(
    tables: &[&'a TableMeta],
    with: Range<'_>,
) -> impl Iterator<Item = &'a TableMeta> {
    tables.iter().copied().filter(move |table| overlap(range(table), with))
}

/// Some tables of a level, and all that overlap them there, also by way of others.
pub(crate) fn connected<'a>(level: &[&'a TableMeta], from: &[&'a TableMeta]) -> Vec<&'a TableMeta> {
    let mut group = from.to_vec();
    while let Some(hull) = hull(&group) {
        let grown: Vec<&TableMeta> = overlapping(level, hull).collect();
        if grown.len() == group.len() {
            break;
        }
        group = grown;
    }
    group
}

/// Size of all tables together.
pub(crate) fn bytes(tables: &[&TableMeta]) -> u64 {
    tables.iter().map(|table| table.bytes).sum()
}

/// In how many tables of level 0 a key may have to be looked for, at most: tables that do not
/// overlap share a sublevel. Each table goes to the lowest sublevel above all that it overlaps.
pub(crate) fn sublevels(level0: &[&TableMeta]) -> usize {
    let mut placed: Vec<(usize, &TableMeta)> = Vec::with_capacity(level0.len());
    for table in level0.iter().rev() {
        let under = placed.iter().filter(|(_, other)| overlap(range(table), range(other)));
        let sublevel = under.map(|(sublevel, _)| sublevel + 1).max().unwrap_or(0);
        placed.push((sublevel, table));
    }
    placed.iter().map(|(sublevel, _)| sublevel + 1).max().unwrap_or(0)
}
