//! What each command does: one function each, by group.
//!
//! A function gets a [`Call`]: its arguments, its client, the keyspace and a reply to write. The rules:
//! look up first, check everything, then stage writes and note effects, then reply. It may return an
//! [`Interrupt`] at any time before it has changed anything but what the keyspace and the effects hold,
//! for those are taken back: after [`Interrupt::Later`] it is run again from its beginning. Errors and
//! replies are those of Redis, byte for byte, unless the table of commands says otherwise.

use crate::parser::table::{Flags, Group};
use crate::parser::{Args, Command, Encoder, Verb};

use super::client::{Client, Traits};
use super::dispatch::{Next, Services};
use super::interrupt::Interrupt;

mod bitmaps;
mod client;
mod connection;
mod help;
mod keys;
mod own;
mod pubsub;
mod server;
mod strings;
mod transactions;

pub(crate) use keys::{Choice, Narrowed, estimated_keys};
pub(crate) use pubsub::forget as forget_subscriptions;
pub(crate) use transactions::forget as forget_transaction;

/// How a function ends: the reply is written, or not to be sent.
pub(crate) type Handled = Result<(), Interrupt>;

/// One command being executed.
pub(crate) struct Call<'c, 'o, 'e> {
    pub(crate) command: &'static Command,
    /// The words behind the command's name; of a subcommand, its own name is the first.
    pub(crate) args: Args<'c>,
    pub(crate) reply: &'c mut Encoder<'o>,
    pub(crate) client: &'c mut Client,
    pub(crate) services: &'c mut Services<'e>,
    /// How the connection goes on.
    pub(crate) next: Next,
}

impl Call<'_, '_, '_> {
    /// Whether EXEC runs it: then it happens at that moment, and nothing of it elsewhere.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.client.traits.has(Traits::EXECUTING)
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.services.keyspace.now_ms()
    }
}

/// Executes a command.
///
/// # Errors
/// Why it does not end with the reply that it has written.
pub(crate) fn handle(call: &mut Call) -> Handled {
    match call.command.group {
        Group::String => strings::handle(call),
        Group::Bitmap => bitmaps::handle(call),
        Group::Generic => keys::handle(call),
        Group::Transactions => transactions::handle(call),
        Group::Connection => connection::handle(call),
        Group::PubSub => pubsub::handle(call),
        Group::Server => server::handle(call),
        Group::Chronos => own::handle(call),
    }
}

/// Whether a client that wants no replies gets those of this command all the same: confirmations are
/// messages, and EXEC leaves out of its reply what is not wanted.
pub(crate) fn speaks_to_the_silent(verb: Verb) -> bool {
    let confirms =
        matches!(verb, Verb::Subscribe | Verb::PSubscribe | Verb::Unsubscribe | Verb::PUnsubscribe);
    confirms || verb == Verb::Exec
}

/// Whether events are published for the keys that a command looks for in vain, as in Redis: for
/// reads of values, not for looks at what there is.
pub(crate) fn tells_misses(command: &Command) -> bool {
    match command.verb {
        Verb::GetEx | Verb::GetDel | Verb::GetSet | Verb::BitOp | Verb::Copy => true,
        Verb::MemoryUsage => false,
        _ => command.flags.has(Flags::READONLY) && command.parent.is_empty(),
    }
}
