//! A writer, flushes and a merger in virtual time.

use super::*;

const LEVEL0_TABLES: usize = 4;
const HARD: usize = 24;
const MEMTABLE_BYTES: usize = 4 << 20;
/// What a timer is late by.
const LATENESS: Duration = Duration::from_micros(300);
const SECOND: Duration = Duration::from_secs(1);

/// What does the work, in bytes a second.
#[derive(Clone, Copy)]
struct World {
    writer: usize,
    write_bytes: usize,
    merger: usize,
    /// Bytes that each merge works through beside those of level 0.
    base_bytes: usize,
    /// Whether a merge takes all of level 0, or one table.
    takes_all: bool,
}

const WORLD: World = World {
    writer: 200 << 20,
    write_bytes: 1 << 10,
    merger: 20 << 20,
    base_bytes: 0,
    takes_all: true,
};

struct Simulation {
    world: World,
    pacer: Pacer,
    now: Duration,
    unflushed: usize,
    sublevels: usize,
    /// How many sublevels a merge takes, when it started and when it ends.
    merge: Option<(usize, Duration, Duration)>,
    admitted: usize,
    writes: usize,
    /// Those that had to wait.
    waits: usize,
    longest_wait: Duration,
    /// Time in which writes were stopped altogether.
    stopped: Duration,
}

fn time_for(bytes: usize, rate: usize) -> Duration {
    Duration::from_secs_f64(as_f64(bytes) / as_f64(rate))
}

fn between(start: Duration, end: Duration) -> Duration {
    end.checked_sub(start).unwrap()
}

impl Simulation {
    fn new(world: World) -> Self {
        Simulation {
            world,
            pacer: Pacer::new(LEVEL0_TABLES, HARD),
            now: Duration::ZERO,
            unflushed: 0,
            sublevels: 0,
            merge: None,
            admitted: 0,
            writes: 0,
            waits: 0,
            longest_wait: Duration::ZERO,
            stopped: Duration::ZERO,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while let Some((taken, start, end)) = self.merge
            && end <= self.now
        {
            self.merge = None;
            self.sublevels -= taken;
            let bytes = (taken * MEMTABLE_BYTES) as u64;
            self.pacer.merged(end, bytes, between(start, end), self.sublevels);
            self.start_merge(end);
        }
    }

    fn start_merge(&mut self, at: Duration) {
        if self.merge.is_none() && self.sublevels >= LEVEL0_TABLES {
            let taken = if self.world.takes_all { self.sublevels } else { 1 };
            let bytes = taken * MEMTABLE_BYTES + self.world.base_bytes;
            self.merge = Some((taken, at, at + time_for(bytes, self.world.merger)));
        }
    }

    fn write(&mut self) {
        let start = self.now;
        while self.sublevels >= HARD {
            self.pass(LATENESS);
            self.stopped += LATENESS;
        }
        while let Pace::WaitUntil(time) = self.pacer.admit(|| self.now, self.world.write_bytes) {
            self.longest_wait = self.longest_wait.max(between(self.now, time));
            self.pass(between(self.now, time) + LATENESS);
        }
        self.waits += usize::from(self.now > start);
        self.pass(time_for(self.world.write_bytes, self.world.writer));
        self.writes += 1;
        self.admitted += self.world.write_bytes;
        self.unflushed += self.world.write_bytes;
        if self.unflushed >= MEMTABLE_BYTES {
            self.unflushed -= MEMTABLE_BYTES;
            self.sublevels += 1;
            self.pacer.set_sublevels(self.now, self.sublevels);
            self.start_merge(self.now);
        }
    }

    /// Writes for some time; the lowest and highest number of sublevels on the way.
    fn write_for(&mut self, time: Duration) -> (usize, usize) {
        let end = self.now + time;
        let (mut low, mut high) = (usize::MAX, 0);
        while self.now < end {
            self.write();
            low = low.min(self.sublevels);
            high = high.max(self.sublevels);
        }
        (low, high)
    }

    /// The rates of so many seconds one by one, relative to what the merger can take.
    fn rates(&mut self, seconds: usize) -> Vec<f64> {
        let drain = as_f64(self.world.merger);
        let rate = |_| {
            let before = (self.admitted, self.now);
            self.write_for(SECOND);
            let time = between(before.1, self.now).as_secs_f64();
            as_f64(self.admitted - before.0) / time / drain
        };
        (0..seconds).map(rate).collect()
    }
}

fn lowest(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(f64::INFINITY, f64::min)
}

fn highest(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

#[test]
fn below_the_soft_limit_nobody_looks_at_the_clock() {
    let mut pacer = Pacer::new(LEVEL0_TABLES, HARD);
    pacer.set_sublevels(SECOND, 7);
    for _ in 0..1000 {
        assert_eq!(pacer.admit(|| unreachable!(), 1 << 30), Pace::Go);
    }
    pacer.set_sublevels(SECOND, 8);
    assert_eq!(pacer.admit(|| unreachable!(), 1 << 30), Pace::Go, "a quantum to begin with");
    assert!(matches!(pacer.admit(|| SECOND, 1), Pace::WaitUntil(_)));
    pacer.set_sublevels(SECOND, 7);
    assert_eq!(pacer.admit(|| unreachable!(), 1), Pace::Go);
}

#[test]
fn the_rate_falls_with_every_sublevel_from_well_above_the_merges_to_well_below() {
    let mut pacer = Pacer::new(LEVEL0_TABLES, HARD);
    let mut last = f64::INFINITY;
    for sublevels in 8..=HARD {
        pacer.set_sublevels(SECOND, sublevels);
        let rate = pacer.rate(SECOND);
        assert!(rate < last, "{sublevels}");
        last = rate;
    }
    assert!((last * SPAN / DEFAULT_DRAIN - 1.0).abs() < 1e-9);
    pacer.set_sublevels(SECOND, 8);
    assert!((pacer.rate(SECOND) / SPAN / DEFAULT_DRAIN - 1.0).abs() < 1e-9);
}

#[test]
fn writes_settle_at_the_rate_of_the_merges_and_never_reach_the_hard_limit() {
    for takes_all in [true, false] {
        for slower in [2, 5, 10] {
            let world = World { takes_all, merger: WORLD.writer / slower, ..WORLD };
            let mut simulation = Simulation::new(world);
            let (_, high) = simulation.write_for(20 * SECOND);
            assert!(high < HARD, "{high} at the start");
            let (low, high) = simulation.write_for(40 * SECOND);
            assert!((8..HARD).contains(&low) && high < HARD, "{low} to {high} sublevels");
            let rates = simulation.rates(60);
            assert!(lowest(&rates) > 0.9 && highest(&rates) < 1.1, "{slower}: {rates:?}");
            let average = rates.iter().sum::<f64>() / 60.0;
            assert!((average - 1.0).abs() < 0.02, "{average}");
            assert_eq!(simulation.stopped, Duration::ZERO);
            assert!(simulation.longest_wait < Duration::from_millis(50));
        }
    }
}

#[test]
fn a_base_that_is_merged_as_well_makes_no_swings() {
    // The larger the merge, the more of it is from level 0: the merger's rate is not constant.
    let base_bytes = 10 * MEMTABLE_BYTES;
    let mut simulation = Simulation::new(World { base_bytes, ..WORLD });
    let (_, high) = simulation.write_for(60 * SECOND);
    assert!(high < HARD, "{high}");
    let rates = simulation.rates(60);
    assert!(lowest(&rates) > 0.35 && highest(&rates) < 0.65, "{rates:?}");
}

#[test]
fn a_merger_that_becomes_slower_is_followed() {
    let mut simulation = Simulation::new(WORLD);
    simulation.write_for(30 * SECOND);
    simulation.world.merger /= 4;
    simulation.write_for(60 * SECOND);
    let stopped = simulation.stopped;
    let rates = simulation.rates(60);
    assert!(lowest(&rates) > 0.7 && highest(&rates) < 1.3, "{rates:?}");
    assert_eq!(simulation.stopped, stopped, "it stops before the new rate is known, if at all");
    simulation.world.merger *= 4;
    simulation.write_for(30 * SECOND);
    let rates = simulation.rates(10);
    assert!(lowest(&rates) > 0.85 && highest(&rates) < 1.15, "{rates:?}");
}

#[test]
fn few_writes_wait() {
    let world = World { write_bytes: 100, writer: 100 << 20, merger: 10 << 20, ..WORLD };
    let mut simulation = Simulation::new(world);
    simulation.write_for(30 * SECOND);
    (simulation.writes, simulation.waits) = (0, 0);
    simulation.write_for(20 * SECOND);
    assert!(simulation.waits > 100, "{}", simulation.waits);
    assert!(simulation.waits * 1000 < simulation.writes, "the 99.9th percentile is a wait");
}

#[test]
fn after_a_pause_there_is_no_limit() {
    let mut simulation = Simulation::new(WORLD);
    simulation.write_for(30 * SECOND);
    for _ in 0..10_000 {
        simulation.pass(Duration::from_millis(1));
    }
    assert!(simulation.sublevels < 8);
    simulation.waits = 0;
    while simulation.sublevels < 8 {
        simulation.write();
    }
    assert_eq!(simulation.waits, 0);
}

#[test]
fn a_huge_write_is_paid_for_in_short_waits() {
    let mut pacer = Pacer::new(LEVEL0_TABLES, HARD);
    let mut now = SECOND;
    pacer.set_sublevels(now, 12);
    let rate = pacer.rate(now);
    assert_eq!(pacer.admit(|| now, 32 << 20), Pace::Go);
    while let Pace::WaitUntil(time) = pacer.admit(|| now, 1) {
        assert!(between(now, time) <= MAX_QUANTUM && time > now);
        now = time;
    }
    let due = as_f64(32 << 20) / rate;
    let waited = between(SECOND, now).as_secs_f64();
    assert!((due - 0.1..due + 0.1).contains(&waited), "{waited} for {due}");
}

#[test]
fn writes_go_on_whatever_the_merges_do() {
    let mut pacer = Pacer::new(LEVEL0_TABLES, HARD);
    pacer.merged(SECOND, 0, SECOND, 1000);
    let mut now = SECOND;
    for _ in 0..100 {
        while let Pace::WaitUntil(time) = pacer.admit(|| now, 1000) {
            assert!(time > now, "time must pass");
            now = time;
        }
    }
    assert!(now < 3 * SECOND, "at the lowest rate");
    pacer.merged(now, 1 << 30, Duration::ZERO, 1000);
    assert!(pacer.rate(now).is_finite());
}

#[test]
fn close_to_the_hard_limit_nothing_is_expected_of_a_merge() {
    let mut pacer = Pacer::new(LEVEL0_TABLES, HARD);
    pacer.set_sublevels(SECOND, 20);
    pacer.merged(2 * SECOND, 10 << 20, SECOND, 10);
    for (sublevels, at_most) in [(20, 1.0), (22, 0.25), (24, 1.0 / SPAN)] {
        pacer.set_sublevels(3 * SECOND, sublevels);
        // The merge of the 10 that were left is overdue.
        let share = pacer.rate(9 * SECOND) / as_f64(10 << 20);
        assert!(share <= at_most * 1.001, "{share} of the merges' rate at {sublevels}");
    }
}
