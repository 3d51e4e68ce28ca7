//! What the operating system says about this process and a directory.
//!
//! Engines are asked nothing here: these figures mean the same for each of them.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// `st_blocks` counts in these, whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;
const POLL: Duration = Duration::from_millis(50);

/// The number in the line of a file of `/proc` that begins with this name.
fn field(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {name} in /proc")))
}

/// The most memory that this process ever had resident, in bytes.
pub(crate) fn peak_memory_bytes() -> io::Result<u64> {
    Ok(field(&fs::read_to_string("/proc/self/status")?, "VmHWM")? << 10)
}

/// Bytes that this process has caused to be written to disks: pages made dirty, counted once until
/// they are written back.
pub(crate) fn written_bytes() -> io::Result<u64> {
    field(&fs::read_to_string("/proc/self/io")?, "write_bytes")
}

/// What a directory takes from its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// All files, in allocated bytes.
    pub(crate) all: u64,
    /// Those of them that are logs.
    pub(crate) logs: u64,
}

/// Adds up the files below a directory. Files may come and go meanwhile.
pub(crate) fn usage(directory: &Path, is_log: fn(&str) -> bool) -> io::Result<Usage> {
    let mut usage = Usage::default();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(metadata) = if_there(fs::symlink_metadata(&path))? else { continue };
        if metadata.is_dir() {
            let inner = if_there(self::usage(&path, is_log))?.unwrap_or_default();
            usage.all += inner.all;
            usage.logs += inner.logs;
            continue;
        }
        let bytes = allocated_bytes(&metadata);
        usage.all += bytes;
        let extension = path.extension().and_then(|extension| extension.to_str());
        usage.logs += if extension.is_some_and(is_log) { bytes } else { 0 };
    }
    Ok(usage)
}

fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.blocks() * BLOCK_BYTES
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Waits until neither the directory nor the count of written bytes has changed for `quiet`, at most
/// `limit`, then syncs the file system, so that nobody's writing back falls into the next
/// measurement. Returns how long the engine went on working.
pub(crate) fn settle(directory: &Path, quiet: Duration, limit: Duration) -> io::Result<Duration> {
    let started = Instant::now();
    let mut last_change = started;
    let mut last = None;
    while started.elapsed() < limit && last_change.elapsed() < quiet {
        let now = Some((usage(directory, |_| false)?, written_bytes()?));
        if now != last {
            (last, last_change) = (now, Instant::now());
        }
        sleep(POLL);
    }
    rustix::fs::syncfs(File::open(directory)?)?;
    Ok(last_change - started)
}

/// Whether the directory is in memory, where a sync costs nothing.
pub(crate) fn is_in_memory(directory: &Path) -> io::Result<bool> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    Ok(rustix::fs::statfs(directory)?.f_type == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmPeak:\t 9 kB\nVmHWM:\t  12 kB\nwrite_bytes: 5\ncancelled_write_bytes: 6\n";
        assert_eq!(field(text, "VmHWM").unwrap(), 12);
        assert_eq!(field(text, "write_bytes").unwrap(), 5);
        assert!(field(text, "Vm").is_err());
    }

    #[test]
    fn logs_are_a_part_of_all() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("inner")).unwrap();
        fs::write(directory.path().join("inner/1.log"), vec![1; 10_000]).unwrap();
        fs::write(directory.path().join("2.table"), vec![1; 100_000]).unwrap();
        settle(directory.path(), Duration::ZERO, Duration::ZERO).unwrap();
        let usage = usage(directory.path(), |extension| extension == "log").unwrap();
        assert!((10_000..100_000).contains(&usage.logs), "{usage:?}");
        assert!(usage.all >= 100_000 + usage.logs, "{usage:?}");
    }

    #[test]
    fn work_that_goes_on_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let writer = std::thread::spawn(move || {
            for number in 0..10 {
                fs::write(path.join(number.to_string()), [1; 10_000]).unwrap();
                sleep(Duration::from_millis(50));
            }
        });
        let quiet = Duration::from_millis(300);
        let took = settle(directory.path(), quiet, Duration::from_mins(1)).unwrap();
        assert!(writer.is_finished());
        assert!(took >= Duration::from_millis(400), "{took:?}");
    }
}
