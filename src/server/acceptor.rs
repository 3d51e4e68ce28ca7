//! Takes new clients from the listeners, a bounded number per tick, and survives a shortage of
//! descriptors: a spare one is closed to accept and drop the client, so that the backlog does not
//! keep the poll spinning and the client learns at once that there is no room.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};

use super::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TICK};
use super::token::Source;
use super::warnings::{Warning, Warnings};

/// The system's numbers for "too many open files", of the process and of the system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

struct Listener {
    socket: TcpListener,
    /// Whether its clients speak RESP from the first byte on, inline commands too.
    is_redis: bool,
    /// Clients may be waiting; stays until accept has shown that none is.
    ready: bool,
}

/// A new client.
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Whether it speaks RESP from the first byte on.
    pub(crate) is_redis: bool,
}

impl Accepted {
    /// Tells it that there is no room for it, at most so many being served, and closes.
    pub(crate) fn turn_away(mut self, most: usize) {
        let line = if self.is_redis {
            "-ERR max number of clients reached\r\n".to_owned()
        } else {
            format!("ERR too many connections: at most {most} are allowed, try later\n")
        };
        // It takes this line or it does not: nobody waits for such a client.
        let _ = self.socket.write_all(line.as_bytes());
    }
}

/// See the module.
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    spare: Option<File>,
    budget: usize,
    /// No accepting before this time, in milliseconds of the reactor's clock.
    paused_until_ms: Option<u64>,
}

impl Acceptor {
    /// Watches the listeners: those of clients of either protocol, then those of Redis clients only.
    pub(crate) fn new(
        sockets: Vec<TcpListener>,
        redis_sockets: Vec<TcpListener>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let both = sockets.into_iter().map(|socket| (socket, false));
        let redis = redis_sockets.into_iter().map(|socket| (socket, true));
        for (index, (mut socket, is_redis)) in both.chain(redis).enumerate() {
            registry.register(&mut socket, Source::Listener(index).token(), Interest::READABLE)?;
            // Clients may have come before it was watched.
            listeners.push(Listener { socket, is_redis, ready: true });
        }
        let spare = open_spare();
        Ok(Acceptor { listeners, spare, budget: 0, paused_until_ms: None })
    }

    /// The addresses, with the real ports.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(|listener| listener.socket.local_addr()).collect()
    }

    /// The listener with this number has clients waiting.
    pub(crate) fn set_ready(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.ready = true;
        }
    }

    /// Whether there is something to accept now.
    pub(crate) fn has_backlog(&self) -> bool {
        self.paused_until_ms.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// When to accept again, if it pauses.
    pub(crate) fn resume_ms(&self) -> Option<u64> {
        self.paused_until_ms
    }

    /// Begins a tick with its budget of accepts.
    pub(crate) fn begin_tick(&mut self, now_ms: u64) {
        self.budget = ACCEPTS_PER_TICK;
        self.paused_until_ms = self.paused_until_ms.filter(|&until_ms| now_ms < until_ms);
    }

    /// The next client within the budget.
    pub(crate) fn next(&mut self, now_ms: u64, warnings: &mut Warnings) -> Option<Accepted> {
        while self.budget > 0 && self.has_backlog() {
            self.budget -= 1;
            let listener = self.listeners.iter_mut().find(|listener| listener.ready)?;
            match listener.socket.accept() {
                Ok((socket, peer)) => {
                    let is_redis = listener.is_redis;
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%error, "a client was gone before it was served");
                        continue;
                    }
                    return Some(Accepted { socket, peer, is_redis });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
                    if warnings.admit(Warning::OutOfDescriptors, now_ms) {
                        tracing::warn!(%error, "out of file descriptors: new clients are turned away");
                    }
                    self.shed_one(now_ms);
                }
                // The client gave up while it waited: the next one may do better.
                Err(error) if is_of_the_client(&error) => {
                    tracing::debug!(%error, "a client could not be accepted");
                }
                // The system is short of something, and would be so again at once.
                Err(error) => {
                    if warnings.admit(Warning::AcceptFailed, now_ms) {
                        tracing::warn!(%error, "cannot accept clients for the moment");
                    }
                    self.paused_until_ms = Some(now_ms + ACCEPT_PAUSE.as_millis() as u64);
                }
            }
        }
        None
    }

    /// Out of descriptors: gives up the spare one to accept a client, and closes it.
    fn shed_one(&mut self, now_ms: u64) {
        if self.spare.take().is_some()
            && let Some(listener) = self.listeners.iter_mut().find(|listener| listener.ready)
        {
            match listener.socket.accept() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(_) => self.paused_until_ms = Some(now_ms + ACCEPT_PAUSE.as_millis() as u64),
            }
        } else {
            self.paused_until_ms = Some(now_ms + ACCEPT_PAUSE.as_millis() as u64);
        }
        self.spare = open_spare();
    }

    /// Stops listening: further clients are refused by the system.
    pub(crate) fn close(&mut self, registry: &Registry) {
        for mut listener in self.listeners.drain(..) {
            // It is closed next in any case.
            let _ = registry.deregister(&mut listener.socket);
        }
        self.paused_until_ms = None;
    }
}

/// Whether a failure to accept is due to the client that waited first, and to nothing else.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    )
}

fn open_spare() -> Option<File> {
    File::open("/dev/null").ok()
}
