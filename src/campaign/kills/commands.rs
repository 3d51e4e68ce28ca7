//! Makes up commands, and knows what they do: what the client's keys hold after each, and every byte
//! of its reply.
//!
//! Own keys are strings, but each eighth is a counter. The last ones lie in a database of the
//! client's own, which it writes in transactions that go there and come back, and which it empties
//! now and then.

use std::sync::Arc;

use super::journal::{Content, FIRST_APART, HOT_KEYS, OWN_KEYS, Own, Step, Tag, fill};
use super::load::hot_name;
use crate::campaign::wire::Protocol;
use crate::engine::storage::sim::Random;

/// Each so-manieth key is a counter.
const COUNTER_EACH: usize = 8;
/// A string that is this long is not appended to, in bytes.
const LONG_BYTES: usize = 8_000;
/// When what expires does, at the earliest: in 2100, in milliseconds.
const FAR_MS: u64 = 4_102_444_800_000;

/// A step with its bytes: the request, and the reply that it must have.
pub(super) struct Exchange {
    pub(super) request: Vec<u8>,
    pub(super) replies: Vec<u8>,
    pub(super) step: Step,
}

/// The writing half of a client.
pub(super) struct Writer {
    pub(super) client: usize,
    pub(super) protocol: Protocol,
    /// What the own keys hold once everything sent is done.
    state: Own,
    serial: u64,
}

/// An own key as it is sent.
pub(super) fn own_name(client: usize, key: usize) -> String {
    format!("client{client}:key{key}")
}

/// The number of a client's own database, as it is sent.
pub(super) fn own_database(client: usize) -> String {
    (client + 1).to_string()
}

fn is_counter(key: usize) -> bool {
    key.is_multiple_of(COUNTER_EACH)
}

/// A key of database 0.
fn any_key(random: &mut Random) -> usize {
    random.below(FIRST_APART as u64) as usize
}

impl Writer {
    pub(super) fn new(client: usize, protocol: Protocol, state: Own, serial: u64) -> Self {
        Writer { client, protocol, state, serial }
    }

    fn begin(&mut self) -> Exchange {
        self.serial += 1;
        let tag = Tag { client: self.client, serial: self.serial };
        let step = Step { tag, own: Vec::new(), hot: None, sent: 0 };
        Exchange { request: Vec::new(), replies: Vec::new(), step }
    }

    /// Reads an own key; returns the reply.
    pub(super) fn read(&self, random: &mut Random, request: &mut Vec<u8>) -> Vec<u8> {
        let key = any_key(random);
        self.protocol.request(request, &[b"GET", own_name(self.client, key).as_bytes()]);
        let mut reply = Vec::new();
        self.reply_value(&mut reply, key);
        reply
    }

    /// Writes an own key.
    pub(super) fn single(&mut self, random: &mut Random) -> Exchange {
        let mut exchange = self.begin();
        let most = if random.one_in(12) { 20_000 } else { 2_000 };
        self.write(random, &mut exchange, most);
        exchange
    }

    /// Writes a hot key.
    pub(super) fn hot(&mut self, random: &mut Random) -> Exchange {
        let mut exchange = self.begin();
        self.write_hot(random, &mut exchange);
        exchange
    }

    /// Writes several own keys and perhaps a hot one, all or none.
    pub(super) fn transaction(&mut self, random: &mut Random) -> Exchange {
        let mut exchange = self.begin();
        let count = 1 + random.below(5) as usize;
        let has_hot = random.coin();
        self.within_multi(&mut exchange, count + usize::from(has_hot), |writer, exchange| {
            for _ in 0..count {
                writer.write(random, exchange, 1_000);
            }
            if has_hot {
                writer.write_hot(random, exchange);
            }
        });
        exchange
    }

    /// Writes to the own database, or empties it.
    pub(super) fn apart(&mut self, random: &mut Random) -> Exchange {
        let mut exchange = self.begin();
        let empties = random.one_in(6);
        let count = if empties { 1 } else { 1 + random.below(4) as usize };
        self.within_multi(&mut exchange, count + 2, |writer, exchange| {
            let database = own_database(writer.client);
            writer.ok(exchange, &[b"SELECT", database.as_bytes()]);
            if empties {
                writer.ok(exchange, &[b"FLUSHDB"]);
                (FIRST_APART..OWN_KEYS).for_each(|key| writer.leave(exchange, key, None));
            } else {
                for _ in 0..count {
                    let apart = (OWN_KEYS - FIRST_APART) as u64;
                    let key = FIRST_APART + random.below(apart) as usize;
                    writer.set(random, exchange, key, 1_000);
                }
            }
            writer.ok(exchange, &[b"SELECT", b"0"]);
        });
        exchange
    }

    /// Has `queue` make up `count` commands that become one transaction.
    fn within_multi(
        &mut self,
        exchange: &mut Exchange,
        count: usize,
        queue: impl FnOnce(&mut Self, &mut Exchange),
    ) {
        let protocol = self.protocol;
        protocol.request(&mut exchange.request, &[b"MULTI"]);
        protocol.word(&mut exchange.replies, "OK");
        (0..count).for_each(|_| protocol.word(&mut exchange.replies, "QUEUED"));
        protocol.list(&mut exchange.replies, count);
        queue(self, exchange);
        protocol.request(&mut exchange.request, &[b"EXEC"]);
    }

    /// A command that is answered with `OK`.
    fn ok(&self, exchange: &mut Exchange, words: &[&[u8]]) {
        self.protocol.request(&mut exchange.request, words);
        self.protocol.word(&mut exchange.replies, "OK");
    }

    /// A command that is answered with a number.
    fn number(&self, exchange: &mut Exchange, words: &[&[u8]], number: i64) {
        self.protocol.request(&mut exchange.request, words);
        self.protocol.number(&mut exchange.replies, number);
    }

    fn reply_value(&self, replies: &mut Vec<u8>, key: usize) {
        let value = self.state[key].as_ref().map(|content| &content.bytes[..]);
        self.protocol.value(replies, value);
    }

    /// Notes what a write leaves.
    fn leave(&mut self, exchange: &mut Exchange, key: usize, content: Option<Content>) {
        self.state[key].clone_from(&content);
        exchange.step.own.push((key, content));
    }

    fn write_hot(&self, random: &mut Random, exchange: &mut Exchange) {
        let key = random.below(HOT_KEYS as u64) as usize;
        let (name, deletes) = (hot_name(key), random.one_in(5));
        exchange.step.hot = Some((key, deletes));
        if !deletes {
            self.ok(exchange, &[b"SET", name.as_bytes(), &exchange.step.tag.value()]);
        } else if self.protocol == Protocol::Resp {
            // Unlike DEL it does not tell whether the key was there.
            self.ok(exchange, &[b"SET", name.as_bytes(), b"gone", b"PXAT", b"1"]);
        } else {
            self.protocol.request(&mut exchange.request, &[b"DEL", name.as_bytes()]);
            self.protocol.word(&mut exchange.replies, "OK_DELETED");
        }
    }

    /// Writes an own key of database 0, a string of at most `most` bytes or a counter.
    fn write(&mut self, random: &mut Random, exchange: &mut Exchange, most: u64) {
        let key = any_key(random);
        match random.below(20) {
            0 | 1 => self.delete(exchange, key),
            2 | 3 => self.expire(random, exchange, key),
            4 => self.persist(exchange, key),
            5 => self.take(exchange, key),
            6 if !is_counter(key) => self.rename(random, exchange, key, most),
            7 if !is_counter(key) => self.exchange_value(random, exchange, key, most),
            8..11 if !is_counter(key) => self.append(random, exchange, key, most),
            _ if is_counter(key) => self.count(random, exchange, key),
            _ => self.set(random, exchange, key, most),
        }
    }

    fn string(&self, random: &mut Random, most: u64) -> Vec<u8> {
        let mut value = format!("{}:{}:", self.client, self.serial).into_bytes();
        fill(&mut value, random.below(most) as usize, random.next_u64());
        value
    }

    fn set(&mut self, random: &mut Random, exchange: &mut Exchange, key: usize, most: u64) {
        let (name, value) = (own_name(self.client, key), self.string(random, most));
        let expires_ms = (self.protocol == Protocol::Resp && random.one_in(4))
            .then(|| FAR_MS + random.below(1_000_000));
        match expires_ms.map(|at| at.to_string()) {
            None => self.ok(exchange, &[b"SET", name.as_bytes(), &value]),
            Some(at) => {
                let words: [&[u8]; 5] = [b"SET", name.as_bytes(), &value, b"PXAT", at.as_bytes()];
                self.ok(exchange, &words);
            }
        }
        self.leave(exchange, key, Some(Content { bytes: value.into(), expires_ms }));
    }

    fn delete(&mut self, exchange: &mut Exchange, key: usize) {
        let name = own_name(self.client, key);
        self.protocol.request(&mut exchange.request, &[b"DEL", name.as_bytes()]);
        match self.protocol {
            Protocol::Text => self.protocol.word(&mut exchange.replies, "OK_DELETED"),
            Protocol::Resp => {
                let count = i64::from(self.state[key].is_some());
                self.protocol.number(&mut exchange.replies, count);
            }
        }
        self.leave(exchange, key, None);
    }

    /// Has a key expire long from now, or long ago.
    fn expire(&mut self, random: &mut Random, exchange: &mut Exchange, key: usize) {
        let at_ms = if random.coin() { FAR_MS + random.below(1_000_000) } else { 1 };
        let (name, at) = (own_name(self.client, key), at_ms.to_string());
        let content = self.state[key].clone();
        let words: [&[u8]; 3] = [b"PEXPIREAT", name.as_bytes(), at.as_bytes()];
        self.number(exchange, &words, i64::from(content.is_some()));
        let content = content.filter(|_| at_ms >= FAR_MS);
        let content = content.map(|content| Content { expires_ms: Some(at_ms), ..content });
        self.leave(exchange, key, content);
    }

    fn persist(&mut self, exchange: &mut Exchange, key: usize) {
        let (name, content) = (own_name(self.client, key), self.state[key].clone());
        let expires = content.as_ref().is_some_and(|content| content.expires_ms.is_some());
        self.number(exchange, &[b"PERSIST", name.as_bytes()], i64::from(expires));
        let content = content.map(|content| Content { expires_ms: None, ..content });
        self.leave(exchange, key, content);
    }

    /// Reads and deletes.
    fn take(&mut self, exchange: &mut Exchange, key: usize) {
        let name = own_name(self.client, key);
        self.protocol.request(&mut exchange.request, &[b"GETDEL", name.as_bytes()]);
        self.reply_value(&mut exchange.replies, key);
        self.leave(exchange, key, None);
    }

    /// Reads and replaces.
    fn exchange_value(
        &mut self,
        random: &mut Random,
        exchange: &mut Exchange,
        key: usize,
        most: u64,
    ) {
        let (name, value) = (own_name(self.client, key), self.string(random, most));
        self.protocol.request(&mut exchange.request, &[b"GETSET", name.as_bytes(), &value]);
        self.reply_value(&mut exchange.replies, key);
        let content = Content { bytes: value.into(), expires_ms: None };
        self.leave(exchange, key, Some(content));
    }

    /// Gives a string another name, if it is there.
    fn rename(&mut self, random: &mut Random, exchange: &mut Exchange, key: usize, most: u64) {
        let to = any_key(random);
        let Some(content) = self.state[key].clone().filter(|_| to != key && !is_counter(to)) else {
            return self.set(random, exchange, key, most);
        };
        let (name, new_name) = (own_name(self.client, key), own_name(self.client, to));
        self.ok(exchange, &[b"RENAME", name.as_bytes(), new_name.as_bytes()]);
        self.leave(exchange, key, None);
        self.leave(exchange, to, Some(content));
    }

    fn append(&mut self, random: &mut Random, exchange: &mut Exchange, key: usize, most: u64) {
        let old = self.state[key].clone();
        if old.as_ref().is_some_and(|content| content.bytes.len() >= LONG_BYTES) {
            return self.set(random, exchange, key, most);
        }
        let (mut bytes, expires_ms) =
            old.map_or((Vec::new(), None), |old| (old.bytes.to_vec(), old.expires_ms));
        let (name, suffix) = (own_name(self.client, key), self.string(random, 300));
        bytes.extend_from_slice(&suffix);
        self.number(
            exchange,
            &[b"APPEND", name.as_bytes(), &suffix],
            bytes.len().cast_signed() as i64,
        );
        self.leave(exchange, key, Some(Content { bytes: Arc::from(bytes), expires_ms }));
    }

    fn count(&mut self, random: &mut Random, exchange: &mut Exchange, key: usize) {
        let old = self.state[key].clone();
        let value = |content: &Content| str::from_utf8(&content.bytes).ok()?.parse::<i64>().ok();
        let (step, name) = (random.below(2_000).cast_signed() - 500, own_name(self.client, key));
        let number = old.as_ref().and_then(value).unwrap_or(0) + step;
        let words: [&[u8]; 3] = [b"INCRBY", name.as_bytes(), &step.to_string().into_bytes()];
        self.number(exchange, &words, number);
        let expires_ms = old.and_then(|content| content.expires_ms);
        let bytes = number.to_string().into_bytes().into();
        self.leave(exchange, key, Some(Content { bytes, expires_ms }));
    }
}
