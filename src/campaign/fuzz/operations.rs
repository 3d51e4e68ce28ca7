//! Operations on an engine, as the input spells them, against a map.
//!
//! The engine stands on a simulated storage and does its background work on the caller's thread, so
//! that a run is a function of its input. Every write is awaited: after a kill or a power cut the
//! map must be there to the last write.

use super::super::workload::{Model, live};
use super::super::world::{Standing, tiny_options, world};
use super::source::Source;
use crate::engine::storage::sim::{SimStorage, Survival};
use crate::engine::{
    Batch, Clock, Conditional, Engine, Error, Expected, KeyRange, Scan, Snapshot, WriteOptions,
};
use std::path::PathBuf;
use std::sync::Arc;

/// The most operations of an input.
const MOST_OPERATIONS: usize = 200;
/// The most snapshots that are held at once.
const MOST_SNAPSHOTS: usize = 4;

type Seen = Vec<(Vec<u8>, Vec<u8>)>;

/// Runs the operations; how many of them were compared.
pub(super) fn check(input: &[u8]) -> Result<u64, String> {
    run(input, |_| {})
}

/// The same; the map may be spoilt behind each operation, for tests.
fn run(input: &[u8], spoil: impl Fn(&mut Model)) -> Result<u64, String> {
    let mut run = Run::begin()?;
    let mut source = Source::new(input);
    let mut done = 0;
    while !source.is_empty() && done < MOST_OPERATIONS {
        let op = source.u8();
        run.operate(op, &mut source).map_err(|what| format!("{what} (operation {done}: {op})"))?;
        spoil(&mut run.model);
        done += 1;
    }
    run.compare()?;
    run.reopen(|_| {})?;
    run.compare()?;
    run.held.clear();
    run.engine.close().map_err(told)?;
    Ok(done as u64 + 2)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: Error) -> String {
    error.to_string()
}

struct Run {
    storage: SimStorage,
    clock: Arc<Standing>,
    engine: Engine,
    model: Model,
    held: Vec<(Snapshot, Model)>,
    /// Told apart: values, seeds of the engine's random numbers, names of copies.
    serial: u64,
}

fn open(storage: &SimStorage, clock: &Arc<Standing>, seed: u64) -> Result<Engine, String> {
    let environment = world(storage.clone(), Arc::clone(clock), seed);
    Engine::open(environment, tiny_options()).map(|opened| opened.0).map_err(told)
}

/// Keys in binary: many are the beginnings of others.
fn key(source: &mut Source<'_>) -> Vec<u8> {
    format!("{:b}", source.u8() % 96).into_bytes()
}

fn range(source: &mut Source<'_>) -> KeyRange {
    match source.u8() % 8 {
        0 => KeyRange::all(),
        1 => KeyRange::prefix(&key(source)),
        2 => KeyRange::from(key(source)..),
        3 => KeyRange::from(..key(source)),
        _ => KeyRange::from(key(source)..key(source)),
    }
}

impl Run {
    fn begin() -> Result<Self, String> {
        let (storage, clock) = (SimStorage::new(0), Standing::at(1_000));
        let engine = open(&storage, &clock, 0)?;
        Ok(Run { storage, clock, engine, model: Model::new(), held: Vec::new(), serial: 0 })
    }

    fn value(&mut self, source: &mut Source<'_>) -> Vec<u8> {
        self.serial += 1;
        let mut value = format!("value {} ", self.serial).into_bytes();
        let filler = usize::from(source.u8());
        // A few of these fill a memtable.
        let filler = if filler >= 250 { filler * 12 } else { filler };
        value.resize(value.len() + filler, b'.');
        value
    }

    fn operate(&mut self, op: u8, source: &mut Source<'_>) -> Result<(), String> {
        match op % 24 {
            0..=4 => self.put(source),
            5 => self.put_expiring(source),
            6 => {
                let key = key(source);
                self.model.remove(&key);
                self.engine.delete(&key).map_err(told)
            }
            7 => self.delete_range(source),
            8 | 9 => self.batch(source),
            10 => self.put_if(source),
            11 => self.get(source),
            12 | 13 => self.scan(source),
            14 => self.engine.compact_range(range(source)).map_err(told),
            15 => self.engine.compact().map_err(told),
            16 => {
                self.clock.set(self.clock.now_ms() + source.number().min(1 << 20));
                self.engine.run_background();
                Ok(())
            }
            17 => {
                if self.held.len() < MOST_SNAPSHOTS {
                    self.held.push((self.engine.snapshot(), self.model.clone()));
                }
                Ok(())
            }
            18 => {
                let at = source.below(self.held.len());
                if at < self.held.len() {
                    self.held.remove(at);
                }
                Ok(())
            }
            19 => self.ingest(source),
            20 => self.checkpoint(),
            21 => {
                self.held.clear();
                self.engine.close().map_err(told)?;
                self.reopen(|_| {})
            }
            22 => self.reopen(|storage| *storage = storage.kill()),
            _ => {
                let survivals = [Survival::Nothing, Survival::Everything];
                let seed = u64::from(source.u8());
                let survival = match source.u8() % 4 {
                    0 => Survival::Random(seed),
                    1 => Survival::Torn(seed),
                    other => survivals[usize::from(other) - 2],
                };
                self.reopen(|storage| *storage = storage.power_cut(survival))
            }
        }
    }

    fn put(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let (key, value) = (key(source), self.value(source));
        self.engine.put(&key, &value).map_err(told)?;
        self.model.insert(key, (value, None));
        Ok(())
    }

    fn put_expiring(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let (key, value) = (key(source), self.value(source));
        let expires_ms = self.clock.now_ms().saturating_add(source.number());
        self.engine.put_expiring(&key, &value, expires_ms).map_err(told)?;
        self.model.insert(key, (value, Some(expires_ms)));
        Ok(())
    }

    fn delete_range(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let range = range(source);
        self.engine.delete_range(range.clone()).map_err(told)?;
        self.model.retain(|key, _| !range.contains(key));
        Ok(())
    }

    fn batch(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let mut batch = Batch::new();
        for _ in 0..source.below(8) {
            let (key, value) = (key(source), self.value(source));
            match source.u8() % 4 {
                0 => {
                    batch.delete(&key);
                    self.model.remove(&key);
                }
                1 => {
                    let range = range(source);
                    self.model.retain(|key, _| !range.contains(key));
                    batch.delete_range(range);
                }
                _ => {
                    batch.put(&key, &value);
                    self.model.insert(key, (value, None));
                }
            }
        }
        self.engine.write(&batch, WriteOptions::default()).map_err(told)
    }

    /// Writes if the key is there, or if it is not.
    fn put_if(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let (key, value) = (key(source), self.value(source));
        let is_there = self.live().iter().any(|(known, _)| *known == key);
        let version = self.engine.get_record(&key).map_err(told)?.map(|record| record.version);
        if version.is_some() != is_there {
            return Err(format!("a record of {} is there, or not", key.escape_ascii()));
        }
        let wants_version = source.one_in(2);
        let expected = match version {
            Some(version) if wants_version => Expected::Version(version),
            _ => Expected::Absent,
        };
        let written = self.engine.put_if(&key, &value, expected).map_err(told)?;
        let has_written = matches!(written, Conditional::Written { .. });
        let should = expected != Expected::Absent || !is_there;
        if has_written {
            self.model.insert(key, (value, None));
        }
        if has_written == should { Ok(()) } else { Err("a condition was mistaken".to_owned()) }
    }

    fn get(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let key = key(source);
        let of = |model: &Model, now_ms| {
            let live = live(model, now_ms).into_iter().find(|(known, _)| *known == key);
            live.map(|(_, value)| value)
        };
        let now_ms = self.clock.now_ms();
        let found = self.engine.get(&key).map_err(told)?.map(|value| value.to_vec());
        let mut is_right = found == of(&self.model, now_ms);
        for (snapshot, model) in &self.held {
            let found = snapshot.get(&key).map_err(told)?.map(|value| value.to_vec());
            is_right &= found == of(model, now_ms);
        }
        if is_right { Ok(()) } else { Err(format!("{} reads wrong", key.escape_ascii())) }
    }

    /// Compares a range in a direction, now and as of each snapshot.
    fn scan(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let (range, is_reversed) = (range(source), source.one_in(2));
        let expected = |model: &Model| {
            let mut live = live(model, self.clock.now_ms());
            live.retain(|(key, _)| range.contains(key));
            if is_reversed {
                live.reverse();
            }
            live
        };
        let walk = |scan: Scan| walked(if is_reversed { scan.reversed() } else { scan });
        let mut is_right = walk(self.engine.scan(range.clone()))? == expected(&self.model);
        for (snapshot, model) in &self.held {
            is_right &= walk(snapshot.scan(range.clone()))? == expected(model);
        }
        if is_right { Ok(()) } else { Err(format!("{range:?} reads wrong")) }
    }

    fn ingest(&mut self, source: &mut Source<'_>) -> Result<(), String> {
        let mut keys: Vec<Vec<u8>> = (0..source.below(20)).map(|_| key(source)).collect();
        keys.sort();
        keys.dedup();
        let mut ingest = self.engine.ingest();
        for key in keys {
            let value = self.value(source);
            ingest.put(&key, &value).map_err(told)?;
            self.model.insert(key, (value, None));
        }
        ingest.finish().map_err(told)
    }

    /// Makes a copy, which must be all there.
    fn checkpoint(&mut self) -> Result<(), String> {
        self.serial += 1;
        let path = PathBuf::from(format!("copy-{}", self.serial));
        self.engine.checkpoint(&path).map_err(told)?;
        let copy = open(&self.storage.at(&path), &self.clock, self.serial)?;
        let found = walked(copy.scan(..))?;
        copy.close().map_err(told)?;
        if found == self.live() { Ok(()) } else { Err("a copy is not what was".to_owned()) }
    }

    fn live(&self) -> Seen {
        live(&self.model, self.clock.now_ms())
    }

    /// Goes down in some way, and opens what is left.
    fn reopen(&mut self, go_down: impl FnOnce(&mut SimStorage)) -> Result<(), String> {
        self.held.clear();
        go_down(&mut self.storage);
        // After a kill it stands on a storage that is down, and cannot but fail.
        let _ = self.engine.close();
        self.serial += 1;
        self.engine = open(&self.storage, &self.clock, self.serial)?;
        self.compare()
    }

    fn compare(&self) -> Result<(), String> {
        let found = walked(self.engine.scan(..))?;
        if found == self.live() { Ok(()) } else { Err("the whole reads wrong".to_owned()) }
    }
}

fn walked(scan: Scan) -> Result<Seen, String> {
    scan.collect::<crate::engine::Result<_>>().map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something of each operation.
    fn everything() -> Vec<u8> {
        (0..=255_u8).flat_map(|op| [op, op.wrapping_mul(7), 251, op, 3, 1, 4]).collect()
    }

    #[test]
    fn the_engine_agrees() {
        assert_eq!(check(&everything()), Ok(MOST_OPERATIONS as u64 + 2));
        assert_eq!(check(&[]), Ok(2));
    }

    #[test]
    fn a_lost_and_a_changed_write_are_found() {
        assert!(run(&everything(), |model| drop(model.pop_last())).is_err());
        let change = |model: &mut Model| {
            if let Some(mut entry) = model.first_entry() {
                entry.get_mut().0.push(b'!');
            }
        };
        assert!(run(&everything(), change).is_err());
        let invent = |model: &mut Model| drop(model.insert(b"2".to_vec(), (vec![], None)));
        assert!(run(&everything(), invent).is_err());
    }
}
