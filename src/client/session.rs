//! A connection that comes back: what a person at a prompt expects when the server restarts.
//!
//! Invariant: a command that may change data is written to at most one connection. When that breaks
//! before the reply, the outcome is unknown and the person is told so; sending it again could apply it
//! twice, or over someone else's later write. Commands that only read are asked once more.

use super::connection::{Connection, Endpoint};
use super::error::{Error, Result};
use super::reply::Reply;
use super::request;

/// Runs commands one at a time, and reconnects between them when it must.
#[derive(Debug)]
pub(crate) struct Session {
    endpoint: Endpoint,
    connection: Option<Connection>,
}

impl Session {
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self> {
        let connection = Some(Connection::open(endpoint)?);
        Ok(Self { endpoint: endpoint.clone(), connection })
    }

    /// Runs one command. `None`: the server closed the connection, as that command asks for, and sent
    /// no reply. What the person should know besides goes to `notify`.
    pub(crate) fn run(
        &mut self,
        line: &[u8],
        notify: &mut dyn FnMut(String),
    ) -> Result<Option<Reply>> {
        request::check(line)?;
        match self.attempt(line, notify) {
            Err(error) if error.is_disconnect() && request::is_last(line) => Ok(None),
            Err(error) if error.is_disconnect() && request::is_repeatable(line) => {
                notify(format!("{error}; asking again"));
                self.attempt(line, notify).map(Some)
            }
            Err(error) if error.is_unsent() || request::is_repeatable(line) => Err(error),
            Err(error) => Err(Error::OutcomeUnknown { cause: Box::new(error) }),
            Ok(reply) => Ok(Some(reply)),
        }
    }

    /// One try. The connection is kept only while both sides agree on what comes next.
    fn attempt(&mut self, line: &[u8], notify: &mut dyn FnMut(String)) -> Result<Reply> {
        let mut connection = self.take(notify)?;
        let result = connection.request(line);
        let agreed = matches!(result, Ok(_) | Err(Error::Request(_)));
        let closing = request::is_last(line) && result.as_ref().is_ok_and(|r| !r.is_error());
        if agreed && !closing {
            self.connection = Some(connection);
        }
        result
    }

    /// The live connection, or a new one.
    fn take(&mut self, notify: &mut dyn FnMut(String)) -> Result<Connection> {
        if let Some(connection) = self.connection.take().filter(Connection::is_alive) {
            return Ok(connection);
        }
        let connection = Connection::open(&self.endpoint)?;
        notify(format!("connected to {} again", self.endpoint));
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Shutdown, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;
    use std::time::Duration;

    use super::super::fake;
    use super::*;

    /// A server whose first connection answers one line, reads another and breaks; later ones answer
    /// every line. Each line that it reads is reported.
    fn flaky() -> (u16, Receiver<String>) {
        let (lines, heard) = channel();
        (fake::serve(move |number, stream| flaky_connection(number, &stream, &lines)), heard)
    }

    fn flaky_connection(number: usize, mut stream: &TcpStream, lines: &Sender<String>) {
        for (count, line) in BufReader::new(stream).lines().map_while(Result::ok).enumerate() {
            drop(lines.send(line));
            if number == 0 && count == 1 {
                drop(stream.shutdown(Shutdown::Both));
                return;
            }
            stream.write_all(b"OK\n").unwrap();
        }
    }

    fn run(session: &mut Session, line: &str) -> (Result<Option<Reply>>, Vec<String>) {
        let mut notices = Vec::new();
        let result = session.run(line.as_bytes(), &mut |notice| notices.push(notice));
        (result, notices)
    }

    fn ok() -> Reply {
        Reply::Line(b"OK".to_vec())
    }

    #[test]
    fn a_write_whose_connection_broke_is_not_sent_again() {
        let (port, heard) = flaky();
        let mut session = Session::open(&Endpoint::local(port)).unwrap();
        assert_eq!(run(&mut session, "SET a 1").0.unwrap(), Some(ok()));
        let (result, notices) = run(&mut session, "SET b 2");
        assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
        assert!(notices.is_empty());
        let (result, notices) = run(&mut session, "SET c 3");
        assert_eq!(result.unwrap(), Some(ok()));
        assert_eq!(notices, [format!("connected to 127.0.0.1:{port} again")]);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["SET a 1", "SET b 2", "SET c 3"]);
    }

    #[test]
    fn a_read_whose_connection_broke_is_asked_once_more() {
        let (port, heard) = flaky();
        let mut session = Session::open(&Endpoint::local(port)).unwrap();
        assert_eq!(run(&mut session, "GET a").0.unwrap(), Some(ok()));
        let (result, notices) = run(&mut session, "GET b");
        assert_eq!(result.unwrap(), Some(ok()));
        assert_eq!(notices.len(), 2, "{notices:?}");
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["GET a", "GET b", "GET b"]);
    }

    #[test]
    fn a_connection_that_closed_while_idle_costs_no_command() {
        let (lines, heard) = channel();
        let port = fake::serve(move |number, mut stream| {
            if number > 0 {
                let _ = lines.send(());
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                stream.write_all(b"OK\n").unwrap();
            }
        });
        let mut session = Session::open(&Endpoint::local(port)).unwrap();
        thread::sleep(Duration::from_millis(50));
        let (result, notices) = run(&mut session, "SET a 1");
        assert_eq!(result.unwrap(), Some(ok()));
        assert_eq!(notices.len(), 1);
        assert_eq!(heard.try_iter().count(), 1);
    }

    #[test]
    fn a_late_reply_is_never_taken_for_another() {
        let port = fake::serve(|number, stream| {
            if number == 0 {
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                thread::sleep(Duration::from_millis(150));
                drop((&stream).write_all(b"late\n"));
                return;
            }
            fake::serve_store(&std::sync::Mutex::default(), &stream);
        });
        let timeout = Some(Duration::from_millis(80));
        let mut session = Session::open(&Endpoint { timeout, ..Endpoint::local(port) }).unwrap();
        assert!(matches!(run(&mut session, "GET a").0, Err(Error::TimedOut { .. })));
        thread::sleep(Duration::from_millis(150));
        let (result, _) = run(&mut session, "GET b");
        assert_eq!(result.unwrap(), Some(Reply::Line(b"NULL".to_vec())));
    }

    #[test]
    fn quit_and_shutdown_end_the_connection_and_are_no_error() {
        let mut session = Session::open(&Endpoint::local(fake::store())).unwrap();
        assert_eq!(run(&mut session, "QUIT").0.unwrap(), Some(ok()));
        assert_eq!(run(&mut session, "SHUTDOWN").0.unwrap(), None);
        assert!(run(&mut session, "SHUTDOWN now").0.unwrap().unwrap().is_error());
        let (result, notices) = run(&mut session, "PING");
        assert!(result.is_ok() && notices.is_empty(), "an ERR leaves the connection open");
    }
}
