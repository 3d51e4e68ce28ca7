//! What may be changed while the server runs: what CONFIG SET and CLIENT PAUSE change.

/// CLIENT PAUSE: commands wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Until then, in milliseconds of the reactor's clock.
    pub(crate) until_ms: u64,
    /// Whether reads wait as well.
    pub(crate) holds_reads: bool,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) pause: Option<Pause>,
    /// The password that clients must give; none if it is absent.
    pub(crate) password: Option<String>,
    /// Whether DEBUG may be used.
    pub(crate) allows_debug: bool,
}
