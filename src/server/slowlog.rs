//! SLOWLOG: the commands that took longest on the reactor, where everyone waits for them.
//!
//! Time that a command waits, for the disk, the log or its client, is not counted, as in Redis. GET, SET
//! and the like that take the short way are measured only where the threshold is below what they
//! could ever take, for reading a clock twice costs a good part of what they cost.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::parser::table::Flags;
use crate::parser::{Args, Command};

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

    /// A command begins.
    pub(crate) fn start(&self, command: &Command) -> Option<Instant> {
        let measured = self.threshold_us >= 0 && !command.flags.has(Flags::SKIP_SLOWLOG);
        measured.then(Instant::now)
    }

    /// A command has ended: keep it if it was slow.
    pub(crate) fn end(
        &mut self,
        started: Option<Instant>,
        command: &Command,
        args: Args<'_>,
        client: &Client,
    ) {
        let Some(started) = started else { return };
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if i64::try_from(micros).unwrap_or(i64::MAX) < self.threshold_us {
            return;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let name = if command.parent.is_empty() { command.name } else { command.parent };
        self.entries.push_front(SlowCommand {
            number: self.next_number,
            time,
            micros,
            words: shortened(name, args),
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

fn shortened(name: &str, args: Args<'_>) -> Vec<Vec<u8>> {
    let count = args.len() + 1;
    let kept = if count > KEPT_WORDS { KEPT_WORDS - 1 } else { count };
    let name = name.to_ascii_lowercase().into_bytes();
    let words = std::iter::once(name.as_slice()).chain(args.iter());
    let mut words: Vec<Vec<u8>> = words.take(kept).map(shortened_word).collect();
    if count > kept {
        words.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    words
}

fn shortened_word(word: &[u8]) -> Vec<u8> {
    if word.len() <= KEPT_BYTES {
        return word.to_vec();
    }
    let more = format!("... ({} more bytes)", word.len() - KEPT_BYTES);
    [&word[..KEPT_BYTES], more.as_bytes()].concat()
}
