//! A seeded storage in memory that crashes, tears, fills up and lies as devices do.
//!
//! Each file has visible bytes (the page cache), durable bytes (the device) and the set of 512-byte
//! sectors in which they may differ, each of which survives by itself. The directory has visible names, durable names and the changes
//! between them. A file's sync makes its bytes durable and not its name; [`Storage::sync_dir`]
//! makes names durable and not bytes: stricter than common file systems, so that what runs here
//! relies on nothing that it was not promised.
//!
//! Calls that change or sync something (create, write, sync, rename, remove, `sync_dir`) are
//! numbered from 1; calls that only look (list, open, reads, len, free bytes) have a count of their
//! own, so that a test can fail the n-th of either. Locking is not counted. A crash leaves the
//! machine down: every call fails until [`SimStorage::power_cut`] or [`SimStorage::kill`] hands out
//! what is left as a new storage. Both leave the old one as it was, so that one crash can be
//! followed by many outcomes.
//!
//! What a crash may leave can also be enumerated: [`SimStorage::watch`] tells of the moment after each
//! changing call, and a [`Moment`] of everything that a power cut may leave then.
//!
//! All state stands behind one mutex: calls are atomic and a run on one thread is a function of its
//! seeds.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use self::faults::Verdict;
use self::state::{InodeId, State};
use super::{File, Place, Storage};

mod faults;
mod inode;
mod moment;
mod random;
mod state;
#[cfg(test)]
mod tests;

pub use self::faults::{FaultKind, Times};
pub use self::moment::{Bounds, Fate, Moment, Survivors};
pub use self::random::Random;

/// What survives a power cut of the bytes and names that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing: only what was synced.
    Nothing,
    /// Everything that was written to the cache and not dropped by a failed sync.
    Everything,
    /// Each sector by itself, by the toss of a seeded coin; directory changes likewise, but a
    /// change survives only if the earlier ones to the same names do.
    Random(u64),
    /// Everything but the end of the last write: a seeded number of its first sectors survives.
    Torn(u64),
}

/// A simulated storage. Clones share it.
#[derive(Clone)]
pub struct SimStorage {
    machine: Arc<Machine>,
    /// What the full names of this directory's files begin with: nothing, or a path with a slash.
    prefix: String,
}

struct Machine {
    state: Mutex<State>,
    /// Signalled when syncs are released, a sync starts to wait or the machine goes down.
    changed: Condvar,
    watcher: OnceLock<Watcher>,
}

/// Who is told of each change.
type Watcher = Box<dyn Fn(Moment) + Send + Sync>;

impl Machine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while syncs are held; fails if the machine goes down meanwhile.
    fn wait_for_release<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
    ) -> io::Result<MutexGuard<'a, State>> {
        state.waiting_syncs += 1;
        self.changed.notify_all();
        while state.hold_syncs && !state.faults.is_down() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting_syncs -= 1;
        state.faults.check_up()?;
        Ok(state)
    }
}

impl SimStorage {
    /// An empty storage. The seed decides what the faults leave to chance.
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    fn from_state(state: State) -> Self {
        let machine =
            Machine { state: Mutex::new(state), changed: Condvar::new(), watcher: OnceLock::new() };
        SimStorage { machine: Arc::new(machine), prefix: String::new() }
    }

    /// Another directory of the same machine.
    #[must_use]
    pub fn at(&self, path: &Path) -> SimStorage {
        let prefix = format!("{}/", path.display());
        SimStorage { machine: Arc::clone(&self.machine), prefix }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Calls so far that change or sync something; the next one has this number plus one.
    pub fn call_count(&self) -> u64 {
        self.machine.state().faults.calls()
    }

    /// Whether the `n`-th changing call has been made, and is one that faults of this kind hit.
    pub fn could_hit(&self, n: u64, kind: FaultKind) -> bool {
        self.machine.state().faults.could_hit(n, kind)
    }

    /// Calls so far that only look.
    pub fn read_count(&self) -> u64 {
        self.machine.state().faults.reads()
    }

    /// Files that are open; one that was opened twice counts twice.
    pub fn open_file_count(&self) -> usize {
        self.machine.state().open_files()
    }

    /// Crashes the machine at the `n`-th changing call: it fails and has no effect, except that a
    /// write may survive in part as any unsynced write, and every later call fails.
    pub fn crash_at(&self, n: u64) {
        self.machine.state().faults.crash_at(n);
    }

    /// Whether the machine crashed, was killed or lost power.
    pub fn is_down(&self) -> bool {
        self.machine.state().faults.is_down()
    }

    /// Fails the `n`-th changing call, or the first after it that the kind can hit; with
    /// [`Times::Forever`] all such calls from there on.
    pub fn fail_call(&self, n: u64, kind: FaultKind, times: Times) {
        self.machine.state().faults.fail_call(n, kind, times);
    }

    /// Fails the `n`-th looking call, as [`SimStorage::fail_call`].
    pub fn fail_read(&self, n: u64, kind: FaultKind, times: Times) {
        self.machine.state().faults.fail_read(n, kind, times);
    }

    /// Calls so far that a planned fault hit.
    pub fn fault_count(&self) -> u64 {
        self.machine.state().faults.struck()
    }

    /// Takes back every fault and crash that was planned and has not happened.
    pub fn clear_faults(&self) {
        self.machine.state().faults.clear();
    }

    /// Holds file syncs back: while `true`, [`File::sync`] blocks its thread. A held sync covers
    /// what had been written when it was called.
    pub fn hold_syncs(&self, hold: bool) {
        self.machine.state().hold_syncs = hold;
        self.machine.changed.notify_all();
    }

    /// Syncs that are being held.
    pub fn waiting_syncs(&self) -> usize {
        self.machine.state().waiting_syncs
    }

    /// Sets who is told of each changing call that had an effect, before it returns: what a power cut
    /// may leave at that moment includes what it may leave amid the call. Only the first call counts.
    pub fn watch(&self, watcher: impl Fn(Moment) + Send + Sync + 'static) {
        let _ = self.machine.watcher.set(Box::new(watcher));
    }

    /// The state of this moment.
    pub fn moment(&self) -> Moment {
        moment_of(&self.machine.state(), String::new())
    }

    /// A checksum of all visible names and bytes.
    pub fn fingerprint(&self) -> u64 {
        self.machine.state().fingerprint()
    }

    /// Ends a changing call: tells whoever watches.
    fn done(&self, state: MutexGuard<'_, State>, call: impl FnOnce(&State) -> String) {
        if let Some(watcher) = self.machine.watcher.get() {
            let moment = moment_of(&state, call(&state));
            drop(state);
            watcher(moment);
        }
    }

    /// Blocks until at least `n` syncs are being held; `false` if that takes longer than `limit`.
    pub fn wait_for_syncs(&self, n: usize, limit: Duration) -> bool {
        let state = self.machine.state();
        let waited =
            self.machine.changed.wait_timeout_while(state, limit, |state| state.waiting_syncs < n);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting_syncs >= n
    }

    /// Limits the bytes that all files together may hold: a write that would grow them further
    /// fails with `StorageFull`. `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.state().capacity = bytes;
    }

    /// While `true`, nothing is in memory: [`File::try_read_exact_at`] answers `WouldBlock`.
    pub fn set_cold(&self, cold: bool) {
        self.machine.state().cold = cold;
    }

    /// While `true`, other directories are on other devices: nothing can be linked to them.
    pub fn refuse_links(&self, refuse: bool) {
        self.machine.state().refuses_links = refuse;
    }

    /// Cuts the power: this storage is down, what survived is returned as a new one, which has no
    /// faults planned, counts from 0 and keeps capacity, coldness and devices.
    #[must_use = "the storage that was cut is down"]
    pub fn power_cut(&self, survival: Survival) -> SimStorage {
        let state = self.go_down().after_power_cut(survival);
        Self::from_state(state)
    }

    /// Kills the process: as a power cut, but the system stays up. Everything visible stays so,
    /// what was not synced stays unsynced.
    #[must_use = "the storage that was killed is down"]
    pub fn kill(&self) -> SimStorage {
        let state = self.go_down().after_kill();
        Self::from_state(state)
    }

    fn go_down(&self) -> MutexGuard<'_, State> {
        let mut state = self.machine.state();
        state.faults.go_down();
        self.machine.changed.notify_all();
        state
    }

    /// The visible bytes of a file, also while the machine is down.
    ///
    /// # Errors
    /// `NotFound`, as the other helpers below, which change cache and device alike.
    pub fn read_file(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.machine.state().named(&self.full(name))?.visible().to_vec())
    }

    /// Writes a whole file, replacing one of this name; durable at once.
    ///
    /// # Errors
    /// None today.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.machine.state().plant(&self.full(name), bytes);
        Ok(())
    }

    /// Flips one bit (0 is the lowest) of the byte at `offset`, durably.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file is not that long.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u32) -> io::Result<()> {
        let mut state = self.machine.state();
        let inode = state.named(&self.full(name))?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if at >= inode.visible().len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        inode.damage(|bytes| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        });
        Ok(())
    }

    /// Cuts a file to `len` bytes, durably.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file is shorter.
    pub fn truncate_file(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.machine.state();
        let inode = state.named(&self.full(name))?;
        let len = usize::try_from(len).ok().filter(|len| *len <= inode.visible().len());
        let len = len.ok_or(ErrorKind::UnexpectedEof)?;
        inode.damage(|bytes| bytes.truncate(len));
        Ok(())
    }

    /// Begins a looking call: fails if the machine is down or the call was planned to fail.
    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.machine.state();
        state.faults.enter_read()?;
        Ok(state)
    }

    /// Makes a directory change, unless this call is to crash or fail. `call` tells of it.
    fn change<T>(
        &self,
        call: impl FnOnce() -> String,
        change: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.machine.state();
        let verdict = state.faults.enter_change(faults::Call::Directory)?;
        let changed = match verdict {
            Verdict::Proceed => change(&mut state)?,
            Verdict::Crash => return Err(self.crashed()),
            Verdict::Fail(kind) => return Err(kind.error()),
        };
        self.done(state, |_| call());
        Ok(changed)
    }

    fn crashed(&self) -> io::Error {
        self.machine.changed.notify_all();
        faults::down()
    }

    fn handle(&self, id: InodeId) -> Arc<dyn File> {
        Arc::new(SimFile { storage: self.clone(), id })
    }
}

fn moment_of(state: &State, call: String) -> Moment {
    Moment::new(state.faults.calls(), call, state.clone())
}

impl Storage for SimStorage {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.machine.state();
        state.faults.check_up()?;
        if !state.locked.insert(self.prefix.clone()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(LockGuard { storage: self.clone() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.look()?.names(&self.prefix))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let id = self.look()?.open(&self.full(name))?;
        Ok(self.handle(id))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let full = self.full(name);
        let id = self.change(|| format!("create {full}"), |state| state.create(&full))?;
        Ok(self.handle(id))
    }

    fn read_from_device(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.look()?;
        let inode = state.named(&self.full(name))?;
        inode.sync_dirty();
        Ok(inode.durable().to_vec())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.full(from), self.full(to));
        self.change(|| format!("rename {from} to {to}"), |state| state.rename(&from, &to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let full = self.full(name);
        self.change(|| format!("remove {full}"), |state| state.remove(&full))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let call = || format!("sync the directory {:?}", self.prefix);
        self.change(call, |state| {
            state.sync_dir(&self.prefix);
            Ok(())
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.look()?.free_bytes())
    }

    fn directory(&self, path: &Path) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.at(path)))
    }

    fn place(&self) -> io::Result<Place<'_>> {
        Ok(Place::Simulated(&self.prefix))
    }

    fn link(&self, name: &str, to: &dyn Storage) -> io::Result<()> {
        let Place::Simulated(prefix) = to.place()? else {
            return Err(ErrorKind::CrossesDevices.into());
        };
        let (from, to) = (self.full(name), format!("{prefix}{name}"));
        self.change(|| format!("link {from} to {to}"), |state| state.link(&from, &to))
    }
}

struct LockGuard {
    storage: SimStorage,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.storage.machine.state().locked.remove(&self.storage.prefix);
    }
}

/// An open file; unlinked, it stays readable.
struct SimFile {
    storage: SimStorage,
    id: InodeId,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.storage.machine.state().close(self.id);
    }
}

impl File for SimFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.storage.look()?.inode(self.id)?.read(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.storage.look()?;
        if state.cold {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.inode(self.id)?.read(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.storage.machine.state();
        match state.faults.enter_change(faults::Call::Write)? {
            Verdict::Proceed => {
                state.write(self.id, buf, offset)?;
                self.storage.done(state, |state| {
                    format!("write {} bytes at {offset} of {}", buf.len(), state.name_of(self.id))
                });
                Ok(())
            }
            Verdict::Crash => {
                // It reached the cache at most; whether the cache took it is of no interest.
                let _ = state.write(self.id, buf, offset);
                Err(self.storage.crashed())
            }
            Verdict::Fail(FaultKind::ShortWrite) => {
                let part = state.random_below(buf.len() as u64) as usize;
                state.write(self.id, &buf[..part], offset)?;
                Err(FaultKind::ShortWrite.error())
            }
            Verdict::Fail(kind) => Err(kind.error()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.storage.machine.state();
        let verdict = state.faults.enter_change(faults::Call::Sync)?;
        if matches!(verdict, Verdict::Crash) {
            return Err(self.storage.crashed());
        }
        let mut covered = None;
        if state.hold_syncs {
            covered = Some(state.inode(self.id)?.dirty_sectors());
            state = self.storage.machine.wait_for_release(state)?;
        }
        let inode = state.inode(self.id)?;
        match (verdict, covered) {
            (Verdict::Fail(FaultKind::SyncLosesData), _) => inode.forget_dirty(),
            (Verdict::Proceed, None) => inode.sync_dirty(),
            (Verdict::Proceed, Some(sectors)) => inode.sync_sectors(&sectors),
            _ => {}
        }
        if let Verdict::Fail(kind) = verdict {
            return Err(kind.error());
        }
        self.storage.done(state, |state| format!("sync {}", state.name_of(self.id)));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.storage.look()?.inode(self.id)?.visible().len() as u64)
    }
}
