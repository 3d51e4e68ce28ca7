//! What may go wrong at the moment, and so which errors and states are excused.
//!
//! A fault that is planned may strike at any later call, so everything that it could cause is
//! excused until all faults are taken back. Beyond that only a state that the engine told of before
//! excuses an error. Nothing excuses damage: no byte is ever flipped here.

use crate::engine::storage::sim::{FaultKind, Random, SimStorage, Times};
use crate::engine::{Error, Health};

/// See the module.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of them can be at once")]
pub(super) struct Weather {
    /// A changing call may fail.
    changes: bool,
    /// A looking call may fail.
    looks: bool,
    /// There may be no room.
    space: bool,
    /// There may be no descriptors.
    descriptors: bool,
    /// A changing call could fail since the database was opened.
    changes_since_open: bool,
}

const KINDS: [FaultKind; 7] = [
    FaultKind::Io,
    FaultKind::NoSpace,
    FaultKind::Quota,
    FaultKind::Interrupted,
    FaultKind::TooManyFiles,
    FaultKind::ShortWrite,
    FaultKind::SyncLosesData,
];

impl Weather {
    /// Plans one misfortune; returns what.
    pub(super) fn worsen(&mut self, random: &mut Random, storage: &SimStorage) -> String {
        match random.below(4) {
            0 => {
                let bytes = if random.coin() { 0 } else { random.below(400 << 10) };
                self.limit_space(storage, bytes)
            }
            1 => self.fail_a_look(random, storage, 80),
            _ => self.fail_a_change(random, storage, 80),
        }
    }

    fn limit_space(&mut self, storage: &SimStorage, bytes: u64) -> String {
        self.space = true;
        storage.set_capacity(Some(bytes));
        format!("the device holds {bytes} bytes")
    }

    fn fail_a_look(&mut self, random: &mut Random, storage: &SimStorage, within: u64) -> String {
        let (at, times) = (storage.read_count() + 1 + random.below(within), times(random));
        let kind = [FaultKind::Io, FaultKind::TooManyFiles][random.below(2) as usize];
        self.looks |= kind == FaultKind::Io;
        self.descriptors |= kind == FaultKind::TooManyFiles;
        storage.fail_read(at, kind, times);
        format!("plan {kind:?} at look {at}, {times:?}")
    }

    /// Has one of the next `within` changing calls fail.
    pub(super) fn fail_a_change(
        &mut self,
        random: &mut Random,
        storage: &SimStorage,
        within: u64,
    ) -> String {
        let (at, times) = (storage.call_count() + 1 + random.below(within), times(random));
        let kind = KINDS[random.below(KINDS.len() as u64) as usize];
        self.descriptors |= kind == FaultKind::TooManyFiles;
        self.space |= matches!(kind, FaultKind::NoSpace | FaultKind::Quota);
        self.changes = true;
        self.changes_since_open = true;
        storage.fail_call(at, kind, times);
        format!("plan {kind:?} at call {at}, {times:?}")
    }

    /// Takes back all that was planned and did not happen.
    pub(super) fn clear(&mut self, storage: &SimStorage) {
        storage.clear_faults();
        storage.set_capacity(None);
        storage.set_cold(false);
        *self = Weather { changes_since_open: self.changes_since_open, ..Weather::default() };
    }

    /// What was planned for the machine that went down is gone, what its device holds is not.
    pub(super) fn restarted(&mut self) {
        *self = Weather { space: self.space, ..Weather::default() };
    }

    /// A new process does not know what the old one met.
    pub(super) fn opened(&mut self) {
        self.changes_since_open = self.changes;
    }

    /// Whether nothing can fail.
    pub(super) fn is_fair(&self) -> bool {
        !(self.changes || self.looks || self.space || self.descriptors)
    }

    /// Whether a call that waits until it is admitted is sure to end.
    pub(super) fn lets_writers_wait(&self) -> bool {
        !self.descriptors
    }

    /// Whether a sync may have lost what had only been handed over.
    pub(super) fn may_have_lost_unsynced(&self) -> bool {
        self.changes_since_open
    }

    /// Whether `error` can be, in an engine that says of itself what `health` is.
    pub(super) fn excuses(&self, error: &Error, health: &Health) -> bool {
        match error {
            Error::Failed(_) => matches!(health, Health::Failed { .. }),
            error if error.is_no_space() => {
                self.space || matches!(health, Health::NoSpace { .. } | Health::Failed { .. })
            }
            error if error.is_out_of_descriptors() => self.descriptors,
            Error::Io { .. } => {
                let is_known = matches!(health, Health::Corrupt { .. } | Health::Failed { .. });
                self.changes || self.looks || is_known
            }
            _ => false,
        }
    }

    /// Whether the engine can have come from one state into the other.
    pub(super) fn explains(&self, before: &Health, after: &Health) -> bool {
        match (before, after) {
            (Health::Failed { .. }, after) => matches!(after, Health::Failed { .. }),
            (_, Health::Failed { .. }) => self.changes || self.looks,
            (before, Health::Ok) => !matches!(before, Health::Corrupt { .. }),
            (before, Health::NoSpace { .. }) => {
                self.space || matches!(before, Health::NoSpace { .. })
            }
            // It may have been hidden behind a lack of room.
            (before, Health::Corrupt { .. }) => self.looks || !matches!(before, Health::Ok),
        }
    }
}

fn times(random: &mut Random) -> Times {
    if random.one_in(4) { Times::Forever } else { Times::Once }
}
