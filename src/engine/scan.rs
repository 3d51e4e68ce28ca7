//! Scans: walks over a range of keys, in either direction, over one consistent state.
//!
//! A scan pins the state of the moment at which it was asked for, and reads nothing before its first
//! step. What it shows is durable. It lends keys and values from where they stand; as an iterator it
//! copies them.

use std::fmt;
use std::sync::Arc;

use super::db::Inner;
use super::error::Result;
use super::iter::Direction;
use super::key::Seq;
use super::options::Clock;
use super::range::KeyRange;
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
    direction: Direction,
    walk: Option<LiveEntries>,
    /// Whether the walk stands on an entry.
    has_entry: bool,
    /// Whether the iterator has told of an error.
    failed: bool,
    /// Whether what is shown is durable before.
    waits: bool,
    clock: Arc<dyn Clock>,
}

/// A clock by which nothing has expired.
struct BeforeAll;

impl Clock for BeforeAll {
    fn now_ms(&self) -> u64 {
        0
    }
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
            has_entry: false,
            failed: false,
            waits: true,
            clock,
        }
    }

    /// The same in descending order; before the first step.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.direction = Direction::Backward;
        self.walk = None;
        self.has_entry = false;
        self
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

    /// Moves to the next key; false at the end.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where something cannot be read: the scan is over then and not complete.
    /// `Failed` if what it shows may not survive.
    pub fn advance(&mut self) -> Result<bool> {
        self.has_entry = false;
        let walk = match &mut self.walk {
            Some(walk) => walk,
            none => {
                if self.waits {
                    self.inner.commit.wait_to_show(self.view.seq, self.inner.is_manual())?;
                }
                self.inner.counters.scans.add(1);
                let clock = Arc::clone(&self.clock);
                none.insert(self.view.walk(clock, &self.range, self.direction))
            }
        };
        let advanced = walk.advance();
        self.inner.counters.dead_steps.add(walk.take_dead());
        self.has_entry = advanced.inspect_err(|error| self.inner.note_damage(error))?;
        Ok(self.has_entry)
    }

    /// The walk, if it stands on an entry.
    fn current(&self) -> Option<&LiveEntries> {
        self.walk.as_ref().filter(|_| self.has_entry)
    }

    /// The current key; empty unless [`Scan::advance`] returned true.
    pub fn key(&self) -> &[u8] {
        self.current().map_or(b"", LiveEntries::key)
    }

    /// The current value.
    pub fn value(&self) -> &[u8] {
        self.current().map_or(b"", |walk| walk.version().1)
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

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    /// Copies of the next key and value. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.advance() {
            Ok(true) => Some(Ok((self.key().to_vec(), self.value().to_vec()))),
            Ok(false) => None,
            Err(error) => {
                self.failed = true;
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
