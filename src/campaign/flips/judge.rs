//! Opens a damaged database, looks at all of it, goes on with it, and judges every answer.

use std::ops::Range;

use super::damage::{Damage, Damaged, kind};
use super::sample::{LOOKED_AT_MS, MARKER, Sample, State, options};
use super::shelf::Shelf;
use crate::campaign::world::{Standing, world};
use crate::engine::{Engine, Error, Health, KeyRange, Recovery, Scan};

/// A group's header: what tells that a group had been begun.
const GROUP_HEADER_BYTES: usize = 72;
/// What the marker's value is.
const MARK: &[u8] = b"written after the damage";

/// How a damage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It does not open, and the error names the file.
    Refused,
    /// It opens, and what cannot be read is told.
    Told,
    /// Nothing is lost.
    Right,
    /// The unsealed last group is gone, or a file is of an earlier time.
    Dropped,
}

/// What may be answered.
struct Trial<'a> {
    sample: &'a Sample,
    damaged: &'a Damaged,
    /// The states that fit all answers so far.
    possible: Vec<&'a State>,
    /// Whether the marker has been written.
    marked: bool,
    told: bool,
    /// Whether one bit is all that is wrong: then errors name its file.
    is_one_bit: bool,
}

/// Judges one damage; `Err` is a loss.
pub(super) fn judge(
    sample: &Sample,
    damage: &Damage,
    damaged: &Damaged,
) -> Result<Outcome, String> {
    let shelf = Shelf::new(&damaged.files);
    let mut trial = Trial {
        sample,
        damaged,
        possible: vec![&sample.state],
        marked: false,
        told: false,
        is_one_bit: matches!(damage, Damage::Flip { .. }),
    };
    let (engine, recovery) = match open(&shelf, 1) {
        Ok(opened) => opened,
        Err(error) => {
            trial.check_name(&error)?;
            return match shelf.changes() {
                0 => Ok(Outcome::Refused),
                _ => Err(format!("it was changed and then refused: {error}")),
            };
        }
    };
    trial.possible.extend(excused(sample, damage, &recovery));
    trial.look(&engine)?;
    engine.put(MARKER, MARK).map_err(|error| format!("writes do not go on: {error}"))?;
    trial.marked = true;
    trial.compact(&engine)?;
    engine.close().map_err(|error| format!("it does not close: {error}"))?;
    drop(engine);
    let (engine, _) = open(&shelf, 2).map_err(|error| format!("it does not reopen: {error}"))?;
    trial.look(&engine)?;
    Ok(match trial.told {
        true => Outcome::Told,
        false if trial.possible.iter().any(|state| **state == sample.state) => Outcome::Right,
        false => Outcome::Dropped,
    })
}

fn open(shelf: &Shelf, seed: u64) -> Result<(Engine, Recovery), Error> {
    Engine::open(world(shelf.clone(), Standing::at(LOOKED_AT_MS), seed), options())
}

/// What may be there in place of the newest state: see the part's essay.
fn excused<'a>(sample: &'a Sample, damage: &Damage, recovery: &Recovery) -> Vec<&'a State> {
    match (damage, &sample.unsealed) {
        (Damage::Restore { .. }, _) => sample.history.iter().collect(),
        (Damage::Cut { .. }, _) | (_, None) => Vec::new(),
        (_, Some(unsealed)) => {
            let is_told = recovery.torn.as_ref().is_some_and(|torn| {
                torn.file == unsealed.file && torn.offset == unsealed.range.start as u64
            });
            let is_excused = damage.places().iter().any(|place| {
                sample.files.keys().nth(place.file) == Some(&unsealed.file)
                    && hits(&place.range, &unsealed.range)
                    && (is_told || replaces_header(&place.range, &unsealed.range))
            });
            if is_excused { vec![&unsealed.before] } else { Vec::new() }
        }
    }
}

fn hits(damaged: &Range<usize>, group: &Range<usize>) -> bool {
    damaged.start < group.end && group.start < damaged.end
}

/// Whether nothing is left that could tell that a group had been begun.
fn replaces_header(damaged: &Range<usize>, group: &Range<usize>) -> bool {
    damaged.start <= group.start && group.start + GROUP_HEADER_BYTES <= damaged.end
}

impl Trial<'_> {
    /// Reads everything in every way.
    fn look(&mut self, engine: &Engine) -> Result<(), String> {
        for key in &self.sample.keys {
            let answer = engine.get(key).map(|value| value.map(|value| value.to_vec()));
            self.take(
                engine,
                answer,
                |state, answer| state.get(key) == answer.as_ref(),
                || format!("get {}", key.escape_ascii()),
            )?;
        }
        let marker = engine.get(MARKER).map_err(|error| format!("the marker: {error}"))?;
        if marker.as_deref() != self.marked.then_some(MARK) {
            return Err("the marker is not as it was written".to_owned());
        }
        let keys = &self.sample.keys;
        let answer = engine.multi_get(keys);
        self.take(
            engine,
            answer,
            |state, answer| {
                let expected = keys.iter().map(|key| state.get(key).map(Vec::as_slice));
                expected.eq(answer.iter().map(|value| value.as_deref()))
            },
            || "multi_get".to_owned(),
        )?;
        self.walk(engine, engine.scan(..), false)?;
        self.walk(engine, engine.scan(..).reversed(), true)?;
        let snapshot = engine.snapshot();
        self.walk(engine, snapshot.scan(KeyRange::all()), false)
    }

    /// Judges one answer.
    fn take<T>(
        &mut self,
        engine: &Engine,
        answer: Result<T, Error>,
        fits: impl Fn(&State, &T) -> bool,
        what: impl Fn() -> String,
    ) -> Result<(), String> {
        match answer {
            Ok(answer) => {
                self.possible.retain(|state| fits(state, &answer));
                if self.possible.is_empty() {
                    return Err(format!("a wrong answer: {}", what()));
                }
                Ok(())
            }
            Err(error) => {
                self.note_told(engine, &error).map_err(|why| format!("{}: {why}", what()))
            }
        }
    }

    /// A scan shows everything, or an error behind a part of it, and that again.
    fn walk(&mut self, engine: &Engine, mut scan: Scan, reversed: bool) -> Result<(), String> {
        let mut shown = Vec::new();
        let mut ended = Ok(());
        loop {
            match scan.advance() {
                Ok(true) => shown.push((scan.key().to_vec(), scan.value().to_vec())),
                Ok(false) => break,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
        let is_whole = ended.is_ok();
        if let Err(error) = ended {
            self.note_told(engine, &error)?;
            if scan.advance().is_ok() {
                return Err("a scan goes on behind an error".to_owned());
            }
        }
        let marked = self.marked;
        self.possible.retain(|state| {
            let expected = expected(state, marked, reversed);
            let is_prefix = shown
                .iter()
                .zip(&expected)
                .all(|((key, value), wanted)| (key.as_slice(), value.as_slice()) == *wanted);
            let length = shown.len();
            is_prefix && (length == expected.len() || !is_whole && length < expected.len())
        });
        if self.possible.is_empty() {
            let way = if reversed { "backward" } else { "forward" };
            return Err(format!("a wrong or incomplete scan {way}, of {} keys", shown.len()));
        }
        Ok(())
    }

    /// Merges all tables, or is told why not.
    fn compact(&mut self, engine: &Engine) -> Result<(), String> {
        match engine.compact() {
            Ok(()) => Ok(()),
            Err(error) => self.note_told(engine, &error).map_err(|why| format!("compact: {why}")),
        }
    }

    /// An error at run time: it names a damaged file, and the health says so.
    fn note_told(&mut self, engine: &Engine, error: &Error) -> Result<(), String> {
        self.told = true;
        self.check_name(error)?;
        match engine.health() {
            Health::Corrupt { .. } => Ok(()),
            other => Err(format!("{error}, but the health is {}", other.name())),
        }
    }

    /// Whether a file can be inconsistent because of what became of others: a part of the sample, or
    /// what an older manifest names.
    fn may_miss(&self, file: &str) -> bool {
        let is_of_manifest = |name: &String| matches!(kind(name), "manifest" | "CURRENT");
        self.sample.files.contains_key(file)
            || matches!(kind(file), "table" | "log" | "manifest")
                && self.damaged.names.iter().any(is_of_manifest)
    }

    /// An error names what was damaged, or another file that does not fit it.
    fn check_name(&self, error: &Error) -> Result<(), String> {
        let (Error::Corrupt { file, .. }
        | Error::UnknownFormat { file, .. }
        | Error::Io { file, .. }) = error
        else {
            return Err(format!("an error that names no file: {error}"));
        };
        let is_named = |name: &String| name == file || error.to_string().contains(name.as_str());
        if self.damaged.names.iter().any(is_named) || !self.is_one_bit && self.may_miss(file) {
            return Ok(());
        }
        Err(format!("an error that names another file: {error}"))
    }
}

/// What a scan shows of a state.
fn expected(state: &State, marked: bool, reversed: bool) -> Vec<(&[u8], &[u8])> {
    let pairs = state.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    let mut pairs: Vec<_> = pairs.chain(marked.then_some((MARKER, MARK))).collect();
    if reversed {
        pairs.reverse();
    }
    pairs
}
