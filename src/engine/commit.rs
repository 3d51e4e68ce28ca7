//! Group commit: the queue in front of the log, and the frontier behind it.
//!
//! Sessions submit encoded writes; whatever has gathered while one group was being synced is the
//! next group. When a group is committed the frontier, `durable_seq`, moves, and everybody who waits
//! for a sequence number at or below it may go on. Nothing else moves it; in a cluster a quorum
//! would. A write is admitted only if the preallocated segments can hold it, so that a full disk is
//! told to a writer before its write has begun. The log's lock is held across I/O; the queue's never
//! is. Lock order: memory, then log, then queue.

mod queue;
mod sizing;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

pub(crate) use self::queue::Capacity;
use self::queue::{GROUP_SOFT_LIMIT_BYTES, Queue, Rest, Taken, Wanted};
pub(crate) use self::sizing::Sizing;
use super::error::{Error, Result};
use super::journal::GroupBuffer;
use super::key::Seq;
use super::options::{Clock, Durability};
use super::sync::{Signal, lock, wait, wait_for};
use super::wal::{Room, Spare, Wal};
use crate::planted::{Bug, is_planted};

/// A group buffer keeps this much memory between uses.
const BUFFER_KEEP_BYTES: usize = 2 * GROUP_SOFT_LIMIT_BYTES;
/// Pending bytes at which the log thread is woken for writes that nobody waits for.
const LAZY_GROUP_BYTES: usize = 1 << 20;
/// How long such writes may wait for more, in milliseconds.
const LAZY_GROUP_MS: u64 = 10;
/// How long the log is idle before its last group is sealed.
const SEAL_AFTER_MS: u64 = 50;
/// How long a write may stay unsynced, unless that is left to the operating system.
const SYNC_AFTER_MS: u64 = 1_000;

/// A segment that is complete: it may go once everything up to `last_seq` is in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its number.
    pub(crate) id: u64,
    /// The last sequence number that it can hold.
    pub(crate) last_seq: Seq,
    /// Its length.
    pub(crate) bytes: usize,
}

/// Figures of the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogStats {
    pub(crate) segments: usize,
    /// Of all segments.
    pub(crate) segment_bytes: u64,
    pub(crate) groups: u64,
    /// Of payloads.
    pub(crate) bytes: u64,
    /// Of whole groups, as they are written.
    pub(crate) written_bytes: u64,
}

/// What is done about submitted writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The log thread commits and syncs them.
    Now,
    /// The caller is about to: see [`Commit::commit_in_place`].
    Quiet,
    /// The log thread commits them when some have gathered, and syncs them when it likes.
    Lazy,
}

/// The commit pipeline.
pub(crate) struct Commit {
    queue: Mutex<Queue>,
    work: Condvar,
    wal: Mutex<Wal>,
    durable: AtomicU64,
    /// The last write that is to survive a power cut: who shows a later one promises nothing.
    promised: AtomicU64,
    /// Whether there is something to sync or seal once the log is idle.
    untidy: AtomicBool,
    last_commit_ms: AtomicU64,
    last_sync_ms: AtomicU64,
    /// When somebody last waited for a long segment, or got one.
    last_want_ms: AtomicU64,
    failed: OnceLock<Error>,
    durability: Durability,
    clock: Arc<dyn Clock>,
    signal: Arc<Signal>,
}

impl Commit {
    /// A pipeline in front of `wal`, whose active segment is fresh. `last_seq` is the last sequence
    /// number that is durable already.
    pub(crate) fn new(
        wal: Wal,
        sizing: Sizing,
        last_seq: Seq,
        durability: Durability,
        clock: Arc<dyn Clock>,
        signal: Arc<Signal>,
    ) -> Self {
        let queue = Queue::new(wal.id(), wal.segment_bytes(), last_seq, sizing);
        Commit {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            wal: Mutex::new(wal),
            durable: AtomicU64::new(last_seq),
            promised: AtomicU64::new(last_seq),
            untidy: AtomicBool::new(false),
            last_commit_ms: AtomicU64::new(0),
            last_sync_ms: AtomicU64::new(0),
            last_want_ms: AtomicU64::new(0),
            failed: OnceLock::new(),
            durability,
            clock,
            signal,
        }
    }

    /// Everything up to this sequence number is committed.
    pub(crate) fn durable_seq(&self) -> Seq {
        self.durable.load(Ordering::Acquire)
    }

    /// Why the log is dead, if it is.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failed.get()
    }

    /// Declares the log dead. The first cause stays.
    pub(crate) fn fail(&self, cause: Error) {
        if self.failed.set(cause).is_ok() {
            self.signal.notify();
            self.wake(lock(&self.queue));
        }
    }

    fn check(&self) -> Result<()> {
        self.failed.get().map_or(Ok(()), |cause| Err(Error::Failed(cause.to_string().into())))
    }

    /// What may be added to the log now.
    pub(crate) fn capacity(&self) -> Capacity {
        let queue = lock(&self.queue);
        queue.capacity()
    }

    /// Puts writes with the numbers `first..=last` into the next group; `staged` is left empty.
    /// They must have been admitted. Returns whether the segments need the background's attention.
    pub(crate) fn submit(
        &self,
        staged: &mut GroupBuffer,
        first: Seq,
        last: Seq,
        urgency: Urgency,
    ) -> bool {
        let mut queue = lock(&self.queue);
        debug_assert_eq!(queue.last_submitted + 1, first, "sequence numbers have no gaps");
        let was_empty = queue.pending.is_empty();
        if was_empty {
            std::mem::swap(&mut queue.pending, staged);
            queue.pending_first = first;
        } else {
            queue.pending.append(staged);
        }
        staged.clear(BUFFER_KEEP_BYTES);
        queue.last_submitted = last;
        let attention = queue.spare.is_none() || queue.is_long();
        let wake = match urgency {
            Urgency::Now => true,
            Urgency::Quiet => false,
            // The first one starts the time that they may wait, unless it runs.
            Urgency::Lazy => {
                let starts = was_empty && queue.rest != Rest::Gathering;
                starts || queue.pending.len() >= LAZY_GROUP_BYTES
            }
        };
        if urgency == Urgency::Lazy {
            queue.lazy_lately = true;
            if queue.pending.len() >= LAZY_GROUP_BYTES {
                queue.wanted = queue.wanted.max(Wanted::Commit);
            }
        } else {
            queue.wanted = Wanted::Sync;
            self.promised.store(last, Ordering::Release);
        }
        if wake {
            self.wake(queue);
        }
        attention
    }

    /// Wakes the log thread if it sleeps; it looks at the queue before it goes to sleep.
    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let rest = std::mem::replace(&mut queue.rest, Rest::Awake);
        drop(queue);
        if rest != Rest::Awake {
            self.work.notify_one();
        }
    }

    /// The last sequence number submitted.
    pub(crate) fn last_submitted(&self) -> Seq {
        lock(&self.queue).last_submitted
    }

    /// Commits what is pending on this thread, unless another one is at it: then that one is told.
    /// Returns whether everything submitted is durable.
    pub(crate) fn commit_in_place(&self) -> bool {
        match self.wal.try_lock() {
            Ok(mut wal) => self.commit_pending(&mut wal),
            Err(TryLockError::Poisoned(_)) => return false,
            Err(TryLockError::WouldBlock) => self.wake(lock(&self.queue)),
        }
        self.durable_seq() >= self.last_submitted()
    }

    /// Blocks until everything up to `seq` is committed. `in_place`: there is no log thread.
    ///
    /// # Errors
    /// `Failed` if the log died before: whether the write survives is unknown.
    pub(crate) fn wait_durable(&self, seq: Seq, in_place: bool) -> Result<()> {
        loop {
            let epoch = self.signal.epoch();
            if self.durable_seq() >= seq {
                return Ok(());
            }
            self.check()?;
            if in_place {
                self.commit_in_place();
            } else {
                self.signal.wait_past(epoch, None);
            }
        }
    }

    /// Blocks until the version `seq` may be shown: at once, if whoever wrote it asked for no sync.
    ///
    /// # Errors
    /// As [`Commit::wait_durable`].
    pub(crate) fn wait_to_show(&self, seq: Seq, in_place: bool) -> Result<()> {
        if is_planted(Bug::ShowBeforeSync) {
            return Ok(());
        }
        self.wait_durable(seq.min(self.promised.load(Ordering::Acquire)), in_place)
    }

    /// Commits and syncs everything submitted.
    ///
    /// # Errors
    /// `Failed`.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut wal = lock(&self.wal);
        self.commit_pending(&mut wal);
        self.sync_log(wal)
    }

    fn sync_log(&self, mut wal: MutexGuard<'_, Wal>) -> Result<()> {
        self.check()?;
        if !wal.is_synced()
            && let Err(cause) = wal.sync()
        {
            self.fail(cause);
        }
        self.check()
    }

    /// Seals and syncs the log, with everything submitted in it.
    pub(crate) fn seal(&self) -> Result<()> {
        let mut wal = lock(&self.wal);
        self.commit_pending(&mut wal);
        self.check()?;
        self.tidy(&mut wal);
        self.check()
    }

    /// Adds a prepared segment; returns the one whose place it takes, which is to be removed.
    #[must_use = "a segment without a place is to be removed"]
    pub(crate) fn add_spare(&self, spare: Spare) -> Option<Spare> {
        let mut queue = lock(&self.queue);
        if queue.sizing.wanted().is_some() {
            self.note_want();
        }
        let replaced = queue.add_spare(spare);
        drop(queue);
        self.signal.notify();
        replaced
    }

    /// How many bytes the segment should have that should be prepared, if one should.
    pub(crate) fn wanted_spare(&self) -> Option<usize> {
        let is_alive = self.failed.get().is_none();
        is_alive.then(|| lock(&self.queue).wanted_spare()).flatten()
    }

    /// Whether there is a prepared segment.
    pub(crate) fn has_spare(&self) -> bool {
        lock(&self.queue).spare.is_some()
    }

    /// Has a segment prepared that holds a write of so many bytes, which waits for it.
    pub(crate) fn want_segment(&self, payload_bytes: usize) {
        self.note_want();
        lock(&self.queue).want(payload_bytes);
    }

    fn note_want(&self) {
        self.last_want_ms.store(self.clock.now_ms(), Ordering::Relaxed);
    }

    /// There is no room for what was wanted.
    pub(crate) fn forget_wanted_segment(&self) {
        lock(&self.queue).sizing.forget_wanted();
    }

    /// Whether so much of the log waits for a flush that it should not wait for a full memtable.
    pub(crate) fn wants_flush(&self) -> bool {
        lock(&self.queue).is_long()
    }

    /// Whether the active segment or the spare is longer than `bytes`.
    pub(crate) fn is_longer_than(&self, bytes: usize) -> bool {
        let queue = lock(&self.queue);
        queue.active_bytes.max(queue.spare.as_ref().map_or(0, |spare| spare.bytes)) > bytes
    }

    /// Milliseconds since the last group, or since a write waited for a segment: that one is about to
    /// come, and what was made for it is not to be given back before.
    pub(crate) fn idle_ms(&self) -> u64 {
        let now = self.clock.now_ms();
        let since = |then: &AtomicU64| now.abs_diff(then.load(Ordering::Relaxed));
        since(&self.last_commit_ms).min(since(&self.last_want_ms))
    }

    /// Takes the spare out, unless something waits for the log. The caller holds the memory lock.
    pub(crate) fn take_idle_spare(&self) -> Option<Spare> {
        let mut queue = lock(&self.queue);
        if queue.pending.is_empty() { queue.spare.take() } else { None }
    }

    /// Begins to change to `spare` though the active segment is not full; `None` if somebody writes.
    /// The caller holds the memory lock, so that nothing is admitted by what the old segment holds,
    /// and ends the change without it.
    pub(crate) fn begin_change(&self, spare: &Spare) -> Option<MutexGuard<'_, Wal>> {
        let wal = self.wal.try_lock().ok()?;
        let mut queue = lock(&self.queue);
        if !queue.pending.is_empty() || self.failed.get().is_some() {
            return None;
        }
        queue.room = Room::fresh(spare.bytes);
        Some(wal)
    }

    /// Ends it.
    ///
    /// # Errors
    /// `Failed`.
    pub(crate) fn end_change(&self, mut wal: MutexGuard<'_, Wal>, spare: Spare) -> Result<()> {
        let (now, next_seq) = (self.clock.now_ms(), self.durable_seq() + 1);
        let (id, bytes) = (spare.id, spare.bytes);
        match wal.rotate(spare, next_seq, now) {
            Ok(()) => {
                let mut queue = lock(&self.queue);
                queue.rotated(id, bytes, next_seq - 1, now);
                queue.sizing.restart(now);
            }
            Err(cause) => self.fail(cause),
        }
        self.check()
    }

    /// Whether there are segments that only wait for a flush.
    pub(crate) fn has_complete_segments(&self) -> bool {
        !lock(&self.queue).complete.is_empty()
    }

    /// The oldest segment that is needed once everything up to `flushed` is in tables.
    pub(crate) fn oldest_needed(&self, flushed: Seq) -> u64 {
        let queue = lock(&self.queue);
        let needed = queue.complete.iter().find(|segment| segment.last_seq > flushed);
        needed.map_or(queue.active_id, |segment| segment.id)
    }

    /// Takes a segment out of the log that is older than `needed`, to be recycled or removed.
    pub(crate) fn retire(&self, needed: u64) -> Option<Segment> {
        lock(&self.queue).retire(needed)
    }

    /// Figures of the log.
    pub(crate) fn stats(&self) -> LogStats {
        let queue = lock(&self.queue);
        let spare_bytes = queue.spare.as_ref().map_or(0, |spare| spare.bytes);
        LogStats {
            segments: queue.complete.len() + 1 + usize::from(queue.spare.is_some()),
            segment_bytes: (queue.complete_bytes + queue.active_bytes + spare_bytes) as u64,
            groups: queue.groups,
            bytes: queue.bytes,
            written_bytes: queue.written_bytes,
        }
    }

    /// The log thread: commits what gathers until [`Commit::stop`], then seals.
    pub(crate) fn run(&self) {
        while let Some(work) = self.wait_for_work() {
            let mut wal = lock(&self.wal);
            match work {
                Work::Commit => self.commit_pending(&mut wal),
                Work::Tidy => self.tidy(&mut wal),
            }
        }
        if self.failed.get().is_none() {
            let _ = self.seal();
        }
    }

    /// Makes [`Commit::run`] return once everything submitted is committed.
    pub(crate) fn stop(&self) {
        let mut queue = lock(&self.queue);
        queue.stopping = true;
        self.wake(queue);
    }

    fn wait_for_work(&self) -> Option<Work> {
        let mut queue = lock(&self.queue);
        let mut waited_for_more = false;
        loop {
            if self.failed.get().is_some() {
                return None;
            }
            let is_due = queue.wanted > Wanted::Nothing || queue.stopping || waited_for_more;
            if !queue.pending.is_empty() && is_due {
                return Some(Work::Commit);
            }
            if queue.stopping {
                return None;
            }
            if self.tidy_is_due() {
                return Some(Work::Tidy);
            }
            (queue, waited_for_more) = self.sleep(queue);
        }
    }

    /// Sleeps until there may be something to do. Returns whether that was the time that writes may
    /// wait for more, which runs on from group to group: waking this thread for the first write of
    /// each would be what one in a thousand writes pays for.
    fn sleep<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> (MutexGuard<'a, Queue>, bool) {
        if queue.lazy_lately {
            queue.rest = Rest::Gathering;
            queue = wait_for(&self.work, queue, Duration::from_millis(LAZY_GROUP_MS));
            queue.rest = Rest::Awake;
            queue.lazy_lately = !queue.pending.is_empty();
            return (queue, true);
        }
        let timed = self.untidy.load(Ordering::Acquire) && self.durability != Durability::Os;
        queue.rest = Rest::Asleep;
        queue = if timed {
            wait_for(&self.work, queue, Duration::from_millis(SEAL_AFTER_MS))
        } else {
            wait(&self.work, queue)
        };
        queue.rest = Rest::Awake;
        (queue, false)
    }

    fn tidy_is_due(&self) -> bool {
        let now = self.clock.now_ms();
        // A clock that was set back must not put this off until it is where it was.
        let since = |mark: &AtomicU64| now.abs_diff(mark.load(Ordering::Relaxed));
        self.untidy.load(Ordering::Acquire)
            && match self.durability {
                Durability::Always => since(&self.last_commit_ms) >= SEAL_AFTER_MS,
                Durability::EverySecond => since(&self.last_sync_ms) >= SYNC_AFTER_MS,
                Durability::Os => false,
            }
    }

    /// Syncs and seals what was written, unless the log died while this waited for it.
    fn tidy(&self, wal: &mut MutexGuard<'_, Wal>) {
        if self.failed.get().is_some() {
            return;
        }
        let (next_seq, fits) = {
            let mut queue = lock(&self.queue);
            let fits = queue.room.fits_seal();
            // What is pending may not lose the room that it was admitted for.
            let fits = fits && queue.pending.is_empty();
            if fits && wal.is_unsealed() {
                queue.room.take(0);
            }
            (queue.pending_first_or_next(), fits)
        };
        let now = self.clock.now_ms();
        let outcome = match (wal.is_unsealed(), fits) {
            (true, true) => wal.seal(next_seq, now),
            (true, false) if !wal.is_synced() => wal.sync(),
            _ => Ok(()),
        };
        self.last_sync_ms.store(now, Ordering::Relaxed);
        self.untidy.store(false, Ordering::Release);
        if let Err(cause) = outcome {
            self.fail(cause);
        }
    }

    /// Writes what is pending as one group and moves the frontier.
    fn commit_pending(&self, wal: &mut MutexGuard<'_, Wal>) {
        let _guard = PanicIsFailure(self);
        if self.failed.get().is_some() {
            return;
        }
        let taken = lock(&self.queue).take();
        let mut taken = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) => return,
            Err(cause) => return self.fail(cause),
        };
        let now = self.clock.now_ms();
        if is_planted(Bug::AcknowledgeBeforeWrite) {
            self.publish(taken.last_seq, now);
        }
        let outcome = self.write(wal, &mut taken, now);
        taken.buffer.clear(BUFFER_KEEP_BYTES);
        lock(&self.queue).spare_buffer = taken.buffer;
        match outcome {
            Ok(()) => self.publish(taken.last_seq, now),
            Err(cause) if is_planted(Bug::IgnoreFullDisk) && cause.is_no_space() => {
                self.publish(taken.last_seq, now);
            }
            Err(cause) => self.fail(cause),
        }
    }

    fn write(&self, wal: &mut Wal, taken: &mut Taken, now: u64) -> Result<()> {
        if let Some(spare) = taken.rotate_to.take() {
            let (next, bytes) = (spare.id, spare.bytes);
            wal.rotate(spare, taken.first_seq, now)?;
            lock(&self.queue).rotated(next, bytes, taken.first_seq - 1, now);
        }
        wal.append(taken.first_seq, now, &mut taken.buffer)?;
        let since_sync = now.abs_diff(self.last_sync_ms.load(Ordering::Relaxed));
        let sync_now = match self.durability {
            Durability::Always => taken.sync || since_sync >= SYNC_AFTER_MS,
            Durability::EverySecond => since_sync >= SYNC_AFTER_MS,
            Durability::Os => false,
        };
        if sync_now && !is_planted(Bug::AcknowledgeBeforeSync) {
            wal.sync()?;
            self.last_sync_ms.store(now, Ordering::Relaxed);
        }
        Ok(())
    }

    fn publish(&self, last_seq: Seq, now: u64) {
        self.last_commit_ms.store(now, Ordering::Relaxed);
        self.durable.store(last_seq, Ordering::Release);
        self.signal.notify();
        if !self.untidy.swap(true, Ordering::AcqRel) {
            self.wake(lock(&self.queue));
        }
    }
}

/// A panic amid a commit, on whichever thread, loses its group: nothing may follow it.
struct PanicIsFailure<'a>(&'a Commit);

impl Drop for PanicIsFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::Failed("a thread panicked while it committed".into()));
        }
    }
}

enum Work {
    Commit,
    Tidy,
}

#[cfg(test)]
mod tests;
