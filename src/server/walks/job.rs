//! The part of a transaction's walks that a worker does, a few milliseconds at a time: it brings those that
//! were done before up to date with a snapshot, and then does the others over it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::engine::{Engine, KeyRange, Scan, Snapshot};

use super::super::commands::{Choice, Narrowed};
use super::super::interrupt::Fault;
use super::super::limits::{
    COUNTED_KEYS, LIST_REPLY_BYTES, SCAN_REPLY_BYTES, SPARE_BYTES, WORK_SLICE,
};
use super::changes::{Change, Hold, Since};
use super::count::{self, Count};
use super::list::{List, Patch};
use super::{Base, Claim, Slot, Walked, Walks, Wanted, What};

/// Keys between two looks at the clock.
const KEYS_PER_LOOK: usize = 16;

const TOO_MUCH: &str =
    "ERR the transactions of all clients walk over too much at a time: try again later";

/// Bringing walks up to date: the keys that are still to be looked up, and what was found for each walk.
struct Renewal {
    walks: Vec<(Slot, Walked, Vec<Patch>)>,
    keys: VecDeque<Vec<u8>>,
}

/// A walk that is being done.
struct Running {
    slot: Slot,
    wanted: Wanted,
    reach: u64,
    state: State,
}

enum State {
    List { scan: Scan, seen: u64, list: List },
    Count { scan: Scan, count: Count },
    Few(Choice),
}

/// See the module.
pub(crate) struct WalkJob {
    engine: Engine,
    snapshot: Snapshot,
    /// What is to be brought up to date, and with what.
    old: Option<(HashMap<Slot, Walked>, Since)>,
    renewal: Option<Renewal>,
    wanted: VecDeque<(Slot, Wanted, u64)>,
    running: Option<Running>,
    done: HashMap<Slot, Walked>,
    /// Bytes of those that were done, and of those that are still to be brought up to date.
    kept_bytes: usize,
    hold: Hold,
    rounds: u32,
    claim: Claim,
}

impl WalkJob {
    /// To do the `wanted` walks, and to bring `old` ones up to date, which know nothing of `since`.
    /// `hold` is the place in the changes at which the snapshot is taken.
    pub(crate) fn new(
        engine: &Engine,
        wanted: Vec<(Slot, Wanted, u64)>,
        old: Option<Walks>,
        since: Since,
        hold: Hold,
        claim: Claim,
    ) -> Self {
        let (old, rounds, claim) = match old {
            Some(old) => (old.walked, old.rounds, old.claim),
            None => (HashMap::new(), 0, claim),
        };
        WalkJob {
            kept_bytes: old.values().map(|walked| held_bytes(&walked.base)).sum(),
            engine: engine.clone(),
            snapshot: engine.snapshot(),
            old: Some((old, since)),
            renewal: None,
            wanted: wanted.into(),
            running: None,
            done: HashMap::new(),
            hold,
            rounds: rounds + 1,
            claim,
        }
    }

    /// Goes on for a few milliseconds at most. Returns whether it is done.
    pub(crate) fn run(&mut self) -> bool {
        let begun = Instant::now();
        while !self.step() {
            if begun.elapsed() >= WORK_SLICE {
                return false;
            }
        }
        true
    }

    /// What has come of it.
    pub(crate) fn finish(self) -> Walks {
        let WalkJob { done, hold, rounds, claim, .. } = self;
        Walks { walked: done, hold, rounds, claim }
    }

    /// Does a little. Returns whether there is nothing more to do.
    fn step(&mut self) -> bool {
        if let Some((old, since)) = self.old.take() {
            self.renewal = Some(Renewal::new(old, &since));
            return false;
        }
        if let Some(renewal) = &mut self.renewal {
            if renewal.look_up(&self.snapshot) {
                self.end_renewal();
            }
            return false;
        }
        if let Some(mut running) = self.running.take() {
            let base = match running.step(&self.engine, &self.snapshot) {
                Ok(None) if self.claim.set(self.kept_bytes + running.held_bytes()) => {
                    self.running = Some(running);
                    return false;
                }
                Ok(None) => Base::Failed(TOO_MUCH.into()),
                Ok(Some(base)) => base,
                Err(fault) => Base::Failed(fault),
            };
            let Running { slot, wanted, reach, .. } = running;
            self.keep(slot, Walked { wanted, reach, base });
            return false;
        }
        let Some((slot, wanted, reach)) = self.wanted.pop_front() else { return true };
        self.running = Some(Running::new(slot, wanted, reach, &self.snapshot));
        false
    }

    /// All that has changed is looked up.
    fn end_renewal(&mut self) {
        let walks = self.renewal.take().map(|renewal| renewal.walks).unwrap_or_default();
        self.kept_bytes = 0;
        for (slot, Walked { wanted, reach, base }, patches) in walks {
            let base = renewed(base, &patches).unwrap_or_else(Base::Failed);
            self.keep(slot, Walked { wanted, reach, base });
        }
    }

    fn keep(&mut self, slot: Slot, mut walked: Walked) {
        let bytes = held_bytes(&walked.base);
        if self.claim.set(self.kept_bytes + bytes) {
            self.kept_bytes += bytes;
        } else {
            walked.base = Base::Failed(TOO_MUCH.into());
            self.claim.set(self.kept_bytes);
        }
        self.done.insert(slot, walked);
    }
}

fn held_bytes(base: &Base) -> usize {
    match base {
        Base::List(list) => list.held_bytes(),
        Base::Count(count) => count.counted() * count::KEY_BYTES,
        Base::Failed(_) => 0,
    }
}

/// Which of the engine's keys a walk knows of.
fn covered(walked: &Walked) -> &KeyRange {
    match &walked.base {
        Base::List(list) => &list.covered,
        Base::Count(_) | Base::Failed(_) => &walked.wanted.range,
    }
}

impl Renewal {
    fn new(old: HashMap<Slot, Walked>, since: &Since) -> Self {
        let mut walks: Vec<_> =
            old.into_iter().map(|(slot, walked)| (slot, walked, Vec::new())).collect();
        let mut keys = BTreeSet::new();
        for change in since.iter().flat_map(|(piece, skipped)| &piece[*skipped..]) {
            match change {
                Change::Key(key) => _ = keys.insert(key.to_vec()),
                Change::Cleared(namespace) => {
                    let emptied = walks.iter_mut().map(|(_, walked, _)| walked);
                    emptied
                        .filter(|walked| walked.wanted.namespace() == *namespace)
                        .for_each(empty);
                }
            }
        }
        Renewal { walks, keys: keys.into_iter().collect() }
    }

    /// Looks a few keys up. Returns whether these were the last.
    fn look_up(&mut self, snapshot: &Snapshot) -> bool {
        for _ in 0..KEYS_PER_LOOK {
            let Some(key) = self.keys.pop_front() else { return true };
            if !self.walks.iter().any(|(_, walked, _)| covered(walked).contains(&key)) {
                continue;
            }
            let found = snapshot.get_record_without_waiting(&key);
            for (_, walked, patches) in &mut self.walks {
                if !covered(walked).contains(&key) {
                    continue;
                }
                match &found {
                    Ok(record) => {
                        let now = record.as_ref().and_then(|record| {
                            walked.wanted.shown(&key[1..], &record.value, record.expires_ms)
                        });
                        patches.push(Patch { key: key[1..].to_vec(), now });
                    }
                    Err(error) => walked.base = Base::Failed(Fault::from(error)),
                }
            }
        }
        false
    }
}

/// What there is now was written since.
fn empty(walked: &mut Walked) {
    match &mut walked.base {
        Base::List(list) => *list = List::empty(&walked.wanted),
        Base::Count(count) => *count = Count::new(),
        Base::Failed(_) => {}
    }
}

fn renewed(base: Base, patches: &[Patch]) -> Result<Base, Fault> {
    Ok(match base {
        Base::List(list) => Base::List(list.patched(patches)?),
        Base::Count(mut count) => {
            count.patch(patches);
            Base::Count(count)
        }
        failed @ Base::Failed(_) => failed,
    })
}

impl Running {
    fn new(slot: Slot, wanted: Wanted, reach: u64, snapshot: &Snapshot) -> Self {
        let scan = || snapshot.scan(wanted.range.clone()).without_waiting();
        let state = match &wanted.what {
            What::Keys { is_reversed, .. } => {
                let scan = if *is_reversed { scan().reversed() } else { scan() };
                State::List { scan, seen: 0, list: List::empty(&wanted) }
            }
            What::Count => State::Count { scan: scan(), count: Count::new() },
            What::Few => State::Few(Choice::new(snapshot.clone(), vec![wanted.namespace()])),
        };
        Running { slot, wanted, reach, state }
    }

    fn held_bytes(&self) -> usize {
        match &self.state {
            State::List { list, .. } => list.held_bytes(),
            State::Count { count, .. } => count.counted() * count::KEY_BYTES,
            State::Few(_) => 0,
        }
    }

    /// Looks at a few keys; what has come of it with the last of them.
    fn step(&mut self, engine: &Engine, snapshot: &Snapshot) -> Result<Option<Base>, Fault> {
        for _ in 0..KEYS_PER_LOOK {
            let base = match &mut self.state {
                State::List { scan, seen, list } => {
                    let is_over = see(scan, seen, list, &self.wanted, self.reach)?;
                    is_over
                        .then(|| std::mem::replace(list, List::empty(&self.wanted)))
                        .map(Base::List)
                }
                State::Count { scan, count } => count_one(scan, count, engine, &self.wanted.range)?
                    .then(|| Base::Count(std::mem::take(count))),
                State::Few(choice) => choose(choice, snapshot, &self.wanted)?.map(Base::List),
            };
            if base.is_some() {
                return Ok(base);
            }
        }
        Ok(None)
    }
}

/// Looks at the next key. Returns whether that was all.
fn see(
    scan: &mut Scan,
    seen: &mut u64,
    list: &mut List,
    wanted: &Wanted,
    reach: u64,
) -> Result<bool, Fault> {
    if !scan.advance().map_err(|error| Fault::from(&error))? {
        return Ok(true);
    }
    let is_long = match wanted.what {
        What::Keys { is_page: true, .. } => list.reply_bytes() >= SCAN_REPLY_BYTES,
        What::Keys { limit, .. } => *seen >= limit && list.reply_bytes() >= SPARE_BYTES,
        What::Count | What::Few => false,
    };
    if *seen >= reach || is_long {
        list.stop_before(scan.key());
        return Ok(true);
    }
    *seen += 1;
    let key = scan.key().get(1..).unwrap_or_default();
    if let Some(shown) = wanted.shown(key, scan.value(), scan.expires_ms()) {
        list.push(key, &shown)?;
    }
    if list.reply_bytes() > LIST_REPLY_BYTES {
        let line = format!(
            "ERR the reply has more than {LIST_REPLY_BYTES} bytes: use SCAN or LIMIT to get it in parts"
        );
        return Err(line.into());
    }
    Ok(false)
}

/// Counts the next key. Returns whether that was all.
fn count_one(
    scan: &mut Scan,
    count: &mut Count,
    engine: &Engine,
    range: &KeyRange,
) -> Result<bool, Fault> {
    if !scan.advance().map_err(|error| Fault::from(&error))? {
        return Ok(true);
    }
    if count.counted() as u64 >= COUNTED_KEYS {
        count.set_estimate(super::super::commands::estimated_keys(engine, range.clone()));
        return Ok(true);
    }
    count.add(scan.key().get(1..).unwrap_or_default(), scan.expires_ms());
    Ok(false)
}

/// Narrows the choice of some key; those to choose from, once they are few.
fn choose(
    choice: &mut Choice,
    snapshot: &Snapshot,
    wanted: &Wanted,
) -> Result<Option<List>, Fault> {
    let range = match choice.narrow().map_err(|error| Fault::from(&error))? {
        Narrowed::Further => return Ok(None),
        Narrowed::To(range) => range,
    };
    let mut list = List::empty(wanted);
    let mut scan = snapshot.scan(range.clone()).without_waiting();
    while scan.advance().map_err(|error| Fault::from(&error))? {
        let key = scan.key().get(1..).unwrap_or_default();
        if let Some(shown) = wanted.shown(key, scan.value(), scan.expires_ms()) {
            list.push(key, &shown)?;
        }
    }
    list.covered = range;
    Ok(Some(list))
}
