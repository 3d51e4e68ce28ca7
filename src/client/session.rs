//! A connection that comes back: what a person at a prompt expects when the server restarts.
//!
//! Invariant: a command that may change data is written to at most one connection. When that breaks
//! before the reply, the outcome is unknown and the person is told so; sending it again could apply it
//! twice, or over someone else's later write. Commands that only read are asked once more. What the lost
//! connection was told (login, database, name) the next one is told first, and what belonged to a lost
//! transaction is not sent: [`State`] knows both.

use super::connection::{Connection, Endpoint};
use super::error::{Error, Result};
use super::interrupt::Interrupt;
use super::reply::Reply;
use super::request;
use super::state::{Admission, Credentials, Outcome, State, Words};

/// Runs commands one at a time, and reconnects between them when it must.
#[derive(Debug)]
pub(crate) struct Session {
    endpoint: Endpoint,
    interrupt: Interrupt,
    connection: Option<Connection>,
    state: State,
    /// What the person should know, in order.
    notices: Vec<String>,
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn open(
        endpoint: &Endpoint,
        credentials: Credentials,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut session = Self {
            endpoint: endpoint.clone(),
            interrupt: interrupt.clone(),
            connection: None,
            state: State::new(credentials, 0),
            notices: Vec::new(),
        };
        session.connection = Some(session.connect()?);
        Ok(session)
    }

    pub(crate) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// What to show before the cursor.
    pub(crate) fn prompt(&self) -> String {
        let is_connected = self.connection.as_ref().is_some_and(Connection::is_alive);
        let name = if is_connected { "chronos" } else { "not connected" };
        format!("{name}{}> ", self.state.mark())
    }

    /// The connection, to be used for something else than one command at a time.
    pub(crate) fn into_connection(mut self) -> Result<Connection> {
        self.take()
    }

    /// Whether the last command left a connection.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Runs one command. `None`: no reply came, and none was to come: the server closed the connection,
    /// or was told to send none.
    pub(crate) fn run(&mut self, line: &[u8]) -> Result<Option<Reply>> {
        request::check_session(line)?;
        let words = request::words_followed(line);
        self.notice_loss();
        if self.state.admit(&words)? == Admission::Done {
            self.notices.push("the lost transaction is discarded".to_owned());
            return Ok(Some(Reply::Line(b"OK".to_vec())));
        }
        if !self.state.is_answered(&words) {
            return self.tell(line, &words).map(|()| None);
        }
        match self.attempt(line, &words) {
            Err(error) if error.is_disconnect() && request::is_last(line) => Ok(None),
            Err(error) if error.is_unsent() => Err(error),
            Err(error) => self.failed(line, &words, error),
            Ok(reply) => Ok(Some(reply)),
        }
    }

    /// The connection failed between a command and its reply.
    fn failed(&mut self, line: &[u8], words: &Words, error: Error) -> Result<Option<Reply>> {
        let was_only_queued = self.state.break_at(words);
        if was_only_queued {
            return Err(Error::TransactionLost { cause: Box::new(error) });
        }
        if !request::is_repeatable(line) {
            return Err(Error::OutcomeUnknown { cause: Box::new(error) });
        }
        if !error.is_disconnect() {
            return Err(error);
        }
        self.notices.push(format!("{error}; asking again"));
        self.attempt(line, words).map(Some)
    }

    /// One try. The connection is kept only while both sides agree on what comes next.
    fn attempt(&mut self, line: &[u8], words: &Words) -> Result<Reply> {
        let mut connection = self.take()?;
        let reply = connection.request(line)?;
        self.state.note(words, &outcome_of(line, &reply));
        if !request::is_last(line) || reply.is_error() {
            self.connection = Some(connection);
        }
        Ok(reply)
    }

    /// Sends a command that gets no reply.
    fn tell(&mut self, line: &[u8], words: &Words) -> Result<()> {
        let mut connection = self.take()?;
        connection.tell(line).map_err(|error| Error::OutcomeUnknown { cause: Box::new(error) })?;
        self.state.note(words, &Outcome::Done);
        self.connection = Some(connection);
        self.notices.push("sent; no reply comes, as CLIENT REPLY says".to_owned());
        Ok(())
    }

    /// Runs a command after which the server sends messages, each of which is handed to `show`; ends
    /// with the connection, or where the server refuses. In a transaction it is queued like any other.
    pub(crate) fn watch<E: From<Error>>(
        &mut self,
        line: &[u8],
        show: &mut dyn FnMut(&mut Self, Reply) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.notice_loss();
        self.state.admit(&request::words_followed(line))?;
        let mut connection = self.take()?;
        connection.tell(line)?;
        loop {
            let message = connection.receive_message()?;
            if message.is_error() {
                self.connection = Some(connection);
                return show(self, message);
            }
            show(self, message)?;
        }
    }

    /// Whether a command that asks for messages would get them now.
    pub(crate) fn watches(&self, line: &[u8]) -> bool {
        request::is_watching(line) && !self.state.in_transaction()
    }

    /// Notes that the connection was closed since the last command.
    fn notice_loss(&mut self) {
        if self.connection.as_ref().is_some_and(|connection| !connection.is_alive()) {
            self.connection = None;
            self.notices.extend(self.state.lose().into_iter().map(str::to_owned));
        }
    }

    /// The live connection, or a new one that was told what the last one was.
    fn take(&mut self) -> Result<Connection> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connection = self.connect()?;
        let restored = self.state.restored();
        self.notices.push(format!("connected to {} again{restored}", self.endpoint));
        Ok(connection)
    }

    fn connect(&mut self) -> Result<Connection> {
        let mut connection = Connection::open_interruptibly(&self.endpoint, &self.interrupt)?;
        if let Some(login) = self.state.credentials().command()
            && let Some(refusal) = refusal(&mut connection, &login)?
        {
            self.notices.push(format!("AUTH failed: {refusal}"));
        }
        for words in self.state.restoring() {
            if let Some(refusal) = refusal(&mut connection, &words)? {
                let command = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
                return Err(Error::Refused(format!("{command} failed: {refusal}")));
            }
        }
        if let Some(words) = self.state.silencing() {
            connection.tell(&words.join(&b' '))?;
        }
        Ok(connection)
    }
}

/// Refuses what a line cannot carry.
pub(crate) fn check_words(words: &Words) -> Result<()> {
    let is_word =
        |word: &Vec<u8>| !word.is_empty() && !word.iter().any(|byte| b" \r\n".contains(byte));
    if words.iter().all(is_word) {
        return Ok(());
    }
    Err(Error::Request(
        "the text protocol cannot carry a user or a password that is empty or holds a space or a \
         line break; speak RESP",
    ))
}

/// Sends a command of the introduction; what the server has against it.
fn refusal(connection: &mut Connection, words: &Words) -> Result<Option<String>> {
    check_words(words)?;
    match connection.request(&words.join(&b' '))? {
        Reply::Error(error) => {
            let error = String::from_utf8_lossy(&error).into_owned();
            Ok(Some(error.strip_prefix("ERR ").unwrap_or(&error).to_owned()))
        }
        _ => Ok(None),
    }
}

/// What came of a command.
fn outcome_of(line: &[u8], reply: &Reply) -> Outcome {
    let is_exec = request::is_exec(line);
    match reply {
        Reply::List(lines) if is_exec => {
            Outcome::Executed(Some(lines.iter().map(|line| !line.starts_with(b"ERR ")).collect()))
        }
        Reply::Line(line) if is_exec && line == b"NULL" => Outcome::Aborted,
        // What text cannot carry was executed all the same.
        Reply::Error(error) if is_exec && error.ends_with(b"with a RESP client") => {
            Outcome::Executed(None)
        }
        Reply::Error(_) => Outcome::Refused,
        _ => Outcome::Done,
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

    fn open(port: u16) -> Session {
        open_at(&Endpoint::local(port))
    }

    fn open_at(endpoint: &Endpoint) -> Session {
        Session::open(endpoint, Credentials::default(), &Interrupt::default()).unwrap()
    }

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
        let result = session.run(line.as_bytes());
        (result, session.take_notices())
    }

    fn ok() -> Reply {
        Reply::Line(b"OK".to_vec())
    }

    #[test]
    fn a_write_whose_connection_broke_is_not_sent_again() {
        let (port, heard) = flaky();
        let mut session = open(port);
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
        let mut session = open(port);
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
        let mut session = open(port);
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
        let mut session = open_at(&Endpoint { timeout, ..Endpoint::local(port) });
        assert!(matches!(run(&mut session, "GET a").0, Err(Error::TimedOut { .. })));
        thread::sleep(Duration::from_millis(150));
        let (result, _) = run(&mut session, "GET b");
        assert_eq!(result.unwrap(), Some(Reply::Line(b"NULL".to_vec())));
    }

    #[test]
    fn quit_and_shutdown_end_the_connection_and_are_no_error() {
        let mut session = open(fake::store());
        assert_eq!(run(&mut session, "QUIT").0.unwrap(), Some(ok()));
        assert_eq!(run(&mut session, "SHUTDOWN").0.unwrap(), None);
        assert!(run(&mut session, "SHUTDOWN now").0.unwrap().unwrap().is_error());
        let (result, notices) = run(&mut session, "PING");
        assert!(result.is_ok() && notices.is_empty(), "an ERR leaves the connection open");
    }
}
