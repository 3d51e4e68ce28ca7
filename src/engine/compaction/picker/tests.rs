//! Plans for levels that are written down, one line a level: `L0 9:a..c*4 8:b..d/2` is table 9 with
//! keys from a to c and 4 units of size, and table 8 of one unit with 2 of 8 entries tombstones.

use super::*;

fn table(text: &str) -> TableMeta {
    let (id, rest) = text.split_once(':').unwrap();
    let (rest, tombstones) = rest.split_once('/').unwrap_or((rest, "0"));
    let (range, units) = rest.split_once('*').unwrap_or((rest, "1"));
    let (smallest, largest) = range.split_once("..").unwrap();
    let id = id.parse().unwrap();
    TableMeta {
        id,
        bytes: units.parse().unwrap(),
        smallest: smallest.into(),
        largest: largest.into(),
        min_seq: id,
        max_seq: id,
        entries: 8,
        tombstones: tombstones.parse().unwrap(),
        purged_seq: 0,
        reclaim_ms: u64::MAX,
        assigned_seq: 0,
        checksum: 0,
    }
}

fn with_levels<T>(text: &str, then: impl FnOnce(&Levels<'_>) -> T) -> T {
    let mut owned: [Vec<TableMeta>; LEVELS] = std::array::from_fn(|_| Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let level: usize = words.next().unwrap()[1..].parse().unwrap();
        owned[level] = words.map(table).collect();
    }
    then(&std::array::from_fn(|level| owned[level].iter().collect()))
}

/// Tables of one unit, two sublevels start a merge.
const POLICY: Policy = Policy { level0_sublevels: 2, table_bytes: 1 };

fn show(plan: Option<Plan>) -> String {
    let Some(plan) = plan else { return "nothing".into() };
    let verb = if plan.is_move { "move" } else { "merge" };
    let graves = if plan.drop_tombstones { ", no graves" } else { "" };
    format!("{verb} {:?} to L{}{graves}", plan.inputs, plan.output_level)
}

fn pick(levels: &str) -> String {
    with_levels(levels, |levels| show(POLICY.pick(levels, &BTreeSet::new())))
}

#[test]
fn level_0_waits_until_it_has_enough_sublevels() {
    assert_eq!(pick("L0 9:a..c"), "nothing");
    assert_eq!(pick("L0 9:d..f 8:a..c"), "nothing", "tables side by side are one sublevel");
    assert_eq!(pick("L0 9:c..f 8:a..c"), "merge {8, 9} to L6, no graves");
}

#[test]
fn level_0_takes_along_what_overlaps_and_leaves_the_rest() {
    let levels = "L0 9:c..d 8:p..q 7:a..c\nL6 1:a..b 2:d..e 3:p..s";
    assert_eq!(pick(levels), "merge {1, 2, 7, 9} to L6, no graves");
}

#[test]
fn an_older_table_is_never_left_above_a_newer_one() {
    // 7 is the oldest; 8 overlaps it only by way of 9.
    assert_eq!(pick("L0 9:b..f 8:e..g 7:a..c"), "merge {7, 8, 9} to L6, no graves");
}

#[test]
fn a_table_that_overlaps_nothing_is_moved() {
    assert_eq!(pick("L0 9:x..z 8:w..y 7:a..c\nL6 1:d..e"), "move {7} to L6, no graves");
    let graves = pick("L0 9:x..z 8:w..y 7:a..c/1\nL6 1:d..e");
    assert_eq!(graves, "merge {7} to L6, no graves", "its tombstones can go");
}

#[test]
fn the_base_rises_as_the_last_level_grows() {
    assert_eq!(pick("L0 9:a..c 8:a..c\nL6 1:a..z*20"), "merge {1, 8, 9} to L6, no graves");
    assert_eq!(pick("L0 9:a..c 8:a..c\nL6 1:a..z*21"), "merge {8, 9} to L5");
    assert_eq!(pick("L0 9:a..c 8:a..c\nL6 1:a..z*210"), "merge {8, 9} to L4");
    // A level in use stays in use, also when the last one has shrunk.
    assert_eq!(pick("L0 9:a..c 8:a..c 7:a..c\nL4 5:a..c\nL6 1:a..z"), "merge {5, 7, 8, 9} to L4");
}

#[test]
fn a_level_past_its_target_gives_the_table_with_the_least_overlap() {
    let below = "L6 1:a..c*10 2:d..f*20 3:g..i*10";
    let levels = format!("L5 5:a..b*2 6:d..e*2 7:g..h*4\n{below}");
    assert_eq!(pick(&levels), "merge {3, 7} to L6, no graves", "7 overlaps the least per byte");
    assert_eq!(pick(&format!("L5 5:a..b*3\n{below}")), "nothing", "a tenth of 40 is allowed");
}

#[test]
fn the_fullest_level_goes_first() {
    let last = "L6 1:a..z*100";
    let level5 = "L5 5:a..b*15 6:c..d*15";
    assert_eq!(
        pick(&format!("L0 9:a..c 8:a..c\n{level5}\n{last}")),
        "merge {1, 5} to L6, no graves"
    );
    let level0 = "L0 9:a..c 8:a..c 7:a..c 4:a..c 3:a..c 2:a..c 0:a..c";
    let plan = pick(&format!("{level0}\n{level5}\n{last}"));
    assert_eq!(plan, "merge {0, 2, 3, 4, 5, 6, 7, 8, 9} to L5");
}

#[test]
fn graves_are_kept_while_something_older_may_lie_below() {
    let levels = "L4 7:a..c*9/2\nL5 5:a..b\nL6 1:a..z*100";
    assert_eq!(pick(levels), "merge {5, 7} to L5");
    assert_eq!(pick("L4 7:a..c*9/2\nL5 5:a..b\nL6 1:p..z*100"), "merge {5, 7} to L5, no graves");
}

#[test]
fn a_table_full_of_tombstones_is_merged_though_no_level_is_full() {
    assert_eq!(pick("L6 1:a..c/2 2:d..e/3"), "merge {2} to L6, no graves");
    assert_eq!(pick("L5 4:d..e/3\nL6 1:a..c 2:d..g"), "merge {2, 4} to L6, no graves");
    assert_eq!(pick("L6 1:a..c/2"), "nothing");
}

#[test]
fn a_move_does_not_pile_up_work_for_the_next_level() {
    let levels = "L4 5:a..c\nL6 1:a..c*12";
    // Ten times its size below would be a small job later; twelve times is rewritten and cut.
    let plan = with_levels(levels, |levels| {
        Plan::merge(levels, levels[4].iter().copied(), 5, &BTreeSet::new())
    });
    assert_eq!(show(plan), "merge {5} to L5");
}

#[test]
fn damage_is_left_alone_and_work_goes_on_beside_it() {
    let levels = "L5 5:a..b*9 6:d..e*9\nL6 1:a..c*30 2:d..f*40";
    let pick = |damaged: &[u64]| {
        let damaged = damaged.iter().copied().collect();
        with_levels(levels, |levels| show(POLICY.pick(levels, &damaged)))
    };
    assert_eq!(pick(&[]), "merge {1, 5} to L6, no graves");
    assert_eq!(pick(&[1]), "merge {2, 6} to L6, no graves");
    assert_eq!(pick(&[1, 6]), "nothing");
}

#[test]
fn everything_goes_to_the_last_level_once() {
    let everything = |levels: &str| {
        with_levels(levels, |levels| show(pick_everything(levels, &BTreeSet::new())))
    };
    let levels = "L0 9:a..b\nL3 8:x..z\nL6 1:a..a 5:m..n 2:zz..zz";
    assert_eq!(everything(levels), "merge {1, 5, 8, 9} to L6, no graves");
    assert_eq!(everything("L6 1:a..b 2:c..d"), "nothing");
}

#[test]
fn plans_end_and_leave_every_level_in_shape() {
    // Applies plans to sizes alone: 400 flushes of random ranges, merged as planned.
    let mut levels: [Vec<TableMeta>; LEVELS] = std::array::from_fn(|_| Vec::new());
    let mut random = crate::engine::iter::testing::Random(7);
    let mut id = 1000;
    for _ in 0..400 {
        let from = random.below(900);
        let to = from + random.below(1000 - from);
        id += 1;
        levels[0].insert(0, TableMeta { id, ..table(&format!("0:{from:03}..{to:03}")) });
        for round in 0.. {
            assert!(round < 200, "no end of merging");
            let plan = POLICY.pick(
                &std::array::from_fn(|level| levels[level].iter().collect()),
                &BTreeSet::new(),
            );
            let Some(plan) = plan else { break };
            apply(&mut levels, &plan, &mut id);
        }
        let shape: Levels<'_> = std::array::from_fn(|level| levels[level].iter().collect());
        assert!(sublevels(&shape[0]) < 2);
        for level in &levels[1..] {
            assert!(level.windows(2).all(|pair| pair[0].largest < pair[1].smallest));
        }
    }
}

/// Replaces a plan's inputs by tables of one unit that cover the same range.
fn apply(levels: &mut [Vec<TableMeta>; LEVELS], plan: &Plan, id: &mut u64) {
    let mut inputs = Vec::new();
    for level in levels.iter_mut() {
        inputs.extend(level.extract_if(.., |table| plan.inputs.contains(&table.id)));
    }
    let from: u64 = inputs.iter().map(|t| number(&t.smallest)).min().unwrap();
    let to: u64 = inputs.iter().map(|t| number(&t.largest)).max().unwrap();
    // Half of what is merged was overwritten, and no table is narrower than ten keys.
    let count = (inputs.len() as u64 / 2).clamp(1, (to - from) / 10 + 1);
    let step = (to - from) / count + 1;
    let output = &mut levels[plan.output_level];
    for start in (from..=to).step_by(step as usize) {
        *id += 1;
        let end = (start + step - 1).min(to);
        output.push(TableMeta { id: *id, ..table(&format!("0:{start:03}..{end:03}")) });
    }
    output.sort_by(|a, b| a.smallest.cmp(&b.smallest));
}

fn number(key: &[u8]) -> u64 {
    std::str::from_utf8(key).unwrap().parse().unwrap()
}
