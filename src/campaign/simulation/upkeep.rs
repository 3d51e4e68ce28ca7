//! What goes on beside reads and writes: the background's steps, compactions, ingestions, copies,
//! orderly restarts.

use std::path::PathBuf;

use super::model::{Entry, KEYS, Stored};
use super::run::{Run, Undone, Verdict, open};
use crate::engine::{Clock as _, Engine, Error, Health, Ingest, Result, Seq};

/// The most copies that a run makes: each is a database.
const COPIES: usize = 2;

/// An ingestion that goes on while other things happen.
pub(super) struct OpenIngest {
    ingest: Ingest,
    /// What it has taken.
    taken: Vec<(usize, Stored)>,
    next_key: usize,
    /// It failed before: it has to say so at its end.
    failed: bool,
}

/// A copy that was acknowledged.
#[derive(Clone)]
pub(super) struct Copy {
    path: PathBuf,
    /// The state that it must hold.
    seq: Seq,
    entries: Vec<Entry>,
}

impl Run {
    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    pub(super) fn run_background(&mut self) -> Verdict<String> {
        if self.left_undone != Undone::Nothing {
            return Ok("the background is behind".to_owned());
        }
        self.engine.run_background();
        Ok("run the background".to_owned())
    }

    /// A segment and a flush, so that the tables gather.
    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    pub(super) fn step_flush(&mut self) -> Verdict<String> {
        if self.left_undone == Undone::Flushes {
            return Ok("flushes are behind".to_owned());
        }
        self.engine.step_background(false);
        Ok("step of the flushes".to_owned())
    }

    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    pub(super) fn step_merge(&mut self) -> Verdict<String> {
        if self.left_undone == Undone::Merges {
            return Ok("merges are behind".to_owned());
        }
        self.engine.step_background(true);
        Ok("step of the merges".to_owned())
    }

    /// What is done once nothing was written for a while.
    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    pub(super) fn rest(&mut self) -> Verdict<String> {
        if self.left_undone != Undone::Nothing {
            return Ok("the background is behind".to_owned());
        }
        self.engine.rest_background();
        Ok("rest".to_owned())
    }

    pub(super) fn compact(&mut self) -> Verdict<String> {
        let (start, end) = if self.random.coin() { (0, KEYS) } else { (self.key(), KEYS) };
        let what = format!("compact {start}..{end}");
        match self.engine.compact_range(self.range(start, end)) {
            Ok(()) => {
                self.floors.raise(self.model.last_seq());
                self.trace.count("compaction", 1);
                self.trace.checked += 1;
                Ok(what)
            }
            Err(error) => self.judge(&what, &error),
        }
    }

    /// Begins an ingestion, goes on with it, ends it or gives it up.
    pub(super) fn ingest(&mut self) -> Verdict<String> {
        let Some(mut open) = self.ingest.take() else {
            let next_key = self.key();
            let ingest = self.engine.ingest();
            self.ingest = Some(OpenIngest { ingest, taken: Vec::new(), next_key, failed: false });
            return Ok(format!("begin an ingestion at {next_key}"));
        };
        match self.random.below(6) {
            0 => Ok("give up the ingestion".to_owned()),
            1 | 2 => self.finish_ingestion(open),
            _ => {
                let told = self.feed(&mut open);
                self.ingest = Some(open);
                told
            }
        }
    }

    fn feed(&mut self, open: &mut OpenIngest) -> Verdict<String> {
        let mut told = "ingest".to_owned();
        for _ in 0..=self.random.below(12) {
            let key = open.next_key;
            if key >= KEYS {
                break;
            }
            open.next_key += 1 + self.random.below(3) as usize;
            let (name, value) = (&self.keys[key].clone(), self.value());
            let added = match value.expires_ms {
                Some(at) => open.ingest.put_expiring(name, &value.bytes, at),
                None => open.ingest.put(name, &value.bytes),
            };
            match added {
                Ok(()) if open.failed => return Err("an ingestion that failed goes on".to_owned()),
                Ok(()) => {
                    told = format!("{told} {key}");
                    open.taken.push((key, value));
                }
                // It tells the same again and again.
                Err(_) if open.failed => {}
                Err(error) => {
                    open.failed = true;
                    return self.judge(&told, &error);
                }
            }
        }
        self.trace.checked += 1;
        Ok(told)
    }

    fn finish_ingestion(&mut self, open: OpenIngest) -> Verdict<String> {
        let OpenIngest { ingest, taken, failed, .. } = open;
        let what = format!("finish an ingestion of {}", taken.len());
        let outcome = ingest.finish();
        let numbers = self.engine.stats().last_seq - self.model.last_seq();
        let expected = u64::from(!taken.is_empty());
        match outcome {
            Ok(()) if failed || numbers != expected => {
                Err(format!("{what}: done, it failed before: {failed}, {numbers} numbers"))
            }
            Ok(()) if numbers == 0 => Ok(what),
            Ok(()) => {
                self.model.skip();
                self.model.ingest(&taken);
                self.promise(1);
                self.floors.raise(self.model.last_seq());
                self.trace.count("ingestion", 1);
                self.trace.checked += taken.len() as u64;
                Ok(format!("{what} as {}", self.model.last_seq()))
            }
            Err(_) if numbers > expected => Err(format!("{what}: {numbers} numbers")),
            Err(error) => {
                if numbers == 1 {
                    self.model.skip();
                    self.promise(1);
                    let is_known = !self.storage.is_down()
                        && !matches!(self.engine.health(), Health::Failed { .. });
                    self.uncertain = (!is_known).then_some(taken);
                }
                // What it told before is no news, whatever the weather is now.
                if failed { Ok(what) } else { self.judge(&what, &error) }
            }
        }
    }

    /// Makes a copy, and compares it with the state of this moment.
    pub(super) fn checkpoint(&mut self) -> Verdict<String> {
        if self.copies.len() >= COPIES {
            return self.verify();
        }
        let path = PathBuf::from(format!("copy-{}", self.serial));
        let what = format!("checkpoint to {}", path.display());
        match self.engine.checkpoint(&path) {
            Ok(()) => {
                let seq = self.model.last_seq();
                let copy = Copy { path, seq, entries: self.model.entries(0, KEYS, seq) };
                self.floors.raise(seq);
                if self.weather.is_fair() && !self.storage.is_down() {
                    self.check_copy(&self.storage.clone(), &copy)?;
                }
                self.copies.push(copy);
                self.trace.count("checkpoint", 1);
                Ok(what)
            }
            Err(error) => self.judge(&what, &error),
        }
    }

    /// A copy that was acknowledged opens, whole.
    pub(super) fn check_copy(
        &mut self,
        storage: &crate::engine::storage::sim::SimStorage,
        copy: &Copy,
    ) -> Verdict<()> {
        let what = copy.path.display();
        // A crash that is planned has nothing to do with it, but may strike here.
        let opened = open(&storage.at(&copy.path), &self.clock, &self.options, self.serial);
        let (engine, recovery) = match opened {
            Ok(opened) => opened,
            Err(_) if storage.is_down() => return Ok(()),
            Err(error) => return Err(format!("{what} does not open: {error}")),
        };
        let mut expected = copy.entries.clone();
        expected.retain(|(_, _, value)| value.is_live(self.clock.now_ms()));
        let found = match self.walk(&engine) {
            Ok(found) => found,
            Err(_) if storage.is_down() => return Ok(()),
            Err(error) => return Err(format!("{what} cannot be read: {error}")),
        };
        if recovery.last_seq != copy.seq || found != expected {
            let last = recovery.last_seq;
            return Err(format!("{what} is of {last}, not {}: {found:?}", copy.seq));
        }
        self.trace.checked += 1;
        Ok(())
    }

    /// All that `engine` shows. A key that is none of ours is told as the last.
    pub(super) fn walk(&self, engine: &Engine) -> Result<Vec<Entry>> {
        let mut scan = engine.scan(..);
        let mut found = Vec::new();
        while scan.advance()? {
            let key = self.keys.binary_search_by(|key| key[..].cmp(scan.key())).unwrap_or(KEYS);
            let value = Stored { bytes: scan.value().into(), expires_ms: scan.expires_ms() };
            found.push((key, scan.version(), value));
        }
        Ok(found)
    }

    /// Closes and opens again.
    pub(super) fn reopen(&mut self) -> Verdict<String> {
        let outcome = self.engine.close();
        self.let_go();
        if !matches!(self.engine.put(b"closed", b""), Err(Error::Closed)) {
            return Err("a closed database takes a write".to_owned());
        }
        self.trace.checked += 1;
        match outcome {
            Ok(()) => {
                self.floors.raise(self.model.last_seq());
                if self.storage.is_down() || !self.weather.is_fair() {
                    return Ok(self.end_process("close".to_owned()));
                }
                let lookup = self.engine.get(&self.keys[0]).map(|found| found.is_some());
                let expected = self.model.get(0, self.model.last_seq(), self.clock.now_ms());
                if lookup.as_ref().ok() != Some(&expected.is_some()) {
                    return Err(format!("a closed database answers {lookup:?}"));
                }
                Ok(self.end_process("close".to_owned()))
            }
            Err(error) => {
                let told = self.judge("close", &error)?;
                Ok(self.end_process(told))
            }
        }
    }

    /// A process that has closed its database ends; the next one opens it.
    fn end_process(&mut self, told: String) -> String {
        self.trace.count("close", 1);
        if !self.storage.is_down() {
            let _ = self.storage.kill();
        }
        told
    }

    /// Lets go of everything that holds on to the engine.
    pub(super) fn let_go(&mut self) {
        self.scans.clear();
        self.snapshots.clear();
        self.ingest = None;
    }
}
