//! The storage engine: an embedded, durable, ordered key-value store.
//!
//! Writes go to the synced log and the memtable, memtables are flushed to sorted tables, tables are
//! merged in the background. See `docs/architecture.md` for the map and `docs/format.md` for the
//! bytes. The engine knows nothing of sockets, protocols or commands.

pub mod coding;
mod db;
mod error;
pub mod filename;
pub mod iter;
mod key;
mod options;
pub mod storage;
pub mod table;

pub use db::{Admission, Health, LevelStats, Recovery, Stats, Ticket, TornTail};
pub use db::{Engine, Lookup, Session, TableRead};
pub use error::{Error, Result};
pub use key::{Kind, MAX_KEY_BYTES, MAX_VALUE_BYTES, Seq};
pub use options::{Clock, Durability, Environment, Options, Scheduling};
