//! Replies on their way out: their order, what holds them back, and what they take.

use super::super::limits::OUTPUT_SOFT_BYTES;
use super::*;

const TEXT: Protocol = Protocol::Text;

/// A socket that takes at most `room` bytes.
struct Narrow {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.taken.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(outbox: &mut Outbox) -> String {
    let mut out = Vec::new();
    outbox.flush(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn push(outbox: &mut Outbox, word: &'static str, seq: Seq, durable: Seq) {
    outbox.push(TEXT, seq, durable, |reply| reply.simple(word));
}

#[test]
fn durable_replies_go_straight_through() {
    let mut outbox = Outbox::default();
    push(&mut outbox, "A", 5, 5);
    assert!(!outbox.waits_for_frontier());
    assert_eq!(written(&mut outbox), "A\n");
    assert!(outbox.is_empty());
}

#[test]
fn a_reply_waits_for_its_write_and_for_those_before_it() {
    let mut outbox = Outbox::default();
    push(&mut outbox, "A", 0, 5);
    push(&mut outbox, "B", 7, 5);
    push(&mut outbox, "C", 0, 5);
    outbox.close_mark();
    push(&mut outbox, "D", 9, 5);
    assert_eq!(written(&mut outbox), "A\n");
    assert!(!outbox.release(6));
    assert!(outbox.release(7));
    assert_eq!(written(&mut outbox), "B\nC\n");
    assert!(outbox.release(9));
    assert_eq!(written(&mut outbox), "D\n");
    assert!(outbox.is_empty() && !outbox.waits_for_frontier());
}

#[test]
fn replies_of_one_turn_share_a_mark() {
    let mut outbox = Outbox::default();
    (1..=100).for_each(|seq| push(&mut outbox, "OK", seq, 0));
    assert_eq!(outbox.marks.len(), 1);
    assert!(!outbox.release(99));
    assert!(outbox.release(100));
}

#[test]
fn pending_replies_keep_their_place() {
    let mut outbox = Outbox::default();
    let first = outbox.reserve(Pending::Get, TEXT);
    push(&mut outbox, "A", 3, 0);
    let second = outbox.reserve(Pending::Exists, TEXT);
    push(&mut outbox, "B", 0, 0);
    assert_eq!(outbox.pending(second), Some((Pending::Exists, TEXT)));
    outbox.answer(second, b"1\n".to_vec(), 0, 0);
    assert_eq!(outbox.pending(second), None);
    assert_eq!(written(&mut outbox), "");
    outbox.answer(first, b"NULL\n".to_vec(), 0, 0);
    assert_eq!(written(&mut outbox), "NULL\n");
    assert!(outbox.release(3));
    assert_eq!(written(&mut outbox), "A\n1\nB\n");
    assert!(outbox.is_empty());
    assert_eq!(outbox.queued_bytes(), 0);
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let mut outbox = Outbox::default();
    outbox.answer(0, b"NULL\n".to_vec(), 0, 0);
    let number = outbox.reserve(Pending::Get, TEXT);
    outbox.answer(number.wrapping_add(1), b"NULL\n".to_vec(), 0, 0);
    outbox.answer(number.wrapping_sub(1), b"NULL\n".to_vec(), 0, 0);
    assert!(outbox.pending(number).is_some());
    outbox.answer(number, b"NULL\n".to_vec(), 0, 0);
    outbox.answer(number, b"NULL\n".to_vec(), 0, 0);
    assert_eq!(written(&mut outbox), "NULL\n");
}

#[test]
fn a_cancelled_reservation_leaves_no_trace() {
    let mut outbox = Outbox::default();
    outbox.reserve(Pending::Get, TEXT);
    outbox.cancel_last();
    assert!(outbox.is_empty());
    assert_eq!(outbox.reserve(Pending::Get, TEXT), 0);
}

#[test]
fn partial_writes_lose_and_repeat_nothing() {
    let mut outbox = Outbox::default();
    let mut expected = Vec::new();
    let mut socket = Narrow { taken: Vec::new(), room: 0 };
    let value = vec![b'v'; 50_000];
    for seq in 1..=20 {
        outbox.push(TEXT, seq, 0, |reply| reply.bulk(&value));
        Encoder::new(TEXT, &mut expected).bulk(&value);
        outbox.close_mark();
        outbox.release(seq - 1);
        socket.room = 37_777;
        outbox.flush(&mut socket).unwrap();
    }
    outbox.release(20);
    while outbox.has_released() {
        socket.room = 100_000;
        outbox.flush(&mut socket).unwrap();
    }
    assert!(outbox.is_empty());
    assert!(socket.taken == expected);
}

#[test]
fn much_output_stands_in_pieces_that_are_freed_one_by_one() {
    let mut outbox = Outbox::default();
    let value = vec![b'v'; OUTPUT_PIECE_BYTES / 3];
    let mut expected = Vec::new();
    for seq in 1..=40 {
        outbox.push(TEXT, seq, 0, |reply| reply.bulk(&value));
        Encoder::new(TEXT, &mut expected).bulk(&value);
        outbox.close_mark();
    }
    let slot = outbox.reserve(Pending::Work, TEXT);
    let large = vec![b'w'; OUTPUT_PIECE_BYTES * 2];
    outbox.answer(slot, large.clone(), 0, 0);
    expected.extend_from_slice(&large);
    outbox.release(40);
    assert_eq!(outbox.queued_bytes(), expected.len());
    let mut socket = Narrow { taken: Vec::new(), room: 0 };
    while outbox.has_released() {
        let left = outbox.queued_bytes();
        assert!(outbox.capacity() <= left + 4 * OUTPUT_PIECE_BYTES, "{left}");
        assert_eq!(left, expected.len() - socket.taken.len());
        socket.room = 77_777;
        outbox.flush(&mut socket).unwrap();
    }
    assert!(outbox.is_empty() && socket.taken == expected);
    assert_eq!(outbox.full_bytes, 0);
}

#[test]
fn what_is_released_of_several_pieces_survives_a_failure() {
    let mut outbox = Outbox::default();
    let value = vec![b'v'; OUTPUT_PIECE_BYTES];
    for seq in 1..=5 {
        outbox.push_bytes(&value, seq, 0);
        outbox.close_mark();
    }
    outbox.release(2);
    outbox.drop_unreleased();
    assert_eq!(outbox.queued_bytes(), 2 * OUTPUT_PIECE_BYTES);
    push(&mut outbox, "A", 0, 0);
    let mut taken = Vec::new();
    assert_eq!(outbox.flush(&mut taken).unwrap(), Flushed::All(taken.len()));
    assert!(taken == [&value[..], &value, b"A\n"].concat() && outbox.is_empty());
}

#[test]
fn others_have_their_turn_while_much_is_written() {
    let mut outbox = Outbox::default();
    outbox.push_bytes(&vec![b'v'; 2 * WRITE_BYTES_PER_TURN + 1], 0, 0);
    let mut taken = Vec::new();
    let budget = Flushed::Budget(WRITE_BYTES_PER_TURN);
    assert_eq!(outbox.flush(&mut taken).unwrap(), budget);
    assert_eq!(outbox.flush(&mut taken).unwrap(), budget);
    assert_eq!(outbox.flush(&mut taken).unwrap(), Flushed::All(1));
}

#[test]
fn what_is_not_released_can_be_dropped() {
    let mut outbox = Outbox::default();
    push(&mut outbox, "A", 0, 0);
    push(&mut outbox, "B", 1, 0);
    outbox.reserve(Pending::Get, TEXT);
    push(&mut outbox, "C", 0, 0);
    outbox.drop_unreleased();
    push(&mut outbox, "D", 0, 0);
    assert_eq!(written(&mut outbox), "A\nD\n");
    assert!(outbox.is_empty());
}

#[test]
fn room_ends_with_bytes_and_with_pending_replies() {
    let mut outbox = Outbox::default();
    outbox.push(TEXT, 0, 0, |reply| reply.bulk(&vec![0; OUTPUT_SOFT_BYTES]));
    assert!(!outbox.has_room(OUTPUT_SOFT_BYTES));
    assert!(outbox.has_room(OUTPUT_SOFT_BYTES * 2));

    let fill = |outbox: &mut Outbox| {
        while outbox.has_room(OUTPUT_SOFT_BYTES) {
            outbox.reserve(Pending::Get, TEXT);
        }
        outbox.pending_count()
    };
    let mut outbox = Outbox::default();
    assert_eq!(fill(&mut outbox), OUTPUT_SOFT_BYTES / FIRST_REPLY_ESTIMATE_BYTES);
    // Short answers make room for more reads at a time, one long answer for fewer.
    for number in 0..1000 {
        outbox.answer(number, b"NULL\n".to_vec(), 0, 0);
        fill(&mut outbox);
    }
    assert_eq!(fill(&mut outbox), PENDING_REPLIES);
    outbox.answer(1000, vec![0; 100_000], 0, 0);
    let flushed = outbox.flush(&mut Vec::new()).unwrap();
    assert!(matches!(flushed, Flushed::All(100_000..)), "{flushed:?}");
    assert!(!outbox.has_room(OUTPUT_SOFT_BYTES));
}

#[test]
fn an_idle_outbox_is_small() {
    assert!(size_of::<Outbox>() <= 128, "{}", size_of::<Outbox>());
}
