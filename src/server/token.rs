//! Names of event sources. A connection's token is its slot and a generation that no earlier user of
//! the slot had, so that an event or a worker's answer that comes too late finds nobody.

use mio::Token;

/// A connection's name: never used twice within 2³² accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId {
    /// Its place in the slab.
    pub(crate) slot: u32,
    /// Which of the connections that had this place.
    pub(crate) generation: u32,
}

/// What an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The engine or a worker has news.
    Waker,
    /// A signal arrived.
    Signals,
    /// The listener with this number has clients waiting.
    Listener(usize),
    /// A connection.
    Connection(ConnectionId),
}

/// Slots from here on stand for sources that are not connections.
const FIRST_SPECIAL: u32 = u32::MAX - 2;
const WAKER: u32 = FIRST_SPECIAL;
const SIGNALS: u32 = FIRST_SPECIAL + 1;
const LISTENER: u32 = FIRST_SPECIAL + 2;

impl Source {
    /// The token to register it with.
    pub(crate) fn token(self) -> Token {
        let (slot, generation) = match self {
            Source::Waker => (WAKER, 0),
            Source::Signals => (SIGNALS, 0),
            Source::Listener(index) => (LISTENER, index as u32),
            Source::Connection(id) => (id.slot, id.generation),
        };
        Token((slot as usize) << 32 | generation as usize)
    }

    /// The source that a token was made from.
    pub(crate) fn of(token: Token) -> Self {
        let (slot, generation) = ((token.0 >> 32) as u32, token.0 as u32);
        match slot {
            WAKER => Source::Waker,
            SIGNALS => Source::Signals,
            LISTENER => Source::Listener(generation as usize),
            _ => Source::Connection(ConnectionId { slot, generation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_source() {
        let connection = |slot, generation| Source::Connection(ConnectionId { slot, generation });
        for source in [
            Source::Waker,
            Source::Signals,
            Source::Listener(0),
            Source::Listener(3),
            connection(0, 0),
            connection(7, u32::MAX),
            connection(1 << 20, 5),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
