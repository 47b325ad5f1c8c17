//! A record of the log as bytes: a header with its own checksum, and behind it the body.
//!
//! `docs/format.md` draws these bytes. A header says which queues and sequence numbers it is about,
//! so that a message whose body is damaged can still be named.

use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;

use crate::storage::message::Cause;
use crate::storage::message::Target;
use crate::storage::varint::Input;

/// Bytes every header begins with: checksum, kind, flags, three lengths.
pub(crate) const PREFIX_BYTES: usize = 20;

/// Set in the kinds that a reader of an older minor version may pass over.
const SKIPPABLE: u8 = 1;
/// Set in a message that was copied from a segment about to be recycled.
const RELOCATED: u8 = 2;
/// Set in a message that leaves one queue and enters others in one step.
const MOVED: u8 = 4;

/// The kinds of records, as the byte that stands for them.
pub(crate) mod kind {
    pub(crate) const MESSAGE: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const RETURNED: u8 = 3;
    pub(crate) const DELAYED: u8 = 4;
    pub(crate) const WATERMARK: u8 = 5;
    pub(crate) const DEFINE: u8 = 6;
    pub(crate) const UNDEFINE: u8 = 7;
    pub(crate) const PURGE: u8 = 8;
    pub(crate) const DROP: u8 = 9;
    pub(crate) const NEXT: u8 = 10;
    pub(crate) const SEAL: u8 = 11;
}

/// A record read back, borrowing the bytes of the log.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Record<'a> {
    Message(Message<'a>),
    Ack {
        queue: QueueId,
        cause: Cause,
        seqs: SeqRanges<'a>,
    },
    Returned {
        queue: QueueId,
        seq: Seq,
        mark: &'a [u8],
    },
    Delayed {
        queue: QueueId,
        seq: Seq,
        mark: &'a [u8],
    },
    Watermark {
        queue: QueueId,
        seq: Seq,
    },
    Define {
        key: &'a [u8],
        value: &'a [u8],
    },
    Undefine {
        key: &'a [u8],
    },
    Purge {
        queue: QueueId,
        below: Seq,
        except: SeqRanges<'a>,
    },
    DropQueue {
        queue: QueueId,
    },
    /// The log goes on in this segment.
    Next {
        segment: u32,
        /// Size of its file: a shorter one was cut.
        bytes: u64,
    },
    /// Nothing; its batch proves that those before it were synced.
    Seal,
    /// A kind of a later minor version that may be passed over.
    Skipped,
}

/// A message in the queues of `targets`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Message<'a> {
    pub relocated: bool,
    /// The message it replaces, and why that one goes.
    pub from: Option<(QueueId, Seq, Cause)>,
    pub flags: u8,
    pub targets: Targets<'a>,
    pub head: &'a [u8],
}

/// A record cut from a batch: its header has the right checksum, its body was not looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    flags: u8,
    message_flags: u8,
    pub(crate) header_bytes: u32,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
    pub(crate) header_crc: u32,
    payload: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordError {
    /// The bytes end before the header does.
    Short,
    Checksum,
    /// The checksum is right, but this version cannot read it: the kind is named.
    Unknown(u8),
}

impl<'a> Frame<'a> {
    /// Cuts the header off the front of `bytes` and checks it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, RecordError> {
        let prefix = bytes.get(..PREFIX_BYTES).ok_or(RecordError::Short)?;
        let header_bytes = number_at(prefix, 8);
        let header = usize::try_from(header_bytes).ok().and_then(|n| bytes.get(..n));
        let header = header.ok_or(RecordError::Short)?;
        let header_crc = number_at(prefix, 0);
        if header.len() < PREFIX_BYTES || crc32c::crc32c(&header[4..]) != header_crc {
            return Err(RecordError::Checksum);
        }
        Ok(Frame {
            kind: prefix[4],
            flags: prefix[5],
            message_flags: prefix[6],
            header_bytes,
            body_bytes: number_at(prefix, 12),
            body_crc: number_at(prefix, 16),
            header_crc,
            payload: &header[PREFIX_BYTES..],
        })
    }

    /// Bytes of header and body.
    pub(crate) fn total_bytes(&self) -> u64 {
        u64::from(self.header_bytes) + u64::from(self.body_bytes)
    }

    pub(crate) fn record(&self) -> Result<Record<'a>, RecordError> {
        match self.decode() {
            Some(record) => Ok(record),
            None if self.flags & SKIPPABLE != 0 => Ok(Record::Skipped),
            None => Err(RecordError::Unknown(self.kind)),
        }
    }

    fn decode(&self) -> Option<Record<'a>> {
        let mut input = Input(self.payload);
        let record = match self.kind {
            kind::MESSAGE => Record::Message(self.message(&mut input)?),
            kind::ACK => Record::Ack {
                queue: queue_id(&mut input)?,
                cause: Cause(input.byte()?),
                seqs: SeqRanges::parse(&mut input)?,
            },
            kind::RETURNED => Record::Returned {
                queue: queue_id(&mut input)?,
                seq: Seq(input.number()?),
                mark: input.rest(),
            },
            kind::DELAYED => Record::Delayed {
                queue: queue_id(&mut input)?,
                seq: Seq(input.number()?),
                mark: input.rest(),
            },
            kind::WATERMARK => {
                Record::Watermark { queue: queue_id(&mut input)?, seq: Seq(input.number()?) }
            }
            kind::DEFINE => Record::Define { key: input.sized()?, value: input.rest() },
            kind::UNDEFINE => Record::Undefine { key: input.rest() },
            kind::PURGE => Record::Purge {
                queue: queue_id(&mut input)?,
                below: Seq(input.number()?),
                except: SeqRanges::parse(&mut input)?,
            },
            kind::DROP => Record::DropQueue { queue: queue_id(&mut input)? },
            kind::NEXT => Record::Next { segment: input.number_u32()?, bytes: input.number()? },
            kind::SEAL => Record::Seal,
            _ => return None,
        };
        input.is_empty().then_some(record)
    }

    fn message(&self, input: &mut Input<'a>) -> Option<Message<'a>> {
        let from = match self.flags & MOVED {
            0 => None,
            _ => Some((queue_id(input)?, Seq(input.number()?), Cause(input.byte()?))),
        };
        Some(Message {
            relocated: self.flags & RELOCATED != 0,
            from,
            flags: self.message_flags,
            targets: Targets::parse(input)?,
            head: input.rest(),
        })
    }
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes[at..].first_chunk().expect("the prefix was cut to its length");
    u32::from_le_bytes(*four)
}

fn queue_id(input: &mut Input<'_>) -> Option<QueueId> {
    input.number_u32().map(QueueId)
}

/// The targets of a message, decoded as they are asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Targets<'a> {
    n_left: u64,
    input: Input<'a>,
}

impl<'a> Targets<'a> {
    /// Takes the targets off `input`, once read through to see that they are well formed.
    fn parse(input: &mut Input<'a>) -> Option<Targets<'a>> {
        let n_left = input.number()?;
        let targets = Targets { n_left, input: *input };
        for _ in 0..n_left {
            target(input)?;
        }
        Some(targets)
    }
}

impl Iterator for Targets<'_> {
    type Item = Target;

    fn next(&mut self) -> Option<Target> {
        self.n_left = self.n_left.checked_sub(1)?;
        target(&mut self.input)
    }
}

fn target(input: &mut Input<'_>) -> Option<Target> {
    let (queue, seq) = (queue_id(input)?, Seq(input.number()?));
    let tag = input.number()?;
    Some(Target {
        queue,
        seq,
        priority: u8::try_from(tag >> 1).ok()?,
        expires_at: match tag & 1 {
            0 => None,
            _ => Some(Timestamp(input.number()?)),
        },
    })
}

/// Rising ranges of sequence numbers, decoded as they are asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SeqRanges<'a> {
    n_left: u64,
    /// One behind the last range given out.
    end: u64,
    input: Input<'a>,
}

impl<'a> SeqRanges<'a> {
    fn parse(input: &mut Input<'a>) -> Option<SeqRanges<'a>> {
        let ranges = SeqRanges { n_left: input.number()?, end: 0, input: *input };
        let mut walk = ranges;
        for _ in 0..ranges.n_left {
            walk.next()?;
        }
        *input = walk.input;
        Some(ranges)
    }
}

impl Iterator for SeqRanges<'_> {
    /// First and last of a range.
    type Item = (Seq, Seq);

    fn next(&mut self) -> Option<(Seq, Seq)> {
        self.n_left = self.n_left.checked_sub(1)?;
        let tag = self.input.number()?;
        let first = self.end.checked_add(tag >> 1)?;
        let more = if tag & 1 == 0 { 0 } else { self.input.number()?.checked_add(1)? };
        let last = first.checked_add(more)?;
        self.end = last.checked_add(1)?;
        Some((Seq(first), Seq(last)))
    }
}

pub(crate) mod encode;
#[cfg(test)]
mod tests;
