//! What a command wants to tell others once it has taken effect: messages and keyspace events.
//!
//! A command only notes them; they leave after its writes were applied, with the sequence number of
//! the last of them, so that nobody hears of a write that a power cut can still undo. A command that
//! is interrupted has told nobody anything.

use super::client::Client;
use super::dispatch::Services;
use super::pubsub::push_message;

/// Which keyspace events are published, as CONFIG SET notify-keyspace-events names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Classes(u16);

/// What is said of letters that are none, in the words of Redis.
pub(crate) const CLASSES_FAULT: &str = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";

/// Letters of the classes, in the order in which Redis writes them.
const LETTERS: [(char, Classes); 14] = [
    ('g', Classes::GENERIC),
    ('$', Classes::STRING),
    ('l', Classes(1 << 4)),
    ('s', Classes(1 << 5)),
    ('h', Classes(1 << 6)),
    ('z', Classes(1 << 7)),
    ('x', Classes::EXPIRED),
    ('e', Classes(1 << 9)),
    ('t', Classes(1 << 10)),
    ('d', Classes(1 << 12)),
    ('n', Classes::NEW),
    ('K', Classes::KEYSPACE),
    ('E', Classes::KEYEVENT),
    ('m', Classes::MISS),
];

impl Classes {
    /// Publish on `__keyspace@db__:key`.
    pub(crate) const KEYSPACE: Classes = Classes(1);
    /// Publish on `__keyevent@db__:event`.
    pub(crate) const KEYEVENT: Classes = Classes(1 << 1);
    /// DEL, EXPIRE, RENAME and the like.
    pub(crate) const GENERIC: Classes = Classes(1 << 2);
    /// Commands on strings.
    pub(crate) const STRING: Classes = Classes(1 << 3);
    /// Keys that expire.
    pub(crate) const EXPIRED: Classes = Classes(1 << 8);
    /// Keys that were looked for in vain.
    pub(crate) const MISS: Classes = Classes(1 << 11);
    /// Keys that were not there before.
    pub(crate) const NEW: Classes = Classes(1 << 13);
    /// What `A` stands for: all classes of events but key misses and new keys.
    const ALL: Classes = Classes(0b1_0111_1111_1100);

    /// Reads letters such as `KEA`; `None` if one of them is none.
    pub(crate) fn parse(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Classes(0), |classes, &letter| {
            let (_, class) = match letter {
                b'A' => ('A', Classes::ALL),
                letter => *LETTERS.iter().find(|(known, _)| *known == char::from(letter))?,
            };
            Some(Classes(classes.0 | class.0))
        })
    }

    /// The letters. As Redis does, it leaves `n` out where there is an `A`.
    pub(crate) fn letters(self) -> String {
        let all = self.0 & Classes::ALL.0 == Classes::ALL.0;
        let unnamed = Classes(Classes::ALL.0 | Classes::NEW.0);
        let shown =
            LETTERS.iter().filter(|(_, class)| self.has(*class) && !(all && unnamed.has(*class)));
        let letters = shown.map(|(letter, _)| *letter);
        if all { std::iter::once('A').chain(letters).collect() } else { letters.collect() }
    }

    pub(crate) fn has(self, classes: Classes) -> bool {
        self.0 & classes.0 != 0
    }

    /// Whether anything at all is published.
    pub(crate) fn is_active(self) -> bool {
        self.has(Classes(Self::KEYSPACE.0 | Self::KEYEVENT.0))
    }
}

/// Something to be told.
#[derive(Debug)]
enum Effect {
    Event { name: &'static str, db: usize, key: Vec<u8> },
    Message { channel: Vec<u8>, payload: Vec<u8> },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    list: Vec<Effect>,
    /// What is published.
    pub(crate) classes: Classes,
}

impl Effects {
    /// Notes that something happened to a key.
    pub(crate) fn notify(&mut self, class: Classes, name: &'static str, db: usize, key: &[u8]) {
        if self.classes.has(class) && self.classes.is_active() {
            self.list.push(Effect::Event { name, db, key: key.to_vec() });
        }
    }

    /// The same before what was noted after the first `at`.
    pub(crate) fn notify_before(
        &mut self,
        at: usize,
        class: Classes,
        name: &'static str,
        db: usize,
        key: &[u8],
    ) {
        let noted = self.list.len();
        self.notify(class, name, db, key);
        if self.list.len() > noted {
            self.list[at.min(noted)..].rotate_right(1);
        }
    }

    /// Notes a message for a channel.
    pub(crate) fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        self.list.push(Effect::Message { channel: channel.to_vec(), payload: payload.to_vec() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets what was noted after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }
}

impl Services<'_> {
    /// Sends what the command noted. What is for the client itself goes before its reply, which begins
    /// at `begin` in `out`.
    pub(crate) fn publish_effects_of(&mut self, client: &Client, out: &mut Vec<u8>, begin: usize) {
        let own = self.publish_effects(Some(client));
        if !own.is_empty() {
            let reply = out.split_off(begin);
            out.extend_from_slice(&own);
            out.extend_from_slice(&reply);
        }
    }

    /// Sends what was noted; returns what is for the client itself.
    pub(crate) fn publish_effects(&mut self, client: Option<&Client>) -> Vec<u8> {
        let mut own = Vec::new();
        let classes = self.effects.classes;
        for effect in std::mem::take(&mut self.effects.list) {
            match effect {
                Effect::Message { channel, payload } => {
                    self.send(client, &channel, &payload, &mut own);
                }
                Effect::Event { name, db, key } => {
                    if classes.has(Classes::KEYSPACE) {
                        let channel = [format!("__keyspace@{db}__:").as_bytes(), &key].concat();
                        self.send(client, &channel, name.as_bytes(), &mut own);
                    }
                    if classes.has(Classes::KEYEVENT) {
                        let channel = format!("__keyevent@{db}__:{name}");
                        self.send(client, channel.as_bytes(), &key, &mut own);
                    }
                }
            }
        }
        own
    }

    fn send(&mut self, client: Option<&Client>, channel: &[u8], payload: &[u8], own: &mut Vec<u8>) {
        let seq = self.keyspace.last_seq();
        for receiver in self.pubsub.receivers(channel) {
            let pattern = receiver.pattern.as_deref();
            if let Some(client) = client.filter(|client| client.id == receiver.client) {
                push_message(client.protocol, pattern, channel, payload, own);
            } else if let Some(other) = self.clients.get_mut(receiver.client) {
                let protocol = other.protocol;
                self.deliver(receiver.client, channel.len() + payload.len(), seq, || {
                    let mut bytes = Vec::new();
                    push_message(protocol, pattern, channel, payload, &mut bytes);
                    bytes
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_written_as_redis_writes_them() {
        let written = |letters: &str| Classes::parse(letters.as_bytes()).map(Classes::letters);
        for (given, expected) in [
            ("", ""),
            ("KEA", "AKE"),
            ("AKE", "AKE"),
            ("Kg$", "g$K"),
            ("Elshzxetdg$", "AE"),
            ("KEAmn", "AKEm"),
            ("Kn", "nK"),
            ("Ex", "xE"),
        ] {
            assert_eq!(written(given).as_deref(), Some(expected), "{given}");
        }
        assert_eq!(written("KQ"), None);
    }

    #[test]
    fn only_what_is_asked_for_is_noted() {
        let mut effects = Effects::default();
        effects.notify(Classes::STRING, "set", 0, b"k");
        assert!(effects.is_empty());
        effects.classes = Classes::parse(b"$").unwrap_or_default();
        effects.notify(Classes::STRING, "set", 0, b"k");
        assert!(effects.is_empty(), "neither by key nor by event");
        effects.classes = Classes::parse(b"E$").unwrap_or_default();
        effects.notify(Classes::GENERIC, "del", 0, b"k");
        effects.notify(Classes::STRING, "set", 0, b"k");
        assert_eq!(effects.len(), 1);
    }
}
