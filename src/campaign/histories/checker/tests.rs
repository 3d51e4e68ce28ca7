//! Histories that are known to be linearizable, and some that are not.

use std::collections::BTreeMap;

use super::super::operation::{Action, Outcome};
use super::*;
use crate::engine::storage::sim::Random;

fn operation(interval: (u64, u64), action: Action, outcome: Outcome) -> Operation {
    Operation { client: 0, action, invoked: interval.0, returned: interval.1, outcome }
}

fn set(interval: (u64, u64), value: &str) -> Operation {
    operation(interval, Action::Set(value.into()), Outcome::Done)
}

/// A write that nobody saw answered until the server was gone.
fn lost(interval: (u64, u64), value: &str) -> Operation {
    operation(interval, Action::Set(value.into()), Outcome::Unknown)
}

fn get(interval: (u64, u64), value: &str) -> Operation {
    let value = (!value.is_empty()).then(|| value.into());
    operation(interval, Action::Get, Outcome::Value(value))
}

fn increment(interval: (u64, u64), number: i64) -> Operation {
    operation(interval, Action::Increment, Outcome::Number(number))
}

#[track_caller]
fn accept(history: &[Operation]) {
    assert_eq!(check(&None, history), Ok(()));
}

#[track_caller]
fn reject(history: &[Operation]) {
    check(&None, history).unwrap_err();
}

#[test]
fn one_after_the_other_is_as_on_one_thread() {
    accept(&[set((1, 2), "a"), get((3, 4), "a"), set((5, 6), "b"), get((7, 8), "b")]);
    reject(&[set((1, 2), "a"), set((3, 4), "b"), get((5, 6), "a")]);
    reject(&[get((1, 2), "a"), set((3, 4), "a")]);
}

#[test]
fn what_overlaps_may_come_in_any_order_but_one() {
    accept(&[set((1, 9), "a"), get((2, 3), ""), get((4, 5), "a")]);
    reject(&[set((1, 9), "a"), get((2, 3), "a"), get((4, 5), "")]);
    // Two readers that disagree on the order of two writes.
    let writes = [set((1, 20), "a"), set((2, 21), "b")];
    let reads = |first: &str, second: &str| {
        [get((3, 4), first), get((5, 6), second)].into_iter().chain(writes.clone())
    };
    accept(&reads("a", "b").collect::<Vec<_>>());
    reject(&reads("a", "b").chain([get((7, 8), "a")]).collect::<Vec<_>>());
}

#[test]
fn lost_updates_are_found() {
    accept(&[increment((1, 10), 2), increment((2, 11), 1), get((12, 13), "2")]);
    reject(&[increment((1, 10), 1), increment((2, 11), 1)]);
    let compare = |interval, done| {
        let action = Action::CompareAndSet { expected: "a".into(), value: "b".into() };
        operation(interval, action, Outcome::Number(done))
    };
    accept(&[set((1, 2), "a"), compare((3, 10), 1), compare((4, 11), 0)]);
    reject(&[set((1, 2), "a"), compare((3, 10), 1), compare((4, 11), 1)]);
}

#[test]
fn what_nobody_saw_answered_shows_up_or_not_but_once_and_before_the_kill() {
    for (first, second, is_right) in
        [("", "", true), ("a", "a", true), ("", "a", false), ("a", "", false)]
    {
        let history = [lost((1, 10), "a"), get((11, 12), first), get((13, 14), second)];
        assert_eq!(check(&None, &history).is_ok(), is_right, "{first}, {second}");
    }
    // It was shown, so it survives.
    reject(&[lost((1, 10), "a"), get((2, 3), "a"), get((11, 12), "")]);
    accept(&[lost((1, 10), "a"), get((2, 3), "a"), get((11, 12), "a")]);
    // It takes effect late, but not after the kill.
    accept(&[lost((1, 10), "a"), set((2, 3), "b"), get((11, 12), "a")]);
    reject(&[lost((1, 10), "a"), set((11, 12), "b"), get((13, 14), "a")]);
}

#[test]
fn a_delete_that_says_little_may_come_late() {
    let delete = operation((3, 20), Action::Delete, Outcome::Done);
    accept(&[get((1, 2), ""), delete, get((4, 5), ""), set((6, 7), "a"), get((8, 9), "")]);
}

#[test]
fn many_that_nobody_saw_answered_cost_little() {
    let names: Vec<String> = (0..20).map(|n| format!("{n}")).collect();
    let mut history: Vec<Operation> = (1..).zip(&names).map(|(at, n)| lost((at, 90), n)).collect();
    let append = |at| operation((at, 90), Action::Append("+".into()), Outcome::Unknown);
    history.extend((30..50).map(append));
    history.push(get((91, 92), "7+++"));
    accept(&history);
    history.push(get((93, 94), "7++++"));
    reject(&history);
}

#[test]
fn each_action_answers_as_it_must() {
    let known = |action, outcome| operation((3, 4), action, outcome);
    let after = |operation: Operation, value: &str| {
        check(&None, &[set((1, 2), "a"), operation, get((5, 6), value)])
    };
    let value = |value: &str| Outcome::Value(Some(value.into()));
    for (action, outcome, left) in [
        (Action::Delete, Outcome::Number(1), ""),
        (Action::Delete, Outcome::Done, ""),
        (Action::Exchange("b".into()), value("a"), "b"),
        (Action::Take, value("a"), ""),
        (Action::SetIfMissing("b".into()), Outcome::Number(0), "a"),
        (Action::Append("b".into()), Outcome::Number(2), "ab"),
    ] {
        assert_eq!(after(known(action.clone(), outcome), left), Ok(()), "{action:?}");
        assert!(after(known(action.clone(), Outcome::Number(7)), left).is_err(), "{action:?}");
        assert!(after(known(action.clone(), Outcome::Unknown), "c").is_err(), "{action:?}");
    }
}

#[test]
fn the_message_shows_what_cannot_be_and_what_was_before() {
    let mut history: Vec<Operation> = (0..100).map(|n| set((2 * n + 1, 2 * n + 2), "x")).collect();
    history.extend([set((301, 310), "y"), get((302, 303), "z"), set((304, 305), "later")]);
    let told = check(&None, &history).unwrap_err();
    assert!(told.contains("nothing explains client 0 [302..303] GET key -> \"z\""), "{told}");
    assert!(told.contains("there was x") && told.contains("SET key y -> done (open)"), "{told}");
    assert!(!told.contains("later"), "{told}");
}

/// A history of a real register: each operation takes effect at a moment, and is open around it.
fn random_history(random: &mut Random, count: u64) -> Vec<Operation> {
    let mut moments = BTreeMap::new();
    let mut state: State = None;
    for n in 0..count {
        let value = format!("{n}").into_bytes();
        let action = match random.below(9) {
            0..3 => Action::Get,
            3 => Action::Set(value),
            4 => Action::Exchange(value),
            5 => Action::Append(value),
            6 => Action::SetIfMissing(value),
            7 => Action::Take,
            _ => {
                let expected = state.clone().filter(|_| random.coin()).unwrap_or_default();
                Action::CompareAndSet { expected, value }
            }
        };
        let at = 100 * (n + 1);
        let (from, to) = (at - random.below(400).min(at), at + 1 + random.below(400));
        let unknown = operation((from, to), action, Outcome::Unknown);
        let (after, outcome) = unknown.action.apply(&state);
        state = after;
        // Now and then the answer is not seen.
        let outcome = if random.one_in(20) { Outcome::Unknown } else { outcome };
        moments.insert(from * 1_000 + n, Operation { outcome, ..unknown });
    }
    moments.into_values().collect()
}

#[test]
fn what_a_register_did_is_accepted_and_what_it_did_not_is_not() {
    let (mut spoiled, mut found) = (0, 0);
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut history = random_history(&mut random, 300);
        assert_eq!(check(&None, &history), Ok(()), "seed {seed}");
        // An answer that another read gave, at a random place.
        let values: Vec<Outcome> = history
            .iter()
            .filter(|operation| matches!(operation.outcome, Outcome::Value(_)))
            .map(|operation| operation.outcome.clone())
            .collect();
        let other = values[random.below(values.len() as u64) as usize].clone();
        let at = random.below(history.len() as u64) as usize;
        let hit = history[at..].iter_mut().find(|o| matches!(o.outcome, Outcome::Value(_)));
        if let Some(hit) = hit.filter(|hit| hit.outcome != other) {
            hit.outcome = other;
            spoiled += 1;
            found += u32::from(check(&None, &history).is_err());
        }
    }
    assert!(spoiled > 80 && found * 10 > spoiled * 9, "{found} of {spoiled}");
}
