//! A RESP connection that comes back, with the state that a person expects it to keep: who is logged
//! in, the protocol, the database; and whether a transaction is open.
//!
//! Invariant, as in the text mode: a command is written to at most one connection. When that breaks
//! before the reply, the outcome is unknown and the person is told so.

use super::interrupt::Interrupt;
use super::link::Link;
use super::value::Value;
use crate::client::connection::Endpoint;
use crate::client::error::{Error, Result};

/// One command: its name and arguments.
pub(crate) type Words = Vec<Vec<u8>>;

/// Which version of RESP is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RESP3 where the server knows it, else RESP2.
    Best,
    Two,
    /// RESP3, or no connection.
    Three,
}

/// How a connection introduces itself.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u64,
}

/// Runs commands one at a time, and reconnects between them when it must.
#[derive(Debug)]
pub(crate) struct Session {
    login: Login,
    interrupt: Interrupt,
    link: Option<Link>,
    database: u64,
    /// The database that the open transaction will select.
    queued_database: Option<u64>,
    transaction: bool,
    /// What the server pushed while replies were awaited, in order.
    pushed: Vec<Value>,
    /// What the person should know, in order.
    notices: Vec<String>,
}

impl Session {
    /// Connects and introduces itself.
    pub(crate) fn open(login: Login, interrupt: Interrupt) -> Result<Self> {
        let database = login.database;
        let mut session = Self {
            login,
            interrupt,
            link: None,
            database,
            queued_database: None,
            transaction: false,
            pushed: Vec::new(),
            notices: Vec::new(),
        };
        session.link = Some(session.connect()?);
        Ok(session)
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// What to show before the cursor: where commands go.
    pub(crate) fn prompt(&self) -> String {
        if !self.link.as_ref().is_some_and(Link::is_alive) {
            return "not connected> ".to_owned();
        }
        let endpoint = &self.login.endpoint;
        let database = match self.database {
            0 => String::new(),
            number => format!("[{number}]"),
        };
        let transaction = if self.transaction { "(TX)" } else { "" };
        format!("{endpoint}{database}{transaction}> ")
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction
    }

    pub(crate) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn take_pushed(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.pushed)
    }

    /// Runs one command: one reply, several where each is a confirmation of its own, or none where the
    /// server closed the connection, as `SHUTDOWN` asks for.
    pub(crate) fn run(&mut self, words: Words) -> Result<Vec<Value>> {
        let closing = is_named(&words, "SHUTDOWN");
        match self.ask(vec![words]) {
            Err(error) if closing && error.is_disconnect() => Ok(Vec::new()),
            Err(error) if error.is_unsent() || matches!(error, Error::Interrupted) => Err(error),
            Err(error) => Err(Error::OutcomeUnknown { cause: Box::new(error) }),
            Ok(replies) => Ok(replies),
        }
    }

    /// Runs commands in one round trip, one reply each. None of them may change data in a way that the
    /// caller would have to know of when it fails.
    pub(crate) fn ask(&mut self, commands: Vec<Words>) -> Result<Vec<Value>> {
        let mut link = self.take()?;
        link.send(&commands)?;
        let mut replies = Vec::new();
        for words in commands {
            self.receive(&mut link, &words, &mut replies)?;
        }
        self.link = Some(link);
        Ok(replies)
    }

    /// Hands the connection over, to be used for something else than requests and replies.
    pub(crate) fn take(&mut self) -> Result<Link> {
        if let Some(link) = self.link.take().filter(Link::is_alive) {
            return Ok(link);
        }
        if std::mem::take(&mut self.transaction) {
            self.notices.push("the transaction is lost with its connection".to_owned());
        }
        let link = self.connect()?;
        self.notices.push(format!("connected to {} again", self.login.endpoint));
        Ok(link)
    }

    /// Takes the connection back.
    pub(crate) fn put(&mut self, link: Link) {
        self.link = Some(link);
    }

    /// Waits for what answers a command.
    fn receive(&mut self, link: &mut Link, words: &Words, replies: &mut Vec<Value>) -> Result<()> {
        let mut confirmations = if self.transaction { 0 } else { confirmations(words) };
        loop {
            match link.receive()? {
                Value::Push(message) if confirmations == 0 => {
                    self.pushed.push(Value::Push(message));
                }
                reply if confirmations <= 1 || reply.is_error() => {
                    self.note(link, words, &reply)?;
                    replies.push(reply);
                    return Ok(());
                }
                confirmation => {
                    replies.push(confirmation);
                    confirmations -= 1;
                }
            }
        }
    }

    /// Follows what a command did to the connection's state.
    fn note(&mut self, link: &mut Link, words: &Words, reply: &Value) -> Result<()> {
        let ends = is_named(words, "EXEC") || is_named(words, "DISCARD");
        if ends && (!reply.is_error() || self.transaction) {
            self.transaction = false;
            let queued = self.queued_database.take();
            if is_named(words, "EXEC") && matches!(reply, Value::Array(_)) {
                self.database = queued.unwrap_or(self.database);
            }
        }
        if reply.is_error() {
            return Ok(());
        }
        if is_named(words, "MULTI") {
            self.transaction = true;
        } else if is_named(words, "SELECT") {
            let number = words.get(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            match number {
                Some(number) if self.transaction => self.queued_database = Some(number),
                Some(number) => self.database = number,
                None => {}
            }
        } else if is_named(words, "RESET") {
            (self.database, self.transaction, self.queued_database) = (0, false, None);
            return self.greet(link);
        } else if is_named(words, "AUTH") && !self.transaction {
            return self.greet(link);
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<Link> {
        let mut link = Link::open(&self.login.endpoint, &self.interrupt)?;
        if let Some(password) = self.login.password.clone() {
            let user = self.login.user.clone().map(String::into_bytes);
            let words = [Some(b"AUTH".to_vec()), user, Some(password.into_bytes())];
            if let Some(refusal) = refusal(&mut link, words.into_iter().flatten().collect())? {
                self.notices.push(format!("AUTH failed: {refusal}"));
            }
        }
        self.greet(&mut link)?;
        if self.database != 0 {
            let database = self.database.to_string();
            if let Some(refusal) = refusal(&mut link, words(&["SELECT", &database]))? {
                return Err(Error::Refused(format!("SELECT {database} failed: {refusal}")));
            }
        }
        Ok(link)
    }

    /// Asks for RESP3. A server that knows no HELLO, or wants a password first, goes on in RESP2.
    fn greet(&mut self, link: &mut Link) -> Result<()> {
        if self.login.protocol == Protocol::Two {
            return Ok(());
        }
        let refusal = refusal(link, words(&["HELLO", "3"]))?;
        match refusal {
            Some(refusal) if self.login.protocol == Protocol::Three => {
                Err(Error::Refused(format!("HELLO 3 failed: {refusal}")))
            }
            _ => Ok(()),
        }
    }
}

/// Sends a command of the introduction; what the server has against it.
fn refusal(link: &mut Link, words: Words) -> Result<Option<String>> {
    link.send(&[words])?;
    loop {
        match link.receive()? {
            Value::Push(_) => {}
            Value::Error(error) => return Ok(Some(String::from_utf8_lossy(&error).into_owned())),
            _ => return Ok(None),
        }
    }
}

/// A command from words of text.
pub(crate) fn words(words: &[&str]) -> Words {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Whether `words` is the command of that name.
pub(crate) fn is_named(words: &Words, name: &str) -> bool {
    words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// How many confirmations answer a command, which RESP3 pushes; 0 where one reply does, as usual.
fn confirmations(words: &Words) -> usize {
    let confirmed = ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];
    let is_confirmed = confirmed.iter().any(|name| is_named(words, name));
    if is_confirmed { words.len().saturating_sub(1).max(1) } else { 0 }
}

#[cfg(test)]
mod tests;
