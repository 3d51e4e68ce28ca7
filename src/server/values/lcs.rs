//! The longest common subsequence of two strings, as the command LCS finds it.
//!
//! There may be many of that length; which one is found, and in which ranges, is what Redis's walk
//! through the table of lengths finds, from the ends of both strings: along equal bytes, else up
//! where the length above is more than that to the left, else to the left. The table is kept as one
//! bit a cell, set where a row grows, and computed 64 cells at a time (Crochemore and others, "A fast
//! and practical bit-vector algorithm for the longest common subsequence problem", 2001); 32 bits a
//! cell, as the plain algorithm has it, would be 32 times the memory and more of the time. Both still
//! grow with the product of the lengths, so the caller refuses more than [`MAX_CELLS`].

use std::ops::Range;

/// The largest product of both lengths that may be compared.
pub(crate) const MAX_CELLS: usize = 1 << 24;

/// A run of equal bytes that belongs to the subsequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    /// Where it is in the first string.
    pub(crate) a: Range<usize>,
    /// Where it is in the second.
    pub(crate) b: Range<usize>,
}

/// Two strings that have been compared.
#[derive(Debug)]
pub(crate) struct Lcs<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// One row for each byte of `a`, of `row_bytes` bytes. A cleared bit j: the common length of `a`
    /// up to this byte and `b` up to byte j is one more than without the latter.
    rows: Vec<u8>,
    row_bytes: usize,
}

impl<'a> Lcs<'a> {
    /// Compares; time and memory grow with the product of the lengths.
    pub(crate) fn new(a: &'a [u8], b: &'a [u8]) -> Self {
        let row_bytes = b.len().div_ceil(8);
        let mut row = vec![u64::MAX; row_bytes.div_ceil(8)];
        let places = places(a, b, row.len());
        let mut rows = Vec::with_capacity(a.len() * row_bytes + 8);
        for byte in a {
            let mut carry = false;
            for (word, places) in row.iter_mut().zip(&places[usize::from(*byte)]) {
                let hits = *word & places;
                let (sum, first) = word.overflowing_add(hits);
                let (sum, second) = sum.overflowing_add(u64::from(carry));
                carry = first || second;
                *word = sum | (*word & !places);
            }
            // The last word may reach past the row; where `b` is short, that would be most of all.
            let end = rows.len() + row_bytes;
            for word in &row {
                rows.extend_from_slice(&word.to_le_bytes());
            }
            rows.truncate(end);
        }
        Lcs { a, b, rows, row_bytes }
    }

    /// How many bytes the subsequence has.
    pub(crate) fn len(&self) -> usize {
        (0..self.b.len()).filter(|j| !self.a.is_empty() && self.grows(self.a.len() - 1, *j)).count()
    }

    /// The subsequence.
    pub(crate) fn string(&self) -> Vec<u8> {
        let runs = self.matches(0);
        runs.iter().rev().flat_map(|run| &self.a[run.a.clone()]).copied().collect()
    }

    /// Its runs of at least `min_len` bytes, from the last to the first.
    pub(crate) fn matches(&self, min_len: usize) -> Vec<Match> {
        let mut matches = Vec::new();
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            let (a_end, b_end) = (i, j);
            while i > 0 && j > 0 && self.a[i - 1] == self.b[j - 1] {
                i -= 1;
                j -= 1;
            }
            if i < a_end {
                if a_end - i >= min_len {
                    matches.push(Match { a: i..a_end, b: j..b_end });
                }
            } else if self.grows(i - 1, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }

    fn grows(&self, i: usize, j: usize) -> bool {
        self.rows[i * self.row_bytes + j / 8] >> (j % 8) & 1 == 0
    }
}

/// Where in `b` each byte stands, as bits; only for those that `a` has, so that the size stays
/// within the product of the lengths.
fn places(a: &[u8], b: &[u8], row_words: usize) -> Vec<Vec<u64>> {
    let mut places = vec![Vec::new(); 256];
    for byte in a {
        places[usize::from(*byte)].resize(row_words, 0);
    }
    for (j, byte) in b.iter().enumerate() {
        if let Some(word) = places[usize::from(*byte)].get_mut(j / 64) {
            *word |= 1 << (j % 64);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    /// Two strings, the length, and the ranges as Redis lists them, apart by spaces.
    const MATCHES: &str = include_str!("fixtures/lcs.txt");

    fn listed(matches: &[Match]) -> String {
        let one =
            |m: &Match| format!("{}-{}:{}-{}", m.a.start, m.a.end - 1, m.b.start, m.b.end - 1);
        matches.iter().map(one).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn matches_are_those_of_redis() {
        let mut lines = 0;
        for line in MATCHES.lines() {
            let [a, b, min_len, len, string, runs] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let lcs = Lcs::new(a.as_bytes(), b.as_bytes());
            assert_eq!(lcs.len().to_string(), len, "{line}");
            assert_eq!(lcs.string(), string.as_bytes(), "{line}");
            assert_eq!(listed(&lcs.matches(min_len.parse().unwrap())), runs, "{line}");
            lines += 1;
        }
        assert!(lines >= 100);
    }

    #[test]
    fn the_empty_string_has_nothing_in_common() {
        for (a, b) in [(&b""[..], &b""[..]), (b"a", b""), (b"", b"a"), (b"a", b"b")] {
            let lcs = Lcs::new(a, b);
            assert_eq!((lcs.len(), lcs.string(), lcs.matches(0)), (0, vec![], vec![]));
        }
    }

    #[test]
    fn the_length_is_that_of_the_plain_algorithm() {
        let mut random = Random(5);
        for _ in 0..300 {
            let alphabet = 2 + random.below(6);
            let mut text = || {
                let len = random.below(200);
                (0..len).map(|_| random.below(alphabet) as u8).collect::<Vec<_>>()
            };
            let (a, b) = (text(), text());
            let mut row = vec![0; b.len() + 1];
            for byte in &a {
                let mut diagonal = 0;
                for (j, other) in b.iter().enumerate() {
                    let above = row[j + 1];
                    row[j + 1] = if byte == other { diagonal + 1 } else { above.max(row[j]) };
                    diagonal = above;
                }
            }
            let lcs = Lcs::new(&a, &b);
            assert_eq!(lcs.len(), row[b.len()], "{a:?} {b:?}");
            assert_eq!(lcs.string().len(), lcs.len(), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_largest_inputs_take_a_byte_a_cell_at_most() {
        let (narrow, wide) = (vec![b'a'; 1], vec![b'a'; MAX_CELLS]);
        assert_eq!(Lcs::new(&narrow, &wide).len(), 1);
        let lcs = Lcs::new(&wide, &narrow);
        assert_eq!((lcs.string(), lcs.rows.len()), (b"a".to_vec(), MAX_CELLS));
        let square = vec![b'a'; 4096];
        let lcs = Lcs::new(&square, &square);
        assert_eq!(lcs.matches(1), [Match { a: 0..4096, b: 0..4096 }]);
        assert_eq!(lcs.rows.len() * 8, MAX_CELLS);
    }
}
