//! `kill -9` under load, again and again on one database, with the least memory: whatever was
//! acknowledged or shown is there afterwards, of each transaction all or nothing.
//!
//! A round: clients at work (`load`, what they do is made up in `commands`), perhaps a compaction or a
//! checkpoint; a kill at a random moment, perhaps while the server is closing; perhaps kills of
//! servers that are recovering; a look at the directory; a restart, and a judgement (`oracle`) of what
//! is there by what the clients know (`journal`). A kill counts once it is judged. The choices follow
//! from the seed, the scheduler's do not: a loss is repeated by trying its seed a few times.

mod commands;
mod disk;
mod journal;
mod load;
mod mount;
mod oracle;

use std::fmt;
use std::ops::AddAssign;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::process::{Process, Room};
use super::wire::{Broken, Protocol, Wire};
use super::{Case, Count, Part};
use crate::engine::storage::sim::Random;

pub(super) use self::disk::Disk;

use self::journal::Journal;
use self::load::Load;
use self::oracle::Oracle;

/// Rounds on one database.
const ROUNDS: u64 = 16;
/// How long the clients work in most rounds, at least and at most, in microseconds.
const LOAD_US: (u64, u64) = (3_000, 80_000);
/// How long a server that is to be killed early may take, in microseconds.
const EARLY_US: u64 = 25_000;
/// How long a server may be closing before it is killed, in microseconds.
const CLOSING_US: u64 = 15_000;

/// See the module.
pub(super) struct Kills;

impl Part for Kills {
    fn name(&self) -> &'static str {
        "kills"
    }

    fn share(&self) -> u32 {
        3
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        run(case)
    }

    fn remarks(&self) -> Option<String> {
        Some(done().to_string())
    }
}

/// What the kills hit.
#[derive(Debug, Default, Clone, Copy)]
struct Work {
    kills: u64,
    /// Of servers that did not serve yet.
    early: u64,
    /// Of servers that were closing.
    closing: u64,
    /// That left tables which no manifest names: amid a flush or a merge.
    amid_tables: u64,
    /// Outcomes that clients knew.
    known: u64,
    /// Rounds whose server was asked for its figures, and these.
    asked: u64,
    flushes: u64,
    merges: u64,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {} kills {} hit a server that did not serve yet, {} one that was closing, {} a flush \
             or merge; in {} rounds there were {} flushes, {} merges",
            self.kills,
            self.early,
            self.closing,
            self.amid_tables,
            self.asked,
            self.flushes,
            self.merges,
        )
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Work) {
        self.kills += more.kills;
        self.early += more.early;
        self.closing += more.closing;
        self.amid_tables += more.amid_tables;
        self.known += more.known;
        self.asked += more.asked;
        self.flushes += more.flushes;
        self.merges += more.merges;
    }
}

/// What all cases have done.
fn done() -> MutexGuard<'static, Work> {
    static DONE: Mutex<Work> = Mutex::new(Work {
        kills: 0,
        early: 0,
        closing: 0,
        amid_tables: 0,
        known: 0,
        asked: 0,
        flushes: 0,
        merges: 0,
    });
    DONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills and judges on one database.
fn run(case: &Case<'_>) -> Result<(), String> {
    let mut random = Random(case.seed);
    let durability = match random.below(10) {
        0 => "os",
        1 | 2 => "everysec",
        _ => "always",
    };
    let room = Room::new(case, durability)?;
    let mut victim = Victim { room, random, oracle: Oracle::default(), work: Work::default() };
    let mut process = match victim.room.start() {
        Ok(process) => process,
        Err(what) => return Err(format!("{what}; {}", victim.room.keep())),
    };
    for round in 0..ROUNDS {
        if case.is_over() {
            break;
        }
        victim.work = Work::default();
        process = match victim.round(process) {
            Ok(process) => process,
            Err(what) => {
                return Err(format!("round {round}, {durability}: {what}; {}", victim.room.keep()));
            }
        };
        case.count(Count::Kills, victim.work.kills);
        case.count(Count::Operations, victim.work.known);
        *done() += victim.work;
    }
    let stopped = process.interrupt().and_then(|()| process.wait());
    stopped.map_err(|what| format!("at the end, {durability}: {what}; {}", victim.room.keep()))
}

/// A database that is not spared, and what it must hold.
struct Victim {
    room: Room,
    random: Random,
    oracle: Oracle,
    /// What this round has done.
    work: Work,
}

impl Victim {
    fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.random.below(most))
    }

    /// Loads, kills, restarts and judges; returns the next server.
    fn round(&mut self, process: Process) -> Result<Process, String> {
        let journals = self.load_and_kill(process)?;
        let left = self.tables()?;
        while self.random.one_in(4) {
            let after = self.micros(EARLY_US);
            let served = self.room.kill_early(after)?;
            self.work.kills += 1;
            self.work.early += u64::from(!served);
        }
        self.room.check()?;
        let process = self.room.start()?;
        let kept = self.tables()?;
        self.work.amid_tables += u64::from(left.iter().any(|table| !kept.contains(table)));
        self.oracle.check(&journals, process.address)?;
        self.work.known += journals.iter().map(Journal::known).sum::<u64>();
        Ok(process)
    }

    fn load_and_kill(&mut self, process: Process) -> Result<Vec<Journal>, String> {
        let begun = Instant::now();
        let load = Load::start(process.address, &self.oracle, self.random.next_u64())?;
        let (least, more) = (LOAD_US.0, LOAD_US.1 - LOAD_US.0);
        let most = if self.random.one_in(8) { 3 * more } else { more };
        let end = Duration::from_micros(least) + self.micros(most);
        let request: &[&[u8]] = match self.random.below(6) {
            0 | 1 => &[b"COMPACT"],
            2 => &[b"BGSAVE"],
            _ => &[],
        };
        // Shortly before the kill: it is to be hit.
        let ahead = self.micros(20_000);
        std::thread::sleep(end.saturating_sub(ahead));
        let asking = ask(&process, request)?;
        std::thread::sleep(end.saturating_sub(begun.elapsed()));
        if self.random.one_in(6) {
            self.add_figures(&process)?;
        }
        let down = load.now();
        self.end(process)?;
        drop(asking);
        load.finish(down)
    }

    /// Kills a server, at times while it is closing; some may close in order.
    fn end(&mut self, mut process: Process) -> Result<(), String> {
        match self.random.below(16) {
            0 => {
                process.interrupt()?;
                return process.wait();
            }
            1 | 2 => {
                process.interrupt()?;
                let closing = self.micros(CLOSING_US);
                std::thread::sleep(closing);
                self.work.closing += 1;
            }
            _ => {}
        }
        self.work.kills += u64::from(process.kill()?);
        Ok(())
    }

    fn add_figures(&mut self, process: &Process) -> Result<(), String> {
        let text = process.info()?;
        let figure = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim_end().parse::<u64>().ok())
        };
        let missing = || format!("INFO lacks figures: {text}");
        self.work.asked += 1;
        self.work.flushes += figure("flushes").ok_or_else(missing)?;
        self.work.merges += figure("compactions").ok_or_else(missing)?;
        Ok(())
    }

    /// The names of the tables in the directory.
    fn tables(&self) -> Result<Vec<std::ffi::OsString>, String> {
        let entries = std::fs::read_dir(self.room.data());
        let entries = entries.map_err(|error| format!("cannot list the data: {error}"))?;
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.filter(|name| name.to_string_lossy().ends_with(".sst")).collect())
    }
}

/// Asks for something whose answer nobody waits for.
fn ask(process: &Process, words: &[&[u8]]) -> Result<Option<Wire>, String> {
    if words.is_empty() {
        return Ok(None);
    }
    let mut wire = Wire::connect(process.address, Protocol::Resp)?;
    let mut request = Vec::new();
    wire.protocol.request(&mut request, words);
    wire.send(&request).map_err(Broken::describe)?;
    Ok(Some(wire))
}
