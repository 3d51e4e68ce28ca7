//! Clients that write, delete and read in pipelines until their server is gone, and keep a journal
//! of it: what was sent, what was acknowledged, what was shown.
//!
//! Each client has keys of its own, so that it knows what a read must show, and writes to a few hot
//! keys that it shares with the others. A value names its write and fills up to a length that
//! follows from that, so whoever reads one can check every byte of it. Times are ticks of a counter
//! that all clients advance: of two events on different connections it tells which came first.

use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{PATIENCE, shown};
use crate::oracle::Oracle;
use crate::random::Random;

/// Connections at a time.
pub(crate) const CLIENTS: usize = 8;
/// Keys that one client has for itself.
pub(crate) const OWN_KEYS: usize = 48;
/// Keys that all clients share.
pub(crate) const HOT_KEYS: usize = 4;
/// The most commands that are sent at once. Their replies must stay below what a server holds for
/// a client that does not read.
const BURST: u64 = 16;

/// A write's name: whose it is, and which one of theirs, counted from 1 over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) client: usize,
    pub(crate) serial: u64,
}

impl Tag {
    /// The value that this write stores.
    pub(crate) fn value(self) -> Vec<u8> {
        let mut random = Random(self.serial << 8 | self.client as u64);
        let length = match random.below(10) {
            0 => 40_000,
            1..4 => 4_000,
            _ => 600,
        };
        let mut value = format!("{} {} ", self.client, self.serial).into_bytes();
        let filler = random.below(length) as usize;
        value.extend((0..filler).map(|n| b'a' + ((n as u64 + self.serial) % 26) as u8));
        value
    }

    /// The write that a reply shows; `None` for a missing key.
    pub(crate) fn of(reply: &[u8]) -> Option<Tag> {
        if reply == b"NULL" {
            return None;
        }
        let mut words = reply.split(|byte| *byte == b' ').map(|word| str::from_utf8(word).ok());
        let mut number = || words.next().flatten().and_then(|word| word.parse::<u64>().ok());
        let tag = number().zip(number());
        let tag = tag.map(|(client, serial)| Tag { client: client as usize, serial });
        assert!(tag.is_some_and(|tag| tag.value() == reply), "nobody wrote {:?}", shown(reply));
        tag
    }
}

/// A key that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Own(usize),
    Hot(usize),
}

impl Key {
    /// The key as it is sent.
    pub(crate) fn name(self, client: usize) -> String {
        match self {
            Key::Own(number) => format!("client{client}:key{number}"),
            Key::Hot(number) => format!("hot{number}"),
        }
    }
}

/// A write that was sent, perhaps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) tag: Tag,
    pub(crate) deletes: bool,
    /// When; before the first byte left.
    pub(crate) sent: u64,
}

impl Write {
    /// What a read shows after it.
    pub(crate) fn result(&self) -> Option<Tag> {
        (!self.deletes).then_some(self.tag)
    }
}

/// What a read of a hot key showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) key: usize,
    pub(crate) tag: Option<Tag>,
    /// When it was asked for.
    pub(crate) sent: u64,
    /// When it was there.
    pub(crate) done: u64,
}

/// All that one client knows.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) writes: Vec<Write>,
    /// When the first of the writes were acknowledged.
    pub(crate) acked: Vec<u64>,
    pub(crate) shown: Vec<Shown>,
}

/// A command whose reply is awaited.
enum Asked {
    Write { deletes: bool },
    Own { key: usize, expected: Option<Tag> },
    Hot { key: usize, sent: u64 },
}

/// What the clients share.
#[derive(Default)]
struct Common {
    clock: AtomicU64,
    acked: AtomicU64,
}

impl Common {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Clients at work.
pub(crate) struct Load {
    common: Arc<Common>,
    clients: Vec<(JoinHandle<Vec<Write>>, JoinHandle<Journal>)>,
}

impl Load {
    /// Starts the clients on a server that holds what the oracle says.
    pub(crate) fn start(address: SocketAddr, oracle: &Oracle, seed: u64) -> Self {
        let common = Arc::<Common>::default();
        let start = |client| {
            let mut random = Random(seed << 8 | client as u64);
            let socket = TcpStream::connect(address).unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.set_write_timeout(Some(PATIENCE)).unwrap();
            let window = [1, 16, 256][random.below(3) as usize];
            let (ask, asked) = sync_channel(window);
            let (replies, for_reader) = (socket.try_clone().unwrap(), Arc::clone(&common));
            let writer = Writer {
                client,
                state: oracle.own[client].clone(),
                serial: oracle.serials[client],
                random,
                common: Arc::clone(&common),
                writes: Vec::new(),
            };
            let writing = std::thread::spawn(move || writer.run(socket, &ask));
            let reading = std::thread::spawn(move || read_on(&replies, &asked, &for_reader));
            (writing, reading)
        };
        Load { clients: (0..CLIENTS).map(start).collect(), common }
    }

    /// Waits until so many writes were acknowledged.
    pub(crate) fn wait_for_writes(&self, count: u64) {
        let start = Instant::now();
        while self.common.acked.load(Ordering::SeqCst) < count {
            assert!(start.elapsed() < 6 * PATIENCE, "the server does not get on");
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Waits for the clients, whose server must be gone or on its way.
    pub(crate) fn finish(self) -> Vec<Journal> {
        let finish = |(writing, reading): (JoinHandle<_>, JoinHandle<Journal>)| {
            let journal = reading.join().unwrap();
            Journal { writes: writing.join().unwrap(), ..journal }
        };
        self.clients.into_iter().map(finish).collect()
    }
}

/// The sending half of a client.
struct Writer {
    client: usize,
    /// What the own keys hold once everything sent is done.
    state: Vec<Option<Tag>>,
    serial: u64,
    random: Random,
    common: Arc<Common>,
    writes: Vec<Write>,
}

impl Writer {
    /// Sends until nobody takes it any more; returns the writes.
    fn run(mut self, mut socket: TcpStream, ask: &SyncSender<Asked>) -> Vec<Write> {
        loop {
            let mut bytes = Vec::new();
            let burst = 1 + self.random.below(BURST);
            let asked: Vec<Asked> = (0..burst).map(|_| self.command(&mut bytes)).collect();
            // Told after it was sent: the reader never waits for what is held back here.
            let sent = socket.write_all(&bytes);
            if sent.is_err() || asked.into_iter().any(|asked| ask.send(asked).is_err()) {
                return self.writes;
            }
        }
    }

    /// Makes up a command.
    fn command(&mut self, bytes: &mut Vec<u8>) -> Asked {
        let key = if self.random.one_in(8) {
            Key::Hot(self.random.below(HOT_KEYS as u64) as usize)
        } else {
            Key::Own(self.random.below(OWN_KEYS as u64) as usize)
        };
        let name = key.name(self.client);
        let sent = self.common.now();
        if self.random.below(10) < 4 {
            bytes.extend_from_slice(format!("GET {name}\n").as_bytes());
            return match key {
                Key::Own(key) => Asked::Own { key, expected: self.state[key] },
                Key::Hot(key) => Asked::Hot { key, sent },
            };
        }
        self.serial += 1;
        let tag = Tag { client: self.client, serial: self.serial };
        let deletes = self.random.one_in(5);
        let write = Write { key, tag, deletes, sent };
        if deletes {
            bytes.extend_from_slice(format!("DEL {name}\n").as_bytes());
        } else {
            bytes.extend_from_slice(format!("SET {name} ").as_bytes());
            bytes.extend_from_slice(&tag.value());
            bytes.push(b'\n');
        }
        if let Key::Own(key) = key {
            self.state[key] = write.result();
        }
        self.writes.push(write);
        Asked::Write { deletes }
    }
}

/// The receiving half of a client: checks replies until there are no more.
fn read_on(socket: &TcpStream, asked: &Receiver<Asked>, common: &Common) -> Journal {
    let mut journal = Journal::default();
    let mut replies = BufReader::with_capacity(64 << 10, socket);
    let mut line = Vec::new();
    for asked in asked {
        if !next_line(&mut replies, &mut line) {
            break;
        }
        match asked {
            Asked::Write { deletes } => {
                let right: &[u8] = if deletes { b"OK_DELETED" } else { b"OK" };
                assert_eq!(shown(&line), shown(right));
                journal.acked.push(common.now());
                common.acked.fetch_add(1, Ordering::SeqCst);
            }
            Asked::Own { key, expected } => {
                assert_eq!(Tag::of(&line), expected, "key{key} while the server runs");
            }
            Asked::Hot { key, sent } => {
                let tag = Tag::of(&line);
                journal.shown.push(Shown { key, tag, sent, done: common.now() });
            }
        }
    }
    // Ends the other half, should it be sending.
    let _ = socket.shutdown(Shutdown::Both);
    journal
}

/// Reads a whole line without its LF; false if the server is gone.
pub(crate) fn next_line(replies: &mut impl BufRead, line: &mut Vec<u8>) -> bool {
    line.clear();
    match replies.read_until(b'\n', line) {
        Ok(_) => line.pop_if(|byte| *byte == b'\n').is_some(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) => panic!("no reply: {error}"),
    }
}
