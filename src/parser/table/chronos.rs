//! What Chronos has beyond Redis.

use super::{Command, Flags, Group, Verb};

const GROUP: Group = Group::Chronos;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::Compact, "COMPACT", "", 1)
        .flags(&[Flags::NO_MULTI])
        .since("chronos 0.1")
        .costs("O(B)")
        .does("Merges all tables and drops dead versions."),
    command(Verb::Help, "HELP", "[command [subcommand]]", -1)
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("chronos 0.1")
        .costs("O(V)")
        .does("Lists the commands, or explains one."),
    command(Verb::Prefix, "PREFIX", "prefix [LIMIT count] [REV] [WITHVALUES]", -2)
        .flags(&[Flags::READONLY, Flags::NO_MULTI])
        .since("chronos 0.1")
        .costs("O(log N + count)")
        .does("Returns the keys that begin with a prefix, in order."),
    command(Verb::Range, "RANGE", "start-key end-key [LIMIT count] [REV] [WITHVALUES]", -3)
        .flags(&[Flags::READONLY, Flags::NO_MULTI])
        .since("chronos 0.1")
        .costs("O(log N + count)")
        .does("Returns the keys from start-key up to end-key, in order."),
];
