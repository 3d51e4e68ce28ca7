//! Ranges of keys, as callers name them: `b"a".."b"`, `..`, a prefix.

use std::ops::{
    Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};

/// A stretch of keys in byte order: from `start`, included, to `end`, excluded.
///
/// ```
/// use chronos::engine::KeyRange;
///
/// let users = KeyRange::prefix(b"user:");
/// assert!(users.contains(b"user:7") && !users.contains(b"users"));
/// assert!(KeyRange::from("a"..="b").contains(b"b"));
/// assert!(KeyRange::from(..).contains(b"anything"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    pub(crate) start: Vec<u8>,
    /// `None`: to the last key.
    pub(crate) end: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys.
    pub fn all() -> Self {
        KeyRange { start: Vec::new(), end: None }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        KeyRange { start: prefix.to_vec(), end: behind_prefix(prefix) }
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The keys within any two bounds.
    ///
    /// ```
    /// use std::ops::Bound;
    /// use chronos::engine::KeyRange;
    ///
    /// let behind_a = KeyRange::within::<&str>((Bound::Excluded("a"), Bound::Included("c")));
    /// assert!(!behind_a.contains(b"a") && behind_a.contains(b"a0") && behind_a.contains(b"c"));
    /// ```
    pub fn within<K: AsRef<[u8]>>(bounds: impl RangeBounds<K>) -> Self {
        let start = match bounds.start_bound() {
            Bound::Included(key) => key.as_ref().to_vec(),
            Bound::Excluded(key) => behind(key.as_ref()),
            Bound::Unbounded => Vec::new(),
        };
        let end = match bounds.end_bound() {
            Bound::Included(key) => Some(behind(key.as_ref())),
            Bound::Excluded(key) => Some(key.as_ref().to_vec()),
            Bound::Unbounded => None,
        };
        KeyRange { start, end }
    }

    /// Leaves out the keys before `key`.
    pub(crate) fn start_at(&mut self, key: Vec<u8>) {
        if key > self.start {
            self.start = key;
        }
    }

    /// Leaves out `key` and those behind it.
    pub(crate) fn end_before(&mut self, key: Vec<u8>) {
        if self.end.as_ref().is_none_or(|end| key < *end) {
            self.end = Some(key);
        }
    }

    /// The exclusive end, if there is one.
    pub(crate) fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }
}

/// The first key behind all that begin with `prefix`; `None` if there is none.
fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// The first key behind `key`.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> Self {
        Self::all()
    }
}

/// Two bounds of any kind, as [`KeyRange::within`] takes them.
macro_rules! from_bounds {
    ($($range:ty),+) => {$(
        impl<K: AsRef<[u8]>> From<$range> for KeyRange {
            fn from(range: $range) -> Self {
                Self::within(range)
            }
        }
    )+};
}

from_bounds!(
    Range<K>,
    RangeInclusive<K>,
    RangeFrom<K>,
    RangeTo<K>,
    RangeToInclusive<K>,
    (Bound<K>, Bound<K>)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let end = |prefix: &[u8]| KeyRange::prefix(prefix).end;
        assert_eq!(end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end(b"\xff\xff"), None);
        assert_eq!(end(b""), None);
    }

    #[test]
    fn bounds_are_heeded() {
        let contains = |range: KeyRange| [b"a", b"b", b"c", b"d"].map(|key| range.contains(key));
        assert_eq!(contains(("b".."d").into()), [false, true, true, false]);
        assert_eq!(contains(("b"..="d").into()), [false, true, true, true]);
        assert_eq!(contains(("c"..).into()), [false, false, true, true]);
        assert_eq!(contains((.."b").into()), [true, false, false, false]);
        assert_eq!(contains((..="b").into()), [true, true, false, false]);
        assert_eq!(contains((..).into()), [true; 4]);
        assert_eq!(contains(("d".."b").into()), [false; 4]);
        let excluded = (Bound::Excluded("b"), Bound::Excluded("d"));
        assert_eq!(contains(excluded.into()), [false, false, true, false]);
        assert_eq!(
            contains((Bound::Excluded("b"), Bound::Unbounded).into()),
            [false, false, true, true]
        );
        assert_eq!(contains(KeyRange::within::<&str>(..)), [true; 4]);
        let owned = KeyRange::within::<Vec<u8>>((Bound::Unbounded, Bound::Included(b"a".to_vec())));
        assert_eq!(contains(owned), [true, false, false, false]);
        assert!(KeyRange::from("d".."b").is_empty() && KeyRange::from("b".."b").is_empty());
        assert!(KeyRange::from(.."").is_empty() && !KeyRange::all().is_empty());
        assert!(!KeyRange::from("b"..="b").is_empty());
    }
}
