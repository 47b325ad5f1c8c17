use std::sync::Arc;

use super::*;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::batch::Batch;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::message::Cause;
use crate::storage::store::tests::open;
use crate::storage::store::tests::publish;

/// Two segments: a batch of one message and one of an ack in the first.
fn sample() -> Arc<MemoryDisk> {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    publish(&mut batch, &[(1, 1)], b"the body");
    store.commit(&mut batch).unwrap();
    batch.ack(QueueId(1), Seq(1), Cause(4));
    batch.require_sync();
    store.commit(&mut batch).unwrap();
    drop(store);
    drop(open(&disk));
    disk
}

/// One word for each thing shown, at most `n` of them.
fn check(disk: &MemoryDisk, only: Option<u32>, n: usize, expected: &[&str]) {
    let mut lines = Vec::new();
    dump(disk, only, &mut |dumped| {
        lines.push(match dumped {
            Dumped::Batch(batch) => format!("batch at {}", batch.offset),
            Dumped::Unreadable { bytes: (start, end), .. } => {
                format!("{start} to {end} unreadable")
            }
            Dumped::Record(view) => match (view.record, view.body) {
                (Some(Record::Message(message)), Some(b"the body")) => {
                    let targets: Vec<_> =
                        message.targets.map(|it| (it.queue.0, it.seq.0)).collect();
                    format!("message {targets:?}")
                }
                (Some(Record::Message(_)), _) => "damaged message".to_owned(),
                (Some(Record::Ack { queue, cause, .. }), _) => format!("ack {queue} {}", cause.0),
                (other, _) => format!("{other:?}"),
            },
        });
        lines.len() < n
    })
    .unwrap();
    assert_eq!(lines, expected);
}

#[test]
fn the_log_is_shown_as_it_lies() {
    let disk = sample();
    let all = ["batch at 0", "message [(1, 1)]", "batch at 4096", "ack q1 4"];
    check(&disk, None, 99, &all);
    check(&disk, None, 2, &all[..2]);
    check(&disk, Some(1), 99, &all);
    check(&disk, Some(2), 99, &[]);
}

#[test]
fn damage_is_shown_as_such() {
    let log = FileName::Segment(1);
    let disk = sample();
    let at = disk.bytes(log).windows(8).position(|it| it == b"the body").unwrap();
    disk.edit(log, |bytes| bytes[at] ^= 1);
    check(&disk, None, 99, &["batch at 0", "damaged message", "batch at 4096", "ack q1 4"]);
    disk.edit(log, |bytes| bytes[70] ^= 1);
    let rest = format!("64 to {} unreadable", at + 8);
    check(&disk, None, 99, &["batch at 0", &rest, "batch at 4096", "ack q1 4"]);
    disk.edit(log, |bytes| bytes[7] ^= 1);
    check(&disk, None, 99, &["0 to 4096 unreadable", "batch at 4096", "ack q1 4"]);
    disk.remove(FileName::Store).unwrap();
    assert!(matches!(dump(&*disk, None, &mut |_| true), Err(StorageError::Damaged { .. })));
}
