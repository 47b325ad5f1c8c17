//! Numbers that identify things inside one running broker.

use std::fmt;

/// A queue, for as long as it exists; never given twice in one data directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct QueueId(pub u32);

/// A place in one queue: grows by one with every message the queue was ever sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Seq(pub u64);

/// A client's connection, never given twice by one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u64);

/// A channel of one connection; 0 is the connection itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ChannelId(pub u16);

/// A consumer: the connection and channel it lives on, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConsumerId {
    pub connection: ConnectionId,
    pub channel: ChannelId,
    /// Counts the consumers of this channel, cancelled ones included.
    pub number: u32,
}

/// The number a client settles a delivery by; counts from 1 on each channel.
///
/// SPEC: domain `delivery-tag`: zero is kept for "all messages so far" and never given out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct DeliveryTag(pub u64);

/// A unit of group commit in the log; a publish is safe when its batch is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct BatchId(pub u64);

impl Seq {
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
