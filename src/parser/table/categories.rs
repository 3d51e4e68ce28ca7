//! The categories that COMMAND INFO shows. Most of them follow from a command's flags and group; the
//! exceptions are Redis's, and stand here by name.

use super::{Command, Flags, Group, Verb};

impl Command {
    /// The categories of access control, as `@read`, in the order in which Redis shows them.
    pub fn categories(&self) -> Vec<&'static str> {
        let flag = |flag| self.flags.has(flag);
        let whole = self.subcommands.is_empty();
        let group = |group| whole && self.group == group;
        let fast = flag(Flags::FAST);
        [
            ("@keyspace", group(Group::Generic) && !self.is_connection() || self.is_keyspace()),
            ("@read", flag(Flags::READONLY)),
            ("@write", flag(Flags::WRITE)),
            ("@string", group(Group::String)),
            ("@bitmap", group(Group::Bitmap)),
            ("@pubsub", flag(Flags::PUBSUB)),
            ("@admin", flag(Flags::ADMIN) || self.verb == Verb::LastSave),
            ("@fast", fast),
            ("@slow", !fast),
            ("@blocking", flag(Flags::BLOCKING)),
            ("@dangerous", flag(Flags::ADMIN) || self.is_dangerous()),
            ("@connection", group(Group::Connection) || self.is_connection()),
            ("@transaction", group(Group::Transactions)),
        ]
        .into_iter()
        .filter_map(|(name, belongs)| belongs.then_some(name))
        .collect()
    }

    /// Whether it is about keys without being in the group of that name.
    fn is_keyspace(&self) -> bool {
        matches!(
            self.verb,
            Verb::DbSize
                | Verb::FlushAll
                | Verb::FlushDb
                | Verb::SwapDb
                | Verb::Prefix
                | Verb::Range
        )
    }

    /// Whether it may do harm without being for those who run the server.
    fn is_dangerous(&self) -> bool {
        matches!(
            self.verb,
            Verb::FlushAll
                | Verb::FlushDb
                | Verb::SwapDb
                | Verb::Keys
                | Verb::Restore
                | Verb::Info
                | Verb::LastSave
                | Verb::Compact
        )
    }

    /// Whether it counts as one of the connection without being in the group of that name.
    fn is_connection(&self) -> bool {
        matches!(self.verb, Verb::Wait | Verb::WaitAof | Verb::Command) || self.parent == "COMMAND"
    }
}
