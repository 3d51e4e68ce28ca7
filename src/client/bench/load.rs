//! Drives all connections from one thread over one poll: with many of them it measures the server, not
//! threads that wait for a turn.

use std::io;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::lane::Lane;
use super::login;
use super::options::Protocol;
use super::test::Test;
use crate::client::connection::Endpoint;
use crate::client::error::{Error, Result};
use crate::client::state::Credentials;

const EVENTS_PER_POLL: usize = 1024;
/// Shared by all connections; what is left of a reply is kept by its own.
const READ_BYTES: usize = 64 << 10;

/// The open connections.
pub(crate) struct Load {
    poll: Poll,
    lanes: Vec<Lane>,
    buffer: Vec<u8>,
    timeout: Duration,
}

impl Load {
    /// Opens `connections` of them, each logged in.
    pub(crate) fn open(
        endpoint: &Endpoint,
        connections: u64,
        protocol: Protocol,
        credentials: &Credentials,
    ) -> Result<Self> {
        login::make_room(connections)?;
        let poll = Poll::new().map_err(Error::Broken)?;
        let mut lanes = Vec::new();
        for number in 0..connections as usize {
            let opened = endpoint.connect().and_then(|stream| {
                login::log_in(endpoint, &stream, protocol, credentials)?;
                open_lane(stream, &poll, Token(number))
            });
            lanes.push(opened.map_err(|error| {
                if login::is_out_of_descriptors(&error) {
                    login::too_many(connections)
                } else {
                    error
                }
            })?);
        }
        Ok(Self { poll, lanes, buffer: vec![0; READ_BYTES], timeout: endpoint.reply_timeout() })
    }

    /// Runs one test to its end and returns the time it took.
    pub(crate) fn run(&mut self, test: &mut Test) -> Result<Duration> {
        let started = Instant::now();
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        let mut busy = 0;
        for lane in &mut self.lanes {
            busy += usize::from(lane.start(test)?);
        }
        while busy > 0 {
            self.wait(&mut events)?;
            for event in &events {
                let Some(lane) = self.lanes.get_mut(event.token().0) else { continue };
                if event.is_writable() {
                    lane.flush()?;
                }
                let was_busy = !lane.is_idle();
                if event.is_readable() {
                    lane.receive(test, &mut self.buffer, event.is_read_closed())?;
                }
                if was_busy && lane.is_idle() && !lane.start(test)? {
                    busy -= 1;
                }
            }
        }
        Ok(started.elapsed())
    }

    fn wait(&mut self, events: &mut Events) -> Result<()> {
        loop {
            match self.poll.poll(events, Some(self.timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Broken(error)),
                Ok(()) if events.is_empty() => {
                    return Err(Error::TimedOut { seconds: self.timeout.as_secs_f64() });
                }
                Ok(()) => return Ok(()),
            }
        }
    }
}

fn open_lane(stream: std::net::TcpStream, poll: &Poll, token: Token) -> Result<Lane> {
    let prepare = || {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)
    };
    prepare().map_err(Error::Broken)?;
    let mut lane = Lane::new(TcpStream::from_std(stream));
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(lane.stream(), token, interest).map_err(Error::Broken)?;
    Ok(lane)
}
