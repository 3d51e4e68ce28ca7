//! What is measured, and the numbers that come of it: the words that parent and child speak, one JSON
//! document a line.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A row of the table of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Row {
    /// An empty database is filled in the order of the keys.
    FillInOrder,
    /// An empty database is filled in random order. All rows that follow use this one.
    FillAtRandom,
    /// Every entry is overwritten once, in random order.
    Overwrite,
    /// Entries are read in random order after the database was closed and reopened.
    ReadAtRandom,
    /// Keys between those that exist are read in random order.
    ReadMissing,
    /// All entries are read in the order of their keys.
    ScanAll,
    /// Single writes that are durable when they return.
    SyncedWrites,
    /// What the files take after all of this, once the engine has come to rest.
    DiskUsed,
    /// The most memory that the process had resident until now.
    PeakMemory,
}

impl Row {
    /// As the table of targets has it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Row::FillInOrder => "fill in order",
            Row::FillAtRandom => "fill at random",
            Row::Overwrite => "overwrite",
            Row::ReadAtRandom => "read at random, reopened",
            Row::ReadMissing => "read what is missing",
            Row::ScanAll => "scan all",
            Row::SyncedWrites => "synced single writes",
            Row::DiskUsed => "disk used after",
            Row::PeakMemory => "peak memory",
        }
    }
}

/// What the parent asks a child for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// One row. Rows that it builds on are made up for, unmeasured.
    Row(Row),
    /// Fill, then overwrite everything this many times without a pause.
    Sustained {
        /// The number of overwrites.
        passes: u64,
    },
}

/// What a child answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Response {
    /// To a row.
    Row(Outcome),
    /// To the sustained load.
    Sustained(Sustained),
    /// To either, and the child has ended.
    Failed(String),
}

/// What came of a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// `None` if the engine cannot do this.
    pub(crate) figure: Option<Figure>,
    /// How long the engine went on working after the last operation had returned.
    pub(crate) settled_seconds: f64,
}

/// The figure of a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Figure {
    /// Operations a second.
    Rate(f64),
    /// Operations a second, and how long one took.
    Latency {
        /// Operations a second.
        rate: f64,
        /// The median.
        p50_us: f64,
        /// What one in a hundred exceeds.
        p99_us: f64,
    },
    /// A size.
    Bytes(f64),
}

impl Figure {
    /// What is compared.
    pub(crate) fn value(self) -> f64 {
        match self {
            Figure::Rate(value) | Figure::Bytes(value) | Figure::Latency { rate: value, .. } => {
                value
            }
        }
    }
}

/// What came of the sustained load: named numbers in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sustained {
    /// The numbers.
    pub(crate) metrics: Vec<Metric>,
    /// What the engine counts itself.
    pub(crate) counts: Vec<(String, u64)>,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    /// What it is.
    pub(crate) name: String,
    /// In what.
    pub(crate) unit: Unit,
    /// The number.
    pub(crate) value: f64,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Operations a second.
    Rate,
    /// Microseconds.
    Microseconds,
    /// Seconds.
    Seconds,
    /// Pieces.
    Count,
    /// A multiple.
    Times,
}
