//! What an operator is told when the server starts, or why it does not.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::Mode;

use crate::engine::{Engine, Error, Event, EventListener, Health, Recovery};

use super::limits::ROOM_WAIT;
use super::{Config, logging};

/// The permissions that nobody but a file's owner has.
const OTHERS: u32 = 0o077;

/// From now on what the process creates is for its owner only, whatever it was started with.
pub fn keep_files_private() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Says, before anything else is done, who starts and with what.
pub fn log_start(config: &Config, addresses: impl Iterator<Item = SocketAddr>) {
    let listen: Vec<_> = addresses.map(|address| address.to_string()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        listen = listen.join(", "),
        durability = ?config.durability,
        memory_bytes = config.memory_bytes,
        workers = config.workers,
        databases = config.databases,
        "starting: recovering the data in {}; clients are refused until it is there",
        absolute(&config.data_dir).display()
    );
}

/// Where a path leads: a mistyped one is easier to see in full.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Says in one sentence why the data cannot be opened and what to do about it.
pub fn explain_open_error(error: &Error, data_dir: &Path) -> String {
    let dir = data_dir.display();
    let advice = match error {
        Error::Locked => "stop it, or choose another --data-dir",
        Error::Io { .. } if error.is_no_space() => {
            "make room on the device, or raise its quota or the limit on the size of files"
        }
        Error::Io { .. } => {
            "make the directory readable and writable, or choose another --data-dir"
        }
        Error::Corrupt { .. } => {
            "restore that file from a backup; nothing was changed; chronos check lists all damage, chronos recover --dry-run what can be kept"
        }
        Error::UnknownFormat { .. } => "nothing was changed",
        Error::NoDatabase => {
            "nothing was created; correct --data-dir, or leave out --must-exist to create one"
        }
        _ => "nothing is served",
    };
    format!("cannot open the data in {dir}: {error}; {advice}")
}

/// Logs what recovery found.
pub fn log_recovery(recovery: &Recovery, data_dir: &Path) {
    let data_dir = absolute(data_dir);
    let dir = data_dir.display();
    warn_if_readable(&data_dir);
    if recovery.created {
        tracing::info!("created a new database in {dir}");
        return;
    }
    tracing::info!(
        writes = recovery.writes,
        groups = recovery.groups,
        log_bytes = recovery.log_bytes,
        tables = recovery.tables,
        elapsed_ms = recovery.elapsed.as_millis() as u64,
        "recovered the database in {dir}"
    );
    if let Some(torn) = &recovery.torn {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            copy = torn.copy,
            "dropped the end of the log, which a crash left half-written; none of it was acknowledged"
        );
    }
}

/// Warns about a data directory that others may look into. It is left as it is: who shares it with a
/// group on purpose, for backups say, would not thank for a change.
fn warn_if_readable(dir: &Path) {
    let Ok(mode) = dir.metadata().map(|found| found.mode()) else { return };
    if mode & OTHERS != 0 {
        tracing::warn!(
            mode = format!("{:04o}", mode & 0o7777),
            "other users of this machine may look into {0}: chmod -R go-rwx {0} keeps them out",
            dir.display()
        );
    }
}

/// Warns about every address that other machines may reach.
pub fn warn_if_exposed(addresses: &[SocketAddr], has_password: bool) {
    if has_password {
        return;
    }
    for address in addresses.iter().filter(|address| !address.ip().is_loopback()) {
        tracing::warn!(
            %address,
            "listening beyond this machine without authentication: anyone who reaches this address \
             can read and change everything"
        );
    }
}

/// Waits until it is known whether there is room for writes.
pub fn wait_for_room(engine: &Engine) {
    engine.wait_for_room(ROOM_WAIT);
}

/// Says on stdout, for people and for programs that wait for it, that the server is ready. That means
/// that writes are taken: if they are not, it says so, and is ready once they are.
#[derive(Debug, Clone, Default)]
pub struct Announcer(Arc<Mutex<Announced>>);

#[derive(Debug, Default)]
struct Announced {
    /// Empty until clients are served.
    addresses: Vec<SocketAddr>,
    is_ready: bool,
}

impl Announcer {
    /// What the engine is to tell: whether there is room again.
    pub fn listener(&self) -> EventListener {
        let announcer = self.clone();
        EventListener::new(move |event| {
            if matches!(event, Event::RoomAgain) {
                announcer.update(&Health::Ok);
            }
        })
    }

    /// Clients are served now.
    pub fn announce(&self, addresses: &[SocketAddr], engine: &Engine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).addresses = addresses.to_vec();
        self.update(&engine.health());
        // In between there may have been room again.
        if takes_writes(&engine.health()) {
            self.update(&Health::Ok);
        }
    }

    fn update(&self, health: &Health) {
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if announced.is_ready {
            return;
        }
        announced.is_ready = takes_writes(health) && !announced.addresses.is_empty();
        for address in &announced.addresses {
            logging::announce(ready_line(*address, health));
        }
        if announced.is_ready {
            tracing::info!("ready");
        } else if let (Some(cause), Some(advice)) = (health.cause(), health.advice()) {
            tracing::error!(%cause, "ready for reads only, writes are refused; {advice}");
        }
    }
}

fn takes_writes(health: &Health) -> bool {
    match health {
        Health::Ok | Health::Corrupt { .. } => true,
        Health::NoSpace { .. } | Health::Failed { .. } => false,
    }
}

/// The line for an address. It is in the language of those for whom Chronos was first made, and scripts
/// wait for it.
fn ready_line(address: SocketAddr, health: &Health) -> String {
    if takes_writes(health) {
        format!("🚀 CHRONOS SERVER LISTO Y ESCUCHANDO EN TCP {address}")
    } else {
        let name = health.name();
        format!("⚠️ CHRONOS SERVER ESCUCHANDO EN TCP {address}, PERO NO ACEPTA ESCRITURAS: {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let told = |error: Error| explain_open_error(&error, Path::new("data"));
        assert_eq!(
            told(Error::Locked),
            "cannot open the data in data: the data directory is in use by another process; \
             stop it, or choose another --data-dir"
        );
        let damaged = told(Error::corrupt("000001.sst", 7, "checksum"));
        assert!(damaged.contains("000001.sst") && damaged.contains("nothing was changed"));
    }

    #[test]
    fn ready_means_that_writes_are_taken() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let cause = || Error::NoSpace;
        for health in [Health::Ok, Health::Corrupt { cause: cause() }] {
            assert_eq!(
                ready_line(address, &health),
                "🚀 CHRONOS SERVER LISTO Y ESCUCHANDO EN TCP 127.0.0.1:8080"
            );
        }
        for health in [Health::NoSpace { cause: cause() }, Health::Failed { cause: cause() }] {
            let line = ready_line(address, &health);
            assert!(!line.contains("LISTO") && line.ends_with(health.name()), "{line}");
        }
    }

    #[test]
    fn it_becomes_ready_once() {
        let announcer = Announcer::default();
        let is_ready = || announcer.0.lock().unwrap().is_ready;
        let listener = announcer.listener();
        listener.call(&Event::RoomAgain);
        assert!(!is_ready(), "nobody is served yet");
        announcer.0.lock().unwrap().addresses = vec!["127.0.0.1:1".parse().unwrap()];
        announcer.update(&Health::NoSpace { cause: Error::NoSpace });
        assert!(!is_ready());
        listener.call(&Event::RoomAgain);
        assert!(is_ready());
    }
}
