//! Keys, sequence numbers and kinds: what identifies one version of one key.
//!
//! Entries are ordered by key (byte order), then by sequence number, newest first, everywhere: in
//! the merge of a flush, in a table, in a compaction.

use std::cmp::Ordering;

/// A write's place in the history, from 1 on without gaps; 0 means "before every write".
pub type Seq = u64;

/// The greatest number of a write, a group or a file. None comes near it: a file that holds a greater
/// one is damaged, and whoever counts on from what was read need not fear for the sum.
pub(crate) const MAX_NUMBER: u64 = u64::MAX >> 1;

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
    /// The key has a value until a point in time, which stands before the value: see
    /// [`split_expiry`].
    Expiring = 3,
    /// All older versions of the keys from this one up to the one that stands as the value (up to
    /// the last if that is empty) are gone. In the log only: tables hold none.
    DeleteRange = 4,
    /// Nothing: it uses up a sequence number. In the log only.
    Nothing = 5,
}

impl Kind {
    /// Reads a stored kind; `None` for one that this version does not know.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Put),
            2 => Some(Kind::Delete),
            3 => Some(Kind::Expiring),
            4 => Some(Kind::DeleteRange),
            5 => Some(Kind::Nothing),
            _ => None,
        }
    }

    /// Whether a table may hold an entry of this kind with a value of this length.
    pub(crate) fn fits_table(self, value_bytes: usize) -> bool {
        match self {
            Kind::Put | Kind::Delete => true,
            Kind::Expiring => value_bytes >= EXPIRY_BYTES,
            Kind::DeleteRange | Kind::Nothing => false,
        }
    }
}

/// Bytes that stand before the value of an expiring entry: milliseconds since the Unix epoch, little
/// endian.
pub(crate) const EXPIRY_BYTES: usize = 8;

/// The expiry and the value of an entry of kind [`Kind::Expiring`]. From that millisecond on the key
/// is gone.
pub(crate) fn split_expiry(stored: &[u8]) -> (u64, &[u8]) {
    // Whoever reads entries refuses shorter ones; to anybody else they are long gone.
    stored
        .split_first_chunk::<EXPIRY_BYTES>()
        .map_or((0, &[]), |(expiry, value)| (u64::from_le_bytes(*expiry), value))
}

/// What a reader sees of a version: the value, and when it expires if it does. `None` if the key is
/// gone. The clock is asked only for what expires.
pub(crate) fn live(
    kind: Kind,
    stored: &[u8],
    now_ms: impl FnOnce() -> u64,
) -> Option<(&[u8], Option<u64>)> {
    match kind {
        Kind::Put => Some((stored, None)),
        Kind::Expiring => {
            let (expiry_ms, value) = split_expiry(stored);
            (now_ms() < expiry_ms).then_some((value, Some(expiry_ms)))
        }
        Kind::Delete | Kind::DeleteRange | Kind::Nothing => None,
    }
}

/// The order of entries: by key, then newest first.
pub(crate) fn compare_entries(a: (&[u8], Seq), b: (&[u8], Seq)) -> Ordering {
    a.0.cmp(b.0).then(b.1.cmp(&a.1))
}
