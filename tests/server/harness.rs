//! Starts servers within the test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use chronos::engine::storage::sim::SimStorage;
use chronos::engine::{Clock, Engine, Environment, Options};
use chronos::server::{self, Server, Settings, Stopped, Stopper};

pub(crate) use super::client::{Client, PATIENCE};

/// A clock that a test sets.
pub(crate) struct SetClock(AtomicU64);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(SetClock(AtomicU64::new(StoppedClock.now_ms())))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

/// A running server.
pub(crate) struct Harness {
    pub(crate) address: SocketAddr,
    pub(crate) storage: SimStorage,
    pub(crate) stopper: Stopper,
    thread: JoinHandle<Result<Stopped, server::Error>>,
}

/// Settings for tests: few threads, little patience where a test is about patience.
pub(crate) fn settings() -> Settings {
    Settings { max_connections: 1000, ..Settings::default() }
}

/// Options that suit a simulated storage.
pub(crate) fn options() -> Options {
    Options { memory_bytes: 32 << 20, wal_segment_bytes: 8 << 20, ..Options::default() }
}

impl Harness {
    /// A server with an empty database.
    pub(crate) fn start() -> Self {
        Self::start_with(SimStorage::new(1), settings())
    }

    /// A server on what a storage holds.
    pub(crate) fn start_with(storage: SimStorage, settings: Settings) -> Self {
        Self::start_on(storage, settings, options())
    }

    /// The same with an engine of one's own choice.
    pub(crate) fn start_on(storage: SimStorage, settings: Settings, options: Options) -> Self {
        let environment = Environment {
            storage: Arc::new(storage.clone()),
            clock: Arc::new(StoppedClock),
            random: Arc::new(|| 4),
        };
        Self::start_in(environment, storage, settings, options)
    }

    /// A server by a test's clock, with an engine that keeps what has expired, as the program's does.
    pub(crate) fn start_at(
        clock: &Arc<SetClock>,
        storage: SimStorage,
        settings: Settings,
        options: Options,
    ) -> Self {
        let environment = Environment {
            storage: Arc::new(storage.clone()),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            random: Arc::new(|| 4),
        };
        Self::start_in(environment, storage, settings, Options { keep_expired: true, ..options })
    }

    /// A server on a directory of the disk; its `storage` is not used.
    pub(crate) fn start_on_disk(dir: &Path, settings: Settings) -> Self {
        let environment = Environment::disk(dir).unwrap();
        Self::start_in(environment, SimStorage::new(1), settings, options())
    }

    fn start_in(
        environment: Environment,
        storage: SimStorage,
        settings: Settings,
        options: Options,
    ) -> Self {
        let (ready, wait) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (engine, _) = Engine::open(environment, options).unwrap();
            let listeners = server::listen(&["127.0.0.1:0".parse().unwrap()])?;
            let server = Server::new(&engine, listeners, &settings)?;
            ready.send((server.addresses()[0], server.stopper())).unwrap();
            server.run()
        });
        let (address, stopper) = wait.recv().expect("the server starts");
        Harness { address, storage, stopper, thread }
    }

    /// A new client, already accepted by the server.
    pub(crate) fn connect(&self) -> Client {
        let mut client = self.connect_silently();
        client.ask("PING", "PONG");
        client
    }

    /// A new client that has sent nothing.
    pub(crate) fn connect_silently(&self) -> Client {
        Client::connect(self.address)
    }

    /// Stops the server in order.
    pub(crate) fn stop(self) -> Stopped {
        self.stopper.stop();
        self.join()
    }

    /// Waits until the server has stopped.
    pub(crate) fn join(self) -> Stopped {
        self.thread.join().unwrap().unwrap()
    }
}
