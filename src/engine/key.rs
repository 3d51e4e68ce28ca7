//! Keys, sequence numbers and kinds: what identifies one version of one key.
//!
//! Entries are ordered by key (byte order), then by sequence number, newest first, everywhere: in
//! the merge of a flush, in a table, in a compaction.

use std::cmp::Ordering;

/// A write's place in the history, from 1 on without gaps; 0 means "before every write".
pub type Seq = u64;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 << 10;

/// The longest value, in bytes. A batch must also fit a log segment (see `Options`).
pub const MAX_VALUE_BYTES: usize = 32 << 20;

/// What an entry says about its key. The numbers are part of every file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The key has a value.
    Put = 1,
    /// A tombstone: the key is gone.
    Delete = 2,
}

impl Kind {
    /// Reads a stored kind; `None` for one that this version does not know.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Put),
            2 => Some(Kind::Delete),
            _ => None,
        }
    }
}

/// The order of entries: by key, then newest first.
pub(crate) fn compare_entries(a: (&[u8], Seq), b: (&[u8], Seq)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}
