//! What clients do to a hot key, and what a key that is one place in memory would answer.
//!
//! An operation whose outcome nobody has seen may have taken effect or not. One that was refused is
//! taken for such a one.

use std::fmt;

use crate::campaign::wire::{Reply, show};

/// What a key holds.
pub(super) type State = Option<Vec<u8>>;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Get,
    Set(Vec<u8>),
    Delete,
    /// Stores a value, answers with the old one.
    Exchange(Vec<u8>),
    /// Answers with the value, deletes it.
    Take,
    /// Stores a value if there is none.
    SetIfMissing(Vec<u8>),
    /// Stores a value if this one is there.
    CompareAndSet {
        expected: Vec<u8>,
        value: Vec<u8>,
    },
    /// Lengthens the value, answers with its new length.
    Append(Vec<u8>),
    /// Counts one up, answers with the new number.
    Increment,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing that anybody saw.
    Unknown,
    /// That it is done.
    Done,
    Value(State),
    /// A number: a length, a count, or whether it was done.
    Number(i64),
}

/// An operation on one key, in ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) client: usize,
    pub(super) action: Action,
    /// Before its first byte was sent.
    pub(super) invoked: u64,
    /// After its last byte was there, or after the server was gone.
    pub(super) returned: u64,
    pub(super) outcome: Outcome,
}

impl Action {
    /// The words of the request.
    pub(super) fn words<'a>(&'a self, key: &'a [u8]) -> Vec<&'a [u8]> {
        match self {
            Action::Get => vec![b"GET", key],
            Action::Set(value) => vec![b"SET", key, value],
            Action::Delete => vec![b"DEL", key],
            Action::Exchange(value) => vec![b"GETSET", key, value],
            Action::Take => vec![b"GETDEL", key],
            Action::SetIfMissing(value) => vec![b"SETNX", key, value],
            Action::CompareAndSet { expected, value } => {
                vec![b"SET", key, value, b"IFEQ", expected]
            }
            Action::Append(value) => vec![b"APPEND", key, value],
            Action::Increment => vec![b"INCR", key],
        }
    }

    /// What a reply says; an error if it says nothing that belongs here.
    pub(super) fn outcome(&self, reply: &Reply) -> Result<Outcome, String> {
        let outcome = match (self, reply) {
            (Action::Set(_), Reply::Bytes(word)) if word == b"OK" => Some(Outcome::Done),
            (Action::Delete, Reply::Bytes(word)) if word == b"OK_DELETED" => Some(Outcome::Done),
            (Action::CompareAndSet { .. }, Reply::Bytes(word)) if word == b"OK" => {
                Some(Outcome::Number(1))
            }
            (Action::CompareAndSet { .. }, Reply::Null) => Some(Outcome::Number(0)),
            (Action::Get | Action::Exchange(_) | Action::Take, Reply::Null) => {
                Some(Outcome::Value(None))
            }
            (Action::Get | Action::Exchange(_) | Action::Take, Reply::Bytes(value)) => {
                Some(Outcome::Value(Some(value.clone())))
            }
            (
                Action::Delete | Action::SetIfMissing(_) | Action::Append(_) | Action::Increment,
                Reply::Number(number),
            ) => Some(Outcome::Number(*number)),
            // Text has no types.
            (
                Action::SetIfMissing(_) | Action::Append(_) | Action::Increment,
                Reply::Bytes(digits),
            ) => number(digits).map(Outcome::Number),
            _ => None,
        };
        outcome.ok_or_else(|| format!("{self:?} is answered with {reply:?}"))
    }

    /// What it does to `state`: what is there afterwards, and what must be answered.
    pub(super) fn apply(&self, state: &State) -> (State, Outcome) {
        match self {
            Action::Get => (state.clone(), Outcome::Value(state.clone())),
            Action::Set(value) => (Some(value.clone()), Outcome::Done),
            Action::Delete => (None, Outcome::Number(i64::from(state.is_some()))),
            Action::Exchange(value) => (Some(value.clone()), Outcome::Value(state.clone())),
            Action::Take => (None, Outcome::Value(state.clone())),
            Action::SetIfMissing(value) => match state {
                None => (Some(value.clone()), Outcome::Number(1)),
                Some(_) => (state.clone(), Outcome::Number(0)),
            },
            Action::CompareAndSet { expected, value } if state.as_ref() == Some(expected) => {
                (Some(value.clone()), Outcome::Number(1))
            }
            Action::CompareAndSet { .. } => (state.clone(), Outcome::Number(0)),
            Action::Append(suffix) => {
                let mut value = state.clone().unwrap_or_default();
                value.extend_from_slice(suffix);
                let length = value.len().cast_signed() as i64;
                (Some(value), Outcome::Number(length))
            }
            Action::Increment => {
                let count = state.as_deref().and_then(number).unwrap_or(0) + 1;
                (Some(count.to_string().into_bytes()), Outcome::Number(count))
            }
        }
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

impl Operation {
    /// Whether nobody saw it answered.
    pub(super) fn is_unknown(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    /// What is there after it took effect on `state`; `None` if its answer says that it did not.
    pub(super) fn result(&self, state: &State) -> Option<State> {
        let (after, answer) = self.action.apply(state);
        let fits = self.is_unknown() || self.outcome == answer || self.is_told_little();
        fits.then_some(after)
    }

    /// Whether its answer says that it changed nothing, whatever was there.
    pub(super) fn is_read(&self) -> bool {
        let answer = (&self.action, &self.outcome);
        let compares =
            matches!(self.action, Action::SetIfMissing(_) | Action::CompareAndSet { .. });
        matches!(
            answer,
            (Action::Get, Outcome::Value(_))
                | (Action::Take, Outcome::Value(None))
                | (Action::Delete, Outcome::Number(0))
        ) || compares && self.outcome == Outcome::Number(0)
    }

    /// Whether the answer does not depend on what was there: DEL in text.
    fn is_told_little(&self) -> bool {
        self.action == Action::Delete && self.outcome == Outcome::Done
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.action.words(b"key");
        let words: Vec<String> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
        let (from, to) = (self.invoked, self.returned);
        write!(f, "client {} [{from}..{to}] {} -> ", self.client, words.join(" "))?;
        match &self.outcome {
            Outcome::Unknown => f.write_str("no answer"),
            Outcome::Done => f.write_str("done"),
            Outcome::Value(None) => f.write_str("nothing"),
            Outcome::Value(Some(value)) => f.write_str(&show(value)),
            Outcome::Number(number) => write!(f, "{number}"),
        }
    }
}
