//! The samples are what they should be, slices of a pass hold, and the judge finds what it is there for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::damage::{Damaged, Place, blocks_of, kind};
use super::shelf::{Files, Shelf};
use super::*;
use crate::campaign::Campaign;
use crate::campaign::world::{Standing, world};
use crate::engine::Engine;
use crate::engine::storage::Storage as _;

fn bench(name: &str) -> &'static Bench {
    benches().unwrap().iter().find(|bench| bench.sample.name == name).unwrap()
}

#[test]
fn samples_are_the_same_each_time() {
    for (once, again) in benches().unwrap().iter().zip(sample::all().unwrap()) {
        assert_eq!(once.sample.files, again.files);
        assert_eq!((&once.sample.state, &once.sample.keys), (&again.state, &again.keys));
    }
}

#[test]
fn samples_have_every_kind_of_content() {
    let mut compressions = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    let mut most_blocks = 0;
    for bench in benches().unwrap() {
        for (name, bytes) in &bench.sample.files {
            kinds.insert(kind(name));
            let Some(id) = name.strip_suffix(".sst") else { continue };
            let blocks = blocks_of(id.parse().unwrap(), bytes);
            assert_eq!(blocks.last().unwrap().end, bytes.len() - 72, "{name}");
            compressions.extend(blocks.iter().map(|block| bytes[block.end - 5]));
            most_blocks = most_blocks.max(blocks.len());
        }
    }
    assert_eq!(kinds, BTreeSet::from(["CURRENT", "log", "manifest", "other", "table"]));
    assert_eq!(compressions, BTreeSet::from([0, 1, 2]));
    assert!(most_blocks >= 5 + 2 + 3, "no index of several blocks: {most_blocks}");
    let killed = &bench("killed").sample;
    assert!(killed.unsealed.is_some() && killed.state.contains_key(&b"large"[..]));
    assert!(killed.earlier.iter().any(|(name, _)| kind(name) == "manifest"));
    assert!(killed.files.keys().filter(|name| kind(name) == "log").count() >= 3);
    assert!(bench("sealed").sample.state.len() > 4);
}

#[test]
fn a_slice_of_a_pass_loses_nothing() {
    let mut outcomes = BTreeSet::new();
    for number in (0..total()).step_by(2_003) {
        outcomes.extend(judge_number(number).unwrap());
    }
    let all = [Outcome::Refused, Outcome::Told, Outcome::Right, Outcome::Dropped];
    assert_eq!(outcomes, BTreeSet::from(all));
}

#[test]
fn no_damage_of_whole_files_loses_anything() {
    let mut judged = 0;
    for bench in benches().unwrap() {
        for damage in damage::whole_files(&bench.sample) {
            judged += u64::from(bench.judge(&damage).unwrap().is_some());
        }
    }
    assert!(judged > 300, "{judged}");
}

#[test]
fn a_case_counts_what_it_judged() {
    let campaign = Campaign::for_tests();
    let pass = Flips.pass().unwrap();
    for seed in [0, pass / 2, pass - 1] {
        Flips.run(&Case::alone(seed, &campaign)).unwrap();
    }
    let counted = campaign.tally.get(Count::Flips);
    assert!(counted > 256 && counted <= 3 * 256, "{counted}");
}

#[test]
fn every_damage_has_one_number() {
    let plan = &bench("copy").plan;
    let places = |damage: &Damage| format!("{damage:?}");
    let numbered = (0..plan.len()).map(|at| places(&plan.damage(at).unwrap()));
    assert_eq!(numbered.collect::<BTreeSet<_>>().len(), plan.len());
    assert!(plan.damage(plan.len()).is_none());
}

/// What `bench` holds after somebody has changed it in an orderly way, as if `names` were damaged.
fn forged(bench: &Bench, names: &[&str], change: impl FnOnce(&Engine)) -> Damaged {
    let shelf = Shelf::new(&bench.sample.files);
    let environment = world(shelf.clone(), Standing::at(sample::LOOKED_AT_MS), 9);
    let (engine, _) = Engine::open(environment, sample::options()).unwrap();
    change(&engine);
    engine.close().unwrap();
    let read = |name: String| (name.clone(), Arc::new(shelf.read_from_device(&name).unwrap()));
    let files: Files = shelf.list().unwrap().into_iter().map(read).collect();
    Damaged { files, names: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn loss(bench: &Bench, damaged: &Damaged) -> String {
    let flip = Damage::Flip { file: 0, offset: 0, bit: 0 };
    judge(&bench.sample, &flip, damaged).unwrap_err()
}

#[test]
fn a_wrong_value_under_good_checksums_is_found() {
    let bench = bench("closed");
    let damaged = forged(bench, &[], |engine| engine.put(b"small-00", b"forged").unwrap());
    assert!(loss(bench, &damaged).starts_with("a wrong answer: get small-00"));
}

#[test]
fn a_silent_miss_is_found() {
    let bench = bench("closed");
    let damaged = forged(bench, &[], |engine| engine.delete(b"small-09").unwrap());
    assert!(loss(bench, &damaged).starts_with("a wrong answer: get small-09"));
}

#[test]
fn a_key_that_never_was_is_found() {
    let bench = bench("closed");
    // No lookup asks for it: only walks show it.
    let damaged = forged(bench, &[], |engine| engine.put(b"invented", b"").unwrap());
    assert!(loss(bench, &damaged).starts_with("a wrong or incomplete scan forward"));
}

#[test]
fn a_group_may_be_dropped_only_where_it_was_damaged() {
    let bench = bench("killed");
    let unsealed = bench.sample.unsealed.as_ref().unwrap();
    let file = bench.sample.files.keys().position(|name| *name == unsealed.file).unwrap();
    let place = Place { file, range: unsealed.range.clone() };
    let zeros = Place { file, range: unsealed.range.end.next_multiple_of(4096)..32 << 10 };
    let erased = Damage::Copy { from: zeros, to: place };
    let damaged = erased.apply(&bench.sample).unwrap();
    assert_eq!(judge(&bench.sample, &erased, &damaged), Ok(Outcome::Dropped));
    let start = unsealed.range.start;
    for elsewhere in [
        Damage::Flip { file, offset: start - 1, bit: 0 },
        Damage::Flip { file, offset: start, bit: 0 },
        Damage::Cut { file, bytes: start },
    ] {
        // The same bytes, and no torn tail to be told of.
        judge(&bench.sample, &elsewhere, &damaged).unwrap_err();
    }
}

#[test]
fn an_error_that_names_another_file_is_found() {
    let bench = bench("closed");
    let table = bench.sample.files.keys().position(|name| kind(name) == "table").unwrap();
    let damage = Damage::Flip { file: table, offset: 1, bit: 0 };
    let mut damaged = damage.apply(&bench.sample).unwrap();
    assert_eq!(judge(&bench.sample, &damage, &damaged), Ok(Outcome::Told));
    damaged.names = vec!["CURRENT".to_owned()];
    assert!(loss(bench, &damaged).contains("names another file"));
}
