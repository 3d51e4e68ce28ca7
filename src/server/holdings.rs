//! What clients make the server hold: input that is not done with, replies that are not taken, answers
//! that wait for others, queued commands, watched keys, subscriptions, values fetched for a command. One
//! total over all clients, changed wherever one of these changes, and so never behind.
//!
//! Past its bound the worst clients are closed: those that hold most for what they move. Short before it,
//! nothing more is taken from those who do not read, for that is what can wait.

/// Memory is short from this share of the bound on, in eighths, until it is back under that.
const SHORT_EIGHTHS: usize = 7;
const EASY_EIGHTHS: usize = 6;

/// Bytes moved within a window or two that make a client count as one that gets on.
const BRISK_BYTES: u64 = 4 << 10;

/// What every client may hold unblamed: a few requests and replies, INFO's among them. Without this an
/// honest client that says little would go before a crowd of strangers who have just sent much.
const MODEST_BYTES: usize = 32 << 10;

/// See [`Pace`].
const WINDOW_MS: u64 = 5_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Holdings {
    total_bytes: usize,
    peak_bytes: usize,
    bound_bytes: usize,
    is_short: bool,
}

impl Holdings {
    /// Nothing yet; `bound_bytes` is the most.
    pub(crate) fn new(bound_bytes: usize) -> Self {
        Holdings { total_bytes: 0, peak_bytes: 0, bound_bytes, is_short: false }
    }

    /// What one client holds has changed.
    #[inline]
    pub(crate) fn change(&mut self, before: usize, after: usize) {
        if before != after {
            self.total_bytes = self.total_bytes - before + after;
            self.peak_bytes = self.peak_bytes.max(self.total_bytes);
            self.judge();
        }
    }

    /// Sets the bound.
    pub(crate) fn set_bound(&mut self, bound_bytes: usize) {
        self.bound_bytes = bound_bytes;
        self.judge();
    }

    fn judge(&mut self) {
        let eighth = self.bound_bytes / 8;
        let eighths = if self.is_short { EASY_EIGHTHS } else { SHORT_EIGHTHS };
        self.is_short = self.total_bytes > eighth.saturating_mul(eighths);
    }

    /// How much too much it is.
    #[inline]
    pub(crate) fn excess_bytes(&self) -> usize {
        self.total_bytes.saturating_sub(self.bound_bytes)
    }

    /// Whether what can wait should.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether half of what may be held is.
    pub(crate) fn is_half_full(&self) -> bool {
        self.total_bytes > self.bound_bytes / 2
    }

    /// Whether so much is more than an eighth of what may be held.
    pub(crate) fn is_large_share(&self, bytes: usize) -> bool {
        bytes > self.bound_bytes / 8
    }

    /// How much has to go before memory is not short any more.
    pub(crate) fn shortage_bytes(&self) -> usize {
        self.total_bytes.saturating_sub(self.bound_bytes / 8 * EASY_EIGHTHS)
    }

    /// What messages for others may take before they are with those others: what is left, and always
    /// something, lest few who hold much silence everybody.
    pub(crate) fn room_for_messages(&self) -> usize {
        self.bound_bytes.saturating_sub(self.total_bytes).max(self.bound_bytes / 4)
    }

    /// What all clients hold now, and the most it ever was.
    pub(crate) fn total_and_peak(&self) -> (usize, usize) {
        (self.total_bytes, self.peak_bytes)
    }
}

/// How many bytes a client has moved of late, in either direction: in this window of five seconds and
/// in the one before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    window: u32,
    current: u32,
    previous: u32,
}

impl Pace {
    /// Bytes were moved.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize, now_ms: u64) {
        self.turn_over(now_ms);
        self.current = self.current.saturating_add(bytes as u32);
    }

    fn turn_over(&mut self, now_ms: u64) {
        let window = (now_ms / WINDOW_MS) as u32;
        if window != self.window {
            let is_next = window == self.window.wrapping_add(1);
            self.previous = if is_next { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
    }

    /// How bad it is that a client of this pace holds so much: the first to be closed has the most. It
    /// is zero for what anybody may hold.
    pub(crate) fn burden(mut self, held_bytes: usize, now_ms: u64) -> u64 {
        self.turn_over(now_ms);
        let moved = u64::from(self.current) + u64::from(self.previous);
        let blamed_bytes = held_bytes.saturating_sub(MODEST_BYTES) as u64;
        blamed_bytes.saturating_mul(BRISK_BYTES) / (1 + moved.min(BRISK_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_before_it_runs_out_and_until_there_is_some_again() {
        let mut all = Holdings::new(800);
        all.change(0, 700);
        assert!(!all.is_short());
        all.change(0, 101);
        assert!(all.is_short());
        assert_eq!((all.excess_bytes(), all.shortage_bytes()), (1, 201));
        all.change(101, 0);
        assert!(all.is_short());
        all.change(700, 600);
        assert!(!all.is_short());
        assert_eq!(all.room_for_messages(), 200);
        all.set_bound(usize::MAX);
        all.change(600, usize::MAX / 16);
        assert!(!all.is_short());
        assert_eq!(all.total_and_peak(), (usize::MAX / 16, usize::MAX / 16));
    }

    #[test]
    fn who_gets_on_is_spared() {
        let (mut slow, mut stuck, mut quick) = <(Pace, Pace, Pace)>::default();
        quick.count(1 << 30, 1);
        stuck.count(1 << 20, 1);
        slow.count(2_000, 20_000);
        let now_ms = 21_000;
        let burdens = [
            quick.burden(300 << 10, 2),
            slow.burden(30 << 20, now_ms),
            stuck.burden(300 << 10, now_ms),
        ];
        assert!(burdens.is_sorted(), "{burdens:?}");
        let same = [slow.burden(40 << 10, now_ms), slow.burden(50 << 10, now_ms)];
        assert!(same[0] < same[1]);
    }

    #[test]
    fn who_says_little_does_not_go_before_those_who_hold_much() {
        let (mut stranger, quiet) = <(Pace, Pace)>::default();
        stranger.count(100_000, 1);
        let quiet_burden = quiet.burden(16 << 10, 2);
        assert!(quiet_burden < stranger.burden(100_000, 2), "{quiet_burden}");
    }

    #[test]
    fn what_was_moved_counts_for_two_windows() {
        let mut pace = Pace::default();
        pace.count(1 << 20, 4_999);
        let held_bytes = MODEST_BYTES + 4097;
        assert_eq!(pace.burden(held_bytes, 9_999), 4096);
        assert_eq!(pace.burden(held_bytes, 10_000), 4097 * 4096);
    }
}
