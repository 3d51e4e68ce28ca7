//! The `client` binary: decides between a prompt, one command and a script, and what to exit with.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use super::error::{Error, Result};
use super::interrupt::{Interrupt, Stoppable};
use super::options::{ColorChoice, Options, PASSWORD_WARNING};
use super::paint::Paint;
use super::repl::TextDialect;
use super::session::Session;
use super::{repl, request, resp, script};

/// How a run ended, as scripts around the client see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every command was carried out.
    Fine = 0,
    /// The server refused a command.
    Refused = 1,
    /// Wrong usage, no connection, or one that broke.
    Unusable = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The two outputs of a run. Replies go to one, everything else to the other.
pub(crate) struct Output<'o> {
    pub(crate) out: &'o mut dyn Write,
    pub(crate) out_paint: Paint,
    pub(crate) err: &'o mut dyn Write,
    pub(crate) err_paint: Paint,
}

impl Output<'_> {
    /// Reports what went wrong.
    pub(crate) fn complain(&mut self, message: &dyn Display) -> io::Result<()> {
        self.err_paint.error(self.err, message.to_string().as_bytes())
    }

    /// Reports why the run ends here.
    pub(crate) fn fail(&mut self, message: &dyn Display, exit: Exit) -> io::Result<Exit> {
        self.out.flush()?;
        self.complain(message)?;
        Ok(exit)
    }

    /// Reports what is worth knowing.
    pub(crate) fn notice(&mut self, message: &str) -> io::Result<()> {
        self.err_paint.notice(self.err, message)
    }
}

/// Runs the client with the process's arguments and streams.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let color = options.color();
    let interrupt = Interrupt::default();
    let out = Stoppable::new(io::stdout().lock(), &interrupt);
    let mut out = io::BufWriter::with_capacity(64 << 10, out);
    let mut err = io::stderr();
    let mut output = Output {
        out_paint: Paint::of(&io::stdout(), color),
        err_paint: Paint::of(&err, color),
        out: &mut out,
        err: &mut err,
    };
    let exit =
        run(&options, &interrupt, &mut output).and_then(|exit| output.out.flush().map(|()| exit));
    match exit {
        Ok(exit) => exit.into(),
        // Whoever reads the output has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Refused.into(),
        Err(error) => {
            drop(output.complain(&format!("cannot write the output: {error}")));
            Exit::Unusable.into()
        }
    }
}

fn run(options: &Options, interrupt: &Interrupt, output: &mut Output<'_>) -> io::Result<Exit> {
    if options.shows_password() {
        output.notice(PASSWORD_WARNING)?;
    }
    let credentials = match options.credentials() {
        Ok(credentials) => credentials,
        Err(message) => return output.fail(&message, Exit::Unusable),
    };
    if options.speaks_resp() {
        return resp::run(options, credentials, interrupt, output);
    }
    let is_prompt = options.command.is_empty() && io::stdin().is_terminal();
    let is_script = options.command.is_empty() && !is_prompt;
    if !is_script {
        // A script has nothing to go on with behind Ctrl-C.
        interrupt.catch()?;
    }
    let line = match line_of(&options.command) {
        Ok(line) => line,
        Err(error) if !options.command.is_empty() => return output.fail(&error, Exit::Unusable),
        Err(_) => Vec::new(),
    };
    let endpoint = options.endpoint();
    let mut session = match Session::open(&endpoint, credentials, interrupt) {
        Ok(session) => session,
        Err(error) => return output.fail(&error, Exit::Unusable),
    };
    if is_prompt {
        let mut dialect =
            TextDialect { session, endpoint: &endpoint, interrupt: interrupt.clone() };
        return repl::run(&mut dialect, hint_color(options.color()), output);
    }
    tell(&mut session, output)?;
    if is_script {
        return match session.into_connection() {
            Ok(connection) => script::run(connection, io::stdin(), output),
            Err(error) => output.fail(&error, Exit::Unusable),
        };
    }
    run_one(&mut session, &line, output)
}

/// Shows what came up besides the replies.
pub(crate) fn tell(session: &mut Session, output: &mut Output<'_>) -> io::Result<()> {
    session.take_notices().iter().try_for_each(|notice| output.notice(notice))
}

/// The line editor draws with colours of its own, on the terminal, whatever the replies get.
pub(crate) fn hint_color(color: ColorChoice) -> bool {
    Paint::of(&io::stdin(), color).is_colored()
}

/// Runs one command.
fn run_one(session: &mut Session, line: &[u8], output: &mut Output<'_>) -> io::Result<Exit> {
    if session.watches(line) {
        return repl::watch(session, line, output);
    }
    let result = session.run(line);
    tell(session, output)?;
    match result {
        Ok(Some(super::Reply::Error(message))) => {
            output.fail(&String::from_utf8_lossy(&message), Exit::Refused)
        }
        Ok(Some(reply)) => output.out_paint.reply(output.out, &reply).map(|()| Exit::Fine),
        Ok(None) => Ok(Exit::Fine),
        Err(error) => output.fail(&error, Exit::Unusable),
    }
}

/// Joins the arguments by one space each. What the server would read differently from what the shell
/// was told is refused: better an error than another key.
fn line_of(arguments: &[OsString]) -> Result<Vec<u8>> {
    let words: Vec<&[u8]> = arguments.iter().map(|word| word.as_encoded_bytes()).collect();
    let line = words.join(&b' ');
    request::check(&line)?;
    if request::is_blank(&line) {
        return Err(Error::Request("the command is empty"));
    }
    if line.ends_with(b"\r") {
        return Err(Error::Request(
            "the text protocol drops a carriage return at the end of a line; write such a value \
             over RESP, by any Redis client",
        ));
    }
    let takes_rest = request::command_of(&line).is_some_and(|command| command.rest_of_line);
    if let (true, [_, key, _value, ..]) = (takes_rest, words.as_slice())
        && (key.is_empty() || key.contains(&b' '))
    {
        return Err(Error::Request(
            "the text protocol cannot carry a key that is empty or holds a space",
        ));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(words: &[&str]) -> Result<Vec<u8>> {
        line_of(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_joined_by_one_space() {
        assert_eq!(join(&["SET", "k", "a", " b", ""]).unwrap(), b"SET k a  b ");
        assert_eq!(join(&["SET k a"]).unwrap(), b"SET k a");
        assert_eq!(join(&["get", "k"]).unwrap(), b"get k");
    }

    #[test]
    fn what_the_server_would_read_differently_is_refused() {
        let refused: [&[&str]; 7] = [
            &[""],
            &[" ", " "],
            &["SET", "k", "a\nb"],
            &["SET", "k", "a\r"],
            &["SET", "a b", "c"],
            &["set", "", "c"],
            &["GET", "k\nDEL k"],
        ];
        for words in refused {
            assert!(matches!(join(words), Err(Error::Request(_))), "{words:?}");
        }
    }
}
