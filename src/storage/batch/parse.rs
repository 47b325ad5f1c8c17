//! Batches read back: the header, the records behind it, and whether all of it is as written.

use crate::amqp::id::BatchId;
use crate::storage::batch::HEADER_BYTES;
use crate::storage::batch::extend_chain;
use crate::storage::record::Frame;
use crate::storage::record::RecordError;

const MAGIC: u32 = u32::from_le_bytes(*b"RPB1");

/// Where a batch stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place {
    /// The segment it was written to: recycled bytes of an older use say another one.
    pub(crate) segment: u32,
    pub(crate) id: BatchId,
    /// The batch before it. Ids skip a range at every start, so it is not always `id - 1`.
    pub(crate) previous: BatchId,
    pub(crate) previous_segment: u32,
    /// The newest batch known to be synced when this one was written. It tells a torn end of the
    /// log, which nobody was promised, from damage to something that was.
    pub(crate) synced: BatchId,
}

/// The first bytes of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Header {
    pub(crate) place: Place,
    /// Header and records, without the padding.
    pub(crate) bytes: u64,
    pub(crate) n_records: u32,
    /// Checksum over the checksums of all record headers: no record of another batch fits in.
    pub(crate) chain: u32,
}

impl Header {
    /// Writes the header to the first bytes of `out`.
    ///
    /// Its checksum starts from `salt`, which clients do not know: no message can hold what looks
    /// like a batch of this store.
    pub(crate) fn write(&self, out: &mut [u8], salt: u32) {
        let place = &self.place;
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&place.segment.to_le_bytes());
        out[12..16].copy_from_slice(&place.previous_segment.to_le_bytes());
        out[16..24].copy_from_slice(&place.id.0.to_le_bytes());
        out[24..32].copy_from_slice(&place.previous.0.to_le_bytes());
        out[32..40].copy_from_slice(&place.synced.0.to_le_bytes());
        out[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        out[48..52].copy_from_slice(&self.n_records.to_le_bytes());
        out[52..56].copy_from_slice(&self.chain.to_le_bytes());
        out[56..64].fill(0);
        let crc = crc32c::crc32c_append(salt, &out[8..HEADER_BYTES]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the front of `bytes`; `None` when there is none with the right checksum.
    pub(crate) fn parse(bytes: &[u8], salt: u32) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let crc = crc32c::crc32c_append(salt, &bytes[8..]);
        if u32_at(bytes, 0) != MAGIC || u32_at(bytes, 4) != crc {
            return None;
        }
        let header = Header {
            place: Place {
                segment: u32_at(bytes, 8),
                previous_segment: u32_at(bytes, 12),
                id: BatchId(u64_at(bytes, 16)),
                previous: BatchId(u64_at(bytes, 24)),
                synced: BatchId(u64_at(bytes, 32)),
            },
            bytes: u64_at(bytes, 40),
            n_records: u32_at(bytes, 48),
            chain: u32_at(bytes, 52),
        };
        (header.bytes >= HEADER_BYTES as u64).then_some(header)
    }

    /// Bytes the batch takes in its segment.
    pub(crate) fn padded_bytes(&self) -> u64 {
        self.bytes.next_multiple_of(super::BLOCK_BYTES as u64)
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("inside of the header"))
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("inside of the header"))
}

/// What a look at all bytes of a batch found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Whole,
    /// All record headers are as written; the bodies of the records at these offsets are not.
    Bodies(Vec<usize>),
    /// A record header is not as written, or a record is missing.
    Broken,
}

/// Checks every byte of a batch but its padding. `bytes` starts with the header.
pub(crate) fn check(header: &Header, bytes: &[u8]) -> Verdict {
    let Some(bytes) = usize::try_from(header.bytes).ok().and_then(|n| bytes.get(..n)) else {
        return Verdict::Broken;
    };
    let (mut n_records, mut chain) = (0, 0);
    let mut damaged = Vec::new();
    let mut records = Records::new(bytes);
    for (at, frame) in &mut records {
        n_records += 1;
        chain = extend_chain(chain, frame.header_crc);
        if !body_is_whole(&frame, &bytes[at..]) {
            damaged.push(at);
        }
    }
    if records.rest_bytes() != 0 || (n_records, chain) != (header.n_records, header.chain) {
        Verdict::Broken
    } else if damaged.is_empty() {
        Verdict::Whole
    } else {
        Verdict::Bodies(damaged)
    }
}

/// Whether the body behind the header `frame`, which `record` starts with, is as written.
pub(crate) fn body_is_whole(frame: &Frame<'_>, record: &[u8]) -> bool {
    body(frame, record).is_some_and(|body| crc32c::crc32c(body) == frame.body_crc)
}

/// The body behind the header `frame`, when `record` is long enough.
pub(crate) fn body<'a>(frame: &Frame<'_>, record: &'a [u8]) -> Option<&'a [u8]> {
    let start = usize::try_from(frame.header_bytes).ok()?;
    let end = usize::try_from(frame.total_bytes()).ok()?;
    record.get(start..end)
}

/// The records of a batch with their offsets, up to the first one that cannot be read.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Why the walk ended early.
    pub(crate) error: Option<RecordError>,
}

impl<'a> Records<'a> {
    /// `bytes` is a batch from its header to its last record.
    pub(crate) fn new(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes, at: HEADER_BYTES.min(bytes.len()), error: None }
    }

    /// Bytes that were not walked over.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, Frame<'a>);

    fn next(&mut self) -> Option<(usize, Frame<'a>)> {
        let at = self.at;
        if at == self.bytes.len() {
            return None;
        }
        let frame = match Frame::parse(&self.bytes[at..]) {
            Ok(frame) => frame,
            Err(error) => {
                self.error = Some(error);
                return None;
            }
        };
        let n = usize::try_from(frame.total_bytes()).ok().filter(|n| *n <= self.rest_bytes());
        let Some(n) = n else {
            self.error = Some(RecordError::Short);
            return None;
        };
        self.at += n;
        Some((at, frame))
    }
}
