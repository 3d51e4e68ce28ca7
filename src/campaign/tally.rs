//! What a campaign has done so far. Only what was judged is counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Processes killed with `SIGKILL`, or whose file system lost power, whose data was then judged.
    Kills,
    /// States that a power cut could have left, recovered and judged.
    CrashStates,
    /// Runs in which a storage call failed.
    Faults,
    /// Damaged databases: bits flipped, files cut, blocks swapped or duplicated.
    Flips,
    /// Simulated runs.
    Seeds,
    /// Concurrent histories found linearizable.
    Histories,
    /// Operations on a database whose outcome was compared with what it had to be.
    Operations,
    /// Inputs given to a parser or reader.
    Inputs,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [AtomicU64; 8],
}

impl Tally {
    /// Counts `n` more.
    pub(crate) fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} crash states, {} faults, {} flips, {} seeds, {} histories, {} operations \
             checked, {} inputs",
            self.get(Count::Kills),
            self.get(Count::CrashStates),
            self.get(Count::Faults),
            self.get(Count::Flips),
            self.get(Count::Seeds),
            self.get(Count::Histories),
            self.get(Count::Operations),
            self.get(Count::Inputs),
        )
    }
}
