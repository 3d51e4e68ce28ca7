//! Clients that write, delete and read in pipelines until their server is gone, and keep a journal. A
//! server that ends a connection while nobody does anything to it is wrong.
//!
//! Each client has keys of its own, so that it knows every byte of every reply about them before it
//! asks; and it writes to a few hot keys that it shares with the others. Some clients speak text,
//! some RESP. What they choose follows from the seed; how far they get does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::commands::{Exchange, Writer};
use super::journal::{HOT_KEYS, Journal, Shown, Tag};
use super::oracle::Oracle;
use crate::campaign::ticks::Ticks;
use crate::campaign::wire::{Broken, Protocol, Reply, Wire};
use crate::engine::storage::sim::Random;

/// The most commands that are sent at once. Their replies must stay below what a server holds for
/// a client that does not read.
const BURST: u64 = 24;

/// A command whose reply is awaited.
enum Asked {
    Step(Vec<u8>),
    Own(Vec<u8>),
    Hot { key: usize, sent: u64 },
}

/// Clients at work.
pub(super) struct Load {
    clients: Vec<JoinHandle<Result<Journal, String>>>,
    ticks: Arc<Ticks>,
}

impl Load {
    /// Starts the clients on a server that holds what the oracle says.
    pub(super) fn start(address: SocketAddr, oracle: &Oracle, seed: u64) -> Result<Self, String> {
        let ticks = Arc::<Ticks>::default();
        let mut clients = Vec::new();
        for (number, own) in oracle.own.iter().enumerate() {
            let mut random = Random(seed << 8 | number as u64);
            let protocol = if random.coin() { Protocol::Resp } else { Protocol::Text };
            let client = Client {
                wire: Wire::connect(address, protocol)?,
                writer: Writer::new(number, protocol, own.clone(), oracle.serials[number]),
                burst: 1 + random.below(BURST),
                random,
                ticks: Arc::clone(&ticks),
                journal: Journal::default(),
            };
            clients.push(std::thread::spawn(move || client.run()));
        }
        Ok(Load { clients, ticks })
    }

    /// The time.
    pub(super) fn now(&self) -> u64 {
        self.ticks.now()
    }

    /// Waits for the clients, whose server must be gone or on its way. Before `down` it had no reason
    /// to end a connection.
    pub(super) fn finish(self, down: u64) -> Result<Vec<Journal>, String> {
        let join = |client: JoinHandle<Result<Journal, String>>| {
            client.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))
        };
        // All are waited for, whatever becomes of the first.
        let journals: Vec<_> = self.clients.into_iter().map(join).collect();
        let journals = journals.into_iter().collect::<Result<Vec<Journal>, String>>()?;
        match journals.iter().position(|journal| journal.ended < down) {
            Some(client) => Err(format!(
                "client {client}: the server closed the connection before it was killed or stopped"
            )),
            None => Ok(journals),
        }
    }
}

struct Client {
    wire: Wire,
    writer: Writer,
    random: Random,
    burst: u64,
    ticks: Arc<Ticks>,
    journal: Journal,
}

impl Client {
    /// Sends and reads until nobody is there any more; tells what was wrong until then.
    fn run(mut self) -> Result<Journal, String> {
        loop {
            match self.exchange() {
                Ok(()) => {}
                Err(Broken::Gone) => {
                    self.journal.ended = self.ticks.now();
                    return Ok(self.journal);
                }
                Err(Broken::Wrong(what)) => {
                    return Err(format!("client {}: {what}", self.writer.client));
                }
            }
        }
    }

    /// Some commands at once, and their replies.
    fn exchange(&mut self) -> Result<(), Broken> {
        let mut bytes = Vec::new();
        let count = 1 + self.random.below(self.burst);
        let asked: Vec<Asked> = (0..count).map(|_| self.command(&mut bytes)).collect();
        self.wire.send(&bytes)?;
        for asked in asked {
            match asked {
                Asked::Step(reply) => {
                    self.wire.expect(&reply)?;
                    self.journal.acked.push(self.ticks.now());
                }
                Asked::Own(reply) => {
                    self.wire.expect(&reply)?;
                    self.journal.compared += 1;
                }
                Asked::Hot { key, sent } => {
                    let tag = hot_tag(self.wire.reply()?).map_err(Broken::Wrong)?;
                    self.journal.shown.push(Shown { key, tag, sent, done: self.ticks.now() });
                }
            }
        }
        Ok(())
    }

    /// Makes up a command.
    fn command(&mut self, bytes: &mut Vec<u8>) -> Asked {
        let sent = self.ticks.now();
        match self.random.below(20) {
            0 => {
                let key = self.random.below(HOT_KEYS as u64) as usize;
                self.writer.protocol.request(bytes, &[b"GET", hot_name(key).as_bytes()]);
                Asked::Hot { key, sent }
            }
            1..8 => Asked::Own(self.writer.read(&mut self.random, bytes)),
            choice => {
                let Exchange { request, replies, mut step } = match choice {
                    8 | 9 => self.writer.hot(&mut self.random),
                    10 => self.writer.transaction(&mut self.random),
                    11 => self.writer.apart(&mut self.random),
                    _ => self.writer.single(&mut self.random),
                };
                bytes.extend_from_slice(&request);
                step.sent = sent;
                self.journal.steps.push(step);
                Asked::Step(replies)
            }
        }
    }
}

/// A hot key as it is sent.
pub(super) fn hot_name(key: usize) -> String {
    format!("hot{key}")
}

/// The step that a reply shows.
pub(super) fn hot_tag(reply: Reply) -> Result<Option<Tag>, String> {
    match reply {
        Reply::Null => Ok(None),
        Reply::Bytes(value) => Tag::of(&value).map(Some),
        other => Err(format!("a read is answered with {other:?}")),
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
        let dropped = |is_killed: bool| {
            let load = Load::start(address, &Oracle::default(), 1).unwrap();
            let before = load.now();
            load.clients.iter().for_each(|_| drop(listener.accept().unwrap()));
            while !load.clients.iter().all(JoinHandle::is_finished) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let down = if is_killed { before } else { load.now() };
            load.finish(down)
        };
        assert!(dropped(false).unwrap_err().contains("before it was killed"));
        assert_eq!(dropped(true).unwrap().len(), Oracle::default().own.len());
    }
}
