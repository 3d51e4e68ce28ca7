//! The names of the files in a data directory. Part of the format: see `docs/format.md`.
//!
//! A number is written with six digits at least and has one spelling: a name that this module would
//! not have written is no file of ours, and nothing may touch it.

use super::key::MAX_NUMBER;

/// Names the manifest in use.
pub(crate) const CURRENT: &str = "CURRENT";

/// Locked by the process that has the directory open.
pub(crate) const LOCK: &str = "LOCK";

const TABLE_SUFFIX: &str = ".sst";
const WAL_SUFFIX: &str = ".wal";
const MANIFEST_PREFIX: &str = "MANIFEST-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The name of table `id`.
pub(crate) fn table(id: u64) -> String {
    format!("{id:06}{TABLE_SUFFIX}")
}

/// The name of log segment `id`.
pub(crate) fn wal(id: u64) -> String {
    format!("{id:06}{WAL_SUFFIX}")
}

/// The name of manifest `id`.
pub(crate) fn manifest(id: u64) -> String {
    format!("{MANIFEST_PREFIX}{id:06}")
}

/// The name under which `name` is written before it is renamed into place.
pub(crate) fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY_SUFFIX}")
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A table, and its id.
    Table(u64),
    /// A log segment, and its id.
    Wal(u64),
    /// A manifest, and its id.
    Manifest(u64),
    /// The file that names the manifest in use.
    Current,
    /// The lock file.
    Lock,
    /// Something half-written that was never renamed into place.
    Temporary,
}

/// What the file `name` is; `None` if it is not one of ours.
pub(crate) fn parse(name: &str) -> Option<FileKind> {
    if name == CURRENT {
        return Some(FileKind::Current);
    }
    if name == LOCK {
        return Some(FileKind::Lock);
    }
    if let Some(stem) = name.strip_suffix(TEMPORARY_SUFFIX) {
        return parse(stem).map(|_| FileKind::Temporary);
    }
    if let Some(number) = name.strip_prefix(MANIFEST_PREFIX) {
        return parse_number(number).map(FileKind::Manifest);
    }
    if let Some(number) = name.strip_suffix(TABLE_SUFFIX) {
        return parse_number(number).map(FileKind::Table);
    }
    name.strip_suffix(WAL_SUFFIX).and_then(parse_number).map(FileKind::Wal)
}

/// The number in a name of ours, or in the name that it was to get; `None` where there is none.
pub(crate) fn number(name: &str) -> Option<u64> {
    match parse(name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name))? {
        FileKind::Table(id) | FileKind::Wal(id) | FileKind::Manifest(id) => Some(id),
        FileKind::Current | FileKind::Lock | FileKind::Temporary => None,
    }
}

fn parse_number(digits: &str) -> Option<u64> {
    let number = digits.parse().ok()?;
    (number <= MAX_NUMBER && format!("{number:06}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_return_to_what_they_name() {
        assert_eq!((table(12).as_str(), wal(7).as_str()), ("000012.sst", "000007.wal"));
        assert_eq!(manifest(3), "MANIFEST-000003");
        for id in [0, 1, 999_999, 1_000_000, MAX_NUMBER] {
            assert_eq!(parse(&table(id)), Some(FileKind::Table(id)));
            assert_eq!(parse(&wal(id)), Some(FileKind::Wal(id)));
            assert_eq!(parse(&manifest(id)), Some(FileKind::Manifest(id)));
            assert_eq!(parse(&temporary(&table(id))), Some(FileKind::Temporary));
            assert_eq!((number(&wal(id)), number(&temporary(&table(id)))), (Some(id), Some(id)));
        }
        assert_eq!(parse(CURRENT), Some(FileKind::Current));
        assert_eq!(parse(LOCK), Some(FileKind::Lock));
        assert_eq!(parse("CURRENT.tmp"), Some(FileKind::Temporary));
    }

    #[test]
    fn foreign_names_are_not_ours() {
        let foreign = [
            "",
            ".sst",
            "12.sst",
            "0000012.sst",
            "+00012.sst",
            "-00012.sst",
            "00001x.sst",
            "000012.SST",
            "000012",
            "000012.sst.bak",
            "notes.tmp",
            "MANIFEST-",
            "MANIFEST-12",
            "current",
            "99999999999999999999.sst",
            "18446744073709551615.sst",
        ];
        for name in foreign {
            assert_eq!((parse(name), number(name)), (None, None), "{name}");
        }
    }
}
