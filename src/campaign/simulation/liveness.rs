//! The end of a run: the faults are over, and then everything has to go on, within bounds, and
//! nothing may be left over.

use super::model::{KEYS, Stored, Write};
use super::run::{Run, Verdict, open};
use crate::engine::{Admission, Clock as _, Health, WriteOptions};

/// Runs of the background within which an engine that lacks nothing must be well.
const ROUNDS: usize = 3;
/// Log segments that an engine keeps that has flushed everything.
const SEGMENTS: usize = 3;

impl Run {
    /// Lets the run come to a good end.
    pub(super) fn finish(&mut self) -> Verdict<()> {
        self.is_crashy = false;
        self.weather.clear(&self.storage);
        // A lack of room, which passes by itself, may have hidden that a file could not be read.
        self.engine.run_background();
        let health = self.engine.health();
        if matches!(health, Health::Failed { .. } | Health::Corrupt { .. }) {
            // Left by a restart only.
            let _ = self.storage.kill();
            self.start_again()?;
        }
        self.become_well().map_err(|wrong| format!("after all faults: {wrong}"))?;
        self.become_small().map_err(|wrong| format!("after a compaction: {wrong}"))?;
        self.count_engine();
        self.leave_nothing_over().map_err(|wrong| format!("after the end: {wrong}"))
    }

    /// Stalls and the lack of room end, writes are taken and stay.
    fn become_well(&mut self) -> Verdict<()> {
        for _ in 0..ROUNDS {
            self.engine.commit_in_place();
            self.engine.run_background();
        }
        self.look_at_health()?;
        let (health, stats) = (self.engine.health(), self.engine.stats());
        let admission = self.engine.session().admit(8, 4_000);
        if !matches!((&health, &admission), (Health::Ok, Admission::Ready)) {
            return Err(format!("{health:?}, {admission:?}, {:?}", stats.levels));
        }
        if stats.immutable_memtables > 0 {
            return Err(format!("{} memtables wait", stats.immutable_memtables));
        }
        for _ in 0..4 {
            self.write_and_wait()?;
        }
        self.verify()?;
        while !self.scans.is_empty() {
            self.advance_scan()?;
        }
        while !self.snapshots.is_empty() {
            self.read_snapshot()?;
            self.snapshots.pop();
        }
        self.look_at_health()
    }

    /// Only what is there takes room.
    fn become_small(&mut self) -> Verdict<()> {
        self.let_go();
        self.engine.compact().map_err(|error| error.to_string())?;
        // One table, from the first key to the last, so that none of the last level is left as it is.
        let ends = [0, KEYS - 1].map(|key| {
            let value = Stored { bytes: b"at the end"[..].into(), expires_ms: None };
            Write::Put { key, value }
        });
        let batch = self.batch(&ends);
        let written = self.engine.write(&batch, WriteOptions::default());
        written.map_err(|error| error.to_string())?;
        self.model.apply(&ends);
        self.engine.delete_range(self.range(1, KEYS / 4)).map_err(|error| error.to_string())?;
        self.model.apply(&[Write::DeleteRange { start: 1, end: KEYS / 4 }]);
        // Whoever was to be told of what expired has been told.
        self.engine.keep_expired(false);
        self.engine.compact().map_err(|error| error.to_string())?;
        self.engine.run_background();
        self.floors.raise(self.model.last_seq());
        self.verify()?;
        self.look_at_health()?;
        let stats = self.engine.stats();
        let entries: u64 = stats.levels.iter().map(|level| level.entries).sum();
        let last = self.model.last_seq();
        let live = self.model.live(last, self.clock.now_ms()).len() as u64;
        let is_small = entries == live
            && stats.memtable_entries == 0
            && stats.range_deletes == 0
            && stats.snapshots == 0
            && stats.wal_segments <= SEGMENTS;
        if is_small { Ok(()) } else { Err(format!("{live} entries are live: {stats:?}")) }
    }

    /// An orderly end, the same database afterwards, and no file that it does not need.
    fn leave_nothing_over(&mut self) -> Verdict<()> {
        self.engine.close().map_err(|error| format!("it does not close: {error}"))?;
        let seed = self.random.next_u64();
        let (engine, recovery) = open(&self.storage, &self.clock, &self.options, seed)
            .map_err(|error| format!("it does not open: {error}"))?;
        self.engine = engine;
        let is_exact = recovery.last_seq == self.model.last_seq();
        if recovery.writes > 0 || recovery.torn.is_some() || !is_exact {
            return Err(format!("of {}, {recovery:?}", self.model.last_seq()));
        }
        self.verify()?;
        self.look_at_health()?;
        self.engine.close().map_err(|error| format!("it does not close again: {error}"))?;
        self.count_files()
    }

    fn count_files(&self) -> Verdict<()> {
        use crate::engine::storage::Storage as _;

        let names = self.storage.list().map_err(|error| error.to_string())?;
        let stats = self.engine.stats();
        let tables: usize = stats.levels.iter().map(|level| level.tables).sum();
        let kind = |name: &str| name.rsplit_once('.').map(|(_, kind)| kind.to_owned());
        let count = |wanted: &str| {
            names.iter().filter(|name| kind(name).as_deref() == Some(wanted)).count()
        };
        let is_manifest = |name: &&String| name.starts_with("MANIFEST-") && kind(name).is_none();
        let manifests = names.iter().filter(is_manifest).count();
        let current = names.iter().filter(|name| *name == "CURRENT").count();
        let found = [count("sst"), count("wal"), manifests, current, count("tmp")];
        let expected = [tables, stats.wal_segments, 1, 1, 0];
        if found == expected {
            Ok(())
        } else {
            Err(format!("files {found:?} where {expected:?} are needed: {names:?}"))
        }
    }
}
