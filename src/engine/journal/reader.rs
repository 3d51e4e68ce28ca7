//! Decides over a whole journal what is history, what is a torn tail, and what is damage.
//!
//! A pure function over bytes. At the first group that is not whole, at X, the rest of the file is
//! probed: a later whole group of this use of the file that says "X was synced when I was written"
//! proves that X was acknowledged and then damaged, and nothing may be guessed: an error. So does a
//! header of X's group or a later one that stands in the wrong place. Without such proof X is the
//! tail that a crash tore; nobody was told that it was durable. The reader must never skip a group and
//! go on behind it, for recovery yields a prefix.

use super::Purpose;
use super::format::{
    BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHeader, GroupKind, Header, HeaderBlock, VERSION,
    group_bytes, payload_crc,
};
use crate::engine::coding::{get_u32, get_u64};
use crate::engine::error::{Error, Result};
use crate::engine::key::{MAX_NUMBER, Seq};
use crate::planted::{Bug, is_planted};

/// What a device writes at once, at least; a group's header is in one of them.
const SECTOR_BYTES: usize = 512;

/// A group that is whole.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The sequence number of its first record.
    pub(crate) first_seq: Seq,
    /// How many records it holds.
    pub(crate) count: u32,
    /// Where it starts in the file, in bytes.
    pub(crate) offset: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    /// The records.
    pub(crate) payload: &'a [u8],
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing behind the last group.
    Clean,
    /// A group had been begun and is not whole; it was not acknowledged.
    Torn,
    /// The journal is complete and another one goes on.
    Continues {
        /// Its id.
        id: u64,
        /// How many blocks its file has, if the end says so: those of earlier builds do not.
        blocks: Option<u32>,
    },
}

/// A journal's history.
#[derive(Debug)]
pub(crate) struct Journal<'a> {
    /// The groups that hold records, in order.
    pub(crate) groups: Vec<Group<'a>>,
    /// Where the next group would start, in bytes.
    pub(crate) end: u64,
    /// The number that the next group would have.
    pub(crate) next_group: u64,
    /// The header checksum of the last group, or the header's `previous_crc`.
    pub(crate) last_crc: u32,
    /// How it ends.
    pub(crate) ending: Ending,
}

/// Reads the header of the journal `name`, which is numbered `id`. `None` means that the file was
/// prepared (or recycled) for later use and holds no history.
///
/// # Errors
/// `Corrupt` if the header is damaged but groups were written behind it; `UnknownFormat`.
pub(crate) fn read_header(
    name: &str,
    bytes: &[u8],
    id: u64,
    purpose: Purpose,
) -> Result<Option<Header>> {
    match Header::decode(bytes) {
        HeaderBlock::Valid(header) if header.id == id && header.purpose == purpose => {
            return Ok(Some(header));
        }
        HeaderBlock::UnknownVersion(version) => {
            return Err(Error::UnknownFormat { file: name.into(), version, supported: VERSION });
        }
        HeaderBlock::Valid(_) | HeaderBlock::Blank | HeaderBlock::Invalid => {}
    }
    // The header is synced before the first group is written, so a group that was written under
    // this id means that there had been a header.
    match boundaries(bytes, BLOCK_BYTES as u64).find_map(|at| whole_header(bytes, id, at)) {
        Some(_) => Err(Error::corrupt(name, 0, "the file header is damaged")),
        None => Ok(None),
    }
}

/// Reads the groups of a journal. `known_end` is where its successor says that it ends.
///
/// # Errors
/// `Corrupt`, naming the offset of the first group that is not what was acknowledged.
pub(crate) fn open<'a>(
    name: &str,
    bytes: &'a [u8],
    header: &Header,
    known_end: Option<u64>,
) -> Result<Journal<'a>> {
    let (journal, outcome) = open_prefix(name, bytes, header, known_end);
    outcome.map(|()| journal)
}

/// As [`open`], but what stands before the damage is returned as well.
pub(crate) fn open_prefix<'a>(
    name: &str,
    bytes: &'a [u8],
    header: &Header,
    known_end: Option<u64>,
) -> (Journal<'a>, Result<()>) {
    let mut journal = Journal {
        groups: Vec::new(),
        end: BLOCK_BYTES as u64,
        next_group: header.first_group,
        last_crc: header.previous_crc,
        ending: Ending::Clean,
    };
    let outcome = journal.read(name, bytes, header, known_end);
    (journal, outcome)
}

impl<'a> Journal<'a> {
    fn read(
        &mut self,
        name: &str,
        bytes: &'a [u8],
        header: &Header,
        known_end: Option<u64>,
    ) -> Result<()> {
        let mut next_seq = header.first_seq;
        if header.first_group == 0 || header.first_group.max(next_seq) > MAX_NUMBER {
            let what = "the file header holds a number that was never given out";
            return Err(Error::corrupt(name, 0, what));
        }
        while self.ending == Ending::Clean && known_end.is_none_or(|end| self.end < end) {
            let Some((group, crc, payload)) = whole_group(bytes, header, self.end) else {
                self.ending = tail(name, bytes, header, self, known_end)?;
                break;
            };
            let in_order = group.group == self.next_group
                && group.previous_crc == self.last_crc
                && group.first_seq == next_seq;
            if !in_order || group.group == MAX_NUMBER || next_seq > MAX_NUMBER {
                return Err(Error::corrupt(
                    name,
                    self.end,
                    "the group is not the one that follows",
                ));
            }
            next_seq += u64::from(group.count);
            self.take(name, &group, crc, payload)?;
        }
        if known_end.is_some_and(|end| end != self.end) {
            return Err(Error::corrupt(name, self.end, "groups are missing here"));
        }
        if (bytes.len() as u64) < header.file_bytes() {
            let what = format!("the file had {} bytes and was cut", header.file_bytes());
            return Err(Error::corrupt(name, bytes.len() as u64, what));
        }
        Ok(())
    }

    fn take(&mut self, name: &str, group: &GroupHeader, crc: u32, payload: &'a [u8]) -> Result<()> {
        let offset = self.end;
        match group.kind {
            GroupKind::Data => self.groups.push(Group {
                first_seq: group.first_seq,
                count: group.count,
                offset,
                time_ms: group.time_ms,
                payload,
            }),
            GroupKind::Seal => {}
            GroupKind::End => {
                let id = get_u64(payload, 0)
                    .ok_or_else(|| Error::corrupt(name, offset, "the end names no successor"))?;
                self.ending = Ending::Continues { id, blocks: get_u32(payload, 8) };
            }
        }
        self.end += group_bytes(payload.len()) as u64;
        self.next_group = group.group + 1;
        self.last_crc = crc;
        Ok(())
    }
}

/// What the bytes from `journal.end` on are, given that no whole group starts there.
fn tail(
    name: &str,
    bytes: &[u8],
    header: &Header,
    journal: &Journal<'_>,
    known_end: Option<u64>,
) -> Result<Ending> {
    let at = journal.end;
    let later = boundaries(bytes, at + BLOCK_BYTES as u64)
        .filter_map(|at| whole_header(bytes, header.id, at))
        .find(|later| later.epoch == header.epoch && later.synced_group >= journal.next_group);
    let is_displaced = is_displaced(bytes, header, at, journal.next_group);
    let is_proved = later.is_some() || is_displaced;
    if (is_proved && !is_planted(Bug::DamageIsTorn)) || known_end.is_some() {
        return Err(Error::corrupt(name, at, "a group that had been synced is damaged"));
    }
    let begun = bytes.get(at as usize..).is_some_and(|rest| {
        GroupHeader::looks_begun(rest, header.epoch, journal.next_group, journal.last_crc)
    });
    Ok(if begun { Ending::Torn } else { Ending::Clean })
}

/// Whether the header of group `group` or a later one stands at or behind `at`, and not where it belongs:
/// then blocks or sectors have changed places. No write does that, torn or not.
fn is_displaced(bytes: &[u8], header: &Header, at: u64, group: u64) -> bool {
    let belongs_at = |stands_at: u64, place: u64| {
        let rest = bytes.get(stands_at as usize..)?;
        GroupHeader::decode(rest, header.id, place)
    };
    (at..bytes.len() as u64)
        .step_by(SECTOR_BYTES)
        .filter(|stands_at| {
            let rest = bytes.get(*stands_at as usize..).unwrap_or_default();
            GroupHeader::claims(rest, header.epoch).is_some_and(|claimed| claimed >= group)
        })
        .filter(|stands_at| belongs_at(*stands_at, *stands_at).is_none())
        .any(|stands_at| {
            boundaries(bytes, BLOCK_BYTES as u64)
                .any(|place| belongs_at(stands_at, place).is_some())
        })
}

/// The group at `offset`, if all of it is there and belongs to this use of the file.
fn whole_group<'a>(
    bytes: &'a [u8],
    header: &Header,
    offset: u64,
) -> Option<(GroupHeader, u32, &'a [u8])> {
    let rest = bytes.get(offset as usize..)?;
    let (group, crc) = GroupHeader::decode(rest, header.id, offset)?;
    let payload = rest.get(GROUP_HEADER_BYTES..)?.get(..group.length as usize)?;
    let whole = group.epoch == header.epoch
        && payload_crc(header.id, header.epoch, offset, payload) == group.payload_crc;
    whole.then_some((group, crc, payload))
}

fn whole_header(bytes: &[u8], id: u64, offset: u64) -> Option<GroupHeader> {
    let (group, _) = GroupHeader::decode(bytes.get(offset as usize..)?, id, offset)?;
    Some(group)
}

/// The offsets, from `from` on, at which a group could start.
fn boundaries(bytes: &[u8], from: u64) -> impl Iterator<Item = u64> {
    (from..bytes.len() as u64).step_by(BLOCK_BYTES)
}

#[cfg(test)]
mod tests;
