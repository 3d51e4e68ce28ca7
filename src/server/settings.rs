//! What may be changed while the server runs: what CONFIG SET, CLIENT PAUSE and DEBUG change; and
//! what CONFIG GET shows of what may not.

use std::path::PathBuf;
use std::time::Duration;

use super::Settings;
use super::bounds::{ClientsBound, OutputBounds};
use super::token::ConnectionId;

/// CLIENT PAUSE: commands wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Until then, in milliseconds of the reactor's clock.
    pub(crate) until_ms: u64,
    /// Whether reads wait as well.
    pub(crate) holds_reads: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    pub(crate) pause: Option<Pause>,
    /// The password that clients must give; none if it is absent.
    pub(crate) password: Option<String>,
    /// Whether DEBUG may be used.
    pub(crate) allows_debug: bool,
    /// The client that DEBUG SLEEP answers next, and when, in milliseconds of the reactor's clock.
    pub(crate) sleeper: Option<(ConnectionId, u64)>,
    /// What clients may leave unread, and what all together may hold.
    pub(crate) output_bounds: OutputBounds,
    pub(crate) clients_bound: ClientsBound,
    /// After how long a silent peer is asked whether it lives; 0: never. Of new connections.
    pub(crate) keepalive_seconds: u32,
    /// After how long a client that asks for nothing is closed; 0: never.
    pub(crate) idle_seconds: u64,
    /// How long a request may stand unfinished without another byte of it; zero: for ever.
    pub(crate) request_stuck: Duration,
    /// The engine's budget, in bytes; 0 if it is not known.
    pub(crate) memory_bytes: usize,
    /// Where the data is, if it is known.
    pub(crate) data_dir: Option<PathBuf>,
    /// Where SAVE and BGSAVE put their checkpoint.
    pub(crate) checkpoint_dir: PathBuf,
}

impl Runtime {
    /// As the server is set up.
    pub(crate) fn new(settings: &Settings) -> Self {
        Runtime {
            pause: None,
            password: settings.password.clone(),
            allows_debug: settings.allows_debug,
            sleeper: None,
            output_bounds: settings.output_bounds,
            clients_bound: settings.clients_bound,
            keepalive_seconds: settings.keepalive_seconds,
            idle_seconds: settings.idle_seconds,
            request_stuck: settings.timeouts.request_stuck,
            memory_bytes: settings.memory_bytes,
            data_dir: settings.data_dir.clone(),
            checkpoint_dir: settings.checkpoint_dir.clone(),
        }
    }

    /// Holds commands back, longer and more of them if some are held back already.
    pub(crate) fn hold(&mut self, until_ms: u64, holds_reads: bool, now_ms: u64) {
        let before = self.pause.filter(|pause| pause.until_ms > now_ms);
        self.pause = Some(Pause {
            until_ms: before.map_or(until_ms, |pause| pause.until_ms.max(until_ms)),
            holds_reads: holds_reads || before.is_some_and(|pause| pause.holds_reads),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_pauses_the_longer_and_the_stricter_counts() {
        let mut runtime = Runtime::new(&Settings::default());
        let pause = |until_ms, holds_reads| Some(Pause { until_ms, holds_reads });
        runtime.hold(100, false, 0);
        assert_eq!(runtime.pause, pause(100, false));
        runtime.hold(50, true, 10);
        assert_eq!(runtime.pause, pause(100, true));
        runtime.hold(130, false, 20);
        assert_eq!(runtime.pause, pause(130, true));
        runtime.hold(140, false, 130);
        assert_eq!(runtime.pause, pause(140, false), "the one before is over");
    }
}
