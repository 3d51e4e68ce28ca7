//! Keys that clients watch for a transaction: who must be told when one is changed.
//!
//! All writes pass through the reactor, so a change is seen when it is made, as in Redis, and no
//! versions need to be compared later: a key that was changed and changed back counts as changed.

use std::collections::HashMap;

use super::token::ConnectionId;

/// A key as its watcher knows it, by database, whatever SWAPDB does.
pub(crate) type WatchedKey = (usize, Vec<u8>);

/// A watched key, as it was then.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) key: WatchedKey,
    /// Whether it was there.
    pub(crate) existed: bool,
    /// When it was to expire, in milliseconds since the Unix epoch.
    pub(crate) expires_ms: Option<u64>,
}

/// Who watches a key.
#[derive(Debug, Clone, Copy)]
struct Watcher {
    client: ConnectionId,
    existed: bool,
}

/// All watched keys.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    keys: HashMap<WatchedKey, Vec<Watcher>>,
    /// Clients whose keys were changed.
    disturbed: Vec<ConnectionId>,
}

impl Watches {
    /// Whether no key is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Notes that a client watches a key. Returns whether it did not.
    pub(crate) fn add(&mut self, client: ConnectionId, watch: &Watch) -> bool {
        let watchers = self.keys.entry(watch.key.clone()).or_default();
        let is_new = !watchers.iter().any(|watcher| watcher.client == client);
        if is_new {
            watchers.push(Watcher { client, existed: watch.existed });
        }
        is_new
    }

    pub(crate) fn remove(&mut self, client: ConnectionId, watches: &[Watch]) {
        for watch in watches {
            if let Some(watchers) = self.keys.get_mut(&watch.key) {
                watchers.retain(|watcher| watcher.client != client);
                if watchers.is_empty() {
                    self.keys.remove(&watch.key);
                }
            }
        }
    }

    /// A key was changed.
    pub(crate) fn touch(&mut self, key: &WatchedKey) {
        if let Some(watchers) = self.keys.get(key) {
            self.disturbed.extend(watchers.iter().map(|watcher| watcher.client));
        }
    }

    /// All keys of a database were deleted. Who watches for one to appear is not disturbed.
    pub(crate) fn touch_database(&mut self, db: usize) {
        let in_it = self.keys.iter().filter(|(key, _)| key.0 == db);
        let watchers = in_it.flat_map(|(_, watchers)| watchers);
        self.disturbed.extend(watchers.filter(|w| w.existed).map(|w| w.client));
    }

    /// The watched keys of a database.
    pub(crate) fn keys_of(&self, db: usize) -> Vec<WatchedKey> {
        self.keys.keys().filter(|key| key.0 == db).cloned().collect()
    }

    /// The clients disturbed since the last call.
    pub(crate) fn take_disturbed(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.disturbed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 0 }
    }

    fn key(db: usize) -> WatchedKey {
        (db, b"a".to_vec())
    }

    fn watch(db: usize, existed: bool) -> Watch {
        Watch { key: key(db), existed, expires_ms: None }
    }

    #[test]
    fn watchers_of_a_key_are_told_and_no_others() {
        let mut watches = Watches::default();
        watches.add(client(1), &watch(0, true));
        watches.add(client(1), &watch(0, true));
        watches.add(client(2), &watch(0, false));
        watches.add(client(3), &watch(1, true));
        watches.touch(&(0, b"b".to_vec()));
        assert_eq!(watches.take_disturbed(), []);
        watches.touch(&key(0));
        assert_eq!(watches.take_disturbed(), [client(1), client(2)]);
        watches.touch_database(0);
        assert_eq!(watches.take_disturbed(), [client(1)]);
        assert_eq!(watches.keys_of(1), [key(1)]);
        watches.remove(client(1), &[watch(0, true)]);
        watches.touch(&key(0));
        assert_eq!(watches.take_disturbed(), [client(2)]);
        watches.remove(client(2), &[watch(0, true)]);
        watches.remove(client(3), &[watch(1, true)]);
        assert!(watches.is_empty());
    }
}
