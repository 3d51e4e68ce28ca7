//! Runs commands and prints what came of them: the part that the prompt, a script and a single command
//! share.
//!
//! Replies go to one output, in the format that was asked for; what the person should know besides
//! goes to the other.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use super::print::Format;
use super::session::{Session, Words, is_named};
use super::value::Value;
use super::words;
use crate::client::app::{Exit, Output};
use crate::client::error::{Error, Result};

/// Commands after which the server sends messages until it is told otherwise.
const WATCHING: &[&str] = &["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR"];

/// A session with somewhere to print to.
pub(crate) struct Runner<'r, 'o> {
    pub(crate) session: &'r mut Session,
    pub(crate) format: Format,
    pub(crate) output: &'r mut Output<'o>,
}

impl Runner<'_, '_> {
    /// Runs one line of a script or of the prompt. Breaks when it asks to leave; `None`: its quotes
    /// are not balanced.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<ControlFlow<(), Option<Exit>>> {
        let Some(mut words) = words::split(line) else { return Ok(ControlFlow::Continue(None)) };
        if words.len() == 1 && ["exit", "quit"].iter().any(|name| is_named(&words, name)) {
            return Ok(ControlFlow::Break(()));
        }
        let count = repetitions(&words);
        if count.is_some() {
            words.remove(0);
        }
        if words.is_empty() {
            return Ok(ControlFlow::Continue(Some(Exit::Fine)));
        }
        let exit = self.repeat(&words, count.or(Some(1)), None)?;
        Ok(ControlFlow::Continue(Some(exit)))
    }

    /// Runs a command so often, or until Ctrl-C; stops early where the connection fails.
    pub(crate) fn repeat(
        &mut self,
        words: &Words,
        count: Option<u64>,
        interval: Option<Duration>,
    ) -> io::Result<Exit> {
        let mut worst = Exit::Fine;
        let mut left = count;
        while left != Some(0) && !self.session.interrupt().is_set() {
            left = left.map(|left| left - 1);
            match self.command(words)? {
                Exit::Fine => {}
                Exit::Refused => worst = Exit::Refused,
                Exit::Unusable => return Ok(Exit::Unusable),
            }
            if let (Some(interval), true) = (interval, left != Some(0)) {
                self.output.out.flush()?;
                self.session.interrupt().sleep(interval);
            }
        }
        Ok(worst)
    }

    /// Runs a command once.
    fn command(&mut self, words: &Words) -> io::Result<Exit> {
        let watching = WATCHING.iter().any(|name| is_named(words, name));
        if watching && !self.session.in_transaction() {
            return self.watch(words);
        }
        let result = self.session.run(words);
        self.tell()?;
        let replies = match result {
            Ok(replies) => replies,
            Err(error) => return self.output.fail(&error, Exit::Unusable),
        };
        for reply in &replies {
            match reply.text() {
                Some(text) if is_readable(words) => self.print_text(text)?,
                _ => self.print(reply)?,
            }
        }
        let refused = replies.iter().any(Value::is_error);
        Ok(if refused { Exit::Refused } else { Exit::Fine })
    }

    /// Prints what the server sends after a command, until Ctrl-C or until the server refuses.
    fn watch(&mut self, words: &Words) -> io::Result<Exit> {
        let opened = self.session.begin(words);
        self.tell()?;
        let mut link = match opened {
            Ok(link) => link,
            Err(error) => return self.output.fail(&error, Exit::Unusable),
        };
        if self.output.out_paint.is_terminal() {
            self.output.notice("Messages are shown as they come; Ctrl-C ends it.")?;
        }
        loop {
            match link.receive() {
                Ok(message) if message.is_error() => {
                    self.session.put(link);
                    return self.print(&message).map(|()| Exit::Refused);
                }
                Ok(message) => self.print(&message)?,
                // The connection goes with the subscriptions.
                Err(error) => {
                    self.session.forget();
                    return match error {
                        Error::Interrupted => Ok(Exit::Fine),
                        error => self.output.fail(&error, Exit::Unusable),
                    };
                }
            }
            self.output.out.flush()?;
        }
    }

    /// Prints a reply in the format that was asked for.
    pub(crate) fn print(&mut self, value: &Value) -> io::Result<()> {
        let mut text = Vec::new();
        self.format.print(&mut text, value);
        if self.format == Format::Standard {
            self.show(&text)
        } else {
            self.output.out.write_all(&text)
        }
    }

    /// Writes lines for a person. On a terminal nothing in them can do harm, and a CR before a line's
    /// end is not shown.
    fn show(&mut self, text: &[u8]) -> io::Result<()> {
        let paint = self.output.out_paint;
        if !paint.is_terminal() {
            return paint.text(self.output.out, text);
        }
        let lines = text.split(|&byte| byte == b'\n');
        let lines: Vec<_> = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
        paint.text(self.output.out, &lines.join(&b'\n'))
    }

    /// Prints text for people: without a line of its own where it ends with one, but as one value where
    /// a format has its own idea of values.
    fn print_text(&mut self, text: &[u8]) -> io::Result<()> {
        match self.format {
            Format::Standard => self.show(text),
            Format::Raw => {
                self.output.out.write_all(text)?;
                let ended = text.is_empty() || text.ends_with(b"\n");
                if ended { Ok(()) } else { self.output.out.write_all(b"\n") }
            }
            _ => self.print(&Value::Verbatim(text.to_vec())),
        }
    }

    /// Shows what came up besides the replies; what the server pushed is for people only.
    pub(crate) fn tell(&mut self) -> io::Result<()> {
        for notice in self.session.take_notices() {
            self.output.notice(&notice)?;
        }
        let pushed = self.session.take_pushed();
        if self.output.out_paint.is_terminal() && self.format == Format::Standard {
            pushed.iter().try_for_each(|message| self.print(message))?;
        }
        Ok(())
    }

    /// Asks for something that changes nothing: one reply for each command.
    pub(crate) fn ask(&mut self, commands: &[Words]) -> io::Result<Result<Vec<Value>>> {
        let replies = self.session.ask(commands);
        self.tell()?;
        Ok(replies)
    }
}

/// The number in front of a command that says how often to run it.
fn repetitions(words: &Words) -> Option<u64> {
    let [number, _, ..] = words.as_slice() else { return None };
    std::str::from_utf8(number).ok()?.parse().ok().filter(|count| *count > 0)
}

/// Whether the reply to a command is text for people, which is printed as it is: RESP2 has no type for
/// that.
fn is_readable(words: &Words) -> bool {
    const READABLE: &[(&str, &[&str])] = &[
        ("INFO", &[]),
        ("LOLWUT", &[]),
        ("CLIENT", &["LIST", "INFO"]),
        ("MEMORY", &["DOCTOR", "MALLOC-STATS"]),
        ("LATENCY", &["DOCTOR", "GRAPH"]),
        ("CLUSTER", &["INFO", "NODES"]),
        ("DEBUG", &["HTSTATS", "HTSTATS-KEY"]),
    ];
    let second = words.get(1).map(Vec::as_slice).unwrap_or_default();
    READABLE.iter().any(|(name, seconds)| {
        let fits = |known: &&str| second.eq_ignore_ascii_case(known.as_bytes());
        is_named(words, name) && (seconds.is_empty() || seconds.iter().any(fits))
    })
}

#[cfg(test)]
mod tests {
    use super::super::session::words;
    use super::*;

    #[test]
    fn a_number_in_front_repeats() {
        assert_eq!(repetitions(&words(&["5", "INCR", "x"])), Some(5));
        for line in [&["5"][..], &["0", "PING"], &["-1", "PING"], &["x5", "PING"], &[]] {
            assert_eq!(repetitions(&words(line)), None, "{line:?}");
        }
    }

    #[test]
    fn text_for_people_is_known_by_its_command() {
        for line in [&["info"][..], &["INFO", "server"], &["CLIENT", "list"], &["memory", "DOCTOR"]]
        {
            assert!(is_readable(&words(line)), "{line:?}");
        }
        for line in [&["GET", "info"][..], &["CLIENT", "GETNAME"], &["CLIENT"], &[]] {
            assert!(!is_readable(&words(line)), "{line:?}");
        }
    }
}
