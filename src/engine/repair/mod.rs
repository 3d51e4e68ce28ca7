//! The repair of a damaged database: keeps what is provably right, gives up the rest, and says so.
//!
//! What is right can be proved by three rules:
//!
//! - A block that cannot be read may have held the newest versions of the keys between its borders.
//!   So of these keys nothing counts that stands in the same table or below, however whole: it may
//!   be older than what was lost, and an old value that comes back is a wrong answer. What stands
//!   above the block is newer than anything in it, and stays.
//! - The log counts up to its first damage: what stands before is a prefix of the history.
//! - Which tables there are only the manifest knows, and which range deletes there were. If it is
//!   damaged nothing can be proved, and the repair refuses: a backup has to be restored. If only
//!   `CURRENT` is, and there is one manifest, with every table of the directory in it, that was the
//!   one in use.
//!
//! Nothing is overwritten or deleted. What is kept of a table goes to a new one, what is kept of the
//! log as well; every file that is replaced gets a name in another directory first. Then a new
//! manifest is written and `CURRENT` changed to it: a crash before that leaves the old state, a crash
//! behind it the new one, and either can be repaired again. A lost `CURRENT` is put back before all
//! else, as long as it is certain what it said: half a repair's files would make that doubtful.

mod rewrite;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use super::check::{self, CheckProgress, CheckReport, Finding, KeySpan, examine};
use super::error::{Error, Result};
use super::filename::{self, CURRENT, FileKind};
use super::options::Environment;
use super::recovery::Directory;
use super::storage::{ReadOnly, Storage};
use super::table::TableMeta;
use super::table::check::Loss;
use super::version::set::{Loaded, Snapshot};

/// How a repair ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairOutcome {
    /// Nothing is damaged.
    NothingToDo,
    /// This is what would be done.
    Planned,
    /// It is done, and the database is whole.
    Done,
    /// Nothing can be proved, for this reason; nothing was changed.
    Refused(String),
}

/// Keys that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenUp {
    /// The damaged table's file.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The keys of which nothing is kept but what is newer than the table.
    pub keys: KeySpan,
}

/// What a repair found and did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Repair {
    /// How it ended.
    pub outcome: RepairOutcome,
    /// What was damaged before.
    pub report: CheckReport,
    /// Keys that were given up.
    pub given_up: Vec<GivenUp>,
    /// From where on the log is given up, if it is damaged.
    pub log_cut: Option<Error>,
    /// Tables that are written anew, without what is given up.
    pub rewritten: Vec<String>,
    /// Files that are set aside.
    pub set_aside: Vec<String>,
    /// Whole entries that were dropped because what hid them may be lost; known once it is done.
    pub dropped_entries: u64,
}

/// Repairs the database in the environment's storage, which no other process may have open. Files
/// that are replaced keep a name in the directory `aside`, which must have none of their names or not be there. With
/// `is_dry` nothing is changed.
///
/// # Errors
/// `Locked`, `Io`, `NoSpace`, `UnknownFormat`, `NoDatabase`: then the
/// database is as it was, but for a lost `CURRENT` that may be there again, or repaired already. `Corrupt` if the result is not whole.
pub fn repair(
    environment: &Environment,
    aside: &Path,
    is_dry: bool,
    progress: &mut dyn FnMut(CheckProgress),
) -> Result<Repair> {
    let environment = &environment.clone().afresh();
    let storage = &environment.storage;
    // Where the working directory or the data directory leads meanwhile does not matter.
    let target = storage.directory(aside);
    let target = target.map_err(|e| Error::io("use", &aside.display().to_string(), e))?;
    let _guard = check::lock_directory(storage.as_ref())?;
    let view: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(storage)));
    let (loaded, report) = examine(&view, progress)?;
    let mut repair = Repair {
        outcome: RepairOutcome::NothingToDo,
        report,
        given_up: Vec::new(),
        log_cut: None,
        rewritten: Vec::new(),
        set_aside: Vec::new(),
        dropped_entries: 0,
    };
    if repair.report.is_whole() {
        return Ok(repair);
    }
    let mut directory = Directory::list(storage.as_ref())?;
    let tables = directory.tables.clone();
    directory.set_foreign_apart(storage.as_ref(), loaded.as_ref());
    if repair.report.findings.iter().any(|finding| finding.file() == CURRENT) {
        // A table that the manifest does not know, whosever it is, is reason to doubt the manifest.
        directory.tables = tables;
    }
    let plan = match Plan::new(loaded, &repair.report, &directory) {
        Ok(plan) => plan,
        Err(reason) => {
            repair.outcome = RepairOutcome::Refused(reason);
            return Ok(repair);
        }
    };
    repair.given_up = plan.losses.iter().map(|loss| loss.given_up.clone()).collect();
    repair.log_cut.clone_from(&plan.log_cut);
    repair.rewritten = plan.rewritten.iter().map(|id| filename::table(*id)).collect();
    repair.set_aside = plan.replaced(&directory);
    repair.outcome = RepairOutcome::Planned;
    if is_dry {
        return Ok(repair);
    }
    repair.dropped_entries = rewrite::perform(plan, environment, &directory, target.as_ref())?;
    let (_, after) = examine(&view, &mut |_| ())?;
    if let Some(finding) = after.findings.into_iter().next() {
        return Err(finding.error);
    }
    repair.outcome = RepairOutcome::Done;
    Ok(repair)
}

/// Keys that are lost in a table.
#[derive(Debug)]
struct TableLoss {
    /// The table's place in the order of age, see [`ranks`].
    rank: usize,
    given_up: GivenUp,
}

/// What is to be done.
struct Plan {
    loaded: Loaded,
    losses: Vec<TableLoss>,
    /// Tables that are written anew, or left out if nothing of them is kept.
    rewritten: Vec<u64>,
    log_cut: Option<Error>,
    /// Whether `CURRENT` is damaged or missing.
    lacks_current: bool,
}

impl Plan {
    /// What follows from a check; an error says why nothing can be proved.
    fn new(
        loaded: Option<Loaded>,
        report: &CheckReport,
        directory: &Directory,
    ) -> std::result::Result<Self, String> {
        let loaded = loaded.ok_or(
            "the manifest is lost, and with it which tables make up the database; restore a backup",
        )?;
        let snapshot = &loaded.snapshot;
        let ranks = ranks(snapshot);
        let mut losses = Vec::new();
        let mut damaged = Vec::new();
        let mut log_cut = None;
        let mut lacks_current = false;
        for finding in &report.findings {
            refuse_unprovable(finding)?;
            match filename::parse(finding.file()) {
                Some(FileKind::Current) => {
                    trust_only_manifest(report, snapshot, directory)?;
                    lacks_current = true;
                }
                Some(FileKind::Table(id)) => {
                    damaged.push(id);
                    losses.extend(loss_of(finding, rank_of(&ranks, id)));
                }
                _ => {
                    log_cut.get_or_insert_with(|| finding.error.clone());
                }
            }
        }
        let is_touched = |rank: usize, meta: &TableMeta| {
            damaged.contains(&meta.id)
                || losses
                    .iter()
                    .any(|loss| loss.rank <= rank && overlaps(&loss.given_up.keys, meta))
        };
        let rewritten = ranks
            .iter()
            .enumerate()
            .flat_map(|(rank, metas)| metas.iter().map(move |meta| (rank, *meta)))
            .filter(|(rank, meta)| is_touched(*rank, meta))
            .map(|(_, meta)| meta.id)
            .collect();
        Ok(Plan { loaded, losses, rewritten, log_cut, lacks_current })
    }

    /// The files that will be replaced and are there.
    fn replaced(&self, directory: &Directory) -> Vec<String> {
        let tables = self.rewritten.iter().filter(|id| directory.tables.contains(id));
        let mut names: Vec<String> = tables.map(|id| filename::table(*id)).collect();
        if self.log_cut.is_some() {
            let needed = directory.segments.range(self.loaded.snapshot.first_segment..);
            names.extend(needed.map(|id| filename::wal(*id)));
        }
        names.extend(directory.manifests.iter().map(|id| filename::manifest(*id)));
        if directory.has_current {
            names.push(CURRENT.to_owned());
        }
        names
    }

    /// Where keys of a table are lost.
    fn offsets(&self, table: u64) -> Vec<u64> {
        let file = filename::table(table);
        let own = self.losses.iter().filter(|loss| loss.given_up.file == file);
        own.map(|loss| loss.given_up.offset).collect()
    }

    /// The keys of which a table of this rank keeps nothing.
    fn spans(&self, rank: usize) -> Vec<KeySpan> {
        let above = self.losses.iter().filter(|loss| loss.rank <= rank);
        above.map(|loss| loss.given_up.keys.clone()).collect()
    }
}

/// Whether keys of `span` may be in a table.
fn overlaps(span: &KeySpan, meta: &TableMeta) -> bool {
    let begins_before_end =
        if span.excludes_first { span.first < meta.largest } else { span.first <= meta.largest };
    begins_before_end && meta.smallest <= span.last
}

/// All tables in the order of age: of any key, a lower rank has the newer versions.
fn ranks(snapshot: &Snapshot) -> Vec<Vec<&TableMeta>> {
    let mut level0: Vec<&TableMeta> = Vec::new();
    let mut deeper = vec![Vec::new(); super::version::LEVELS];
    for (level, meta) in snapshot.tables.values() {
        if *level == 0 { level0.push(meta) } else { deeper[*level].push(meta) }
    }
    level0.sort_by_key(|meta| std::cmp::Reverse(meta.max_seq));
    level0.into_iter().map(|meta| vec![meta]).chain(deeper).collect()
}

fn rank_of(ranks: &[Vec<&TableMeta>], id: u64) -> usize {
    ranks.iter().position(|metas| metas.iter().any(|meta| meta.id == id)).unwrap_or(0)
}

fn loss_of(finding: &Finding, rank: usize) -> Option<TableLoss> {
    let keys = finding.keys.clone()?;
    let given_up = GivenUp { file: finding.file().to_owned(), offset: finding.offset, keys };
    Some(TableLoss { rank, given_up })
}

/// Refuses where damaged bytes are not the explanation, or the file may be whole.
fn refuse_unprovable(finding: &Finding) -> std::result::Result<(), String> {
    let is_table = matches!(filename::parse(finding.file()), Some(FileKind::Table(_)));
    if is_table && finding.loss == Loss::Unexplained {
        return Err(format!(
            "{}: its checksums are right, so that no damage explains this; restore a backup",
            finding.error
        ));
    }
    match &finding.error {
        Error::Io { op, .. } if *op != "read" => {
            Err(format!("{}: it may be whole; make it readable first", finding.error))
        }
        _ => Ok(()),
    }
}

/// Whether the only manifest is certainly the one that was in use.
fn trust_only_manifest(
    report: &CheckReport,
    snapshot: &Snapshot,
    directory: &Directory,
) -> std::result::Result<(), String> {
    let is_complete = report.findings.iter().all(|finding| !finding.is_missing_file());
    let knows_all = directory.tables.iter().all(|id| snapshot.tables.contains_key(id));
    if is_complete && knows_all {
        return Ok(());
    }
    Err("CURRENT is lost, and the manifest that is there does not fit the other files: it may be an \
         old one; restore a backup"
        .to_owned())
}
