//! What was written since a walk began: the keys, and the databases that were emptied.
//!
//! Kept only while somebody holds a place in it, as a row of pieces that workers share. It is bounded: of
//! very much the oldest is forgotten, and whoever held on to that begins anew.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::super::limits::CHANGES_BYTES;

/// Changes of a piece.
const PIECE: usize = 1024;

/// Memory of a change beside its key, in bytes.
const OVERHEAD_BYTES: usize = 32;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// An engine's key was written or deleted.
    Key(Box<[u8]>),
    /// A namespace was emptied.
    Cleared(u8),
}

/// A place: what comes behind it is kept.
#[derive(Debug)]
pub(crate) struct Hold {
    place: u64,
    _alive: Arc<()>,
}

/// A part of the row: a piece, and how many at its beginning come before the place.
pub(crate) type Since = Vec<(Arc<[Change]>, usize)>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Each with the place of its first.
    sealed: VecDeque<(u64, Arc<[Change]>)>,
    open: Vec<Change>,
    /// The place of the first of `open`.
    open_place: u64,
    bytes: usize,
    holds: Vec<(Weak<()>, u64)>,
}

impl Changes {
    /// Whether anybody wants to know.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Holds on to what comes from now on.
    pub(crate) fn hold(&mut self) -> Hold {
        let alive = Arc::new(());
        let place = self.end();
        self.holds.push((Arc::downgrade(&alive), place));
        Hold { place, _alive: alive }
    }

    fn end(&self) -> u64 {
        self.open_place + self.open.len() as u64
    }

    /// Notes a change.
    pub(crate) fn note(&mut self, change: Change) {
        self.bytes += held_bytes(&change);
        self.open.push(change);
        if self.open.len() >= PIECE {
            self.seal();
            self.forget();
        }
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let place = self.open_place;
            self.open_place = self.end();
            self.sealed.push_back((place, std::mem::take(&mut self.open).into()));
        }
    }

    /// Forgets what nobody holds, and the oldest of too much.
    fn forget(&mut self) {
        self.holds.retain(|(alive, _)| alive.strong_count() > 0);
        let first = self.holds.iter().map(|(_, place)| *place).min().unwrap_or(u64::MAX);
        while let Some((place, piece)) = self.sealed.front() {
            let is_held = place + piece.len() as u64 > first;
            if is_held && self.bytes <= CHANGES_BYTES {
                return;
            }
            self.bytes -= piece.iter().map(held_bytes).sum::<usize>();
            self.sealed.pop_front();
        }
    }

    /// How many changes came behind a place; `None` if they are not all kept.
    pub(crate) fn count_since(&self, hold: &Hold) -> Option<u64> {
        let first = self.sealed.front().map_or(self.open_place, |(place, _)| *place);
        (first <= hold.place).then(|| self.end() - hold.place)
    }

    /// They, in order.
    pub(crate) fn since(&self, hold: &Hold) -> impl Iterator<Item = &Change> {
        let sealed = self.sealed.iter().flat_map(move |(place, piece)| {
            let skipped = hold.place.saturating_sub(*place).min(piece.len() as u64);
            &piece[skipped as usize..]
        });
        let skipped = hold.place.saturating_sub(self.open_place).min(self.open.len() as u64);
        sealed.chain(&self.open[skipped as usize..])
    }

    /// They, to be looked at elsewhere.
    pub(crate) fn shared_since(&mut self, hold: &Hold) -> Since {
        self.seal();
        let behind = self.sealed.iter().filter_map(|(place, piece)| {
            let skipped = hold.place.saturating_sub(*place);
            (skipped < piece.len() as u64).then(|| (Arc::clone(piece), skipped as usize))
        });
        behind.collect()
    }
}

fn held_bytes(change: &Change) -> usize {
    match change {
        Change::Key(key) => key.len() + OVERHEAD_BYTES,
        Change::Cleared(_) => OVERHEAD_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Change {
        Change::Key(number.to_be_bytes().into())
    }

    #[test]
    fn each_sees_what_came_behind_its_place() {
        let mut changes = Changes::default();
        assert!(!changes.is_kept());
        let first = changes.hold();
        (0..PIECE + 5).for_each(|number| changes.note(key(number)));
        let second = changes.hold();
        changes.note(Change::Cleared(3));
        assert_eq!(changes.count_since(&first), Some(PIECE as u64 + 6));
        assert_eq!(changes.since(&second).collect::<Vec<_>>(), [&Change::Cleared(3)]);
        let seen = |since: Since| {
            let parts = since.iter().flat_map(|(piece, skipped)| piece[*skipped..].to_vec());
            parts.collect::<Vec<_>>()
        };
        assert_eq!(seen(changes.shared_since(&second)), [Change::Cleared(3)]);
        changes.note(key(7));
        assert_eq!(seen(changes.shared_since(&second)), [Change::Cleared(3), key(7)]);
        assert_eq!(seen(changes.shared_since(&first)).len(), PIECE + 7);
        assert_eq!(changes.since(&first).count(), PIECE + 7);
    }

    #[test]
    fn nothing_is_kept_for_nobody_and_not_too_much_for_anybody() {
        let mut changes = Changes::default();
        let hold = changes.hold();
        drop(hold);
        (0..2 * PIECE).for_each(|number| changes.note(key(number)));
        assert!(!changes.is_kept() && changes.sealed.is_empty() && changes.bytes == 0);
        let hold = changes.hold();
        let most = CHANGES_BYTES / (8 + OVERHEAD_BYTES);
        (0..most + 2 * PIECE).for_each(|number| changes.note(key(number)));
        assert_eq!(changes.count_since(&hold), None);
        assert!(changes.bytes <= CHANGES_BYTES + PIECE * 40);
        let hold = changes.hold();
        assert_eq!(changes.count_since(&hold), Some(0));
    }
}
