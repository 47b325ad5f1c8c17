//! A message comes in: checked, routed, written, put into queues.

use crate::amqp::id::BatchId;
use crate::amqp::id::QueueId;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::ExchangeName;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::time::Timestamp;
use crate::broker::confirm::Confirm;
use crate::broker::deduplication::Admitted;
use crate::broker::deduplication::Doubt;
use crate::broker::deduplication::admit_at_exchange;
use crate::broker::deduplication::admit_at_queues;
use crate::broker::deduplication::later_of;
use crate::broker::effect::settle_later;
use crate::broker::effect::with_queue;
use crate::broker::host::Entry;
use crate::broker::host::Host;
use crate::broker::host::Moved;
use crate::broker::host::Note;
use crate::broker::host::Ports as _;
use crate::broker::host::Target;
use crate::broker::parking;
use crate::broker::reply_to;
use crate::broker::rules::Unroutable;
use crate::broker::vhost::Vhost;
use crate::queue::enqueue::Arrival;
use crate::queue::enqueue::Enqueued;
use crate::queue::enqueue::expiry;
use crate::routing::route::Publication;
use crate::routing::route::RouteError;
use crate::routing::route::Routes;
use crate::routing::route::route;

/// Working memory of publishing, reused from message to message.
#[derive(Debug, Default)]
pub struct Scratch {
    pub routes: Routes,
    pub(in crate::broker) targets: Vec<Target>,
    pub bytes: Vec<u8>,
    /// Of a message that is published, or held back no more: the keys by which it is told from
    /// others. Where this is `None`, queues take what they have seen.
    pub(in crate::broker) admitted: Option<Admitted>,
}

impl Scratch {
    /// Working memory whose choices by chance differ from those of other seeds.
    pub fn seeded(seed: u64) -> Scratch {
        Scratch { routes: Routes::seeded(seed), ..Scratch::default() }
    }
}

/// What became of a publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Whether any queue was reached; a mandatory message that reached none is returned.
    pub routed: bool,
    pub confirm: Confirm,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublishError {
    NoSuchExchange,
    InternalExchange,
    CopiesNotArray { header: &'static str, got: &'static str },
    Expiration { text: String, fault: ExpirationFault },
    UserId { claimed: String },
}

/// What is wrong with an expiration. COMPAT: the cases RabbitMQ tells apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExpirationFault {
    NoInteger,
    Leftover(String),
    Negative(i64),
    TooLarge(i64),
}

/// Step 5 of a message's path, called by `session::content` when a message is complete; next is
/// `routing::route`, then `queue::enqueue`.
///
/// Delivers to all queues the message is routed to, and says when its publisher may be told.
pub fn publish<H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    message: &Message,
    user: &str,
) -> Result<Published, PublishError> {
    check(host, scratch, message, user)?;
    if let Some(token) = reply_to::token(message) {
        let routed = reply_to::answer(host, token, message);
        host.note(Note::Published { routed });
        return Ok(Published { routed, confirm: Confirm::Now });
    }
    let mut admitted = Admitted::default();
    if let Some(confirm) = admit_at_exchange(host, message, &mut admitted) {
        host.note(Note::Published { routed: true });
        return Ok(Published { routed: true, confirm });
    }
    scratch.admitted = Some(admitted);
    let routed = !scratch.routes.is_empty();
    let confirm = if routed {
        let shown = shown(host.vhost(), message, &mut scratch.bytes);
        place(host, scratch, shown.as_ref().unwrap_or(message), None)
    } else {
        unroutable(host, scratch, message)
    };
    if let Some(admitted) = scratch.admitted.take() {
        admitted.abandon(host);
    }
    host.note(Note::Published { routed });
    settle_later(host);
    Ok(Published { routed, confirm })
}

/// Everything about a message that may be refused; leaves its routes in `scratch`.
///
/// COMPAT: the order of checks is RabbitMQ's: exchange, expiration, copies, user.
pub fn check<H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    message: &Message,
    user: &str,
) -> Result<(), PublishError> {
    let vhost = host.vhost();
    let name = message.exchange();
    match vhost.table.exchange(name) {
        Some(exchange) if exchange.internal => return Err(PublishError::InternalExchange),
        None if !name.is_empty() => return Err(PublishError::NoSuchExchange),
        Some(_) | None => {}
    }
    if let Some(text) = message.properties().expiration() {
        check_expiration(text)
            .map_err(|fault| PublishError::Expiration { text: text.to_owned(), fault })?;
    }
    find_routes(vhost, message, &mut scratch.routes)?;
    match message.properties().text(Property::UserId) {
        Some(claimed) if claimed != user => {
            Err(PublishError::UserId { claimed: claimed.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The queues a message reaches.
pub fn find_routes(
    vhost: &Vhost,
    message: &Message,
    routes: &mut Routes,
) -> Result<(), PublishError> {
    let publication = Publication {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties: message.properties(),
        copies: true,
    };
    route(&vhost.table, publication, routes).map_err(|error| match error {
        RouteError::NoSuchExchange => PublishError::NoSuchExchange,
        RouteError::CopiesNotArray { header, got } => PublishError::CopiesNotArray { header, got },
    })
}

/// The message as its consumers see it, when that is not how it came: without BCC, and without a
/// history of deaths that its publisher made up where the vhost says that such do not count.
fn shown(vhost: &Vhost, message: &Message, scratch: &mut Vec<u8>) -> Option<Message> {
    const DEATHS: [&str; 7] = [
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
    ];
    let properties = message.properties();
    let bcc = properties.may_have_header(b"BCC");
    let deaths = vhost.rules.ignore_client_deaths && properties.may_have_header(b"-death");
    match (bcc, deaths) {
        (false, false) => None,
        (true, false) => Some(without(&["BCC"], message, scratch)),
        (_, true) => {
            let hidden = without(&DEATHS, message, scratch);
            Some(if bcc { without(&["BCC"], &hidden, scratch) } else { hidden })
        }
    }
}

/// A message that nobody took, as its publisher gets it back, when that is not how it came.
///
/// COMPAT: without BCC.
pub fn returned(message: &Message) -> Option<Message> {
    let bcc = message.properties().may_have_header(b"BCC");
    bcc.then(|| without(&["BCC"], message, &mut Vec::new()))
}

/// Writes a message to the log and puts it into the queues of `scratch.routes`.
pub(in crate::broker) fn place<H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    message: &Message,
    moved: Option<Moved>,
) -> Confirm {
    let mut targets = std::mem::take(&mut scratch.targets);
    find_targets(host, &scratch.routes, message, &mut targets);
    if let Some(admitted) = scratch.admitted.take()
        && (!admitted.is_empty() || targets.iter().any(|it| it.deduplicates))
    {
        scratch.targets = targets;
        return place_once(host, scratch, message, admitted, moved);
    }
    let stored = is_stored(&targets);
    let logged = stored || moved.is_some() || targets.iter().any(|it| it.durable);
    let batch = match logged {
        true => host.append(message, stored, &mut targets, moved),
        false => BatchId(0),
    };
    let confirm = enqueue_all(host, &targets, message, batch);
    scratch.targets = targets;
    confirm
}

/// As [`place`] in `scratch.targets`, but not where the message has been before.
///
/// The log has it, its keys, and its end where it was in one unit: after a crash it is admitted
/// again only if it is held back again.
fn place_once<H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    message: &Message,
    mut admitted: Admitted,
    moved: Option<Moved>,
) -> Confirm {
    let mut targets = std::mem::take(&mut scratch.targets);
    let doubt = if moved.is_some() { Doubt::Take } else { Doubt::Refuse };
    let seen = admit_at_queues(host, message, &mut targets, doubt, &mut admitted);
    let stored = is_stored(&targets);
    let mut entry = [Entry { message: message.clone(), stored, targets }];
    let batch = host.append_unit(&mut entry, moved.as_slice(), &admitted.changes);
    let batch = if stored { batch } else { BatchId(0) };
    let confirm = enqueue_all(host, &entry[0].targets, message, batch);
    admitted.settle(host, 0..admitted.n_keys(), confirm);
    later_of(seen, Some(confirm)).unwrap_or(confirm)
}

/// Publishes many messages as one unit of the log, which also forgets `erased`. For each message
/// what its publisher waits for, `None` when no queue took it; and the batch that has the unit.
pub(in crate::broker) fn place_all<'m, H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    messages: impl Iterator<Item = &'m Message>,
    erased: &[Moved],
) -> (Vec<Option<Confirm>>, BatchId) {
    let (mut entries, mut seen_keys, mut admitted) = (Vec::new(), Vec::new(), Admitted::default());
    for message in messages {
        let (mut targets, n_keys) = (Vec::new(), admitted.n_keys());
        let mut seen = admit_at_exchange(host, message, &mut admitted);
        // An exchange that was deleted since routes the message nowhere.
        if seen.is_none() && find_routes(host.vhost(), message, &mut scratch.routes).is_ok() {
            find_targets(host, &scratch.routes, message, &mut targets);
            seen = admit_at_queues(host, message, &mut targets, Doubt::Refuse, &mut admitted);
        }
        let shown = shown(host.vhost(), message, &mut scratch.bytes);
        let message = shown.unwrap_or_else(|| message.clone());
        seen_keys.push((seen, n_keys..admitted.n_keys()));
        let stored = is_stored(&targets);
        entries.push(Entry { message, stored, targets });
    }
    let batch = host.append_unit(&mut entries, erased, &admitted.changes);
    let mut confirms = Vec::with_capacity(entries.len());
    for (entry, (seen, keys)) in entries.iter().zip(seen_keys) {
        let batch = if entry.stored { batch } else { BatchId(0) };
        let confirm = match entry.targets.is_empty() {
            true if seen.is_some() => seen,
            true => place_elsewhere(host, scratch, &entry.message),
            false => Some(enqueue_all(host, &entry.targets, &entry.message, batch)),
        };
        admitted.settle(host, keys, confirm.unwrap_or(Confirm::Refused));
        confirms.push(later_of(seen, confirm));
    }
    (confirms, batch)
}

/// A message of a transaction that no queue takes.
fn place_elsewhere<H: Host>(
    host: &mut H,
    scratch: &mut Scratch,
    message: &Message,
) -> Option<Confirm> {
    if let Some(token) = reply_to::token(message) {
        return reply_to::answer(host, token, message).then_some(Confirm::Now);
    }
    match unroutable(host, scratch, message) {
        Confirm::Now => None,
        other @ (Confirm::After(_) | Confirm::Refused) => Some(other),
    }
}

fn is_stored(targets: &[Target]) -> bool {
    targets.iter().any(|it| it.stored)
}

fn find_targets<H: Host>(
    host: &mut H,
    routes: &Routes,
    message: &Message,
    targets: &mut Vec<Target>,
) {
    let now = host.now();
    let vhost = host.vhost();
    targets.clear();
    targets.extend(routes.queues().iter().filter_map(|id| target(vhost, *id, message, now)));
}

fn enqueue_all<H: Host>(
    host: &mut H,
    targets: &[Target],
    message: &Message,
    batch: BatchId,
) -> Confirm {
    let mut refused = false;
    for target in targets {
        refused |= enqueue(host, target, message, batch) == Some(Enqueued::Refused);
    }
    match batch {
        _ if refused => Confirm::Refused,
        BatchId(0) => Confirm::Now,
        batch => Confirm::After(batch),
    }
}

fn enqueue<H: Host>(
    host: &mut H,
    target: &Target,
    message: &Message,
    batch: BatchId,
) -> Option<Enqueued> {
    with_queue(host, target.queue, |queue, ports, effects, now| {
        let arrival = Arrival {
            seq: target.seq.unwrap_or_else(|| queue.next_seq()),
            message: message.clone(),
            batch: if target.stored { batch } else { BatchId(0) },
        };
        let written = ports.written();
        queue.enqueue(arrival, written, now, ports, effects)
    })
}

fn target(vhost: &Vhost, id: QueueId, message: &Message, now: Timestamp) -> Option<Target> {
    let record = vhost.record(id)?;
    let settings = &record.settings;
    let level = match settings.priority_max {
        Some(max) => message.properties().priority().unwrap_or(0).min(max),
        None => 0,
    };
    Some(Target {
        queue: id,
        durable: settings.durable,
        // COMPAT: a stream stores every message, and none of them expires.
        stored: settings.durable && (message.is_persistent() || settings.stream.is_some()),
        durability: settings.durability,
        deduplicates: settings.deduplication.is_some(),
        level,
        expires_at: match settings.stream {
            Some(_) => Timestamp::NEVER,
            None => expiry(settings, message, now),
        },
        seq: None,
    })
}

/// What an exchange's declaration says of a message that no queue takes.
fn unroutable<H: Host>(host: &mut H, scratch: &mut Scratch, message: &Message) -> Confirm {
    let rule = host.vhost().rules.exchanges.get(message.exchange());
    match rule.map(|it| it.unroutable).unwrap_or_default() {
        Unroutable::Return => Confirm::Now,
        Unroutable::Reject => Confirm::Refused,
        Unroutable::Drop => {
            host.note(Note::Dropped { exchange: ExchangeName::new(message.exchange()) });
            Confirm::Now
        }
        Unroutable::Park => parking::park_unroutable(host, scratch, message),
    }
}

/// COMPAT: an emptied header table stays.
fn without(names: &[&str], message: &Message, scratch: &mut Vec<u8>) -> Message {
    let mut list = message.properties().edit();
    if let Some(headers) = &mut list.headers {
        names.iter().for_each(|name| {
            headers.remove(name);
        });
    }
    scratch.clear();
    list.encode(scratch);
    message.readdressed(Parts {
        exchange: message.exchange(),
        routing_key: RoutingKey(message.routing_key().0),
        properties: Properties::from_checked(scratch),
        published_at: message.published_at(),
    })
}

/// COMPAT: decimal milliseconds with an optional plus sign, up to ten years.
fn check_expiration(text: &str) -> Result<(), ExpirationFault> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let n_digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if n_digits == 0 {
        return Err(ExpirationFault::NoInteger);
    }
    if n_digits < unsigned.len() {
        return Err(ExpirationFault::Leftover(unsigned[n_digits..].to_owned()));
    }
    let number: i64 = text.parse().unwrap_or(i64::MAX);
    match u64::try_from(number) {
        Err(_) => Err(ExpirationFault::Negative(number)),
        Ok(ms) if ms > limit::TTL_MS => Err(ExpirationFault::TooLarge(number)),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations() {
        let cases = [
            ("0", Ok(())),
            ("+5", Ok(())),
            ("315360000000", Ok(())),
            ("abc", Err(ExpirationFault::NoInteger)),
            ("", Err(ExpirationFault::NoInteger)),
            (" 5", Err(ExpirationFault::NoInteger)),
            ("10s", Err(ExpirationFault::Leftover("s".into()))),
            ("-1", Err(ExpirationFault::Negative(-1))),
            ("315360000001", Err(ExpirationFault::TooLarge(315_360_000_001))),
        ];
        for (text, expected) in cases {
            assert_eq!(check_expiration(text), expected, "`{text}`");
        }
    }
}
