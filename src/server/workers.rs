//! Threads for what may wait for the disk or take long, so that the reactor never does.
//!
//! Point reads go first, and the queue for them is bounded: when it is full the asking connection
//! waits unparsed and TCP pushes back. Longer work, scans above all, is done in slices and in turn, so
//! that a walk over everything keeps nobody from a short one. Answers are collected by the reactor
//! after one notification; an answer for a connection that is gone finds nobody and is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::engine::{Error, Record, Seq, TableRead};

use super::counts::Counting;
use super::expiries::Sweep;
use super::limits::WORKER_QUEUE;
use super::notify::Notifier;
use super::outbox::SlotNumber;
use super::token::ConnectionId;
use super::walks::{WalkJob, Walks};

/// A reply that a worker has made.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Encoded.
    pub(crate) bytes: Vec<u8>,
    /// It may leave once this is durable.
    pub(crate) seq: Seq,
    pub(crate) is_error: bool,
}

/// Work that ends in a reply.
pub(crate) trait Work: Send {
    /// Does a part of it that takes a few milliseconds at most; the reply, once there is one.
    fn run(&mut self) -> Option<Answer>;
}

/// Something to be done and who asked for it.
pub(crate) enum Job {
    /// A read whose answer fills a slot.
    Read { connection: ConnectionId, slot: SlotNumber, read: TableRead },
    /// A read that a command cannot go on without.
    Fetch { connection: ConnectionId, key: Vec<u8>, read: TableRead },
    /// Longer work whose answer fills a slot.
    Work { connection: ConnectionId, slot: SlotNumber, work: Box<dyn Work> },
    /// The walks of a transaction.
    Walks { connection: ConnectionId, job: Box<WalkJob> },
    /// A read of a key that may have expired, and for whom.
    Expiry { owner: u64, key: Vec<u8>, read: TableRead },
    /// A slice of a search for keys that expire.
    Sweep(Box<Sweep>),
    /// A count of keys.
    Count(Box<Counting>),
    /// Something that takes long to free.
    Drop(Box<dyn Send>),
}

/// A job that is done.
pub(crate) enum Completion {
    Read {
        connection: ConnectionId,
        slot: SlotNumber,
        result: Result<Option<Record<'static>>, Error>,
    },
    Fetch {
        connection: ConnectionId,
        key: Vec<u8>,
        read: TableRead,
        result: Result<Option<Record<'static>>, Error>,
    },
    Work {
        connection: ConnectionId,
        slot: SlotNumber,
        answer: Answer,
    },
    Walks {
        connection: ConnectionId,
        walks: Walks,
    },
    Expiry {
        owner: u64,
        key: Vec<u8>,
        read: TableRead,
        result: Result<Option<Record<'static>>, Error>,
    },
    Sweep(Box<Sweep>),
    Count(Box<Counting>),
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Job>,
    work: VecDeque<Job>,
    stopped: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when a job is added and when the pool stops.
    added: Condvar,
    done: Mutex<Vec<Completion>>,
    notifier: Arc<Notifier>,
}

/// A pool of threads; they end when it is dropped.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(count: usize, notifier: Arc<Notifier>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            added: Condvar::new(),
            done: Mutex::default(),
            notifier,
        });
        let spawn = |number| {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("chronos-read-{number}"));
            builder.spawn(move || shared.work())
        };
        let threads = (0..count).map(spawn).collect::<io::Result<_>>()?;
        Ok(Workers { shared, threads })
    }

    /// Queues a job. Returns false, and drops it, if there are too many of its kind.
    pub(crate) fn submit(&self, job: Job) -> bool {
        let mut queue = lock(&self.shared.queue);
        let kind = match job {
            Job::Read { .. } | Job::Fetch { .. } | Job::Expiry { .. } => &mut queue.reads,
            Job::Work { .. } | Job::Walks { .. } | Job::Sweep(_) | Job::Count(_) | Job::Drop(_) => {
                &mut queue.work
            }
        };
        if kind.len() >= WORKER_QUEUE {
            return false;
        }
        kind.push_back(job);
        drop(queue);
        self.shared.added.notify_one();
        true
    }

    /// Moves what is done into `into`, which must be empty.
    pub(crate) fn collect(&self, into: &mut Vec<Completion>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *lock(&self.shared.done), into);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.shared.queue).stopped = true;
        self.shared.added.notify_all();
        for thread in self.threads.drain(..) {
            // A worker's panic has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            let Some(done) = self.perform(job) else { continue };
            lock(&self.done).push(done);
            self.notifier.notify();
        }
    }

    /// Does a job, or a slice of it and puts the rest back behind the others.
    fn perform(&self, job: Job) -> Option<Completion> {
        match job {
            Job::Read { connection, slot, read } => {
                let result = read.run();
                Some(Completion::Read { connection, slot, result })
            }
            Job::Fetch { connection, key, read } => {
                let result = read.run();
                Some(Completion::Fetch { connection, key, read, result })
            }
            Job::Work { connection, slot, mut work } => {
                let answer = work.run();
                if answer.is_none() {
                    lock(&self.queue).work.push_back(Job::Work { connection, slot, work });
                }
                answer.map(|answer| Completion::Work { connection, slot, answer })
            }
            Job::Walks { connection, mut job } => {
                if !job.run() {
                    lock(&self.queue).work.push_back(Job::Walks { connection, job });
                    return None;
                }
                Some(Completion::Walks { connection, walks: job.finish() })
            }
            Job::Expiry { owner, key, read } => {
                let result = read.run();
                Some(Completion::Expiry { owner, key, read, result })
            }
            Job::Sweep(mut sweep) => {
                sweep.run();
                Some(Completion::Sweep(sweep))
            }
            Job::Count(mut counting) => {
                if counting.run() {
                    return Some(Completion::Count(counting));
                }
                lock(&self.queue).work.push_back(Job::Count(counting));
                None
            }
            Job::Drop(unneeded) => {
                drop(unneeded);
                None
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(job) = queue.reads.pop_front().or_else(|| queue.work.pop_front()) {
                return Some(job);
            }
            queue = self.added.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Locks. A poisoned lock is as good as any: no invariant spans a panic here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
