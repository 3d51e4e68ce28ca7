//! What readers and writers share: memtables, the current version, the last sequence number.
//!
//! It stands behind one `RwLock`. Writers hold it for a run of operations in memory; no holder does
//! I/O or waits for anything else but the commit queue's lock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::journal::GroupBuffer;
use super::key::{Kind, Seq};
use super::memtable::{Found, Memtable};
use super::version::Version;
use super::wal::encode_write;

/// Frozen memtables that may wait for their flush.
pub(crate) const MAX_IMMUTABLES: usize = 2;

/// The state that a lookup sees.
pub(crate) struct Memory {
    /// Takes writes.
    pub(crate) active: Memtable,
    /// Frozen and not yet in tables, oldest first.
    pub(crate) immutables: VecDeque<Arc<Memtable>>,
    /// The tables.
    pub(crate) version: Arc<Version>,
    /// The last sequence number given out.
    pub(crate) last_seq: Seq,
    /// Encoded writes of the current session.
    pub(crate) staged: GroupBuffer,
    /// Whether new writes are refused for good.
    pub(crate) closed: bool,
    memtable_bytes: usize,
}

impl Memory {
    /// Nothing in memory over the tables of `version`.
    pub(crate) fn new(version: Version, last_seq: Seq, memtable_bytes: usize) -> Self {
        Memory {
            active: Memtable::new(memtable_bytes),
            immutables: VecDeque::new(),
            version: Arc::new(version),
            last_seq,
            staged: GroupBuffer::new(),
            closed: false,
            memtable_bytes,
        }
    }

    /// The newest version of `key` within `snapshot` in memory.
    pub(crate) fn get(&self, key: &[u8], snapshot: Seq) -> Option<Found<'_>> {
        let frozen = self.immutables.iter().rev().map(Arc::as_ref);
        let mut memtables = std::iter::once(&self.active).chain(frozen);
        memtables.find_map(|memtable| memtable.get(key, snapshot))
    }

    /// Whether a write of this size has a memtable to go to.
    pub(crate) fn has_room(&self, key_bytes: usize, value_bytes: usize) -> bool {
        self.active.has_room(key_bytes, value_bytes) || self.immutables.len() < MAX_IMMUTABLES
    }

    /// Applies and stages a write. Returns its number, and whether a memtable was frozen for it.
    pub(crate) fn apply(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> (Seq, bool) {
        let freeze = !self.active.has_room(key.len(), value.len());
        if freeze {
            self.freeze();
        }
        self.last_seq += 1;
        self.active.insert(key, self.last_seq, kind, value);
        self.staged.push(|out| encode_write(out, kind, key, value));
        (self.last_seq, freeze)
    }

    /// Starts a new active memtable; the old one waits for its flush.
    pub(crate) fn freeze(&mut self) {
        let full = std::mem::replace(&mut self.active, Memtable::new(self.memtable_bytes));
        self.immutables.push_back(Arc::new(full));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_meets_the_newest_memtable_first() {
        let mut memory = Memory::new(Version::empty(), 0, 1 << 16);
        for value in [b"1", b"2", b"3"] {
            memory.apply(Kind::Put, b"key", value);
            let found = memory.get(b"key", Seq::MAX);
            assert_eq!(found.map(|found| found.value), Some(&value[..]));
            memory.freeze();
            let found = memory.get(b"key", Seq::MAX);
            assert_eq!(found.map(|found| found.value), Some(&value[..]), "frozen");
        }
        let found = memory.get(b"key", 2);
        assert_eq!(found.map(|found| found.value), Some(&b"2"[..]), "within a snapshot");
    }
}
