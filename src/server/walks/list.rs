//! The keys of a range in order, encoded as they will be sent, in a form that can be brought up to date:
//! where something has changed, it is cut, and whatever lies between two cuts is copied as a whole.

use std::ops::Range;

use crate::engine::KeyRange;
use crate::parser::{Encoder, Protocol};

use super::super::interrupt::Fault;
use super::super::keyspace::decode;
use super::{Wanted, What};

/// What a key holds now.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The value with its type byte; that alone where values are not wanted.
    pub(crate) stored: Vec<u8>,
    pub(crate) expires_ms: Option<u64>,
}

/// What has become of a key, which is given without its namespace.
#[derive(Debug, Clone)]
pub(crate) struct Patch {
    pub(crate) key: Vec<u8>,
    pub(crate) now: Option<Shown>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where the key begins in the bytes.
    key_start: u32,
    key_bytes: u32,
    /// Where all that is shown of it ends.
    end: u32,
    expires_ms: u64,
}

/// A part of what is shown.
#[derive(Debug)]
enum Piece<'p> {
    /// Entries as they were.
    Run(Range<usize>),
    Patch(&'p Patch),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct List {
    protocol: Protocol,
    is_reversed: bool,
    has_values: bool,
    /// Which of the engine's keys it knows of.
    pub(crate) covered: KeyRange,
    /// The first key behind them; none if that is all of the range.
    pub(crate) next: Option<Vec<u8>>,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    earliest_ms: u64,
}

impl List {
    /// That nothing is there.
    pub(crate) fn empty(wanted: &Wanted) -> Self {
        let (is_reversed, has_values) = match wanted.what {
            What::Keys { is_reversed, has_values, .. } => (is_reversed, has_values),
            What::Count | What::Few => (false, false),
        };
        List {
            protocol: wanted.protocol,
            is_reversed,
            has_values,
            covered: wanted.range.clone(),
            next: None,
            bytes: Vec::new(),
            entries: Vec::new(),
            earliest_ms: u64::MAX,
        }
    }

    /// Memory that it takes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Bytes of the reply that it makes, without what is before the first element.
    pub(super) fn reply_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a key behind the others.
    ///
    /// # Errors
    /// The value is none that can be shown.
    pub(super) fn push(&mut self, key: &[u8], shown: &Shown) -> Result<(), Fault> {
        let trailer = if self.protocol == Protocol::Text { 1 } else { 2 };
        Encoder::new(self.protocol, &mut self.bytes).bulk(key);
        let key_start = self.bytes.len() - trailer - key.len();
        if self.has_values {
            Encoder::new(self.protocol, &mut self.bytes).bulk(decode(&shown.stored)?);
        }
        let expires_ms = shown.expires_ms.unwrap_or(u64::MAX);
        self.earliest_ms = self.earliest_ms.min(expires_ms);
        self.entries.push(Entry {
            key_start: key_start as u32,
            key_bytes: key.len() as u32,
            end: self.bytes.len() as u32,
            expires_ms,
        });
        Ok(())
    }

    /// The walk has ended before this key, one of the engine's.
    pub(super) fn stop_before(&mut self, next: &[u8]) {
        if self.is_reversed {
            self.covered.start = [next, &[0]].concat();
        } else {
            self.covered.end = Some(next.to_vec());
        }
        self.next = Some(next.to_vec());
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        let start = entry.key_start as usize;
        self.bytes.get(start..start + entry.key_bytes as usize).unwrap_or_default()
    }

    fn begin(&self, at: usize) -> usize {
        at.checked_sub(1).and_then(|before| self.entries.get(before)).map_or(0, |e| e.end as usize)
    }

    /// Where a key stands, or would; and whether it does.
    fn place(&self, key: &[u8]) -> (usize, bool) {
        let is_before = |entry: &Entry| {
            let known = self.key(entry);
            if self.is_reversed { known > key } else { known < key }
        };
        let at = self.entries.partition_point(is_before);
        (at, self.entries.get(at).is_some_and(|entry| self.key(entry) == key))
    }

    /// What is there at `now_ms`, where `patches`, in the order of their keys, say what has become of some.
    fn pieces<'p>(&self, patches: &'p [Patch], now_ms: u64) -> Vec<Piece<'p>> {
        // Where something is left out (no patch), and before which place something is added.
        let mut cuts: Vec<(usize, Option<&Patch>)> = Vec::new();
        for patch in patches {
            let (at, is_there) = self.place(&patch.key);
            cuts.extend(patch.now.is_some().then_some((at, Some(patch))));
            cuts.extend(is_there.then_some((at, None)));
        }
        if self.earliest_ms <= now_ms {
            let expired = self.entries.iter().enumerate().filter(|(_, e)| e.expires_ms <= now_ms);
            cuts.extend(expired.map(|(at, _)| (at, None)));
        }
        cuts.sort_by_key(|(at, patch)| (*at, patch.is_none()));
        if self.is_reversed {
            // Of those that go to one place the greatest comes first.
            for same in cuts.chunk_by_mut(|a, b| a.0 == b.0) {
                let added = same.iter().take_while(|(_, patch)| patch.is_some()).count();
                same[..added].reverse();
            }
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (cut, patch) in cuts {
            if at < cut {
                pieces.push(Piece::Run(at..cut));
                at = cut;
            }
            match patch {
                Some(patch) => pieces.push(Piece::Patch(patch)),
                None => at = at.max(cut + 1),
            }
        }
        if at < self.entries.len() {
            pieces.push(Piece::Run(at..self.entries.len()));
        }
        pieces
    }

    /// The elements that are shown of it at `now_ms`, `limit` keys at most, and how many keys these are.
    ///
    /// # Errors
    /// A value is none that can be shown.
    pub(crate) fn show(
        &self,
        patches: &[Patch],
        now_ms: u64,
        limit: u64,
    ) -> Result<(Vec<u8>, u64), Fault> {
        let (mut out, mut left) = (Vec::with_capacity(self.bytes.len()), limit);
        for piece in self.pieces(patches, now_ms) {
            match piece {
                _ if left == 0 => break,
                Piece::Run(run) => {
                    let count = left.min(run.len() as u64);
                    let (from, to) =
                        (self.begin(run.start), self.begin(run.start + count as usize));
                    out.extend_from_slice(&self.bytes[from..to]);
                    left -= count;
                }
                Piece::Patch(patch) => {
                    let stored = patch.now.as_ref().map_or(&[][..], |shown| &shown.stored);
                    let mut encoder = Encoder::new(self.protocol, &mut out);
                    encoder.bulk(&patch.key);
                    if self.has_values {
                        encoder.bulk(decode(stored)?);
                    }
                    left -= 1;
                }
            }
        }
        Ok((out, limit - left))
    }

    /// The keys that are there at `now_ms`.
    pub(crate) fn keys(&self, patches: &[Patch], now_ms: u64) -> Vec<Vec<u8>> {
        let pieces = self.pieces(patches, now_ms);
        let keys = pieces.into_iter().flat_map(|piece| match piece {
            Piece::Run(run) => self.entries[run].iter().map(|e| self.key(e).to_vec()).collect(),
            Piece::Patch(patch) => vec![patch.key.clone()],
        });
        keys.collect()
    }

    /// The same list with the patches taken over.
    ///
    /// # Errors
    /// A value is none that can be shown.
    pub(super) fn patched(&self, patches: &[Patch]) -> Result<List, Fault> {
        let mut list = List {
            covered: self.covered.clone(),
            next: self.next.clone(),
            bytes: Vec::with_capacity(self.bytes.len()),
            entries: Vec::with_capacity(self.entries.len()),
            ..*self
        };
        for piece in self.pieces(patches, 0) {
            match piece {
                Piece::Run(run) => {
                    let from = self.begin(run.start);
                    let moved = list.bytes.len() as u32;
                    list.bytes.extend_from_slice(&self.bytes[from..self.begin(run.end)]);
                    list.entries.extend(self.entries[run].iter().map(|entry| Entry {
                        key_start: entry.key_start - from as u32 + moved,
                        end: entry.end - from as u32 + moved,
                        ..*entry
                    }));
                }
                Piece::Patch(Patch { key, now: Some(shown) }) => list.push(key, shown)?,
                Piece::Patch(_) => {}
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Filter;
    use super::*;
    use crate::engine::storage::sim::Random;

    fn wanted(is_reversed: bool) -> Wanted {
        let filter = Filter::default();
        let what =
            What::Keys { filter, is_reversed, has_values: true, limit: u64::MAX, is_page: false };
        Wanted { range: KeyRange::prefix(b"\0"), what, protocol: Protocol::Resp2 }
    }

    fn shown(value: &str, expires_ms: Option<u64>) -> Shown {
        Shown { stored: [b"\0", value.as_bytes()].concat(), expires_ms }
    }

    type Model = BTreeMap<Vec<u8>, (String, Option<u64>)>;

    fn list_of(model: &Model, is_reversed: bool) -> List {
        let mut list = List::empty(&wanted(is_reversed));
        let mut entries: Vec<_> = model.iter().collect();
        if is_reversed {
            entries.reverse();
        }
        for (key, (value, expires_ms)) in entries {
            list.push(key, &shown(value, *expires_ms)).unwrap();
        }
        list
    }

    fn expected(model: &Model, is_reversed: bool, now_ms: u64, limit: u64) -> Vec<u8> {
        let mut live: Vec<_> =
            model.iter().filter(|(_, (_, e))| e.is_none_or(|e| e > now_ms)).collect();
        if is_reversed {
            live.reverse();
        }
        let mut out = Vec::new();
        for (key, (value, _)) in live.into_iter().take(limit as usize) {
            let mut encoder = Encoder::new(Protocol::Resp2, &mut out);
            encoder.bulk(key);
            encoder.bulk(value.as_bytes());
        }
        out
    }

    /// Random keys and changes; some expire before the patches are made.
    #[test]
    fn a_patched_list_is_the_list_of_what_is_there() {
        for seed in 0..400 {
            let mut random = Random(seed);
            let is_reversed = seed % 2 == 0;
            let key = |random: &mut Random| format!("k{}", random.below(40)).into_bytes();
            let mut model = Model::new();
            for number in 0..random.below(40) {
                let expires_ms = random.one_in(4).then(|| random.below(20));
                model.insert(key(&mut random), (format!("v{number}"), expires_ms));
            }
            let list = list_of(&model, is_reversed);
            let now_ms = random.below(20);
            let mut patches = BTreeMap::new();
            for number in 0..random.below(12) {
                let key = key(&mut random);
                let now = (!random.one_in(3)).then(|| (format!("new{number}"), None));
                match now.clone() {
                    Some(value) => _ = model.insert(key.clone(), value),
                    None => _ = model.remove(&key),
                }
                patches.insert(key, now.map(|(value, _)| shown(&value, None)));
            }
            let patches: Vec<Patch> =
                patches.into_iter().map(|(key, now)| Patch { key, now }).collect();
            let limit = if random.one_in(2) { random.below(30) } else { u64::MAX };
            let right = expected(&model, is_reversed, now_ms, limit);
            assert_eq!(list.show(&patches, now_ms, limit).unwrap().0, right, "seed {seed}");
            let later = list.patched(&patches).unwrap();
            assert_eq!(later.show(&[], now_ms, limit).unwrap().0, right, "seed {seed}");
            assert_eq!(later.keys(&[], now_ms), list.keys(&patches, now_ms), "seed {seed}");
        }
    }

    #[test]
    fn a_list_that_stops_early_says_of_what_it_knows() {
        let mut forward = List::empty(&wanted(false));
        forward.stop_before(b"\0m");
        assert!(forward.covered.contains(b"\0l") && !forward.covered.contains(b"\0m"));
        let mut backward = List::empty(&wanted(true));
        backward.stop_before(b"\0m");
        assert!(!backward.covered.contains(b"\0m") && backward.covered.contains(b"\0m\0"));
    }
}
