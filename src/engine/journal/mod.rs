//! A journal: a file of checksummed groups, the common form of log segments and manifests.
//!
//! Format, writer and reader are apart: [`mod@format`] is the bytes, [`writer`] appends, [`reader`]
//! decides over a whole file what is a history, what is a torn tail and what is damage. The rules
//! that make that decision possible (a group starts on a fresh block, the next one tells how far its
//! predecessors had been synced, everything is chained) are in `docs/format.md`.

pub(crate) mod format;
pub(crate) mod reader;
pub(crate) mod writer;

pub(crate) use format::{GroupKind, Header, Purpose};
pub(crate) use reader::{Ending, Journal, open, open_prefix, read_header};
pub(crate) use writer::{GroupBuffer, JournalWriter};
