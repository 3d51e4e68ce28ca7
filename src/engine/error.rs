//! What can go wrong in the engine, told so that a caller knows what to do next.
//!
//! I/O errors keep their source, the file and what was being done: an operator needs all three.
//! Never flatten one into another variant: `Corrupt` means that the bytes are wrong, `Io` that the
//! device did not deliver them, and the two call for different actions.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

/// A result of an engine call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an engine call failed. Clones are cheap: one failure may have many waiters.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device or file system refused. Retrying the call may help only if the cause is gone.
    #[error("cannot {op} {file}: {source}")]
    Io {
        /// What was tried: "read", "write", "sync", ….
        op: &'static str,
        /// The file's name within the data directory.
        file: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// Stored bytes are not what was written. Restore the file named; nothing was guessed.
    #[error("{file} is damaged at offset {offset}: {what}")]
    Corrupt {
        /// The file's name within the data directory.
        file: String,
        /// Byte offset of the damaged block or record.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// The file is of a format version that this build does not know. Use the build that wrote it.
    #[error("{file} has format version {version}, this build reads up to {supported}")]
    UnknownFormat {
        /// The file's name within the data directory.
        file: String,
        /// The version it carries.
        version: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// Another process holds the data directory. Stop it, or choose another directory.
    #[error("the data directory is in use by another process")]
    Locked,
    /// The directory holds no database, and none was to be created. Nothing was changed.
    #[error("there is no database in the directory")]
    NoDatabase,
    /// The disk is full: reads go on, writes are refused until there is room again.
    #[error("no space left on the device: writes are refused until there is room")]
    NoSpace,
    /// A log write or sync failed. Whether unacknowledged writes survive is unknown; restart.
    #[error("the log could not be written ({0}); outcome unknown, restart the database")]
    Failed(Arc<str>),
    /// A key, value or batch past its limit, or an empty key. Nothing was written.
    #[error("{what} of {size} bytes: at least {min} and at most {max} are allowed")]
    Size {
        /// "a key", "a value", "a batch".
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The least allowed, in bytes.
        min: usize,
        /// The most allowed, in bytes.
        max: usize,
    },
    /// A key that was to be ingested does not come after the one before it. It was not taken.
    #[error("the key is not greater than the one before it")]
    OutOfOrder,
    /// The database was opened to be read only.
    #[error("the database was opened to be read only")]
    ReadOnly,
    /// The database has been closed.
    #[error("the database is closed")]
    Closed,
    /// An option has a value that cannot work.
    #[error("{0}")]
    InvalidOption(String),
}

impl Error {
    /// Wraps an I/O error with what was tried on which file.
    pub(crate) fn io(op: &'static str, file: &str, source: io::Error) -> Self {
        Error::Io { op, file: file.to_owned(), source: Arc::new(source) }
    }

    /// Damage in `file` at `offset`.
    pub(crate) fn corrupt(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Error::Corrupt { file: file.to_owned(), offset, what: what.into() }
    }

    /// Whether the cause is a full disk or quota, or a limit on the size of files (`ulimit -f`), which
    /// can pass by itself. A read needs no room: one that fails so has a device that fails.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::NoSpace => true,
            Error::Io { op: "read", .. } => false,
            Error::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            ),
            _ => false,
        }
    }

    /// Whether what was tried may go well later without anybody's doing here.
    pub(crate) fn can_pass(&self) -> bool {
        self.is_no_space() || self.is_out_of_descriptors()
    }

    /// Whether the cause is that the process, or the system, has too many files open, which can pass
    /// by itself.
    pub fn is_out_of_descriptors(&self) -> bool {
        let Error::Io { source, .. } = self else { return false };
        let codes = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        codes.contains(&source.raw_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_is_told_from_other_failures() {
        let failed = |op, errno: Errno| Error::io(op, "a file", errno.into());
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            for op in ["create", "preallocate", "write", "sync", "rename"] {
                assert!(failed(op, errno).is_no_space(), "{op}: {errno}");
            }
            assert!(!failed("read", errno).is_no_space(), "{errno}");
        }
        assert!(!failed("write", Errno::IO).is_no_space() && Error::NoSpace.is_no_space());
    }

    #[test]
    fn too_many_open_files_are_told_from_other_failures() {
        let failed = |code| Error::io("open", "a file", io::Error::from_raw_os_error(code));
        assert!(failed(24).is_out_of_descriptors() && failed(23).is_out_of_descriptors());
        assert!(!failed(2).is_out_of_descriptors() && !failed(5).is_out_of_descriptors());
        assert!(!Error::Locked.is_out_of_descriptors());
        let without_code = Error::io("open", "a file", io::ErrorKind::NotFound.into());
        assert!(!without_code.is_out_of_descriptors());
    }
}
