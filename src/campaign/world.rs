//! The outside world of a simulated engine: a clock that stands until it is set, random numbers that
//! follow from a seed, sizes so small that a few steps flush, change segments and merge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::storage::Storage;
use crate::engine::storage::sim::Random;
use crate::engine::{Clock, Compression, Environment, Options, Scheduling};

/// A clock that stands still until it is set.
pub(crate) struct Standing(AtomicU64);

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
pub(crate) fn world(storage: impl Storage, clock: Arc<Standing>, seed: u64) -> Environment {
    let state = AtomicU64::new(seed);
    Environment {
        storage: Arc::new(storage),
        clock,
        random: Arc::new(move || Random(state.fetch_add(1, Ordering::Relaxed)).next_u64()),
    }
}

/// The least sizes that work, worked by the caller.
pub(crate) fn tiny_options() -> Options {
    Options {
        memory_bytes: 64 << 10,
        wal_segment_bytes: 48 << 10,
        wal_initial_bytes: 32 << 10,
        table_bytes: 4 << 10,
        level0_tables: 2,
        compression: Compression::Lz4,
        bottom_compression: Compression::None,
        scheduling: Scheduling::Manual,
        ..Options::default()
    }
}
