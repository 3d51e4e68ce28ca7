//! Which call fails, and how: the plan of a simulated machine's misfortunes.

use std::io;

use rustix::io::Errno;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// `EIO`; the call has no effect. What a failed sync did not sync stays unsynced.
    Io,
    /// `ENOSPC`, without effect.
    NoSpace,
    /// `EDQUOT`, without effect.
    Quota,
    /// `EINTR`, without effect.
    Interrupted,
    /// `EMFILE`, without effect. Hits calls on the directory and those that only look.
    TooManyFiles,
    /// A write that stops somewhere inside its bytes, then `EIO`. Hits writes only.
    ShortWrite,
    /// `EIO` from a file's sync that drops what it should have written: the bytes stay visible and
    /// count as clean, so that a later sync succeeds with the data gone. Hits file syncs only.
    SyncLosesData,
}

impl FaultKind {
    /// The error that a call hit by this fault returns.
    pub fn error(self) -> io::Error {
        let errno = match self {
            FaultKind::Io | FaultKind::ShortWrite | FaultKind::SyncLosesData => Errno::IO,
            FaultKind::NoSpace => Errno::NOSPC,
            FaultKind::Quota => Errno::DQUOT,
            FaultKind::Interrupted => Errno::INTR,
            FaultKind::TooManyFiles => Errno::MFILE,
        };
        errno.into()
    }

    fn hits(self, call: Call) -> bool {
        match self {
            FaultKind::ShortWrite => call == Call::Write,
            FaultKind::SyncLosesData => call == Call::Sync,
            FaultKind::TooManyFiles => matches!(call, Call::Directory | Call::Read),
            _ => true,
        }
    }
}

/// How often a planned fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// At one call.
    Once,
    /// At every call from there on.
    Forever,
}

/// What a call is, as far as a fault cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Read,
    Write,
    Sync,
    Directory,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    Crash,
    Fail(FaultKind),
}

#[derive(Debug, Clone)]
struct Planned {
    from: u64,
    kind: FaultKind,
    times: Times,
}

/// The counters, the plan and whether the machine is up.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// The changing calls so far.
    calls: Vec<Call>,
    reads: u64,
    down: bool,
    crash_at: Option<u64>,
    call_plan: Vec<Planned>,
    read_plan: Vec<Planned>,
    struck: u64,
}

impl Faults {
    pub(super) fn calls(&self) -> u64 {
        self.calls.len() as u64
    }

    /// Whether the `n`-th changing call is one that faults of this kind hit.
    pub(super) fn could_hit(&self, n: u64, kind: FaultKind) -> bool {
        let index = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        index.and_then(|index| self.calls.get(index)).is_some_and(|call| kind.hits(*call))
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    pub(super) fn struck(&self) -> u64 {
        self.struck
    }

    pub(super) fn crash_at(&mut self, n: u64) {
        self.crash_at = Some(n);
    }

    pub(super) fn fail_call(&mut self, n: u64, kind: FaultKind, times: Times) {
        self.call_plan.push(Planned { from: n, kind, times });
    }

    pub(super) fn fail_read(&mut self, n: u64, kind: FaultKind, times: Times) {
        self.read_plan.push(Planned { from: n, kind, times });
    }

    pub(super) fn clear(&mut self) {
        self.crash_at = None;
        self.call_plan.clear();
        self.read_plan.clear();
    }

    pub(super) fn go_down(&mut self) {
        self.down = true;
    }

    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    pub(super) fn check_up(&self) -> io::Result<()> {
        if self.down { Err(down()) } else { Ok(()) }
    }

    /// Counts a changing call and decides on it; a crash takes the machine down.
    pub(super) fn enter_change(&mut self, call: Call) -> io::Result<Verdict> {
        self.check_up()?;
        self.calls.push(call);
        let n = self.calls();
        if self.crash_at == Some(n) {
            self.down = true;
            return Ok(Verdict::Crash);
        }
        let struck = strike(&mut self.call_plan, n, call);
        self.struck += u64::from(struck.is_some());
        Ok(struck.map_or(Verdict::Proceed, Verdict::Fail))
    }

    /// Counts a looking call and fails it if that was planned.
    pub(super) fn enter_read(&mut self) -> io::Result<()> {
        self.check_up()?;
        self.reads += 1;
        let struck = strike(&mut self.read_plan, self.reads, Call::Read);
        self.struck += u64::from(struck.is_some());
        struck.map_or(Ok(()), |kind| Err(kind.error()))
    }
}

/// The fault that hits call number `n`, if there is one; one that happens once is used up.
fn strike(plan: &mut Vec<Planned>, n: u64, call: Call) -> Option<FaultKind> {
    let at = plan.iter().position(|fault| fault.from <= n && fault.kind.hits(call))?;
    let fault = plan.get(at)?.clone();
    if fault.times == Times::Once {
        plan.remove(at);
    }
    Some(fault.kind)
}

/// What every call answers on a machine that is down.
pub(super) fn down() -> io::Error {
    io::Error::other("the simulated machine is down")
}
