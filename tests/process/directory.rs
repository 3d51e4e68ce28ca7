//! What is in a data directory, to tell whether anything was changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::client::PATIENCE;

/// Every file's contents and modification time, by name, and the directory's own time under "".
pub(crate) type Contents = BTreeMap<String, (Vec<u8>, SystemTime)>;

/// What is in `dir` now.
pub(crate) fn contents(dir: &Path) -> Contents {
    try_contents(dir).unwrap()
}

/// What is in `dir` now; an error if a file goes while it is looked at.
fn try_contents(dir: &Path) -> io::Result<Contents> {
    let modified = |path: &Path| fs::metadata(path)?.modified();
    let mut contents = Contents::from([(String::new(), (Vec::new(), modified(dir)?))]);
    for name in names(dir) {
        let path = dir.join(&name);
        contents.insert(name, (fs::read(&path)?, modified(&path)?));
    }
    Ok(contents)
}

/// What is in `dir` once its server, to which nobody speaks, has come to rest: its spare log segment
/// stands beside the active one, and nothing changes any more.
pub(crate) fn contents_at_rest(dir: &Path) -> Contents {
    let start = Instant::now();
    let mut before = None;
    loop {
        let now = try_contents(dir).ok();
        let prepared = files(dir, ".wal").len() >= 2 && files(dir, ".tmp").is_empty();
        match now {
            Some(now) if prepared && before.as_ref() == Some(&now) => return now,
            now => before = now,
        }
        assert!(start.elapsed() < PATIENCE, "the directory does not come to rest");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The names of the files that differ, for messages that do not print contents.
#[track_caller]
pub(crate) fn assert_unchanged(before: &Contents, after: &Contents) {
    let differ = |(name, file): &(&String, &(Vec<u8>, SystemTime))| after.get(*name) != Some(*file);
    let changed: Vec<_> = before.iter().filter(differ).map(|(name, _)| name).collect();
    let added: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(changed.is_empty() && added.is_empty(), "changed {changed:?}, added {added:?}");
}

/// The files in `dir`, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The files in `dir` whose names end in `suffix`, sorted.
pub(crate) fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    names(dir).iter().filter(|name| name.ends_with(suffix)).map(|name| dir.join(name)).collect()
}

/// Copies a data directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}
