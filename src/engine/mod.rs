//! The storage engine: an embedded, durable, ordered key-value store.
//!
//! Writes go to the synced log and the memtable, memtables are flushed to sorted tables, tables are
//! merged in the background. See `docs/architecture.md` for the map and `docs/format.md` for the
//! bytes. The engine knows nothing of sockets, protocols or commands.
//!
//! ```
//! use chronos::engine::{Engine, Environment, Options};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let environment = Environment::disk(directory.path())?;
//! let (engine, recovery) = Engine::open(environment, Options::default())?;
//! assert!(recovery.created);
//! engine.put(b"key", b"value")?; // durable when it returns
//! assert_eq!(engine.get(b"key")?, Some(b"value".to_vec()));
//! engine.delete(b"key")?;
//! assert_eq!(engine.get(b"key")?, None);
//! engine.close()?;
//! # Ok::<(), chronos::engine::Error>(())
//! ```
//!
//! Many writes under one lock, without waiting for each, are a [`Session`]; what it wrote is durable
//! once [`Engine::durable_seq`] reaches the sequence numbers that it returned.

mod background;
mod cache;
mod coding;
mod commit;
mod compaction;
mod db;
#[cfg(test)]
mod documented;
mod error;
mod filename;
mod hardware;
mod health;
mod iter;
mod journal;
mod key;
mod memory;
mod memtable;
mod options;
mod pacing;
mod ranges;
mod recovery;
mod stats;
pub mod storage;
mod sync;
mod table;
mod ticket;
mod version;
mod wal;

pub use cache::CacheStats;
pub use db::{Admission, Engine, Lookup, Prefetch, Session, TableRead};
pub use error::{Error, Result};
pub use health::Health;
pub use key::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq};
pub use options::{
    Clock, Durability, Environment, MIN_MEMORY_BYTES, MIN_SEGMENT_BYTES, Options, Scheduling,
    SystemClock,
};
pub use recovery::{Recovery, TornTail};
pub use stats::{LevelStats, Stats};
pub use table::{Compression, Value};
pub use ticket::Ticket;
