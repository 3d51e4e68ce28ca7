//! The reading half of recovery: checks everything, changes nothing.

use std::sync::Arc;

use super::{Directory, Recovery, TornTail};
use crate::engine::error::{Error, Result};
use crate::engine::filename::{self, CURRENT};
use crate::engine::journal::format::{BLOCK_BYTES, HeaderBlock};
use crate::engine::journal::{self, Ending, Header, Journal, Purpose};
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
pub(super) struct Found {
    /// The manifest's number, 0 if there is none.
    pub(super) manifest_id: u64,
    pub(super) snapshot: Snapshot,
    pub(super) tables: Vec<TableRef>,
    /// What the log holds beyond the tables, oldest first.
    pub(super) memtables: Vec<Memtable>,
    pub(super) last_seq: Seq,
    pub(super) log_end: Option<LogEnd>,
    /// The bytes of the torn tail, if there is one.
    pub(super) torn_bytes: Vec<u8>,
    pub(super) recovery: Recovery,
}

/// Where the log that was read ends.
pub(super) struct LogEnd {
    pub(super) id: u64,
    pub(super) offset: u64,
    pub(super) next_group: u64,
    pub(super) last_crc: u32,
    /// The header of the last segment, if it holds no group and the manifest does not name it: one
    /// that a recovery started which was not completed.
    pub(super) unused: Option<Header>,
}

/// A segment that was used.
struct Segment {
    id: u64,
    name: String,
    header: Header,
}

impl Segment {
    /// Reads a segment's header; `None` if it was prepared and never used. What was recycled may still
    /// have the header of a segment before `first`, the oldest one that is needed.
    fn find(storage: &dyn Storage, id: u64, first: u64) -> Result<Option<Self>> {
        let name = filename::wal(id);
        let start = storage
            .read_start_from_device(&name, BLOCK_BYTES)
            .map_err(|e| Error::io("read", &name, e))?;
        if let HeaderBlock::Valid(header) = Header::decode(&start)
            && header.id != id
            && header.id >= first
        {
            let what = format!("it holds the log of {}", filename::wal(header.id));
            return Err(Error::corrupt(&name, 0, what));
        }
        let header = match journal::read_header(&name, &start, id, Purpose::Wal)? {
            Some(header) => Some(header),
            // Only the whole file can tell that there never was one.
            None => journal::read_header(&name, &read_file(storage, &name)?, id, Purpose::Wal)?,
        };
        Ok(header.map(|header| Segment { id, name, header }))
    }

    fn read(&self, storage: &dyn Storage) -> Result<Vec<u8>> {
        read_file(storage, &self.name)
    }

    fn journal<'a>(&self, bytes: &'a [u8], known_end: Option<u64>) -> Result<Journal<'a>> {
        journal::open(&self.name, bytes, &self.header, known_end)
    }
}

fn read_file(storage: &dyn Storage, name: &str) -> Result<Vec<u8>> {
    storage.read_from_device(name).map_err(|e| Error::io("read", name, e))
}

/// A directory without `CURRENT`. What a crash during creation left behind holds no data; anything
/// that does means that `CURRENT` was lost.
pub(super) fn read_nothing(storage: &dyn Storage, directory: &Directory) -> Result<Found> {
    let mut data = directory.tables.iter().map(|id| filename::table(*id)).next();
    for id in &directory.segments {
        if let Some(segment) = Segment::find(storage, *id, u64::MAX)?
            && !segment.journal(&segment.read(storage)?, None)?.groups.is_empty()
        {
            data = Some(segment.name);
        }
    }
    if let Some(name) = data {
        return Err(Error::corrupt(CURRENT, 0, format!("it is missing, but {name} holds data")));
    }
    let recovery = Recovery { created: true, ..Recovery::default() };
    Ok(Found { recovery, ..Found::default() })
}

/// Reads the tables that the manifest names, and the log.
pub(super) fn read(
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
        ..Found::default()
    };
    for (_, meta) in found.snapshot.tables.values() {
        found.tables.push(Arc::new(Table::open(tables, meta)?));
    }
    found.replay(storage, directory, options)?;
    // Only now: the log's own numbers show whether one segment continues the other.
    found.last_seq = found.last_seq.max(last_seq_in_tables(&found.snapshot));
    Ok(found)
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
        let mut rest = directory.segments.range(first + 1..);
        while let Some(segment) = current {
            let mut next = None;
            while next.is_none()
                && let Some(id) = rest.next()
            {
                next = Segment::find(storage, *id, first)?;
            }
            let bytes = segment.read(storage)?;
            self.replay_segment(storage, &segment, &bytes, next.as_ref(), directory, options)?;
            current = next;
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
        let name = &segment.name;
        if let Some(next) = successor
            && next.header.previous_id != segment.id
        {
            let missing = format!("it does not continue {name}: a segment between is missing");
            return Err(Error::corrupt(&next.name, 0, missing));
        }
        self.check_continues(segment)?;
        let known_end = successor.map(|next| next.header.previous_end);
        let journal = segment.journal(bytes, known_end)?;
        self.apply(segment, &journal, options)?;
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

    /// Whether a segment goes on exactly where the one before it, or the tables, ended.
    fn check_continues(&self, segment: &Segment) -> Result<()> {
        let header = &segment.header;
        let fits = match &self.log_end {
            Some(end) => {
                header.previous_end == end.offset
                    && header.previous_crc == end.last_crc
                    && header.first_group == end.next_group
                    && header.first_seq == self.last_seq + 1
            }
            None => header.first_seq <= self.snapshot.flushed_seq + 1,
        };
        if fits {
            return Ok(());
        }
        Err(Error::corrupt(&segment.name, 0, "it does not continue what stands before it"))
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
            Ending::Continues(id) if directory.segments.contains(&id) => {
                check_prepared(storage, id, &segment.header)?;
            }
            Ending::Continues(id) => {
                let what = format!("{} goes on in it, but it is missing", segment.name);
                return Err(Error::corrupt(&filename::wal(id), 0, what));
            }
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

/// Whether segment `id`, in which no header stands, can be what its predecessor goes on in: prepared
/// by the same run in the same size. What is shorter may have lost its header to a cut.
fn check_prepared(storage: &dyn Storage, id: u64, predecessor: &Header) -> Result<()> {
    let name = filename::wal(id);
    let length = storage.open(&name).and_then(|file| file.len());
    let length = length.map_err(|e| Error::io("open", &name, e))?;
    if length < predecessor.file_bytes() {
        let what = format!("the file had {} bytes and was cut", predecessor.file_bytes());
        return Err(Error::corrupt(&name, length, what));
    }
    Ok(())
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

    /// Whether segment 9, with a header that differs from the one that fits, continues `found`.
    fn continues(found: &Found, change: impl FnOnce(&mut Header)) -> bool {
        let mut header = Header {
            purpose: Purpose::Wal,
            id: 9,
            epoch: 1,
            first_group: 5,
            first_seq: 21,
            previous_id: 8,
            previous_end: 4096,
            previous_crc: 6,
            blocks: 0,
        };
        change(&mut header);
        let segment = Segment { id: 9, name: filename::wal(9), header };
        found.check_continues(&segment).is_ok()
    }

    #[test]
    fn the_log_begins_at_or_before_what_the_tables_lack() {
        let snapshot = Snapshot { flushed_seq: 20, ..Snapshot::default() };
        let found = Found { snapshot, ..Found::default() };
        assert!(continues(&found, |_| {}));
        assert!(continues(&found, |header| header.first_seq = 3));
        assert!(!continues(&found, |header| header.first_seq = 22));
    }

    #[test]
    fn a_segment_goes_on_exactly_where_the_one_before_it_ended() {
        let log_end =
            Some(LogEnd { id: 8, offset: 4096, next_group: 5, last_crc: 6, unused: None });
        let found = Found { log_end, last_seq: 20, ..Found::default() };
        assert!(continues(&found, |_| {}));
        assert!(!continues(&found, |header| header.first_seq += 1));
        assert!(!continues(&found, |header| header.first_group += 1));
        assert!(!continues(&found, |header| header.previous_end += 4096));
        assert!(!continues(&found, |header| header.previous_crc ^= 1));
    }

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
