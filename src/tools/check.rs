//! `chronos check`: says whether a database is whole, and if not, all that is damaged.

use std::io::Write;
use std::path::Path;

use super::backup::tell_moment;
use super::words::{Span, explain};
use super::{Outcome, Told, progress, say, storage};
use crate::engine::{self, CheckReport, Finding};

/// Checks the database in `dir`.
pub(super) fn run(dir: &Path, out: &mut dyn Write) -> Told<Outcome> {
    let bar = progress::bytes("checking");
    let checked = storage(dir).and_then(|storage| {
        engine::check(storage, &mut |progress| {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.bytes);
        })
    });
    bar.finish_and_clear();
    let report = checked.map_err(|error| explain("check", dir, &error))?;
    print(&report, out)
}

/// Prints a report, and says what its exit code is.
pub(super) fn print(report: &CheckReport, out: &mut dyn Write) -> Told<Outcome> {
    for finding in &report.findings {
        say(out, describe(finding))?;
    }
    for note in &report.notes {
        say(out, format_args!("note: {note}"))?;
    }
    let verdict = match report.findings.len() {
        0 => "whole".to_owned(),
        1 => "DAMAGED in 1 place".to_owned(),
        places => format!("DAMAGED in {places} places"),
    };
    if report.moment.time_ms > 0 {
        tell_moment(report.moment, out)?;
    }
    let CheckReport { files, bytes, entries, elapsed, .. } = report;
    let seconds = elapsed.as_secs_f64();
    say(
        out,
        format_args!("{verdict}: {files} files, {bytes} bytes, {entries} entries, {seconds:.2} s"),
    )?;
    if report.is_whole() {
        return Ok(Outcome::Good);
    }
    say(
        out,
        "restore the files named from a backup (chronos restore), or see what chronos recover \
         --dry-run would keep",
    )?;
    Ok(Outcome::Bad)
}

/// A finding as a line.
pub(super) fn describe(finding: &Finding) -> String {
    let word = if finding.is_unreadable() { "unreadable" } else { "damaged" };
    match &finding.keys {
        Some(keys) => format!("{word}: {}; keys {}", finding.error, Span(keys)),
        None => format!("{word}: {}", finding.error),
    }
}
