//! Fuzzing: everything that reads bytes of others, given bytes of any kind.
//!
//! A target is a function from bytes to a judgement. `cargo fuzz` runs it from `tests/fuzz`, looking
//! for inputs that reach new code; the campaign's part `fuzz` runs it on changes of the inputs that
//! were kept; a test runs all that are kept. `docs/fuzzing.md` tells how.
//!
//! A target must not take what the code under test says for the truth: what it expects comes from a
//! naive version written from the documents, from the input itself, or from a law that holds for
//! every input. Nor may it expect that a damaged checksum is found where the input could have
//! corrected it: damage is of kinds that a checksum finds for certain, or is forged and then not
//! judged by its outcome.

mod directory;
mod forge;
mod inputs;
mod journals;
mod naive_journal;
mod naive_resp;
mod naive_text;
mod operations;
mod replies;
mod requests;
mod source;
mod tables;
mod values;

use std::fmt::Write as _;

use super::{Case, Count, Part};
use crate::engine::storage::sim::Random;

/// A function to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called: also the names of its program and of the directories of its inputs.
    pub name: &'static str,
    /// Judges an input; how many operations were compared with what they had to do.
    check: fn(&[u8]) -> Result<u64, String>,
    /// How many inputs take about a second in a development build.
    batch: u64,
    /// What inputs are made of.
    words: &'static [&'static [u8]],
}

/// Words of requests.
const REQUESTS: &[&[u8]] = &[
    b"SET ",
    b"GET ",
    b"CLIENT ",
    b"getname",
    b"PING",
    b"\n",
    b"\r\n",
    b"*2\r\n",
    b"*1\r\n",
    b"*0\r\n",
    b"$3\r\nGET\r\n",
    b"$1\r\nk\r\n",
    b"$0\r\n\r\n",
    b"*",
    b"$",
    b"\"",
    b"'",
    b"\\x41",
    b"\\\"",
    b" HTTP/1.1\r\n",
    b"Host:",
    b"MSET a b ",
    b"*-1\r\n",
];
/// Words of replies.
const REPLIES: &[&[u8]] = &[
    b"*2\r\n",
    b"%1\r\n",
    b"~1\r\n",
    b">1\r\n",
    b"|1\r\n",
    b"$?\r\n",
    b";1\r\na\r\n",
    b";0\r\n",
    b"+OK\r\n",
    b":1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"(12\r\n",
    b"=5\r\ntxt:a\r\n",
    b"*?\r\n",
    b".\r\n",
    b"LIST 2\n",
    b"TEXT 3\n",
    b"ERR x\n",
    b"$-1\r\n",
];
const GLOBS: &[&[u8]] = &[b"*", b"?", b"[a-z]", b"[^", b"]", b"\\", b"[", b"-", b"abc", b"a"];
const NUMBERS: &[&[u8]] = &[
    b"-",
    b"9223372036854775807",
    b"0x1p-3",
    b"1e",
    b"4940",
    b".",
    b"inf",
    b"0",
    b"17",
    b"\"",
    b"\\",
];
const EDITS: &[&[u8]] =
    &[b"\x01\x00", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06\x01\x01a", b"\x07", b"\xff\x01"];
const JOURNALS: &[&[u8]] = &[b"CHRNSJNL\x01\0\0\0\x01\0\0\0", b"CGRP\x01\0\0\0"];
const TABLES: &[&[u8]] = &[
    b"\0\0\0\0\x01\0\0\0",
    b"\x06\x01",
    b"CHRNTABL",
    b"\x0bentry_count\x01\x01",
    b"\x07max_seq\x01\x01",
];

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "text", check: requests::check_text, batch: 3000, words: REQUESTS },
    Target { name: "resp", check: requests::check_resp, batch: 3000, words: REQUESTS },
    Target { name: "replies", check: replies::check, batch: 10_000, words: REPLIES },
    Target { name: "client", check: replies::check_client, batch: 10_000, words: REPLIES },
    Target { name: "journal", check: journals::check, batch: 2000, words: JOURNALS },
    Target {
        name: "records",
        check: journals::check_records,
        batch: 20_000,
        words: &[b"\x01\x01\x01ab"],
    },
    Target { name: "edit", check: journals::check_edit, batch: 20_000, words: EDITS },
    Target { name: "block", check: tables::check_block, batch: 5000, words: TABLES },
    Target { name: "stored", check: tables::check_stored, batch: 3000, words: TABLES },
    Target { name: "filter", check: tables::check_filter, batch: 5000, words: TABLES },
    Target { name: "footer", check: tables::check_footer, batch: 20_000, words: TABLES },
    Target { name: "dump", check: values::check_dump, batch: 20_000, words: &[b"CHRONOSV\x01"] },
    Target { name: "glob", check: values::check_glob, batch: 10_000, words: GLOBS },
    Target { name: "values", check: values::check, batch: 5000, words: NUMBERS },
    Target { name: "directory", check: directory::check, batch: 200, words: EDITS },
    Target { name: "operations", check: operations::check, batch: 100, words: &[] },
];

/// Has a target judge an input.
///
/// # Errors
/// What is wrong. There is no target of that name, or it has found a bug; a panic is one as well.
pub fn run(name: &str, input: &[u8]) -> Result<(), String> {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.ok_or_else(|| format!("there is no target {name}"))?;
    (target.check)(input).map(|_| ())
}

/// The part of the campaign: each case gives one target a batch of inputs.
pub(super) struct Fuzz;

impl Part for Fuzz {
    fn name(&self) -> &'static str {
        "fuzz"
    }

    fn share(&self) -> u32 {
        1
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let mut random = Random(case.seed);
        let target = TARGETS[(case.seed % TARGETS.len() as u64) as usize];
        let kept = inputs::kept(target.name);
        for _ in 0..target.batch {
            if case.is_over() {
                break;
            }
            let input = inputs::fresh(&kept, target.words, &mut random);
            let compared = (target.check)(&input).map_err(|_| failure(&target, &input))?;
            case.count(Count::Inputs, 1);
            case.count(Count::Operations, compared);
        }
        Ok(())
    }

    fn remarks(&self) -> Option<String> {
        let lacks = |target: &&Target| inputs::kept(target.name).is_empty();
        let lacking: Vec<&str> = TARGETS.iter().filter(lacks).map(|target| target.name).collect();
        remark(&lacking)
    }
}

/// What to say of targets of which no inputs are kept where this program looks for them.
fn remark(lacking: &[&str]) -> Option<String> {
    let all = lacking.len() == TARGETS.len();
    let of = if all { "any target".to_owned() } else { lacking.join(", ") };
    let [corpus, _] = inputs::directories("");
    let told = format!(
        "no inputs of {of} are kept in {}: theirs were made up, and reach less",
        corpus.display()
    );
    (!lacking.is_empty()).then_some(told)
}

/// What a failing input shows once it is reduced, and its bytes.
fn failure(target: &Target, input: &[u8]) -> String {
    let input = inputs::reduced(input, |input| (target.check)(input).is_err());
    let what = (target.check)(&input).err().unwrap_or_default();
    let mut told = format!("{}: {what}\ninput: ", target.name);
    for byte in input {
        // A string takes everything.
        let _ = write!(told, "{byte:02x}");
    }
    told
}

#[cfg(test)]
mod tests;
