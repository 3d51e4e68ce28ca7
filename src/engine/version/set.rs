//! The manifest: the durable log of version edits.
//!
//! `CURRENT` names the manifest. Each edit is one group, synced and then sealed (an empty synced
//! group behind it), before anyone acts on it: with the seal, damage to the last edit can be told
//! from an edit that a crash tore, and tables are removed only on the strength of a sealed edit.
//! After a failed append nothing more is appended: the next edit starts a new manifest from a
//! snapshot. A manifest is also replaced when it has grown long, and at each open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::VersionEdit;
use crate::engine::error::{Error, Result};
use crate::engine::filename::{self, CURRENT};
use crate::engine::journal::{
    self, Ending, GroupBuffer, GroupKind, Header, JournalWriter, Purpose,
};
use crate::engine::key::{MAX_NUMBER, Seq};
use crate::engine::options::Environment;
use crate::engine::ranges::RangeDelete;
use crate::engine::storage::Storage;
use crate::engine::table::TableMeta;
use crate::planted::{Bug, is_planted};

/// A manifest longer than this is replaced by a snapshot.
const LONG_MANIFEST_BYTES: u64 = 4 << 20;

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
    Ok(Some(Loaded { snapshot, id, torn_at }))
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
    manifest_id: u64,
    edits: u64,
}

impl VersionSet {
    /// Starts a new manifest that says `snapshot`, and makes it the current one.
    pub(crate) fn create(environment: Environment, snapshot: Snapshot) -> Result<Self> {
        let mut set =
            VersionSet { environment, snapshot, manifest: None, manifest_id: 0, edits: 0 };
        set.start_manifest()?;
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

    /// The current manifest's number.
    pub(crate) fn manifest_id(&self) -> u64 {
        self.manifest_id
    }

    /// Makes `edit` durable. On an error it is unknown whether it is: its tables must stay, and the
    /// next call starts a new manifest that says what this set says by then.
    pub(crate) fn commit(&mut self, edit: &VersionEdit) -> Result<()> {
        let mut next = self.snapshot.clone();
        next.apply(edit).map_err(Error::InvalidOption)?;
        let long = self.manifest.as_ref().is_none_or(|m| m.offset() > LONG_MANIFEST_BYTES);
        if long {
            let before = std::mem::replace(&mut self.snapshot, next);
            return self.start_manifest().inspect_err(|_| {
                // The edit did not happen, but the ids are gone.
                let next_file_id = self.snapshot.next_file_id;
                self.snapshot = Snapshot { next_file_id, ..before };
            });
        }
        let edit = VersionEdit { next_file_id: Some(next.next_file_id), ..edit.clone() };
        self.append(&edit)?;
        self.snapshot = next;
        Ok(())
    }

    /// Appends, syncs and seals one edit. The writer is put back only if all of it went well.
    fn append(&mut self, edit: &VersionEdit) -> Result<()> {
        let Some(mut manifest) = self.manifest.take() else { return Ok(()) };
        let now = self.environment.clock.now_ms();
        let mut buffer = GroupBuffer::new();
        buffer.push(|out| edit.encode(out));
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

    /// Writes a manifest that says everything and makes it current.
    fn start_manifest(&mut self) -> Result<()> {
        self.manifest = None;
        let id = self.next_file_id();
        let old = std::mem::replace(&mut self.manifest_id, id);
        self.edits = 0;
        let storage = Arc::clone(&self.environment.storage);
        let name = filename::manifest(id);
        let file = storage.create(&name).map_err(|e| Error::io("create", &name, e))?;
        let header = Header {
            purpose: Purpose::Manifest,
            id,
            epoch: (self.environment.random)(),
            first_group: 1,
            first_seq: 1,
            previous_id: 0,
            previous_end: 0,
            previous_crc: 0,
        };
        self.manifest = Some(JournalWriter::start(file, name, &header)?);
        let everything = self.snapshot.as_edit();
        let outcome = self.append(&everything).and_then(|()| set_current(storage.as_ref(), id));
        if outcome.is_err() {
            self.manifest = None;
            return outcome;
        }
        if old != 0 {
            // Left behind on failure, it is removed at the next open.
            let _ = storage.remove(&filename::manifest(old));
        }
        Ok(())
    }
}

/// Makes `CURRENT` name the manifest `id`: the moment from which it counts. All names that it
/// relies on, its own first, are made durable before.
fn set_current(storage: &dyn Storage, id: u64) -> Result<()> {
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
