//! What is done to a sample: every damage has a number, so that a pass does each once.
//!
//! Bits are flipped and files cut one by one. Pieces of 512 bytes, of 4 KiB and whole blocks of tables
//! are copied over each other and exchanged, within files and across, each with each. Copies of equal
//! pieces are one damage, and what changes nothing is none.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::sample::Sample;
use super::shelf::Files;
use crate::engine::storage::sim::Random;

/// Sizes of pieces: a sector, and a block of a journal or a page. What is left at the end of a file is
/// a piece of the first size for which it is one.
const PIECES: [Range<usize>; 2] = [0..512, 512..4096];
/// By how many bytes files are grown.
const GROWTHS: [usize; 4] = [1, 72, 512, 4096];
/// A table's last bytes, which are no block.
const FOOTER_BYTES: usize = 72;
/// What follows a block: its compression and its checksum.
const TRAILER_BYTES: usize = 5;

/// A place in a file, by the file's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) range: Range<usize>,
}

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Damage {
    Flip {
        file: usize,
        offset: usize,
        bit: u32,
    },
    Cut {
        file: usize,
        bytes: usize,
    },
    /// Bytes are appended: zeros or noise.
    Grow {
        file: usize,
        bytes: usize,
        noise: bool,
    },
    Delete {
        file: usize,
    },
    /// Two files of one kind have each other's bytes.
    Exchange {
        files: [usize; 2],
    },
    /// A file is what it was earlier.
    Restore {
        earlier: usize,
    },
    /// One place has another one's bytes as well, as far as they go.
    Copy {
        from: Place,
        to: Place,
    },
    /// Two places have each other's bytes, as far as the shorter goes.
    Swap {
        places: [Place; 2],
    },
}

/// Numbers that belong together.
enum Stretch {
    Flips { file: usize, bytes: usize },
    Cuts { file: usize, bytes: usize },
    Listed(Vec<Damage>),
    Copies { places: Vec<Place>, sources: Vec<usize> },
    Swaps { places: Vec<Place> },
}

impl Stretch {
    fn len(&self) -> usize {
        match self {
            Stretch::Flips { bytes, .. } => 8 * bytes,
            Stretch::Cuts { bytes, .. } => *bytes,
            Stretch::Listed(damages) => damages.len(),
            Stretch::Copies { places, sources } => places.len() * sources.len(),
            Stretch::Swaps { places } => places.len() * places.len().saturating_sub(1) / 2,
        }
    }

    fn damage(&self, at: usize) -> Option<Damage> {
        match self {
            Stretch::Flips { file, .. } => {
                Some(Damage::Flip { file: *file, offset: at / 8, bit: (at % 8) as u32 })
            }
            Stretch::Cuts { file, .. } => Some(Damage::Cut { file: *file, bytes: at }),
            Stretch::Listed(damages) => damages.get(at).cloned(),
            Stretch::Copies { places, sources } => {
                let from = places.get(*sources.get(at / places.len())?)?.clone();
                let to = places.get(at % places.len())?.clone();
                Some(Damage::Copy { from, to })
            }
            Stretch::Swaps { places } => {
                let (low, high) = pair(at);
                Some(Damage::Swap { places: [places.get(low)?.clone(), places.get(high)?.clone()] })
            }
        }
    }
}

/// The pair number `at` of those in which the first is less than the second.
fn pair(at: usize) -> (usize, usize) {
    let mut high = (2 * at).isqrt();
    while high * high.saturating_sub(1) / 2 > at {
        high -= 1;
    }
    while (high + 1) * high / 2 <= at {
        high += 1;
    }
    (at - high * (high - 1) / 2, high)
}

/// All that can be done to a sample.
pub(super) struct Plan {
    stretches: Vec<Stretch>,
}

impl Plan {
    pub(super) fn new(sample: &Sample) -> Self {
        let mut stretches = Vec::new();
        for (file, bytes) in sample.files.values().enumerate() {
            stretches.push(Stretch::Flips { file, bytes: bytes.len() });
            stretches.push(Stretch::Cuts { file, bytes: bytes.len() });
        }
        stretches.push(Stretch::Listed(whole_files(sample)));
        for places in PIECES.iter().map(|sizes| pieces(sample, sizes)).chain([blocks(sample)]) {
            let sources = different(sample, &places);
            stretches.push(Stretch::Swaps { places: places.clone() });
            stretches.push(Stretch::Copies { places, sources });
        }
        Plan { stretches }
    }

    pub(super) fn len(&self) -> usize {
        self.stretches.iter().map(Stretch::len).sum()
    }

    /// Damage number `at`.
    pub(super) fn damage(&self, mut at: usize) -> Option<Damage> {
        for stretch in &self.stretches {
            if at < stretch.len() {
                return stretch.damage(at);
            }
            at -= stretch.len();
        }
        None
    }
}

/// The part of a name that tells what kind of file it is.
pub(super) fn kind(name: &str) -> &str {
    match name {
        "CURRENT" => "CURRENT",
        name if name.starts_with("MANIFEST") => "manifest",
        name if name.strip_suffix(".wal").is_some() => "log",
        name if name.strip_suffix(".sst").is_some() => "table",
        _ => "other",
    }
}

/// Damages of whole files.
pub(super) fn whole_files(sample: &Sample) -> Vec<Damage> {
    let names: Vec<&String> = sample.files.keys().collect();
    let mut damages = Vec::new();
    for (file, name) in names.iter().enumerate() {
        damages.push(Damage::Delete { file });
        for bytes in GROWTHS {
            damages.push(Damage::Grow { file, bytes, noise: false });
            damages.push(Damage::Grow { file, bytes, noise: true });
        }
        let others = (file + 1..names.len()).filter(|other| kind(names[*other]) == kind(name));
        damages.extend(others.map(|other| Damage::Exchange { files: [file, other] }));
    }
    damages.extend((0..sample.earlier.len()).map(|earlier| Damage::Restore { earlier }));
    damages
}

/// All files in pieces of the greater size; what is not longer than the lesser one is left out.
fn pieces(sample: &Sample, sizes: &Range<usize>) -> Vec<Place> {
    let mut places = Vec::new();
    for (file, content) in sample.files.values().enumerate() {
        for start in (0..content.len()).step_by(sizes.end) {
            let range = start..content.len().min(start + sizes.end);
            if range.len() > sizes.start {
                places.push(Place { file, range });
            }
        }
    }
    places
}

/// The blocks of all tables, with their trailers.
fn blocks(sample: &Sample) -> Vec<Place> {
    let mut places = Vec::new();
    for (file, (name, bytes)) in sample.files.iter().enumerate() {
        let Some(id) = name.strip_suffix(".sst").and_then(|id| id.parse().ok()) else { continue };
        places.extend(blocks_of(id, bytes).into_iter().map(|range| Place { file, range }));
    }
    places
}

/// Where the blocks of table `id` are: nothing stands between them, and each is followed by a
/// checksum over id, place and content, as `docs/format.md` says.
pub(super) fn blocks_of(id: u64, bytes: &[u8]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut start = 0;
    let end = bytes.len().saturating_sub(FOOTER_BYTES);
    while start < end {
        let mut place = id.to_le_bytes().to_vec();
        place.extend_from_slice(&(start as u64).to_le_bytes());
        let mut checksum = crc32c::crc32c(&place);
        let trailer_at = (start..end).find(|at| {
            checksum = crc32c::crc32c_append(checksum, &bytes[*at..=*at]);
            let masked = checksum.rotate_right(15).wrapping_add(0xa282_ead8);
            bytes.get(at + 1..at + TRAILER_BYTES) == Some(&masked.to_le_bytes()[..])
        });
        let Some(at) = trailer_at else { break };
        blocks.push(start..at + TRAILER_BYTES);
        start = at + TRAILER_BYTES;
    }
    blocks
}

/// Of places with the same content, the first.
fn different(sample: &Sample, places: &[Place]) -> Vec<usize> {
    let files: Vec<&Arc<Vec<u8>>> = sample.files.values().collect();
    let mut seen = HashMap::new();
    for (at, place) in places.iter().enumerate() {
        seen.entry(&files[place.file][place.range.clone()]).or_insert(at);
    }
    let mut sources: Vec<usize> = seen.into_values().collect();
    sources.sort_unstable();
    sources
}

/// A sample with a damage.
pub(super) struct Damaged {
    pub(super) files: Files,
    /// The files that are not as they were.
    pub(super) names: Vec<String>,
}

impl Damage {
    /// Damages `sample`; `None` if that changes nothing.
    pub(super) fn apply(&self, sample: &Sample) -> Option<Damaged> {
        let mut files = sample.files.clone();
        let name = |file: usize| sample.files.keys().nth(file).cloned().unwrap_or_default();
        let bytes = |file: usize| {
            sample.files.values().nth(file).map(|bytes| bytes.to_vec()).unwrap_or_default()
        };
        let mut put = |file: usize, bytes: Vec<u8>| files.insert(name(file), Arc::new(bytes));
        match self {
            Damage::Flip { file, offset, bit } => {
                let mut bytes = bytes(*file);
                *bytes.get_mut(*offset)? ^= 1 << bit;
                put(*file, bytes);
            }
            Damage::Cut { file, bytes: length } => {
                let mut bytes = bytes(*file);
                bytes.truncate(*length);
                put(*file, bytes);
            }
            Damage::Grow { file, bytes: more, noise } => {
                let (mut bytes, mut random) = (bytes(*file), Random(1));
                bytes.extend((0..*more).map(|_| if *noise { random.below(256) as u8 } else { 0 }));
                put(*file, bytes);
            }
            Damage::Delete { file } => {
                files.remove(&name(*file));
            }
            Damage::Exchange { files: [a, b] } => {
                let (a_bytes, b_bytes) = (bytes(*a), bytes(*b));
                put(*a, b_bytes);
                put(*b, a_bytes);
            }
            Damage::Restore { earlier } => {
                let (name, bytes) = sample.earlier.get(*earlier)?;
                files.insert(name.clone(), Arc::clone(bytes));
            }
            Damage::Copy { from, to } => {
                let (source, mut target) = (bytes(from.file), bytes(to.file));
                overwrite(&mut target, to, source.get(from.range.clone())?);
                put(to.file, target);
            }
            Damage::Swap { places: [a, b] } => {
                let (a_old, b_old) = (bytes(a.file), bytes(b.file));
                let (mut a_bytes, mut b_bytes) = (a_old.clone(), b_old.clone());
                overwrite(&mut a_bytes, a, b_old.get(b.range.clone())?);
                if a.file == b.file {
                    b_bytes.clone_from(&a_bytes);
                }
                overwrite(&mut b_bytes, b, a_old.get(a.range.clone())?);
                put(a.file, a_bytes);
                put(b.file, b_bytes);
            }
        }
        let differs = |name: &&String| files.get(*name) != sample.files.get(*name);
        let names: Vec<String> = sample.files.keys().filter(differs).cloned().collect();
        (!names.is_empty()).then_some(Damaged { files, names })
    }

    /// The places that get other bytes.
    pub(super) fn places(&self) -> Vec<Place> {
        let whole = |file: &usize| Place { file: *file, range: 0..usize::MAX };
        match self {
            Damage::Flip { file, offset, .. } => {
                vec![Place { file: *file, range: *offset..offset + 1 }]
            }
            Damage::Cut { file, bytes } => {
                vec![Place { file: *file, range: *bytes..usize::MAX }]
            }
            Damage::Delete { file } => vec![whole(file)],
            Damage::Exchange { files } => files.iter().map(whole).collect(),
            Damage::Copy { to, .. } => vec![to.clone()],
            Damage::Swap { places } => places.to_vec(),
            Damage::Grow { .. } | Damage::Restore { .. } => Vec::new(),
        }
    }
}

fn overwrite(bytes: &mut [u8], place: &Place, source: &[u8]) {
    let target = bytes.get_mut(place.range.clone()).unwrap_or_default();
    let length = target.len().min(source.len());
    target[..length].copy_from_slice(&source[..length]);
}
