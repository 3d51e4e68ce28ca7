//! Whose the files are that nothing names.
//!
//! A crash leaves files that no manifest names: tables of a merge, segments that were superfluous,
//! manifests that never counted. An open removes them, or uses them again. But a name proves nothing:
//! an operator may have put a file there, by mistake or because the names of other stores look the
//! same. So a file that nothing names is ours only if its content says so, or if there is nothing in
//! it; all others are set apart: they are neither read nor used nor removed, and somebody is told.
//!
//! What counts as proof:
//!
//! - a table begins with a block whose checksum is bound to its number and to the file's beginning; or
//!   a power cut has torn that block: a sector of it is missing, that is zeros, or the file is cut at the
//!   border of a page;
//! - a segment that the log may need has the header of a log segment, or groups under its number (then
//!   it is damaged, and not foreign); one that it needs no more has the header of a log segment with its
//!   number, or with a smaller one: it was recycled, and numbers grow;
//! - a manifest has the header of one, with its number;
//! - of all of them: nothing but zeros where that would stand, for files are filled with zeros first.

use super::Directory;
use crate::engine::coding::get_u32;
use crate::engine::filename::{self, CURRENT};
use crate::engine::journal::format::{BLOCK_BYTES, FILE_MAGIC, HeaderBlock, VERSION};
use crate::engine::journal::{self, Header, Purpose};
use crate::engine::key::{MAX_KEY_BYTES, MAX_NUMBER, MAX_VALUE_BYTES};
use crate::engine::storage::Storage;
use crate::engine::table;
use crate::engine::version::set::{Loaded, Snapshot};

/// What is read of a table at first: more than a usual block.
const FIRST_BYTES: usize = 64 << 10;

/// What devices write as a whole, and the steps in which a file grows, in bytes.
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// A block that holds one entry of the greatest length, and some more.
const MOST_BYTES: usize = MAX_VALUE_BYTES + MAX_KEY_BYTES + (4 << 10);

impl Directory {
    /// Takes out of the lists what is not provably of this database, and notes its names. What cannot
    /// be read proves nothing.
    pub(crate) fn set_foreign_apart(&mut self, storage: &dyn Storage, loaded: Option<&Loaded>) {
        let mut foreign = Vec::new();
        if let Some(loaded) = loaded {
            let named = &loaded.snapshot.tables;
            self.tables.retain(|id| {
                named.contains_key(id) || is_table(storage, *id) || {
                    foreign.push(filename::table(*id));
                    false
                }
            });
        }
        let own = own_segments(storage, self, loaded.map(|loaded| &loaded.snapshot));
        self.segments.retain(|id| {
            own.contains(id) || {
                foreign.push(filename::wal(*id));
                false
            }
        });
        self.manifests.retain(|id| {
            loaded.is_some_and(|loaded| loaded.id == *id) || is_manifest(storage, *id) || {
                foreign.push(filename::manifest(*id));
                false
            }
        });
        self.temporaries.retain(|name| {
            is_temporary(storage, name) || {
                foreign.push(name.clone());
                false
            }
        });
        // Names are not used twice. Nothing of ours ever comes near the greatest numbers.
        let numbers = foreign.iter().filter_map(|name| filename::number(name));
        let greatest = numbers.filter(|number| *number < MAX_NUMBER / 2).max();
        self.least_free_id = greatest.map_or(0, |greatest| greatest + 1);
        self.foreign = foreign;
    }
}

fn start_of(storage: &dyn Storage, name: &str, bytes: usize) -> Option<Vec<u8>> {
    storage.read_start_from_device(name, bytes).ok()
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn is_table(storage: &dyn Storage, id: u64) -> bool {
    [FIRST_BYTES, MOST_BYTES].into_iter().any(|bytes| {
        let start = start_of(storage, &filename::table(id), bytes);
        start.is_some_and(|start| {
            is_blank(&start) || table::begins_as(&start, id) || is_torn(&start, bytes)
        })
    })
}

/// Whether a power cut may have left this of a file's first `wanted` bytes. Texts hold no sectors of
/// zeros, and what others compress neither.
fn is_torn(start: &[u8], wanted: usize) -> bool {
    let is_cut = start.len() < wanted && start.len().is_multiple_of(PAGE_BYTES);
    is_cut || start.chunks(SECTOR_BYTES).any(is_blank)
}

fn is_manifest(storage: &dyn Storage, id: u64) -> bool {
    let start = start_of(storage, &filename::manifest(id), BLOCK_BYTES);
    start.is_some_and(|start| match Header::decode(&start) {
        HeaderBlock::Valid(header) => header.purpose == Purpose::Manifest && header.id == id,
        HeaderBlock::UnknownVersion(_) | HeaderBlock::Blank => true,
        HeaderBlock::Invalid => false,
    })
}

/// Only these are ever made: a segment that is being filled with zeros, and a `CURRENT`.
fn is_temporary(storage: &dyn Storage, name: &str) -> bool {
    start_of(storage, name, BLOCK_BYTES).is_some_and(|start| {
        let is_current = name == filename::temporary(CURRENT) && start.starts_with(b"MANIFEST-");
        is_blank(&start) || is_current
    })
}

/// The segments that are provably of this database.
fn own_segments(
    storage: &dyn Storage,
    directory: &Directory,
    snapshot: Option<&Snapshot>,
) -> std::collections::BTreeSet<u64> {
    // Without a manifest, whatever is a log may be the one that is looked for.
    let first = snapshot.map_or(0, |snapshot| snapshot.first_segment);
    let needed = directory.segments.range(first..).copied();
    let needed = needed.filter(|id| *id == first || is_segment(storage, *id));
    let old = directory.segments.range(..first).copied();
    needed.chain(old.filter(|id| is_old_segment(storage, *id))).collect()
}

/// Whether a file that may be part of the log is one of its segments, whole, prepared or damaged.
fn is_segment(storage: &dyn Storage, id: u64) -> bool {
    let name = filename::wal(id);
    // One that cannot be read is needed to be read, if it is ours.
    let Ok(start) = storage.read_start_from_device(&name, BLOCK_BYTES) else { return true };
    match Header::decode(&start) {
        HeaderBlock::Valid(header) => header.purpose == Purpose::Wal,
        HeaderBlock::UnknownVersion(_) | HeaderBlock::Blank => true,
        // No crash tears a header, which is in one sector: it is damaged, or never was one.
        HeaderBlock::Invalid if looks_like_header(&start) => true,
        HeaderBlock::Invalid => storage
            .read_from_device(&name)
            .is_ok_and(|bytes| journal::read_header(&name, &bytes, id, Purpose::Wal).is_err()),
    }
}

/// Whether a damaged header was one: the magic is whole, or what follows it.
fn looks_like_header(bytes: &[u8]) -> bool {
    let follows = [get_u32(bytes, 8), get_u32(bytes, 12)];
    bytes.starts_with(FILE_MAGIC) || follows == [Some(VERSION), Some(Purpose::Wal as u32)]
}

/// Whether a segment that the log needs no more is ours: nothing is in it, or it has the header of a log
/// segment under this number, or under a smaller one that it had before it was recycled.
fn is_old_segment(storage: &dyn Storage, id: u64) -> bool {
    let start = start_of(storage, &filename::wal(id), BLOCK_BYTES);
    start.is_some_and(|start| match Header::decode(&start) {
        HeaderBlock::Valid(header) => header.purpose == Purpose::Wal && header.id <= id,
        HeaderBlock::Blank => true,
        HeaderBlock::UnknownVersion(_) | HeaderBlock::Invalid => is_blank(&start),
    })
}
