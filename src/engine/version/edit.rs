//! One change of the set of tables, and its bytes in the manifest.
//!
//! An edit is a list of tagged fields; an unknown tag is refused, for half an edit understood is a
//! database misread.

use crate::engine::coding::{Reader, put_bytes, put_varint};
use crate::engine::key::Seq;
use crate::engine::ranges::RangeDelete;
use crate::engine::table::{Hidden, TableMeta};

use super::LEVELS;

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const FLUSHED_SEQ: u8 = 3;
const FIRST_SEGMENT: u8 = 4;
const NEXT_FILE_ID: u8 = 5;
const DELETE_RANGE: u8 = 6;
const FORGET_RANGE: u8 = 7;
const HIDE: u8 = 8;

/// One change of the set of tables; what is `None` stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VersionEdit {
    /// New tables with their levels.
    pub(crate) added: Vec<(usize, TableMeta)>,
    /// Ids of tables that are no longer part of the database.
    pub(crate) removed: Vec<u64>,
    /// New range deletes that some table may need.
    pub(crate) deleted_ranges: Vec<RangeDelete>,
    /// Numbers of range deletes that no table needs any more.
    pub(crate) forgotten_ranges: Vec<Seq>,
    /// Every write up to this number is in the tables.
    pub(crate) flushed_seq: Option<Seq>,
    /// The oldest log segment that recovery needs.
    pub(crate) first_segment: Option<u64>,
    /// No file has this id or a greater one.
    pub(crate) next_file_id: Option<u64>,
}

impl VersionEdit {
    /// Appends the edit's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for (level, meta) in &self.added {
            out.push(ADD);
            put_varint(out, *level as u64);
            encode_meta(out, meta);
            if meta.hidden != Hidden::default() {
                out.push(HIDE);
                put_varint(out, meta.hidden.bytes);
                put_varint(out, meta.hidden.seq);
            }
        }
        for id in &self.removed {
            out.push(REMOVE);
            put_varint(out, *id);
        }
        for range in &self.deleted_ranges {
            out.push(DELETE_RANGE);
            put_varint(out, range.seq);
            put_bytes(out, &range.start);
            put_bytes(out, &range.end);
        }
        for seq in &self.forgotten_ranges {
            out.push(FORGET_RANGE);
            put_varint(out, *seq);
        }
        let numbers = [
            (FLUSHED_SEQ, self.flushed_seq),
            (FIRST_SEGMENT, self.first_segment),
            (NEXT_FILE_ID, self.next_file_id),
        ];
        for (tag, number) in numbers {
            if let Some(number) = number {
                out.push(tag);
                put_varint(out, number);
            }
        }
    }

    /// All numbers of files and writes that it gives to anything.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        let of_tables = self.added.iter().flat_map(|(_, meta)| [meta.id, meta.max_seq]);
        let given = [self.flushed_seq, self.first_segment, self.next_file_id];
        let of_ranges = self.deleted_ranges.iter().map(|range| range.seq);
        of_tables.chain(of_ranges).chain(given.into_iter().flatten())
    }

    /// Reads an edit; an error says what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        let mut edit = VersionEdit::default();
        while let Some(tag) = reader.u8() {
            edit.decode_field(tag, &mut reader)
                .ok_or_else(|| format!("an edit has an unknown or malformed field (tag {tag})"))?;
        }
        Ok(edit)
    }

    fn decode_field(&mut self, tag: u8, reader: &mut Reader<'_>) -> Option<()> {
        match tag {
            ADD => {
                let level = usize::try_from(reader.varint()?).ok().filter(|l| *l < LEVELS)?;
                self.added.push((level, decode_meta(reader)?));
            }
            HIDE => {
                // Of the table before it.
                let (_, meta) = self.added.last_mut()?;
                meta.hidden = Hidden { bytes: reader.varint()?, seq: reader.varint()? };
            }
            REMOVE => self.removed.push(reader.varint()?),
            FLUSHED_SEQ => self.flushed_seq = Some(reader.varint()?),
            FIRST_SEGMENT => self.first_segment = Some(reader.varint()?),
            NEXT_FILE_ID => self.next_file_id = Some(reader.varint()?),
            DELETE_RANGE => {
                let (seq, start, end) = (reader.varint()?, reader.bytes()?, reader.bytes()?);
                let (start, end) = (start.to_vec(), end.to_vec());
                self.deleted_ranges.push(RangeDelete { start, end, seq });
            }
            FORGET_RANGE => self.forgotten_ranges.push(reader.varint()?),
            _ => return None,
        }
        Some(())
    }
}

fn encode_meta(out: &mut Vec<u8>, meta: &TableMeta) {
    for number in [
        meta.id,
        meta.bytes,
        meta.min_seq,
        meta.max_seq,
        meta.entries,
        meta.tombstones,
        meta.purged_seq,
        meta.reclaim_ms,
        meta.assigned_seq,
    ] {
        put_varint(out, number);
    }
    out.extend_from_slice(&meta.checksum.to_le_bytes());
    for key in [&meta.smallest, &meta.largest] {
        put_varint(out, key.len() as u64);
        out.extend_from_slice(key);
    }
}

fn decode_meta(reader: &mut Reader<'_>) -> Option<TableMeta> {
    Some(TableMeta {
        id: reader.varint()?,
        bytes: reader.varint()?,
        min_seq: reader.varint()?,
        max_seq: reader.varint()?,
        entries: reader.varint()?,
        tombstones: reader.varint()?,
        purged_seq: reader.varint()?,
        reclaim_ms: reader.varint()?,
        hidden: Hidden::default(),
        assigned_seq: reader.varint()?,
        checksum: reader.u32()?,
        smallest: decode_key(reader)?,
        largest: decode_key(reader)?,
    })
}

fn decode_key(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let length = usize::try_from(reader.varint()?).ok()?;
    Some(reader.slice(length)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> VersionEdit {
        let meta = TableMeta {
            id: 12,
            bytes: 70_000,
            smallest: b"a".to_vec(),
            largest: vec![0xff; 300],
            min_seq: 1,
            max_seq: 1 << 40,
            entries: 9,
            tombstones: 2,
            purged_seq: 5,
            reclaim_ms: u64::MAX,
            hidden: Hidden { bytes: 300, seq: 1 << 30 },
            assigned_seq: 0,
            checksum: 0xdead_beef,
        };
        VersionEdit {
            added: vec![(0, meta.clone()), (6, meta)],
            removed: vec![1, 400],
            deleted_ranges: vec![RangeDelete { start: b"a".to_vec(), end: Vec::new(), seq: 70 }],
            forgotten_ranges: vec![3],
            flushed_seq: Some(77),
            first_segment: Some(3),
            next_file_id: None,
        }
    }

    #[test]
    fn an_edit_reads_back_as_it_was() {
        for edit in [sample(), VersionEdit::default()] {
            let mut bytes = Vec::new();
            edit.encode(&mut bytes);
            assert_eq!(VersionEdit::decode(&bytes), Ok(edit));
        }
    }

    #[test]
    fn a_cut_or_unknown_field_is_refused() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let whole = VersionEdit::decode(&bytes).unwrap();
        for cut in 1..bytes.len() {
            assert_ne!(VersionEdit::decode(&bytes[..cut]).as_ref(), Ok(&whole), "cut at {cut}");
        }
        assert!(VersionEdit::decode(&[HIDE, 1, 1]).is_err(), "of no table");
        assert!(VersionEdit::decode(&[99, 1]).unwrap_err().contains("tag 99"));
        assert!(VersionEdit::decode(&[ADD, 7]).is_err(), "level past the last");
    }
}
