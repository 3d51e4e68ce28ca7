//! The keys and values: functions of a number, so that every reader knows what it must find.
//!
//! A key is `key:` and twelve digits. Keys that are written have even numbers, keys that are missing
//! have odd ones, so a miss always falls between two hits and no range check answers it. Values are
//! pseudorandom and do not compress: half-compressible ones would measure LZ4. Orders are permutations
//! that need no memory, because a shuffled list would count into an engine's peak.

/// Length of every key.
pub(crate) const KEY_BYTES: usize = 16;
/// Length of every value.
pub(crate) const VALUE_BYTES: usize = 100;
/// Bytes of an entry, as its user sees it.
pub(crate) const ENTRY_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;
/// More do not fit into the digits of a key.
pub(crate) const MAX_ENTRIES: u64 = 100_000_000_000;

/// A key.
pub(crate) type Key = [u8; KEY_BYTES];
/// A value.
pub(crate) type Value = [u8; VALUE_BYTES];

/// The key of the entry with this index; keys are ordered as indexes are.
pub(crate) fn present(index: u64) -> Key {
    key(2 * index)
}

/// A key that nobody writes, right behind the one of the entry with this index.
pub(crate) fn missing(index: u64) -> Key {
    key(2 * index + 1)
}

fn key(mut number: u64) -> Key {
    let mut key = *b"key:000000000000";
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    key
}

/// The value that an entry has after it was written `generation` times over.
pub(crate) fn value(index: u64, generation: u64) -> Value {
    let mut value = [0; VALUE_BYTES];
    let mut state = mix(index ^ generation << 48);
    for chunk in value.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&mix(state).to_le_bytes()[..chunk.len()]);
    }
    value
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A seeded order of the numbers below a count: a Feistel network over the next power of four, walked
/// until it falls below the count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    count: u64,
    half_bits: u32,
    seed: u64,
}

impl Order {
    const ROUNDS: u64 = 4;

    pub(crate) fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Order { count, half_bits: bits.div_ceil(2).max(1), seed: mix(seed) }
    }

    /// The number at this position, which must be below the count.
    pub(crate) fn at(&self, position: u64) -> u64 {
        let mut number = self.permute(position);
        while number >= self.count {
            number = self.permute(number);
        }
        number
    }

    fn permute(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..Self::ROUNDS {
            let scrambled = mix(right ^ self.seed.wrapping_add(round << 56)) & mask;
            (left, right) = (right, left ^ scrambled);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_number_once() {
        for count in [1, 2, 3, 4, 5, 64, 1000, 4097] {
            let order = Order::new(count, 7);
            let mut numbers: Vec<u64> = (0..count).map(|position| order.at(position)).collect();
            if count >= 64 {
                assert!(!numbers.is_sorted(), "{count}");
            }
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..count), "{count}");
        }
    }

    #[test]
    fn orders_of_two_seeds_differ() {
        let (one, other) = (Order::new(1000, 1), Order::new(1000, 2));
        let same = (0..1000).filter(|&position| one.at(position) == other.at(position)).count();
        assert!(same < 20, "{same}");
    }

    #[test]
    fn keys_are_in_order_and_misses_fall_between() {
        assert_eq!(&present(21), b"key:000000000042");
        for index in [0, 1, 49, 4_999, MAX_ENTRIES - 1] {
            assert!(present(index) < missing(index) && missing(index) < present(index + 1));
        }
    }

    #[test]
    fn values_differ_by_entry_and_generation_and_do_not_repeat_themselves() {
        assert_ne!(value(1, 0), value(2, 0));
        assert_ne!(value(1, 0), value(1, 1));
        let value = value(1, 0);
        let mut words: Vec<_> = value.chunks(4).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), VALUE_BYTES / 4);
    }
}
