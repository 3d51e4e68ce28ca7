//! The fault campaign: everything that can happen to a database, done to it, and every answer judged.
//!
//! `options` → here (what parts there are, how the time is shared out) → `driver` (runs the cases of
//! one part on some threads, watches over them) → the parts. `tally` counts what was done.
//!
//! A part is a set of cases, each a function of its seed as far as the part can make it one, so that
//! a failure is repeated by `--part NAME --seed SEED --cases 1`. A part that enumerates has a number
//! of cases that make a complete pass, and goes over them in a scattered order: a short run is a
//! sample of all. A campaign must never count what it did not check, nor go on after a loss.

mod driver;
mod errors;
mod flips;
pub mod fuzz;
mod histories;
mod kills;
mod options;
#[cfg(feature = "planted")]
mod planted;
mod power;
mod process;
mod server;
mod simulation;
mod tally;
mod ticks;
mod wire;
mod workload;
mod world;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;

pub(crate) use self::driver::{Campaign, Case, Part};
pub(crate) use self::tally::Count;

use self::options::Options;
use self::server::Server;
use self::tally::Tally;

/// The parts, in the order in which they run: the longest pass last, with what time the others left.
const PARTS: &[&dyn Part] = &[
    &simulation::Simulation,
    &power::Power,
    &errors::Errors,
    &fuzz::Fuzz,
    &kills::Kills,
    &kills::Disk,
    &histories::Linearizability,
    &flips::Flips,
];

/// Runs the campaign with the process's arguments and streams.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let mut out = io::stdout();
    let outcome = run_all(&options);
    let (line, code) = match outcome {
        Ok(line) => (line, ExitCode::SUCCESS),
        Err(line) => (line, ExitCode::FAILURE),
    };
    // Nobody may be reading; the exit code says the same.
    let _ = writeln!(out, "{line}");
    code
}

fn run_all(options: &Options) -> Result<String, String> {
    let parts = chosen(options)?;
    #[cfg(feature = "planted")]
    if let Some(name) = &options.planted {
        return planted::run(options, name);
    }
    run(options, &parts)
}

/// The parts that were asked for, or all.
fn chosen(options: &Options) -> Result<Vec<&'static dyn Part>, String> {
    let names = &options.part;
    if let Some(unknown) = names.iter().find(|name| PARTS.iter().all(|p| p.name() != **name)) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name()).collect();
        return Err(format!("there is no part {unknown}: there are {}", known.join(", ")));
    }
    let is_chosen =
        |part: &&&dyn Part| names.is_empty() || names.iter().any(|name| name == part.name());
    Ok(PARTS.iter().filter(is_chosen).copied().collect())
}

/// Runs the parts one after the other, each for its share of what time is left; the last line.
fn run(options: &Options, parts: &[&'static dyn Part]) -> Result<String, String> {
    let seed = options.seed.unwrap_or_else(random_seed);
    let campaign =
        Campaign { tally: Tally::default(), server: Server::new(options.server.clone()) };
    if parts.iter().any(|part| part.needs_server()) {
        // Not out of the parts' time.
        campaign.server.path()?;
    }
    driver::end_on_signals().map_err(|error| format!("no signals: {error}"))?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    driver::announce(&format!("seed {seed}, {} s for {} parts", options.seconds, parts.len()));
    let mut left_out = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let shares: u32 = parts[at..].iter().map(|part| part.share()).sum();
        let left = end.saturating_duration_since(Instant::now());
        let time = left * part.share() / shares.max(1);
        if !driver::run(*part, &campaign, seed, time, options)? {
            left_out.push(part.name());
        }
    }
    let seconds = begun.elapsed().as_secs();
    let line = format!("{}, lost 0 in {seconds} s, seed {seed}", campaign.tally);
    Ok(match &left_out[..] {
        [] => line,
        parts => format!("{line}, left out: {}", parts.join(", ")),
    })
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Short enough to be typed.
    RandomState::new().hash_one("seed") >> 40
}
