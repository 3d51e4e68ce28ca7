//! When a table will hold so much garbage that it should be rewritten.
//!
//! Garbage is tombstones, which are there from the start, and entries that have expired. Of the
//! expiries a sample is kept while the table is written, so that the memory is bounded; up to its
//! limit it is all of them, and the answer exact. Which entries are in the sample depends on their
//! numbers alone: the same entries make the same table.
//!
//! Rejected: every k-th entry. Where expiries come in a period (each user has a session and a
//! profile), all of the sample could be of one sort. The numbers whose product with the golden ratio
//! begins with some zero bits lie as evenly, and share no period with anything.

use super::GARBAGE_SHARE;

/// Expiries that are held at once. The share of expired entries is off by a few hundredths at most.
const SAMPLE: usize = 1024;

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The expiries of a table under construction.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    seen: u64,
    /// Numbers and expiries, in milliseconds since the Unix epoch.
    sample: Vec<(u64, u64)>,
    /// Only numbers that spread to so many leading zeros stay in the sample.
    zeros: u32,
}

impl Expiries {
    /// Counts the next expiring entry in.
    pub(super) fn add(&mut self, expiry_ms: u64) {
        let number = self.seen;
        self.seen += 1;
        if !belongs(number, self.zeros) {
            return;
        }
        if self.sample.len() == SAMPLE {
            self.zeros += 1;
            let zeros = self.zeros;
            self.sample.retain(|(number, _)| belongs(*number, zeros));
        }
        if belongs(number, self.zeros) {
            self.sample.push((number, expiry_ms));
        }
    }

    /// The millisecond from which more than one in [`GARBAGE_SHARE`] of the table's entries is
    /// garbage. `u64::MAX` if that never comes, or if its tombstones alone are that many: whoever
    /// looks for garbage counts them anyway.
    pub(super) fn reclaim_ms(mut self, entry_count: u64, tombstone_count: u64) -> u64 {
        let garbage = entry_count / GARBAGE_SHARE + 1;
        let expired = garbage.saturating_sub(tombstone_count);
        if expired == 0 || expired > self.seen {
            return u64::MAX;
        }
        // As far through the sample as through all of them; the counts are of entries in one file.
        let rank = (expired * self.sample.len() as u64).div_ceil(self.seen) as usize;
        let Some(at) = rank.checked_sub(1).filter(|at| *at < self.sample.len()) else {
            return u64::MAX;
        };
        self.sample.select_nth_unstable_by_key(at, |(_, expiry_ms)| *expiry_ms).1.1
    }
}

/// Whether an entry's number is in the sample at this thinning.
fn belongs(number: u64, zeros: u32) -> bool {
    number.wrapping_mul(SPREAD).leading_zeros() >= zeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::Random;

    fn reclaim_ms(expiries: &[u64], tombstones: u64, others: u64) -> u64 {
        let mut sampled = Expiries::default();
        for expiry in expiries {
            sampled.add(*expiry);
        }
        assert!(sampled.sample.len() <= SAMPLE);
        sampled.reclaim_ms(expiries.len() as u64 + tombstones + others, tombstones)
    }

    /// Tries all moments at which something changes.
    fn naive(expiries: &[u64], tombstones: u64, others: u64) -> u64 {
        let entries = expiries.len() as u64 + tombstones + others;
        let is_full = |garbage: u64| garbage * GARBAGE_SHARE > entries;
        if is_full(tombstones) {
            return u64::MAX;
        }
        let expired = |now: u64| expiries.iter().filter(|expiry| **expiry <= now).count() as u64;
        let moments = expiries.iter().copied().filter(|now| is_full(tombstones + expired(*now)));
        moments.min().unwrap_or(u64::MAX)
    }

    #[test]
    fn up_to_the_limit_the_moment_is_exact() {
        for seed in 1..400 {
            let mut random = Random(seed);
            let count = [random.below(12), random.below(SAMPLE as u64 + 1)][seed as usize % 2];
            let expiries: Vec<u64> = (0..count).map(|_| random.below(1 + count / 2)).collect();
            let (tombstones, others) = (random.below(2 + count), random.below(2 + 2 * count));
            let expected = naive(&expiries, tombstones, others);
            assert_eq!(reclaim_ms(&expiries, tombstones, others), expected, "seed {seed}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(reclaim_ms(&[], 0, 5), u64::MAX, "nothing expires");
        assert_eq!(reclaim_ms(&[7], 0, 2), u64::MAX, "a third is not more than a third");
        assert_eq!(reclaim_ms(&[7], 0, 1), 7);
        assert_eq!(reclaim_ms(&[7], 1, 2), 7, "with a tombstone");
        assert_eq!(reclaim_ms(&[7], 2, 2), u64::MAX, "the tombstones alone");
        assert_eq!(reclaim_ms(&[9, 3, 6], 0, 0), 6);
        assert_eq!(reclaim_ms(&[u64::MAX], 0, 0), u64::MAX);
        assert_eq!(reclaim_ms(&[0], 0, 0), 0);
    }

    /// Of `expiries` that are all different, at most this many more or less have expired by then.
    fn assert_close(expiries: &[u64], what: &str) {
        let found = reclaim_ms(expiries, 0, 0);
        let expired = expiries.iter().filter(|expiry| **expiry <= found).count() as u64;
        let wanted = expiries.len() as u64 / GARBAGE_SHARE;
        let allowed = expiries.len() as u64 / 20;
        assert!(expired.abs_diff(wanted) <= allowed, "{what}: {expired} and not {wanted}");
    }

    #[test]
    fn beyond_the_limit_it_is_close_whatever_the_order() {
        for count in [1_025, 5_000, 100_000, 500_000] {
            let mut random = Random(count);
            assert_close(&(0..count).collect::<Vec<_>>(), "rising");
            assert_close(&(0..count).rev().collect::<Vec<_>>(), "falling");
            let noise: Vec<u64> = (0..count).map(|_| random.below(u64::MAX)).collect();
            assert_close(&noise, "in no order");
            for period in [2, 3, 4, 8, 13, 64, 1_000] {
                let late = |i: u64| if i.is_multiple_of(period) { i } else { i + count };
                assert_close(&(0..count).map(late).collect::<Vec<_>>(), "with a period");
            }
        }
    }
}
