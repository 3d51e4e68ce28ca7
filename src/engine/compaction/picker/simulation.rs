//! A database of entries in memory on which plans are carried out, at random: what a job would make
//! of the tables, and what their metadata would be. Whatever the plans are, no reader may notice,
//! and they must end.

use std::collections::BTreeMap;

use super::*;
use crate::engine::iter::testing::Random;
use crate::engine::key::Kind;
use crate::engine::ranges::RangeDelete;
use crate::engine::table::Hidden;

const KEYS: u64 = 240;
/// More plans than this for what one step changed are taken for endless.
const MAX_PLANS: usize = 3_000;

/// One version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    key: u64,
    seq: Seq,
    kind: Kind,
    /// For [`Kind::Expiring`].
    expiry_ms: u64,
}

struct Model {
    random: Random,
    policy: Leveled,
    levels: [Vec<TableMeta>; LEVELS],
    /// By table, in the order of entries.
    items: BTreeMap<u64, Vec<Item>>,
    ranges: RangeDeletes,
    untouchable: BTreeSet<u64>,
    /// Whether what expired under a snapshot becomes a tombstone at once or stays.
    buries_expired: bool,
    snapshot: Seq,
    now_ms: u64,
    seq: Seq,
    next_id: u64,
    idle: bool,
    /// The jobs done, with their output levels.
    done: Vec<(Work, usize)>,
}

/// What newer versions hide, as the builder of a table finds it.
fn hidden(items: &[Item]) -> Hidden {
    let pairs = items.windows(2).filter(|pair| pair[0].key == pair[1].key);
    let seqs = pairs.map(|pair| pair[0].seq);
    Hidden { bytes: seqs.clone().count() as u64, seq: seqs.max().unwrap_or(0) }
}

fn name(key: u64) -> Vec<u8> {
    format!("{key:03}").into_bytes()
}

impl Model {
    fn new(seed: u64) -> Self {
        Model {
            random: Random(seed),
            policy: Leveled { level0_sublevels: 2, table_bytes: 1 + seed % 7 },
            levels: std::array::from_fn(|_| Vec::new()),
            items: BTreeMap::new(),
            ranges: RangeDeletes::default(),
            untouchable: BTreeSet::new(),
            buries_expired: seed.is_multiple_of(2),
            snapshot: Seq::MAX,
            now_ms: 1,
            seq: 0,
            next_id: 1,
            idle: false,
            done: Vec::new(),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            levels: std::array::from_fn(|level| self.levels[level].iter().collect()),
            untouchable: &self.untouchable,
            ranges: &self.ranges,
            oldest_snapshot: self.snapshot,
            now_ms: self.now_ms,
            idle: self.idle,
        }
    }

    /// What a reader at `snapshot` sees: the number of each key's version.
    fn read(&self, snapshot: Seq) -> Vec<Option<Seq>> {
        let mut found: Vec<Option<Item>> = vec![None; KEYS as usize];
        let tables = self.levels.iter().flatten();
        // As a reader would: the first table that knows the key, from the top.
        for item in tables.flat_map(|table| &self.items[&table.id]) {
            if item.seq <= snapshot {
                found[item.key as usize].get_or_insert(*item);
            }
        }
        let is_there = |item: &Item| {
            item.kind != Kind::Delete
                && !(item.kind == Kind::Expiring && item.expiry_ms <= self.now_ms)
                && self.ranges.covering(&name(item.key), snapshot) < item.seq
        };
        found.into_iter().map(|item| item.filter(is_there).map(|item| item.seq)).collect()
    }

    /// What readers see, from the oldest to the latest.
    fn read_all(&self) -> [Vec<Option<Seq>>; 3] {
        let oldest = self.snapshot.min(self.seq);
        [oldest, oldest.midpoint(self.seq), self.seq].map(|snapshot| self.read(snapshot))
    }

    /// Something happens: a flush, most of the time.
    fn step(&mut self) {
        match self.random.below(12) {
            0 => self.delete_range(),
            1 => self.snapshot = if self.random.below(2) == 0 { Seq::MAX } else { self.seq },
            2 if self.snapshot < self.seq => self.snapshot += self.random.below(30),
            3 => self.now_ms += self.random.below(60),
            4 => self.idle = self.random.below(2) == 0,
            5 => self.damage(),
            _ => self.flush(),
        }
    }

    fn flush(&mut self) {
        let (from, deletes) = (self.random.below(KEYS), self.random.below(4));
        let width = 1 + self.random.below(KEYS - from);
        let mut items = Vec::new();
        for _ in 0..=self.random.below(30) {
            self.seq += 1;
            let kind = match self.random.below(5) {
                0 => Kind::Expiring,
                luck if luck <= deletes => Kind::Delete,
                _ => Kind::Put,
            };
            let expiry_ms = self.now_ms + self.random.below(100);
            let key = from + self.random.below(width);
            items.push(Item { key, seq: self.seq, kind, expiry_ms });
        }
        items.sort_by_key(|item| (item.key, Seq::MAX - item.seq));
        let meta = self.add_table(items, 0);
        self.levels[0].insert(0, meta);
    }

    fn delete_range(&mut self) {
        self.seq += 1;
        let start = self.random.below(KEYS);
        let end = start + 1 + self.random.below(KEYS - start);
        let end = if end == KEYS { Vec::new() } else { name(end) };
        self.ranges.insert(RangeDelete { start: name(start), end, seq: self.seq });
    }

    /// Up to two tables are damaged now and then, and restored.
    fn damage(&mut self) {
        self.untouchable.clear();
        let ids: Vec<u64> = self.items.keys().copied().collect();
        for _ in 0..self.random.below(3).min(ids.len() as u64) {
            self.untouchable.insert(ids[self.random.below(ids.len() as u64) as usize]);
        }
    }

    fn add_table(&mut self, items: Vec<Item>, purged_seq: Seq) -> TableMeta {
        let id = self.next_id;
        self.next_id += 1;
        let seqs = items.iter().map(|item| item.seq);
        let expiring = items.iter().filter(|item| item.kind == Kind::Expiring);
        let mut expiries: Vec<u64> = expiring.map(|item| item.expiry_ms).collect();
        expiries.sort_unstable();
        let meta = TableMeta {
            id,
            bytes: items.len() as u64,
            smallest: name(items[0].key),
            largest: name(items[items.len() - 1].key),
            min_seq: seqs.clone().min().unwrap(),
            max_seq: seqs.max().unwrap(),
            entries: items.len() as u64,
            tombstones: items.iter().filter(|item| item.kind == Kind::Delete).count() as u64,
            purged_seq,
            // Worth it as soon as a third of all entries has expired.
            hidden: hidden(&items),
            reclaim_ms: expiries.get(items.len() / 3).copied().unwrap_or(u64::MAX),
            assigned_seq: 0,
            checksum: 0,
        };
        self.items.insert(id, items);
        meta
    }

    /// Carries plans out until there is none, and checks all that must hold on the way.
    fn settle(&mut self, pick: impl Fn(&View<'_>) -> Option<Plan>) {
        let before = self.read_all();
        for round in 0.. {
            assert!(round < MAX_PLANS, "no end of plans");
            let Some(plan) = pick(&self.view()) else { break };
            assert!(plan.inputs.is_disjoint(&self.untouchable), "{plan:?}");
            self.carry_out(&plan);
            self.check_order();
            assert_eq!(self.read_all(), before, "a reader noticed {plan:?}");
        }
        let forgotten = needless_ranges(&self.view().levels, &self.ranges).into_iter().collect();
        self.ranges = self.ranges.with(&[], &forgotten);
        assert_eq!(self.read_all(), before, "a reader noticed that {forgotten:?} are forgotten");
    }

    fn carry_out(&mut self, plan: &Plan) {
        let mut inputs = Vec::new();
        for level in &mut self.levels {
            inputs.extend(level.extract_if(.., |table| plan.inputs.contains(&table.id)));
        }
        assert_eq!(inputs.len(), plan.inputs.len(), "{plan:?}");
        let outputs = match plan.work {
            Work::Move => inputs,
            Work::Drop => {
                self.take_items(&inputs);
                Vec::new()
            }
            Work::Merge => {
                let items = self.take_items(&inputs);
                self.write(self.visible(&items, plan.drop_tombstones))
            }
        };
        let level = &mut self.levels[plan.output_level];
        level.extend(outputs);
        match plan.output_level {
            0 => level.sort_by_key(|table| Seq::MAX - table.max_seq),
            _ => level.sort_by(|a, b| a.smallest.cmp(&b.smallest)),
        }
        self.done.push((plan.work, plan.output_level));
    }

    fn take_items(&mut self, tables: &[TableMeta]) -> Vec<Item> {
        let mut items: Vec<Item> =
            tables.iter().flat_map(|table| self.items.remove(&table.id).unwrap()).collect();
        items.sort_by_key(|item| (item.key, Seq::MAX - item.seq));
        items
    }

    /// What a merge keeps: the rules of `VisibleIter`, with range deletes and expiry.
    fn visible(&self, items: &[Item], drop_tombstones: bool) -> Vec<Item> {
        let mut settled_key = None;
        let mut kept = Vec::new();
        for item in items {
            let expired = item.kind == Kind::Expiring && item.expiry_ms <= self.now_ms;
            let grave = Item { kind: Kind::Delete, ..*item };
            if self.ranges.covering(&name(item.key), self.snapshot) > item.seq {
                continue;
            }
            if item.seq > self.snapshot {
                kept.push(if expired && self.buries_expired { grave } else { *item });
            } else if settled_key != Some(item.key) {
                settled_key = Some(item.key);
                let item = if expired { grave } else { *item };
                kept.extend((item.kind != Kind::Delete || !drop_tombstones).then_some(item));
            }
        }
        kept
    }

    /// Cuts what a merge keeps into tables, between keys.
    fn write(&mut self, items: Vec<Item>) -> Vec<TableMeta> {
        let mut outputs: Vec<Vec<Item>> = Vec::new();
        for item in items {
            match outputs.last_mut() {
                Some(output) if !self.is_full(output, item) => output.push(item),
                _ => outputs.push(vec![item]),
            }
        }
        let purged_seq = self.snapshot.min(self.seq);
        outputs.into_iter().map(|output| self.add_table(output, purged_seq)).collect()
    }

    fn is_full(&self, output: &[Item], next: Item) -> bool {
        output.len() as u64 >= self.policy.table_bytes
            && output.last().is_some_and(|item| item.key != next.key)
    }

    fn check_order(&self) {
        for level in &self.levels[1..] {
            assert!(level.windows(2).all(|pair| pair[0].largest < pair[1].smallest));
        }
    }

    /// Nobody protects anything any more, and all that can expire has.
    fn come_to_rest(&mut self) {
        self.untouchable.clear();
        self.snapshot = Seq::MAX;
        self.now_ms += 1_000;
        self.idle = true;
    }

    /// Merges a range as asked for. What comes of it is known if nothing is in the way.
    fn merge_range(&mut self) {
        let (start, end) = (self.random.below(KEYS), self.random.below(KEYS + 1));
        let (start, end) = (name(start), (end < KEYS).then(|| name(end)));
        self.settle(|view| pick_range(view, &start, end.as_deref()));
        if self.snapshot < Seq::MAX || !self.untouchable.is_empty() {
            return;
        }
        for (level, table) in self.view().tables() {
            let after_end = end.as_ref().is_some_and(|end| table.smallest >= *end);
            if table.largest >= start && !after_end {
                assert_eq!((level, table.tombstones), (LAST, 0), "{table:?}");
                assert!(table.reclaim_ms > self.now_ms, "{table:?}");
                assert_eq!(table.hidden.bytes, 0, "{table:?}");
            }
        }
    }
}

/// A life of a database. Tells what was done, so that a test can see that it tests something.
fn live(seed: u64) -> Vec<(Work, usize)> {
    let mut model = Model::new(seed);
    let policy = model.policy;
    for _ in 0..150 {
        model.step();
        match model.random.below(30) {
            0 => model.merge_range(),
            1 => model.settle(pick_everything),
            _ => {}
        }
        model.settle(|view| policy.pick(view));
        let sublevels = sublevels(&model.view().levels[0]);
        assert!(!model.untouchable.is_empty() || sublevels < policy.level0_sublevels);
    }
    model.come_to_rest();
    model.settle(|view| policy.pick(view));
    let held = model.view().levels.map(|level| bytes(&level));
    assert!(held[..LAST].iter().sum::<u64>() * 10 <= held[LAST], "{held:?}");
    assert!(sublevels(&model.view().levels[0]) <= 1);
    assert!(model.ranges.is_empty(), "{:?}", model.ranges);
    for (_, table) in model.view().tables() {
        assert!(table.hidden.bytes * 10 <= table.bytes, "{table:?}");
    }
    model.settle(pick_everything);
    assert!(model.levels[..LAST].iter().all(Vec::is_empty));
    let mut tables = model.levels[LAST].iter();
    assert!(tables.all(|table| {
        table.tombstones == 0 && table.reclaim_ms == u64::MAX && table.hidden.bytes == 0
    }));
    model.done
}

#[test]
fn plans_end_and_no_reader_notices_them() {
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 1..80 {
        for (work, level) in live(seed) {
            *done.entry(format!("{work:?} {level}")).or_default() += 1;
        }
    }
    for work in ["Merge 0", "Merge 5", "Merge 6", "Move 5", "Move 6", "Drop 6"] {
        assert!(done.get(work).is_some_and(|count| *count > 50), "{work}: {done:?}");
    }
}
