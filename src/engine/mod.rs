//! The storage engine: an embedded, durable, ordered key-value store.
//!
//! Writes go to the synced log and the memtable, memtables are flushed to sorted tables, tables are
//! merged in the background. See `docs/architecture.md` for the map and `docs/format.md` for the
//! bytes. The engine knows nothing of sockets, protocols or commands.

mod background;
mod coding;
mod commit;
mod compaction;
mod db;
#[cfg(test)]
mod documented;
mod error;
mod filename;
mod health;
mod iter;
mod journal;
mod key;
mod memory;
mod memtable;
mod options;
mod recovery;
mod stats;
pub mod storage;
mod sync;
mod table;
mod ticket;
mod version;
mod wal;

pub use db::{Admission, Engine, Lookup, Session, TableRead};
pub use error::{Error, Result};
pub use health::Health;
pub use key::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq};
pub use options::{
    Clock, Durability, Environment, MIN_MEMORY_BYTES, MIN_SEGMENT_BYTES, Options, Scheduling,
    SystemClock,
};
pub use recovery::{Recovery, TornTail};
pub use stats::{LevelStats, Stats};
pub use ticket::Ticket;
