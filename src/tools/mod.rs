//! The tools for whoever runs a Chronos server: subcommands of its program that work on a directory
//! that no server has open.
//!
//! They are a thin front: flags, wording, progress bars and exit codes. What they do is the engine's,
//! and open to programs that embed it. Results go to stdout, one line each and meant to be read by
//! programs as well; progress and errors go to stderr. `docs/operations.md` explains them.

mod check;
mod progress;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use crate::engine::storage::Storage;
use crate::engine::storage::disk::DiskStorage;
use crate::engine::{Error, Result};

/// What the program does other than serve.
#[derive(Debug, Clone, Subcommand)]
pub enum Tool {
    /// Verifies every checksum, order and count of a data directory that no server has open, and
    /// changes nothing. Exit code: 0 whole, 1 damaged, 2 could not be checked.
    Check {
        /// The data directory.
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

impl Tool {
    /// Does it; returns the program's exit code.
    pub fn run(&self) -> ExitCode {
        let mut out = io::stdout().lock();
        let outcome = match self {
            Tool::Check { dir } => check::run(dir, &mut out),
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
fn storage(dir: &std::path::Path) -> Result<Arc<dyn Storage>> {
    let storage = DiskStorage::new(dir).map_err(|e| Error::Io {
        op: "use",
        file: dir.display().to_string(),
        source: Arc::new(e),
    })?;
    Ok(Arc::new(storage))
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
