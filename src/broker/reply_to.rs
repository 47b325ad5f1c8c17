//! Direct reply-to: answers that go straight to the channel that asked, through no queue.
//!
//! COMPAT: RabbitMQ's pseudo-queue. A client consumes from [`NAME`] without acks and publishes
//! requests whose `reply-to` is that name; it arrives at the server as [`PREFIX`] and a token, to
//! which answers are published through the default exchange.

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::broker::declare::DeclareQueue;
use crate::broker::declare::DeclaredQueue;
use crate::broker::host::Host;

pub const NAME: &str = "amq.rabbitmq.reply-to";
pub const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// No queue has this id; deliveries of replies carry it.
pub const NO_QUEUE: QueueId = QueueId(0);

/// The token of a message that is an answer.
pub(in crate::broker) fn token(message: &Message) -> Option<&str> {
    if !message.exchange().is_empty() {
        return None;
    }
    message.routing_key().0.strip_prefix(PREFIX)
}

/// Delivers an answer; `false` when nobody waits for it any more.
pub(in crate::broker) fn answer<H: Host>(host: &mut H, token: &str, message: &Message) -> bool {
    match host.reply_consumer(token) {
        Some(consumer) => host.reply(consumer, message),
        None => false,
    }
}

/// The answer to a declare of the pseudo-queue or of somebody's reply address; `None` for any
/// other queue.
///
/// COMPAT: the pseudo-queue is always there, an address while its channel waits.
pub fn declared<H: Host>(host: &mut H, declare: &DeclareQueue) -> Option<Option<DeclaredQueue>> {
    let ok = DeclaredQueue { id: NO_QUEUE, n_ready: 0, n_consumers: 1, after: BatchId(0) };
    if declare.name == NAME {
        return Some(Some(ok));
    }
    let token = declare.name.strip_prefix(PREFIX)?;
    Some(host.reply_consumer(token).map(|_| ok))
}
