//! What the broker needs of whoever runs it.

use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::message::Message;
use crate::amqp::name::ConsumerTag;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::time::Millis;
use crate::amqp::time::Timestamp;
use crate::broker::deduplication::Change;
use crate::broker::deduplication::Windows;
use crate::broker::definition::Definition;
use crate::broker::rules::Breach;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::dispatch::Outlet;
use crate::queue::effect::Cause;
use crate::queue::effect::Effect;
use crate::queue::effect::Fetch;
use crate::queue::effect::Reason;
use crate::queue::entry::Mark;
use crate::queue::settings::Durability;

/// One vhost with its queues, log and time, for the length of one turn.
pub trait Host {
    type Ports: Ports;

    fn now(&self) -> Timestamp;

    /// The vhost's definitions, shared with every other connection.
    fn vhost(&mut self) -> &Vhost;

    /// Changes the definitions while nobody else looks.
    fn change<R>(&mut self, change: impl FnOnce(&mut Vhost) -> R) -> R;

    /// Works with one queue while nobody else does; `None` when it is gone.
    ///
    /// `work` must not reach for another queue.
    fn queue<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Queue, &mut Self::Ports) -> R,
    ) -> Option<R>;

    /// Works with the definitions and one queue while nobody else looks at either, and makes
    /// changes to what the log has defined, all in one unit; the batch that has it.
    fn replace<R>(
        &mut self,
        id: QueueId,
        work: impl FnOnce(&mut Vhost, &mut Queue, &mut Self::Ports) -> (R, Vec<Change>),
    ) -> Option<(R, BatchId)>;

    fn new_queue_id(&mut self) -> QueueId;

    fn add_queue(&mut self, id: QueueId, queue: Queue);

    /// Takes a queue out, its messages in the log included.
    fn remove_queue(&mut self, id: QueueId) -> Option<Queue>;

    /// Gives each durable target its number and writes the message to the log if `stored`, which
    /// is when any target is; returns the batch that will have it, 0 when none.
    ///
    /// With `moved`, the same record erases the message where it was.
    fn append(
        &mut self,
        message: &Message,
        stored: bool,
        targets: &mut [Target],
        moved: Option<Moved>,
    ) -> BatchId;

    /// As [`Host::append`] for many messages, all in one unit of the log that also forgets
    /// `erased` and makes `changes` to definitions; the batch is 0 when nothing of it is logged.
    fn append_unit(
        &mut self,
        entries: &mut [Entry],
        erased: &[Moved],
        changes: &[Change],
    ) -> BatchId;

    /// The keys that queues and exchanges have seen which take each message once.
    fn windows<R>(&mut self, work: impl FnOnce(&mut Windows) -> R) -> R;

    /// Writes or removes a definition in the log; returns the batch that will have it.
    fn define(&mut self, definition: &Definition) -> BatchId;
    fn undefine(&mut self, definition: &Definition) -> BatchId;

    /// Effects that reach beyond their queue, to be carried out when no queue is borrowed.
    fn later(&mut self) -> &mut Vec<(QueueId, Effect)>;

    /// A consumer is gone because its queue is: its client is told, if it can be.
    fn cancel(&mut self, consumer: ConsumerId);

    /// A consumer did not ack within `timeout`: its channel is to be closed.
    fn late(&mut self, consumer: ConsumerId, timeout: Millis);

    /// Makes a channel reachable for answers to its requests; `None` ends that.
    fn set_reply_consumer(&mut self, token: &str, consumer: Option<ConsumerId>);

    /// Who waits for answers under this token.
    fn reply_consumer(&mut self, token: &str) -> Option<ConsumerId>;

    /// Delivers an answer; `false` when the consumer is gone.
    fn reply(&mut self, to: ConsumerId, message: &Message) -> bool;

    /// Something worth a counter and perhaps a line in the log.
    fn note(&mut self, note: Note);
}

/// The way out of one queue, while it is borrowed.
pub trait Ports: Outlet {
    /// An empty buffer for effects, which comes back with [`Ports::keep`].
    fn effects(&mut self) -> Vec<Effect>;
    fn keep(&mut self, effects: Vec<Effect>);

    /// The last batch the log has on disk.
    fn written(&self) -> BatchId;

    fn erase(&mut self, queue: QueueId, seq: Seq, cause: Cause);
    fn remember(&mut self, queue: QueueId, seq: Seq, mark: &Mark, due: Option<Timestamp>);
    fn may_have_delivered(&mut self, queue: QueueId, up_to: Seq);
    fn purge(&mut self, queue: QueueId, below: Seq, except: &[Seq]);

    /// Has the log go on with this number in a queue; where it would have gone on.
    fn number(&mut self, queue: QueueId, next: Seq) -> Seq;

    /// Writes a message that is in a queue already; waits while the log is far behind.
    fn write(&mut self, message: &Message, target: &mut Target) -> BatchId;

    fn wake(&mut self, queue: QueueId, at: Timestamp);
    fn fetch(&mut self, queue: QueueId, fetch: Fetch);
    fn later(&mut self, queue: QueueId, effect: Effect);

    /// Makes a consumer known to its connection and tells its client so (`basic.consume-ok`),
    /// before anything can be delivered to it.
    fn begin_consumer(&mut self, queue: QueueId, id: ConsumerId, tag: &ConsumerTag, reply: bool);
}

/// A message of a unit.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message: Message,
    pub stored: bool,
    pub targets: Vec<Target>,
}

/// A queue on a message's way, and what is known of the message there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub queue: QueueId,
    pub durable: bool,
    /// The log is to keep the message for this queue.
    pub stored: bool,
    /// The strongest of a message's targets counts.
    pub durability: Durability,
    pub level: u8,
    /// The queue takes each message once.
    pub deduplicates: bool,
    /// [`Timestamp::NEVER`] without expiration.
    pub expires_at: Timestamp,
    /// Filled in by [`Host::append`] for durable queues; others number their own messages.
    pub seq: Option<Seq>,
}

/// Where a message was that goes elsewhere, or nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    pub queue: QueueId,
    pub seq: Seq,
    pub cause: Cause,
}

/// What happened, for counters and the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Note {
    Published {
        routed: bool,
    },
    /// A rule was broken and only a warning is asked for.
    Warned(Breach),
    /// A message died and nothing took it.
    DeadLetterLost {
        queue: QueueName,
        exchange: ExchangeName,
        reason: Reason,
        why: LetterLoss,
    },
    Parked {
        queue: QueueName,
        reason: Reason,
    },
    /// An unroutable message on an exchange that says `drop`.
    Dropped {
        exchange: ExchangeName,
    },
    /// A message that had come before was not taken again.
    Duplicate {
        /// What had seen it.
        at: String,
    },
    QueueDeleted {
        queue: QueueName,
        why: &'static str,
        messages: u64,
    },
    ConsumerCancelled {
        connection: ConnectionId,
    },
}

/// Why a dead letter went nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LetterLoss {
    NoSuchExchange,
    NoQueue,
    /// It would have gone round in a circle.
    Cycle,
}
