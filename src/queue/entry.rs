//! A message's place in a queue, and what happened to it there.

use std::sync::Arc;

use crate::amqp::id::BatchId;
use crate::amqp::id::Seq;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::time::Timestamp;

/// One message in one queue.
#[derive(Clone, Debug)]
pub(in crate::queue) struct Entry {
    pub(in crate::queue) seq: Seq,
    /// `None` while only the log has it.
    pub(in crate::queue) message: Option<Message>,
    pub(in crate::queue) expires_at: Timestamp,
    /// The batch of the log that holds it; 0 for a message that is in no log.
    pub(in crate::queue) batch: BatchId,
    pub(in crate::queue) body_bytes: u64,
    /// Its priority level.
    pub(in crate::queue) level: u8,
    pub(in crate::queue) mark: Mark,
    /// Settled while it stood in line; skipped when its turn comes.
    pub(in crate::queue) gone: bool,
}

/// What happened to a message in this queue so far; survives a restart once remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Deliveries that ended in a requeue of any kind.
    pub returns: u16,
    /// Returns that count as failed deliveries (`x-delivery-count`).
    pub failures: u16,
    /// Failed attempts under the retry policy (`x-retry-count`).
    pub attempts: u16,
    /// Times its consumer's channel or connection went while it was unsettled.
    pub losses: u16,
    /// Failed attempts, oldest first; at most [`limit::ATTEMPTS_KEPT`].
    pub history: Option<Box<Vec<Attempt>>>,
}

/// One failed delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub at: Timestamp,
    pub failure: Failure,
    pub consumer_tag: Arc<str>,
    /// The client's `connection_name`, or its address.
    pub connection_name: Arc<str>,
}

/// How a delivery failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    Rejected,
    Nacked,
    AckTimeout,
    /// The consumer's channel or connection went.
    Lost,
}

impl Failure {
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Rejected => "rejected",
            Failure::Nacked => "nacked",
            Failure::AckTimeout => "ack-timeout",
            Failure::Lost => "lost",
        }
    }

    fn from_number(number: u8) -> Option<Failure> {
        let all = [Failure::Rejected, Failure::Nacked, Failure::AckTimeout, Failure::Lost];
        all.into_iter().find(|it| *it as u8 == number)
    }
}

impl Mark {
    pub(in crate::queue) fn record(&mut self, attempt: Attempt) {
        let history = self.history.get_or_insert_default();
        if history.len() == limit::ATTEMPTS_KEPT {
            // The first attempt stays, because `x-death` carries its time.
            history.remove(1);
        }
        history.push(attempt);
    }

    pub fn attempts_made(&self) -> &[Attempt] {
        self.history.as_deref().map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether consumers went away with this message so often that it is suspected.
    pub(in crate::queue) fn is_suspect(&self) -> bool {
        self.losses >= 2
    }

    /// Appends the mark as the log keeps it; `docs/format.md` draws it.
    pub fn encode(&self, due: Option<Timestamp>, out: &mut Vec<u8>) {
        out.push(u8::from(self.redelivered));
        for number in [self.returns, self.failures, self.attempts, self.losses] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&due.unwrap_or_default().0.to_le_bytes());
        let history = self.attempts_made();
        out.push(u8::try_from(history.len()).unwrap_or(u8::MAX));
        for attempt in history {
            out.extend_from_slice(&attempt.at.0.to_le_bytes());
            out.push(attempt.failure as u8);
            for text in [&attempt.consumer_tag, &attempt.connection_name] {
                let text = crate::amqp::table::truncate_utf8(text, 255);
                out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Reads what [`Mark::encode`] wrote; `None` for bytes it did not write.
    pub fn decode(bytes: &[u8]) -> Option<(Mark, Option<Timestamp>)> {
        let mut reader = Reader(bytes);
        let mut mark = Mark { redelivered: reader.u8()? != 0, ..Mark::default() };
        mark.returns = reader.u16()?;
        mark.failures = reader.u16()?;
        mark.attempts = reader.u16()?;
        mark.losses = reader.u16()?;
        let due = Some(Timestamp(reader.u64()?)).filter(|it| it.0 != 0);
        for _ in 0..reader.u8()? {
            let attempt = Attempt {
                at: Timestamp(reader.u64()?),
                failure: Failure::from_number(reader.u8()?)?,
                consumer_tag: reader.text()?,
                connection_name: reader.text()?,
            };
            mark.history.get_or_insert_default().push(attempt);
        }
        reader.0.is_empty().then_some((mark, due))
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|it| it[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_bytes_and_nothing_else_is_one() {
        let mut mark = Mark {
            redelivered: true,
            returns: 4,
            failures: 3,
            attempts: 2,
            losses: 1,
            history: None,
        };
        for n in 0..40 {
            mark.record(Attempt {
                at: Timestamp(n),
                failure: Failure::Nacked,
                consumer_tag: "tag-é".into(),
                connection_name: "member@host-1".into(),
            });
        }
        assert_eq!(mark.attempts_made().len(), limit::ATTEMPTS_KEPT);
        assert_eq!(mark.attempts_made()[0].at, Timestamp(0));
        let mut bytes = Vec::new();
        mark.encode(Some(Timestamp(99)), &mut bytes);
        assert_eq!(Mark::decode(&bytes), Some((mark, Some(Timestamp(99)))));
        for end in 0..bytes.len() {
            assert_eq!(Mark::decode(&bytes[..end]), None);
        }
    }
}
