//! `chronos backup` and `chronos restore`: verified copies, and their way back.

use std::io::Write;
use std::path::Path;

use indicatif::ProgressBar;

use super::check::describe;
use super::words::explain;
use super::{Outcome, Told, environment, options, progress, say, storage};
use crate::engine::{self, CheckReport, CopyProgress, Engine};

/// Copies the database in `dir` to `target`, and marks the copy as a backup if it is whole.
pub(super) fn backup(dir: &Path, target: &Path, out: &mut dyn Write) -> Told<Outcome> {
    let bar = progress::bytes("copying");
    let made = storage(dir).and_then(|from| {
        let to = storage(target)?;
        engine::backup(&from, &to, &mut |progress| show(&bar, progress))
    });
    bar.finish_and_clear();
    let report = made.map_err(|error| {
        format!("{}; {} is no backup", explain("back up", dir, &error), target.display())
    })?;
    if !report.is_whole() {
        return tell_damage(&report, &format!("{} is no backup", target.display()), out);
    }
    let CheckReport { files, bytes, entries, .. } = report;
    say(out, format_args!("verified backup: {files} files, {bytes} bytes, {entries} entries"))?;
    Ok(Outcome::Good)
}

/// Copies the backup in `from` to `dir`, checks the copy, and opens it.
pub(super) fn restore(from: &Path, dir: &Path, out: &mut dyn Write) -> Told<Outcome> {
    let failed = |error| explain("restore", from, &error);
    let bar = progress::bytes("restoring");
    let made = storage(from).and_then(|source| {
        let to = storage(dir)?;
        engine::restore(&source, &to, &mut |progress| show(&bar, progress))
    });
    bar.finish_and_clear();
    let report = made.map_err(failed)?;
    if !report.is_whole() {
        return tell_damage(&report, &format!("{} is not restored", dir.display()), out);
    }
    let (engine, _) =
        environment(dir).and_then(|world| Engine::open(world, options())).map_err(failed)?;
    engine.close().map_err(failed)?;
    let CheckReport { files, bytes, entries, .. } = report;
    say(out, format_args!("restored: {files} files, {bytes} bytes, {entries} entries"))?;
    Ok(Outcome::Good)
}

fn show(bar: &ProgressBar, progress: CopyProgress) {
    bar.set_length(progress.total_bytes);
    bar.set_position(progress.bytes);
}

fn tell_damage(report: &CheckReport, verdict: &str, out: &mut dyn Write) -> Told<Outcome> {
    for finding in &report.findings {
        say(out, describe(finding))?;
    }
    say(out, format_args!("{verdict}: the copy is damaged, as what it was copied from may be"))?;
    Ok(Outcome::Bad)
}
