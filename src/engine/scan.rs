//! Scans: walks over a range of keys, in either direction, over one consistent state.
//!
//! A scan pins the state of the moment at which it was asked for, and reads nothing before its first
//! step. What it shows is durable. It lends keys and values from where they stand; as an iterator it
//! copies them.
//!
//! Beneath, a walk goes one way only. To turn round, or to go elsewhere, a scan begins another walk
//! over what lies ahead: that costs what beginning a scan costs, so whoever turns round at each step
//! pays for it at each step.

use std::fmt;
use std::sync::Arc;

use super::db::Inner;
use super::error::{Error, Result};
use super::iter::Direction;
use super::key::Seq;
use super::options::Clock;
use super::range::{KeyRange, behind};
use super::view::{LiveEntries, View};

/// A walk over the keys of a range and their values, ascending unless [`Scan::reversed`]. It shows
/// the database as of its beginning; while it lives, tables that were merged since keep their room
/// on disk.
///
/// ```
/// # use chronos::engine::{Engine, Environment, KeyRange, Options};
/// # let directory = tempfile::tempdir().unwrap();
/// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
/// # for user in ["user:1", "user:2", "user:3", "visit:1"] { engine.put(user.as_bytes(), b"x")?; }
/// let mut scan = engine.scan(KeyRange::prefix(b"user:"));
/// let mut count = 0;
/// while scan.advance()? {
///     count += 1; // scan.key() and scan.value() lend, without a copy
/// }
/// assert_eq!(count, 3);
///
/// let (last, _) = engine.scan(..).reversed().next().unwrap()?;
/// assert_eq!(last, b"visit:1");
/// # engine.close()?;
/// # Ok::<(), chronos::engine::Error>(())
/// ```
pub struct Scan {
    inner: Arc<Inner>,
    view: View,
    range: KeyRange,
    /// The scan's order.
    direction: Direction,
    walk: Option<Walk>,
    place: Place,
    /// What ended it, until it is told to go elsewhere.
    failure: Option<Error>,
    /// Whether the iterator has told of an error.
    has_told: bool,
    /// Whether what is shown is durable before.
    waits: bool,
    /// Whether values are shown.
    with_values: bool,
    clock: Arc<dyn Clock>,
}

/// A clock by which nothing has expired.
struct BeforeAll;

impl Clock for BeforeAll {
    fn now_ms(&self) -> u64 {
        0
    }
}

/// A walk, and which way it goes.
struct Walk {
    entries: LiveEntries,
    direction: Direction,
}

/// Where a scan stands, in its own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before its first key.
    Start,
    /// On the key on which its walk stands.
    Entry,
    /// Behind its last key.
    End,
}

impl Scan {
    /// Of what `snapshot` shows in `range`, or this moment if that is earlier.
    pub(crate) fn new(inner: &Arc<Inner>, range: KeyRange, snapshot: Seq) -> Self {
        let clock = Arc::clone(&inner.environment.clock);
        Self::over(inner, View::take(inner, snapshot), range, clock)
    }

    /// Of what expires and may be there, expired or not.
    pub(crate) fn of_expiring(inner: &Arc<Inner>, range: KeyRange) -> Self {
        Self::over(inner, View::of_expiring(inner), range, Arc::new(BeforeAll)).without_waiting()
    }

    fn over(inner: &Arc<Inner>, view: View, range: KeyRange, clock: Arc<dyn Clock>) -> Self {
        Scan {
            view,
            inner: Arc::clone(inner),
            range,
            direction: Direction::Forward,
            walk: None,
            place: Place::Start,
            failure: None,
            has_told: false,
            waits: true,
            with_values: true,
            clock,
        }
    }

    /// The same in descending order, from its beginning.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.direction = Direction::Backward;
        self.walk = None;
        self.place = Place::Start;
        self
    }

    /// The same without values: [`Scan::value`] is empty. They stand beside the keys in the blocks of
    /// tables, so their blocks are read, but not a byte of them is copied. See [`Scan::keys`].
    #[must_use]
    pub fn without_values(mut self) -> Self {
        self.with_values = false;
        self.walk = None;
        self.place = Place::Start;
        self
    }

    /// The keys alone, as an iterator.
    ///
    /// ```
    /// # use chronos::engine::{Engine, Environment, Options, Result};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
    /// # for user in ["user:1", "user:2"] { engine.put(user.as_bytes(), b"x")?; }
    /// let keys: Vec<Vec<u8>> = engine.scan(..).keys().collect::<Result<_>>()?;
    /// assert_eq!(keys, [b"user:1", b"user:2"]);
    /// # engine.close()?;
    /// # Ok::<(), chronos::engine::Error>(())
    /// ```
    pub fn keys(self) -> impl Iterator<Item = Result<Vec<u8>>> {
        self.without_values().map(|entry| entry.map(|(key, _)| key))
    }

    /// The same without waiting for anything to be durable: before the caller lets anybody know what
    /// it has seen, [`super::Engine::durable_seq`] must have reached [`Scan::seq`].
    #[must_use]
    pub fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }

    /// The last write that it can show: whatever is seen of it, even that something is not there, is
    /// durable once [`super::Engine::durable_seq`] has reached that. [`Scan::advance`] waits for it.
    pub fn seq(&self) -> Seq {
        self.view.seq
    }

    /// Moves to the next key, at first to the first; false at the end, and from there on.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where something cannot be read: the scan is over then and not complete.
    /// `Failed` if what it shows may not survive.
    pub fn advance(&mut self) -> Result<bool> {
        self.step(self.direction)
    }

    /// Moves to the previous key; false before the first, and from there on. Behind the end it moves
    /// to the last key.
    ///
    /// ```
    /// # use chronos::engine::{Engine, Environment, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
    /// # for key in ["a", "c", "e"] { engine.put(key.as_bytes(), b"x")?; }
    /// let mut scan = engine.scan(..);
    /// assert!(scan.seek(b"b")? && scan.key() == b"c");
    /// assert!(scan.retreat()? && scan.key() == b"a");
    /// assert!(!scan.retreat()?);
    /// # engine.close()?;
    /// # Ok::<(), chronos::engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Scan::advance`].
    pub fn retreat(&mut self) -> Result<bool> {
        self.step(opposite(self.direction))
    }

    /// Moves to `key`, or to the first key behind it in the scan's order if it is not there; false if
    /// there is none. It may lead either way, and outside of the scan's range it leads to the nearer
    /// end of that.
    ///
    /// # Errors
    /// As [`Scan::advance`]. What ended the scan before does not end it here.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.failure = None;
        let mut ahead = self.range.clone();
        match self.direction {
            Direction::Forward => ahead.start_at(key.to_vec()),
            Direction::Backward => ahead.end_before(behind(key)),
        }
        self.place = Place::Start;
        self.begin(&ahead, self.direction)?;
        self.move_on(self.direction)
    }

    /// One step of a walk that goes in `direction`, begun if need be.
    fn step(&mut self, direction: Direction) -> Result<bool> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let far_end = if direction == self.direction { Place::End } else { Place::Start };
        if self.place == far_end {
            return Ok(false);
        }
        let goes_on = self.place == Place::Entry || self.walk.is_none();
        let is_ahead = self.walk.as_ref().is_some_and(|walk| walk.direction == direction);
        if !(is_ahead && goes_on) {
            let ahead = self.ahead(direction);
            self.begin(&ahead, direction)?;
        }
        self.move_on(direction)
    }

    /// The keys that lie ahead of the present place.
    fn ahead(&self, direction: Direction) -> KeyRange {
        let mut ahead = self.range.clone();
        if self.place == Place::Entry {
            match direction {
                Direction::Forward => ahead.start_at(behind(self.key())),
                Direction::Backward => ahead.end_before(self.key().to_vec()),
            }
        }
        ahead
    }

    fn begin(&mut self, ahead: &KeyRange, direction: Direction) -> Result<()> {
        if self.waits {
            self.inner.commit.wait_to_show(self.view.seq, self.inner.is_manual())?;
        }
        self.inner.counters.scans.add(1);
        let clock = Arc::clone(&self.clock);
        let mut entries = self.view.walk(clock, ahead, direction);
        if !self.with_values {
            entries = entries.without_values();
        }
        self.walk = Some(Walk { entries, direction });
        Ok(())
    }

    fn move_on(&mut self, direction: Direction) -> Result<bool> {
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let advanced = walk.entries.advance();
        self.inner.counters.dead_steps.add(walk.entries.take_dead());
        match advanced {
            Ok(true) => self.place = Place::Entry,
            Ok(false) if direction == self.direction => self.place = Place::End,
            Ok(false) => self.place = Place::Start,
            Err(error) => {
                self.inner.note_damage(&error);
                self.place = Place::Start;
                self.failure = Some(error.clone());
                return Err(error);
            }
        }
        Ok(self.place == Place::Entry)
    }

    /// The walk, if it stands on an entry.
    fn current(&self) -> Option<&LiveEntries> {
        self.walk.as_ref().filter(|_| self.place == Place::Entry).map(|walk| &walk.entries)
    }

    /// The current key; empty unless the last step returned true.
    pub fn key(&self) -> &[u8] {
        self.current().map_or(b"", LiveEntries::key)
    }

    /// The current value.
    pub fn value(&self) -> &[u8] {
        self.current().filter(|_| self.with_values).map_or(b"", |walk| walk.version().1)
    }

    /// The current version: the sequence number of its write.
    pub fn version(&self) -> Seq {
        self.current().map_or(0, |walk| walk.version().0)
    }

    /// When the current value expires, in milliseconds since the Unix epoch, if it does.
    pub fn expires_ms(&self) -> Option<u64> {
        self.current().and_then(|walk| walk.version().2)
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Forward => Direction::Backward,
        Direction::Backward => Direction::Forward,
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    /// Copies of the next key and value. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_told {
            return None;
        }
        match self.advance() {
            Ok(true) => Some(Ok((self.key().to_vec(), self.value().to_vec()))),
            Ok(false) => None,
            Err(error) => {
                self.has_told = true;
                Some(Err(error))
            }
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("range", &self.range)
            .field("direction", &self.direction)
            .field("seq", &self.view.seq)
            .finish_non_exhaustive()
    }
}
