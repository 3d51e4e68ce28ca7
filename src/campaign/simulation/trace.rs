//! What happened in a run, in lines: the last ones for people, a hash of all to tell runs apart.

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Lines that a failure shows.
const SHOWN: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Trace {
    hash: u64,
    last: VecDeque<String>,
    /// How often what happened, by name.
    pub(super) events: BTreeMap<&'static str, u64>,
    /// Operations whose outcome was compared with the model.
    pub(super) checked: u64,
    /// States that a crash left, recovered and judged.
    pub(super) crash_states: u64,
}

impl Trace {
    pub(super) fn note(&mut self, line: String) {
        self.hash = xxh3_64_with_seed(line.as_bytes(), self.hash);
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(super) fn count(&mut self, event: &'static str, n: u64) {
        if n > 0 {
            *self.events.entry(event).or_default() += n;
        }
    }

    pub(super) fn has(&self, event: &str) -> bool {
        self.events.contains_key(event)
    }

    /// A number that differs if anything was different.
    pub(super) fn hash(&self) -> u64 {
        let counts = format!("{:?} {} {}", self.events, self.checked, self.crash_states);
        xxh3_64_with_seed(counts.as_bytes(), self.hash)
    }

    /// The last lines.
    pub(super) fn tail(&self) -> String {
        self.last.iter().flat_map(|line| ["\n  ", line.as_str()]).collect()
    }
}
