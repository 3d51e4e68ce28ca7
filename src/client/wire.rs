//! The stream under a connection: TCP or a Unix socket, read with patience that Ctrl-C can end.
//!
//! A blocking read cannot be told to stop, so [`Patient`] waits in short turns and asks between them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::interrupt::{ATTENTION, Interrupt};

/// A connected socket of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Sends small requests at once. A Unix socket always does.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
            Self::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }

    /// A second handle on the same socket.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    /// Looks without waiting whether something is there to be read: `None` where the other side is
    /// silent, 0 where it closed the connection.
    pub(crate) fn pending(&self) -> io::Result<Option<usize>> {
        match recv(self, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, count)) => Ok(Some(count)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a socket's time-out passed.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// What Ctrl-C leaves in an error.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Stopped;

/// Whether Ctrl-C ended a read of [`Patient`].
pub(crate) fn is_interrupt(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>)
}

/// Reads a stream until the time-out passes without a byte, or Ctrl-C is pressed.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: Stream,
    interrupt: Interrupt,
    /// `None`: for ever.
    timeout: Option<Duration>,
}

impl Patient {
    /// Sets the stream's time-out for reading, which belongs to this reader from now on.
    pub(crate) fn new(stream: Stream, interrupt: &Interrupt) -> io::Result<Self> {
        stream.set_read_timeout(Some(ATTENTION))?;
        Ok(Self { stream, interrupt: interrupt.clone(), timeout: None })
    }

    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        loop {
            if self.interrupt.is_set() {
                return Err(io::Error::other(Stopped));
            }
            match self.stream.read(buffer) {
                Err(error) if is_timeout(&error) => {
                    if self.timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
