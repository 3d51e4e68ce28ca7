//! The server: sockets and signals in, commands to the engine, replies out.
//!
//! [`bind`] takes the ports, [`Bound::listen`] begins to accept, [`Server::new`] brings listeners and
//! an open engine together, [`Server::run`] serves until a signal, SHUTDOWN or a [`Stopper`] ends it.
//! Binding comes before opening the engine, so that a taken port changes nothing on disk, and listening
//! after it: clients are refused until the data is there. Inside: `reactor` owns every socket and runs every
//! command on one thread; `connection`, `outbox` and `input` are the state of a client; `dispatch` is
//! where parser and engine meet; `workers` do reads that may wait for the disk; `values` is what the
//! string commands compute.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Poll;
use mio::net::TcpListener;

use crate::engine::{Durability, Engine};

mod acceptor;
mod bounds;
mod client;
mod closing;
mod commands;
pub mod config;
mod connection;
mod counts;
mod cursors;
mod dispatch;
mod effects;
mod expiries;
mod flags;
mod holdings;
mod info;
mod input;
mod interrupt;
mod keepalive;
mod keyspace;
mod latency;
mod limits;
mod listening;
pub mod logging;
mod monitor;
mod notify;
mod outbox;
mod pubsub;
mod reactor;
mod saving;
mod settings;
mod signals;
mod slowlog;
pub mod start;
mod stats;
mod token;
pub(crate) mod values;
mod walks;
mod warnings;
mod watch;
mod workers;

pub use bounds::{ClientsBound, OutputBound, OutputBounds};
pub use config::Config;
pub use listening::{Bound, bind, listen};
pub use signals::Signals;

/// How long things may take. The defaults are the documented ones; tests are less patient.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// A request without another byte; zero: for ever.
    pub request_stuck: Duration,
    /// Output of which the client takes nothing, while it sends nothing either.
    pub output_stuck: Duration,
    /// A closed connection's unread input.
    pub linger: Duration,
    /// Clients collecting their replies while the server stops.
    pub drain: Duration,
    /// Between two looks at the connections that are in one of these states.
    pub watch_interval: Duration,
    /// What has expired is kept for somebody who wants to be told, after the start and after events were
    /// switched on.
    pub expired_kept: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            request_stuck: limits::REQUEST_STUCK,
            output_stuck: limits::OUTPUT_STUCK,
            linger: limits::LINGER,
            drain: limits::DRAIN,
            watch_interval: limits::WATCH_INTERVAL,
            expired_kept: limits::EXPIRED_KEPT,
        }
    }
}

/// How a server is set up, beyond its engine and listeners.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most connections at a time.
    pub max_connections: usize,
    /// Threads for reads that may wait for the disk.
    pub workers: usize,
    /// The engine's durability, to be shown.
    pub durability: Durability,
    /// What all clients together may make the server hold: input, replies, queued commands and the like.
    pub clients_bound: ClientsBound,
    /// What clients of each class may leave unread.
    pub output_bounds: OutputBounds,
    /// After how long a silent peer is asked whether it lives, in seconds; 0: never.
    pub keepalive_seconds: u32,
    /// After how long a client that asks for nothing is closed, in seconds; 0: never.
    pub idle_seconds: u64,
    /// How many databases there are, 1 to 240.
    pub databases: usize,
    /// The password that clients must give, if any.
    pub password: Option<String>,
    /// Whether DEBUG may be used.
    pub allows_debug: bool,
    /// Which keyspace events are published from the start on: letters as Redis has them, such as `Ex`.
    pub notify_keyspace_events: String,
    /// What the index of keys that are about to expire may take, in bytes, while their events are
    /// published.
    pub expiry_index_bytes: usize,
    /// Where SAVE and BGSAVE put their checkpoint. What is there is replaced if it is a checkpoint.
    pub checkpoint_dir: std::path::PathBuf,
    /// Where the engine's data is, to be shown, and to be kept apart from checkpoints.
    pub data_dir: Option<std::path::PathBuf>,
    /// The engine's budget, to be shown, in bytes; 0 if it is not known.
    pub memory_bytes: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_connections: max_connections(),
            workers: limits::WORKERS,
            durability: Durability::default(),
            clients_bound: ClientsBound::Bytes(limits::CLIENTS_BYTES),
            output_bounds: limits::OUTPUT_BOUNDS,
            keepalive_seconds: limits::KEEPALIVE_SECONDS,
            idle_seconds: 0,
            databases: limits::DATABASES,
            password: None,
            allows_debug: false,
            notify_keyspace_events: String::new(),
            expiry_index_bytes: limits::EXPIRY_INDEX_BYTES,
            checkpoint_dir: "checkpoint".into(),
            data_dir: None,
            memory_bytes: 0,
            timeouts: Timeouts::default(),
        }
    }
}

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on: stop who has it, or choose another one.
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses what every server needs: descriptors, threads.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// The system refuses to report events.
    #[error("cannot wait for events: {0}")]
    Poll(#[source] io::Error),
    /// The engine failed while the server was starting or stopping.
    #[error("the data cannot be read or saved: {0}")]
    Engine(#[source] crate::engine::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that uses it, or choose another --listen",
        io::ErrorKind::AddrNotAvailable => "; --listen takes an address of this machine",
        io::ErrorKind::PermissionDenied => "; choose a port above 1023 with --listen",
        _ => "",
    }
}

/// How a server came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Everything is flushed and synced, the engine is closed.
    Clean,
    /// Everything is in the synced log; the engine was not waited for.
    Hurried,
}

/// How many connections the descriptor limit allows, after raising the limit as far as it goes.
pub fn max_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Whether it worked is seen by asking again.
    let _ = setrlimit(Resource::Nofile, raised);
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (least_reserved, most_reserved) = limits::RESERVED_DESCRIPTORS.into_inner();
    let reserved = (most / limits::RESERVED_SHARE).clamp(least_reserved, most_reserved);
    most.saturating_sub(reserved).clamp(1, limits::MAX_CONNECTIONS)
}

/// Asks a running server to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<notify::Notifier>);

impl Stopper {
    /// As a signal does: the first call stops in order, the second in a hurry.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// A server that is ready to run.
pub struct Server<'e> {
    reactor: reactor::Reactor<'e>,
    notifier: Arc<notify::Notifier>,
    addresses: Vec<SocketAddr>,
}

impl<'e> Server<'e> {
    /// Brings an open engine and bound listeners together.
    ///
    /// # Errors
    /// [`Error::Start`] if the system refuses descriptors or threads, [`Error::Engine`] if the table of
    /// databases cannot be read.
    pub fn new(
        engine: &'e Engine,
        listeners: Vec<TcpListener>,
        settings: &Settings,
    ) -> Result<Self, Error> {
        Self::with_redis(engine, listeners, Vec::new(), settings)
    }

    /// The same, with further listeners whose clients speak RESP from the first byte on.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn with_redis(
        engine: &'e Engine,
        listeners: Vec<TcpListener>,
        redis_listeners: Vec<TcpListener>,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::Start)?;
        let notifier = notify::Notifier::new(poll.registry()).map_err(Error::Start)?;
        let notifier = Arc::new(notifier);
        let acceptor = acceptor::Acceptor::new(listeners, redis_listeners, poll.registry())
            .map_err(Error::Start)?;
        let addresses = acceptor.addresses().map_err(Error::Start)?;
        let services =
            dispatch::Services::new(engine, settings, addresses.clone(), Arc::clone(&notifier))?;
        let listener = Arc::clone(&notifier);
        engine.set_listener(Box::new(move || listener.notify()));
        let reactor = reactor::Reactor::new(
            engine,
            poll,
            Arc::clone(&notifier),
            acceptor,
            services,
            settings,
        );
        Ok(Server { reactor, notifier, addresses })
    }

    /// Acts upon signals from now on: SIGINT and SIGTERM are requests to stop.
    ///
    /// # Errors
    /// [`Error::Start`] if the system refuses.
    pub fn handle_signals(&mut self, signals: Signals) -> Result<(), Error> {
        self.reactor.watch_signals(signals).map_err(Error::Start)
    }

    /// The addresses listened on, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle that stops this server.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.notifier))
    }

    /// Serves until stopped.
    ///
    /// # Errors
    /// [`Error::Poll`], or [`Error::Engine`] if the data could not be saved at the end.
    pub fn run(self) -> Result<Stopped, Error> {
        self.reactor.run()
    }
}
