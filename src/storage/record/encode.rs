//! Records to bytes; the other direction is [`Frame`](super::Frame).

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::storage::message::Cause;
use crate::storage::message::NewMessage;
use crate::storage::record::MOVED;
use crate::storage::record::PREFIX_BYTES;
use crate::storage::record::RELOCATED;
use crate::storage::record::kind;
use crate::storage::varint;

/// The header of the record being written; [`Header::finish`] fills in its prefix.
struct Header<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    kind: u8,
    flags: u8,
}

impl<'a> Header<'a> {
    fn new(out: &'a mut Vec<u8>, kind: u8) -> Header<'a> {
        let start = out.len();
        out.resize(start + PREFIX_BYTES, 0);
        Header { out, start, kind, flags: 0 }
    }

    /// Writes the prefix and returns the header's checksum.
    fn finish(self, message_flags: u8, body_bytes: u32, body_crc: u32) -> u32 {
        let header = &mut self.out[self.start..];
        let header_bytes = u32::try_from(header.len()).expect("a header is shorter than 4 GiB");
        header[4..8].copy_from_slice(&[self.kind, self.flags, message_flags, 0]);
        header[8..12].copy_from_slice(&header_bytes.to_le_bytes());
        header[12..16].copy_from_slice(&body_bytes.to_le_bytes());
        header[16..20].copy_from_slice(&body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&header[4..]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    fn finish_bare(self) -> u32 {
        self.finish(0, 0, 0)
    }
}

/// How a message comes to its queues.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Published,
    Relocated,
    Moved { queue: QueueId, seq: Seq, cause: Cause },
}

/// Appends a message. All functions here return the checksum of the header they wrote.
pub(crate) fn message<'a, I>(out: &mut Vec<u8>, message: &NewMessage<'_, I>, origin: Origin) -> u32
where
    I: Iterator<Item = &'a [u8]> + Clone,
{
    let mut header = Header::new(out, kind::MESSAGE);
    match origin {
        Origin::Published => {}
        Origin::Relocated => header.flags = RELOCATED,
        Origin::Moved { queue, seq, cause } => {
            header.flags = MOVED;
            place(header.out, queue, seq);
            header.out.push(cause.0);
        }
    }
    varint::push(header.out, message.targets.len() as u64);
    for target in message.targets {
        place(header.out, target.queue, target.seq);
        let has_expiry = u64::from(target.expires_at.is_some());
        varint::push(header.out, u64::from(target.priority) << 1 | has_expiry);
        if let Some(expires_at) = target.expires_at {
            varint::push(header.out, expires_at.0);
        }
    }
    header.out.extend_from_slice(message.head);
    let crc = header.finish(message.flags, message.body.bytes(), message.body.crc());
    for piece in message.body.pieces() {
        out.extend_from_slice(piece);
    }
    crc
}

fn place(out: &mut Vec<u8>, queue: QueueId, seq: Seq) {
    varint::push(out, u64::from(queue.0));
    varint::push(out, seq.0);
}

/// Appends an ACK; `seqs` must be sorted, and is stored without duplicates.
pub(crate) fn ack(out: &mut Vec<u8>, queue: QueueId, cause: Cause, seqs: &[Seq]) -> u32 {
    let header = Header::new(out, kind::ACK);
    varint::push(header.out, u64::from(queue.0));
    header.out.push(cause.0);
    ranges(header.out, seqs);
    header.finish_bare()
}

/// Appends a PURGE; `except` must be sorted.
pub(crate) fn purge(out: &mut Vec<u8>, queue: QueueId, below: Seq, except: &[Seq]) -> u32 {
    let header = Header::new(out, kind::PURGE);
    place(header.out, queue, below);
    ranges(header.out, except);
    header.finish_bare()
}

fn ranges(out: &mut Vec<u8>, seqs: &[Seq]) {
    debug_assert!(seqs.is_sorted(), "deltas only go up");
    let runs = || seqs.chunk_by(|a, b| b.0 <= a.0.saturating_add(1));
    varint::push(out, runs().count() as u64);
    let mut end = 0;
    for run in runs() {
        let (first, last) = (run[0].0, run[run.len() - 1].0);
        varint::push(out, (first - end) << 1 | u64::from(first < last));
        if first < last {
            varint::push(out, last - first - 1);
        }
        end = last.saturating_add(1);
    }
}

pub(crate) fn returned(out: &mut Vec<u8>, queue: QueueId, seq: Seq, mark: &[u8]) -> u32 {
    marked(out, kind::RETURNED, queue, seq, mark)
}

pub(crate) fn delayed(out: &mut Vec<u8>, queue: QueueId, seq: Seq, mark: &[u8]) -> u32 {
    marked(out, kind::DELAYED, queue, seq, mark)
}

pub(crate) fn watermark(out: &mut Vec<u8>, queue: QueueId, seq: Seq) -> u32 {
    marked(out, kind::WATERMARK, queue, seq, &[])
}

fn marked(out: &mut Vec<u8>, kind: u8, queue: QueueId, seq: Seq, mark: &[u8]) -> u32 {
    let header = Header::new(out, kind);
    place(header.out, queue, seq);
    header.out.extend_from_slice(mark);
    header.finish_bare()
}

pub(crate) fn define(out: &mut Vec<u8>, key: &[u8], value: &[u8]) -> u32 {
    let header = Header::new(out, kind::DEFINE);
    varint::push_sized(header.out, key);
    header.out.extend_from_slice(value);
    header.finish_bare()
}

pub(crate) fn undefine(out: &mut Vec<u8>, key: &[u8]) -> u32 {
    let header = Header::new(out, kind::UNDEFINE);
    header.out.extend_from_slice(key);
    header.finish_bare()
}

pub(crate) fn drop_queue(out: &mut Vec<u8>, queue: QueueId) -> u32 {
    let header = Header::new(out, kind::DROP);
    varint::push(header.out, u64::from(queue.0));
    header.finish_bare()
}

pub(crate) fn next(out: &mut Vec<u8>, segment: u32, bytes: u64) -> u32 {
    let header = Header::new(out, kind::NEXT);
    varint::push(header.out, u64::from(segment));
    varint::push(header.out, bytes);
    header.finish_bare()
}

pub(crate) fn seal(out: &mut Vec<u8>) -> u32 {
    Header::new(out, kind::SEAL).finish_bare()
}
