//! Signals, from the first moment on. SIGINT and SIGTERM stop the server: before it is ready at once,
//! as if nobody caught them, for recovery may be broken off anywhere; then in order. SIGHUP comes from
//! a terminal that was closed, a session that was lost, a log that was rotated: the server notes it and
//! goes on. Those that end a process unless it does something about them, and come by accident or out
//! of a limit, are blocked: the call that ran into the limit fails, and that is dealt with where it is.
//! SIGQUIT stays what it is: the end at once, with a core.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Interest, Registry};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook_mio::v1_0::Signals as Inner;

use super::Error;
use super::token::Source;

/// Sent by accident, or by the system where a call fails as well: writing to a terminal from the
/// background (SIGTTOU), past a limit on files (SIGXFSZ), to nobody (SIGPIPE).
const STRAY: [Signal; 10] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGPIPE,
    Signal::SIGIO,
    Signal::SIGTTOU,
    Signal::SIGXFSZ,
    Signal::SIGPWR,
];

/// Signals that the server acts upon; see the module.
pub struct Signals {
    inner: Inner,
    /// Until the server is ready.
    is_starting: Arc<AtomicBool>,
}

impl Signals {
    /// Blocks stray signals in this thread and all that it starts from now on: for the main thread,
    /// before there are others.
    ///
    /// # Errors
    /// [`Error::Start`] if the system refuses.
    pub fn block_stray() -> Result<(), Error> {
        let stray: SigSet = STRAY.into_iter().collect();
        stray.thread_block().map_err(|error| Error::Start(error.into()))
    }

    /// Catches the others.
    ///
    /// # Errors
    /// [`Error::Start`] if the system refuses.
    pub fn catch() -> Result<Self, Error> {
        let is_starting = Arc::new(AtomicBool::new(true));
        for signal in [SIGINT, SIGTERM] {
            register_conditional_default(signal, Arc::clone(&is_starting)).map_err(Error::Start)?;
        }
        let inner = Inner::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::Start)?;
        Ok(Signals { inner, is_starting })
    }

    /// Has the poll tell of signals. From now on whoever polls acts upon them, on those before too.
    pub(super) fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.inner, Source::Signals.token(), Interest::READABLE)?;
        self.is_starting.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// How many of the signals that came since the last call ask to stop.
    pub(super) fn take_stops(&mut self) -> usize {
        let mut stops = 0;
        for signal in self.inner.pending() {
            let name = signal_hook::low_level::signal_name(signal).unwrap_or_default();
            if signal == SIGHUP {
                tracing::info!("{name} received: there is nothing to load anew; going on");
            } else {
                tracing::info!("{name} received: stopping");
                stops += 1;
            }
        }
        stops
    }
}
