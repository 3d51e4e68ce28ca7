//! SAVE and BGSAVE: checkpoints, one at a time.
//!
//! A checkpoint is made beside the directory that it is meant for, as `DIR.new`, and takes its name
//! once it is complete: what was there is renamed to `DIR.old`, `DIR.new` to `DIR`, and `DIR.old` is
//! deleted. So at any moment, a crash included, a complete checkpoint stands at `DIR` or at `DIR.old`,
//! once there has been one. The next one clears up what a crash has left.
//!
//! Renaming and deleting wait for the disk, so a thread does them; between them it waits for the
//! engine, which only the reactor may ask. What is no checkpoint is never replaced.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::storage::Storage;
use crate::engine::storage::disk::DiskStorage;
use crate::engine::{Error, Result, Ticket};

use super::dispatch::Services;
use super::interrupt::Fault;
use super::notify::Notifier;
use super::warnings::Warning;

/// What Redis says to who asks twice.
const IN_PROGRESS: &str = "ERR Background save already in progress";

/// The file that a database is known by.
const CURRENT: &str = "CURRENT";

/// A checkpoint that is being made.
struct Running {
    /// `DIR.new` may be written.
    cleared: Ticket,
    /// Takes the engine's ticket once it has one; gone after that.
    engine: Option<Sender<Ticket>>,
    /// The checkpoint has its name.
    done: Ticket,
    started: Instant,
    /// Writes that it need not have.
    changes: u64,
}

/// The checkpoint that is being made, and the last one.
pub(crate) struct Saving {
    paths: Paths,
    notifier: Arc<Notifier>,
    running: Option<Running>,
    /// When the last one was complete, or the server started, in seconds since the Unix epoch.
    pub(crate) last_time: u64,
    /// Whether the last one that was tried succeeded.
    pub(crate) last_ok: bool,
    /// How long the last one took, in seconds.
    pub(crate) last_seconds: Option<u64>,
    /// How many there were since the start.
    pub(crate) count: u64,
}

impl Saving {
    /// Checkpoints go to `directory`, never to `data_dir`.
    pub(crate) fn new(directory: &Path, data_dir: Option<&Path>, notifier: Arc<Notifier>) -> Self {
        Saving {
            paths: Paths::new(directory, data_dir),
            notifier,
            running: None,
            last_time: unix_seconds(),
            last_ok: true,
            last_seconds: None,
            count: 0,
        }
    }

    /// How long the present one has been going on, in seconds.
    pub(crate) fn running_seconds(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.started.elapsed().as_secs())
    }

    /// Starts a checkpoint; `changes` is what [`Services::poll_saving`] may subtract after it.
    ///
    /// # Errors
    /// One is being made, or there is no thread for it.
    pub(crate) fn start(&mut self, changes: u64) -> std::result::Result<Ticket, Fault> {
        if self.running.is_some() {
            return Err(Fault::from(IN_PROGRESS));
        }
        let (cleared, done) = (Ticket::default(), Ticket::default());
        let (sender, receiver) = channel::<Ticket>();
        let (paths, notifier) = (self.paths.clone(), Arc::clone(&self.notifier));
        let (is_cleared, is_done) = (cleared.clone(), done.clone());
        let write = move || {
            is_cleared.finish(Ok(()));
            notifier.notify();
            // Nobody sends where the server has ended.
            receiver.recv().map_err(|_| Error::Closed)?.wait()
        };
        let notifier = Arc::clone(&self.notifier);
        let thread = std::thread::Builder::new().name("chronos-save".into()).spawn(move || {
            is_done.finish(paths.clear().and_then(|()| write()).and_then(|()| paths.replace()));
            notifier.notify();
        });
        thread.map_err(|error| Fault::from(format!("ERR cannot start a thread: {error}")))?;
        self.running = Some(Running {
            cleared,
            engine: Some(sender),
            done: done.clone(),
            started: Instant::now(),
            changes,
        });
        Ok(done)
    }

    /// Notes how the present one has ended.
    fn end(&mut self, seconds: u64, outcome: &Result<()>) {
        self.running = None;
        self.last_seconds = Some(seconds);
        self.last_ok = outcome.is_ok();
        if self.last_ok {
            self.count += 1;
            self.last_time = unix_seconds();
        }
    }
}

impl Services<'_> {
    /// Takes the checkpoint that is being made one step on, if it is time.
    pub(crate) fn poll_saving(&mut self) {
        let Some(running) = &mut self.saving.running else { return };
        if let Some(outcome) = running.done.poll() {
            if outcome.is_ok() {
                self.keyspace.changes = self.keyspace.changes.saturating_sub(running.changes);
            }
            let seconds = running.started.elapsed().as_secs();
            self.saving.end(seconds, &outcome);
            if let Err(error) = outcome
                && self.warnings.admit(Warning::Checkpoint, self.tick_ms)
            {
                tracing::error!(%error, "the checkpoint could not be made");
            }
        } else if running.cleared.poll().is_some()
            && let Some(thread) = running.engine.take()
        {
            let ticket = self.keyspace.engine().start_checkpoint(&self.saving.paths.new);
            // The thread waits for it.
            let _ = thread.send(ticket);
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Where a checkpoint is, will be and was.
#[derive(Debug, Clone)]
struct Paths {
    directory: PathBuf,
    new: PathBuf,
    old: PathBuf,
    data: Option<PathBuf>,
}

impl Paths {
    fn new(directory: &Path, data: Option<&Path>) -> Self {
        // From where the server was started: what changes its working directory later moves nothing.
        let directory = &std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        // A slash at the end would hide the directory's name.
        let directory: PathBuf = directory.components().collect();
        let beside = |suffix: &str| {
            let mut name = OsString::from(&directory);
            name.push(suffix);
            PathBuf::from(name)
        };
        let (new, old) = (beside(".new"), beside(".old"));
        let data = data.and_then(|data| std::path::absolute(data).ok());
        Paths { directory, new, old, data }
    }

    /// Makes way for a checkpoint at `new`, and ends what a crash has interrupted.
    fn clear(&self) -> Result<()> {
        self.check()?;
        let parent = parent(&self.directory);
        wrapped("create", parent, fs::create_dir_all(parent))?;
        wrapped("remove", &self.new, remove(&self.new))?;
        if self.directory.exists() {
            return wrapped("remove", &self.old, remove(&self.old));
        }
        if self.old.exists() {
            wrapped("rename", &self.old, fs::rename(&self.old, &self.directory))?;
            wrapped("sync", parent, sync(parent))?;
        }
        Ok(())
    }

    /// Refuses to replace what is not a checkpoint.
    fn check(&self) -> Result<()> {
        let refuse = |path: &Path, why: &str| {
            let sentence = format!("{} {why}: nothing was written", path.display());
            Err(Error::InvalidOption(sentence))
        };
        if self.directory.file_name().is_none() {
            return refuse(&self.directory, "cannot be a checkpoint's directory");
        }
        let data = self.data.as_ref().and_then(|data| data.canonicalize().ok());
        for path in [&self.directory, &self.new, &self.old] {
            if data.is_some() && path.canonicalize().ok() == data {
                return refuse(path, "is the data directory");
            }
        }
        for path in [&self.directory, &self.new, &self.old] {
            // Whatever its name: a data directory may be moved while it is open.
            if is_in_use(path) {
                return refuse(path, "is a database that is in use");
            }
        }
        for path in [&self.directory, &self.new, &self.old] {
            // They are replaced as a whole, with whatever else is in them.
            if let Some(name) = foreign_name(path) {
                return refuse(path, &format!("holds {name} and is not a checkpoint"));
            }
        }
        for path in [&self.directory, &self.old] {
            let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
            if path.exists() && !is_empty && !path.join(CURRENT).exists() {
                return refuse(path, "is there and is not a checkpoint");
            }
        }
        Ok(())
    }

    /// Puts the checkpoint at `new` in its place.
    fn replace(&self) -> Result<()> {
        if self.directory.exists() {
            wrapped("rename", &self.directory, fs::rename(&self.directory, &self.old))?;
        }
        wrapped("rename", &self.new, fs::rename(&self.new, &self.directory))?;
        let parent = parent(&self.directory);
        wrapped("sync", parent, sync(parent))?;
        wrapped("remove", &self.old, remove(&self.old))
    }
}

/// Something in a directory that no checkpoint holds, if there is something.
fn foreign_name(path: &Path) -> Option<String> {
    let is_known = |name: &str| {
        matches!(name, CURRENT | "LOCK")
            || name.strip_prefix("MANIFEST-").is_some()
            || [".sst", ".wal", ".tmp"].iter().any(|suffix| name.strip_suffix(suffix).is_some())
    };
    let mut names = fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name());
    names.find(|name| !name.to_str().is_some_and(is_known)).map(|name| name.display().to_string())
}

/// Whether some process has the database in a directory open.
fn is_in_use(path: &Path) -> bool {
    let locked = DiskStorage::new(path).and_then(|storage| storage.lock_existing());
    locked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Deletes a directory with all that is in it, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a directory's names durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn wrapped(tried: &'static str, path: &Path, outcome: io::Result<()>) -> Result<()> {
    outcome.map_err(|error| Error::io(tried, &path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, content: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join(CURRENT), content).unwrap();
    }

    fn read(path: &Path) -> Option<String> {
        fs::read_to_string(path.join(CURRENT)).ok()
    }

    #[test]
    fn the_new_one_replaces_the_one_before() {
        let room = tempfile::tempdir().unwrap();
        let paths = Paths::new(&room.path().join("deep/point/"), None);
        for content in ["one", "two"] {
            paths.clear().unwrap();
            write(&paths.new, content);
            paths.replace().unwrap();
            assert_eq!(read(&paths.directory).as_deref(), Some(content));
            assert!(!paths.old.exists() && !paths.new.exists());
        }
    }

    #[test]
    fn a_crash_at_any_step_leaves_a_whole_one() {
        let room = tempfile::tempdir().unwrap();
        let paths = Paths::new(&room.path().join("point"), None);
        // Between the two renames.
        write(&paths.old, "one");
        write(&paths.new, "two");
        paths.clear().unwrap();
        assert_eq!(read(&paths.directory).as_deref(), Some("one"));
        assert!(!paths.new.exists() && !paths.old.exists());
        // Before the deletion.
        write(&paths.old, "zero");
        paths.clear().unwrap();
        assert_eq!(read(&paths.directory).as_deref(), Some("one"));
        assert!(!paths.old.exists());
    }

    #[test]
    fn a_database_that_is_in_use_is_no_checkpoint_whatever_it_is_called() {
        let room = tempfile::tempdir().unwrap();
        let (data, directory) = (room.path().join("data"), room.path().join("copy"));
        let environment = crate::engine::Environment::disk(&data).unwrap();
        let (engine, _) =
            crate::engine::Engine::open(environment, crate::engine::Options::default()).unwrap();
        for name in ["copy", "copy.new", "copy.old"] {
            let moved = room.path().join(name);
            fs::rename(&data, &moved).unwrap();
            let error = Paths::new(&directory, Some(&data)).clear().unwrap_err();
            assert!(error.to_string().contains("in use"), "{name}: {error}");
            fs::rename(&moved, &data).unwrap();
        }
        engine.close().unwrap();
    }

    #[test]
    fn what_is_no_checkpoint_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let data = room.path().join("data");
        write(&data, "data");
        let refused = |path: &Path| Paths::new(path, Some(&data)).clear().unwrap_err().to_string();
        assert!(refused(&room.path().join(".").join("data")).contains("is the data directory"));
        assert!(refused(room.path()).contains("is not a checkpoint"));
        assert!(refused(Path::new("/")).contains("cannot be"));
        assert_eq!(read(&data).as_deref(), Some("data"));
        let beside = Paths::new(&room.path().join("da"), Some(&room.path().join("da.new")));
        fs::create_dir(&beside.new).unwrap();
        assert!(beside.clear().is_err() && beside.new.exists());
    }
}
