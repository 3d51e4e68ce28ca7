//! Keyspace events for keys that expire.
//!
//! Nothing happens in the store when a value's time has come: readers do not see it any more, and a
//! merge drops it. So that those who listen hear of it, the expiries written while somebody may be
//! listening are kept here in the order of time. A write that comes later takes an entry's place or
//! removes it; an entry whose time has come is told once. Expiries from before, and from before the
//! server's start, are not known here, and of more than [`MOST`] at a time only the earliest.

use std::collections::{BTreeSet, HashMap};

use super::client::Client;
use super::dispatch::Services;
use super::effects::Classes;

/// The most expiries that are kept.
const MOST: usize = 1 << 20;

/// Expiries told per tick.
const PER_TICK: usize = 1000;

/// See the module. Keys are the engine's.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    by_key: HashMap<Vec<u8>, u64>,
    /// Milliseconds since the Unix epoch, and the key.
    by_time: BTreeSet<(u64, Vec<u8>)>,
}

impl Expiries {
    /// A key was written, with or without an expiry, or deleted.
    pub(crate) fn set(&mut self, key: &[u8], expires_ms: Option<u64>) {
        if let Some(before) = self.by_key.remove(key) {
            self.by_time.remove(&(before, key.to_vec()));
        }
        if let Some(expires_ms) = expires_ms {
            self.by_key.insert(key.to_vec(), expires_ms);
            self.by_time.insert((expires_ms, key.to_vec()));
        }
        if self.by_key.len() > MOST
            && let Some((_, key)) = self.by_time.pop_last()
        {
            self.by_key.remove(&key);
        }
    }

    /// All keys of a namespace were deleted.
    pub(crate) fn clear(&mut self, namespace: u8) {
        self.by_key.retain(|key, _| key.first() != Some(&namespace));
        self.by_time.retain(|(_, key)| key.first() != Some(&namespace));
    }

    /// When the next one is to be told of.
    fn next_ms(&self) -> Option<u64> {
        self.by_time.first().map(|&(expires_ms, _)| expires_ms)
    }

    /// Takes a key whose time has come.
    fn take_expired(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.next_ms().filter(|&expires_ms| expires_ms <= now_ms)?;
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

impl Services<'_> {
    /// In how many milliseconds there is an expiry to be told of.
    pub(crate) fn next_expiry_in_ms(&self) -> Option<u64> {
        let expires_ms = self.keyspace.expiries.as_ref()?.next_ms()?;
        Some(expires_ms.saturating_sub(self.keyspace.now_ms()))
    }

    /// Tells of keys whose time has come. Returns what is for the client that is being served.
    pub(crate) fn tell_expiries(&mut self, client: Option<&Client>) -> Vec<u8> {
        if self.next_expiry_in_ms() != Some(0) {
            return Vec::new();
        }
        let now_ms = self.keyspace.now_ms();
        for _ in 0..PER_TICK {
            let expiries = self.keyspace.expiries.as_mut();
            let Some(key) = expiries.and_then(|expiries| expiries.take_expired(now_ms)) else {
                break;
            };
            if let Some(db) = self.keyspace.database_of(key[0]) {
                self.effects.notify(Classes::EXPIRED, "expired", db, &key[1..]);
            }
        }
        self.publish_effects(client)
    }

    /// Begins or ends keeping expiries, as the classes of events that are published ask for it.
    pub(crate) fn update_expiries(&mut self) {
        let classes = self.effects.classes;
        let wanted = classes.is_active() && classes.has(Classes::EXPIRED);
        if !wanted {
            self.keyspace.expiries = None;
        } else if self.keyspace.expiries.is_none() {
            self.keyspace.expiries = Some(Expiries::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_expiry_is_told_once_in_order_and_only_if_it_stands() {
        let mut expiries = Expiries::default();
        expiries.set(b"\0b", Some(20));
        expiries.set(b"\0a", Some(10));
        expiries.set(b"\0moved", Some(5));
        expiries.set(b"\0moved", Some(30));
        expiries.set(b"\0kept", Some(5));
        expiries.set(b"\0kept", None);
        expiries.set(b"\x01other", Some(1));
        expiries.clear(1);
        assert_eq!(expiries.next_ms(), Some(10));
        assert_eq!(expiries.take_expired(9), None);
        assert_eq!(expiries.take_expired(25).as_deref(), Some(&b"\0a"[..]));
        assert_eq!(expiries.take_expired(25).as_deref(), Some(&b"\0b"[..]));
        assert_eq!(expiries.take_expired(25), None);
        assert_eq!(expiries.take_expired(30).as_deref(), Some(&b"\0moved"[..]));
        assert_eq!((expiries.by_key.len(), expiries.by_time.len()), (0, 0));
    }
}
