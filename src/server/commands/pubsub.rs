//! SUBSCRIBE, PUBLISH and what belongs to them.
//!
//! A message leaves when all writes before it are durable, so that who hears of something finds it.
//! Each channel that is joined or left is confirmed with a message of its own, as Redis does.

use std::sync::Arc;

use crate::parser::{Encoder, Verb};

use super::super::client::{Client, Joined, Subscriptions, Traits};
use super::super::interrupt::Fault;
use super::super::limits::{SUBSCRIPTION_OVERHEAD_BYTES, SUBSCRIPTIONS_BYTES, USER_KEY_BYTES};
use super::super::pubsub::PubSub;
use super::super::values::glob;
use super::help::help;
use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Subscribe => subscribe(call, CHANNELS)?,
        Verb::PSubscribe => subscribe(call, PATTERNS)?,
        Verb::Unsubscribe => unsubscribe(call, CHANNELS),
        Verb::PUnsubscribe => unsubscribe(call, PATTERNS),
        Verb::Publish => publish(call)?,
        Verb::PubSubChannels => {
            let pattern = call.args.get(1);
            glob::check(pattern.unwrap_or_default())?;
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
    /// What a name must keep to.
    check: fn(&[u8]) -> Result<(), &'static str>,
    joined: &'static str,
    left: &'static str,
    list: fn(&mut Subscriptions) -> &mut Joined,
    add: fn(&mut PubSub, super::super::token::ConnectionId, &Arc<[u8]>),
    remove: fn(&mut PubSub, super::super::token::ConnectionId, &[u8]),
}

const CHANNELS: Kind = Kind {
    check: |_| Ok(()),
    joined: "subscribe",
    left: "unsubscribe",
    list: |subscriptions| &mut subscriptions.channels,
    add: PubSub::subscribe,
    remove: PubSub::unsubscribe,
};

const PATTERNS: Kind = Kind {
    check: glob::check,
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

/// Whether a channel, or a pattern, may have its length: that of a key.
fn check_name(name: &[u8]) -> Result<(), Fault> {
    if name.len() <= USER_KEY_BYTES {
        return Ok(());
    }
    let bytes = name.len();
    let line =
        format!("ERR the channel's name has {bytes} bytes, at most {USER_KEY_BYTES} are allowed");
    Err(line.into())
}

/// Memory that a subscription takes, in bytes, more or less.
fn held_bytes(name: &[u8]) -> usize {
    name.len() + SUBSCRIPTION_OVERHEAD_BYTES
}

fn subscribe(call: &mut Call, kind: Kind) -> Result<(), Fault> {
    let subscriptions = call.client.subscriptions.as_ref();
    let held = subscriptions.map_or(0, |subscriptions| subscriptions.bytes);
    if held + call.args.iter().map(held_bytes).sum::<usize>() > SUBSCRIPTIONS_BYTES {
        let line = format!(
            "ERR the client's subscriptions would take more than {SUBSCRIPTIONS_BYTES} bytes"
        );
        return Err(line.into());
    }
    for name in call.args.iter() {
        check_name(name)?;
        (kind.check)(name)?;
    }
    for name in call.args.iter() {
        let subscriptions = call.client.subscriptions.get_or_insert_default();
        let shared: Arc<[u8]> = name.into();
        if (kind.list)(subscriptions).insert(&shared) {
            subscriptions.bytes += held_bytes(name);
            (kind.add)(&mut call.services.pubsub, call.client.id, &shared);
        }
        confirm(call.reply, kind.joined, Some(name), subscriptions.count());
    }
    call.client.traits.set(Traits::SUBSCRIBED);
    Ok(())
}

fn unsubscribe(call: &mut Call, kind: Kind) {
    let mut subscriptions = call.client.subscriptions.take().unwrap_or_default();
    let all: Vec<Arc<[u8]>>;
    let names: Vec<&[u8]> = if call.args.is_empty() {
        all = (kind.list)(&mut subscriptions).iter().cloned().collect();
        all.iter().map(AsRef::as_ref).collect()
    } else {
        call.args.iter().collect()
    };
    if names.is_empty() {
        confirm(call.reply, kind.left, None, subscriptions.count());
    }
    for name in names {
        if (kind.list)(&mut subscriptions).remove(name) {
            subscriptions.bytes -= held_bytes(name);
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

fn publish(call: &mut Call) -> Result<(), Fault> {
    let (channel, payload) = (call.args.at(0), call.args.at(1));
    check_name(channel)?;
    let receivers = call.services.pubsub.receivers(channel).len();
    if receivers > 0 {
        call.services.effects.publish(channel, payload);
    }
    call.reply.count(receivers);
    Ok(())
}
