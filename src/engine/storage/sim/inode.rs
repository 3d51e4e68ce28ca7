//! A file's bytes on both sides of the page cache, and what a power cut may leave of them.
//!
//! Bytes are shared and copied when they are changed, so that the machine's state at any moment can
//! be kept at little cost. A sector that is written again before it was synced keeps what it held
//! between: the device may have any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

/// The unit that a device writes as a whole, in bytes.
pub(super) const SECTOR_BYTES: usize = 512;

/// The steps in which a write makes a file longer, in bytes.
const PAGE_BYTES: usize = 4096;

/// What a sector holds, without the zeros that fill it up.
type Sector = Arc<[u8]>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    visible: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// The sectors written since they were last synced, with what each held between then and the
    /// last write, oldest first.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// Names that lead to it.
    pub(super) links: usize,
    pub(super) handles: usize,
}

impl Inode {
    /// An empty file with one name. It is not open.
    pub(super) fn created() -> Self {
        Inode { links: 1, ..Inode::default() }
    }

    /// A file without a name whose bytes are durable.
    pub(super) fn holding(bytes: Arc<Vec<u8>>) -> Self {
        Inode { visible: Arc::clone(&bytes), durable: bytes, ..Inode::default() }
    }

    /// Gives the file other bytes, durable at once.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.visible = Arc::new(bytes.to_vec());
        self.durable = Arc::clone(&self.visible);
        self.dirty.clear();
    }

    /// What reads see.
    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    /// What the device has.
    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(buf.len());
        let bytes = self.visible.get(range).ok_or(ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    /// Returns the sectors that were touched.
    pub(super) fn write(&mut self, buf: &[u8], start: usize) -> Range<usize> {
        let end = start + buf.len();
        let sectors = start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        for sector in sectors.clone() {
            let held = sector_of(&self.visible, sector);
            self.dirty.entry(sector).and_modify(|between| between.push(held.into())).or_default();
        }
        let visible = Arc::make_mut(&mut self.visible);
        if visible.len() < end {
            visible.resize(end, 0);
        }
        visible[start..end].copy_from_slice(buf);
        sectors
    }

    /// Changes cache and device alike.
    pub(super) fn damage(&mut self, change: impl Fn(&mut Vec<u8>)) {
        change(Arc::make_mut(&mut self.visible));
        change(Arc::make_mut(&mut self.durable));
    }

    /// The numbers of the sectors that a sync would write.
    pub(super) fn dirty_sectors(&self) -> BTreeSet<usize> {
        self.dirty.keys().copied().collect()
    }

    /// Makes the visible bytes of every dirty sector durable.
    pub(super) fn sync_dirty(&mut self) {
        self.durable = self.image(self.longest(), |sector| self.newest(sector));
        self.dirty.clear();
    }

    /// Makes `sectors` durable as far as they are still dirty.
    pub(super) fn sync_sectors(&mut self, sectors: &BTreeSet<usize>) {
        let choice = |sector| if sectors.contains(&sector) { self.newest(sector) } else { 0 };
        self.durable = self.image(self.extent(choice), choice);
        self.dirty.retain(|sector, _| !sectors.contains(sector));
    }

    /// Takes what was not synced for synced.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// Of a dirty sector, the number of what was written last; what the device has is number 0.
    pub(super) fn newest(&self, sector: usize) -> usize {
        self.dirty.get(&sector).map_or(0, |between| between.len() + 1)
    }

    /// What `sector` held at `choice`, see [`Inode::newest`].
    fn held(&self, sector: usize, choice: usize) -> &[u8] {
        let between =
            self.dirty.get(&sector).and_then(|between| between.get(choice.wrapping_sub(1)));
        match (choice, between) {
            (0, _) => sector_of(&self.durable, sector),
            (_, Some(between)) => between,
            (_, None) => sector_of(&self.visible, sector),
        }
    }

    /// The bytes up to the end of what was written since the last sync.
    fn longest(&self) -> usize {
        self.extent(|sector| self.newest(sector))
    }

    /// Where the last byte ends if of each dirty sector there is `choice` of it.
    fn extent(&self, mut choice: impl FnMut(usize) -> usize) -> usize {
        let end = |sector, choice| match choice {
            0 => 0,
            _ => sector * SECTOR_BYTES + self.held(sector, choice).len(),
        };
        let ends = self.dirty.keys().map(|sector| end(*sector, choice(*sector)));
        ends.fold(self.durable.len(), usize::max)
    }

    /// The length that a power cut leaves if of each dirty sector there is `choice` of it. File systems write
    /// pages, and note a length once a page is written: it ends where a page or what was written does.
    pub(super) fn length(&self, choice: impl FnMut(usize) -> usize) -> usize {
        let extent = self.extent(choice);
        self.lengths().into_iter().find(|length| *length >= extent).unwrap_or(extent)
    }

    /// The lengths that the file may have after a power cut, shortest first: the device's, those
    /// that a write under way goes through, and the newest.
    pub(super) fn lengths(&self) -> Vec<usize> {
        let (shortest, longest) = (self.durable.len(), self.longest());
        let first = (shortest / PAGE_BYTES + 1) * PAGE_BYTES;
        let between = (first..longest).step_by(PAGE_BYTES);
        let longest = (longest > shortest).then_some(longest);
        std::iter::once(shortest).chain(between).chain(longest).collect()
    }

    /// The dirty sectors that a power cut decides on, each with the choices that differ: by the
    /// first, which is 0, it stays as the device has it.
    pub(super) fn undecided_sectors(&self) -> impl Iterator<Item = (usize, Vec<usize>)> {
        self.dirty.keys().filter_map(|&sector| {
            let mut choices: Vec<usize> = vec![0];
            for choice in (1..=self.newest(sector)).rev() {
                let is_new =
                    |other: &usize| !is_same(self.held(sector, *other), self.held(sector, choice));
                if choices.iter().all(is_new) {
                    choices.push(choice);
                }
            }
            choices.sort_unstable();
            (choices.len() > 1).then_some((sector, choices))
        })
    }

    /// Whether a file of `length` bytes shows which choice of `sector` was made.
    pub(super) fn shows(&self, sector: usize, choices: &[usize], length: usize) -> bool {
        let room = length.saturating_sub(sector * SECTOR_BYTES);
        let cut = |choice: usize| {
            let held = self.held(sector, choice);
            &held[..held.len().min(room)]
        };
        choices.iter().any(|choice| !is_same(cut(0), cut(*choice)))
    }

    /// What the device holds after a power cut: `length` bytes, and of each dirty sector `choice`.
    /// What was never written are zeros.
    pub(super) fn image(
        &self,
        length: usize,
        mut choice: impl FnMut(usize) -> usize,
    ) -> Arc<Vec<u8>> {
        let mut image = Arc::clone(&self.durable);
        if length != image.len() {
            Arc::make_mut(&mut image).resize(length, 0);
        }
        for &sector in self.dirty.keys() {
            let (start, choice) = (sector * SECTOR_BYTES, choice(sector));
            if choice == 0 || start >= length {
                continue;
            }
            let end = (start + SECTOR_BYTES).min(length);
            let held = self.held(sector, choice);
            let held = &held[..held.len().min(end - start)];
            let place = &mut Arc::make_mut(&mut image)[start..end];
            place[..held.len()].copy_from_slice(held);
            place[held.len()..].fill(0);
        }
        image
    }
}

/// The bytes of a sector, as far as the file reaches.
fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    &bytes[start..(start + SECTOR_BYTES).min(bytes.len())]
}

/// Whether two sectors are the same, filled up with zeros.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let common = a.len().min(b.len());
    a[..common] == b[..common] && a[common..].iter().chain(&b[common..]).all(|byte| *byte == 0)
}
