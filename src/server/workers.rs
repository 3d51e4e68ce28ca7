//! Threads for reads that may wait for the disk, so that the reactor never does.
//!
//! The queue is bounded: when it is full the asking connection waits unparsed and TCP pushes back.
//! Answers are collected by the reactor after one notification; an answer for a connection that is
//! gone finds nobody and is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::engine::{Error, TableRead, Value};

use super::limits::WORKER_QUEUE;
use super::notify::Notifier;
use super::outbox::SlotNumber;
use super::token::ConnectionId;

/// A read to be done and who asked for it.
pub(crate) struct Job {
    pub(crate) connection: ConnectionId,
    pub(crate) slot: SlotNumber,
    pub(crate) read: TableRead,
}

/// A read that is done.
pub(crate) struct Completion {
    pub(crate) connection: ConnectionId,
    pub(crate) slot: SlotNumber,
    pub(crate) result: Result<Option<Value<'static>>, Error>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopped: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when a job is added and when the pool stops.
    added: Condvar,
    done: Mutex<Vec<Completion>>,
    notifier: Arc<Notifier>,
}

/// A pool of reading threads; they end when it is dropped.
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

    /// Queues a job. Returns false, and drops it, if the queue is full.
    pub(crate) fn submit(&self, job: Job) -> bool {
        let mut queue = lock(&self.shared.queue);
        if queue.jobs.len() >= WORKER_QUEUE {
            return false;
        }
        queue.jobs.push_back(job);
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
        while let Some(Job { connection, slot, read }) = self.next() {
            let result = read.run().map(|record| record.map(|record| record.value));
            lock(&self.done).push(Completion { connection, slot, result });
            self.notifier.notify();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
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
