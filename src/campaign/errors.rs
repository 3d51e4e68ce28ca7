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
//! At the end the faults are gone: all that was acknowledged must be shown, survive the end of the
//! process and of the power, and open again, and copies are whole or no databases. Opening what was
//! killed amid its work is tried with the same faults: it opens with everything, or is refused with an
//! error that names a file and opens with everything at the next try.
//!
//! A run in which no fault struck is not counted. Random pairs of faults follow the single ones.

use std::sync::LazyLock;
use std::time::Duration;

use super::workload::{
    STEPS, Seen, Workload, check_copy, is_ingestion, later, live, open_later, seen,
};
use super::{Case, Count, Part};
use crate::engine::storage::sim::{FaultKind, Random, SimStorage, Survival, Times};
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
const LOOKS: [FaultKind; 3] = [FaultKind::Io, FaultKind::Interrupted, FaultKind::TooManyFiles];
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

    /// All ways in which one call can fail.
    fn all(looks: bool, call: u64) -> impl Iterator<Item = Fault> {
        let kinds = if looks { &LOOKS[..] } else { &CHANGES[..] };
        let with_kind = move |kind| TIMES.map(|times| Fault { looks, call, kind, times });
        kinds.iter().copied().flat_map(with_kind).filter(|fault| fault.passes())
    }

    fn random(random: &mut Random, calls: Calls) -> Fault {
        let looks = random.one_in(3);
        let (kinds, most) =
            if looks { (&LOOKS[..], calls.looks) } else { (&CHANGES[..], calls.changes) };
        Fault {
            looks,
            call: 1 + random.below(most),
            kind: kinds[random.below(kinds.len() as u64) as usize],
            times: Times::Once,
        }
    }
}

/// How many calls a run makes when nothing fails.
#[derive(Debug, Clone, Copy)]
struct Calls {
    changes: u64,
    looks: u64,
}

/// What is run with faults.
struct Scene {
    seed: u64,
    /// What a workload left that was killed, if its recovery is to fail, and not its work.
    killed: Option<(SimStorage, Workload)>,
    /// What it takes without faults.
    calls: Calls,
}

impl Scene {
    /// The workload with this seed, from an empty directory to the close.
    fn work(seed: u64) -> Result<Scene, String> {
        let storage = SimStorage::new(seed);
        work(&storage, seed, &[])?;
        Ok(Scene { seed, killed: None, calls: calls(&storage) })
    }

    /// Its recovery after some steps.
    fn recovery(seed: u64, steps: u64) -> Result<Scene, String> {
        let storage = SimStorage::new(seed);
        let mut workload = Workload::new(seed);
        let told = |error: Error| error.to_string();
        let engine = workload.open(storage.clone()).map_err(told)?;
        (0..steps).try_for_each(|serial| workload.run_step(&engine, serial)).map_err(told)?;
        drop(engine);
        let survivor = storage.kill();
        open_later(survivor.clone()).map_err(told)?;
        Ok(Scene { seed, calls: calls(&survivor), killed: Some((storage, workload)) })
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

    /// Runs it with these faults.
    fn run(&self, faults: &[Fault]) -> Result<Judged, String> {
        let (judged, what) = match &self.killed {
            None => (work(&SimStorage::new(self.seed), self.seed, faults), "work"),
            Some((storage, workload)) => (recover(&storage.kill(), workload, faults), "recovery"),
        };
        judged.map_err(|loss| format!("{loss}; {what} of workload {} with {faults:?}", self.seed))
    }
}

fn calls(storage: &SimStorage) -> Calls {
    Calls { changes: storage.call_count(), looks: storage.read_count() }
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
        let calls = scenes.iter().map(|scene| scene.calls.changes + scene.calls.looks);
        Some(calls.sum::<u64>() + PAIR_CASES)
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }

    fn run(&self, case: &Case<'_>) -> Result<(), String> {
        let mut at = case.seed % self.pass().unwrap_or(1);
        for scene in scenes()? {
            let calls = scene.calls;
            let call = match at {
                at if at < calls.changes => Some((false, at + 1)),
                at if at < calls.changes + calls.looks => Some((true, at - calls.changes + 1)),
                _ => None,
            };
            if let Some((looks, call)) = call {
                for fault in Fault::all(looks, call) {
                    count(case, scene.run(&[fault])?);
                }
                return Ok(());
            }
            at -= calls.changes + calls.looks;
        }
        let mut random = Random(at);
        for _ in 0..PAIRS {
            let scenes = scenes()?;
            let scene = &scenes[random.below(scenes.len() as u64) as usize];
            let faults = [(); 2].map(|()| Fault::random(&mut random, scene.calls));
            count(case, scene.run(&faults)?);
        }
        Ok(())
    }
}

fn count(case: &Case<'_>, judged: Judged) {
    if judged.strikes > 0 {
        case.count(Count::Faults, 1);
        case.count(Count::Operations, judged.compared);
    }
}

/// Whether an error says what failed where.
fn names_a_file(error: &Error) -> Result<(), String> {
    match error {
        Error::Io { file, .. } if !file.is_empty() => Ok(()),
        Error::NoSpace | Error::Failed(_) => Ok(()),
        other => Err(format!("an error that does not say what failed: {other:?}")),
    }
}

/// A workload under way.
struct Run<'a> {
    storage: &'a SimStorage,
    workload: Workload,
    engine: Engine,
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
            names_a_file(&error)?;
            storage.clear_faults();
            workload.open(storage.clone()).map_err(|e| format!("it does not open again: {e}"))?
        }
    };
    let mut run = Run { storage, workload, engine, errors: 0, compared: 0 };
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
    survives(storage, &workload)?;
    Ok(Judged { strikes, compared: compared + 1 })
}

impl Run<'_> {
    /// Judges an error of a step by the state that the engine is in; whether it goes on.
    fn judge(&mut self, error: &Error, is_ingestion: bool) -> Result<bool, String> {
        names_a_file(error)?;
        self.errors += 1;
        let health = self.engine.health();
        if matches!(health, Health::Failed { .. }) {
            return self.is_failed().map(|()| false);
        }
        if self.errors > ERRORS && matches!(health, Health::Ok) {
            return Err(format!("nothing fails any more, but: {error}"));
        }
        if matches!(health, Health::NoSpace { .. }) && !error.is_no_space() {
            return Err(format!("NOSPACE is told as {error}"));
        }
        if let Health::Corrupt { cause } = &health
            && !matches!(cause, Error::Io { op: "read", .. })
        {
            return Err(format!("nothing is damaged, but: {cause}"));
        }
        // Whether the manifest holds what was ingested is unknown until it is written anew.
        if is_ingestion && matches!(health, Health::NoSpace { .. }) {
            self.storage.clear_faults();
            return self.shows_the_last().map(|()| false);
        }
        self.workload.history.take_back();
        if self.errors < ERRORS {
            return self.shows_the_last_or_tells().map(|()| true);
        }
        self.is_well_again().map(|()| true)
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
            Err(error) => names_a_file(&error),
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
            names_a_file(&error)?;
        }
        self.storage.clear_faults();
        self.shows_the_last()
    }
}

/// Judges what is left when the process, or the power, has gone.
fn survives(storage: &SimStorage, workload: &Workload) -> Result<(), String> {
    for survivor in [storage.kill(), storage.power_cut(Survival::Nothing)] {
        let engine = open_later(survivor.clone())
            .map_err(|error| format!("what survives does not open: {error}"))?;
        let found = seen(&engine)?;
        if !is_possible(workload, &found) {
            return Err("lost, invented or torn apart".to_owned());
        }
        for copy in &workload.history.copies {
            check_copy(&survivor, copy)?;
        }
    }
    Ok(())
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
        Err(error) => names_a_file(&error)?,
    }
    let strikes = storage.fault_count();
    survives(storage, workload)?;
    Ok(Judged { strikes, compared: 2 })
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
        assert!(campaign.tally.get(Count::Faults) > 300, "{}", campaign.tally);
        assert!(campaign.tally.get(Count::Operations) > 5_000, "{}", campaign.tally);
    }

    #[test]
    fn a_run_in_which_nothing_failed_is_not_counted() {
        let campaign = Campaign::for_tests();
        let far = Fault { looks: false, call: 1 << 40, kind: FaultKind::Io, times: Times::Once };
        let judged = scenes().unwrap()[0].run(&[far]).unwrap();
        count(&Case::alone(0, &campaign), judged);
        assert_eq!((judged.strikes, campaign.tally.get(Count::Faults)), (0, 0));
    }

    /// A workload that has run some steps, with nothing wrong.
    fn run(storage: &SimStorage) -> Run<'_> {
        let mut workload = Workload::new(1);
        let engine = workload.open(storage.clone()).unwrap();
        (0..9).for_each(|serial| workload.run_step(&engine, serial).unwrap());
        Run { storage, workload, engine, errors: 0, compared: 0 }
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
        assert!(survives(&storage, &workload).unwrap_err().contains("lost"));
        assert!(recover(&storage.kill(), &workload, &[]).is_err());
        workload.history.acknowledged -= 1;
        survives(&storage, &workload).unwrap();
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
        let error = Error::io("write", "a file", std::io::ErrorKind::Other.into());
        for _ in 0..ERRORS {
            assert_eq!(run.judge(&error, false), Ok(true));
        }
        assert!(run.judge(&error, false).unwrap_err().contains("nothing fails any more"));
    }
}
