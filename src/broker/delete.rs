//! Deleting and purging.

use crate::amqp::id::BatchId;
use crate::amqp::id::ConnectionId;
use crate::amqp::id::QueueId;
use crate::amqp::name::ExchangeName;
use crate::broker::declare::DeclareError;
use crate::broker::declare::Resource;
use crate::broker::declare::forget_exchanges;
use crate::broker::deduplication;
use crate::broker::deduplication::Scope;
use crate::broker::definition::Definition;
use crate::broker::definition::Hex;
use crate::broker::effect::with_queue;
use crate::broker::host::Host;
use crate::broker::host::Note;
use crate::broker::policy::Policies;
use crate::broker::policy::Side;
use crate::broker::rules::Enforce;
use crate::broker::vhost::QueueKind;
use crate::routing::Destination;

/// Deletes an exchange with its bindings; answer when the returned batch is durable.
///
/// COMPAT: an exchange that is not there is fine; one of the broker's own is not deleted even when
/// it is not there; being the destination of another exchange is no use.
pub fn delete_exchange<H: Host>(
    host: &mut H,
    name: &str,
    if_unused: bool,
) -> Result<BatchId, DeclareError> {
    if name.is_empty() {
        return Err(DeclareError::DefaultExchange);
    }
    if name.starts_with("amq.") {
        return Err(DeclareError::SystemExchange(name.to_owned()));
    }
    let vhost = host.vhost();
    let Some(exchange) = vhost.table.exchange(name) else { return Ok(BatchId(0)) };
    let resource = Resource::Exchange(name.to_owned());
    if if_unused && !exchange.is_unused() {
        return Err(DeclareError::InUse(resource));
    }
    if let Some(rule) = vhost.rules.exchanges.get(name)
        && vhost.rules.enforce == Enforce::Deny
    {
        return Err(DeclareError::Declared { resource, origin: rule.origin.clone() });
    }
    let vanished = host.change(|vhost| vhost.table.delete(name));
    Ok(forget_exchanges(host, &vanished))
}

/// Deletes a queue with its messages; returns how many were ready and the batch to answer after.
///
/// COMPAT: a queue that is not there is fine and had no messages; when both conditions fail, not
/// being empty is reported; unacked messages are neither counted nor do they count as content.
pub fn delete_queue<H: Host>(
    host: &mut H,
    name: &str,
    if_unused: bool,
    if_empty: bool,
    connection: ConnectionId,
) -> Result<(u64, BatchId), DeclareError> {
    let vhost = host.vhost();
    let Some(record) = vhost.queue(name) else { return Ok((0, BatchId(0))) };
    let resource = Resource::Queue(name.to_owned());
    if record.is_locked_for(connection) {
        return Err(DeclareError::Locked(name.to_owned()));
    }
    if record.kind == QueueKind::Schedule {
        return Err(DeclareError::Schedule(name.to_owned()));
    }
    if record.kind == QueueKind::ParkingLot {
        return Err(DeclareError::ParkingLot(name.to_owned()));
    }
    if let Some(rule) = vhost.rules.queues.get(name)
        && vhost.rules.enforce == Enforce::Deny
    {
        return Err(DeclareError::Declared { resource, origin: rule.origin.clone() });
    }
    let (id, is_stream) = (record.id, record.is_stream());
    let depth = host.queue(id, |queue, _| queue.depth()).unwrap_or_default();
    if is_stream {
        // COMPAT: the conditions are not asked for.
        return Ok(remove_queue(host, id, "a client deleted it"));
    }
    if if_empty && depth.ready > 0 {
        return Err(DeclareError::NotEmpty(resource));
    }
    if if_unused && depth.consumers > 0 {
        return Err(DeclareError::InUse(resource));
    }
    Ok(remove_queue(host, id, "a client deleted it"))
}

/// Deletes a queue whose time has come by itself, unless somebody began to use it meanwhile.
pub(in crate::broker) fn delete_unused<H: Host>(host: &mut H, id: QueueId, why: &'static str) {
    let depth = host.queue(id, |queue, _| queue.depth()).unwrap_or_default();
    if depth.consumers == 0 {
        remove_queue(host, id, why);
    }
}

/// Deletes the queues that belong to a connection, which is gone.
pub fn delete_exclusive<H: Host>(host: &mut H, connection: ConnectionId) {
    for id in host.vhost().exclusive_to(connection) {
        remove_queue(host, id, "its connection closed");
    }
}

/// Removes everything from a vhost that is being deleted, the broker's own exchanges excepted.
pub fn empty<H: Host>(host: &mut H) {
    let vhost = host.vhost();
    let ids: Vec<QueueId> = vhost.queues().map(|it| it.id).collect();
    let mut gone = Vec::new();
    for side in [Side::User, Side::Operator] {
        gone.extend(vhost.policies.iter(side).map(|it| it.to_definition(&vhost.name, side)));
    }
    for id in ids {
        remove_queue(host, id, "its vhost was deleted");
    }
    let vhost = host.vhost();
    for exchange in vhost.table.exchanges() {
        // What is left are bindings between exchanges.
        gone.extend(exchange.bindings().map(|it| Definition::Binding {
            vhost: vhost.name.to_string(),
            source: exchange.name.to_string(),
            to_exchange: true,
            destination: match &it.destination {
                Destination::Exchange(name) => name.to_string(),
                Destination::Queue(_) => String::new(),
            },
            key: it.key.to_string(),
            arguments: Hex::new(&it.arguments()),
        }));
    }
    let names = vhost.table.exchanges().into_iter().map(|it| it.name.clone());
    let names: Vec<ExchangeName> = names.filter(|it| !it.starts_with("amq.")).collect();
    for definition in gone {
        host.undefine(&definition);
    }
    host.change(|vhost| {
        for name in &names {
            vhost.table.delete(name);
        }
        vhost.policies = Policies::default();
    });
    forget_exchanges(host, &names);
}

/// Takes a queue out of everything; its consumers are told.
pub fn remove_queue<H: Host>(host: &mut H, id: QueueId, why: &'static str) -> (u64, BatchId) {
    let vhost_name = host.vhost().name.to_string();
    let bindings = bindings_of(host, id);
    let Some((record, vanished)) = host.change(|vhost| vhost.remove(id)) else {
        return (0, BatchId(0));
    };
    let mut batch = BatchId(0);
    if record.durable {
        for binding in &bindings {
            batch = batch.max(host.undefine(binding));
        }
        batch = batch.max(host.undefine(&Definition::Queue {
            vhost: vhost_name,
            name: record.name.to_string(),
            id: id.0,
            auto_delete: false,
            arguments: Hex::default(),
            parks_for: None,
        }));
        if record.is_stream() {
            let offsets = Definition::Offsets { queue: id.0, jumps: Vec::new() };
            batch = batch.max(host.undefine(&offsets));
        }
    }
    batch = batch.max(forget_exchanges(host, &vanished));
    if record.settings.deduplication.is_some() {
        deduplication::forget(host, &Scope::Queue(id), &record.name);
    }
    let mut messages = 0;
    if let Some(queue) = host.remove_queue(id) {
        messages = queue.depth().ready;
        let consumers: Vec<_> = queue.consumers().map(|(it, _)| it.spec.id).collect();
        for consumer in consumers {
            host.cancel(consumer);
            host.note(Note::ConsumerCancelled { connection: consumer.connection });
        }
    }
    host.note(Note::QueueDeleted { queue: record.name, why, messages });
    (messages, batch)
}

/// The definitions of all bindings that lead to a queue.
fn bindings_of<H: Host>(host: &mut H, id: QueueId) -> Vec<Definition> {
    let vhost = host.vhost();
    let Some(record) = vhost.record(id) else { return Vec::new() };
    let bindings = vhost.table.bindings_to(&Destination::Queue(id));
    let vhost_name = vhost.name.to_string();
    bindings
        .into_iter()
        .map(|(source, binding)| Definition::Binding {
            vhost: vhost_name.clone(),
            source: source.to_string(),
            to_exchange: false,
            destination: record.name.to_string(),
            key: binding.key.to_string(),
            arguments: Hex::new(&binding.arguments()),
        })
        .collect()
}

/// Removes a queue's ready messages; returns how many.
pub fn purge_queue<H: Host>(
    host: &mut H,
    name: &str,
    connection: ConnectionId,
) -> Result<u64, DeclareError> {
    let record =
        host.vhost().queue(name).ok_or_else(|| DeclareError::NoSuchQueue(name.to_owned()))?;
    if record.is_locked_for(connection) {
        return Err(DeclareError::Locked(name.to_owned()));
    }
    if record.is_stream() {
        return Err(DeclareError::PurgeOfStream(name.to_owned()));
    }
    let id = record.id;
    Ok(with_queue(host, id, |queue, _, effects, _| queue.purge(effects)).unwrap_or_default())
}
