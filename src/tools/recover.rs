//! `chronos recover`: repairs a damaged database, and tells what was given up.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::check::describe;
use super::words::{Span, explain};
use super::{Outcome, Told, environment, options, progress, say, sync_name, unwritable};
use crate::engine::{self, Engine, Repair, RepairOutcome};

/// The file that says what was given up, beside the files that were set aside.
const REPORT: &str = "report.txt";

/// Repairs the database in `dir`, or says what that would come to.
pub(super) fn run(dir: &Path, is_dry: bool, out: &mut dyn Write) -> Told<Outcome> {
    let failed = |error| explain("recover", dir, &error);
    let environment = environment(dir).map_err(failed)?;
    let aside = free_name(dir);
    let bar = progress::bytes("reading");
    let planned = engine::repair(&environment, &aside, true, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    let plan = planned.map_err(failed)?;
    // Before anything is done: whatever ends it, what was given up has been told.
    let mut report = Vec::new();
    print(&plan, is_dry, &aside, &mut report)?;
    out.write_all(&report).and_then(|()| out.flush()).map_err(|e| unwritable(&e))?;
    match plan.outcome {
        RepairOutcome::NothingToDo => return Ok(Outcome::Good),
        RepairOutcome::Refused(_) => return Ok(Outcome::Bad),
        RepairOutcome::Planned | RepairOutcome::Done => {}
    }
    if is_dry {
        say(out, "nothing was changed; without --dry-run it is done")?;
        return Ok(Outcome::Good);
    }
    keep(&report, &aside)
        .map_err(|error| format!("cannot use {}: {error}; nothing was changed", aside.display()))?;
    let repair = engine::repair(&environment, &aside, false, &mut |_| ()).map_err(failed)?;
    let unopened = |error| format!("repaired, but {}", explain("open", dir, &error));
    let (engine, _) = Engine::open(environment, options()).map_err(unopened)?;
    engine.close().map_err(unopened)?;
    let dropped = repair.dropped_entries;
    say(
        out,
        format_args!(
            "recovered: the database is whole; {dropped} entries that may be outdated were dropped \
             with the keys given up"
        ),
    )?;
    Ok(Outcome::Good)
}

/// Writes the report, durably, to where the damaged files go.
fn keep(report: &[u8], aside: &Path) -> io::Result<()> {
    fs::create_dir(aside)?;
    sync_name(aside)?;
    let path = aside.join(REPORT);
    let mut file = File::create_new(&path)?;
    file.write_all(report)?;
    file.sync_all()?;
    sync_name(&path)
}

/// The first directory `aside-N` that is not there.
fn free_name(dir: &Path) -> PathBuf {
    let mut names = (1_u64..).map(|number| dir.join(format!("aside-{number}")));
    names.find(|path| !path.exists()).unwrap_or_else(|| dir.join("aside"))
}

fn print(repair: &Repair, is_dry: bool, aside: &Path, out: &mut dyn Write) -> Told<()> {
    for finding in &repair.report.findings {
        say(out, describe(finding))?;
    }
    match &repair.outcome {
        RepairOutcome::NothingToDo => return say(out, "nothing to do: nothing is damaged"),
        RepairOutcome::Refused(reason) => {
            return say(out, format_args!("refused, and nothing was changed: {reason}"));
        }
        RepairOutcome::Planned | RepairOutcome::Done => {}
    }
    let would = if is_dry { "would be " } else { "" };
    for lost in &repair.given_up {
        let (file, offset, keys) = (&lost.file, lost.offset, Span(&lost.keys));
        say(out, format_args!("{would}given up: keys {keys}, for {file} at offset {offset}"))?;
    }
    if let Some(cut) = &repair.log_cut {
        say(out, format_args!("{would}given up: the log from here on: {cut}"))?;
    }
    for name in &repair.rewritten {
        say(out, format_args!("{would}written anew: {name}"))?;
    }
    for name in &repair.set_aside {
        say(out, format_args!("{would}set aside: {name} to {}", aside.display()))?;
    }
    Ok(())
}
