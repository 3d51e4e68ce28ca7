//! Bytes that a connection sent and nobody has consumed yet: an unfinished request, or requests that
//! wait for their turn. Consuming moves a cursor; what is left is moved to the front only when more
//! is added, and then it is less than one request, so the copies stay linear.

/// See the module. Empty, it owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    /// What is there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Memory held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, more: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
    }

    /// Drops bytes at the front, and the memory with the last of them.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Input::default();
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
        assert_eq!(input.bytes(), b"cdefg");
        input.consume(5);
        assert!(input.is_empty());
        assert_eq!(input.bytes.capacity(), 0);
    }
}
