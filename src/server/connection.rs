//! One client: its unconsumed input, its parser, its replies, and the state of its socket.
//!
//! A connection gets turns. In a turn it either executes what is left over from the turn before, or
//! reads once and executes that, in place in the shared buffer; only what it cannot consume is copied
//! out. It never reads while whole requests are left over: that is how a client that sends faster
//! than it is served is slowed down by TCP, and how memory stays bounded. The socket is a type
//! parameter so that tests can script it.

use std::io::{self, ErrorKind, Read, Write};

use crate::engine::Seq;
use crate::parser::request::{BATCH, Batch, Item, Parser};
use crate::parser::{Protocol, SyntaxError};

use super::client::{Client, Traits};
use super::closing::CloseReason;
use super::dispatch::{Asker, Next, Services};
pub(crate) use super::flags::Flags;
use super::input::Input;
use super::limits::{BYTES_PER_TURN, COMMANDS_PER_TURN, OUTPUT_HARD_BYTES};
use super::outbox::{Flushed, Outbox};
use super::token::ConnectionId;

/// A short read means that the socket is empty where readiness comes from epoll; elsewhere only
/// `WouldBlock` does.
const SHORT_READ_IS_LAST: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// No whole request is left.
    Drained,
    /// Requests are left for the next turn.
    Budget,
    /// Replies must leave before the next request.
    Full,
    /// The next request waits for the engine.
    Stalled,
    /// The next request waits for reads that workers do.
    Awaiting,
    /// It closes when all replies are sent.
    Closing(CloseReason),
    /// Close it now: attack or flood.
    Abort(CloseReason),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) socket: S,
    pub(crate) id: ConnectionId,
    pub(crate) flags: Flags,
    /// Set once it closes.
    close_reason: Option<CloseReason>,
    /// Absent until the first byte has told the protocol.
    parser: Option<Parser>,
    input: Input,
    pub(crate) outbox: Outbox,
    /// When a byte came in last, in milliseconds of the reactor's clock.
    pub(crate) input_ms: u64,
    /// When output was last taken, or began to wait; also when lingering began.
    pub(crate) output_ms: u64,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(socket: S, id: ConnectionId, now_ms: u64) -> Self {
        Connection {
            socket,
            id,
            flags: Flags::default(),
            close_reason: None,
            parser: None,
            input: Input::default(),
            outbox: Outbox::default(),
            input_ms: now_ms,
            output_ms: now_ms,
        }
    }

    /// Takes the protocol as given, whatever the first byte will be.
    pub(crate) fn expect(&mut self, protocol: Protocol) {
        self.parser = Some(Parser::of(protocol));
    }

    /// Whether a turn would do anything now.
    pub(crate) fn wants_turn(&self) -> bool {
        if self.flags.has(Flags::LINGERING) {
            return self.flags.has(Flags::READABLE);
        }
        !self.flags.has(Flags::CLOSING.or(Flags::PARKED).or(Flags::AWAITING))
            && self.flags.has(Flags::UNPARSED.or(Flags::READABLE))
            && self.outbox.has_room()
    }

    /// Whether a request has begun to come in and is not complete.
    pub(crate) fn has_partial(&self) -> bool {
        !self.flags.has(Flags::UNPARSED.or(Flags::CLOSING))
            && (!self.input.is_empty() || self.is_flooding())
    }

    /// Whether it sends a line without end.
    pub(crate) fn is_flooding(&self) -> bool {
        self.parser.as_ref().is_some_and(Parser::is_discarding)
    }

    /// Whether more output is queued than any client may leave unread.
    pub(crate) fn is_over_hard_bound(&self) -> bool {
        self.outbox.queued_bytes() > OUTPUT_HARD_BYTES
    }

    /// Why it closes: so far, that the client left.
    pub(crate) fn close_reason(&self) -> CloseReason {
        self.close_reason.unwrap_or(CloseReason::Ended)
    }

    /// Memory that its buffers hold, in bytes.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.input.capacity() + self.outbox.capacity()
    }

    /// Takes a turn: see the module.
    ///
    /// # Errors
    /// The socket's, after which the connection is of no use.
    pub(crate) fn turn(
        &mut self,
        services: &mut Services<'_>,
        scratch: &mut [u8],
        now_ms: u64,
    ) -> io::Result<Turn> {
        let Some(mut client) = services.clients.take(self.id) else {
            return Ok(Turn::Abort(CloseReason::Broken));
        };
        client.served_ms = now_ms;
        let turn = self.turn_of(&mut client, services, scratch, now_ms);
        client.input_bytes = self.input.capacity() as u32;
        if self.flags.has(Flags::CLOSING) {
            client.traits.set(Traits::LEAVING);
        }
        services.clients.put_back(client);
        turn
    }

    fn turn_of(
        &mut self,
        client: &mut Client,
        services: &mut Services<'_>,
        scratch: &mut [u8],
        now_ms: u64,
    ) -> io::Result<Turn> {
        if self.flags.has(Flags::UNPARSED) {
            return Ok(self.execute_input(client, services));
        }
        if !self.flags.has(Flags::READABLE) {
            return Ok(Turn::Drained);
        }
        match self.read(scratch)? {
            None => Ok(Turn::Drained),
            Some(0) => Ok(self.end_of_input(client, services)),
            Some(count) => {
                services.stats.reads += 1;
                services.stats.read_bytes += count as u64;
                self.input_ms = now_ms;
                Ok(self.execute_read(&scratch[..count], client, services))
            }
        }
    }

    /// Reads once. `None`: nothing there. Zero: the end.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(scratch) {
                Ok(count) => {
                    let short = count < scratch.len() && !self.flags.has(Flags::READ_CLOSED);
                    if count > 0 && short && SHORT_READ_IS_LAST {
                        self.flags.clear(Flags::READABLE);
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.flags.clear(Flags::READABLE);
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn execute_read(
        &mut self,
        bytes: &[u8],
        client: &mut Client,
        services: &mut Services<'_>,
    ) -> Turn {
        if !self.input.is_empty() {
            self.input.append(bytes);
            return self.execute_input(client, services);
        }
        let (used, turn) = self.execute(bytes, client, services);
        if used < bytes.len() {
            self.input.append(&bytes[used..]);
        }
        self.end_turn(turn)
    }

    fn execute_input(&mut self, client: &mut Client, services: &mut Services<'_>) -> Turn {
        let mut input = std::mem::take(&mut self.input);
        let (used, turn) = self.execute(input.bytes(), client, services);
        input.consume(used);
        self.input = input;
        self.end_turn(turn)
    }

    fn end_turn(&mut self, turn: Turn) -> Turn {
        self.outbox.close_mark();
        let left = !self.input.is_empty();
        match turn {
            Turn::Budget | Turn::Full | Turn::Stalled | Turn::Awaiting if left => {
                self.flags.set(Flags::UNPARSED)
            }
            _ => self.flags.clear(Flags::UNPARSED),
        };
        match turn {
            Turn::Stalled => _ = self.flags.set(Flags::PARKED),
            Turn::Awaiting => _ = self.flags.set(Flags::AWAITING),
            Turn::Closing(reason) | Turn::Abort(reason) => self.start_closing(reason),
            _ => {}
        }
        turn
    }

    /// Executes nothing further; closes once all replies are sent.
    pub(crate) fn start_closing(&mut self, reason: CloseReason) {
        // The first reason is the right one, unless the client has to be thrown out in the end.
        if self.close_reason.is_none() || reason.warning().is_some() {
            self.close_reason = Some(reason);
        }
        self.flags.set(Flags::CLOSING);
        self.flags.clear(Flags::UNPARSED.or(Flags::PARKED).or(Flags::AWAITING));
        self.input.clear();
    }

    /// Executes requests from the front of `bytes`. Returns how many bytes are done with.
    fn execute(
        &mut self,
        bytes: &[u8],
        client: &mut Client,
        services: &mut Services<'_>,
    ) -> (usize, Turn) {
        let Some(&first) = bytes.first() else { return (0, Turn::Drained) };
        if self.parser.is_none() {
            client.protocol = Protocol::detect(first);
            self.expect(client.protocol);
        }
        let mut batch = std::mem::take(&mut services.batch);
        services.turn_bytes = 0;
        let mut used = 0;
        let mut turn = Turn::Budget;
        for _ in 0..COMMANDS_PER_TURN / BATCH {
            let (count, end) = self.execute_batch(&bytes[used..], &mut batch, client, services);
            used += count;
            if let Some(end) = end {
                turn = end;
                break;
            }
        }
        services.batch = batch;
        if matches!(turn, Turn::Closing(_) | Turn::Abort(_)) {
            used = bytes.len();
        }
        (used, turn)
    }

    /// Parses and executes a few requests. Returns how many bytes are done with, and why there are no
    /// more if there are none.
    fn execute_batch(
        &mut self,
        bytes: &[u8],
        batch: &mut Batch,
        client: &mut Client,
        services: &mut Services<'_>,
    ) -> (usize, Option<Turn>) {
        let limits = Services::limits(client);
        let Some(parser) = self.parser.as_mut() else { return (0, Some(Turn::Drained)) };
        batch.parse(parser, bytes, &limits);
        services.prefetch(batch, bytes, client.db());
        let mut asker = Asker { client, outbox: &mut self.outbox };
        let mut used = 0;
        for item in batch.items() {
            if !matches!(item, Item::Partial) && !asker.outbox.has_room() {
                parser.forget();
                return (used, Some(Turn::Full));
            }
            let next = match item {
                Item::Partial => return (used, Some(Turn::Drained)),
                Item::Nothing { .. } => {
                    asker.client.skip_nothing();
                    Next::Continue
                }
                Item::Line { command, words, .. } => {
                    services.execute(command, batch.words(words, bytes), &mut asker)
                }
                Item::Array { words, .. } => {
                    services.execute_words(batch.words(words, bytes), &mut asker)
                }
                Item::Invalid { error: SyntaxError::LineTooLong { .. }, .. }
                    if limits.is_stranger && asker.client.traits.has(Traits::AUTHENTICATED) =>
                {
                    parser.forget();
                    return (used, None);
                }
                Item::Invalid { error, .. } => {
                    services.refuse_line(error, &mut asker);
                    Next::Continue
                }
                Item::Broken { .. }
                    if limits.is_stranger && asker.client.traits.has(Traits::AUTHENTICATED) =>
                {
                    // It was parsed before the client gave its password.
                    parser.forget();
                    return (used, None);
                }
                Item::Broken { error } => {
                    services.refuse_bytes(error, &mut asker);
                    return (used, Some(Turn::Closing(CloseReason::Protocol)));
                }
                Item::Attack => {
                    services.stats.attacks += 1;
                    return (used, Some(Turn::Abort(CloseReason::Http)));
                }
                Item::Flood => return (used, Some(Turn::Abort(CloseReason::EndlessLine))),
            };
            match next {
                Next::Continue => {
                    used += item.consumed();
                    if services.turn_bytes > BYTES_PER_TURN {
                        // Others come first: what is behind it is parsed in the next turn.
                        parser.forget();
                        return (used, Some(Turn::Budget));
                    }
                }
                Next::Close(reason) => return (used, Some(Turn::Closing(reason))),
                Next::Later | Next::Await => {
                    parser.forget();
                    let turn = if next == Next::Await { Turn::Awaiting } else { Turn::Stalled };
                    return (used, Some(turn));
                }
            }
        }
        (used, None)
    }

    /// The client sends no more. A request that it left unfinished is not executed: half a SET would
    /// store half a value.
    fn end_of_input(&mut self, client: &mut Client, services: &mut Services<'_>) -> Turn {
        if self.has_partial() {
            let line = "ERR the connection ended inside a request, which was not executed";
            services.reply_error(&mut Asker { client, outbox: &mut self.outbox }, line);
        }
        self.flags.set(Flags::ENDED);
        self.flags.clear(Flags::READABLE);
        self.end_turn(Turn::Closing(CloseReason::Ended))
    }

    /// Adds an error that is no answer to a request, and closes.
    pub(crate) fn refuse(&mut self, services: &mut Services<'_>, line: &str, reason: CloseReason) {
        if let Some(mut client) = services.clients.take(self.id) {
            let mut asker = Asker { client: &mut client, outbox: &mut self.outbox };
            services.reply_error(&mut asker, line);
            services.clients.put_back(client);
        }
        self.start_closing(reason);
    }

    /// The log failed: what waits for the frontier never leaves.
    pub(crate) fn fail(&mut self, services: &mut Services<'_>, line: &str) {
        self.outbox.drop_unreleased();
        self.refuse(services, line, CloseReason::LogFailed);
    }

    /// Lets go what the frontier has reached. Returns whether there is something to write.
    pub(crate) fn release(&mut self, durable: Seq) -> bool {
        self.outbox.release(durable)
    }

    /// Writes once.
    pub(crate) fn flush(&mut self, now_ms: u64) -> io::Result<Flushed> {
        let flushed = self.outbox.flush(&mut self.socket)?;
        if !matches!(flushed, Flushed::Blocked(0)) || !self.flags.has(Flags::BLOCKED) {
            self.output_ms = now_ms;
        }
        Ok(flushed)
    }

    /// Throws away what the client still sends. Returns whether it has ended.
    pub(crate) fn discard(&mut self, scratch: &mut [u8]) -> bool {
        matches!(self.read(scratch), Ok(Some(0)) | Err(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::super::Settings;
    use super::super::notify::Notifier;
    use super::*;
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, Environment, Options, SystemClock};

    /// A socket whose reads are scripted; running out of script is `WouldBlock`.
    #[derive(Default)]
    struct Script {
        reads: VecDeque<io::Result<Vec<u8>>>,
        written: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.reads.pop_front().unwrap_or(Err(ErrorKind::WouldBlock.into()))?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs a test on a connection with the services of an empty database.
    fn with_connection(test: impl FnOnce(&mut Connection<Script>, &mut Services<'_>)) {
        let environment = Environment {
            storage: Arc::new(SimStorage::new(1)),
            clock: Arc::new(SystemClock),
            random: Arc::new(|| 4),
        };
        let options =
            Options { memory_bytes: 1 << 20, wal_segment_bytes: 1 << 20, ..Options::default() };
        let (engine, _) = Engine::open(environment, options).unwrap();
        let poll = mio::Poll::new().unwrap();
        let notifier = Arc::new(Notifier::new(poll.registry()).unwrap());
        let settings = Settings { workers: 1, ..Settings::default() };
        let mut services = Services::new(&engine, &settings, Vec::new(), notifier).unwrap();
        let id = ConnectionId { slot: 0, generation: 0 };
        let address = "127.0.0.1:1".parse().unwrap();
        services.add_client(id, address, address);
        test(&mut Connection::new(Script::default(), id, 0), &mut services);
    }

    fn turn(connection: &mut Connection<Script>, services: &mut Services<'_>) -> Turn {
        let mut scratch = [0; 4096];
        connection.flags.set(Flags::READABLE);
        let turn = connection.turn(services, &mut scratch, 0).unwrap();
        connection.flush(0).unwrap();
        turn
    }

    fn taken(connection: &mut Connection<Script>) -> String {
        String::from_utf8(std::mem::take(&mut connection.socket.written)).unwrap()
    }

    #[test]
    fn readiness_is_a_hint() {
        with_connection(|connection, services| {
            assert_eq!(turn(connection, services), Turn::Drained);
            assert!(
                !connection.flags.has(Flags::READABLE),
                "the read showed that there is nothing"
            );
            connection.socket.reads.push_back(Err(ErrorKind::Interrupted.into()));
            connection.socket.reads.push_back(Ok(b"PING\n".to_vec()));
            assert_eq!(turn(connection, services), Turn::Drained);
            assert_eq!(taken(connection), "PONG\n");
        });
    }

    #[test]
    fn a_short_read_is_the_last_unless_the_end_is_near() {
        with_connection(|connection, services| {
            connection.socket.reads.push_back(Ok(b"PING\n".to_vec()));
            turn(connection, services);
            assert_eq!(connection.flags.has(Flags::READABLE), !SHORT_READ_IS_LAST);
            connection.socket.reads.push_back(Ok(vec![b' '; 4096]));
            turn(connection, services);
            assert!(connection.flags.has(Flags::READABLE), "a full read says nothing");
            connection.flags.set(Flags::READ_CLOSED);
            connection.socket.reads.push_back(Ok(b"\n".to_vec()));
            turn(connection, services);
            assert!(connection.flags.has(Flags::READABLE), "the end is still to be read");
            connection.socket.reads.push_back(Ok(Vec::new()));
            assert_eq!(turn(connection, services), Turn::Closing(CloseReason::Ended));
            assert!(connection.flags.has(Flags::ENDED));
        });
    }

    #[test]
    fn nothing_is_read_while_requests_are_left() {
        with_connection(|connection, services| {
            connection.socket.reads.push_back(Ok(b"PING\n".repeat(600)));
            connection.socket.reads.push_back(Ok(b"HELP PING\n".to_vec()));
            assert_eq!(turn(connection, services), Turn::Budget);
            assert_eq!(turn(connection, services), Turn::Budget);
            assert_eq!(connection.socket.reads.len(), 1);
            assert_eq!(turn(connection, services), Turn::Drained);
            assert_eq!(taken(connection), "PONG\n".repeat(600));
            assert!(connection.input.is_empty());
            turn(connection, services);
            assert!(taken(connection).starts_with("TEXT "));
        });
    }

    #[test]
    fn nothing_is_executed_while_the_output_is_full() {
        with_connection(|connection, services| {
            while connection.outbox.has_room() {
                connection.outbox.push_bytes(&[b'x'; 9999], 7, 0);
            }
            connection.socket.reads.push_back(Ok(b"PING\n".to_vec()));
            assert_eq!(turn(connection, services), Turn::Full);
            assert!(!connection.wants_turn());
            assert!(connection.release(7));
            connection.flush(0).unwrap();
            taken(connection);
            assert!(connection.wants_turn());
            turn(connection, services);
            assert_eq!(taken(connection), "PONG\n");
        });
    }

    #[test]
    fn a_write_waits_for_the_frontier_and_so_does_its_reader() {
        with_connection(|connection, services| {
            connection.socket.reads.push_back(Ok(b"PING\nSET k v\nGET k\nPING\n".to_vec()));
            turn(connection, services);
            assert_eq!(taken(connection), "PONG\n");
            assert!(connection.outbox.waits_for_frontier());
            assert!(!connection.release(services.keyspace.last_seq() - 1));
            assert!(connection.release(services.keyspace.last_seq()));
            connection.flush(0).unwrap();
            assert_eq!(taken(connection), "OK\nv\nPONG\n");
        });
    }

    #[test]
    fn an_attack_ends_the_turn_and_what_follows_is_not_executed() {
        with_connection(|connection, services| {
            let bytes = b"PING\nPOST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\n";
            connection.socket.reads.push_back(Ok(bytes.to_vec()));
            assert_eq!(turn(connection, services), Turn::Abort(CloseReason::Http));
            assert_eq!(services.keyspace.last_seq(), 0);
            assert!(!connection.wants_turn());
        });
    }

    #[test]
    fn a_trickled_request_is_kept_and_then_given_back() {
        with_connection(|connection, services| {
            for byte in b"ECHO abc" {
                connection.socket.reads.push_back(Ok(vec![*byte]));
                assert_eq!(turn(connection, services), Turn::Drained);
                assert!(connection.has_partial());
            }
            connection.socket.reads.push_back(Ok(b"\n".to_vec()));
            turn(connection, services);
            assert!(!connection.has_partial());
            assert_eq!(taken(connection), "abc\n");
        });
    }

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = size_of::<Connection<mio::net::TcpStream>>();
        assert!(bytes <= 256, "{bytes}");
    }
}
