//! Whether the engine serves in full, and if not, why: the failure states.
//!
//! NOSPACE is left by itself once the step that failed goes through. FAILED is left by a restart
//! only. CORRUPT stays until the damaged file is restored and the database reopened.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use super::sync::lock;

/// Whether the engine serves in full, and if not, why.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Ok,
    /// Writes are refused until there is room again; reads go on.
    NoSpace {
        /// What ran out of room.
        cause: Error,
    },
    /// The log failed: writes are refused, reads show durable versions only, until a restart.
    Failed {
        /// The first failure.
        cause: Error,
    },
    /// A damaged table: reads of keys in the damaged block fail, everything else goes on.
    Corrupt {
        /// The first damage.
        cause: Error,
    },
}

impl Health {
    /// "OK", "NOSPACE", "FAILED" or "CORRUPT".
    pub fn name(&self) -> &'static str {
        match self {
            Health::Ok => "OK",
            Health::NoSpace { .. } => "NOSPACE",
            Health::Failed { .. } => "FAILED",
            Health::Corrupt { .. } => "CORRUPT",
        }
    }

    /// What to do about it, unless it is `Ok`.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Health::Ok => None,
            Health::NoSpace { .. } => Some("make room; it leaves this state by itself"),
            Health::Failed { .. } => Some("look after the device, then restart"),
            Health::Corrupt { .. } => Some(
                "stop it, list all damage with chronos check, then restore the file from a backup or \
                 run chronos recover",
            ),
        }
    }

    /// Why it is not `Ok`.
    pub fn cause(&self) -> Option<&Error> {
        match self {
            Health::Ok => None,
            Health::NoSpace { cause } | Health::Failed { cause } | Health::Corrupt { cause } => {
                Some(cause)
            }
        }
    }
}

/// The states that can be present at once. The failure of the log is kept by `Commit`.
#[derive(Default)]
pub(crate) struct Faults {
    inner: Mutex<FaultsInner>,
    /// What each write asks, without the lock.
    out_of_space: AtomicBool,
    any_damage: AtomicBool,
    lacks_descriptors: AtomicBool,
}

#[derive(Default)]
struct FaultsInner {
    /// What ran out of room, and how many bytes it needs.
    no_space: Option<(Error, u64)>,
    /// Damage by file name.
    damaged: BTreeMap<String, Error>,
}

impl Faults {
    /// The health as far as it is not the log's.
    pub(crate) fn health(&self) -> Health {
        let inner = lock(&self.inner);
        if let Some((cause, _)) = &inner.no_space {
            return Health::NoSpace { cause: cause.clone() };
        }
        let damage = inner.damaged.values().next();
        damage.map_or(Health::Ok, |cause| Health::Corrupt { cause: cause.clone() })
    }

    /// Enters NOSPACE.
    pub(crate) fn enter_no_space(&self, cause: Error, needed_bytes: u64) {
        lock(&self.inner).no_space.get_or_insert((cause, needed_bytes));
        self.out_of_space.store(true, Ordering::Release);
    }

    /// Leaves NOSPACE; returns whether it was in it.
    pub(crate) fn leave_no_space(&self) -> bool {
        self.out_of_space.swap(false, Ordering::AcqRel)
            && lock(&self.inner).no_space.take().is_some()
    }

    /// How many bytes must be free before work goes on; `None` outside NOSPACE.
    pub(crate) fn needed_bytes(&self) -> Option<u64> {
        lock(&self.inner).no_space.as_ref().map(|(_, needed)| *needed)
    }

    /// Whether the engine is in NOSPACE.
    pub(crate) fn is_out_of_space(&self) -> bool {
        self.out_of_space.load(Ordering::Acquire)
    }

    /// Notes whether the process has too many files open for background work to go on. Returns whether
    /// it had before.
    pub(crate) fn set_lacks_descriptors(&self, lacks: bool) -> bool {
        self.lacks_descriptors.swap(lacks, Ordering::Relaxed)
    }

    /// Whether that was so at the last try.
    pub(crate) fn lacks_descriptors(&self) -> bool {
        self.lacks_descriptors.load(Ordering::Relaxed)
    }

    /// Notes a file that is damaged or cannot be read; returns whether it is news. That it could not
    /// be opened for want of descriptors says nothing of the file, and passes.
    pub(crate) fn note_damage(&self, cause: &Error) -> bool {
        if cause.is_out_of_descriptors() {
            return false;
        }
        let (Error::Corrupt { file, .. } | Error::Io { op: "read", file, .. }) = cause else {
            return false;
        };
        self.any_damage.store(true, Ordering::Release);
        lock(&self.inner).damaged.insert(file.clone(), cause.clone()).is_none()
    }

    /// Whether some file is damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.any_damage.load(Ordering::Acquire)
    }

    /// The first damage by file name.
    pub(crate) fn first_damage(&self) -> Option<Error> {
        lock(&self.inner).damaged.values().next().cloned()
    }

    /// The names of damaged files.
    pub(crate) fn damaged_files(&self) -> Vec<String> {
        lock(&self.inner).damaged.keys().cloned().collect()
    }
}
