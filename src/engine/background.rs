//! Background work: spare log segments, flushes, merges, closing. One thread, most urgent first.
//!
//! A long merge looks between its pieces whether something more urgent waits and does that first,
//! so a flush never waits for a merge. Each step leaves a consistent database behind, whatever it
//! ends with; what ended it decides the state that the engine enters (see `health`). Nothing here
//! removes a file or recycles a segment before the manifest edit that makes it superfluous is
//! durable.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::compaction::job::{Cuts, Surroundings, Target, write_tables};
use super::compaction::picker::{MAX_GRANDPARENT_TABLES, Plan, pick_everything};
use super::db::Inner;
use super::error::{Error, Result};
use super::filename::{self, FileKind};
use super::iter::{Input, MergeIter, VisibleIter};
use super::key::Seq;
use super::sync::{lock, read, wait, wait_for, write};
use super::ticket::Ticket;
use super::version::shape::Levels;
use super::version::{TableRef, VersionEdit};
use super::wal;

/// How long to wait before looking whether a full disk has room again, or a file can be opened.
const RETRY: Duration = Duration::from_secs(1);

/// What the background was asked to do.
#[derive(Default)]
pub(crate) struct Background {
    requests: Mutex<Requests>,
    changed: Condvar,
    /// Read between the pieces of a merge, without the lock.
    stopping: AtomicBool,
    /// Whether the last step failed for lack of something that the process may get again.
    retries: AtomicBool,
}

#[derive(Default)]
struct Requests {
    woken: bool,
    compactions: Vec<Ticket>,
    /// Those that are being done.
    compacting: Vec<Ticket>,
    closes: Vec<Ticket>,
    /// Why no request is taken any more.
    over: Option<Result<()>>,
}

impl Background {
    /// Has the state of the engine looked at for work.
    pub(crate) fn wake(&self) {
        let was_woken = std::mem::replace(&mut lock(&self.requests).woken, true);
        if !was_woken {
            self.changed.notify_all();
        }
    }

    /// Ends the thread as soon as its current piece of work allows.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// Answers everything that was asked, and whatever will be.
    pub(crate) fn abandon(&self, why: &Error) {
        self.finish(&Err(why.clone()));
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes a request, or answers it at once if there is nobody left to do it: with `after` what
    /// the end was.
    fn request(
        &self,
        list: fn(&mut Requests) -> &mut Vec<Ticket>,
        after: fn(Result<()>) -> Result<()>,
    ) -> Ticket {
        let ticket = Ticket::default();
        let mut requests = lock(&self.requests);
        match requests.over.clone() {
            Some(outcome) => ticket.finish(after(outcome)),
            None => list(&mut requests).push(ticket.clone()),
        }
        drop(requests);
        self.wake();
        ticket
    }

    /// Takes on what merges were asked for; false if none were. They stay in the list, so that they
    /// are answered even if this thread dies of them.
    fn begin_compactions(&self) -> bool {
        let mut requests = lock(&self.requests);
        let asked = std::mem::take(&mut requests.compactions);
        requests.compacting.extend(asked);
        !requests.compacting.is_empty()
    }

    fn end_compactions(&self, outcome: &Result<()>) {
        for ticket in std::mem::take(&mut lock(&self.requests).compacting) {
            ticket.finish(outcome.clone());
        }
    }

    /// Whether no request is taken any more.
    fn is_over(&self) -> bool {
        lock(&self.requests).over.is_some()
    }

    fn is_closing(&self) -> bool {
        !lock(&self.requests).closes.is_empty()
    }

    /// Ends the background's life with the outcome of closing.
    fn finish(&self, outcome: &Result<()>) {
        let mut requests = lock(&self.requests);
        requests.over.get_or_insert_with(|| outcome.clone());
        let begun = std::mem::take(&mut requests.compacting);
        for ticket in std::mem::take(&mut requests.compactions).into_iter().chain(begun) {
            ticket.finish(closed(outcome.clone()));
        }
        for ticket in std::mem::take(&mut requests.closes) {
            ticket.finish(outcome.clone());
        }
    }

    /// Waits to be woken, or for `limit`.
    fn wait(&self, limit: Option<Duration>) {
        let mut requests = lock(&self.requests);
        let mut limit_reached = false;
        while !requests.woken && !limit_reached {
            limit_reached = limit.is_some();
            requests = match limit {
                Some(limit) => wait_for(&self.changed, requests, limit),
                None => wait(&self.changed, requests),
            };
        }
        requests.woken = false;
    }
}

/// What a merge comes to that was asked for at or after the end.
fn closed(outcome: Result<()>) -> Result<()> {
    outcome.and(Err(Error::Closed))
}

impl Inner {
    /// Asks for everything to be merged into the last level.
    pub(crate) fn request_compaction(&self) -> Ticket {
        let ticket = self.background.request(|requests| &mut requests.compactions, closed);
        if self.is_manual() {
            self.run_background();
        }
        ticket
    }

    /// Refuses new writes and asks for an orderly end.
    pub(crate) fn request_close(&self) -> Ticket {
        write(&self.memory).closed = true;
        let ticket = self.background.request(|requests| &mut requests.closes, |outcome| outcome);
        if self.is_manual() && self.background.is_closing() {
            self.close_now();
        }
        ticket
    }

    /// The body of the background thread.
    pub(crate) fn run_background_thread(&self) {
        loop {
            if self.background.is_stopping() {
                self.background.abandon(&Error::Closed);
                return self.signal.notify();
            }
            if self.background.is_closing() {
                return self.close_now();
            }
            self.run_background();
            let retries = self.background.retries.swap(false, Ordering::Relaxed);
            let waits = retries || self.faults.needed_bytes().is_some();
            self.background.wait(waits.then_some(RETRY));
        }
    }

    /// Does what there is to do, most urgent first. Once closed, nothing: the directory may be
    /// another's by then.
    pub(crate) fn run_background(&self) {
        if self.background.is_over() {
            return;
        }
        self.empty_trash();
        if !self.has_room_again() {
            return self.refuse_compactions(&Error::NoSpace);
        }
        loop {
            match self.step() {
                Ok(true) => self.recovered(),
                Ok(false) => return self.recovered(),
                Err(error) => return self.take_error(&error),
            }
        }
    }

    /// Outside NOSPACE, or with enough free bytes to try again.
    fn has_room_again(&self) -> bool {
        let Some(needed) = self.faults.needed_bytes() else { return true };
        self.environment.storage.free_bytes().is_ok_and(|free| free >= needed)
    }

    fn recovered(&self) {
        if self.faults.leave_no_space() {
            tracing::info!("there is room on the device again; writes are accepted");
            self.signal.notify();
        }
    }

    /// Enters the state that an error calls for.
    fn take_error(&self, error: &Error) {
        match error {
            Error::Closed | Error::Failed(_) => {}
            error if error.is_out_of_descriptors() => {
                tracing::warn!(%error, "too many files are open; the work is tried again");
                self.background.retries.store(true, Ordering::Relaxed);
            }
            Error::Corrupt { .. } | Error::Io { op: "read", .. } => self.note_damage(error),
            error if error.is_no_space() => {
                self.faults.enter_no_space(error.clone(), self.options.room_bytes());
                let needed = self.faults.needed_bytes();
                tracing::error!(%error, needed, "no space left; writes are refused until there is");
            }
            error => {
                tracing::error!(%error, "the device failed; writes are refused until a restart");
                self.commit.fail(error.clone());
            }
        }
        self.refuse_compactions(error);
        self.signal.notify();
    }

    fn refuse_compactions(&self, error: &Error) {
        if self.background.begin_compactions() {
            self.background.end_compactions(&Err(error.clone()));
            self.signal.notify();
        }
    }

    /// Does one piece of work; false if there is none.
    fn step(&self) -> Result<bool> {
        if let Some(cause) = self.commit.failure() {
            return Err(Error::Failed(cause.to_string().into()));
        }
        if self.do_urgent()? {
            return Ok(true);
        }
        if !self.background.begin_compactions() {
            let policy = self.options.policy();
            return self.compact(|levels, damaged| policy.pick(levels, damaged));
        }
        let outcome = self.compact_everything();
        self.background.end_compactions(&outcome);
        self.signal.notify();
        outcome.map(|()| true)
    }

    /// What a merge is interrupted for.
    fn do_urgent(&self) -> Result<bool> {
        if self.prepare_segment()? {
            return Ok(true);
        }
        if self.commit.wants_flush() {
            self.freeze_if_idle();
        }
        self.flush()
    }

    /// Makes what is in memory flushable, unless something is waiting for its flush already.
    fn freeze_if_idle(&self) {
        let mut memory = write(&self.memory);
        if memory.immutables.is_empty() && !memory.active.is_empty() {
            memory.freeze();
        }
    }

    /// Keeps one spare segment ready.
    fn prepare_segment(&self) -> Result<bool> {
        if !self.commit.wants_spare() {
            return Ok(false);
        }
        let id = lock(&self.set).next_file_id();
        let storage = self.environment.storage.as_ref();
        let spare = wal::create_segment(storage, id, self.options.wal_segment_bytes)?;
        self.commit.add_spare(spare);
        Ok(true)
    }

    /// Writes the oldest frozen memtable as a table; false if there is none.
    fn flush(&self) -> Result<bool> {
        let Some(memtable) = read(&self.memory).immutables.front().cloned() else {
            return Ok(false);
        };
        let last_seq = memtable.last_seq();
        // A table must not hold what the log may yet lose.
        self.wait_durable(last_seq)?;
        let mut entries = VisibleIter::new(memtable.sorted(), Seq::MAX, false);
        let mut surroundings = FlushSurroundings(self);
        let tables = write_tables(self.target(0), &mut entries, Cuts::none(), &mut surroundings)?;
        let first_segment = self.commit.oldest_needed(last_seq);
        let edit = VersionEdit {
            added: tables.iter().map(|table| (0, table.meta().clone())).collect(),
            flushed_seq: Some(last_seq),
            first_segment: Some(first_segment),
            ..VersionEdit::default()
        };
        drop((entries, memtable));
        self.install(&edit, &tables)?;
        self.counters.flushes.add(1);
        self.retire_segments(first_segment)?;
        Ok(true)
    }

    /// Makes an edit durable, then visible. An edit with a `flushed_seq` replaces the oldest frozen
    /// memtable.
    fn install(&self, edit: &VersionEdit, tables: &[TableRef]) -> Result<()> {
        lock(&self.set).commit(edit)?;
        let mut memory = write(&self.memory);
        let next = Arc::new(memory.version.apply(edit, tables));
        let old = std::mem::replace(&mut memory.version, next);
        let flushed = edit.flushed_seq.and_then(|_| memory.immutables.pop_front());
        drop(memory);
        // Freed outside of the lock: giving back a memtable's memory takes a while.
        drop((old, flushed));
        self.signal.notify();
        Ok(())
    }

    /// Recycles or removes segments that hold nothing but what is in tables.
    fn retire_segments(&self, first_needed: u64) -> Result<()> {
        let storage = self.environment.storage.as_ref();
        while let Some(old) = self.commit.retire(first_needed) {
            if self.commit.wants_spare() {
                let id = lock(&self.set).next_file_id();
                self.commit.add_spare(wal::recycle_segment(storage, old, id)?);
            } else {
                let name = filename::wal(old);
                storage.remove(&name).map_err(|e| Error::io("remove", &name, e))?;
            }
        }
        Ok(())
    }

    /// Flushes what is in memory now and merges all tables.
    fn compact_everything(&self) -> Result<()> {
        self.flush_everything()?;
        if !self.compact(pick_everything)?
            && let Some(damage) = self.faults.first_damage()
        {
            return Err(damage);
        }
        Ok(())
    }

    fn flush_everything(&self) -> Result<()> {
        while self.flush()? {}
        self.freeze_if_idle();
        while self.flush()? {}
        Ok(())
    }

    /// Does the merge that `pick` chooses, and removes what it made superfluous; false if it chooses
    /// none.
    fn compact(&self, pick: impl Fn(&Levels<'_>, &BTreeSet<u64>) -> Option<Plan>) -> Result<bool> {
        let outcome = self.merge_or_move(pick);
        self.empty_trash();
        outcome
    }

    fn merge_or_move(
        &self,
        pick: impl Fn(&Levels<'_>, &BTreeSet<u64>) -> Option<Plan>,
    ) -> Result<bool> {
        let version = Arc::clone(&read(&self.memory).version);
        let levels = version.metadata();
        let Some(plan) = pick(&levels, &self.damaged_tables()) else {
            return Ok(false);
        };
        let inputs: Vec<TableRef> = version
            .tables()
            .filter(|(_, table)| plan.inputs.contains(&table.meta().id))
            .map(|(_, table)| Arc::clone(table))
            .collect();
        if plan.is_move {
            self.move_tables(&plan, &inputs)?;
        } else {
            self.merge(&plan, &inputs, self.cuts(&plan, &levels))?;
        }
        Ok(true)
    }

    /// Where the outputs of a plan end.
    fn cuts(&self, plan: &Plan, levels: &Levels<'_>) -> Cuts {
        let table_bytes = self.options.table_bytes as u64;
        let grandparents = levels.get(plan.output_level + 1).into_iter().flatten();
        let grandparents = grandparents.map(|table| (table.largest.clone(), table.bytes)).collect();
        Cuts::new(table_bytes, grandparents, MAX_GRANDPARENT_TABLES * table_bytes)
    }

    /// Gives tables another level: an edit, and no I/O on the tables.
    fn move_tables(&self, plan: &Plan, tables: &[TableRef]) -> Result<()> {
        let added = tables.iter().map(|table| (plan.output_level, table.meta().clone())).collect();
        let removed = plan.inputs.iter().copied().collect();
        self.install(&VersionEdit { added, removed, ..VersionEdit::default() }, tables)?;
        self.counters.moves.add(1);
        Ok(())
    }

    fn merge(&self, plan: &Plan, inputs: &[TableRef], cuts: Cuts) -> Result<()> {
        let iters = inputs.iter().map(|table| Box::new(table.iter()) as Input);
        let merged = MergeIter::new(iters.collect());
        let mut entries = VisibleIter::new(merged, Seq::MAX, plan.drop_tombstones);
        let target = self.target(plan.output_level);
        let tables = write_tables(target, &mut entries, cuts, &mut MergeSurroundings(self))
            .inspect_err(|error| self.note_room_for(error, inputs))?;
        let added = tables.iter().map(|table| (plan.output_level, table.meta().clone())).collect();
        let removed = plan.inputs.iter().copied().collect();
        self.install(&VersionEdit { added, removed, ..VersionEdit::default() }, &tables)?;
        // Readers that still hold one go on reading it.
        for table in inputs {
            table.retire();
        }
        self.counters.compactions.add(1);
        let bytes: u64 = inputs.iter().map(|table| table.meta().bytes).sum();
        self.counters.compacted_bytes.add(bytes);
        Ok(())
    }

    /// Removes the files of retired tables that have no reader any more. What cannot be removed stays
    /// until the next open, as an orphan.
    fn empty_trash(&self) {
        for id in self.tables.take_trash() {
            if let Err(error) = self.tables.remove(id) {
                tracing::warn!(table = id, %error, "could not remove a superfluous table");
            }
        }
    }

    /// A merge that ran out of room is worth another try once its outputs surely fit.
    fn note_room_for(&self, error: &Error, inputs: &[TableRef]) {
        if error.is_no_space() {
            let bytes: u64 = inputs.iter().map(|table| table.meta().bytes).sum();
            self.faults.enter_no_space(error.clone(), bytes + self.options.room_bytes());
        }
    }

    /// Where new tables of a level go.
    fn target(&self, level: usize) -> Target<'_> {
        Target { tables: &self.tables, compression: self.options.compression_of(level) }
    }

    fn damaged_tables(&self) -> BTreeSet<u64> {
        let files = self.faults.damaged_files();
        let ids = files.iter().filter_map(|name| match filename::parse(name) {
            Some(FileKind::Table(id)) => Some(id),
            _ => None,
        });
        ids.collect()
    }

    /// Seals the log, flushes everything, gives the directory free, and answers all requests.
    fn close_now(&self) {
        let outcome = self.commit.seal().and_then(|()| self.flush_everything());
        if let Err(error) = &outcome {
            tracing::error!(%error, "memory could not be flushed; the log keeps what it holds");
        }
        self.commit.stop();
        // Afterwards the directory may be another's: what has readers by then is left as an orphan.
        self.empty_trash();
        *lock(&self.directory_lock) = None;
        self.background.finish(&outcome);
        self.signal.notify();
    }
}

/// A flush is interrupted by nothing but the lack of a log segment.
struct FlushSurroundings<'a>(&'a Inner);

impl Surroundings for FlushSurroundings<'_> {
    fn next_file_id(&mut self) -> u64 {
        lock(&self.0.set).next_file_id()
    }

    fn yield_now(&mut self) -> Result<()> {
        self.0.prepare_segment().map(|_| ())
    }
}

/// A merge is interrupted by whatever is more urgent, and ended by a stop.
struct MergeSurroundings<'a>(&'a Inner);

impl Surroundings for MergeSurroundings<'_> {
    fn next_file_id(&mut self) -> u64 {
        lock(&self.0.set).next_file_id()
    }

    fn yield_now(&mut self) -> Result<()> {
        if self.0.background.is_stopping() || self.0.background.is_closing() {
            return Err(Error::Closed);
        }
        while self.0.do_urgent()? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let background = Background::default();
        for limit in [None, Some(Duration::MAX)] {
            background.wake();
            background.wait(limit);
        }
    }
}
