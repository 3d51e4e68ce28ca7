//! The replies of one connection on their way out, in the order of its requests.
//!
//! A reply may leave when the writes that it shows are durable (the commit frontier, see
//! `docs/architecture.md`) and when the replies before it have left. So the outbox is one run of
//! bytes in three parts: written, released, and waiting for the frontier. The waiting part is
//! cut by marks, each with the sequence number that releases it; replies of one tick share a mark,
//! for what they wait for is submitted together. Replies behind a read that is still with a worker
//! wait in that read's slot and join the run once it is answered.
//!
//! Nothing but [`Outbox::release`] moves bytes past the frontier, and [`Outbox::flush`] cannot
//! write what is not released: there is no other way out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

use crate::engine::Seq;
use crate::parser::{Encoder, Protocol};
use crate::planted::{Bug, is_planted};

use super::limits::{
    FIRST_REPLY_ESTIMATE_BYTES, OUTPUT_COMPACT_BYTES, OUTPUT_SOFT_BYTES, PENDING_REPLIES,
};

/// The number of a reply that is still being worked out. Unique within its connection for long
/// enough: 2³² replies.
pub(crate) type SlotNumber = u32;

/// What the answer to a pending reply will be made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A read: the value.
    Get,
    /// A read: whether there is one.
    Exists,
    /// A worker sends it as it is to be.
    Work,
    /// The end of something that the engine does.
    Finish(Finish),
}

/// What the engine was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// A compaction.
    Compact,
    /// A checkpoint.
    Save,
}

/// What became of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All that is released is written; this many bytes now.
    All(usize),
    /// The socket took only this many bytes.
    Blocked(usize),
}

/// Bytes up to `end` may leave once `seq` is durable.
#[derive(Debug, Clone, Copy)]
struct Mark {
    end: usize,
    seq: Seq,
}

/// A reply that is not there yet, and what follows it.
#[derive(Debug)]
struct Slot {
    pending: Pending,
    /// The protocol when it was asked for.
    protocol: Protocol,
    answer: Option<Vec<u8>>,
    answer_seq: Seq,
    after: Vec<u8>,
    after_seq: Seq,
}

/// The pending replies of a connection that has any.
#[derive(Debug)]
struct Slots {
    queue: VecDeque<Slot>,
    /// Bytes held by the slots.
    bytes: usize,
    /// How long a pending reply is taken to be: follows the longest of late.
    estimate_bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    released: usize,
    marks: VecDeque<Mark>,
    /// Whether the last mark was made in this turn, and so may be moved up.
    mark_is_open: bool,
    next_slot: SlotNumber,
    /// Boxed, and dropped when empty: an idle connection is small.
    slots: Option<Box<Slots>>,
}

impl Outbox {
    /// Adds a reply that may leave once `seq` is durable; `durable` is what is now.
    pub(crate) fn push(
        &mut self,
        protocol: Protocol,
        seq: Seq,
        durable: Seq,
        write: impl FnOnce(&mut Encoder<'_>),
    ) {
        let mut out = self.take_end();
        write(&mut Encoder::new(protocol, &mut out));
        self.put_end(out, seq, durable);
    }

    /// Adds bytes, for all purposes a reply.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], seq: Seq, durable: Seq) {
        let mut out = self.take_end();
        out.extend_from_slice(bytes);
        self.put_end(out, seq, durable);
    }

    /// Takes the buffer that the next reply is appended to; give it back with [`Outbox::put_end`].
    #[inline]
    pub(crate) fn take_end(&mut self) -> Vec<u8> {
        if let Some(slots) = self.slots.as_mut()
            && let Some(slot) = slots.queue.back_mut()
        {
            slots.bytes -= slot.after.len();
            return std::mem::take(&mut slot.after);
        }
        std::mem::take(&mut self.bytes)
    }

    /// Gives the buffer back with a reply appended that may leave once `seq` is durable.
    #[inline]
    pub(crate) fn put_end(&mut self, out: Vec<u8>, seq: Seq, durable: Seq) {
        if let Some(slots) = self.slots.as_mut()
            && let Some(slot) = slots.queue.back_mut()
        {
            slots.bytes += out.len();
            slot.after = out;
            slot.after_seq = slot.after_seq.max(seq);
            return;
        }
        let is_longer = out.len() > self.marks.back().map_or(self.released, |mark| mark.end);
        self.bytes = out;
        if is_longer {
            self.mark_end(seq, durable);
        }
    }

    /// Holds a place for a reply that comes later.
    pub(crate) fn reserve(&mut self, pending: Pending, protocol: Protocol) -> SlotNumber {
        let number = self.next_slot;
        self.next_slot = number.wrapping_add(1);
        let (answer, after) = (None, Vec::new());
        let slot = Slot { pending, protocol, answer, answer_seq: 0, after, after_seq: 0 };
        let slots = self.slots.get_or_insert_with(|| {
            let estimate_bytes = FIRST_REPLY_ESTIMATE_BYTES;
            Box::new(Slots { queue: VecDeque::new(), bytes: 0, estimate_bytes })
        });
        slots.queue.push_back(slot);
        number
    }

    /// Takes back the reservation made last.
    pub(crate) fn cancel_last(&mut self) {
        self.next_slot = self.next_slot.wrapping_sub(1);
        if let Some(slots) = self.slots.as_mut() {
            slots.queue.pop_back();
            if slots.queue.is_empty() {
                self.slots = None;
            }
        }
    }

    /// What the reply in a slot is to be made from, and its protocol; `None` if nobody waits for it
    /// any more.
    pub(crate) fn pending(&self, number: SlotNumber) -> Option<(Pending, Protocol)> {
        let queue = &self.slots.as_ref()?.queue;
        let slot = queue.get(self.index(number, queue.len())?)?;
        slot.answer.is_none().then_some((slot.pending, slot.protocol))
    }

    /// Answers a pending reply; the answer may leave once `seq` is durable.
    pub(crate) fn answer(&mut self, number: SlotNumber, answer: Vec<u8>, seq: Seq, durable: Seq) {
        let index = self.index(number, self.pending_count());
        let Some(slots) = self.slots.as_mut() else { return };
        let Some(slot) = index.and_then(|index| slots.queue.get_mut(index)) else { return };
        slots.bytes += answer.len();
        slots.estimate_bytes = answer.len().max(slots.estimate_bytes - slots.estimate_bytes / 8);
        slot.answer = Some(answer);
        slot.answer_seq = seq;
        self.join_answered(durable);
        self.close_mark();
    }

    /// Moves answered slots at the front, and what follows each, into the run of bytes.
    fn join_answered(&mut self, durable: Seq) {
        while let Some(slots) = self.slots.as_mut() {
            let answered = |slot: &mut Slot| slot.answer.take();
            let Some(answer) = slots.queue.front_mut().and_then(answered) else { return };
            let Some(slot) = slots.queue.pop_front() else { return };
            slots.bytes -= answer.len() + slot.after.len();
            if slots.queue.is_empty() {
                self.slots = None;
            }
            self.bytes.extend_from_slice(&answer);
            self.mark_end(slot.answer_seq, durable);
            if !slot.after.is_empty() {
                self.bytes.extend_from_slice(&slot.after);
                self.mark_end(slot.after_seq, durable);
            }
        }
    }

    fn index(&self, number: SlotNumber, len: usize) -> Option<usize> {
        let from_end = self.next_slot.wrapping_sub(number) as usize;
        len.checked_sub(from_end).filter(|&index| index < len)
    }

    /// Says when the bytes added last may leave: never before those in front of them.
    fn mark_end(&mut self, seq: Seq, durable: Seq) {
        let end = self.bytes.len();
        match self.marks.back_mut() {
            None if seq <= durable => self.released = end,
            Some(last) if seq <= last.seq => last.end = end,
            Some(last) if self.mark_is_open => *last = Mark { end, seq },
            _ => {
                self.marks.push_back(Mark { end, seq });
                self.mark_is_open = true;
            }
        }
    }

    /// Ends a turn: what it wrote is about to be submitted.
    pub(crate) fn close_mark(&mut self) {
        self.mark_is_open = false;
    }

    /// Lets go what the frontier has reached. Returns whether there is something to write.
    pub(crate) fn release(&mut self, durable: Seq) -> bool {
        let durable = if is_planted(Bug::ReleaseReplyEarly) { Seq::MAX } else { durable };
        while let Some(mark) = self.marks.front().filter(|mark| mark.seq <= durable) {
            self.released = mark.end;
            self.marks.pop_front();
        }
        self.has_released()
    }

    /// Drops everything that is not released; what is left ends at the end of a reply.
    pub(crate) fn drop_unreleased(&mut self) {
        self.bytes.truncate(self.released);
        self.marks = VecDeque::new();
        self.slots = None;
    }

    /// Writes what is released, in one call.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<Flushed> {
        let ready = &self.bytes[self.written..self.released];
        if ready.is_empty() {
            return Ok(Flushed::All(0));
        }
        let taken = loop {
            match socket.write(ready) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => break taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked(0));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let all = taken == ready.len();
        self.written += taken;
        self.drop_written();
        Ok(if all { Flushed::All(taken) } else { Flushed::Blocked(taken) })
    }

    fn drop_written(&mut self) {
        if self.written == self.bytes.len() {
            self.bytes.clear();
        } else if self.written >= OUTPUT_COMPACT_BYTES && self.written * 2 >= self.bytes.len() {
            self.bytes.drain(..self.written);
            self.marks.iter_mut().for_each(|mark| mark.end -= self.written);
        } else {
            return;
        }
        self.released -= self.written;
        self.written = 0;
    }

    /// Whether there is something to write now.
    pub(crate) fn has_released(&self) -> bool {
        self.written < self.released
    }

    /// Whether something waits for the frontier.
    pub(crate) fn waits_for_frontier(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Whether there is nothing to write, now or later.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.slots.is_none()
    }

    /// Whether another request may be executed: a pending reply counts with its estimated length, so
    /// that a pipeline of reads from disk does not end in more output than anyone may leave unread.
    pub(crate) fn has_room(&self) -> bool {
        let Some(slots) = &self.slots else { return self.queued_bytes() < OUTPUT_SOFT_BYTES };
        let expected_bytes = slots.queue.len() * slots.estimate_bytes;
        self.queued_bytes() + expected_bytes < OUTPUT_SOFT_BYTES
            && slots.queue.len() < PENDING_REPLIES
    }

    /// Bytes that are not written yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        let in_slots = self.slots.as_ref().map_or(0, |slots| slots.bytes);
        self.bytes.len() - self.written + in_slots
    }

    /// Memory held, in bytes, bookkeeping left out.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.slots.as_ref().map_or(0, |slots| slots.bytes)
    }

    fn pending_count(&self) -> usize {
        self.slots.as_ref().map_or(0, |slots| slots.queue.len())
    }

    /// Whether a buffer would be welcome.
    pub(crate) fn lacks_buffer(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// Takes over an empty buffer.
    pub(crate) fn lend_buffer(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.bytes.is_empty() && buffer.is_empty());
        self.bytes = buffer;
    }

    /// Gives the buffer away if there is nothing in it.
    pub(crate) fn take_buffer(&mut self) -> Option<Vec<u8>> {
        if !self.bytes.is_empty() || self.lacks_buffer() {
            return None;
        }
        self.marks = VecDeque::new();
        Some(std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
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
        assert!(!outbox.has_room());

        let fill = |outbox: &mut Outbox| {
            while outbox.has_room() {
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
        assert!(!outbox.has_room());
    }

    #[test]
    fn an_idle_outbox_is_small() {
        assert!(size_of::<Outbox>() <= 128, "{}", size_of::<Outbox>());
    }
}
