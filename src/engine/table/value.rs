//! Values as reads return them: where they stand, without a copy.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::block::Block;

/// The bytes of a value. It lends them from memory, or holds the block of a table in which they
/// stand (usually one that is also in the block cache). So keep it briefly: a small value keeps a
/// whole block in memory.
#[derive(Clone)]
pub struct Value<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Lent(&'a [u8]),
    Pinned(Arc<Block>, Range<usize>),
}

impl<'a> Value<'a> {
    pub(crate) fn lent(bytes: &'a [u8]) -> Self {
        Value(Repr::Lent(bytes))
    }

    /// The bytes at `range` of the block.
    pub(super) fn pinned(block: Arc<Block>, range: Range<usize>) -> Self {
        Value(Repr::Pinned(block, range))
    }
}

impl Deref for Value<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Lent(bytes) => bytes,
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

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}
