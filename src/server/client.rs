//! What the server knows of a client beyond its socket: its name, its database, its transaction, what
//! it listens to. Kept apart from the connection, so that a command may look at all clients while one
//! of them is being served; idle, it is small: what few clients need is boxed.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::parser::{Args, ArgsList, Command, Protocol};

use super::keyspace::Fetched;
use super::token::ConnectionId;
use super::walks::Walks;
use super::watch::Watch;

/// Facts about a client, each one bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traits(u16);

impl Traits {
    /// It has given the password, or none is required.
    pub(crate) const AUTHENTICATED: Traits = Traits(1);
    /// MULTI: its commands are queued.
    pub(crate) const QUEUEING: Traits = Traits(1 << 1);
    /// A command could not be queued: EXEC must fail.
    pub(crate) const SPOILT: Traits = Traits(1 << 2);
    /// A watched key was changed: EXEC must do nothing.
    pub(crate) const DISTURBED: Traits = Traits(1 << 3);
    /// CLIENT REPLY OFF.
    pub(crate) const SILENT: Traits = Traits(1 << 4);
    /// CLIENT REPLY SKIP: the next command is not answered.
    pub(crate) const SKIP_NEXT: Traits = Traits(1 << 5);
    /// This command is not answered.
    pub(crate) const SKIP_THIS: Traits = Traits(1 << 6);
    /// MONITOR.
    pub(crate) const MONITOR: Traits = Traits(1 << 7);
    /// CLIENT NO-EVICT ON.
    pub(crate) const NO_EVICT: Traits = Traits(1 << 8);
    /// CLIENT NO-TOUCH ON.
    pub(crate) const NO_TOUCH: Traits = Traits(1 << 9);
    /// It listens to channels or patterns.
    pub(crate) const SUBSCRIBED: Traits = Traits(1 << 10);
    /// Its commands run inside EXEC right now.
    pub(crate) const EXECUTING: Traits = Traits(1 << 11);
    /// Its connection closes once its replies are sent: to others it is gone.
    pub(crate) const LEAVING: Traits = Traits(1 << 12);

    /// All of which the fast path must know nothing.
    const UNUSUAL: Traits = Traits(!(Self::AUTHENTICATED.0 | Self::NO_EVICT.0 | Self::NO_TOUCH.0));

    /// All of both.
    pub(crate) const fn or(self, other: Traits) -> Traits {
        Traits(self.0 | other.0)
    }

    /// Whether any of these is set.
    #[inline]
    pub(crate) fn has(self, traits: Traits) -> bool {
        self.0 & traits.0 != 0
    }

    pub(crate) fn set(&mut self, traits: Traits) {
        self.0 |= traits.0;
    }

    pub(crate) fn clear(&mut self, traits: Traits) {
        self.0 &= !traits.0;
    }

    pub(crate) fn put(&mut self, traits: Traits, on: bool) {
        if on { self.set(traits) } else { self.clear(traits) }
    }
}

/// Queued commands in order. There may be hundreds of thousands: none has memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    commands: Vec<&'static Command>,
    args: ArgsList,
}

impl Queue {
    pub(crate) fn push(&mut self, command: &'static Command, args: Args<'_>) {
        self.commands.push(command);
        self.args.push(args);
    }

    /// The commands and their arguments, the commands' names left out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Command, Args<'_>)> {
        let commands = self.commands.iter().enumerate();
        commands.filter_map(|(index, command)| Some((*command, self.args.get(index)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Memory held, in bytes.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.args.capacity_bytes() + self.commands.capacity() * size_of::<&Command>()
    }
}

/// A transaction: what is queued and what is watched.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) queue: Queue,
    /// What is queued, in bytes.
    pub(crate) queued_bytes: usize,
    pub(crate) watches: Vec<Watch>,
    /// Memory held by the watches, in bytes.
    pub(crate) watched_bytes: usize,
    /// Walks that were done for it, while it waits to be executed.
    pub(crate) walks: Option<Walks>,
}

/// Names, each once, in the order in which they came. There may be many: nothing here goes through
/// all of them.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    places: HashMap<Arc<[u8]>, u64>,
    names: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
}

impl Joined {
    /// Adds a name at the end. Returns whether it was not there.
    pub(crate) fn insert(&mut self, name: &Arc<[u8]>) -> bool {
        let place = self.next;
        if self.places.contains_key(name) {
            return false;
        }
        self.next += 1;
        self.places.insert(Arc::clone(name), place);
        self.names.insert(place, Arc::clone(name));
        true
    }

    /// Removes a name. Returns whether it was there.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let place = self.places.remove(name);
        place.is_some_and(|place| self.names.remove(&place).is_some())
    }

    /// The names in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.names.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// What a client listens to, in the order in which it began to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) channels: Joined,
    pub(crate) patterns: Joined,
    /// Memory held by the names, in bytes.
    pub(crate) bytes: usize,
}

impl Subscriptions {
    pub(crate) fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

/// What a client says of itself.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

/// See the module.
pub(crate) struct Client {
    /// Its number, from 1 on, never used twice.
    pub(crate) number: u64,
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) traits: Traits,
    /// The selected database.
    pub(crate) db: u8,
    /// When it came, and when it was last served, in milliseconds of the reactor's clock.
    pub(crate) since_ms: u64,
    pub(crate) served_ms: u64,
    pub(crate) last_command: Option<&'static Command>,
    /// The number of its socket.
    pub(crate) descriptor: i32,
    /// What it has sent and nobody has consumed yet, in bytes.
    pub(crate) input_bytes: u32,
    /// Replies that it has not taken, in bytes.
    pub(crate) unread_bytes: u32,
    pub(crate) names: Option<Box<Names>>,
    pub(crate) transaction: Option<Box<Transaction>>,
    pub(crate) subscriptions: Option<Box<Subscriptions>>,
    /// Reads that were done for the command that waits, and how many are still to come.
    pub(crate) fetched: Vec<Fetched>,
    pub(crate) awaited: u32,
    /// Bytes of the values among them.
    pub(crate) fetched_bytes: usize,
}

impl Client {
    pub(crate) fn new(number: u64, id: ConnectionId, peer: SocketAddr, local: SocketAddr) -> Self {
        Client {
            number,
            id,
            peer,
            local,
            protocol: Protocol::default(),
            traits: Traits::default(),
            db: 0,
            since_ms: 0,
            served_ms: 0,
            last_command: None,
            descriptor: -1,
            input_bytes: 0,
            unread_bytes: 0,
            names: None,
            transaction: None,
            subscriptions: None,
            fetched: Vec::new(),
            awaited: 0,
            fetched_bytes: 0,
        }
    }

    /// The selected database.
    pub(crate) fn db(&self) -> usize {
        usize::from(self.db)
    }

    /// Whether its commands simply run: no transaction, no subscription, nothing of the kind.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.traits.has(Traits::AUTHENTICATED)
            && !self.traits.has(Traits::UNUSUAL)
            && self.fetched.is_empty()
    }

    /// Memory that is held for it beyond its connection's buffers, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let transaction = self.transaction.as_deref();
        transaction.map_or(0, |one| one.queue.capacity_bytes() + one.watched_bytes)
            + self.subscriptions.as_deref().map_or(0, |all| all.bytes)
            + self.fetched_bytes
    }

    /// Whether it does not want the answer to this command.
    pub(crate) fn is_silent(&self) -> bool {
        self.traits.has(Traits::SILENT) || self.traits.has(Traits::SKIP_THIS)
    }

    /// A new command begins: what CLIENT REPLY SKIP said of the next one is said of it.
    pub(crate) fn begin_answer(&mut self) {
        self.traits.put(Traits::SKIP_THIS, self.traits.has(Traits::SKIP_NEXT));
        self.traits.clear(Traits::SKIP_NEXT);
    }

    /// The command has ended. Of the next one nothing is said unless it was CLIENT REPLY SKIP.
    pub(crate) fn end_answer(&mut self) {
        self.traits.clear(Traits::SKIP_THIS);
    }

    /// A request without words: as in Redis, it is what CLIENT REPLY SKIP said of the next one.
    pub(crate) fn skip_nothing(&mut self) {
        self.traits.clear(Traits::SKIP_NEXT);
    }

    /// Its transaction, begun if there is none.
    pub(crate) fn transaction(&mut self) -> &mut Transaction {
        self.transaction.get_or_insert_default()
    }

    /// Its names.
    pub(crate) fn names(&mut self) -> &mut Names {
        self.names.get_or_insert_default()
    }
}

/// All clients, by the slot of their connection.
#[derive(Default)]
pub(crate) struct Clients {
    slots: Vec<Option<Box<Client>>>,
    accepted: u64,
}

impl Clients {
    /// Adds a client for a new connection.
    pub(crate) fn add(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> &mut Client {
        self.accepted += 1;
        let slot = id.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot].insert(Box::new(Client::new(self.accepted, id, peer, local)))
    }

    /// The client of a connection, unless it is lent out.
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Client> {
        let client = self.slots.get_mut(id.slot as usize)?.as_deref_mut()?;
        (client.id == id).then_some(client)
    }

    /// The same, to be looked at.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Client> {
        let client = self.slots.get(id.slot as usize)?.as_deref()?;
        (client.id == id).then_some(client)
    }

    /// Takes a client out while it is served; give it back with [`Clients::put_back`].
    pub(crate) fn take(&mut self, id: ConnectionId) -> Option<Box<Client>> {
        self.slots.get_mut(id.slot as usize)?.take_if(|client| client.id == id)
    }

    pub(crate) fn put_back(&mut self, client: Box<Client>) {
        let slot = client.id.slot as usize;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(client);
        }
    }

    /// All clients but the one that is lent out, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().flatten().map(Box::as_mut)
    }

    /// All clients but the one that is lent out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().flatten().map(Box::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_small_and_its_slot_is_not_mistaken() {
        assert!(size_of::<Client>() <= 200, "{}", size_of::<Client>());
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut clients = Clients::default();
        let first = ConnectionId { slot: 3, generation: 0 };
        let second = ConnectionId { slot: 3, generation: 1 };
        assert_eq!(clients.add(first, address, address).number, 1);
        assert!(clients.get_mut(second).is_none() && clients.take(second).is_none());
        let client = clients.take(first).unwrap();
        assert_eq!(clients.iter().count(), 0);
        clients.put_back(client);
        assert_eq!(clients.iter().count(), 1);
        assert_eq!(clients.add(second, address, address).number, 2);
        assert!(clients.get_mut(first).is_none());
    }
}
