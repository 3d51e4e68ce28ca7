//! SUBSCRIBE, PUBLISH and what belongs to them.
//!
//! A message leaves when all writes before it are durable, so that who hears of something finds it.
//! Each channel that is joined or left is confirmed with a message of its own, as Redis does.

use std::sync::Arc;

use crate::parser::{Encoder, Verb};

use super::super::client::{Client, Subscriptions, Traits};
use super::super::interrupt::Fault;
use super::super::pubsub::PubSub;
use super::help::help;
use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Subscribe => subscribe(call, CHANNELS),
        Verb::PSubscribe => subscribe(call, PATTERNS),
        Verb::Unsubscribe => unsubscribe(call, CHANNELS),
        Verb::PUnsubscribe => unsubscribe(call, PATTERNS),
        Verb::Publish => publish(call),
        Verb::PubSubChannels => {
            let pattern = call.args.get(1);
            if call.args.len() > 2 {
                let line = "ERR unknown subcommand or wrong number of arguments for '";
                let name = call.args.at(0);
                return Err(Fault::repeating(line, name, "'. Try PUBSUB HELP.").into());
            }
            let channels = call.services.pubsub.channels(pattern);
            call.reply.array(channels.len());
            for channel in channels {
                call.reply.bulk(channel);
            }
        }
        Verb::PubSubNumSub => {
            let channels = call.args.from(1);
            // A flat list in RESP3 too, as in Redis.
            call.reply.array(channels.len() * 2);
            for channel in channels.iter() {
                call.reply.bulk(channel);
                call.reply.count(call.services.pubsub.listeners(channel));
            }
        }
        Verb::PubSubNumPat => {
            call.reply.count(call.services.pubsub.pattern_count());
        }
        _ => help(call),
    }
    Ok(())
}

/// Channels or patterns: what they are called and where they are kept.
#[derive(Clone, Copy)]
struct Kind {
    joined: &'static str,
    left: &'static str,
    list: fn(&mut Subscriptions) -> &mut Vec<Arc<[u8]>>,
    add: fn(&mut PubSub, super::super::token::ConnectionId, &Arc<[u8]>),
    remove: fn(&mut PubSub, super::super::token::ConnectionId, &[u8]),
}

const CHANNELS: Kind = Kind {
    joined: "subscribe",
    left: "unsubscribe",
    list: |subscriptions| &mut subscriptions.channels,
    add: PubSub::subscribe,
    remove: PubSub::unsubscribe,
};

const PATTERNS: Kind = Kind {
    joined: "psubscribe",
    left: "punsubscribe",
    list: |subscriptions| &mut subscriptions.patterns,
    add: PubSub::subscribe_pattern,
    remove: PubSub::unsubscribe_pattern,
};

fn confirm(reply: &mut Encoder<'_>, what: &str, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(what.as_bytes());
    reply.bulk_or_null(name);
    reply.count(count);
}

fn subscribe(call: &mut Call, kind: Kind) {
    for name in call.args.iter() {
        let subscriptions = call.client.subscriptions.get_or_insert_default();
        let list = (kind.list)(subscriptions);
        if !list.iter().any(|known| **known == *name) {
            let name: Arc<[u8]> = name.into();
            (kind.add)(&mut call.services.pubsub, call.client.id, &name);
            list.push(name);
        }
        confirm(call.reply, kind.joined, Some(name), subscriptions.count());
    }
    call.client.traits.set(Traits::SUBSCRIBED);
}

fn unsubscribe(call: &mut Call, kind: Kind) {
    let mut subscriptions = call.client.subscriptions.take().unwrap_or_default();
    let all: Vec<Arc<[u8]>>;
    let names: Vec<&[u8]> = if call.args.is_empty() {
        all = (kind.list)(&mut subscriptions).clone();
        all.iter().map(AsRef::as_ref).collect()
    } else {
        call.args.iter().collect()
    };
    if names.is_empty() {
        confirm(call.reply, kind.left, None, subscriptions.count());
    }
    for name in names {
        let list = (kind.list)(&mut subscriptions);
        let before = list.len();
        list.retain(|known| **known != *name);
        if list.len() < before {
            (kind.remove)(&mut call.services.pubsub, call.client.id, name);
        }
        confirm(call.reply, kind.left, Some(name), subscriptions.count());
    }
    if subscriptions.count() > 0 {
        call.client.subscriptions = Some(subscriptions);
    } else {
        call.client.traits.clear(Traits::SUBSCRIBED);
    }
}

/// Ends all that a client listens to, without a word.
pub(crate) fn forget(client: &mut Client, pubsub: &mut PubSub) {
    if let Some(subscriptions) = client.subscriptions.take() {
        pubsub.forget(client.id, &subscriptions);
    }
    client.traits.clear(Traits::SUBSCRIBED);
}

fn publish(call: &mut Call) {
    let (channel, payload) = (call.args.at(0), call.args.at(1));
    let receivers = call.services.pubsub.receivers(channel).len();
    if receivers > 0 {
        call.services.effects.publish(channel, payload);
    }
    call.reply.count(receivers);
}
