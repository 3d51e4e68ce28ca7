//! Channels and patterns, and who listens to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::engine::Seq;
use crate::parser::{Encoder, Protocol};

use super::client::Subscriptions;
use super::token::ConnectionId;
use super::values::glob;

/// So many names are looked at to see whether one of them is that of keyspace events.
const CHANNELS_LOOKED_AT: usize = 64;

/// A message for another client's outbox.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) to: ConnectionId,
    pub(crate) bytes: Vec<u8>,
    /// They may leave once this is durable.
    pub(crate) seq: Seq,
}

/// Who gets a message, and by which pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receiver {
    pub(crate) client: ConnectionId,
    pub(crate) pattern: Option<Arc<[u8]>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    channels: HashMap<Arc<[u8]>, Vec<ConnectionId>>,
    /// In the order in which they were first asked for.
    patterns: BTreeMap<u64, (Arc<[u8]>, Vec<ConnectionId>)>,
    /// Where each of them stands.
    places: HashMap<Arc<[u8]>, u64>,
    next_place: u64,
}

impl PubSub {
    /// Has a client listen to a channel; it does not yet.
    pub(crate) fn subscribe(&mut self, client: ConnectionId, channel: &Arc<[u8]>) {
        self.channels.entry(Arc::clone(channel)).or_default().push(client);
    }

    /// Has a client listen to all channels that match; it does not yet.
    pub(crate) fn subscribe_pattern(&mut self, client: ConnectionId, pattern: &Arc<[u8]>) {
        let place = *self.places.entry(Arc::clone(pattern)).or_insert(self.next_place);
        self.next_place = self.next_place.max(place + 1);
        let new = || (Arc::clone(pattern), Vec::new());
        self.patterns.entry(place).or_insert_with(new).1.push(client);
    }

    pub(crate) fn unsubscribe(&mut self, client: ConnectionId, channel: &[u8]) {
        if let Some(clients) = self.channels.get_mut(channel) {
            clients.retain(|&id| id != client);
            if clients.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    pub(crate) fn unsubscribe_pattern(&mut self, client: ConnectionId, pattern: &[u8]) {
        let Some(&place) = self.places.get(pattern) else { return };
        let Some((_, clients)) = self.patterns.get_mut(&place) else { return };
        clients.retain(|&id| id != client);
        if clients.is_empty() {
            self.patterns.remove(&place);
            self.places.remove(pattern);
        }
    }

    /// Ends all that a client listens to.
    pub(crate) fn forget(&mut self, client: ConnectionId, subscriptions: &Subscriptions) {
        for channel in subscriptions.channels.iter() {
            self.unsubscribe(client, channel);
        }
        for pattern in subscriptions.patterns.iter() {
            self.unsubscribe_pattern(client, pattern);
        }
    }

    /// Who gets a message on this channel, in order.
    pub(crate) fn receivers(&self, channel: &[u8]) -> Vec<Receiver> {
        let direct = self.channels.get(channel).into_iter().flatten();
        let mut receivers: Vec<Receiver> =
            direct.map(|&client| Receiver { client, pattern: None }).collect();
        for (pattern, clients) in self.patterns.values() {
            if glob::matches(pattern, channel, false) {
                receivers.extend(clients.iter().map(|&client| {
                    let pattern = Some(Arc::clone(pattern));
                    Receiver { client, pattern }
                }));
            }
        }
        receivers
    }

    /// Channels that somebody listens to, those that match if a pattern is given.
    pub(crate) fn channels(&self, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        let names = self.channels.keys().map(AsRef::as_ref);
        names.filter(|name| pattern.is_none_or(|p| glob::matches(p, name, false))).collect()
    }

    /// Whether somebody may be listening to keyspace events. Of very many channels one is taken for one of
    /// theirs.
    pub(crate) fn may_hear_events(&self) -> bool {
        let is_event = |name: &Arc<[u8]>| name.starts_with(b"__key");
        let is_many = self.channels.len() > CHANNELS_LOOKED_AT;
        is_many || !self.patterns.is_empty() || self.channels.keys().any(is_event)
    }

    /// How many listen to a channel by its name.
    pub(crate) fn listeners(&self, channel: &[u8]) -> usize {
        self.channels.get(channel).map_or(0, Vec::len)
    }

    /// How many patterns are listened to.
    pub(crate) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }
}

/// Appends a message as its receiver gets it.
pub(crate) fn push_message(
    protocol: Protocol,
    pattern: Option<&[u8]>,
    channel: &[u8],
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let mut message = Encoder::new(protocol, out);
    if let Some(pattern) = pattern {
        message.push(4);
        message.bulk(b"pmessage");
        message.bulk(pattern);
    } else {
        message.push(3);
        message.bulk(b"message");
    }
    message.bulk(channel);
    message.bulk(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_find_their_receivers_until_they_leave() {
        let client = |slot| ConnectionId { slot, generation: 0 };
        let name = |name: &str| Arc::<[u8]>::from(name.as_bytes());
        let mut pubsub = PubSub::default();
        pubsub.subscribe(client(1), &name("news"));
        pubsub.subscribe(client(2), &name("news"));
        pubsub.subscribe_pattern(client(1), &name("n*"));
        let by_name = |slot| Receiver { client: client(slot), pattern: None };
        let by_pattern = Receiver { client: client(1), pattern: Some(name("n*")) };
        assert_eq!(pubsub.receivers(b"news"), [by_name(1), by_name(2), by_pattern.clone()]);
        assert_eq!(pubsub.receivers(b"nothing"), [by_pattern]);
        assert_eq!(pubsub.receivers(b"other"), []);
        assert_eq!((pubsub.listeners(b"news"), pubsub.pattern_count()), (2, 1));
        assert_eq!(pubsub.channels(Some(b"x*")), Vec::<&[u8]>::new());
        assert_eq!(pubsub.channels(None), [b"news"]);
        let mut all = Subscriptions::default();
        assert!(all.channels.insert(&name("news")) && all.patterns.insert(&name("n*")));
        pubsub.forget(client(1), &all);
        assert_eq!(pubsub.receivers(b"news"), [by_name(2)]);
        pubsub.unsubscribe(client(2), b"news");
        assert!(pubsub.channels(None).is_empty() && pubsub.pattern_count() == 0);
    }

    #[test]
    fn messages_as_they_are_sent() {
        let sent = |protocol, pattern: Option<&[u8]>| {
            let mut out = Vec::new();
            push_message(protocol, pattern, b"c", b"m", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(sent(Protocol::Resp2, None), "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        let by_pattern = ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nm\r\n";
        assert_eq!(sent(Protocol::Resp3, Some(b"*")), by_pattern);
        assert_eq!(sent(Protocol::Text, None), "LIST 3\nmessage\nc\nm\n");
    }
}
