use proptest::collection::vec;
use proptest::prelude::*;

use super::encode;
use super::*;
use crate::amqp::time::Timestamp;
use crate::storage::message::Body;
use crate::storage::message::Durability;
use crate::storage::message::NewMessage;
use crate::storage::record::encode::Origin;

/// Encodes with `write`, checks the checksum it returned, and decodes.
fn written(write: impl FnOnce(&mut Vec<u8>) -> u32) -> Vec<u8> {
    let mut out = vec![0xee; 3];
    let crc = write(&mut out);
    out.drain(..3);
    assert_eq!(Frame::parse(&out).unwrap().header_crc, crc);
    out
}

fn read(bytes: &[u8]) -> Record<'_> {
    let frame = Frame::parse(bytes).unwrap();
    assert_eq!(frame.total_bytes(), bytes.len() as u64);
    frame.record().unwrap()
}

fn seqs(ranges: SeqRanges<'_>) -> Vec<Seq> {
    ranges.flat_map(|(first, last)| first.0..=last.0).map(Seq).collect()
}

prop_compose! {
    fn any_target()(
        queue: u32, seq: u64, priority: u8, expires_at in any::<Option<u64>>(),
    ) -> Target {
        let expires_at = expires_at.map(Timestamp);
        Target { queue: QueueId(queue), seq: Seq(seq), priority, expires_at }
    }
}

fn any_origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        Just(Origin::Published),
        Just(Origin::Relocated),
        any::<(u32, u64, u8)>().prop_map(|(queue, seq, cause)| Origin::Moved {
            queue: QueueId(queue),
            seq: Seq(seq),
            cause: Cause(cause),
        }),
    ]
}

proptest! {
    #[test]
    fn messages_come_back(
        targets in vec(any_target(), 0..20),
        flags: u8,
        head: Vec<u8>,
        pieces in vec(any::<Vec<u8>>(), 0..4),
        origin in any_origin(),
    ) {
        let body = Body::new(pieces.iter().map(Vec::as_slice));
        let message = NewMessage { targets: &targets, flags, head: &head, body, durability: Durability::Sync };
        let bytes = written(|out| encode::message(out, &message, origin));
        let Record::Message(back) = read(&bytes) else { panic!("another kind") };
        prop_assert_eq!(back.targets.collect::<Vec<_>>(), targets);
        prop_assert_eq!((back.flags, back.head), (flags, &head[..]));
        match origin {
            Origin::Published => prop_assert!(!back.relocated && back.from.is_none()),
            Origin::Relocated => prop_assert!(back.relocated && back.from.is_none()),
            Origin::Moved { queue, seq, cause } => {
                prop_assert_eq!(back.from, Some((queue, seq, cause)));
            }
        }
        let frame = Frame::parse(&bytes).unwrap();
        let body = &bytes[frame.header_bytes as usize..];
        prop_assert_eq!(body, pieces.concat());
        prop_assert_eq!(frame.body_crc, crc32c::crc32c(body));
    }

    #[test]
    fn sequence_numbers_come_back(queue: u32, below: u64, cause: u8, list in vec(0..500_u64, 0..99)) {
        let mut list: Vec<Seq> = list.into_iter().map(|n| Seq(n * n)).collect();
        list.sort_unstable();
        let (queue, cause) = (QueueId(queue), Cause(cause));
        let ack = written(|out| encode::ack(out, queue, cause, &list));
        let purge = written(|out| encode::purge(out, queue, Seq(below), &list));
        list.dedup();
        let Record::Ack { queue: q, cause: c, seqs: s } = read(&ack) else { panic!("not an ack") };
        prop_assert_eq!((q, c, seqs(s)), (queue, cause, list.clone()));
        let Record::Purge { queue: q, below: b, except } = read(&purge) else { panic!("no purge") };
        prop_assert_eq!((q, b, seqs(except)), (queue, Seq(below), list));
    }

    #[test]
    fn the_others_come_back(q: u32, n: u64, text: Vec<u8>, value: Vec<u8>) {
        let (queue, seq) = (QueueId(q), Seq(n));
        let check = |bytes: Vec<u8>, expected: Record<'_>| assert_eq!(read(&bytes), expected);
        let mark = &text[..];
        check(
            written(|out| encode::returned(out, queue, seq, mark)),
            Record::Returned { queue, seq, mark },
        );
        check(
            written(|out| encode::delayed(out, queue, seq, mark)),
            Record::Delayed { queue, seq, mark },
        );
        check(
            written(|out| encode::watermark(out, queue, seq)),
            Record::Watermark { queue, seq },
        );
        check(
            written(|out| encode::define(out, &text, &value)),
            Record::Define { key: &text, value: &value },
        );
        check(written(|out| encode::undefine(out, &text)), Record::Undefine { key: &text });
        check(written(|out| encode::drop_queue(out, queue)), Record::DropQueue { queue });
        check(written(|out| encode::next(out, q, 1 << 26)), Record::Next { segment: q, bytes: 1 << 26 });
        check(written(encode::seal), Record::Seal);
    }

    #[test]
    fn no_flipped_bit_of_a_header_passes(bit in 0..(40 * 8_usize)) {
        let mut bytes = written(|out| encode::define(out, b"key", b"a value of 16 by"));
        prop_assert_eq!(bytes.len(), 40);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Frame::parse(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_without_harm(mut bytes in vec(any::<u8>(), 20..200), kind in 0..20_u8) {
        let n = bytes.len() as u32;
        bytes[4] = kind;
        bytes[8..12].copy_from_slice(&n.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        let record = Frame::parse(&bytes).unwrap().record();
        if let Ok(Record::Ack { seqs, .. }) = record {
            prop_assert!(seqs.count() < bytes.len());
        }
    }
}

#[test]
fn acks_in_order_take_a_few_bytes_together() {
    let list: Vec<Seq> = (1_000_000..1_004_096).map(Seq).collect();
    let bytes = written(|out| encode::ack(out, QueueId(7), Cause(0), &list));
    assert_eq!(bytes.len(), PREFIX_BYTES + 8);
    let scattered: Vec<Seq> = (0..1000).map(|n| Seq(1_000_000 + n * 40)).collect();
    let bytes = written(|out| encode::ack(out, QueueId(7), Cause(0), &scattered));
    assert!(bytes.len() < PREFIX_BYTES + 9 + 1000);
}

#[test]
fn an_unknown_kind_is_passed_over_only_when_it_says_so() {
    let mut bytes = written(encode::seal);
    let mut check = |flags: u8, expected: Result<Record<'_>, RecordError>| {
        bytes[4] = 99;
        bytes[5] = flags;
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Frame::parse(&bytes).unwrap().record(), expected);
    };
    check(0, Err(RecordError::Unknown(99)));
    check(1, Ok(Record::Skipped));
}
