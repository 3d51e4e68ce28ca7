//! The order of a memtable's versions, made by those who scan and kept for the next.
//!
//! A memtable has no order of its own; whoever scans it sorts what was appended since the last scan,
//! chunk by chunk, and leaves that behind as a run. So a write pays nothing, a scan pays for what is
//! new, and no scan keeps a writer waiting: sorting reads a [`Filled`], under a lock of its own.
//!
//! The runs of a chunk are merged when the new one is not much smaller than the last, as in a
//! log-structured merge: each version is sorted a logarithmic number of times, and runs are few. A
//! chunk that takes no more ends up as one run. Across chunks nothing is merged: that bounds what
//! one scan may have to sort beyond what is new, and a scan merges runs anyway.
//!
//! A run may hold versions that were appended after the moment that a scan shows. Who walks it must
//! leave them out.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex};

use super::arena::{Record, first_offset, offset, positions, record_at};
use super::chunk::Filled;
use crate::engine::hardware::prefetch;
use crate::engine::sync::lock;

/// A run is merged with those behind it when it is not larger than they are by this factor: runs of
/// a chunk at least halve from each to the next.
const MERGE_FACTOR: usize = 2;
/// Of so many versions of a run, one has its key sampled.
const SAMPLE_EVERY: usize = 8;

/// What scans of a memtable have sorted so far.
#[derive(Default)]
pub(super) struct Order {
    chunks: Mutex<Vec<ChunkOrder>>,
}

/// The runs of one chunk, each larger than all behind it.
struct ChunkOrder {
    /// What is in runs ends here.
    sorted_bytes: usize,
    runs: Vec<Arc<Run>>,
}

/// Versions of one chunk in entry order.
pub(super) struct Run {
    chunk: Filled,
    positions: Box<[u32]>,
    /// The prefix that all keys share.
    shared: Box<[u8]>,
    /// What follows it in the key of every `SAMPLE_EVERY`-th version. A search among these stays
    /// within few cache lines, where each key looked at costs a miss.
    samples: Box<[u128]>,
}

impl Order {
    /// Runs that together hold everything in those of `chunks` that are `wanted`, by their numbers, each
    /// with the number of its chunk. All chunks but `tail` are complete.
    pub(super) fn runs(
        &self,
        chunks: &[Filled],
        tail: usize,
        wanted: impl Fn(usize) -> bool,
    ) -> Vec<(usize, Arc<Run>)> {
        let mut orders = lock(&self.chunks);
        for number in orders.len()..chunks.len() {
            orders.push(ChunkOrder { sorted_bytes: first_offset(number), runs: Vec::new() });
        }
        let mut runs = Vec::with_capacity(chunks.len());
        let all = orders.iter_mut().zip(chunks).enumerate();
        for (number, (order, chunk)) in all.filter(|(number, _)| wanted(*number)) {
            order.update(chunk, number != tail);
            runs.extend(order.runs.iter().map(|run| (number, Arc::clone(run))));
        }
        runs
    }
}

impl ChunkOrder {
    /// Sorts what is new in `chunk`, which may be older than what was sorted already.
    fn update(&mut self, chunk: &Filled, is_complete: bool) {
        let mut merged: Vec<u32> = positions(chunk, self.sorted_bytes).collect();
        if merged.is_empty() && !(is_complete && self.runs.len() > 1) {
            return;
        }
        let count = |merged: &Vec<u32>| MERGE_FACTOR * merged.len();
        while let Some(run) = self.runs.pop_if(|r| is_complete || r.len() <= count(&merged)) {
            merged.extend_from_slice(&run.positions);
        }
        self.runs.push(Arc::new(Run::new(chunk.clone(), merged)));
        self.sorted_bytes = chunk.len();
    }
}

impl Run {
    /// Sorts the versions of `chunk` at `positions`. Parts that are in order already cost little.
    fn new(chunk: Filled, positions: Vec<u32>) -> Self {
        let key = |position| record_at(&chunk, offset(position)).key;
        let (mut order, shared_bytes) = with_prefixes(positions, key);
        order.sort_by(|a, b| compare(a, b, key).then_with(|| b.1.cmp(&a.1)));
        let positions: Box<[u32]> = order.into_iter().map(|(_, position)| position).collect();
        let samples = positions.iter().step_by(SAMPLE_EVERY);
        let samples = samples.map(|position| sixteen_bytes(&key(*position)[shared_bytes..]));
        let samples = samples.collect();
        let shared = key(positions[0])[..shared_bytes].into();
        Run { chunk, positions, shared, samples }
    }

    /// Versions held.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Where the `at`-th version starts in its chunk.
    pub(super) fn offset(&self, at: usize) -> usize {
        offset(self.positions[at])
    }

    /// Starts loading the `at`-th version, if there is one.
    pub(super) fn prefetch(&self, at: usize) {
        if let Some(start) = self.positions.get(at).map(|position| offset(*position)) {
            prefetch(&self.chunk[start]);
        }
    }

    /// The version that starts at `offset`.
    pub(super) fn record(&self, offset: usize) -> Record<'_> {
        record_at(&self.chunk, offset)
    }

    /// How many versions are of keys before `key`.
    pub(super) fn count_before(&self, key: &[u8]) -> usize {
        let (from, to) = self.narrow(key);
        // What is about to be compared, all at once instead of one after the other.
        (from..to.min(from + SAMPLE_EVERY)).for_each(|at| self.prefetch(at));
        let positions = &self.positions[from..to];
        from + positions.partition_point(|position| self.record(offset(*position)).key < key)
    }

    /// Between which places the first version of a key not before `key` is, as far as samples tell.
    fn narrow(&self, key: &[u8]) -> (usize, usize) {
        let shared_bytes = self.shared.len();
        match key.get(..shared_bytes).unwrap_or(key).cmp(&self.shared) {
            Ordering::Less => return (0, 0),
            Ordering::Greater => return (self.len(), self.len()),
            Ordering::Equal => {}
        }
        let word = sixteen_bytes(&key[shared_bytes..]);
        // Keys with the same word may be on either side.
        let below = self.samples.partition_point(|sample| *sample < word);
        let equal = self.samples[below..].partition_point(|sample| *sample == word);
        let from = below.saturating_sub(1) * SAMPLE_EVERY;
        (from, ((below + equal) * SAMPLE_EVERY).min(self.len()))
    }
}

/// Sorts references by key. Keys must differ.
pub(super) fn sorted<'a>(references: Vec<u32>, key: impl Fn(u32) -> &'a [u8] + Copy) -> Vec<u32> {
    let (mut order, _) = with_prefixes(references, key);
    order.sort_unstable_by(|a, b| compare(a, b, key));
    order.into_iter().map(|(_, reference)| reference).collect()
}

/// References with eight bytes of their keys, those behind the prefix that all share, and its length.
fn with_prefixes<'a>(
    references: Vec<u32>,
    key: impl Fn(u32) -> &'a [u8],
) -> (Vec<(u64, u32)>, usize) {
    let first = references.first().map_or(&[][..], |reference| key(*reference));
    let shared = references
        .iter()
        .fold(first.len(), |shared, reference| common_prefix(&first[..shared], key(*reference)));
    let prefixed =
        references.into_iter().map(|reference| (eight_bytes(&key(reference)[shared..]), reference));
    (prefixed.collect(), shared)
}

/// Compares keys by their eight bytes, and in full only where those tie.
fn compare<'a>(a: &(u64, u32), b: &(u64, u32), key: impl Fn(u32) -> &'a [u8]) -> Ordering {
    a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1)))
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// The first eight bytes as a number that orders as they do; shorter keys are padded with zeros.
fn eight_bytes(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(word)
}

/// As [`eight_bytes`], for sixteen.
fn sixteen_bytes(bytes: &[u8]) -> u128 {
    let (first, rest) = bytes.split_at(bytes.len().min(8));
    u128::from(eight_bytes(first)) << 64 | u128::from(eight_bytes(rest))
}
