//! Merges: carries out what the compaction policy decides.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::compaction::job::{Cuts, Surroundings, Target, write_tables};
use super::super::compaction::picker::{
    CompactionPolicy, MAX_GRANDPARENT_TABLES, Plan, View, Work, needless_ranges, pick_range,
};
use super::super::db::Inner;
use super::super::error::{Error, Result};
use super::super::event::Event;
use super::super::filename::{self, FileKind};
use super::super::iter::{Direction, Input, MergeIter, Retention, VisibleIter};
use super::super::key::Seq;
use super::super::range::KeyRange;
use super::super::sync::{lock, read};
use super::super::version::shape::Levels;
use super::super::version::{TableRef, Version, VersionEdit};
use super::{discard, retire};
use crate::planted::{Bug, is_planted};

/// Without a flush for this long, what is left in upper levels is merged down too.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// What a merge decides by, beside the tables: taken after them, so that a snapshot that is missing
/// here is newer than all of them.
struct Moment {
    snapshots: Vec<Seq>,
    damaged: BTreeSet<u64>,
    /// What has expired by then may go.
    now_ms: u64,
    idle: bool,
}

impl Moment {
    /// What the policy decides about.
    fn view<'a>(&'a self, version: &'a Version) -> View<'a> {
        View {
            levels: version.metadata(),
            untouchable: &self.damaged,
            ranges: version.ranges(),
            oldest_snapshot: self.snapshots.first().copied().unwrap_or(Seq::MAX),
            now_ms: self.now_ms,
            idle: self.idle,
        }
    }
}

impl Inner {
    /// One step of the merging thread: what was asked for, else what the policy picks.
    pub(super) fn merge_step(&self) -> Result<bool> {
        self.check_log()?;
        self.empty_trash();
        if self.do_job()? {
            return Ok(true);
        }
        let policy = self.options.policy();
        Ok(self.compact(|view| policy.pick(view))? || self.forget_ranges()?)
    }

    /// How long the merging thread waits at most before it looks again.
    pub(super) fn merge_pause(&self) -> Option<Duration> {
        let must_look = self.lacks_something() || self.tables.expects_trash();
        let retry = must_look.then_some(super::RETRY_AFTER);
        let left = IDLE_AFTER.saturating_sub(lock(&self.last_flush).elapsed());
        // Just past it: the look itself must find the engine idle.
        let until_idle = (!left.is_zero()).then_some(left + Duration::from_millis(1));
        let version = Arc::clone(&read(&self.memory).version);
        let moment = self.moment();
        // While nothing expired may go, time alone changes nothing.
        let due = self.options.policy().next_look_ms(&moment.view(&version));
        let due = due.filter(|_| !self.keeps_expired());
        let until_due = due.map(|due| Duration::from_millis(due.saturating_sub(moment.now_ms)));
        [retry, until_idle, until_due].into_iter().flatten().min()
    }

    fn moment(&self) -> Moment {
        Moment {
            snapshots: self.snapshots.list(),
            damaged: self.damaged_tables(),
            now_ms: self.expired_ms(),
            idle: !self.is_manual() && lock(&self.last_flush).elapsed() > IDLE_AFTER,
        }
    }

    fn keeps_expired(&self) -> bool {
        self.keeps_expired.load(Ordering::Acquire)
    }

    /// Flushes and merges drop what has expired by then, in milliseconds since the Unix epoch.
    pub(super) fn expired_ms(&self) -> u64 {
        if self.keeps_expired() { 0 } else { self.now_ms() }
    }

    /// Flushes what is in memory now and merges what is in `range`.
    pub(super) fn compact_range(&self, range: &KeyRange) -> Result<()> {
        self.flush_everything()?;
        let merged = self.compact(|view| pick_range(view, &range.start, range.end()))?;
        if merged {
            while self.compact(|view| pick_range(view, &range.start, range.end()))? {}
        } else if let Some(damage) = self.faults.first_damage() {
            return Err(damage);
        }
        self.forget_ranges().map(|_| ())
    }

    /// Carries out the plan that `pick` chooses; false if it chooses none.
    fn compact(&self, pick: impl Fn(&View<'_>) -> Option<Plan>) -> Result<bool> {
        let version = Arc::clone(&read(&self.memory).version);
        let moment = self.moment();
        let view = moment.view(&version);
        let Some(plan) = pick(&view) else { return Ok(false) };
        let inputs: Vec<TableRef> = version
            .tables()
            .filter(|(_, table)| plan.inputs.contains(&table.meta().id))
            .map(|(_, table)| Arc::clone(table))
            .collect();
        match plan.work {
            Work::Move => self.move_tables(&plan, &inputs)?,
            Work::Drop => self.drop_tables(&plan, &inputs)?,
            Work::Merge => {
                let cuts = self.cuts(&plan, &view.levels);
                self.merge(&plan, &inputs, cuts, &version, &moment)?;
            }
        }
        Ok(true)
    }

    /// Where the outputs of a plan end.
    fn cuts(&self, plan: &Plan, levels: &Levels<'_>) -> Cuts {
        let table_bytes = self.options.table_bytes as u64;
        let grandparents = levels.get(plan.output_level + 1).into_iter().flatten();
        let grandparents = grandparents.map(|table| (table.largest.clone(), table.bytes)).collect();
        Cuts::new(table_bytes, grandparents, MAX_GRANDPARENT_TABLES * table_bytes)
    }

    /// Gives tables another level: an edit, and no I/O on the tables.
    fn move_tables(&self, plan: &Plan, tables: &[TableRef]) -> Result<()> {
        let added = tables.iter().map(|table| (plan.output_level, table.meta().clone())).collect();
        let removed = plan.inputs.iter().copied().collect();
        self.install(&VersionEdit { added, removed, ..VersionEdit::default() }, tables)?;
        self.counters.moves.add(1);
        tracing::debug!(
            tables = tables.len(),
            level = plan.output_level,
            "moved tables as they are"
        );
        Ok(())
    }

    /// Removes tables of which nothing is visible any more.
    fn drop_tables(&self, plan: &Plan, tables: &[TableRef]) -> Result<()> {
        let removed = plan.inputs.iter().copied().collect();
        self.install(&VersionEdit { removed, ..VersionEdit::default() }, &[])?;
        self.counters.drops.add(tables.len() as u64);
        tracing::debug!(tables = tables.len(), "dropped tables of which nothing is visible");
        retire(tables);
        Ok(())
    }

    fn merge(
        &self,
        plan: &Plan,
        inputs: &[TableRef],
        cuts: Cuts,
        version: &Version,
        moment: &Moment,
    ) -> Result<()> {
        let started = Instant::now();
        let iters = inputs.iter().map(|table| Box::new(table.iter()) as Input);
        let merged = MergeIter::new(iters.collect(), Direction::Forward);
        let retention = Retention {
            snapshots: moment.snapshots.clone(),
            ranges: Arc::clone(version.ranges()),
            now_ms: moment.now_ms,
            drop_tombstones: plan.drop_tombstones || is_planted(Bug::DropTombstonesEarly),
        };
        let purged_seq = retention.purged_seq(version.flushed_seq());
        let mut entries = VisibleIter::new(merged, retention);
        let target = Target { purged_seq, ..self.target(plan.output_level) };
        let tables = write_tables(target, &mut entries, cuts, &mut MergeSurroundings(self))
            .inspect_err(|error| self.note_room_for(error, inputs))?;
        let added = tables.iter().map(|table| (plan.output_level, table.meta().clone())).collect();
        let removed = plan.inputs.iter().copied().collect();
        let edit = VersionEdit { added, removed, ..VersionEdit::default() };
        let drained: u64 = version
            .level(0)
            .iter()
            .map(|table| table.meta())
            .filter(|meta| plan.inputs.contains(&meta.id))
            .map(|meta| meta.bytes)
            .sum();
        let drained = (drained > 0).then(|| (drained, started.elapsed()));
        self.install_merged(&edit, &tables, drained)
            .inspect_err(|error| discard(error, &tables))?;
        self.counters.expired.add(entries.expired_count());
        self.note_merge(plan, inputs, &tables, started);
        retire(inputs);
        Ok(())
    }

    fn note_merge(&self, plan: &Plan, inputs: &[TableRef], outputs: &[TableRef], started: Instant) {
        let bytes = |tables: &[TableRef]| tables.iter().map(|table| table.meta().bytes).sum();
        let (input_bytes, output_bytes) = (bytes(inputs), bytes(outputs));
        self.counters.compactions.add(1);
        self.counters.compacted_bytes.add(input_bytes);
        self.counters.written_bytes[plan.output_level].add(output_bytes);
        self.emit(|| Event::Compacted {
            inputs: inputs.len(),
            input_bytes,
            outputs: outputs.len(),
            output_bytes,
            level: plan.output_level,
            elapsed: started.elapsed(),
        });
    }

    /// Forgets range deletes that no table needs, or that newer ones stand for; false if there are
    /// none.
    fn forget_ranges(&self) -> Result<bool> {
        let version = Arc::clone(&read(&self.memory).version);
        if version.ranges().is_empty() {
            return Ok(false);
        }
        let mut forgotten = version.ranges().superseded(&self.snapshots.list());
        forgotten.extend(needless_ranges(&version.metadata(), version.ranges()));
        if forgotten.is_empty() {
            return Ok(false);
        }
        let forgotten_ranges = forgotten.into_iter().collect();
        self.install(&VersionEdit { forgotten_ranges, ..VersionEdit::default() }, &[])?;
        Ok(true)
    }

    /// A merge that ran out of room is worth another try once its outputs surely fit.
    fn note_room_for(&self, error: &Error, inputs: &[TableRef]) {
        if error.is_no_space() {
            let bytes: u64 = inputs.iter().map(|table| table.meta().bytes).sum();
            self.faults.enter_no_space(error.clone(), bytes + self.options.room_bytes());
        }
    }

    pub(crate) fn damaged_tables(&self) -> BTreeSet<u64> {
        let files = self.faults.damaged_files();
        let ids = files.iter().filter_map(|name| match filename::parse(name) {
            Some(FileKind::Table(id)) => Some(id),
            _ => None,
        });
        ids.collect()
    }
}

/// A merge is interrupted by whatever is more urgent, and ended by a stop.
struct MergeSurroundings<'a>(&'a Inner);

impl Surroundings for MergeSurroundings<'_> {
    fn next_file_id(&mut self) -> u64 {
        lock(&self.0.set).next_file_id()
    }

    fn yield_now(&mut self) -> Result<()> {
        self.0.yield_to_urgent()
    }
}
