//! Clients that all work on the same few keys, and record what they asked, when, and what came back.
//!
//! Values are unique, so that a read tells which write it saw. What the clients choose follows from
//! the seed and from what they have read; how they interleave does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::operation::{Action, Operation, Outcome};
use crate::campaign::ticks::Ticks;
use crate::campaign::wire::{Broken, Protocol, Reply, Wire};
use crate::engine::storage::sim::Random;

/// Connections at a time.
const CLIENTS: usize = 6;
/// Hot keys, the first of which is a counter.
pub(super) const KEYS: usize = 5;
/// The most requests of one client that are under way. All clients together must stay below what the
/// checker takes.
const MAX_DEPTH: u64 = 4;

/// What happened to each key.
pub(super) type Histories = Vec<Vec<Operation>>;

/// Clients at work.
pub(super) struct Load {
    clients: Vec<JoinHandle<Result<Journal, String>>>,
    ticks: Arc<Ticks>,
}

/// When a server came to its end, and how.
#[derive(Debug, Clone, Copy)]
pub(super) enum Down {
    /// Its process was killed.
    Killed(u64),
    /// Its storage lost power.
    Cut(u64),
}

/// What one client saw.
#[derive(Default)]
struct Journal {
    operations: Vec<(usize, Operation)>,
    refusals: Vec<(u64, String)>,
    /// When the server was gone, unless it refused before that.
    ended: Option<u64>,
}

/// A key as it is sent.
fn name(key: usize) -> Vec<u8> {
    format!("hot{key}").into_bytes()
}

impl Load {
    /// Starts the clients.
    pub(super) fn start(
        address: SocketAddr,
        ticks: &Arc<Ticks>,
        seed: u64,
    ) -> Result<Self, String> {
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut random = Random(seed << 8 | number as u64);
            let protocol = if random.coin() { Protocol::Resp } else { Protocol::Text };
            let client = Client {
                number,
                wire: Wire::connect(address, protocol)?,
                ticks: Arc::clone(ticks),
                depth: if random.coin() { 1 } else { MAX_DEPTH },
                prefix: random.next_u64(),
                random,
                serial: 0,
                last_seen: vec![Vec::new(); KEYS],
                journal: Journal::default(),
            };
            clients.push(std::thread::spawn(move || client.run()));
        }
        Ok(Load { clients, ticks: Arc::clone(ticks) })
    }

    /// Waits for the clients, whose server must be gone, and adds what they saw. Before `down`, when
    /// the server could not go on, it had no reason to refuse anything or to end a connection; one
    /// that is killed refuses nothing at any time.
    pub(super) fn finish(self, down: Down, histories: &mut Histories) -> Result<(), String> {
        let (down, first_refusal) = match down {
            Down::Killed(tick) => (tick, u64::MAX),
            Down::Cut(tick) => (tick, tick),
        };
        let join = |client: JoinHandle<Result<Journal, String>>| {
            client.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))
        };
        // All are waited for, whatever becomes of the first.
        let journals: Vec<_> = self.clients.into_iter().map(join).collect();
        let end = self.ticks.now();
        for journal in journals {
            let journal = journal?;
            let mut refusals = journal.refusals.iter();
            if let Some((_, refusal)) = refusals.find(|(tick, _)| *tick < first_refusal) {
                return Err(format!("refused: {refusal}"));
            }
            if journal.ended.is_some_and(|tick| tick < down) {
                return Err("the server closed a connection before it was killed".to_owned());
            }
            for (key, mut operation) in journal.operations {
                if operation.outcome == Outcome::Unknown {
                    operation.returned = end;
                }
                histories[key].push(operation);
            }
        }
        Ok(())
    }
}

/// Reads each key once.
pub(super) fn read_all(
    address: SocketAddr,
    ticks: &Ticks,
    histories: &mut Histories,
) -> Result<(), String> {
    let mut wire = Wire::connect(address, Protocol::Resp)?;
    for (key, history) in histories.iter_mut().enumerate() {
        let mut request = Vec::new();
        wire.protocol.request(&mut request, &Action::Get.words(&name(key)));
        let invoked = ticks.now();
        let reply = wire.send(&request).and_then(|()| wire.reply()).map_err(Broken::describe)?;
        let outcome = Action::Get.outcome(&reply)?;
        let returned = ticks.now();
        let client = CLIENTS;
        history.push(Operation { client, action: Action::Get, invoked, returned, outcome });
    }
    Ok(())
}

struct Client {
    number: usize,
    wire: Wire,
    ticks: Arc<Ticks>,
    random: Random,
    /// The most requests under way.
    depth: u64,
    /// What its values begin with, unlike those of any other client or round.
    prefix: u64,
    serial: u64,
    /// The last value that was read of each key.
    last_seen: Vec<Vec<u8>>,
    journal: Journal,
}

impl Client {
    /// Asks and records until nobody is there any more.
    fn run(mut self) -> Result<Journal, String> {
        loop {
            let mut requests = Vec::new();
            let first = self.journal.operations.len();
            for _ in 0..=self.random.below(self.depth) {
                self.begin(&mut requests);
            }
            match self.exchange(&requests, first) {
                // A server that refuses is on its way out, and each refusal may have taken effect.
                Ok(()) if !self.journal.refusals.is_empty() => return Ok(self.journal),
                Ok(()) => {}
                Err(Broken::Gone) => {
                    self.journal.ended = Some(self.ticks.now());
                    return Ok(self.journal);
                }
                Err(Broken::Wrong(what)) => return Err(format!("client {}: {what}", self.number)),
            }
        }
    }

    fn exchange(&mut self, requests: &[u8], first: usize) -> Result<(), Broken> {
        self.wire.send(requests)?;
        for (key, operation) in &mut self.journal.operations[first..] {
            let reply = self.wire.reply()?;
            let returned = self.ticks.now();
            if let Reply::Error(refusal) = reply {
                self.journal.refusals.push((returned, refusal));
                continue;
            }
            let outcome = operation.action.outcome(&reply).map_err(Broken::Wrong)?;
            if let Outcome::Value(Some(value)) = &outcome {
                self.last_seen[*key].clone_from(value);
            }
            (operation.returned, operation.outcome) = (returned, outcome);
        }
        Ok(())
    }

    /// Makes up an operation and records that it may have begun.
    fn begin(&mut self, requests: &mut Vec<u8>) {
        let key = self.random.below(KEYS as u64) as usize;
        let action = if key == 0 { self.count() } else { self.write(key) };
        self.wire.protocol.request(requests, &action.words(&name(key)));
        let (invoked, outcome) = (self.ticks.now(), Outcome::Unknown);
        let operation = Operation { client: self.number, action, invoked, returned: 0, outcome };
        self.journal.operations.push((key, operation));
    }

    fn count(&mut self) -> Action {
        match self.random.below(20) {
            0 => Action::Delete,
            1 => Action::Take,
            2..8 => Action::Get,
            _ => Action::Increment,
        }
    }

    fn write(&mut self, key: usize) -> Action {
        self.serial += 1;
        let value = format!("{:x}.{}", self.prefix as u32, self.serial).into_bytes();
        match self.random.below(20) {
            0 => Action::Delete,
            1 => Action::Take,
            2 | 3 => Action::Exchange(value),
            4 | 5 => Action::SetIfMissing(value),
            6 | 7 => Action::Append(b"+".to_vec()),
            8..11 if self.wire.protocol == Protocol::Resp => {
                Action::CompareAndSet { expected: self.last_seen[key].clone(), value }
            }
            8..13 => Action::Set(value),
            _ => Action::Get,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_that_drops_its_clients_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ticks = Arc::<Ticks>::default();
        let dropped = |down: fn(u64, u64) -> Down| {
            let load = Load::start(address, &ticks, 1).unwrap();
            let before = ticks.now();
            load.clients.iter().for_each(|_| drop(listener.accept().unwrap()));
            while !load.clients.iter().all(JoinHandle::is_finished) {
                std::thread::sleep(Duration::from_millis(1));
            }
            load.finish(down(before, ticks.now()), &mut vec![Vec::new(); KEYS])
        };
        for late in [|_, after| Down::Killed(after), |_, after| Down::Cut(after)] {
            assert!(dropped(late).unwrap_err().contains("before it was killed"));
        }
        for early in [|before, _| Down::Killed(before), |before, _| Down::Cut(before)] {
            assert_eq!(dropped(early), Ok(()));
        }
    }
}
