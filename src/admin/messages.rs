//! Publishing a message and getting some, for people who look into queues.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::access::permission::Right;
use crate::admin::caller::Caller;
use crate::admin::estate::Estate;
use crate::admin::exchanges::check_vhost;
use crate::admin::queues::NOBODY;
use crate::admin::request::Outcome;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::request::Response;
use crate::admin::request::integer_of;
use crate::admin::request::text_of;
use crate::amqp::id::BatchId;
use crate::amqp::id::DeliveryTag;
use crate::amqp::json;
use crate::amqp::limit;
use crate::amqp::message::Message;
use crate::amqp::message::Parts;
use crate::amqp::name::RoutingKey;
use crate::amqp::property::Properties;
use crate::amqp::property::Property;
use crate::amqp::property::PropertyList;
use crate::broker::confirm::Confirm;
use crate::broker::consume;
use crate::broker::consume::Held;
use crate::broker::host::Host;
use crate::broker::publish;
use crate::broker::publish::Scratch;
use crate::queue::dispatch::Got;
use crate::queue::settle::Settlement;

/// The properties that are texts.
const TEXTS: [(&str, Property); 9] = [
    ("content_type", Property::ContentType),
    ("content_encoding", Property::ContentEncoding),
    ("correlation_id", Property::CorrelationId),
    ("reply_to", Property::ReplyTo),
    ("expiration", Property::Expiration),
    ("message_id", Property::MessageId),
    ("type", Property::Type),
    ("user_id", Property::UserId),
    ("app_id", Property::AppId),
];

/// Messages that one request may get.
const COUNT_MAX: i64 = 10_000;

/// COMPAT: `routed` says whether a queue took it.
pub fn publish<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    exchange: &str,
) -> Outcome {
    check_vhost(estate, caller, vhost)?;
    let key = request.required_text("routing_key")?;
    let payload = request.required_text("payload")?;
    let body = match request.required_text("payload_encoding")? {
        "string" => payload.as_bytes().to_vec(),
        "base64" => {
            let decoded = STANDARD.decode(payload);
            decoded.map_err(|_| Problem::bad("the payload is not base64"))?
        }
        other => return Err(Problem::bad(format!("unsupported payload encoding '{other}'"))),
    };
    if key.len() > limit::SHORT_STRING_BYTES || exchange.len() > limit::SHORT_STRING_BYTES {
        return Err(Problem::bad("a name is longer than 255 bytes"));
    }
    caller.check_right(estate, vhost, Right::Write, exchange)?;
    let grant = caller.grant(estate, vhost);
    if grant.topic(exchange).is_some_and(|it| !it.allows(Right::Write, key)) {
        return Err(Problem::NotAllowed("Access refused."));
    }
    let properties = match request.fields()?.get("properties") {
        Some(Value::Object(properties)) => to_properties(properties)?.to_bytes(),
        // COMPAT: no properties may be an empty list.
        None | Some(Value::Array(_)) => PropertyList::default().to_bytes(),
        Some(_) => return Err(Problem::bad("`properties` is no object")),
    };
    let user = &caller.user.name;
    let published = estate.in_vhost(vhost, |turn| {
        let parts = Parts {
            exchange,
            routing_key: RoutingKey(key),
            properties: Properties::from_checked(&properties),
            published_at: turn.now(),
        };
        let mut scratch = Scratch::default();
        let message = Message::copied(parts, &body, &mut scratch.bytes);
        publish::publish(turn, &mut scratch, &message, user).map_err(|error| (error, message))
    });
    let published = published.ok_or(Problem::NotFound)?.map_err(|(error, message)| {
        let refusal = estate.publish_text(&error, &message, vhost, user);
        Problem::bad(format!("{} {} - {}", refusal.code, refusal.name, refusal.text))
    })?;
    let (routed, after) = match published.confirm {
        Confirm::Now => (published.routed, BatchId(0)),
        Confirm::After(batch) => (published.routed, batch),
        Confirm::Refused => (false, BatchId(0)),
    };
    Ok(Response { after, ..Response::ok(json!({ "routed": routed })) })
}

fn to_properties(fields: &Map<String, Value>) -> Result<PropertyList, Problem> {
    let mut list = PropertyList::default();
    for (key, property) in TEXTS {
        if let Some(text) = text_of(fields, key)? {
            list.set_text(property, text);
        }
    }
    let octet = |key| {
        let number = integer_of(fields, key)?;
        let octet = number.map(|it| u8::try_from(it).map_err(|_| Problem::bad("0 to 255")));
        octet.transpose()
    };
    if let Some(mode) = octet("delivery_mode")? {
        list.set_delivery_mode(mode);
    }
    if let Some(priority) = octet("priority")? {
        list.set_priority(priority);
    }
    if let Some(secs) = integer_of(fields, "timestamp")? {
        list.set_timestamp(u64::try_from(secs).unwrap_or_default());
    }
    if fields.contains_key("headers") {
        list.headers = Some(json::to_table(fields.get("headers"))?);
    }
    Ok(list)
}

pub fn from_properties(properties: Properties<'_>) -> Value {
    let mut view = Map::new();
    for (key, property) in TEXTS {
        view.extend(properties.text(property).map(|it| (key.to_owned(), Value::from(it))));
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode().map(u64::from)),
        ("priority", properties.priority().map(u64::from)),
        ("timestamp", properties.timestamp()),
    ];
    for (key, number) in numbers {
        view.extend(number.map(|it| (key.to_owned(), Value::from(it))));
    }
    view.extend(properties.headers().map(|it| ("headers".to_owned(), json::from_table(&it))));
    Value::Object(view)
}

/// What becomes of messages that were got.
fn settlement(ackmode: &str) -> Result<Option<Settlement>, Problem> {
    match ackmode {
        "ack_requeue_false" => Ok(None),
        // Looking is no failure: nothing is retried or parked for it.
        "ack_requeue_true" => Ok(Some(Settlement::Recover)),
        "reject_requeue_true" => Ok(Some(Settlement::Reject { requeue: true })),
        "reject_requeue_false" => Ok(Some(Settlement::Reject { requeue: false })),
        _ => Err(Problem::bad(format!(
            "ackmode '{ackmode}' is none of ack_requeue_true, ack_requeue_false, \
             reject_requeue_true and reject_requeue_false"
        ))),
    }
}

/// COMPAT: messages are taken out one by one and go back at the end, so none comes twice.
pub fn get<E: Estate>(
    estate: &E,
    caller: &Caller,
    request: &Request,
    vhost: &str,
    name: &str,
) -> Outcome {
    caller.vhost(estate, vhost)?;
    let settlement = settlement(request.required_text("ackmode")?)?;
    let encoding = request.required_text("encoding")?;
    if !["auto", "base64"].contains(&encoding) {
        return Err(Problem::bad(format!("unsupported encoding '{encoding}'")));
    }
    let count = request.integer("count")?.ok_or_else(|| Problem::bad("[{key_missing,count}]"))?;
    let truncate = request.integer("truncate")?.and_then(|it| usize::try_from(it).ok());
    caller.check_right(estate, vhost, Right::Read, name)?;
    let mut held = Vec::new();
    let mut views = Vec::new();
    let no_ack = settlement.is_none();
    let mut failed = None;
    while (views.len() as i64) < count.min(COUNT_MAX) {
        let got = estate.in_vhost(vhost, |turn| consume::get(turn, name, no_ack, NOBODY, None));
        match got {
            None => return Err(Problem::NotFound),
            Some(Err(error)) => {
                failed = Some(error);
                break;
            }
            Some(Ok((_, Got::Empty))) => break,
            Some(Ok((_, Got::Loading))) => estate.wait_for_load(),
            Some(Ok((queue, Got::Message { message, mark, handle, remaining, .. }))) => {
                let tag = DeliveryTag::default();
                held.extend(handle.map(|handle| Held { tag, queue, handle, consumer: None }));
                views.push(view(&message, mark.redelivered, remaining, encoding, truncate));
            }
        }
    }
    if let Some(settlement) = settlement {
        estate.in_vhost(vhost, |turn| consume::settle(turn, &held, settlement));
    }
    match failed {
        None => Ok(Response::ok(Value::Array(views))),
        Some(consume::ConsumeError::NoSuchQueue) => Err(Problem::NotFound),
        Some(error) => Err(Problem::bad(estate.consume_text(&error, name, vhost).text)),
    }
}

/// COMPAT: a body that is no text comes as base64 in any case; `payload_bytes` is its whole length.
fn view(
    message: &Message,
    redelivered: bool,
    remaining: u64,
    encoding: &str,
    truncate: Option<usize>,
) -> Value {
    let mut body = message.body_to_vec();
    body.truncate(truncate.unwrap_or(usize::MAX));
    let text = match encoding {
        "auto" => String::from_utf8(body).map_err(|error| error.into_bytes()),
        _ => Err(body),
    };
    let (payload, encoding) = match text {
        Ok(text) => (text, "string"),
        Err(bytes) => (STANDARD.encode(bytes), "base64"),
    };
    json!({
        "payload_bytes": message.body_bytes(),
        "redelivered": redelivered,
        "exchange": message.exchange(),
        "routing_key": message.routing_key().0,
        "message_count": remaining,
        "properties": from_properties(message.properties()),
        "payload": payload,
        "payload_encoding": encoding,
    })
}
