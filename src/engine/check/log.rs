//! The check of the log: every segment that recovery would read, also behind a damaged one.

use super::{CheckReport, Progress};
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::journal::{Ending, Journal};
use crate::engine::key::Seq;
use crate::engine::recovery::Directory;
use crate::engine::recovery::log::{LogEnd, Segment};
use crate::engine::storage::Storage;
use crate::engine::version::set::Snapshot;
use crate::engine::wal;

/// The bytes of all segments that are read.
pub(super) fn bytes(storage: &dyn Storage, directory: &Directory, snapshot: &Snapshot) -> u64 {
    let needed = directory.segments.range(snapshot.first_segment..);
    needed.map(|id| super::length(storage, &filename::wal(*id))).sum()
}

/// Checks the log from the segment that the manifest names on.
pub(super) fn check(
    storage: &dyn Storage,
    directory: &Directory,
    snapshot: &Snapshot,
    report: &mut CheckReport,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let mut walk = Walk { directory, end: None, last_seq: snapshot.flushed_seq, is_broken: false };
    let first = filename::wal(snapshot.first_segment);
    if !directory.segments.contains(&snapshot.first_segment) {
        report.find(Error::corrupt(&first, 0, "this log segment is missing"));
        walk.is_broken = true;
    }
    let mut current: Option<Segment> = None;
    for id in directory.segments.range(snapshot.first_segment..) {
        let found = match Segment::find(storage, *id, snapshot.first_segment) {
            Ok(Some(segment)) => segment,
            Ok(None) if *id == snapshot.first_segment => {
                report.find(Error::corrupt(&first, 0, "the file header is damaged"));
                walk.is_broken = true;
                continue;
            }
            // Prepared, and not in use.
            Ok(None) => continue,
            Err(error @ Error::UnknownFormat { .. }) => return Err(error),
            Err(error) => {
                report.find(error);
                // What stands before it ends somewhere, and what stands behind it begins anew.
                if let Some(segment) = current.take() {
                    walk.check(storage, &segment, Successor::Unknown, report, progress);
                }
                walk.is_broken = true;
                continue;
            }
        };
        if let Some(segment) = current.replace(found) {
            let successor = current.as_ref().map_or(Successor::None, Successor::Known);
            walk.check(storage, &segment, successor, report, progress);
        }
    }
    if let Some(segment) = current {
        walk.check(storage, &segment, Successor::None, report, progress);
    }
    report.moment.last_seq = walk.last_seq;
    Ok(())
}

/// What is known of the segment behind one.
enum Successor<'a> {
    /// It is whole as far as its header goes.
    Known(&'a Segment),
    /// It is damaged.
    Unknown,
    /// There is none.
    None,
}

/// A walk over segments.
struct Walk<'a> {
    directory: &'a Directory,
    end: Option<LogEnd>,
    last_seq: Seq,
    /// Whether what stands before the next segment is damaged: nothing tells whether it continues it.
    is_broken: bool,
}

impl Walk<'_> {
    fn check(
        &mut self,
        storage: &dyn Storage,
        segment: &Segment,
        successor: Successor<'_>,
        report: &mut CheckReport,
        progress: &mut Progress<'_>,
    ) {
        let checked = self.check_segment(storage, segment, successor, report);
        self.is_broken = checked.is_err();
        if let Err(error) = checked {
            report.find(error);
        }
        let bytes = super::length(storage, &segment.name);
        report.files += 1;
        report.bytes += bytes;
        progress.seen.bytes += bytes;
        progress.seen.entries = report.entries;
        progress.tell();
    }

    fn check_segment(
        &mut self,
        storage: &dyn Storage,
        segment: &Segment,
        successor: Successor<'_>,
        report: &mut CheckReport,
    ) -> Result<()> {
        if !self.is_broken {
            segment.check_continues(self.end.as_ref(), self.last_seq)?;
        }
        let bytes = segment.read(storage)?;
        let next = if let Successor::Known(next) = successor { Some(next) } else { None };
        let (journal, outcome) =
            segment.journal(&bytes, next.and_then(|next| next.end_of(segment)));
        self.check_groups(segment, &journal, report)?;
        outcome?;
        if let Some(next) = next {
            next.check_follows(segment)?;
        }
        let Journal { end: offset, next_group, last_crc, ending, .. } = journal;
        self.end = Some(LogEnd { id: segment.id, offset, next_group, last_crc, unused: None });
        match (successor, ending) {
            (Successor::None, Ending::Torn) => report.note(format!(
                "{}: a group at offset {offset} that a crash left half-written; it had not been \
                 acknowledged",
                segment.name
            )),
            (Successor::None, Ending::Continues { id, blocks }) => {
                if !self.directory.segments.contains(&id) {
                    return Err(segment.lacks_successor(id));
                }
                segment.check_prepared(storage, id, blocks)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_groups(
        &mut self,
        segment: &Segment,
        journal: &Journal<'_>,
        report: &mut CheckReport,
    ) -> Result<()> {
        for group in &journal.groups {
            if wal::decode_writes(group.payload, group.count).is_none() {
                let what = "a record is malformed";
                return Err(Error::corrupt(&segment.name, group.offset, what));
            }
            report.entries += u64::from(group.count);
            let last = group.first_seq + u64::from(group.count) - u64::from(group.count > 0);
            self.last_seq = self.last_seq.max(last);
            report.moment.time_ms = report.moment.time_ms.max(group.time_ms);
        }
        Ok(())
    }
}
