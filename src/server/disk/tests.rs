use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::storage::batch::Batch;
use crate::storage::config::Config;
use crate::storage::error::StorageError;
use crate::storage::store::Store;

const FILE: FileName = FileName::Segment(1);

fn folder() -> (tempfile::TempDir, DataFolder) {
    let place = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(&place.path().join("data")).unwrap();
    (place, folder)
}

fn read(disk: &DataFolder, file: FileName, offset: u64, n: usize) -> Vec<u8> {
    let (mut cached, mut durable) = (vec![1; n], vec![2; n]);
    let n_read = disk.read_at(file, offset, &mut cached).unwrap();
    assert_eq!(disk.read_durable(file, offset, &mut durable).unwrap(), n_read);
    cached.truncate(n_read);
    durable.truncate(n_read);
    assert_eq!(cached, durable);
    cached
}

#[test]
fn bytes_are_read_where_they_were_written() {
    let (_place, disk) = folder();
    disk.create(FILE, 10_000).unwrap();
    disk.write_at(FILE, 5000, b"some bytes").unwrap();
    disk.sync(FILE).unwrap();
    disk.sync_folder(Folder::Log).unwrap();
    assert_eq!(read(&disk, FILE, 5000, 10), b"some bytes");
    assert_eq!(read(&disk, FILE, 4095, 2), [0, 0]);
    assert_eq!(read(&disk, FILE, 9998, 100), [0, 0]);
    assert_eq!(read(&disk, FILE, 20_000, 5), Vec::<u8>::new());
    assert_eq!(disk.list().unwrap(), [Found { file: FILE, bytes: 10_000 }]);
}

#[test]
fn a_renamed_file_is_not_found_under_its_old_name() {
    let (_place, disk) = folder();
    disk.create(FILE, 4096).unwrap();
    disk.write_at(FILE, 0, b"content").unwrap();
    let to = FileName::Segment(2);
    disk.rename(FILE, to).unwrap();
    let error = disk.read_at(FILE, 0, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(read(&disk, to, 0, 7), b"content");
    disk.remove(to).unwrap();
    assert!(disk.read_at(to, 0, &mut [0]).is_err() && disk.list().unwrap().is_empty());
}

#[test]
fn a_new_file_replaces_an_old_one() {
    let (_place, disk) = folder();
    for content in [&b"long content"[..], b"short"] {
        disk.create(FileName::Checkpoint(0), 0).unwrap();
        disk.write_at(FileName::Checkpoint(0), 0, content).unwrap();
        assert_eq!(read(&disk, FileName::Checkpoint(0), 0, 100), content);
    }
}

#[test]
fn nobody_else_may_read() {
    let (_place, disk) = folder();
    disk.create(FILE, 1).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&disk.path), 0o700);
    assert_eq!(mode(&disk.path.join("log")), 0o700);
    assert_eq!(mode(&disk.path(FILE)), 0o600);
}

#[test]
fn a_second_process_is_refused() {
    let (place, disk) = folder();
    let disk = Arc::new(disk);
    let config = Config { segment_bytes: 1 << 20, ..Config::default() };
    let (mut store, _) = Store::open(disk, config.clone()).unwrap();
    let mut batch = Batch::new();
    batch.define(b"key", b"value");
    store.commit(&mut batch).unwrap();
    let again = || Arc::new(DataFolder::new(&place.path().join("data")).unwrap());
    let error = Store::open(again(), config.clone()).err();
    assert!(matches!(error, Some(StorageError::Locked)));
    drop(store);
    let (store, _) = Store::open(again(), config).unwrap();
    assert_eq!(store.defined().count(), 1);
}

#[test]
fn many_files_do_not_need_many_handles() {
    let (_place, disk) = folder();
    for number in 0..300 {
        disk.create(FileName::Index(number), 0).unwrap();
        disk.write_at(FileName::Index(number), 0, &number.to_le_bytes()).unwrap();
    }
    for number in 0..300 {
        assert_eq!(read(&disk, FileName::Index(number), 0, 4), number.to_le_bytes());
    }
    assert!(disk.open.lock().files.len() <= OPEN_MAX);
    assert!(disk.free_bytes().unwrap() > 0);
}
