//! The receiving side of a channel: what it is in the middle of, and what it was told.

use bytes::Bytes;

use crate::amqp::id::ChannelId;
use crate::amqp::id::ConsumerId;
use crate::broker::confirm::Confirms;
use crate::broker::transaction::Transaction;

/// An open channel. Its sending side is in the [`Outbox`](crate::session::outbox::Outbox).
#[derive(Debug)]
pub struct Channel {
    pub id: ChannelId,
    pub incoming: Incoming,
    /// The queue that an empty queue name means.
    pub last_queue: Option<String>,
    /// Prefetch of consumers to come.
    pub prefetch: u16,
    /// Present once the client asked for confirms.
    pub confirms: Option<Confirms>,
    pub n_consumers_ever: u32,
    /// What waits for `tx.commit`; present once the client asked for transactions.
    pub transaction: Option<Transaction>,
    /// The consumer of answers, and the token its address ends with.
    pub replies: Option<(ConsumerId, String)>,
}

/// Where the channel is in the frames of a message.
#[derive(Debug, Default)]
pub enum Incoming {
    /// Between methods.
    #[default]
    Method,
    /// A publish was announced; its content header is due.
    Header { draft: Box<Draft> },
    /// Body frames are due.
    Body { draft: Box<Draft>, missing_bytes: u64 },
}

/// A message that is still coming in. Reused, so that a publish allocates nothing but the message.
#[derive(Debug, Default)]
pub struct Draft {
    pub exchange: String,
    pub routing_key: String,
    pub mandatory: bool,
    pub properties: Vec<u8>,
    /// A body that is small enough to be packed.
    pub body: Vec<u8>,
    /// The pieces of any other.
    pub chunks: Vec<Bytes>,
}

/// What a channel number stands for.
#[derive(Debug)]
pub enum ChannelState {
    Open(Box<Channel>),
    /// The broker closed it and waits for `channel.close-ok`; everything else is dropped.
    Closing,
}

impl Channel {
    pub fn new(id: ChannelId) -> Channel {
        Channel {
            id,
            incoming: Incoming::Method,
            last_queue: None,
            prefetch: 0,
            confirms: None,
            n_consumers_ever: 0,
            transaction: None,
            replies: None,
        }
    }
}

impl Draft {
    /// Starts over with a new publish.
    pub fn begin(&mut self, exchange: &str, routing_key: &str, mandatory: bool) {
        self.exchange.clear();
        self.exchange.push_str(exchange);
        self.routing_key.clear();
        self.routing_key.push_str(routing_key);
        self.mandatory = mandatory;
        self.properties.clear();
        self.body.clear();
        self.chunks.clear();
    }
}
