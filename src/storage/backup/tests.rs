use std::sync::Arc;

use super::*;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::storage::batch::Batch;
use crate::storage::config::Config;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::message::Cause;
use crate::storage::store::Store;
use crate::storage::store::tests::bodies;
use crate::storage::store::tests::open;
use crate::storage::store::tests::publish;
use crate::storage::store::tests::tiny;
use crate::storage::verify::verify;

fn fill(store: &mut Store<MemoryDisk>, seqs: std::ops::Range<u64>) {
    let mut batch = Batch::new();
    for seq in seqs {
        publish(&mut batch, &[(1, seq)], &[seq as u8; 3000]);
        store.commit(&mut batch).unwrap();
    }
}

/// Settles everything and lets all that can be used again be used again.
fn settle_all(store: &mut Store<MemoryDisk>, seqs: std::ops::Range<u64>) {
    let mut batch = Batch::new();
    seqs.for_each(|seq| batch.ack(QueueId(1), Seq(seq), Cause(0)));
    store.commit(&mut batch).unwrap();
    for now in 0..4 {
        let work = store.begin_checkpoint(Timestamp(now)).unwrap().unwrap();
        let result = work.run(&*store.disk());
        store.finish_checkpoint(result).unwrap();
        while store.step(10_000).unwrap().more {}
    }
}

#[test]
fn a_backup_is_the_store_of_its_moment() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    fill(&mut store, 1..100);
    // Some chunks lie on disk, some do not.
    settle_all(&mut store, 1..10);
    fill(&mut store, 100..200);
    let expected = bodies(&mut store, 1);
    let backup = store.begin_backup().unwrap().unwrap();
    assert!(store.begin_backup().unwrap().is_none(), "one at a time");
    // Everything changes before the first byte is copied.
    fill(&mut store, 200..250);
    settle_all(&mut store, 10..250);
    let copy = Arc::new(MemoryDisk::default());
    backup.run(&*disk, &*copy).unwrap();
    assert!(verify(&*copy, &tiny()).unwrap().is_whole());
    let (mut copied, report) = open(&copy);
    assert_eq!((report.losses.len(), report.batches, report.torn), (0, 0, None));
    assert_eq!(bodies(&mut copied, 1), expected);
    assert_eq!(bodies(&mut store, 1), []);
}

#[test]
fn files_are_free_again_when_the_backup_ends() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    fill(&mut store, 1..200);
    let backup = store.begin_backup().unwrap().unwrap();
    settle_all(&mut store, 1..200);
    let there = |file: &BackupFile| disk.list().unwrap().iter().any(|it| it.file == file.file);
    assert!(backup.files().iter().all(there));
    assert!(backup.bytes() > 199 * 3000);
    store.end_backup();
    settle_all(&mut store, 1..1);
    let n_left = backup.files().iter().filter(|file| there(file)).count();
    assert!(n_left < 5, "{n_left} files");
    assert!(store.begin_backup().unwrap().is_some());
}

#[test]
fn a_backup_goes_to_an_empty_place_and_back() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    fill(&mut store, 1..30);
    let expected = bodies(&mut store, 1);
    let backup = store.begin_backup().unwrap().unwrap();
    assert!(matches!(backup.run(&*disk, &*disk), Err(StorageError::NotEmpty)));
    let (copy, back) = (MemoryDisk::default(), Arc::new(MemoryDisk::default()));
    backup.run(&*disk, &copy).unwrap();
    assert!(matches!(restore(&copy, &*disk), Err(StorageError::NotEmpty)));
    restore(&copy, &*back).unwrap();
    assert_eq!(bodies(&mut open(&back).0, 1), expected);
}

#[test]
fn half_a_backup_is_no_store() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    fill(&mut store, 1..30);
    let mut backup = store.begin_backup().unwrap().unwrap();
    assert_eq!(backup.files.pop().map(|it| it.file), Some(FileName::Store));
    let copy = Arc::new(MemoryDisk::default());
    backup.run(&*disk, &*copy).unwrap();
    let error = Store::open(copy, Config { accept_loss: true, ..tiny() }).err();
    assert!(matches!(error, Some(StorageError::Damaged { file: FileName::Store, .. })));
}
