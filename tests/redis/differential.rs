//! The same seeded streams of commands to Chronos and to a `redis-server`, compared reply by reply.
//!
//! A difference is reduced to few commands before it is shown.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::allowed::same;
use crate::grammar::Generator;
use crate::servers;
use crate::session::{Action, Outcome, Session, Step};
use crate::subjects::{SUBJECTS, Subject};
use crate::wire::{Wire, args, readable};
use chronos::engine::storage::sim::Random;

/// Commands of a seed.
const STEPS: usize = 250;
/// Seeds of a subject, unless the environment asks for another number.
const SEEDS: u64 = 12;

/// How long to look for a shorter list of commands.
const REDUCTION: Duration = Duration::from_secs(20);

/// The servers that are compared.
pub(crate) struct Pair {
    reference: servers::Running,
    chronos: servers::Running,
}

/// A step in which they differ.
struct Difference {
    step: usize,
    report: String,
}

impl Pair {
    /// `None` where there is nothing to compare with.
    pub(crate) fn start() -> Option<Self> {
        Some(Pair { reference: servers::reference()?, chronos: servers::chronos() })
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        [self.reference.address, self.chronos.address]
    }

    /// Takes the steps on both, and fails with few commands if the servers differ.
    pub(crate) fn compare(&self, what: &str, steps: &[Step], resp3: bool) {
        let Some(found) = self.difference(steps, resp3) else { return };
        let few = self.reduce(steps[..=found.step].to_vec(), resp3);
        // What depends on time may be gone when it is taken again.
        let report = self.difference(&few, resp3).map_or(found.report, |again| again.report);
        let few: Vec<String> = few.iter().map(describe).collect();
        let protocol = if resp3 { 3 } else { 2 };
        panic!("{what}, RESP{protocol}:\n{}\n{report}", few.join("\n"));
    }

    fn difference(&self, steps: &[Step], resp3: bool) -> Option<Difference> {
        let count = 1 + steps.iter().map(|step| step.connection).max().unwrap_or(0);
        let mut sessions = self.addresses().map(|address| Session::start(address, count, resp3));
        let mut found = None;
        for (at, step) in steps.iter().enumerate() {
            let [reference, chronos] = sessions.each_mut().map(|session| session.take(step));
            if !same(step, &reference, &chronos) {
                let sides = [("redis  ", reference), ("chronos", chronos)];
                let report = sides.map(|(name, outcome)| show(name, &outcome)).join("\n");
                found = Some(Difference { step: at, report });
                break;
            }
        }
        sessions.into_iter().for_each(Session::finish);
        found
    }

    /// Leaves out steps as long as the servers still differ.
    fn reduce(&self, mut steps: Vec<Step>, resp3: bool) -> Vec<Step> {
        let start = Instant::now();
        let mut chunk = steps.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            while at < steps.len() && start.elapsed() < REDUCTION {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + chunk).min(steps.len()));
                match self.difference(&fewer, resp3) {
                    Some(found) => {
                        fewer.truncate(found.step + 1);
                        steps = fewer;
                    }
                    None => at += chunk,
                }
            }
            chunk /= 2;
        }
        steps
    }
}

fn describe(step: &Step) -> String {
    let command = |args: &Vec<Vec<u8>>| {
        let words = args.iter().map(|arg| format!("\"{}\"", readable(arg)));
        words.collect::<Vec<_>>().join(" ")
    };
    let action = match &step.action {
        Action::Command(args) => command(args),
        Action::Pipeline(all) => all.iter().map(command).collect::<Vec<_>>().join(" ; "),
        Action::Raw(bytes) => format!("raw {}", readable(bytes)),
        Action::Scan(options) => format!("SCAN all {}", command(options)),
        Action::Pause(time) => format!("pause {time:?}"),
    };
    format!("  [{}] {action}", step.connection)
}

fn show(name: &str, outcome: &Outcome) -> String {
    let list = |frames: &[Vec<u8>]| {
        frames.iter().map(|frame| readable(frame)).collect::<Vec<_>>().join(" , ")
    };
    let mut shown = format!("{name}: {}", list(&outcome.replies));
    for messages in outcome.messages.iter().filter(|messages| !messages.is_empty()) {
        write!(shown, "\n         messages: {}", list(messages)).unwrap();
    }
    if let Some(end) = outcome.end {
        write!(shown, " ({end})").unwrap();
    }
    shown
}

/// What stands behind `~` in templates: more than one command, or less.
fn special(generator: &mut Generator, template: &str) -> Action {
    const PLAIN: &[&str] = &["!GET <key>", "!SET <key> <value>", "!PING", "!NOSUCH", "!INCR <key>"];
    let mut plain = |count: usize| {
        let templates: Vec<&str> = (0..count).map(|_| generator.one_of(PLAIN)).collect();
        templates.iter().map(|template| generator.command(template)).collect::<Vec<_>>()
    };
    match template {
        "PIPELINE" => Action::Pipeline(plain(5)),
        "SILENCE" => {
            let mut all = plain(3);
            all.insert(0, args(&["CLIENT", "REPLY", "OFF"]));
            all.push(args(&["CLIENT", "REPLY", "ON"]));
            Action::Pipeline(all)
        }
        "SKIP" => {
            let mut all = plain(2);
            all.insert(0, args(&["CLIENT", "REPLY", "SKIP"]));
            if generator.random.one_in(2) {
                let skipped: &[&[&str]] = &[
                    &["CLIENT", "REPLY", "ON"],
                    &["CLIENT", "REPLY", "SKIP"],
                    &["CLIENT", "REPLY", "x"],
                    &["RESET"],
                    &["NOSUCH"],
                    &["DBSIZE"],
                ];
                all.insert(1, args(generator.one_of(skipped)));
            }
            Action::Pipeline(all)
        }
        "INLINE" => {
            let lines: &[&[u8]] = &[
                b"PING\r\n",
                b"PING\n",
                b"\r\n",
                b"  ping   \"a b\" \r\n",
                b"SET a 'it\\'s'\r\n",
                b"SET b \"\\x00\\n\\\"\"\r\nGET b\r\n",
                b"GET\r\n",
                b"nosuch x\r\n",
                b"*0\r\n",
                b"*-1\r\n",
                b"ECHO a\tb\r\n",
            ];
            Action::Raw(generator.one_of(lines).to_vec())
        }
        options => {
            let mut options = generator.command(&format!("!{options}"));
            options.remove(0);
            Action::Scan(options)
        }
    }
}

/// The steps of a seed.
fn steps(subject: &Subject, seed: u64) -> Vec<Step> {
    let mut generator = Generator { random: Random(seed) };
    let templates = subject.templates.concat();
    let step = |_| {
        let template = generator.one_of(&templates);
        let action = match template.strip_prefix("!~") {
            Some(special_one) => special(&mut generator, special_one),
            None => Action::Command(generator.command(template)),
        };
        let connection = generator.random.below(subject.connections as u64) as usize;
        Step { connection, action }
    };
    (0..STEPS).map(step).collect()
}

fn compare_subject(name: &str) {
    let subject = SUBJECTS.iter().find(|subject| subject.name == name).unwrap();
    let Some(pair) = Pair::start() else { return };
    let asked = std::env::var("CHRONOS_DIFFERENTIAL_SEEDS").ok();
    for seed in 0..asked.map_or(SEEDS, |seeds| seeds.parse().unwrap()) {
        let steps = steps(subject, seed);
        for resp3 in [false, true] {
            pair.compare(&format!("{name}, seed {seed}"), &steps, resp3);
        }
    }
}

#[test]
fn strings() {
    compare_subject("strings");
}

#[test]
fn bits() {
    compare_subject("bits");
}

#[test]
fn keys() {
    compare_subject("keys");
}

#[test]
fn transactions() {
    compare_subject("transactions");
}

#[test]
fn connection() {
    compare_subject("connection");
}

#[test]
fn pubsub() {
    compare_subject("pubsub");
}

#[test]
fn notifications() {
    compare_subject("notifications");
}

#[test]
fn everything() {
    compare_subject("everything");
}

#[test]
fn every_subject_is_compared() {
    let source = include_str!("differential.rs");
    for subject in SUBJECTS {
        assert!(source.contains(&format!("compare_subject(\"{}\")", subject.name)));
    }
}

#[test]
fn a_difference_is_found_and_reduced() {
    let Some((reference, chronos)) = servers::reference().zip(servers::reference()) else { return };
    let pair = Pair { reference, chronos };
    let mut wire = Wire::connect(pair.chronos.address);
    assert_eq!(wire.ask(&["CONFIG", "SET", "maxmemory", "100000000"]), b"+OK\r\n");
    let subject = SUBJECTS.iter().find(|subject| subject.name == "strings").unwrap();
    let mut steps = steps(subject, 1);
    assert!(pair.difference(&steps, false).is_none());
    let action = Action::Command(args(&["CONFIG", "GET", "maxmemory"]));
    steps.insert(100, Step { connection: 0, action });
    let found = pair.difference(&steps, false).unwrap();
    assert_eq!(found.step, 100);
    assert!(found.report.contains("100000000"), "{}", found.report);
    let few = pair.reduce(steps[..=found.step].to_vec(), false);
    let few: Vec<String> = few.iter().map(describe).collect();
    assert_eq!(few, ["  [0] \"CONFIG\" \"GET\" \"maxmemory\""]);
}

#[test]
fn a_random_key_is_one_of_the_keys() {
    let Some(pair) = Pair::start() else { return };
    for address in pair.addresses() {
        let mut wire = Wire::connect(address);
        wire.ask(&["MSET", "one", "1", "two", "2", "three", "3"]);
        wire.ask(&["DEL", "two"]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            seen.insert(String::from_utf8(wire.ask(&["RANDOMKEY"])).unwrap());
        }
        let keys = ["$3\r\none\r\n", "$5\r\nthree\r\n"].map(str::to_owned);
        assert_eq!(seen, keys.into());
    }
}
