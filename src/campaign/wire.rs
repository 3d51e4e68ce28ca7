//! The wire as the campaign's clients use it: in both protocols, byte by byte, no more than they need.
//!
//! A server that is killed may be gone at any byte. That is no failure of it; a reply that is wrong
//! as far as it came is.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a reply a message shows, in bytes.
const SHOWN_BYTES: usize = 160;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Text,
    Resp,
}

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The server is gone.
    Gone,
    /// It is not what it has to be.
    Wrong(String),
}

impl Broken {
    /// What to say where the server must be there.
    pub(crate) fn describe(self) -> String {
        match self {
            Broken::Gone => "the server is gone".to_owned(),
            Broken::Wrong(what) => what,
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                Broken::Gone
            }
            _ => Broken::Wrong(format!("no reply: {error}")),
        }
    }
}

/// A reply of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Nothing is there.
    Null,
    /// A value, a status or, in text, anything else that is one line.
    Bytes(Vec<u8>),
    /// A number, in RESP.
    Number(i64),
    /// A refusal.
    Error(String),
}

impl Protocol {
    /// Appends a request; no word may hold a space or a line break.
    pub(crate) fn request(self, out: &mut Vec<u8>, words: &[&[u8]]) {
        match self {
            Protocol::Text => {
                out.extend_from_slice(&words.join(&b' '));
                out.push(b'\n');
            }
            Protocol::Resp => {
                out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
                for word in words {
                    push_bulk(out, word);
                }
            }
        }
    }

    /// Appends the reply `OK`, `QUEUED` or another word.
    pub(crate) fn word(self, out: &mut Vec<u8>, word: &str) {
        match self {
            Protocol::Text => out.extend_from_slice(format!("{word}\n").as_bytes()),
            Protocol::Resp => out.extend_from_slice(format!("+{word}\r\n").as_bytes()),
        }
    }

    /// Appends the reply that is a number.
    pub(crate) fn number(self, out: &mut Vec<u8>, number: i64) {
        match self {
            Protocol::Text => out.extend_from_slice(format!("{number}\n").as_bytes()),
            Protocol::Resp => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        }
    }

    /// Appends the reply that is a value, or that there is none.
    pub(crate) fn value(self, out: &mut Vec<u8>, value: Option<&[u8]>) {
        match (self, value) {
            (Protocol::Text, value) => {
                out.extend_from_slice(value.unwrap_or(b"NULL"));
                out.push(b'\n');
            }
            (Protocol::Resp, Some(value)) => push_bulk(out, value),
            (Protocol::Resp, None) => out.extend_from_slice(b"$-1\r\n"),
        }
    }

    /// Appends what announces a list.
    pub(crate) fn list(self, out: &mut Vec<u8>, count: usize) {
        match self {
            Protocol::Text => out.extend_from_slice(format!("LIST {count}\n").as_bytes()),
            Protocol::Resp => out.extend_from_slice(format!("*{count}\r\n").as_bytes()),
        }
    }
}

fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    input: BufReader<TcpStream>,
    pub(crate) protocol: Protocol,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr, protocol: Protocol) -> Result<Self, String> {
        let connect = || -> io::Result<TcpStream> {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = connect().map_err(|error| format!("cannot connect: {error}"))?;
        Ok(Wire { input: BufReader::with_capacity(64 << 10, socket), protocol })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        Ok(self.input.get_mut().write_all(bytes)?)
    }

    /// Reads exactly these bytes.
    pub(crate) fn expect(&mut self, expected: &[u8]) -> Result<(), Broken> {
        let mut left = expected;
        while !left.is_empty() {
            let got = self.input.fill_buf()?;
            let got = &got[..got.len().min(left.len())];
            if got.is_empty() {
                return Err(Broken::Gone);
            }
            if !left.starts_with(got) {
                let (got, expected) = (show(got), show(left));
                return Err(Broken::Wrong(format!("the reply is {got}, not {expected}")));
            }
            left = &left[got.len()..];
            let count = got.len();
            self.input.consume(count);
        }
        Ok(())
    }

    /// Reads a reply of one element.
    pub(crate) fn reply(&mut self) -> Result<Reply, Broken> {
        let line = self.line()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if self.protocol == Protocol::Text {
            return Ok(match line.as_slice() {
                b"NULL" => Reply::Null,
                error if error.starts_with(b"ERR ") => Reply::Error(text(error)),
                _ => Reply::Bytes(line),
            });
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let number = || text(line.get(1..).unwrap_or_default()).parse::<i64>();
        match (line.first(), number()) {
            (Some(b'+'), _) => Ok(Reply::Bytes(line[1..].to_vec())),
            (Some(b'-'), _) => Ok(Reply::Error(text(&line[1..]))),
            (Some(b':'), Ok(number)) => Ok(Reply::Number(number)),
            (Some(b'$'), Ok(-1)) => Ok(Reply::Null),
            (Some(b'$'), Ok(length @ 0..)) => self.bulk(length.cast_unsigned()),
            _ => Err(Broken::Wrong(format!("the reply is {}", show(line)))),
        }
    }

    /// Reads a line without its LF.
    fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        line.pop_if(|byte| *byte == b'\n').ok_or(Broken::Gone)?;
        Ok(line)
    }

    fn bulk(&mut self, length: u64) -> Result<Reply, Broken> {
        let mut bytes = Vec::new();
        let count = self.input.by_ref().take(length).read_to_end(&mut bytes)?;
        if (count as u64) < length {
            return Err(Broken::Gone);
        }
        self.expect(b"\r\n")?;
        Ok(Reply::Bytes(bytes))
    }
}

/// Bytes as a reader of messages wants to see them.
pub(crate) fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let rest = bytes.len() - cut.len();
    let more = if rest > 0 { format!(" and {rest} bytes") } else { String::new() };
    format!("\"{}\"{more}", cut.escape_ascii())
}
