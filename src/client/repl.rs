//! The prompt: line editing, history, completion and hints by rustyline. What is behind it, the text
//! protocol or RESP, is a [`Dialect`].
//!
//! It never ends because of the server: what went wrong is said, and the next command tries again.

use std::borrow::Cow;
use std::fs;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::DefaultHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Context, Editor, Helper, Validator};

use super::app::{Exit, Output, tell};
use super::complete::{self, LEAVE_WORDS};
use super::connection::Endpoint;
use super::error::Error;
use super::interrupt::Interrupt;
use super::session::Session;
use super::{request, secrets};

const HISTORY_LINES: usize = 1000;

type Prompt = Editor<CommandHelper, DefaultHistory>;

/// What is behind a prompt.
pub(crate) trait Dialect {
    /// What to offer while a person types.
    fn vocabulary(&mut self) -> Rc<dyn Vocabulary>;
    /// What to show before the cursor.
    fn prompt(&self) -> String;
    /// What to say first.
    fn greeting(&self) -> String;
    /// Runs what was entered. Breaks when the person leaves.
    fn answer(&mut self, entered: &str, output: &mut Output<'_>) -> io::Result<ControlFlow<()>>;
}

/// What a prompt offers while a person types.
pub(crate) trait Vocabulary {
    /// The names that fit the word before `position`, and where that word begins.
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>);
    /// The arguments that `line` still lacks, to be shown behind it.
    fn hint(&self, line: &str) -> Option<String>;
}

/// Reads and runs commands until the person leaves.
pub(crate) fn run(
    dialect: &mut impl Dialect,
    hint_color: bool,
    output: &mut Output<'_>,
) -> io::Result<Exit> {
    let mut prompt = match open_prompt(hint_color, dialect.vocabulary()) {
        Ok(prompt) => prompt,
        Err(error) => {
            return output.fail(&format!("cannot use the terminal: {error}"), Exit::Unusable);
        }
    };
    let mut history = History::open(&mut prompt, output)?;
    output.notice(&dialect.greeting())?;
    loop {
        output.out.flush()?;
        match prompt.readline(&dialect.prompt()) {
            Ok(line) => {
                if !secrets::are_in(&line) {
                    history.keep(&mut prompt, &line, output)?;
                }
                if dialect.answer(&line, output)?.is_break() {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                let message = format!("cannot read from the terminal: {error}");
                return output.fail(&message, Exit::Unusable);
            }
        }
    }
    Ok(Exit::Fine)
}

/// The text protocol at the prompt.
pub(crate) struct TextDialect<'e> {
    pub(crate) session: Session,
    pub(crate) endpoint: &'e Endpoint,
    pub(crate) interrupt: Interrupt,
}

impl Dialect for TextDialect<'_> {
    fn vocabulary(&mut self) -> Rc<dyn Vocabulary> {
        Rc::new(CommandTable)
    }

    fn prompt(&self) -> String {
        self.session.prompt()
    }

    fn greeting(&self) -> String {
        format!("Connected to {}. HELP lists the commands; exit leaves.", self.endpoint)
    }

    /// Runs what was entered: a line, or as many as were pasted at once.
    fn answer(&mut self, entered: &str, output: &mut Output<'_>) -> io::Result<ControlFlow<()>> {
        for line in entered.split('\n') {
            if LEAVE_WORDS.iter().any(|word| word.eq_ignore_ascii_case(line.trim())) {
                return Ok(ControlFlow::Break(()));
            }
            self.interrupt.clear();
            answer(&mut self.session, line.as_bytes(), output)?;
            end_reply(&self.interrupt, output)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The command table, as a vocabulary.
struct CommandTable;

impl Vocabulary for CommandTable {
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        complete::candidates(line, position)
    }

    fn hint(&self, line: &str) -> Option<String> {
        complete::hint(line)
    }
}

/// Runs one line and shows what came of it.
fn answer(session: &mut Session, line: &[u8], output: &mut Output<'_>) -> io::Result<()> {
    if request::is_blank(line) || request::is_comment(line) {
        return Ok(());
    }
    if session.watches(line) {
        return watch(session, line, output).map(|_| ());
    }
    let result = session.run(line);
    tell(session, output)?;
    match result {
        Ok(Some(reply)) => output.out_paint.reply(output.out, &reply),
        Ok(None) if session.is_open() => Ok(()),
        Ok(None) => output.notice("the server closed the connection"),
        Err(error) => output.complain(&error),
    }
}

/// What ends the printing of messages.
enum End {
    Lost(Error),
    Unwritable(io::Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// Prints what the server sends after a command, until Ctrl-C or until the server refuses.
pub(crate) fn watch(
    session: &mut Session,
    line: &[u8],
    output: &mut Output<'_>,
) -> io::Result<Exit> {
    if output.out_paint.is_terminal() {
        output.notice("Messages are shown as they come; Ctrl-C ends it.")?;
    }
    let mut exit = Exit::Fine;
    let ended = session.watch(line, &mut |session, message| {
        if message.is_error() {
            exit = Exit::Refused;
        }
        tell(session, output)
            .and_then(|()| output.out_paint.reply(output.out, &message))
            .and_then(|()| output.out.flush())
            .map_err(End::Unwritable)
    });
    tell(session, output)?;
    match ended {
        // The connection goes with the subscriptions.
        Ok(()) | Err(End::Lost(Error::Interrupted)) => Ok(exit),
        Err(End::Lost(error)) => output.fail(&error, Exit::Unusable),
        Err(End::Unwritable(error)) => Err(error),
    }
}

/// Ctrl-C ended the printing of a reply, and nothing else: says so, and forgets it.
pub(crate) fn end_reply(interrupt: &Interrupt, output: &mut Output<'_>) -> io::Result<()> {
    if !interrupt.is_set() {
        return Ok(());
    }
    // What was not shown yet is dropped here.
    output.out.flush()?;
    interrupt.clear();
    output.notice("interrupted")
}

fn open_prompt(hint_color: bool, vocabulary: Rc<dyn Vocabulary>) -> rustyline::Result<Prompt> {
    // When the replies go to a file, the prompt stays on the terminal.
    let behavior = if io::stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
    let color = if hint_color { ColorMode::Enabled } else { ColorMode::Disabled };
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .auto_add_history(false)
        .behavior(behavior)
        .color_mode(color)
        .build();
    let mut prompt = Prompt::with_config(config)?;
    prompt.set_helper(Some(CommandHelper(vocabulary)));
    Ok(prompt)
}

/// The file that keeps the lines between runs. No trouble with it ever stops the prompt.
struct History {
    path: Option<PathBuf>,
}

impl History {
    fn open(prompt: &mut Prompt, output: &mut Output<'_>) -> io::Result<Self> {
        let history = Self { path: history_path(|name| std::env::var_os(name).map(PathBuf::from)) };
        if let Some(path) = &history.path
            && path.exists()
            && let Err(error) = prompt.load_history(path)
        {
            output.notice(&format!("cannot read the history in {}: {error}", path.display()))?;
        }
        Ok(history)
    }

    /// Keeps the line just entered at once: a terminal that is closed takes nothing along. The first
    /// failure is told, and ends the attempts.
    fn keep(&mut self, prompt: &mut Prompt, line: &str, output: &mut Output<'_>) -> io::Result<()> {
        // In memory it cannot fail.
        drop(prompt.add_history_entry(line));
        let Some(path) = self.path.take() else { return Ok(()) };
        match append(prompt, &path) {
            Ok(()) => {
                self.path = Some(path);
                Ok(())
            }
            Err(error) => {
                output.notice(&format!("cannot keep the history in {}: {error}", path.display()))
            }
        }
    }
}

/// Adds what is new to the lines that other prompts wrote meanwhile. The file is its user's alone, also
/// one that was there.
fn append(prompt: &mut Prompt, path: &Path) -> rustyline::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // A device stays as it is, and keeps nothing: /dev/null says that no history is wanted.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(());
    }
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    prompt.append_history(path)
}

/// Where the history is kept: `CHRONOS_HISTORY`, or the user's folder for state.
fn history_path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let variable = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = variable("CHRONOS_HISTORY") {
        return Some(path);
    }
    let state = variable("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("chronos/history"))
}

/// Connects a [`Vocabulary`] to the line editor.
#[derive(Helper, Validator)]
struct CommandHelper(Rc<dyn Vocabulary>);

impl Completer for CommandHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.0.candidates(line, position))
    }
}

/// Names of arguments: to be read, never to be inserted into the line.
struct ArgumentHint(String);

impl Hint for ArgumentHint {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for CommandHelper {
    type Hint = ArgumentHint;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<ArgumentHint> {
        if position < line.len() { None } else { self.0.hint(line).map(ArgumentHint) }
    }
}

impl Highlighter for CommandHelper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        history_path(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_history_has_one_place_and_can_be_moved() {
        let home = ("HOME", "/home/eve");
        let expected = Some(PathBuf::from("/home/eve/.local/state/chronos/history"));
        assert_eq!(path_with(&[home]), expected);
        assert_eq!(path_with(&[home, ("XDG_STATE_HOME", "")]), expected);
        let state = ("XDG_STATE_HOME", "/state");
        assert_eq!(path_with(&[home, state]), Some("/state/chronos/history".into()));
        assert_eq!(path_with(&[home, state, ("CHRONOS_HISTORY", "h")]), Some("h".into()));
        assert_eq!(path_with(&[]), None);
    }

    #[test]
    fn the_history_is_its_users_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state/history");
        for round in 0..2 {
            let mut prompt = open_prompt(false, Rc::new(CommandTable)).unwrap();
            prompt.add_history_entry(format!("GET {round}")).unwrap();
            append(&mut prompt, &path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mode = || fs::metadata("/dev/null").unwrap().permissions().mode();
        let before = mode();
        append(&mut open_prompt(false, Rc::new(CommandTable)).unwrap(), Path::new("/dev/null"))
            .unwrap();
        assert_eq!(mode(), before);
        let kept = fs::read_to_string(&path).unwrap();
        assert!(kept.contains("GET 0") && kept.contains("GET 1"), "{kept}");
    }

    #[test]
    fn a_hint_is_not_inserted() {
        let history = DefaultHistory::new();
        let context = Context::new(&history);
        let helper = CommandHelper(Rc::new(CommandTable));
        let hint = helper.hint("SET ", 4, &context).unwrap();
        assert_eq!((hint.display(), hint.completion()), ("key value", None));
        assert!(helper.hint("SET ", 3, &context).is_none());
    }
}
