//! Values as reads return them: where they stand, without a copy.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::block::Block;
use crate::engine::cache::Weigh;

/// A value that makes up less than 1 in this many bytes of its block is copied for whoever may keep it:
/// so what is kept takes this many times its bytes at most, and no copy is longer than a part of a block
/// or costs more than the lookup did.
const COPY_SHARE: usize = 4;

/// The bytes of a value. It lends them from memory, owns them, or holds the block of a table in
/// which they stand (usually one that is also in the block cache), if they are a good part of it.
#[derive(Clone)]
pub struct Value<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Lent(&'a [u8]),
    Owned(Box<[u8]>),
    Pinned(Arc<Block>, Range<usize>),
}

impl<'a> Value<'a> {
    /// A copy of `bytes`.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Value(Repr::Owned(bytes.into()))
    }

    pub(crate) fn lent(bytes: &'a [u8]) -> Self {
        Value(Repr::Lent(bytes))
    }

    /// The bytes at `range` of the block.
    pub(super) fn pinned(block: Arc<Block>, range: Range<usize>) -> Self {
        Value(Repr::Pinned(block, range))
    }

    /// The same for whoever may keep it: a copy, if it is a small part of what it would keep in memory.
    pub(crate) fn kept(self) -> Self {
        match self.0 {
            Repr::Pinned(block, range) if range.len() < block.weight_bytes() / COPY_SHARE => {
                Value::copied(block.slice(range))
            }
            repr => Value(repr),
        }
    }

    /// Whether it keeps a block in memory.
    #[cfg(test)]
    pub(crate) fn is_pinned(&self) -> bool {
        matches!(self.0, Repr::Pinned(..))
    }

    /// The same, lending nothing: a copy if it did.
    pub fn to_owned(&self) -> Value<'static> {
        match &self.0 {
            Repr::Lent(bytes) => Value::copied(bytes),
            Repr::Owned(bytes) => Value(Repr::Owned(bytes.clone())),
            Repr::Pinned(block, range) => Value::pinned(Arc::clone(block), range.clone()).kept(),
        }
    }

    /// The bytes from `start` on, without a copy.
    pub(crate) fn starting_at(self, start: usize) -> Self {
        Value(match self.0 {
            Repr::Lent(bytes) => Repr::Lent(bytes.get(start..).unwrap_or_default()),
            Repr::Owned(bytes) => Repr::Owned(bytes.get(start..).unwrap_or_default().into()),
            Repr::Pinned(block, range) => {
                Repr::Pinned(block, (range.start + start).min(range.end)..range.end)
            }
        })
    }
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Lent(bytes) => bytes,
            Repr::Owned(bytes) => bytes,
            Repr::Pinned(block, range) => block.slice(range.clone()),
        }
    }
}

impl AsRef<[u8]> for Value<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value<'_> {}

impl PartialEq<[u8]> for Value<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl PartialEq<&[u8]> for Value<'_> {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl PartialEq<Vec<u8>> for Value<'_> {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Value<'_> {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Value<'_> {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
