//! RESP on a raw socket: requests out, raw bytes of replies in.
//!
//! Nothing of a reply is decoded away: what the two servers sent is compared byte for byte. The
//! only thing that is parsed is where a reply ends and what its elements are.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long to wait for bytes that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The words of a command.
pub(crate) type Args = Vec<Vec<u8>>;

/// A command of words.
pub(crate) fn args(words: &[&str]) -> Args {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A command as it is sent: an array of bulk strings.
pub(crate) fn request(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for word in args {
        bytes.extend_from_slice(&bulk(word));
    }
    bytes
}

/// A bulk string.
pub(crate) fn bulk(word: &[u8]) -> Vec<u8> {
    let mut bytes = format!("${}\r\n", word.len()).into_bytes();
    bytes.extend_from_slice(word);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The length of the reply at the start of `bytes`, `None` while it is not all there.
///
/// A byte that starts no reply ends the test: whatever follows cannot be understood.
pub(crate) fn reply_bytes(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || {
        let digits = std::str::from_utf8(&bytes[1..line - 2]).ok();
        digits.and_then(|digits| digits.parse::<i64>().ok()).unwrap_or_else(|| {
            panic!("a reply has a bad length: {}", readable(&bytes[..line]));
        })
    };
    match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Some(line),
        b'$' | b'=' | b'!' => {
            let length = usize::try_from(number()).map_or(line, |length| line + length + 2);
            (bytes.len() >= length).then_some(length)
        }
        b'*' | b'~' | b'>' | b'%' => {
            let each = if bytes[0] == b'%' { 2 } else { 1 };
            let mut end = line;
            for _ in 0..number().max(0) * each {
                end += reply_bytes(&bytes[end..])?;
            }
            Some(end)
        }
        _ => panic!("no reply starts like this: {}", readable(bytes)),
    }
}

/// The elements of an aggregate; `None` of anything else.
pub(crate) fn elements(reply: &[u8]) -> Option<Vec<&[u8]>> {
    if !matches!(reply.first(), Some(b'*' | b'~' | b'>' | b'%')) {
        return None;
    }
    let mut rest = &reply[reply.windows(2).position(|pair| pair == b"\r\n")? + 2..];
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (element, behind) = rest.split_at(reply_bytes(rest)?);
        elements.push(element);
        rest = behind;
    }
    Some(elements)
}

/// The bytes of a bulk string that is not null.
pub(crate) fn text(reply: &[u8]) -> Option<&[u8]> {
    let line = reply.windows(2).position(|pair| pair == b"\r\n")? + 2;
    (reply[0] == b'$' && reply[1] != b'-').then(|| &reply[line..reply.len() - 2])
}

/// Whether a frame is a message that no command asked for, or a (un)subscription: RESP3 marks
/// them, RESP2 has them as arrays whose first element says so.
pub(crate) fn is_message(frame: &[u8]) -> bool {
    const KINDS: [(&[u8], usize); 6] = [
        (b"message", 3),
        (b"pmessage", 4),
        (b"subscribe", 3),
        (b"psubscribe", 3),
        (b"unsubscribe", 3),
        (b"punsubscribe", 3),
    ];
    let parts = elements(frame).unwrap_or_default();
    let kind = parts.first().and_then(|first| text(first)).unwrap_or_default();
    frame[0] == b'>' || frame[0] == b'*' && KINDS.contains(&(kind, parts.len()))
}

/// Bytes for people.
pub(crate) fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 600;
    let mut shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    if bytes.len() > SHOWN {
        write!(shown, "… ({} bytes)", bytes.len()).unwrap();
    }
    shown
}

/// What was read next.
pub(crate) enum Frame {
    Reply(Vec<u8>),
    /// The server closed the connection.
    Closed,
    /// The server did not answer in time.
    Silence,
}

/// A raw connection.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Wire { stream, unread: Vec::new() }
    }

    /// Sends bytes. A server that has closed the connection is noticed by the next read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads exactly one reply or message.
    pub(crate) fn read(&mut self) -> Frame {
        loop {
            if let Some(length) = reply_bytes(&self.unread) {
                return Frame::Reply(self.unread.drain(..length).collect());
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Frame::Closed,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Frame::Silence,
                Err(_) => return Frame::Closed,
            }
        }
    }

    /// Sends a command and reads its reply, which must come.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Vec<u8> {
        self.ask_args(&args(words))
    }

    /// [`ask`](Self::ask) with any bytes.
    pub(crate) fn ask_args(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        self.send(&request(args));
        loop {
            match self.read() {
                Frame::Reply(frame) if is_message(&frame) => {}
                Frame::Reply(reply) => return reply,
                Frame::Closed => return b"(closed)".to_vec(),
                Frame::Silence => return b"(no reply)".to_vec(),
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
