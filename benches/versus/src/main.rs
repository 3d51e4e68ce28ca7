//! Chronos' embedded engine beside RocksDB and fjall: same keys and values, same machine, same minute.
//!
//! ```text
//! cargo run --release --manifest-path benches/versus/Cargo.toml --features rocksdb -- --rounds 5
//! ```
//!
//! The feature `rocksdb` compiles RocksDB, which needs a C++ compiler and libclang, and takes half an
//! hour of one core. Everything is built for the same processor: the target's baseline, unless
//! `RUSTFLAGS="-C target-cpu=native"` raises it for all, C++ included. What an engine chooses at run
//! time it keeps (Chronos its CRC32C); RocksDB chooses its own when it is compiled, and so gets
//! `-msse4.2 -mpclmul` from `.cargo/config.toml` in the root of the repository, which cargo reads when
//! it is run from there. A RocksDB without it is refused. All use the system's allocator.
//!
//! `figures` says what can be asked, `child` asks it of one process per engine, `workload` and
//! `sustained` do it there through the adapters in `engines`, `report` makes tables of it.
//!
//! Figures count only as ratios within one run: this must never be quoted without its rivals. Pages of
//! files stay in the system's cache throughout, so reads measure processors, not disks.

mod child;
mod data;
mod engines;
mod figures;
mod meter;
mod report;
mod sustained;
mod workload;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::child::{Child, Task};
use self::data::{KEY_BYTES, MAX_ENTRIES, VALUE_BYTES};
use self::engines::{Name, Result};
use self::figures::{Outcome, Request, Response, Row, Sustained};
use self::report::{Measured, Table};
use self::workload::{Plan, QUIET};

/// Compares embedded engines, round by round, each in a process of its own.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    inner: Option<Inner>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// What a child does.
    #[command(hide = true)]
    Measure(Task),
}

#[derive(Debug, Args)]
struct Options {
    /// Entries of a database.
    #[arg(long, default_value_t = 2_000_000,
        value_parser = clap::value_parser!(u64).range(1..=MAX_ENTRIES))]
    entries: u64,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Which engines [default: all that are built in].
    #[arg(long, value_enum, value_delimiter = ',')]
    engines: Vec<Name>,
    /// Which rows [default: all]. Those that follow the first share a database, so leaving one out
    /// changes what the sizes at the end mean.
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "sustained")]
    rows: Vec<Row>,
    /// Where databases are made and removed again [default: the system's directory for temporary
    /// files].
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Single writes of the synced row.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(1..))]
    synced_writes: u64,
    /// Measure full overwrites without a pause instead of the rows.
    #[arg(long)]
    sustained: bool,
    /// How many of them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    overwrite_passes: u64,
    /// Decides every order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the tables as Markdown, too.
    #[arg(long)]
    markdown: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.inner {
        Some(Inner::Measure(task)) => task.serve(),
        None => cli.options.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn run(&self) -> Result<()> {
        let engines = self.engines()?;
        let base = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let directory = tempfile::Builder::new().prefix("versus-").tempdir_in(&base)?;
        let mut out = io::stdout().lock();
        self.print_conditions(&mut out, &engines)?;
        if meter::is_in_memory(directory.path())? {
            writeln!(out, "WARNING: {} is in memory; syncs cost nothing", base.display())?;
        }
        let tables = if self.sustained {
            self.measure_sustained(&engines, &directory, &mut out)?
        } else {
            self.measure_rows(&engines, &directory)?
        };
        for table in &tables {
            writeln!(out, "\n{}", table.text())?;
        }
        for table in tables.iter().filter(|_| self.markdown) {
            writeln!(out, "\n{}", table.markdown())?;
        }
        Ok(())
    }

    fn engines(&self) -> Result<Vec<Name>> {
        let built_in = Name::built_in();
        if self.engines.is_empty() {
            return Ok(built_in);
        }
        match self.engines.iter().find(|name| !built_in.contains(name)) {
            Some(name) => Err(format!("{0} needs --features {0}", name.argument()).into()),
            None => Ok(self.engines.clone()),
        }
    }

    fn plan(&self) -> Plan {
        let Options { entries, synced_writes, seed, .. } = *self;
        Plan { entries, synced_writes, seed, quiet: QUIET }
    }

    fn print_conditions(&self, out: &mut dyn Write, engines: &[Name]) -> io::Result<()> {
        writeln!(
            out,
            "{} entries, keys of {KEY_BYTES} B, values of {VALUE_BYTES} B (pseudorandom, do not \
             compress); medians of {} rounds, ratios within rounds",
            self.entries, self.rounds
        )?;
        engines.iter().try_for_each(|name| writeln!(out, "{}", name.about()))
    }

    /// Row by row, the engines in turn, another one first in each round.
    fn measure_rows(&self, engines: &[Name], directory: &tempfile::TempDir) -> Result<Vec<Table>> {
        let all = Row::value_variants();
        let is_asked = |row: &&Row| self.rows.is_empty() || self.rows.contains(row);
        let empty = |row: &Row| Measured {
            row: *row,
            outcomes: engines.iter().map(|name| (*name, Vec::new())).collect(),
        };
        let mut measured: Vec<Measured> = all.iter().filter(is_asked).map(empty).collect();
        for round in 0..self.rounds {
            let mut children = self.children(engines, directory)?;
            for row in &mut measured {
                measure_row(&mut children, row, round)?;
            }
        }
        Ok(vec![report::rows_table(engines, &measured), report::debt_table(engines, &measured)])
    }

    fn children(&self, engines: &[Name], directory: &tempfile::TempDir) -> Result<Vec<Child>> {
        engines.iter().map(|name| Child::start(*name, self.plan(), directory.path())).collect()
    }

    /// One engine at a time, because a pause would let it catch up.
    fn measure_sustained(
        &self,
        engines: &[Name],
        directory: &tempfile::TempDir,
        out: &mut dyn Write,
    ) -> Result<Vec<Table>> {
        let mut runs: Vec<(Name, Vec<Sustained>)> =
            engines.iter().map(|name| (*name, Vec::new())).collect();
        for round in 0..self.rounds {
            for at in turns(engines.len(), round) {
                let (name, rounds) = &mut runs[at];
                let mut child = Child::start(*name, self.plan(), directory.path())?;
                let request = Request::Sustained { passes: self.overwrite_passes };
                let Response::Sustained(sustained) = child.ask(request)? else {
                    return Err("an answer to another question".into());
                };
                writeln!(io::stderr(), "round {}: {} is done", round + 1, name.title())?;
                rounds.push(sustained);
            }
        }
        writeln!(out, "\nThe engines' own counts, last round:")?;
        for (name, last) in runs.iter().filter_map(|(name, runs)| Some((name, runs.last()?))) {
            let counts: Vec<String> =
                last.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
            writeln!(out, "{}: {}", name.title(), counts.join(", "))?;
        }
        Ok(vec![report::sustained_table(&runs)])
    }
}

/// Asks all children for a row.
fn measure_row(children: &mut [Child], measured: &mut Measured, round: u64) -> Result<()> {
    for at in turns(children.len(), round) {
        let child = &mut children[at];
        let Response::Row(outcome) = child.ask(Request::Row(measured.row))? else {
            return Err("an answer to another question".into());
        };
        print_progress(round, child.engine, measured.row, &outcome)?;
        measured.outcomes[at].1.push(outcome);
    }
    Ok(())
}

/// The numbers below `count`, beginning with another one in each round.
fn turns(count: usize, round: u64) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round as usize) % count)
}

fn print_progress(round: u64, engine: Name, row: Row, outcome: &Outcome) -> io::Result<()> {
    let figure = outcome.figure.map_or("not there yet".to_owned(), report::show_figure);
    let (round, row, engine) = (round + 1, row.title(), engine.title());
    writeln!(io::stderr(), "round {round}: {row}, {engine}: {figure}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everybody_has_its_turn_first() {
        let orders: Vec<Vec<usize>> = (0..3).map(|round| turns(3, round).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    }
}
