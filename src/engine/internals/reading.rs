//! Reads journals, log records and manifest edits from bytes of any origin: for fuzzing.

use crate::engine::error::Result;
use crate::engine::journal::{self, Ending, Purpose};
use crate::engine::key::Seq;
use crate::engine::version::VersionEdit;
use crate::engine::wal;

/// A journal, as far as its history goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalHistory {
    /// The groups of records: first sequence number, count, payload.
    pub groups: Vec<(Seq, u32, Vec<u8>)>,
    /// Where the next group would start, in bytes.
    pub end: u64,
    /// Whether a group had been begun behind the last one.
    pub is_torn: bool,
    /// The journal that goes on.
    pub successor: Option<u64>,
}

/// Reads log segment `id`, or that manifest; `None` if it was never used.
///
/// # Errors
/// `Corrupt` or `UnknownFormat`.
pub fn read_journal(bytes: &[u8], id: u64, is_manifest: bool) -> Result<Option<JournalHistory>> {
    let purpose = if is_manifest { Purpose::Manifest } else { Purpose::Wal };
    let Some(header) = journal::read_header("journal", bytes, id, purpose)? else {
        return Ok(None);
    };
    let journal = journal::open("journal", bytes, &header, None)?;
    let groups = journal.groups.iter();
    Ok(Some(JournalHistory {
        groups: groups.map(|g| (g.first_seq, g.count, g.payload.to_vec())).collect(),
        end: journal.end,
        is_torn: journal.ending == Ending::Torn,
        successor: match journal.ending {
            Ending::Continues(id) => Some(id),
            Ending::Clean | Ending::Torn => None,
        },
    }))
}

/// A write in the log: kind, key, value.
pub type LogRecord = (u8, Vec<u8>, Vec<u8>);

/// The writes of a group; `None` if the payload is anything else.
pub fn decode_writes(payload: &[u8], count: u32) -> Option<Vec<LogRecord>> {
    let writes = wal::decode_writes(payload, count)?.into_iter();
    Some(writes.map(|w| (w.kind as u8, w.key.to_vec(), w.value.to_vec())).collect())
}

/// A manifest edit, decoded and encoded again.
///
/// # Errors
/// What is wrong with it.
pub fn reread_edit(bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut again = Vec::new();
    VersionEdit::decode(bytes)?.encode(&mut again);
    Ok(again)
}
