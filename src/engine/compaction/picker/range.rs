//! A merge that was asked for: all that a range of keys holds goes to the last level, clean.
//!
//! First the levels above are emptied of the range, in one merge. Then tables of the last level that
//! hold garbage are rewritten, one each time. Asked again and again, it comes to an end: see
//! `garbage` for why a rewrite is not repeated, also where snapshots protect what is in the tables.

use super::{LAST, Plan, View, garbage};
use crate::engine::table::TableMeta;
use crate::engine::version::shape::{connected, hull, overlap, overlapping, range};

/// The next job that brings the keys from `start` to before `end` (`None`: all further ones) into
/// the last level, or `None` if they are all there and clean, or if damage is in the way.
pub(crate) fn pick_range(view: &View<'_>, start: &[u8], end: Option<&[u8]>) -> Option<Plan> {
    let is_asked = |table: &TableMeta| {
        table.largest.as_slice() >= start && end.is_none_or(|end| table.smallest.as_slice() < end)
    };
    garbage::drop_covered(view).or_else(|| {
        let upper = inputs_above(view, is_asked);
        let Some(hull) = hull(&upper) else { return clean(view, is_asked) };
        let below = overlapping(&view.levels[LAST], hull);
        Plan::merge(view, upper.into_iter().chain(below), LAST)
    })
}

/// The tables above the last level that are asked for, and those that must go down with them: what
/// overlaps one from a higher level, or is older in level 0, has older versions.
fn inputs_above<'a>(view: &View<'a>, is_asked: impl Fn(&TableMeta) -> bool) -> Vec<&'a TableMeta> {
    let level0 = &view.levels[0];
    let asked: Vec<&TableMeta> = level0.iter().copied().filter(|t| is_asked(t)).collect();
    let mut inputs = connected(level0, &asked);
    for level in &view.levels[1..LAST] {
        let hull = hull(&inputs);
        let is_below = |table: &TableMeta| hull.is_some_and(|hull| overlap(range(table), hull));
        let more: Vec<&TableMeta> =
            level.iter().copied().filter(|table| is_asked(table) || is_below(table)).collect();
        inputs.extend(more);
    }
    inputs
}

/// Rewrites the first table of the last level that a rewrite would make cleaner.
fn clean(view: &View<'_>, is_asked: impl Fn(&TableMeta) -> bool) -> Option<Plan> {
    let tables = view.levels[LAST].iter().copied();
    let mut unclean = tables.filter(|table| is_asked(table) && garbage::is_unclean(view, table));
    unclean.find_map(|table| Plan::merge(view, std::iter::once(table), LAST))
}
