//! A dead message is published again, to its queue's dead-letter exchange.

use crate::amqp::id::QueueId;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::broker::host::Host;
use crate::broker::host::LetterLoss;
use crate::broker::host::Moved;
use crate::broker::host::Note;
use crate::broker::host::Ports as _;
use crate::broker::parking;
use crate::broker::publish::Scratch;
use crate::broker::publish::place;
use crate::broker::schedule;
use crate::broker::vhost::QueueKind;
use crate::broker::vhost::QueueRecord;
use crate::queue::dead_letter;
use crate::queue::dead_letter::Death;
use crate::queue::effect::Cause;
use crate::queue::effect::Dead;
use crate::routing::route::Publication;
use crate::routing::route::route;

/// Moves a dead message to where its queue's dead letters go, in one record of the log; where they
/// go nowhere, to the parking lot if there is one, else it is dropped and counted.
///
/// COMPAT: no permission is checked, nothing is returned, and the target queue's refusal drops it.
pub(in crate::broker) fn publish_dead<H: Host>(host: &mut H, from: QueueId, dead: &Dead) {
    let Some(record) = host.vhost().record(from).cloned() else { return };
    if record.kind == QueueKind::Schedule {
        return schedule::release(host, &record, dead);
    }
    let Some(target) = &record.settings.dead_letter else {
        return lose(host, &record, dead, ExchangeName::new(""), LetterLoss::NoSuchExchange);
    };
    let letter = readdress(&record, dead, &target.exchange, target.routing_key.as_deref());
    let mut scratch = Scratch::default();
    let publication = Publication {
        exchange: letter.exchange(),
        routing_key: letter.routing_key(),
        properties: letter.properties(),
        copies: target.routing_key.is_none(),
    };
    let vhost = host.vhost();
    let exchange = target.exchange.clone();
    if route(&vhost.table, publication, &mut scratch.routes).is_err() {
        return lose(host, &record, dead, exchange, LetterLoss::NoSuchExchange);
    }
    if scratch.routes.is_empty() {
        return lose(host, &record, dead, exchange, LetterLoss::NoQueue);
    }
    let headers = letter.properties().headers().unwrap_or_default();
    for id in scratch.routes.queues().to_vec() {
        let name = vhost.table.queue_name(id);
        if name.is_some_and(|it| dead_letter::is_cycle(&headers, it, dead.reason)) {
            scratch.routes.remove(id);
        }
    }
    if scratch.routes.is_empty() {
        return lose(host, &record, dead, exchange, LetterLoss::Cycle);
    }
    let moved = dead.stored.then_some(Moved {
        queue: from,
        seq: dead.seq,
        cause: Cause::Dropped(dead.reason),
    });
    place(host, &mut scratch, &letter, moved);
}

/// The letter: the same body, with its death in the headers, under the dead-letter exchange.
fn readdress(
    record: &QueueRecord,
    dead: &Dead,
    exchange: &ExchangeName,
    routing_key: Option<&str>,
) -> Message {
    let message = &dead.message;
    let properties = death_properties(record, dead);
    message.readdressed(Parts {
        exchange,
        routing_key: RoutingKey(routing_key.unwrap_or(message.routing_key().0)),
        properties: Properties::from_checked(&properties),
        published_at: message.published_at(),
    })
}

/// The properties of a message with its deaths recorded: those of the attempts before, and the
/// last one.
pub(in crate::broker) fn death_properties(record: &QueueRecord, dead: &Dead) -> Vec<u8> {
    let message = &dead.message;
    let attempts = dead.mark.attempts_made();
    let first = attempts.first().map_or(message.published_at(), |it| it.at);
    let last = attempts.last().map_or(first, |it| it.at);
    let death = Death {
        queue: &record.name,
        reason: dead.reason,
        exchange: message.exchange(),
        routing_key: message.routing_key().0,
        secs: if attempts.is_empty() { last.as_secs() } else { first.as_secs() },
        times: i64::from(dead.mark.attempts.max(1)),
        original_expiration: message.properties().text(Property::Expiration),
    };
    dead_letter::properties(message.properties(), &death)
}

/// A letter that cannot be delivered.
fn lose<H: Host>(
    host: &mut H,
    record: &QueueRecord,
    dead: &Dead,
    exchange: ExchangeName,
    why: LetterLoss,
) {
    let note =
        Note::DeadLetterLost { queue: record.name.clone(), exchange, reason: dead.reason, why };
    host.note(note);
    if record.parked.is_some() {
        parking::park(host, record.id, dead);
    } else if dead.stored {
        let (seq, reason) = (dead.seq, dead.reason);
        host.queue(record.id, |_, ports| {
            ports.erase(record.id, seq, Cause::Dropped(reason));
        });
    }
}
