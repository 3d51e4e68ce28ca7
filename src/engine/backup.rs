//! Backups: verified copies of a database, and their way back.
//!
//! A backup is a directory with the files of a database and one more, `BACKUP`, which is written last
//! and only once the copy was checked: it lists every file with its size and the checksum of all its
//! bytes. What has none is no backup, and is not restored; what does not agree with it is not either.
//! Files are copied, not linked: two names for the same bytes are lost together.
//!
//! The copy is made of a database that nobody has open, such as the checkpoint that a server writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};

use super::background::lock_empty;
use super::check::{CheckReport, examine, lock_directory};
use super::error::{Error, Result};
use super::filename::{self, CURRENT};
use super::recovery::Directory;
use super::storage::{Made, ReadOnly, Storage, afresh, copy};
use super::version::set;

/// The file that makes a directory a backup.
pub(crate) const BACKUP: &str = "BACKUP";

/// Its first line.
const HEADER: &str = "chronos-backup 1";

/// Bytes of one read.
const CHUNK_BYTES: usize = 1 << 20;

/// A file as `BACKUP` lists it: its size in bytes, and the CRC32C of all of them.
type Sum = (u64, u32);

/// How far a copy has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Bytes copied and read back.
    pub bytes: u64,
    /// Bytes to copy and read back.
    pub total_bytes: u64,
}

/// Copies the database in `from`, which no other process may have open, to `to`, which must be empty
/// or not there; then reads the copy back, checks all of it, and marks it as a backup. If the report
/// has findings it was none, and is removed again, as after an error.
///
/// # Errors
/// `Locked`, `Io`, `NoSpace`, `Corrupt`, `UnknownFormat`, `NoDatabase`, `InvalidOption` if `to` is
/// not empty. Then there is no backup.
pub fn backup(
    from: &Arc<dyn Storage>,
    to: &Arc<dyn Storage>,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<CheckReport> {
    let (from, to) = (ReadOnly(afresh(Arc::clone(from))), &afresh(Arc::clone(to)));
    let _source = lock_directory(&from)?;
    let names = files_of(&from)?;
    let _target = lock_empty(to.as_ref())?;
    let total_bytes = 2 * total(&from, &names)?;
    let mut meter = Meter { seen: CopyProgress { bytes: 0, total_bytes }, tell: progress };
    whole_or_nothing(to, |to| {
        let sums = copy_files(&from, to.as_ref(), &names, &mut meter)?;
        let report = read_back(to, &sums, &mut meter)?;
        if report.is_whole() {
            mark(to.as_ref(), &sums)?;
        }
        Ok(report)
    })
}

/// Copies the backup in `from` to `to`, which must be empty or not there, after all its files were
/// found to be as they were when it was made; then checks the copy.
///
/// # Errors
/// As [`backup`]; `InvalidOption` if `from` is no backup, `Corrupt` if it is not what it was.
pub fn restore(
    from: &Arc<dyn Storage>,
    to: &Arc<dyn Storage>,
    progress: &mut dyn FnMut(CopyProgress),
) -> Result<CheckReport> {
    let (from, to) = (ReadOnly(afresh(Arc::clone(from))), &afresh(Arc::clone(to)));
    let _source = lock_directory(&from)?;
    let sums = read_mark(&from)?;
    let total_bytes = 3 * sums.values().map(|(bytes, _)| bytes).sum::<u64>();
    let mut meter = Meter { seen: CopyProgress { bytes: 0, total_bytes }, tell: progress };
    for (name, sum) in &sums {
        verify(&from, name, *sum, &mut meter)?;
    }
    let _target = lock_empty(to.as_ref())?;
    let names = current_last(sums.keys().cloned().collect());
    whole_or_nothing(to, |to| {
        copy_files(&from, to.as_ref(), &names, &mut meter)?;
        read_back(to, &sums, &mut meter)
    })
}

/// Makes a copy in `to`, and takes back what was made of it unless it is whole: the directory can be
/// used again, and nobody takes what is in it for a database.
fn whole_or_nothing(
    to: &Arc<dyn Storage>,
    write: impl FnOnce(&Arc<dyn Storage>) -> Result<CheckReport>,
) -> Result<CheckReport> {
    let made = Made::within(Arc::clone(to));
    let target: Arc<dyn Storage> = made.clone();
    let outcome = write(&target);
    if !outcome.as_ref().is_ok_and(CheckReport::is_whole) {
        made.take_back(CURRENT);
    }
    outcome
}

/// Whether a copy is what it was copied from, and a database that is whole.
fn read_back(
    copy: &Arc<dyn Storage>,
    sums: &BTreeMap<String, Sum>,
    meter: &mut Meter<'_>,
) -> Result<CheckReport> {
    for (name, sum) in sums {
        verify(copy.as_ref(), name, *sum, meter)?;
    }
    let view: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(copy)));
    examine(&view, &mut |_| ()).map(|(_, report)| report)
}

/// What is told on the way.
struct Meter<'a> {
    seen: CopyProgress,
    tell: &'a mut dyn FnMut(CopyProgress),
}

impl Meter<'_> {
    fn add(&mut self, bytes: usize) {
        self.seen.bytes += bytes as u64;
        (self.tell)(self.seen);
    }
}

/// The files that make up a database, `CURRENT` last.
fn files_of(storage: &dyn Storage) -> Result<Vec<String>> {
    let loaded = set::load(storage)?.ok_or(Error::NoDatabase)?;
    let mut directory = Directory::list(storage)?;
    directory.set_foreign_apart(storage, Some(&loaded));
    let snapshot = &loaded.snapshot;
    let tables = snapshot.tables.keys().map(|id| filename::table(*id));
    let log = directory.segments.range(snapshot.first_segment..).map(|id| filename::wal(*id));
    let manifest = [filename::manifest(loaded.id), CURRENT.to_owned()];
    Ok(tables.chain(log).chain(manifest).collect())
}

/// Without its `CURRENT` a directory does not open: a copy that is broken off is no database.
fn current_last(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| name == CURRENT);
    names
}

fn total(storage: &dyn Storage, names: &[String]) -> Result<u64> {
    let length = |name: &String| {
        let file = storage.open(name).and_then(|file| file.len());
        file.map_err(|e| Error::io("read", name, e))
    };
    names.iter().map(length).sum()
}

/// Copies files in their order, each synced; returns what their bytes add up to.
fn copy_files(
    from: &dyn Storage,
    to: &dyn Storage,
    names: &[String],
    meter: &mut Meter<'_>,
) -> Result<BTreeMap<String, Sum>> {
    let mut sums = BTreeMap::new();
    for name in names {
        let mut sum = (0, 0);
        let copied = copy(from, name, to, &mut |piece| {
            sum = (sum.0 + piece.len() as u64, crc32c_append(sum.1, piece));
            meter.add(piece.len());
        });
        copied.map_err(|e| Error::io("copy", name, e))?;
        sums.insert(name.clone(), sum);
    }
    to.sync_dir().map_err(|e| Error::io("sync", "the directory", e))?;
    Ok(sums)
}

/// Whether a file is what it was.
fn verify(storage: &dyn Storage, name: &str, sum: Sum, meter: &mut Meter<'_>) -> Result<()> {
    let differs = |what: &str| Error::corrupt(name, 0, what);
    let file = storage.open_to_verify(name).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => differs("it is missing"),
        _ => Error::io("open", name, e),
    })?;
    let length = file.len().map_err(|e| Error::io("read", name, e))?;
    if length != sum.0 {
        return Err(differs(&format!("it is {length} bytes long and not {}", sum.0)));
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut found = 0;
    for offset in (0..length).step_by(CHUNK_BYTES) {
        let piece = (length - offset).min(CHUNK_BYTES as u64) as usize;
        file.read_exact_at(&mut chunk[..piece], offset).map_err(|e| Error::io("read", name, e))?;
        found = crc32c_append(found, &chunk[..piece]);
        meter.add(piece);
    }
    if found == sum.1 { Ok(()) } else { Err(differs("its checksum is not the one of the backup")) }
}

/// Makes a directory a backup.
fn mark(storage: &dyn Storage, sums: &BTreeMap<String, Sum>) -> Result<()> {
    let temporary = filename::temporary(BACKUP);
    let write = || -> std::io::Result<()> {
        let file = storage.create(&temporary)?;
        file.write_all_at(encode(sums).as_bytes(), 0)?;
        file.sync()?;
        storage.rename(&temporary, BACKUP)?;
        storage.sync_dir()
    };
    write().map_err(|e| Error::io("write", BACKUP, e))
}

fn encode(sums: &BTreeMap<String, Sum>) -> String {
    let mut text = format!("{HEADER}\n");
    for (name, (bytes, checksum)) in sums {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} {bytes} crc32c={checksum:08x}");
    }
    let checksum = crc32c(text.as_bytes());
    let _ = writeln!(text, "end {} crc32c={checksum:08x}", sums.len());
    text
}

fn read_mark(storage: &dyn Storage) -> Result<BTreeMap<String, Sum>> {
    let bytes = storage.read_from_device(BACKUP).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::InvalidOption(
            "it is no verified backup: there is no file BACKUP in it".to_owned(),
        ),
        _ => Error::io("read", BACKUP, e),
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let sums: BTreeMap<String, Sum> = text.lines().filter_map(parse_line).collect();
    if encode(&sums).as_bytes() == bytes {
        Ok(sums)
    } else {
        Err(Error::corrupt(BACKUP, 0, "it is not as it was written"))
    }
}

/// A line that lists a file of a database: only such names are ever copied.
fn parse_line(line: &str) -> Option<(String, Sum)> {
    let mut words = line.split(' ');
    let (name, bytes) = (words.next()?, words.next()?.parse().ok()?);
    let checksum = u32::from_str_radix(words.next()?.strip_prefix("crc32c=")?, 16).ok()?;
    filename::parse(name).map(|_| (name.to_owned(), (bytes, checksum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Environment, Options, Scheduling, SystemClock};
    use crate::engine::storage::sim::{FaultKind, SimStorage, Survival, Times};
    use crate::engine::{Engine, Offline};

    fn environment(storage: &SimStorage) -> Environment {
        Environment {
            storage: Arc::new(storage.clone()),
            clock: Arc::new(SystemClock),
            random: Arc::new(|| 7),
        }
    }

    fn sample() -> SimStorage {
        let storage = SimStorage::new(1);
        let options = Options {
            scheduling: Scheduling::Manual,
            wal_segment_bytes: 64 << 10,
            ..Options::default()
        };
        let (engine, _) = Engine::open(environment(&storage), options).unwrap();
        (0..99_u32).for_each(|n| engine.put(&n.to_be_bytes(), b"value").unwrap());
        engine.compact().unwrap();
        engine.put(b"in the log", b"value").unwrap();
        drop(engine);
        storage.power_cut(Survival::Everything)
    }

    fn at(storage: &SimStorage, path: &str) -> Arc<dyn Storage> {
        Arc::new(storage.at(std::path::Path::new(path)))
    }

    fn count(storage: &SimStorage) -> usize {
        let mut offline = Offline::open(&environment(storage)).unwrap();
        let mut count = 0;
        while offline.advance().unwrap() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_backup_returns_as_it_was_and_the_source_is_not_touched() {
        let storage = sample();
        let source: Arc<dyn Storage> = Arc::new(storage.clone());
        let before = storage.list().unwrap();
        let mut last = CopyProgress::default();
        let report = backup(&source, &at(&storage, "b"), &mut |progress| last = progress).unwrap();
        assert!(report.is_whole() && last.bytes == last.total_bytes && last.bytes > 0);
        assert_eq!(storage.list().unwrap(), before);
        let cut = storage.power_cut(Survival::Nothing);
        assert!(restore(&at(&cut, "b"), &at(&cut, "r"), &mut |_| ()).unwrap().is_whole());
        let restored = cut.at(std::path::Path::new("r"));
        assert!(!restored.list().unwrap().contains(&BACKUP.to_owned()));
        assert_eq!((count(&storage.kill()), count(&restored)), (100, 100));
        let refused = restore(&at(&cut, "b"), &at(&cut, "r"), &mut |_| ()).unwrap_err();
        assert!(refused.to_string().contains("empty"), "{refused}");
    }

    #[test]
    fn damage_in_the_source_makes_no_backup() {
        let storage = sample();
        let mut names = storage.list().unwrap();
        names.retain(|name| name.strip_suffix(".sst").is_some());
        storage.flip_bit(&names[0], 10, 0).unwrap();
        let source: Arc<dyn Storage> = Arc::new(storage.clone());
        let report = backup(&source, &at(&storage, "b"), &mut |_| ()).unwrap();
        assert_eq!(report.findings[0].file(), names[0]);
        assert_eq!(storage.at(std::path::Path::new("b")).list().unwrap(), [""; 0]);
        let error = restore(&at(&storage, "b"), &at(&storage, "r"), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("no verified backup"), "{error}");
    }

    #[test]
    fn what_failed_is_taken_back_and_what_others_put_there_is_not() {
        let sample = sample();
        for call in 1.. {
            let storage = sample.power_cut(Survival::Everything);
            let source: Arc<dyn Storage> = Arc::new(storage.clone());
            storage.fail_call(call, FaultKind::NoSpace, Times::Once);
            let target = storage.at(std::path::Path::new("b"));
            let is_over = backup(&source, &at(&storage, "b"), &mut |_| ()).is_ok();
            if is_over {
                break;
            }
            let left = target.list().unwrap();
            assert!(left.iter().all(|name| name == filename::LOCK), "call {call}: {left:?}");
            assert!(backup(&source, &at(&storage, "b"), &mut |_| ()).unwrap().is_whole());
            storage.fail_call(storage.call_count() + call, FaultKind::NoSpace, Times::Once);
            if restore(&at(&storage, "b"), &at(&storage, "r"), &mut |_| ()).is_err() {
                let restored = restore(&at(&storage, "b"), &at(&storage, "r"), &mut |_| ());
                assert!(restored.unwrap().is_whole(), "call {call}");
            }
        }
        let machine = SimStorage::new(1);
        let made = Made::within(at(&machine, "others"));
        let others = machine.at(std::path::Path::new("others"));
        made.create("mine").unwrap();
        others.write_file("theirs", b"bytes").unwrap();
        made.rename("mine", "renamed").unwrap();
        made.take_back(CURRENT);
        assert_eq!(others.list().unwrap(), ["theirs"]);
    }

    #[test]
    fn a_changed_backup_is_refused_by_name() {
        let storage = sample();
        let source: Arc<dyn Storage> = Arc::new(storage.clone());
        backup(&source, &at(&storage, "b"), &mut |_| ()).unwrap();
        let made = storage.at(std::path::Path::new("b"));
        for name in made.list().unwrap().into_iter().filter(|name| name != filename::LOCK) {
            let bytes = made.read_file(&name).unwrap();
            for change in 0..2 {
                if change == 0 {
                    made.flip_bit(&name, bytes.len() as u64 / 2, 0).unwrap();
                } else {
                    made.remove(&name).unwrap();
                }
                let target = format!("r-{name}-{change}");
                let error = restore(&at(&storage, "b"), &at(&storage, &target), &mut |_| ());
                let error = error.unwrap_err().to_string();
                assert!(error.contains(&name), "{name}: {error}");
                assert!(storage.at(std::path::Path::new(&target)).list().unwrap().is_empty());
                made.write_file(&name, &bytes).unwrap();
            }
        }
        assert!(restore(&at(&storage, "b"), &at(&storage, "r"), &mut |_| ()).unwrap().is_whole());
    }

    #[test]
    fn a_crash_at_any_call_leaves_no_backup_or_a_good_one() {
        let sample = sample();
        let mut good = 0;
        for call in 1.. {
            let storage = sample.power_cut(Survival::Everything);
            storage.crash_at(call);
            let source: Arc<dyn Storage> = Arc::new(storage.clone());
            let made = backup(&source, &at(&storage, "b"), &mut |_| ());
            let is_over = !storage.is_down();
            assert_eq!(made.is_ok(), is_over);
            let left = storage.power_cut(Survival::Random(call));
            match restore(&at(&left, "b"), &at(&left, "r"), &mut |_| ()) {
                Ok(report) => {
                    assert!(report.is_whole());
                    assert_eq!(count(&left.at(std::path::Path::new("r"))), 100);
                    good += 1;
                }
                Err(_) => assert!(!is_over, "call {call}"),
            }
            if is_over {
                break;
            }
        }
        assert!(good > 0);
    }
}
