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
        .flags(&[Flags::READONLY])
        .since("chronos 0.1")
        .costs("O(log N + count)")
        .does(
            "Returns the keys that begin with a prefix, in order, as of one moment; with REV from \
            the last one on, with WITHVALUES each with its value, as a map in RESP3. A reply of \
            more than 62 MiB is refused.",
        ),
    command(Verb::Range, "RANGE", "start-key end-key [LIMIT count] [REV] [WITHVALUES]", -3)
        .flags(&[Flags::READONLY])
        .since("chronos 0.1")
        .costs("O(log N + count)")
        .does(
            "Returns the keys from start-key on, up to before end-key, as PREFIX does. - is before \
            all keys and + behind them; [key includes the key, (key does not. REV shows the same \
            keys from the last one on.",
        ),
];
