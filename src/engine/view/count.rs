//! How many keys there are in a range: counted while they are few, estimated from a sample beyond.
//!
//! Nothing in a log-structured store knows how many keys it holds: writes do not look whether a key is
//! there. So somebody has to look. Up to some number of keys a walk counts them. Beyond, entries are
//! drawn at random, each of the `total` in memtables and tables with the same chance, and each is looked
//! up: it counts if it is the version that a reader sees. The share that counts, times `total`, is the
//! estimate.
//!
//! With a share `p` of `n` draws the relative standard error is `sqrt((1 - p) / (p n))`, the error of a
//! binomial distribution, whatever the order of keys and wherever the overwritten and deleted ones lie.
//! Draws go on until that is [`STANDARD_ERROR`], so that an error of a tenth is five standard errors.
//! Where more than nineteen in twenty entries are dead, [`MOST_DRAWS`] ends it first: merges do not let
//! that last.
//!
//! Blocks of a table hold different numbers of entries. A draw takes a block, and then an entry of it,
//! so it is weighted by what the block holds: a ratio estimator over the weights.
//!
//! Of expiring entries tables know the number. What is drawn tells only which share of them is there,
//! so few expiring keys among many others are not missed.
//!
//! Rejected: sums of the tables' entries, which count overwritten and deleted keys; sketches of
//! distinct keys, which cannot forget a deleted one; samples of stretches of keys, for where new keys
//! lie close together, few stretches hold most of them.

use std::sync::Arc;

use super::View;
use super::walk::LiveEntries;
use crate::engine::iter::{Direction, Entry, ScanRange};
use crate::engine::key::{Kind, Seq};
use crate::engine::memtable::MemtableScan;
use crate::engine::options::Clock;
use crate::engine::range::KeyRange;
use crate::engine::version::{LEVELS, TableRef};

/// Keys of a range that are counted one by one, unless the caller wants others.
const COUNTED_KEYS: u64 = 100_000;

/// The relative standard error at which an estimate is good enough.
const STANDARD_ERROR: f64 = 0.02;

/// The fewest and the most entries that are drawn.
const LEAST_DRAWS: u64 = 2_500;
const MOST_DRAWS: u64 = 50_000;

/// Drawn expiring entries that tell well enough how many of them are there.
const EXPIRING_DRAWS: u64 = 500;

/// Keys counted in a step.
const KEYS_PER_STEP: u64 = 64;

/// How many keys a range holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyCount {
    /// Keys that a reader sees.
    pub keys: u64,
    /// Those of them that expire.
    pub expiring: u64,
    /// Whether they were counted, not estimated.
    pub is_exact: bool,
}

/// A count of the keys of some ranges at one moment, done in small steps; made by
/// [`crate::engine::Engine::count_keys`].
pub struct KeyCounter {
    view: View,
    clock: Arc<dyn Clock>,
    random: Random,
    /// How many keys of a range are counted before the rest is estimated.
    most: u64,
    ranges: std::vec::IntoIter<KeyRange>,
    counts: Vec<KeyCount>,
    stage: Stage,
}

/// What is being done about the present range.
enum Stage {
    Between,
    Walking { walk: Box<LiveEntries>, range: KeyRange, count: KeyCount },
    Drawing(Box<Sample>),
}

impl KeyCounter {
    pub(crate) fn new(view: View, clock: Arc<dyn Clock>, seed: u64, ranges: Vec<KeyRange>) -> Self {
        let counts = Vec::with_capacity(ranges.len());
        let (ranges, random) = (ranges.into_iter(), Random(seed));
        let (most, stage) = (COUNTED_KEYS, Stage::Between);
        KeyCounter { view, clock, random, most, ranges, counts, stage }
    }

    /// The same, but ranges with up to `most` keys, or a few more, are counted exactly.
    #[must_use]
    pub fn exactly_up_to(self, most: u64) -> Self {
        KeyCounter { most, ..self }
    }

    /// The last write that is counted: before the counts are told to anybody,
    /// [`crate::engine::Engine::durable_seq`] must have reached it.
    pub fn seq(&self) -> Seq {
        self.view.seq
    }

    /// Goes on for some microseconds, or for as long as it takes to read a few blocks. Returns whether
    /// all is counted. What cannot be read is left out.
    pub fn step(&mut self) -> bool {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Between) {
            Stage::Between => {
                let Some(range) = self.ranges.next() else { return true };
                let clock = Arc::clone(&self.clock);
                let walk = self.view.walk(clock, &range, Direction::Forward).without_values();
                Stage::Walking { walk: Box::new(walk), range, count: KeyCount::default() }
            }
            Stage::Walking { walk, range, count } => self.count(walk, range, count),
            Stage::Drawing(sample) => self.draw(sample),
        };
        false
    }

    /// The counts so far, in the order of the ranges.
    pub fn counts(&self) -> &[KeyCount] {
        &self.counts
    }

    fn count(&mut self, mut walk: Box<LiveEntries>, range: KeyRange, mut count: KeyCount) -> Stage {
        for _ in 0..KEYS_PER_STEP {
            match walk.advance() {
                Ok(true) => {
                    count.keys += 1;
                    count.expiring += u64::from(walk.version().2.is_some());
                }
                Ok(false) => return self.finish(KeyCount { is_exact: true, ..count }),
                // Of what lies behind the damage a sample still tells.
                Err(_) => return Stage::Drawing(Box::new(Sample::new(&self.view, range, count))),
            }
        }
        if count.keys <= self.most {
            return Stage::Walking { walk, range, count };
        }
        Stage::Drawing(Box::new(Sample::new(&self.view, range, count)))
    }

    fn draw(&mut self, mut sample: Box<Sample>) -> Stage {
        if sample.is_enough() {
            return self.finish(sample.estimate());
        }
        sample.draw(&self.view, &self.clock, &mut self.random);
        Stage::Drawing(sample)
    }

    fn finish(&mut self, count: KeyCount) -> Stage {
        self.counts.push(count);
        Stage::Between
    }
}

/// Where entries are drawn from.
enum Source {
    Table(TableRef),
    Run(MemtableScan),
}

/// Weights of what was drawn.
#[derive(Debug, Default)]
struct Drawn {
    all: f64,
    live: f64,
    /// Of those that expire.
    expiring: f64,
    live_expiring: f64,
}

impl Drawn {
    fn add(&mut self, weight: f64, is_live: bool, expires: bool) {
        self.all += weight;
        self.live += if is_live { weight } else { 0.0 };
        self.expiring += if expires { weight } else { 0.0 };
        self.live_expiring += if is_live && expires { weight } else { 0.0 };
    }
}

/// Entries that are drawn from all that a range may hold.
struct Sample {
    range: KeyRange,
    /// Each with the number of entries in it and all before it.
    sources: Vec<(u64, Source)>,
    /// Entries in tables and in memtables, and how many in tables expire.
    in_tables: u64,
    in_memtables: u64,
    expiring_in_tables: u64,
    draws: u64,
    expiring_draws: u64,
    from_tables: Drawn,
    from_memtables: Drawn,
    /// What has been counted: there are no fewer.
    counted: KeyCount,
}

impl Sample {
    fn new(view: &View, range: KeyRange, counted: KeyCount) -> Self {
        let mut sample = Sample {
            range,
            sources: Vec::new(),
            in_tables: 0,
            in_memtables: 0,
            expiring_in_tables: 0,
            draws: 0,
            expiring_draws: 0,
            from_tables: Drawn::default(),
            from_memtables: Drawn::default(),
            counted,
        };
        sample.add_tables(view);
        sample.add_memtables(view);
        sample
    }

    fn total(&self) -> u64 {
        self.in_tables + self.in_memtables
    }

    fn add_tables(&mut self, view: &View) {
        let bounds = ScanRange { start: &self.range.start, end: self.range.end() };
        for table in (0..LEVELS).flat_map(|level| view.version.level(level)) {
            let meta = table.meta();
            let left = view.uncovered(bounds, Direction::Forward, meta.max_seq);
            let overlaps = |left: ScanRange<'_>| {
                left.start <= meta.largest.as_slice()
                    && left.end.is_none_or(|end| meta.smallest.as_slice() < end)
            };
            if meta.min_seq <= view.seq && left.is_some_and(overlaps) {
                self.in_tables += meta.entries;
                self.expiring_in_tables += table.expiring_count();
                self.sources.push((self.in_tables, Source::Table(TableRef::clone(table))));
            }
        }
    }

    fn add_memtables(&mut self, view: &View) {
        let bounds = ScanRange { start: &self.range.start, end: self.range.end() };
        let range_for = |newest| view.uncovered(bounds, Direction::Forward, newest);
        for memtable in &view.memtables {
            for run in memtable.scan(Direction::Forward, range_for) {
                let run = run.bounded();
                self.in_memtables += run.remaining() as u64;
                self.sources.push((self.in_tables + self.in_memtables, Source::Run(run)));
            }
        }
    }

    /// Whether the estimate would not get much better.
    fn is_enough(&self) -> bool {
        if self.total() == 0 || self.draws >= MOST_DRAWS {
            return true;
        }
        let knows_expiring = self.expiring_draws >= EXPIRING_DRAWS || self.draws >= 4 * LEAST_DRAWS;
        if self.draws < LEAST_DRAWS || (self.expiring_in_tables > 0 && !knows_expiring) {
            return false;
        }
        let share = share(self.keys(), float(self.total()));
        (1.0 - share) <= STANDARD_ERROR * STANDARD_ERROR * share * float(self.draws)
    }

    /// Draws an entry and looks whether it is there.
    fn draw(&mut self, view: &View, clock: &Arc<dyn Clock>, random: &mut Random) {
        self.draws += 1;
        let number = random.below(self.total());
        let place = self.sources.partition_point(|(end, _)| *end <= number);
        match self.sources.get_mut(place) {
            Some((_, Source::Table(table))) => {
                let Ok(drawn) = table.draw(|bound| random.below(bound)) else { return };
                let is_live = is_live(view, clock, &self.range, &drawn.key, drawn.seq, drawn.kind);
                self.expiring_draws += u64::from(drawn.kind == Kind::Expiring);
                self.from_tables.add(drawn.weight, is_live, drawn.kind == Kind::Expiring);
            }
            Some((_, Source::Run(run))) => {
                let at = random.below(run.remaining() as u64) as usize;
                let (is_live, expires) = run.entry_at(at).map_or((false, false), |entry| {
                    let Entry { key, seq, kind, .. } = entry;
                    let is_live = is_live(view, clock, &self.range, key, seq, kind);
                    (is_live, kind == Kind::Expiring)
                });
                self.from_memtables.add(1.0, is_live, expires);
            }
            None => {}
        }
    }

    fn keys(&self) -> f64 {
        let (tables, memtables) = (&self.from_tables, &self.from_memtables);
        float(self.in_tables) * share(tables.live, tables.all)
            + float(self.in_memtables) * share(memtables.live, memtables.all)
    }

    fn expiring(&self) -> f64 {
        let (tables, memtables) = (&self.from_tables, &self.from_memtables);
        let in_tables = if tables.expiring > 0.0 {
            share(tables.live_expiring, tables.expiring)
        } else {
            share(tables.live, tables.all)
        };
        float(self.expiring_in_tables) * in_tables
            + float(self.in_memtables) * share(memtables.live_expiring, memtables.all)
    }

    fn estimate(&self) -> KeyCount {
        let keys = count(self.keys()).max(self.counted.keys);
        let expiring = count(self.expiring()).max(self.counted.expiring).min(keys);
        KeyCount { keys, expiring, is_exact: false }
    }
}

/// Whether a version is the one that a reader sees of its key.
fn is_live(
    view: &View,
    clock: &Arc<dyn Clock>,
    range: &KeyRange,
    key: &[u8],
    seq: Seq,
    kind: Kind,
) -> bool {
    if !range.contains(key) || !matches!(kind, Kind::Put | Kind::Expiring) {
        return false;
    }
    let alone = KeyRange { start: key.to_vec(), end: Some([key, &[0]].concat()) };
    let mut walk = view.walk(Arc::clone(clock), &alone, Direction::Forward).without_values();
    walk.advance().is_ok_and(|is_there| is_there) && walk.version().0 == seq
}

#[expect(clippy::cast_precision_loss, reason = "an estimate needs no more than 53 bits")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_sign_loss, reason = "sums of positive numbers")]
fn count(estimate: f64) -> u64 {
    estimate.round() as u64
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Random numbers for draws: `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
