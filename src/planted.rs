//! Bugs on purpose, for the fault campaign to find: what it cannot find it does not protect from.
//!
//! Only with the feature `planted`, one bug at a time, chosen once per process; without the feature
//! [`is_planted`] is constantly false and nothing of this is left in the program. A bug is planted
//! where somebody could really make it, as one condition.

/// The bugs. `campaign --planted` tells which part of the campaign finds each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "planted", derive(clap::ValueEnum))]
pub(crate) enum Bug {
    /// A new file's name is not made durable before the manifest names it.
    SkipDirectorySync,
}

/// Whether this process runs with that bug.
#[cfg(feature = "planted")]
pub(crate) fn is_planted(bug: Bug) -> bool {
    use std::sync::LazyLock;

    use clap::ValueEnum;

    static CHOSEN: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var("CHRONOS_PLANTED").ok()?;
        Bug::from_str(&name, false).ok()
    });
    *CHOSEN == Some(bug)
}

/// Whether this process runs with that bug.
#[cfg(not(feature = "planted"))]
#[expect(dead_code, reason = "no bug has a place yet")]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}
