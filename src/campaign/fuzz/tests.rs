//! What all targets have in common: kept inputs pass, fresh ones too, and failures are told.

use std::collections::BTreeSet;

use super::super::Campaign;
use super::*;

#[test]
fn every_kept_input_passes() {
    let mut inputs = 0;
    for target in TARGETS {
        let kept = inputs::kept(target.name);
        assert!(!kept.is_empty(), "no inputs of {} are kept", target.name);
        for input in kept {
            if let Err(what) = run(target.name, &input) {
                panic!("{}: {what}\n{}", target.name, input.escape_ascii());
            }
            inputs += 1;
        }
    }
    assert!(inputs >= 20 * TARGETS.len(), "only {inputs} inputs are kept");
}

/// Each target has a program for `cargo fuzz`, and no input is kept for what is no target.
#[test]
fn programs_and_directories_are_those_of_the_targets() {
    let [corpus, regressions] = inputs::directories("").map(|path| names(&path));
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/fuzz_targets");
    let programs = names(&home).iter().map(|name| name.replace(".rs", "")).collect();
    assert_eq!(targets, programs);
    assert_eq!(targets, corpus);
    assert!(regressions.is_subset(&targets));
}

fn names(directory: &std::path::Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_case_judges_its_batch() {
    let campaign = Campaign::for_tests();
    for seed in 0..TARGETS.len() as u64 {
        assert_eq!(Fuzz.run(&Case::alone(seed, &campaign)), Ok(()), "{seed}");
    }
    let batches: u64 = TARGETS.iter().map(|target| target.batch).sum();
    assert_eq!(campaign.tally.get(Count::Inputs), batches);
    assert!(campaign.tally.get(Count::Operations) > 100);
}

#[test]
fn inputs_that_are_missing_are_told() {
    assert_eq!(Fuzz.remarks(), None, "here they are all kept");
    assert!(remark(&["glob", "dump"]).unwrap().starts_with("no inputs of glob, dump are kept"));
    let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let told = remark(&all).unwrap();
    assert!(told.starts_with("no inputs of any target") && told.contains("tests/fuzz"), "{told}");
}

#[test]
fn a_failure_shows_its_input_reduced() {
    fn check(input: &[u8]) -> Result<u64, String> {
        if input.contains(&0xab) { Err("it is there".to_owned()) } else { Ok(0) }
    }
    let target = Target { name: "one", check, batch: 1, words: &[] };
    let told = failure(&target, &[1, 2, 0xab, 3]);
    assert_eq!(told, "one: it is there\ninput: ab");
    assert!(run("none", b"").is_err());
}
