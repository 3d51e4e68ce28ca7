//! Strings: what every value of Chronos is.

use super::{Command, Flags, Group, Verb};

const GROUP: Group = Group::String;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::Get, "GET", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Returns the value of a key."),
    command(
        Verb::Set,
        "SET",
        "key value [NX | XX | IFEQ comparison-value] [GET] [EX seconds | PX \
        milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | \
        KEEPTTL]",
        -3,
    )
    .flags(&[Flags::WRITE, Flags::DENYOOM])
    .keys(1, 1, 1)
    .since("1.0.0")
    .costs("O(log N)")
    .does(
        "Stores a value at a key, whatever was there, and drops its expiry unless \
        told to keep it.",
    )
    .differs(
        "IFEQ stores only if the current value equals comparison-value. In the text \
        protocol the value is the rest of the line, and there are no options.",
    )
    .rest_of_line(),
    command(Verb::SetNx, "SETNX", "key value", 3)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Stores a value only if the key is not there."),
    command(Verb::SetEx, "SETEX", "key seconds value", 4)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, 1, 1)
        .since("2.0.0")
        .costs("O(log N)")
        .does("Stores a value that expires after so many seconds."),
    command(Verb::PSetEx, "PSETEX", "key milliseconds value", 4)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N)")
        .does("Stores a value that expires after so many milliseconds."),
    command(Verb::GetSet, "GETSET", "key value", 3)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Stores a value and returns the one that it replaces."),
    command(Verb::GetDel, "GETDEL", "key", 2)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("6.2.0")
        .costs("O(log N)")
        .does("Returns the value of a key and deletes the key."),
    command(
        Verb::GetEx,
        "GETEX",
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
        unix-time-milliseconds | PERSIST]",
        -2,
    )
    .flags(&[Flags::WRITE, Flags::FAST])
    .keys(1, 1, 1)
    .since("6.2.0")
    .costs("O(log N + L)")
    .does("Returns the value of a key and sets or removes its expiry.")
    .differs("A change of the expiry writes the whole value anew."),
    command(Verb::MGet, "MGET", "key [key ...]", -2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, -1, 1)
        .since("1.0.0")
        .costs("O(K log N)")
        .does("Returns the values of several keys, with a null for each that is not there."),
    command(Verb::MSet, "MSET", "key value [key value ...]", -3)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, -1, 2)
        .since("1.0.1")
        .costs("O(K log N)")
        .does("Stores several values in one atomic batch."),
    command(Verb::MSetNx, "MSETNX", "key value [key value ...]", -3)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, -1, 2)
        .since("1.0.1")
        .costs("O(K log N)")
        .does("Stores several values in one atomic batch, only if none of the keys is there."),
    command(Verb::Append, "APPEND", "key value", 3)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.0.0")
        .costs("O(log N + L)")
        .does("Adds bytes to the end of a value and returns its new length.")
        .differs("The whole value is written anew."),
    command(Verb::StrLen, "STRLEN", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.2.0")
        .costs("O(log N + L)")
        .does("Returns the length of a value in bytes.")
        .differs("The value is read, for its length is not kept apart."),
    command(Verb::GetRange, "GETRANGE", "key start end", 4)
        .flags(&[Flags::READONLY])
        .keys(1, 1, 1)
        .since("2.4.0")
        .costs("O(log N + L)")
        .does("Returns the bytes of a value from one offset to another, both included."),
    command(Verb::SubStr, "SUBSTR", "key start end", 4)
        .flags(&[Flags::READONLY])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N + L)")
        .does("The older name of GETRANGE."),
    command(Verb::SetRange, "SETRANGE", "key offset value", 4)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, 1, 1)
        .since("2.2.0")
        .costs("O(log N + L)")
        .does("Overwrites a part of a value, filled up with zero bytes where it is too short.")
        .differs("The whole value is written anew."),
    command(Verb::Incr, "INCR", "key", 2)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Adds one to an integer."),
    command(Verb::Decr, "DECR", "key", 2)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Takes one from an integer."),
    command(Verb::IncrBy, "INCRBY", "key increment", 3)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Adds an integer to an integer."),
    command(Verb::DecrBy, "DECRBY", "key decrement", 3)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Takes an integer from an integer."),
    command(Verb::IncrByFloat, "INCRBYFLOAT", "key float-increment", 3)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N)")
        .does("Adds a floating-point number to a number."),
    command(
        Verb::Lcs,
        "LCS",
        "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        -3,
    )
    .flags(&[Flags::READONLY])
    .keys(1, 2, 1)
    .since("7.0.0")
    .costs("O(L1 * L2)")
    .does("Finds the longest subsequence that two values have in common.")
    .differs("Values whose lengths multiply to more than 16,777,216 are refused."),
];
