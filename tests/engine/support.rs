//! What the engine's tests share: small options, a seeded generator, states to compare.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use chronos::engine::storage::Storage;
use chronos::engine::{
    Clock, Compression, Durability, Engine, Environment, Options, Result, Scheduling,
    WriteDurability, WriteOptions,
};

pub(crate) use chronos::engine::storage::sim::Random;

/// How long a call may take that should return soon, on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Of a write that nobody waits for.
pub(crate) const UNSYNCED: WriteOptions = WriteOptions::durability(WriteDurability::Unsynced);

/// Sizes so small that a short run flushes, changes segments and merges.
pub(crate) fn tiny(scheduling: Scheduling) -> Options {
    Options {
        memory_bytes: 96 << 10,
        durability: Durability::Always,
        wal_segment_bytes: 64 << 10,
        table_bytes: 12 << 10,
        level0_tables: 2,
        // Uncompressed at the bottom: table counts there follow from what was written.
        compression: Compression::Lz4,
        bottom_compression: Compression::None,
        scheduling,
        ..Options::default()
    }
}

/// A clock that advances by a millisecond with each look.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A clock that stands still until it is set.
pub(crate) struct Standing(pub(crate) AtomicU64);

impl Standing {
    pub(crate) fn at(now_ms: u64) -> Arc<Self> {
        Arc::new(Standing(AtomicU64::new(now_ms)))
    }

    pub(crate) fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A world on `storage` that is a function of `seed`.
pub(crate) fn world(storage: impl Storage, seed: u64) -> Environment {
    let state = AtomicU64::new(seed);
    Environment {
        storage: Arc::new(storage),
        clock: Arc::new(Ticking::default()),
        random: Arc::new(move || {
            let step = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            Random(step).next_u64()
        }),
    }
}

/// Opens a database with tiny sizes, worked by its caller.
pub(crate) fn open(storage: impl Storage, seed: u64) -> Result<Engine> {
    Ok(Engine::open(world(storage, seed), tiny(Scheduling::Manual))?.0)
}

/// A write: `None` deletes.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

/// What a database should hold.
pub(crate) type State = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn apply(state: &mut State, (key, value): &Write) {
    match value {
        Some(value) => drop(state.insert(key.clone(), value.clone())),
        None => drop(state.remove(key)),
    }
}

/// The keys that tests use.
pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("key-{number:04}").into_bytes()
}

/// Reads that are expected to succeed.
pub(crate) trait Got {
    /// A copy of the value at `key`.
    fn got(&self, key: &[u8]) -> Option<Vec<u8>>;
}

impl Got for Engine {
    fn got(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key).unwrap().map(|value| value.to_vec())
    }
}

/// What `engine` holds at the first `keys` keys.
pub(crate) fn observe(engine: &Engine, keys: u64) -> Result<State> {
    let mut state = State::new();
    for number in 0..keys {
        if let Some(value) = engine.get(&key(number))? {
            state.insert(key(number), value.to_vec());
        }
    }
    Ok(state)
}

/// A random write to one of `keys` keys, with values that say where they come from.
pub(crate) fn random_write(random: &mut Random, keys: u64, serial: u64) -> Write {
    let key = key(random.below(keys));
    if random.one_in(4) {
        return (key, None);
    }
    let filler = if random.one_in(10) { random.below(3_000) } else { random.below(300) };
    let mut value = format!("value {serial} ").into_bytes();
    value.resize(value.len() + filler as usize, b'.');
    (key, Some(value))
}

/// Performs a write and waits until it is durable.
pub(crate) fn write(engine: &Engine, (key, value): &Write) -> Result<()> {
    match value {
        Some(value) => engine.put(key, value),
        None => engine.delete(key),
    }
}

/// Runs `call` on a thread of its own: a call that never returns fails its test and no more.
pub(crate) fn in_time<T: Send + 'static>(
    what: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(call()));
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} does not return"))
}
