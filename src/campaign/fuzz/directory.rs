//! A whole database, small, whose files are damaged or forged as the input says, then opened, read in
//! every way, written to and closed.
//!
//! Damage must not pass: either the database is refused with a named error, or all that it answers is
//! what one state of its history had there. That is the last state, or the one before where only
//! bytes were damaged and the last group was not sealed yet; where whole files or ends of them are
//! missing or stale, it may be an earlier one. In a forged database checksums are right around
//! whatever the input puts there, so that the readers behind them see it; there nothing is asked but
//! an end without a panic.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::world::{Standing, tiny_options, world};
use super::forge;
use super::source::Source;
use crate::engine::storage::Storage;
use crate::engine::storage::sim::{Random, SimStorage};
use crate::engine::{Batch, Engine, Error, WriteOptions};

/// The most changes to a database.
const MOST_CHANGES: usize = 4;
const BLOCK: usize = 4096;
const KEYS: u64 = 64;
const STEPS: u64 = 140;

/// Files by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database that is to be damaged.
struct Template {
    files: Files,
    /// What it held after each step; the last is what it holds.
    history: Vec<State>,
}

/// One that was closed, and one that was killed.
static TEMPLATES: LazyLock<Result<[Template; 2], String>> =
    LazyLock::new(|| Ok([Template::make(true)?, Template::make(false)?]));

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:03}").into_bytes()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: impl ToString) -> String {
    error.to_string()
}

fn open(storage: &SimStorage) -> Result<Engine, Error> {
    let environment = world(storage.clone(), Standing::at(1_000), 3);
    Engine::open(environment, tiny_options()).map(|opened| opened.0)
}

impl Template {
    fn make(is_closed: bool) -> Result<Self, String> {
        let storage = SimStorage::new(0);
        let engine = open(&storage).map_err(told)?;
        let (mut random, mut state) = (Random(1), State::new());
        let mut history = vec![state.clone()];
        for step in 0..STEPS {
            let mut batch = Batch::new();
            for _ in 0..=random.below(3) {
                let (at, len) = (random.below(KEYS), random.below(500));
                match random.below(9) {
                    0 => {
                        batch.delete(&key(at));
                        state.remove(&key(at));
                    }
                    1 if step % 4 == 0 => {
                        batch.delete_range(key(at)..key(at + 5));
                        state.retain(|one, _| *one < key(at) || *one >= key(at + 5));
                    }
                    _ => {
                        let value = format!("{step} ").into_bytes().repeat(1 + len as usize / 4);
                        batch.put(&key(at), &value);
                        state.insert(key(at), value);
                    }
                }
            }
            engine.write(&batch, WriteOptions::default()).map_err(told)?;
            history.push(state.clone());
            if step % 3 == 0 {
                engine.run_background();
            }
        }
        let storage = if is_closed {
            engine.close().map_err(told)?;
            storage
        } else {
            storage.kill()
        };
        let names = storage.list().map_err(told)?.into_iter();
        let read = |name: String| storage.read_file(&name).map(|bytes| (name, bytes));
        let files = names.map(read).collect::<Result<_, _>>().map_err(told)?;
        Ok(Template { files, history })
    }
}

/// Changes a database and looks at what comes out.
pub(super) fn check(input: &[u8]) -> Result<u64, String> {
    let templates = TEMPLATES.as_ref().map_err(Clone::clone)?;
    let mut source = Source::new(input);
    let head = source.u8();
    let template = &templates[usize::from(head & 1)];
    let mut files = template.files.clone();
    if head & 2 != 0 {
        forge::forge(&mut files, &mut source);
        let _ = look(&files, &template.history);
        return Ok(0);
    }
    let mut states = template.history.as_slice();
    let is_stale = change(&mut files, &mut source);
    if !is_stale {
        states = &states[states.len() - 2..];
    }
    look(&files, states).map(|()| 0)
}

/// Changes some of the files; whether anything is missing or stale now, which may not show.
fn change(files: &mut Files, source: &mut Source<'_>) -> bool {
    let mut names: Vec<String> = files.keys().cloned().collect();
    let mut is_stale = false;
    for _ in 0..=source.below(MOST_CHANGES) {
        if names.is_empty() {
            break;
        }
        let name = names.remove(source.below(names.len()));
        let other = source.below(files.len());
        let other = files.values().nth(other).cloned().unwrap_or_default();
        let Some(file) = files.get_mut(&name) else { continue };
        let len = file.len().max(1);
        let (at, block) = (source.u32() as usize % len, source.below(len.div_ceil(BLOCK)) * BLOCK);
        let end = file.len().min(block + BLOCK);
        match source.u8() % 10 {
            0 | 1 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
            // In the first bytes of a block: headers of journals.
            2 => file.iter_mut().skip(block + at % 76).take(1).for_each(|byte| *byte = source.u8()),
            // In the last bytes of a file: footers of tables.
            3 => file.iter_mut().rev().skip(at % 72).take(1).for_each(|byte| *byte = source.u8()),
            4 => {
                file.truncate(at);
                is_stale = true;
            }
            5 => {
                files.remove(&name);
                is_stale = true;
            }
            6 => {
                *file = other;
                is_stale = true;
            }
            7 => {
                file[block..end].fill(0);
                is_stale = true;
            }
            8 => {
                let from = at / BLOCK * BLOCK;
                let len = (end - block).min(file.len() - from);
                file.copy_within(from..from + len, block);
                is_stale = true;
            }
            _ => {
                let kind = source.pick(&["sst", "wal"]);
                files.insert(format!("{:06}.{kind}", at % 40), other);
            }
        }
    }
    is_stale
}

/// Opens a database and does everything with it. What it answers must be of one of the states.
fn look(files: &Files, states: &[State]) -> Result<(), String> {
    let storage = SimStorage::new(0);
    for (name, bytes) in files {
        storage.write_file(name, bytes).map_err(told)?;
    }
    let engine = match open(&storage) {
        Ok(engine) => engine,
        Err(Error::Corrupt { .. } | Error::UnknownFormat { .. } | Error::Io { .. }) => {
            return Ok(());
        }
        Err(error) => return Err(format!("refused with an error that names no file: {error}")),
    };
    let mut possible: Vec<&State> = states.iter().collect();
    for number in 0..KEYS {
        let Ok(found) = engine.get(&key(number)) else { continue };
        let found = found.map(|value| value.to_vec());
        possible.retain(|state| state.get(&key(number)) == found.as_ref());
    }
    for is_reversed in [false, true] {
        let scan = engine.scan(..);
        let scan = if is_reversed { scan.reversed() } else { scan };
        // A scan that fails was right up to there; what is behind it is not known.
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let is_whole =
            scan.map(|entry| entry.map(|entry| found.push(entry))).all(|one| one.is_ok());
        possible.retain(|state| {
            let len = if is_whole { state.len() } else { found.len() };
            let found = found.iter().map(|(key, value)| (key, value));
            if is_reversed {
                state.iter().rev().take(len).eq(found)
            } else {
                state.iter().take(len).eq(found)
            }
        });
    }
    if possible.is_empty() {
        return Err("what the database answers was never so".to_owned());
    }
    // It may go on or fail, but must not fall over.
    let _ = (engine.put(b"key-007", b"new"), engine.run_background());
    let _ = (engine.compact(), engine.close());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_files_of_all_kinds() {
        for template in TEMPLATES.as_ref().unwrap() {
            let count =
                |suffix: &str| template.files.keys().filter(|name| name.ends_with(suffix)).count();
            assert!(
                count(".sst") >= MOST_CHANGES && count(".wal") >= 2,
                "{:?}",
                template.files.keys()
            );
            assert_eq!(look(&template.files, &template.history[STEPS as usize..]), Ok(()));
        }
    }

    #[test]
    fn a_wrong_answer_is_found() {
        for template in TEMPLATES.as_ref().unwrap() {
            let before = &template.history[..STEPS as usize];
            assert!(look(&template.files, before).is_err(), "the last step is missing");
            let mut other = template.history[STEPS as usize].clone();
            other.pop_last();
            assert!(look(&template.files, &[other]).is_err());
        }
    }
}
