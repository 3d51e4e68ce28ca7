//! The one table of commands, for Redis clients and for the text protocol: it drives lookup, arity
//! errors, COMMAND, HELP, completion, hints and docs/commands.md. A command that is not here does
//! not exist; nothing else may list commands.
//!
//! Arity, flags and positions of keys are those of Redis 7.0, as a test compares, for clients and
//! proxies act on them; where Chronos differs, `differences` says so. Data only: what a command
//! does is the server's. A map built at start was rejected for the lookup: the table is constant,
//! so its index can be too.

mod administration;
mod bitmaps;
mod categories;
mod chronos;
mod connection;
pub mod docs;
mod flags;
mod generic;
mod lookup;
mod pubsub;
mod strings;
#[cfg(test)]
mod tests;
mod transactions;
mod verb;

pub use flags::Flags;
pub use lookup::{find, find_subcommand, keys_of};
pub use verb::Verb;

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Values.
    String,
    /// Values as rows of bits.
    Bitmap,
    /// Keys, whatever their values are.
    Generic,
    /// MULTI and what belongs to it.
    Transactions,
    /// One connection.
    Connection,
    /// The whole server.
    Server,
    /// Messages.
    PubSub,
    /// What Redis does not have.
    Chronos,
}

impl Group {
    /// Every group, in the order of the documentation.
    pub const ALL: [Group; 8] = [
        Group::String,
        Group::Bitmap,
        Group::Generic,
        Group::Chronos,
        Group::Transactions,
        Group::PubSub,
        Group::Connection,
        Group::Server,
    ];

    /// The title in HELP and in docs/commands.md.
    pub const fn title(self) -> &'static str {
        match self {
            Group::String => "Strings",
            Group::Bitmap => "Bitmaps",
            Group::Generic => "Keys",
            Group::Transactions => "Transactions",
            Group::Connection => "Connection",
            Group::Server => "Server",
            Group::PubSub => "Publish and subscribe",
            Group::Chronos => "Beyond Redis",
        }
    }

    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::Generic => "generic",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::PubSub => "pubsub",
            Group::Chronos => "chronos",
        }
    }
}

/// Which words of a request are keys, as COMMAND INFO shows it; the name is word 0. All zero: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys {
    /// The first key.
    pub first: i8,
    /// The last key; if negative, counted from the end: -1 is the last word.
    pub last: i8,
    /// How far it is from key to key.
    pub step: i8,
}

/// One command, or one subcommand, as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// What it does.
    pub verb: Verb,
    /// Its name in capitals; of a subcommand its own name only.
    pub name: &'static str,
    /// The name of the command that it is a subcommand of, else "".
    pub parent: &'static str,
    /// Its arguments: optional ones in `[]`, required ones to choose from in `<>`, choices split by
    /// `|`, repeated ones with `...`, words to be given literally in capitals.
    pub arguments: &'static str,
    /// How many words a request has, the name (and the subcommand's) included; if negative, the
    /// least number of them.
    pub arity: i32,
    /// What else is true of it.
    pub flags: Flags,
    /// Which words are keys.
    pub keys: Keys,
    /// What it is about.
    pub group: Group,
    /// The version of Redis that introduced it; of what Redis does not have, that of Chronos.
    pub since: &'static str,
    /// How its cost grows, here and not in Redis; docs/commands.md explains the letters.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// How it differs from the command of Redis, "" if it does not.
    pub differences: &'static str,
    /// Whether in the text protocol the last argument is the rest of the line, byte for byte.
    pub rest_of_line: bool,
    /// Its subcommands; a request for a command that has some names one of them.
    pub subcommands: &'static [Command],
}

impl Command {
    /// A command without flags, keys, documentation and subcommands.
    const fn new(
        group: Group,
        verb: Verb,
        name: &'static str,
        arguments: &'static str,
        arity: i32,
    ) -> Command {
        Command {
            verb,
            name,
            parent: "",
            arguments,
            arity,
            flags: Flags::of(&[]),
            keys: Keys { first: 0, last: 0, step: 0 },
            group,
            since: "",
            complexity: "",
            summary: "",
            differences: "",
            rest_of_line: false,
            subcommands: &[],
        }
    }

    const fn under(self, parent: &'static str) -> Command {
        Command { parent, ..self }
    }

    const fn flags(self, flags: &[Flags]) -> Command {
        Command { flags: Flags::of(flags), ..self }
    }

    const fn keys(self, first: i8, last: i8, step: i8) -> Command {
        Command { keys: Keys { first, last, step }, ..self }
    }

    const fn since(self, since: &'static str) -> Command {
        Command { since, ..self }
    }

    const fn costs(self, complexity: &'static str) -> Command {
        Command { complexity, ..self }
    }

    const fn does(self, summary: &'static str) -> Command {
        Command { summary, ..self }
    }

    const fn differs(self, differences: &'static str) -> Command {
        Command { differences, ..self }
    }

    const fn rest_of_line(self) -> Command {
        Command { rest_of_line: true, ..self }
    }

    const fn containing(self, subcommands: &'static [Command]) -> Command {
        Command { subcommands, ..self }
    }

    /// Its name as Redis writes it where no space may be: `get`, `client|list`.
    pub fn full_name(&self) -> String {
        let mut name = self.parent.to_ascii_lowercase();
        if !name.is_empty() {
            name.push('|');
        }
        name.push_str(&self.name.to_ascii_lowercase());
        name
    }

    /// How it is written: `SET key value`, `CLIENT GETNAME`.
    pub fn usage(&self) -> String {
        let words = [self.parent, self.name, self.arguments];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Its arguments in the text protocol, where a value that is the rest of the line leaves no room
    /// for options.
    pub fn line_arguments(&self) -> &'static str {
        if self.rest_of_line { "key value" } else { self.arguments }
    }

    /// How it is written in the text protocol.
    pub fn line_usage(&self) -> String {
        let words = [self.parent, self.name, self.line_arguments()];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Whether a request may have `argc` words, the name (and the subcommand's) included.
    pub const fn accepts(&self, argc: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { argc >= arity } else { argc == arity }
    }
}

/// The HELP of a command that has subcommands.
const fn help(verb: Verb, parent: &'static str, group: Group, since: &'static str) -> Command {
    Command::new(group, verb, "HELP", "", 2)
        .under(parent)
        .flags(&[Flags::LOADING, Flags::STALE])
        .since(since)
        .costs("O(1)")
        .does("Lists the subcommands.")
}

const GROUPS: [&[Command]; 8] = [
    strings::COMMANDS,
    bitmaps::COMMANDS,
    generic::COMMANDS,
    chronos::COMMANDS,
    transactions::COMMANDS,
    pubsub::COMMANDS,
    connection::COMMANDS,
    administration::COMMANDS,
];

const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// Every command; subcommands are inside theirs.
pub static COMMANDS: [Command; COUNT] = {
    let mut commands = [GROUPS[0][0]; COUNT];
    let (mut group, mut at, mut filled) = (0, 0, 0);
    while filled < COUNT {
        if at == GROUPS[group].len() {
            group += 1;
            at = 0;
        } else {
            commands[filled] = GROUPS[group][at];
            at += 1;
            filled += 1;
        }
    }
    commands
};

/// Every command; subcommands are inside theirs.
pub fn all() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter()
}
