//! The tools for whoever runs a Chronos server: subcommands of its program that work on a directory
//! that no server has open; `backup --from` has a running server write one.
//!
//! They are a thin front: flags, wording, progress bars and exit codes. What they do is the engine's,
//! and open to programs that embed it. Results go to stdout, one line each and meant to be read by
//! programs as well; progress and errors go to stderr. `docs/operations.md` explains them.

mod backup;
mod check;
mod dump;
mod lines;
mod progress;
mod recover;
mod running;
mod words;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;

use self::running::Source;
use self::words::duration;
use crate::engine::storage::Storage;
use crate::engine::storage::disk::DiskStorage;
use crate::engine::{Environment, Error, Options, Result};

/// What the program does other than serve.
#[derive(Debug, Clone, Subcommand)]
pub enum Tool {
    /// Verifies every checksum, order and count of a data directory that no server has open, and
    /// changes nothing. Exit code: 0 whole, 1 damaged, 2 could not be checked.
    Check {
        /// The data directory.
        dir: PathBuf,
    },
    /// Repairs a damaged data directory: keeps what is provably right, sets the damaged files aside
    /// in DIR/aside-N, and prints what was given up. Exit code: 0 repaired or nothing to do, 1 nothing
    /// can be proved and a backup has to be restored, 2 could not be done.
    Recover {
        /// The data directory.
        dir: PathBuf,
        /// Only prints what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Writes all keys, values and expiries as lines of text, and changes nothing. Exit code: 0 all is
    /// written, 2 it is not.
    Dump {
        /// The data directory, or a backup.
        dir: PathBuf,
        /// A file to create, in place of stdout.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Adds the records of a dump to a data directory, over what is there: all of them, or none if the
    /// dump is not whole. Exit code: 0 loaded, 2 not.
    Load {
        /// The data directory; created if it is missing.
        dir: PathBuf,
        /// The dump, in place of stdin.
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
    },
    /// Copies a running server's data (--from), or a data directory that no server has open, verifies the
    /// copy, and says which moment it holds. Exit code: 0 verified, 1 damaged or too old, and no backup, 2
    /// could not be done.
    #[command(allow_missing_positional = true)]
    Backup {
        /// The data directory, or a checkpoint; not with --from.
        #[arg(required_unless_present = "from", conflicts_with = "from")]
        dir: Option<PathBuf>,
        /// The directory of the backup; empty or not there.
        target: PathBuf,
        /// The server that is backed up, if it is one.
        #[command(flatten)]
        source: Source,
        /// Make no backup of a state that is older than this: 90s, 15m, 24h or 7d.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        max_age: Option<Duration>,
    },
    /// Copies a backup to a data directory after verifying it, and verifies the result. Exit code: 0
    /// restored, 1 the result is damaged, 2 could not be done.
    Restore {
        /// The backup.
        backup: PathBuf,
        /// The data directory; empty or not there.
        dir: PathBuf,
    },
}

/// How a tool ended: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All is well.
    Good = 0,
    /// It did its work, and the answer is bad news.
    Bad = 1,
    /// It could not do its work.
    Unable = 2,
}

/// What keeps a tool from its work, in a sentence for the operator.
type Told<T> = std::result::Result<T, String>;

/// How a tool opens a database: what has expired is left for a server that may tell of it.
fn options() -> Options {
    Options { keep_expired: true, ..Options::default() }
}

impl Tool {
    /// Does it; returns the program's exit code.
    pub fn run(&self) -> ExitCode {
        let mut out = io::stdout().lock();
        let outcome = match self {
            Tool::Check { dir } => check::run(dir, &mut out),
            Tool::Recover { dir, dry_run } => recover::run(dir, *dry_run, &mut out),
            Tool::Dump { dir, output } => dump::dump(dir, output.as_deref(), &mut out),
            Tool::Load { dir, input } => dump::load(dir, input.as_deref(), &mut out),
            Tool::Backup { dir, target, source, max_age } => {
                backup::backup(dir.as_deref(), source, target, *max_age, &mut out)
            }
            Tool::Restore { backup, dir } => backup::restore(backup, dir, &mut out),
        };
        let outcome = outcome.and_then(|outcome| flushed(&mut out).map(|()| outcome));
        let outcome = outcome.unwrap_or_else(|sentence| {
            // Where stderr is closed, the exit code still tells.
            let _ = writeln!(io::stderr().lock(), "chronos: {sentence}");
            Outcome::Unable
        });
        ExitCode::from(outcome as u8)
    }
}

/// A data directory.
fn storage(dir: &Path) -> Result<Arc<dyn Storage>> {
    let storage = DiskStorage::new(dir).map_err(|e| Error::Io {
        op: "use",
        file: dir.display().to_string(),
        source: Arc::new(e),
    })?;
    Ok(Arc::new(storage))
}

/// The real world with a data directory.
fn environment(dir: &Path) -> Result<Environment> {
    Environment::disk(dir)
}

/// Makes the name of a new file or directory durable.
fn sync_name(path: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(path)?;
    absolute.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Writes a line of the result. One that nobody can read is a failure: a report cut off would look
/// like a short one.
fn say(out: &mut dyn Write, line: impl std::fmt::Display) -> Told<()> {
    writeln!(out, "{line}").map_err(|e| unwritable(&e))
}

fn flushed(out: &mut dyn Write) -> Told<()> {
    out.flush().map_err(|e| unwritable(&e))
}

fn unwritable(error: &io::Error) -> String {
    format!("cannot write the result: {error}")
}
