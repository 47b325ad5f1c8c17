use super::*;
use crate::amqp::id::BatchId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::storage::chunk::Timed;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::entry::Entry;
use crate::storage::record::encode as record;
use crate::storage::segment::Segment;

const FILE: FileName = FileName::Checkpoint(1);

/// An index with two queues of chunks and tails, marks, definitions and half-purged chunks.
fn sample(disk: &MemoryDisk) -> Index {
    let mut index = Index::new(8);
    index.segments.insert(3, Segment { bytes: 1 << 20, ..Segment::default() });
    let mut apply = |write: &dyn Fn(&mut Vec<u8>) -> u32| {
        let mut bytes = vec![0; 64];
        write(&mut bytes);
        index.apply_batch(disk, (3, 4096), &bytes, &[]).unwrap();
    };
    apply(&|out| record::watermark(out, QueueId(1), Seq(4000)));
    apply(&|out| record::watermark(out, QueueId(9), Seq(3)));
    apply(&|out| record::define(out, b"key", b"value"));
    for queue in [1, 9] {
        for seq in 1..60 {
            index
                .with(QueueId(queue), disk, |queue, around| {
                    let entry = Entry::new(3, seq as u32 * 64, 40, seq as u32, (seq % 4) as u8);
                    queue.insert(seq, (entry, Some(Timestamp(seq))), around)?;
                    queue.remove(seq / 2, around)
                })
                .unwrap();
        }
    }
    let mut bytes = vec![0; 64];
    record::returned(&mut bytes, QueueId(9), Seq(50), b"mark");
    index.apply_batch(disk, (3, 4096), &bytes, &[]).unwrap();
    index
}

fn contents(index: &mut Index, disk: &MemoryDisk) -> Vec<(u64, Timed)> {
    let mut all = Vec::new();
    for id in index.queue_ids() {
        let mut from = Some(0);
        while let Some(seq) = from {
            let with = index.with(id, disk, |queue, around| {
                let (run, next) = queue.live_run(seq, around)?;
                all.extend(run);
                Ok(next)
            });
            from = with.unwrap().flatten();
        }
    }
    all
}

#[test]
fn a_checkpoint_comes_back() {
    let disk = MemoryDisk::default();
    let mut index = sample(&disk);
    let position = Position { segment: 3, offset: 8192, last: BatchId(9), last_segment: 3 };
    let stamp = Stamp { number: 12, position, next_number: 4 };
    let (work, placed) = encode(&index, stamp, FILE);
    assert!(!placed.is_empty());
    work.run(&disk).unwrap();
    let n_bytes = disk.bytes(FILE).len() as u64;
    let (back_stamp, mut back) = decode::read(&disk, FILE, n_bytes, 8).unwrap();
    assert_eq!(back_stamp, stamp);
    assert_eq!(contents(&mut back, &disk), contents(&mut index, &disk));
    assert_eq!(back.defined, index.defined);
    assert_eq!(back.queue_ids(), [QueueId(1), QueueId(9)]);
    for id in back.queue_ids() {
        let (back, queue) = (back.queue(id).unwrap(), index.queue(id).unwrap());
        assert_eq!((back.next_seq, back.watermark), (queue.next_seq, queue.watermark));
        assert_eq!((back.n_live, back.live_bytes), (queue.n_live, queue.live_bytes));
        assert_eq!(back.marks, queue.marks);
    }
    let segment = |index: &Index| *index.segments.get(3).unwrap();
    assert_eq!(segment(&back), segment(&index));
    // A second checkpoint finds all chunks in their place.
    let (_, placed) = encode(&back, stamp, FILE);
    assert!(placed.is_empty());
}

#[test]
fn a_checkpoint_with_any_bit_flipped_is_none() {
    let disk = MemoryDisk::default();
    let (work, _) = encode(&sample(&disk), Stamp::default(), FILE);
    work.run(&disk).unwrap();
    let n_bytes = disk.bytes(FILE).len();
    for at in 0..n_bytes {
        disk.edit(FILE, |bytes| bytes[at] ^= 1 << (at % 8));
        // Bytes 12 to 16 mean nothing but are summed all the same.
        assert!(decode::read(&disk, FILE, n_bytes as u64, 8).is_none(), "byte {at}");
        disk.edit(FILE, |bytes| bytes[at] ^= 1 << (at % 8));
    }
    assert!(decode::read(&disk, FILE, n_bytes as u64 - 1, 8).is_none());
}
