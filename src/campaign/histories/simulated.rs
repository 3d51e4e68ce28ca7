//! A server in this process, on a simulated storage whose syncs can be held back and whose power can
//! be cut: what is in memory and not yet durable lasts long enough to be asked for.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::campaign::world::{Standing, tiny_options, world};
use crate::engine::storage::sim::{Random, SimStorage, Survival};
use crate::engine::{Durability, Engine, Options, Scheduling};
use crate::server::{self, Server, Settings, Stopper, Timeouts};

/// How long a server whose power is gone waits for its clients.
const DRAIN: Duration = Duration::from_millis(5);
/// Between two requests to stop.
const GLANCE: Duration = Duration::from_millis(1);
/// The clock stands here, in milliseconds.
const NOW_MS: u64 = 1_700_000_000_000;

/// See the module.
pub(super) struct Simulated {
    pub(super) storage: SimStorage,
    pub(super) address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<Result<(), String>>,
}

impl Simulated {
    /// Starts a server on what `storage` holds.
    pub(super) fn start(
        storage: SimStorage,
        durability: Durability,
        seed: u64,
    ) -> Result<Self, String> {
        let (ready, started) = channel();
        let (served, stays) = (storage.clone(), Standing::at(NOW_MS));
        let thread = std::thread::spawn(move || {
            let options = Options { scheduling: Scheduling::Threads, durability, ..tiny_options() };
            let (engine, _) = Engine::open(world(served, stays, seed), options)
                .map_err(|error| format!("the database does not open: {error}"))?;
            serve(&engine, &ready).map_err(|error| format!("the server does not start: {error}"))
        });
        match started.recv() {
            Ok((address, stopper)) => Ok(Simulated { storage, address, stopper, thread }),
            Err(_) => Err(match thread.join() {
                Ok(Err(what)) => what,
                other => format!("the server does not start: {other:?}"),
            }),
        }
    }

    /// Lets time pass in which syncs are held back at random.
    pub(super) fn hold_syncs(&self, random: &mut Random, times: u64) {
        for _ in 0..times {
            self.storage.hold_syncs(true);
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
            // At times none is released before the power is gone.
            self.storage.hold_syncs(false);
            std::thread::sleep(Duration::from_micros(random.below(1_500)));
        }
        self.storage.hold_syncs(random.coin());
        std::thread::sleep(Duration::from_micros(random.below(3_000)));
    }

    /// Cuts the power, ends the server; what survives.
    pub(super) fn cut(self, survival: Survival) -> Result<SimStorage, String> {
        let survived = self.storage.power_cut(survival);
        while !self.thread.is_finished() {
            self.stopper.stop();
            std::thread::sleep(GLANCE);
        }
        // What it has to say about a machine that is down is of no interest, unless it panicked.
        match self.thread.join() {
            Ok(_) => Ok(survived),
            Err(_) => Err("the server panicked".to_owned()),
        }
    }
}

fn serve(engine: &Engine, ready: &Sender<(SocketAddr, Stopper)>) -> Result<(), server::Error> {
    let listeners = server::listen(&[SocketAddr::from(([127, 0, 0, 1], 0))])?;
    let timeouts = Timeouts { drain: DRAIN, ..Timeouts::default() };
    let settings = Settings { max_connections: 64, workers: 1, timeouts, ..Settings::default() };
    let server = Server::new(engine, listeners, &settings)?;
    let address = server.addresses().first().copied();
    if let Some(address) = address {
        // Whoever started it waits.
        let _ = ready.send((address, server.stopper()));
    }
    server.run().map(|_| ())
}
