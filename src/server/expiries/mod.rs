//! Keys that expire, for those who want to be told: each is told of once.
//!
//! Nothing happens in the engine when a value's time has come: readers do not see it any more, and a merge
//! drops it. While events of expired keys are published, the engine keeps such values
//! ([`Engine::keep_expired`]) until the server has deleted them: it writes a tombstone, and the event
//! leaves with that, once it is durable. So a key is told of once, however often the server is restarted,
//! and whoever wrote it and when.
//!
//! Which keys those are is known from the [`index`], which every write keeps up to date, and which a
//! [`sweep`] over the database fills at first, and again when it had no room for all. Before the first
//! sweep has ended, or where the index has fallen behind, a key may have expired and nobody knows: a
//! command that meets it, or overwrites it, tells of it then ([`Keyspace::lookup`], `Keyspace::commit`).
//!
//! Before a key is deleted it is looked up: an entry of the index may be stale. Much may expire at once, so
//! the work of a tick is bounded, and while the engine does not take writes it waits.
//!
//! [`Engine::keep_expired`]: crate::engine::Engine::keep_expired
//! [`Keyspace::lookup`]: super::keyspace::Keyspace::lookup

mod fire;
mod index;
mod sweep;

use std::time::Duration;

use crate::engine::TableRead;

use self::index::{Index, Part};
pub(crate) use self::sweep::Sweep;
use super::limits::{EXPIRED_PER_MS, EXPIRING_SLICE, UNATTENDED_TIMES};

/// What is being done about finding keys.
enum Search {
    /// Nothing; not before this time, in milliseconds of the reactor's clock.
    Idle { until_ms: u64 },
    /// A worker is at it.
    Under { begun_ms: u64 },
    /// It goes on then.
    Paused { sweep: Box<Sweep>, until_ms: u64, begun_ms: u64 },
}

/// A key whose time has come and that a worker has looked up.
struct Looked {
    key: Vec<u8>,
    expires_ms: u64,
    read: TableRead,
}

/// See the module. Keys are the engine's.
pub(crate) struct Expiries {
    index: Index,
    search: Search,
    /// Tells the sweeps of this one from those of one before.
    number: u64,
    /// Keys that workers are looking up.
    reads: usize,
    looked: Vec<Looked>,
    /// Nothing is deleted before, in milliseconds of the reactor's clock.
    wait_ms: u64,
    /// What expired before this, in milliseconds since the Unix epoch, has waited for somebody who wants
    /// to be told: until there is somebody who listens it may wait on,
    begun_ms: u64,
    /// but not for longer than this, in milliseconds of the reactor's clock.
    held_until_ms: u64,
    /// When a sweep has to find what one has left, in milliseconds of the reactor's clock: keys that expired
    /// while nobody wanted to know, for as long as others are held somebody may meet them; and keys that
    /// could not be looked up.
    again_ms: Option<u64>,
    /// What is to be freed where nobody waits for it.
    emptied: Vec<Part>,
}

impl Expiries {
    fn new(most_bytes: usize, number: u64, begun_ms: u64, held_until_ms: u64) -> Self {
        Expiries {
            index: Index::new(most_bytes),
            search: Search::Idle { until_ms: 0 },
            number,
            reads: 0,
            looked: Vec::new(),
            wait_ms: 0,
            begun_ms,
            held_until_ms,
            again_ms: None,
            emptied: Vec::new(),
        }
    }

    /// A key was written, with or without an expiry, or deleted.
    pub(crate) fn set(&mut self, key: &[u8], expires_ms: Option<u64>) {
        self.index.set(key, expires_ms);
    }

    /// A key has expired, and could not be deleted yet.
    pub(crate) fn put_back(&mut self, key: &[u8], expires_ms: u64) {
        self.index.put_back(key, expires_ms);
    }

    /// All keys of a namespace were deleted.
    pub(crate) fn clear(&mut self, namespace: u8) {
        self.emptied.extend(self.index.clear(namespace));
    }

    /// Whether a key may have expired for all that is known here.
    pub(crate) fn may_be_due(&self, key: &[u8], now_ms: u64) -> bool {
        self.index.may_be_due(key, now_ms)
    }

    /// The memory that it takes, in bytes, more or less.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// In how many milliseconds there is something to do, at `tick_ms` of the reactor's clock and `now_ms`
    /// of the engine's, if nobody listens and if somebody does.
    fn next_in_ms(&self, tick_ms: u64, now_ms: u64, is_heard: bool) -> Option<u64> {
        if !self.emptied.is_empty() {
            return Some(0);
        }
        let due_in_ms = if self.looked.is_empty() {
            let next_ms = self.index.next_ms(self.told_from_ms(tick_ms, is_heard));
            next_ms.map(|expires_ms| expires_ms.saturating_sub(now_ms))
        } else {
            Some(0)
        };
        let fires_in_ms = due_in_ms.map(|ms| ms.max(self.wait_ms.saturating_sub(tick_ms)));
        let search_ms = match &self.search {
            Search::Idle { until_ms } if self.wants_sweep(tick_ms) => Some(*until_ms),
            Search::Idle { until_ms } => self.again_ms.map(|again_ms| again_ms.max(*until_ms)),
            Search::Paused { until_ms, .. } => Some(*until_ms),
            Search::Under { .. } => None,
        };
        let search_in_ms = search_ms.map(|until_ms| until_ms.saturating_sub(tick_ms));
        let is_held = self.told_from_ms(tick_ms, is_heard) > 0 && self.index.next_ms(0).is_some();
        let held_for_ms = is_held.then(|| self.held_until_ms - tick_ms);
        fires_in_ms.into_iter().chain(search_in_ms).chain(held_for_ms).min()
    }

    /// What expired before this is not told of yet, in milliseconds since the Unix epoch.
    fn told_from_ms(&self, tick_ms: u64, is_heard: bool) -> u64 {
        if is_heard || tick_ms >= self.held_until_ms { 0 } else { self.begun_ms }
    }

    /// Whether a key's time has come of what expires at `from_ms` or later.
    fn is_due(&self, from_ms: u64, now_ms: u64) -> bool {
        let is_due = |expires_ms| expires_ms <= now_ms;
        !self.looked.is_empty() || self.index.next_ms(from_ms).is_some_and(is_due)
    }

    /// Whether a sweep would find what is not known and has room here.
    fn wants_sweep(&self, tick_ms: u64) -> bool {
        let is_left = self.again_ms.is_some_and(|again_ms| again_ms <= tick_ms);
        is_left || (!self.index.is_complete() && self.index.is_half_empty())
    }

    /// Has a sweep find again what was left.
    fn sweep_again(&mut self, at_ms: u64) {
        self.again_ms = Some(self.again_ms.map_or(at_ms, |again_ms| again_ms.min(at_ms)));
    }

    fn wait(&mut self, tick_ms: u64, how_long: Duration) {
        self.wait_ms = tick_ms.saturating_add(as_ms(how_long).max(1));
    }
}

/// When nobody wanted to be told, and whether the engine keeps what has expired.
#[derive(Debug)]
pub(crate) struct Attention {
    /// Since when nobody does, in milliseconds since the Unix epoch.
    unattended_since_ms: Option<u64>,
    /// Times in which nobody did. What expired then is not told of unless somebody meets it: Redis would
    /// have deleted it then, in silence.
    unattended: Vec<(u64, u64)>,
    /// How often somebody began to want it.
    begun: u64,
    /// Whether the engine was told to keep what has expired.
    keeps: bool,
    /// For how long after the start it does whoever wants it, in milliseconds.
    kept_ms: u64,
    /// How many keys this millisecond has seen deleted, for they had expired, and how many it may.
    fired_in: (u64, usize),
    per_ms: usize,
    /// Whether somebody who was told something has much that is not read yet.
    is_crowded: bool,
}

impl Attention {
    /// Nobody's; what has expired is kept for so long after the start.
    pub(crate) fn new(kept: Duration) -> Self {
        Attention {
            unattended_since_ms: None,
            unattended: Vec::new(),
            begun: 0,
            keeps: false,
            kept_ms: as_ms(kept),
            fired_in: (0, 0),
            per_ms: *EXPIRED_PER_MS.end(),
            is_crowded: false,
        }
    }

    /// Deleting keys and telling of them took so long.
    fn note_time(&mut self, took: Duration) {
        if took > 2 * EXPIRING_SLICE {
            self.per_ms = (self.per_ms / 2).max(*EXPIRED_PER_MS.start());
        } else if took < EXPIRING_SLICE {
            self.per_ms = (self.per_ms * 2).min(*EXPIRED_PER_MS.end());
        }
    }

    /// How many keys may still be deleted in this millisecond.
    fn left_in(&mut self, tick_ms: u64) -> usize {
        if self.fired_in.0 != tick_ms {
            self.fired_in = (tick_ms, 0);
        }
        let most = if self.is_crowded { *EXPIRED_PER_MS.start() } else { self.per_ms };
        most.saturating_sub(self.fired_in.1)
    }

    fn begin(&mut self, now_ms: u64) -> u64 {
        if let Some(since_ms) = self.unattended_since_ms.take() {
            if self.unattended.len() == UNATTENDED_TIMES {
                self.unattended.remove(0);
            }
            self.unattended.push((since_ms, now_ms));
        }
        self.begun += 1;
        self.begun
    }

    fn end(&mut self, now_ms: u64) {
        self.unattended_since_ms.get_or_insert(now_ms);
    }

    /// Whether somebody wanted to be told when that expired.
    fn is_told(&self, expires_ms: u64) -> bool {
        !self.unattended.iter().any(|&(from, to)| (from..to).contains(&expires_ms))
    }

    /// Whether what expires is kept though nobody wants to be told, as somebody may in a moment.
    fn waits_for_somebody(&self, tick_ms: u64) -> bool {
        tick_ms < self.kept_ms
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expired_while_nobody_wanted_to_know_is_not_told() {
        let mut attention = Attention::new(Duration::ZERO);
        attention.end(100);
        attention.end(150);
        attention.begin(200);
        attention.begin(300);
        assert!(attention.is_told(99) && attention.is_told(200));
        assert!(!attention.is_told(100) && !attention.is_told(199));
        for number in 0..UNATTENDED_TIMES as u64 {
            attention.end(1_000 * (number + 1));
            attention.begin(1_000 * (number + 1) + 10);
        }
        assert!(attention.is_told(150) && !attention.is_told(1_005));
        assert_eq!(attention.unattended.len(), UNATTENDED_TIMES);
    }

    #[test]
    fn where_telling_takes_long_fewer_are_told_of_at_a_time() {
        let mut attention = Attention::new(Duration::ZERO);
        assert_eq!(attention.left_in(1), 256);
        attention.fired_in.1 = 200;
        assert_eq!((attention.left_in(1), attention.left_in(2)), (56, 256));
        attention.note_time(Duration::from_millis(3));
        assert_eq!(attention.left_in(3), 128);
        for _ in 0..9 {
            attention.note_time(Duration::from_millis(3));
        }
        assert_eq!(attention.left_in(4), 8);
        attention.note_time(Duration::from_micros(1_500));
        assert_eq!(attention.left_in(5), 8);
        attention.note_time(Duration::from_micros(10));
        assert_eq!(attention.left_in(6), 16);
        attention.is_crowded = true;
        assert_eq!(attention.left_in(7), 8);
    }

    #[test]
    fn it_says_when_it_has_something_to_do() {
        let mut expiries = Expiries::new(1 << 20, 1, 500, 0);
        let next = |expiries: &Expiries, now_ms| expiries.next_in_ms(5, now_ms, true);
        assert_eq!(next(&expiries, 0), Some(0), "to look for what there is");
        expiries.search = Search::Under { begun_ms: 0 };
        assert_eq!(next(&expiries, 1_000), None);
        expiries.set(b"\0k", Some(1_700));
        assert_eq!(next(&expiries, 1_000), Some(700));
        assert_eq!(next(&expiries, 1_800), Some(0));
        expiries.wait(5, Duration::from_millis(10));
        assert_eq!(next(&expiries, 1_800), Some(10), "the engine takes no writes");
        expiries.search = Search::Idle { until_ms: 7 };
        assert_eq!(next(&expiries, 1_800), Some(2));
        expiries.index.end_sweep();
        assert_eq!(next(&expiries, 1_800), Some(10), "everything is known");
    }

    #[test]
    fn what_has_expired_before_waits_a_while_for_somebody_who_listens() {
        let mut expiries = Expiries::new(1 << 20, 1, 500, 700);
        expiries.index.end_sweep();
        expiries.set(b"\0k", Some(499));
        assert_eq!(expiries.next_in_ms(100, 500, true), Some(0));
        assert_eq!(expiries.next_in_ms(100, 500, false), Some(600));
        assert_eq!(expiries.next_in_ms(700, 500, false), Some(0));
        expiries.set(b"\0l", Some(510));
        assert_eq!(expiries.next_in_ms(100, 500, false), Some(10), "it expires only now");
        expiries.index.clear(0);
        expiries.sweep_again(700);
        assert_eq!(expiries.next_in_ms(100, 500, true), Some(600), "to look once more");
        assert!(!expiries.wants_sweep(100) && expiries.wants_sweep(700));
    }
}
