//! Both ends of the wire to a child: each engine is measured in a process of its own, so that its peak
//! of memory and the state of the allocator are its own.
//!
//! Children of all engines live side by side and are asked row by row, one at a time: between two
//! figures that are compared lie seconds, not the minutes of a whole run. A child ends when its
//! standard input does, so none outlives its parent.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

#[cfg(feature = "rocksdb")]
use crate::engines::RocksDb;
use crate::engines::{Chronos, Engine, Fjall, Name, Result};
use crate::figures::{Request, Response};
use crate::sustained;
use crate::workload::{Plan, QUIET, Workload};

/// What a child is told at its start.
#[derive(Debug, Clone, Args)]
pub(crate) struct Task {
    #[arg(long, value_enum)]
    engine: Name,
    #[arg(long)]
    home: PathBuf,
    #[arg(long)]
    entries: u64,
    #[arg(long)]
    synced_writes: u64,
    #[arg(long)]
    seed: u64,
}

impl Task {
    /// Answers requests from standard input until it ends.
    pub(crate) fn serve(&self) -> Result<()> {
        match self.engine {
            Name::Chronos => self.serve_with::<Chronos>(),
            #[cfg(feature = "rocksdb")]
            Name::Rocksdb => self.serve_with::<RocksDb>(),
            #[cfg(not(feature = "rocksdb"))]
            Name::Rocksdb => Err("built without --features rocksdb".into()),
            Name::Fjall => self.serve_with::<Fjall>(),
        }
    }

    fn serve_with<E: Engine>(&self) -> Result<()> {
        let Task { entries, synced_writes, seed, .. } = *self;
        let plan = Plan { entries, synced_writes, seed, quiet: QUIET };
        let mut workload = Workload::<E>::new(plan, &self.home);
        let mut out = io::stdout().lock();
        for line in io::stdin().lock().lines() {
            let done = match serde_json::from_str(&line?)? {
                Request::Row(row) => workload.run(row).map(Response::Row),
                Request::Sustained { passes } => {
                    sustained::run::<E>(plan, &self.home, passes).map(Response::Sustained)
                }
            };
            let response = done.unwrap_or_else(|error| Response::Failed(error.to_string()));
            writeln!(out, "{}", serde_json::to_string(&response)?)?;
        }
        Ok(())
    }
}

/// A running child, seen from its parent.
pub(crate) struct Child {
    pub(crate) engine: Name,
    process: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
    home: PathBuf,
}

impl Child {
    /// Starts this program once more, for one engine.
    pub(crate) fn start(engine: Name, plan: Plan, directory: &Path) -> Result<Self> {
        let home = directory.join(engine.argument());
        std::fs::create_dir_all(&home)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("measure").arg("--engine").arg(engine.argument()).arg("--home").arg(&home);
        for (name, value) in [
            ("--entries", plan.entries),
            ("--synced-writes", plan.synced_writes),
            ("--seed", plan.seed),
        ] {
            command.arg(name).arg(value.to_string());
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = process.stdout.take().ok_or("a child without output")?;
        Ok(Child { engine, process, answers: BufReader::new(answers), home })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Response> {
        let title = self.engine.title();
        let input = self.process.stdin.as_mut().ok_or("a child without input")?;
        writeln!(input, "{}", serde_json::to_string(&request)?)?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("the process of {title} has died").into());
        }
        match serde_json::from_str(&line)? {
            Response::Failed(error) => Err(format!("{title}: {error}").into()),
            response => Ok(response),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
        // What is left over is removed with the parent's directory, or named by its absence.
        drop(std::fs::remove_dir_all(&self.home));
    }
}
