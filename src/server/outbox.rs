//! The replies of one connection on their way out, in the order of its requests.
//!
//! A reply may leave when the writes that it shows are durable (the commit frontier, see
//! `docs/architecture.md`) and when the replies before it have left. So the outbox is one run of
//! bytes in three parts: written, released, and waiting for the frontier. The waiting part is
//! cut by marks, each with the sequence number that releases it; replies of one tick share a mark,
//! for what they wait for is submitted together. Replies behind a read that is still with a worker
//! wait in that read's slot and join the run once it is answered.
//!
//! The run stands in pieces: what is behind a full one goes into the next, and a piece is freed once it
//! is written. So a client that reads slowly costs no moving of bytes, however much waits for it.
//!
//! Nothing but [`Outbox::release`] moves bytes past the frontier, and [`Outbox::flush`] cannot
//! write what is not released: there is no other way out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};

use crate::engine::Seq;
use crate::parser::{Encoder, Protocol};
use crate::planted::{Bug, is_planted};

use super::limits::{
    FIRST_REPLY_ESTIMATE_BYTES, OUTPUT_PIECE_BYTES, PENDING_REPLIES, WRITE_BYTES_PER_TURN,
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
    /// This many bytes, and the socket would take more: it is another one's turn.
    Budget(usize),
    /// The socket took only this many bytes.
    Blocked(usize),
}

/// Bytes up to `end` in the run may leave once `seq` is durable.
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
    /// The full pieces of the run, oldest first, and how many bytes they are. Boxed: few have any.
    #[expect(clippy::box_collection, reason = "an idle connection is small")]
    full: Option<Box<VecDeque<Vec<u8>>>>,
    full_bytes: usize,
    /// The last piece.
    bytes: Vec<u8>,
    /// How much of the run, from its first piece on, is written and released.
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
        if self.bytes.len() >= OUTPUT_PIECE_BYTES {
            self.fill_piece();
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
        let end = self.full_bytes + out.len();
        let is_longer = end > self.marks.back().map_or(self.released, |mark| mark.end);
        self.bytes = out;
        let len = self.bytes.len();
        if len >= OUTPUT_PIECE_BYTES && self.bytes.capacity() > len + len / 8 {
            // What the making of a long reply took beyond it is given back.
            self.bytes.shrink_to_fit();
        }
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
            self.append(answer);
            self.mark_end(slot.answer_seq, durable);
            if !slot.after.is_empty() {
                self.append(slot.after);
                self.mark_end(slot.after_seq, durable);
            }
        }
    }

    /// Adds bytes at the end of the run; many are not copied.
    fn append(&mut self, more: Vec<u8>) {
        let is_large = more.len() >= OUTPUT_PIECE_BYTES;
        if self.bytes.len() >= OUTPUT_PIECE_BYTES || is_large && !self.bytes.is_empty() {
            self.fill_piece();
        }
        if is_large { self.bytes = more } else { self.bytes.extend_from_slice(&more) }
    }

    /// Begins another piece.
    fn fill_piece(&mut self) {
        let mut piece = std::mem::take(&mut self.bytes);
        piece.shrink_to_fit();
        self.full_bytes += piece.len();
        self.full.get_or_insert_default().push_back(piece);
    }

    fn index(&self, number: SlotNumber, len: usize) -> Option<usize> {
        let from_end = self.next_slot.wrapping_sub(number) as usize;
        len.checked_sub(from_end).filter(|&index| index < len)
    }

    /// Says when the bytes added last may leave: never before those in front of them.
    fn mark_end(&mut self, seq: Seq, durable: Seq) {
        let end = self.full_bytes + self.bytes.len();
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
        while self.released < self.full_bytes {
            let Some(piece) = self.full.as_mut().and_then(|full| full.pop_back()) else { break };
            self.full_bytes -= piece.len();
            self.bytes = piece;
        }
        if self.full_bytes == 0 {
            self.full = None;
        }
        self.bytes.truncate(self.released - self.full_bytes);
        self.marks = VecDeque::new();
        self.slots = None;
    }

    /// Writes what is released, until there is no more of it, the socket takes no more, or others
    /// should have their turn.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<Flushed> {
        let mut count = 0;
        while self.has_released() {
            if count >= WRITE_BYTES_PER_TURN {
                return Ok(Flushed::Budget(count));
            }
            let ready = self.ready(WRITE_BYTES_PER_TURN - count);
            let offered = ready.len();
            let taken = write_once(socket, ready)?;
            count += taken;
            self.written += taken;
            self.drop_written();
            if taken < offered {
                return Ok(Flushed::Blocked(count));
            }
        }
        Ok(Flushed::All(count))
    }

    /// What is released and not written of the first piece, `most` bytes of it.
    fn ready(&self, most: usize) -> &[u8] {
        let first = self.full.as_ref().and_then(|full| full.front()).unwrap_or(&self.bytes);
        let end = self.released.min(first.len()).min(self.written + most);
        first.get(self.written..end).unwrap_or_default()
    }

    fn drop_written(&mut self) {
        while let Some(full) = self.full.as_mut() {
            let Some(piece) = full.pop_front_if(|piece| piece.len() <= self.written) else { break };
            if full.is_empty() {
                self.full = None;
            }
            self.full_bytes -= piece.len();
            self.shift(piece.len());
        }
        if self.full.is_none() && self.written == self.bytes.len() {
            self.bytes.clear();
            self.shift(self.written);
        }
    }

    /// The first bytes of the run are gone.
    fn shift(&mut self, count: usize) {
        self.written -= count;
        self.released -= count;
        self.marks.iter_mut().for_each(|mark| mark.end -= count);
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
        self.full.is_none() && self.bytes.is_empty() && self.slots.is_none()
    }

    /// Whether another request may be executed, if at most so much output is to wait.
    pub(crate) fn has_room(&self, most_bytes: usize) -> bool {
        self.expected_bytes() < most_bytes && self.may_reserve()
    }

    /// Bytes that are not written yet. A pending reply counts with its estimated length, so that a
    /// pipeline of reads from disk does not end in more output than anyone may leave unread.
    pub(crate) fn expected_bytes(&self) -> usize {
        let slots = self.slots.as_ref();
        self.queued_bytes() + slots.map_or(0, |slots| slots.queue.len() * slots.estimate_bytes)
    }

    /// Whether one more reply may wait for its making.
    pub(crate) fn may_reserve(&self) -> bool {
        self.pending_count() < PENDING_REPLIES
    }

    /// Bytes that are not written yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        let in_slots = self.slots.as_ref().map_or(0, |slots| slots.bytes);
        self.full_bytes + self.bytes.len() - self.written + in_slots
    }

    /// Memory held, in bytes, bookkeeping left out.
    pub(crate) fn capacity(&self) -> usize {
        let in_slots = self.slots.as_ref().map_or(0, |slots| slots.bytes);
        self.full_bytes + self.bytes.capacity() + in_slots
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
        if !self.bytes.is_empty() || self.full.is_some() || self.lacks_buffer() {
            return None;
        }
        self.marks = VecDeque::new();
        Some(std::mem::take(&mut self.bytes))
    }
}

/// Hands bytes to the socket, and says how many it took.
fn write_once(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
