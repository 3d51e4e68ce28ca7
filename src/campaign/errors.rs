//! Failing calls: each call of a workload fails once, and from then on, in every way that a device
//! or file system fails.
//!
//! The workload goes on behind an error as far as the engine lets it, and each error is judged by the
//! state that the engine is in then (the table of failure states in the design):
//!
//! | state | judged |
//! |---|---|
//! | OK | what failed has no effect, and nothing else changed |
//! | NOSPACE | the error says so; reads are right; writes are taken again by themselves once there is room |
//! | FAILED | writes are refused, and no call is made for them; only what was acknowledged is shown; a reopening ends it |
//! | CORRUPT | a read failed, and the error names the file; writes go on; reads are right once the device reads again |
//!
//! At each error and at the end, when the faults are gone, all that was acknowledged must be shown,
//! survive the end of the process and of the power, whatever of the rest survives with it, and open
//! again, and copies are whole or no databases. Opening what was killed amid its work is tried with
//! the same faults: it opens with everything, or is refused with an error that says what failed where
//! and opens with everything at the next try.
//!
//! Only runs that differ are made and counted: a fault is planned at calls that it hits, and one that
//! was to strike more often than it did was a run that others make. Random pairs of faults follow the
//! single ones.

use std::sync::LazyLock;
use std::time::Duration;

use super::workload::{
    STEPS, Seen, Workload, check_copy, is_ingestion, later, live, open_later, seen,
};
use super::{Case, Count, Part};
use crate::engine::storage::sim::{Bounds, FaultKind, Moment, Random, SimStorage, Times};
use crate::engine::{Engine, Error, Health};

/// Workloads, by their seeds.
const WORKLOADS: [u64; 2] = [5, 6];
/// After how many steps a workload is killed whose recovery is to fail.
const KILLED_AFTER: [u64; 3] = [17, 43, 74];
/// After how many errors nothing fails any more.
const ERRORS: u64 = 3;
/// Cases of two faults, and how many runs each makes.
const PAIR_CASES: u64 = 400;
const PAIRS: u64 = 8;
/// How much of what a power cut may leave is looked at: nothing and all of what was not synced, a
/// write that was torn, or one thing without the rest.
const BOUNDS: Bounds = Bounds { exhaustive: 3, samples: 3 };

/// How calls fail that change something, and those that only look.
const CHANGES: [FaultKind; 7] = [
    FaultKind::Io,
    FaultKind::NoSpace,
    FaultKind::Quota,
    FaultKind::ShortWrite,
    FaultKind::Interrupted,
    FaultKind::TooManyFiles,
    FaultKind::SyncLosesData,
];
const LOOKS: [FaultKind; 5] = [
    FaultKind::Io,
    FaultKind::NoSpace,
    FaultKind::Quota,
    FaultKind::Interrupted,
    FaultKind::TooManyFiles,
];
const TIMES: [Times; 2] = [Times::Once, Times::Forever];

/// See the module.
pub(crate) struct Errors;

/// A planned fault.
#[derive(Debug, Clone, Copy)]
struct Fault {
    /// Whether it hits calls that only look.
    looks: bool,
    call: u64,
    kind: FaultKind,
    times: Times,
}

impl Fault {
    fn plan(self, storage: &SimStorage) {
        if self.looks {
            storage.fail_read(storage.read_count() + self.call, self.kind, self.times);
        } else {
            storage.fail_call(storage.call_count() + self.call, self.kind, self.times);
        }
    }

    /// Writers wait until there are descriptors again: one that is its own background would for ever.
    fn passes(self) -> bool {
        !(self.kind == FaultKind::TooManyFiles && self.times == Times::Forever)
    }

    /// How often it strikes at least, unless its run is that of another one.
    fn strikes(self) -> u64 {
        match self.times {
            Times::Once => 1,
            Times::Forever => 2,
        }
    }
}

/// What is run with faults.
struct Scene {
    seed: u64,
    /// What a workload left that was killed, if its recovery is to fail, and not its work.
    killed: Option<(SimStorage, Workload)>,
    /// A run without faults.
    sound: SimStorage,
}

impl Scene {
    /// The workload with this seed, from an empty directory to the close.
    fn work(seed: u64) -> Result<Scene, String> {
        let storage = SimStorage::new(seed);
        work(&storage, seed, &[])?;
        Ok(Scene { seed, killed: None, sound: storage })
    }

    /// Its recovery after some steps.
    fn recovery(seed: u64, steps: u64) -> Result<Scene, String> {
        let storage = SimStorage::new(seed);
        let mut workload = Workload::new(seed);
        let told = |error: Error| error.to_string();
        let engine = workload.open(storage.clone()).map_err(told)?;
        (0..steps).try_for_each(|serial| workload.run_step(&engine, serial)).map_err(told)?;
        drop(engine);
        let sound = storage.kill();
        open_later(sound.clone()).map_err(told)?;
        Ok(Scene { seed, sound, killed: Some((storage, workload)) })
    }

    fn all() -> Result<Vec<Scene>, String> {
        let mut scenes = Vec::new();
        for seed in WORKLOADS {
            scenes.push(Scene::work(seed)?);
            for steps in KILLED_AFTER {
                scenes.push(Scene::recovery(seed, steps)?);
            }
        }
        Ok(scenes)
    }

    /// How many calls change something, and how many only look.
    fn changes(&self) -> u64 {
        self.sound.call_count()
    }

    fn looks(&self) -> u64 {
        self.sound.read_count()
    }

    /// All ways in which one call can fail.
    fn faults_at(&self, looks: bool, call: u64) -> impl Iterator<Item = Fault> {
        let kinds = if looks { &LOOKS[..] } else { &CHANGES[..] };
        let hits = move |kind: &FaultKind| looks || self.sound.could_hit(call, *kind);
        let with_kind = move |kind| TIMES.map(|times| Fault { looks, call, kind, times });
        kinds.iter().copied().filter(hits).flat_map(with_kind).filter(|fault| fault.passes())
    }

    fn random_fault(&self, random: &mut Random) -> Fault {
        let looks = random.one_in(3);
        let (kinds, most) =
            if looks { (&LOOKS[..], self.looks()) } else { (&CHANGES[..], self.changes()) };
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        Fault { looks, call: 1 + random.below(most), kind, times: Times::Once }
    }

    /// Runs it with these faults.
    fn run(&self, faults: &[Fault]) -> Result<Judged, String> {
        let (judged, what) = match &self.killed {
            None => (work(&SimStorage::new(self.seed), self.seed, faults), "work"),
            Some((storage, workload)) => (recover(&storage.kill(), workload, faults), "recovery"),
        };
        judged.map_err(|loss| format!("{loss}; {what} of workload {} with {faults:?}", self.seed))
    }

    /// The same, and counts it unless another run is the same.
    fn run_and_count(&self, case: &Case<'_>, faults: &[Fault]) -> Result<(), String> {
        let judged = self.run(faults)?;
        if judged.strikes >= faults.iter().map(|fault| fault.strikes()).sum() {
            case.count(Count::Faults, 1);
            case.count(Count::Operations, judged.compared);
        }
        Ok(())
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
struct Judged {
    /// Calls that failed.
    strikes: u64,
    /// Steps and looks that were compared.
    compared: u64,
}

/// All scenes.
static SCENES: LazyLock<Result<Vec<Scene>, String>> = LazyLock::new(Scene::all);

fn scenes() -> Result<&'static [Scene], String> {
    SCENES.as_ref().map(Vec::as_slice).map_err(Clone::clone)
}

impl Part for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn share(&self) -> u32 {
        1
    }

    fn pass(&self) -> Option<u64> {
        let scenes = scenes().unwrap_or_default();
        let calls = scenes.iter().map(|scene| scene.changes() + scene.looks());
        Some(calls.sum::<u64>() + PAIR_CASES)
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let mut at = case.seed % self.pass().unwrap_or(1);
        for scene in scenes()? {
            let (changes, looks) = (scene.changes(), scene.looks());
            let call = match at {
                at if at < changes => Some((false, at + 1)),
                at if at < changes + looks => Some((true, at - changes + 1)),
                _ => None,
            };
            if let Some((looks, call)) = call {
                for fault in scene.faults_at(looks, call) {
                    scene.run_and_count(case, &[fault])?;
                }
                return Ok(());
            }
            at -= changes + looks;
        }
        let mut random = Random(at);
        for _ in 0..PAIRS {
            let scenes = scenes()?;
            let scene = &scenes[random.below(scenes.len() as u64) as usize];
            let faults = [(); 2].map(|()| scene.random_fault(&mut random));
            scene.run_and_count(case, &faults)?;
        }
        Ok(())
    }
}

/// Whether an error says what failed, how and where.
fn says_what_failed(error: &Error, faults: &[Fault]) -> Result<(), String> {
    let told = error.to_string();
    match error {
        Error::Io { op, file, .. }
            if !op.is_empty()
                && !file.is_empty()
                && faults.iter().any(|fault| told.contains(&fault.kind.error().to_string())) =>
        {
            Ok(())
        }
        other => Err(format!("an error that does not say what failed: {other:?}")),
    }
}

/// A workload under way.
struct Run<'a> {
    storage: &'a SimStorage,
    workload: Workload,
    engine: Engine,
    faults: &'a [Fault],
    /// Errors so far.
    errors: u64,
    compared: u64,
}

/// Runs a workload from the beginning with these faults, and judges what comes of it.
fn work(storage: &SimStorage, seed: u64, faults: &[Fault]) -> Result<Judged, String> {
    for fault in faults {
        fault.plan(storage);
    }
    let workload = Workload::new(seed);
    let engine = match workload.open(storage.clone()) {
        Ok(engine) => engine,
        Err(error) => {
            says_what_failed(&error, faults)?;
            storage.clear_faults();
            workload.open(storage.clone()).map_err(|e| format!("it does not open again: {e}"))?
        }
    };
    let mut run = Run { storage, workload, engine, faults, errors: 0, compared: 0 };
    let mut goes_on = true;
    for serial in 0..STEPS {
        if let Err(error) = run.workload.run_step(&run.engine, serial) {
            let judged = run.judge(&error, is_ingestion(serial));
            goes_on = judged.map_err(|what| format!("{what}; at step {serial}"))?;
        }
        run.compared += 1;
        if !goes_on {
            break;
        }
    }
    if goes_on {
        run.end()?;
    }
    let Run { workload, engine, compared, .. } = run;
    drop(engine);
    let strikes = storage.fault_count();
    let survivors = survives(&storage.moment(), &workload)?;
    Ok(Judged { strikes, compared: compared + survivors })
}

impl Run<'_> {
    /// Judges an error of a step by the state that the engine is in; whether it goes on.
    fn judge(&mut self, error: &Error, is_ingestion: bool) -> Result<bool, String> {
        self.errors += 1;
        let health = self.engine.health();
        self.tells(error, &health)?;
        if matches!(health, Health::Failed { .. }) {
            return self.is_failed().map(|()| false);
        }
        if self.errors > ERRORS && matches!(health, Health::Ok) {
            return Err(format!("nothing fails any more, but: {error}"));
        }
        let fits = error.is_no_space() || self.is_of_a_fault_but_room(error);
        if matches!(health, Health::NoSpace { .. }) && !fits {
            return Err(format!("NOSPACE is told as {error}"));
        }
        // Whether the manifest holds what was ingested is unknown until it is written anew.
        if is_ingestion && matches!(health, Health::NoSpace { .. }) {
            self.storage.clear_faults();
            return self.shows_the_last().map(|()| false);
        }
        self.workload.history.take_back();
        self.compared += survives(&self.storage.moment(), &self.workload)?;
        if self.errors < ERRORS {
            return self.shows_the_last_or_tells().map(|()| true);
        }
        self.is_well_again().map(|()| true)
    }

    /// Whether an error is that of a fault that has nothing to do with room: of two, each may be met.
    fn is_of_a_fault_but_room(&self, error: &Error) -> bool {
        let told = error.to_string();
        let is_other =
            |fault: &&Fault| !matches!(fault.kind, FaultKind::NoSpace | FaultKind::Quota);
        let is_told = |fault: &Fault| told.contains(&fault.kind.error().to_string());
        self.faults.iter().filter(is_other).any(is_told)
    }

    /// Whether an error belongs to the state that the engine is in, and one of them says what failed.
    fn tells(&self, error: &Error, health: &Health) -> Result<(), String> {
        match (error, health) {
            (Error::Failed(_), Health::Failed { .. })
            | (Error::NoSpace, Health::NoSpace { .. }) => {}
            _ => says_what_failed(error, self.faults)?,
        }
        let Some(cause) = health.cause() else { return Ok(()) };
        says_what_failed(cause, self.faults)?;
        let is_read = matches!(cause, Error::Io { op: "read", .. });
        match health {
            Health::NoSpace { .. } if is_read || !cause.is_no_space() => {
                Err(format!("room is not what lacks: {cause}"))
            }
            Health::Corrupt { .. } if !is_read => Err(format!("nothing is damaged, but: {cause}")),
            _ => Ok(()),
        }
    }

    /// Once nothing fails any more, everything can be read, and there is room.
    fn is_well_again(&mut self) -> Result<(), String> {
        self.storage.clear_faults();
        self.shows_the_last()?;
        self.engine.run_background();
        match self.engine.health() {
            Health::NoSpace { cause } => Err(format!("there is room, and still NOSPACE: {cause}")),
            _ => self.shows_the_last(),
        }
    }

    /// All that was acknowledged is shown, and nothing else.
    fn shows_the_last(&mut self) -> Result<(), String> {
        let shown = seen(&self.engine).map_err(|error| format!("it cannot be read: {error}"))?;
        self.compare(&shown)
    }

    /// The same where a read may still fail.
    fn shows_the_last_or_tells(&mut self) -> Result<(), String> {
        match self.engine.scan(..).collect::<crate::engine::Result<Seen>>() {
            Ok(shown) => self.compare(&shown),
            Err(error) => says_what_failed(&error, self.faults),
        }
    }

    fn compare(&mut self, shown: &Seen) -> Result<(), String> {
        self.compared += 1;
        if *shown == live(self.workload.history.last(), self.workload.now_ms()) {
            Ok(())
        } else {
            Err("what is shown is not what was acknowledged".to_owned())
        }
    }

    /// Writes are refused without touching the log, and only what is durable is shown; nothing but
    /// a restart changes that.
    fn is_failed(&mut self) -> Result<(), String> {
        let calls = self.storage.call_count();
        match self.engine.put(b"key", b"refused") {
            Err(Error::Failed(_)) => {}
            other => return Err(format!("FAILED, and a write ends with {other:?}")),
        }
        if self.storage.call_count() != calls {
            return Err("FAILED, and the log is touched".to_owned());
        }
        self.storage.clear_faults();
        self.shows_the_last()?;
        if self.engine.close().is_ok() {
            return Err("FAILED, and it closes as if nothing had been".to_owned());
        }
        match self.engine.health() {
            Health::Failed { .. } => Ok(()),
            other => Err(format!("FAILED is left without a restart: {}", other.name())),
        }
    }

    /// Closes while calls may still fail.
    fn end(&mut self) -> Result<(), String> {
        if let Err(error) = self.engine.close() {
            self.tells(&error, &self.engine.health())?;
        }
        self.storage.clear_faults();
        self.shows_the_last()
    }
}

/// Judges what would be left if the process, or the power, went now; how many outcomes that were.
fn survives(moment: &Moment, workload: &Workload) -> Result<u64, String> {
    let judge = |survivor: SimStorage| -> Result<(), String> {
        let engine = open_later(survivor.clone())
            .map_err(|error| format!("what survives does not open: {error}"))?;
        if !is_possible(workload, &seen(&engine)?) {
            return Err("lost, invented or torn apart".to_owned());
        }
        drop(engine);
        workload.history.copies.iter().try_for_each(|copy| check_copy(&survivor, copy))
    };
    judge(moment.killed()).map_err(|what| format!("{what}; after a kill"))?;
    let fates = moment.survivors(BOUNDS, &mut Random(moment.number())).fates;
    for fate in &fates {
        judge(moment.after(fate))
            .map_err(|what| format!("{what}; after a power cut {}", moment.describe(fate)))?;
    }
    Ok(1 + fates.len() as u64)
}

fn is_possible(workload: &Workload, found: &Seen) -> bool {
    workload.history.possible().iter().any(|model| later(model) == *found)
}

/// Opens what was killed, with these faults.
fn recover(storage: &SimStorage, workload: &Workload, faults: &[Fault]) -> Result<Judged, String> {
    for fault in faults {
        fault.plan(storage);
    }
    let opened = open_later(storage.clone());
    storage.clear_faults();
    match opened {
        Ok(engine) if is_possible(workload, &seen(&engine)?) => {}
        Ok(_) => return Err("what was recovered is not what was there".to_owned()),
        Err(error) => says_what_failed(&error, faults)?,
    }
    let strikes = storage.fault_count();
    let survivors = survives(&storage.moment(), workload)?;
    Ok(Judged { strikes, compared: 1 + survivors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Campaign;

    #[test]
    fn a_slice_of_a_pass_loses_nothing() {
        let campaign = Campaign::for_tests();
        let pass = Errors.pass().unwrap();
        for seed in (0..pass).step_by(61) {
            Errors.run(&Case::alone(seed, &campaign)).unwrap();
        }
        assert!(campaign.tally.get(Count::Faults) > 200, "{}", campaign.tally);
        assert!(campaign.tally.get(Count::Operations) > 5_000, "{}", campaign.tally);
    }

    #[test]
    fn a_run_in_which_nothing_failed_is_not_counted() {
        let campaign = Campaign::for_tests();
        let far = Fault { looks: false, call: 1 << 40, kind: FaultKind::Io, times: Times::Once };
        let scene = &scenes().unwrap()[0];
        assert_eq!(scene.run(&[far]).unwrap().strikes, 0);
        scene.run_and_count(&Case::alone(0, &campaign), &[far]).unwrap();
        assert_eq!(campaign.tally.get(Count::Faults), 0);
    }

    #[test]
    fn every_single_fault_strikes_the_call_for_which_it_is_planned() {
        let scene = &scenes().unwrap()[0];
        let faults: Vec<Fault> = (1..scene.changes())
            .step_by(23)
            .flat_map(|call| scene.faults_at(false, call))
            .collect();
        for kind in CHANGES {
            assert!(faults.iter().any(|fault| fault.kind == kind), "{kind:?} is never planned");
        }
        for fault in faults.into_iter().filter(|fault| fault.times == Times::Once) {
            let storage = SimStorage::new(scene.seed);
            storage.crash_at(fault.call + 1);
            fault.plan(&storage);
            let mut workload = Workload::new(scene.seed);
            if let Ok(engine) = workload.open(storage.clone()) {
                let _ = workload.run(&engine);
            }
            assert_eq!(storage.fault_count(), 1, "{fault:?}");
        }
    }

    const FAULTS: [Fault; 1] =
        [Fault { looks: false, call: 1, kind: FaultKind::Io, times: Times::Once }];

    /// A workload that has run some steps, with nothing wrong.
    fn run(storage: &SimStorage) -> Run<'_> {
        let mut workload = Workload::new(1);
        let engine = workload.open(storage.clone()).unwrap();
        (0..9).for_each(|serial| workload.run_step(&engine, serial).unwrap());
        Run { storage, workload, engine, faults: &FAULTS, errors: 0, compared: 0 }
    }

    /// Has the history say that more was acknowledged than was.
    fn forge(workload: &mut Workload) {
        let mut model = workload.history.last().clone();
        model.insert(b"key-0000".to_vec(), (b"never written".to_vec(), None));
        workload.history.models.push(model);
        workload.history.acknowledged += 1;
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_found() {
        let storage = SimStorage::new(1);
        let mut run = run(&storage);
        run.shows_the_last().unwrap();
        forge(&mut run.workload);
        assert!(run.shows_the_last().unwrap_err().contains("not what was acknowledged"));
        assert!(run.shows_the_last_or_tells().is_err());
        let mut workload = run.workload;
        drop(run.engine);
        assert!(survives(&storage.moment(), &workload).unwrap_err().contains("lost"));
        assert!(recover(&storage.kill(), &workload, &[]).is_err());
        workload.history.acknowledged -= 1;
        survives(&storage.moment(), &workload).unwrap();
        recover(&storage.kill(), &workload, &[]).unwrap();
    }

    #[test]
    fn an_engine_that_goes_on_after_its_log_failed_is_found() {
        let storage = SimStorage::new(1);
        let mut run = run(&storage);
        assert!(run.is_failed().unwrap_err().contains("a write ends with Ok"));
    }

    #[test]
    fn errors_that_fit_no_state_are_found() {
        let storage = SimStorage::new(1);
        let mut run = run(&storage);
        assert!(run.judge(&Error::OutOfOrder, false).unwrap_err().contains("does not say"));
        let error = Error::io("write", "a file", FaultKind::Quota.error());
        assert!(run.judge(&error, false).unwrap_err().contains("does not say"));
        run.errors = 0;
        let error = Error::io("write", "a file", FaultKind::Io.error());
        for _ in 0..ERRORS {
            assert_eq!(run.judge(&error, false), Ok(true));
        }
        assert!(run.judge(&error, false).unwrap_err().contains("nothing fails any more"));
        for error in [Error::NoSpace, Error::Failed("it".into())] {
            assert!(run.tells(&error, &Health::Ok).is_err());
        }
        let read = Error::io("read", "a table", FaultKind::NoSpace.error());
        run.faults = &[Fault { kind: FaultKind::NoSpace, ..FAULTS[0] }];
        assert_eq!(run.tells(&read, &Health::Corrupt { cause: read.clone() }), Ok(()));
        let told = run.tells(&read, &Health::NoSpace { cause: read.clone() });
        assert!(told.unwrap_err().contains("room is not what lacks"));
    }
}
