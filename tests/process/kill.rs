//! `kill -9` under load, again and again on one database. `CHRONOS_KILLS` sets how often;
//! `CHRONOS_SEED` repeats a run's choices, as far as the scheduler lets it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::load::Load;
use crate::oracle::Oracle;
use crate::program::{Program, command_anywhere};
use crate::random::Random;

/// Rounds of an ordinary run.
const ROUNDS: u64 = 25;
/// The most acknowledged writes before a kill.
const WRITES: u64 = 4_000;
/// A log segment's size with the least memory, in bytes.
const SEGMENT_BYTES: u64 = 2 << 20;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// What the servers did until shortly before they were killed.
#[derive(Debug, Default)]
struct Work {
    acked: u64,
    sent: u64,
    shown: u64,
    flushes: u64,
    merges: u64,
    log_segments: u64,
    killed_recoveries: u64,
}

impl Work {
    fn add_figures(&mut self, program: &Program) {
        let mut client = program.connect();
        self.flushes += client.figure("flushes");
        self.merges += client.figure("compactions");
        self.log_segments += client.figure("wal_bytes") / SEGMENT_BYTES;
    }
}

/// Starts a server and kills it, perhaps before it is ready.
fn kill_early(data_dir: &Path, after: Duration) {
    let mut child = command_anywhere(data_dir).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Starts a server on a port of its own choice.
fn start(data_dir: &Path, durability: &str) -> Program {
    Program::spawn(command_anywhere(data_dir).args(["--durability", durability]))
}

/// Loads, kills, restarts and judges.
fn kill_again_and_again(durability: &str, rounds: u64) -> Work {
    let begun = Instant::now();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("CHRONOS_SEED").unwrap_or_else(|| u64::from(now.subsec_nanos()));
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let mut work = Work::default();
    let mut program = start(dir.path(), durability);
    for round in 0..rounds {
        let load = Load::start(program.address, &oracle, random.next());
        let merging = random.one_in(3).then(|| {
            let mut client = program.connect();
            client.send("COMPACT\n");
            client
        });
        load.wait_for_writes(random.below(WRITES));
        work.add_figures(&program);
        std::thread::sleep(Duration::from_micros(random.below(5_000)));
        program.kill();
        drop(merging);
        let journals = load.finish();
        while random.one_in(4) {
            kill_early(dir.path(), Duration::from_micros(random.below(30_000)));
            work.killed_recoveries += 1;
        }
        program = start(dir.path(), durability);
        if let Err(loss) = oracle.check(&journals, program.address) {
            let kept = dir.keep();
            panic!("CHRONOS_SEED={seed}, round {round}, {}: {loss}", kept.display());
        }
        work.acked += journals.iter().map(|journal| journal.acked.len() as u64).sum::<u64>();
        work.sent += journals.iter().map(|journal| journal.writes.len() as u64).sum::<u64>();
        work.shown += journals.iter().map(|journal| journal.shown.len() as u64).sum::<u64>();
    }
    program.interrupt();
    eprintln!(
        "{durability}, CHRONOS_SEED={seed}: {rounds} kills, nothing lost, {work:?}, {:?}",
        begun.elapsed()
    );
    work
}

#[test]
fn nothing_acknowledged_or_shown_is_lost() {
    let work = kill_again_and_again("always", number("CHRONOS_KILLS").unwrap_or(ROUNDS));
    let enough =
        work.acked < 20_000 || (work.flushes > 0 && work.merges > 0 && work.log_segments > 0);
    assert!(enough, "the load is too light to flush, merge and change segments: {work:?}");
}

#[test]
fn unsynced_modes_lose_nothing_to_a_kill_either() {
    for durability in ["everysec", "os"] {
        kill_again_and_again(durability, 5);
    }
}
