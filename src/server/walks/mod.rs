//! Walks over keys inside a transaction: KEYS, SCAN, RANGE, PREFIX, DBSIZE, RANDOMKEY.
//!
//! A transaction happens at one moment on the reactor, and a walk over many keys takes too long for it.
//! So EXEC says what it wants to walk over ([`Wanted`]), is interrupted as for a read, and a worker does
//! it ([`WalkJob`]) over one snapshot. From that moment on the keyspace keeps what is written
//! ([`Changes`]). When EXEC runs again, each walk's result is brought up to date: keys that were written
//! since, or that the transaction itself has written before, are looked up and take the place of what the
//! walk has seen, and what has expired is left out. So the reply is that of EXEC's moment.
//!
//! Few changes are looked up by the reactor. If there are too many, the worker does it, over a newer
//! snapshot, and EXEC tries again; those rounds get shorter, for looking changes up is quicker than walking,
//! and there is a bound to them: a transaction whose walks cannot keep up with the writers is refused, and
//! nothing of it is done.

mod changes;
mod count;
mod job;
mod list;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::KeyRange;
use crate::parser::Protocol;

pub(crate) use changes::{Change, Changes, Hold};
pub(crate) use count::Count;
pub(crate) use job::WalkJob;
pub(crate) use list::{List, Patch, Shown};

use super::interrupt::Fault;
use super::limits::{SPARE_KEYS, TRANSACTION_WALKS_BYTES};
use super::values::glob;

/// Which keys are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// A glob-style pattern; none if all match.
    pattern: Option<Vec<u8>>,
    kind: Kind,
}

/// Which types are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Any,
    /// That of this type byte.
    Only(u8),
    /// One that there is not.
    Unknown,
}

impl Filter {
    /// The keys that match a pattern.
    ///
    /// # Errors
    /// It is too long, or otherwise none that is taken.
    pub(crate) fn matching(pattern: &[u8]) -> Result<Self, Fault> {
        glob::check(pattern)?;
        Ok(Filter { pattern: (pattern != b"*").then(|| pattern.to_vec()), kind: Kind::Any })
    }

    /// The same of one type only; none if there is no such type.
    pub(crate) fn of_kind(self, kind: Option<u8>) -> Self {
        Filter { kind: kind.map_or(Kind::Unknown, Kind::Only), ..self }
    }

    /// Whether it lets pass a key, given without its namespace, with what is stored there.
    pub(crate) fn wants(&self, key: &[u8], stored: &[u8]) -> bool {
        let is_kind = match self.kind {
            Kind::Any => true,
            Kind::Only(kind) => stored.first() == Some(&kind),
            Kind::Unknown => false,
        };
        is_kind && self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key, false))
    }

    /// The part of a range in which all keys lie that it lets pass; keys without namespace.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        self.pattern.as_deref().map(glob::literal_prefix).unwrap_or_default()
    }
}

/// What is wanted of the keys of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The keys in order.
    Keys {
        filter: Filter,
        is_reversed: bool,
        has_values: bool,
        /// How many are looked at.
        limit: u64,
        /// Whether fewer may be shown, as it can go on.
        is_page: bool,
    },
    /// How many there are.
    Count,
    /// A few, anywhere in it.
    Few,
}

/// A walk that a transaction wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The engine's keys; all of one namespace.
    pub(crate) range: KeyRange,
    pub(crate) what: What,
    /// How keys are encoded.
    pub(crate) protocol: Protocol,
}

impl Wanted {
    /// The namespace.
    pub(crate) fn namespace(&self) -> u8 {
        self.range.start.first().copied().unwrap_or_default()
    }

    /// What is shown of a key, given without its namespace, if it is wanted.
    pub(crate) fn shown(
        &self,
        key: &[u8],
        stored: &[u8],
        expires_ms: Option<u64>,
    ) -> Option<Shown> {
        let (is_wanted, has_values) = match &self.what {
            What::Keys { filter, has_values, .. } => (filter.wants(key, stored), *has_values),
            What::Count | What::Few => (true, false),
        };
        let kept = if has_values { stored.len() } else { stored.len().min(1) };
        is_wanted.then(|| Shown { stored: stored[..kept].to_vec(), expires_ms })
    }

    /// How many keys are looked at, unless it turns out that more are needed: some of what is seen may be
    /// gone by the time that it is shown.
    pub(crate) fn first_reach(&self) -> u64 {
        match self.what {
            What::Keys { limit, is_page: true, .. } => limit,
            What::Keys { limit, .. } => limit.saturating_add(SPARE_KEYS),
            What::Count | What::Few => u64::MAX,
        }
    }
}

/// Which of a transaction's walks it is: the command's place in the queue, and the walk's of the command.
pub(crate) type Slot = (usize, u8);

/// What a walk has come to.
pub(crate) enum Base {
    List(List),
    Count(Count),
    Failed(Fault),
}

/// A walk that was done.
pub(crate) struct Walked {
    pub(crate) wanted: Wanted,
    /// How many keys were to be looked at.
    pub(crate) reach: u64,
    pub(crate) base: Base,
}

/// The walks of a transaction that were done so far, all over one snapshot.
pub(crate) struct Walks {
    pub(crate) walked: HashMap<Slot, Walked>,
    /// What was written since.
    pub(crate) hold: Hold,
    /// How often workers were asked.
    pub(crate) rounds: u32,
    /// Keeps account of the memory.
    claim: Claim,
}

/// The memory of all transactions' walks together, in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Nothing of it yet.
    pub(crate) fn claim(&self) -> Claim {
        Claim { room: self.clone(), bytes: 0 }
    }
}

/// A share of it; given back when it is dropped.
pub(crate) struct Claim {
    room: Room,
    bytes: usize,
}

impl Claim {
    /// Sets how much it is. Returns whether there is room for that.
    fn set(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let all = &self.room.0;
        all.fetch_add(bytes, Ordering::Relaxed);
        let total = all.fetch_sub(before, Ordering::Relaxed) - before;
        bytes <= before || total <= TRANSACTION_WALKS_BYTES
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_and_bounded() {
        let room = Room::default();
        let (mut one, mut other) = (room.claim(), room.claim());
        assert!(one.set(TRANSACTION_WALKS_BYTES - 10) && other.set(10));
        assert!(!other.set(11), "all together");
        assert!(other.set(5), "less is always right");
        drop(one);
        assert!(other.set(TRANSACTION_WALKS_BYTES));
        drop(other);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn filters_go_by_pattern_and_type() {
        let all = Filter::default();
        assert!(all.wants(b"k", &[0]) && all.wants(b"k", &[9]));
        let strings = Filter::matching(b"a*").unwrap().of_kind(Some(0));
        assert!(strings.wants(b"ab", &[0]) && !strings.wants(b"ab", &[9]));
        assert!(!strings.wants(b"b", &[0]));
        assert_eq!(strings.prefix(), b"a");
        let others = Filter::default().of_kind(None);
        assert!(!others.wants(b"a", &[0]) && !others.wants(b"a", &[]));
    }
}
