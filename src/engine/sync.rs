//! Locks and signals of the engine, in one form.
//!
//! A panic while a lock is held must not take the readers down with it: whoever panicked has put
//! the engine into the failed state (see `background`), so poisoning adds nothing and is ignored.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::sync::{RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Locks, whether or not a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, whether or not a holder panicked.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, whether or not a holder panicked.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition variable.
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition variable, but not longer than `limit`.
pub(crate) fn wait_for<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> MutexGuard<'a, T> {
    condition.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
}

/// Called on each [`Signal::notify`].
type Listener = Box<dyn Fn() + Send + Sync>;

/// "Something moved": what every waiter of the engine waits for. A waiter reads the epoch, looks at
/// what it needs, and waits for the epoch to change; so no notification is ever missed.
#[derive(Default)]
pub(crate) struct Signal {
    /// The number of notifications so far. Changed before the lock is taken, and read under it by
    /// whoever is about to wait.
    epoch: AtomicU64,
    /// Threads that wait: without any, the system call that wakes them is spared.
    waiters: Mutex<usize>,
    changed: Condvar,
    listener: OnceLock<Listener>,
}

impl Signal {
    /// The number of notifications so far.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Wakes all waiters and calls the listener.
    pub(crate) fn notify(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let waiters = *lock(&self.waiters);
        if waiters > 0 {
            self.changed.notify_all();
        }
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    /// Blocks until there was a notification after `epoch` was read, or for `limit`.
    pub(crate) fn wait_past(&self, epoch: u64, limit: Option<Duration>) {
        let mut waiters = lock(&self.waiters);
        *waiters += 1;
        let mut limit_reached = false;
        while self.epoch() == epoch && !limit_reached {
            limit_reached = limit.is_some();
            waiters = match limit {
                Some(limit) => wait_for(&self.changed, waiters, limit),
                None => wait(&self.changed, waiters),
            };
        }
        *waiters -= 1;
    }

    /// Sets the listener; the first one stays.
    pub(crate) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }
}
