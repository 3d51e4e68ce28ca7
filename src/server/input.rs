//! Bytes that a connection sent and nobody has consumed yet: an unfinished request, requests that wait
//! for their turn, and behind them what is read on while replies wait to be taken.
//!
//! What is parsed stands in one stretch at the front. Consuming moves a cursor; what is left is moved
//! only when more is added behind it, and then it is less than one request, so the copies stay linear.
//! The backlog stands in pieces behind the front, however long it is, and joins it piece by piece: each
//! byte of it is copied once, and what the parser has to look at again is never more than a piece.

use std::collections::VecDeque;

use super::limits::READ_BUFFER_BYTES;

/// See the module. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// Boxed: few connections have any.
    backlog: Option<Box<Backlog>>,
}

#[derive(Debug, Default)]
struct Backlog {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes in the pieces, and their memory.
    len: usize,
    capacity: usize,
}

impl Input {
    /// What can be parsed.
    pub(crate) fn front(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len() && self.backlog.is_none()
    }

    /// How many bytes are there.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start + self.backlog.as_ref().map_or(0, |backlog| backlog.len)
    }

    /// Memory held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.backlog.as_ref().map_or(0, |backlog| backlog.capacity)
    }

    /// Adds bytes at the end of the front; there must be no backlog.
    pub(crate) fn append(&mut self, more: &[u8]) {
        debug_assert!(self.backlog.is_none());
        self.extend_front(more);
    }

    fn extend_front(&mut self, more: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    /// Adds bytes behind everything; they are parsed later.
    pub(crate) fn append_backlog(&mut self, more: &[u8]) {
        self.backlog.get_or_insert_default().append(more);
    }

    /// Moves a piece of the backlog to the front. Returns whether there was any.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(backlog) = self.backlog.as_mut() else { return false };
        let Some(piece) = backlog.take() else { return false };
        if backlog.pieces.is_empty() {
            self.backlog = None;
        }
        if self.start == self.bytes.len() {
            (self.bytes, self.start) = (piece, 0);
        } else {
            self.extend_front(&piece);
        }
        true
    }

    /// Drops bytes of the front, and the memory with the last of them.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
        if self.start == self.bytes.len() {
            (self.bytes, self.start) = (Vec::new(), 0);
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Input::default();
    }
}

impl Backlog {
    fn append(&mut self, more: &[u8]) {
        self.len += more.len();
        if let Some(last) = self.pieces.back_mut()
            && last.len() + more.len() <= READ_BUFFER_BYTES
        {
            self.capacity -= last.capacity();
            let len = last.len() + more.len();
            if last.capacity() < len {
                let wanted = (2 * len).min(READ_BUFFER_BYTES);
                last.reserve_exact(wanted - last.len());
            }
            last.extend_from_slice(more);
            self.capacity += last.capacity();
            return;
        }
        self.capacity += more.len();
        self.pieces.push_back(more.to_vec());
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.pop_front()?;
        self.len -= piece.len();
        self.capacity -= piece.capacity();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_through_in_order_and_memory_is_given_back() {
        let mut input = Input::default();
        input.append(b"abcdef");
        input.consume(2);
        input.append(b"g");
        assert_eq!(input.front(), b"cdefg");
        input.consume(5);
        assert!(input.is_empty() && !input.advance());
        assert_eq!(input.capacity(), 0);
    }

    #[test]
    fn a_backlog_comes_to_the_front_piece_by_piece() {
        let mut input = Input::default();
        input.append(b"begin:");
        let mut sent = b"begin:".to_vec();
        for n in 0..1000_u32 {
            let more = vec![(n % 251) as u8; (n * 37 % 5000) as usize + 1];
            sent.extend_from_slice(&more);
            input.append_backlog(&more);
        }
        assert_eq!(input.len(), sent.len());
        assert!(input.capacity() < sent.len() + sent.len() / 4, "{}", input.capacity());
        let mut got = Vec::new();
        loop {
            // All but a few bytes, as where a request is not complete.
            let count = input.front().len().saturating_sub(3);
            assert!(count <= 2 * READ_BUFFER_BYTES);
            got.extend_from_slice(&input.front()[..count]);
            input.consume(count);
            if !input.advance() {
                break;
            }
        }
        got.extend_from_slice(input.front());
        input.consume(input.front().len());
        assert!(got == sent && input.is_empty());
        assert_eq!((input.len(), input.capacity()), (0, 0));
    }
}
