//! The client's RESP mode: what redis-cli does, for Chronos and any Redis.
//!
//! Layers: `value` ← `decode`, `encode` ← `link` (one connection) ← `session` (comes back, knows the
//! database and the transaction) ← `runner` (runs and prints commands) ← the ways to use it here and in
//! `prompt`, `scan`, `pipe`, `monitoring`, `bigkeys`. `print`, `words` and `docs` are pure. The prompt's
//! line editor, the outputs and the flags of the endpoint are those of the text mode.
//!
//! Bytes are bytes: a value is printed as the format says and otherwise never interpreted.

mod bigkeys;
pub(crate) mod decode;
mod docs;
mod encode;
mod link;
mod monitoring;
pub(crate) mod options;
mod pipe;
mod print;
mod prompt;
mod runner;
mod scan;
pub(crate) mod session;
pub(crate) mod value;
pub(crate) mod words;

pub(crate) use self::encode::encode;

use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::ops::ControlFlow;

use self::bigkeys::Measure;
use self::options::{FromInput, Mode};
use self::prompt::RespDialect;
use self::runner::Runner;
use self::session::{Login, Session, Words};
use super::app::{Exit, Output, hint_color};
use super::interrupt::Interrupt;
use super::options::Options;
use super::repl;
use super::state::Credentials;

/// Runs the client in RESP mode.
pub(crate) fn run(
    options: &Options,
    credentials: Credentials,
    interrupt: &Interrupt,
    output: &mut Output<'_>,
) -> io::Result<Exit> {
    let flags = &options.flags;
    let words = match command_words(&options.command, &flags.input()) {
        Ok(words) => words,
        Err(error) => {
            let message = format!("cannot read the argument from standard input: {error}");
            return output.fail(&message, Exit::Unusable);
        }
    };
    let login = Login {
        endpoint: options.endpoint(),
        protocol: flags.protocol(),
        credentials,
        database: options.database(),
    };
    interrupt.catch()?;
    let mut session = match Session::open(login, interrupt.clone()) {
        Ok(session) => session,
        Err(error) => return output.fail(&error, Exit::Unusable),
    };
    let format = flags.format(output.out_paint.is_terminal());
    let mut runner = Runner { session: &mut session, format, output };
    match flags.mode() {
        Mode::Commands if !words.is_empty() => {
            runner.repeat(&words, flags.repeat(Some(1)), flags.interval)
        }
        Mode::Commands if io::stdin().is_terminal() => {
            repl::run(&mut RespDialect::new(session, format), hint_color(options.color()), output)
        }
        Mode::Commands => run_script(&mut runner, io::stdin()),
        Mode::Scan => scan::run(&mut runner, flags),
        Mode::Pipe => pipe::run(&mut runner, io::stdin(), flags.pipe_timeout()),
        Mode::Stat => monitoring::stat(&mut runner, flags),
        Mode::Latency => monitoring::latency(&mut runner, flags),
        Mode::LatencyHistory => monitoring::latency_history(&mut runner, flags),
        Mode::BigKeys => bigkeys::run(&mut runner, flags, Measure::Elements),
        Mode::MemKeys => bigkeys::run(&mut runner, flags, Measure::Memory),
    }
}

/// The command that the arguments spell, with what standard input has for it.
fn command_words(arguments: &[std::ffi::OsString], from_input: &FromInput) -> io::Result<Words> {
    let mut words: Words = arguments.iter().map(|word| word.as_encoded_bytes().to_vec()).collect();
    if *from_input == FromInput::Nothing {
        return Ok(words);
    }
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    match from_input {
        FromInput::Tagged(tag) => {
            for word in words.iter_mut().filter(|word| word.as_slice() == tag.as_bytes()) {
                word.clone_from(&input);
            }
        }
        _ => words.push(input),
    }
    Ok(words)
}

/// Runs commands line by line. Errors are printed among the replies, as redis-cli does, and remembered
/// for the exit code.
fn run_script(runner: &mut Runner<'_, '_>, input: impl Read) -> io::Result<Exit> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut worst = Exit::Fine;
    let mut line = Vec::new();
    for number in 1.. {
        if memchr::memchr(b'\n', input.buffer()).is_none() {
            runner.output.out.flush()?;
        }
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                let message = format!("cannot read the commands: {error}");
                return runner.output.fail(&message, Exit::Unusable);
            }
        }
        if line.trim_ascii_start().starts_with(b"#") {
            continue;
        }
        match runner.line(&line)? {
            ControlFlow::Continue(None) => {
                worst = Exit::Refused;
                runner.output.complain(&format!("line {number}: the quotes are not balanced"))?;
            }
            ControlFlow::Continue(Some(Exit::Unusable)) => {
                let message = format!("the script ends at line {number}");
                return runner.output.fail(&message, Exit::Unusable);
            }
            ControlFlow::Continue(Some(Exit::Refused)) => worst = Exit::Refused,
            ControlFlow::Continue(Some(Exit::Fine)) => {}
            ControlFlow::Break(()) => break,
        }
    }
    Ok(worst)
}
