//! The contract of [`Storage`] and [`File`], on both implementations.

use std::io::ErrorKind;

use super::disk::DiskStorage;
use super::sim::SimStorage;
use super::{File, Storage};

/// Runs `check` on an empty disk storage and on an empty simulated one.
fn on_both(check: impl Fn(&dyn Storage)) {
    let dir = tempfile::tempdir().unwrap();
    check(&DiskStorage::new(dir.path()).unwrap());
    check(&SimStorage::new(1));
}

fn names(storage: &dyn Storage) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.sort();
    names
}

fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    file.read_exact_at(&mut buf, offset).unwrap();
    buf
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn bytes_are_read_where_they_were_written() {
    on_both(|storage| {
        let file = storage.create("a").unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_all_at(b"hello", 0).unwrap();
        file.write_all_at(b"J", 0).unwrap();
        file.write_all_at(b"end", 8).unwrap();
        assert_eq!(read(&*file, 0, 11), b"Jello\0\0\0end");
        file.sync().unwrap();
        storage.sync_dir().unwrap();
        assert_eq!(file.len().unwrap(), 11);
        assert_eq!(read(&*storage.open("a").unwrap(), 4, 1), b"o");
        assert_eq!(storage.read_from_device("a").unwrap(), b"Jello\0\0\0end");
    });
}

#[test]
fn reads_past_the_end_are_unexpected_ends() {
    on_both(|storage| {
        let file = storage.create("a").unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        let mut buf = [0; 4];
        assert_eq!(kind(file.read_exact_at(&mut buf, 2)), ErrorKind::UnexpectedEof);
        assert_eq!(kind(file.read_exact_at(&mut buf, 100)), ErrorKind::UnexpectedEof);
        file.read_exact_at(&mut [], 5).unwrap();
        let cached = kind(file.try_read_exact_at(&mut buf, 100));
        assert!(matches!(cached, ErrorKind::UnexpectedEof | ErrorKind::WouldBlock));
    });
}

#[test]
fn names_are_created_renamed_replaced_and_removed() {
    on_both(|storage| {
        assert!(names(storage).is_empty());
        storage.create("a").unwrap().write_all_at(b"first", 0).unwrap();
        storage.create("b").unwrap().write_all_at(b"second", 0).unwrap();
        assert_eq!(names(storage), ["a", "b"]);
        storage.rename("a", "b").unwrap();
        assert_eq!(names(storage), ["b"]);
        assert_eq!(storage.read_from_device("b").unwrap(), b"first");
        storage.rename("b", "b").unwrap();
        storage.remove("b").unwrap();
        assert!(names(storage).is_empty());
        storage.sync_dir().unwrap();
    });
}

#[test]
fn misused_names_are_told() {
    on_both(|storage| {
        storage.create("a").unwrap();
        assert_eq!(kind(storage.create("a")), ErrorKind::AlreadyExists);
        assert_eq!(kind(storage.open("b")), ErrorKind::NotFound);
        assert_eq!(kind(storage.remove("b")), ErrorKind::NotFound);
        assert_eq!(kind(storage.rename("b", "c")), ErrorKind::NotFound);
        assert_eq!(kind(storage.read_from_device("b")), ErrorKind::NotFound);
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_both(|storage| {
        let file = storage.create("a").unwrap();
        file.write_all_at(b"still here", 0).unwrap();
        storage.remove("a").unwrap();
        storage.sync_dir().unwrap();
        assert_eq!(read(&*file, 0, 10), b"still here");
        assert_eq!(kind(storage.open("a")), ErrorKind::NotFound);
    });
}

#[test]
fn one_holder_of_the_lock_at_a_time() {
    on_both(|storage| {
        let guard = storage.lock().unwrap();
        assert_eq!(kind(storage.lock()), ErrorKind::WouldBlock);
        drop(guard);
        assert!(storage.lock().is_ok());
        assert!(storage.free_bytes().unwrap() > 0);
    });
}
