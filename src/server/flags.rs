//! What is true of a connection right now, for the reactor's lists and for its turns.

/// Facts about a connection, each one bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// The socket may have bytes; stays until a read has shown that it has none.
    pub(crate) const READABLE: Flags = Flags(1);
    /// The client has said that it sends no more; the end is still to be read.
    pub(crate) const READ_CLOSED: Flags = Flags(1 << 1);
    /// The end has been read.
    pub(crate) const ENDED: Flags = Flags(1 << 2);
    /// The input may hold whole requests.
    pub(crate) const UNPARSED: Flags = Flags(1 << 3);
    /// A request waits for the engine.
    pub(crate) const PARKED: Flags = Flags(1 << 4);
    /// Nothing more is executed; it closes when all replies are sent.
    pub(crate) const CLOSING: Flags = Flags(1 << 5);
    /// The sending side is shut; what still comes is thrown away.
    pub(crate) const LINGERING: Flags = Flags(1 << 6);
    /// The socket took less than it was given; its WRITABLE event is awaited.
    pub(crate) const BLOCKED: Flags = Flags(1 << 7);
    /// It is on the reactor's list of connections to serve, and so on for the other lists.
    pub(crate) const ON_READY: Flags = Flags(1 << 8);
    pub(crate) const ON_DIRTY: Flags = Flags(1 << 9);
    pub(crate) const ON_FRONTIER: Flags = Flags(1 << 10);
    pub(crate) const ON_WATCH: Flags = Flags(1 << 11);
    pub(crate) const ON_DOOMED: Flags = Flags(1 << 12);
    /// A request waits for reads that workers do.
    pub(crate) const AWAITING: Flags = Flags(1 << 13);
    /// The end was met while reading on; it is read again once all before it is done.
    pub(crate) const ENDS: Flags = Flags(1 << 14);
    pub(crate) const ON_STARVED: Flags = Flags(1 << 15);

    /// All of both.
    pub(crate) const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether any of these is set.
    pub(crate) fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Sets; returns whether that changed anything.
    pub(crate) fn set(&mut self, flags: Flags) -> bool {
        let before = self.0;
        self.0 |= flags.0;
        self.0 != before
    }

    /// Clears; returns whether that changed anything.
    pub(crate) fn clear(&mut self, flags: Flags) -> bool {
        let before = self.0;
        self.0 &= !flags.0;
        self.0 != before
    }
}
