//! Plans for views that are written down, a line for each level: `L0 9:a..c*4 8:b..d/2` is table 9
//! with keys from a to c and 4 units of size, and table 8 of one unit with 2 of 8 entries tombstones.
//! Entries have the table's id as their number, or those after `@`, as in `8:b..d@3-7`; `!5` is what
//! the table is purged of, `~100` when it is worth a merge for what has expired, `^2` that 2 units are of
//! versions that newer ones hide.
//!
//! More lines: `ranges a..c@5 d..@7` are range deletes (the second has no end), `snapshot 6` is the
//! oldest, `now 100` the time, `damaged 1 2` are tables, `idle` is that.

use super::*;
use crate::engine::ranges::RangeDelete;
use crate::engine::table::Hidden;

pub(super) fn table(text: &str) -> TableMeta {
    let (id, rest) = text.split_once(':').unwrap();
    let (range, _) = rest.split_at(rest.find(MARKS).unwrap_or(rest.len()));
    let (smallest, largest) = range.split_once("..").unwrap();
    let seqs = marked(rest, '@').unwrap_or(id);
    let (min_seq, max_seq) = seqs.split_once('-').unwrap_or((seqs, seqs));
    let number = |mark, default| marked(rest, mark).map_or(default, |text| text.parse().unwrap());
    TableMeta {
        id: id.parse().unwrap(),
        bytes: number('*', 1),
        smallest: smallest.into(),
        largest: largest.into(),
        min_seq: min_seq.parse().unwrap(),
        max_seq: max_seq.parse().unwrap(),
        entries: 8,
        tombstones: number('/', 0),
        purged_seq: number('!', 0),
        reclaim_ms: number('~', u64::MAX),
        hidden: match number('^', 0) {
            0 => Hidden::default(),
            bytes => Hidden { bytes, seq: max_seq.parse().unwrap() },
        },
        assigned_seq: 0,
        checksum: 0,
    }
}

const MARKS: [char; 6] = ['*', '/', '@', '!', '~', '^'];

/// What stands behind a mark, up to the next one.
fn marked(text: &str, mark: char) -> Option<&str> {
    let (_, rest) = text.split_once(mark)?;
    Some(&rest[..rest.find(MARKS).unwrap_or(rest.len())])
}

fn range_delete(text: &str) -> RangeDelete {
    let (range, seq) = text.split_once('@').unwrap();
    let (start, end) = range.split_once("..").unwrap();
    RangeDelete { start: start.into(), end: end.into(), seq: seq.parse().unwrap() }
}

fn with_view<T>(text: &str, then: impl FnOnce(&View<'_>) -> T) -> T {
    let mut owned: [Vec<TableMeta>; LEVELS] = std::array::from_fn(|_| Vec::new());
    let (mut ranges, mut untouchable) = (RangeDeletes::default(), BTreeSet::new());
    let (mut oldest_snapshot, mut now_ms, mut idle) = (Seq::MAX, 0, false);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let number = |words: &mut std::str::SplitWhitespace<'_>| {
            words.next().map(|word| word.parse().unwrap())
        };
        match words.next().unwrap() {
            "ranges" => ranges = RangeDeletes::new(words.map(range_delete).collect()),
            "damaged" => untouchable = words.map(|id| id.parse().unwrap()).collect(),
            "snapshot" => oldest_snapshot = number(&mut words).unwrap(),
            "now" => now_ms = number(&mut words).unwrap(),
            "idle" => idle = true,
            level => owned[level[1..].parse::<usize>().unwrap()] = words.map(table).collect(),
        }
    }
    let levels = std::array::from_fn(|level| owned[level].iter().collect());
    let untouchable = &untouchable;
    then(&View { levels, untouchable, ranges: &ranges, oldest_snapshot, now_ms, idle })
}

/// Tables of one unit, two sublevels start a merge.
const POLICY: Leveled = Leveled { level0_sublevels: 2, table_bytes: 1 };

fn show(plan: Option<Plan>) -> String {
    let Some(plan) = plan else { return "nothing".into() };
    let verb = match plan.work {
        Work::Merge => "merge",
        Work::Move => "move",
        Work::Drop => return format!("drop {:?}", plan.inputs),
    };
    let graves = if plan.drop_tombstones { ", no graves" } else { "" };
    format!("{verb} {:?} to L{}{graves}", plan.inputs, plan.output_level)
}

fn pick(view: &str) -> String {
    with_view(view, |view| show(POLICY.pick(view)))
}

/// Lines of one script.
fn lines(lines: &[&str]) -> String {
    lines.join("\n")
}

#[test]
fn level_0_waits_until_it_has_enough_sublevels() {
    assert_eq!(pick("L0 9:a..c"), "nothing");
    assert_eq!(pick("L0 9:d..f 8:a..c"), "nothing", "tables side by side are one sublevel");
    assert_eq!(pick("L0 9:c..f 8:a..c"), "merge {8, 9} to L6, no graves");
}

#[test]
fn what_only_snapshots_saw_is_given_back_once_the_oldest_has_passed() {
    let table = "L6 9:a..c*4@1-9^2 8:d..f";
    assert_eq!(pick(table), "merge {9} to L6, no graves", "no snapshot");
    assert_eq!(pick(&lines(&[table, "snapshot 3"])), "nothing", "most of it is protected");
    assert_eq!(pick(&lines(&[table, "snapshot 6"])), "merge {9} to L6, no graves");
    let rewritten = "L6 9:a..c*4@1-9!6^2";
    assert_eq!(pick(&lines(&[rewritten, "snapshot 6"])), "nothing", "a rewrite left it");
    assert_eq!(pick(&lines(&[rewritten, "snapshot 8"])), "merge {9} to L6, no graves");
    let little = "L6 9:a..c*8@1-9^2";
    assert_eq!(pick(little), "nothing");
    assert_eq!(pick(&lines(&[little, "idle"])), "merge {9} to L6, no graves");
    assert_eq!(pick("L5 9:a..c*4@1-9^2\nL6 8:b..d"), "merge {8, 9} to L6, no graves");
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
    let plan = with_view(levels, |view| Plan::merge(view, view.levels[4].iter().copied(), 5));
    assert_eq!(show(plan), "merge {5} to L5");
}

#[test]
fn damage_is_left_alone_and_work_goes_on_beside_it() {
    let levels = "L5 5:a..b*9 6:d..e*9\nL6 1:a..c*30 2:d..f*40";
    assert_eq!(pick(levels), "merge {1, 5} to L6, no graves");
    assert_eq!(pick(&lines(&[levels, "damaged 1"])), "merge {2, 6} to L6, no graves");
    assert_eq!(pick(&lines(&[levels, "damaged 1 6"])), "nothing");
    let flushed = "L0 9:a..c 8:x..z 7:a..c 6:x..z";
    assert_eq!(pick(&lines(&[flushed, "damaged 6"])), "merge {7, 9} to L6, no graves");
}

#[test]
fn everything_goes_to_the_last_level_once() {
    let everything = |view: &str| with_view(view, |view| show(pick_everything(view)));
    let levels = "L0 9:a..b\nL3 8:x..z\nL6 1:a..a 5:m..n 2:zz..zz";
    assert_eq!(everything(levels), "merge {1, 5, 8, 9} to L6, no graves");
    assert_eq!(everything("L6 1:a..b 2:c..d"), "nothing");
    assert_eq!(everything(&lines(&[levels, "damaged 5"])), "nothing");
}

fn pick_between(view: &str, start: &str, end: &str) -> String {
    let end = (!end.is_empty()).then_some(end.as_bytes());
    with_view(view, |view| show(pick_range(view, start.as_bytes(), end)))
}

#[test]
fn a_range_that_is_asked_for_takes_along_what_is_older() {
    let levels = "L0 9:a..c 8:x..z 7:c..e\nL3 6:e..g 5:p..q\nL6 1:a..b 2:g..h 3:p..s";
    // 9 overlaps 7, which overlaps 6, which overlaps 2. What is newer and above may stay.
    assert_eq!(pick_between(levels, "a", "b"), "merge {1, 2, 6, 7, 9} to L6, no graves");
    assert_eq!(pick_between(levels, "f", "g"), "merge {2, 6} to L6, no graves");
    assert_eq!(pick_between(levels, "p", "p"), "nothing", "the end is not included");
    assert_eq!(pick_between(levels, "q", "r"), "merge {3, 5} to L6, no graves");
    assert_eq!(pick_between(levels, "t", ""), "move {8} to L6, no graves");
    assert_eq!(pick_between(levels, "i", "o"), "nothing");
}

#[test]
fn a_range_that_is_asked_for_is_rewritten_until_it_is_clean() {
    let range = |view: &str| pick_between(view, "c", "p");
    let levels = "L6 1:a..b/8 2:c..d 3:e..f/1 4:g..h~50 5:i..j 6:q..r/8";
    assert_eq!(range(levels), "merge {3} to L6, no graves", "however few graves there are");
    let levels = "L6 2:c..d 4:g..h~50 5:i..j\nranges b..d@3 i..iz@6";
    assert_eq!(range(levels), "merge {2} to L6, no graves", "part of it is covered");
    let purged = "L6 2:c..d!6 4:g..h~50 5:i..j!6\nranges b..d@3 i..iz@6";
    assert_eq!(range(purged), "nothing");
    assert_eq!(range(&lines(&[purged, "now 50"])), "merge {4} to L6, no graves");
    let covered = "L5 5:d..e\nL6 2:c..d\nranges b..x@6";
    assert_eq!(range(covered), "drop {2, 5}");
}

#[test]
fn what_snapshots_protect_is_not_asked_for_again() {
    let range = |view: &str| pick_between(view, "", "");
    let levels = "L6 5:a..b/1@20-30!25";
    assert_eq!(range(&lines(&[levels, "snapshot 25"])), "nothing");
    assert_eq!(range(&lines(&[levels, "snapshot 26"])), "merge {5} to L6, no graves");
    assert_eq!(range("L6 5:a..b/1@20-30!0\nsnapshot 19"), "nothing");
    assert_eq!(range("L6 5:a..b@20-30~9\nnow 10\nsnapshot 29"), "nothing");
    assert_eq!(range("L6 5:a..b@20-30\nranges a..b@25\nsnapshot 24"), "nothing");
}

#[test]
fn tombstones_of_the_last_level_wait_for_their_snapshots() {
    let at = |snapshot: u64| pick(&format!("L6 5:a..b/4@21-40!10\nsnapshot {snapshot}"));
    assert_eq!(at(29), "nothing", "fewer than half of the numbers are free");
    assert_eq!(at(30), "merge {5} to L6, no graves");
    // What that left is purged to 30: only the numbers from there on count.
    let at = |snapshot: u64| pick(&format!("L6 5:a..b/4@21-40!30\nsnapshot {snapshot}"));
    assert_eq!([at(30), at(34)], ["nothing", "nothing"]);
    assert_eq!(at(35), "merge {5} to L6, no graves");
    // Further up they go down whenever some are free.
    let at =
        |snapshot: u64| pick(&format!("L5 5:a..b/4@21-40!30\nL6 1:x..z*90\nsnapshot {snapshot}"));
    assert_eq!([at(20), at(21)], ["nothing", "merge {5} to L6, no graves"]);
}

#[test]
fn what_has_expired_is_merged_down_when_it_is_time() {
    let levels = "L0 9:a..b~5\nL4 5:a..b@3-7~100\nL6 2:d..e@3-7~80 1:p..q*900";
    assert_eq!(pick(&lines(&[levels, "now 79"])), "nothing", "level 0 is not at rest");
    assert_eq!(pick(&lines(&[levels, "now 80"])), "merge {2} to L6, no graves");
    assert_eq!(pick(&lines(&[levels, "now 80", "snapshot 6"])), "nothing");
    assert_eq!(pick(&lines(&[levels, "now 100", "snapshot 6"])), "move {5} to L5, no graves");
    assert_eq!(pick(&lines(&[levels, "now 100", "snapshot 2"])), "nothing");
    let next = |now: &str| with_view(&lines(&[levels, now]), |view| POLICY.next_look_ms(view));
    assert_eq!([next("now 0"), next("now 5"), next("now 80")], [Some(5), Some(80), Some(100)]);
    assert_eq!(next("now 100"), None);
}

#[test]
fn tables_that_a_range_delete_covers_are_dropped_before_anything_else() {
    let levels = "L0 9:a..b 8:a..c 7:b..c\nL5 6:c..d\nL6 1:b..c 2:d..e";
    let with = |more: &[&str]| pick(&lines(&[&[levels], more].concat()));
    assert_eq!(with(&["ranges b..d@8"]), "drop {1, 7}", "6 reaches past it, 8 is too new");
    assert_eq!(with(&["ranges b..d@8", "damaged 1"]), "drop {7}");
    assert_eq!(with(&["ranges a..@20"]), "drop {1, 2, 6, 7, 8, 9}");
    let merge = "merge {1, 6, 7, 8, 9} to L5";
    assert_eq!(with(&["ranges b..d@8", "snapshot 7"]), merge.replace("1, ", ""));
}

#[test]
fn tables_that_a_range_delete_covers_in_part_are_purged_once() {
    let levels = "L5 5:a..c\nL6 1:a..b*90 2:d..f 3:g..h!9";
    let with = |more: &[&str]| pick(&lines(&[&[levels], more].concat()));
    let range = "ranges b..e@9 gg..h@8";
    assert_eq!(
        with(&[range]),
        "merge {1, 5} to L6, no graves",
        "what lies below is purged as well"
    );
    assert_eq!(with(&[range, "damaged 1"]), "merge {2} to L6, no graves");
    assert_eq!(with(&[range, "damaged 1 2"]), "nothing", "3 is purged");
    assert_eq!(with(&[range, "snapshot 7"]), "nothing", "a snapshot sees what it covers");
    assert_eq!(with(&["ranges b..e@1"]), "nothing", "nothing is older");
}

#[test]
fn a_range_delete_is_needed_by_tables_with_something_older() {
    let needless = |levels: &str| {
        let ranges = "ranges a..c@4 b..@6 x..z@8";
        with_view(&lines(&[levels, ranges]), |view| needless_ranges(&view.levels, view.ranges))
    };
    assert_eq!(needless("L0 9:a..z"), [4, 6, 8], "all is newer");
    assert_eq!(needless("L6 3:a..a"), [6, 8]);
    assert!(needless("L3 5:a..z@3-9").is_empty());
    assert_eq!(needless("L0 9:a..c@3-9!4\nL6 2:d..e!6"), [4, 8], "to the first 6 is unknown");
    assert_eq!(needless("L0 9:a..c@3-9!6\nL6 2:d..e!6"), [4, 6, 8]);
}

#[test]
fn rest_is_used_to_empty_the_levels_above_the_last() {
    let idle = |levels: &str| pick(&lines(&[levels, "idle"]));
    assert_eq!(idle("L0 9:a..c"), "move {9} to L6, no graves");
    assert_eq!(idle("L0 9:a..c\nL6 1:b..d*10"), "merge {1, 9} to L6, no graves", "entries count");
    let last = "L6 1:b..d*9 2:e..e 3:f..f 4:g..g 5:h..h 6:i..i 7:j..j 8:k..k 10:l..l";
    assert_eq!(idle(&lines(&["L0 90:b..c", last])), "merge {1, 90} to L6, no graves");
    let last = format!("{last} 11:m..m").replace("*9", "*99");
    assert_eq!(idle(&lines(&["L0 90:b..c", &last])), "nothing", "a tenth may stay");
    assert_eq!(idle(&lines(&["L0 90:b..c*11", &last])), "move {90} to L5");
    // Level 5 has to give, for without it there would be no more than a tenth.
    let plan = idle(&lines(&["L0 90:b..c", "L5 80:e..e 81:g..h", &last]));
    assert_eq!(plan, "merge {2, 80} to L6, no graves");
}

#[test]
fn rest_is_used_to_tidy_level_0_in_its_place() {
    const POLICY: Leveled = Leveled { level0_sublevels: 4, table_bytes: 1 };
    let last: Vec<String> = (1..60).map(|id| format!("{id}:k{id:02}..k{id:02}*90")).collect();
    let last = format!("L6 {}", last.join(" "));
    let idle = |more: &[&str]| {
        let text = lines(&[&["idle", &last], more].concat());
        with_view(&text, |view| show(POLICY.pick(view)))
    };
    assert_eq!(idle(&["L0 93:p..q 92:k..l 91:a..m"]), "merge {91, 92} to L0");
    assert_eq!(idle(&["L0 93:p..q 92:k..l 91:a..j"]), "nothing");
    let untidy = ["L0 93:p..q 92:k..l 91:a..j", "ranges l..pa@95"];
    assert_eq!(idle(&untidy), "merge {92} to L0");
    assert_eq!(idle(&["L0 93:p..q!95 92:k..l!95 91:a..j", untidy[1]]), "nothing");
}
