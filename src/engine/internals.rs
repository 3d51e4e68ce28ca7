//! The engine's inner parts, for `benches/internals.rs` and for fuzzing: only with the feature
//! `internals`.
//!
//! Thin wrappers, so that a benchmark measures what the engine does and not what stands here. No
//! part of the library's interface: they change whenever what they wrap does. Rejected: benchmarks
//! beside the code, which the stable compiler has no harness for, and making the parts public.

use std::path::Path;
use std::sync::Arc;

use super::error::Result;
use super::iter::{Direction, Entry, EntryIter, Input, MergeIter, ScanRange};
use super::journal::format::BLOCK_BYTES;
use super::journal::{self, Ending, GroupBuffer, Header, Purpose};
use super::key::{Kind, Seq};
use super::memtable;
use super::options::Environment;
use super::storage::File;
use super::table::internals::count;
use super::version::VersionEdit;
use super::wal::{self, Room, Spare, Wal, encode_write};

pub use super::table::internals::{
    BlockEntry, DataBlock, Found, KeyFilter, SortedTable, Told, build_blocks, encode_block,
    load_block, reread_footer, reread_handle, reread_properties, store_block,
};

/// Recent writes in memory.
pub struct Memtable(memtable::Memtable);

impl Memtable {
    /// An empty one that is full at about `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Memtable(memtable::Memtable::new(limit_bytes))
    }

    /// Stores `value` at `key`; `seq` is greater than every one before.
    pub fn insert(&mut self, key: &[u8], seq: Seq, value: &[u8]) {
        self.0.insert(key, seq, Kind::Put, value);
    }

    /// The value at `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key, Seq::MAX).map(|found| found.value)
    }

    /// Walks over up to `limit` versions from `start` on, as a scan does; returns how many there
    /// were. What was inserted since the last scan is sorted first.
    ///
    /// # Errors
    /// None: it is all in memory.
    pub fn scan(&self, start: &[u8], limit: usize) -> Result<usize> {
        let runs = self.0.view().scan(Direction::Forward, |_| Some(ScanRange { start, end: None }));
        let runs = runs.into_iter().map(|run| Box::new(run) as Input).collect();
        count(MergeIter::new(runs, Direction::Forward), limit)
    }

    /// Takes no more, as before a flush.
    pub fn freeze(self) -> FrozenMemtable {
        FrozenMemtable(Arc::new(self.0))
    }
}

/// A memtable that waits for its flush.
pub struct FrozenMemtable(Arc<memtable::Memtable>);

impl FrozenMemtable {
    /// Sorts everything and walks over it, as a flush does; returns how many versions there were.
    ///
    /// # Errors
    /// None: it is all in memory.
    pub fn walk(&self) -> Result<usize> {
        count(self.0.sorted(), usize::MAX)
    }
}

/// Keys and values in the order of the keys.
type Sorted = Vec<(Vec<u8>, Vec<u8>)>;

/// Sorted runs in memory.
pub struct Runs(Vec<Arc<Sorted>>);

impl Runs {
    /// Runs of keys and values, each in the order of its keys.
    pub fn new(runs: Vec<Sorted>) -> Self {
        Runs(runs.into_iter().map(Arc::new).collect())
    }

    /// Merges all of them; returns how many entries there were.
    ///
    /// # Errors
    /// None: it is all in memory.
    pub fn merge(&self) -> Result<usize> {
        let walk = |run: &Arc<_>| Box::new(Run { entries: Arc::clone(run), next: 0 }) as Input;
        count(MergeIter::new(self.0.iter().map(walk).collect(), Direction::Forward), usize::MAX)
    }
}

/// A walk over one of [`Runs`].
struct Run {
    entries: Arc<Sorted>,
    next: usize,
}

impl EntryIter for Run {
    fn advance(&mut self) -> Result<bool> {
        self.next += 1;
        Ok(self.next <= self.entries.len())
    }

    fn entry(&self) -> Entry<'_> {
        let (key, value) = &self.entries[self.next - 1];
        Entry { key, seq: 1, kind: Kind::Put, value }
    }
}

/// A log of one segment on disk, which is overwritten again and again and never synced by itself.
pub struct Log {
    environment: Environment,
    file: Arc<dyn File>,
    segment_bytes: usize,
    wal: Wal,
    room: Room,
    buffer: GroupBuffer,
    next_seq: Seq,
}

/// The only segment's number.
const SEGMENT: u64 = 1;

impl Log {
    /// Prepares a segment in the directory `path`.
    ///
    /// # Errors
    /// `Io`.
    pub fn create(path: &Path, segment_bytes: usize) -> Result<Self> {
        let environment = Environment::disk(path)?;
        let _lock = environment.storage.lock();
        let spare = wal::create_segment(environment.storage.as_ref(), SEGMENT, segment_bytes)?;
        let (file, room) = (Arc::clone(&spare.file), fresh_room(segment_bytes));
        let (wal, buffer) = (start(&environment, spare)?, GroupBuffer::new());
        Ok(Log { environment, file, segment_bytes, wal, room, buffer, next_seq: 1 })
    }

    /// Encodes a group of puts; returns the length of its payload in bytes.
    pub fn encode(&mut self, writes: &[(&[u8], &[u8])]) -> usize {
        self.buffer.clear(usize::MAX);
        for (key, value) in writes {
            self.buffer.push(|out| encode_write(out, Kind::Put, key, value));
        }
        self.buffer.len()
    }

    /// Encodes a group of puts and hands it to the operating system; false, and nothing done, if
    /// the segment has no room for it.
    ///
    /// # Errors
    /// `Io`.
    pub fn append(&mut self, writes: &[(&[u8], &[u8])]) -> Result<bool> {
        let bytes = self.encode(writes);
        if !self.room.fits(bytes) {
            return Ok(false);
        }
        self.room.take(bytes);
        self.wal.append(self.next_seq, 0, &mut self.buffer)?;
        self.next_seq += writes.len() as u64;
        Ok(true)
    }

    /// Begins anew at the segment's start.
    ///
    /// # Errors
    /// `Io`.
    pub fn restart(&mut self) -> Result<()> {
        let file = Arc::clone(&self.file);
        let spare = Spare { id: SEGMENT, file, bytes: self.segment_bytes };
        self.wal = start(&self.environment, spare)?;
        self.room = fresh_room(self.segment_bytes);
        self.next_seq = 1;
        Ok(())
    }
}

fn fresh_room(segment_bytes: usize) -> Room {
    Room::new(segment_bytes, BLOCK_BYTES as u64)
}

fn start(environment: &Environment, spare: Spare) -> Result<Wal> {
    let header = Header {
        purpose: Purpose::Wal,
        id: SEGMENT,
        epoch: (environment.random)(),
        first_group: 1,
        first_seq: 1,
        previous_id: 0,
        previous_end: 0,
        previous_crc: 0,
        blocks: 0,
    };
    let bytes = spare.bytes;
    let journal = wal::start_segment(spare, &header)?;
    Ok(Wal::new(journal, SEGMENT, bytes, Arc::clone(&environment.random)))
}

/// A journal, as far as its history goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalHistory {
    /// The groups of records: first sequence number, count, payload.
    pub groups: Vec<(Seq, u32, Vec<u8>)>,
    /// Where the next group would start, in bytes.
    pub end: u64,
    /// Whether a group had been begun behind the last one.
    pub is_torn: bool,
    /// The journal that goes on.
    pub successor: Option<u64>,
}

/// Reads log segment `id`, or that manifest; `None` if it was never used.
///
/// # Errors
/// `Corrupt` or `UnknownFormat`.
pub fn read_journal(bytes: &[u8], id: u64, is_manifest: bool) -> Result<Option<JournalHistory>> {
    let purpose = if is_manifest { Purpose::Manifest } else { Purpose::Wal };
    let Some(header) = journal::read_header("journal", bytes, id, purpose)? else {
        return Ok(None);
    };
    let journal = journal::open("journal", bytes, &header, None)?;
    let groups = journal.groups.iter();
    Ok(Some(JournalHistory {
        groups: groups.map(|g| (g.first_seq, g.count, g.payload.to_vec())).collect(),
        end: journal.end,
        is_torn: journal.ending == Ending::Torn,
        successor: match journal.ending {
            Ending::Continues { id, .. } => Some(id),
            Ending::Clean | Ending::Torn => None,
        },
    }))
}

/// A write in the log: kind, key, value.
pub type LogRecord = (u8, Vec<u8>, Vec<u8>);

/// The writes of a group; `None` if the payload is anything else.
pub fn decode_writes(payload: &[u8], count: u32) -> Option<Vec<LogRecord>> {
    let writes = wal::decode_writes(payload, count)?.into_iter();
    Some(writes.map(|w| (w.kind as u8, w.key.to_vec(), w.value.to_vec())).collect())
}

/// A manifest edit, decoded and encoded again.
///
/// # Errors
/// What is wrong with it.
pub fn reread_edit(bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut again = Vec::new();
    VersionEdit::decode(bytes)?.encode(&mut again);
    Ok(again)
}
