//! Merges ordered inputs into one order.
//!
//! A binary heap of input numbers, kept by hand: the inputs lend their entries, so the heap cannot
//! hold them, and compares through the inputs instead. Of equal entries none is lost: the earlier
//! input's comes first. They do not occur between healthy inputs; whoever writes the merge down
//! (a table's builder) refuses them.

use std::cmp::Ordering;

use super::{Direction, Entry, EntryIter};
use crate::engine::error::{Error, Result};
use crate::engine::key::compare_entries;

/// An input of a merge.
pub(crate) type Input = Box<dyn EntryIter + Send>;

/// The entries of all inputs in order.
pub(crate) struct MergeIter {
    inputs: Vec<Input>,
    direction: Direction,
    /// A heap of the inputs that stand on an entry, the least first.
    heap: Vec<usize>,
    progress: Progress,
}

enum Progress {
    New,
    Under,
    /// An input failed. What it would have yielded is unknown, so nothing more is yielded.
    Failed(Error),
}

impl MergeIter {
    /// Merges `inputs`, each of them in the order of `direction` and not yet advanced.
    pub(crate) fn new(inputs: Vec<Input>, direction: Direction) -> Self {
        let heap = Vec::with_capacity(inputs.len());
        MergeIter { inputs, direction, heap, progress: Progress::New }
    }

    /// The number of the input that the current entry comes from.
    pub(crate) fn input(&self) -> usize {
        self.heap[0]
    }

    fn start(&mut self) -> Result<()> {
        for (number, input) in self.inputs.iter_mut().enumerate() {
            if input.advance()? {
                self.heap.push(number);
            }
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at);
        }
        self.progress = Progress::Under;
        Ok(())
    }

    /// Moves the input whose entry was current, and puts it where it belongs now.
    fn step(&mut self) -> Result<()> {
        let Some(&first) = self.heap.first() else { return Ok(()) };
        if !self.inputs[first].advance()? {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            for child in [left, right] {
                if child < self.heap.len() && self.is_before(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let (first, second) = (self.inputs[a].entry(), self.inputs[b].entry());
        let order = compare_entries((first.key, first.seq), (second.key, second.seq));
        match (order, self.direction) {
            (Ordering::Equal, _) => a < b,
            (order, Direction::Forward) => order.is_lt(),
            (order, Direction::Backward) => order.is_gt(),
        }
    }
}

impl EntryIter for MergeIter {
    fn advance(&mut self) -> Result<bool> {
        let moved = match &self.progress {
            Progress::New => self.start(),
            Progress::Under => self.step(),
            Progress::Failed(error) => return Err(error.clone()),
        };
        if let Err(error) = moved {
            self.progress = Progress::Failed(error.clone());
            return Err(error);
        }
        Ok(!self.heap.is_empty())
    }

    fn entry(&self) -> Entry<'_> {
        // Behind the end there is none: the caller broke the contract, and gets the bounds check.
        self.inputs[self.heap[0]].entry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::iter::testing::{Failing, Owned, Random, VecIter, collect, random_entries};
    use crate::engine::key::Kind;

    fn merge(inputs: &[Vec<Owned>], direction: Direction) -> Vec<Owned> {
        let boxed =
            inputs.iter().map(|input| Box::new(VecIter::new(input.clone())) as Input).collect();
        collect(MergeIter::new(boxed, direction)).unwrap()
    }

    fn merged(inputs: &[Vec<Owned>]) -> Vec<Owned> {
        merge(inputs, Direction::Forward)
    }

    fn sort(entries: &mut [Owned]) {
        entries.sort_by(|a, b| compare_entries((&a.0, a.1), (&b.0, b.1)));
    }

    #[test]
    fn a_merge_is_a_sort() {
        for seed in 1..300 {
            let mut random = Random(seed);
            let count = random.below(12) as usize;
            let mut inputs = vec![Vec::new(); count];
            let mut all = random_entries(&mut random, 200, 30);
            for entry in &all {
                if let Some(input) = random.below(count as u64 + 1).checked_sub(1) {
                    inputs[input as usize].push(entry.clone());
                }
            }
            all.retain(|entry| inputs.iter().any(|input| input.contains(entry)));
            assert_eq!(merged(&inputs), all, "seed {seed}");
            for input in &mut inputs {
                input.reverse();
            }
            all.reverse();
            assert_eq!(merge(&inputs, Direction::Backward), all, "seed {seed}, backward");
        }
    }

    #[test]
    fn many_inputs_merge() {
        let mut random = Random(7);
        let all = random_entries(&mut random, 2_000, 100);
        let mut inputs = vec![Vec::new(); 300];
        for entry in &all {
            inputs[random.below(300) as usize].push(entry.clone());
        }
        assert_eq!(merged(&inputs), all);
    }

    #[test]
    fn of_equal_entries_none_is_lost_and_the_earlier_input_comes_first() {
        for seed in 1..100 {
            let mut random = Random(seed);
            let mut inputs = Vec::new();
            for number in 0..5u8 {
                let mut input = random_entries(&mut random, 40, 6);
                for entry in &mut input {
                    entry.3 = vec![number];
                }
                inputs.push(input);
            }
            // A stable sort over the inputs in their order is the naive model.
            let mut all = inputs.concat();
            sort(&mut all);
            assert_eq!(merged(&inputs), all, "seed {seed}");
        }
    }

    /// Fails at its second step, and goes on as if nothing had been.
    struct Hiccup(VecIter, usize);

    impl EntryIter for Hiccup {
        fn advance(&mut self) -> Result<bool> {
            self.1 += 1;
            let moved = self.0.advance();
            if self.1 == 2 { Err(Error::corrupt("a file", 0, "as planned")) } else { moved }
        }

        fn entry(&self) -> Entry<'_> {
            self.0.entry()
        }
    }

    #[test]
    fn what_failed_once_yields_nothing_more() {
        let entries = random_entries(&mut Random(3), 20, 20);
        let (whole, hiccup) = (VecIter::new(entries.clone()), Hiccup(VecIter::new(entries), 0));
        let mut merge = MergeIter::new(vec![Box::new(whole), Box::new(hiccup)], Direction::Forward);
        while matches!(merge.advance(), Ok(true)) {}
        (0..50).for_each(|_| assert!(merge.advance().is_err()));
    }

    #[test]
    fn nothing_merges_to_nothing_and_the_end_stays_the_end() {
        assert_eq!(merged(&[]), []);
        assert_eq!(merged(&[Vec::new(), Vec::new()]), []);
        let entry = (b"a".to_vec(), 1, Kind::Put, Vec::new());
        let mut merge =
            MergeIter::new(vec![Box::new(VecIter::new(vec![entry]))], Direction::Forward);
        assert!(merge.advance().unwrap());
        assert!(!merge.advance().unwrap());
        assert!(!merge.advance().unwrap());
    }

    #[test]
    fn an_input_s_failure_ends_the_merge_for_good() {
        let entries = random_entries(&mut Random(3), 20, 20);
        for good in 0..20 {
            let inputs: Vec<Input> = vec![
                Box::new(VecIter::new(entries.clone())),
                Box::new(Failing::after(entries[..good].to_vec())),
            ];
            let mut merge = MergeIter::new(inputs, Direction::Forward);
            while matches!(merge.advance(), Ok(true)) {}
            assert!(merge.advance().is_err() && merge.advance().is_err(), "after {good}");
        }
    }
}
