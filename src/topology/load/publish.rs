//! The messages that a test publishes, with their properties.

use crate::amqp::name::ExchangeName;
use crate::amqp::property::Property;
use crate::amqp::property::PropertyList;
use crate::amqp::time::Millis;
use crate::topology::declared::Vhost;
use crate::topology::diagnostic::Report;
use crate::topology::load::argument;
use crate::topology::load::fields::Fields;
use crate::topology::load::fields::Item;
use crate::topology::load::fields::Shape;
use crate::topology::load::scenario;
use crate::topology::scenario::Publish;
use crate::topology::source::Located;

const PUBLISH: Shape = Shape {
    keys: &["exchange", "key", "headers", "properties", "body", "times", "at"],
    instead: &[
        ("routing_key", "write `key`"),
        ("queue", "write `exchange = \"\"` and the queue's name as `key`"),
        ("count", "write `times`"),
        ("payload", "write `body`"),
        ("priority", "write `properties = { priority = … }`"),
        ("expiration", "write `properties = { expiration = \"…\" }`"),
    ],
};

/// The properties that are short strings, by the keys of the file.
const TEXTS: [(&str, Property); 10] = [
    ("content_type", Property::ContentType),
    ("content_encoding", Property::ContentEncoding),
    ("correlation_id", Property::CorrelationId),
    ("reply_to", Property::ReplyTo),
    ("expiration", Property::Expiration),
    ("message_id", Property::MessageId),
    ("type", Property::Type),
    ("user_id", Property::UserId),
    ("app_id", Property::AppId),
    ("cluster_id", Property::ClusterId),
];

const PROPERTIES: Shape = Shape {
    keys: &[
        "content_type",
        "content_encoding",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "type",
        "user_id",
        "app_id",
        "cluster_id",
        "delivery_mode",
        "priority",
        "timestamp",
    ],
    instead: &[
        ("headers", "write `headers` beside `properties`"),
        ("persistent", "write `delivery_mode = 2`, which is the default in tests"),
    ],
};

/// Reads `publish`: one message or several, in the order of their times.
pub(in crate::topology) fn load(
    test: &Fields<'_>,
    vhost: &Vhost,
    report: &mut Report,
) -> Vec<Publish> {
    let Some(item) = test.get("publish") else {
        let help = "say what is published: `publish = { exchange = \"…\", key = \"…\" }`";
        test.missing("publish", help, report);
        return Vec::new();
    };
    let elements = item.one_or_more();
    if elements.is_empty() {
        let help = "write at least one message";
        item.bad::<()>(format!("{} is empty", item.what()), "empty", help, report);
    }
    let mut all: Vec<Publish> =
        elements.iter().filter_map(|it| one(it, &test.subject, vhost, report)).collect();
    all.sort_by_key(|it| it.at);
    all
}

fn one(item: &Item<'_, '_>, test: &str, vhost: &Vhost, report: &mut Report) -> Option<Publish> {
    let fields = item.fields(format!("`publish` of {test}"), &PUBLISH, report)?;
    let exchange = match fields.get("exchange") {
        Some(item) => scenario::exchange(&item, vhost, report),
        None => {
            let help = "name it: `exchange = \"…\"`, or \"\" for the default exchange";
            fields.missing("exchange", help, report);
            None
        }
    };
    let key = match fields.text("key", report) {
        Some(text) => text.map(str::to_owned),
        None => Located::new(String::new(), fields.origin),
    };
    let times = fields.get("times").and_then(|it| it.number(1, 1_000_000, report));
    let properties = properties(&fields, report);
    Some(Publish {
        exchange: exchange.unwrap_or(Located::new(ExchangeName::new(""), fields.origin)),
        key,
        properties,
        body: fields.text("body", report).map(|it| it.value.to_owned()).unwrap_or_default(),
        times: times.map_or(1, |it| u32::try_from(it.value).unwrap_or(u32::MAX)),
        at: fields.millis("at", report).map_or(Millis(0), |it| it.value),
        origin: fields.origin,
    })
}

fn properties(fields: &Fields<'_>, report: &mut Report) -> PropertyList {
    let mut list = PropertyList::default();
    list.set_delivery_mode(2);
    let headers = argument::arguments(fields, "headers", report);
    if !headers.is_empty() {
        list.headers = Some(argument::table(&headers));
    }
    let Some(item) = fields.get("properties") else { return list };
    let subject = format!("`properties` of {}", fields.subject);
    let Some(inner) = item.fields(subject, &PROPERTIES, report) else { return list };
    for (key, property) in TEXTS {
        let Some(text) = inner.text(key, report) else { continue };
        if text.len() > crate::amqp::limit::SHORT_STRING_BYTES {
            let Some(item) = inner.get(key) else { continue };
            let title = format!("{} is over 255 bytes long", item.what());
            item.bad::<()>(title, "too long", "AMQP's properties have at most 255 bytes", report);
        } else {
            list.set_text(property, text.value);
        }
    }
    let number = |key: &str, max: u64, report: &mut Report| {
        inner.get(key).and_then(|it| it.number(0, max, report)).map(|it| it.value)
    };
    let octet = |it: u64| u8::try_from(it).unwrap_or(u8::MAX);
    if let Some(mode) = number("delivery_mode", 2, report) {
        list.set_delivery_mode(octet(mode));
    }
    if let Some(priority) = number("priority", 255, report) {
        list.set_priority(octet(priority));
    }
    if let Some(secs) = number("timestamp", i64::MAX as u64, report) {
        list.set_timestamp(secs);
    }
    list
}
