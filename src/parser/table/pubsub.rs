//! Messages from client to client; none of them is stored.

use super::{Command, Flags, Group, Verb, help};

const GROUP: Group = Group::PubSub;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::PSubscribe, "PSUBSCRIBE", "pattern [pattern ...]", -2)
        .flags(&[Flags::PUBSUB, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(K)")
        .does("Listens to the channels whose names match glob-style patterns."),
    command(Verb::Publish, "PUBLISH", "channel message", 3)
        .flags(&[Flags::PUBSUB, Flags::LOADING, Flags::STALE, Flags::FAST])
        .since("2.0.0")
        .costs("O(R + Q)")
        .does("Sends a message to those who listen to a channel, and counts them."),
    command(Verb::PubSub, "PUBSUB", "", -2)
        .since("2.8.0")
        .costs("depends on the subcommand")
        .does("Shows channels and those who listen.")
        .containing(PUBSUB_SUBCOMMANDS),
    command(Verb::PUnsubscribe, "PUNSUBSCRIBE", "[pattern [pattern ...]]", -1)
        .flags(&[Flags::PUBSUB, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(K)")
        .does("Stops listening to patterns, or to all of them."),
    command(Verb::Subscribe, "SUBSCRIBE", "channel [channel ...]", -2)
        .flags(&[Flags::PUBSUB, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(K)")
        .does("Listens to channels.")
        .differs("A message leaves once what was written before it is durable."),
    command(Verb::Unsubscribe, "UNSUBSCRIBE", "[channel [channel ...]]", -1)
        .flags(&[Flags::PUBSUB, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(K)")
        .does("Stops listening to channels, or to all of them."),
];

/// The subcommands of PUBSUB.
const PUBSUB_SUBCOMMANDS: &[Command] = &[
    command(Verb::PubSubChannels, "CHANNELS", "[pattern]", -2)
        .under("PUBSUB")
        .flags(&[Flags::PUBSUB, Flags::LOADING, Flags::STALE])
        .since("2.8.0")
        .costs("O(H)")
        .does("Returns the channels that somebody listens to."),
    help(Verb::PubSubHelp, "PUBSUB", GROUP, "6.2.0"),
    command(Verb::PubSubNumPat, "NUMPAT", "", 2)
        .under("PUBSUB")
        .flags(&[Flags::PUBSUB, Flags::LOADING, Flags::STALE])
        .since("2.8.0")
        .costs("O(1)")
        .does("Counts the patterns that somebody listens to."),
    command(Verb::PubSubNumSub, "NUMSUB", "[channel [channel ...]]", -2)
        .under("PUBSUB")
        .flags(&[Flags::PUBSUB, Flags::LOADING, Flags::STALE])
        .since("2.8.0")
        .costs("O(K)")
        .does("Counts those who listen to each of the named channels."),
];
