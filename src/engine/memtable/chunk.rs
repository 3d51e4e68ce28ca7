//! Memory that is appended to while others read what was appended before.
//!
//! A chunk never moves and never grows beyond what it was made with, so that its bytes can be lent
//! to readers that outlive every borrow of the memtable. One owner appends, through `&mut`; a reader
//! holds a [`Filled`], made through `&`, and sees the bytes below the length at that moment. Those
//! are never written again, and whoever got from appending to sharing has synchronised on the way:
//! safe code cannot turn a `&mut` on one thread into a `&` on another otherwise. That is why the
//! length is a plain number. Rejected: an atomic length inside of the shared memory, which would let
//! a reader see later bytes too, but a walk must show one moment, and each lookup would pay for it.

#![expect(unsafe_code, reason = "one appends behind the bytes that others read")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::engine::hardware::use_huge_pages;

/// An append-only piece of memory with a fixed capacity; the one that appends to it.
pub(super) struct Chunk {
    filled: Filled,
}

/// The bytes of a chunk up to some length. It keeps the memory alive; clones share it.
#[derive(Clone)]
pub(super) struct Filled {
    memory: Arc<Memory>,
    /// Bytes below it are initialised and are not written any more.
    length: usize,
}

/// The parts of a `Vec<u8>`, whose own length is of no interest.
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: it owns plain bytes, and what may be read or written when is the business of `Chunk` and
// `Filled`: bytes at or past the chunk's length belong to the chunk's owner alone, bytes below it
// are only read.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        use_huge_pages(&mut bytes);
        let mut bytes = ManuallyDrop::new(bytes);
        // A vector's pointer is never null; one to nowhere would be of a vector without capacity.
        let start = NonNull::new(bytes.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Memory { start, capacity: bytes.capacity() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: both come from the vector that `new` took apart, and nobody else frees it. A
        // length of 0 is within any capacity.
        drop(unsafe { Vec::from_raw_parts(self.start.as_ptr(), 0, self.capacity) });
    }
}

impl Chunk {
    /// An empty chunk with room for at least `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Chunk { filled: Filled { memory: Arc::new(Memory::new(capacity)), length: 0 } }
    }

    /// The most bytes that it takes.
    pub(super) fn capacity(&self) -> usize {
        self.filled.memory.capacity
    }

    /// Appends `bytes`, for which there must be room.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let Filled { memory, length } = &mut self.filled;
        assert!(bytes.len() <= memory.capacity - *length, "a chunk is full");
        // SAFETY: the destination ends within the capacity, by the assertion. Nobody reads there:
        // this chunk is the only one of its memory, for it cannot be cloned, and each `Filled` of it
        // is a copy of what `length` was at some time, which only grows. `bytes` may be other bytes
        // of this memory, but initialised ones, which lie below.
        unsafe {
            let end = memory.start.as_ptr().add(*length);
            end.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        *length += bytes.len();
    }

    /// What was appended so far; clone it to keep it.
    pub(super) fn filled(&self) -> &Filled {
        &self.filled
    }
}

impl std::ops::Deref for Filled {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `length` is that of the chunk at some time, so the bytes below it lie within the
        // memory, were written before, and are not written while anybody holds a `Filled`.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_stays_while_more_is_appended() {
        let mut chunk = Chunk::with_capacity(10_000);
        let mut moments = Vec::new();
        for number in 0..1_000u32 {
            moments.push(chunk.filled().clone());
            chunk.append(&number.to_le_bytes());
        }
        drop(chunk);
        for (number, filled) in moments.iter().enumerate() {
            let expected: Vec<u8> = (0..number as u32).flat_map(u32::to_le_bytes).collect();
            assert_eq!(filled[..], expected);
        }
    }

    #[test]
    fn readers_on_other_threads_see_their_moment() {
        let mut chunk = Chunk::with_capacity(64 << 10);
        std::thread::scope(|scope| {
            for round in 0..64u8 {
                chunk.append(&[round; 1 << 10]);
                let filled = chunk.filled().clone();
                scope.spawn(move || {
                    assert_eq!(filled.len(), (usize::from(round) + 1) << 10);
                    assert!(filled.chunks(1 << 10).zip(0..).all(|(part, n)| part == [n; 1 << 10]));
                });
            }
        });
    }

    #[test]
    #[should_panic(expected = "full")]
    fn more_than_fits_is_a_bug() {
        let mut chunk = Chunk::with_capacity(16);
        let room = chunk.capacity();
        chunk.append(&vec![0; room]);
        chunk.append(&[0]);
    }
}
