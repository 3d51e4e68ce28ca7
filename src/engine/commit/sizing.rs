//! How long the next segment of the log is to be: a little while little is written, more under load.
//!
//! A segment is written in full before it is used, and the last one is read in full at the next open.
//! So a database that is hardly written to has small ones, while one under load should not change
//! segments, which takes two syncs, many times a second. What was filled within seconds is followed
//! by a larger one, what took minutes by a smaller one. Arithmetic only: the time is passed in.

/// A segment that was filled within this time is followed by a larger one, in milliseconds.
const FAST_MS: u64 = 2_000;
/// One that took longer than this is followed by a smaller one, in milliseconds.
const SLOW_MS: u64 = 60_000;
/// By this factor lengths grow and shrink.
const FACTOR: usize = 4;
/// Of what waits for a flush, the next segment is at least this part: the log has few segments,
/// however slowly they are filled.
const FEW_SEGMENTS: usize = 16;
/// Lengths are multiples of this, in bytes.
const BLOCK_BYTES: usize = crate::engine::journal::format::BLOCK_BYTES;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Sizing {
    least: usize,
    most: usize,
    next: usize,
    /// What a write that waits needs, 0 if none does.
    wanted: usize,
    /// When the active segment was begun.
    begun_ms: u64,
}

impl Sizing {
    /// Segments of `least` to `most` bytes, the first of which is begun now.
    pub(crate) fn new(least: usize, most: usize, now_ms: u64) -> Self {
        Sizing { least, most, next: least, wanted: 0, begun_ms: now_ms }
    }

    /// The most bytes of a segment.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The length of the next segment, given how many bytes of log wait for a flush.
    pub(super) fn next(&self, waiting_bytes: usize) -> usize {
        self.fit(self.next.max(self.wanted).max(waiting_bytes / FEW_SEGMENTS))
    }

    /// What a write that waits needs, if one does.
    pub(super) fn wanted(&self) -> Option<usize> {
        (self.wanted > 0).then_some(self.wanted)
    }

    /// Has the next segment be this long at least.
    pub(super) fn want(&mut self, bytes: usize) {
        self.wanted = self.wanted.max(self.fit(bytes));
    }

    /// Nobody gets what was wanted.
    pub(super) fn forget_wanted(&mut self) {
        self.wanted = 0;
    }

    /// Takes note of a segment that is ready.
    pub(super) fn prepared(&mut self, bytes: usize) {
        if bytes >= self.wanted {
            self.wanted = 0;
        }
    }

    /// Takes note of the end of a segment of so many bytes, and the beginning of the next.
    pub(super) fn filled(&mut self, bytes: usize, now_ms: u64) {
        let took_ms = now_ms.abs_diff(std::mem::replace(&mut self.begun_ms, now_ms));
        self.next = match took_ms {
            ..FAST_MS => self.fit(bytes.saturating_mul(FACTOR)),
            FAST_MS..SLOW_MS => self.fit(bytes),
            _ => self.fit(bytes / FACTOR),
        };
    }

    /// Begins anew with small segments.
    pub(super) fn restart(&mut self, now_ms: u64) {
        (self.next, self.begun_ms) = (self.least, now_ms);
    }

    fn fit(&self, bytes: usize) -> usize {
        bytes.clamp(self.least, self.most).next_multiple_of(BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// The lengths that follow each other when each segment takes so many milliseconds.
    fn lengths(sizing: &mut Sizing, took_ms: &[u64]) -> Vec<usize> {
        let mut now_ms = sizing.begun_ms;
        let step = |took_ms: &u64| {
            now_ms += took_ms;
            sizing.filled(sizing.next(0), now_ms);
            sizing.next(0) / MIB
        };
        took_ms.iter().map(step).collect()
    }

    #[test]
    fn lengths_grow_with_the_load_and_shrink_without() {
        let mut sizing = Sizing::new(MIB, 48 * MIB, 7);
        assert_eq!(lengths(&mut sizing, &[10, 1_999, 100, 100]), [4, 16, 48, 48]);
        assert_eq!(lengths(&mut sizing, &[2_000, 59_000]), [48, 48]);
        assert_eq!(lengths(&mut sizing, &[60_000; 4]), [12, 3, 1, 1]);
    }

    #[test]
    fn a_log_that_waits_for_its_flush_has_few_segments() {
        let sizing = Sizing::new(MIB, 48 * MIB, 0);
        let (mut waiting, mut count) = (0, 0);
        while waiting < 8 * 48 * MIB {
            waiting += sizing.next(waiting);
            count += 1;
        }
        assert!(count < 80, "{count} segments");
    }

    #[test]
    fn what_a_write_needs_is_prepared_once() {
        let mut sizing = Sizing::new(MIB, 48 * MIB, 0);
        sizing.want(5 * MIB + 1);
        sizing.want(3 * MIB);
        assert_eq!((sizing.wanted(), sizing.next(0)), (Some(5 * MIB + 4096), 5 * MIB + 4096));
        sizing.prepared(4 * MIB);
        assert!(sizing.wanted().is_some());
        sizing.prepared(6 * MIB);
        assert_eq!((sizing.wanted(), sizing.next(0)), (None, MIB));
        sizing.want(usize::MAX / 2);
        assert_eq!(sizing.next(0), 48 * MIB, "no segment is longer");
    }
}
