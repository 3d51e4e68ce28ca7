//! What the reader makes of whole, torn, cut and damaged journals.

use super::*;
use crate::engine::documented::documented;
use crate::engine::journal::{GroupBuffer, JournalWriter};
use crate::engine::key::Kind;
use crate::engine::storage::Storage;
use crate::engine::storage::sim::SimStorage;
use crate::engine::wal::encode_write;

const NAME: &str = "000007.wal";
const EPOCH: u64 = 0x5eed;

fn header() -> Header {
    Header {
        purpose: Purpose::Wal,
        id: 7,
        epoch: EPOCH,
        first_group: 3,
        first_seq: 10,
        previous_id: 0,
        previous_end: 0,
        previous_crc: 0,
        blocks: 0,
    }
}

/// A journal with one group per payload, one write per group, each synced before the next is
/// written, or none synced; then, if asked for, a seal.
fn journal(payloads: &[&[u8]], synced: bool, seal: bool) -> Vec<u8> {
    let storage = SimStorage::new(1);
    let file = storage.create(NAME).unwrap();
    file.write_all_at(&vec![0; 16 * BLOCK_BYTES], 0).unwrap();
    let mut writer = JournalWriter::start(file, NAME.into(), &header()).unwrap();
    for (seq, payload) in (10..).zip(payloads) {
        let mut buffer = GroupBuffer::new();
        buffer.push(|out| out.extend_from_slice(payload));
        writer.append(GroupKind::Data, seq, 0, &mut buffer).unwrap();
        if synced {
            writer.sync().unwrap();
        }
    }
    if seal {
        let seq = 10 + payloads.len() as u64;
        writer.append(GroupKind::Seal, seq, 0, &mut GroupBuffer::new()).unwrap();
    }
    storage.read_file(NAME).unwrap()
}

fn read(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, Ending)> {
    let header = read_header(NAME, bytes, 7, Purpose::Wal)?;
    let journal = open(NAME, bytes, &header.expect("a header"), None)?;
    Ok((journal.groups.iter().map(|group| group.payload.to_vec()).collect(), journal.ending))
}

fn damaged_at(bytes: &[u8]) -> u64 {
    match read(bytes) {
        Err(Error::Corrupt { offset, .. }) => offset,
        other => panic!("{other:?} instead of damage"),
    }
}

const BLOCK: usize = BLOCK_BYTES;

#[test]
fn groups_read_back_in_order() {
    let long = vec![9; 3 * BLOCK];
    let bytes = journal(&[b"one", &long, b""], true, true);
    let (groups, ending) = read(&bytes).unwrap();
    assert_eq!(groups, [b"one".to_vec(), long, b"".to_vec()]);
    assert_eq!(ending, Ending::Clean);
}

#[test]
fn the_torn_last_group_is_dropped_and_reported() {
    let long = vec![9; 2 * BLOCK];
    let bytes = journal(&[b"one", &long], true, false);
    for lost in [2, 3, 4] {
        let mut torn = bytes.clone();
        torn[lost * BLOCK..(lost + 1) * BLOCK].fill(0);
        let (groups, ending) = read(&torn).unwrap();
        assert_eq!(groups, [b"one"], "block {lost} lost");
        // Without its first block, a torn group leaves no trace that could be told from old bytes.
        assert_eq!(ending, if lost == 2 { Ending::Clean } else { Ending::Torn });
    }
}

#[test]
fn damage_before_a_later_synced_group_is_refused() {
    let bytes = journal(&[b"one", b"two", b"three"], true, false);
    let flips = [BLOCK, BLOCK + 30, BLOCK + 71, BLOCK + 72, 2 * BLOCK + 20];
    for at in flips {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert_eq!(damaged_at(&flipped), (at / BLOCK * BLOCK) as u64, "flip at {at}");
    }
}

#[test]
fn any_flip_in_the_last_group_is_told_from_a_clean_end() {
    let bytes = journal(&[b"one", b"two"], true, false);
    for bit in 0..(GROUP_HEADER_BYTES + 3) * 8 {
        let mut flipped = bytes.clone();
        flipped[2 * BLOCK + bit / 8] ^= 1 << (bit % 8);
        let (groups, ending) = read(&flipped).unwrap();
        assert_eq!((groups, ending), (vec![b"one".to_vec()], Ending::Torn), "bit {bit}");
    }
}

#[test]
fn a_seal_makes_damage_to_the_last_group_visible() {
    let mut bytes = journal(&[b"one", b"two"], true, true);
    bytes[2 * BLOCK + 73] ^= 1;
    assert_eq!(damaged_at(&bytes), 2 * BLOCK as u64);
}

#[test]
fn without_syncs_between_them_later_groups_prove_nothing() {
    let mut bytes = journal(&[b"one", b"two", b"three"], false, false);
    bytes[2 * BLOCK..3 * BLOCK].fill(0);
    let (groups, _) = read(&bytes).unwrap();
    assert_eq!(groups, [b"one"], "a prefix, with nothing from behind the gap");
}

#[test]
fn groups_of_an_earlier_use_of_the_file_are_not_read() {
    let old = journal(&[b"old one", b"old two", b"old three"], true, true);
    let storage = SimStorage::new(1);
    storage.write_file(NAME, &old).unwrap();
    let file = storage.open(NAME).unwrap();
    // Group numbers go on for the life of a database: they never come back in a recycled file.
    let fresh = Header { epoch: EPOCH + 1, first_group: 103, ..header() };
    let mut writer = JournalWriter::start(file, NAME.into(), &fresh).unwrap();
    let mut buffer = GroupBuffer::new();
    buffer.push(|out| out.extend_from_slice(b"new"));
    writer.append(GroupKind::Data, 10, 0, &mut buffer).unwrap();
    let bytes = storage.read_file(NAME).unwrap();
    assert_eq!(read(&bytes).unwrap(), (vec![b"new".to_vec()], Ending::Clean));
}

#[test]
fn headers_that_changed_places_are_no_torn_tail() {
    let bytes = journal(&[b"one", b"two", b"three"], true, false);
    let (second, third) = (2 * BLOCK, 3 * BLOCK);
    for length in [512, BLOCK] {
        let mut swapped = bytes.clone();
        swapped[second..second + length].copy_from_slice(&bytes[third..third + length]);
        swapped[third..third + length].copy_from_slice(&bytes[second..second + length]);
        assert_eq!(damaged_at(&swapped), second as u64, "{length}");
        // The one that is not there any more stood behind.
        let mut moved = bytes.clone();
        moved[second..second + length].copy_from_slice(&bytes[third..third + length]);
        moved[third..].fill(0);
        assert_eq!(damaged_at(&moved), second as u64, "{length}");
    }
}

#[test]
fn a_seal_that_changed_places_with_what_it_proves_is_no_torn_tail() {
    let long = [b'x'; BLOCK];
    let bytes = journal(&[b"one", &long], true, true);
    let (second, seal) = (2 * BLOCK, 4 * BLOCK);
    assert_eq!(read(&bytes).unwrap().1, Ending::Clean);
    let blocks = [second, second + BLOCK, seal + BLOCK].map(|place| (place, BLOCK));
    let sectors = [second, second + 512, second + BLOCK, seal + 1536];
    for (place, length) in blocks.into_iter().chain(sectors.map(|place| (place, 512))) {
        let mut swapped = bytes.clone();
        swapped[place..place + length].copy_from_slice(&bytes[seal..seal + length]);
        swapped[seal..seal + length].copy_from_slice(&bytes[place..place + length]);
        let lost = if place > seal { seal } else { second };
        assert_eq!(damaged_at(&swapped), lost as u64, "{length} bytes at {place}");
    }
}

#[test]
fn a_group_in_the_wrong_place_is_not_read() {
    let mut bytes = journal(&[b"one", b"two", b"three"], true, false);
    let second = bytes[2 * BLOCK..3 * BLOCK].to_vec();
    bytes[3 * BLOCK..4 * BLOCK].copy_from_slice(&second);
    assert_eq!(read(&bytes).unwrap(), (vec![b"one".to_vec(), b"two".to_vec()], Ending::Torn));
}

#[test]
fn a_header_is_missed_only_if_no_group_was_written_behind_it() {
    let mut prepared = vec![0; 8 * BLOCK];
    assert_eq!(read_header(NAME, &prepared, 7, Purpose::Wal).unwrap(), None);
    prepared[3] = 1;
    assert_eq!(read_header(NAME, &prepared, 7, Purpose::Wal).unwrap(), None, "torn activation");
    let mut used = journal(&[b"one"], true, false);
    assert_eq!(read_header(NAME, &used, 8, Purpose::Wal).unwrap(), None, "recycled, now 8");
    used[20] ^= 1;
    let error = read_header(NAME, &used, 7, Purpose::Wal).unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
}

#[test]
fn a_later_format_is_refused_by_name() {
    let mut bytes = header().encode();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..72]).to_le_bytes();
    bytes[72..76].copy_from_slice(&crc);
    let error = read_header(NAME, &bytes, 7, Purpose::Wal).unwrap_err();
    assert!(matches!(error, Error::UnknownFormat { version: 9, .. }), "{error}");
}

#[test]
fn a_successor_says_where_the_journal_ends() {
    let bytes = journal(&[b"one", b"two"], true, false);
    let header = header();
    let whole = open(NAME, &bytes, &header, Some(3 * BLOCK as u64)).unwrap();
    assert_eq!(whole.groups.len(), 2);
    let shorter = open(NAME, &bytes, &header, Some(2 * BLOCK as u64)).unwrap();
    assert_eq!(shorter.groups.len(), 1, "what stands behind was dropped by an earlier recovery");
    let longer = open(NAME, &bytes, &header, Some(4 * BLOCK as u64)).unwrap_err();
    assert!(matches!(longer, Error::Corrupt { .. }), "{longer}");
}

/// A journal of three synced groups whose second group's header says something else.
fn with_another_second_header(change: impl FnOnce(&mut GroupHeader)) -> Vec<u8> {
    let mut bytes = journal(&[b"one", b"two", b"three"], true, false);
    let at = 2 * BLOCK;
    let (mut header, _) = GroupHeader::decode(&bytes[at..], 7, at as u64).unwrap();
    change(&mut header);
    let (encoded, _) = header.encode(7, at as u64);
    bytes[at..at + GROUP_HEADER_BYTES].copy_from_slice(&encoded);
    bytes
}

#[test]
fn a_whole_group_that_does_not_follow_is_refused() {
    let second = 2 * BLOCK as u64;
    assert_eq!(read(&with_another_second_header(|_| {})).unwrap().0.len(), 3);
    assert_eq!(damaged_at(&with_another_second_header(|header| header.group += 1)), second);
    assert_eq!(damaged_at(&with_another_second_header(|header| header.first_seq += 1)), second);
    assert_eq!(damaged_at(&with_another_second_header(|header| header.previous_crc ^= 1)), second);
    // A group of another use of the file is no group of this one; the third proves that one stood.
    assert_eq!(damaged_at(&with_another_second_header(|header| header.epoch += 1)), second);
}

/// Checksums are right, but nothing could be counted on from there.
#[test]
fn numbers_that_were_never_given_out_are_refused() {
    let first = BLOCK as u64;
    for (first_group, first_seq, offset) in [
        (0, 1, Some(0)),
        (MAX_NUMBER + 1, 1, Some(0)),
        (1, u64::MAX, Some(0)),
        (MAX_NUMBER, 1, Some(first)),
        (MAX_NUMBER - 1, MAX_NUMBER - 2, None),
    ] {
        let header = Header { first_group, first_seq, ..header() };
        let group = GroupHeader {
            kind: GroupKind::Data,
            epoch: header.epoch,
            group: first_group,
            first_seq,
            synced_group: 0,
            time_ms: 0,
            count: 2,
            length: 0,
            previous_crc: header.previous_crc,
            payload_crc: payload_crc(7, header.epoch, first, b""),
        };
        let bytes = [&header.encode()[..], &group.encode(7, first).0].concat();
        let refused = match open(NAME, &bytes, &header, None) {
            Ok(journal) => {
                assert_eq!((journal.groups.len(), journal.next_group), (1, MAX_NUMBER));
                None
            }
            Err(Error::Corrupt { offset, .. }) => Some(offset),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(refused, offset, "{first_group} {first_seq}");
    }
}

#[test]
fn a_successor_is_believed_over_what_looks_torn() {
    let header = header();
    let mut bytes = journal(&[b"one", b"two"], true, false);
    bytes[2 * BLOCK + 73] ^= 1;
    let cut = open(NAME, &bytes, &header, Some(2 * BLOCK as u64)).unwrap();
    assert_eq!(cut.groups.len(), 1, "the torn group had been dropped before");
    let error = open(NAME, &bytes, &header, Some(3 * BLOCK as u64)).unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset, .. } if offset == 2 * BLOCK as u64));
    let long = journal(&[&[9; 2 * BLOCK]], true, false);
    let error = open(NAME, &long, &header, Some(2 * BLOCK as u64)).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "an end amid a group: {error}");
}

#[test]
fn the_documented_log_is_the_log_written() {
    let storage = SimStorage::new(1);
    let file = storage.create(NAME).unwrap();
    let mut writer = JournalWriter::start(file, NAME.into(), &header()).unwrap();
    let mut buffer = GroupBuffer::new();
    buffer.push(|out| encode_write(out, Kind::Put, b"apple", b"red"));
    buffer.push(|out| encode_write(out, Kind::Delete, b"apricot", b""));
    writer.append(GroupKind::Data, 10, 1_700_000_000_000, &mut buffer).unwrap();
    writer.sync().unwrap();
    writer.append(GroupKind::Seal, 12, 1_700_000_000_050, &mut GroupBuffer::new()).unwrap();
    let written = storage.read_file(NAME).unwrap();
    let mut documented = documented("hex-log");
    documented.resize(written.len(), 0);
    assert!(documented == written, "docs/format.md shows another log than is written");
    assert_eq!(read(&documented).unwrap().1, Ending::Clean);
}
