//! The check of the tables: each by itself, and all of them together.
//!
//! They are merged as for a scan, and of each key the versions must become older from level to
//! level. A level whose tables overlap cannot be read as one: then each of its tables is an input.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{CheckReport, Progress, faults, take_faults};
use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::iter::{Direction, Entry, EntryIter, MergeIter};
use crate::engine::key::{Kind, Seq};
use crate::engine::ranges::RangeDeletes;
use crate::engine::storage::Storage;
use crate::engine::table::check::{Faults, TableCheck};
use crate::engine::table::{BlockCache, TableMeta, Tables};
use crate::engine::version::set::Snapshot;
use crate::engine::version::{LEVELS, shape};

/// Entries between two looks at the clock of whoever shows the progress.
const TELL_EVERY: u64 = 4_096;

/// Checks all tables that the manifest names.
pub(super) fn check(
    storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    report: &mut CheckReport,
    progress: &mut Progress<'_>,
) -> Result<()> {
    // Blocks are read once: no cache is of use.
    let tables = Arc::new(Tables::new(Arc::clone(storage), BlockCache::new(0), 1));
    let ranges = Arc::new(RangeDeletes::new(snapshot.ranges.values().cloned().collect()));
    let faults = faults();
    let before = progress.seen.bytes;
    let done_bytes = Arc::new(AtomicU64::new(0));
    let mut currents = Vec::new();
    let mut inputs: Vec<Box<dyn EntryIter + Send>> = Vec::new();
    for metas in inputs_of(snapshot, report) {
        report.files += metas.len() as u64;
        report.bytes += metas.iter().map(|meta| meta.bytes).sum::<u64>();
        let current = Arc::new(AtomicU64::new(0));
        currents.push(Arc::clone(&current));
        inputs.push(Box::new(Input {
            tables: Arc::clone(&tables),
            ranges: Arc::clone(&ranges),
            faults: Arc::clone(&faults),
            waiting: metas.into_iter().rev().cloned().collect(),
            walk: None,
            done_bytes: Arc::clone(&done_bytes),
            current,
        }));
    }
    let mut merge = MergeIter::new(inputs, Direction::Forward);
    let mut order = Order::default();
    while merge.advance()? {
        let input = merge.input();
        if let Some(what) = order.next(merge.entry(), input) {
            let id = currents.get(input).map_or(0, |current| current.load(Ordering::Relaxed));
            report.find(Error::corrupt(&filename::table(id), 0, what));
        }
        report.entries += 1;
        if report.entries.is_multiple_of(TELL_EVERY) {
            progress.seen.bytes = before + done_bytes.load(Ordering::Relaxed);
            progress.seen.entries = report.entries;
            progress.tell();
        }
    }
    progress.seen.entries = report.entries;
    take_faults(&faults, report);
    Ok(())
}

/// The tables of each input of the merge, what is newer first; finds what the metadata shows.
fn inputs_of<'a>(snapshot: &'a Snapshot, report: &mut CheckReport) -> Vec<Vec<&'a TableMeta>> {
    let mut levels: [Vec<&TableMeta>; LEVELS] = std::array::from_fn(|_| Vec::new());
    for (level, meta) in snapshot.tables.values() {
        levels[*level].push(meta);
    }
    let mut inputs = Vec::new();
    for (number, mut level) in levels.into_iter().enumerate() {
        if number == 0 {
            level.sort_by_key(|meta| std::cmp::Reverse(meta.max_seq));
            find_mixed(&level, report);
            inputs.extend(level.into_iter().map(|meta| vec![meta]));
            continue;
        }
        level.sort_by(|a, b| a.smallest.cmp(&b.smallest));
        let overlap = level.windows(2).find(|pair| pair[0].largest >= pair[1].smallest);
        if let Some([a, b]) = overlap {
            let what = format!("it overlaps {} on level {number}", filename::table(a.id));
            report.find(Error::corrupt(&filename::table(b.id), 0, what));
            inputs.extend(level.into_iter().map(|meta| vec![meta]));
        } else if !level.is_empty() {
            inputs.push(level);
        }
    }
    inputs
}

/// Finds tables of level 0 that share keys and are not one older than the other.
fn find_mixed(level0: &[&TableMeta], report: &mut CheckReport) {
    for (at, newer) in level0.iter().enumerate() {
        for older in &level0[at + 1..] {
            let is_mixed = older.max_seq >= newer.min_seq
                && shape::overlap(shape::range(newer), shape::range(older));
            if is_mixed {
                let what = format!(
                    "its writes are neither older nor newer than those of {}",
                    filename::table(newer.id)
                );
                report.find(Error::corrupt(&filename::table(older.id), 0, what));
            }
        }
    }
}

/// Tables one after the other.
struct Input {
    tables: Arc<Tables>,
    ranges: Arc<RangeDeletes>,
    faults: Faults,
    /// Those that were not begun, the next one last.
    waiting: Vec<TableMeta>,
    walk: Option<TableCheck>,
    /// Bytes of the tables that are done.
    done_bytes: Arc<AtomicU64>,
    /// The id of the table of the current entry.
    current: Arc<AtomicU64>,
}

impl EntryIter for Input {
    fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some(walk) = &mut self.walk {
                if walk.advance()? {
                    return Ok(true);
                }
                self.walk = None;
            }
            let Some(meta) = self.waiting.pop() else { return Ok(false) };
            let (ranges, faults) = (Arc::clone(&self.ranges), Arc::clone(&self.faults));
            self.walk = Some(TableCheck::new(&self.tables, &meta, ranges, faults));
            self.current.store(meta.id, Ordering::Relaxed);
            self.done_bytes.fetch_add(meta.bytes, Ordering::Relaxed);
        }
    }

    fn entry(&self) -> Entry<'_> {
        const NONE: Entry<'_> = Entry { key: &[], seq: 0, kind: Kind::Delete, value: &[] };
        self.walk.as_ref().map_or(NONE, TableCheck::entry)
    }
}

/// The order of the versions of each key over all inputs.
#[derive(Default)]
struct Order {
    key: Vec<u8>,
    last: Option<(Seq, usize)>,
}

impl Order {
    /// What does not fit about the next entry of the merge.
    fn next(&mut self, entry: Entry<'_>, input: usize) -> Option<&'static str> {
        let before = self.last.replace((entry.seq, input));
        let is_same_key = before.is_some() && self.key == entry.key;
        if !is_same_key {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            return None;
        }
        match before {
            Some((seq, _)) if seq == entry.seq => Some("another table has the same write"),
            Some((_, above)) if above > input => Some("a deeper level has a newer write of a key"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_key_what_stands_higher_is_newer() {
        let order = |entries: &[(&[u8], Seq, usize)]| {
            let mut order = Order::default();
            let entry = |key, seq| Entry { key, seq, kind: Kind::Put, value: &[] };
            let found =
                entries.iter().map(|(key, seq, input)| order.next(entry(key, *seq), *input));
            found.flatten().count()
        };
        assert_eq!(order(&[(b"a", 9, 0), (b"a", 5, 0), (b"a", 3, 2), (b"b", 7, 1)]), 0);
        assert_eq!(order(&[(b"a", 9, 2), (b"a", 5, 0)]), 1);
        assert_eq!(order(&[(b"a", 9, 0), (b"a", 9, 1)]), 1);
        assert_eq!(order(&[(b"", 9, 2), (b"", 8, 1)]), 1, "the empty key as well");
    }
}
