//! The model itself: inodes with a cache and a device side, a directory with changes under way, and
//! what a power cut leaves of both.
//!
//! Names are decided on one by one: a change of the directory survives only if the earlier ones to
//! the same names do, and whatever becomes of other names. A rename is one change: common file
//! systems journal it as a whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Survival;
use super::faults::{FaultKind, Faults};
use super::inode::Inode;
use super::random::Random;

/// What an unlimited storage says is free, in bytes.
const UNLIMITED_FREE_BYTES: u64 = 1 << 40;

pub(super) type InodeId = u64;

/// A change of the directory that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Link { name: String, id: InodeId },
    Rename { from: String, to: String, id: InodeId },
    Unlink { name: String },
}

impl Change {
    pub(super) fn names(&self) -> [&str; 2] {
        match self {
            Change::Link { name, .. } | Change::Unlink { name } => [name, name],
            Change::Rename { from, to, .. } => [from, to],
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, InodeId>) {
        match self {
            Change::Link { name, id } => {
                names.insert(name.clone(), *id);
            }
            Change::Rename { from, to, id } => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            Change::Unlink { name } => {
                names.remove(name);
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Link { name, .. } => write!(f, "the new name {name}"),
            Change::Rename { from, to, .. } => write!(f, "the renaming of {from} to {to}"),
            Change::Unlink { name } => write!(f, "the removal of {name}"),
        }
    }
}

/// Whether a file's full name is one of the directory whose names begin with `prefix`.
fn is_in(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/'))
}

/// Everything that a simulated machine knows.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) faults: Faults,
    pub(super) hold_syncs: bool,
    pub(super) waiting_syncs: usize,
    /// The directories that are locked.
    pub(super) locked: BTreeSet<String>,
    pub(super) cold: bool,
    pub(super) refuses_links: bool,
    pub(super) capacity: Option<u64>,
    random: Random,
    next_id: InodeId,
    inodes: BTreeMap<InodeId, Inode>,
    visible: BTreeMap<String, InodeId>,
    durable: BTreeMap<String, InodeId>,
    pending: Vec<Change>,
    /// The last write and the sectors it touched.
    last_write: Option<(InodeId, Range<usize>)>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        State {
            faults: Faults::default(),
            hold_syncs: false,
            waiting_syncs: 0,
            locked: BTreeSet::new(),
            cold: false,
            refuses_links: false,
            capacity: None,
            random: Random(seed),
            next_id: 0,
            inodes: BTreeMap::new(),
            visible: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            last_write: None,
        }
    }

    pub(super) fn random_below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    pub(super) fn inode(&mut self, id: InodeId) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn named(&mut self, name: &str) -> io::Result<&mut Inode> {
        let id = self.id(name)?;
        self.inode(id)
    }

    fn id(&self, name: &str) -> io::Result<InodeId> {
        self.visible.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// The names of the files in a directory.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let names = self.visible.keys().filter(|name| is_in(name, prefix));
        names.map(|name| name[prefix.len()..].to_owned()).collect()
    }

    pub(super) fn open(&mut self, name: &str) -> io::Result<InodeId> {
        let id = self.id(name)?;
        self.inode(id)?.handles += 1;
        Ok(id)
    }

    pub(super) fn close(&mut self, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.handles = inode.handles.saturating_sub(1);
        }
    }

    pub(super) fn open_files(&self) -> usize {
        self.inodes.values().map(|inode| inode.handles).sum()
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<InodeId> {
        if self.visible.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = self.add(Inode::created());
        self.inode(id)?.handles = 1;
        self.make(Change::Link { name: name.to_owned(), id });
        Ok(id)
    }

    pub(super) fn link(&mut self, name: &str, other: &str) -> io::Result<()> {
        if self.refuses_links {
            return Err(ErrorKind::CrossesDevices.into());
        }
        let id = self.id(name)?;
        if self.visible.contains_key(other) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.inode(id)?.links += 1;
        self.make(Change::Link { name: other.to_owned(), id });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let id = self.id(from)?;
        if from == to {
            return Ok(());
        }
        self.unlink_inode(to);
        self.make(Change::Rename { from: from.to_owned(), to: to.to_owned(), id });
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.id(name)?;
        self.unlink_inode(name);
        self.make(Change::Unlink { name: name.to_owned() });
        Ok(())
    }

    /// Makes a directory durable, and forgets files that nothing can reach any more.
    pub(super) fn sync_dir(&mut self, prefix: &str) {
        let mut left = Vec::new();
        for change in self.pending.drain(..) {
            if change.names().iter().all(|name| is_in(name, prefix)) {
                change.apply(&mut self.durable);
            } else {
                left.push(change);
            }
        }
        self.pending = left;
        let held: HashSet<InodeId> = self.durable.values().copied().collect();
        self.inodes.retain(|id, inode| inode.links > 0 || inode.handles > 0 || held.contains(id));
    }

    pub(super) fn write(&mut self, id: InodeId, buf: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let end = start.checked_add(buf.len()).ok_or(ErrorKind::FileTooLarge)?;
        let growth = end.saturating_sub(self.inode(id)?.visible().len());
        if growth > 0 && self.capacity.is_some() && growth as u64 > self.free_bytes() {
            return Err(FaultKind::NoSpace.error());
        }
        let sectors = self.inode(id)?.write(buf, start);
        self.last_write = Some((id, sectors));
        Ok(())
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else { return UNLIMITED_FREE_BYTES };
        let held = self.inodes.values().filter(|inode| inode.links > 0 || inode.handles > 0);
        capacity.saturating_sub(held.map(|inode| inode.visible().len() as u64).sum())
    }

    /// Puts a durable file under a durable name, past all faults.
    pub(super) fn plant(&mut self, name: &str, bytes: &[u8]) {
        let id = match self.id(name) {
            Ok(id) => id,
            Err(_) => self.add(Inode::created()),
        };
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.replace(bytes);
        }
        self.visible.insert(name.to_owned(), id);
        self.pending.retain(|change| !change.names().contains(&name));
        self.durable.insert(name.to_owned(), id);
    }

    fn add(&mut self, inode: Inode) -> InodeId {
        let id = self.next_id;
        self.next_id += 1;
        self.inodes.insert(id, inode);
        id
    }

    fn unlink_inode(&mut self, name: &str) {
        if let Ok(inode) = self.named(name) {
            inode.links = inode.links.saturating_sub(1);
        }
    }

    fn make(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    /// What the next process finds after this one was killed.
    pub(super) fn after_kill(&self) -> Self {
        let mut next = self.clone();
        next.faults = Faults::default();
        next.hold_syncs = false;
        next.waiting_syncs = 0;
        next.locked.clear();
        next.inodes.values_mut().for_each(|inode| inode.handles = 0);
        next
    }

    /// What the next process finds after a power cut.
    pub(super) fn after_power_cut(&self, survival: Survival) -> Self {
        let mut random = match survival {
            Survival::Random(seed) | Survival::Torn(seed) => Random(seed),
            Survival::Nothing | Survival::Everything => Random(0),
        };
        let torn = self.torn_sectors(survival, &mut random);
        let names = self.surviving_names(|_| match survival {
            Survival::Nothing => false,
            Survival::Everything | Survival::Torn(_) => true,
            Survival::Random(_) => random.coin(),
        });
        let names = names.into_iter();
        let files = names.filter_map(|(name, id)| Some((name, id, self.inodes.get(&id)?)));
        let files: Vec<_> = files.collect();
        let images = files.into_iter().map(|(name, id, inode)| {
            let mut choices = BTreeMap::new();
            for sector in inode.dirty_sectors() {
                let newest = inode.newest(sector);
                let is_torn =
                    torn.as_ref().is_some_and(|(of, lost)| *of == id && lost.contains(&sector));
                let choice = match survival {
                    Survival::Nothing => 0,
                    Survival::Torn(_) if is_torn => 0,
                    Survival::Everything | Survival::Torn(_) => newest,
                    Survival::Random(_) => random.below(newest as u64 + 1) as usize,
                };
                choices.insert(sector, choice);
            }
            let choice = |sector| choices.get(&sector).copied().unwrap_or(0);
            (name, id, inode.image(inode.length(choice), choice))
        });
        self.rebooted(images)
    }

    /// The sectors of the last write that a tear loses.
    fn torn_sectors(
        &self,
        survival: Survival,
        random: &mut Random,
    ) -> Option<(InodeId, Range<usize>)> {
        let (id, sectors) = self.last_write.clone()?;
        let kept = match survival {
            Survival::Torn(_) => random.below(sectors.len() as u64 + 1) as usize,
            _ => return None,
        };
        Some((id, sectors.start + kept..sectors.end))
    }

    /// The machine after a power cut that left files with these names and bytes. Names of one file
    /// go on sharing it.
    pub(super) fn rebooted(
        &self,
        images: impl Iterator<Item = (String, InodeId, Arc<Vec<u8>>)>,
    ) -> Self {
        let mut next = State::new(self.random.0);
        next.cold = self.cold;
        next.refuses_links = self.refuses_links;
        next.capacity = self.capacity;
        next.next_id = self.next_id;
        for (name, id, image) in images {
            let inode = next.inodes.entry(id).or_insert_with(|| Inode::holding(image));
            inode.links += 1;
            next.visible.insert(name, id);
        }
        next.durable = next.visible.clone();
        next
    }

    /// The directory changes that are not durable, in their order.
    pub(super) fn pending(&self) -> &[Change] {
        &self.pending
    }

    /// Every file.
    pub(super) fn inodes(&self) -> &BTreeMap<InodeId, Inode> {
        &self.inodes
    }

    /// The last write and the sectors it touched.
    pub(super) fn last_write(&self) -> Option<&(InodeId, Range<usize>)> {
        self.last_write.as_ref()
    }

    /// A checksum of all visible names and bytes.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hash = 0;
        for (name, id) in &self.visible {
            let bytes = self.inodes.get(id).map_or(&[][..], Inode::visible);
            hash = xxh3_64_with_seed(name.as_bytes(), hash);
            hash = xxh3_64_with_seed(bytes, hash);
        }
        hash
    }

    /// A name that leads, led or will lead to a file.
    pub(super) fn name_of(&self, id: InodeId) -> &str {
        let names = self.visible.iter().chain(&self.durable);
        let mut names = names.filter(|(_, of)| **of == id).map(|(name, _)| name.as_str());
        names.next().unwrap_or("a file without a name")
    }

    /// The durable names with those pending changes that survive, as far as `survives`, which is
    /// asked by their numbers, lets them.
    pub(super) fn surviving_names(
        &self,
        mut survives: impl FnMut(usize) -> bool,
    ) -> BTreeMap<String, InodeId> {
        let mut names = self.durable.clone();
        let mut lost: HashSet<&str> = HashSet::new();
        for (number, change) in self.pending.iter().enumerate() {
            if survives(number) && change.names().iter().all(|name| !lost.contains(name)) {
                change.apply(&mut names);
            } else {
                lost.extend(change.names());
            }
        }
        names
    }
}
