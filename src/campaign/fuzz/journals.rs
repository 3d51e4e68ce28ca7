//! The reader of log segments and manifests, the records of the log and the edits of a manifest.
//!
//! A journal is put together here from what the input chooses, by `docs/format.md` and not by the
//! engine's writer. It is read in two ways: damaged (bits, bytes, blocks, the end), where what comes
//! out must be exactly the groups before the first damaged one, or an error if a later group proves
//! that one to have been synced; and forged, with any numbers under valid checksums, where a naive
//! reader decides.

use super::naive_journal::{self, Forged, Group};
use super::source::Source;
use crate::engine::internals::{JournalHistory, decode_writes, read_journal, reread_edit};

/// The journal's number.
const ID: u64 = 7;
/// The most groups.
const MOST_GROUPS: usize = 12;
const BLOCK: usize = 4096;

/// A journal, damaged or forged.
pub(super) fn check(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    match source.u8() % 4 {
        0 => check_forged(&mut source),
        1 => check_anything(source.rest()),
        _ => check_damaged(&mut source, read),
    }
}

type Read = fn(&[u8], bool) -> Result<Option<JournalHistory>, String>;

fn read(bytes: &[u8], is_manifest: bool) -> Result<Option<JournalHistory>, String> {
    read_journal(bytes, ID, is_manifest).map_err(|error| error.to_string())
}

/// Reads bytes of any kind, which the naive reader must agree with.
fn check_anything(bytes: &[u8]) -> Result<u64, String> {
    compare(bytes, false)?;
    compare(bytes, true)
}

fn compare(bytes: &[u8], is_manifest: bool) -> Result<u64, String> {
    let expected = naive_journal::read(bytes, ID, is_manifest);
    let found = read(bytes, is_manifest);
    match (&found, &expected) {
        (Ok(found), Ok(expected)) if found == expected => Ok(0),
        (Err(_), Err(_)) => Ok(0),
        _ => Err(format!("read as {found:?}, and not as {expected:?}")),
    }
}

/// Groups with any numbers, under valid checksums.
fn check_forged(source: &mut Source<'_>) -> Result<u64, String> {
    let is_manifest = source.one_in(2);
    let mut forged = Forged::new(ID, is_manifest);
    forged.epoch = source.number();
    forged.first_group = source.number();
    forged.first_seq = source.number();
    let mut bytes = forged.header();
    let mut next = Group::first(&forged);
    for _ in 0..source.below(MOST_GROUPS) {
        let mut group = next.clone();
        group.payload = source.word(40).to_vec();
        group.kind = 1 + u32::from(source.u8()) % 4;
        group.count = source.number() as u32;
        match source.u8() % 8 {
            0 => group.number = source.number(),
            1 => group.first_seq = source.number(),
            2 => group.previous_crc ^= 1,
            3 => group.epoch = source.number(),
            4 => group.synced = source.number(),
            5 => bytes.extend(std::iter::repeat_n(0, BLOCK * source.below(3))),
            _ => {}
        }
        let crc = group.append_to(&mut bytes, ID);
        next = group.successor(crc);
    }
    compare(&bytes, is_manifest)
}

/// A written group, and where it stands.
struct Written {
    group: Group,
    start: usize,
    end: usize,
}

/// A journal as the engine writes it, and one kind of damage, which no checksum can miss.
fn check_damaged(source: &mut Source<'_>, read: Read) -> Result<u64, String> {
    let is_manifest = source.one_in(2);
    let forged = Forged::new(ID, is_manifest);
    let mut bytes = forged.header();
    let mut written: Vec<Written> = Vec::new();
    let mut next = Group::first(&forged);
    let mut synced = next.number - 1;
    for _ in 0..=source.below(MOST_GROUPS) {
        let mut group = next.clone();
        let choice = source.u8();
        group.kind = if choice.is_multiple_of(4) { 2 } else { 1 };
        group.synced = synced;
        if group.kind == 1 {
            group.payload = source.word(40).to_vec();
            // Some are longer than a block.
            group.payload.resize(group.payload.len() + usize::from(choice & 64) * 80, choice);
            group.count = u32::from(choice % 3) + 1;
        }
        if choice & 128 == 0 {
            synced = group.number;
        }
        let start = bytes.len();
        let crc = group.append_to(&mut bytes, ID);
        next = group.successor(crc);
        written.push(Written { end: start + 72 + group.payload.len(), group, start });
    }
    let blanks = BLOCK * source.below(3);
    bytes.resize(bytes.len() + blanks, 0);
    let whole = bytes.clone();
    damage(&mut bytes, source);
    let expected = survivors(&whole, &bytes, &written);
    let found = read(&bytes, is_manifest);
    let is_right = match (&found, &expected) {
        (Ok(Some(found)), Outcome::Groups(groups)) => found.groups == *groups,
        (Ok(None), Outcome::Unused) | (Err(_), Outcome::Refused) => true,
        _ => false,
    };
    if is_right {
        return compare(&bytes, is_manifest);
    }
    Err(format!("read as {found:?}, and not as {expected:?}"))
}

/// What must come of a damaged journal.
#[derive(Debug)]
enum Outcome {
    /// These groups of records.
    Groups(Vec<(u64, u32, Vec<u8>)>),
    /// It looks as if it had never been used.
    Unused,
    Refused,
}

/// What must come out of it.
fn survivors(whole: &[u8], damaged: &[u8], written: &[Written]) -> Outcome {
    let is_intact = |start: usize, end: usize| damaged.get(start..end) == whole.get(start..end);
    let has_header = |one: &Written| is_intact(one.start, one.start + 72);
    if !is_intact(0, 76) {
        return if written.iter().any(has_header) { Outcome::Refused } else { Outcome::Unused };
    }
    let first_lost = written.iter().position(|one| !is_intact(one.start, one.end));
    let kept = &written[..first_lost.unwrap_or(written.len())];
    if let Some(at) = first_lost {
        let number = written[at].group.number;
        let proves = |one: &Written| has_header(one) && one.group.synced >= number;
        if written[at + 1..].iter().any(proves) || is_displaced(whole, damaged, &written[at..]) {
            return Outcome::Refused;
        }
    }
    let data = kept.iter().filter(|one| one.group.kind == 1).map(|one| &one.group);
    Outcome::Groups(data.map(|g| (g.first_seq, g.count, g.payload.clone())).collect())
}

/// Whether the header of one of `written` stands behind the start of the first, and not in its place.
fn is_displaced(whole: &[u8], damaged: &[u8], written: &[Written]) -> bool {
    let start = written.first().map_or(damaged.len(), |lost| lost.start);
    let header = |one: &Written| whole.get(one.start..one.start + 72);
    let stands_at = |one: &Written, at: usize| damaged.get(at..at + 72) == header(one);
    (start..damaged.len())
        .step_by(512)
        .any(|at| written.iter().any(|one| at != one.start && stands_at(one, at)))
}

/// One kind of damage: up to three bits, two bytes, the end, a block that is zero or in the wrong
/// place. A checksum finds each of the first for certain, and knows the place of the last.
fn damage(bytes: &mut Vec<u8>, source: &mut Source<'_>) {
    let blocks = bytes.len() / BLOCK;
    match source.u8() % 6 {
        0 => {
            for _ in 0..=source.below(3) {
                let at = source.below(bytes.len());
                bytes[at] ^= 1 << (source.u8() % 8);
            }
        }
        1 => {
            // In the first bytes of a block: headers.
            let at = source.below(blocks) * BLOCK + source.below(76);
            bytes[at] = source.u8();
            bytes[at + 1] = source.u8();
        }
        2 => bytes.truncate(source.below(bytes.len())),
        3 => {
            let at = source.below(blocks) * BLOCK;
            bytes[at..at + BLOCK].fill(0);
        }
        4 => {
            let (from, to) = (source.below(blocks) * BLOCK, source.below(blocks) * BLOCK);
            bytes.copy_within(from..from + BLOCK, to);
        }
        _ => {}
    }
}

/// The records of a group of the log.
pub(super) fn check_records(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let count = source.number() as u32;
    let payload = source.rest();
    let (found, expected) = (decode_writes(payload, count), naive_journal::records(payload, count));
    if found == expected {
        return Ok(0);
    }
    Err(format!("{count} records read as {found:?}, and not as {expected:?}"))
}

/// Edits of a manifest: what is read and written again reads the same.
pub(super) fn check_edit(input: &[u8]) -> Result<u64, String> {
    let Ok(once) = reread_edit(input) else { return Ok(0) };
    let twice = reread_edit(&once);
    if twice.as_ref() == Ok(&once) && once.len() <= input.len() {
        return Ok(0);
    }
    Err(format!("an edit was written as {once:?}, and that as {twice:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_skips_or_trusts_is_found() {
        // Three synced groups; a flipped bit in the second.
        let input = [0, 2, 1, 2, b'a', b'b', 1, 1, b'c', 1, 1, b'd', 0, 0, 0, 0x51, 0x20, 0, 0, 1];
        let check = |read: Read| check_damaged(&mut Source::new(&input), read);
        assert_eq!(check(read), Ok(0));
        assert!(read_damaged().is_err(), "the damage is found");
        let empty: Read = |_, _| {
            let history =
                JournalHistory { groups: vec![], end: 4096, is_torn: false, successor: None };
            Ok(Some(history))
        };
        assert!(check(empty).is_err(), "an empty history is none");
        assert!(check(|_, _| Ok(None)).is_err(), "nor is an unused file");
    }

    fn read_damaged() -> Result<Option<JournalHistory>, String> {
        let forged = Forged::new(ID, false);
        let mut bytes = forged.header();
        let mut next = Group::first(&forged);
        for number in 0..3 {
            let mut group = next.clone();
            group.payload = vec![number; 10];
            group.synced = group.number - 1;
            let crc = group.append_to(&mut bytes, ID);
            next = group.successor(crc);
        }
        bytes[2 * BLOCK + 75] ^= 1;
        read(&bytes, false)
    }

    #[test]
    fn the_naive_reader_reads_what_is_whole() {
        let forged = Forged::new(ID, true);
        let mut bytes = forged.header();
        let mut group = Group::first(&forged);
        group.payload = b"edit".to_vec();
        group.count = 1;
        group.append_to(&mut bytes, ID);
        assert_eq!(compare(&bytes, true), Ok(0));
        let read = naive_journal::read(&bytes, ID, true).unwrap().unwrap();
        assert_eq!(read.groups, [(1, 1, b"edit".to_vec())]);
    }
}
