//! What works on a key whatever its value is: deletion, expiry, names, walks over the keys.

use super::{Command, Flags, Group, Verb, help};

const GROUP: Group = Group::Generic;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::Del, "DEL", "key [key ...]", -2)
        .flags(&[Flags::WRITE])
        .keys(1, -1, 1)
        .since("1.0.0")
        .costs("O(K log N)")
        .does("Deletes keys and returns how many of them were there.")
        .differs(
            "In the text protocol it answers OK_DELETED whether or not the keys were there, \
            and does not look for them.",
        ),
    command(Verb::Unlink, "UNLINK", "key [key ...]", -2)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, -1, 1)
        .since("4.0.0")
        .costs("O(K log N)")
        .does("Deletes keys and returns how many of them were there.")
        .differs("The same as DEL: space is freed by merges in the background either way."),
    command(Verb::Exists, "EXISTS", "key [key ...]", -2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, -1, 1)
        .since("1.0.0")
        .costs("O(K log N)")
        .does("Counts how many of the named keys are there."),
    command(Verb::Type, "TYPE", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Names the type of the value of a key.")
        .differs("Every value is a string."),
    command(Verb::Touch, "TOUCH", "key [key ...]", -2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, -1, 1)
        .since("3.2.1")
        .costs("O(K log N)")
        .does("Counts how many of the named keys are there.")
        .differs("Times of access are not tracked, so nothing else happens."),
    command(Verb::Rename, "RENAME", "key newkey", 3)
        .flags(&[Flags::WRITE])
        .keys(1, 2, 1)
        .since("1.0.0")
        .costs("O(log N + L)")
        .does("Moves a value with its expiry to another key, whatever is there.")
        .differs("The value is written anew under its new key."),
    command(Verb::RenameNx, "RENAMENX", "key newkey", 3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 2, 1)
        .since("1.0.0")
        .costs("O(log N + L)")
        .does("Moves a value with its expiry to another key, only if that one is not there.")
        .differs("The value is written anew under its new key."),
    command(Verb::Copy, "COPY", "source destination [DB destination-db] [REPLACE]", -3)
        .flags(&[Flags::WRITE, Flags::DENYOOM])
        .keys(1, 2, 1)
        .since("6.2.0")
        .costs("O(log N + L)")
        .does("Copies a value with its expiry to another key."),
    command(Verb::Keys, "KEYS", "pattern", 2)
        .flags(&[Flags::READONLY])
        .since("1.0.0")
        .costs("O(N)")
        .does("Returns the keys that match a glob-style pattern.")
        .differs(
            "The keys come in order. A reply of more than 62 MiB is refused. What stands in the \
            pattern before the first special character bounds the keys that are looked at.",
        ),
    command(Verb::Scan, "SCAN", "cursor [MATCH pattern] [COUNT count] [TYPE type]", -2)
        .flags(&[Flags::READONLY])
        .since("2.8.0")
        .costs("O(log N + count) a call")
        .does("Walks over the keys a part at a time.")
        .differs(
            "The keys come in order, and none twice. A cursor is a number below 2^48 whose \
            position the server remembers: 65,536 positions and 16 MiB of keys, the oldest are forgotten, and all at a \
            restart. One that it does not know is an error: begin again with 0. A call ends \
            early once its reply has 16 MiB. MATCH bounds the keys that are looked at as in \
            KEYS. In the text protocol the reply is one list, the cursor first.",
        ),
    command(Verb::RandomKey, "RANDOMKEY", "", 1)
        .flags(&[Flags::READONLY])
        .since("1.0.0")
        .costs("O(log N) a byte that keys differ in, at most")
        .does("Returns some key.")
        .differs(
            "Of fewer than 64 keys each is as likely. Beyond, the key is chosen byte by byte, evenly between the lowest and the \
            highest byte that occurs: hashes and numbers of one width come evenly, of other keys \
            those more often that stand alone or behind a gap.",
        ),
    command(Verb::Expire, "EXPIRE", "key seconds [NX | XX | GT | LT]", -3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N + L)")
        .does("Lets a key expire after so many seconds.")
        .differs("The whole value is written anew."),
    command(Verb::PExpire, "PEXPIRE", "key milliseconds [NX | XX | GT | LT]", -3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N + L)")
        .does("Lets a key expire after so many milliseconds.")
        .differs("The whole value is written anew."),
    command(Verb::ExpireAt, "EXPIREAT", "key unix-time-seconds [NX | XX | GT | LT]", -3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.2.0")
        .costs("O(log N + L)")
        .does("Lets a key expire at a Unix time in seconds.")
        .differs("The whole value is written anew."),
    command(Verb::PExpireAt, "PEXPIREAT", "key unix-time-milliseconds [NX | XX | GT | LT]", -3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N + L)")
        .does("Lets a key expire at a Unix time in milliseconds.")
        .differs("The whole value is written anew."),
    command(Verb::Ttl, "TTL", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N)")
        .does("Returns how many seconds a key has left."),
    command(Verb::PTtl, "PTTL", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N)")
        .does("Returns how many milliseconds a key has left."),
    command(Verb::ExpireTime, "EXPIRETIME", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("7.0.0")
        .costs("O(log N)")
        .does("Returns the Unix time in seconds at which a key expires."),
    command(Verb::PExpireTime, "PEXPIRETIME", "key", 2)
        .flags(&[Flags::READONLY, Flags::FAST])
        .keys(1, 1, 1)
        .since("7.0.0")
        .costs("O(log N)")
        .does("Returns the Unix time in milliseconds at which a key expires."),
    command(Verb::Persist, "PERSIST", "key", 2)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("2.2.0")
        .costs("O(log N + L)")
        .does("Removes the expiry of a key.")
        .differs("The whole value is written anew."),
    command(Verb::Object, "OBJECT", "", -2)
        .since("2.2.3")
        .costs("depends on the subcommand")
        .does("Tells how the value of a key is kept.")
        .containing(OBJECT_SUBCOMMANDS),
    command(Verb::Dump, "DUMP", "key", 2)
        .flags(&[Flags::READONLY])
        .keys(1, 1, 1)
        .since("2.6.0")
        .costs("O(log N + L)")
        .does("Returns a value in a form that RESTORE takes.")
        .differs("The form is Chronos's own: Redis cannot read it."),
    command(
        Verb::Restore,
        "RESTORE",
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ \
        frequency]",
        -4,
    )
    .flags(&[Flags::WRITE, Flags::DENYOOM])
    .keys(1, 1, 1)
    .since("2.6.0")
    .costs("O(log N + L)")
    .does("Stores a value that DUMP returned.")
    .differs(
        "Takes the form of Chronos only. IDLETIME and FREQ are checked and change \
        nothing. A time to live that no clock can reach is refused; in Redis it runs over, and \
        the key is dropped.",
    ),
    command(Verb::Move, "MOVE", "key db", 3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .keys(1, 1, 1)
        .since("1.0.0")
        .costs("O(log N + L)")
        .does("Moves a key to another database, only if it is not there."),
    command(Verb::Wait, "WAIT", "numreplicas timeout", 3)
        .flags(&[Flags::NOSCRIPT])
        .since("3.0.0")
        .costs("O(1)")
        .does("Returns how many replicas have the writes of this connection.")
        .differs(
            "Returns 0 once everything written before is durable here: there are no replicas. The \
            timeout is checked and changes nothing.",
        ),
    command(Verb::WaitAof, "WAITAOF", "numlocal numreplicas timeout", 4)
        .flags(&[Flags::NOSCRIPT])
        .since("7.2.0")
        .costs("O(1)")
        .does(
            "Returns whether the writes of this connection are on disk, here and on \
            replicas.",
        )
        .differs(
            "Returns 1 and 0 once everything written before is durable here: there are no \
            replicas. The timeout is checked and changes nothing.",
        ),
];

/// The subcommands of OBJECT.
const OBJECT_SUBCOMMANDS: &[Command] = &[
    command(Verb::ObjectEncoding, "ENCODING", "key", 3)
        .under("OBJECT")
        .flags(&[Flags::READONLY])
        .keys(2, 2, 1)
        .since("2.2.3")
        .costs("O(log N + L)")
        .does("Names the encoding that Redis would keep the value in.")
        .differs("The name follows from the value; every value is stored in the same way."),
    command(Verb::ObjectFreq, "FREQ", "key", 3)
        .under("OBJECT")
        .flags(&[Flags::READONLY])
        .keys(2, 2, 1)
        .since("4.0.0")
        .costs("O(log N)")
        .does("Returns how often a key is used.")
        .differs("Not tracked: it answers as a Redis does that evicts nothing by frequency."),
    help(Verb::ObjectHelp, "OBJECT", GROUP, "6.2.0"),
    command(Verb::ObjectIdleTime, "IDLETIME", "key", 3)
        .under("OBJECT")
        .flags(&[Flags::READONLY])
        .keys(2, 2, 1)
        .since("2.2.3")
        .costs("O(log N)")
        .does("Returns how long a key was not used.")
        .differs("Not tracked: always 0."),
    command(Verb::ObjectRefCount, "REFCOUNT", "key", 3)
        .under("OBJECT")
        .flags(&[Flags::READONLY])
        .keys(2, 2, 1)
        .since("2.2.3")
        .costs("O(log N)")
        .does("Returns how many references a value has.")
        .differs("Always 1."),
];
