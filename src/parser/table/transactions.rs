//! Transactions: commands that are queued, then run as one.

use super::{Command, Flags, Group, Verb};

const GROUP: Group = Group::Transactions;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::Multi, "MULTI", "", 1)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY])
        .since("1.2.0")
        .costs("O(1)")
        .does("Begins a transaction: the commands that follow are queued.")
        .differs(
            "The writes of a transaction are one atomic, durable batch. Commands that walk over \
            keys (SCAN, KEYS, RANDOMKEY, DBSIZE, RANGE, PREFIX) see what the transaction has \
            written before them; the walk is a worker's, and brought up to date when EXEC runs. \
            Where it cannot keep up with those who write, or takes too much memory, EXEC is \
            refused and nothing is done.",
        ),
    command(Verb::Exec, "EXEC", "", 1)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::SKIP_SLOWLOG])
        .since("1.2.0")
        .costs("as the queued commands")
        .does("Runs the queued commands, unless a watched key has changed.")
        .differs(
            "All writes are one atomic, durable batch: after a crash all of them are \
            there, or none.",
        ),
    command(Verb::Discard, "DISCARD", "", 1)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY])
        .since("2.0.0")
        .costs("O(1)")
        .does("Drops the queued commands and the watched keys."),
    command(Verb::Watch, "WATCH", "key [key ...]", -2)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY])
        .keys(1, -1, 1)
        .since("2.2.0")
        .costs("O(K log N)")
        .does("Lets the next EXEC fail if one of the keys changes before it."),
    command(Verb::Unwatch, "UNWATCH", "", 1)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY])
        .since("2.2.0")
        .costs("O(K)")
        .does("Forgets the watched keys."),
];
