//! What to merge next.
//!
//! For now there are two levels in use: flushed tables gather in level 0, and once there are enough
//! of them they are merged, together with what they overlap, into the last level. So a read looks
//! at a bounded number of tables. Levels between the two come with leveled compaction, which needs
//! no other data than this picker sees.

use std::collections::BTreeSet;

use crate::engine::table::TableMeta;
use crate::engine::version::LEVELS;

/// The metadata of all tables, by level.
pub(crate) type Levels<'a> = [Vec<&'a TableMeta>; LEVELS];

/// Why a merge is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Level 0 has at least so many tables.
    Level0Full(usize),
    /// Somebody asked for it.
    Asked,
}

/// A merge to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Ids of the tables to merge.
    pub(crate) inputs: BTreeSet<u64>,
    /// The level that the outcome goes to.
    pub(crate) output_level: usize,
    /// Whether no other table can hold an older version of a key, so that tombstones may go.
    pub(crate) drop_tombstones: bool,
}

/// The next merge, or `None` if there is nothing to do. `untouchable` tables are damaged: what
/// would need one of them is not merged.
pub(crate) fn pick(
    levels: &Levels<'_>,
    reason: Reason,
    untouchable: &BTreeSet<u64>,
) -> Option<Plan> {
    let (upper, last) = (&levels[..LEVELS - 1], &levels[LEVELS - 1]);
    let upper: Vec<&TableMeta> = upper.iter().flatten().copied().collect();
    let enough = match reason {
        Reason::Level0Full(limit) => levels[0].len() >= limit,
        Reason::Asked => !upper.is_empty(),
    };
    if !enough {
        return None;
    }
    let smallest = upper.iter().map(|table| &table.smallest).min()?;
    let largest = upper.iter().map(|table| &table.largest).max()?;
    let overlapping =
        last.iter().filter(|table| table.largest >= *smallest && table.smallest <= *largest);
    let inputs: BTreeSet<u64> = upper.iter().chain(overlapping).map(|table| table.id).collect();
    inputs.is_disjoint(untouchable).then_some(Plan {
        inputs,
        output_level: LEVELS - 1,
        drop_tombstones: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(id: u64, range: &str) -> TableMeta {
        let (smallest, largest) = range.split_once("..").unwrap();
        TableMeta {
            id,
            bytes: 100,
            smallest: smallest.into(),
            largest: largest.into(),
            min_seq: id,
            max_seq: id,
            entries: 1,
            tombstones: 0,
            checksum: 0,
        }
    }

    /// Runs `pick` on lines like `L0 1:a..c 2:b..d` and shows the plan's inputs.
    fn script(levels: &str, reason: Reason, untouchable: &[u64]) -> String {
        let mut owned: [Vec<TableMeta>; LEVELS] = std::array::from_fn(|_| Vec::new());
        for line in levels.lines() {
            let mut words = line.split_whitespace();
            let level: usize = words.next().unwrap()[1..].parse().unwrap();
            owned[level] = words
                .map(|word| word.split_once(':').unwrap())
                .map(|(id, range)| table(id.parse().unwrap(), range))
                .collect();
        }
        let levels = std::array::from_fn(|level| owned[level].iter().collect());
        match pick(&levels, reason, &untouchable.iter().copied().collect()) {
            Some(plan) => format!("{:?} -> L{}", plan.inputs, plan.output_level),
            None => "nothing".into(),
        }
    }

    #[test]
    fn level_0_is_merged_when_full_with_what_it_overlaps() {
        let levels = "L0 9:c..d 8:f..g\nL6 1:a..b 2:d..e 3:h..i";
        assert_eq!(script(levels, Reason::Level0Full(3), &[]), "nothing");
        assert_eq!(script(levels, Reason::Level0Full(2), &[]), "{2, 8, 9} -> L6");
        assert_eq!(script(levels, Reason::Asked, &[]), "{2, 8, 9} -> L6");
    }

    #[test]
    fn a_table_between_two_inputs_takes_part_for_the_last_level_stays_disjoint() {
        let levels = "L0 9:a..b 8:x..z\nL6 5:m..n";
        assert_eq!(script(levels, Reason::Asked, &[]), "{5, 8, 9} -> L6");
    }

    #[test]
    fn a_database_that_is_merged_already_has_nothing_to_do() {
        assert_eq!(script("L6 1:a..b 2:c..d", Reason::Asked, &[]), "nothing");
        assert_eq!(script("L0", Reason::Level0Full(0), &[]), "nothing");
    }

    #[test]
    fn a_damaged_table_is_left_alone() {
        let levels = "L0 9:a..b\nL6 1:a..a 2:p..q";
        assert_eq!(script(levels, Reason::Asked, &[1]), "nothing");
        assert_eq!(script(levels, Reason::Asked, &[2]), "{1, 9} -> L6");
    }
}
