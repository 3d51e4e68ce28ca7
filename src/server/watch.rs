//! Keys that clients watch for a transaction: who must be told when one is changed.
//!
//! All writes pass through the reactor, so a change is seen when it is made, as in Redis, and no
//! versions need to be compared later: a key that was changed and changed back counts as changed.

use std::collections::HashMap;

use super::token::ConnectionId;

/// A watched key, as it was then.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// The engine key.
    pub(crate) key: Vec<u8>,
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
    keys: HashMap<Vec<u8>, Vec<Watcher>>,
    /// Clients whose keys were changed.
    disturbed: Vec<ConnectionId>,
}

impl Watches {
    /// Whether no key is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn add(&mut self, client: ConnectionId, watch: &Watch) {
        let watchers = self.keys.entry(watch.key.clone()).or_default();
        if !watchers.iter().any(|watcher| watcher.client == client) {
            watchers.push(Watcher { client, existed: watch.existed });
        }
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
    #[inline]
    pub(crate) fn touch(&mut self, key: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        if let Some(watchers) = self.keys.get(key) {
            self.disturbed.extend(watchers.iter().map(|watcher| watcher.client));
        }
    }

    /// All keys of a namespace were deleted. Who watches for one to appear is not disturbed.
    pub(crate) fn touch_namespace(&mut self, namespace: u8) {
        let in_it = self.keys.iter().filter(|(key, _)| key.first() == Some(&namespace));
        let watchers = in_it.flat_map(|(_, watchers)| watchers);
        self.disturbed.extend(watchers.filter(|w| w.existed).map(|w| w.client));
    }

    /// The watched keys of a namespace.
    pub(crate) fn keys_of(&self, namespace: u8) -> Vec<Vec<u8>> {
        self.keys.keys().filter(|key| key.first() == Some(&namespace)).cloned().collect()
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

    fn watch(key: &[u8], existed: bool) -> Watch {
        Watch { key: key.to_vec(), existed, expires_ms: None }
    }

    #[test]
    fn watchers_of_a_key_are_told_and_no_others() {
        let mut watches = Watches::default();
        watches.add(client(1), &watch(b"\0a", true));
        watches.add(client(1), &watch(b"\0a", true));
        watches.add(client(2), &watch(b"\0a", false));
        watches.add(client(3), &watch(b"\x01a", true));
        watches.touch(b"\0b");
        assert_eq!(watches.take_disturbed(), []);
        watches.touch(b"\0a");
        assert_eq!(watches.take_disturbed(), [client(1), client(2)]);
        watches.touch_namespace(0);
        assert_eq!(watches.take_disturbed(), [client(1)]);
        assert_eq!(watches.keys_of(1), [b"\x01a"]);
        watches.remove(client(1), &[watch(b"\0a", true)]);
        watches.touch(b"\0a");
        assert_eq!(watches.take_disturbed(), [client(2)]);
        watches.remove(client(2), &[watch(b"\0a", true)]);
        watches.remove(client(3), &[watch(b"\x01a", true)]);
        assert!(watches.is_empty());
    }
}
