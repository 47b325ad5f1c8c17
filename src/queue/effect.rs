//! What a queue wants done outside itself.

use crate::amqp::id::ConsumerId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::queue::entry::Mark;

/// One wish of a queue; its owner carries them out in order, while nobody else has the queue.
#[derive(Debug)]
pub enum Effect {
    /// The message is settled: the log may forget it.
    Erase { seq: Seq, cause: Cause },
    /// The message died here: publish it to the dead-letter exchange and erase it, in one record.
    DeadLetter(Dead),
    /// The message goes to the parking lot and is erased here, in one record.
    Park(Dead),
    /// The message stays, with a new mark that must survive a restart.
    Remember { seq: Seq, mark: Mark, due: Option<Timestamp> },
    /// Messages up to this one may have been delivered: after a crash they are redelivered ones.
    MayHaveDelivered { up_to: Seq },
    /// All ready messages are gone at once, those of `except` apart.
    Purge { below: Seq, except: Vec<Seq> },
    /// Call [`Queue::tick`](crate::queue::Queue::tick) at this time, or a little later.
    Wake { at: Timestamp },
    /// Read messages of this queue from the log and hand them to
    /// [`Queue::loaded`](crate::queue::Queue::loaded).
    Fetch(Fetch),
    /// A delivery was not settled in time and was taken back.
    Late { consumer: ConsumerId, timeout: Millis },
    /// The queue is to be deleted.
    Delete(DeleteCause),
}

/// A message that ended its life in a queue.
#[derive(Clone, Debug)]
pub struct Dead {
    pub seq: Seq,
    pub message: Message,
    pub mark: Mark,
    pub reason: Reason,
    /// False for a copy of a message that was never in the queue: there is nothing to erase.
    pub stored: bool,
}

/// Why a message died. The names are those of `x-death`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

/// Why a message left a queue for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Acked,
    /// Died for this reason, with nowhere to go.
    Dropped(Reason),
    /// A copy was refused because the queue is full.
    Refused,
    /// The stored bytes are damaged and cannot be served.
    Damaged,
    /// The message was moved elsewhere by an operator.
    Moved,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteCause {
    /// The last consumer of an auto-delete queue went.
    Unused,
    /// Nobody used the queue for as long as `x-expires` says.
    Expired,
}

/// A request for messages that are on disk only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetch {
    /// Up to `count` messages of one level, or of all, from `from` on, not beyond `end`.
    Run { level: Option<u8>, from: Seq, end: Seq, count: usize, bytes: u64 },
    /// One message.
    One { seq: Seq },
    /// How many messages from `from` on, but not beyond `end`, have bodies of about `bytes`.
    Prefix { from: Seq, end: Seq, bytes: u64 },
    /// An answer once everything appended so far is on disk.
    Written,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }

    pub fn parse(text: &str) -> Option<Reason> {
        let all = [Reason::Rejected, Reason::Expired, Reason::MaxLength, Reason::DeliveryLimit];
        all.into_iter().find(|it| it.as_str() == text)
    }
}
