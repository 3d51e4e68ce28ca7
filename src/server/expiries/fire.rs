//! Deleting what has expired and telling of it, and keeping the search for it going.

use std::time::{Duration, Instant};

use crate::engine::{Admission, Batch};

use super::super::client::Client;
use super::super::dispatch::Services;
use super::super::effects::Classes;
use super::super::keyspace::{Fetched, Standing};
use super::super::limits::{
    EXPIRED_TOMBSTONES_BYTES, EXPIRING_SLICE, EXPIRY_READS, MESSAGES_HARD_BYTES, SWEEP_AGAIN,
    SWEEP_PAUSE,
};
use super::super::workers::Job;
use super::sweep::Slice;
use super::{Expiries, Looked, Search, Sweep, as_ms};

/// How long to wait when the engine does not take writes for now, and when it does not at all.
const STALLED_PAUSE: Duration = Duration::from_millis(5);
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Keys whose time has come, and the write that deletes them.
#[derive(Default)]
struct Due {
    keys: Vec<(Vec<u8>, u64)>,
    tombstones: Batch,
}

impl Due {
    /// Whether one log segment, however small, may take no more.
    fn is_full(&self) -> bool {
        self.tombstones.size_bytes() >= EXPIRED_TOMBSTONES_BYTES
    }

    fn add(&mut self, key: &[u8], expires_ms: u64) {
        self.tombstones.delete(key);
        self.keys.push((key.to_vec(), expires_ms));
    }
}

impl Services<'_> {
    /// In how many milliseconds there is something to do about keys that expire.
    pub(crate) fn next_expiry_in_ms(&self) -> Option<u64> {
        let Some(expiries) = &self.keyspace.expiries else {
            let attention = &self.attention;
            return attention.keeps.then(|| attention.kept_ms.saturating_sub(self.tick_ms));
        };
        let is_heard = self.pubsub.may_hear_events();
        expiries.next_in_ms(self.tick_ms, self.keyspace.now_ms(), is_heard)
    }

    /// Once a tick: tells of keys whose time has come, and looks for more of them.
    pub(crate) fn attend_to_expiries(&mut self) {
        if self.next_expiry_in_ms() != Some(0) {
            return;
        }
        if self.keyspace.expiries.is_none() {
            return self.update_expiries();
        }
        self.tell_expiries(None);
        self.advance_sweep();
    }

    /// Deletes keys whose time has come and tells of them, as far as this millisecond allows. Returns what
    /// is for the client that is being served.
    pub(crate) fn tell_expiries(&mut self, client: Option<&Client>) -> Vec<u8> {
        let Some(expiries) = &self.keyspace.expiries else { return Vec::new() };
        let from_ms = expiries.told_from_ms(self.tick_ms, self.pubsub.may_hear_events());
        let is_due = expiries.is_due(from_ms, self.keyspace.now_ms());
        let is_waiting = expiries.wait_ms > self.tick_ms;
        let most = self.attention.left_in(self.tick_ms);
        if is_waiting || !is_due || most == 0 {
            return Vec::new();
        }
        let begun = Instant::now();
        let due = self.take_due(from_ms, most);
        self.attention.fired_in.1 += due.keys.len();
        if !self.write_tombstones(&due) {
            return Vec::new();
        }
        for (key, expires_ms) in due.keys {
            self.note_expired(&key, self.attention.is_told(expires_ms));
        }
        let own = self.publish_effects(client);
        self.attention.note_time(begun.elapsed());
        own
    }

    /// Messages were put into outboxes, of which the fullest holds so much. Nobody should be closed for
    /// the server tells faster than they can read.
    pub(crate) fn note_backlog(&mut self, most_queued: Option<usize>) {
        if let Some(queued) = most_queued {
            self.attention.is_crowded = queued > MESSAGES_HARD_BYTES / 4;
        }
    }

    /// A key has expired and is deleted.
    pub(crate) fn note_expired(&mut self, key: &[u8], is_told: bool) {
        self.stats.expired += 1;
        if let Some(db) = self.keyspace.database_of(key[0]).filter(|_| is_told) {
            self.effects.notify(Classes::EXPIRED, "expired", db, &key[1..]);
        }
    }

    /// Keys that have expired, as a look at each of them says, for about a millisecond's work.
    fn take_due(&mut self, from_ms: u64, most: usize) -> Due {
        let (begun, now_ms) = (Instant::now(), self.keyspace.now_ms());
        let mut due = Due::default();
        self.take_looked(&mut due);
        while due.keys.len() < most && !due.is_full() && begun.elapsed() < EXPIRING_SLICE {
            let Some(expiries) = &mut self.keyspace.expiries else { break };
            let Some((key, expires_ms)) = expiries.index.take_due(from_ms, now_ms) else { break };
            if !self.look(&key, expires_ms, &mut due) {
                break;
            }
        }
        due
    }

    /// What workers have looked up counts if nothing has changed since.
    fn take_looked(&mut self, due: &mut Due) {
        while !due.is_full() {
            let expiries = self.keyspace.expiries.as_mut();
            let Some(looked) = expiries.and_then(|expiries| expiries.looked.pop()) else { return };
            if self.keyspace.confirms(&looked.read, &looked.key) {
                due.add(&looked.key, looked.expires_ms);
            } else if let Some(expiries) = &mut self.keyspace.expiries {
                expiries.put_back(&looked.key, looked.expires_ms);
            }
        }
    }

    /// Looks a key up whose time seems to have come. False if no more can be looked up now.
    fn look(&mut self, key: &[u8], expires_ms: u64, due: &mut Due) -> bool {
        let now_ms = self.keyspace.now_ms();
        let standing = self.keyspace.standing(key);
        let Some(expiries) = &mut self.keyspace.expiries else { return false };
        match standing {
            Standing::Expires(expires_ms) if expires_ms <= now_ms => due.add(key, expires_ms),
            Standing::Expires(expires_ms) => expiries.set(key, Some(expires_ms)),
            Standing::Stays => {}
            Standing::Failed => expiries.sweep_again(self.tick_ms + as_ms(SWEEP_AGAIN)),
            Standing::Unread(read) => {
                let job = Job::Expiry { owner: expiries.number, key: key.to_vec(), read };
                if expiries.reads >= EXPIRY_READS || !self.workers.submit(job) {
                    expiries.put_back(key, expires_ms);
                    expiries.wait(self.tick_ms, Duration::from_millis(1));
                    return false;
                }
                expiries.reads += 1;
            }
        }
        true
    }

    /// Deletes keys; if the engine does not take that now, they are left for later.
    fn write_tombstones(&mut self, due: &Due) -> bool {
        if due.keys.is_empty() {
            return true;
        }
        let pause = match self.keyspace.write_now(&due.tombstones) {
            Admission::Ready => return true,
            Admission::Stalled(stall) => stall.retry_after.unwrap_or(STALLED_PAUSE),
            Admission::Refused(_) => REFUSED_PAUSE,
        };
        if let Some(expiries) = &mut self.keyspace.expiries {
            for (key, expires_ms) in &due.keys {
                expiries.put_back(key, *expires_ms);
            }
            expiries.wait(self.tick_ms, pause);
        }
        false
    }

    /// A worker has looked a key up.
    pub(crate) fn take_expiry_read(&mut self, owner: u64, fetched: Fetched) {
        let now_ms = self.keyspace.now_ms();
        let expiries = self.keyspace.expiries.as_mut();
        let Some(expiries) = expiries.filter(|expiries| expiries.number == owner) else { return };
        expiries.reads -= 1;
        let Fetched { key, read, result } = fetched;
        let Ok(record) = result else {
            return expiries.sweep_again(self.tick_ms + as_ms(SWEEP_AGAIN));
        };
        match record.and_then(|record| record.expires_ms) {
            Some(expires_ms) if expires_ms <= now_ms => {
                expiries.looked.push(Looked { key, expires_ms, read });
            }
            Some(expires_ms) => expiries.index.add_found(&key, expires_ms),
            None => {}
        }
    }

    /// Begins a sweep, or has it go on.
    fn advance_sweep(&mut self) {
        let tick_ms = self.tick_ms;
        let Some(expiries) = &mut self.keyspace.expiries else { return };
        for part in std::mem::take(&mut expiries.emptied) {
            self.workers.submit(Job::Drop(Box::new(part)));
        }
        let begun_ms = match &expiries.search {
            Search::Idle { until_ms } if *until_ms <= tick_ms && expiries.wants_sweep(tick_ms) => {
                tick_ms
            }
            Search::Paused { until_ms, begun_ms, .. } if *until_ms <= tick_ms => *begun_ms,
            Search::Idle { .. } | Search::Paused { .. } | Search::Under { .. } => return,
        };
        let number = expiries.number;
        let sweep = match std::mem::replace(&mut expiries.search, Search::Under { begun_ms }) {
            Search::Paused { sweep, .. } => Some(sweep),
            Search::Idle { .. } | Search::Under { .. } => {
                expiries.index.begin_sweep();
                expiries.again_ms = None;
                None
            }
        };
        let sweep =
            sweep.unwrap_or_else(|| Box::new(Sweep::new(self.keyspace.engine().clone(), number)));
        self.send_sweep(sweep);
    }

    fn send_sweep(&mut self, mut sweep: Box<Sweep>) {
        let Some(expiries) = &mut self.keyspace.expiries else { return };
        sweep.limit_ms = expiries.index.limit_ms();
        if !self.workers.submit(Job::Sweep(sweep)) {
            // It begins again: what has been found stays.
            expiries.search = Search::Idle { until_ms: self.tick_ms + as_ms(SWEEP_PAUSE) };
        }
    }

    /// A worker has done a slice of a sweep.
    pub(crate) fn take_sweep(&mut self, mut sweep: Box<Sweep>) {
        let (tick_ms, now_ms) = (self.tick_ms, self.keyspace.now_ms());
        let expiries = self.keyspace.expiries.as_mut();
        let Some(expiries) = expiries.filter(|expiries| expiries.number == sweep.owner) else {
            return;
        };
        let is_held = tick_ms < expiries.held_until_ms;
        for (key, expires_ms) in sweep.found.drain(..) {
            if is_held && !self.attention.is_told(expires_ms) {
                expiries.sweep_again(expiries.held_until_ms);
            } else {
                expiries.index.add_found(&key, expires_ms);
            }
        }
        let Search::Under { begun_ms } = expiries.search else { return };
        let pause = match sweep.slice {
            // What it finds would push out what waits to be deleted.
            Slice::Unfinished if !expiries.index.is_half_empty() && expiries.is_due(0, now_ms) => {
                SWEEP_PAUSE / 50
            }
            Slice::Unfinished => sweep.took,
            Slice::Failed => SWEEP_PAUSE,
            Slice::Finished => {
                expiries.index.end_sweep();
                // Where it has found more than there is room for of what has expired, the next one
                // follows soon.
                let is_behind = expiries.index.is_behind(now_ms);
                let least = if is_behind { SWEEP_PAUSE / 50 } else { SWEEP_PAUSE };
                let pause_ms = as_ms(least).max(tick_ms - begun_ms);
                expiries.search = Search::Idle { until_ms: tick_ms + pause_ms };
                return;
            }
        };
        let until_ms = tick_ms + as_ms(pause).max(1);
        expiries.search = Search::Paused { sweep, until_ms, begun_ms };
    }

    /// Begins or ends keeping expiries, as the classes of events that are published ask for it.
    pub(crate) fn update_expiries(&mut self) {
        let classes = self.effects.classes;
        let is_wanted = classes.is_active() && classes.has(Classes::EXPIRED);
        let now_ms = self.keyspace.now_ms();
        if !is_wanted {
            self.attention.end(now_ms);
            if let Some(expiries) = self.keyspace.expiries.take() {
                self.workers.submit(Job::Drop(Box::new(expiries)));
            }
        } else if self.keyspace.expiries.is_none() {
            let number = self.attention.begin(now_ms);
            let held_until_ms = self.tick_ms.saturating_add(self.attention.kept_ms);
            let expiries = Expiries::new(self.expiry_index_bytes, number, now_ms, held_until_ms);
            self.keyspace.expiries = Some(expiries);
        }
        let keeps = is_wanted || self.attention.waits_for_somebody(self.tick_ms);
        if keeps != self.attention.keeps {
            self.attention.keeps = keeps;
            self.keyspace.engine().keep_expired(keeps);
        }
    }
}
