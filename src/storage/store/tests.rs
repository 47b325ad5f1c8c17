use super::view::Wanted;
use super::*;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::storage::disk::FileName;
use crate::storage::disk::memory::MemoryDisk;
use crate::storage::message::Body;
use crate::storage::message::Cause;
use crate::storage::message::Durability;
use crate::storage::message::NewMessage;
use crate::storage::message::Target;
use crate::storage::reader::Stored;
use crate::storage::report::Recovery;

pub(crate) const ALL: Wanted =
    Wanted { from: Seq(0), end: Seq(u64::MAX), count: usize::MAX, bytes: u64::MAX, priority: None };

/// Small sizes, so that a few messages are enough for everything to happen.
pub(crate) fn tiny() -> Config {
    Config {
        segment_bytes: 64 << 10,
        chunk_entries: 16,
        index_bytes: 1000,
        checkpoint_bytes: 128 << 10,
        ..Config::default()
    }
}

pub(crate) fn open(disk: &Arc<MemoryDisk>) -> (Store<MemoryDisk>, Recovery) {
    Store::open(disk.clone(), tiny()).unwrap()
}

pub(crate) fn publish(batch: &mut Batch, targets: &[(u32, u64)], body: &[u8]) {
    let target = |(queue, seq): &(u32, u64)| Target {
        queue: QueueId(*queue),
        seq: Seq(*seq),
        priority: (*seq % 3) as u8,
        expires_at: seq.is_multiple_of(2).then_some(Timestamp(*seq)),
    };
    let targets: Vec<Target> = targets.iter().map(target).collect();
    batch.message(&NewMessage {
        targets: &targets,
        flags: 7,
        head: b"head",
        body: Body::new([body].into_iter()),
        durability: Durability::Sync,
    });
}

/// Everything a queue has, read back.
pub(crate) fn bodies(store: &mut Store<MemoryDisk>, queue: u32) -> Vec<(u64, Vec<u8>)> {
    let locations = store.locate(QueueId(queue), ALL).unwrap();
    let stored = store.reader().read(&locations).unwrap();
    let body = |stored: Stored| match stored {
        Stored::Message { flags: 7, head, body } if &head[..] == b"head" => body.to_vec(),
        other @ (Stored::Message { .. } | Stored::Stale | Stored::Damaged) => {
            panic!("not the message: {other:?}")
        }
    };
    locations.iter().zip(stored).map(|(at, stored)| (at.seq.0, body(stored))).collect()
}

#[test]
fn messages_outlive_a_restart() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, report) = open(&disk);
    assert!(report.created);
    let mut batch = Batch::new();
    publish(&mut batch, &[(1, 1), (2, 1)], b"to both");
    publish(&mut batch, &[(1, 2)], b"to one");
    batch.ack(QueueId(2), Seq(1), Cause(0));
    batch.define(b"queue 1", b"durable");
    batch.returned(QueueId(1), Seq(2), b"mark");
    batch.watermark(QueueId(1), Seq(4096));
    store.commit(&mut batch).unwrap();
    assert!(batch.is_empty());
    let check = |store: &mut Store<MemoryDisk>| {
        assert_eq!(bodies(store, 1), [(1, b"to both".to_vec()), (2, b"to one".to_vec())]);
        assert_eq!(bodies(store, 2), []);
        assert_eq!(store.defined().collect::<Vec<_>>(), [(&b"queue 1"[..], &b"durable"[..])]);
        assert_eq!(store.mark(QueueId(1), Seq(2)), Some(&b"mark"[..]));
        assert_eq!(store.queue(QueueId(1)).unwrap().watermark, Seq(4096));
    };
    check(&mut store);
    drop(store);
    let (mut store, report) = open(&disk);
    assert_eq!((report.created, report.batches, report.torn), (false, 1, None));
    check(&mut store);
    assert!(store.queue(QueueId(1)).unwrap().next_seq > Seq(1_000_000));
    drop(store);
    let (mut store, report) = open(&disk);
    assert_eq!(report.batches, 0, "the last start took a checkpoint");
    check(&mut store);
}

#[test]
fn a_log_of_many_segments_is_followed() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    let mut expected = Vec::new();
    for seq in 1..100 {
        let body = vec![seq as u8; 3000];
        publish(&mut batch, &[(1, seq)], &body);
        store.commit(&mut batch).unwrap();
        expected.push((seq, body));
    }
    let n_segments = disk.list().unwrap().iter().filter(|it| it.bytes == 64 << 10).count();
    assert!(n_segments > 5);
    drop(store);
    let (mut store, report) = open(&disk);
    assert!(report.batches > 99 && report.losses.is_empty());
    assert_eq!(bodies(&mut store, 1), expected);
}

#[test]
fn a_batch_longer_than_a_segment_gets_one_of_its_own() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    publish(&mut batch, &[(1, 1)], &vec![1; 500_000]);
    publish(&mut batch, &[(1, 2)], b"small");
    store.commit(&mut batch).unwrap();
    publish(&mut batch, &[(1, 3)], b"behind");
    store.commit(&mut batch).unwrap();
    drop(store);
    let (mut store, _) = open(&disk);
    let lengths: Vec<usize> = bodies(&mut store, 1).iter().map(|(_, body)| body.len()).collect();
    assert_eq!(lengths, [500_000, 5, 6]);
}

#[test]
fn what_is_wanted_can_be_narrowed() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    (1..=90).for_each(|seq| publish(&mut batch, &[(1, seq)], &[0; 10]));
    store.commit(&mut batch).unwrap();
    let mut check = |wanted: Wanted, expected: &[u64]| {
        let found = store.locate(QueueId(1), wanted).unwrap();
        let seqs: Vec<u64> = found.iter().map(|location| location.seq.0).collect();
        assert_eq!(seqs, expected);
    };
    check(Wanted { count: 2, ..ALL }, &[1, 2]);
    check(Wanted { from: Seq(50), end: Seq(53), ..ALL }, &[50, 51, 52]);
    check(Wanted { from: Seq(50), bytes: 11, ..ALL }, &[50, 51]);
    check(Wanted { from: Seq(50), bytes: 1, ..ALL }, &[50]);
    check(Wanted { from: Seq(80), priority: Some(0), ..ALL }, &[81, 84, 87, 90]);
    let live = store.live(QueueId(1), Seq(89), 1).unwrap();
    assert_eq!((live.len(), live[0].seq, live[0].expires_at), (1, Seq(89), None));
    let live = store.live(QueueId(1), Seq(90), 10).unwrap();
    assert_eq!((live[0].priority, live[0].expires_at), (0, Some(Timestamp(90))));
}

#[test]
fn a_moved_message_is_in_one_queue_only() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    publish(&mut batch, &[(1, 1)], b"body");
    store.commit(&mut batch).unwrap();
    let target = Target { queue: QueueId(2), seq: Seq(1), priority: 0, expires_at: None };
    let message = NewMessage {
        targets: &[target],
        flags: 7,
        head: b"head",
        body: Body::new([&b"body"[..]].into_iter()),
        durability: Durability::Sync,
    };
    batch.moved((QueueId(1), Seq(1)), Cause(3), &message);
    store.commit(&mut batch).unwrap();
    for _ in 0..2 {
        assert_eq!(bodies(&mut store, 1), []);
        assert_eq!(bodies(&mut store, 2), [(1, b"body".to_vec())]);
        drop(store);
        store = open(&disk).0;
    }
}

#[test]
fn purge_and_drop_take_effect_at_once_and_last() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    (1..=90).for_each(|seq| publish(&mut batch, &[(1, seq), (2, seq)], b"body"));
    store.commit(&mut batch).unwrap();
    batch.purge(QueueId(1), Seq(88), &[Seq(3), Seq(40)]);
    batch.drop_queue(QueueId(2));
    store.commit(&mut batch).unwrap();
    for _ in 0..2 {
        let seqs: Vec<u64> = bodies(&mut store, 1).iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [3, 40, 88, 89, 90]);
        assert_eq!(store.queue(QueueId(1)).unwrap().n_messages, 5);
        assert_eq!(store.queue(QueueId(2)), None);
        drop(store);
        store = open(&disk).0;
    }
}

#[test]
fn a_damaged_body_is_named_and_the_rest_served() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    publish(&mut batch, &[(1, 1)], b"first");
    publish(&mut batch, &[(1, 2), (2, 7)], b"second");
    publish(&mut batch, &[(1, 3)], b"third");
    store.commit(&mut batch).unwrap();
    store.seal().unwrap();
    let segment = FileName::Segment(store.journal.position().segment);
    drop(store);
    disk.edit(segment, |bytes| {
        let at = bytes.windows(6).position(|window| window == b"second").unwrap();
        bytes[at] ^= 1;
    });
    let (mut store, report) = open(&disk);
    assert_eq!(bodies(&mut store, 1), [(1, b"first".to_vec()), (3, b"third".to_vec())]);
    let [damaged] = &report.damaged[..] else { panic!("one message is damaged") };
    assert_eq!(damaged.places, [(QueueId(1), Seq(2)), (QueueId(2), Seq(7))]);
    assert_eq!((damaged.flags, &damaged.head[..]), (7, &b"head"[..]));
    assert!(disk.bytes(damaged.kept.unwrap()).ends_with(b"recond"));
}

#[test]
fn structural_damage_stops_the_start_unless_loss_is_accepted() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    for seq in 1..=3 {
        publish(&mut batch, &[(1, seq)], b"body");
        store.commit(&mut batch).unwrap();
    }
    let segment = FileName::Segment(store.journal.position().segment);
    drop(store);
    disk.edit(segment, |bytes| bytes[4096 + 70] ^= 1);
    let Err(StorageError::Losses { losses }) = Store::open(disk.clone(), tiny()) else {
        panic!("the second batch is broken")
    };
    assert_eq!((losses[0].file, losses[0].bytes), (segment, (4096, 8192)));
    let config = Config { accept_loss: true, ..tiny() };
    let (mut store, report) = Store::open(disk, config).unwrap();
    assert_eq!(report.losses, losses);
    let seqs: Vec<u64> = bodies(&mut store, 1).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 3]);
}

#[test]
fn a_torn_end_is_dropped() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut store, _) = open(&disk);
    let mut batch = Batch::new();
    for seq in 1..=3 {
        publish(&mut batch, &[(1, seq)], b"body");
        store.commit(&mut batch).unwrap();
    }
    let segment = FileName::Segment(store.journal.position().segment);
    drop(store);
    disk.edit(segment, |bytes| bytes[8192 + 70] ^= 1);
    let (mut store, report) = open(&disk);
    assert_eq!(report.torn.map(|torn| torn.offset), Some(8192));
    assert_eq!(bodies(&mut store, 1).len(), 2);
}
