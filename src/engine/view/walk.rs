//! A walk over what is there, which searches instead of stepping where much is dead.
//!
//! Stepping over something dead costs as much as showing something live, and a reader who wants ten
//! keys does not expect to pay for a hundred thousand deleted ones. So after some steps without a live
//! key the walk opens its inputs anew from where it stands: each begins behind what a range delete
//! covers, and behind the further versions of a key that was written again and again. The patience
//! doubles with each search that did not end at a live key, so that searches in vain cost little.

use std::sync::Arc;

use super::View;
use crate::engine::error::Result;
use crate::engine::iter::{Direction, LiveIter, MergeIter, Step};
use crate::engine::key::Seq;
use crate::engine::options::Clock;
use crate::engine::range::KeyRange;

/// Dead versions that are stepped over before the first search.
const PATIENCE: usize = 32;

/// What is there in a range of a view, in one direction.
pub(crate) struct LiveEntries {
    view: View,
    clock: Arc<dyn Clock>,
    /// Where it looks for what is to come, as of the last search.
    range: KeyRange,
    direction: Direction,
    /// Whether values are shown.
    with_values: bool,
    live: LiveIter<MergeIter>,
    /// Dead versions that it was stopped by, not told yet.
    dead: u64,
}

impl LiveEntries {
    /// Walks over what `view` shows in `range`, less what has expired by `clock`.
    pub(super) fn new(
        view: View,
        clock: Arc<dyn Clock>,
        range: KeyRange,
        direction: Direction,
    ) -> Self {
        let live = open(&view, &clock, &range, direction);
        let with_values = true;
        LiveEntries { view, clock, range, direction, with_values, live, dead: 0 }
    }

    /// The same for who wants keys only; before the first step.
    pub(crate) fn without_values(mut self) -> Self {
        self.with_values = false;
        self.live = self.live.without_values();
        self
    }

    /// Moves to the next key that is there; false at the end.
    ///
    /// # Errors
    /// `Io` or `Corrupt`, at each further step as well.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let mut patience = PATIENCE;
        loop {
            match self.live.advance_within(patience)? {
                Step::Entry => return Ok(true),
                Step::End => return Ok(false),
                Step::Dead if self.live.may_pass() => self.pass_key(),
                Step::Dead => {}
                Step::Deep => {
                    if self.decide_key()? {
                        return Ok(true);
                    }
                }
            }
            self.dead += patience as u64;
            patience = patience.saturating_mul(2);
        }
    }

    /// About how many dead versions were stepped over since this was asked the last time: those of
    /// long runs.
    pub(crate) fn take_dead(&mut self) -> u64 {
        std::mem::take(&mut self.dead)
    }

    /// Goes on behind the current key, by a search.
    fn pass_key(&mut self) {
        let key = self.live.key().to_vec();
        match self.direction {
            Direction::Forward => self.range.start = behind(key),
            Direction::Backward => self.range.end = Some(key),
        }
        self.live = self.open(&self.range, self.direction);
    }

    /// Backward, amid the versions of a key: looks at them from the other side, where the one that
    /// decides comes first, and passes all. Whether the key is there.
    fn decide_key(&mut self) -> Result<bool> {
        let start = self.live.key().to_vec();
        let range = KeyRange { end: Some(behind(start.clone())), start };
        let mut ascending = self.open(&range, Direction::Forward);
        let step = ascending.advance_within(1).inspect_err(|error| self.live.fail(error))?;
        self.pass_key();
        if step == Step::Entry {
            self.live.show(&ascending);
        }
        Ok(step == Step::Entry)
    }

    fn open(&self, range: &KeyRange, direction: Direction) -> LiveIter<MergeIter> {
        let live = open(&self.view, &self.clock, range, direction);
        if self.with_values { live } else { live.without_values() }
    }

    /// The current key; only after `advance` returned true.
    pub(crate) fn key(&self) -> &[u8] {
        self.live.key()
    }

    /// The current version: its number, its value, and when it expires if it does.
    pub(crate) fn version(&self) -> (Seq, &[u8], Option<u64>) {
        self.live.version()
    }
}

fn open(
    view: &View,
    clock: &Arc<dyn Clock>,
    range: &KeyRange,
    direction: Direction,
) -> LiveIter<MergeIter> {
    let merged = MergeIter::new(view.inputs(range, direction), direction);
    LiveIter::new(merged, view.reader(Arc::clone(clock)), direction)
}

/// The first key behind `key`.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
