//! The one table of commands: it drives lookup, arity errors, HELP, completion, hints and a test on
//! the docs. A command that is not here does not exist; nothing else may list commands.

/// What the server does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Stores a value.
    Set,
    /// Reads a value.
    Get,
    /// Writes a tombstone.
    Del,
    /// Tells whether a key is there.
    Exists,
    /// Merges all tables and drops dead versions.
    Compact,
    /// Answers `PONG`.
    Ping,
    /// Shows figures about the server.
    Info,
    /// Lists the commands.
    Help,
    /// Closes the connection.
    Quit,
    /// Stops the server.
    Shutdown,
}

/// One command as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// What it does.
    pub verb: Verb,
    /// Its name in capitals.
    pub name: &'static str,
    /// Its arguments as shown in help and hints, e.g. `key value`; optional ones in brackets.
    pub arguments: &'static str,
    /// The least number of arguments, the name not counted.
    pub min_arguments: usize,
    /// The greatest number of arguments, the name not counted.
    pub max_arguments: usize,
    /// Whether the last argument is the rest of the line, byte for byte (in text).
    pub rest_of_line: bool,
    /// Whether it may change data.
    pub write: bool,
    /// One sentence for HELP.
    pub summary: &'static str,
}

impl Command {
    /// How it is written, e.g. `SET key value`.
    pub fn usage(&self) -> String {
        let gap = if self.arguments.is_empty() { "" } else { " " };
        format!("{}{gap}{}", self.name, self.arguments)
    }
}

const fn command(
    verb: Verb,
    name: &'static str,
    arguments: &'static str,
    (min_arguments, max_arguments): (usize, usize),
    summary: &'static str,
) -> Command {
    let rest_of_line = matches!(verb, Verb::Set);
    let write = matches!(verb, Verb::Set | Verb::Del);
    Command { verb, name, arguments, min_arguments, max_arguments, rest_of_line, write, summary }
}

/// Every command.
pub const COMMANDS: &[Command] = &[
    command(Verb::Set, "SET", "key value", (2, 2), "Stores value, the rest of the line, at key."),
    command(Verb::Get, "GET", "key", (1, 1), "Returns the value at key, or NULL."),
    command(Verb::Del, "DEL", "key", (1, 1), "Deletes key, whether or not it is there."),
    command(Verb::Exists, "EXISTS", "key", (1, 1), "Returns 1 if key is there, else 0."),
    command(Verb::Compact, "COMPACT", "", (0, 0), "Merges all tables and drops dead versions."),
    command(Verb::Ping, "PING", "", (0, 0), "Returns PONG."),
    command(Verb::Info, "INFO", "[section]", (0, 1), "Shows figures about the server."),
    command(Verb::Help, "HELP", "[command]", (0, 1), "Lists the commands, or explains one."),
    command(Verb::Quit, "QUIT", "", (0, 0), "Closes the connection."),
    command(Verb::Shutdown, "SHUTDOWN", "", (0, 0), "Saves everything and stops the server."),
];

/// Finds a command by name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_only_whole() {
        assert_eq!(find(b"sHuTdOwN").map(|command| command.verb), Some(Verb::Shutdown));
        assert_eq!(find(b"GE"), None);
        assert_eq!(find(b"GETS"), None);
        assert_eq!(find(b""), None);
    }

    #[test]
    fn names_are_capitals_and_unique() {
        for (at, command) in COMMANDS.iter().enumerate() {
            assert!(command.name.bytes().all(|byte| byte.is_ascii_uppercase()));
            assert!(COMMANDS[..at].iter().all(|other| other.name != command.name));
        }
    }
}
