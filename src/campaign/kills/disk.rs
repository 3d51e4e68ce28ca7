//! The same load on a file system that drops what was not synced: the real server writes to a mounted
//! [`SimStorage`], which loses power.
//!
//! What a kill leaves alone, the page cache, is lost here: whole, in part, by sectors, with the names
//! of files. In some rounds syncs are held back before the cut, so that much is written and nothing
//! acknowledged. The judge is that of `kills`.

use std::time::Duration;

use super::journal::Journal;
use super::load::Load;
use super::mount::Mount;
use super::oracle::Oracle;
use crate::campaign::process::{Process, Room};
use crate::campaign::{Case, Count, Part};
use crate::engine::storage::sim::{Random, SimStorage, Survival};

/// Power cuts on one database.
const ROUNDS: u64 = 12;
/// How long the clients work, at least and at most, in microseconds.
const LOAD_US: (u64, u64) = (5_000, 120_000);
/// How long syncs may be held back before a cut, in microseconds.
const HELD_US: u64 = 10_000;
/// How long the threads of a killed server may go on.
const DYING: Duration = Duration::from_millis(3);
/// How long a server that is to be killed early may take, in microseconds.
const EARLY_US: u64 = 40_000;

/// See the module.
pub(in crate::campaign) struct Disk;

impl Part for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn share(&self) -> u32 {
        2
    }

    fn obstacle(&self) -> Option<String> {
        let mounted = tempfile::tempdir()
            .and_then(|dir| Mount::new(SimStorage::new(0), dir.path()).map(drop));
        mounted.err().map(|error| format!("no file system can be mounted: {error}"))
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let room = Room::new(case, "always")?;
        let data = room.data();
        std::fs::create_dir(&data).map_err(|error| format!("no directory: {error}"))?;
        let storage = SimStorage::new(case.seed);
        let mount = Mount::new(storage.clone(), &data)
            .map_err(|error| format!("no file system: {error}"))?;
        let mut victim =
            Victim { mount, room, storage, random: Random(case.seed), oracle: Oracle::default() };
        victim.run(case).map_err(|what| {
            // The database is gone with its file system, the server's log is not.
            drop(victim.mount);
            format!("{what}; {}", victim.room.keep())
        })
    }
}

/// A database on a disk that is not spared, and what it must hold.
struct Victim {
    // Unmounted before the room is cleared.
    mount: Mount,
    room: Room,
    storage: SimStorage,
    random: Random,
    oracle: Oracle,
}

impl Victim {
    fn run(&mut self, case: &Case<'_>) -> Result<(), String> {
        let mut process = self.room.start()?;
        for round in 0..ROUNDS {
            if case.is_over() {
                break;
            }
            let (next, known, cuts) =
                self.round(process).map_err(|what| format!("round {round}: {what}"))?;
            process = next;
            case.count(Count::Kills, cuts);
            case.count(Count::Operations, known);
        }
        process.interrupt()?;
        process.wait()
    }

    fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.random.below(most))
    }

    /// Loads, cuts, restarts and judges; returns the next server, how many outcomes were known, and
    /// how many cuts there were.
    fn round(&mut self, process: Process) -> Result<(Process, u64, u64), String> {
        let load = Load::start(process.address, &self.oracle, self.random.next_u64())?;
        let pause = Duration::from_micros(LOAD_US.0) + self.micros(LOAD_US.1 - LOAD_US.0);
        std::thread::sleep(pause);
        if self.random.one_in(3) {
            self.storage.hold_syncs(true);
            let held = self.micros(HELD_US);
            std::thread::sleep(held);
        }
        let mut last = String::new();
        let down = load.now();
        process.kill_and(|| {
            // Its threads have stopped by then, but for those in a sync that is held back.
            std::thread::sleep(DYING);
            last = self.cut();
        })?;
        let mut cuts = 1;
        let journals = load.finish(down).map_err(|what| format!("{what}; {last}"))?;
        while self.random.one_in(4) {
            let after = self.micros(EARLY_US);
            self.room.kill_early(after)?;
            last = self.cut();
            cuts += 1;
        }
        let judged = self.room.check().and_then(|()| self.room.start()).and_then(|process| {
            self.oracle.check(&journals, process.address)?;
            Ok(process)
        });
        let process = judged.map_err(|what| format!("{what}; {last}"))?;
        Ok((process, journals.iter().map(Journal::known).sum(), cuts))
    }

    /// Cuts the power; tells what survived.
    fn cut(&mut self) -> String {
        let survival = match self.random.below(6) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 => Survival::Torn(self.random.next_u64()),
            _ => Survival::Random(self.random.next_u64()),
        };
        self.storage = self.storage.power_cut(survival);
        self.mount.replace(self.storage.clone());
        format!("survived: {survival:?}")
    }
}
