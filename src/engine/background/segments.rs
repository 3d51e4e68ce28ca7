//! The segments of the log: prepared before they are needed, given back once they are not.
//!
//! One spare is ready at all times, so that no write waits for a file to be filled, except one that no
//! segment of the present length could hold. What a load has let grow is given back at rest and at a
//! close: then the log goes on in a short segment, and the next open has little to read.

use super::super::db::Inner;
use super::super::error::Result;
use super::super::sync::{lock, write};
use super::super::version::VersionEdit;
use super::super::wal::{self, Spare};

/// Without writes for this long, what the log has grown by is given back, in milliseconds.
pub(super) const SHORTEN_AFTER_MS: u64 = 60_000;

impl Inner {
    /// Keeps one spare segment ready.
    pub(super) fn prepare_segment(&self) -> Result<bool> {
        let _preparing = lock(&self.background.preparing);
        let wanted = self.commit.wanted_spare().filter(|_| !self.background.is_over());
        let Some(bytes) = wanted else { return Ok(false) };
        let spare = self.create_segment(bytes)?;
        self.add_spare(spare)?;
        Ok(true)
    }

    /// A segment of `bytes`, or a short one where there is no room for that and no other spare.
    fn create_segment(&self, bytes: usize) -> Result<Spare> {
        let create = |bytes| {
            let id = lock(&self.set).next_file_id();
            wal::create_segment(self.environment.storage.as_ref(), id, bytes)
        };
        let least = self.options.initial_segment_bytes();
        match create(bytes) {
            Err(error) if error.is_no_space() => {
                // Whoever needs a long one is told so, and the others go on.
                self.commit.forget_wanted_segment();
                if bytes > least && !self.commit.has_spare() { create(least) } else { Err(error) }
            }
            outcome => outcome,
        }
    }

    fn add_spare(&self, spare: Spare) -> Result<()> {
        match self.commit.add_spare(spare) {
            Some(replaced) => wal::remove_segment(self.environment.storage.as_ref(), replaced.id),
            None => Ok(()),
        }
    }

    /// Recycles or removes segments that hold nothing but what is in tables.
    pub(super) fn retire_segments(&self, first_needed: u64) -> Result<()> {
        let storage = self.environment.storage.as_ref();
        let _preparing = lock(&self.background.preparing);
        while let Some(old) = self.commit.retire(first_needed) {
            // One that is much too long would stay so for ever.
            let fits = |wanted: usize| (wanted..=2 * wanted).contains(&old.bytes);
            if !self.commit.has_spare() && self.commit.wanted_spare().is_some_and(fits) {
                let id = lock(&self.set).next_file_id();
                self.add_spare(wal::recycle_segment(storage, old.id, id)?)?;
            } else {
                wal::remove_segment(storage, old.id)?;
            }
        }
        Ok(())
    }

    /// Whether the log is longer than a database at rest needs.
    pub(super) fn has_long_log(&self) -> bool {
        self.commit.is_longer_than(self.options.initial_segment_bytes())
    }

    /// [`Inner::shorten_log`] once nothing was written for a while.
    pub(super) fn shorten_idle_log(&self) -> Result<bool> {
        let is_due = self.has_long_log() && self.commit.idle_ms() >= SHORTEN_AFTER_MS;
        Ok(is_due && self.shorten_log()?)
    }

    /// Gives back what the log has grown by, if everything that it holds is in tables and nobody
    /// writes; false if there is nothing to give back now.
    pub(super) fn shorten_log(&self) -> Result<bool> {
        let _flushing = lock(&self.background.flushing);
        if self.background.is_over() || !self.has_long_log() || !self.is_flushed() {
            return Ok(false);
        }
        {
            let _preparing = lock(&self.background.preparing);
            let spare = self.short_spare()?;
            if !self.has_long_log() {
                self.add_spare(spare)?;
                return Ok(true);
            }
            if !self.change_to(spare)? {
                return Ok(false);
            }
        }
        let first_segment = self.commit.oldest_needed(self.commit.durable_seq());
        let edit = VersionEdit { first_segment: Some(first_segment), ..VersionEdit::default() };
        self.install(&edit, &[])?;
        self.retire_segments(first_segment)?;
        Ok(true)
    }

    /// The spare, or a new one if that is long. Segments follow each other in the order of their
    /// numbers, so one that is there comes first.
    fn short_spare(&self) -> Result<Spare> {
        let least = self.options.initial_segment_bytes();
        let spare = {
            // What is admitted relies on the spare.
            let _memory = write(&self.memory);
            self.commit.take_idle_spare()
        };
        match spare {
            Some(spare) if spare.bytes <= least => Ok(spare),
            Some(long) => {
                wal::remove_segment(self.environment.storage.as_ref(), long.id)?;
                self.create_segment(least)
            }
            None => self.create_segment(least),
        }
    }

    /// Goes on in `spare`, unless somebody writes meanwhile: then that is the spare.
    fn change_to(&self, spare: Spare) -> Result<bool> {
        let memory = write(&self.memory);
        let is_flushed = memory.immutables.is_empty() && memory.active.is_empty();
        let wal = if is_flushed { self.commit.begin_change(&spare) } else { None };
        drop(memory);
        match wal {
            Some(wal) => self.commit.end_change(wal, spare).map(|()| true),
            None => self.add_spare(spare).map(|()| false),
        }
    }

    /// Whether everything that was written is in tables, and the manifest says so.
    fn is_flushed(&self) -> bool {
        let flushed_seq = lock(&self.set).snapshot().flushed_seq;
        let memory = super::super::sync::read(&self.memory);
        memory.immutables.is_empty()
            && memory.active.is_empty()
            && memory.last_seq == flushed_seq
            && self.commit.durable_seq() == flushed_seq
    }
}
