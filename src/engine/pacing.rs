//! How fast writers may go while level 0 fills up: smoothly slower, never a cliff.
//!
//! Level 0 is drained by merges. Up to a soft limit of sublevels nobody is slowed down; from there
//! the allowed rate falls from many times the rate of the merges to a fraction of it, so that it
//! settles where both are the same. At the hard limit the caller stops writes until a merge is done;
//! a pacer keeps them from getting there, also if they could be ten times as fast as the merges.
//!
//! One merge mostly takes all of level 0, so the sublevels go up and down between a number and its
//! double. A rate that followed them would swing by an order of magnitude. So the *pressure* counts
//! what a merge is expected to have done by now as gone, and stays level while writes and merges
//! are balanced. That expectation may be wrong: close to the hard limit the sublevels themselves
//! bound the rate.
//!
//! Tokens are spent in quanta: some thousand writes at full speed, then one wait of some
//! milliseconds. Rejected: a wait of the due length for each write. A wake-up costs a hundred times
//! what the write does, and each of them would be a slow one.
//!
//! There is no clock here: times are durations since a start that the caller chooses. A rate is
//! never 0, so while time passes, writes go on.

use std::time::Duration;

/// There is no limit below this many times the sublevels that start a merge.
const SOFT_FACTOR: usize = 2;
/// The allowed rate is this many times the merges' at the soft limit, and that fraction of it at the
/// hard one.
const SPAN: f64 = 16.0;
/// The part of the way from the soft to the hard limit at which the pressure is in balance. A merge
/// that takes everything finds at its end twice as many sublevels: these are then in the middle.
const BALANCE: f64 = 0.1;
/// In the last part of that way, this much of it, the sublevels bound the rate whatever is expected.
const GUARD: f64 = 0.25;
/// What merges are taken to do before one has been seen, in bytes a second.
const DEFAULT_DRAIN: f64 = (16 << 20) as f64;
/// The lowest rate, in bytes a second.
const MIN_RATE: f64 = (64 << 10) as f64;
/// A quantum lasts at least this long.
const MIN_QUANTUM: Duration = Duration::from_millis(5);
/// And no longer, and so no wait either.
const MAX_QUANTUM: Duration = Duration::from_millis(40);
/// In between, it is for this many writes: so few of them wait that it does not show in the 99.9th
/// percentile.
const WRITES_PER_QUANTUM: f64 = 2000.0;
/// Shorter waits are not worth a wake-up; nothing is lost by one that is too long.
const MIN_WAIT: Duration = Duration::from_millis(1);
/// What the past weighs beside a merge that has just finished.
const PAST_WEIGHT: f64 = 0.5;

/// The answer to a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Write now.
    Go,
    /// Ask again at that time.
    WaitUntil(Duration),
}

/// Sums over merges out of level 0, the latest weighing most.
#[derive(Debug, Clone, Copy, Default)]
struct Drained {
    bytes: f64,
    sublevels: f64,
    seconds: f64,
}

/// The brake of the writers; see the module.
#[derive(Debug)]
pub(crate) struct Pacer {
    soft: usize,
    hard: usize,
    is_limited: bool,
    sublevels: usize,
    drained: Drained,
    /// What the last merge left of level 0, for the next one, and when.
    left: usize,
    left_at: Duration,
    /// Bytes that may be spent before the clock is looked at; below 0, what was spent beyond.
    budget: f64,
    refilled_at: Duration,
    /// What was spent since, and by how many writes.
    spent: f64,
    writes: f64,
}

impl Pacer {
    /// A pacer for merges that start at `level0_tables` sublevels and writes that stop at `hard`.
    pub(crate) fn new(level0_tables: usize, hard: usize) -> Self {
        Pacer {
            soft: level0_tables * SOFT_FACTOR,
            hard,
            is_limited: false,
            sublevels: 0,
            drained: Drained::default(),
            left: 0,
            left_at: Duration::ZERO,
            budget: 0.0,
            refilled_at: Duration::ZERO,
            spent: 0.0,
            writes: 0.0,
        }
    }

    /// Whether a write of `bytes` may go on. The clock is looked at about once in a quantum, and
    /// not at all where there is no limit.
    pub(crate) fn admit(&mut self, now: impl FnOnce() -> Duration, bytes: usize) -> Pace {
        if !self.is_limited {
            return Pace::Go;
        }
        if self.budget <= 0.0
            && let Err(time) = self.refill(now())
        {
            return Pace::WaitUntil(time);
        }
        let bytes = as_f64(bytes);
        self.budget -= bytes;
        self.spent += bytes;
        self.writes += 1.0;
        Pace::Go
    }

    /// Level 0 has so many sublevels now.
    pub(crate) fn set_sublevels(&mut self, now: Duration, sublevels: usize) {
        self.sublevels = sublevels;
        let is_limited = sublevels >= self.soft;
        if is_limited && !self.is_limited {
            self.budget = self.rate(now) * MIN_QUANTUM.as_secs_f64();
            self.refilled_at = now;
        }
        self.is_limited = is_limited;
    }

    /// A merge took so many bytes out of level 0, which has so many sublevels now. To be told
    /// instead of [`Pacer::set_sublevels`], but not of tables that were only moved: that says
    /// nothing about the next merge.
    pub(crate) fn merged(&mut self, now: Duration, bytes: u64, took: Duration, sublevels: usize) {
        if !took.is_zero() {
            let add = |past: &mut f64, new: f64| *past = *past * PAST_WEIGHT + new;
            add(&mut self.drained.bytes, as_f64(bytes as usize));
            add(&mut self.drained.sublevels, as_f64(self.sublevels.saturating_sub(sublevels)));
            add(&mut self.drained.seconds, took.as_secs_f64());
        }
        self.left = sublevels;
        self.left_at = now;
        self.set_sublevels(now, sublevels);
    }

    /// Starts a quantum if enough tokens came together for one, else says when to ask again.
    fn refill(&mut self, now: Duration) -> Result<(), Duration> {
        let rate = self.rate(now);
        let quantum = self.quantum(rate);
        let earned = rate * now.saturating_sub(self.refilled_at).as_secs_f64();
        let available = self.budget + earned;
        if available < quantum {
            let wait = Duration::from_secs_f64((quantum - available) / rate);
            return Err(now + wait.clamp(MIN_WAIT, MAX_QUANTUM));
        }
        // Whoever wakes late loses nothing; whoever comes after a pause has not saved up.
        self.budget = available.min(2.0 * quantum);
        self.refilled_at = now;
        (self.spent, self.writes) = (0.0, 0.0);
        Ok(())
    }

    /// Bytes of a quantum at a rate.
    fn quantum(&self, rate: f64) -> f64 {
        let bytes_per_write = self.spent / self.writes.max(1.0);
        let bytes = WRITES_PER_QUANTUM * bytes_per_write;
        bytes.clamp(rate * MIN_QUANTUM.as_secs_f64(), rate * MAX_QUANTUM.as_secs_f64())
    }

    /// The bytes a second that are allowed now.
    fn rate(&self, now: Duration) -> f64 {
        let Drained { bytes, seconds, .. } = self.drained;
        let drain = if seconds > 0.0 { bytes / seconds } else { DEFAULT_DRAIN };
        let pressure = self.place(as_f64(self.sublevels) - self.progress(now));
        let exponent = if pressure < BALANCE {
            1.0 - pressure / BALANCE
        } else {
            -(pressure - BALANCE) / (1.0 - BALANCE)
        };
        let to_hard = 1.0 - self.place(as_f64(self.sublevels));
        let guard = to_hard.max(0.0) / GUARD - 1.0;
        (drain * SPAN.powf(exponent.clamp(-1.0, 1.0).min(guard))).max(MIN_RATE)
    }

    /// Where a number of sublevels stands on the way from the soft limit (0) to the hard one (1).
    fn place(&self, sublevels: f64) -> f64 {
        (sublevels - as_f64(self.soft)) / as_f64(self.hard.saturating_sub(self.soft).max(1))
    }

    /// The sublevels that the merge which runs should have done by now, at the pace of the last
    /// ones.
    fn progress(&self, now: Duration) -> f64 {
        let Drained { sublevels, seconds, .. } = self.drained;
        if seconds <= 0.0 {
            return 0.0;
        }
        let since = now.saturating_sub(self.left_at).as_secs_f64();
        (since * sublevels / seconds).min(as_f64(self.left))
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates need no more than 53 bits")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
