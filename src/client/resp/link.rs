//! One connection that speaks RESP: bytes out, values in.
//!
//! After any error the link must be dropped: what is on the wire no longer matches what was asked. It
//! never reconnects and never sends anything twice; `session` decides that. Unlike the text protocol's
//! connection it waits for ever unless told otherwise, for a command may block on purpose.

use std::io::{self, Read, Write};
use std::time::Instant;

use super::decode::Decoder;
use super::encode::encode;
use super::value::Value;
use crate::client::connection::Endpoint;
use crate::client::error::{Error, Result};
use crate::client::interrupt::{ATTENTION, Interrupt};
use crate::client::wire::{Stream, is_timeout};

/// One read from the socket.
const BUFFER_BYTES: usize = 64 << 10;

/// A blocking connection whose waiting ends with Ctrl-C.
#[derive(Debug)]
pub(crate) struct Link {
    endpoint: Endpoint,
    interrupt: Interrupt,
    stream: Stream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Link {
    pub(crate) fn open(endpoint: &Endpoint, interrupt: &Interrupt) -> Result<Self> {
        let stream = endpoint.stream()?;
        Self::over(endpoint, interrupt, stream).map_err(Error::Broken)
    }

    fn over(endpoint: &Endpoint, interrupt: &Interrupt, stream: Stream) -> io::Result<Self> {
        stream.set_nodelay()?;
        stream.set_write_timeout(endpoint.timeout)?;
        stream.set_read_timeout(Some(ATTENTION))?;
        Ok(Self {
            endpoint: endpoint.clone(),
            interrupt: interrupt.clone(),
            stream,
            decoder: Decoder::default(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Sends commands, all in one write.
    pub(crate) fn send(&mut self, commands: &[Vec<Vec<u8>>]) -> Result<()> {
        let mut out = Vec::new();
        for words in commands {
            encode(&mut out, words);
        }
        self.stream.write_all(&out).map_err(|error| self.explain(error))
    }

    /// Waits for the next value, pushed or not.
    pub(crate) fn receive(&mut self) -> Result<Value> {
        let start = Instant::now();
        loop {
            // First, so that a flood of values can be interrupted too.
            if self.interrupt.is_set() {
                return Err(Error::Interrupted);
            }
            if let Some(value) = self.poll()? {
                return Ok(value);
            }
            if self.endpoint.timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                return Err(self.endpoint.timed_out());
            }
        }
    }

    /// The next value, or nothing when none is complete after a short wait.
    pub(crate) fn poll(&mut self) -> Result<Option<Value>> {
        let value = self.decoder.next()?;
        if value.is_some() {
            return Ok(value);
        }
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err(Error::Closed),
            Ok(count) => {
                self.decoder.feed(&self.buffer[..count]);
                self.decoder.next()
            }
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {
                Ok(None)
            }
            Err(error) => Err(Error::Broken(error)),
        }
    }

    /// A second handle for writing, so that one thread can send while another receives.
    pub(crate) fn writer(&self) -> Result<Stream> {
        self.stream.try_clone().map_err(Error::Broken)
    }

    /// Whether the connection can still be used, as far as this side can know. Unread bytes are no
    /// hindrance here: a server may push.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.stream.pending(), Ok(Some(0)) | Err(_))
    }

    fn explain(&self, error: io::Error) -> Error {
        if is_timeout(&error) { self.endpoint.timed_out() } else { Error::Broken(error) }
    }
}
