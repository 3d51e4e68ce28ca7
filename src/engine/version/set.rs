//! The manifest: the durable log of version edits.
//!
//! `CURRENT` names the manifest. Each edit is one group, synced and then sealed (an empty synced
//! group behind it), before anyone acts on it: with the seal, damage to the last edit can be told
//! from an edit that a crash tore, and tables are removed only on the strength of a sealed edit.
//! A manifest has its length from the beginning, as log segments have: one that was cut is told from
//! one that ended there, and an append needs no room on the disk. When it is full, and at each open,
//! a new one begins with a snapshot. After a failed append nothing more is appended, and the edit may
//! be there or not: a new manifest that does not say it decides that it is not, or, if that cannot be
//! written either, nobody knows before a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::VersionEdit;
use crate::engine::error::{Error, Result};
use crate::engine::filename::{self, CURRENT};
use crate::engine::journal::format::{BLOCK_BYTES, blocks_in, group_bytes};
use crate::engine::journal::{
    self, Ending, GroupBuffer, GroupKind, Header, JournalWriter, Purpose,
};
use crate::engine::key::{MAX_NUMBER, Seq};
use crate::engine::options::Environment;
use crate::engine::ranges::RangeDelete;
use crate::engine::storage::Storage;
use crate::engine::table::TableMeta;
use crate::planted::{Bug, is_planted};

/// The least length of a manifest, in bytes.
const MANIFEST_BYTES: usize = 64 << 10;
/// What the id that is added to an edit takes at most, with its tag, in bytes.
const MAX_ID_BYTES: usize = 11;

/// What the manifest says, as metadata: which tables there are and what the log still holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// All tables by id, with their levels.
    pub(crate) tables: BTreeMap<u64, (usize, TableMeta)>,
    /// The range deletes that some table may need, by their numbers.
    pub(crate) ranges: BTreeMap<Seq, RangeDelete>,
    /// Every write up to this number is in the tables.
    pub(crate) flushed_seq: Seq,
    /// The oldest log segment that recovery needs.
    pub(crate) first_segment: u64,
    /// No file has this id or a greater one.
    pub(crate) next_file_id: u64,
}

impl Snapshot {
    fn apply(&mut self, edit: &VersionEdit) -> std::result::Result<(), String> {
        if edit.numbers().any(|number| number > MAX_NUMBER) {
            return Err("an edit holds a number that was never given out".to_owned());
        }
        for id in &edit.removed {
            self.tables.remove(id).ok_or_else(|| format!("an edit removes table {id} twice"))?;
        }
        for (level, meta) in &edit.added {
            if self.tables.insert(meta.id, (*level, meta.clone())).is_some() {
                return Err(format!("an edit adds table {} twice", meta.id));
            }
        }
        for range in &edit.deleted_ranges {
            self.ranges.insert(range.seq, range.clone());
        }
        for seq in &edit.forgotten_ranges {
            self.ranges.remove(seq).ok_or_else(|| format!("an edit forgets range {seq} twice"))?;
        }
        self.flushed_seq = edit.flushed_seq.unwrap_or(self.flushed_seq);
        self.first_segment = edit.first_segment.unwrap_or(self.first_segment);
        self.next_file_id = edit.next_file_id.unwrap_or(self.next_file_id);
        Ok(())
    }

    /// The edit that leads here from nothing.
    pub(crate) fn as_edit(&self) -> VersionEdit {
        VersionEdit {
            added: self.tables.values().cloned().collect(),
            removed: Vec::new(),
            deleted_ranges: self.ranges.values().cloned().collect(),
            forgotten_ranges: Vec::new(),
            flushed_seq: Some(self.flushed_seq),
            first_segment: Some(self.first_segment),
            next_file_id: Some(self.next_file_id),
        }
    }
}

/// The manifest as recovery found it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What it says.
    pub(crate) snapshot: Snapshot,
    /// Its number.
    pub(crate) id: u64,
    /// Where a torn edit was dropped: nobody acted on it.
    pub(crate) torn_at: Option<u64>,
    /// When the last edit was made, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
}

/// Reads the manifest that `CURRENT` names; `None` if there is no `CURRENT`. Changes nothing.
pub(crate) fn load(storage: &dyn Storage) -> Result<Option<Loaded>> {
    let names = storage.list().map_err(|e| Error::io("list", "the directory", e))?;
    if !names.iter().any(|name| name == CURRENT) {
        return Ok(None);
    }
    let id = read_current(storage)?;
    let name = filename::manifest(id);
    if !names.contains(&name) {
        return Err(Error::corrupt(CURRENT, 0, format!("it names {name}, which is missing")));
    }
    load_manifest(storage, id).map(Some)
}

/// Reads the manifest `id`, whether it is the current one or not. Changes nothing.
pub(crate) fn load_manifest(storage: &dyn Storage, id: u64) -> Result<Loaded> {
    let name = filename::manifest(id);
    let bytes = storage.read_from_device(&name).map_err(|e| Error::io("read", &name, e))?;
    let header = journal::read_header(&name, &bytes, id, Purpose::Manifest)?
        .ok_or_else(|| Error::corrupt(&name, 0, "the file header is damaged"))?;
    let journal = journal::open(&name, &bytes, &header, None)?;
    let mut snapshot = Snapshot::default();
    for group in &journal.groups {
        VersionEdit::decode(group.payload)
            .and_then(|edit| snapshot.apply(&edit))
            .map_err(|what| Error::corrupt(&name, group.offset, what))?;
    }
    if journal.groups.is_empty() {
        // The first edit is sealed before CURRENT names the file.
        return Err(Error::corrupt(&name, journal.end, "the first edit is missing"));
    }
    let torn_at = (journal.ending == Ending::Torn).then_some(journal.end);
    let time_ms = journal.groups.iter().map(|group| group.time_ms).max().unwrap_or(0);
    Ok(Loaded { snapshot, id, torn_at, time_ms })
}

/// The text of `CURRENT`: the manifest's name and a checksum, for a flipped digit would name
/// another file.
fn current_line(id: u64) -> String {
    let name = filename::manifest(id);
    let checksum = crc32c::crc32c(name.as_bytes());
    format!("{name} crc32c={checksum:08x}\n")
}

fn read_current(storage: &dyn Storage) -> Result<u64> {
    let bytes = storage.read_from_device(CURRENT).map_err(|e| Error::io("read", CURRENT, e))?;
    let text = String::from_utf8_lossy(&bytes);
    let id = text.split(' ').next().and_then(|name| match filename::parse(name) {
        Some(filename::FileKind::Manifest(id)) => Some(id),
        _ => None,
    });
    id.filter(|id| current_line(*id).as_bytes() == bytes)
        .ok_or_else(|| Error::corrupt(CURRENT, 0, "it does not name a manifest"))
}

/// The manifest's append side, and what it says by now.
pub(crate) struct VersionSet {
    environment: Environment,
    snapshot: Snapshot,
    manifest: Option<JournalWriter>,
    /// Manifests that may be there, the current one last unless the start of another failed.
    manifest_ids: Vec<u64>,
    edits: u64,
}

impl VersionSet {
    /// Starts a new manifest that says `snapshot`, and makes it the current one.
    pub(crate) fn create(environment: Environment, snapshot: Snapshot) -> Result<Self> {
        let mut set = VersionSet {
            environment,
            snapshot,
            manifest: None,
            manifest_ids: Vec::new(),
            edits: 0,
        };
        set.start_manifest(0)?;
        Ok(set)
    }

    /// An id that no file has or had.
    pub(crate) fn next_file_id(&mut self) -> u64 {
        let id = self.snapshot.next_file_id;
        self.snapshot.next_file_id += 1;
        id
    }

    /// What the manifest says.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Makes `edit` durable. After an error that can pass it is certain that it did not happen; after
    /// others it may have.
    pub(crate) fn commit(&mut self, edit: &VersionEdit) -> Result<()> {
        let mut next = self.snapshot.clone();
        next.apply(edit).map_err(Error::InvalidOption)?;
        let bytes = encoded(edit).len() + MAX_ID_BYTES;
        if !self.manifest.as_ref().is_some_and(|manifest| manifest.fits(bytes)) {
            // It says what the old one says: whichever a crash leaves in force.
            self.start_manifest(bytes)?;
            next.next_file_id = self.snapshot.next_file_id;
        }
        let edit = VersionEdit { next_file_id: Some(next.next_file_id), ..edit.clone() };
        if let Err(error) = self.append(&edit) {
            return Err(self.settle(error));
        }
        self.snapshot = next;
        Ok(())
    }

    /// Makes a failed edit one that did not happen, as far as that can be known.
    fn settle(&mut self, error: Error) -> Error {
        match self.start_manifest(0) {
            Ok(()) => error,
            Err(again) => {
                let what = format!("after {error}: {again}");
                Error::io("replace", "the manifest", std::io::Error::other(what))
            }
        }
    }

    /// Appends, syncs and seals one edit. The writer is put back only if all of it went well.
    fn append(&mut self, edit: &VersionEdit) -> Result<()> {
        let Some(mut manifest) = self.manifest.take() else { return Ok(()) };
        let now = self.environment.clock.now_ms();
        let mut buffer = encoded(edit);
        manifest.append(GroupKind::Data, self.edits + 1, now, &mut buffer)?;
        if is_planted(Bug::SkipManifestSync) {
            self.edits += 1;
            self.manifest = Some(manifest);
            return Ok(());
        }
        manifest.sync()?;
        self.edits += 1;
        manifest.append(GroupKind::Seal, self.edits + 1, now, &mut GroupBuffer::new())?;
        manifest.sync()?;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// Writes a manifest that says everything and makes it current, with room for an edit of
    /// `edit_bytes` and others.
    fn start_manifest(&mut self, edit_bytes: usize) -> Result<()> {
        self.manifest = None;
        let id = self.next_file_id();
        self.edits = 0;
        let storage = Arc::clone(&self.environment.storage);
        let written = self.write_manifest(id, edit_bytes).inspect_err(|_| {
            // Of no use, and it holds room that the disk may lack.
            let _ = storage.remove(&filename::manifest(id));
        });
        if written.is_ok() {
            self.manifest_ids.push(id);
        }
        // An error here leaves open which one is in force: all stay until one certainly is.
        written.and_then(|()| set_current(storage.as_ref(), id)).inspect_err(|_| {
            self.manifest = None;
        })?;
        // What cannot be removed now is tried again with the next, or removed at the next open.
        let is_left = |old: u64| storage.remove(&filename::manifest(old)).is_err();
        self.manifest_ids.retain(|old| *old == id || is_left(*old));
        Ok(())
    }

    /// Writes the manifest `id`, which is not current yet.
    fn write_manifest(&mut self, id: u64, edit_bytes: usize) -> Result<()> {
        let name = filename::manifest(id);
        let everything = self.snapshot.as_edit();
        let bytes = manifest_bytes(encoded(&everything).len(), edit_bytes);
        let storage = &self.environment.storage;
        let file = storage.create(&name).map_err(|e| Error::io("create", &name, e))?;
        file.write_all_at(&vec![0; bytes], 0).map_err(|e| Error::io("preallocate", &name, e))?;
        let header = Header {
            purpose: Purpose::Manifest,
            id,
            epoch: (self.environment.random)(),
            first_group: 1,
            first_seq: 1,
            previous_id: 0,
            previous_end: 0,
            previous_crc: 0,
            blocks: blocks_in(bytes),
        };
        self.manifest = Some(JournalWriter::start(file, name, &header)?);
        self.append(&everything)
    }
}

/// An edit as the payload of a group.
fn encoded(edit: &VersionEdit) -> GroupBuffer {
    let mut buffer = GroupBuffer::new();
    buffer.push(|out| edit.encode(out));
    buffer
}

/// The length of a manifest whose first edit has this many bytes: a multiple of it, so that edits and
/// not snapshots are most of what is written.
fn manifest_bytes(first: usize, next: usize) -> usize {
    let edits = group_bytes(first) + group_bytes(next) + 2 * group_bytes(0);
    (BLOCK_BYTES + 2 * edits).max(MANIFEST_BYTES)
}

/// Makes `CURRENT` name the manifest `id`: the moment from which it counts. All names that it
/// relies on, its own first, are made durable before.
pub(crate) fn set_current(storage: &dyn Storage, id: u64) -> Result<()> {
    let temporary = filename::temporary(CURRENT);
    match storage.remove(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &temporary, e));
        }
        _ => {}
    }
    let write = || -> std::io::Result<()> {
        storage.sync_dir()?;
        let file = storage.create(&temporary)?;
        file.write_all_at(current_line(id).as_bytes(), 0)?;
        if !is_planted(Bug::RenameBeforeSync) {
            file.sync()?;
        }
        storage.rename(&temporary, CURRENT)?;
        storage.sync_dir()
    };
    write().map_err(|e| Error::io("replace", CURRENT, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::SystemClock;
    use crate::engine::storage::sim::{FaultKind, SimStorage, Times};
    use crate::engine::table::Hidden;

    fn create() -> (SimStorage, VersionSet) {
        let storage = SimStorage::new(1);
        let environment = Environment {
            storage: Arc::new(storage.clone()),
            clock: Arc::new(SystemClock),
            random: Arc::new(|| 1),
        };
        let set = VersionSet::create(environment, Snapshot::default()).unwrap();
        (storage, set)
    }

    fn edit(flushed_seq: Seq) -> VersionEdit {
        VersionEdit { flushed_seq: Some(flushed_seq), ..VersionEdit::default() }
    }

    #[test]
    fn ids_given_out_are_gone_whatever_becomes_of_their_files() {
        let (storage, mut set) = create();
        let given = set.next_file_id();
        set.commit(&edit(1)).unwrap();
        let loaded = load(&storage.kill()).unwrap().unwrap();
        assert!(loaded.snapshot.next_file_id > given, "known after a crash");

        let (storage, mut set) = create();
        // The second failure is that of a new manifest, which had an id by then.
        for call in [1, 2] {
            storage.fail_call(storage.call_count() + call, FaultKind::NoSpace, Times::Once);
            assert!(set.commit(&edit(1)).is_err());
        }
        let manifests = storage.list().unwrap();
        let next = set.next_file_id();
        assert!(!manifests.contains(&filename::manifest(next)), "{next} of {manifests:?}");
        set.commit(&edit(2)).unwrap();
    }

    #[test]
    fn numbers_that_were_never_given_out_are_damage() {
        for number in [MAX_NUMBER, MAX_NUMBER + 1, u64::MAX] {
            let meta = TableMeta {
                id: number,
                bytes: 1,
                smallest: b"a".to_vec(),
                largest: b"a".to_vec(),
                min_seq: 1,
                max_seq: 1,
                entries: 1,
                tombstones: 0,
                purged_seq: 0,
                reclaim_ms: u64::MAX,
                hidden: Hidden::default(),
                assigned_seq: 0,
                checksum: 0,
            };
            let range = RangeDelete { start: Vec::new(), end: Vec::new(), seq: number };
            let edits = [
                edit(number),
                VersionEdit { first_segment: Some(number), ..VersionEdit::default() },
                VersionEdit { next_file_id: Some(number), ..VersionEdit::default() },
                VersionEdit { added: vec![(0, meta)], ..VersionEdit::default() },
                VersionEdit { deleted_ranges: vec![range], ..VersionEdit::default() },
            ];
            for edit in edits {
                let applied = Snapshot::default().apply(&edit);
                assert_eq!(applied.is_ok(), number == MAX_NUMBER, "{edit:?}");
            }
        }
    }

    #[test]
    fn an_edit_that_a_failed_sync_lost_is_not_read_back_from_the_page_cache() {
        let (storage, mut set) = create();
        set.commit(&edit(7)).unwrap();
        storage.fail_call(storage.call_count() + 2, FaultKind::SyncLosesData, Times::Once);
        assert!(set.commit(&edit(9)).is_err());
        let loaded = load(&storage.kill()).unwrap().unwrap();
        assert_eq!(loaded.snapshot.flushed_seq, 7);
    }

    #[test]
    fn the_documented_current_is_the_one_written() {
        let document = include_str!("../../../docs/format.md");
        assert!(document.contains(&format!("```\n{}```", current_line(12))));
    }
}
