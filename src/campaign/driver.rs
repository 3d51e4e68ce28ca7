//! Runs the cases of one part: on some threads, until its time is up, its pass is complete or
//! something is lost.
//!
//! A panic anywhere in the process and a case that takes longer than its part's patience count as
//! losses, and end the process with the reproducing command: a release build cannot catch the one,
//! and nobody can interrupt the other. So nothing may rely on running after a loss.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::options::Options;
use super::server::Server;
use super::tally::{Count, Tally};

/// How often what runs is looked at.
const GLANCE: Duration = Duration::from_millis(200);
/// How often progress is told where there is no terminal.
const TELL: Duration = Duration::from_secs(20);

/// What all parts share.
pub(crate) struct Campaign {
    pub(crate) tally: Tally,
    pub(crate) server: Server,
}

/// One kind of misfortune.
pub(crate) trait Part: Sync {
    /// What `--part` calls it.
    fn name(&self) -> &'static str;

    /// Its share of the time, relative to the others'.
    fn share(&self) -> u32;

    /// Why it cannot run on this machine, if so. Called before anything else.
    fn obstacle(&self) -> Option<String> {
        None
    }

    /// Whether it runs the server program, which may have to be built first.
    fn needs_server(&self) -> bool {
        false
    }

    /// How many cases make a complete pass, if it enumerates. Their seeds are `0..n`, taken modulo
    /// `n`.
    fn pass(&self) -> Option<u64> {
        None
    }

    /// How many cases run at once.
    fn threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// After what time a case counts as hanging.
    fn patience(&self) -> Duration {
        Duration::from_mins(5)
    }

    /// What is worth knowing about what was done so far, beyond the counts.
    fn remarks(&self) -> Option<String> {
        None
    }

    /// Runs one case; tells what was lost.
    fn run(&self, case: &Case<'_>) -> Result<(), String>;
}

/// One case of a part.
pub(crate) struct Case<'a> {
    /// All its choices follow from this.
    pub(crate) seed: u64,
    pub(crate) campaign: &'a Campaign,
    end: Instant,
}

#[cfg(test)]
impl<'a> Case<'a> {
    /// A case by itself, for tests: it has time.
    pub(crate) fn alone(seed: u64, campaign: &'a Campaign) -> Self {
        Case { seed, campaign, end: Instant::now() + Duration::from_hours(1) }
    }
}

impl Case<'_> {
    /// Counts what was done and judged.
    pub(crate) fn count(&self, count: Count, n: u64) {
        self.campaign.tally.add(count, n);
    }

    /// Whether the part's time is up. A long case may end early then; what it did not do must not
    /// be counted.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

#[cfg(test)]
impl Campaign {
    /// For tests of parts that need no server.
    pub(crate) fn for_tests() -> Self {
        Campaign { tally: Tally::default(), server: Server::new(None) }
    }
}

/// The cases that run at the moment: part, seed, since when.
static RUNNING: Mutex<BTreeSet<(&'static str, u64, Instant)>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<(&'static str, u64, Instant)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says a line on the error stream, for people.
pub(super) fn announce(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The line that tells of a loss, and how to see it again.
fn loss(name: &str, seed: u64, what: &str) -> String {
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    let features = if cfg!(feature = "planted") { "planted" } else { "campaign" };
    format!(
        "LOST in {name}: {what}\nagain: cargo run{release} --features {features} --bin campaign -- \
         --part {name} --seed {seed} --cases 1"
    )
}

/// Why the process ends amid a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By a panic or a hang.
    Loss,
    /// Somebody interrupts it.
    Interrupt,
}

type Undoing = Box<dyn Fn(End) + Send>;

/// What is to be undone outside of this process if it ends amid a case, by number.
static UNDOINGS: Mutex<BTreeMap<u64, Undoing>> = Mutex::new(BTreeMap::new());

/// Keeps something from being undone too late, or after it was undone in order.
#[derive(Debug)]
pub(crate) struct Undo(u64);

/// Has `undo` called should the process end amid a case before what is returned is dropped. It must
/// not wait.
pub(crate) fn undo_at_an_end(undo: impl Fn(End) + Send + 'static) -> Undo {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    undoings().insert(number, Box::new(undo));
    Undo(number)
}

fn undoings() -> MutexGuard<'static, BTreeMap<u64, Undoing>> {
    UNDOINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Undoes everything, what came last first.
fn undo_all(end: End) {
    undoings().values().rev().for_each(|undo| undo(end));
}

impl Drop for Undo {
    fn drop(&mut self) {
        undoings().remove(&self.0);
    }
}

/// Ends the process with a loss that cannot be returned.
fn die(what: &str) -> ! {
    undo_all(End::Loss);
    let suspects = running().clone();
    let mut lines = String::new();
    for (name, seed, _) in suspects {
        lines.push_str(&loss(name, seed, what));
        lines.push('\n');
    }
    if lines.is_empty() {
        lines = format!("LOST: {what}\n");
    }
    let _ = std::io::stdout().write_all(lines.as_bytes());
    std::process::exit(1);
}

/// Has an interrupt end the process with nothing left behind.
pub(super) fn end_on_signals() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            undo_all(End::Interrupt);
            std::process::exit(1);
        }
    });
    Ok(())
}

fn end_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| die(&format!("{panic}")))));
}

/// Runs cases of `part` for `time`; false if this machine does not let it.
pub(super) fn run(
    part: &'static dyn Part,
    campaign: &Campaign,
    seed: u64,
    time: Duration,
    options: &Options,
) -> Result<bool, String> {
    let name = part.name();
    if let Some(why) = part.obstacle() {
        let line = format!("{name}: left out: {why}");
        announce(&line);
        return if options.part.is_empty() { Ok(false) } else { Err(line) };
    }
    end_on_panic();
    let begun = Instant::now();
    let cases = Cases::new(part, seed, options.cases);
    let end = begun + time;
    let failure: Mutex<Option<String>> = Mutex::new(None);
    let threads = options.threads.map_or_else(|| part.threads(), usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = cases.next(end, &failure) {
                    let running_since = Instant::now();
                    running().insert((name, seed, running_since));
                    let outcome = part.run(&Case { seed, campaign, end });
                    running().remove(&(name, seed, running_since));
                    if let Err(what) = outcome {
                        let line = loss(name, seed, &what);
                        // At once: another case may end the process.
                        announce(&line);
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(line);
                    }
                    cases.done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        watch(part, campaign, &cases, begun, &|| cases.is_over(end, &failure));
    });
    if let Some(line) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(line);
    }
    let seconds = begun.elapsed().as_secs();
    announce(&format!("{name}: {} in {seconds} s; so far {}", cases.progress(), campaign.tally));
    if let Some(remarks) = part.remarks() {
        announce(&format!("{name}: {remarks}"));
    }
    if cases.done.into_inner() == 0 {
        return Err(format!("{name}: there was no time for a single case"));
    }
    Ok(true)
}

/// Shows progress and looks for cases that hang, until all have ended.
fn watch(
    part: &dyn Part,
    campaign: &Campaign,
    cases: &Cases,
    begun: Instant,
    is_over: &dyn Fn() -> bool,
) {
    let name = part.name();
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
    let mut told = Instant::now();
    while !(is_over() && cases.none_is_open()) {
        std::thread::sleep(GLANCE);
        let slow = running().iter().find(|case| case.2.elapsed() > part.patience()).copied();
        if let Some((_, seed, since)) = slow {
            die(&format!("case {seed} has not ended after {} s", since.elapsed().as_secs()));
        }
        let line = format!("{name}: {}; so far {}", cases.progress(), campaign.tally);
        if bar.is_hidden() && told.elapsed() >= TELL {
            announce(&format!("{line} after {} s", begun.elapsed().as_secs()));
            told = Instant::now();
        }
        bar.set_message(line);
        bar.tick();
    }
    bar.finish_and_clear();
}

/// Hands out the seeds of a part's cases.
struct Cases {
    first: u64,
    /// How many make a pass, and how far apart in it the cases that follow each other are.
    pass: Option<(u64, u64)>,
    most: u64,
    begun: AtomicU64,
    done: AtomicU64,
}

impl Cases {
    fn new(part: &dyn Part, first: u64, most: Option<u64>) -> Self {
        let pass = part.pass().map(|pass| (pass.max(1), scattering_stride(pass.max(1))));
        let most = most.unwrap_or(u64::MAX).min(pass.map_or(u64::MAX, |(pass, _)| pass));
        Cases { first, pass, most, begun: AtomicU64::new(0), done: AtomicU64::new(0) }
    }

    /// Whether every case that was handed out has ended.
    fn none_is_open(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed).min(self.most);
        self.done.load(Ordering::Relaxed) == begun
    }

    fn is_over(&self, end: Instant, failure: &Mutex<Option<String>>) -> bool {
        let has_failed = failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        has_failed || Instant::now() >= end || self.begun.load(Ordering::Relaxed) >= self.most
    }

    /// The next case's seed, until it is over.
    fn next(&self, end: Instant, failure: &Mutex<Option<String>>) -> Option<u64> {
        if self.is_over(end, failure) {
            return None;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        (number < self.most).then(|| self.seed(number))
    }

    fn seed(&self, number: u64) -> u64 {
        let Some((pass, stride)) = self.pass else { return self.first.wrapping_add(number) };
        let scattered = u128::from(number) * u128::from(stride) + u128::from(self.first % pass);
        (scattered % u128::from(pass)) as u64
    }

    fn progress(&self) -> String {
        let done = self.done.load(Ordering::Relaxed);
        match self.pass {
            Some((pass, _)) if done == pass => format!("a complete pass of {pass} cases"),
            Some((pass, _)) => format!("{done} of {pass} cases"),
            None => format!("{done} cases"),
        }
    }
}

/// A step that visits each of `pass` places once and leaves no large gaps early: near the golden
/// section, with no factor in common.
fn scattering_stride(pass: u64) -> u64 {
    let golden = (u128::from(pass) * 618_034 / 1_000_000) as u64;
    (golden.max(1)..pass).find(|stride| gcd(*stride, pass) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Enumerates(u64);

    impl Part for Enumerates {
        fn name(&self) -> &'static str {
            "enumerates"
        }

        fn share(&self) -> u32 {
            1
        }

        fn pass(&self) -> Option<u64> {
            Some(self.0)
        }

        fn run(&self, _: &Case<'_>) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn a_pass_visits_every_case_once_from_any_seed() {
        for (pass, first) in [(1, 0), (2, 9), (10, 3), (97, 1_000), (1 << 12, 7)] {
            let cases = Cases::new(&Enumerates(pass), first, None);
            let seeds: BTreeSet<u64> = (0..pass).map(|number| cases.seed(number)).collect();
            assert_eq!(seeds, (0..pass).collect(), "{pass} from {first}");
        }
    }

    #[test]
    fn a_case_is_repeated_by_its_seed() {
        let cases = Cases::new(&Enumerates(97), 5, None);
        for seed in [cases.seed(0), cases.seed(42)] {
            assert_eq!(Cases::new(&Enumerates(97), seed, Some(1)).seed(0), seed);
        }
    }

    #[test]
    fn a_limit_of_cases_is_kept() {
        let cases = Cases::new(&Enumerates(97), 5, Some(2));
        let (end, none) = (Instant::now() + Duration::from_hours(1), Mutex::new(None));
        assert!(cases.next(end, &none).is_some() && cases.next(end, &none).is_some());
        assert_eq!(cases.next(end, &none), None);
    }
}
