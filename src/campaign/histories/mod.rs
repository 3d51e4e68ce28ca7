//! Concurrent histories from a real server are linearizable, key by key, across kills and power cuts.
//!
//! Clients hit the same few keys at once (`clients`); a server dies in the middle, another one goes on
//! with what is left, and so does the history: an operation without an answer took effect before its
//! server died, or never (`operation`, `checker`). Half of the cases kill the real program; the other
//! half run the server in this process on a simulated storage (`simulated`) that holds syncs back and
//! loses what was not synced, so that an answer which did not wait for its sync is found out. The
//! choices follow from the seed, the scheduler's do not: a loss is repeated by trying its seed a few
//! times.

mod checker;
mod clients;
mod operation;
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use super::process::Room;
use super::ticks::Ticks;
use super::{Case, Count, Part};
use crate::engine::Durability;
use crate::engine::storage::sim::{Random, SimStorage, Survival};

use self::clients::{Down, Histories, KEYS, Load, read_all};
use self::simulated::Simulated;

/// Servers that die in one history.
const ROUNDS: u64 = 3;
/// How long the clients work on one server, at least and at most, in microseconds.
const LOAD_US: (u64, u64) = (2_000, 40_000);
/// How often syncs are held back on one server, at most.
const HOLDS: u64 = 6;

/// See the module.
pub(super) struct Linearizability;

impl Part for Linearizability {
    fn name(&self) -> &'static str {
        "histories"
    }

    fn share(&self) -> u32 {
        2
    }

    fn needs_server(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let mut run = Run::new(case.seed);
        let kills = if run.random.coin() { run.kill(case)? } else { run.cut(Durability::Always)? };
        let judged = run.judge()?;
        case.count(Count::Kills, kills);
        case.count(Count::Histories, judged.histories);
        case.count(Count::Operations, judged.operations);
        Ok(())
    }
}

/// One history of each key.
struct Run {
    random: Random,
    ticks: Arc<Ticks>,
    histories: Histories,
}

impl Run {
    fn new(seed: u64) -> Self {
        Run { random: Random(seed), ticks: Arc::default(), histories: vec![Vec::new(); KEYS] }
    }

    /// Has the real program killed; returns how often.
    fn kill(&mut self, case: &Case<'_>) -> Result<u64, String> {
        let durability = if self.random.one_in(4) { "everysec" } else { "always" };
        let room = Room::new(case, durability)?;
        self.kill_in(&room).map_err(|what| format!("{what}; {}", room.keep()))
    }

    fn kill_in(&mut self, room: &Room) -> Result<u64, String> {
        for _ in 0..ROUNDS {
            let process = room.start()?;
            let load = Load::start(process.address, &self.ticks, self.random.next_u64())?;
            let time = LOAD_US.0 + self.random.below(LOAD_US.1 - LOAD_US.0);
            std::thread::sleep(Duration::from_micros(time));
            let down = Down::Killed(self.ticks.now());
            process.kill()?;
            load.finish(down, &mut self.histories)?;
            room.check()?;
        }
        let process = room.start()?;
        read_all(process.address, &self.ticks, &mut self.histories)?;
        process.kill()?;
        Ok(ROUNDS)
    }

    /// Has a simulated machine lose its power; returns how often a process was killed.
    fn cut(&mut self, durability: Durability) -> Result<u64, String> {
        let mut storage = SimStorage::new(self.random.next_u64());
        for _ in 0..ROUNDS {
            let server = Simulated::start(storage, durability, self.random.next_u64())?;
            let load = Load::start(server.address, &self.ticks, self.random.next_u64())?;
            let times = 1 + self.random.below(HOLDS);
            server.hold_syncs(&mut self.random, times);
            let down = Down::Cut(self.ticks.now());
            let survival = match self.random.below(4) {
                0 | 1 => Survival::Nothing,
                2 => Survival::Torn(self.random.next_u64()),
                _ => Survival::Random(self.random.next_u64()),
            };
            storage = server.cut(survival)?;
            load.finish(down, &mut self.histories)?;
        }
        let server = Simulated::start(storage, durability, self.random.next_u64())?;
        read_all(server.address, &self.ticks, &mut self.histories)?;
        server.cut(Survival::Nothing)?;
        Ok(0)
    }

    /// Judges each history. Only what was answered counts, and a history that has more of that than
    /// the look at its end.
    fn judge(&self) -> Result<Judged, String> {
        let mut judged = Judged::default();
        for (key, history) in self.histories.iter().enumerate() {
            checker::check(&None, history).map_err(|what| format!("key {key}: {what}"))?;
            let answered = history.iter().filter(|operation| !operation.is_unknown()).count();
            if answered > 1 {
                judged.histories += 1;
                judged.operations += answered as u64;
            }
        }
        Ok(judged)
    }
}

/// What was judged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    histories: u64,
    operations: u64,
}

#[cfg(test)]
mod tests {
    use super::operation::{Action, Operation, Outcome};
    use super::*;

    #[test]
    fn what_is_synced_is_linearizable_across_power_cuts() {
        for seed in 0..4 {
            let mut run = Run::new(seed);
            run.cut(Durability::Always).unwrap();
            assert!(run.judge().unwrap().operations > 20);
        }
    }

    #[test]
    fn a_history_without_answers_is_not_counted() {
        let operation = |invoked, outcome| Operation {
            client: 0,
            action: Action::Get,
            invoked,
            returned: invoked + 1,
            outcome,
        };
        let mut run = Run::new(1);
        for history in &mut run.histories {
            history.push(operation(1, Outcome::Unknown));
            history.push(operation(3, Outcome::Value(None)));
        }
        assert_eq!(run.judge(), Ok(Judged::default()));
        run.histories[1].push(operation(5, Outcome::Value(None)));
        assert_eq!(run.judge(), Ok(Judged { histories: 1, operations: 2 }));
    }

    #[test]
    fn answers_that_do_not_wait_for_their_sync_are_found_out() {
        let is_found = |seed| {
            let mut run = Run::new(seed);
            run.cut(Durability::Os).unwrap();
            run.judge().is_err()
        };
        assert!((0..20).any(is_found));
    }
}
