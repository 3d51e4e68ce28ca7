//! The reading half of recovery: checks everything, changes nothing.

use std::sync::Arc;

use super::log::{LogEnd, Segment};
use super::progress::Progress;
use super::{Directory, Recovery, TornTail};
use crate::engine::error::{Error, Result};
use crate::engine::event::RecoveryStep;
use crate::engine::filename::{self, CURRENT};
use crate::engine::journal::{Ending, Journal};
use crate::engine::key::{Kind, Seq};
use crate::engine::memtable::Memtable;
use crate::engine::options::Options;
use crate::engine::ranges::RangeDelete;
use crate::engine::storage::Storage;
use crate::engine::table::{Table, Tables};
use crate::engine::version::TableRef;
use crate::engine::version::set::{Loaded, Snapshot};
use crate::engine::wal::{self, Write};
use crate::planted::{Bug, is_planted};

/// The most of a torn tail that is kept.
const TORN_COPY_BYTES: usize = 8 << 20;

/// What was read and found whole.
#[derive(Default)]
pub(crate) struct Found {
    /// The manifest's number, 0 if there is none.
    pub(super) manifest_id: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) tables: Vec<TableRef>,
    /// What the log holds beyond the tables, oldest first.
    pub(crate) memtables: Vec<Memtable>,
    pub(super) last_seq: Seq,
    pub(super) log_end: Option<LogEnd>,
    /// The bytes of the torn tail, if there is one.
    pub(super) torn_bytes: Vec<u8>,
    pub(super) recovery: Recovery,
    pub(super) progress: Progress,
}

/// A directory without `CURRENT`. What a crash during creation left behind holds no data; anything
/// that does means that `CURRENT` was lost.
pub(crate) fn read_nothing(storage: &dyn Storage, directory: &Directory) -> Result<Found> {
    let mut data = directory.tables.iter().map(|id| filename::table(*id)).next();
    for id in &directory.segments {
        if let Some(segment) = Segment::find(storage, *id, u64::MAX)? {
            let bytes = segment.read(storage)?;
            let (journal, outcome) = segment.journal(&bytes, None);
            outcome?;
            if !journal.groups.is_empty() {
                data = Some(segment.name);
            }
        }
    }
    if let Some(name) = data {
        return Err(Error::corrupt(CURRENT, 0, format!("it is missing, but {name} holds data")));
    }
    let recovery = Recovery { created: true, ..Recovery::default() };
    Ok(Found { recovery, ..Found::default() })
}

/// Reads the tables that the manifest names, and the log.
pub(crate) fn read(
    storage: &dyn Storage,
    loaded: Loaded,
    directory: &Directory,
    options: &Options,
    tables: &Arc<Tables>,
) -> Result<Found> {
    if let Some(offset) = loaded.torn_at {
        let manifest = filename::manifest(loaded.id);
        tracing::warn!(manifest, offset, "dropped an edit that a crash left half-written");
    }
    let mut found = Found {
        manifest_id: loaded.id,
        last_seq: loaded.snapshot.flushed_seq,
        recovery: Recovery { tables: loaded.snapshot.tables.len(), ..Recovery::default() },
        snapshot: loaded.snapshot,
        progress: Progress::told_to(options.listener.as_ref()),
        ..Found::default()
    };
    for (_, meta) in found.snapshot.tables.values() {
        let (done, total) = (found.tables.len(), found.recovery.tables);
        found.progress.note(RecoveryStep::Tables, done, total);
        found.tables.push(Arc::new(Table::open(tables, meta)?));
    }
    found.replay(storage, directory, options)?;
    // Only now: the log's own numbers show whether one segment continues the other.
    found.last_seq = found.last_seq.max(last_seq_in_tables(&found.snapshot));
    Ok(found)
}

/// Reads the log up to its first damage, which is returned as well; the tables are left unread. For a
/// repair.
pub(crate) fn read_prefix(
    storage: &dyn Storage,
    loaded: Loaded,
    directory: &Directory,
    options: &Options,
) -> (Found, Option<Error>) {
    let last_seq = loaded.snapshot.flushed_seq;
    let mut found = Found { last_seq, snapshot: loaded.snapshot, ..Found::default() };
    let damage = found.replay(storage, directory, options).err();
    found.last_seq = found.last_seq.max(last_seq_in_tables(&found.snapshot));
    (found, damage)
}

/// The last number that tables hold. What was ingested has one past all that was flushed, and unless
/// every group is synced, a power cut may take the log's record of it: it is not given out again.
fn last_seq_in_tables(snapshot: &Snapshot) -> Seq {
    let ingested = snapshot.tables.values().map(|(_, meta)| meta.max_seq).max();
    snapshot.flushed_seq.max(ingested.unwrap_or(0))
}

impl Found {
    /// Reads the log from the segment that the manifest names on. One segment is in memory at a time,
    /// and the header of its successor, which says where it ends.
    fn replay(
        &mut self,
        storage: &dyn Storage,
        directory: &Directory,
        options: &Options,
    ) -> Result<()> {
        let first = self.snapshot.first_segment;
        if !directory.segments.contains(&first) {
            return Err(Error::corrupt(&filename::wal(first), 0, "this log segment is missing"));
        }
        let mut current = Segment::find(storage, first, first)?;
        if current.is_none() {
            return Err(Error::corrupt(&filename::wal(first), 0, "the file header is damaged"));
        }
        let total = directory.segments.range(first..).count();
        let mut rest = directory.segments.range(first + 1..);
        while let Some(segment) = current {
            let done = directory.segments.range(first..segment.id).count();
            self.progress.note(RecoveryStep::Log, done, total);
            let mut found = rest.by_ref().map(|id| Segment::find(storage, *id, first));
            let next = found.find_map(Result::transpose).transpose();
            let bytes = segment.read(storage)?;
            // What stands before a damaged segment is read, for whoever wants no more than a prefix.
            let successor = next.as_ref().ok().and_then(Option::as_ref);
            self.replay_segment(storage, &segment, &bytes, successor, directory, options)?;
            current = next?;
        }
        Ok(())
    }

    fn replay_segment(
        &mut self,
        storage: &dyn Storage,
        segment: &Segment,
        bytes: &[u8],
        successor: Option<&Segment>,
        directory: &Directory,
        options: &Options,
    ) -> Result<()> {
        segment.check_continues(self.log_end.as_ref(), self.last_seq)?;
        let known_end = successor.and_then(|next| next.end_of(segment));
        let (journal, outcome) = segment.journal(bytes, known_end);
        self.apply(segment, &journal, options)?;
        outcome?;
        if let Some(next) = successor {
            next.check_follows(segment)?;
        }
        if successor.is_none() {
            self.note_ending(storage, segment, bytes, &journal, directory)?;
        }
        let (offset, next_group, last_crc) = (journal.end, journal.next_group, journal.last_crc);
        let is_unused =
            next_group == segment.header.first_group && segment.id != self.snapshot.first_segment;
        let unused = is_unused.then(|| segment.header.clone());
        self.log_end = Some(LogEnd { id: segment.id, offset, next_group, last_crc, unused });
        Ok(())
    }

    fn apply(&mut self, segment: &Segment, journal: &Journal<'_>, options: &Options) -> Result<()> {
        let dropped = usize::from(is_planted(Bug::DropLastGroup));
        for group in &journal.groups[..journal.groups.len().saturating_sub(dropped)] {
            let writes = wal::decode_writes(group.payload, group.count).ok_or_else(|| {
                Error::corrupt(&segment.name, group.offset, "a record is malformed")
            })?;
            self.recovery.groups += 1;
            self.recovery.log_bytes += group.payload.len() as u64;
            for (seq, write) in (group.first_seq..).zip(writes) {
                self.last_seq = self.last_seq.max(seq);
                if seq > self.snapshot.flushed_seq {
                    self.insert(seq, &write, options);
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, seq: Seq, write: &Write<'_>, options: &Options) {
        self.recovery.writes += 1;
        if write.kind == Kind::Nothing {
            return;
        }
        let room = |memtable: &Memtable| memtable.has_room(write.key.len(), write.value.len());
        if !self.memtables.last().is_some_and(room) {
            self.memtables.push(Memtable::new(options.memtable_bytes()));
        }
        let Some(memtable) = self.memtables.last_mut() else { return };
        if write.kind == Kind::DeleteRange {
            let (start, end) = (write.key.to_vec(), write.value.to_vec());
            memtable.delete_range(RangeDelete { start, end, seq });
        } else {
            memtable.insert(write.key, seq, write.kind, write.value);
        }
    }

    /// Looks at how the last segment ends.
    fn note_ending(
        &mut self,
        storage: &dyn Storage,
        segment: &Segment,
        bytes: &[u8],
        journal: &Journal<'_>,
        directory: &Directory,
    ) -> Result<()> {
        match journal.ending {
            Ending::Clean => {}
            // The file that it goes on in had been prepared before this one named it.
            Ending::Continues { id, blocks } if directory.segments.contains(&id) => {
                segment.check_prepared(storage, id, blocks)?;
            }
            Ending::Continues { id, .. } => return Err(segment.lacks_successor(id)),
            Ending::Torn => {
                let copy = format!("{}.torn-{}", segment.name, journal.end);
                self.torn_bytes = torn_bytes(bytes, journal.end);
                let file = segment.name.clone();
                self.recovery.torn = Some(TornTail { file, offset: journal.end, copy });
            }
        }
        Ok(())
    }
}

/// The tail from `offset` on, without the zeros at its end.
fn torn_bytes(bytes: &[u8], offset: u64) -> Vec<u8> {
    let tail = bytes.get(offset as usize..).unwrap_or_default();
    let tail = &tail[..tail.len().min(TORN_COPY_BYTES)];
    let length = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    tail[..length].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_deletes_are_replayed_and_nothing_only_counts() {
        let mut found = Found::default();
        let writes: [(Kind, &[u8], &[u8]); 4] = [
            (Kind::Nothing, b"", b""),
            (Kind::Put, b"b", b"1"),
            (Kind::DeleteRange, b"a", b"c"),
            (Kind::Put, b"c", b"2"),
        ];
        for (seq, (kind, key, value)) in (1..).zip(writes) {
            found.insert(seq, &Write { kind, key, value }, &Options::default());
            assert_eq!(found.memtables.len(), usize::from(seq > 1), "nothing needs no memtable");
        }
        let memtable = &found.memtables[0];
        let get = |key, snapshot| memtable.get(key, snapshot).map(|found| (found.seq, found.kind));
        assert_eq!(get(b"b", 2), Some((2, Kind::Put)));
        assert_eq!(get(b"b", 4), Some((3, Kind::DeleteRange)));
        assert_eq!(get(b"c", 4), Some((4, Kind::Put)));
        assert_eq!((found.recovery.writes, memtable.last_seq()), (4, 4));
    }
}
