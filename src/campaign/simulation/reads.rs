//! Readers: lookups, snapshots that are held, scans that are half done.
//!
//! Each sees the state of its moment, by the clock of the moment at which it is shown, whatever was
//! written, flushed and merged since; keys, values, versions and expiries are compared. Once the log
//! has failed, readers see what is durable.

use std::collections::VecDeque;

use super::model::{Entry, KEYS, Stored};
use super::run::{Run, Verdict};
use crate::engine::{Clock as _, Health, Lookup, Record, Scan, Seq, Snapshot};

/// The most snapshots, and scans, that are held at once.
const HELD: usize = 4;

/// A snapshot and the number that it has to have.
pub(super) struct HeldSnapshot {
    snapshot: Snapshot,
    seq: Seq,
}

/// A scan that was begun, and what it has yet to show.
pub(super) struct OpenScan {
    scan: Scan,
    expected: VecDeque<Entry>,
    /// Its first step is to come, and waits until what it shows may be shown.
    waits: bool,
}

impl Run {
    /// Up to where a reader sees, at this moment.
    pub(super) fn readable(&self) -> Seq {
        match self.engine.health() {
            Health::Failed { .. } => self.engine.durable_seq(),
            _ => self.model.last_seq(),
        }
    }

    /// What was found must be what has to be there.
    pub(super) fn compare(
        &mut self,
        what: &str,
        found: Option<&Record<'_>>,
        expected: Option<(Seq, &Stored)>,
    ) -> Verdict<String> {
        let is_same = match (found, expected) {
            (None, None) => true,
            (Some(record), Some((version, value))) => {
                record.version == version
                    && record.expires_ms == value.expires_ms
                    && record.value[..] == value.bytes[..]
            }
            _ => false,
        };
        if !is_same {
            let found =
                found.map(|record| (record.version, record.expires_ms, shown(&record.value)));
            return Err(format!("{what}: shows {found:?}, which has to be {expected:?}"));
        }
        self.trace.checked += 1;
        let version = expected.map_or(0, |(version, _)| version);
        Ok(format!("{what}: {version}"))
    }

    /// The same as of `at`, for a reader that was shown it.
    fn compare_at(
        &mut self,
        what: &str,
        key: usize,
        at: Seq,
        found: Option<&Record<'_>>,
    ) -> Verdict<String> {
        let now_ms = self.clock.now_ms();
        let expected = self.model.get(key, at, now_ms).map(|(seq, value)| (seq, value.clone()));
        self.compare(what, found, expected.as_ref().map(|(seq, value)| (*seq, value)))
    }

    pub(super) fn get(&mut self) -> Verdict<String> {
        let (key, at) = (self.key(), self.readable());
        let what = format!("get {key}");
        match self.engine.get_record(&self.keys[key]) {
            Ok(found) => {
                self.show(self.model.decided_by(key, at));
                self.compare_at(&what, key, at, found.as_ref())
            }
            Err(error) => self.judge(&what, &error),
        }
    }

    fn some_keys(&mut self) -> Vec<usize> {
        (0..=self.random.below(6)).map(|_| self.key()).collect()
    }

    pub(super) fn multi_get(&mut self) -> Verdict<String> {
        let (keys, at, now_ms) = (self.some_keys(), self.readable(), self.clock.now_ms());
        let names: Vec<&[u8]> = keys.iter().map(|key| &self.keys[*key][..]).collect();
        let what = format!("get {keys:?}");
        match self.engine.multi_get(&names) {
            Ok(found) => {
                for (key, found) in keys.iter().zip(&found) {
                    let expected = self.model.get(*key, at, now_ms).map(|(_, value)| &value.bytes);
                    if found.as_ref().map(AsRef::as_ref) != expected.map(AsRef::as_ref) {
                        return Err(format!("{what}: {key} shows {found:?}, not {expected:?}"));
                    }
                }
                for key in &keys {
                    self.show(self.model.decided_by(*key, at));
                }
                self.trace.checked += keys.len() as u64;
                Ok(what)
            }
            Err(error) => self.judge(&what, &error),
        }
    }

    /// A lookup that waits for nothing, and is read from the disk if it has to be.
    pub(super) fn look_up(&mut self) -> Verdict<String> {
        let (key, at) = (self.key(), self.readable());
        let what = format!("look up {key}");
        let engine = self.engine.clone();
        let session = engine.session();
        let found = match session.lookup(&self.keys[key]) {
            Ok(Lookup::Found(record)) => Ok(Some(record.to_owned())),
            Ok(Lookup::Missing { .. }) => Ok(None),
            Ok(Lookup::Deferred(read)) => {
                self.trace.count("deferred read", 1);
                read.run()
            }
            Err(error) => Err(error),
        };
        drop(session);
        match found {
            Ok(found) => self.compare_at(&what, key, at, found.as_ref()),
            Err(error) => self.judge(&what, &error),
        }
    }

    pub(super) fn take_snapshot(&mut self) -> Verdict<String> {
        if self.snapshots.len() >= HELD {
            return self.read_snapshot();
        }
        let (snapshot, seq) = (self.engine.snapshot(), self.readable());
        if snapshot.seq() != seq {
            return Err(format!("a snapshot of {}, now is {seq}", snapshot.seq()));
        }
        self.snapshots.push(HeldSnapshot { snapshot, seq });
        self.trace.checked += 1;
        Ok(format!("snapshot of {seq}"))
    }

    pub(super) fn read_snapshot(&mut self) -> Verdict<String> {
        let held = self.random.below(self.snapshots.len() as u64) as usize;
        let (key, readable) = (self.key(), self.readable());
        let Some(HeldSnapshot { snapshot, seq }) = self.snapshots.get(held) else {
            return self.get();
        };
        let at = readable.min(*seq);
        let what = format!("get {key} as of {seq}");
        match snapshot.get_record(&self.keys[key]) {
            Ok(found) => {
                self.show(self.model.decided_by(key, at));
                self.compare_at(&what, key, at, found.as_ref())
            }
            Err(error) => self.judge(&what, &error),
        }
    }

    /// Begins a scan of a range, of now or of a snapshot, in either direction.
    pub(super) fn open_scan(&mut self) -> Verdict<String> {
        if self.scans.len() >= HELD {
            return self.advance_scan();
        }
        let (start, end) = if self.random.coin() {
            (0, KEYS)
        } else {
            let start = self.key();
            (start, (start + 1 + self.key()).min(KEYS))
        };
        let (range, mut seq) = (self.range(start, end), self.readable());
        let mut scan = match self.snapshots.last() {
            Some(held) if self.random.coin() => {
                seq = seq.min(held.seq);
                held.snapshot.scan(range)
            }
            _ => self.engine.scan(range),
        };
        if scan.seq() != seq {
            return Err(format!("a scan of {}, which has to be of {seq}", scan.seq()));
        }
        let (is_reversed, waits) = (self.random.one_in(3), !self.random.one_in(4));
        let mut expected = VecDeque::from(self.model.entries(start, end, seq));
        if is_reversed {
            scan = scan.reversed();
            expected.make_contiguous().reverse();
        }
        if !waits {
            scan = scan.without_waiting();
        }
        self.scans.push(OpenScan { scan, expected, waits });
        self.trace.checked += 1;
        Ok(format!("scan {start}..{end} as of {seq}, reversed: {is_reversed}, waits: {waits}"))
    }

    /// Goes some steps further in a scan.
    pub(super) fn advance_scan(&mut self) -> Verdict<String> {
        if self.scans.is_empty() {
            return self.open_scan();
        }
        let at = self.random.below(self.scans.len() as u64) as usize;
        let mut open = self.scans.swap_remove(at);
        let seq = open.scan.seq();
        let what = format!("go on in the scan of {seq}");
        let steps = 1 + self.random.below(12);
        for _ in 0..steps {
            match self.step_scan(&mut open) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(format!("{what} to its end")),
                Ok(Err(error)) => return self.judge(&what, &error),
                Err(wrong) => return Err(format!("{what}: {wrong}")),
            }
        }
        let left = open.expected.len();
        self.scans.push(open);
        Ok(format!("{what}, {left} are left"))
    }

    fn step_scan(&mut self, open: &mut OpenScan) -> Verdict<crate::engine::Result<bool>> {
        let now_ms = self.clock.now_ms();
        let is_more = match open.scan.advance() {
            Ok(is_more) => is_more,
            Err(error) => return Ok(Err(error)),
        };
        if is_more && self.random.one_in(6) {
            // There and back again.
            let returned = open.scan.retreat().and_then(|_| open.scan.advance());
            match returned {
                Ok(true) => {}
                Ok(false) => return Err("turning round twice leads nowhere".to_owned()),
                Err(error) => return Ok(Err(error)),
            }
        }
        while open.expected.front().is_some_and(|(_, _, value)| !value.is_live(now_ms)) {
            open.expected.pop_front();
        }
        let expected = open.expected.pop_front();
        let scan = &open.scan;
        let is_same = match &expected {
            None => !is_more,
            Some((key, version, value)) => {
                is_more
                    && scan.key() == &self.keys[*key][..]
                    && scan.value() == &value.bytes[..]
                    && scan.version() == *version
                    && scan.expires_ms() == value.expires_ms
            }
        };
        if !is_same {
            let (key, version) = (shown(scan.key()), scan.version());
            let found = is_more.then(|| (key, version, scan.expires_ms(), shown(scan.value())));
            return Err(format!("shows {found:?}, which has to be {expected:?}"));
        }
        if std::mem::take(&mut open.waits) {
            self.show(open.scan.seq());
        }
        self.trace.checked += 1;
        Ok(Ok(is_more))
    }

    /// Lets go of a snapshot or a scan.
    #[expect(clippy::unnecessary_wraps, reason = "an act as any other")]
    pub(super) fn drop_reader(&mut self) -> Verdict<String> {
        if self.random.coin() && !self.snapshots.is_empty() {
            let at = self.random.below(self.snapshots.len() as u64) as usize;
            let seq = self.snapshots.swap_remove(at).seq;
            return Ok(format!("drop the snapshot of {seq}"));
        }
        let is_open = self.scans.pop().is_some();
        Ok(format!("drop a scan: {is_open}"))
    }

    /// Reads everything, in both directions and by lookups.
    pub(super) fn verify(&mut self) -> Verdict<String> {
        let at = self.readable();
        for reversed in [false, true] {
            let mut scan = self.engine.scan(..);
            let mut expected = VecDeque::from(self.model.entries(0, KEYS, at));
            if reversed {
                scan = scan.reversed();
                expected.make_contiguous().reverse();
            }
            let mut open = OpenScan { scan, expected, waits: true };
            let what = format!("scan all as of {at}, reversed: {reversed}");
            loop {
                match self.step_scan(&mut open) {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false)) => break,
                    Ok(Err(error)) => return self.judge(&what, &error),
                    Err(wrong) => return Err(format!("{what}: {wrong}")),
                }
            }
        }
        for key in 0..KEYS {
            let what = format!("get {key} of all");
            match self.engine.get_record(&self.keys[key]) {
                Ok(found) => self.compare_at(&what, key, at, found.as_ref())?,
                Err(error) => return self.judge(&what, &error),
            };
        }
        Ok(format!("verify all as of {at}"))
    }
}

/// The beginning of some bytes, and how many there are.
fn shown(bytes: &[u8]) -> String {
    let head: String = bytes.iter().take(12).map(|byte| char::from(*byte)).collect();
    format!("{head:?}… of {} bytes", bytes.len())
}
