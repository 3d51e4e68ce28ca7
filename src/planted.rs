//! Bugs on purpose, for the fault campaign to find: what it cannot find it does not protect from.
//!
//! Only with the feature `planted`, one bug at a time, chosen once per process; without the feature
//! [`is_planted`] is constantly false and nothing of this is left in the program. A bug is planted
//! where somebody could really make it, as one condition.

/// The bugs. `campaign --planted` tells which part of the campaign finds each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "planted", derive(clap::ValueEnum))]
pub(crate) enum Bug {
    /// A new table's name is not made durable before the manifest names it.
    SkipDirectorySync,
    /// A table is installed without having been synced.
    InstallBeforeSync,
    /// A manifest edit is acted on without having been synced.
    SkipManifestSync,
    /// `CURRENT` is replaced by a file that has not been synced.
    RenameBeforeSync,
    /// Log segments are recycled before the edit that makes them needless.
    RecycleBeforeEdit,
    /// A log segment is ended without a sync, and the next one begun.
    SkipSegmentSync,
    /// A write is acknowledged once it was written, not once it was synced.
    AcknowledgeBeforeSync,
    /// A write is acknowledged before it is written to the log.
    AcknowledgeBeforeWrite,
    /// The engine shows versions that are not durable yet.
    ShowBeforeSync,
    /// The server lets replies go that wait for the commit frontier.
    ReleaseReplyEarly,
    /// A failed sync of the log is tried again, and its success believed.
    RetryFailedSync,
    /// A log write that fails for want of room counts as done.
    IgnoreFullDisk,
    /// The header of a log segment states the length of the segment before it.
    StaleSegmentLength,
    /// Each use of a log segment has the same epoch, and its number is in no checksum.
    ReuseEpoch,
    /// Ids of files that a crash left behind are given out again.
    ReuseFileId,
    /// Recovery leaves out the last group of each log segment.
    DropLastGroup,
    /// Damage in the middle of the log is taken for a torn end.
    DamageIsTorn,
    /// Blocks of tables are used without looking at their checksums.
    SkipBlockChecksum,
    /// A block's checksum does not say where the block belongs.
    UnseededChecksum,
    /// A table's filter leaves out one of its keys.
    FilterForgets,
    /// Merges drop tombstones while older versions lie below.
    DropTombstonesEarly,
    /// What has expired is dropped and not turned into a tombstone.
    UncoverExpired,
    /// A flush leaves the range deletes of its memtable behind.
    ForgetRangeDeletes,
    /// At rest, a memtable of which most is garbage is thrown away, with what its deletes hide.
    TakeGarbageForEmpty,
    /// Flushes and merges do not spare what snapshots see.
    ForgetSnapshots,
    /// A lookup of a snapshot shows the newest version.
    ReadPastSnapshot,
    /// A conditional write is made whatever is there.
    IgnoreExpectation,
    /// A RESP string counts as complete without the CR LF behind it.
    SplitBulk,
}

/// Whether this process runs with that bug.
#[cfg(feature = "planted")]
pub(crate) fn is_planted(bug: Bug) -> bool {
    use std::sync::LazyLock;

    use clap::ValueEnum;

    static CHOSEN: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var("CHRONOS_PLANTED").ok().filter(|name| !name.is_empty())?;
        let bug = Bug::from_str(&name, false);
        // A misspelt bug would be none, and not found.
        Some(bug.unwrap_or_else(|_| std::process::exit(2)))
    });
    *CHOSEN == Some(bug)
}

/// Whether this process runs with that bug.
#[cfg(not(feature = "planted"))]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}
