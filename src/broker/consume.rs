//! Consuming, getting and settling.

use crate::amqp::id::ConnectionId;
use crate::amqp::id::ConsumerId;
use crate::amqp::id::DeliveryTag;
use crate::amqp::id::QueueId;
use crate::amqp::name::ServiceName;
use crate::broker::effect::settle_later;
use crate::broker::effect::with_queue;
use crate::broker::host::Host;
use crate::broker::host::Note;
use crate::broker::host::Ports as _;
use crate::broker::rules::Breach;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::queue::consumer;
use crate::queue::consumer::ConsumerSpec;
use crate::queue::dispatch::Got;
use crate::queue::dispatch::Handle;
use crate::queue::settle::Settlement;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumeError {
    NoSuchQueue,
    Locked,
    /// The queue holds what an exchange delivers later.
    Schedule,
    /// The queue itself refuses.
    Queue(consumer::ConsumeError),
    /// A message of a stream cannot be got.
    GetFromStream,
    Rule(Breach),
}

/// A delivery that a channel holds, and gives back when it is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub tag: DeliveryTag,
    pub queue: QueueId,
    pub handle: Handle,
    /// `None` for `basic.get`.
    pub consumer: Option<ConsumerId>,
}

/// Adds a consumer to a queue, tells its client so (if `reply`), and begins to deliver.
pub fn consume<H: Host>(
    host: &mut H,
    queue: &str,
    spec: ConsumerSpec,
    reply: bool,
) -> Result<QueueId, ConsumeError> {
    let id = usable(host, queue, spec.id.connection, spec.service.as_ref())?;
    let added = with_queue(host, id, |queue, ports, effects, now| {
        let (consumer, tag) = (spec.id, spec.tag.clone());
        queue.add_consumer(spec, now).map_err(ConsumeError::Queue)?;
        ports.begin_consumer(id, consumer, &tag, reply);
        queue.dispatch(now, ports, effects);
        Ok(())
    });
    settle_later(host);
    added.unwrap_or(Err(ConsumeError::NoSuchQueue)).map(|()| id)
}

/// Removes a consumer. What it holds stays with its channel.
pub fn cancel<H: Host>(host: &mut H, queue: QueueId, consumer: ConsumerId) {
    with_queue(host, queue, |queue, ports, effects, now| {
        queue.remove_consumer(consumer, now, effects);
        queue.dispatch(now, ports, effects);
    });
    settle_later(host);
}

/// Takes one message, for `basic.get`.
pub fn get<H: Host>(
    host: &mut H,
    queue: &str,
    no_ack: bool,
    connection: ConnectionId,
    service: Option<&ServiceName>,
) -> Result<(QueueId, Got), ConsumeError> {
    let id = usable(host, queue, connection, service)?;
    if host.vhost().record(id).is_some_and(QueueRecord::is_stream) {
        return Err(ConsumeError::GetFromStream);
    }
    let got = with_queue(host, id, |queue, _, effects, now| queue.get(no_ack, now, effects));
    settle_later(host);
    got.map(|got| (id, got)).ok_or(ConsumeError::NoSuchQueue)
}

/// Settles deliveries, those of one queue together, and delivers what that makes room for.
pub fn settle<H: Host>(host: &mut H, held: &[Held], settlement: Settlement) {
    for run in held.chunk_by(|a, b| a.queue == b.queue) {
        with_queue(host, run[0].queue, |queue, ports, effects, now| {
            for it in run {
                queue.settle(it.handle, it.consumer, settlement, now, effects);
            }
            queue.dispatch(now, ports, effects);
        });
    }
    settle_later(host);
}

/// A consumer's connection has room again.
pub fn resume<H: Host>(host: &mut H, queue: QueueId, consumer: ConsumerId) {
    with_queue(host, queue, |queue, ports, effects, now| {
        queue.resume(consumer);
        queue.dispatch(now, ports, effects);
    });
    settle_later(host);
}

/// Does what is due in a queue.
pub fn tick<H: Host>(host: &mut H, queue: QueueId) {
    with_queue(host, queue, |queue, ports, effects, now| queue.tick(now, ports, effects));
    settle_later(host);
}

/// Finds a queue that is there and not another connection's own.
pub fn reachable<H: Host>(
    host: &mut H,
    queue: &str,
    connection: ConnectionId,
) -> Result<QueueId, ConsumeError> {
    let record = host.vhost().queue(queue).ok_or(ConsumeError::NoSuchQueue)?;
    if record.is_locked_for(connection) {
        return Err(ConsumeError::Locked);
    }
    if record.kind == QueueKind::Schedule {
        return Err(ConsumeError::Schedule);
    }
    Ok(record.id)
}

/// Finds a queue that this connection may take messages from.
fn usable<H: Host>(
    host: &mut H,
    queue: &str,
    connection: ConnectionId,
    service: Option<&ServiceName>,
) -> Result<QueueId, ConsumeError> {
    let id = reachable(host, queue, connection)?;
    let vhost = host.vhost();
    match vhost.rules.may_consume(queue, service) {
        Ok(()) => Ok(id),
        Err(breach) if vhost.rules.warns_only(service) => {
            host.note(Note::Warned(breach));
            Ok(id)
        }
        Err(breach) => Err(ConsumeError::Rule(breach)),
    }
}
