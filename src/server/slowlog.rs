//! SLOWLOG: the commands that took longest on the reactor, where everyone waits for them.
//!
//! Commands that EXEC runs have entries of their own, commands that end with an error as well. Time that
//! a command waits, for the disk, the log or its client, is not counted, as in Redis; nor is that of
//! workers, for which nobody waits but who asked. GET, SET
//! and the like that take the short way are measured only where the threshold is below what they
//! could ever take, for reading a clock twice costs a good part of what they cost.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::parser::table::Flags;
use crate::parser::{Args, Command, Verb};

use super::client::Client;

/// The most words that are kept of a command, and the most bytes of a word.
const KEPT_WORDS: usize = 32;
const KEPT_BYTES: usize = 128;

/// Below this threshold, in microseconds, the short way is closed.
const ALL_US: i64 = 1000;

/// A slow command.
#[derive(Debug, Clone)]
pub(crate) struct SlowCommand {
    pub(crate) number: u64,
    /// When it ran, in seconds since the Unix epoch.
    pub(crate) time: u64,
    pub(crate) micros: u64,
    /// Its words, shortened.
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) client: String,
    pub(crate) client_name: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SlowLog {
    /// In microseconds; negative: off.
    pub(crate) threshold_us: i64,
    /// The most that are kept.
    pub(crate) max_len: usize,
    /// Newest first.
    entries: VecDeque<SlowCommand>,
    next_number: u64,
}

impl Default for SlowLog {
    fn default() -> Self {
        SlowLog { threshold_us: 10_000, max_len: 128, entries: VecDeque::new(), next_number: 0 }
    }
}

impl SlowLog {
    /// Whether even the shortest commands are to be measured.
    pub(crate) fn wants_all(&self) -> bool {
        (0..ALL_US).contains(&self.threshold_us)
    }

    /// Whether this command is to be measured.
    pub(crate) fn wants(&self, command: &Command) -> bool {
        self.threshold_us >= 0 && !command.flags.has(Flags::SKIP_SLOWLOG)
    }

    /// A command has ended: keep it if it was slow.
    pub(crate) fn note(&mut self, micros: u64, command: &Command, args: Args<'_>, client: &Client) {
        let is_slow = i64::try_from(micros).unwrap_or(i64::MAX) >= self.threshold_us;
        if !self.wants(command) || !is_slow {
            return;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.entries.push_front(SlowCommand {
            number: self.next_number,
            time,
            micros,
            words: shortened(command, args),
            client: client.peer.to_string(),
            client_name: client.names.as_ref().map_or_else(String::new, |names| names.name.clone()),
        });
        self.next_number += 1;
        self.trim();
    }

    /// Drops what is too much, after `max_len` has changed too.
    pub(crate) fn trim(&mut self) {
        self.entries.truncate(self.max_len);
    }

    /// Newest first.
    pub(crate) fn entries(&self) -> &VecDeque<SlowCommand> {
        &self.entries
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

fn shortened(command: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let count = args.len() + 1;
    let kept = if count > KEPT_WORDS { KEPT_WORDS - 1 } else { count };
    let mut words: Vec<Vec<u8>> =
        shown_words(command, args).take(kept).map(|word| shortened_word(&word)).collect();
    if count > kept {
        words.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    words
}

/// The words of a request as others may see them: without passwords.
pub(crate) fn shown_words<'a>(
    command: &Command,
    args: Args<'a>,
) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let name = if command.parent.is_empty() { command.name } else { command.parent };
    let verb = command.verb;
    let is_secret = move |at: usize| match verb {
        Verb::Auth => true,
        Verb::Hello => {
            (1..=2).any(|before| at > before && args.at(at - before).eq_ignore_ascii_case(b"AUTH"))
        }
        Verb::ConfigSet => at > 0 && is_secret_setting(args.at(at - 1)),
        _ => false,
    };
    let words = args.iter().enumerate().map(move |(at, word)| {
        Cow::Borrowed(if is_secret(at) { &b"(redacted)"[..] } else { word })
    });
    let name = match args.name() {
        b"" => Cow::Owned(name.to_ascii_lowercase().into_bytes()),
        sent => Cow::Borrowed(sent),
    };
    std::iter::once(name).chain(words)
}

/// Whether a setting of Redis is to be known by nobody else. Tools may send those that are none here.
fn is_secret_setting(name: &[u8]) -> bool {
    let secrets = [
        "requirepass",
        "masterauth",
        "masteruser",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
    ];
    secrets.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
}

fn shortened_word(word: &[u8]) -> Vec<u8> {
    if word.len() <= KEPT_BYTES {
        return word.to_vec();
    }
    let more = format!("... ({} more bytes)", word.len() - KEPT_BYTES);
    [&word[..KEPT_BYTES], more.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{OwnedArgs, resolve};

    fn words(request: &str) -> Vec<String> {
        let owned = OwnedArgs::copy(request.split(' ').map(str::as_bytes));
        let command = resolve(owned.args()).unwrap();
        let words = shortened(command, owned.args().from(1));
        words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn passwords_are_not_kept() {
        assert_eq!(words("AUTH secret"), ["auth", "(redacted)"]);
        assert_eq!(words("AUTH default secret"), ["auth", "(redacted)", "(redacted)"]);
        assert_eq!(
            words("HELLO 3 setname a auth default secret"),
            ["hello", "3", "setname", "a", "auth", "(redacted)", "(redacted)"]
        );
        assert_eq!(
            words("CONFIG SET timeout 0 RequirePass secret"),
            ["config", "SET", "timeout", "0", "RequirePass", "(redacted)"]
        );
        assert_eq!(
            words("CONFIG SET masterauth a masteruser b"),
            ["config", "SET", "masterauth", "(redacted)", "masteruser", "(redacted)"]
        );
        assert_eq!(words("GET auth"), ["get", "auth"]);
    }

    #[test]
    fn long_commands_are_shortened() {
        let many = words(&format!("DEL{}", " k".repeat(40)));
        assert_eq!(many.len(), KEPT_WORDS);
        assert_eq!(many.last().unwrap(), "... (10 more arguments)");
        let long = words(&format!("GET {}", "x".repeat(KEPT_BYTES + 7)));
        assert_eq!(long[1], format!("{}... (7 more bytes)", "x".repeat(KEPT_BYTES)));
        assert_eq!(words(&format!("GET {}", "x".repeat(KEPT_BYTES)))[1].len(), KEPT_BYTES);
    }
}
