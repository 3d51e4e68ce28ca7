//! Bitmaps: strings, seen as rows of bits.

use super::{Command, Flags, Group, Verb};

const GROUP: Group = Group::Bitmap;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::SetBit, "SETBIT", "key offset bit", 4)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, 1, 1)
        .since("2.2.0")
        .costs("O(log N + L)")
        .does("Sets or clears the bit at an offset and returns what it was.")
        .differs("The whole value is written anew."),
    command(Verb::GetBit, "GETBIT", "key offset", 3)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.2.0")
        .costs("O(log N + L)")
        .does("Returns the bit at an offset."),
    command(Verb::BitCount, "BITCOUNT", "key [start end [BYTE | BIT]]", -2)
        .flags(&[Flags::READONLY])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N + L)")
        .does("Counts the set bits of a value or of a range of it."),
    command(Verb::BitPos, "BITPOS", "key bit [start [end [BYTE | BIT]]]", -3)
        .flags(&[Flags::READONLY])
        .keys(1, 1, 1)
        .since("2.8.7")
        .costs("O(log N + L)")
        .does("Finds the first bit that is set, or the first that is clear."),
    command(Verb::BitOp, "BITOP", "<AND | OR | XOR | NOT> destkey key [key ...]", -4)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(2, -1, 1)
        .since("2.6.0")
        .costs("O(K (log N + L))")
        .does("Combines values bit by bit and stores the result."),
    command(
        Verb::BitField,
        "BITFIELD",
        "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding \
        offset value | INCRBY encoding offset increment>] ...",
        -2,
    )
    .flags(&[Flags::WRITE, Flags::DENYOOM])
    .keys(1, 1, 1)
    .since("3.2.0")
    .costs("O(log N + L + S)")
    .does("Reads, sets and adds to integers of any width inside a value.")
    .differs("A change writes the whole value anew."),
    command(Verb::BitFieldRo, "BITFIELD_RO", "key [GET encoding offset] ...", -2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("6.0.0")
        .costs("O(log N + L + S)")
        .does("Reads integers of any width inside a value."),
];
