//! RANDOMKEY: some key, found by a few searches instead of a walk over everything.
//!
//! Nothing tells how many keys lie on either side of a point, so the choice goes by their bytes: from
//! the longest beginning that all have in common, the next byte is chosen evenly between the lowest
//! and the highest that occurs, and the keys that go on with it, or with the next one that occurs,
//! are those to choose from then. Once there are few, each is as likely as the others. Keys whose
//! bytes are spread evenly, such as hashes and numbers of one width, come evenly; of others those
//! come more often that stand alone or behind a gap. All searches are in one snapshot.

use std::hash::{BuildHasher, RandomState};

use crate::engine::{KeyRange, Result, Snapshot};
use crate::parser::Protocol;

use super::super::super::interrupt::{Fault, Interrupt};
use super::super::super::walks::{Filter, Wanted, What};
use super::super::super::workers::{Answer, Work};
use super::super::{Call, Handled};
use super::walk::encoded;

/// So many keys are few.
const FEW: usize = 64;

pub(super) fn random_key(call: &mut Call) -> Handled {
    let beginning = vec![call.services.keyspace.namespace(call.client.db())];
    if call.is_in_transaction() {
        return from_the_transaction(call, &beginning);
    }
    let protocol = call.reply.protocol();
    let snapshot = call.services.keyspace.engine().snapshot();
    let choice = Choice::new(snapshot, beginning);
    Err(Interrupt::Work(Box::new(Chosen { protocol, choice })))
}

/// Some key of those that the transaction sees.
fn from_the_transaction(call: &mut Call, beginning: &[u8]) -> Handled {
    if call.client.is_silent() {
        return Ok(());
    }
    let protocol = call.reply.protocol();
    let range = KeyRange::prefix(beginning);
    let few = Wanted { range: range.clone(), what: What::Few, protocol };
    let mut keys = call.services.keyspace.walk_keys(&few)?;
    if keys.is_empty() {
        // Those are gone. Some may be left elsewhere.
        let filter = Filter::default();
        let what = What::Keys {
            filter,
            is_reversed: false,
            has_values: false,
            limit: FEW as u64,
            is_page: false,
        };
        keys = call.services.keyspace.walk_keys(&Wanted { range, what, protocol })?;
    }
    let chosen = below(keys.len().max(1) as u64) as usize;
    call.reply.bulk_or_null(keys.get(chosen).map(Vec::as_slice));
    Ok(())
}

/// A random number below `limit`, which is not 0.
fn below(limit: u64) -> u64 {
    RandomState::new().hash_one(limit) % limit
}

/// The choice of some key.
pub(crate) struct Choice {
    snapshot: Snapshot,
    /// How the keys to choose from begin, the namespace included.
    beginning: Vec<u8>,
    random: fn(u64) -> u64,
}

/// How far a step has come.
pub(crate) enum Narrowed {
    /// To fewer keys.
    Further,
    /// To those of this range, few or none: any of them will do.
    To(KeyRange),
}

/// What a step of RANDOMKEY has come to.
enum Step {
    /// Fewer keys.
    Narrowed,
    /// A key, without its namespace, or none where none is.
    Chosen(Option<Vec<u8>>),
}

impl Choice {
    /// Among the keys that begin so.
    pub(crate) fn new(snapshot: Snapshot, beginning: Vec<u8>) -> Self {
        Choice { snapshot, beginning, random: below }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn narrow(&mut self) -> Result<Narrowed> {
        let range = KeyRange::prefix(&self.beginning);
        let mut few = self.first(range.clone(), FEW)?;
        if few.len() < FEW {
            if few.is_empty() && self.beginning.len() > 1 {
                // They have expired.
                self.beginning.truncate(1);
                return Ok(Narrowed::Further);
            }
            return Ok(Narrowed::To(range));
        }
        let lowest = few.swap_remove(0);
        let mut backward = self.snapshot.scan(range.clone()).without_waiting().reversed();
        let highest = if backward.advance()? { backward.key().to_vec() } else { lowest.clone() };
        let common = lowest.iter().zip(&highest).take_while(|(a, b)| a == b).count();
        let Some(&last) = highest.get(common) else { return Ok(Narrowed::Further) };
        // The lowest key may end where the others go on.
        let first = lowest.get(common).map_or(0, |&byte| u64::from(byte) + 1);
        let choice = first + (self.random)(u64::from(last) + 2 - first);
        let Some(byte) = choice.checked_sub(1) else {
            return Ok(Narrowed::To(KeyRange::from(lowest.as_slice()..=lowest.as_slice())));
        };
        let start = [&lowest[..common], &[byte as u8]].concat();
        let rest = KeyRange { start, end: range.end };
        let next = self.first(rest, 1)?.pop().unwrap_or(highest);
        self.beginning = next[..=common].to_vec();
        Ok(Narrowed::Further)
    }

    /// The first keys of a range, at most `most`.
    fn first(&self, range: KeyRange, most: usize) -> Result<Vec<Vec<u8>>> {
        let mut scan = self.snapshot.scan(range).without_waiting();
        let mut keys = Vec::new();
        while keys.len() < most && scan.advance()? {
            keys.push(scan.key().to_vec());
        }
        Ok(keys)
    }

    /// Takes a step.
    fn step(&mut self) -> Result<Step> {
        let range = match self.narrow()? {
            Narrowed::Further => return Ok(Step::Narrowed),
            Narrowed::To(range) => range,
        };
        let few = self.first(range, FEW)?;
        if few.is_empty() && self.beginning.len() > 1 {
            // They have expired since.
            self.beginning.truncate(1);
            return Ok(Step::Narrowed);
        }
        let chosen = (self.random)(few.len().max(1) as u64) as usize;
        Ok(Step::Chosen(few.get(chosen).map(|key| key[1..].to_vec())))
    }
}

/// RANDOMKEY.
struct Chosen {
    protocol: Protocol,
    choice: Choice,
}

impl Work for Chosen {
    fn run(&mut self) -> Option<Answer> {
        let (chosen, is_error) = match self.choice.step() {
            Ok(Step::Narrowed) => return None,
            Ok(Step::Chosen(key)) => (Ok(key), false),
            Err(error) => (Err(Fault::from(&error)), true),
        };
        let bytes = encoded(self.protocol, |reply| match &chosen {
            Ok(key) => reply.bulk_or_null(key.as_deref()),
            Err(fault) => reply.error(fault.line()),
        });
        Some(Answer { bytes, seq: self.choice.snapshot.seq(), is_error })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, Environment, Options, Scheduling};

    fn engine(keys: impl Iterator<Item = String>) -> Engine {
        let mut environment = Environment::disk(&std::env::temp_dir()).unwrap();
        environment.storage = std::sync::Arc::new(SimStorage::new(1));
        let options = Options { scheduling: Scheduling::Manual, ..Options::default() };
        let (engine, _) = Engine::open(environment, options).unwrap();
        for key in keys {
            engine.put(&[b"\x01", key.as_bytes()].concat(), b"\0").unwrap();
        }
        engine.put(b"\x02other", b"\0").unwrap();
        engine
    }

    fn choose(engine: &Engine) -> Option<String> {
        let mut choice = Choice::new(engine.snapshot(), vec![1]);
        for _ in 0..1000 {
            if let Step::Chosen(key) = choice.step().unwrap() {
                return key.map(|key| String::from_utf8(key).unwrap());
            }
        }
        panic!("no end");
    }

    #[test]
    fn there_is_a_key_if_there_is_one() {
        assert_eq!(choose(&engine(std::iter::empty())), None);
        let one = engine(std::iter::once("one".to_owned()));
        assert_eq!(choose(&one).as_deref(), Some("one"));
        // Each the beginning of the next one.
        let chain = engine((1..200).map(|len| "a".repeat(len)));
        assert!((0..500).all(|_| choose(&chain).is_some()));
    }

    #[test]
    fn numbers_of_one_width_come_evenly() {
        let engine = engine((0..2000).map(|n| format!("user:{n:04}")));
        let mut seen = BTreeMap::<String, u32>::new();
        for _ in 0..4000 {
            let key = choose(&engine).unwrap();
            *seen.entry(key[..7].to_owned()).or_default() += 1;
        }
        // user:00 to user:19, two hundred each on average.
        assert_eq!(seen.len(), 20);
        assert!(seen.values().all(|count| (100..400).contains(count)), "{seen:?}");
    }
}
