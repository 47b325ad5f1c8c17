//! Exchanges that hold messages back (`x-delayed-message`): each has a queue where they wait, in
//! the order they come due, and from which they go on to the exchange's bindings.

use crate::amqp::delay::DELAY;
use crate::amqp::id::BatchId;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::QueueName;
use crate::amqp::property::Properties;
use crate::amqp::table::Table as Arguments;
use crate::amqp::table::Value;
use crate::broker::declare::DeclareError;
use crate::broker::declare::NewQueue;
use crate::broker::declare::add_queue;
use crate::broker::deduplication::Admitted;
use crate::broker::delete::remove_queue;
use crate::broker::host::Host;
use crate::broker::host::Moved;
use crate::broker::host::Note;
use crate::broker::host::Ports as _;
use crate::broker::publish::Scratch;
use crate::broker::publish::place;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::queue::effect::Cause;
use crate::queue::effect::Dead;
use crate::queue::settings::DeadLetter;
use crate::queue::settings::Settings;
use crate::routing::route::Publication;
use crate::routing::route::SCHEDULE_PREFIX;
use crate::routing::route::route;

/// The name of the queue where messages wait for an exchange.
pub fn schedule_name(exchange: &str) -> String {
    format!("{SCHEDULE_PREFIX}{exchange}")
}

/// The settings of such a queue: a message stays as long as its `x-delay` header says.
pub fn settings(exchange: &str, durable: bool) -> Settings {
    let exchange = ExchangeName::new(exchange);
    Settings {
        durable,
        schedule: true,
        dead_letter: Some(DeadLetter { exchange, routing_key: None }),
        ..Settings::default()
    }
}

/// Gives a new exchange the queue where its messages wait.
pub(in crate::broker) fn add<H: Host>(
    host: &mut H,
    exchange: &ExchangeName,
    durable: bool,
) -> Result<BatchId, DeclareError> {
    let added = add_queue(
        host,
        NewQueue {
            name: QueueName::new(&schedule_name(exchange)),
            durable,
            auto_delete: false,
            exclusive: None,
            arguments: Arguments::default(),
            settings: settings(exchange, durable),
            kind: QueueKind::Schedule,
            parks_for: None,
        },
    )?;
    let Some(added) = added else { return Ok(BatchId(0)) };
    host.change(|vhost| vhost.table.set_schedule(exchange, added.id));
    Ok(added.after)
}

/// Removes what an exchange that is gone held back.
pub(in crate::broker) fn remove<H: Host>(host: &mut H, exchange: &str) -> BatchId {
    let found = host.vhost().table.queue(&schedule_name(exchange));
    found.map_or(BatchId(0), |id| remove_queue(host, id, "its exchange was deleted").1)
}

/// Routes a message whose time has come, in one record of the log that takes it out of the queue.
///
/// Queues that take each message once are asked now, as they are of a message that is published:
/// where it is a duplicate it is counted, and gone from the schedule.
///
/// COMPAT: its `x-delay` becomes negative, so that it is not held back again. One that is routed
/// nowhere is dropped and counted.
pub(in crate::broker) fn release<H: Host>(host: &mut H, schedule: &QueueRecord, dead: &Dead) {
    let exchange = schedule.name.trim_start_matches(SCHEDULE_PREFIX);
    let message = released(&dead.message);
    let mut scratch = Scratch::seeded(dead.seq.0);
    let publication = Publication {
        exchange,
        routing_key: message.routing_key(),
        properties: message.properties(),
        copies: true,
    };
    let routed = route(&host.vhost().table, publication, &mut scratch.routes).is_ok();
    if !routed || scratch.routes.is_empty() {
        host.note(Note::Dropped { exchange: ExchangeName::new(exchange) });
        if dead.stored {
            let (seq, reason) = (dead.seq, dead.reason);
            host.queue(schedule.id, |_, ports| {
                ports.erase(schedule.id, seq, Cause::Dropped(reason));
            });
        }
        return;
    }
    let moved =
        dead.stored.then_some(Moved { queue: schedule.id, seq: dead.seq, cause: Cause::Moved });
    // The exchange was asked when the message was published.
    scratch.admitted = Some(Admitted::default());
    place(host, &mut scratch, &message, moved);
}

fn released(message: &Message) -> Message {
    let mut list = message.properties().edit();
    if let Some(headers) = &mut list.headers {
        let negated = match headers.get(DELAY) {
            Some(Value::I32(ms)) => Value::I32(-*ms),
            Some(Value::F64(ms)) => Value::F64(-*ms),
            Some(Value::F32(ms)) => Value::F32(-*ms),
            Some(text @ Value::LongString(_)) => Value::text(&format!("-{text}")),
            other => Value::I64(-other.and_then(Value::as_integer).unwrap_or_default()),
        };
        headers.set(DELAY, negated);
    }
    message.readdressed(Parts {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties: Properties::from_checked(&list.to_bytes()),
        published_at: message.published_at(),
    })
}

#[cfg(test)]
mod tests;
