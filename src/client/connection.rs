//! One blocking connection that speaks the text protocol.
//!
//! Replies come in the order of the requests, so a queue of expectations is all the state there is.
//! After any error but [`Error::Request`] the connection must be dropped: what is on the wire no longer
//! matches that queue. It never reconnects and never sends anything twice; `session` decides that.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Error, Result};
use super::interrupt::Interrupt;
use super::reply::{Reply, ReplyReader};
use super::request::{self, Expectation, Shape};
use super::wire::{Patient, Stream, is_interrupt, is_timeout};

/// Where a server is looked for unless told otherwise.
pub(crate) const DEFAULT_HOST: &str = "127.0.0.1";
/// The port of Chronos.
pub(crate) const DEFAULT_PORT: u16 = 8080;

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// `send` writes by itself once this much has gathered.
const OUTPUT_BYTES: usize = 64 << 10;

/// Where the server is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// A Unix socket, in place of host and port.
    pub socket: Option<PathBuf>,
    /// How long to wait for the connection, and for each sign of life of an awaited reply. `None`:
    /// 5 s and 30 s, and without limit for commands that may work for minutes (COMPACT, SHUTDOWN).
    pub timeout: Option<Duration>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { host: DEFAULT_HOST.to_owned(), port: DEFAULT_PORT, socket: None, timeout: None }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(socket) = &self.socket {
            socket.display().fmt(out)
        } else if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    /// Opens a bare connection.
    pub(crate) fn stream(&self) -> Result<Stream> {
        let Some(socket) = &self.socket else { return self.connect().map(Stream::Tcp) };
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Stream::Unix(stream)),
            Err(source) => Err(Error::Socket { socket: socket.clone(), source }),
        }
    }

    /// Opens a bare TCP connection: each address of the host is tried in turn.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let unknown = |source| Error::Host { host: self.host.clone(), source };
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(unknown)?;
        let mut failure = unknown(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.connect_timeout()) {
                Ok(stream) => return Ok(stream),
                Err(source) => failure = self.unreachable(address, source),
            }
        }
        Err(failure)
    }

    fn unreachable(&self, address: SocketAddr, source: io::Error) -> Error {
        let endpoint = self.to_string();
        if source.kind() == io::ErrorKind::ConnectionRefused {
            Error::NothingListens { endpoint }
        } else {
            Error::Connect { endpoint, address, source }
        }
    }

    fn connect_timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT)
    }

    /// How long an ordinary reply may take.
    pub(crate) fn reply_timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_REPLY_TIMEOUT)
    }

    fn reply_timeout_of(&self, slow: bool) -> Option<Duration> {
        if slow { self.timeout } else { Some(self.reply_timeout()) }
    }

    /// Gives a time-out of the socket its name.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Broken(source) if is_timeout(&source) => self.timed_out(),
            Error::Broken(source) if is_interrupt(&source) => Error::Interrupted,
            other => other,
        }
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::TimedOut { seconds: self.reply_timeout().as_secs_f64() }
    }
}

#[cfg(test)]
impl Endpoint {
    /// A port of this machine, for tests.
    pub(crate) fn local(port: u16) -> Self {
        Self { port, ..Self::default() }
    }
}

/// A blocking connection.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    stream: Stream,
    replies: ReplyReader<Patient>,
    output: Vec<u8>,
    awaited: VecDeque<Expectation>,
}

impl Connection {
    /// Connects; a server that does not answer in time is an error.
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        Self::open_interruptibly(endpoint, &Interrupt::default())
    }

    /// The same; whatever is waited for later, Ctrl-C ends it.
    pub(crate) fn open_interruptibly(endpoint: &Endpoint, interrupt: &Interrupt) -> Result<Self> {
        let stream = endpoint.stream()?;
        Self::over(endpoint, interrupt, stream).map_err(Error::Broken)
    }

    fn over(endpoint: &Endpoint, interrupt: &Interrupt, stream: Stream) -> io::Result<Self> {
        stream.set_nodelay()?;
        stream.set_write_timeout(Some(endpoint.reply_timeout()))?;
        Ok(Self {
            endpoint: endpoint.clone(),
            replies: ReplyReader::new(Patient::new(stream.try_clone()?, interrupt)?),
            stream,
            output: Vec::new(),
            awaited: VecDeque::new(),
        })
    }

    /// Sends one request and waits for its reply. `line` has no line break at its end.
    pub fn request(&mut self, line: &[u8]) -> Result<Reply> {
        self.send(line)?;
        self.receive()
    }

    /// Sends one request, or keeps it for the next [`Self::flush`] or [`Self::receive`], without
    /// waiting for its reply.
    ///
    /// A pipeline must be bounded by its user: a server that is owed the reading of its replies stops
    /// reading, and then this blocks until the time-out.
    pub fn send(&mut self, line: &[u8]) -> Result<()> {
        request::check(line)?;
        if request::is_blank(line) {
            return Err(Error::Request("an empty command has no reply"));
        }
        self.output.extend_from_slice(line);
        self.output.push(b'\n');
        self.expect(request::expectation_of(line));
        if self.output.len() >= OUTPUT_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what [`Self::send`] kept.
    pub fn flush(&mut self) -> Result<()> {
        let written = self.stream.write_all(&self.output);
        self.output.clear();
        written.map_err(|error| self.endpoint.explain(Error::Broken(error)))
    }

    /// Waits for the reply to the oldest request that has none yet.
    pub fn receive(&mut self) -> Result<Reply> {
        let Some(next) = self.awaited.pop_front() else {
            return Err(Error::Request("no request awaits a reply"));
        };
        if !self.output.is_empty() {
            self.flush()?;
        }
        self.replies.input().set_timeout(self.endpoint.reply_timeout_of(next.slow));
        self.replies.read(next.shape).map_err(|error| self.endpoint.explain(error))
    }

    /// Waits without limit for what the server sends by itself: a message.
    pub(crate) fn receive_message(&mut self) -> Result<Reply> {
        self.replies.input().set_timeout(None);
        self.replies.read(Shape::Announced).map_err(|error| self.endpoint.explain(error))
    }

    /// Sends one request that gets no reply.
    pub(crate) fn tell(&mut self, line: &[u8]) -> Result<()> {
        self.send(line)?;
        self.awaited.pop_back();
        self.flush()
    }

    /// Notes a request that was sent through [`Self::writer`].
    pub(crate) fn expect(&mut self, expectation: Expectation) {
        self.awaited.push_back(expectation);
    }

    /// A second handle for writing, so that one thread can send while another receives.
    pub(crate) fn writer(&self) -> Result<Stream> {
        self.stream.try_clone().map_err(Error::Broken)
    }

    /// Whether [`Self::receive`] would have to wait for bytes.
    pub(crate) fn is_drained(&self) -> bool {
        self.replies.is_drained()
    }

    /// Whether the connection can still be used, as far as this side can know: the server has not
    /// closed it, nor sent what nobody asked for.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_drained() && matches!(self.stream.pending(), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::thread;

    use super::super::fake;
    use super::*;

    fn open(port: u16) -> Connection {
        Connection::open(&Endpoint::local(port)).unwrap()
    }

    fn line(text: &str) -> Reply {
        Reply::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn requests_are_answered_whatever_the_values_look_like() {
        let mut connection = open(fake::store());
        for value in ["LIST 3", "TEXT 5", "{\"name\": \"Venom\"}", "  two  spaces ", ""] {
            assert_eq!(
                connection.request(format!("SET k {value}").as_bytes()).unwrap(),
                line("OK")
            );
            assert_eq!(connection.request(b"get k").unwrap(), line(value));
        }
        assert!(matches!(connection.request(b"INFO").unwrap(), Reply::Text(_)));
        assert!(connection.request(b"NONSENSE").unwrap().is_error());
        assert_eq!(connection.request(b"PING").unwrap(), line("PONG"));
    }

    #[test]
    fn pipelined_replies_come_in_order() {
        let mut connection = open(fake::store());
        for number in 0..1000 {
            connection.send(format!("SET k{number} v{number}").as_bytes()).unwrap();
            connection.send(format!("GET k{number}").as_bytes()).unwrap();
        }
        for number in 0..1000 {
            assert_eq!(connection.receive().unwrap(), line("OK"));
            assert_eq!(connection.receive().unwrap(), line(&format!("v{number}")));
        }
        assert!(connection.is_drained());
        assert!(matches!(connection.receive(), Err(Error::Request(_))));
    }

    #[test]
    fn what_has_no_reply_is_not_sent() {
        let mut connection = open(fake::store());
        for refused in [&b""[..], b"   ", b"\r", b"SET k a\nb"] {
            assert!(matches!(connection.request(refused), Err(Error::Request(_))), "{refused:?}");
        }
        assert_eq!(connection.request(b"PING").unwrap(), line("PONG"));
    }

    #[test]
    fn silence_is_a_time_out() {
        let port = fake::serve(|_, stream| {
            thread::sleep(Duration::from_secs(5));
            drop(stream);
        });
        let timeout = Some(Duration::from_millis(50));
        let mut connection =
            Connection::open(&Endpoint { timeout, ..Endpoint::local(port) }).unwrap();
        assert!(matches!(connection.request(b"PING"), Err(Error::TimedOut { .. })));
    }

    #[test]
    fn a_closed_connection_is_noticed_before_and_after_sending() {
        let port = fake::serve(|_, stream| drop(stream.shutdown(Shutdown::Both)));
        let mut connection = open(port);
        thread::sleep(Duration::from_millis(50));
        assert!(!connection.is_alive());
        assert!(connection.request(b"PING").unwrap_err().is_disconnect());
        assert!(open(fake::store()).is_alive());
    }

    #[test]
    fn a_port_where_nothing_listens_says_what_to_do() {
        let error = Connection::open(&Endpoint::local(fake::UNUSED_PORT)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("start the server with 'cargo run --release'"), "{text}");
        assert!(error.is_unsent());
    }

    #[test]
    fn an_ipv6_address_is_shown_in_brackets() {
        let endpoint = Endpoint { host: "::1".to_owned(), ..Endpoint::default() };
        assert_eq!(endpoint.to_string(), "[::1]:8080");
    }
}
