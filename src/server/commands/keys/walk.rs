//! Walks over keys on a worker: over one snapshot, a few milliseconds at a time.
//!
//! What a command wants of the entries is a [`Visitor`]; [`Walk`] brings it the entries, gives way to
//! other work between two of them, and says of the answer which writes it shows, so that it leaves
//! when they are durable. Of a run of entries that were deleted or have expired the engine makes one
//! step, however long it is.

use std::ops::ControlFlow;
use std::time::Instant;

use memchr::memchr;

use crate::engine::Scan;
use crate::parser::{Encoder, Protocol};

use super::super::super::interrupt::{Fault, Interrupt};
use super::super::super::limits::WORK_SLICE;
use super::super::super::workers::{Answer, Work};

/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: u32 = 16;

/// What a command makes of the entries of a range.
pub(in super::super) trait Visitor: Send {
    /// Sees the next one: its key without the namespace, and its value with the type byte. `Break`
    /// ends the walk.
    ///
    /// # Errors
    /// What to answer instead.
    fn see(&mut self, key: &[u8], stored: &[u8]) -> Result<ControlFlow<()>, Fault>;

    /// The reply, encoded. `is_whole` if nothing of the range is left.
    fn finish(&mut self, is_whole: bool) -> Vec<u8>;
}

/// A walk that a worker does.
pub(in super::super) struct Walk<V> {
    scan: Scan,
    protocol: Protocol,
    visitor: V,
}

impl<V: Visitor + 'static> Walk<V> {
    /// The interrupt that has `visitor` see what `scan` finds.
    pub(in super::super) fn interrupt(scan: Scan, protocol: Protocol, visitor: V) -> Interrupt {
        let scan = scan.without_waiting();
        Interrupt::Work(Box::new(Walk { scan, protocol, visitor }))
    }
}

impl<V: Visitor> Walk<V> {
    /// Takes a step; whether the walk is over and nothing is left, or not over.
    fn step(&mut self) -> Result<ControlFlow<bool>, Fault> {
        if !self.scan.advance().map_err(|error| Fault::from(&error))? {
            return Ok(ControlFlow::Break(true));
        }
        // Behind the namespace byte.
        let key = self.scan.key().get(1..).unwrap_or_default();
        let seen = self.visitor.see(key, self.scan.value())?;
        Ok(seen.map_break(|()| false))
    }

    fn run_slice(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let begun = Instant::now();
        loop {
            for _ in 0..ENTRIES_PER_LOOK {
                if let ControlFlow::Break(is_whole) = self.step()? {
                    return Ok(Some(self.visitor.finish(is_whole)));
                }
            }
            if begun.elapsed() >= WORK_SLICE {
                return Ok(None);
            }
        }
    }
}

impl<V: Visitor> Work for Walk<V> {
    fn run(&mut self) -> Option<Answer> {
        let seq = self.scan.seq();
        match self.run_slice() {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(Answer { bytes, seq, is_error: false }),
            Err(fault) => {
                let bytes = encoded(self.protocol, |reply| reply.error(fault.line()));
                Some(Answer { bytes, seq, is_error: true })
            }
        }
    }
}

/// A reply by itself.
pub(in super::super) fn encoded(
    protocol: Protocol,
    write: impl FnOnce(&mut Encoder<'_>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(protocol, &mut bytes));
    bytes
}

/// The elements of a list whose length is known at its end only.
pub(in super::super) struct Elements {
    protocol: Protocol,
    bytes: Vec<u8>,
    count: usize,
    /// Whether text cannot carry one of them.
    is_broken: bool,
}

impl Elements {
    pub(in super::super) fn new(protocol: Protocol) -> Self {
        Elements { protocol, bytes: Vec::new(), count: 0, is_broken: false }
    }

    pub(in super::super) fn push(&mut self, element: &[u8]) {
        self.is_broken |= self.protocol == Protocol::Text && memchr(b'\n', element).is_some();
        Encoder::new(self.protocol, &mut self.bytes).bulk(element);
        self.count += 1;
    }

    /// Their size, in bytes.
    pub(in super::super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The reply that is a list of them.
    pub(in super::super) fn finish_array(&self) -> Vec<u8> {
        self.finish(|reply, count| {
            reply.array(count);
        })
    }

    /// The reply: `head` writes what comes before the elements, given their number.
    pub(in super::super) fn finish(&self, head: impl FnOnce(&mut Encoder<'_>, usize)) -> Vec<u8> {
        encoded(self.protocol, |reply| {
            head(reply, self.count);
            reply.raw(&self.bytes);
            if self.is_broken {
                // The encoder knows what to say instead.
                reply.bulk(b"\n");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(protocol: Protocol, elements: &[&str]) -> String {
        let mut list = Elements::new(protocol);
        for element in elements {
            list.push(element.as_bytes());
        }
        String::from_utf8(list.finish_array()).unwrap()
    }

    #[test]
    fn a_list_has_its_length_in_front() {
        assert_eq!(list(Protocol::Resp2, &["a", "bc"]), "*2\r\n$1\r\na\r\n$2\r\nbc\r\n");
        assert_eq!(list(Protocol::Resp3, &[]), "*0\r\n");
        assert_eq!(list(Protocol::Text, &["a", "bc"]), "LIST 2\na\nbc\n");
    }

    #[test]
    fn text_does_not_carry_a_line_break() {
        assert!(
            list(Protocol::Text, &["a", "b\nc", "d"]).starts_with("ERR the value holds a line")
        );
        assert_eq!(list(Protocol::Resp2, &["b\nc"]), "*1\r\n$3\r\nb\nc\r\n");
    }
}
