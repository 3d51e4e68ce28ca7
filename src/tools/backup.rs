//! `chronos backup` and `chronos restore`: verified copies, and their way back.
//!
//! A backup is worth as much as the moment that it holds: each one says it, and none is made of a state
//! that is older than the operator allows.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::check::describe;
use super::progress::Bar;
use super::running::Source;
use super::words::{Length, Utc, explain};
use super::{Outcome, Told, environment, options, progress, say, storage};
use crate::engine::{self, CheckReport, CopyProgress, Engine, Moment};

/// Copies the database in `dir`, or that of a running server, to `target`; `max_age`: how old the state
/// may be that it holds.
pub(super) fn backup(
    dir: Option<&Path>,
    source: &Source,
    target: &Path,
    max_age: Option<Duration>,
    out: &mut dyn Write,
) -> Told<Outcome> {
    let mut held = None;
    let dir = match (&source.from, dir) {
        (Some(endpoint), _) => {
            let checkpoint = source.checkpoint(endpoint)?;
            let held = held.insert(checkpoint.hold()?);
            checkpoint.check(moment_of(&held.dir)?)?;
            &held.dir
        }
        (None, Some(dir)) => dir,
        (None, None) => return Err("give a data directory, or a server with --from".to_owned()),
    };
    let too_old = match max_age {
        Some(max_age) => Some(age(moment_of(dir)?)).filter(|age| *age > max_age),
        None => None,
    };
    match (too_old, max_age) {
        (Some(age), Some(most)) => {
            let (dir, age, most) = (dir.display(), Length(age), Length(most));
            let verdict = format!("{} is no backup", target.display());
            let line =
                format!("too old: {dir} holds the state of {age} ago, at most {most} are allowed");
            say(out, format_args!("{line}; {verdict}"))?;
            Ok(Outcome::Bad)
        }
        _ => copy(dir, target, out),
    }
}

fn moment_of(dir: &Path) -> Told<Moment> {
    let failed = |error| explain("back up", dir, &error);
    storage(dir).and_then(|storage| engine::moment(&storage)).map_err(failed)
}

/// How long ago that was.
fn age(moment: Moment) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(moment.time_ms))
}

/// Says which state a directory holds.
pub(super) fn tell_moment(moment: Moment, out: &mut dyn Write) -> Told<()> {
    let (state, age, last_seq) = (Utc(moment.time_ms), Length(age(moment)), moment.last_seq);
    say(out, format_args!("it holds the state of {state} ({age} ago), up to sequence {last_seq}"))
}

/// Copies the database in `dir` to `target`, and marks the copy as a backup if it is whole.
fn copy(dir: &Path, target: &Path, out: &mut dyn Write) -> Told<Outcome> {
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
    let CheckReport { files, bytes, entries, moment, .. } = report;
    say(out, format_args!("verified backup: {files} files, {bytes} bytes, {entries} entries"))?;
    tell_moment(moment, out)?;
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
    let CheckReport { files, bytes, entries, moment, .. } = report;
    say(out, format_args!("restored: {files} files, {bytes} bytes, {entries} entries"))?;
    tell_moment(moment, out)?;
    Ok(Outcome::Good)
}

fn show(bar: &Bar, progress: CopyProgress) {
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
