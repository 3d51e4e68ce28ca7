//! Why writers waited, and for how long.
//!
//! A stall begins with the first write that is told to wait and ends with the first one after it
//! that is admitted, whoever asks. It is known by its first cause.

use std::time::{Duration, Instant};

/// What writers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StallCause {
    /// The log thread, which syncs what was written before.
    Log,
    /// A log segment that is being prepared.
    Segment,
    /// A flush: all memtables are full.
    Flush,
    /// Merges, which fall behind: writes are slowed down to their rate.
    Pacing,
    /// Merges, which have fallen far behind: writes wait for the next one.
    Level0,
}

impl StallCause {
    /// All causes.
    pub const ALL: [StallCause; 5] = [
        StallCause::Log,
        StallCause::Segment,
        StallCause::Flush,
        StallCause::Pacing,
        StallCause::Level0,
    ];

    /// The cause as a word, for logs and figures.
    pub fn name(self) -> &'static str {
        match self {
            StallCause::Log => "log",
            StallCause::Segment => "segment",
            StallCause::Flush => "flush",
            StallCause::Pacing => "pacing",
            StallCause::Level0 => "level0",
        }
    }
}

/// A write that has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// For what.
    pub cause: StallCause,
    /// When to ask again even without a notification.
    pub retry_after: Option<Duration>,
}

/// Figures about the stalls of one cause, since the database was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StallStats {
    /// How many there were.
    pub count: u64,
    /// How long they took together, in microseconds.
    pub total_us: u64,
    /// How long the longest took, in microseconds.
    pub longest_us: u64,
}

/// The stalls so far.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    now: Option<(StallCause, Instant)>,
    ended: [StallStats; StallCause::ALL.len()],
}

impl Stalls {
    /// Takes note of a write that has to wait; true if that is the beginning of a stall.
    pub(crate) fn begin(&mut self, cause: StallCause) -> bool {
        let begins = self.now.is_none();
        if begins {
            self.now = Some((cause, Instant::now()));
        }
        begins
    }

    /// Whether there is a stall to be ended.
    pub(crate) fn is_stalled(&self) -> bool {
        self.now.is_some()
    }

    /// Takes note of a write that was admitted; returns the stall that it ends.
    pub(crate) fn end(&mut self) -> Option<(StallCause, Duration)> {
        let (cause, since) = self.now.take()?;
        let elapsed = since.elapsed();
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let stats = &mut self.ended[cause as usize];
        stats.count += 1;
        stats.total_us += elapsed_us;
        stats.longest_us = stats.longest_us.max(elapsed_us);
        Some((cause, elapsed))
    }

    /// The figures by cause.
    pub(crate) fn stats(&self) -> Vec<(StallCause, StallStats)> {
        StallCause::ALL.into_iter().zip(self.ended).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_counted_once_and_by_its_first_cause() {
        let mut stalls = Stalls::default();
        assert!(stalls.end().is_none() && !stalls.is_stalled());
        assert!(stalls.begin(StallCause::Flush));
        assert!(!stalls.begin(StallCause::Log), "goes on");
        assert!(stalls.is_stalled());
        let (cause, elapsed) = stalls.end().unwrap();
        assert_eq!(cause, StallCause::Flush);
        let flush = stalls.stats()[StallCause::Flush as usize];
        assert_eq!((flush.0, flush.1.count), (StallCause::Flush, 1));
        assert_eq!(u128::from(flush.1.longest_us), elapsed.as_micros());
        assert_eq!(stalls.stats()[StallCause::Log as usize].1, StallStats::default());
    }

    #[test]
    fn causes_stand_where_their_numbers_say() {
        for (number, cause) in StallCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
        }
    }
}
