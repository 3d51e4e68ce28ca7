//! Decides whether a concurrent history of one key is linearizable: whether each operation can be
//! given a moment between its invocation and its return such that, one after the other, they explain
//! all answers (Herlihy, Wing 1990). Keys by themselves suffice: linearizability is local.
//!
//! The search tree is that of Wing and Gong (1993), walked in the order of time, as Lowe's just-in-time
//! linearization does ("Testing for linearizability", 2017): a configuration is what the key holds and
//! which of the open operations have taken effect; all that are possible are kept, each once. An
//! operation takes effect at the latest possible moment: when it returns, or when one that returns
//! needs it. If no configuration is left, the history up to that return is the shortest prefix that
//! cannot be. Where nothing is open only the states are left, so that a long history costs no more
//! than its parts.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;

use super::operation::{Operation, State};

#[cfg(test)]
mod tests;

/// The most operations that may be open at once: a bit each.
const MAX_OPEN: usize = 64;
/// The most operations that a message lists.
const LISTED: usize = 40;

/// What the key holds, and which open operations have taken effect, by their places.
type Configuration = (State, u64);

/// An operation begins or ends.
#[derive(Debug, Clone, Copy)]
enum Event {
    Invoked(usize),
    Returned(usize),
}

/// Judges the history of a key that held `first` before it.
pub(super) fn check(first: &State, history: &[Operation]) -> Result<(), String> {
    let mut events: Vec<(u64, Event)> = Vec::with_capacity(2 * history.len());
    for (index, operation) in history.iter().enumerate() {
        events.push((operation.invoked, Event::Invoked(index)));
        events.push((operation.returned, Event::Returned(index)));
    }
    // What returns at a tick was there before what begins at it; ticks are unique but for the end.
    events.sort_by_key(|(tick, event)| (*tick, matches!(event, Event::Invoked(_))));
    let mut search = Search::new(first, history);
    for (_, event) in events {
        match event {
            Event::Invoked(index) => search.open(index)?,
            Event::Returned(index) => search.close(index)?,
        }
    }
    Ok(())
}

struct Search<'a> {
    history: &'a [Operation],
    configurations: HashSet<Configuration>,
    /// Operations that have begun and not returned, by place.
    open: BTreeMap<u32, usize>,
    /// The operations since nothing was open, and what there could be then, for the message.
    window: Vec<usize>,
    before: Vec<State>,
}

impl<'a> Search<'a> {
    fn new(first: &State, history: &'a [Operation]) -> Self {
        Search {
            history,
            configurations: HashSet::from([(first.clone(), 0)]),
            open: BTreeMap::new(),
            window: Vec::new(),
            before: Vec::new(),
        }
    }

    fn open(&mut self, index: usize) -> Result<(), String> {
        if self.open.is_empty() {
            self.window.clear();
            self.before = self.configurations.iter().map(|(state, _)| state.clone()).collect();
        }
        let place = (0..MAX_OPEN as u32).find(|place| !self.open.contains_key(place));
        let place = place.ok_or("too many operations are open at once to be judged")?;
        self.open.insert(place, index);
        self.window.push(index);
        Ok(())
    }

    /// Keeps the configurations in which an operation has taken effect, and frees its place. One that
    /// nobody saw answered need not have.
    fn close(&mut self, index: usize) -> Result<(), String> {
        let place = self.open.iter().find(|(_, open)| **open == index).map(|(place, _)| *place);
        let place = place.ok_or("an operation returns before it begins")?;
        let (bit, is_needed) = (1 << place, !self.history[index].is_unknown());
        let mut kept = HashSet::new();
        let mut seen = Seen::default();
        let mut todo = VecDeque::from_iter(std::mem::take(&mut self.configurations));
        while let Some((state, done)) = todo.pop_front() {
            let done = self.with_reads(&state, done);
            if !seen.is_new(&state, done, self.unknown()) {
                continue;
            }
            if done & bit != 0 || !is_needed {
                kept.insert((state.clone(), done & !bit));
            }
            if done & bit == 0 || !is_needed {
                let next = self.choices(done).filter_map(|(place, operation)| {
                    Some((operation.result(&state)?, done | 1 << place))
                });
                todo.extend(next);
            }
        }
        if kept.is_empty() {
            return Err(self.describe(index));
        }
        self.open.remove(&place);
        self.configurations = kept;
        Ok(())
    }

    /// The places of the open operations that nobody saw answered.
    fn unknown(&self) -> u64 {
        let unknown = self.open.iter().filter(|(_, index)| self.history[**index].is_unknown());
        unknown.fold(0, |mask, (place, _)| mask | 1 << place)
    }

    /// The open operations that may take effect next; of several that are the same, one.
    fn choices(&self, done: u64) -> impl Iterator<Item = (u32, &'a Operation)> {
        let mut choices: Vec<(u32, &Operation)> = Vec::new();
        for (place, index) in self.open.iter().filter(|(place, _)| done & (1 << **place) == 0) {
            let operation = &self.history[*index];
            let is_same =
                |other: &Operation| other.is_unknown() && other.action == operation.action;
            let is_there =
                operation.is_unknown() && choices.iter().any(|(_, other)| is_same(other));
            if !is_there {
                choices.push((*place, operation));
            }
        }
        choices.into_iter()
    }

    /// What has taken effect once all reads have that can: to have them done never hurts. A delete
    /// that does not say whether anything was there is none: it may be of use later.
    fn with_reads(&self, state: &State, done: u64) -> u64 {
        let open = self.open.iter().filter(|(_, index)| {
            let operation = &self.history[**index];
            operation.is_read() && operation.result(state).is_some()
        });
        open.fold(done, |done, (place, _)| done | 1 << place)
    }

    /// Why the operation cannot have returned.
    fn describe(&self, index: usize) -> String {
        let end = self.history[index].returned;
        let states: Vec<String> = self.before.iter().map(describe_state).collect();
        let skipped = self.window.len().saturating_sub(LISTED);
        let mut text = format!(
            "not linearizable: nothing explains {}; of its {} operations since nothing was open and \
             there was {} the last are",
            self.history[index],
            self.window.len(),
            states.join(" or ")
        );
        for operation in self.window.iter().skip(skipped).map(|index| &self.history[*index]) {
            let open = if operation.returned > end { " (open)" } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {operation}{open}");
        }
        text
    }
}

/// The configurations that were met. Of those that differ only in what nobody saw answered, one that
/// needs more of it says nothing new: what did not take effect yet still may, and need not.
#[derive(Default)]
struct Seen(HashMap<Configuration, Vec<u64>>);

impl Seen {
    fn is_new(&mut self, state: &State, done: u64, unknown: u64) -> bool {
        let needed = self.0.entry((state.clone(), done & !unknown)).or_default();
        let used = done & unknown;
        let is_new = needed.iter().all(|less| less & !used != 0);
        if is_new {
            needed.push(used);
        }
        is_new
    }
}

fn describe_state(state: &State) -> String {
    state.as_ref().map_or("nothing".to_owned(), |value| value.escape_ascii().to_string())
}
