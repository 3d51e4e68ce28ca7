//! Shows that the campaign finds bugs: each one of [`crate::planted`] in turn, in a process of its
//! own, is given to the parts until one of them reports a loss. The answer is a table in Markdown.
//!
//! A part that found one must find nothing without a bug, or its finds would mean nothing.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use clap::ValueEnum;

use super::PARTS;
use super::options::Options;
use crate::planted::Bug;

/// Tries each bug, or the one that is named; the last line.
pub(super) fn run(options: &Options, name: &str) -> Result<String, String> {
    let bugs: Vec<Bug> = match name {
        "all" => Bug::value_variants().to_vec(),
        name => vec![Bug::from_str(name, true)?],
    };
    say("| bug | found by | after |")?;
    say("|---|---|---|")?;
    let (mut missed, mut finders) = (Vec::new(), BTreeSet::new());
    for bug in &bugs {
        let named = bug.to_possible_value().ok_or("a bug without a name")?;
        match find(options, named.get_name())? {
            Some((part, seconds)) => {
                finders.insert(part);
                say(&format!("| `{}` | {part} | {seconds:.1} s |", named.get_name()))?;
            }
            None => missed.push(named.get_name().to_owned()),
        }
    }
    for part in finders {
        let output = campaign(options, part, "")?;
        if !output.status.success() {
            let line = String::from_utf8_lossy(&output.stdout).into_owned();
            return Err(format!("{part} finds something without a bug: {line}"));
        }
    }
    if missed.is_empty() {
        return Ok(format!("{} planted bugs, all found, and nothing without them", bugs.len()));
    }
    Err(format!("{} of {} planted bugs not found: {}", missed.len(), bugs.len(), missed.join(", ")))
}

/// The part that finds a bug, and how many seconds that took it.
fn find(options: &Options, bug: &str) -> Result<Option<(&'static str, f64)>, String> {
    let names = PARTS.iter().map(|part| part.name());
    for part in
        names.filter(|name| options.part.is_empty() || options.part.iter().any(|p| p == name))
    {
        let begun = Instant::now();
        let output = campaign(options, part, bug)?;
        // A crash of the campaign itself would be no find.
        if output.status.code() == Some(1) && output.stdout.starts_with(b"LOST") {
            return Ok(Some((part, begun.elapsed().as_secs_f64())));
        }
    }
    Ok(None)
}

/// Runs one part for the time that is given, with a bug or none.
fn campaign(options: &Options, part: &str, bug: &str) -> Result<Output, String> {
    Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
        .args(["--part", part, "--seconds", &options.seconds.to_string()])
        .args(["--seed", &options.seed.unwrap_or(1).to_string()])
        .args(options.server.iter().flat_map(|path| ["--server".into(), path.clone()]))
        .env("CHRONOS_PLANTED", bug)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run the campaign: {error}"))
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
}
