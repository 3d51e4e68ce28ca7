//! A RESP connection that comes back, with the state that a person expects it to keep: who is logged
//! in, the protocol, the database, its name; and whether a transaction is open.
//!
//! Invariant, as in the text mode: a command is written to at most one connection. When that breaks
//! before the reply, the outcome is unknown and the person is told so. What belonged to a lost
//! transaction is not sent at all; [`State`] knows.

use super::link::Link;
use super::value::Value;
use crate::client::connection::Endpoint;
use crate::client::error::{Error, Result};
use crate::client::interrupt::Interrupt;
use crate::client::state::{Admission, Credentials, Outcome, State};

pub(crate) use crate::client::state::{Words, is_named};

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
    pub(crate) credentials: Credentials,
    pub(crate) database: u64,
}

/// Runs commands one at a time, and reconnects between them when it must.
#[derive(Debug)]
pub(crate) struct Session {
    endpoint: Endpoint,
    protocol: Protocol,
    interrupt: Interrupt,
    link: Option<Link>,
    state: State,
    /// What the server pushed while replies were awaited, in order.
    pushed: Vec<Value>,
    /// What the person should know, in order.
    notices: Vec<String>,
}

impl Session {
    /// Connects and introduces itself.
    pub(crate) fn open(login: Login, interrupt: Interrupt) -> Result<Self> {
        let mut session = Self {
            endpoint: login.endpoint,
            protocol: login.protocol,
            interrupt,
            link: None,
            state: State::new(login.credentials, login.database),
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
        let is_connected = self.link.as_ref().is_some_and(Link::is_alive);
        let place =
            if is_connected { self.endpoint.to_string() } else { "not connected".to_owned() };
        format!("{place}{}> ", self.state.mark())
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.state.in_transaction()
    }

    pub(crate) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn take_pushed(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.pushed)
    }

    /// Runs one command: one reply, several where each is a confirmation of its own, or none where none
    /// is to come; then the notices say why.
    pub(crate) fn run(&mut self, words: &Words) -> Result<Vec<Value>> {
        self.notice_loss();
        if self.state.admit(words)? == Admission::Done {
            self.notices.push("the lost transaction is discarded".to_owned());
            return Ok(vec![Value::Simple(b"OK".to_vec())]);
        }
        match self.exchange(std::slice::from_ref(words)) {
            Err(error) if is_named(words, "SHUTDOWN") && error.is_disconnect() => {
                self.notices.push("the server closed the connection".to_owned());
                Ok(Vec::new())
            }
            Err(error) if error.is_unsent() => Err(error),
            Err(error) if self.state.break_at(words) => {
                Err(Error::TransactionLost { cause: Box::new(error) })
            }
            Err(error @ Error::Interrupted) => Err(error),
            Err(error) => Err(Error::OutcomeUnknown { cause: Box::new(error) }),
            Ok(replies) => Ok(replies),
        }
    }

    /// Runs commands in one round trip, one reply each. None of them may change data in a way that the
    /// caller would have to know of when it fails, nor belong to a transaction.
    pub(crate) fn ask(&mut self, commands: &[Words]) -> Result<Vec<Value>> {
        self.notice_loss();
        let asked = self.exchange(commands);
        if asked.is_err() {
            self.notices.extend(self.state.lose().into_iter().map(str::to_owned));
        }
        asked
    }

    /// Sends commands and takes their replies. After an error there is no connection any more.
    fn exchange(&mut self, commands: &[Words]) -> Result<Vec<Value>> {
        let mut link = self.take()?;
        link.send(commands)?;
        let mut replies = Vec::new();
        for words in commands {
            if self.state.is_answered(words) {
                self.receive(&mut link, words, &mut replies)?;
            } else {
                self.state.note(words, &Outcome::Done);
                self.notices.push("sent; no reply comes, as CLIENT REPLY says".to_owned());
            }
        }
        self.link = Some(link);
        Ok(replies)
    }

    /// Notes that the connection was closed since the last command.
    fn notice_loss(&mut self) {
        if self.link.as_ref().is_some_and(|link| !link.is_alive()) {
            self.forget();
        }
    }

    /// The connection that [`Self::take`] gave does not come back.
    pub(crate) fn forget(&mut self) {
        self.link = None;
        self.notices.extend(self.state.lose().into_iter().map(str::to_owned));
    }

    /// Hands the connection over, to be used for something else than requests and replies.
    pub(crate) fn take(&mut self) -> Result<Link> {
        self.notice_loss();
        if let Some(link) = self.link.take() {
            return Ok(link);
        }
        let link = self.connect()?;
        let restored = self.state.restored();
        self.notices.push(format!("connected to {} again{restored}", self.endpoint));
        Ok(link)
    }

    /// Sends a command after which the server sends messages, and hands the connection over.
    pub(crate) fn begin(&mut self, words: &Words) -> Result<Link> {
        self.notice_loss();
        self.state.admit(words)?;
        let mut link = self.take()?;
        link.send(std::slice::from_ref(words))?;
        Ok(link)
    }

    /// Takes the connection back.
    pub(crate) fn put(&mut self, link: Link) {
        self.link = Some(link);
    }

    /// Waits for what answers a command.
    fn receive(&mut self, link: &mut Link, words: &Words, replies: &mut Vec<Value>) -> Result<()> {
        let mut confirmations = if self.in_transaction() { 0 } else { confirmations(words) };
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
        let was_queued = self.in_transaction();
        self.state.note(words, &outcome_of(words, reply));
        if reply.is_error() {
            return Ok(());
        }
        let logged_in = is_named(words, "AUTH") && !was_queued;
        if is_named(words, "RESET") || (logged_in && self.state.protocol().is_none()) {
            return self.greet(link);
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<Link> {
        let mut link = Link::open(&self.endpoint, &self.interrupt)?;
        if let Some(login) = self.state.credentials().command()
            && let Some(refusal) = refusal(&mut link, login)?
        {
            self.notices.push(format!("AUTH failed: {refusal}"));
        }
        self.greet(&mut link)?;
        for words in self.state.restoring() {
            let command = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
            if let Some(refusal) = refusal(&mut link, words)? {
                return Err(Error::Refused(format!("{command} failed: {refusal}")));
            }
        }
        if let Some(words) = self.state.silencing() {
            link.send(&[words])?;
        }
        Ok(link)
    }

    /// Asks for the protocol that HELLO asked for last, or else for RESP3. A server that knows no HELLO,
    /// or wants a password first, goes on in RESP2.
    fn greet(&mut self, link: &mut Link) -> Result<()> {
        let is_two =
            self.state.protocol().map_or(self.protocol == Protocol::Two, |asked| asked == 2);
        if is_two {
            return Ok(());
        }
        let refusal = refusal(link, words(&["HELLO", "3"]))?;
        match refusal {
            Some(refusal) if self.protocol == Protocol::Three => {
                Err(Error::Refused(format!("HELLO 3 failed: {refusal}")))
            }
            _ => Ok(()),
        }
    }
}

/// What came of a command.
fn outcome_of(words: &Words, reply: &Value) -> Outcome {
    match reply {
        Value::Error(_) => Outcome::Refused,
        Value::Array(replies) if is_named(words, "EXEC") => {
            Outcome::Executed(Some(replies.iter().map(|reply| !reply.is_error()).collect()))
        }
        _ if is_named(words, "EXEC") => Outcome::Aborted,
        _ => Outcome::Done,
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

/// How many confirmations answer a command, which RESP3 pushes; 0 where one reply does, as usual.
fn confirmations(words: &Words) -> usize {
    let confirmed = ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];
    let is_confirmed = confirmed.iter().any(|name| is_named(words, name));
    if is_confirmed { words.len().saturating_sub(1).max(1) } else { 0 }
}

#[cfg(test)]
mod tests;
