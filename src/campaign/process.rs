//! Starts the real server, kills it, and keeps what it said.
//!
//! A server that is dropped is killed: a case that ends early leaves nothing running. Its log goes
//! to a file beside its data, so that whoever looks into a loss finds both.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Case;
use super::driver::{End, Undo, announce, undo_at_an_end};
use super::wire::{Broken, Protocol, Reply, Wire};

/// The least memory: a memtable holds some hundred values, and flushes and merges come early.
const MEMORY: &str = "1m";
/// How long a server may take to stop in order.
const STOP_PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(1);
/// How much of the log a message shows, in bytes.
const LOG_BYTES: usize = 2_000;

/// A directory with a database, its copies and the log of the servers that ran on it.
#[derive(Debug)]
pub(crate) struct Room {
    program: PathBuf,
    dir: tempfile::TempDir,
    durability: &'static str,
    _undo: Undo,
}

/// A server at work.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Whether it was asked to stop: then it may have ended before it is killed.
    is_closing: bool,
    _undo: Undo,
}

impl Room {
    /// An empty one for `case`.
    pub(crate) fn new(case: &Case<'_>, durability: &'static str) -> Result<Self, String> {
        let program = case.campaign.server.path()?;
        let dir = tempfile::tempdir().map_err(|error| format!("no directory: {error}"))?;
        let path = dir.path().to_owned();
        let undo = undo_at_an_end(move |end| match end {
            End::Loss => announce(&format!("what ran is kept in {}", path.display())),
            // What a dying server still writes may be in the way.
            End::Interrupt => drop(std::fs::remove_dir_all(&path)),
        });
        Ok(Room { program, dir, durability, _undo: undo })
    }

    /// Where the database is.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Keeps the directory for whoever looks into a loss, and names it.
    pub(crate) fn keep(self) -> String {
        format!("kept in {}", self.dir.keep().display())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log(&self) -> Result<File, String> {
        let opened = OpenOptions::new().create(true).append(true).open(self.log_path());
        opened.map_err(|error| format!("no log: {error}"))
    }

    fn spawn(&self) -> Result<(Child, Undo), String> {
        let spawned = Command::new(&self.program)
            .args(["--listen", "127.0.0.1:0", "--memory-bytes", MEMORY])
            .args(["--durability", self.durability, "--data-dir"])
            .arg(self.data())
            .arg("--checkpoint-dir")
            .arg(self.dir.path().join("copy"))
            .env_remove("CHRONOS_PASSWORD")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log()?)
            .spawn();
        let child =
            spawned.map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        let pid = Pid::from_child(&child);
        let undo = undo_at_an_end(move |_| {
            let _ = kill_process(pid, Signal::KILL);
        });
        Ok((child, undo))
    }

    /// Starts a server and waits until it serves.
    pub(crate) fn start(&self) -> Result<Process, String> {
        let (mut child, undo) = self.spawn()?;
        let address = announced(&mut child);
        let address = address.map_err(|line| {
            // It has ended by itself, or must not go on.
            let _ = child.kill();
            let _ = child.wait();
            format!("the server does not start: {line:?}, {}", self.last_words())
        })?;
        Ok(Process { child, address, is_closing: false, _undo: undo })
    }

    /// Starts a server and kills it after a while. Returns whether it had come so far that it served.
    pub(crate) fn kill_early(&self, after: Duration) -> Result<bool, String> {
        let (mut child, _undo) = self.spawn()?;
        std::thread::sleep(after);
        child.kill().map_err(|error| format!("cannot kill: {error}"))?;
        reap(&mut child, false)?;
        Ok(announced(&mut child).is_ok())
    }

    /// Has the program check the database, which no server uses.
    pub(crate) fn check(&self) -> Result<(), String> {
        let output = Command::new(&self.program)
            .arg("check")
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run the check: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let told = [output.stdout, output.stderr].concat();
        Err(format!("the check finds: {}", String::from_utf8_lossy(&told)))
    }

    /// The end of the log.
    fn last_words(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES)..]).into_owned()
    }
}

impl Process {
    /// `kill -9`, and nothing is left of it. Returns whether that was what ended it.
    pub(crate) fn kill(self) -> Result<bool, String> {
        self.kill_and(|| ())
    }

    /// The same, with something done before it is gone: one of its calls may wait for that.
    pub(crate) fn kill_and(mut self, release: impl FnOnce()) -> Result<bool, String> {
        self.child.kill().map_err(|error| format!("cannot kill: {error}"))?;
        release();
        reap(&mut self.child, self.is_closing)
    }

    /// What INFO says.
    pub(crate) fn info(&self) -> Result<String, String> {
        let mut wire = Wire::connect(self.address, Protocol::Resp)?;
        let mut request = Vec::new();
        wire.protocol.request(&mut request, &[b"INFO"]);
        let reply = wire.send(&request).and_then(|()| wire.reply());
        match reply.map_err(Broken::describe)? {
            Reply::Bytes(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            other => Err(format!("INFO is answered with {other:?}")),
        }
    }

    /// Asks it to stop.
    pub(crate) fn interrupt(&mut self) -> Result<(), String> {
        self.is_closing = true;
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).map_err(|error| format!("no signal: {error}"))
    }

    /// Waits until a server that was asked to stop has stopped in order.
    pub(crate) fn wait(mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < STOP_PATIENCE {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(GLANCE),
                Ok(Some(status)) if status.success() => return Ok(()),
                other => return Err(format!("the server ended with {other:?}")),
            }
        }
        Err("the server does not stop".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless the case ends early.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a server that was killed; returns whether the kill ended it. One that was not asked to
/// stop should not have ended by itself.
fn reap(child: &mut Child, is_closing: bool) -> Result<bool, String> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = child.wait().map_err(|error| format!("cannot wait: {error}"))?;
    match status.signal() {
        Some(9) => Ok(true),
        _ if is_closing && status.success() => Ok(false),
        _ => Err(format!("the server had ended by itself: {status}")),
    }
}

/// The address in the line with which a server says that it serves, or what it said instead.
fn announced(child: &mut Child) -> Result<SocketAddr, String> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        // A line that cannot be read is none.
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    let ready = line
        .strip_prefix("🚀 CHRONOS SERVER LISTO Y ESCUCHANDO EN TCP ")
        .and_then(|rest| rest.strip_suffix('\n'));
    // On a full disk it serves as well, and says that it is ready once there is room.
    let for_reads = line.strip_prefix("⚠️ CHRONOS SERVER ESCUCHANDO EN TCP ");
    let for_reads = for_reads.and_then(|rest| rest.split_once(',')).map(|(address, _)| address);
    ready.or(for_reads).and_then(|address| address.parse().ok()).ok_or(line)
}
