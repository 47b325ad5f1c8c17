use proptest::prelude::*;

use super::parse::Records;
use super::parse::Verdict;
use super::parse::check;
use super::*;
use crate::amqp::id::BatchId;
use crate::storage::message::Body;
use crate::storage::message::Target;
use crate::storage::record::Record;

const PLACE: Place = Place {
    segment: 3,
    id: BatchId(77),
    previous: BatchId(76),
    previous_segment: 2,
    synced: BatchId(75),
};

const SALT: u32 = 0x1234_5678;

fn store(batch: &mut Batch, seq: u64, body: &[u8]) {
    let target = Target { queue: QueueId(1), seq: Seq(seq), priority: 0, expires_at: None };
    batch.message(&NewMessage {
        targets: &[target],
        flags: 0,
        head: b"head",
        body: Body::new([body].into_iter()),
        durability: Durability::Write,
    });
}

fn stamped(batch: &mut Batch) -> Vec<u8> {
    batch.close();
    batch.stamp(PLACE, SALT).to_vec()
}

fn records(bytes: &[u8]) -> Vec<Record<'_>> {
    let header = Header::parse(bytes, SALT).unwrap();
    let records = Records::new(&bytes[..header.bytes as usize]);
    records.map(|(_, frame)| frame.record().unwrap()).collect()
}

fn verdict(bytes: &[u8]) -> Option<Verdict> {
    Header::parse(bytes, SALT).map(|header| check(&header, bytes))
}

#[test]
fn a_batch_comes_back_padded_to_blocks() {
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    store(&mut batch, 1, &[7; 5000]);
    batch.define(b"key", b"value");
    let bytes = stamped(&mut batch);
    assert_eq!(bytes.len(), 2 * BLOCK_BYTES);
    let header = Header::parse(&bytes, SALT).unwrap();
    assert_eq!((header.place, header.n_records), (PLACE, 2));
    assert_eq!(check(&header, &bytes), Verdict::Whole);
    assert_eq!(records(&bytes)[1], Record::Define { key: b"key", value: b"value" });
    batch.clear();
    assert!(batch.is_empty() && !batch.needs_sync());
}

#[test]
fn acks_become_one_record_per_queue_and_cause() {
    let mut batch = Batch::new();
    for seq in [5, 4, 6, 9] {
        for (queue, cause) in [(1, 0), (2, 0), (1, 3)] {
            batch.ack(QueueId(queue), Seq(seq), Cause(cause));
        }
    }
    assert!(!batch.needs_sync() && !batch.is_empty());
    let bytes = stamped(&mut batch);
    let mut found = Vec::new();
    for record in records(&bytes) {
        let Record::Ack { queue, cause, seqs } = record else { panic!("not an ack") };
        let ranges: Vec<(u64, u64)> = seqs.map(|(first, last)| (first.0, last.0)).collect();
        assert_eq!(ranges, [(4, 6), (9, 9)]);
        found.push((queue.0, cause.0));
    }
    assert_eq!(found, [(1, 0), (2, 0), (1, 3)]);
}

#[test]
fn a_batch_forgets_its_acks_when_it_is_emptied() {
    let mut batch = Batch::new();
    batch.ack(QueueId(1), Seq(1), Cause(0));
    stamped(&mut batch);
    batch.clear();
    batch.ack(QueueId(1), Seq(2), Cause(0));
    let bytes = stamped(&mut batch);
    let Record::Ack { mut seqs, .. } = records(&bytes)[0] else { panic!("not an ack") };
    assert_eq!((seqs.next(), seqs.next()), (Some((Seq(2), Seq(2))), None));
}

#[test]
fn what_asks_for_a_sync() {
    let check = |expected: bool, add: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        add(&mut batch);
        assert_eq!(batch.needs_sync(), expected);
    };
    check(false, &|batch| store(batch, 1, b"durability `write`"));
    check(false, &|batch| batch.ack(QueueId(1), Seq(1), Cause(0)));
    check(false, &|batch| batch.returned(QueueId(1), Seq(1), b""));
    check(true, &|batch| batch.define(b"", b""));
    check(true, &|batch| batch.purge(QueueId(1), Seq(1), &[]));
    check(true, &|batch| batch.drop_queue(QueueId(1)));
    check(true, &Batch::require_sync);
}

#[test]
fn an_empty_batch_is_a_header() {
    let bytes = stamped(&mut Batch::new());
    assert_eq!(bytes.len(), BLOCK_BYTES);
    assert_eq!(verdict(&bytes), Some(Verdict::Whole));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_seen_wherever_it_is(bit in 0..(8 * 1000_usize)) {
        let mut batch = Batch::new();
        store(&mut batch, 1, &[7; 300]);
        store(&mut batch, 2, &[8; 300]);
        batch.ack(QueueId(1), Seq(1), Cause(0));
        let mut bytes = stamped(&mut batch);
        let header = Header::parse(&bytes, SALT).unwrap();
        let offsets: Vec<usize> =
            Records::new(&bytes[..header.bytes as usize]).map(|(at, _)| at).collect();
        let at = bit / 8;
        bytes[at] ^= 1 << (bit % 8);
        let expected = if at < HEADER_BYTES {
            None
        } else if at >= header.bytes as usize {
            Some(Verdict::Whole)
        } else if (offsets[1] - 300..offsets[1]).contains(&at) {
            Some(Verdict::Bodies(vec![offsets[0]]))
        } else if (offsets[2] - 300..offsets[2]).contains(&at) {
            Some(Verdict::Bodies(vec![offsets[1]]))
        } else {
            Some(Verdict::Broken)
        };
        prop_assert_eq!(verdict(&bytes), expected);
    }

    #[test]
    fn any_bytes_are_checked_without_harm(mut bytes: Vec<u8>, n_bytes: u16) {
        let header = Header { place: PLACE, bytes: u64::from(n_bytes), n_records: 1, chain: 0 };
        bytes.resize(bytes.len().max(HEADER_BYTES), 0);
        header.write(&mut bytes, SALT);
        if let Some(header) = Header::parse(&bytes, SALT) {
            prop_assert_eq!(check(&header, &bytes), Verdict::Broken);
        }
    }
}

#[test]
fn a_valid_record_of_another_batch_does_not_pass() {
    let batch_of = |body: &[u8]| {
        let mut batch = Batch::new();
        store(&mut batch, 1, body);
        stamped(&mut batch)
    };
    let mut bytes = batch_of(&[1; 100]);
    let other = batch_of(&[2; 100]);
    bytes[HEADER_BYTES..].copy_from_slice(&other[HEADER_BYTES..]);
    assert_eq!(verdict(&bytes), Some(Verdict::Broken));
}
