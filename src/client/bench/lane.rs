//! One connection of the load tester: a closed loop over a non-blocking socket.
//!
//! A batch of requests goes out, all their replies come in, then the next batch goes out. The socket is
//! registered edge-triggered: reading ends at a short read only because a new edge must follow whatever
//! comes later, and never does when the other side is known to have closed.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use super::test::Test;
use super::wire;
use crate::client::error::{Error, Result};

/// One connection and what is under way on it.
#[derive(Debug)]
pub(crate) struct Lane {
    stream: TcpStream,
    /// The batch as it goes out; `written` bytes of it are gone.
    output: Vec<u8>,
    written: usize,
    /// An incomplete reply.
    input: Vec<u8>,
    /// The keys whose replies are awaited, oldest first.
    asked: VecDeque<u64>,
    sent: Instant,
}

impl Lane {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            asked: VecDeque::new(),
            sent: Instant::now(),
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Sends the next batch; false when the test has no more to ask.
    pub(crate) fn start(&mut self, test: &mut Test) -> Result<bool> {
        self.sent = Instant::now();
        self.output.clear();
        self.written = 0;
        for _ in 0..test.next_batch(self.sent) {
            let key = test.encode(&mut self.output);
            self.asked.push_back(key);
        }
        self.flush()?;
        Ok(!self.is_idle())
    }

    /// Writes what the socket takes; the rest goes out when it becomes writable.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Broken(error)),
            }
        }
        Ok(())
    }

    /// Reads and judges the replies that are there. `closed`: the other side will send no more.
    pub(crate) fn receive(
        &mut self,
        test: &mut Test,
        buffer: &mut [u8],
        closed: bool,
    ) -> Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Broken(error)),
            };
            self.take(test, buffer.get(..count).unwrap_or_default())?;
            let drained = count < buffer.len() && !closed;
            if drained || self.is_idle() {
                return Ok(());
            }
        }
    }

    /// Judges the replies in `fresh`, the bytes that follow `self.input`.
    fn take(&mut self, test: &mut Test, fresh: &[u8]) -> Result<()> {
        let now = Instant::now();
        let held = !self.input.is_empty();
        if held {
            self.input.extend_from_slice(fresh);
        }
        let bytes = if held { self.input.as_slice() } else { fresh };
        let (mut used, mut answered) = (0, 0);
        while let Some(&key) = self.asked.front() {
            let rest = bytes.get(used..).unwrap_or_default();
            let Some((answer, length)) = wire::decode(rest, test.protocol(), test.operation())?
            else {
                break;
            };
            test.judge(key, answer)?;
            self.asked.pop_front();
            used += length;
            answered += 1;
        }
        test.record(now.duration_since(self.sent), answered);
        if self.asked.is_empty() && used < bytes.len() {
            return Err(Error::Malformed("more replies than requests".to_owned()));
        }
        if held {
            self.input.drain(..used);
        } else {
            self.input.extend_from_slice(fresh.get(used..).unwrap_or_default());
        }
        Ok(())
    }
}
