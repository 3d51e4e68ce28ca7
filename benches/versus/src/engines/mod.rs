//! What the workload asks of an engine, and which engines there are.
//!
//! An adapter only translates: whatever an engine is set to stands in its own file, so that a reader
//! finds all of it in one place and can say where it is unfair. Calls are static (the workload is
//! generic over the engine), so that no engine pays for being compared. Errors are boxed: nobody here
//! does anything about one but end the run.

mod chronos;
mod fjall;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(test)]
pub(crate) mod toy;

use std::error::Error;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use self::chronos::Chronos;
pub(crate) use self::fjall::Fjall;
#[cfg(feature = "rocksdb")]
pub(crate) use self::rocksdb::RocksDb;

/// What went wrong, for people.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Memory for cached blocks, the same for every engine.
pub(crate) const CACHE_BYTES: usize = 64 << 20;

/// When a write is on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// It is logged, and synced when the operating system likes.
    Never,
    /// It is logged and synced when `put` returns.
    Each,
}

/// An embedded engine with an open database.
pub(crate) trait Engine: Sized {
    /// What it is set to, in one line.
    const SETTINGS: &'static str;
    /// Whether it can go through all entries in order.
    const SCANS: bool;

    /// Opens the database in the directory, which may be empty.
    fn open(directory: &Path, sync: Sync) -> Result<Self>;

    /// Stores `value` at `key`.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Lends the value at `key` to `read`, without a copy if the engine can; `None` if it is missing.
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>>;

    /// Lends all entries in the order of their keys.
    fn scan(&self, each: impl FnMut(&[u8], &[u8])) -> Result<()>;

    /// Why the last write may have been slow: what is behind at this moment.
    fn pressure(&self) -> Result<String>;

    /// What the engine counts itself since it was opened.
    fn counts(&self) -> Result<Vec<(String, u64)>>;

    /// Bytes that it wrote to logs and tables since it was opened, if it counts them.
    fn written_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether a file of this extension is a log of writes.
    fn is_log(extension: &str) -> bool;

    /// Closes the database in the engine's own orderly way.
    fn close(self) -> Result<()>;
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Name {
    /// Chronos, of this repository.
    Chronos,
    /// RocksDB, by rust-rocksdb, if its feature is on.
    Rocksdb,
    /// fjall.
    Fjall,
}

impl Name {
    /// Those that this program was built with.
    pub(crate) fn built_in() -> Vec<Name> {
        let is_built_in = |name: &Name| *name != Name::Rocksdb || cfg!(feature = "rocksdb");
        Name::value_variants().iter().copied().filter(is_built_in).collect()
    }

    /// As people write it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Name::Chronos => "Chronos",
            Name::Rocksdb => "RocksDB",
            Name::Fjall => "fjall",
        }
    }

    /// As the command line has it.
    pub(crate) fn argument(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Name, version and settings, in one line.
    pub(crate) fn about(self) -> String {
        let (package, settings) = match self {
            Name::Chronos => ("chronos", Chronos::SETTINGS),
            #[cfg(feature = "rocksdb")]
            Name::Rocksdb => ("rust-librocksdb-sys", RocksDb::SETTINGS),
            #[cfg(not(feature = "rocksdb"))]
            Name::Rocksdb => ("rust-librocksdb-sys", "not built in"),
            Name::Fjall => ("fjall", Fjall::SETTINGS),
        };
        let version = locked_version(include_str!("../../Cargo.lock"), package);
        format!("{} {}: {settings}", self.title(), version.unwrap_or("of unknown version"))
    }
}

/// The version of a package in a lock file; of a binding, that of what it binds.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| **line != *name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.split_once('+').map_or(version, |(_, bound)| bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_are_locked() {
        let lock = "[[package]]\nname = \"fjall\"\nversion = \"3.1.13\"\n\n[[package]]\n\
            name = \"fjall-sys\"\nversion = \"0.49.0+11.12.0\"\n";
        assert_eq!(locked_version(lock, "fjall"), Some("3.1.13"));
        assert_eq!(locked_version(lock, "fjall-sys"), Some("11.12.0"));
        assert_eq!(locked_version(lock, "rocksdb"), None);
        for name in Name::value_variants() {
            assert!(!name.about().contains("unknown"), "{}", name.about());
        }
    }
}
