//! The segments of the log, one by one: what each holds, and whether it continues the one before.

use crate::engine::error::{Error, Result};
use crate::engine::filename;
use crate::engine::journal::format::{BLOCK_BYTES, HeaderBlock, bytes_of};
use crate::engine::journal::{self, Header, Journal, Purpose};
use crate::engine::key::Seq;
use crate::engine::storage::Storage;

/// Where the log that was read ends.
pub(crate) struct LogEnd {
    pub(crate) id: u64,
    pub(crate) offset: u64,
    pub(crate) next_group: u64,
    pub(crate) last_crc: u32,
    /// The header of the last segment, if it holds no group and the manifest does not name it: one
    /// that a recovery started which was not completed.
    pub(crate) unused: Option<Header>,
}

/// A segment that was used.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) header: Header,
}

impl Segment {
    /// Reads a segment's header; `None` if it was prepared and never used. What was recycled may still
    /// have the header of a segment before `first`, the oldest one that is needed.
    pub(crate) fn find(storage: &dyn Storage, id: u64, first: u64) -> Result<Option<Self>> {
        let name = filename::wal(id);
        let start = storage
            .read_start_from_device(&name, BLOCK_BYTES)
            .map_err(|e| Error::io("read", &name, e))?;
        if let HeaderBlock::Valid(header) = Header::decode(&start)
            && header.id != id
            && header.id >= first
        {
            let what = format!("it holds the log of {}", filename::wal(header.id));
            return Err(Error::corrupt(&name, 0, what));
        }
        let header = match journal::read_header(&name, &start, id, Purpose::Wal)? {
            Some(header) => Some(header),
            // Only the whole file can tell that there never was one.
            None => journal::read_header(&name, &read_file(storage, &name)?, id, Purpose::Wal)?,
        };
        Ok(header.map(|header| Segment { id, name, header }))
    }

    /// All of its bytes.
    pub(crate) fn read(&self, storage: &dyn Storage) -> Result<Vec<u8>> {
        read_file(storage, &self.name)
    }

    /// What its bytes hold, up to the first damage if there is some. `known_end` is where its
    /// successor says that it ends.
    pub(crate) fn journal<'a>(
        &self,
        bytes: &'a [u8],
        known_end: Option<u64>,
    ) -> (Journal<'a>, Result<()>) {
        journal::open_prefix(&self.name, bytes, &self.header, known_end)
    }

    /// Whether it goes on exactly where the log ended, or where the tables did if that has only begun.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn check_continues(&self, end: Option<&LogEnd>, last_seq: Seq) -> Result<()> {
        let header = &self.header;
        let fits = match end {
            Some(end) => {
                header.previous_end == end.offset
                    && header.previous_crc == end.last_crc
                    && header.first_group == end.next_group
                    && header.first_seq == last_seq + 1
            }
            None => header.first_seq <= last_seq + 1,
        };
        if fits {
            return Ok(());
        }
        Err(Error::corrupt(&self.name, 0, "it does not continue what stands before it"))
    }

    /// Where the groups of `before` end, if this one continues it.
    pub(crate) fn end_of(&self, before: &Segment) -> Option<u64> {
        (self.header.previous_id == before.id).then_some(self.header.previous_end)
    }

    /// Whether it is the one that `before` goes on in.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn check_follows(&self, before: &Segment) -> Result<()> {
        if self.header.previous_id == before.id {
            return Ok(());
        }
        let what = format!("it does not continue {}: a segment between is missing", before.name);
        Err(Error::corrupt(&self.name, 0, what))
    }

    /// Whether segment `id`, in which no header stands, can be what this one goes on in: prepared with
    /// as many blocks as the end says, or as many as this one has if it does not. What is shorter may
    /// have lost its header to a cut.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(crate) fn check_prepared(
        &self,
        storage: &dyn Storage,
        id: u64,
        blocks: Option<u32>,
    ) -> Result<()> {
        let name = filename::wal(id);
        let length = storage.open(&name).and_then(|file| file.len());
        let length = length.map_err(|e| Error::io("open", &name, e))?;
        let whole = blocks.map_or(self.header.file_bytes(), bytes_of);
        if length < whole {
            let what = format!("the file had {whole} bytes and was cut");
            return Err(Error::corrupt(&name, length, what));
        }
        Ok(())
    }

    /// What to say where the log goes on in segment `id`, and there is none.
    pub(crate) fn lacks_successor(&self, id: u64) -> Error {
        let what = format!("{} goes on in it, but it is missing", self.name);
        Error::corrupt(&filename::wal(id), 0, what)
    }
}

fn read_file(storage: &dyn Storage, name: &str) -> Result<Vec<u8>> {
    storage.read_from_device(name).map_err(|e| Error::io("read", name, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether segment 9, with a header that differs from the one that fits, continues the log.
    fn continues(end: Option<&LogEnd>, change: impl FnOnce(&mut Header)) -> bool {
        let mut header = Header {
            purpose: Purpose::Wal,
            id: 9,
            epoch: 1,
            first_group: 5,
            first_seq: 21,
            previous_id: 8,
            previous_end: 4096,
            previous_crc: 6,
            blocks: 0,
        };
        change(&mut header);
        let segment = Segment { id: 9, name: filename::wal(9), header };
        segment.check_continues(end, 20).is_ok()
    }

    #[test]
    fn the_log_begins_at_or_before_what_the_tables_lack() {
        assert!(continues(None, |_| {}));
        assert!(continues(None, |header| header.first_seq = 3));
        assert!(!continues(None, |header| header.first_seq = 22));
    }

    #[test]
    fn a_segment_goes_on_exactly_where_the_one_before_it_ended() {
        let end = LogEnd { id: 8, offset: 4096, next_group: 5, last_crc: 6, unused: None };
        let end = Some(&end);
        assert!(continues(end, |_| {}));
        assert!(!continues(end, |header| header.first_seq += 1));
        assert!(!continues(end, |header| header.first_group += 1));
        assert!(!continues(end, |header| header.previous_end += 4096));
        assert!(!continues(end, |header| header.previous_crc ^= 1));
    }
}
