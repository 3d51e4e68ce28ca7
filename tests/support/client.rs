//! A client that expects exact bytes. Shared by the test binaries that talk to a server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits to be sure that something does not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);

/// A client that expects exact bytes.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket }
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Expects exactly these bytes next.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let expected = bytes.as_ref();
        let mut got = vec![0; expected.len()];
        let mut filled = 0;
        while filled < got.len() {
            match self.socket.read(&mut got[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}", shown(&got[..filled])),
            }
        }
        assert!(
            got[..filled] == *expected,
            "expected {:?}, got {:?}",
            shown(expected),
            shown(&got[..filled])
        );
    }

    /// Sends a line and expects one.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &str, reply: &str) {
        self.send(format!("{request}\n"));
        self.expect(format!("{reply}\n"));
    }

    /// One line, without its LF.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.socket.read_exact(&mut byte).unwrap();
            if byte[0] == b'\n' {
                return String::from_utf8(line).unwrap();
            }
            line.push(byte[0]);
        }
    }

    /// Sends a request whose reply is a text, and returns the text.
    pub(crate) fn text(&mut self, request: &str) -> String {
        self.send(format!("{request}\n"));
        let head = self.line();
        let count: usize = head.strip_prefix("TEXT ").unwrap().parse().unwrap();
        let mut text = vec![0; count];
        self.socket.read_exact(&mut text).unwrap();
        self.expect("\n");
        String::from_utf8(text).unwrap()
    }

    /// The number behind `name:` in INFO.
    pub(crate) fn figure(&mut self, name: &str) -> u64 {
        let text = self.text("INFO");
        let prefix = format!("{name}:");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().parse().unwrap()
    }

    /// Expects nothing for a while.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        self.socket.set_read_timeout(Some(SILENCE)).unwrap();
        let mut byte = [0];
        let got = self.socket.read(&mut byte);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let silent = matches!(&got, Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(silent, "{got:?} {:?}", shown(&byte));
    }

    /// Expects that the server closes, in order or not, without another byte.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let mut byte = [0];
        match self.socket.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("expected the end, got {other:?} {:?}", shown(&byte)),
        }
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

/// Bytes as a test's reader wants to see them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(300)];
    format!("{}{}", cut.escape_ascii(), if cut.len() < bytes.len() { "..." } else { "" })
}
