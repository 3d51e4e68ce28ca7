//! The open files of tables: a bounded number of them, those that were used lately.
//!
//! A process may open only so many files, and a database may have more tables than that. So a table
//! keeps no file: it asks here whenever it reads, and a file that is not open is opened by its name.
//! That works as long as the name is there: see `shared` for when it goes. A read under way holds
//! its file until it is done, so that a few more than the limit can be open for a moment. Files are
//! opened and closed outside of the lock: whoever must not wait never waits here.
//!
//! Rejected: the block cache's crate with a weight of one each. It admits what was asked for twice,
//! so that a lookup opened a file for its index block, and the same file again for its data block.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use rustix::process::{Resource, getrlimit};

use crate::engine::filename;
use crate::engine::storage::{File, Storage};
use crate::engine::sync::{read, write};

/// Table files that are kept open.
pub(crate) const MAX_OPEN_TABLES: usize = 1_000;

/// How many of them this process can afford: half of what it may have open, for the rest of it needs
/// some as well.
pub(crate) fn affordable_open_tables() -> usize {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(most / 2).unwrap_or(usize::MAX).max(1)
}

/// Files of tables by id.
pub(super) struct Handles {
    limit: usize,
    ring: RwLock<Ring>,
}

/// The open files in a circle, around which a hand goes: it closes the first that was not used since
/// it came by last (the clock algorithm, Corbató 1968).
#[derive(Default)]
struct Ring {
    slots: Vec<Slot>,
    /// The slot of each id.
    places: HashMap<u64, usize>,
    hand: usize,
}

struct Slot {
    id: u64,
    file: Arc<dyn File>,
    is_used: AtomicBool,
}

impl Handles {
    /// Keeps up to `limit` files open.
    pub(super) fn new(limit: usize) -> Self {
        Handles { limit, ring: RwLock::default() }
    }

    /// The file of table `id`, opened if need be.
    pub(super) fn get(&self, id: u64, storage: &dyn Storage) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.get_open(id) {
            return Ok(file);
        }
        let file = storage.open_to_read(&filename::table(id))?;
        let replaced = write(&self.ring).keep(id, Arc::clone(&file), self.limit);
        // Closed only now that the lock is free.
        drop(replaced);
        Ok(file)
    }

    /// The file of table `id` if it is open.
    pub(super) fn get_open(&self, id: u64) -> Option<Arc<dyn File>> {
        let ring = read(&self.ring);
        let slot = ring.slots.get(*ring.places.get(&id)?)?;
        slot.is_used.store(true, Ordering::Relaxed);
        Some(Arc::clone(&slot.file))
    }

    /// Files that are open.
    pub(super) fn len(&self) -> usize {
        read(&self.ring).slots.len()
    }

    /// Closes half of the open files, at least one; false if none is open. Those that are being read
    /// are closed once they have been.
    pub(super) fn close_some(&self) -> bool {
        let closed = write(&self.ring).drop_half();
        !closed.is_empty()
    }

    /// Closes the file of table `id` if it is open.
    pub(super) fn close(&self, id: u64) {
        let closed = write(&self.ring).remove(id);
        drop(closed);
    }
}

impl Ring {
    /// Takes a file in, and returns the one that has to go for it.
    fn keep(&mut self, id: u64, file: Arc<dyn File>, limit: usize) -> Option<Slot> {
        // Two may have opened it at once: one file is enough.
        if limit == 0 || self.places.contains_key(&id) {
            return None;
        }
        let slot = Slot { id, file, is_used: AtomicBool::new(true) };
        if self.slots.len() < limit {
            self.places.insert(id, self.slots.len());
            self.slots.push(slot);
            return None;
        }
        let at = self.next_unused();
        let replaced = std::mem::replace(self.slots.get_mut(at)?, slot);
        self.places.remove(&replaced.id);
        self.places.insert(id, at);
        Some(replaced)
    }

    /// Moves the hand past the first slot that was not used since it came by last.
    fn next_unused(&mut self) -> usize {
        loop {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if !self.slots[at].is_used.swap(false, Ordering::Relaxed) {
                return at;
            }
        }
    }

    /// Takes every other file out, those first that were not used lately.
    fn drop_half(&mut self) -> Vec<Slot> {
        let count = self.slots.len().div_ceil(2);
        (0..count)
            .filter_map(|_| {
                let at = self.next_unused();
                self.remove(self.slots.get(at)?.id)
            })
            .collect()
    }

    fn remove(&mut self, id: u64) -> Option<Slot> {
        let at = self.places.remove(&id)?;
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.id, at);
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::Random;
    use crate::engine::storage::sim::SimStorage;

    #[test]
    fn each_id_has_its_file_whatever_was_closed_before() {
        let storage = SimStorage::new(1);
        for id in 0..30_u8 {
            storage.write_file(&filename::table(id.into()), &[id]).unwrap();
        }
        for limit in [0, 1, 2, 5, 30] {
            let handles = Handles::new(limit);
            let mut random = Random(limit as u64 + 1);
            for _ in 0..3_000 {
                let id = random.below(30);
                if random.below(5) == 0 {
                    handles.close(id);
                    assert!(handles.get_open(id).is_none());
                    continue;
                }
                let mut byte = [0];
                let file = handles.get(id, &storage).unwrap();
                file.read_exact_at(&mut byte, 0).unwrap();
                assert_eq!(u64::from(byte[0]), id);
                assert_eq!(handles.get_open(id).is_some(), limit > 0, "what was opened is open");
                drop(file);
                assert!(storage.open_file_count() <= limit);
            }
        }
    }

    #[test]
    fn half_of_what_is_open_can_be_closed_and_then_the_rest() {
        let storage = SimStorage::new(1);
        (0..9).for_each(|id| storage.write_file(&filename::table(id), b"x").unwrap());
        let handles = Handles::new(100);
        (0..9).for_each(|id| drop(handles.get(id, &storage).unwrap()));
        let mut left = Vec::new();
        while handles.close_some() {
            left.push(storage.open_file_count());
            let open = (0..9).filter(|id| handles.get_open(*id).is_some());
            assert_eq!(open.count(), handles.len());
        }
        assert_eq!(left, [4, 2, 1, 0]);
        assert!(handles.get(3, &storage).is_ok());
    }

    #[test]
    fn threads_share_what_is_open() {
        let storage = SimStorage::new(1);
        (0..9).for_each(|id| storage.write_file(&filename::table(id), b"x").unwrap());
        let handles = Handles::new(4);
        std::thread::scope(|scope| {
            for seed in 1..5 {
                let (handles, storage) = (&handles, &storage);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    for _ in 0..2_000 {
                        let id = random.below(9);
                        handles.get(id, storage).unwrap().read_exact_at(&mut [0], 0).unwrap();
                        if random.below(9) == 0 {
                            handles.close(id);
                        }
                    }
                });
            }
        });
        assert!(storage.open_file_count() <= 4);
    }
}
