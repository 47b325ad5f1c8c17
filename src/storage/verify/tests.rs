use std::sync::Arc;

use super::*;
use crate::storage::batch::Batch;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::message::Cause;
use crate::storage::store::tests::open;
use crate::storage::store::tests::publish;
use crate::storage::store::tests::tiny;

/// A store whose messages 1 to 3 of queue 1 lie behind the checkpoint or before it, each in a batch
/// of its own at 4096 times its number less one.
fn three(behind: bool) -> Arc<MemoryDisk> {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    for seq in 1..=3 {
        publish(&mut batch, &[(1, seq)], b"the body");
        store.commit(&mut batch).unwrap();
    }
    store.seal().unwrap();
    drop(store);
    if !behind {
        drop(open(&disk));
    }
    disk
}

/// One piece of damage, with the numbers of its messages.
type Expected<'a> = (FileName, (u64, u64), DamageKind, &'a [u64]);

fn check(disk: &MemoryDisk, expected: Option<Expected<'_>>) {
    let before = disk.everything();
    let found = verify(disk, &tiny()).unwrap();
    let expected = expected.map(|(file, bytes, kind, seqs)| Damage {
        file,
        bytes,
        kind,
        messages: seqs.iter().map(|seq| (QueueId(1), Seq(*seq))).collect(),
    });
    assert_eq!(found.damage, expected.into_iter().collect::<Vec<_>>());
    assert_eq!(disk.everything(), before, "nothing may change");
}

const LOG: FileName = FileName::Segment(1);

/// Offset of the first record of the second batch, and of its body.
const RECORD: u64 = 4096 + 64;

#[test]
fn what_is_whole_is_said_to_be() {
    for behind in [true, false] {
        let disk = three(behind);
        check(&disk, None);
        let found = verify(&*disk, &tiny()).unwrap();
        assert!(found.is_whole());
        assert_eq!((found.n_messages, found.torn, found.format), (3, None, (1, 0)));
        assert_eq!((found.n_batches, found.n_bytes), (4, 4 * 4096));
    }
}

#[test]
fn a_body_is_named_with_its_record() {
    for behind in [true, false] {
        let disk = three(behind);
        let at = disk.bytes(LOG).windows(8).rposition(|it| it == b"the body").unwrap();
        disk.edit(LOG, |bytes| bytes[at] ^= 1);
        let record = (8192 + 64, at as u64 + 8);
        check(&disk, Some((LOG, record, DamageKind::Messages, &[3])));
    }
}

#[test]
fn a_header_costs_the_start_behind_the_checkpoint_and_a_message_before_it() {
    let disk = three(true);
    disk.edit(LOG, |bytes| bytes[RECORD as usize + 9] ^= 1);
    let found = verify(&*disk, &tiny()).unwrap();
    assert!(!found.is_whole());
    let [damage] = &found.damage[..] else { panic!("one range: {found:?}") };
    assert_eq!((damage.file, damage.bytes), (LOG, (4096, 8192)));
    assert!(matches!(damage.kind, DamageKind::Log { batches: Some(_) }));

    let disk = three(false);
    disk.edit(LOG, |bytes| bytes[RECORD as usize + 9] ^= 1);
    let end = batch_end(&disk, 4096);
    check(&disk, Some((LOG, (RECORD, end), DamageKind::Messages, &[2])));
    disk.edit(LOG, |bytes| bytes[4096 + 9] ^= 1);
    check(&disk, Some((LOG, (4096, 8192), DamageKind::Messages, &[2])));
}

/// Where the last record of the batch at `offset` ends.
fn batch_end(disk: &MemoryDisk, offset: usize) -> u64 {
    let bytes = disk.bytes(LOG);
    offset as u64 + u64::from_le_bytes(*bytes[offset + 40..].first_chunk().unwrap())
}

#[test]
fn what_is_settled_may_rot() {
    let disk = three(true);
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    batch.ack(QueueId(1), Seq(2), Cause(0));
    store.commit(&mut batch).unwrap();
    drop(store);
    disk.edit(LOG, |bytes| bytes[RECORD as usize + 9] ^= 1);
    let end = batch_end(&disk, 4096);
    check(&disk, Some((LOG, (RECORD, end), DamageKind::Unused, &[])));
}

#[test]
fn a_second_copy_mends() {
    let disk = three(true);
    disk.edit(FileName::Store, |bytes| bytes[4096 + 12] ^= 1);
    check(&disk, Some((FileName::Store, (4096, 4128), DamageKind::Mended, &[])));
    disk.edit(FileName::Store, |bytes| bytes[12] ^= 1);
    let error = verify(&*disk, &tiny()).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { file: FileName::Store, .. }));
}

#[test]
fn a_missing_segment_is_missed() {
    let disk = three(false);
    disk.remove(LOG).unwrap();
    let found = verify(&*disk, &tiny()).unwrap();
    let [damage] = &found.damage[..] else { panic!("one file: {found:?}") };
    assert_eq!((damage.file, damage.messages.len()), (LOG, 3));
}
