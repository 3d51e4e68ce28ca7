//! Background work: spare log segments, flushes, merges, copies, closing.
//!
//! Two threads. One keeps memory writable: it prepares log segments and flushes memtables. The other
//! does everything that may take long, at a low priority: merges, what was asked for, and the end.
//! So a flush never waits for a merge. In manual mode one caller does it all, and a merge looks
//! between its pieces whether something more urgent waits.
//!
//! Each step leaves a consistent database behind, whatever it ends with; what ended it decides the
//! state that the engine enters (see `health`). Nothing here removes a file or recycles a segment
//! before the manifest edit that makes it superfluous is durable.

mod checkpoint;
mod flush;
mod ingest;
mod merge;
mod rest;
mod segments;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

pub(crate) use self::checkpoint::{lock_empty, start_log};
pub(crate) use self::ingest::{Ingested, remove as remove_tables};
use super::compaction::job::Target;
use super::db::Inner;
use super::error::{Error, Result};
use super::event::Event;
use super::hardware::lower_priority;
use super::options::Scheduling;
use super::range::KeyRange;
use super::storage::Storage;
use super::sync::{lock, read, wait, wait_for, write};
use super::ticket::Ticket;
use super::version::{TableRef, VersionEdit};

/// How long to wait before looking whether what was lacking, room or descriptors, is there again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Something asked of the background.
pub(crate) enum Job {
    /// Merge what is in a range into the last level, the memtables flushed before.
    Compact(KeyRange),
    /// Write a copy of the database that can be opened to this directory.
    Checkpoint(Arc<dyn Storage>),
    /// Make tables part of the database that were written for it.
    Ingest(Arc<Ingested>),
}

/// What the background was asked to do.
#[derive(Default)]
pub(crate) struct Background {
    requests: Mutex<Requests>,
    flush_waker: Waker,
    merge_waker: Waker,
    /// Of the flushing thread at a memtable that it may flush at rest.
    look: Mutex<rest::Look>,
    /// Read between the pieces of a merge, without the lock.
    stopping: AtomicBool,
    /// Held while segments are prepared, by a flush, and by whoever merges, in this order from the
    /// last to the first.
    preparing: Mutex<()>,
    flushing: Mutex<()>,
    merging: Mutex<()>,
}

#[derive(Default)]
struct Requests {
    jobs: Vec<(Job, Ticket)>,
    /// Those of the job that is being done.
    begun: Vec<Ticket>,
    closes: Vec<Ticket>,
    /// Why no request is taken any more.
    over: Option<Result<()>>,
}

/// Something to wait for: a wake before the wait is not lost.
#[derive(Default)]
struct Waker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waker {
    fn wake(&self) {
        let was_woken = std::mem::replace(&mut *lock(&self.woken), true);
        if !was_woken {
            self.changed.notify_all();
        }
    }

    /// Waits to be woken, or for `limit`.
    fn wait(&self, limit: Option<Duration>) {
        let mut woken = lock(&self.woken);
        let mut limit_reached = false;
        while !*woken && !limit_reached {
            limit_reached = limit.is_some();
            woken = match limit {
                Some(limit) => wait_for(&self.changed, woken, limit),
                None => wait(&self.changed, woken),
            };
        }
        *woken = false;
    }
}

impl Background {
    /// Has the state of the engine looked at for work.
    pub(crate) fn wake(&self) {
        self.flush_waker.wake();
        self.merge_waker.wake();
    }

    /// Ends the threads as soon as their current piece of work allows.
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

    /// Takes a job, or answers it at once if there is nobody left to do it.
    fn request(&self, job: Job) -> Ticket {
        let ticket = Ticket::default();
        let mut requests = lock(&self.requests);
        match requests.over.clone() {
            Some(outcome) => ticket.finish(closed(outcome)),
            None => requests.jobs.push((job, ticket.clone())),
        }
        drop(requests);
        self.wake();
        ticket
    }

    /// Takes a request to close, or answers it with what closing came to.
    fn request_close(&self) -> Ticket {
        let ticket = Ticket::default();
        let mut requests = lock(&self.requests);
        match requests.over.clone() {
            Some(outcome) => ticket.finish(outcome),
            None => requests.closes.push(ticket.clone()),
        }
        drop(requests);
        self.wake();
        ticket
    }

    /// Takes on the oldest job. Its ticket stays in the list, so that it is answered even if this
    /// thread dies of it.
    fn begin_job(&self) -> Option<Job> {
        let mut requests = lock(&self.requests);
        if requests.jobs.is_empty() {
            return None;
        }
        let (job, ticket) = requests.jobs.remove(0);
        requests.begun.push(ticket);
        Some(job)
    }

    fn end_job(&self, outcome: &Result<()>) {
        for ticket in std::mem::take(&mut lock(&self.requests).begun) {
            ticket.finish(outcome.clone());
        }
    }

    /// Answers all jobs that wait; true if there were any.
    fn refuse_jobs(&self, error: &Error) -> bool {
        let jobs = std::mem::take(&mut lock(&self.requests).jobs);
        for (_, ticket) in &jobs {
            ticket.finish(Err(error.clone()));
        }
        !jobs.is_empty()
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
        let waiting = std::mem::take(&mut requests.jobs).into_iter().map(|(_, ticket)| ticket);
        for ticket in waiting.chain(std::mem::take(&mut requests.begun)) {
            ticket.finish(closed(outcome.clone()));
        }
        for ticket in std::mem::take(&mut requests.closes) {
            ticket.finish(outcome.clone());
        }
        drop(requests);
        self.wake();
    }
}

fn both(outcome: Result<()>) -> (Result<()>, Result<()>) {
    (outcome.clone(), outcome)
}

/// What a job comes to that was asked for at or after the end.
fn closed(outcome: Result<()>) -> Result<()> {
    outcome.and(Err(Error::Closed))
}

/// Gives up tables that are not, or no longer, part of the database. Their readers may go on.
fn retire(tables: &[TableRef]) {
    for table in tables {
        table.retire();
    }
}

/// Gives up tables that were written for an edit that failed, if it is certain that it did not
/// happen.
fn discard(error: &Error, tables: &[TableRef]) {
    if error.can_pass() {
        retire(tables);
    }
}

impl Inner {
    /// Asks for a job to be done.
    pub(crate) fn request(&self, job: Job) -> Ticket {
        if self.is_read_only {
            return Ticket::done(Err(Error::ReadOnly));
        }
        let ticket = self.background.request(job);
        if self.is_manual() {
            self.run_background();
        }
        ticket
    }

    /// Refuses new writes and asks for an orderly end.
    pub(crate) fn request_close(&self) -> Ticket {
        write(&self.memory).closed = true;
        let ticket = self.background.request_close();
        if self.is_manual() && self.background.is_closing() {
            self.close_now();
        }
        ticket
    }

    /// The body of the flushing thread.
    pub(crate) fn run_flush_thread(&self) {
        while !self.background.is_stopping() && !self.background.is_over() {
            self.run(|| Ok(self.do_urgent()? || self.freeze_at_rest()));
            self.background.flush_waker.wait(self.flush_pause());
        }
    }

    /// How long the flushing thread waits at most before it looks again.
    fn flush_pause(&self) -> Option<Duration> {
        let shorten = Duration::from_millis(segments::SHORTEN_AFTER_MS);
        if self.lacks_something() {
            return Some(RETRY_AFTER);
        }
        let shorten = self.has_long_log().then_some(shorten);
        [shorten, self.rest_pause()].into_iter().flatten().min()
    }

    /// The body of the merging thread.
    pub(crate) fn run_merge_thread(&self) {
        lower_priority();
        loop {
            if self.background.is_stopping() {
                self.background.abandon(&Error::Closed);
                return self.signal.notify();
            }
            if self.background.is_closing() {
                return self.close_now();
            }
            self.run_merges(|| self.merge_step());
            self.background.merge_waker.wait(self.merge_pause());
        }
    }

    /// Does what there is to do, most urgent first, on the calling thread. Once closed, nothing: the
    /// directory may be another's by then.
    pub(crate) fn run_background(&self) {
        if !self.background.is_over() && !self.is_read_only {
            self.run_merges(|| Ok(self.do_urgent()? || self.merge_step()?));
        }
    }

    /// One step of it: a segment and a flush, or a merge, however urgent a flush is.
    #[cfg(feature = "campaign")]
    pub(crate) fn step_background(&self, may_merge: bool) {
        if self.background.is_over() {
            return;
        }
        // That it says there is nothing more ends it after this step.
        let once = |step: Result<bool>| step.map(|_| false);
        if may_merge {
            self.run_merges(|| once(self.merge_step()));
        } else {
            self.run(|| once(self.do_urgent()));
        }
    }

    /// What is done at rest, as if it were long enough.
    #[cfg(feature = "campaign")]
    pub(crate) fn rest_background(&self) {
        if !self.background.is_over() && self.freeze_if_worth_it() {
            self.run_background();
        }
    }

    fn run_merges(&self, step: impl Fn() -> Result<bool>) {
        // In manual mode any caller may come: after the one that is at it, for that may have looked
        // already.
        let _merging = lock(&self.background.merging);
        self.run(step);
    }

    /// Changes something in the directory, unless that was given free: it may be another's then.
    pub(crate) fn in_directory<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        let _preparing = lock(&self.background.preparing);
        if self.background.is_over() { Err(Error::Closed) } else { change() }
    }

    /// Repeats a step until nothing is left to do or an error says what is lacking.
    fn run(&self, step: impl Fn() -> Result<bool>) {
        // What the other thread runs into meanwhile is not left because this one went on.
        let mut is_retry = self.faults.is_out_of_space();
        if !self.has_room_again() {
            return self.refuse_jobs(&Error::NoSpace);
        }
        loop {
            match step() {
                Ok(is_more) => {
                    self.recovered(std::mem::take(&mut is_retry));
                    if !is_more {
                        return;
                    }
                }
                Err(error) => return self.take_error(&error),
            }
        }
    }

    /// Whether work should be tried again though nothing has changed here.
    fn lacks_something(&self) -> bool {
        self.faults.needed_bytes().is_some() || self.faults.lacks_descriptors()
    }

    /// Outside NOSPACE, or with enough free bytes to try again.
    fn has_room_again(&self) -> bool {
        let Some(needed) = self.faults.needed_bytes() else { return true };
        // What readers have let go of since may be all that is lacking.
        self.empty_trash();
        self.environment.storage.free_bytes().is_ok_and(|free| free >= needed)
    }

    fn recovered(&self, has_room_again: bool) {
        self.faults.set_lacks_descriptors(false);
        if has_room_again && self.faults.leave_no_space() {
            tracing::info!("there is room on the device again: writes are accepted");
            self.emit(|| Event::RoomAgain);
            self.signal.notify();
            // The other thread would no longer try again by itself.
            self.background.wake();
        }
    }

    /// Enters the state that an error calls for.
    fn take_error(&self, error: &Error) {
        match error {
            Error::Closed | Error::Failed(_) => {}
            error if error.is_out_of_descriptors() => {
                // It is tried again each second, and told once.
                if !self.faults.set_lacks_descriptors(true) {
                    tracing::warn!(%error, "too many open files; background work is tried again");
                }
            }
            Error::Corrupt { .. } | Error::Io { op: "read", .. } => self.note_damage(error),
            error if error.is_no_space() => {
                self.faults.enter_no_space(error.clone(), self.options.room_bytes());
                let needed = self.faults.needed_bytes();
                tracing::error!(%error, needed, "no space left on the device: writes are refused, and accepted again by themselves once there is room");
                self.emit(|| Event::Fault { cause: error.clone() });
            }
            error => {
                tracing::error!(%error, "the device failed; writes are refused until a restart");
                self.commit.fail(error.clone());
                self.emit(|| Event::Fault { cause: error.clone() });
            }
        }
        self.refuse_jobs(error);
        self.signal.notify();
    }

    fn refuse_jobs(&self, error: &Error) {
        if self.background.refuse_jobs(error) {
            self.signal.notify();
        }
    }

    /// Fails once the log is dead: nothing may be written any more.
    fn check_log(&self) -> Result<()> {
        match self.commit.failure() {
            Some(cause) => Err(Error::Failed(cause.to_string().into())),
            None => Ok(()),
        }
    }

    /// Does a job that was asked for; false if there is none.
    fn do_job(&self) -> Result<bool> {
        let Some(job) = self.background.begin_job() else { return Ok(false) };
        // What the job comes to, and what of that is the engine's own trouble.
        let (outcome, own) = match job {
            Job::Compact(range) => both(self.compact_range(&range)),
            Job::Checkpoint(storage) => {
                let begun_ms = self.environment.clock.now_ms();
                match self.flush_everything().and_then(|()| self.checkpoint(&storage, begun_ms)) {
                    Ok(outcome) => (outcome, Ok(())),
                    Err(error) => both(Err(error)),
                }
            }
            Job::Ingest(ingested) => both(self.ingest(&ingested)),
        };
        self.background.end_job(&outcome);
        self.signal.notify();
        own.map(|()| true)
    }

    /// Makes an edit durable, then visible. An edit with a `flushed_seq` replaces the oldest frozen
    /// memtable. The set's lock is held throughout, so that set and memory agree for whoever has it.
    fn install(&self, edit: &VersionEdit, tables: &[TableRef]) -> Result<()> {
        self.install_merged(edit, tables, None)
    }

    /// The same after a merge that took so many bytes out of level 0, in that time.
    fn install_merged(
        &self,
        edit: &VersionEdit,
        tables: &[TableRef],
        drained: Option<(u64, Duration)>,
    ) -> Result<()> {
        let mut set = lock(&self.set);
        set.commit(edit)?;
        // Only who holds the set's lock changes the version: the next one is made beside readers and
        // writers, whatever it takes.
        let current = Arc::clone(&read(&self.memory).version);
        let next = Arc::new(current.apply(edit, tables));
        let mut memory = write(&self.memory);
        let (uptime, sublevels) = (self.uptime(), next.sublevels());
        match drained {
            Some((bytes, took)) => memory.level0.merged(uptime, bytes, took, sublevels),
            None => memory.level0.set_sublevels(uptime, sublevels),
        }
        let old = std::mem::replace(&mut memory.version, next);
        let flushed = edit.flushed_seq.and_then(|_| memory.immutables.pop_front());
        drop((memory, set));
        // Freed outside of the locks: giving back a memtable's memory takes a while.
        drop((old, current, flushed));
        self.fit_cache();
        self.background.merge_waker.wake();
        self.signal.notify();
        Ok(())
    }

    /// Does between two pieces of a long job what cannot wait, or ends the job.
    fn yield_to_urgent(&self) -> Result<()> {
        if self.background.is_stopping() || self.background.is_closing() {
            return Err(Error::Closed);
        }
        while self.options.scheduling == Scheduling::Manual && self.do_urgent()? {}
        self.check_log()
    }

    /// Where new tables of a level go.
    fn target(&self, level: usize) -> Target<'_> {
        let compression = self.options.compression_of(level);
        Target { tables: &self.tables, compression, purged_seq: 0 }
    }

    /// Removes the files of tables that nobody reads any more.
    fn empty_trash(&self) {
        for id in self.tables.take_trash() {
            if let Err(error) = self.tables.remove(id)
                && !error.can_pass()
            {
                // An orphan: the next open removes it.
                tracing::warn!(%error, "could not remove a file that is not needed");
            }
        }
    }

    /// Seals the log, flushes everything, gives the directory free, and answers all requests.
    fn close_now(&self) {
        let _merging = lock(&self.background.merging);
        let sealed = self.commit.seal().and_then(|()| self.flush_everything());
        let outcome = sealed.and_then(|()| self.shorten_closed_log());
        if let Err(error) = &outcome {
            tracing::error!(%error, "could not flush the memtable; the log still holds its writes");
        }
        self.commit.stop();
        self.empty_trash();
        self.leave_directory(&outcome);
        self.signal.notify();
    }

    /// Leaves the next open a short log. On a full disk there is no room for that: no harm done.
    fn shorten_closed_log(&self) -> Result<()> {
        match self.shorten_log() {
            Err(error) if error.is_no_space() => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    /// Gives the directory free once nobody here changes it any more.
    fn leave_directory(&self, outcome: &Result<()>) {
        let _flushing = lock(&self.background.flushing);
        let _preparing = lock(&self.background.preparing);
        *lock(&self.directory_lock) = None;
        self.background.finish(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Environment, Options, SystemClock};
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, Health};

    fn manual(storage: &SimStorage) -> Engine {
        let storage = Arc::new(storage.clone());
        let environment =
            Environment { storage, clock: Arc::new(SystemClock), random: Arc::new(|| 1) };
        let options = Options { scheduling: Scheduling::Manual, ..Options::default() };
        Engine::open(environment, options).unwrap().0
    }

    #[test]
    fn what_one_thread_lacks_is_not_left_by_the_other_one_that_went_on() {
        let engine = manual(&SimStorage::new(1));
        let inner = &engine.inner;
        inner.run(|| {
            // As if the other thread had run out of room during this step.
            inner.faults.enter_no_space(Error::NoSpace, 0);
            Ok(false)
        });
        assert!(matches!(engine.health(), Health::NoSpace { .. }));
        inner.run(|| Ok(false));
        assert!(matches!(engine.health(), Health::Ok));
    }

    #[test]
    fn once_closed_the_directory_is_left_alone_though_memory_was_not_flushed() {
        let storage = SimStorage::new(1);
        let engine = manual(&storage);
        engine.put(b"key", b"value").unwrap();
        storage.set_capacity(Some(0));
        assert!(engine.close().is_err_and(|error| error.is_no_space()));
        storage.set_capacity(None);
        let calls = storage.call_count();
        assert_eq!(engine.stats().immutable_memtables, 1);
        assert!(!engine.inner.flush().unwrap() && !engine.inner.prepare_segment().unwrap());
        engine.run_background();
        assert!(matches!(engine.inner.in_directory(|| Ok(())), Err(Error::Closed)));
        assert_eq!(storage.call_count(), calls);
    }

    #[test]
    fn a_merge_ends_for_a_close_and_is_woken_by_a_flush() {
        let engine = manual(&SimStorage::new(1));
        let (inner, background) = (&engine.inner, &engine.inner.background);
        engine.put(b"key", b"value").unwrap();
        *lock(&background.merge_waker.woken) = false;
        inner.flush_everything().unwrap();
        assert!(*lock(&background.merge_waker.woken));
        inner.yield_to_urgent().unwrap();
        lock(&background.requests).closes.push(Ticket::default());
        assert!(matches!(inner.yield_to_urgent(), Err(Error::Closed)));
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let waker = Waker::default();
        for limit in [None, Some(Duration::MAX)] {
            waker.wake();
            waker.wait(limit);
        }
    }
}
