//! The campaign's flags.

use std::path::PathBuf;

use clap::Parser;

/// Tries to make Chronos lose something, and tells what it tried.
#[derive(Debug, Parser)]
#[command(name = "campaign", version)]
pub(super) struct Options {
    /// How long to go on, in seconds; each part gets a share
    #[arg(long, default_value_t = 60)]
    pub(super) seconds: u64,
    /// What the choices follow from; a random one is told if none is given
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Run this part only; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(super) part: Vec<String>,
    /// Stop each part after this many cases
    #[arg(long)]
    pub(super) cases: Option<u64>,
    /// Show that this planted bug, or all of them, is found: each part gets the time for each
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "BUG")]
    pub(super) planted: Option<String>,
    /// Cases that run at once; the parts choose if it is not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,
    /// The server program to kill; built by cargo, or found beside this program, if it is not given
    #[arg(long, value_name = "PATH")]
    pub(super) server: Option<PathBuf>,
}
