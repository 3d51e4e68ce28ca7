//! Ordered walks over entries: what memtables, tables and merges have in common.
//!
//! Entries come by key, and within a key newest first ([`compare_entries`]). An iterator lends its
//! entries: a walk over millions of them copies nothing unless its caller does. Damage met on the
//! way is an error and ends the walk: it is never skipped and never looks like the end.
//!
//! [`compare_entries`]: super::key::compare_entries

use super::error::Result;
use super::key::{Kind, Seq};

/// One version of one key, borrowed from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The version's sequence number.
    pub seq: Seq,
    /// What the version says.
    pub kind: Kind,
    /// The value; empty for a tombstone.
    pub value: &'a [u8],
}

/// Entries in order (key, then newest first).
pub trait EntryIter {
    /// Moves to the next entry (the first, on the first call); false at the end, and ever after.
    ///
    /// # Errors
    /// `Io` or `Corrupt`; the walk is over then, and must not be taken for complete.
    fn advance(&mut self) -> Result<bool>;

    /// The current entry; only after `advance` returned true.
    fn entry(&self) -> Entry<'_>;
}

impl<I: EntryIter + ?Sized> EntryIter for Box<I> {
    fn advance(&mut self) -> Result<bool> {
        (**self).advance()
    }

    fn entry(&self) -> Entry<'_> {
        (**self).entry()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A naive iterator and owned entries, for tests.

    use super::{Entry, EntryIter, Kind, Result, Seq};

    /// An entry that owns its bytes: key, sequence, kind, value.
    pub(crate) type Owned = (Vec<u8>, Seq, Kind, Vec<u8>);

    /// Walks a vector.
    pub(crate) struct VecIter {
        entries: Vec<Owned>,
        next: usize,
    }

    impl VecIter {
        pub(crate) fn new(entries: Vec<Owned>) -> Self {
            VecIter { entries, next: 0 }
        }
    }

    impl EntryIter for VecIter {
        fn advance(&mut self) -> Result<bool> {
            self.next += 1;
            Ok(self.next <= self.entries.len())
        }

        fn entry(&self) -> Entry<'_> {
            borrowed(&self.entries[self.next - 1])
        }
    }

    pub(crate) fn borrowed(owned: &Owned) -> Entry<'_> {
        Entry { key: &owned.0, seq: owned.1, kind: owned.2, value: &owned.3 }
    }

    pub(crate) fn owned(entry: Entry<'_>) -> Owned {
        (entry.key.to_vec(), entry.seq, entry.kind, entry.value.to_vec())
    }

    /// Everything that an iterator yields.
    pub(crate) fn collect(mut iter: impl EntryIter) -> Result<Vec<Owned>> {
        let mut all = Vec::new();
        while iter.advance()? {
            all.push(owned(iter.entry()));
        }
        Ok(all)
    }
}
