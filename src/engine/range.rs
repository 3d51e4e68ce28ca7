//! Ranges of keys, as callers name them: `b"a".."b"`, `..`, a prefix.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

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

    /// The exclusive end, if there is one.
    pub(crate) fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether it shares a key with `smallest ..= largest`, as far as ranges tell.
    pub(crate) fn overlaps(&self, smallest: &[u8], largest: &[u8]) -> bool {
        *self.start <= *largest && self.end().is_none_or(|end| smallest < end)
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
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> Self {
        Self::all()
    }
}

impl<K: AsRef<[u8]>> From<Range<K>> for KeyRange {
    fn from(range: Range<K>) -> Self {
        KeyRange { start: range.start.as_ref().to_vec(), end: Some(range.end.as_ref().to_vec()) }
    }
}

impl<K: AsRef<[u8]>> From<RangeInclusive<K>> for KeyRange {
    fn from(range: RangeInclusive<K>) -> Self {
        let end = Some(behind(range.end().as_ref()));
        KeyRange { start: range.start().as_ref().to_vec(), end }
    }
}

impl<K: AsRef<[u8]>> From<RangeFrom<K>> for KeyRange {
    fn from(range: RangeFrom<K>) -> Self {
        KeyRange { start: range.start.as_ref().to_vec(), end: None }
    }
}

impl<K: AsRef<[u8]>> From<RangeTo<K>> for KeyRange {
    fn from(range: RangeTo<K>) -> Self {
        KeyRange { start: Vec::new(), end: Some(range.end.as_ref().to_vec()) }
    }
}

impl<K: AsRef<[u8]>> From<RangeToInclusive<K>> for KeyRange {
    fn from(range: RangeToInclusive<K>) -> Self {
        KeyRange { start: Vec::new(), end: Some(behind(range.end.as_ref())) }
    }
}

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
        assert!(KeyRange::from("d".."b").is_empty() && KeyRange::from("b".."b").is_empty());
        assert!(KeyRange::from(.."").is_empty() && !KeyRange::all().is_empty());
        assert!(!KeyRange::from("b"..="b").is_empty());
        let range = KeyRange::from("b".."d");
        assert!(range.overlaps(b"a", b"b") && range.overlaps(b"c", b"z"));
        assert!(!range.overlaps(b"d", b"e") && !range.overlaps(b"a", b"a~"));
    }
}
