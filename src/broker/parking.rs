//! Parking lots: where messages end that nobody could handle, for people to look at and send back.

use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::QueueName;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::table::Table as Headers;
use crate::amqp::table::Value;
use crate::broker::confirm::Confirm;
use crate::broker::dead_letter::death_properties;
use crate::broker::host::Host;
use crate::broker::host::Moved;
use crate::broker::host::Note;
use crate::broker::host::Ports as _;
use crate::broker::publish::Scratch;
use crate::broker::publish::place;
use crate::broker::vhost::QueueRecord;
use crate::queue::effect::Cause;
use crate::queue::effect::Dead;

/// Headers of a parked message.
pub const PARKED_QUEUE: &str = "x-railpost-parked-queue";
pub const PARKED_REASON: &str = "x-railpost-parked-reason";
pub const PARKED_AT: &str = "x-railpost-parked-at";
/// An array of tables `{attempt, at-ms, failure, consumer-tag, connection-name}`.
pub const ATTEMPTS: &str = "x-railpost-attempts";

/// What a parking lot is called, behind the name of its queue.
pub const PARKED_SUFFIX: &str = ".parked";

/// The name of a queue's parking lot.
pub fn parked_name(queue: &str) -> QueueName {
    QueueName::from(format!("{queue}{PARKED_SUFFIX}"))
}

/// Moves a message that failed for good to the parking lot of its queue, in one record of the log.
///
/// It keeps body, properties, exchange and routing key; the history of its attempts becomes
/// headers; an expiration goes, so that it does not vanish from the parking lot.
pub(in crate::broker) fn park<H: Host>(host: &mut H, from: QueueId, dead: &Dead) {
    let now = host.now();
    let Some(record) = host.vhost().record(from).cloned() else { return };
    let Some(lot) = record.parked else {
        if dead.stored {
            host.queue(from, |_, ports| ports.erase(from, dead.seq, Cause::Dropped(dead.reason)));
        }
        return;
    };
    let parked = parked_message(&record, dead, now.as_millis());
    let mut scratch = Scratch::default();
    scratch.routes.set(lot);
    let moved = dead.stored.then_some(Moved { queue: from, seq: dead.seq, cause: Cause::Moved });
    place(host, &mut scratch, &parked, moved);
    host.note(Note::Parked { queue: record.name, reason: dead.reason });
}

fn parked_message(record: &QueueRecord, dead: &Dead, now_ms: u64) -> Message {
    let message = &dead.message;
    let bytes = death_properties(record, dead);
    let mut list = Properties::from_checked(&bytes).edit();
    let headers = list.headers_mut();
    headers.set(PARKED_QUEUE, Value::text(&record.name));
    headers.set(PARKED_REASON, Value::text(dead.reason.as_str()));
    headers.set(PARKED_AT, Value::I64(i64::try_from(now_ms).unwrap_or(i64::MAX)));
    let attempts = dead.mark.attempts_made().iter().enumerate();
    let attempts = attempts.map(|(at, it)| {
        let mut entry = Headers::default();
        entry.set("attempt", Value::I64(i64::try_from(at + 1).unwrap_or(i64::MAX)));
        let at_ms = i64::try_from(it.at.as_millis()).unwrap_or(i64::MAX);
        entry.set("at-ms", Value::I64(at_ms));
        entry.set("failure", Value::text(it.failure.as_str()));
        entry.set("consumer-tag", Value::text(&it.consumer_tag));
        entry.set("connection-name", Value::text(&it.connection_name));
        Value::Table(entry)
    });
    headers.set(ATTEMPTS, Value::Array(attempts.collect()));
    // Kept as long as anything is: a parking lot is there to be looked at.
    list.set_delivery_mode(2);
    readdressed(message, &list.to_bytes())
}

/// Puts a message that no queue takes into the parking lot of its exchange.
pub(in crate::broker) fn park_unroutable<H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    message: &Message,
) -> Confirm {
    let now = host.now();
    let lot = host.vhost().table.queue(&parked_name(message.exchange()));
    let Some(lot) = lot else { return Confirm::Refused };
    let mut list = message.properties().edit();
    list.remove(Property::Expiration);
    let headers = list.headers_mut();
    headers.set(PARKED_REASON, Value::text("unroutable"));
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    headers.set(PARKED_AT, Value::I64(now_ms));
    list.set_delivery_mode(2);
    scratch.routes.set(lot);
    place(host, scratch, &readdressed(message, &list.to_bytes()), None)
}

fn readdressed(message: &Message, properties: &[u8]) -> Message {
    message.readdressed(Parts {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties: Properties::from_checked(properties),
        published_at: message.published_at(),
    })
}
