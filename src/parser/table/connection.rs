//! What concerns one connection, and CLIENT, which concerns them all.

use super::{Command, Flags, Group, Verb, help};

const GROUP: Group = Group::Connection;

const fn command(verb: Verb, name: &'static str, arguments: &'static str, arity: i32) -> Command {
    Command::new(GROUP, verb, name, arguments, arity)
}

pub(super) const COMMANDS: &[Command] = &[
    command(Verb::Auth, "AUTH", "[username] password", -2)
        .flags(&[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ])
        .since("1.0.0")
        .costs("O(1)")
        .does("Logs this connection in with a password."),
    command(Verb::Ping, "PING", "[message]", -1)
        .flags(&[Flags::FAST])
        .since("1.0.0")
        .costs("O(1)")
        .does("Answers PONG, or the message."),
    command(Verb::Echo, "ECHO", "message", 2)
        .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
        .since("1.0.0")
        .costs("O(1)")
        .does("Answers the message."),
    command(Verb::Quit, "QUIT", "", -1)
        .flags(&[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ])
        .since("1.0.0")
        .costs("O(1)")
        .does("Closes the connection after the replies that are still due."),
    command(Verb::Reset, "RESET", "", 1)
        .flags(&[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ])
        .since("6.2.0")
        .costs("O(1)")
        .does("Puts the connection back to the state of a new one."),
    command(Verb::Select, "SELECT", "index", 2)
        .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
        .since("1.0.0")
        .costs("O(1)")
        .does("Changes the database of this connection."),
    command(Verb::Hello, "HELLO", "[protover [AUTH username password] [SETNAME clientname]]", -1)
        .flags(&[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ])
        .since("6.0.0")
        .costs("O(1)")
        .does("Changes the version of RESP, and describes the server."),
    command(Verb::Client, "CLIENT", "", -2)
        .since("2.4.0")
        .costs("depends on the subcommand")
        .does("Shows and changes connections.")
        .containing(CLIENT_SUBCOMMANDS),
];

/// The subcommands of CLIENT.
const CLIENT_SUBCOMMANDS: &[Command] = &[
    command(Verb::ClientGetName, "GETNAME", "", 2)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.6.9")
        .costs("O(1)")
        .does("Returns the name of this connection."),
    help(Verb::ClientHelp, "CLIENT", GROUP, "5.0.0"),
    command(Verb::ClientId, "ID", "", 2)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("5.0.0")
        .costs("O(1)")
        .does("Returns the number of this connection."),
    command(Verb::ClientInfo, "INFO", "", 2)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("6.2.0")
        .costs("O(1)")
        .does("Describes this connection."),
    command(
        Verb::ClientKill,
        "KILL",
        "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> \
        | USER username | ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> | MAXAGE maxage> ...>",
        -3,
    )
    .under("CLIENT")
    .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
    .since("2.4.0")
    .costs("O(C)")
    .does("Closes the connections that match."),
    command(
        Verb::ClientList,
        "LIST",
        "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        -2,
    )
    .under("CLIENT")
    .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
    .since("2.4.0")
    .costs("O(C)")
    .does("Describes all connections, or those that match.")
    .differs(
        "The buffers are as of the last time that the client was served; a text connection \
        has resp=0.",
    ),
    command(Verb::ClientNoEvict, "NO-EVICT", "<ON | OFF>", 3)
        .under("CLIENT")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("7.0.0")
        .costs("O(1)")
        .does("Asks to keep this connection when memory is short.")
        .differs("It is closed last, after those who have not asked."),
    command(Verb::ClientNoTouch, "NO-TOUCH", "<ON | OFF>", 3)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("7.2.0")
        .costs("O(1)")
        .does("Asks to leave times of access as they are.")
        .differs("Accepted; times of access are not tracked."),
    command(Verb::ClientPause, "PAUSE", "timeout [WRITE | ALL]", -3)
        .under("CLIENT")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.9.50")
        .costs("O(1)")
        .does("Holds back the commands of clients for some milliseconds.")
        .differs("CLIENT PAUSE and CLIENT UNPAUSE themselves are not held back."),
    command(Verb::ClientReply, "REPLY", "<ON | OFF | SKIP>", 3)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("3.2.0")
        .costs("O(1)")
        .does("Switches the replies to this connection on or off."),
    command(Verb::ClientSetInfo, "SETINFO", "<LIB-NAME libname | LIB-VER libver>", 4)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("7.2.0")
        .costs("O(1)")
        .does("Tells the server the name or version of the client library."),
    command(Verb::ClientSetName, "SETNAME", "connection-name", 3)
        .under("CLIENT")
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("2.6.9")
        .costs("O(1)")
        .does("Names this connection."),
    command(Verb::ClientUnpause, "UNPAUSE", "", 2)
        .under("CLIENT")
        .flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
        .since("6.2.0")
        .costs("O(C)")
        .does("Ends CLIENT PAUSE."),
];
