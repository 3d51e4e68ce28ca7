//! Merging tables: [`picker`] decides, [`job`] acts.
//!
//! The picker is a pure function over table metadata; it never sees storage. The job merges what it
//! is told, verifies what it wrote, and changes nothing that a reader can see: installing the
//! outcome is the background's part.

pub(crate) mod job;
pub(crate) mod picker;
