//! What is true of a command beside its arguments, under the names that Redis gives it.

/// A set of flags. COMMAND INFO shows their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

/// All flags with their names, in the order in which Redis shows them.
const NAMES: [(Flags, &str); 17] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLEKEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

impl Flags {
    /// May change data.
    pub const WRITE: Flags = Flags(1 << 0);
    /// Reads data and changes none.
    pub const READONLY: Flags = Flags(1 << 1);
    /// Needs memory or disk: refused when they are short.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// For those who run the server.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Belongs to publish and subscribe.
    pub const PUBSUB: Flags = Flags(1 << 4);
    /// Not for scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    /// May wait for something that another client does.
    pub const BLOCKING: Flags = Flags(1 << 6);
    /// Works before the data is there.
    pub const LOADING: Flags = Flags(1 << 7);
    /// Works on a replica that has lost its primary.
    pub const STALE: Flags = Flags(1 << 8);
    /// MONITOR does not show it.
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    /// The slow log does not keep it.
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    /// Takes little time, whatever the data.
    pub const FAST: Flags = Flags(1 << 11);
    /// Works before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 12);
    /// Not while a replica loads data beside its own.
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 13);
    /// Refused inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 14);
    /// Its keys have no fixed positions.
    pub const MOVABLEKEYS: Flags = Flags(1 << 15);
    /// Works while a script keeps the server busy.
    pub const ALLOW_BUSY: Flags = Flags(1 << 16);

    /// The flags of all `sets` together.
    pub const fn of(sets: &[Flags]) -> Flags {
        let mut all = Flags(0);
        let mut at = 0;
        while at < sets.len() {
            all.0 |= sets[at].0;
            at += 1;
        }
        all
    }

    /// Whether all of `flags` are in this set.
    pub const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The names of the flags in this set, in the order in which Redis shows them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_made_of_and_nothing_else() {
        let set = Flags::of(&[Flags::FAST, Flags::WRITE]);
        assert!(
            set.has(Flags::WRITE)
                && set.has(Flags::FAST)
                && set.has(Flags::of(&[Flags::WRITE, Flags::FAST]))
        );
        assert!(!set.has(Flags::of(&[Flags::WRITE, Flags::ADMIN])));
        assert_eq!(set.names().collect::<Vec<_>>(), ["write", "fast"]);
        assert_eq!(Flags::default().names().count(), 0);
    }

    #[test]
    fn every_flag_has_a_bit_of_its_own() {
        for (at, (flag, name)) in NAMES.into_iter().enumerate() {
            assert_eq!(flag.names().collect::<Vec<_>>(), [name]);
            assert_eq!(flag, Flags(1 << at));
        }
    }
}
