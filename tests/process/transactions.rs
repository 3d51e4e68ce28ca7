//! `kill -9` amid transactions: of each, all of it is there or nothing, and what was answered is there.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::program::{Program, command_anywhere};
use chronos::engine::storage::sim::Random;

const ROUNDS: u64 = 12;
const CLIENTS: usize = 4;
/// Keys that each client's transactions write, all of them.
const KEYS: usize = 6;

/// What became of a client's transactions: the number of the last that was answered, and of the last
/// that was sent.
#[derive(Debug, Default)]
struct Journal {
    acked: AtomicU64,
    sent: AtomicU64,
}

/// The value that transaction `number` gives to all keys.
fn value(number: u64) -> String {
    format!("{number} {}", "x".repeat((number % 700) as usize))
}

/// Sends one transaction after the other until the server is gone.
fn transact(address: SocketAddr, client: usize, journal: &Journal) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut replies = BufReader::new(socket.try_clone()?).lines();
    let mut next = || replies.next().unwrap_or_else(|| Err(std::io::ErrorKind::BrokenPipe.into()));
    for number in journal.sent.load(Ordering::SeqCst) + 1.. {
        journal.sent.store(number, Ordering::SeqCst);
        let value = value(number);
        let mut request = b"MULTI\n".to_vec();
        for key in 0..KEYS {
            writeln!(request, "SET t{client}:{key} {value}")?;
        }
        request.extend_from_slice(b"EXEC\n");
        socket.write_all(&request)?;
        let mut expected = vec!["OK".to_owned()];
        expected.extend(std::iter::repeat_n("QUEUED".to_owned(), KEYS));
        expected.push(format!("LIST {KEYS}"));
        expected.extend(std::iter::repeat_n("OK".to_owned(), KEYS));
        for expected in expected {
            assert_eq!(next()?, expected);
        }
        journal.acked.store(number, Ordering::SeqCst);
    }
    Ok(())
}

/// The number of the transaction that all of a client's keys show.
fn shown(program: &Program, client: usize) -> u64 {
    let mut reader = program.connect();
    let mut numbers = Vec::new();
    for key in 0..KEYS {
        reader.send(format!("GET t{client}:{key}\n"));
        let line = reader.line();
        let number = if line == "NULL" {
            0
        } else {
            let number = line.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(line, value(number), "as it was written");
            number
        };
        numbers.push(number);
    }
    assert!(numbers.iter().all(|&number| number == numbers[0]), "half a transaction: {numbers:?}");
    numbers[0]
}

#[test]
fn a_transaction_survives_a_kill_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let journals: Vec<Journal> = (0..CLIENTS).map(|_| Journal::default()).collect();
    for _ in 0..ROUNDS {
        let program = Program::spawn(&mut command_anywhere(dir.path()));
        for (client, journal) in journals.iter().enumerate() {
            let number = shown(&program, client);
            let (acked, sent) =
                (journal.acked.load(Ordering::SeqCst), journal.sent.load(Ordering::SeqCst));
            assert!(
                (acked..=sent).contains(&number),
                "{acked} answered, {number} shown, {sent} sent"
            );
        }
        let before: u64 = journals.iter().map(|journal| journal.acked.load(Ordering::SeqCst)).sum();
        let (address, enough) = (program.address, before + 50 + random.below(1500));
        std::thread::scope(|scope| {
            for (client, journal) in journals.iter().enumerate() {
                // It ends when the server is killed.
                scope.spawn(move || transact(address, client, journal).unwrap_err());
            }
            let started = Instant::now();
            let acked = || journals.iter().map(|j| j.acked.load(Ordering::SeqCst)).sum::<u64>();
            while acked() < enough {
                assert!(started.elapsed() < PATIENCE * 3, "the transactions go on");
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
            program.kill();
        });
    }
    let acked: u64 = journals.iter().map(|journal| journal.acked.load(Ordering::SeqCst)).sum();
    eprintln!("{ROUNDS} kills amid transactions, {acked} answered, none lost, none halved");
}
