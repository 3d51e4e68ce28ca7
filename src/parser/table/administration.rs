//! What concerns the server as a whole: settings, figures, upkeep.

use super::{Command, Flags, Group, Verb, help};

const GROUP: Group = Group::Server;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::BgSave, "BGSAVE", "[SCHEDULE]", -1)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::NO_ASYNC_LOADING])
        .since("1.0.0")
        .costs("O(F)")
        .does("Makes a checkpoint in the background.")
        .differs(
            "Every answered write is on disk already. A checkpoint is a second, \
            consistent copy of the database's files, in the directory that \
            --checkpoint-dir names; it replaces the one before. A crash meanwhile leaves \
            a complete one there, or under that name with .old behind it.",
        ),
    command(Verb::Command, "COMMAND", "", -1)
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(V)")
        .does("Describes all commands.")
        .containing(COMMAND_SUBCOMMANDS),
    command(Verb::Config, "CONFIG", "", -2)
        .since("2.0.0")
        .costs("depends on the subcommand")
        .does("Shows and changes settings.")
        .containing(CONFIG_SUBCOMMANDS),
    command(Verb::DbSize, "DBSIZE", "", 1)
        .flags(&[Flags::READONLY, Flags::FAST])
        .since("1.0.0")
        .costs("O(N), and O(T) once there are many")
        .does("Returns the number of keys.")
        .differs(
            "Exact up to 1,000,000 keys. Beyond, it is an estimate from a random sample, within a tenth.",
        ),
    command(Verb::Debug, "DEBUG", "subcommand [argument [argument ...]]", -2)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("1.0.0")
        .costs("depends on the subcommand")
        .does("Makes the server do what tests need.")
        .differs(
            "Only with the flag that allows it. Of the subcommands, those that tests of \
            clients need: DEBUG HELP lists them. SLEEP holds back all commands; the \
            server itself goes on.",
        ),
    command(Verb::FlushAll, "FLUSHALL", "[ASYNC | SYNC]", -1)
        .flags(&[Flags::WRITE])
        .since("1.0.0")
        .costs("O(1)")
        .does("Deletes the keys of all databases.")
        .differs(
            "One range tombstone, at once however many keys there are; merges free the \
            space. ASYNC and SYNC are the same.",
        ),
    command(Verb::FlushDb, "FLUSHDB", "[ASYNC | SYNC]", -1)
        .flags(&[Flags::WRITE])
        .since("1.0.0")
        .costs("O(1)")
        .does("Deletes the keys of this database.")
        .differs(
            "One range tombstone, at once however many keys there are; merges free the \
            space. ASYNC and SYNC are the same.",
        ),
    command(Verb::Info, "INFO", "[section [section ...]]", -1)
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("1.0.0")
        .costs("O(1)")
        .does("Shows figures about the server.")
        .differs(
            "A section of Chronos's own, engine. The keyspace section is exact up to 10,000 keys of a database and an estimate beyond; \
            docs/protocol.md explains every figure.",
        ),
    command(Verb::LastSave, "LASTSAVE", "", 1)
        .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
        .since("1.0.0")
        .costs("O(1)")
        .does("Returns the Unix time of the last checkpoint."),
    command(Verb::Latency, "LATENCY", "", -2)
        .since("2.8.13")
        .costs("depends on the subcommand")
        .does("Shows what took long, and how long.")
        .differs("The events are command and fast-command.")
        .containing(LATENCY_SUBCOMMANDS),
    command(Verb::Memory, "MEMORY", "", -2)
        .since("4.0.0")
        .costs("depends on the subcommand")
        .does("Shows where memory goes.")
        .containing(MEMORY_SUBCOMMANDS),
    command(Verb::Monitor, "MONITOR", "", 1)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("1.0.0")
        .costs("O(1)")
        .does("Shows every command that the server runs, as it runs.")
        .differs(
            "A line is sent once what was written before it is durable; passwords are \
                  left out.",
        ),
    command(Verb::Save, "SAVE", "", 1)
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::NO_ASYNC_LOADING, Flags::NO_MULTI])
        .since("1.0.0")
        .costs("O(F)")
        .does("Makes a checkpoint and answers when it is complete.")
        .differs("As BGSAVE; other clients are served meanwhile."),
    command(Verb::Shutdown, "SHUTDOWN", "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", -1)
        .flags(&[
            Flags::ADMIN,
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::NO_MULTI,
            Flags::ALLOW_BUSY,
        ])
        .since("1.0.0")
        .costs("O(M)")
        .does("Stops the server.")
        .differs("Answered writes are never lost, not even with NOSAVE."),
    command(Verb::SlowLog, "SLOWLOG", "", -2)
        .since("2.2.12")
        .costs("depends on the subcommand")
        .does("Shows the commands that took longest.")
        .containing(SLOWLOG_SUBCOMMANDS),
    command(Verb::SwapDb, "SWAPDB", "index1 index2", 3)
        .flags(&[Flags::WRITE, Flags::FAST])
        .since("4.0.0")
        .costs("O(1)")
        .does("Exchanges two databases."),
    command(Verb::Time, "TIME", "", 1)
        .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
        .since("2.6.0")
        .costs("O(1)")
        .does("Returns the server's clock: seconds and microseconds."),
];

/// The subcommands of COMMAND.
const COMMAND_SUBCOMMANDS: &[Command] = &[
    command(Verb::CommandCount, "COUNT", "", 2)
        .under("COMMAND")
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(1)")
        .does("Counts the commands."),
    command(Verb::CommandDocs, "DOCS", "[command-name [command-name ...]]", -2)
        .under("COMMAND")
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("7.0.0")
        .costs("O(V)")
        .does("Documents commands: summary, arguments, version, complexity."),
    command(Verb::CommandGetKeys, "GETKEYS", "command arg [arg ...]", -4)
        .under("COMMAND")
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(A)")
        .does("Returns the keys among the words of a whole command."),
    help(Verb::CommandHelp, "COMMAND", GROUP, "5.0.0"),
    command(Verb::CommandInfo, "INFO", "[command-name [command-name ...]]", -2)
        .under("COMMAND")
        .flags(&[Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(V)")
        .does("Describes commands: arity, flags, positions of keys."),
    command(
        Verb::CommandList,
        "LIST",
        "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        -2,
    )
    .under("COMMAND")
    .flags(&[Flags::LOADING, Flags::STALE])
    .since("7.0.0")
    .costs("O(V)")
    .does("Returns the names of the commands."),
];

/// The subcommands of CONFIG.
const CONFIG_SUBCOMMANDS: &[Command] = &[
    command(Verb::ConfigGet, "GET", "parameter [parameter ...]", -3)
        .under("CONFIG")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(P)")
        .does("Returns the settings whose names match glob-style patterns.")
        .differs("Of Redis's settings only those that have a meaning here or that tools ask for."),
    help(Verb::ConfigHelp, "CONFIG", GROUP, "5.0.0"),
    command(Verb::ConfigResetStat, "RESETSTAT", "", 2)
        .under("CONFIG")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(V)")
        .does("Sets the counters that INFO shows to zero."),
    command(Verb::ConfigRewrite, "REWRITE", "", 2)
        .under("CONFIG")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.8.0")
        .costs("O(P)")
        .does("Writes changed settings to the file that they came from.")
        .differs("There is no such file: always an error."),
    command(Verb::ConfigSet, "SET", "parameter value [parameter value ...]", -4)
        .under("CONFIG")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.0.0")
        .costs("O(P)")
        .does("Changes settings while the server runs.")
        .differs(
            "Changes latency-monitor-threshold, maxclients, notify-keyspace-events, \
            requirepass, slowlog-log-slower-than and slowlog-max-len. Others may be set \
            to what they are and to nothing else.",
        ),
];

/// The subcommands of LATENCY.
const LATENCY_SUBCOMMANDS: &[Command] = &[
    command(Verb::LatencyDoctor, "DOCTOR", "", 2)
        .under("LATENCY")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(1)")
        .does("Explains in words what took long."),
    command(Verb::LatencyGraph, "GRAPH", "event", 3)
        .under("LATENCY")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(1)")
        .does("Draws the latest times of an event with characters."),
    help(Verb::LatencyHelp, "LATENCY", GROUP, "2.8.13"),
    command(Verb::LatencyHistogram, "HISTOGRAM", "[command [command ...]]", -2)
        .under("LATENCY")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("7.0.0")
        .costs("O(V)")
        .does("Returns how the times of commands are distributed.")
        .differs("Distributions are not kept: always empty."),
    command(Verb::LatencyHistory, "HISTORY", "event", 3)
        .under("LATENCY")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(1)")
        .does("Returns the latest times of an event."),
    command(Verb::LatencyLatest, "LATEST", "", 2)
        .under("LATENCY")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(1)")
        .does("Returns the last and the longest time of each event."),
    command(Verb::LatencyReset, "RESET", "[event [event ...]]", -2)
        .under("LATENCY")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.8.13")
        .costs("O(1)")
        .does("Forgets the times of events."),
];

/// The subcommands of MEMORY.
const MEMORY_SUBCOMMANDS: &[Command] = &[
    command(Verb::MemoryDoctor, "DOCTOR", "", 2)
        .under("MEMORY")
        .since("4.0.0")
        .costs("O(1)")
        .does("Explains in words what is unusual about memory."),
    help(Verb::MemoryHelp, "MEMORY", GROUP, "4.0.0"),
    command(Verb::MemoryMallocStats, "MALLOC-STATS", "", 2)
        .under("MEMORY")
        .since("4.0.0")
        .costs("O(1)")
        .does("Shows figures of the allocator.")
        .differs("There are none."),
    command(Verb::MemoryPurge, "PURGE", "", 2)
        .under("MEMORY")
        .since("4.0.0")
        .costs("O(1)")
        .does("Asks the allocator to return memory.")
        .differs("Accepted; the system's allocator returns memory by itself."),
    command(Verb::MemoryStats, "STATS", "", 2)
        .under("MEMORY")
        .since("4.0.0")
        .costs("O(1)")
        .does("Returns where memory goes.")
        .differs("Only figures that have a meaning here."),
    command(Verb::MemoryUsage, "USAGE", "key [SAMPLES count]", -3)
        .under("MEMORY")
        .flags(&[Flags::READONLY])
        .keys(2, 2, 1)
        .since("4.0.0")
        .costs("O(log N + L)")
        .does("Returns how many bytes a key with its value takes.")
        .differs("The bytes stored, before compression."),
];

/// The subcommands of SLOWLOG.
const SLOWLOG_SUBCOMMANDS: &[Command] = &[
    command(Verb::SlowLogGet, "GET", "[count]", -2)
        .under("SLOWLOG")
        .flags(&[Flags::ADMIN, Flags::LOADING, Flags::STALE])
        .since("2.2.12")
        .costs("O(E)")
        .does("Returns the latest entries of the slow log.")
        .differs(
            "What a command takes is counted where everyone waits for it: what workers do for \
            KEYS, SCAN and the like is left out.",
        ),
    help(Verb::SlowLogHelp, "SLOWLOG", GROUP, "6.2.0"),
    command(Verb::SlowLogLen, "LEN", "", 2)
        .under("SLOWLOG")
        .flags(&[Flags::ADMIN, Flags::LOADING, Flags::STALE])
        .since("2.2.12")
        .costs("O(1)")
        .does("Counts the entries of the slow log."),
    command(Verb::SlowLogReset, "RESET", "", 2)
        .under("SLOWLOG")
        .flags(&[Flags::ADMIN, Flags::LOADING, Flags::STALE])
        .since("2.2.12")
        .costs("O(E)")
        .does("Empties the slow log."),
];
