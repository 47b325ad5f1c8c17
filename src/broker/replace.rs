//! A queue becomes another one of the same name: durable or not, a stream or not.
//!
//! The log keeps messages by the number of their queue and does not know what the queue is. So
//! nothing is moved: what the queue is changes in one unit of the log, while nobody publishes.

use std::sync::Arc;

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::id::Seq;
use crate::amqp::time::Timestamp;
use crate::broker::alter;
use crate::broker::declare::NewQueue;
use crate::broker::deduplication::Change;
use crate::broker::definition::Definition;
use crate::broker::definition::Hex;
use crate::broker::effect::carry_out;
use crate::broker::effect::settle_later;
use crate::broker::host::Host;
use crate::broker::host::Note;
use crate::broker::host::Ports;
use crate::broker::host::Target;
use crate::broker::vhost::Vhost;
use crate::queue::Queue;
use crate::queue::effect::Effect;
use crate::queue::replace::Unwritten;
use crate::queue::settings::Settings;
use crate::routing::Destination;

/// Makes a queue what `new` says, with all its messages in their order. Its consumers stay unless
/// it becomes a stream, or stops to be one: then they are cancelled.
///
/// Returns the batch that has it; `None` when the queue is gone.
pub fn replace_queue<H: Host>(host: &mut H, id: QueueId, new: &NewQueue) -> Option<BatchId> {
    let now = host.now();
    let replaced = host.replace(id, |vhost, queue, ports| {
        let Some(before) = amend(vhost, id, new) else { return (Vec::new(), Vec::new()) };
        let settings = vhost.refresh_queue(id);
        let settings = settings.or_else(|| Some(Arc::clone(&vhost.record(id)?.settings)));
        let settings = settings.map(|it| (*it).clone()).unwrap_or_default();
        let mut effects = ports.effects();
        write_messages(id, queue, &settings, ports, &mut effects);
        let gone = queue.replace(settings, now, &mut effects);
        queue.dispatch(now, ports, &mut effects);
        effects.drain(..).for_each(|it| carry_out(id, it, ports));
        ports.keep(effects);
        (gone, changes(vhost, (id, before), queue, new))
    });
    let (gone, batch) = replaced?;
    for consumer in gone {
        host.cancel(consumer);
        host.note(Note::ConsumerCancelled { connection: consumer.connection });
    }
    settle_later(host);
    Some(batch)
}

/// Whether a queue was durable, and a stream.
#[derive(Clone, Copy)]
struct Before {
    durable: bool,
    stream: bool,
}

fn amend(vhost: &mut Vhost, id: QueueId, new: &NewQueue) -> Option<Before> {
    if vhost.is_deleted {
        return None;
    }
    let record = vhost.record_mut(id)?;
    let before = Before { durable: record.durable, stream: record.is_stream() };
    record.durable = new.durable;
    record.auto_delete = new.auto_delete;
    record.arguments = new.arguments.clone();
    record.base = Arc::new(new.settings.clone());
    record.kind = new.kind;
    Some(before)
}

/// Writes what was only in memory and has to be in the log from now on.
fn write_messages<P: Ports>(
    id: QueueId,
    queue: &mut Queue,
    settings: &Settings,
    ports: &mut P,
    effects: &mut Vec<Effect>,
) {
    let next = queue.next_seq();
    let mut end = None;
    let write = |it: Unwritten<'_>| {
        let (level, expires_at) = match settings.stream {
            Some(_) => (0, Timestamp::NEVER),
            None => (it.level, it.expires_at),
        };
        // Those without a number of their own come behind all others.
        let number = it.seq.unwrap_or_else(|| end.map_or(next, |it: Seq| it.max(next)));
        let before = ports.number(id, number);
        end = end.max(Some(before)).max(Some(number.next()));
        let mut target = Target {
            queue: id,
            durable: true,
            stored: true,
            durability: settings.durability,
            level,
            deduplicates: false,
            expires_at,
            seq: None,
        };
        let batch = ports.write(it.message, &mut target);
        (target.seq.unwrap_or(number), batch)
    };
    queue.write_unwritten(settings, write, effects);
    if settings.durable {
        let before = ports.number(id, next);
        ports.number(id, next.max(before).max(end.unwrap_or_default()));
    }
}

/// What the log has to know. What is not durable any more keeps what the log has of its messages
/// until the broker ends.
fn changes(
    vhost: &Vhost,
    (id, before): (QueueId, Before),
    queue: &Queue,
    new: &NewQueue,
) -> Vec<Change> {
    let change = |it| if new.durable { Change::Define(it) } else { Change::Undefine(it) };
    let mut all = Vec::new();
    if before.durable || new.durable {
        all.push(change(Definition::Queue {
            vhost: vhost.name.to_string(),
            name: new.name.to_string(),
            id: id.0,
            auto_delete: new.auto_delete,
            arguments: Hex::new(&new.arguments),
            parks_for: new.parks_for.as_ref().map(ToString::to_string),
        }));
    }
    if before.durable != new.durable {
        for (source, binding) in vhost.table.bindings_to(&Destination::Queue(id)) {
            let (definition, is_durable) = alter::definition_of(vhost, source, binding);
            if is_durable == new.durable {
                all.push(change(definition));
            }
        }
    }
    match queue {
        Queue::Stream(stream) if !before.stream => {
            let jumps = stream.numbering().jumps();
            all.push(Change::Define(Definition::Offsets { queue: id.0, jumps }));
        }
        Queue::Work(_) if before.stream => {
            all.push(Change::Undefine(Definition::Offsets { queue: id.0, jumps: Vec::new() }));
        }
        Queue::Stream(_) | Queue::Work(_) => {}
    }
    all
}

#[cfg(test)]
mod tests;
