//! Several connections to one server, driven step by step so that nothing depends on time.
//!
//! Behind each command goes a `PING` with a mark of its own, a fence: what comes before the fence's
//! answer is the command's, whether that is one reply, none or many. So do all subscribers after
//! each step, so that every message has arrived before the next one. Inside `MULTI` a fence would
//! be queued; there, each command has exactly one reply.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{Args, Frame, Wire, args, bulk, elements, is_message, request, text};

/// One thing that a client does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Command(Args),
    /// Commands in one write.
    Pipeline(Vec<Args>),
    /// Bytes that may be no command.
    Raw(Vec<u8>),
    /// A whole iteration; the options of `SCAN`.
    Scan(Args),
    /// Time passes; messages that come in it belong to the next step.
    Pause(Duration),
}

/// What one of the connections does.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) action: Action,
}

/// What a server did in a step.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<Vec<u8>>,
    /// The commands that an `EXEC` ran, in their order.
    pub(crate) executed: Vec<Args>,
    /// Messages by connection.
    pub(crate) messages: Vec<Vec<Vec<u8>>>,
    /// Whether the connection was closed, or stayed silent.
    pub(crate) end: Option<&'static str>,
}

/// Raw bytes up to this length go with a fence. Longer ones don't: a server that closes before it
/// has read everything resets the connection, and its last reply is lost.
const FENCED_BYTES: usize = 4 << 10;

struct Connection {
    wire: Wire,
    /// The commands queued since `MULTI`.
    queued: Option<Vec<Args>>,
    subscriptions: u64,
    messages: Vec<Vec<u8>>,
}

/// A server, and the connections to it.
pub(crate) struct Session {
    address: SocketAddr,
    resp3: bool,
    connections: Vec<Option<Connection>>,
    fences: u64,
}

impl Session {
    /// Empties the server and begins.
    pub(crate) fn start(address: SocketAddr, connections: usize, resp3: bool) -> Self {
        let mut admin = Wire::connect(address);
        admin.ask(&["FLUSHALL"]);
        admin.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
        let connections = (0..connections).map(|_| None).collect();
        Session { address, resp3, connections, fences: 0 }
    }

    /// Takes one step.
    pub(crate) fn take(&mut self, step: &Step) -> Outcome {
        if let Action::Pause(time) = &step.action {
            std::thread::sleep(*time);
            return Outcome::default();
        }
        let mut connection = match self.connections[step.connection].take() {
            Some(connection) => connection,
            None => self.connect(),
        };
        let mut outcome = Outcome::default();
        self.fences += 1;
        connection.act(&step.action, self.fences, &mut outcome);
        if outcome.end.is_none() {
            self.connections[step.connection] = Some(connection);
        } else {
            outcome.messages.push(connection.messages);
        }
        for connection in self.connections.iter_mut().flatten() {
            if connection.queued.is_none() {
                if connection.subscriptions > 0 {
                    connection.settle(self.fences);
                }
                outcome.messages.push(std::mem::take(&mut connection.messages));
            }
        }
        outcome
    }

    fn connect(&self) -> Connection {
        let mut wire = Wire::connect(self.address);
        if self.resp3 {
            wire.ask(&["HELLO", "3"]);
        }
        Connection { wire, queued: None, subscriptions: 0, messages: Vec::new() }
    }

    /// Ends, and waits until the server knows: no subscription outlives the session.
    pub(crate) fn finish(self) {
        for mut connection in self.connections.into_iter().flatten() {
            connection.wire.send(&request(&args(&["QUIT"])));
            while let Frame::Reply(_) = connection.wire.read() {}
        }
    }
}

impl Connection {
    fn act(&mut self, action: &Action, fence: u64, outcome: &mut Outcome) {
        let in_multi = self.queued.is_some();
        match action {
            Action::Command(args) if self.would_confuse(args) => {}
            Action::Command(args) if is(args, &["QUIT"]) => {
                self.wire.send(&request(args));
                self.read_to_end(outcome);
            }
            Action::Command(args) if in_multi || args.len() == 1 && is(args, &["MULTI"]) => {
                self.wire.send(&request(args));
                self.read_reply(outcome);
                self.follow(args, outcome);
            }
            Action::Command(args) => {
                self.send_fenced(&request(args), fence, outcome);
                self.follow(args, outcome);
            }
            Action::Pause(_) => {}
            // The end of a transaction is found in single commands only.
            _ if in_multi => {}
            Action::Pipeline(commands) => {
                let bytes: Vec<u8> = commands.iter().flat_map(|args| request(args)).collect();
                self.send_fenced(&bytes, fence, outcome);
            }
            Action::Raw(bytes) if bytes.len() > FENCED_BYTES => {
                self.wire.send(bytes);
                self.read_to_end(outcome);
            }
            Action::Raw(bytes) => self.send_fenced(bytes, fence, outcome),
            Action::Scan(options) => outcome.replies.push(self.scan(options)),
        }
    }

    /// Commands whose replies could not be told apart here.
    fn would_confuse(&self, args: &[Vec<u8>]) -> bool {
        const SUBSCRIPTIONS: [&str; 6] = [
            "SUBSCRIBE",
            "PSUBSCRIBE",
            "UNSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE",
            "SUNSUBSCRIBE",
        ];
        // Off or skipped, except inside a pipeline that turns it on again.
        let silencing = args.len() == 3
            && (is(args, &["CLIENT", "REPLY", "OFF"]) || is(args, &["CLIENT", "REPLY", "SKIP"]));
        // Redis 7.0 sends a RESP3 subscriber the messages that its own commands cause in the midst
        // of their replies: of EXEC's, and of MGET's with notifications of misses.
        let subscriber = self.subscriptions > 0 && (is(args, &["MULTI"]) || is(args, &["MGET"]));
        let in_multi = SUBSCRIPTIONS.iter().any(|name| is(args, &[name]));
        silencing || subscriber || self.queued.is_some() && in_multi
    }

    fn send_fenced(&mut self, bytes: &[u8], fence: u64, outcome: &mut Outcome) {
        let mark = format!("fence {fence}");
        let mut bytes = bytes.to_vec();
        bytes.extend_from_slice(&request(&args(&["PING", &mark])));
        self.wire.send(&bytes);
        let plain = bulk(mark.as_bytes());
        let subscribed = [b"*2\r\n$4\r\npong\r\n", plain.as_slice()].concat();
        loop {
            match self.wire.read() {
                Frame::Reply(reply) if reply == plain || reply == subscribed => return,
                Frame::Reply(frame) => self.sort(frame, outcome),
                end => {
                    outcome.end = describe(&end);
                    return;
                }
            }
        }
    }

    /// Reads what was sent to a subscriber.
    fn settle(&mut self, fence: u64) {
        let mut nothing = Outcome::default();
        self.send_fenced(b"", fence, &mut nothing);
        self.messages.append(&mut nothing.replies);
    }

    fn read_reply(&mut self, outcome: &mut Outcome) {
        while outcome.replies.is_empty() && outcome.end.is_none() {
            match self.wire.read() {
                Frame::Reply(frame) => self.sort(frame, outcome),
                end => outcome.end = describe(&end),
            }
        }
    }

    fn read_to_end(&mut self, outcome: &mut Outcome) {
        while outcome.end.is_none() {
            match self.wire.read() {
                Frame::Reply(frame) => self.sort(frame, outcome),
                end => outcome.end = describe(&end),
            }
        }
    }

    fn sort(&mut self, frame: Vec<u8>, outcome: &mut Outcome) {
        if is_message(&frame) {
            self.follow_subscriptions(&frame);
            self.messages.push(frame);
        } else {
            outcome.replies.push(frame);
        }
    }

    /// A confirmation ends with the number of subscriptions that are left.
    fn follow_subscriptions(&mut self, frame: &[u8]) {
        let parts = elements(frame).unwrap_or_default();
        let kind = parts.first().and_then(|kind| text(kind)).unwrap_or_default();
        if kind.ends_with(b"subscribe") {
            let count = parts.last().and_then(|count| std::str::from_utf8(&count[1..]).ok());
            self.subscriptions = count.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        }
    }

    /// Keeps track of the transaction.
    fn follow(&mut self, args: &Args, outcome: &mut Outcome) {
        let reply = outcome.replies.last().map_or(&b""[..], |reply| reply);
        if reply == b"+QUEUED\r\n" {
            self.queued.get_or_insert_default().push(args.clone());
        } else if args.len() == 1 && is(args, &["MULTI"]) && reply == b"+OK\r\n" {
            self.queued = Some(Vec::new());
        } else if args.len() == 1 && ["EXEC", "DISCARD", "RESET"].iter().any(|end| is(args, &[end]))
        {
            let queued = self.queued.take().unwrap_or_default();
            if is(args, &["EXEC"]) {
                outcome.executed = queued;
            }
            if is(args, &["RESET"]) {
                self.subscriptions = 0;
            }
        }
    }

    /// All keys of an iteration in order, or the first reply that is none.
    fn scan(&mut self, options: &Args) -> Vec<u8> {
        let mut cursor = b"0".to_vec();
        let mut keys = Vec::new();
        loop {
            let mut command = vec![b"SCAN".to_vec(), cursor];
            command.extend_from_slice(options);
            let reply = self.wire.ask_args(&command);
            let page = elements(&reply).filter(|page| page.len() == 2);
            let Some((next, found)) = page.and_then(|page| Some((text(page[0])?, page[1]))) else {
                return reply;
            };
            keys.extend(elements(found).unwrap_or_default().into_iter().map(<[u8]>::to_vec));
            if next == b"0" {
                keys.sort();
                keys.dedup();
                return keys.concat();
            }
            cursor = next.to_vec();
        }
    }
}

fn describe(end: &Frame) -> Option<&'static str> {
    match end {
        Frame::Reply(_) => None,
        Frame::Closed => Some("closed"),
        Frame::Silence => Some("no reply"),
    }
}

/// Whether a command begins with these words.
pub(crate) fn is(args: &[Vec<u8>], words: &[&str]) -> bool {
    args.len() >= words.len()
        && args.iter().zip(words).all(|(arg, word)| arg.eq_ignore_ascii_case(word.as_bytes()))
}
