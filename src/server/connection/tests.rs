//! Turns of a connection whose socket is a script.

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
        assert!(!connection.flags.has(Flags::READABLE), "the read showed that there is nothing");
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
        while connection.outbox.has_room(OUTPUT_SOFT_BYTES) {
            connection.outbox.push_bytes(&[b'x'; 9999], 7, 0);
        }
        connection.socket.reads.push_back(Ok(b"PING\n".to_vec()));
        assert_eq!(turn(connection, services), Turn::Full);
        assert!(!connection.wants_turn(false));
        unblock(connection);
        assert!(connection.wants_turn(false));
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
        assert!(!connection.wants_turn(false));
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

/// Blocks the connection with more output than lets it execute.
fn block(connection: &mut Connection<Script>) {
    while connection.outbox.has_room(OUTPUT_SOFT_BYTES) {
        connection.outbox.push_bytes(&[b'x'; 9999], 7, 0);
    }
    connection.flags.set(Flags::BLOCKED);
}

/// What it would do once its client has taken everything.
fn unblock(connection: &mut Connection<Script>) {
    connection.release(7);
    while connection.flush(0).unwrap() != Flushed::All(0) {}
    connection.flags.clear(Flags::BLOCKED);
    taken(connection);
}

#[test]
fn what_is_sent_while_replies_wait_is_read_on_and_executed_later() {
    with_connection(|connection, services| {
        block(connection);
        for bytes in [&b"PING\nECHO a"[..], b"b", b"c\nPING\n"] {
            connection.socket.reads.push_back(Ok(bytes.to_vec()));
            connection.flags.set(Flags::READABLE);
            assert!(connection.wants_turn(false) && !connection.wants_turn(true));
            assert_eq!(turn(connection, services), Turn::Full);
        }
        connection.flags.clear(Flags::READABLE);
        assert!(!connection.wants_turn(false) && !connection.has_partial());
        assert_eq!(connection.input_bytes(), 19);
        unblock(connection);
        let mut told = String::new();
        while connection.flags.has(Flags::UNPARSED) {
            turn(connection, services);
            told += &taken(connection);
        }
        assert_eq!(told, "PONG\nabc\nPONG\n");
        assert_eq!(connection.buffer_bytes(), connection.outbox.capacity());
    });
}

#[test]
fn an_end_that_is_met_while_reading_on_comes_after_all_before_it() {
    with_connection(|connection, services| {
        block(connection);
        connection.socket.reads.push_back(Ok(b"PING\n".to_vec()));
        turn(connection, services);
        connection.socket.reads.push_back(Ok(Vec::new()));
        turn(connection, services);
        connection.flags.clear(Flags::READABLE);
        assert!(!connection.wants_turn(false), "the end is known");
        unblock(connection);
        turn(connection, services);
        assert_eq!(taken(connection), "PONG\n");
        assert!(connection.wants_turn(false), "the end is still to be acted on");
        connection.socket.reads.push_back(Ok(Vec::new()));
        assert_eq!(turn(connection, services), Turn::Closing(CloseReason::Ended));
    });
}

#[test]
fn behind_a_long_backlog_replies_pile_up_a_little_at_a_time() {
    with_connection(|connection, services| {
        connection.socket.reads.push_back(Ok(b"SET k ".to_vec()));
        turn(connection, services);
        let value = [&b"v".repeat(100_000)[..], b"\n"].concat();
        for piece in value.chunks(4096) {
            connection.socket.reads.push_back(Ok(piece.to_vec()));
            turn(connection, services);
        }
        block(connection);
        let requests = b"GET k\n".repeat(600);
        while connection.input_bytes() < BACKLOG_BYTES {
            connection.socket.reads.push_back(Ok(requests.clone()));
            assert_eq!(turn(connection, services), Turn::Full);
        }
        connection.flags.clear(Flags::READABLE);
        assert!(connection.wants_turn(false) && !connection.wants_turn(true));
        let before = connection.outbox.queued_bytes();
        let mut scratch = [0; 4096];
        connection.turn(services, &mut scratch, 0).unwrap();
        let grown = connection.outbox.queued_bytes() - before;
        assert!(grown > 0 && grown <= OUTPUT_SOFT_BYTES + 100_001, "{grown}");
        let bound = OutputBound { hard_bytes: 0, soft_bytes: 1 << 20, soft_seconds: 2 };
        assert!(!connection.breaches(bound, 1000) && !connection.breaches(bound, 2999));
        assert!(connection.breaches(bound, 3000));
        assert!(connection.breaches(OutputBound { hard_bytes: 1 << 20, ..bound }, 0));
    });
}
