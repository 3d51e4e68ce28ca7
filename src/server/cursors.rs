//! Where SCAN goes on: clients hold numbers, the server the keys that they stand for.
//!
//! A number says nothing by itself. The same position has the same number for as long as it is
//! remembered, so that many clients that walk over the same keys share it. What is remembered is
//! bounded; the positions that were given out longest ago are forgotten first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use super::limits::{CURSOR_BYTES, CURSORS};

/// Clients may keep a cursor in a double: numbers are below this.
const NUMBERS: u64 = 1 << 48;

#[derive(Debug)]
struct Position {
    key: Box<[u8]>,
    /// When it was last given out.
    age: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cursors {
    hasher: RandomState,
    positions: HashMap<u64, Position>,
    /// Age to number, the oldest first.
    ages: BTreeMap<u64, u64>,
    /// Of all keys.
    bytes: usize,
    /// How many were given out.
    given: u64,
    most: usize,
    most_bytes: usize,
}

impl Default for Cursors {
    fn default() -> Self {
        Self::bounded(CURSORS, CURSOR_BYTES)
    }
}

impl Cursors {
    fn bounded(most: usize, most_bytes: usize) -> Self {
        Cursors {
            hasher: RandomState::new(),
            positions: HashMap::new(),
            ages: BTreeMap::new(),
            bytes: 0,
            given: 0,
            most,
            most_bytes,
        }
    }

    /// The number for going on with `key`; never 0.
    pub(crate) fn give(&mut self, key: &[u8]) -> u64 {
        let mut number = self.hasher.hash_one(key) % NUMBERS;
        // Another key may have the number.
        while number == 0 || self.positions.get(&number).is_some_and(|known| *known.key != *key) {
            number = (number + 1) % NUMBERS;
        }
        self.forget(number);
        self.given += 1;
        self.bytes += key.len();
        self.ages.insert(self.given, number);
        self.positions.insert(number, Position { key: key.into(), age: self.given });
        while self.positions.len() > self.most || self.bytes > self.most_bytes {
            let Some((_, &oldest)) = self.ages.first_key_value() else { break };
            self.forget(oldest);
        }
        number
    }

    /// The key that a number stands for, unless it was forgotten.
    pub(crate) fn position(&self, number: u64) -> Option<&[u8]> {
        self.positions.get(&number).map(|position| &*position.key)
    }

    fn forget(&mut self, number: u64) {
        if let Some(position) = self.positions.remove(&number) {
            self.bytes -= position.key.len();
            self.ages.remove(&position.age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_keeps_its_number() {
        let mut cursors = Cursors::default();
        let numbers: Vec<u64> = (0..1000_u32).map(|n| cursors.give(&n.to_be_bytes())).collect();
        for (n, &number) in (0..1000_u32).zip(&numbers) {
            assert!(number > 0 && number < NUMBERS);
            assert_eq!(cursors.position(number), Some(&n.to_be_bytes()[..]));
            assert_eq!(cursors.give(&n.to_be_bytes()), number);
        }
        assert_eq!(cursors.position(0), None);
        assert_eq!((cursors.positions.len(), cursors.ages.len()), (1000, 1000));
        assert_eq!(cursors.bytes, 4000);
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut cursors = Cursors::bounded(3, 100);
        let [a, b] = [b"a", b"b"].map(|key| cursors.give(key));
        let c = cursors.give(b"c");
        cursors.give(b"a");
        let d = cursors.give(b"d");
        assert_eq!(cursors.position(b), None);
        assert_eq!([a, c, d].map(|number| cursors.position(number).is_some()), [true; 3]);
        let long = cursors.give(&[b'x'; 99]);
        assert_eq!([a, c].map(|number| cursors.position(number)), [None, None]);
        assert!(cursors.position(long).is_some() && cursors.position(d).is_some());
        assert_eq!(cursors.bytes, 100);
        // One that is too long by itself is not kept either.
        let longest = cursors.give(&[b'x'; 101]);
        assert_eq!((cursors.position(longest), cursors.bytes, cursors.ages.len()), (None, 0, 0));
    }

    #[test]
    fn two_keys_never_share_a_number() {
        let mut cursors = Cursors::default();
        let number = cursors.hasher.hash_one(&b"late"[..]) % NUMBERS;
        cursors.positions.insert(number, Position { key: (*b"early").into(), age: 0 });
        cursors.ages.insert(0, number);
        cursors.bytes = 5;
        let next = cursors.give(b"late");
        assert_ne!(next, number);
        assert_eq!(cursors.position(number), Some(&b"early"[..]));
        assert_eq!(cursors.position(next), Some(&b"late"[..]));
    }
}
