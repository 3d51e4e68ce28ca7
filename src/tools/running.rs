//! `chronos backup --from`: asks a running server for a checkpoint and takes hold of exactly that one.
//!
//! SAVE answers once its checkpoint is complete, and what the checkpoint says of itself is compared with
//! the server's clock and sequence from before: a directory of the same name on another machine, or one
//! that is older than the request, is refused. The next checkpoint replaces the directory, so its files
//! are given names of their own first (hard links, no copy): two backups at once do not disturb each other.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, test_kill_process};

use super::Told;
use super::words::Utc;
use crate::client::connection::Endpoint;
use crate::client::interrupt::Interrupt;
use crate::client::options::{AuthOptions, PASSWORD_WARNING};
use crate::client::resp::session::{Login, Protocol, Session, words};
use crate::client::resp::value::Value;
use crate::engine::Moment;

/// Between two attempts where somebody else's checkpoint is in the way.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a checkpoint may be replaced while its files are given names.
const ATTEMPTS: usize = 100;
/// Ends the name of a directory that holds a checkpoint for a backup; the process's number follows.
const HELD: &str = ".backup-";

/// The server that a backup is made of.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Back up this running server: it writes a checkpoint, which is copied and verified. To be run on
    /// the server's machine, by a user who may read the checkpoint.
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    pub(super) from: Option<Endpoint>,
    /// With --from: where this machine finds the checkpoint, if not where the server says (in a
    /// container, on a mounted file system).
    #[arg(long, value_name = "DIR", requires = "from")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    auth: AuthOptions,
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = "give the server's address as HOST:PORT, e.g. 127.0.0.1:8080";
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().map_err(|_| wrong)?;
    if host.is_empty() {
        Err(wrong.to_owned())
    } else {
        Ok(Endpoint { host, port, ..Endpoint::default() })
    }
}

/// A checkpoint that the server made when it was asked.
pub(super) struct Checkpoint {
    dir: PathBuf,
    /// What it must hold at least: what was there when it was asked for.
    least: Moment,
}

impl Source {
    /// Has the server at `endpoint` make a checkpoint, and waits for it.
    pub(super) fn checkpoint(&self, endpoint: &Endpoint) -> Told<Checkpoint> {
        if self.auth.shows_password() {
            note(PASSWORD_WARNING);
        }
        let login = Login {
            endpoint: endpoint.clone(),
            protocol: Protocol::Two,
            credentials: self.auth.credentials()?,
            database: 0,
        };
        let told = |error: crate::client::Error| error.to_string();
        let mut session = Session::open(login, Interrupt::default()).map_err(told)?;
        let info = ask(&mut session, &["INFO", "engine"])?.to_text();
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
        };
        let told_dir = field("checkpoint_dir").ok_or_else(|| {
            format!("{endpoint} does not say where its checkpoints are: it is no Chronos server, or an old one")
        })?;
        let time = ask(&mut session, &["TIME"])?;
        let [seconds, micros] = time.items() else { return Err("TIME makes no sense".to_owned()) };
        let number = |value: &Value| value.number().unwrap_or(0).cast_unsigned();
        let least = Moment {
            last_seq: field("last_seq").and_then(|text| text.parse().ok()).unwrap_or(0),
            time_ms: number(seconds) * 1000 + number(micros) / 1000,
        };
        if io::stderr().is_terminal() {
            note(&format!("waiting for {endpoint} to write its checkpoint"));
        }
        save(&mut session)?;
        let dir = self.checkpoint.clone().unwrap_or_else(|| told_dir.into());
        Ok(Checkpoint { dir, least })
    }
}

/// Waits for a checkpoint of its own: one that was begun before may lack what was written since.
fn save(session: &mut Session) -> Told<()> {
    loop {
        match ask(session, &["SAVE"]) {
            Err(refusal) if refusal.contains("already in progress") => thread::sleep(PAUSE),
            other => return other.map(drop),
        }
    }
}

fn ask(session: &mut Session, command: &[&str]) -> Told<Value> {
    let asked = session.ask(&[words(command)]);
    let notices = session.take_notices();
    let reply = asked.map_err(|error| error.to_string())?.pop().unwrap_or(Value::Null);
    if let Value::Error(error) = &reply {
        let error = String::from_utf8_lossy(error);
        let why = notices.first().map_or(String::new(), |notice| format!(" ({notice})"));
        return Err(format!("the server refused {}: {error}{why}", command[0]));
    }
    Ok(reply)
}

fn note(sentence: &str) {
    // Where nobody reads stderr, the result still counts.
    let _ = writeln!(io::stderr().lock(), "chronos: {sentence}");
}

impl Checkpoint {
    /// Takes hold of its files.
    pub(super) fn hold(&self) -> Told<Held> {
        let dir = &self.dir;
        fs::read_dir(dir).map_err(|error| {
            format!(
                "cannot read the checkpoint that the server wrote to {}: {error}; run this on the server's \
                 machine, as a user who may read it, or say with --checkpoint where it is",
                dir.display()
            )
        })?;
        sweep(dir);
        for _ in 0..ATTEMPTS {
            match try_hold(dir) {
                Ok(Some(held)) => return Ok(held),
                Ok(None) => thread::sleep(PAUSE),
                // It can still be copied, as long as no other checkpoint replaces it meanwhile.
                Err(_) => return Ok(Held { dir: dir.clone(), is_own: false }),
            }
        }
        Err(format!("{} is replaced by other checkpoints all the time", dir.display()))
    }

    /// Refuses what is not the checkpoint that was asked for.
    pub(super) fn check(&self, found: Moment) -> Told<()> {
        if found.last_seq >= self.least.last_seq && found.time_ms >= self.least.time_ms {
            return Ok(());
        }
        Err(format!(
            "{} is not the checkpoint that the server has just made: it is of {}, and the server was asked \
             at {}; is the server on another machine? --checkpoint says where its directory is",
            self.dir.display(),
            Utc(found.time_ms),
            Utc(self.least.time_ms)
        ))
    }
}

/// A directory with the files of one checkpoint; removed when dropped.
pub(super) struct Held {
    pub(super) dir: PathBuf,
    is_own: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_own {
            // If it stays, the next backup removes it.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Links the files of a checkpoint into a directory beside it. `None`: it was replaced meanwhile.
fn try_hold(dir: &Path) -> io::Result<Option<Held>> {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!("{HELD}{}", std::process::id()));
    let held = Held { dir: name.into(), is_own: true };
    let linked = || -> io::Result<bool> {
        let before = fs::metadata(dir)?.ino();
        match fs::remove_dir_all(&held.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::DirBuilder::new().mode(0o700).create(&held.dir)?,
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name() != "LOCK" {
                fs::hard_link(entry.path(), held.dir.join(entry.file_name()))?;
            }
        }
        Ok(fs::metadata(dir)?.ino() == before)
    };
    match linked() {
        Ok(true) => Ok(Some(held)),
        Ok(false) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what backups that were killed have left beside a checkpoint.
fn sweep(dir: &Path) {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return };
    let prefix = format!("{}{HELD}", name.to_string_lossy());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw)
            && test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_is_replaced_stays_as_it_was_held() {
        let room = tempfile::tempdir().unwrap();
        let dir = room.path().join("checkpoint");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("CURRENT"), "one").unwrap();
        fs::write(dir.join("LOCK"), "").unwrap();
        let held = try_hold(&dir).unwrap().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(fs::read_to_string(held.dir.join("CURRENT")).unwrap(), "one");
        assert!(!held.dir.join("LOCK").exists());
        let path = held.dir.clone();
        drop(held);
        assert!(!path.exists());
        assert!(try_hold(&dir).unwrap().is_none(), "it is being replaced");
        fs::create_dir(&dir).unwrap();
        // No process has this number: the greatest is 2^22.
        let left = room.path().join("checkpoint.backup-2147483647");
        fs::create_dir(&left).unwrap();
        sweep(&dir);
        assert!(!left.exists() && dir.exists());
    }

    #[test]
    fn an_older_checkpoint_is_not_the_one_that_was_asked_for() {
        let least = Moment { last_seq: 7, time_ms: 1_000 };
        let checkpoint = Checkpoint { dir: "/c".into(), least };
        checkpoint.check(Moment { last_seq: 8, time_ms: 1_000 }).unwrap();
        for stale in [Moment { last_seq: 6, time_ms: 2_000 }, Moment { last_seq: 9, time_ms: 999 }]
        {
            let said = checkpoint.check(stale).unwrap_err();
            assert!(said.contains("another machine"), "{said}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(endpoint("[::1]:7").unwrap().to_string(), "[::1]:7");
        for wrong in ["host", "host:", ":7", "host:x"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
