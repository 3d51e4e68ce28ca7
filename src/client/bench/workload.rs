//! What is asked, and what the right answers are.
//!
//! A key's value follows from the key alone, so every GET can be checked, also those of a later run.
//! Values are cut from random text at a place that the key decides: a server that compresses gains
//! little, as with real records.

use clap::ValueEnum;

use super::options::{KeyOrder, Options};

/// Length of every key.
pub(crate) const KEY_BYTES: usize = PREFIX.len() + DIGITS;
const PREFIX: &[u8; 6] = b"bench:";
const DIGITS: usize = 12;
/// Each value begins with this many bytes that name its key.
const TAG_BYTES: usize = 16;
/// Values are cut from this much text, beside their length.
const FILLER_BYTES: usize = 64 << 10;
/// Fixed, so that a later run knows the values of an earlier one.
const FILLER_SEED: u64 = 0x4368_726f_6e6f_7321;

/// What one test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Stores a value.
    Set,
    /// Reads it.
    Get,
    /// Deletes it.
    Del,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Del => "DEL",
        }
    }
}

/// What a reply says, whatever the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// The write was carried out.
    Done,
    /// The key has this value.
    Value(&'a [u8]),
    /// The key is not there.
    Missing,
    /// Anything else: an error, or a reply that does not fit.
    Unexpected(&'a [u8]),
}

/// How an answer compares with the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// Right, and there was no such key.
    Miss,
    Wrong,
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, seeded, and good enough to spread keys.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The keys of one test, in the order of their use.
#[derive(Debug)]
pub(crate) struct Keys {
    count: u64,
    order: KeyOrder,
    random: Random,
    used: u64,
}

impl Keys {
    pub(crate) fn new(count: u64, order: KeyOrder, seed: u64) -> Self {
        Self { count, order, random: Random::new(seed), used: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let used = self.used;
        self.used += 1;
        match self.order {
            KeyOrder::Sequential => used % self.count,
            KeyOrder::Random => self.random.below(self.count),
        }
    }
}

/// Writes the name of key `number` to `out`.
pub(crate) fn write_key(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(&digits);
}

/// The values, and which keys are known to have theirs.
#[derive(Debug)]
pub(crate) struct Values {
    length: usize,
    filler: Vec<u8>,
    /// One bit per key: its SET was acknowledged in this run, and no DEL since.
    known: Vec<u64>,
}

impl Values {
    pub(crate) fn new(options: &Options) -> Self {
        let length = options.value_bytes as usize;
        let words = options.keys().0.div_ceil(64) as usize;
        Self { length, filler: filler(FILLER_BYTES + length), known: vec![0; words] }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Writes the value of key `number` to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, number: u64) {
        let (tag, rest) = self.parts(number);
        out.extend_from_slice(tag.get(..self.length).unwrap_or(&tag));
        out.extend_from_slice(rest);
    }

    /// A value is its tag, cut to the length, and the rest.
    fn parts(&self, number: u64) -> ([u8; TAG_BYTES], &[u8]) {
        let hash = mix(number.wrapping_add(FILLER_SEED));
        let start = (hash % FILLER_BYTES as u64) as usize;
        let end = start + self.length.saturating_sub(TAG_BYTES);
        (tag(hash), self.filler.get(start..end).unwrap_or_default())
    }

    /// Compares an answer with the right one, and notes what it says about the key.
    pub(crate) fn judge(&mut self, operation: Operation, key: u64, answer: Answer) -> Verdict {
        match (operation, answer) {
            (Operation::Set | Operation::Del, Answer::Done) => {
                self.mark(key, operation == Operation::Set);
                Verdict::Right
            }
            (Operation::Get, Answer::Value(value)) if self.fits(key, value) => Verdict::Right,
            (Operation::Get, Answer::Missing) if !self.is_known(key) => Verdict::Miss,
            _ => Verdict::Wrong,
        }
    }

    /// Whether `value` is the key's, whole if this run wrote it; an earlier run may have used another
    /// length.
    fn fits(&self, key: u64, value: &[u8]) -> bool {
        let (tag, rest) = self.parts(key);
        let (head, tail) = value.split_at(value.len().min(TAG_BYTES));
        let complete = value.len() == self.length && tail == rest;
        tag.starts_with(head) && (complete || !self.is_known(key))
    }

    fn mark(&mut self, key: u64, known: bool) {
        if let Some(word) = self.known.get_mut((key / 64) as usize) {
            let bit = 1 << (key % 64);
            *word = if known { *word | bit } else { *word & !bit };
        }
    }

    fn is_known(&self, key: u64) -> bool {
        self.known.get((key / 64) as usize).is_some_and(|word| word & (1 << (key % 64)) != 0)
    }
}

fn tag(hash: u64) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    for (index, byte) in tag.iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(hash >> (4 * index)) as usize & 15];
    }
    tag
}

/// Letters, digits and two signs, at random: no line breaks, so the text protocol can carry it.
fn filler(length: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = Random::new(FILLER_SEED);
    (0..length).map(|_| ALPHABET[random.next() as usize & 63]).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn values(length: &str) -> Values {
        let arguments = ["bench", "--value-bytes", length, "--keys", "100"];
        Values::new(&Options::try_parse_from(arguments).unwrap())
    }

    fn value(values: &Values, key: u64) -> Vec<u8> {
        let mut out = Vec::new();
        values.write(&mut out, key);
        out
    }

    #[test]
    fn keys_have_one_length_and_follow_their_order() {
        let mut out = Vec::new();
        write_key(&mut out, 42);
        assert_eq!(out, b"bench:000000000042");
        assert_eq!(out.len(), KEY_BYTES);
        let take = |order| {
            let mut keys = Keys::new(3, order, 9);
            (0..100).map(|_| keys.next()).collect::<Vec<_>>()
        };
        assert_eq!(take(KeyOrder::Sequential)[..5], [0, 1, 2, 0, 1]);
        assert_eq!(take(KeyOrder::Random), take(KeyOrder::Random));
        assert!((0..3).all(|key| take(KeyOrder::Random).contains(&key)));
        assert!(take(KeyOrder::Random).iter().all(|key| *key < 3));
    }

    #[test]
    fn a_value_has_its_length_and_is_its_keys_own() {
        for length in [0, 1, 15, 16, 17, 100, 70_000] {
            let values = values(&length.to_string());
            assert_eq!(value(&values, 3).len(), length);
            assert!(!value(&values, 3).contains(&b'\n'));
        }
        assert_ne!(value(&values("100"), 3), value(&values("100"), 4));
    }

    #[test]
    fn a_value_written_in_this_run_must_come_back_whole() {
        let mut values = values("100");
        let mut right = value(&values, 3);
        assert_eq!(values.judge(Operation::Set, 3, Answer::Done), Verdict::Right);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Value(&right)), Verdict::Right);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Missing), Verdict::Wrong);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Value(&right[..50])), Verdict::Wrong);
        let other = value(&values, 4);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Value(&other)), Verdict::Wrong);
        right[99] ^= 1;
        assert_eq!(values.judge(Operation::Get, 3, Answer::Value(&right)), Verdict::Wrong);
    }

    #[test]
    fn a_key_of_another_run_may_be_missing_or_of_another_length_but_not_anothers() {
        let mut values = values("100");
        let (mine, other) = (value(&values, 3), value(&values, 4));
        assert_eq!(values.judge(Operation::Get, 3, Answer::Missing), Verdict::Miss);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Value(&mine[..20])), Verdict::Right);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Value(&other)), Verdict::Wrong);
        values.judge(Operation::Set, 3, Answer::Done);
        values.judge(Operation::Del, 3, Answer::Done);
        assert_eq!(values.judge(Operation::Get, 3, Answer::Missing), Verdict::Miss);
    }

    #[test]
    fn an_error_is_never_right() {
        let mut values = values("10");
        for operation in [Operation::Set, Operation::Get, Operation::Del] {
            let error = Answer::Unexpected(b"ERR no");
            assert_eq!(values.judge(operation, 1, error), Verdict::Wrong);
        }
        assert_eq!(values.judge(Operation::Set, 1, Answer::Missing), Verdict::Wrong);
    }
}
