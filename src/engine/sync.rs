//! Locks and signals of the engine, in one form.
//!
//! A panic while a lock is held must not take the readers down with it: whoever panicked has put
//! the engine into the failed state (see `background`), so poisoning adds nothing and is ignored.

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
    state: Mutex<SignalState>,
    changed: Condvar,
    listener: OnceLock<Listener>,
}

#[derive(Default)]
struct SignalState {
    epoch: u64,
    /// Threads that wait: without any, the system call that wakes them is spared.
    waiters: usize,
}

impl Signal {
    /// The number of notifications so far.
    pub(crate) fn epoch(&self) -> u64 {
        lock(&self.state).epoch
    }

    /// Wakes all waiters and calls the listener.
    pub(crate) fn notify(&self) {
        let mut state = lock(&self.state);
        state.epoch += 1;
        let waiters = state.waiters;
        drop(state);
        if waiters > 0 {
            self.changed.notify_all();
        }
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    /// Blocks until there was a notification after `epoch` was read.
    pub(crate) fn wait_past(&self, epoch: u64) {
        let mut state = lock(&self.state);
        state.waiters += 1;
        while state.epoch == epoch {
            state = wait(&self.changed, state);
        }
        state.waiters -= 1;
    }

    /// Sets the listener; the first one stays.
    pub(crate) fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }
}
