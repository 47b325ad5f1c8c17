use super::*;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::store::tests::bodies;
use crate::storage::store::tests::open;
use crate::storage::store::tests::publish;
use crate::storage::store::tests::tiny;

const LOG: FileName = FileName::Segment(1);

/// Messages 1 to 3, each in a batch of its own.
fn three() -> Arc<MemoryDisk> {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    for seq in 1..=3 {
        publish(&mut batch, &[(1, seq)], b"the body");
        store.commit(&mut batch).unwrap();
    }
    store.seal().unwrap();
    disk
}

fn seqs(disk: &Arc<MemoryDisk>) -> Vec<u64> {
    bodies(&mut open(disk).0, 1).iter().map(|(seq, _)| *seq).collect()
}

#[test]
fn what_is_whole_is_left_alone() {
    let disk = three();
    let before = disk.everything();
    let repaired = repair(&disk, &tiny(), Cause(9)).unwrap();
    assert!(repaired.found.is_whole() && repaired.recovery.is_none());
    assert_eq!(disk.everything(), before);
}

#[test]
fn a_broken_batch_is_kept_aside_and_the_store_starts() {
    let disk = three();
    disk.edit(LOG, |bytes| bytes[4096 + 70] ^= 1);
    let before = disk.bytes(LOG);
    assert!(matches!(Store::open(disk.clone(), tiny()), Err(StorageError::Losses { .. })));
    let repaired = repair(&disk, &tiny(), Cause(9)).unwrap();
    let [(LOG, kept)] = repaired.kept[..] else { panic!("one file: {repaired:?}") };
    assert!(disk.bytes(kept).starts_with(&before[..4 * 4096]));
    assert_eq!(disk.bytes(kept).len(), before.len());
    assert_eq!(repaired.recovery.unwrap().losses[0].bytes, (4096, 8192));
    assert_eq!(seqs(&disk), [1, 3]);
    assert!(verify(&*disk, &tiny()).unwrap().is_whole());
}

#[test]
fn a_message_that_cannot_be_read_is_named_and_settled() {
    let disk = three();
    drop(open(&disk));
    // Its header, so that even its length is not known.
    disk.edit(LOG, |bytes| bytes[8192 + 64 + 12] ^= 1);
    let repaired = repair(&disk, &tiny(), Cause(9)).unwrap();
    assert_eq!(repaired.kept, []);
    let [message] = &repaired.removed[..] else { panic!("one message: {repaired:?}") };
    assert_eq!(message.places, [(QueueId(1), Seq(3))]);
    assert!(disk.bytes(message.kept.unwrap()).ends_with(b"the body"));
    assert_eq!(seqs(&disk), [1, 2]);
    assert!(verify(&*disk, &tiny()).unwrap().is_whole());
}
