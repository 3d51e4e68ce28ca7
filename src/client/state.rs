//! What a connection was told and would forget if it broke: who is logged in, the database, the name
//! and other settings; and the transaction that is open on it.
//!
//! A session notes each command with its outcome here. When the connection is lost, the state says what
//! to send on the next one before anything else ([`State::restoring`]), and what must not be sent at all
//! ([`State::admit`]): a command of a transaction that is gone would run at once and alone, and EXEC
//! would no longer notice that a watched key was changed. Pure: no I/O, both protocols.

use super::error::{Error, Result};

/// One command: its name and arguments.
pub(crate) type Words = Vec<Vec<u8>>;

/// With what a client logs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Credentials {
    /// The command that logs in, if there is a password.
    pub(crate) fn command(&self) -> Option<Words> {
        let password = self.password.clone()?;
        Some(
            [Some(b"AUTH".to_vec()), self.user.clone(), Some(password)]
                .into_iter()
                .flatten()
                .collect(),
        )
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, or queued, or nobody will tell.
    Done,
    /// The server said no.
    Refused,
    /// EXEC ran nothing: a watched key had been changed.
    Aborted,
    /// EXEC ran what was queued; for each command whether it was done, where that can be told.
    Executed(Option<Vec<bool>>),
}

/// Whether a command may go to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Send,
    /// It is about what only this side remembers, and is done: OK.
    Done,
}

/// Which replies the server sends, as CLIENT REPLY says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    /// Not to the next command.
    SkipNext,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Transaction {
    #[default]
    None,
    /// How many commands are queued, and those among them that this module follows.
    Open { queued: usize, followed: Vec<(usize, Words)> },
    /// Its connection broke before EXEC.
    Lost,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Watch {
    #[default]
    None,
    Held,
    /// Its connection broke: EXEC would succeed where it must not.
    Lost,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// As the flags say, to which RESET returns.
    initial: Credentials,
    credentials: Credentials,
    database: u64,
    /// The protocol that HELLO asked for.
    protocol: Option<u8>,
    /// Commands about the connection itself, the last of each kind.
    settings: Vec<Words>,
    replies: Replies,
    transaction: Transaction,
    watch: Watch,
}

/// Commands that change what is followed here.
const FOLLOWED: &[&str] = &[
    "AUTH",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MULTI",
    "QUIT",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "UNWATCH",
    "WATCH",
];

/// Settings of CLIENT that a connection keeps.
const CLIENT_SETTINGS: &[&str] = &["SETNAME", "SETINFO", "NO-EVICT", "NO-TOUCH", "TRACKING"];

impl State {
    pub(crate) fn new(credentials: Credentials, database: u64) -> Self {
        Self { initial: credentials.clone(), credentials, database, ..Self::default() }
    }

    /// Whether more than the name of this command has to be known here.
    pub(crate) fn follows(name: &[u8]) -> bool {
        FOLLOWED.iter().any(|followed| name.eq_ignore_ascii_case(followed.as_bytes()))
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The protocol that HELLO asked for since the connection was first made.
    pub(crate) fn protocol(&self) -> Option<u8> {
        self.protocol
    }

    pub(crate) fn in_transaction(&self) -> bool {
        matches!(self.transaction, Transaction::Open { .. })
    }

    /// What a prompt shows of it: `[2](TX)`.
    pub(crate) fn mark(&self) -> String {
        let database = match self.database {
            0 => String::new(),
            number => format!("[{number}]"),
        };
        let transaction = match self.transaction {
            Transaction::None => "",
            Transaction::Open { .. } => "(TX)",
            Transaction::Lost => "(TX lost)",
        };
        let replies = if self.replies == Replies::Off { "(no replies)" } else { "" };
        format!("{database}{transaction}{replies}")
    }

    /// Whether `words` may be sent.
    ///
    /// # Errors
    /// It must not be: it belongs to a transaction that is gone.
    pub(crate) fn admit(&mut self, words: &Words) -> Result<Admission> {
        let refuse = |sentence: &str| Err(Error::Refused(sentence.to_owned()));
        match self.transaction {
            Transaction::Lost if is_named(words, "DISCARD") => {
                (self.transaction, self.watch) = (Transaction::None, Watch::None);
                Ok(Admission::Done)
            }
            Transaction::Lost if is_named(words, "EXEC") => {
                (self.transaction, self.watch) = (Transaction::None, Watch::None);
                refuse(
                    "EXEC was not sent: the transaction was lost with its connection, and none of \
                     its commands was executed",
                )
            }
            Transaction::Lost if is_named(words, "RESET") || is_named(words, "QUIT") => {
                self.transaction = Transaction::None;
                Ok(Admission::Send)
            }
            Transaction::Lost => refuse(
                "not sent: the transaction that this command belongs to was lost with its \
                 connection; EXEC or DISCARD ends it",
            ),
            Transaction::Open { .. } if self.watch == Watch::Lost && is_named(words, "EXEC") => {
                refuse(
                    "EXEC was not sent: the connection was lost after WATCH, so a change of the \
                     watched keys would go unnoticed; DISCARD, and begin again with WATCH",
                )
            }
            Transaction::None | Transaction::Open { .. } => Ok(Admission::Send),
        }
    }

    /// Whether the server answers `words`, sent now.
    pub(crate) fn is_answered(&self, words: &Words) -> bool {
        let mode = reply_mode(words).filter(|_| !self.in_transaction());
        match (self.replies, mode) {
            (_, Some(Replies::On)) | (Replies::On, None) => true,
            (Replies::Off, _) => is_named(words, "RESET"),
            (Replies::SkipNext, _) | (Replies::On, Some(Replies::Off | Replies::SkipNext)) => false,
        }
    }

    /// Follows what a command did.
    pub(crate) fn note(&mut self, words: &Words, outcome: &Outcome) {
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        let is_end = is_named(words, "EXEC") || is_named(words, "DISCARD");
        match &mut self.transaction {
            Transaction::Open { followed, .. } if is_end => {
                let followed = std::mem::take(followed);
                (self.transaction, self.watch) = (Transaction::None, Watch::None);
                if let Outcome::Executed(results) = outcome {
                    let is_done = |place: usize| {
                        results.as_ref().is_none_or(|results| results.get(place) == Some(&true))
                    };
                    let done = followed.iter().filter(|(place, _)| is_done(*place));
                    done.for_each(|(_, words)| self.apply(words));
                }
            }
            _ if *outcome == Outcome::Refused => {}
            Transaction::Open { queued, followed } if !is_named(words, "RESET") => {
                if words.first().is_some_and(|name| Self::follows(name)) {
                    followed.push((*queued, words.clone()));
                }
                *queued += 1;
            }
            _ => self.apply(words),
        }
    }

    /// Takes over what a command has changed.
    fn apply(&mut self, words: &Words) {
        if is_named(words, "MULTI") {
            self.transaction = Transaction::Open { queued: 0, followed: Vec::new() };
        } else if is_named(words, "SELECT") {
            self.database = words.get(1).and_then(|word| number(word)).unwrap_or(self.database);
        } else if is_named(words, "AUTH") {
            self.credentials = match words.as_slice() {
                [_, password] => Credentials { user: None, password: Some(password.clone()) },
                [_, user, password, ..] => {
                    Credentials { user: Some(user.clone()), password: Some(password.clone()) }
                }
                _ => return,
            };
        } else if is_named(words, "HELLO") {
            self.apply_hello(words);
        } else if is_named(words, "WATCH") {
            self.watch = Watch::Held;
        } else if is_named(words, "UNWATCH") {
            self.watch = Watch::None;
        } else if is_named(words, "RESET") {
            *self = Self::new(self.initial.clone(), 0);
        } else if let Some(mode) = reply_mode(words) {
            let stays_off = self.replies == Replies::Off && mode == Replies::SkipNext;
            self.replies = if stays_off { Replies::Off } else { mode };
        } else if let Some(kind) = setting(words) {
            self.settings.retain(|other| setting(other).as_ref() != Some(&kind));
            self.settings.push(words.clone());
        }
    }

    fn apply_hello(&mut self, words: &Words) {
        let version = words.get(1).and_then(|word| number(word));
        self.protocol = version.and_then(|version| version.try_into().ok()).or(self.protocol);
        let mut rest = words.get(2..).unwrap_or_default();
        loop {
            rest = match rest {
                [option, user, password, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                    let (user, password) = (Some(user.clone()), Some(password.clone()));
                    self.credentials = Credentials { user, password };
                    rest
                }
                [option, name, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                    self.apply(&vec![b"CLIENT".to_vec(), b"SETNAME".to_vec(), name.clone()]);
                    rest
                }
                _ => return,
            };
        }
    }

    /// The connection is gone. What the person should know.
    pub(crate) fn lose(&mut self) -> Vec<&'static str> {
        let mut notices = Vec::new();
        if self.replies == Replies::Off {
            notices.push("the connection was lost; what was sent without replies may not have been carried out");
        }
        if self.replies == Replies::SkipNext {
            self.replies = Replies::On;
        }
        if self.in_transaction() {
            self.transaction = Transaction::Lost;
            notices.push(
                "the transaction is lost with its connection; none of its commands was executed",
            );
        }
        if self.watch == Watch::Held {
            self.watch = Watch::Lost;
            notices.push("the watched keys are no longer watched: the connection was lost");
        }
        notices
    }

    /// The connection broke after `words` were sent and before their reply. Whether the outcome is
    /// known all the same: it was only to be queued, and is lost with its transaction.
    pub(crate) fn break_at(&mut self, words: &Words) -> bool {
        let was_open = self.in_transaction();
        if was_open && (is_named(words, "EXEC") || is_named(words, "DISCARD")) {
            (self.transaction, self.watch) = (Transaction::None, Watch::None);
            return false;
        }
        self.lose();
        if is_named(words, "MULTI") {
            self.transaction = Transaction::Lost;
        } else if is_named(words, "WATCH") {
            self.watch = Watch::Lost;
        }
        was_open
    }

    /// What a new connection must be told, after the login and the protocol, and each accepted.
    pub(crate) fn restoring(&self) -> Vec<Words> {
        let select = (self.database != 0)
            .then(|| vec![b"SELECT".to_vec(), self.database.to_string().into_bytes()]);
        select.into_iter().chain(self.settings.iter().cloned()).collect()
    }

    /// What silences a new connection as the last one was; it has no reply.
    pub(crate) fn silencing(&self) -> Option<Words> {
        (self.replies == Replies::Off)
            .then(|| ["CLIENT", "REPLY", "OFF"].map(|word| word.as_bytes().to_vec()).into())
    }

    /// What a new connection was told, in words for the person; empty if that is nothing.
    pub(crate) fn restored(&self) -> String {
        let mut parts = Vec::new();
        if self.database != 0 {
            parts.push(format!("database {}", self.database));
        }
        let settings = self.settings.iter().filter_map(setting);
        parts.extend(settings.map(|kind| kind.to_ascii_lowercase()));
        if self.replies == Replies::Off {
            parts.push("client reply off".to_owned());
        }
        if parts.is_empty() {
            String::new()
        } else {
            format!(", with {} as before", parts.join(", "))
        }
    }
}

/// Whether `words` is the command of that name.
pub(crate) fn is_named(words: &Words, name: &str) -> bool {
    words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// What CLIENT REPLY asks for, if that is the command.
fn reply_mode(words: &Words) -> Option<Replies> {
    let [_, subcommand, mode] = words.as_slice() else { return None };
    if !is_named(words, "CLIENT") || !subcommand.eq_ignore_ascii_case(b"REPLY") {
        return None;
    }
    let modes = [("ON", Replies::On), ("OFF", Replies::Off), ("SKIP", Replies::SkipNext)];
    let found = modes.iter().find(|(name, _)| mode.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, mode)| *mode)
}

/// What a command sets that a connection keeps: `CLIENT SETNAME`. Two that name the same replace each
/// other.
fn setting(words: &Words) -> Option<String> {
    if is_named(words, "READONLY") || is_named(words, "READWRITE") {
        return Some("READONLY".to_owned());
    }
    let subcommand = words.get(1).filter(|_| is_named(words, "CLIENT"))?.to_ascii_uppercase();
    let subcommand = String::from_utf8(subcommand).ok()?;
    if !CLIENT_SETTINGS.contains(&subcommand.as_str()) {
        return None;
    }
    let attribute = match (subcommand.as_str(), words.get(2)) {
        ("SETINFO", Some(name)) => format!(" {}", String::from_utf8_lossy(name).to_uppercase()),
        _ => String::new(),
    };
    Some(format!("CLIENT {subcommand}{attribute}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn after(lines: &[&str]) -> State {
        let mut state = State::default();
        for line in lines {
            let words = words(line);
            assert_eq!(state.admit(&words).unwrap(), Admission::Send, "{line}");
            let outcome = match line.split_whitespace().next() {
                Some("EXEC") => Outcome::Executed(None),
                _ => Outcome::Done,
            };
            state.note(&words, &outcome);
        }
        state
    }

    fn restoring(state: &State) -> Vec<String> {
        let line = |words: &Words| String::from_utf8(words.join(&b' ')).unwrap();
        state.restoring().iter().map(line).collect()
    }

    #[test]
    fn the_last_of_each_setting_is_restored() {
        let state = after(&[
            "select 3",
            "client setname a",
            "CLIENT SETINFO lib-name x",
            "CLIENT SETINFO lib-ver 1",
            "CLIENT NO-EVICT on",
            "Client SetName b",
            "HELLO 2 AUTH eve pw",
            "GET k",
        ]);
        let expected = [
            "SELECT 3",
            "CLIENT SETINFO lib-name x",
            "CLIENT SETINFO lib-ver 1",
            "CLIENT NO-EVICT on",
            "Client SetName b",
        ];
        assert_eq!(restoring(&state), expected);
        assert_eq!(state.credentials().command().unwrap(), words("AUTH eve pw"));
        assert_eq!((state.protocol(), state.mark().as_str()), (Some(2), "[3]"));
        let reset = after(&["SELECT 3", "CLIENT SETNAME a", "AUTH pw", "RESET"]);
        assert_eq!(restoring(&reset), Vec::<String>::new());
        assert_eq!(reset.credentials().command(), None);
    }

    #[test]
    fn what_a_transaction_sets_counts_once_it_is_executed() {
        let mut state = after(&["MULTI", "SELECT 4", "GET k", "CLIENT SETNAME a"]);
        assert_eq!(state.mark(), "(TX)");
        state.note(&words("EXEC"), &Outcome::Executed(Some(vec![true, true, false])));
        assert_eq!(restoring(&state), ["SELECT 4"], "the name was refused");
        for outcome in [Outcome::Refused, Outcome::Aborted] {
            let mut state = after(&["MULTI", "SELECT 4"]);
            state.note(&words("EXEC"), &outcome);
            assert_eq!(state.mark(), "", "{outcome:?}");
        }
        assert_eq!(after(&["MULTI", "SELECT 4", "DISCARD"]).mark(), "");
    }

    #[test]
    fn a_lost_transaction_lets_nothing_through_until_it_is_ended() {
        let lost = || {
            let mut state = after(&["SELECT 2", "MULTI", "SET a 1"]);
            assert_eq!(state.lose().len(), 1);
            state
        };
        let mut state = lost();
        assert_eq!(state.mark(), "[2](TX lost)");
        for line in ["SET b 2", "GET b", "MULTI", "SELECT 3"] {
            assert!(
                state.admit(&words(line)).unwrap_err().to_string().contains("not sent"),
                "{line}"
            );
        }
        let error = state.admit(&words("exec")).unwrap_err().to_string();
        assert!(error.contains("none of its commands was executed"), "{error}");
        assert_eq!(state.admit(&words("SET b 2")).unwrap(), Admission::Send);
        let mut state = lost();
        assert_eq!(state.admit(&words("DISCARD")).unwrap(), Admission::Done);
        assert_eq!(state.admit(&words("SET b 2")).unwrap(), Admission::Send);
        assert_eq!(lost().admit(&words("RESET")).unwrap(), Admission::Send);
    }

    #[test]
    fn a_break_is_told_apart_by_where_it_came() {
        let mut queued = after(&["MULTI"]);
        assert!(queued.break_at(&words("SET a 1")), "it was not executed");
        assert_eq!(queued.mark(), "(TX lost)");
        let mut ended = after(&["MULTI", "SET a 1"]);
        assert!(!ended.break_at(&words("EXEC")), "nobody knows");
        assert_eq!(ended.mark(), "");
        let mut begun = after(&[]);
        assert!(!begun.break_at(&words("MULTI")));
        assert_eq!(begun.mark(), "(TX lost)", "what follows was meant for the transaction");
    }

    #[test]
    fn exec_is_refused_where_the_watch_was_lost() {
        let mut state = after(&["WATCH k"]);
        assert_eq!(state.lose().len(), 1);
        for line in ["GET k", "MULTI", "SET k 1"] {
            assert_eq!(state.admit(&words(line)).unwrap(), Admission::Send);
            state.note(&words(line), &Outcome::Done);
        }
        let error = state.admit(&words("EXEC")).unwrap_err().to_string();
        assert!(error.contains("watched"), "{error}");
        assert_eq!(state.mark(), "(TX)", "the server still has it");
        state.note(&words("DISCARD"), &Outcome::Done);
        assert_eq!(after(&["WATCH k", "MULTI", "EXEC"]).lose().len(), 0);
    }

    #[test]
    fn what_gets_no_reply_is_known() {
        let mut state = after(&[]);
        let mut send = |line: &str| {
            let answered = state.is_answered(&words(line));
            state.note(&words(line), &Outcome::Done);
            answered
        };
        let steps = [
            ("CLIENT REPLY SKIP", false),
            ("GET k", false),
            ("GET k", true),
            ("CLIENT REPLY SKIP", false),
            ("CLIENT REPLY ON", true),
            ("client reply off", false),
            ("SET k v", false),
            ("CLIENT REPLY SKIP", false),
            ("SELECT 3", false),
            ("CLIENT REPLY ON", true),
            ("CLIENT REPLY SKIP", false),
            ("RESET", false),
            ("CLIENT REPLY OFF", false),
            ("RESET", true),
            ("GET k", true),
        ];
        for (line, answered) in steps {
            assert_eq!(send(line), answered, "{line}");
        }
        let mut silent = after(&["CLIENT REPLY OFF"]);
        assert_eq!(silent.silencing(), Some(words("CLIENT REPLY OFF")));
        assert_eq!(silent.lose().len(), 1);
        assert_eq!(silent.restored(), ", with client reply off as before");
    }
}
