//! Batches: writes that take effect together or not at all.
//!
//! A batch is kept as the log will hold it, so that handing it over is a copy. What does not fit the
//! limits is remembered and refused as a whole when the batch is written. Conditions stand beside the
//! writes: they are decided on when it is written, and leave no trace.

use super::conditional::{Condition, Expected};
use super::error::{Error, Result};
use super::key::{EXPIRY_BYTES, Kind, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use super::range::KeyRange;
use super::wal::{decode_writes, encode_write};

/// Writes that take effect together: in memory at one moment, on disk as one group. The order
/// counts: of two writes to one key, the later wins.
///
/// ```
/// # use chronos::engine::{Batch, Engine, Environment, Options, WriteOptions};
/// # let directory = tempfile::tempdir().unwrap();
/// # let (engine, _) = Engine::open(Environment::disk(directory.path())?, Options::default())?;
/// let mut batch = Batch::new();
/// batch.put(b"account:1", b"90").put(b"account:2", b"110").delete(b"transfer:7");
/// engine.write(&batch, WriteOptions::default())?; // all three, durably, or none
/// # engine.close()?;
/// # Ok::<(), chronos::engine::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    records: Vec<u8>,
    count: u32,
    conditions: Vec<Condition>,
    error: Option<Error>,
}

impl Batch {
    /// One without writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` at `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> &mut Self {
        self.add(Kind::Put, key, value)
    }

    /// Stores `value` at `key` until `expires_ms`, in milliseconds since the Unix epoch. From then on
    /// the key is gone.
    pub fn put_expiring(&mut self, key: &[u8], value: &[u8], expires_ms: u64) -> &mut Self {
        self.add(Kind::Expiring, key, &expiring(value, expires_ms))
    }

    /// Deletes `key`, whether or not it is there.
    pub fn delete(&mut self, key: &[u8]) -> &mut Self {
        self.add(Kind::Delete, key, b"")
    }

    /// Deletes all keys in `range`: one record, however many there are.
    pub fn delete_range(&mut self, range: impl Into<KeyRange>) -> &mut Self {
        let range = range.into();
        if range.is_empty() {
            return self;
        }
        let end = range.end().unwrap_or_default();
        // The end of `..=key` is one byte longer than the key.
        let checked = check_bound(&range.start, MAX_KEY_BYTES)
            .and_then(|()| check_bound(end, MAX_KEY_BYTES + 1));
        if let Err(error) = checked {
            self.error.get_or_insert(error);
            return self;
        }
        self.push(Kind::DeleteRange, &range.start, end)
    }

    /// Has the batch written only if what is at `key` then is what is expected: see
    /// [`super::Engine::write_if`]. All conditions of a batch are about what was there before it.
    pub fn require(&mut self, key: &[u8], expected: Expected) -> &mut Self {
        match check("a key", key.len(), 1, MAX_KEY_BYTES) {
            Ok(()) => self.conditions.push(Condition { key: key.to_vec(), expected }),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// How many writes it holds.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its size in the log, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.records.len()
    }

    /// Empties it, for reuse.
    pub fn clear(&mut self) {
        self.records.clear();
        self.count = 0;
        self.conditions.clear();
        self.error = None;
    }

    fn add(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> &mut Self {
        match check_write(kind, key.len(), value.len()) {
            Ok(()) => self.push(kind, key, value),
            Err(error) => {
                self.error.get_or_insert(error);
                self
            }
        }
    }

    fn push(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> &mut Self {
        encode_write(&mut self.records, kind, key, value);
        self.count += 1;
        self
    }

    /// The first thing in it that no write may hold.
    pub(crate) fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// The same for who takes no batch with conditions, and so must not ignore them.
    pub(crate) fn check_unconditional(&self) -> Result<()> {
        self.check()?;
        if self.conditions.is_empty() {
            return Ok(());
        }
        Err(Error::InvalidOption("a batch with conditions is written by write_if".to_owned()))
    }

    /// Under which conditions it is written.
    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// What it touches, in order: a key, or all keys of a range that begins with it.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.writes().into_iter().map(|write| (write.key, write.kind == Kind::DeleteRange))
    }

    /// The writes, in order.
    pub(crate) fn writes(&self) -> Vec<super::wal::Write<'_>> {
        decode_writes(&self.records, self.count).unwrap_or_default()
    }
}

/// A value with its expiry, as it is stored.
pub(crate) fn expiring(value: &[u8], expires_ms: u64) -> Vec<u8> {
    [&expires_ms.to_le_bytes(), value].concat()
}

fn check(what: &'static str, size: usize, min: usize, max: usize) -> Result<()> {
    if (min..=max).contains(&size) { Ok(()) } else { Err(Error::Size { what, size, min, max }) }
}

/// Whether a write of this kind may have a key and a stored value of these lengths, in bytes.
pub(crate) fn check_write(kind: Kind, key_bytes: usize, stored_bytes: usize) -> Result<()> {
    let prefix = if kind == Kind::Expiring { EXPIRY_BYTES } else { 0 };
    check("a key", key_bytes, 1, MAX_KEY_BYTES)?;
    check("a value", stored_bytes - prefix.min(stored_bytes), 0, MAX_VALUE_BYTES)
}

/// The same for a bound of a range; one may be empty.
fn check_bound(bound: &[u8], max: usize) -> Result<()> {
    check("a bound of a range", bound.len(), 0, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_put_in() {
        let mut batch = Batch::new();
        batch.put(b"a", b"1").put_expiring(b"b", b"2", 77).delete(b"c").delete_range("d".."f");
        batch.delete_range("f".."d").delete_range(..);
        let writes = batch.writes();
        let shown: Vec<_> = writes.iter().map(|w| (w.kind, w.key, w.value.to_vec())).collect();
        let expected = vec![
            (Kind::Put, &b"a"[..], b"1".to_vec()),
            (Kind::Expiring, b"b", [&77u64.to_le_bytes()[..], b"2"].concat()),
            (Kind::Delete, b"c", Vec::new()),
            (Kind::DeleteRange, b"d", b"f".to_vec()),
            (Kind::DeleteRange, b"", Vec::new()),
        ];
        assert_eq!(shown, expected);
        assert_eq!((batch.len(), batch.is_empty()), (5, false));
        batch.clear();
        assert!(batch.is_empty() && batch.writes().is_empty() && batch.size_bytes() == 0);
    }

    #[test]
    fn one_write_past_a_limit_spoils_the_batch() {
        let long = vec![0; MAX_KEY_BYTES + 1];
        let large = vec![0; MAX_VALUE_BYTES + 1];
        let spoilt = |add: &dyn Fn(&mut Batch)| {
            let mut batch = Batch::new();
            batch.put(b"fine", b"");
            add(&mut batch);
            batch.put(b"fine", b"too");
            batch.check().is_err()
        };
        assert!(spoilt(&|batch| _ = batch.put(b"", b"")));
        assert!(spoilt(&|batch| _ = batch.put(&long, b"")));
        assert!(spoilt(&|batch| _ = batch.put(b"k", &large)));
        assert!(spoilt(&|batch| _ = batch.delete(b"")));
        assert!(spoilt(&|batch| _ = batch.require(b"", Expected::Absent)));
        assert!(spoilt(&|batch| _ = batch.put_expiring(b"k", &large, 1)));
        assert!(spoilt(&|batch| _ = batch.delete_range(long.as_slice()..)));
        assert!(!spoilt(&|batch| _ = batch.put_expiring(b"k", &large[1..], 1)));
        assert!(!spoilt(&|batch| _ = batch.put(&long[1..], b"")));
    }
}
