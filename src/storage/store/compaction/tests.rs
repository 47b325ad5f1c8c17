use std::sync::Arc;

use super::*;
use crate::amqp::time::Timestamp;
use crate::storage::disk::FileName;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::message::Cause;
use crate::storage::store::tests::ALL;
use crate::storage::store::tests::bodies;
use crate::storage::store::tests::open;
use crate::storage::store::tests::publish;

fn checkpoint(store: &mut Store<MemoryDisk>) {
    let work = store.begin_checkpoint(Timestamp(0)).unwrap().unwrap();
    let result = work.run(&*store.disk.clone());
    store.finish_checkpoint(result).unwrap();
}

fn all_steps(store: &mut Store<MemoryDisk>) -> Progress {
    let mut sum = Progress::default();
    loop {
        let progress = store.step(10_000).unwrap();
        sum.copied_bytes += progress.copied_bytes;
        sum.damaged.extend(progress.damaged);
        if !progress.more {
            return sum;
        }
    }
}

fn n_segments(store: &Store<MemoryDisk>) -> usize {
    store.index.segments.iter().count()
}

/// A store with `n` messages of 3000 bytes in each of two queues, in segments of 64 KiB.
fn filled(n: u64) -> (Arc<MemoryDisk>, Store<MemoryDisk>) {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    for seq in 1..=n {
        publish(&mut batch, &[(1, seq), (2, seq)], &[seq as u8; 3000]);
        store.commit(&mut batch).unwrap();
    }
    (disk, store)
}

fn ack(store: &mut Store<MemoryDisk>, queue: u32, seqs: impl Iterator<Item = u64>) {
    let mut batch = Batch::new();
    seqs.for_each(|seq| batch.ack(QueueId(queue), Seq(seq), Cause(0)));
    store.commit(&mut batch).unwrap();
}

#[test]
fn settled_segments_are_used_again_after_two_checkpoints() {
    let (_disk, mut store) = filled(100);
    let n_before = n_segments(&store);
    assert!(n_before > 5);
    ack(&mut store, 1, 1..=100);
    ack(&mut store, 2, 1..=100);
    checkpoint(&mut store);
    all_steps(&mut store);
    assert_eq!(n_segments(&store), n_before, "one checkpoint is not enough");
    checkpoint(&mut store);
    all_steps(&mut store);
    assert_eq!(n_segments(&store), 1);
    assert_eq!(store.journal.spares().len(), store.config.spare_segments);
}

#[test]
fn few_live_messages_do_not_keep_many_segments() {
    let (disk, mut store) = filled(200);
    let n_before = n_segments(&store);
    ack(&mut store, 1, (1..=200).filter(|seq| seq % 10 != 0));
    ack(&mut store, 2, 1..=200);
    assert!(all_steps(&mut store).copied_bytes > 20 * 3000);
    checkpoint(&mut store);
    checkpoint(&mut store);
    all_steps(&mut store);
    assert!(n_segments(&store) * 4 < n_before);
    for _ in 0..2 {
        let found = bodies(&mut store, 1);
        let seqs: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=20).map(|n| n * 10).collect::<Vec<_>>());
        assert!(found.iter().all(|(seq, body)| *body == [*seq as u8; 3000]));
        drop(store);
        store = open(&disk).0;
    }
}

#[test]
fn a_fan_out_stays_one_copy() {
    let (_disk, mut store) = filled(100);
    ack(&mut store, 1, (1..=100).filter(|seq| seq % 5 != 0));
    ack(&mut store, 2, (1..=100).filter(|seq| seq % 5 != 0));
    let copied = all_steps(&mut store).copied_bytes;
    assert!(copied < 20 * 4000, "{copied} bytes for 20 messages in two queues each");
    assert_eq!((bodies(&mut store, 1).len(), bodies(&mut store, 2).len()), (20, 20));
}

#[test]
fn copies_of_one_queue_lie_together() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    for seq in 1..=60 {
        (1..=3).for_each(|queue| publish(&mut batch, &[(queue, seq)], &[1; 1000]));
        store.commit(&mut batch).unwrap();
    }
    for queue in 1..=3 {
        ack(&mut store, queue, (1..=60).filter(|seq| seq % 3 != 0));
    }
    assert!(all_steps(&mut store).damaged.is_empty());
    let locations = store.locate(QueueId(2), ALL).unwrap();
    let neighbours = locations.windows(2).filter(|pair| {
        let (a, b) = (pair[0].entry(), pair[1].entry());
        a.segment == b.segment && u64::from(a.offset) + a.record_bytes() == u64::from(b.offset)
    });
    assert!(neighbours.count() > 6);
}

#[test]
fn a_damaged_message_is_not_copied_but_reported() {
    let (disk, mut store) = filled(100);
    ack(&mut store, 1, (1..=100).filter(|seq| seq % 5 != 0));
    ack(&mut store, 2, 1..=100);
    let victim = store.locate(QueueId(1), ALL).unwrap()[0];
    let entry = victim.entry();
    disk.edit(FileName::Segment(entry.segment), |bytes| {
        bytes[entry.offset as usize + 100] ^= 1;
    });
    let progress = all_steps(&mut store);
    assert_eq!(progress.damaged, [victim]);
    assert_eq!(store.locate(QueueId(1), ALL).unwrap().len(), 20);
}

#[test]
fn an_old_location_is_stale_once_its_segment_was_used_again() {
    let (_disk, mut store) = filled(40);
    let old = store.locate(QueueId(1), ALL).unwrap();
    let reader = store.reader();
    ack(&mut store, 1, 1..=40);
    ack(&mut store, 2, 1..=40);
    checkpoint(&mut store);
    checkpoint(&mut store);
    all_steps(&mut store);
    let stored = reader.read(&old[..3]).unwrap();
    assert!(stored.iter().all(|it| *it == crate::storage::reader::Stored::Stale));
}

#[test]
fn a_small_store_keeps_one_segment_and_a_larger_one_prepares_more() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    all_steps(&mut store);
    assert_eq!(store.journal.spares().len(), 0);
    let mut batch = Batch::new();
    publish(&mut batch, &[(1, 1)], &[0; 40_000]);
    store.commit(&mut batch).unwrap();
    all_steps(&mut store);
    assert_eq!(store.journal.spares().len(), 3);
    assert!(!store.space().unwrap().is_low);
}
