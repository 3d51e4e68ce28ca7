//! Sorted tables: immutable files of entries, written once and read in any order.
//!
//! A table is data blocks, an index in two levels, a filter, properties and a footer; the bytes are
//! in `docs/format.md`. Every block carries a checksum that is seeded by the file's id and the
//! block's offset, and it is verified on every read of the file: a block that is damaged, stale or
//! in the wrong place is an error with file and offset, never a wrong value and never a missing key.
//! Lengths are held against the file's own before anything is allocated for them.
//!
//! Data blocks are compressed. Lookups go through the block cache, whose blocks were verified on
//! their way in; walks over whole tables, and scans that turn out long, go past it, in large reads.
//!
//! Rejected: trusting bytes of a file because they were right before (disks decay as well), and a
//! checksum per file only (a read of one key would have to believe).

mod backward;
mod block;
mod builder;
pub(crate) mod check;
mod compression;
mod draw;
mod filter;
mod format;
mod forward;
mod handles;
#[cfg(feature = "internals")]
pub(super) mod internals;
mod iter;
mod reader;
mod reclaim;
mod scan;
mod shared;
#[cfg(test)]
mod tests;
mod value;
mod window;

use super::key::{Kind, Seq};

pub(crate) use self::block::Block;
pub(crate) use self::builder::TableBuilder;
pub use self::compression::Compression;
pub(crate) use self::filter::KeyHash;
pub(crate) use self::format::begins_as;
pub(crate) use self::handles::{MAX_OPEN_TABLES, affordable_open_tables};
pub(crate) use self::reader::Table;
pub(crate) use self::scan::TableScan;
pub(crate) use self::shared::Tables;
pub use self::value::Value;

/// The cache that tables read their blocks through.
pub(crate) type BlockCache = super::cache::BlockCache<Block>;

/// The size that a data block does not exceed before its compression, in bytes, unless it holds a
/// single larger entry. A lookup that misses the cache pays for a whole block: of 2 M entries of
/// 116 bytes with a quarter of them cached, 4 KiB are read at 1.3 times the rate of 16 KiB.
pub(crate) const BLOCK_BYTES: usize = 4 << 10;

/// A table of which more than 1 in this many entries is garbage, tombstones or expired, is worth being
/// rewritten: reads and scans would walk over graves. The picker's measure as well.
pub(crate) const GARBAGE_SHARE: u64 = 3;

/// What the manifest keeps about a table: enough to place it, and to tell whether the file is it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableMeta {
    /// The file's id; see `filename::table`.
    pub(crate) id: u64,
    /// The file's length in bytes.
    pub(crate) bytes: u64,
    /// The first key.
    pub(crate) smallest: Vec<u8>,
    /// The last key.
    pub(crate) largest: Vec<u8>,
    /// The lowest sequence number.
    pub(crate) min_seq: Seq,
    /// The highest sequence number.
    pub(crate) max_seq: Seq,
    /// How many entries, tombstones included.
    pub(crate) entries: u64,
    /// How many of them are tombstones.
    pub(crate) tombstones: u64,
    /// No entry is covered by a range delete up to this number.
    pub(crate) purged_seq: Seq,
    /// When so many entries will have expired that the table should be rewritten, in milliseconds
    /// since the Unix epoch; `u64::MAX` is never.
    pub(crate) reclaim_ms: u64,
    /// What it holds of versions that newer ones in it hide, for some snapshot.
    pub(crate) hidden: Hidden,
    /// If not 0, the sequence number that all entries have, whatever the file says: it was written
    /// before there was one.
    pub(crate) assigned_seq: Seq,
    /// CRC32C of the whole file.
    pub(crate) checksum: u32,
}

/// What newer versions in the same table hide from all but snapshots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// About so many bytes of the file.
    pub(crate) bytes: u64,
    /// The highest number of a version that hides another: for who reads at this number, all of it is
    /// hidden. 0 if there is none.
    pub(crate) seq: Seq,
}

impl TableMeta {
    /// Gives all entries of a table the number `seq`, which is not 0. All of them must have been
    /// written with number 0, and so each key once.
    pub(crate) fn assign(self, seq: Seq) -> Self {
        TableMeta { min_seq: seq, max_seq: seq, assigned_seq: seq, ..self }
    }

    /// The number of an entry, of which the file says `stored`.
    #[inline]
    fn seq_of(&self, stored: Seq) -> Seq {
        if self.assigned_seq == 0 { stored } else { self.assigned_seq }
    }
}

/// Whether a read may wait for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// It may.
    Blocking,
    /// It may not: what is not in memory is [`Read::WouldBlock`].
    Cached,
}

/// The outcome of a read that may have been forbidden to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read<T> {
    /// The answer.
    Done(T),
    /// The bytes are not in memory: nothing is known yet.
    WouldBlock,
}

/// One version of a key, as a table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its sequence number.
    pub(crate) seq: Seq,
    /// What it says.
    pub(crate) kind: Kind,
    /// The value; empty for a tombstone.
    pub(crate) value: Value<'static>,
}
