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
//! assert_eq!(engine.get(b"key")?.unwrap(), b"value");
//! engine.delete(b"key")?;
//! assert_eq!(engine.get(b"key")?, None);
//! engine.close()?;
//! # Ok::<(), chronos::engine::Error>(())
//! ```
//!
//! Many writes under one lock, without waiting for each, are a [`Session`]; what it wrote is durable
//! once [`Engine::durable_seq`] reaches the sequence numbers that it returned. What usual patterns
//! (queues, retention, pages, transactions) look like, and what they cost, is in `docs/patterns.md`.

mod background;
mod backup;
mod batch;
mod cache;
mod check;
mod coding;
mod commit;
mod compaction;
mod conditional;
mod db;
#[cfg(test)]
mod documented;
mod error;
mod event;
mod filename;
mod hardware;
mod health;
mod ingest;
#[cfg(feature = "internals")]
pub mod internals;
mod iter;
mod journal;
mod key;
mod memory;
mod memtable;
mod offline;
mod options;
mod pacing;
mod range;
mod ranges;
mod read;
mod recovery;
mod repair;
mod scan;
mod session;
mod snapshot;
mod stalls;
mod stats;
pub mod storage;
mod sync;
mod table;
mod threads;
mod ticket;
mod version;
mod view;
mod wal;
mod write;

pub use backup::{CopyProgress, backup, restore};
pub use batch::Batch;
pub use cache::CacheStats;
pub use check::{CheckProgress, CheckReport, Finding, KeySpan, Moment, check, moment};
pub use conditional::{Conditional, Decision, Expected};
pub use db::Engine;
pub use error::{Error, Result};
pub use event::{Event, EventListener, RecoveryStep};
pub use health::Health;
pub use ingest::{Ingest, IngestProgress};
pub use key::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq};
pub use offline::Offline;
pub use options::{
    Clock, Durability, Environment, MIN_MEMORY_BYTES, MIN_SEGMENT_BYTES, Options, Scheduling,
    SystemClock,
};
pub use range::KeyRange;
pub use read::{Record, TableRead};
pub use recovery::{Recovery, TornTail};
pub use repair::{GivenUp, Repair, RepairOutcome, repair};
pub use scan::Scan;
pub use session::{Admission, Lookup, Prefetch, Session};
pub use snapshot::Snapshot;
pub use stalls::{Stall, StallCause, StallStats};
pub use stats::{LevelStats, Stats};
pub use table::{Compression, Value};
pub use ticket::Ticket;
pub use view::{KeyCount, KeyCounter};
pub use write::{WriteDurability, WriteOptions};
