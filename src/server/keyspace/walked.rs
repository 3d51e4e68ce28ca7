//! What a transaction sees of a range of keys: what a worker has found there, brought up to date with what
//! was written since, and with what the transaction itself has staged. See [`super::super::walks`].

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::engine::{Engine, KeyRange, Lookup, Record};

use super::super::interrupt::{Fault, Interrupt};
use super::super::limits::{RECENT_CHANGES, WALK_ROUNDS};
use super::super::walks::{
    Base, Change, Count, List, Patch, Shown, Slot, WalkJob, Walked, Walks, Wanted, What,
};
use super::Keyspace;

const TOO_QUICK: &str = "ERR the keys change faster than the transaction can walk over them: nothing of it was done, try again or walk outside of it";

/// The walks of the transaction that runs.
#[derive(Default)]
pub(super) struct Walking {
    done: Option<Walks>,
    /// Those that are still to be done, with the number of keys to be looked at.
    wanted: Vec<(Slot, Wanted, u64)>,
    /// Whether too much was written since the walks were done.
    is_behind: bool,
    /// Of the next one.
    slot: Slot,
    recent: Option<Recent>,
}

/// What was written since the walks were done.
#[derive(Default)]
struct Recent {
    keys: BTreeSet<Vec<u8>>,
    cleared: Vec<u8>,
}

/// A list that a walk has come to.
pub(crate) struct Page {
    /// Its elements, encoded.
    pub(crate) bytes: Vec<u8>,
    /// How many keys these are.
    pub(crate) keys: u64,
    /// The engine's key that comes next, if the walk was to end before the range does.
    pub(crate) next: Option<Vec<u8>>,
}

impl Keyspace<'_> {
    /// Begins a transaction, with the walks that were done for it.
    pub(crate) fn begin_walks(&mut self, done: Option<Walks>) {
        self.walking = Walking { done, ..Walking::default() };
    }

    /// Begins one of its commands, the `at`th.
    pub(crate) fn begin_walks_of(&mut self, at: usize) {
        self.walking.slot = (at, 0);
    }

    /// The walks that were done for it so far.
    pub(crate) fn take_walks(&mut self) -> Option<Walks> {
        self.walking.done.take()
    }

    /// Whether it needs walks that were not done, or not lately.
    pub(crate) fn wants_walks(&self) -> bool {
        self.walking.is_behind || !self.walking.wanted.is_empty()
    }

    /// What is to be done for it, beside `old` walks.
    pub(crate) fn walk_job(&mut self, mut old: Option<Walks>) -> WalkJob {
        let wanted = std::mem::take(&mut self.walking.wanted);
        self.walking.is_behind = false;
        let since = match &mut old {
            Some(old) if self.written.count_since(&old.hold).is_some() => {
                self.written.shared_since(&old.hold)
            }
            Some(old) => {
                old.walked.clear();
                Vec::new()
            }
            None => Vec::new(),
        };
        let hold = self.written.hold();
        let claim = self.room.claim();
        let engine: &Engine = self.engine();
        WalkJob::new(engine, wanted, old, since, hold, claim)
    }

    /// The list that a walk comes to.
    ///
    /// # Errors
    /// [`Interrupt::Later`] until it is done; damage as a fault, and that it cannot be done.
    pub(crate) fn walk_list(&mut self, wanted: &Wanted) -> Result<Page, Interrupt> {
        let (limit, is_page) = match wanted.what {
            What::Keys { is_page: true, .. } => (u64::MAX, true),
            What::Keys { limit, .. } => (limit, false),
            What::Count | What::Few => (u64::MAX, false),
        };
        self.walk(wanted, |keyspace, list| {
            let patches = keyspace.patches(&list.covered, wanted)?;
            let (bytes, keys) = list.show(&patches, keyspace.now_ms(), limit)?;
            let is_enough = is_page || keys >= limit || list.next.is_none();
            let next = list.next.clone().filter(|_| is_page);
            Ok(is_enough.then_some(Page { bytes, keys, next }))
        })
    }

    /// Some of the keys that a walk comes to, all of them if they are few; without their namespace.
    ///
    /// # Errors
    /// As [`Keyspace::walk_list`].
    pub(crate) fn walk_keys(&mut self, wanted: &Wanted) -> Result<Vec<Vec<u8>>, Interrupt> {
        self.walk(wanted, |keyspace, list| {
            let patches = keyspace.patches(&list.covered, wanted)?;
            let keys = list.keys(&patches, keyspace.now_ms());
            let is_enough = !keys.is_empty() || list.next.is_none();
            Ok(is_enough.then_some(keys))
        })
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// As [`Keyspace::walk_list`].
    pub(crate) fn walk_count(&mut self, wanted: &Wanted) -> Result<u64, Interrupt> {
        let slot = self.begin_walk();
        let is_empty = self.is_emptied(wanted.namespace());
        let walked = if is_empty { None } else { Some(self.take_walked(slot, wanted)?) };
        let patches = self.patches(&wanted.range, wanted);
        let now_ms = self.now_ms();
        let number = patches.and_then(|patches| match walked.as_ref().map(|walked| &walked.base) {
            Some(Base::Count(count)) if !self.was_emptied(wanted.namespace()) => {
                Ok(count.number(&patches, now_ms))
            }
            Some(Base::Failed(fault)) => Err(fault.clone().into()),
            _ => Ok(Count::new().number(&patches, now_ms)),
        });
        self.put_back_walked(slot, walked);
        number
    }

    /// Has `show` say what a list comes to; unless it is too short, for then it is made anew.
    fn walk<T>(
        &mut self,
        wanted: &Wanted,
        show: impl FnOnce(&mut Self, &List) -> Result<Option<T>, Interrupt>,
    ) -> Result<T, Interrupt> {
        let slot = self.begin_walk();
        let namespace = wanted.namespace();
        let is_emptied = self.is_emptied(namespace);
        let walked = if is_emptied { None } else { Some(self.take_walked(slot, wanted)?) };
        let reach = walked.as_ref().map_or(u64::MAX, |walked| walked.reach);
        let shown = match walked.as_ref().map(|walked| &walked.base) {
            Some(Base::Failed(fault)) => Err(fault.clone().into()),
            Some(Base::List(list)) if !self.was_emptied(namespace) => show(self, list),
            _ => show(self, &List::empty(wanted)),
        };
        match shown {
            Ok(None) => self.want(slot, wanted, reach.saturating_mul(8)),
            Ok(Some(shown)) => {
                self.put_back_walked(slot, walked);
                Ok(shown)
            }
            Err(interrupt) => {
                self.put_back_walked(slot, walked);
                Err(interrupt)
            }
        }
    }

    /// The reply tells of all that was written so far.
    fn begin_walk(&mut self) -> Slot {
        self.shown = self.shown.max(self.last_seq).max(self.swap_seq);
        let slot = self.walking.slot;
        self.walking.slot.1 = slot.1.wrapping_add(1);
        slot
    }

    /// Whether the transaction itself has emptied a namespace.
    fn is_emptied(&self, namespace: u8) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| overlay.cleared.contains(&namespace))
    }

    /// Whether somebody has, since the walks were done.
    fn was_emptied(&mut self, namespace: u8) -> bool {
        self.recent().cleared.contains(&namespace)
    }

    fn recent(&mut self) -> &Recent {
        let Walking { done, recent, .. } = &mut self.walking;
        let changes = &self.written;
        recent.get_or_insert_with(|| {
            let mut recent = Recent::default();
            for change in done.iter().flat_map(|done| changes.since(&done.hold)) {
                match change {
                    Change::Key(key) => _ = recent.keys.insert(key.to_vec()),
                    Change::Cleared(namespace) => recent.cleared.push(*namespace),
                }
            }
            recent
        })
    }

    /// What a worker has found; not for good.
    fn take_walked(&mut self, slot: Slot, wanted: &Wanted) -> Result<Walked, Interrupt> {
        let since = self.walking.done.as_ref().map(|done| self.written.count_since(&done.hold));
        if let (Some(done), Some(None)) = (&mut self.walking.done, since) {
            // So much was written that it is not known any more what.
            done.walked.clear();
        }
        let walked = self.walking.done.as_mut().and_then(|done| done.walked.remove(&slot));
        let Some(walked) = walked.filter(|walked| walked.wanted == *wanted) else {
            return self.want(slot, wanted, wanted.first_reach());
        };
        if since.flatten().is_some_and(|count| count > RECENT_CHANGES) {
            self.put_back_walked(slot, Some(walked));
            self.check_rounds()?;
            self.walking.is_behind = true;
            return Err(Interrupt::Later);
        }
        Ok(walked)
    }

    fn put_back_walked(&mut self, slot: Slot, walked: Option<Walked>) {
        if let (Some(done), Some(walked)) = (&mut self.walking.done, walked) {
            done.walked.insert(slot, walked);
        }
    }

    fn want<T>(&mut self, slot: Slot, wanted: &Wanted, reach: u64) -> Result<T, Interrupt> {
        self.check_rounds()?;
        self.walking.wanted.push((slot, wanted.clone(), reach));
        Err(Interrupt::Later)
    }

    /// Whether workers may be asked once more.
    fn check_rounds(&mut self) -> Result<(), Interrupt> {
        let rounds = self.walking.done.as_ref().map_or(0, |done| done.rounds);
        if rounds < WALK_ROUNDS {
            return Ok(());
        }
        self.is_overfull = true;
        Err(TOO_QUICK.into())
    }

    /// What has become of the keys of a range that were written since the walks were done, or that the
    /// transaction writes.
    fn patches(&mut self, covered: &KeyRange, wanted: &Wanted) -> Result<Vec<Patch>, Interrupt> {
        let mut keys = BTreeSet::new();
        if !self.is_emptied(wanted.namespace()) {
            let from = (Bound::Included(covered.start.as_slice()), Bound::Unbounded);
            let behind = self.recent().keys.range::<[u8], _>(from);
            keys.extend(behind.take_while(|key| covered.contains(key)).cloned());
        }
        if let Some(overlay) = &self.overlay {
            keys.extend(overlay.keys.keys().filter(|key| covered.contains(key)).cloned());
        }
        let (mut patches, mut is_lacking) = (Vec::with_capacity(keys.len()), false);
        for key in keys {
            match self.shown_now(&key, wanted) {
                Ok(now) => patches.push(Patch { key: key[1..].to_vec(), now }),
                Err(Interrupt::Later) => is_lacking = true,
                Err(other) => return Err(other),
            }
        }
        if is_lacking { Err(Interrupt::Later) } else { Ok(patches) }
    }

    /// What the transaction sees of an engine's key.
    fn shown_now(&mut self, key: &[u8], wanted: &Wanted) -> Result<Option<Shown>, Interrupt> {
        let now_ms = self.engine.now_ms();
        if let Some(staged) = self.overlay.as_ref().and_then(|overlay| overlay.keys.get(key)) {
            let live =
                staged.as_ref().filter(|staged| staged.expires_ms.is_none_or(|ms| ms > now_ms));
            return Ok(live.and_then(|s| wanted.shown(&key[1..], &s.value, s.expires_ms)));
        }
        let shown = |record: &Record<'_>| wanted.shown(&key[1..], &record.value, record.expires_ms);
        let engine = self.engine;
        let session = self.session.get_or_insert_with(|| engine.session());
        match session.lookup(key).map_err(|error| Fault::from(&error))? {
            Lookup::Found(record) => Ok(shown(&record)),
            Lookup::Missing { .. } => Ok(None),
            Lookup::Deferred(read) => {
                let fetched = self.fetched.get(key);
                let confirmed = fetched.filter(|done| session.confirms(&done.read, key));
                let Some(done) = confirmed else {
                    self.wanted.push((key.to_vec(), read));
                    return Err(Interrupt::Later);
                };
                let record = done.result.as_ref().map_err(Fault::from)?;
                Ok(record.as_ref().and_then(shown))
            }
        }
    }
}
